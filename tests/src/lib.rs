//! What crosses crates: simulation, end to end, vectors, benchmarks.
