//! A crate's tree of modules, read from lib.rs on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::attributes::only_for_tests;
use crate::source::{self, Found, Mention, Place};
use crate::uses;

/// What one crate is made of, without its tests. Files are named as seen from the checkout.
#[derive(Default)]
pub struct Crate {
    /// The text of lib.rs.
    pub(crate) root: String,
    /// lib.rs, as seen from the checkout.
    pub(crate) root_file: String,
    /// Each module, as the names on the way to it, and its file.
    pub(crate) modules: BTreeMap<Vec<String>, String>,
    /// Each file and its number of lines.
    pub(crate) files: BTreeMap<String, usize>,
    /// The names that `use` brings into lib.rs, and where they come from.
    pub(crate) passed_on: BTreeMap<String, Vec<String>>,
    /// Every path in the code.
    pub(crate) mentions: Vec<Mention>,
    /// How many items are `pub` without a restriction.
    pub(crate) public_items: usize,
}

impl Crate {
    /// Reads the crate whose lib.rs is in the checkout's folder `src`.
    ///
    /// # Errors
    /// A file is missing, or isn't Rust.
    pub fn read(checkout: &Path, src: &str) -> Result<Self> {
        let mut read = Self { root_file: format!("{src}/lib.rs"), ..Self::default() };
        let root = Place { file: read.root_file.clone(), module: Vec::new(), dir: src.into() };
        let mut waiting = vec![root];
        while let Some(place) = waiting.pop() {
            let found = read.file(checkout, &place)?;
            for declared in found.declared {
                waiting.push(declared.place(checkout)?);
            }
        }
        Ok(read)
    }

    /// The names of the modules right below lib.rs.
    pub(crate) fn top_modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().filter(|module| module.len() == 1).map(|module| module[0].as_str())
    }

    /// Where the code names a path with this end, as `file:line`.
    pub fn places_of(&self, end: &[&str]) -> Vec<String> {
        let named = self.mentions.iter().filter(|mention| ends_with(&mention.path, end));
        named.map(|mention| format!("{}:{}", mention.file, mention.line)).collect()
    }

    fn file(&mut self, checkout: &Path, place: &Place) -> Result<Found> {
        let text = fs::read_to_string(checkout.join(&place.file))
            .with_context(|| format!("cannot read {}", checkout.join(&place.file).display()))?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("{} isn't Rust", place.file))?;
        if only_for_tests(&parsed.attrs) {
            return Ok(Found::default());
        }
        let mut found = source::read(place, &parsed);
        self.modules.insert(place.module.clone(), place.file.clone());
        for inline in found.inline.drain(..) {
            self.modules.insert(inline, place.file.clone());
        }
        self.files.insert(place.file.clone(), text.lines().count());
        self.mentions.append(&mut found.mentions);
        self.public_items += found.public_items;
        if place.module.is_empty() {
            self.passed_on = uses::names_brought_in(&parsed);
            self.root = text;
        }
        Ok(found)
    }
}

/// A module that its parent declares with `mod name;`.
pub(crate) struct Declared {
    /// The names on the way to it.
    pub(crate) module: Vec<String>,
    /// The file that `#[path]` gives it.
    pub(crate) path: Option<PathBuf>,
    /// The folder in which it lies otherwise.
    pub(crate) dir: PathBuf,
    /// Where it is declared, for messages.
    pub(crate) at: String,
}

impl Declared {
    /// Finds the module's file, and the folder in which its own modules lie.
    fn place(self, checkout: &Path) -> Result<Place> {
        let name = self.module.last().map_or("", String::as_str);
        let own = self.dir.join(name);
        let beside = self.dir.join(format!("{name}.rs"));
        let inside = own.join("mod.rs");
        let (file, dir) = match self.path {
            Some(path) => (path.clone(), path.parent().map(Path::to_owned).unwrap_or_default()),
            None if checkout.join(&beside).is_file() => (beside, own),
            None if checkout.join(&inside).is_file() => (inside, own),
            None => anyhow::bail!("{}: mod `{name}` has no file", self.at),
        };
        Ok(Place { file: file.display().to_string(), module: self.module, dir })
    }
}

fn ends_with(path: &[String], end: &[&str]) -> bool {
    path.len() >= end.len() && path[path.len() - end.len()..].iter().eq(end)
}
