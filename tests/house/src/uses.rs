//! Takes `use` apart.

use std::collections::BTreeMap;

use syn::ext::IdentExt as _;
use syn::{Ident, Item, UseTree};

use crate::attributes::only_for_tests;

/// One name that a `use` brings in.
pub(crate) struct Leaf {
    pub(crate) path: Vec<String>,
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// Takes a `use` apart; `path` is what stands before the tree.
pub(crate) fn leaves(tree: &UseTree, path: &[String]) -> Vec<Leaf> {
    match tree {
        UseTree::Path(step) => leaves(&step.tree, &[path, &[text(&step.ident)]].concat()),
        UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, path)).collect(),
        UseTree::Name(last) => vec![leaf(path, &last.ident, &last.ident)],
        UseTree::Rename(last) => vec![leaf(path, &last.ident, &last.rename)],
        UseTree::Glob(last) => {
            let line = last.star_token.spans[0].start().line;
            vec![Leaf { path: [path, &["*".to_owned()]].concat(), name: "*".to_owned(), line }]
        }
    }
}

/// `self` in braces stands for what is before them.
fn leaf(path: &[String], last: &Ident, name: &Ident) -> Leaf {
    let line = last.span().start().line;
    let path = if last == "self" { path.to_vec() } else { [path, &[text(last)]].concat() };
    let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { text(name) };
    Leaf { path, name, line }
}

/// An identifier without `r#`.
pub(crate) fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// The names that the `use` items of a file bring in, with their paths.
pub(crate) fn names_brought_in(parsed: &syn::File) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::new();
    for item in &parsed.items {
        if let Item::Use(item) = item
            && !only_for_tests(&item.attrs)
        {
            names.extend(leaves(&item.tree, &[]).into_iter().map(|leaf| (leaf.name, leaf.path)));
        }
    }
    names.remove("*");
    names
}
