//! The local cloud as a program.
fn main() {}
