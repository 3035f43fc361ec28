//! The `bise` program.

fn main() {}
