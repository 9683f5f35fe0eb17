//! How good it sounds.
//!
//! - [`hear`](mod@hear): was what one peer spoke heard by another? Figures, and a floor that they
//!   must reach.
//! - [`speech`]: the recorded voices in `tests/speech`; [`wav`]: files of 48 kHz mono.
//!
//! The program `voicemesh-quality` runs the voice pipeline through simulated networks, rooms and
//! noises, and prints each figure beside its target; `make bench` runs it.

pub mod capture_cpu;
pub mod detector;
pub mod echo;
pub mod echo_room;
pub mod hear;
pub mod network;
pub mod noise;
pub mod noise_sources;
pub mod pesq;
pub mod report;
pub mod speech;
pub mod wav;
