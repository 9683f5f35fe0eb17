//! What a reader of this project may rely on, held by tests: who imports whom, what pure crates never touch, which promises have
//! a proof, how files are kept, and that links between documents work. Each check is first shown a planted offence.

mod imports;
mod links;
mod module;
mod purity;
mod rows;
mod source;
mod tidy;
