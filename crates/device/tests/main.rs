//! Devices: those of a sound server, and simulated ones.

mod pulse;
mod simulated;
mod standard_error;
