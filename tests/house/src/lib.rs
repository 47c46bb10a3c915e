//! The house: what holds the structure of this workspace's crates, and says it in figures.
//!
//! # Layers
//!
//! The docs of a crate's lib.rs have a table of its layers, bottom up:
//!
//! ```text
//! //! | layer | what it is |
//! //! |---|---|
//! //! | `model` | plain types and pure rules |
//! //! | `args`, `settings` | the command line; spotblock.toml |
//! ```
//!
//! Each module of the crate's root stands in one row. It may use the modules of its own row and of
//! the rows above. lib.rs itself may use all of them, and none may use what lib.rs defines; a name
//! that lib.rs only passes on counts as its module's. Another crate that lib.rs gives a name
//! (`use provisioner_model as model;`) can be a layer as well. Code under `#[cfg(test)]` is free.
//!
//! `tests/crates.rs` holds the crates to their tables, `tests/rules.rs` holds this crate to that.
//!
//! # How it works
//!
//! 1. `tree.rs` follows the `mod` declarations from lib.rs, file by file.
//! 2. `source.rs` finds every path that a file's code names, with `uses.rs` in what it imports, and
//!    with `tokens.rs` in attributes and macros; `attributes.rs` leaves tests out.
//! 3. `imports.rs` says which module each path leads to.
//! 4. `layers.rs` reads the table and holds the imports against it.
//! 5. `graph.rs` finds circles, and the arrows that run back.
//! 6. `measure.rs` has the figures that `make house` prints, also for a checkout without layers.

mod attributes;
mod graph;
mod imports;
pub mod layers;
pub mod measure;
mod source;
mod tokens;
mod tree;
mod uses;

pub use imports::Import;
pub use tree::Crate;
