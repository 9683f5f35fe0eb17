//! Why a server did not start.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use thiserror::Error;

use crate::config::ConfigError;
use crate::config::key_file::is_out_of_files;

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
        source: io::Error,
    },
    /// The runtime or signal handlers could not be set up.
    #[error("the system does not let the server start: {}", system_words(.0))]
    System(#[from] io::Error),
}

/// Why an address cannot be bound, for a sentence that goes on with what to do about it. The
/// system's own words go to the log.
pub(super) fn listen_words(error: &io::Error) -> &'static str {
    tracing::debug!(%error, "an address cannot be bound");
    match error.kind() {
        ErrorKind::AddrInUse => "another program listens there",
        ErrorKind::AddrNotAvailable => "this machine has no such address",
        ErrorKind::PermissionDenied => "this user has no permission for the port",
        _ if is_out_of_files(error) => "this program has too many files and connections open",
        _ => "this machine has no addresses of that kind, or forbids programs to listen there",
    }
}

/// What the system has refused, and what to do about it. Its own words go to the log.
pub(super) fn system_words(error: &io::Error) -> &'static str {
    tracing::debug!(%error, "the system refuses something");
    match error.kind() {
        _ if is_out_of_files(error) => {
            "this program has too many files and connections open; raise the limit (systemd: LimitNOFILE, Docker: --ulimit nofile)"
        }
        ErrorKind::OutOfMemory => {
            "there is no memory left; end other programs, or give the machine more"
        }
        ErrorKind::PermissionDenied => {
            "this user has no permission, or a firewall of this machine forbids it; let the server's user have sockets and threads"
        }
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {
            "the client had gone; nothing is to be done about it"
        }
        ErrorKind::WouldBlock => {
            "this user has too many threads and programs; end some, or raise the limit (ulimit -u)"
        }
        ErrorKind::NetworkDown | ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            "this machine has no network; look at its connections"
        }
        _ => {
            "it gives this program no sockets or threads; end other programs, or raise the limits of this user"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_system_refuses_is_said_in_our_words_with_the_next_step() {
        for number in 1..200 {
            let error = || io::Error::from_raw_os_error(number);
            let of_system = error().to_string();
            let of_system = of_system.split(" (os error").next().unwrap().to_lowercase();
            let address = "192.0.2.1:80".parse().unwrap();
            for said in [
                ServeError::System(error()).to_string(),
                ServeError::Listen { address, source: error() }.to_string(),
                system_words(&error()).to_owned(),
            ] {
                assert!(!said.to_lowercase().contains(&of_system), "{said}");
                assert!(!said.contains("os error") && said.contains("; "), "{said}");
            }
        }
    }
}
