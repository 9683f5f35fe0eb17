//! Identity proofs.
