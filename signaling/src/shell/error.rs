//! Why a server did not start.

use std::io::ErrorKind;
use std::net::SocketAddr;

use thiserror::Error;

use crate::config::ConfigError;
use crate::config::key_file::without_number;

/// Why a server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting cannot be meant; nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another program has the port, or this one may not have it.
    #[error(
        "cannot listen on {address}: {}; choose another with --listen or --port",
        listen_words(source)
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime or signal handlers could not be set up.
    #[error(
        "the system does not let the server start: {}; end other programs, or raise the limits of this user",
        without_number(.0)
    )]
    System(#[from] std::io::Error),
}

/// Why an address cannot be bound, without the system's error number.
pub(super) fn listen_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "another program listens there".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => "this user has no permission for the port".to_owned(),
        _ => without_number(error),
    }
}
