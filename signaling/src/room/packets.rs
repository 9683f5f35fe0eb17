//! Session packets: those of members on their way to the session server, and the server's on their way into the outbox.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::server::DropReason;
use voicemesh_session::{self as session, Delivery, ServerOutput, Verdict};
use voicemesh_wire::packet::{self, Kind};

use super::policing::{Policing, VoiceRates};
use super::refusing::answer;
use super::{Room, TAKEN_OVER_GRACE};
use crate::outbox::{ConnectionId, Outbox, Purpose};
use crate::refusal::Refusal;

/// What is unreliable is passed on from it for this long: later it has waited in a connection that was dead.
const TAKEN_OVER_VOICE: Duration = Duration::from_millis(500);
/// A sender gets `receiver-busy` about one receiver at most this often.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);

/// Output of the session server. `pair` is what holds between a sender and its receivers, while a packet is passed on.
pub(super) struct Packets<'a, O> {
    pub(super) now: Duration,
    pub(super) pair: Option<Passing<'a>>,
    pub(super) out: &'a mut O,
}

/// What holds between a sender and its receivers.
pub(super) struct Passing<'a> {
    pub(super) rates: &'a VoiceRates,
    pub(super) policing: &'a mut Policing,
    /// Receivers that took no more of this sender.
    pub(super) busy: Vec<ConnectionId>,
}

impl Room {
    /// A session packet of a connection that has joined. What is relayed shares `packet`'s memory.
    pub fn packet(&mut self, now: Duration, from: ConnectionId, packet: &Bytes, out: &mut impl Outbox) -> Verdict {
        let is = |wanted: fn(Kind) -> bool| packet::open(packet).is_ok_and(|(header, _)| wanted(header.kind));
        let is_text = is(Kind::is_text);
        if let Some(former) = self.former.get(&from) {
            let is_late = now + TAKEN_OVER_GRACE >= former.closes_at + TAKEN_OVER_VOICE;
            // A written message that was not read in time comes again on the other connection.
            if is_text || is_late && is(|kind| kind == Kind::ServerRelayUnreliable) {
                return Verdict::Dropped(DropReason::Outdated);
            }
        } else if is_text && self.members.contains_key(&from) {
            let read = self.texts_read.entry(from).or_default();
            *read = read.saturating_add(1);
        }
        let from = self.present(from);
        let pair = Some(Passing { rates: &self.rules.voice, policing: &mut self.policing, busy: Vec::new() });
        let mut packets = Packets { now, pair, out };
        let verdict = self.session.receive(now, from, packet, &mut packets);
        let busy = packets.pair.map(|passing| passing.busy).unwrap_or_default();
        for receiver in busy {
            self.tell_busy(now, from, receiver, out);
        }
        verdict
    }

    /// Tells a sender, once in a while, that something was not passed on.
    fn tell_busy(&mut self, now: Duration, from: ConnectionId, receiver: ConnectionId, out: &mut impl Outbox) {
        let Some(peer) = self.members.get(&receiver).map(|member| member.peer) else { return };
        let told = self.told_busy.get(&(from, receiver));
        if told.is_none_or(|at| now >= *at + BUSY_INTERVAL) {
            self.told_busy.insert((from, receiver), now);
            answer(from, Refusal::receiver_busy(peer), out);
        }
    }
}

impl<O: Outbox> ServerOutput<ConnectionId> for Packets<'_, O> {
    fn send(&mut self, to: ConnectionId, packet: Bytes, delivery: Delivery) {
        self.out.packet(to, packet, delivery, Purpose::Answer);
    }

    fn deliver(
        &mut self,
        to: ConnectionId,
        packet: Bytes,
        delivery: Delivery,
        purpose: session::Purpose<ConnectionId>,
    ) -> bool {
        if let (Some(passing), Purpose::From(from)) = (&mut self.pair, purpose)
            && (delivery == Delivery::Voice || is_voice(&packet))
            && !passing.policing.passes(self.now, passing.rates, from, to, packet.len())
        {
            self.out.count_policed();
            return false;
        }
        let taken = self.out.packet(to, packet, delivery, purpose);
        if let Some(passing) = self.pair.as_mut().filter(|_| !taken) {
            passing.busy.push(to);
        }
        taken
    }
}

fn is_voice(packet: &[u8]) -> bool {
    packet::open(packet).is_ok_and(|(header, _)| header.kind.is_voice())
}
