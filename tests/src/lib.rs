//! What the end-to-end tests, `make demo` and the benchmarks stand on.
//!
//! - [`hear`](mod@hear): was what one peer spoke heard by another? Figures, and a floor that they must reach.
//! - [`speech`]: the recorded voices in `tests/speech`; [`wav`]: files of 48 kHz mono.
//! - [`skip`]: what to do where the machine lacks root or a program.
//!
//! Nothing here waits for a fixed time: it waits for a line, a number of samples or the end of a process, up to a limit.

pub mod hear;
pub mod skip;
pub mod speech;
pub mod wav;
