//! Voices over a network that only the game's thread may touch.

mod conformance;
mod games;
mod queues;
