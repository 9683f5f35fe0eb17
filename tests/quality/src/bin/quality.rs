//! The voice pipeline's figures, each beside its target.

fn main() {}
