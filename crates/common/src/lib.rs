//! What several crates use, each in one implementation: a [`TokenBucket`], a [`RoundTrip`] that
//! follows its samples, and [`lock`] for a mutex.
//!
//! Pure: the time is an argument, as the [`Duration`](std::time::Duration) since any fixed moment.

mod round_trip;
mod sync;
mod token_bucket;

pub use round_trip::RoundTrip;
pub use sync::{get_mut, lock, read, write};
pub use token_bucket::{Rate, TokenBucket};
