//! Holds what a reader of this project may rely on: which crate imports which, that no circle of
//! imports grows inside a crate, what pure crates never touch, which promises have a proof, that
//! no file of tests is left out, that links between documents work and that what the architecture
//! names is there. Each check is first shown a planted offence.
//!
//! What clippy can hold stands in the `clippy.toml` files and in `[workspace.lints]`: pure crates
//! name no clock, socket, thread or random order, tests do not sleep, nothing is left `todo!`. That
//! the pure crates compile where there is no operating system is held by `scripts/page.sh
//! check-pure`.

mod circles;
mod files;
mod imports;
mod links;
mod module;
mod programs;
mod public_api;
mod purity;
mod rows;
mod sentences;
mod words;
