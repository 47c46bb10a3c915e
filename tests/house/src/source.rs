//! Reads one file: the modules that it declares, the paths that it names, its public items.

use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use syn::ItemMod;
use syn::visit::{self, Visit};

use crate::attributes::{given_path, only_for_tests};
use crate::tokens;
use crate::tree::Declared;
use crate::uses::{leaves, text};

/// Where a module is written.
pub(crate) struct Place {
    /// Its file, as seen from the checkout.
    pub(crate) file: String,
    /// The names on the way to it from lib.rs.
    pub(crate) module: Vec<String>,
    /// The folder in which the modules lie that it declares.
    pub(crate) dir: PathBuf,
}

/// A path of two names or more, somewhere in the code.
pub(crate) struct Mention {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The module that names it.
    pub(crate) module: Vec<String>,
    pub(crate) path: Vec<String>,
}

/// What a file has.
#[derive(Default)]
pub(crate) struct Found {
    /// Modules with a file of their own.
    pub(crate) declared: Vec<Declared>,
    /// Modules within this file.
    pub(crate) inline: Vec<Vec<String>>,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) public_items: usize,
}

/// Reads a parsed file.
pub(crate) fn read(place: &Place, parsed: &syn::File) -> Found {
    let (module, dir) = (place.module.clone(), place.dir.clone());
    let mut reader = Reader { file: &place.file, module, dir, depth: 0, found: Found::default() };
    reader.visit_file(parsed);
    reader.found
}

struct Reader<'a> {
    file: &'a str,
    /// The module that is being read, and where its modules' files lie.
    module: Vec<String>,
    dir: PathBuf,
    /// How many modules within this file are around it.
    depth: usize,
    found: Found,
}

impl Reader<'_> {
    fn mention(&mut self, line: usize, path: Vec<String>) {
        if path.len() > 1 {
            let (file, module) = (self.file.to_owned(), self.module.clone());
            self.found.mentions.push(Mention { file, line, module, path });
        }
    }

    fn declare(&mut self, declaration: &ItemMod, name: &str) {
        // Within a file `#[path]` counts from the file's folder, within a module from the module's.
        let beside = Path::new(self.file).parent();
        let folder = beside.filter(|_| self.depth == 0).unwrap_or(&self.dir);
        let path = declaration.attrs.iter().find_map(given_path);
        self.found.declared.push(Declared {
            module: [self.module.as_slice(), &[name.to_owned()]].concat(),
            path: path.map(|path| folder.join(path)),
            dir: self.dir.clone(),
            at: format!("{}:{}", self.file, declaration.ident.span().start().line),
        });
    }
}

/// Leaves out what exists in tests only.
macro_rules! skip_tests {
    ($($visit:ident: $node:ident,)*) => {$(
        fn $visit(&mut self, node: &'ast syn::$node) {
            if !only_for_tests(&node.attrs) {
                visit::$visit(self, node);
            }
        }
    )*};
}

impl<'ast> Visit<'ast> for Reader<'_> {
    skip_tests! {
        visit_item_const: ItemConst,
        visit_item_enum: ItemEnum,
        visit_item_fn: ItemFn,
        visit_item_impl: ItemImpl,
        visit_item_macro: ItemMacro,
        visit_item_static: ItemStatic,
        visit_item_struct: ItemStruct,
        visit_item_trait: ItemTrait,
        visit_item_type: ItemType,
        visit_impl_item_const: ImplItemConst,
        visit_impl_item_fn: ImplItemFn,
        visit_trait_item_fn: TraitItemFn,
        visit_stmt_macro: StmtMacro,
        visit_local: Local,
        visit_variant: Variant,
        visit_arm: Arm,
    }

    fn visit_item_mod(&mut self, node: &'ast ItemMod) {
        if only_for_tests(&node.attrs) {
            return;
        }
        self.visit_visibility(&node.vis);
        let name = text(&node.ident);
        let Some((_, items)) = &node.content else { return self.declare(node, &name) };
        let dir = self.dir.join(&name);
        let outer_dir = std::mem::replace(&mut self.dir, dir);
        self.module.push(name);
        self.depth += 1;
        self.found.inline.push(self.module.clone());
        items.iter().for_each(|item| self.visit_item(item));
        self.depth -= 1;
        self.module.pop();
        self.dir = outer_dir;
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        if only_for_tests(&node.attrs) {
            return;
        }
        self.visit_visibility(&node.vis);
        if node.leading_colon.is_none() {
            for leaf in leaves(&node.tree, &[]) {
                self.mention(leaf.line, leaf.path);
            }
        }
    }

    fn visit_path(&mut self, node: &'ast syn::Path) {
        if let (None, Some(first)) = (&node.leading_colon, node.segments.first()) {
            let line = first.ident.span().start().line;
            let path = node.segments.iter().map(|segment| text(&segment.ident)).collect();
            self.mention(line, path);
        }
        visit::visit_path(self, node);
    }

    fn visit_meta_list(&mut self, node: &'ast syn::MetaList) {
        for (line, path) in tokens::paths_in_attribute(&node.tokens) {
            self.mention(line, path);
        }
    }

    /// What syn leaves unread: macros.
    fn visit_token_stream(&mut self, node: &'ast TokenStream) {
        for (line, path) in tokens::paths(node) {
            self.mention(line, path);
        }
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        if !only_for_tests(&node.attrs) {
            node.attrs.iter().for_each(|attr| self.visit_attribute(attr));
            self.visit_type(&node.ty);
        }
    }

    fn visit_visibility(&mut self, node: &'ast syn::Visibility) {
        // The path in `pub(in path)` names who may use the item, and uses nothing itself.
        if matches!(node, syn::Visibility::Public(_)) {
            self.found.public_items += 1;
        }
    }
}
