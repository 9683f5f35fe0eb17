//! Engines over networks in this process, under a virtual clock.

mod bandwidth;
mod contract;
mod crowd;
mod encryption;
mod frames;
mod host;
mod malicious;
mod mirror;
mod modes;
mod outputs;
mod places;
mod relaying;
