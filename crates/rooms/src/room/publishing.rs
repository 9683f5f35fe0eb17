//! What members publish, of themselves and of the room: passed on at a limited rate, because every
//! change is sent to all members, and as a whole. Of changes that wait only the last state is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, Metadata, ServerMessage};

use super::members::Members;
use crate::address::AddressTag;
use crate::output::{Publisher, Purpose, RoomOutput, Text};
use crate::refusal::Refusal;

/// Bytes that one member publishes. The largest change is half of what it may at once.
const MEMBER: Rate = Rate { burst: 32.0 * 1024.0, per_second: 4.0 * 1024.0 };
/// Bytes that all members of one address publish.
const ADDRESS: Rate = Rate { burst: 64.0 * 1024.0, per_second: 16.0 * 1024.0 };
/// Requests that wait for the answer to one change.
const REQUESTS: usize = 64;

/// Changes that wait, and what is left to members and to addresses.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    /// One for each member at most, and one for the room.
    waiting: BTreeMap<Publisher, Waiting>,
    members: BTreeMap<PeerId, TokenBucket>,
    /// Members on the server's own machine have no address.
    addresses: BTreeMap<AddressTag, TokenBucket>,
}

#[derive(Debug)]
struct Waiting {
    since: Duration,
    /// Who made the last change, and from where.
    by: PeerId,
    address: Option<AddressTag>,
    metadata: Metadata,
    requests: Vec<(PeerId, u32)>,
}

impl Publishing {
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.waiting.remove(&Publisher::Member(peer));
    }

    /// The last member has left.
    pub(super) fn emptied(&mut self) {
        self.waiting.clear();
    }

    /// Forgets those who may publish all that a new one may.
    pub(super) fn tidy(&mut self, now: Duration) {
        self.members.retain(|_, bucket| bucket.tokens_at(now, MEMBER) < MEMBER.burst);
        self.addresses.retain(|_, bucket| bucket.tokens_at(now, ADDRESS) < ADDRESS.burst);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.members.len() + self.addresses.len()
    }

    fn take(&mut self, now: Duration, waiting: &Waiting, bytes: f64) -> bool {
        let full = TokenBucket::full;
        let member = self.members.entry(waiting.by).or_insert_with(|| full(now, MEMBER));
        if member.tokens_at(now, MEMBER) < bytes {
            return false;
        }
        if let Some(address) = waiting.address {
            let address = self.addresses.entry(address).or_insert_with(|| full(now, ADDRESS));
            if !address.take(now, ADDRESS, bytes) {
                return false;
            }
        }
        member.take(now, MEMBER, bytes)
    }

    /// What was changed last, whether it has been sent or not.
    pub(super) fn latest<'a>(&'a self, publisher: Publisher, sent: &'a Metadata) -> &'a Metadata {
        self.waiting.get(&publisher).map_or(sent, |waiting| &waiting.metadata)
    }

    /// A change that is to be sent as soon as it may be.
    pub(super) fn change(
        &mut self,
        now: Duration,
        (by, address): (PeerId, Option<AddressTag>),
        publisher: Publisher,
        request: Option<u32>,
        metadata: Metadata,
    ) -> Result<(), Refusal> {
        let waiting = self.waiting.entry(publisher).or_insert_with(|| Waiting {
            since: now,
            by,
            address,
            metadata: Metadata::new(),
            requests: Vec::new(),
        });
        if waiting.requests.len() >= REQUESTS {
            return Err(Refusal::of(ErrorCode::TooManyMessages));
        }
        (waiting.by, waiting.address, waiting.metadata) = (by, address, metadata);
        waiting.requests.extend(request.map(|request| (by, request)));
        Ok(())
    }

    /// Sends the changes whose time has come: those of one address in the order in which they were
    /// made first, so that small ones keep no large one waiting.
    pub(super) fn send_due(
        &mut self,
        now: Duration,
        members: &mut Members,
        room: &mut Metadata,
        out: &mut impl RoomOutput,
    ) {
        let mut order: Vec<_> =
            self.waiting.iter().map(|(publisher, of)| (of.since, *publisher)).collect();
        order.sort_unstable();
        let mut held_up = BTreeSet::new();
        for (_, publisher) in order {
            let Some(waiting) = self.waiting.remove(&publisher) else { continue };
            let message = match publisher {
                Publisher::Member(peer) => {
                    let metadata = waiting.metadata.clone();
                    ServerMessage::Metadata { peer, metadata, changes: 1 }
                }
                Publisher::Room => {
                    ServerMessage::RoomMetadata { metadata: waiting.metadata.clone() }
                }
            };
            let text = Text::from(&message);
            let bytes = text.bytes().len() as f64;
            let is_held_up = waiting.address.is_some_and(|address| held_up.contains(&address));
            if is_held_up || !self.take(now, &waiting, bytes) {
                held_up.extend(waiting.address);
                self.waiting.insert(publisher, waiting);
                continue;
            }
            match publisher {
                Publisher::Member(peer) => {
                    let connection = members.connection_of(peer);
                    let member = connection.and_then(|of| members.get_mut(of));
                    let Some(member) = member else { continue };
                    member.metadata = waiting.metadata;
                    members.changed();
                }
                Publisher::Room => *room = waiting.metadata,
            }
            for (connection, _) in members.iter() {
                out.published(connection, publisher, &text);
            }
            for (peer, request) in waiting.requests {
                let Some(to) = members.connection_of(peer) else { continue };
                let answer = ServerMessage::MetadataSet { request };
                out.text(to, &Text::from(&answer), Purpose::Answer);
            }
        }
    }
}
