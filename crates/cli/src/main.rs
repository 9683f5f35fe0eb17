//! The voicemesh command.
fn main() {}
