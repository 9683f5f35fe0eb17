//! What several crates use, each in one implementation: a [`TokenBucket`], a [`RoundTrip`] that
//! follows its samples, a [`NextTimer`] for machines that say when they are to be called, an
//! [`AddressKey`] for addresses that share a budget, a bound for [`Unfinished`] messages,
//! [`shortened`] texts for sentences, and [`lock`] for a mutex.
//!
//! Pure: the time is an argument, as the [`Duration`](std::time::Duration) since any fixed moment.

mod address_key;
mod next_timer;
mod round_trip;
mod shortened;
mod sync;
mod token_bucket;
mod unfinished;

pub use address_key::AddressKey;
pub use next_timer::NextTimer;
pub use round_trip::RoundTrip;
pub use shortened::shortened;
pub use sync::{get_mut, lock, read, write};
pub use token_bucket::{Rate, TokenBucket};
pub use unfinished::{Most, Unfinished};
