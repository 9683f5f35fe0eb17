//! What a reader of this project may rely on, held by tests: who imports whom, what pure crates never touch, which promises have
//! a proof, and how files are kept. Each check is first shown a planted offence.

mod imports;
mod module;
mod purity;
mod rows;
mod source;
mod tidy;
