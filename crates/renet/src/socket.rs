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
    /// The only address that it reaches, if it was connected to one.
    connected: Option<SocketAddr>,
    /// Times that no program listened there.
    refusals: u32,
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
        Ok(Self {
            socket,
            connected: None,
            refusals: 0,
            errors: SocketErrors::default(),
            buffer: [0; LONGEST_DATAGRAM_BYTES],
        })
    }

    /// From now on it reaches this address only, so that the system tells when no program listens
    /// there (ICMP). Where the system refuses that, it goes on without.
    pub(crate) fn connect(&mut self, to: SocketAddr) {
        if self.connected == Some(to) {
            return;
        }
        self.refusals = 0;
        self.connected = self.socket.connect(to).is_ok().then_some(to);
    }

    /// How often the system has said since [`connect`](Self::connect) that no program listens.
    pub(crate) fn refusals(&self) -> u32 {
        self.refusals
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
        let Self { socket, refusals, errors, buffer, .. } = self;
        let mut left = DATAGRAMS_PER_LOOK;
        errors.look(passed, || {
            while left > 0 {
                left -= 1;
                match socket.recv_from(buffer) {
                    Ok((bytes, from)) => take(from, &mut buffer[..bytes]),
                    Err(error) if is_empty(&error) => break,
                    Err(error) => {
                        *refusals += u32::from(is_refusal(&error));
                        return Err(error);
                    }
                }
            }
            Ok(())
        })
    }

    /// A datagram that cannot be sent is lost, as others are on their way. Netcode finds a
    /// connection to be gone when nothing has come for a time.
    pub(crate) fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        let sent = match self.connected {
            Some(connected) if connected == to => self.socket.send(datagram),
            _ => self.socket.send_to(datagram, to),
        };
        if let Err(error) = sent
            && !is_empty(&error)
        {
            self.refusals += u32::from(is_refusal(&error));
            self.errors.count_one();
        }
    }
}

/// An earlier datagram came where no program listens.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}

/// Nothing has arrived, or nothing more can be sent now.
fn is_empty(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
