//! How many requests over HTTP are answered: on one connection, of one address, and before
//! everything else on the server's thread has its turn.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use voicemesh_rooms::{AddressKey, Rate, TokenBucket, lock};

use super::turns::Turns;
use super::unityp2p::{PREFIX, path_of};

/// Requests of one address: a class that opens the page at once makes some thousands.
const OF_ADDRESS: Rate = Rate::new(4_000.0, 100.0);
/// Requests on one connection. What an address has does not count for connections of this machine,
/// and for those of a proxy on it that is not named.
const OF_CONNECTION: Rate = Rate::new(400.0, 20.0);
/// An answer of so many bytes counts as one more request: what is asked for in a line must not cost
/// the host more than a visit does. A whole page takes about ten.
const BYTES_OF_ONE: f64 = 16_384.0;
/// What the metrics count as: they look at every room.
const METRICS: f64 = 20.0;
/// Answered before everything else has its turn.
const PER_TURN: usize = 2;
/// Addresses whose requests are counted. When there are more, those that have rested are forgotten,
/// and else the one that was counted longest ago.
const ADDRESSES: usize = 8192;

/// All requests of a server.
#[derive(Debug)]
pub(super) struct RequestLimits {
    addresses: Mutex<HashMap<(AddressKey, Wanted), TokenBucket>>,
    turns: Turns,
}

/// What is counted apart, so that neighbours who ask for much else keep no member out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    /// By its path, whether it is one or not.
    WebSocket,
    Other,
}

impl Wanted {
    fn at(path: &str) -> Self {
        if is_web_socket(path) { Self::WebSocket } else { Self::Other }
    }
}

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct ConnectionRequests(Mutex<TokenBucket>);

impl ConnectionRequests {
    pub(super) fn new(now: Duration) -> Self {
        Self(Mutex::new(TokenBucket::full(now, OF_CONNECTION)))
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { addresses: Mutex::default(), turns: Turns::new(PER_TURN) }
    }
}

impl RequestLimits {
    /// Waits until a request may be answered; the answer if it is one too many.
    pub(super) async fn admit(
        &self,
        now: Duration,
        connection: &ConnectionRequests,
        address: Option<AddressKey>,
        path: &str,
    ) -> Result<(), Response> {
        let cost = if path.ends_with("/metrics") { METRICS } else { 1.0 };
        let counted = address.map(|address| (address, Wanted::at(path)));
        self.take(now, connection, counted, cost).map_err(too_many)?;
        // Given back at once: who has waited for it yields before it is used.
        drop(self.turns.next().await);
        Ok(())
    }

    /// Counts the bytes of an answer. Who asked for more than there is left is answered, and waits
    /// until that is made up for.
    pub(super) fn answered(
        &self,
        now: Duration,
        connection: &ConnectionRequests,
        address: Option<AddressKey>,
        path: &str,
        bytes: u64,
    ) {
        let cost = bytes as f64 / BYTES_OF_ONE;
        let charge = |bucket: &mut TokenBucket, rate: Rate| {
            bucket.fill(now, rate);
            bucket.charge(cost);
        };
        charge(&mut lock(&connection.0), OF_CONNECTION);
        let counted = address.map(|address| (address, Wanted::at(path)));
        let mut addresses = lock(&self.addresses);
        if let Some(bucket) = counted.and_then(|counted| addresses.get_mut(&counted)) {
            charge(bucket, OF_ADDRESS);
        }
    }

    /// Else the time until it is within what connection and address may have.
    fn take(
        &self,
        now: Duration,
        connection: &ConnectionRequests,
        address: Option<(AddressKey, Wanted)>,
        cost: f64,
    ) -> Result<(), Duration> {
        let take = |bucket: &mut TokenBucket, rate: Rate| {
            let taken = bucket.take(now, rate, cost);
            if taken { Ok(()) } else { Err(bucket.time_until(now, rate, cost)) }
        };
        take(&mut lock(&connection.0), OF_CONNECTION)?;
        let Some(address) = address else { return Ok(()) };
        let mut addresses = lock(&self.addresses);
        if addresses.len() >= ADDRESSES && !addresses.contains_key(&address) {
            forget(now, &mut addresses);
        }
        let fresh = || TokenBucket::full(now, OF_ADDRESS);
        take(addresses.entry(address).or_insert_with(fresh), OF_ADDRESS)
    }
}

fn forget(now: Duration, addresses: &mut HashMap<(AddressKey, Wanted), TokenBucket>) {
    addresses.retain(|_, bucket| bucket.tokens_at(now, OF_ADDRESS) < OF_ADDRESS.burst);
    if addresses.len() >= ADDRESSES {
        let oldest = addresses.iter().min_by_key(|(_, bucket)| bucket.filled_at());
        let oldest = oldest.map(|(address, _)| *address);
        oldest.and_then(|address| addresses.remove(&address));
    }
}

/// Below any base path. A room's page is none, whatever the room's name.
fn is_web_socket(path: &str) -> bool {
    let unityp2p = path.find(PREFIX).map(|at| path.split_at(at));
    path.ends_with("/ws")
        || unityp2p.is_some_and(|(base, rest)| path_of(rest).is_some() && !base.ends_with("/r"))
}

/// The connection ends with it: nothing that was sent behind this request is answered.
fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(1);
    let headers = [
        (RETRY_AFTER, HeaderValue::from(seconds)),
        (CONNECTION, HeaderValue::from_static("close")),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, "Too many requests.\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    #[test]
    fn connections_share_what_their_address_may_have_and_each_has_its_own_part() {
        let limits = RequestLimits::default();
        let (here, there) =
            [1, 2].map(|address| Some((AddressKey::V4(address), Wanted::Other))).into();
        let fill = |address| {
            let connection = ConnectionRequests::new(NOW);
            (0..10_000).take_while(|_| limits.take(NOW, &connection, address, 1.0).is_ok()).count()
        };
        let taken: Vec<usize> = (0..12).map(|_| fill(here)).collect();
        assert_eq!((taken[0], taken.iter().sum()), (400, 4_000));
        assert_eq!((fill(there), fill(None)), (400, 400));
        let connection = ConnectionRequests::new(NOW);
        let wait = limits.take(NOW, &connection, here, METRICS).unwrap_err();
        assert_eq!(wait, Duration::from_millis(200));
        assert_eq!(limits.take(NOW + wait, &connection, here, METRICS), Ok(()));
    }

    /// The page's module without compression is 124 kB: 16 kB of it count as a request.
    #[tokio::test]
    async fn large_answers_use_up_what_an_address_may_ask_for() {
        let (limits, here) = (RequestLimits::default(), Some(AddressKey::V4(1)));
        let asked = |now, bytes| {
            let limits = &limits;
            async move {
                let connection = ConnectionRequests::new(now);
                let mut sent = 0;
                while limits.admit(now, &connection, here, "/a").await.is_ok() {
                    limits.answered(now, &connection, here, "/a", bytes);
                    sent += bytes;
                }
                sent
            }
        };
        let mut sent = 0;
        for _ in 0..20 {
            sent += asked(NOW, 124_000).await;
        }
        assert!((55_000_000..66_000_000).contains(&sent), "{sent} bytes at once");
        let mut sent = 0;
        for second in 1..=10 {
            sent += asked(NOW + Duration::from_secs(second), 124_000).await;
        }
        assert!((12_000_000..17_000_000).contains(&sent), "{sent} bytes in ten seconds");
        // On many connections at a time, of which each is let in before the others are counted.
        let mut sent = 0;
        for at in (11..=40).map(Duration::from_secs) {
            let connections: Vec<_> = (0..100).map(|_| ConnectionRequests::new(NOW + at)).collect();
            let mut let_in = Vec::new();
            for connection in &connections {
                if limits.admit(NOW + at, connection, here, "/a").await.is_ok() {
                    let_in.push(connection);
                }
            }
            for connection in let_in {
                limits.answered(NOW + at, connection, here, "/a", 124_000);
                sent += 124_000;
            }
        }
        assert!(sent < 55_000_000, "{sent} bytes in thirty seconds");
    }

    #[tokio::test]
    async fn requests_of_neighbours_keep_no_one_from_a_web_socket() {
        let (limits, here) = (RequestLimits::default(), Some(AddressKey::V4(1)));
        for _ in 0..4_000 / 400 {
            let connection = ConnectionRequests::new(NOW);
            for _ in 0..400 {
                assert!(limits.admit(NOW, &connection, here, "/healthz").await.is_ok());
            }
        }
        let connection = ConnectionRequests::new(NOW);
        assert!(limits.admit(NOW, &connection, here, "/healthz").await.is_err());
        for path in ["/ws", "/voice/ws", "/unityp2p", "/voice/unityp2p/callapp"] {
            assert!(limits.admit(NOW, &connection, here, path).await.is_ok(), "{path}");
        }
        for path in ["/r/unityp2p", "/unityp2p/else"] {
            assert!(limits.admit(NOW, &connection, here, path).await.is_err(), "{path}");
        }
        // Nor is a path that looks like one a way around what an address may have.
        let mut more = 0;
        while more < 2 * 4_000 && {
            let connection = ConnectionRequests::new(NOW);
            limits.admit(NOW, &connection, here, "/else/ws").await.is_ok()
        } {
            more += 1;
        }
        assert_eq!(more, 4_000 - 4);
    }

    #[test]
    fn any_number_of_addresses_takes_no_more_than_a_few_thousand_places() {
        let limits = RequestLimits::default();
        let connection = || ConnectionRequests::new(NOW);
        let spend = |address, cost| {
            limits.take(NOW, &connection(), Some((AddressKey::V6(address), Wanted::Other)), cost)
        };
        for address in 0..3 * ADDRESSES as u64 {
            assert_eq!(spend(address, 1.0), Ok(()));
        }
        assert_eq!(lock(&limits.addresses).len(), ADDRESSES);
    }
}
