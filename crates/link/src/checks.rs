//! Limits the connectivity checks (RFC 8445 §7) that a link sends to addresses which have not
//! answered yet.
//!
//! The stack sends a check every 20 ms on every candidate pair, so that a pair that works is found
//! within a few milliseconds. On a narrow uplink the checks of a few links would be the congestion
//! that keeps all of them from opening, and a hostile peer could aim them at a third machine by
//! naming its address as a candidate. Here the checks of a pair are therefore sent at growing
//! intervals, and those to one remote, and to all together, within a budget ([`CheckBudget`]). A
//! dropped check is one that the network lost: the stack sends the next one anyway.
//!
//! An address has answered when it has sent a success response to a check of ours, told by its
//! transaction id of 96 random bits, and with a MESSAGE-INTEGRITY attribute: a public STUN server
//! answers anyone, but without one. From then on only the intervals limit checks to it, which are
//! not shorter than the round trip.
//!
//! Checks that go through a TURN server count as those that are sent directly: it sends each of
//! them on to the remote's address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::check_budget::CheckBudget;
use crate::relayed::{Channels, Relayed};

/// Between the first two checks of a pair: the next round of the stack's checks, which come every
/// 20 ms. A little less than half of that, because the third check follows after twice this.
const FIRST_GAP: Duration = Duration::from_millis(9);
/// Each further gap is twice as long, up to this one.
const LONGEST_GAP: Duration = Duration::from_millis(800);
/// A check that arrives from an address that has not answered is a reason to send one there at
/// once, this often.
const ENCOURAGED_INTERVAL: Duration = Duration::from_millis(100);
/// A pair that was refused and did not ask again for this long no longer waits for its turn.
const WAITS_FOR: Duration = Duration::from_millis(60);
/// Candidate pairs of a link of which checks are counted. Further ones are not checked.
const PAIRS: usize = 128;
/// Transaction ids remembered of a pair: those of its last checks.
const TRANSACTIONS: usize = 8;

const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const STUN_HEADER_BYTES: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
/// Only checks carry it, not the requests to a STUN server (RFC 8445 §7.2.2).
const USERNAME: u16 = 0x0006;
/// Answers to checks carry it (RFC 8445 §7.2.2), those of a STUN server do not.
const MESSAGE_INTEGRITY: u16 = 0x0008;
/// A check that chooses its pair (RFC 8445 §8.1.1).
const USE_CANDIDATE: u16 = 0x0025;

type TransactionId = [u8; 12];

/// The checks of one link.
#[derive(Debug, Default)]
pub(crate) struct CheckLimiter {
    budget: Arc<CheckBudget>,
    remote: u128,
    pairs: BTreeMap<Path, Pair>,
    channels: Channels,
}

/// From where to where checks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Path {
    local: SocketAddr,
    /// The TURN server between, if there is one.
    relay: Option<SocketAddr>,
    remote: SocketAddr,
}

#[derive(Debug)]
struct Pair {
    checks: Spacing,
    nominations: Spacing,
    /// The last one that was measured; none until the address has answered.
    round_trip: Option<Duration>,
    encouraged_at: Option<Instant>,
    /// Since when, and when last, a check was refused for want of a token.
    waiting: Option<(Instant, Instant)>,
    /// A ring of what was sent, and when.
    transactions: [Option<(TransactionId, Instant)>; TRANSACTIONS],
    next_transaction: usize,
}

/// Growing gaps between datagrams of one kind.
#[derive(Debug)]
struct Spacing {
    next_at: Instant,
    gap: Duration,
}

impl Spacing {
    fn new(now: Instant) -> Self {
        Self { next_at: now, gap: FIRST_GAP }
    }

    /// The next one follows after the gap, and after `at_least`.
    fn sent(&mut self, now: Instant, at_least: Duration) {
        self.next_at = now + self.gap.max(at_least);
        self.gap = (self.gap * 2).min(LONGEST_GAP);
    }

    /// None comes before this.
    fn rest_until(&mut self, until: Instant) {
        self.next_at = self.next_at.max(until);
    }
}

/// A connectivity check.
struct Check {
    transaction: TransactionId,
    nominates: bool,
}

impl CheckLimiter {
    pub(crate) fn new(budget: Arc<CheckBudget>, remote: u128) -> Self {
        Self { budget, remote, ..Self::default() }
    }

    /// Whether this datagram may be sent now.
    pub(crate) fn admits(
        &mut self,
        now: Instant,
        local: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        match self.channels.outgoing(to, datagram) {
            Relayed::Nothing => {
                self.admits_to(now, Path { local, relay: None, remote: to }, datagram)
            }
            Relayed::Carries(remote, carried) => {
                self.admits_to(now, Path { local, relay: Some(to), remote }, carried)
            }
            Relayed::UnknownChannel(carried) => check(carried).is_none(),
        }
    }

    fn admits_to(&mut self, now: Instant, key: Path, datagram: &[u8]) -> bool {
        let Some(check) = check(datagram) else { return true };
        if self.pairs.len() >= PAIRS && !self.pairs.contains_key(&key) {
            return false;
        }
        let pair = self.pairs.entry(key).or_insert_with(|| Pair::new(now));
        if now < pair.spacing(&check).next_at {
            return false;
        }
        if pair.round_trip.is_some() {
            pair.sent(now, &check);
            return true;
        }
        let waits_since = pair.waiting.map_or(now, |(since, _)| since);
        // Public addresses first, which are few and the way between two homes; then the pair that
        // has waited longest.
        let order = (is_private(key.remote), waits_since);
        let is_first = self.pairs.iter().all(|(other, pair)| {
            *other == key
                || pair.waiting.is_none_or(|(since, asked)| {
                    (is_private(other.remote), since) >= order || now > asked + WAITS_FOR
                })
        });
        let has_token = is_first && self.budget.take(now, self.remote);
        let Some(pair) = self.pairs.get_mut(&key) else { return false };
        if has_token {
            pair.sent(now, &check);
        } else {
            pair.waiting = Some((waits_since, now));
        }
        has_token
    }

    /// Learns who answers, and who is there.
    pub(crate) fn received(
        &mut self,
        now: Instant,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
    ) {
        let (path, datagram) = match self.channels.open(from, datagram) {
            Relayed::Carries(remote, carried) => {
                (Path { local, relay: Some(from), remote }, carried)
            }
            Relayed::Nothing | Relayed::UnknownChannel(_) => {
                (Path { local, relay: None, remote: from }, datagram)
            }
        };
        let Some((kind, transaction)) = stun(datagram) else { return };
        let Some(pair) = self.pairs.get_mut(&path) else { return };
        match kind {
            BINDING_SUCCESS if attributes(datagram).any(|kind| kind == MESSAGE_INTEGRITY) => {
                pair.answered(now, &transaction);
            }
            BINDING_REQUEST
                if pair.round_trip.is_none()
                    && pair.encouraged_at.is_none_or(|at| now >= at + ENCOURAGED_INTERVAL) =>
            {
                (pair.encouraged_at, pair.checks.next_at) = (Some(now), now);
            }
            _ => {}
        }
    }
}

impl Pair {
    fn new(now: Instant) -> Self {
        Self {
            checks: Spacing::new(now),
            nominations: Spacing::new(now),
            round_trip: None,
            encouraged_at: None,
            waiting: None,
            transactions: [None; TRANSACTIONS],
            next_transaction: 0,
        }
    }

    fn spacing(&mut self, check: &Check) -> &mut Spacing {
        if check.nominates { &mut self.nominations } else { &mut self.checks }
    }

    fn sent(&mut self, now: Instant, check: &Check) {
        self.transactions[self.next_transaction] = Some((check.transaction, now));
        self.next_transaction = (self.next_transaction + 1) % TRANSACTIONS;
        self.waiting = None;
        let at_least = self.patience();
        self.spacing(check).sent(now, at_least);
    }

    /// Once a check was answered another one tells nothing new, and a nomination is repeated only
    /// when an answer to the last one could be here: on a narrow way they would take the place of
    /// speech.
    fn answered(&mut self, now: Instant, transaction: &TransactionId) {
        let sent = self.transactions.iter().flatten().find(|(sent, _)| sent == transaction);
        let Some((_, sent_at)) = sent else { return };
        self.round_trip = Some(now.saturating_duration_since(*sent_at));
        self.checks.rest_until(now + self.patience());
    }

    /// How long an answer may take. A round trip that was measured across a stop of this process or
    /// of the network says nothing of the next: keep-alives are checks, too.
    fn patience(&self) -> Duration {
        let at_least = |round_trip: Duration| (round_trip + round_trip / 4).min(LONGEST_GAP);
        self.round_trip.map_or(Duration::ZERO, at_least)
    }
}

/// Whether an address has a meaning in its own network only (RFC 1918, RFC 4193, link-local,
/// loopback).
fn is_private(address: SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// Type and transaction id of a STUN message (RFC 8489 §5).
fn stun(datagram: &[u8]) -> Option<(u16, TransactionId)> {
    let header = datagram.first_chunk::<STUN_HEADER_BYTES>()?;
    let is_stun = header[0] < 4 && header[4..8] == MAGIC_COOKIE;
    let transaction = header[8..].try_into().ok()?;
    is_stun.then_some((u16::from_be_bytes([header[0], header[1]]), transaction))
}

fn check(datagram: &[u8]) -> Option<Check> {
    let (kind, transaction) = stun(datagram)?;
    if kind != BINDING_REQUEST {
        return None;
    }
    let (mut is_check, mut nominates) = (false, false);
    for kind in attributes(datagram) {
        match kind {
            USERNAME => is_check = true,
            USE_CANDIDATE => nominates = true,
            _ => {}
        }
    }
    is_check.then_some(Check { transaction, nominates })
}

/// The types of a STUN message's attributes, in order (RFC 8489 §14).
fn attributes(message: &[u8]) -> impl Iterator<Item = u16> {
    let mut rest = message.get(STUN_HEADER_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, value) = rest.split_first_chunk::<4>()?;
        let value_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
        rest = value.get(value_bytes.next_multiple_of(4)..).unwrap_or_default();
        Some(u16::from_be_bytes([header[0], header[1]]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relayed;

    fn message(kind: u16, transaction: u8, with_username: bool) -> Vec<u8> {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend([0, if with_username { 20 } else { 8 }]);
        message.extend(MAGIC_COOKIE);
        message.extend([transaction; 12]);
        // PRIORITY comes first.
        message.extend([0, 0x24, 0, 4, 1, 2, 3, 4]);
        if with_username {
            message.extend([0, 6, 0, 7]);
            message.extend(*b"abc:def\0");
        }
        message
    }

    fn nomination(transaction: u8) -> Vec<u8> {
        let mut message = message(BINDING_REQUEST, transaction, true);
        message.extend([0, 0x25, 0, 0]);
        message
    }

    /// The answer to a check.
    fn answer(transaction: u8) -> Vec<u8> {
        let mut message = message(BINDING_SUCCESS, transaction, false);
        message.extend([0, 8, 0, 20]);
        message.extend([0; 20]);
        message
    }

    fn address(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    fn limiter() -> CheckLimiter {
        CheckLimiter::new(Arc::default(), 0)
    }

    /// Rounds of checks every 20 ms on these pairs; how many were let through for each.
    fn rounds(
        limiter: &mut CheckLimiter,
        from: Instant,
        rounds: u32,
        remotes: &[SocketAddr],
    ) -> Vec<u32> {
        let mut admitted = vec![0; remotes.len()];
        for round in 0..rounds {
            for (count, remote) in admitted.iter_mut().zip(remotes) {
                let now = from + Duration::from_millis(20) * round;
                let check = message(BINDING_REQUEST, round as u8, true);
                *count += u32::from(limiter.admits(now, address(1, 1), *remote, &check));
            }
        }
        admitted
    }

    #[test]
    fn checks_of_a_pair_come_at_growing_intervals() {
        let (mut limiter, began) = (limiter(), Instant::now());
        assert_eq!(rounds(&mut limiter, began, 3, &[address(2, 2)]), [3], "the first ones at once");
        let first_second =
            3 + rounds(&mut limiter, began + Duration::from_millis(60), 47, &[address(2, 2)])[0];
        assert!((6..=7).contains(&first_second), "{first_second}");
        let tenth_second =
            rounds(&mut limiter, began + Duration::from_secs(10), 50, &[address(2, 2)])[0];
        assert!((1..=2).contains(&tenth_second), "{tenth_second}");
    }

    #[test]
    fn what_has_answered_takes_no_tokens() {
        let (mut limiter, now) = (limiter(), Instant::now());
        let (local, remote) = (address(1, 1), address(2, 2));
        assert!(limiter.admits(now, local, remote, &message(BINDING_REQUEST, 7, true)));
        limiter.received(now, local, remote, &answer(8));
        assert!(
            !limiter.admits(now, local, remote, &message(BINDING_REQUEST, 9, true)),
            "not an answer to a check"
        );
        limiter.received(now, local, address(3, 3), &answer(7));
        assert!(
            !limiter.admits(now, local, remote, &message(BINDING_REQUEST, 9, true)),
            "from elsewhere"
        );
        limiter.received(now, local, remote, &message(BINDING_SUCCESS, 7, false));
        while limiter.budget.take(now, 0) {}
        let later = now + Duration::from_millis(20);
        assert!(
            !limiter.admits(later, local, remote, &message(BINDING_REQUEST, 9, true)),
            "a public STUN server"
        );
        limiter.received(now, local, remote, &answer(7));
        let first_second = rounds(&mut limiter, now, 50, &[remote])[0];
        assert!((5..=6).contains(&first_second), "{first_second}");
        let nomination = nomination(1);
        assert!(
            limiter.admits(now, local, remote, &nomination),
            "nominations have intervals of their own"
        );
        assert!(!limiter.admits(now, local, remote, &nomination));
    }

    /// As the stack sends them through a TURN server: as indications, until a channel is bound.
    #[test]
    fn checks_through_a_turn_server_draw_on_the_same_budget() {
        let (mut limiter, began) = (limiter(), Instant::now());
        let (local, server) = (address(1, 1), address(9, 3478));
        let mut sent = 0;
        for round in 0..500_u16 {
            let now = began + Duration::from_millis(20) * u32::from(round);
            let check = message(BINDING_REQUEST, round as u8, true);
            for number in 0..24 {
                let third = address(3, 1_000 + number);
                let is_bound = round > 10;
                if round == 10 {
                    assert!(limiter.admits(
                        now,
                        local,
                        server,
                        &relayed::tests::binding(0x4000 + number, third)
                    ));
                }
                let datagram = if is_bound {
                    relayed::tests::through(0x4000 + number, &check)
                } else {
                    relayed::tests::indication(third, &check)
                };
                sent += u32::from(limiter.admits(now, local, server, &datagram));
            }
        }
        assert!((100..=20 + 20 * 10).contains(&sent), "{sent} in 10 s");
        let unknown = relayed::tests::through(0x5000, &message(BINDING_REQUEST, 1, true));
        assert!(!limiter.admits(began, local, server, &unknown), "where it goes is not known");
    }

    #[test]
    fn an_answer_through_a_turn_server_counts_for_that_way_alone() {
        let (mut limiter, now) = (limiter(), Instant::now());
        let (local, server, remote) = (address(1, 1), address(9, 3478), address(2, 2));
        let check = message(BINDING_REQUEST, 7, true);
        assert!(limiter.admits(now, local, server, &relayed::tests::indication(remote, &check)));
        limiter.received(now, local, server, &relayed::tests::indication(remote, &answer(7)));
        while limiter.budget.take(now, 0) {}
        let later = now + Duration::from_millis(20);
        assert!(
            limiter.admits(later, local, server, &relayed::tests::indication(remote, &check)),
            "it has answered"
        );
        assert!(!limiter.admits(later, local, remote, &check), "directly it has not");
        let speech = relayed::tests::indication(remote, &[22; 200]);
        assert!(
            (0..100).all(|_| limiter.admits(later, local, server, &speech)),
            "only checks are held back"
        );
    }

    #[test]
    fn a_check_from_an_address_is_answered_with_one_at_once() {
        let (mut limiter, began) = (limiter(), Instant::now());
        rounds(&mut limiter, began, 100, &[address(2, 2)]);
        let now = began + Duration::from_secs(2);
        let check = message(BINDING_REQUEST, 1, true);
        let mut admitted = 0;
        for _ in 0..100 {
            limiter.received(now, address(1, 1), address(2, 2), &check);
            admitted += u32::from(limiter.admits(now, address(1, 1), address(2, 2), &check));
        }
        assert_eq!(admitted, 1);
    }

    /// Behind a queue of 400 ms.
    #[test]
    fn who_has_answered_late_is_checked_and_nominated_no_sooner_than_it_can_answer() {
        let (mut limiter, began) = (limiter(), Instant::now());
        let (local, remote) = (address(1, 1), address(2, 2));
        assert!(limiter.admits(began, local, remote, &message(BINDING_REQUEST, 7, true)));
        let answered_at = began + Duration::from_millis(400);
        limiter.received(answered_at, local, remote, &answer(7));
        assert_eq!(rounds(&mut limiter, answered_at, 25, &[remote]), [0], "in half a second");
        let nominated = (0..100_u32).filter(|round| {
            let now = answered_at + Duration::from_millis(20) * *round;
            limiter.admits(now, local, remote, &nomination(1))
        });
        assert_eq!(nominated.collect::<Vec<_>>(), [0, 25, 50, 75], "every 500 ms");
        let check = message(BINDING_REQUEST, 9, true);
        limiter.received(answered_at, local, remote, &check);
        assert!(!limiter.admits(answered_at, local, remote, &check), "its checks need no other");
    }

    #[test]
    fn an_answer_that_came_after_half_a_minute_does_not_silence_the_keep_alives() {
        let (mut limiter, began) = (limiter(), Instant::now());
        let (local, remote) = (address(1, 1), address(2, 2));
        assert!(limiter.admits(began, local, remote, &message(BINDING_REQUEST, 7, true)));
        let woken_at = began + Duration::from_secs(30);
        limiter.received(woken_at, local, remote, &answer(7));
        let next = woken_at + LONGEST_GAP;
        assert!(limiter.admits(next, local, remote, &message(BINDING_REQUEST, 8, true)));
        assert!(!limiter.admits(next, local, remote, &message(BINDING_REQUEST, 9, true)));
    }

    #[test]
    fn many_candidates_share_the_checks_of_a_remote_in_turn() {
        let (mut limiter, began) = (limiter(), Instant::now());
        let remotes: Vec<_> = (0..40).map(|port| address(2, 1_000 + port)).collect();
        let admitted = rounds(&mut limiter, began, 250, &remotes);
        let all: u32 = admitted.iter().sum();
        assert!((100..=120).contains(&all), "{all} in 5 s");
        assert!(admitted.iter().all(|checks| (2..=4).contains(checks)), "{admitted:?}");
    }

    #[test]
    fn the_public_address_behind_many_private_ones_does_not_wait_for_them() {
        let (mut limiter, began) = (limiter(), Instant::now());
        let mut remotes: Vec<_> =
            (0..40).map(|port| SocketAddr::from(([172, 17, 0, 1], 1_000 + port))).collect();
        remotes.push(address(2, 2));
        let admitted = rounds(&mut limiter, began, 25, &remotes);
        assert!(admitted[40] >= 4, "{admitted:?}");
        assert!(admitted[20..40].iter().sum::<u32>() > 0, "{admitted:?}");
    }

    #[test]
    fn links_to_one_remote_share_what_it_may_be_sent_and_all_links_what_the_peer_may_send() {
        let (budget, now) = (Arc::<CheckBudget>::default(), Instant::now());
        let remotes: Vec<_> = (0..30).map(|port| address(2, 1_000 + port)).collect();
        let at_once = |remote| -> u32 {
            rounds(&mut CheckLimiter::new(Arc::clone(&budget), remote), now, 1, &remotes)
                .iter()
                .sum()
        };
        assert_eq!(at_once(0), 20);
        assert_eq!(at_once(0), 0, "another link to the same remote");
        assert_eq!((1..200).map(at_once).sum::<u32>(), 280);
    }

    #[test]
    fn remotes_that_use_all_that_they_may_do_not_delay_another() {
        let (budget, began) = (Arc::<CheckBudget>::default(), Instant::now());
        let remotes: Vec<_> = (0..24).map(|port| address(2, 1_000 + port)).collect();
        let mut sent = 0;
        for round in 0..=500 {
            let now = began + Duration::from_millis(20) * round;
            // Each round they begin anew, as if they offered again and again.
            for hostile in 0..20 {
                let mut link = CheckLimiter::new(Arc::clone(&budget), hostile);
                sent += rounds(&mut link, now, 1, &remotes).iter().sum::<u32>();
            }
        }
        assert!((1_000..=300 + 100 * 10).contains(&sent), "{sent} in 10 s");
        let mut honest = CheckLimiter::new(budget, 99);
        let admitted = rounds(&mut honest, began + Duration::from_secs(10), 1, &remotes[..10]);
        assert_eq!(admitted, [1; 10], "all of its candidates are checked at once");
    }

    /// With real links this is `crates/link/tests/room.rs`.
    #[test]
    fn five_candidates_of_each_of_49_remotes_are_checked_at_once() {
        let (budget, began) = (Arc::<CheckBudget>::default(), Instant::now());
        let remotes: Vec<_> = (0..5).map(|port| address(2, 1_000 + port)).collect();
        for remote in 0..49 {
            let mut link = CheckLimiter::new(Arc::clone(&budget), remote);
            assert_eq!(rounds(&mut link, began, 1, &remotes), [1; 5], "{remote}");
        }
    }

    #[test]
    fn other_datagrams_and_damaged_ones_pass() {
        let (mut limiter, now) = (limiter(), Instant::now());
        let whole = message(BINDING_REQUEST, 1, true);
        let others = [
            &message(BINDING_REQUEST, 1, false)[..],
            &[22; 200],
            &[],
            &whole[..whole.len() - 12],
            &whole[..25],
        ];
        for datagram in others {
            for _ in 0..100 {
                assert!(limiter.admits(now, address(1, 1), address(2, 2), datagram));
                limiter.received(now, address(1, 1), address(2, 2), datagram);
            }
        }
    }

    #[test]
    fn no_more_pairs_are_kept_than_allowed() {
        let (mut limiter, now) = (limiter(), Instant::now());
        for port in 1..2_000 {
            limiter.admits(
                now,
                address(1, 1),
                address(2, port),
                &message(BINDING_REQUEST, 1, true),
            );
        }
        assert_eq!(limiter.pairs.len(), PAIRS);
    }
}
