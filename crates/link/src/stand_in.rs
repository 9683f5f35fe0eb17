//! Addresses that stand in for STUN and TURN servers whose names are still being looked up.
//!
//! The driver gathers candidates in one go and does nothing else while it waits for a name, so that
//! one slow name server would hold back even the candidates of the local network. It is therefore
//! given an address at once that no host can have: 0.0.0.n or 100::n (RFC 1122 §3.2.1.3, RFC 6666).
//! The link's sockets translate in both directions, as a NAT does, and keep what is sent before the
//! name is known.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use voicemesh_common::lock;

/// Names of one link; a link has few servers, and each is asked for once for STUN or TURN.
const STAND_INS: usize = 32;
/// Datagrams kept for one name: one for each socket and a retransmission.
const WAITING_DATAGRAMS: usize = 32;

/// The stand-ins of one link. `S` is what a datagram is sent by.
#[derive(Debug)]
pub(crate) struct StandIns<S> {
    entries: Mutex<Vec<Entry<S>>>,
}

impl<S> Default for StandIns<S> {
    fn default() -> Self {
        Self { entries: Mutex::new(Vec::new()) }
    }
}

#[derive(Debug)]
enum Entry<S> {
    /// What was sent so far, and by which socket.
    LookingUp { waiting: Vec<Waiting<S>> },
    /// Empty if the name has no address.
    Known(Vec<SocketAddr>),
}

/// A datagram that waits for the address of its destination.
#[derive(Debug)]
pub(crate) struct Waiting<S> {
    pub(crate) sender: Weak<S>,
    pub(crate) is_ipv4: bool,
    pub(crate) datagram: Vec<u8>,
}

/// Where to send a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Address(SocketAddr),
    /// It is kept until the name is known.
    Kept,
}

/// Names one stand-in of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StandIn(u16);

impl StandIn {
    /// One address of each family.
    pub(crate) fn addresses(self) -> [SocketAddr; 2] {
        let [high, low] = self.0.to_be_bytes();
        [
            SocketAddr::new(Ipv4Addr::new(0, 0, high, low).into(), 1),
            SocketAddr::new(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, self.0).into(), 1),
        ]
    }

    fn of(address: SocketAddr) -> Option<Self> {
        match address.ip() {
            IpAddr::V4(ip) => match ip.octets() {
                [0, 0, high, low] if (high, low) != (0, 0) => {
                    Some(Self(u16::from_be_bytes([high, low])))
                }
                _ => None,
            },
            IpAddr::V6(ip) => match ip.segments() {
                [0x100, 0, 0, 0, 0, 0, 0, number] if number != 0 => Some(Self(number)),
                _ => None,
            },
        }
    }

    fn index(self) -> usize {
        usize::from(self.0) - 1
    }
}

/// Whether a remote's candidate names such an address: no host has it.
pub(crate) fn is_reserved(ip: IpAddr) -> bool {
    StandIn::of(SocketAddr::new(ip, 1)).is_some()
}

impl<S> StandIns<S> {
    /// A new stand-in; nothing if there are too many.
    pub(crate) fn add(&self) -> Option<StandIn> {
        let mut entries = self.lock();
        if entries.len() >= STAND_INS {
            return None;
        }
        entries.push(Entry::LookingUp { waiting: Vec::new() });
        u16::try_from(entries.len()).ok().map(StandIn)
    }

    /// The name's addresses are known (or that it has none). Returns what has waited, with where it
    /// goes.
    pub(crate) fn found(
        &self,
        stand_in: StandIn,
        addresses: Vec<SocketAddr>,
    ) -> Vec<(Waiting<S>, SocketAddr)> {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(stand_in.index()) else { return Vec::new() };
        match std::mem::replace(entry, Entry::Known(addresses.clone())) {
            Entry::LookingUp { waiting } => waiting
                .into_iter()
                .filter_map(|waiting| {
                    let to = of_family(&addresses, waiting.is_ipv4)?;
                    Some((waiting, to))
                })
                .collect(),
            Entry::Known(_) => Vec::new(),
        }
    }

    /// Translates the destination of a datagram.
    ///
    /// # Errors
    /// If the name has no address of this family: no STUN or TURN server is reached from this
    /// socket.
    pub(crate) fn destination(
        &self,
        to: SocketAddr,
        sender: &Arc<S>,
        datagram: &[u8],
    ) -> io::Result<Destination> {
        let Some(stand_in) = StandIn::of(to) else { return Ok(Destination::Address(to)) };
        match self.lock().get_mut(stand_in.index()) {
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
            Some(Entry::Known(addresses)) => of_family(addresses, to.is_ipv4())
                .map(Destination::Address)
                .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()),
            Some(Entry::LookingUp { waiting }) => {
                if waiting.len() < WAITING_DATAGRAMS {
                    let sender = Arc::downgrade(sender);
                    waiting.push(Waiting {
                        sender,
                        is_ipv4: to.is_ipv4(),
                        datagram: datagram.to_vec(),
                    });
                }
                Ok(Destination::Kept)
            }
        }
    }

    /// Translates the source of a datagram that arrived.
    pub(crate) fn source(&self, from: SocketAddr) -> SocketAddr {
        let entries = self.lock();
        let index = entries.iter().position(|entry| match entry {
            Entry::Known(addresses) => of_family(addresses, from.is_ipv4()) == Some(from),
            Entry::LookingUp { .. } => false,
        });
        let stand_in = index.and_then(|index| u16::try_from(index + 1).ok()).map(StandIn);
        stand_in.map_or(from, |stand_in| stand_in.addresses()[usize::from(from.is_ipv6())])
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry<S>>> {
        lock(&self.entries)
    }
}

/// The stack, too, takes the first.
fn of_family(addresses: &[SocketAddr], is_ipv4: bool) -> Option<SocketAddr> {
    addresses.iter().copied().find(|address| address.is_ipv4() == is_ipv4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_sent_before_the_name_is_known_goes_to_its_address_afterwards() {
        let stand_ins = StandIns::default();
        let socket = Arc::new(7);
        let _first = stand_ins.add().unwrap();
        let stand_in = stand_ins.add().unwrap();
        let [v4, v6] = stand_in.addresses();
        assert_eq!((v4, v6), (address("0.0.0.2:1"), address("[100::2]:1")));
        for to in [v4, v6] {
            assert_eq!(stand_ins.destination(to, &socket, b"who am I").unwrap(), Destination::Kept);
        }
        let server = address("192.0.2.9:3478");
        let sent = stand_ins.found(stand_in, vec![server]);
        assert_eq!(sent.len(), 1, "the name has no IPv6 address");
        assert_eq!((&sent[0].0.datagram[..], sent[0].1), (&b"who am I"[..], server));
        assert_eq!(stand_ins.destination(v4, &socket, b"").unwrap(), Destination::Address(server));
        assert!(stand_ins.destination(v6, &socket, b"").is_err());
        assert_eq!(stand_ins.source(server), v4);
    }

    #[test]
    fn other_addresses_are_left_alone() {
        let stand_ins = StandIns::default();
        let socket = Arc::new(());
        for text in ["192.0.2.1:5", "127.0.0.1:1", "[2001:db8::1]:3478", "0.1.0.1:1", "[100::]:1"] {
            let other = address(text);
            assert_eq!(
                stand_ins.destination(other, &socket, b"").unwrap(),
                Destination::Address(other)
            );
            assert_eq!(stand_ins.source(other), other);
            assert!(!is_reserved(other.ip()), "{text}");
        }
        assert!(
            stand_ins.destination(address("0.0.0.1:1"), &socket, b"").is_err(),
            "it was never made"
        );
    }

    #[test]
    fn stand_ins_and_what_waits_for_them_are_bounded() {
        let stand_ins = StandIns::default();
        let socket = Arc::new(());
        let made: Vec<_> = std::iter::from_fn(|| stand_ins.add()).take(1_000).collect();
        assert_eq!(made.len(), STAND_INS);
        for _ in 0..1_000 {
            stand_ins.destination(made[0].addresses()[0], &socket, b"again").unwrap();
        }
        assert_eq!(
            stand_ins.found(made[0], vec![address("192.0.2.9:3478")]).len(),
            WAITING_DATAGRAMS
        );
    }
}
