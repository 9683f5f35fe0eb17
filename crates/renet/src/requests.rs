//! Requests that netcode has answered and keeps until they are confirmed or their token expires.
//!
//! renetcode 2.0.0 has 4,096 places for them and nothing that empties one before its token expires,
//! which is what the client says, and may be days away. So each is taken back after seconds (the
//! caller has netcode refuse it), one address has few, and where there are too many the oldest makes
//! room. No two are of one client: netcode would keep the second for as long as the first is
//! connected.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::datagram::Request;
use crate::parameters::TOKEN_SECONDS;

/// Of one IPv4 address, or one IPv6 network of 64 bits: a household's, or a company's at a time.
const OF_ADDRESS: usize = 64;
/// In all, fewer than netcode's places.
const IN_ALL: usize = 4_000;
/// A client confirms within a round trip what was answered, and asks four times a second until then.
const LIFE: Duration = Duration::from_secs(10);
/// Clocks may be wrong by two days.
const LATEST_SECONDS: u64 = 2 * TOKEN_SECONDS;

/// An IPv4 address, or an IPv6 network of 64 bits, as a number.
pub(crate) fn origin(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

/// The requests that netcode keeps.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    kept: BTreeMap<SocketAddr, Kept>,
    /// By the client's id.
    clients: BTreeMap<u64, SocketAddr>,
    /// The oldest first, with the number that its entry in `kept` has, if it is still there.
    in_order: BTreeMap<u64, SocketAddr>,
    noted: u64,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    client: u64,
    since: Duration,
    datagram: Box<[u8]>,
}

impl Requests {
    /// Whether netcode may see a request; `false` for one whose token is good for longer than ours
    /// are.
    pub(crate) fn admits(now_s: u64, request: &Request) -> bool {
        request.expires_at_s <= now_s.saturating_add(LATEST_SECONDS)
    }

    /// The next that has to go before netcode sees a request, until there is none.
    pub(crate) fn next_replaced(
        &mut self,
        from: SocketAddr,
        request: &Request,
    ) -> Option<(SocketAddr, Box<[u8]>)> {
        let goes = match (self.clients.get(&request.client), self.kept.get(&from)) {
            (Some(other), _) if *other != from => Some(*other),
            (_, Some(kept)) => (kept.client != request.client).then_some(from),
            (_, None) => self.oldest_of_full(from.ip()),
        };
        self.take(goes?)
    }

    /// The next that was not confirmed in time, until there is none.
    pub(crate) fn next_expired(&mut self, now: Duration) -> Option<(SocketAddr, Box<[u8]>)> {
        let (_, first) = self.in_order.first_key_value()?;
        let kept = self.kept.get(first)?;
        if now < kept.since + LIFE {
            return None;
        }
        self.take(*first)
    }

    /// Netcode keeps it. That it is repeated does not change for how long.
    pub(crate) fn note(
        &mut self,
        now: Duration,
        from: SocketAddr,
        request: &Request,
        datagram: &[u8],
    ) {
        if self.kept.contains_key(&from) {
            return;
        }
        self.noted += 1;
        let (number, client) = (self.noted, request.client);
        self.in_order.insert(number, from);
        self.clients.insert(client, from);
        self.kept.insert(from, Kept { number, client, since: now, datagram: datagram.into() });
    }

    /// It has become a connection.
    pub(crate) fn forget(&mut self, from: SocketAddr) {
        self.take(from);
    }

    fn take(&mut self, from: SocketAddr) -> Option<(SocketAddr, Box<[u8]>)> {
        let kept = self.kept.remove(&from)?;
        self.in_order.remove(&kept.number);
        self.clients.remove(&kept.client);
        Some((from, kept.datagram))
    }

    /// The one that makes room if there are too many of this address, or in all.
    fn oldest_of_full(&self, address: IpAddr) -> Option<SocketAddr> {
        let (first, last) = match address {
            IpAddr::V4(_) => (address, address),
            // IPv4 on a socket for both.
            IpAddr::V6(mapped) if mapped.to_ipv4_mapped().is_some() => (address, address),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                let ip = |host: u64| IpAddr::V6(Ipv6Addr::from(network | u128::from(host)));
                (ip(0), ip(u64::MAX))
            }
        };
        let of_address =
            || self.kept.range(SocketAddr::new(first, 0)..=SocketAddr::new(last, u16::MAX));
        if of_address().count() >= OF_ADDRESS {
            return of_address().min_by_key(|(_, kept)| kept.number).map(|(from, _)| *from);
        }
        let oldest = self.in_order.first_key_value().map(|(_, from)| *from);
        oldest.filter(|_| self.kept.len() >= IN_ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn request(client: u64) -> Request {
        Request { client, expires_at_s: 200 }
    }

    /// Gives who had to go for it.
    fn ask(requests: &mut Requests, now: Duration, from: &str, client: u64) -> Vec<String> {
        let (from, request) = (from.parse().unwrap(), request(client));
        let mut gone = Vec::new();
        while let Some((from, datagram)) = requests.next_replaced(from, &request) {
            assert_eq!(*datagram, [7]);
            gone.push(from.to_string());
        }
        requests.note(now, from, &request, &[7]);
        assert_eq!(requests.kept.len(), requests.in_order.len());
        assert_eq!(requests.kept.len(), requests.clients.len());
        gone
    }

    #[test]
    fn one_address_or_network_of_ipv6_has_few_places_and_its_newest_requests_have_them() {
        let mut requests = Requests::default();
        let mut client = 0;
        let mut ask = |from: &str| {
            client += 1;
            ask(&mut requests, NOW, from, client)
        };
        for network in ["192.0.2.1:", "[2001:db8::7]:", "[::ffff:192.0.2.3]:"] {
            for port in 1..=OF_ADDRESS {
                assert_eq!(ask(&format!("{network}{port}")), [""; 0]);
            }
        }
        for (from, gone) in [
            ("192.0.2.1:9000", Some("192.0.2.1:1")),
            ("192.0.2.1:9001", Some("192.0.2.1:2")),
            ("192.0.2.2:9000", None),
            ("[2001:db8::8]:9000", Some("[2001:db8::7]:1")),
            ("[2001:db8:0:1::8]:9000", None),
            ("[::ffff:192.0.2.3]:9000", Some("[::ffff:192.0.2.3]:1")),
            ("[::ffff:192.0.2.4]:9000", None),
        ] {
            assert_eq!(ask(from), Vec::from_iter(gone), "{from}");
        }
    }

    #[test]
    fn who_comes_from_one_address_or_network_of_ipv6_has_one_origin() {
        let origin = |address: &str| origin(address.parse().unwrap());
        assert_eq!(origin("192.0.2.1"), origin("::ffff:192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::2"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
    }

    #[test]
    fn places_are_free_after_seconds_however_long_a_token_is_good_and_often_it_is_shown() {
        let mut requests = Requests::default();
        for second in 0..10 {
            let now = NOW + Duration::from_secs(second);
            assert_eq!(ask(&mut requests, now, "192.0.2.1:1", 1), [""; 0]);
            assert!(requests.next_expired(now).is_none(), "in second {second}");
        }
        ask(&mut requests, NOW + Duration::from_secs(9), "192.0.2.1:2", 2);
        let gone = requests.next_expired(NOW + LIFE).map(|(from, _)| from.to_string());
        assert_eq!(gone.as_deref(), Some("192.0.2.1:1"));
        assert!(requests.next_expired(NOW + LIFE).is_none());
        assert_eq!(requests.kept.len(), 1);
    }

    #[test]
    fn a_client_has_one_request_and_an_address_with_its_port_one_client() {
        let mut requests = Requests::default();
        assert_eq!(ask(&mut requests, NOW, "192.0.2.1:1", 1), [""; 0]);
        assert_eq!(ask(&mut requests, NOW, "192.0.2.9:1", 1), ["192.0.2.1:1"]);
        assert_eq!(ask(&mut requests, NOW, "192.0.2.9:1", 2), ["192.0.2.9:1"], "a new program");
        ask(&mut requests, NOW, "192.0.2.3:1", 3);
        assert_eq!(
            ask(&mut requests, NOW, "192.0.2.3:1", 2),
            ["192.0.2.9:1", "192.0.2.3:1"],
            "both of them"
        );
    }

    #[test]
    fn many_addresses_take_no_more_than_all_places() {
        let mut requests = Requests::default();
        for client in 0..2 * IN_ALL as u64 {
            let from = format!("10.0.{}.{}:1", client / 250, client % 250);
            let gone = ask(&mut requests, NOW, &from, client);
            assert_eq!(gone.len(), usize::from(client >= IN_ALL as u64));
        }
        assert_eq!(requests.kept.len(), IN_ALL);
    }

    #[test]
    fn a_token_that_is_good_for_longer_than_ours_is_refused() {
        for (expires_at_s, expected) in
            [(u64::MAX, false), (101 + LATEST_SECONDS, false), (100 + LATEST_SECONDS, true)]
        {
            assert_eq!(Requests::admits(100, &Request { client: 1, expires_at_s }), expected);
        }
    }
}
