//! Clusters under a virtual clock.

mod line;
mod member;
mod scenarios;
mod seeds;
mod world;
