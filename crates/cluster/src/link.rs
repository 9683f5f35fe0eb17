//! Ordered streams between pairs of nodes, over a bus that may lose messages.
//!
//! Batches to one node are numbered. A gap cannot be repaired: the link begins anew under a higher
//! number, and what depended on it ends, as after a TCP connection that broke. Both ends agree on
//! the higher number of the two that they know.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_rooms::ConnectionId;

use crate::message::{Batch, Content, Entry, Epoch, MAX_COPIES, NodeId, Payload};

/// What waits for one node between two calls of
/// [`poll_output`](crate::Node::poll_output). With more, the link begins anew.
const PENDING_BYTES: usize = 2 * 1024 * 1024;
/// A batch is complete with this much, a larger message for itself.
const BATCH_BYTES: usize = 256 * 1024;
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
    /// The other end uses an older number.
    says_number: bool,
    sent_at: Duration,
    overflowed: bool,
}

impl Link {
    fn begin_anew(&mut self, number: u32) {
        *self = Self { number, says_number: true, sent_at: self.sent_at, ..Self::default() };
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Its entries are next.
    InOrder,
    /// The link has begun anew; its entries are the first.
    FirstOfNew,
    /// Something before it was lost: the link has begun anew, and its entries have no effect.
    Gap,
    /// It is of a link that is no more.
    Outdated,
}

impl Links {
    pub(crate) fn new(own: NodeId) -> Self {
        Self { own, links: BTreeMap::new() }
    }

    pub(crate) fn receive(&mut self, batch: &Batch) -> Arrival {
        let link = self.links.entry(batch.from).or_default();
        if batch.link < link.number {
            link.says_number = true;
            return Arrival::Outdated;
        }
        let is_new = batch.link > link.number;
        if is_new {
            link.begin_anew(batch.link);
        }
        if batch.position != link.received {
            link.begin_anew(batch.link.saturating_add(1));
            return Arrival::Gap;
        }
        link.received += 1;
        if is_new { Arrival::FirstOfNew } else { Arrival::InOrder }
    }

    /// Adds an entry to the next batch for a node.
    pub(crate) fn push(&mut self, to: NodeId, epoch: Epoch, content: Content) {
        let link = self.links.entry(to).or_default();
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
        to: NodeId,
        epoch: Epoch,
        connection: ConnectionId,
        payload: Payload,
    ) {
        let link = self.links.entry(to).or_default();
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
        self.push(to, epoch, Content::Deliver { connections: vec![connection], payload });
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
    ) -> Option<(NodeId, Batch)> {
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
        link.sent += 1;
        Some((*node, batch))
    }

    /// Forgets the links to nodes that are gone.
    pub(crate) fn retain(&mut self, stays: impl Fn(NodeId) -> bool) {
        self.links.retain(|node, _| stays(*node));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const EPOCH: Epoch = Epoch(1);

    fn entered(number: u64) -> Content {
        Content::Entered { connection: ConnectionId(number) }
    }

    fn sent(links: &mut Links, to: NodeId, number: u64) -> Batch {
        links.push(to, EPOCH, entered(number));
        links.take_batch(Duration::ZERO, |_| false).expect("a batch").1
    }

    #[test]
    fn after_a_gap_both_ends_begin_anew_once() {
        let (mut one, mut two) = (Links::new(ONE), Links::new(TWO));
        assert_eq!(two.receive(&sent(&mut one, TWO, 1)), Arrival::InOrder);
        let _lost = sent(&mut one, TWO, 2);
        assert_eq!(two.receive(&sent(&mut one, TWO, 3)), Arrival::Gap);
        assert_eq!(two.receive(&sent(&mut one, TWO, 4)), Arrival::Outdated);
        let (_, new) = two.take_batch(Duration::ZERO, |_| false).expect("its number");
        assert_eq!(one.receive(&new), Arrival::FirstOfNew);
        assert_eq!(two.receive(&sent(&mut one, TWO, 5)), Arrival::InOrder);
        assert_eq!(one.receive(&sent(&mut two, ONE, 6)), Arrival::InOrder);
    }

    #[test]
    fn one_message_for_several_connections_is_one_entry_and_none_overtakes_another() {
        let mut links = Links::new(ONE);
        let payload = |text: &'static str| Payload::Text(Bytes::from_static(text.as_bytes()));
        for connection in 1..=3 {
            for text in ["a", "b", "a"] {
                links.deliver(TWO, EPOCH, ConnectionId(connection), payload(text));
            }
        }
        let (_, batch) = links.take_batch(Duration::ZERO, |_| false).expect("a batch");
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
    fn a_queue_for_one_node_is_bounded() {
        let mut links = Links::new(ONE);
        let large = Bytes::from(vec![0; 300 * 1024]);
        for connection in 0..20 {
            let mut payload = large.to_vec();
            payload[0] = connection;
            let payload = Payload::Packet(payload.into());
            links.deliver(TWO, EPOCH, ConnectionId(connection.into()), payload);
        }
        assert_eq!(links.take_overflowed(), [TWO]);
        let (_, batch) = links.take_batch(Duration::ZERO, |_| false).expect("its new number");
        assert_eq!((batch.link, batch.entries.len()), (1, 0));
    }
}
