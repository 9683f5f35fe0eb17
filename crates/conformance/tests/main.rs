//! The cases, over networks that keep the contract and over those that do not.

mod impaired;
mod memory;
mod mutants;
mod testbed;
