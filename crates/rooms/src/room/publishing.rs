//! What members publish, of themselves and of the room: passed on at a limited rate, because every
//! change is sent to all members, and as a whole. Of changes that wait only the last state is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{
    ErrorCode, Metadata, MetadataChanges, ServerMessage, apply_metadata,
};

use super::Room;
use crate::address::AddressTag;
use crate::output::{ConnectionId, Purpose, RoomOutput, Text};
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
    waiting: BTreeMap<Scope, Waiting>,
    members: BTreeMap<PeerId, TokenBucket>,
    addresses: BTreeMap<Option<AddressTag>, TokenBucket>,
}

/// Whose metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Member(PeerId),
    Room,
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
        self.waiting.remove(&Scope::Member(peer));
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
        let address = self.addresses.entry(waiting.address).or_insert_with(|| full(now, ADDRESS));
        address.take(now, ADDRESS, bytes) && member.take(now, MEMBER, bytes)
    }
}

impl Room {
    /// A member changes what it publishes.
    pub(super) fn set_metadata(
        &mut self,
        now: Duration,
        from: ConnectionId,
        (request, set): (Option<u32>, MetadataChanges),
        out: &mut impl RoomOutput,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get(from) else { return Ok(()) };
        let (peer, current) = (member.peer, &member.metadata);
        let scope = Scope::Member(peer);
        let current = self.publishing.waiting.get(&scope).map_or(current, |of| &of.metadata);
        let next = apply_metadata(current, set).map_err(Refusal::from);
        let published =
            next.and_then(|metadata| self.publish(now, from, (peer, scope), request, metadata));
        published.map_err(|refusal| refusal.of_request(request))?;
        self.publish_due(now, out);
        Ok(())
    }

    /// Its owner changes what the room publishes.
    pub(super) fn set_room_metadata(
        &mut self,
        now: Duration,
        from: ConnectionId,
        (request, set): (Option<u32>, MetadataChanges),
        out: &mut impl RoomOutput,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get(from) else { return Ok(()) };
        let peer = member.peer;
        let scope = Scope::Room;
        if self.owner() != Some(peer) {
            return Err(Refusal::of(ErrorCode::NotOwner).of_request(request));
        }
        let waiting = self.publishing.waiting.get(&scope);
        let current = waiting.map_or(&self.metadata, |of| &of.metadata);
        let next = apply_metadata(current, set).map_err(Refusal::from);
        let published =
            next.and_then(|metadata| self.publish(now, from, (peer, scope), request, metadata));
        published.map_err(|refusal| refusal.of_request(request))?;
        self.publish_due(now, out);
        Ok(())
    }

    fn publish(
        &mut self,
        now: Duration,
        from: ConnectionId,
        (by, scope): (PeerId, Scope),
        request: Option<u32>,
        metadata: Metadata,
    ) -> Result<(), Refusal> {
        let address = self.moderation.address_of(from);
        let waiting = self.publishing.waiting.entry(scope).or_insert_with(|| Waiting {
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
    pub(super) fn publish_due(&mut self, now: Duration, out: &mut impl RoomOutput) {
        let mut order: Vec<_> =
            self.publishing.waiting.iter().map(|(scope, of)| (of.since, *scope)).collect();
        order.sort_unstable();
        let mut held_up = BTreeSet::new();
        for (_, scope) in order {
            let Some(waiting) = self.publishing.waiting.remove(&scope) else { continue };
            let message = match scope {
                Scope::Member(peer) => {
                    ServerMessage::Metadata { peer, metadata: waiting.metadata.clone() }
                }
                Scope::Room => ServerMessage::RoomMetadata { metadata: waiting.metadata.clone() },
            };
            let bytes = Text::from(&message).bytes().len() as f64;
            if held_up.contains(&waiting.address) || !self.publishing.take(now, &waiting, bytes) {
                held_up.insert(waiting.address);
                self.publishing.waiting.insert(scope, waiting);
                continue;
            }
            match scope {
                Scope::Member(peer) => {
                    let connection = self.members.connection_of(peer);
                    let member = connection.and_then(|of| self.members.get_mut(of));
                    let Some(member) = member else { continue };
                    member.metadata = waiting.metadata;
                    self.members.changed();
                }
                Scope::Room => self.metadata = waiting.metadata,
            }
            self.members.broadcast(&message, Purpose::Update, out);
            for (peer, request) in waiting.requests {
                let Some(to) = self.members.connection_of(peer) else { continue };
                let answer = ServerMessage::MetadataSet { request };
                out.text(to, &Text::from(&answer), Purpose::Answer);
            }
        }
    }
}
