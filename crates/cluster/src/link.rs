//! Ordered streams between pairs of nodes, over a bus that may lose messages.
//!
//! Batches to one node are numbered, and kept for a while: what is missing at the other end is sent
//! again. If it is no longer there, the link begins anew under a higher number, and what depended on
//! it ends, as after a TCP connection that broke. Both ends agree on the higher number of the two
//! that they know.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_rooms::ConnectionId;

use crate::message::{Batch, Content, Entry, Epoch, MAX_COPIES, Message, Missing, NodeId, Payload};

/// What waits for one node between two calls of
/// [`poll_output`](crate::Node::poll_output). With more, the link begins anew.
const PENDING_BYTES: usize = 2 * 1024 * 1024;
/// A batch is complete with this much, a larger message for itself.
const BATCH_BYTES: usize = 256 * 1024;
/// Batches that were sent are kept up to this many bytes …
const KEPT_BYTES: usize = 2 * 1024 * 1024;
/// … and for this long: as long as another node waits for them, and its question is under way.
const KEPT_FOR: Duration = Duration::from_secs(2);
/// A batch that was not sent again after this long is lost.
const REPAIR_LIMIT: Duration = Duration::from_millis(1_500);
/// How often a missing batch is asked for.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A link on which nothing was sent for this long is sent an empty batch, by which the other end
/// notices that the last ones were lost.
const KEEP_ALIVE: Duration = Duration::from_millis(250);
/// Entries that wait, of which one may be the same message for another receiver.
const MERGE_DEPTH: usize = 32;

/// The links of one node.
#[derive(Debug)]
pub(crate) struct Links {
    own: NodeId,
    links: BTreeMap<NodeId, Link>,
}

#[derive(Debug, Default)]
struct Link {
    number: u32,
    sent: u64,
    received: u64,
    pending: Vec<Entry>,
    pending_bytes: usize,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// The other end uses an older number.
    says_number: bool,
    sent_at: Duration,
    overflowed: bool,
    gap: Option<Gap>,
}

/// A batch that was sent.
#[derive(Debug)]
struct Kept {
    position: u64,
    at: Duration,
    message: Bytes,
}

/// The next batch has not come, but one after it has.
#[derive(Clone, Copy, Debug)]
struct Gap {
    since: Duration,
    asked_at: Duration,
}

impl Link {
    /// A link that was forgotten has a higher number when it is used again.
    fn first(now: Duration) -> Self {
        let number = u32::try_from(now.as_secs()).unwrap_or(u32::MAX - 1);
        Self { number: number.saturating_add(1), ..Self::default() }
    }

    fn begin_anew(&mut self, number: u32) {
        *self = Self { number, says_number: true, sent_at: self.sent_at, ..Self::default() };
    }

    fn keep(&mut self, now: Duration, message: Bytes) {
        self.kept_bytes += message.len();
        self.kept.push_back(Kept { position: self.sent, at: now, message });
        while self
            .kept
            .front()
            .is_some_and(|kept| now > kept.at + KEPT_FOR || self.kept_bytes > KEPT_BYTES)
        {
            let gone = self.kept.pop_front();
            self.kept_bytes -= gone.map_or(0, |kept| kept.message.len());
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The link has begun anew: what depended on the former one is lost.
    pub is_anew: bool,
    /// Its entries are next.
    pub is_next: bool,
    /// To be asked for.
    pub missing: Option<Missing>,
}

impl Links {
    pub(crate) fn new(own: NodeId) -> Self {
        Self { own, links: BTreeMap::new() }
    }

    pub(crate) fn receive(&mut self, now: Duration, batch: &Batch) -> Arrival {
        let link = self.links.entry(batch.from).or_default();
        if batch.link < link.number {
            link.says_number = true;
            return Arrival::default();
        }
        let mut arrival = Arrival { is_anew: batch.link > link.number, ..Arrival::default() };
        if arrival.is_anew {
            link.begin_anew(batch.link);
        }
        if batch.position < link.received {
            // Sent again, and not needed.
            return arrival;
        }
        if batch.position == link.received {
            link.received += 1;
            link.gap = None;
            arrival.is_next = true;
            return arrival;
        }
        let gap = link.gap.get_or_insert(Gap { since: now, asked_at: Duration::ZERO });
        if now > gap.since + REPAIR_LIMIT {
            link.begin_anew(batch.link.saturating_add(1));
            arrival.is_anew = true;
        } else if gap.asked_at == Duration::ZERO || now >= gap.asked_at + ASK_AGAIN {
            gap.asked_at = now;
            let (from, link, position) = (self.own, link.number, link.received);
            arrival.missing = Some(Missing { from, link, position });
        }
        arrival
    }

    /// What is to be sent to a node again. Without it there, the link begins anew: `None`.
    pub(crate) fn resend(&mut self, missing: Missing) -> Option<Vec<Bytes>> {
        let Some(link) = self.links.get_mut(&missing.from) else { return Some(Vec::new()) };
        if missing.link != link.number || missing.position >= link.sent {
            return Some(Vec::new());
        }
        if link.kept.front().is_none_or(|kept| kept.position > missing.position) {
            link.begin_anew(link.number.saturating_add(1));
            return None;
        }
        let again = link.kept.iter().filter(|kept| kept.position >= missing.position);
        Some(again.map(|kept| kept.message.clone()).collect())
    }

    /// Adds an entry to the next batch for a node.
    pub(crate) fn push(&mut self, now: Duration, to: NodeId, epoch: Epoch, content: Content) {
        let link = self.links.entry(to).or_insert_with(|| Link::first(now));
        link.pending_bytes += content.len();
        if link.pending_bytes > PENDING_BYTES {
            link.overflowed = true;
            return;
        }
        link.pending.push(Entry { epoch, content });
    }

    /// Adds a message for one connection behind a node. One message for several connections is one
    /// entry.
    pub(crate) fn deliver(
        &mut self,
        now: Duration,
        to: (NodeId, ConnectionId),
        epoch: Epoch,
        payload: Payload,
    ) {
        let (to, connection) = to;
        let link = self.links.entry(to).or_insert_with(|| Link::first(now));
        for entry in link.pending.iter_mut().rev().take(MERGE_DEPTH) {
            let is_of_epoch = entry.epoch == epoch;
            match &mut entry.content {
                Content::Deliver { connections, payload: other } => {
                    let is_its_own = connections.contains(&connection);
                    if is_of_epoch
                        && !is_its_own
                        && connections.len() < MAX_COPIES
                        && other.is_same(&payload)
                    {
                        connections.push(connection);
                        link.pending_bytes += 8;
                        return;
                    }
                    // What is delivered to it stays in order.
                    if is_its_own {
                        break;
                    }
                }
                Content::Entered { connection: other } | Content::End { connection: other, .. }
                    if *other != connection => {}
                _ => break,
            }
        }
        self.push(now, to, epoch, Content::Deliver { connections: vec![connection], payload });
    }

    /// The nodes for which more waited than may: their links begin anew.
    pub(crate) fn take_overflowed(&mut self) -> Vec<NodeId> {
        let mut overflowed = Vec::new();
        for (node, link) in &mut self.links {
            if link.overflowed {
                link.begin_anew(link.number.saturating_add(1));
                overflowed.push(*node);
            }
        }
        overflowed
    }

    /// A batch that is to be sent. `keeps` are the nodes that must notice a loss.
    pub(crate) fn take_batch(
        &mut self,
        now: Duration,
        keeps: impl Fn(NodeId) -> bool,
    ) -> Option<(NodeId, Bytes)> {
        let (node, link) = self.links.iter_mut().find(|(node, link)| {
            let is_idle = now >= link.sent_at + KEEP_ALIVE;
            !link.pending.is_empty() || link.says_number || is_idle && keeps(**node)
        })?;
        let mut bytes = 0;
        let fits = link.pending.iter().take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.content.len();
            first || bytes <= BATCH_BYTES
        });
        let count = fits.count();
        let rest = link.pending.split_off(count);
        let entries = std::mem::replace(&mut link.pending, rest);
        link.pending_bytes = link.pending.iter().map(|entry| entry.content.len()).sum();
        link.says_number = false;
        link.sent_at = now;
        let batch = Batch { from: self.own, link: link.number, position: link.sent, entries };
        let message = Message::Batch(batch).encode();
        link.keep(now, message.clone());
        link.sent += 1;
        Some((*node, message))
    }

    /// Forgets the links to nodes that are gone.
    pub(crate) fn retain(&mut self, stays: impl Fn(NodeId) -> bool) {
        self.links.retain(|node, _| stays(*node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const EPOCH: Epoch = Epoch(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn batch_of(message: &Bytes) -> Batch {
        match Message::decode(message) {
            Ok(Message::Batch(batch)) => batch,
            other => panic!("{other:?}"),
        }
    }

    fn sent(links: &mut Links, now: Duration, to: NodeId, number: u64) -> Batch {
        links.push(now, to, EPOCH, Content::Entered { connection: ConnectionId(number) });
        taken(links, now)
    }

    fn taken(links: &mut Links, now: Duration) -> Batch {
        batch_of(&links.take_batch(now, |_| false).expect("a batch").1)
    }

    /// Two nodes, and a batch that came.
    fn linked() -> (Links, Links) {
        let (mut one, mut two) = (Links::new(ONE), Links::new(TWO));
        let first = two.receive(ms(0), &sent(&mut one, ms(0), TWO, 1));
        assert_eq!(first, Arrival { is_anew: true, is_next: true, missing: None });
        taken(&mut two, ms(0));
        (one, two)
    }

    #[test]
    fn what_is_missing_is_sent_again_in_order() {
        let (mut one, mut two) = linked();
        let _lost = sent(&mut one, ms(10), TWO, 2);
        let arrival = two.receive(ms(20), &sent(&mut one, ms(20), TWO, 3));
        assert!(!arrival.is_anew && !arrival.is_next);
        let missing = arrival.missing.expect("it is asked for");
        let later = two.receive(ms(30), &sent(&mut one, ms(30), TWO, 4));
        assert_eq!(later, Arrival::default(), "it is asked for once in a while");
        let again = one.resend(missing).expect("all is kept");
        assert_eq!(again.len(), 3);
        for message in again {
            assert!(two.receive(ms(40), &batch_of(&message)).is_next);
        }
        assert!(two.receive(ms(50), &sent(&mut one, ms(50), TWO, 5)).is_next);
    }

    #[test]
    fn what_is_no_longer_kept_is_a_new_link_for_both_ends_once() {
        let (mut one, mut two) = linked();
        let _lost = sent(&mut one, ms(10), TWO, 2);
        let arrival = two.receive(ms(5_000), &sent(&mut one, ms(5_000), TWO, 3));
        assert_eq!(one.resend(arrival.missing.expect("it is asked for")), None);
        let anew = two.receive(ms(5_010), &taken(&mut one, ms(5_010)));
        assert_eq!(anew, Arrival { is_anew: true, is_next: true, missing: None });
        let back = one.receive(ms(5_020), &sent(&mut two, ms(5_020), ONE, 4));
        assert_eq!(back, Arrival { is_anew: false, is_next: true, missing: None });
    }

    #[test]
    fn a_gap_that_is_not_repaired_is_a_new_link() {
        let (mut one, mut two) = linked();
        let _lost = sent(&mut one, ms(10), TWO, 2);
        assert!(!two.receive(ms(20), &sent(&mut one, ms(20), TWO, 3)).is_anew);
        assert!(two.receive(ms(2_000), &sent(&mut one, ms(2_000), TWO, 4)).is_anew);
        assert_eq!(two.receive(ms(2_010), &sent(&mut one, ms(2_010), TWO, 5)), Arrival::default());
        let number = taken(&mut two, ms(2_020));
        assert!(one.receive(ms(2_020), &number).is_anew);
        assert!(two.receive(ms(2_030), &sent(&mut one, ms(2_030), TWO, 6)).is_next);
    }

    #[test]
    fn a_link_that_one_end_has_forgotten_is_a_new_one() {
        let (mut one, mut two) = linked();
        one.retain(|_| false);
        let arrival = two.receive(ms(70_000), &sent(&mut one, ms(70_000), TWO, 2));
        assert!(arrival.is_anew && arrival.is_next);
    }

    #[test]
    fn one_message_for_several_connections_is_one_entry_and_none_overtakes_another() {
        let mut links = Links::new(ONE);
        let payload = |text: &'static str| Payload::Text(Bytes::from_static(text.as_bytes()));
        for connection in 1..=3 {
            for text in ["a", "b", "a"] {
                links.deliver(ms(0), (TWO, ConnectionId(connection)), EPOCH, payload(text));
            }
        }
        let batch = taken(&mut links, ms(0));
        assert!(batch.entries.len() < 9, "{batch:?}");
        for connection in 1..=3 {
            let got: Vec<_> = batch
                .entries
                .iter()
                .filter_map(|entry| match &entry.content {
                    Content::Deliver { connections, payload } => connections
                        .contains(&ConnectionId(connection))
                        .then(|| payload.bytes().as_ref()),
                    _ => None,
                })
                .collect();
            assert_eq!(got, [b"a", b"b", b"a"], "connection {connection}");
        }
    }

    #[test]
    fn queues_for_one_node_are_bounded() {
        let mut links = Links::new(ONE);
        for connection in 0..20 {
            let payload = Payload::Packet(vec![connection; 300 * 1024].into());
            links.deliver(ms(0), (TWO, ConnectionId(connection.into())), EPOCH, payload);
        }
        assert_eq!(links.take_overflowed(), [TWO]);
        let batch = taken(&mut links, ms(0));
        assert_eq!((batch.link, batch.entries.len()), (2, 0));
        for number in 0..100 {
            let payload = Payload::Packet(vec![number; 100 * 1024].into());
            links.deliver(ms(0), (TWO, ConnectionId(1)), EPOCH, payload);
            taken(&mut links, ms(0));
        }
        assert!(links.links[&TWO].kept_bytes <= KEPT_BYTES);
    }
}
