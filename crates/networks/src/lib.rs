//! Integrations of the [`Network`](voicemesh_session::Network) trait that need no signaling.
//!
//! - [`memory`]: everybody in one process, perfect delivery; for tests, examples and programs that
//!   split themselves.

pub mod memory;
