//! Tests of the whole ring.

mod attacks;
mod fuzz;
mod lifecycle;
mod model;
pub(crate) mod sealed;
mod vectors;
mod world;
