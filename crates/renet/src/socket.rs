//! A UDP socket whose reading is bounded, and whose errors are judged.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::socket_errors::SocketErrors;

/// Datagrams that one look takes; what is more waits in the system's buffer, which is bounded. More
/// than arrive between two looks at the largest session.
const DATAGRAMS_PER_LOOK: usize = 4_096;
/// The longest that netcode makes.
const LONGEST_DATAGRAM_BYTES: usize = 1_400;

#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    errors: SocketErrors,
    buffer: [u8; LONGEST_DATAGRAM_BYTES],
}

impl Socket {
    /// # Errors
    ///
    /// Those of the system.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, Error> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, errors: SocketErrors::default(), buffer: [0; LONGEST_DATAGRAM_BYTES] })
    }

    /// # Errors
    ///
    /// Those of the system.
    pub(crate) fn address(&self) -> Result<SocketAddr, Error> {
        self.socket.local_addr()
    }

    /// Errors so far, fatal or not.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.count()
    }

    /// Gives each datagram that has arrived to `take`. `passed`: the time since the last look.
    ///
    /// # Errors
    ///
    /// One that has lasted five seconds.
    pub(crate) fn receive(
        &mut self,
        passed: Duration,
        mut take: impl FnMut(SocketAddr, &mut [u8]),
    ) -> Result<(), Error> {
        let Self { socket, errors, buffer } = self;
        let mut left = DATAGRAMS_PER_LOOK;
        errors.look(passed, || {
            while left > 0 {
                left -= 1;
                match socket.recv_from(buffer) {
                    Ok((bytes, from)) => take(from, &mut buffer[..bytes]),
                    Err(error) if is_empty(&error) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    /// A datagram that cannot be sent is lost, as others are on their way. Netcode finds a
    /// connection to be gone when nothing has come for a time.
    pub(crate) fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        match self.socket.send_to(datagram, to) {
            Err(error) if !is_empty(&error) => self.errors.count_one(),
            _ => {}
        }
    }
}

/// Nothing has arrived, or nothing more can be sent now.
fn is_empty(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
