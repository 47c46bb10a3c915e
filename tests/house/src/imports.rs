//! Which module each path leads to.

use crate::source::Mention;
use crate::tree::Crate;

/// What lib.rs itself is called among the modules of the root.
pub(crate) const ROOT: &str = "lib.rs";

/// A path that leads out of its file or its module.
pub struct Import {
    /// The file that imports.
    pub file: String,
    /// The line in it.
    pub line: usize,
    /// The module of the root that `file` belongs to; `lib.rs` for lib.rs itself.
    pub from: String,
    /// The module of the root that the path leads to; `lib.rs` for what lib.rs defines.
    pub to: String,
    /// The file of the innermost module on the path; none for another crate.
    pub to_file: Option<String>,
    /// The path, from `crate` on.
    pub path: String,
}

impl Crate {
    /// Every import within the crate, in the order of files and lines.
    pub fn imports(&self) -> Vec<Import> {
        let mut imports: Vec<_> = self.mentions.iter().filter_map(|one| self.import(one)).collect();
        imports.sort_by(|a, b| (&a.file, a.line, &a.path).cmp(&(&b.file, b.line, &b.path)));
        imports.dedup_by(|a, b| (&a.file, a.line, &a.path) == (&b.file, b.line, &b.path));
        imports
    }

    fn import(&self, mention: &Mention) -> Option<Import> {
        let path = self.absolute(&mention.module, &mention.path)?;
        let to_file = self.file_of(&path);
        let from = mention.module.first().map_or(ROOT, String::as_str).to_owned();
        let to = match path.first() {
            Some(top) if self.is_module(&path[..1]) || to_file.is_none() => top.as_str(),
            _ => ROOT,
        };
        if to == from && to_file.as_ref() == Some(&mention.file) {
            return None;
        }
        Some(Import {
            file: mention.file.clone(),
            line: mention.line,
            from,
            to: to.to_owned(),
            to_file,
            path: format!("crate::{}", path.join("::")),
        })
    }

    /// The path as seen from lib.rs; none when it leads to nothing of this crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut module = module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => module.clear(),
            "self" | "super" => {}
            child if self.is_module(&[&module[..], &[child.to_owned()]].concat()) => {}
            _ => return None,
        }
        while let Some(step @ ("crate" | "self" | "super")) = rest.first().map(String::as_str) {
            if step == "super" {
                module.pop()?;
            }
            rest = &rest[1..];
        }
        module.extend_from_slice(rest);
        Some(self.followed(module))
    }

    /// Follows a name that lib.rs passes on to the module that it comes from.
    fn followed(&self, path: Vec<String>) -> Vec<String> {
        let Some(first) = path.first() else { return path };
        match self.passed_on.get(first) {
            Some(origin) if !self.is_module(&path[..1]) => {
                let origin = self.absolute(&[], origin);
                origin.map_or(path.clone(), |origin| [&origin[..], &path[1..]].concat())
            }
            _ => path,
        }
    }

    fn is_module(&self, path: &[String]) -> bool {
        self.modules.contains_key(path)
    }

    /// The file of the longest part of the path that is a module.
    fn file_of(&self, path: &[String]) -> Option<String> {
        if path.first().is_some_and(|first| self.is_another_crates(first)) {
            return None;
        }
        (0..=path.len()).rev().find_map(|end| self.modules.get(&path[..end]).cloned())
    }

    /// Whether lib.rs brings the name in from another crate.
    pub(crate) fn is_another_crates(&self, name: &str) -> bool {
        let is_own = self.is_module(&[name.to_owned()]);
        let origin = self.passed_on.get(name);
        !is_own && origin.is_some_and(|origin| self.absolute(&[], origin).is_none())
    }
}
