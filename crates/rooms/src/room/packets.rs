//! What members send each other: signals, and session packets on their way to the session server;
//! and the server's packets on their way into the room's output.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::server::DropReason;
use voicemesh_session::{self as session, Delivery, ServerOutput, Verdict};
use voicemesh_wire::PeerId;
use voicemesh_wire::packet::{self, Kind};
use voicemesh_wire::signaling::{ErrorCode, ServerMessage, Signal};

use super::members::Members;
use super::policing::{Policing, TrafficClass, VoiceRates};
use super::{Room, TAKEN_OVER_GRACE, answer};
use crate::output::{ConnectionId, Purpose, RoomOutput, Sender, Text};
use crate::refusal::Refusal;

/// What is unreliable is passed on from it for this long: later it has waited in a connection that
/// was dead.
const TAKEN_OVER_VOICE: Duration = Duration::from_millis(500);
/// A sender gets `receiver-busy` about one receiver at most this often.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);

/// Output of the session server. `pair` is what holds between a sender and its receivers, while a
/// packet is passed on.
pub(super) struct Packets<'a, O> {
    pub(super) now: Duration,
    pub(super) pair: Option<Passing<'a>>,
    pub(super) out: &'a mut O,
}

/// What holds between a sender and its receivers.
pub(super) struct Passing<'a> {
    pub(super) sender: Sender,
    pub(super) members: &'a Members,
    pub(super) rates: &'a VoiceRates,
    pub(super) policing: &'a mut Policing,
    /// Receivers that took no more of this sender.
    pub(super) busy: Vec<ConnectionId>,
}

impl Room {
    /// A session packet of a connection that has joined. What is relayed shares `packet`'s memory.
    pub fn packet(
        &mut self,
        now: Duration,
        from: ConnectionId,
        packet: &Bytes,
        out: &mut impl RoomOutput,
    ) -> Verdict {
        let is_unreliable = || {
            packet::open(packet).is_ok_and(|(header, _)| header.kind == Kind::ServerRelayUnreliable)
        };
        if let Some(former) = self.former.get(&from) {
            let is_late = now + TAKEN_OVER_GRACE >= former.closes_at + TAKEN_OVER_VOICE;
            // A written message that was not read in time comes again on the other connection.
            if packet::is_written(packet) || is_late && is_unreliable() {
                return Verdict::Dropped(DropReason::Outdated);
            }
        }
        let text = self.count_text(from, packet);
        let from = self.present(from);
        let pair = self.members.get(from).map(|member| Passing {
            sender: Sender { peer: member.peer, address: self.moderation.address_of(from) },
            members: &self.members,
            rates: &self.rules.voice,
            policing: &mut self.policing,
            busy: Vec::new(),
        });
        let mut packets = Packets { now, pair, out };
        let verdict = self.session.receive(now, from, packet, &mut packets);
        let busy = packets.pair.map(|passing| passing.busy).unwrap_or_default();
        for receiver in busy {
            self.notify_busy(
                now,
                from,
                receiver,
                Refused { text, is_private: packet::is_written_to_one(packet) },
                out,
            );
        }
        match verdict {
            Verdict::Dropped(DropReason::HeldElsewhere) => {
                self.text_refused(from, text);
                answer(from, Refusal::held().of_text(text), out);
            }
            Verdict::Dropped(DropReason::NotPermitted) if text.is_some() => {
                self.text_refused(from, text);
                answer(from, Refusal::of(ErrorCode::NotPermitted).of_text(text), out);
            }
            Verdict::GroupsRefused { unanswered } => {
                answer(from, Refusal::too_many_groups(unanswered), out);
            }
            Verdict::Applied | Verdict::Relayed { .. } | Verdict::Dropped(_) => {}
        }
        verdict
    }

    /// A session packet that was read and is over a budget. Gives its number if it is a written
    /// message.
    pub fn packet_refused(&mut self, from: ConnectionId, packet: &[u8]) -> Option<u32> {
        let text = self.count_text(from, packet);
        self.text_refused(from, text);
        text
    }

    /// Written messages are counted as they were sent, whatever becomes of them: who takes over
    /// knows by the number which of them were read, and sends the rest. Gives the number of this
    /// one on its connection, from 1 on.
    fn count_text(&mut self, from: ConnectionId, packet: &[u8]) -> Option<u32> {
        if !packet::is_written(packet) || !self.members.contains(from) {
            return None;
        }
        let texts = self.texts_read.entry(from).or_default();
        texts.read = texts.read.saturating_add(1);
        Some(texts.read)
    }

    /// The newest written message of a connection was refused as a whole: it has reached no member.
    fn text_refused(&mut self, from: ConnectionId, text: Option<u32>) {
        if let (Some(number), Some(texts)) = (text, self.texts_read.get_mut(&from)) {
            texts.refused_from =
                texts.refused_from.filter(|_| texts.refused_to == number - 1).or(Some(number));
            texts.refused_to = number;
        }
    }

    /// Answers a sender, once in a while, that something was not passed on; each time, if it is a
    /// written message to this receiver alone.
    fn notify_busy(
        &mut self,
        now: Duration,
        from: ConnectionId,
        receiver: ConnectionId,
        refused: Refused,
        out: &mut impl RoomOutput,
    ) {
        let Some(peer) = self.members.peer_of(receiver) else { return };
        if refused.is_private {
            self.text_refused(from, refused.text);
        }
        let refusal = Refusal::receiver_busy(peer).of_text(refused.text);
        if refused.is_private {
            answer(from, refusal, out);
        } else if self.is_busy_due(now, from, receiver) {
            hint(from, refusal, out);
        }
    }

    /// Whether a sender may get `receiver-busy` about a receiver now; then it does.
    fn is_busy_due(&mut self, now: Duration, from: ConnectionId, receiver: ConnectionId) -> bool {
        let notified_at = self.busy_notified.get(&(from, receiver));
        let is_due = notified_at.is_none_or(|at| now >= *at + BUSY_INTERVAL);
        if is_due {
            self.busy_notified.insert((from, receiver), now);
        }
        is_due
    }

    /// A signal for one other member. What becomes of it is the doing of others, so a refusal never
    /// ends the connection of its sender: it is not sent where many answers wait.
    pub(super) fn signal(
        &mut self,
        now: Duration,
        sender: ConnectionId,
        (to, attempt, signal): (PeerId, u32, Signal),
        out: &mut impl RoomOutput,
    ) {
        let Some(from) = self.members.get(sender) else { return };
        let receiver = self
            .members
            .connection_of(to)
            .filter(|_| to != from.peer)
            .and_then(|connection| Some((connection, self.members.get(connection)?)));
        let Some((connection, receiver)) = receiver else {
            return hint(sender, Refusal::of(ErrorCode::UnknownPeer), out);
        };
        // Relay-only peers neither make nor take links, so nothing that leads to one passes: every
        // kind of signal either carries an address or asks for one.
        if self.rules.relay_only || from.capabilities.relay_only || receiver.capabilities.relay_only
        {
            return hint(sender, Refusal::of(ErrorCode::RelayOnly), out);
        }
        let signal = Text::from(&ServerMessage::Signal { from: from.peer, attempt, signal });
        let by = Sender { peer: from.peer, address: self.moderation.address_of(sender) };
        let (bytes, class) = (signal.bytes().len(), TrafficClass::Signal);
        let passes = self.policing.passes(now, &self.rules.voice, (by, to), class, bytes);
        if !passes {
            out.count_policed();
        }
        if !(passes && out.text(connection, &signal, Purpose::From(by)))
            && self.is_busy_due(now, sender, connection)
        {
            hint(sender, Refusal::receiver_busy(to), out);
        }
    }
}

/// Answers a member with an error that it can do without.
fn hint(to: ConnectionId, refusal: Refusal, out: &mut impl RoomOutput) {
    out.count_refusal(&refusal.code);
    out.text(to, &Text::from(&refusal.answer()), Purpose::Hint);
}

/// How many written messages a connection has brought, and which of the newest of them were
/// refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextsRead {
    read: u32,
    /// The numbers of the first and the last of the newest run of refused ones.
    refused_from: Option<u32>,
    refused_to: u32,
}

impl TextsRead {
    /// How many the peer need not send again: all but those that were refused at the end. The
    /// answers to these may have been lost with their connection, and no member has them: sent
    /// again, they are answered again.
    pub(super) fn to_be_kept(self) -> u32 {
        let refused = self.refused_from.filter(|_| self.refused_to == self.read);
        refused.map_or(self.read, |first| first - 1)
    }
}

/// What a receiver did not take.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// The number of a written message.
    text: Option<u32>,
    /// It is a written message to one client.
    is_private: bool,
}

impl<'a, O: RoomOutput> Packets<'a, O> {
    /// For what the session server sends by itself.
    pub(super) fn of_server(out: &'a mut O) -> Self {
        Self { now: Duration::ZERO, pair: None, out }
    }
}

impl Passing<'_> {
    /// Whether the receiver may be sent this packet.
    fn passes(
        &mut self,
        now: Duration,
        to: ConnectionId,
        packet: &[u8],
        delivery: Delivery,
    ) -> bool {
        let Some(receiver) = self.members.peer_of(to) else { return true };
        let kind = packet::open(packet).map(|(header, _)| header.kind);
        let class = match kind {
            _ if packet::is_written(packet) => TrafficClass::Text,
            Ok(kind) if delivery == Delivery::Voice || kind.is_voice() => TrafficClass::Voice,
            _ if delivery == Delivery::Data => TrafficClass::Data,
            _ => TrafficClass::Other,
        };
        let passes =
            self.policing.passes(now, self.rates, (self.sender, receiver), class, packet.len());
        // The sender of a text learns what does not arrive.
        if !passes && class == TrafficClass::Text {
            self.busy.push(to);
        }
        passes
    }
}

impl<O: RoomOutput> ServerOutput<ConnectionId> for Packets<'_, O> {
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
        let purpose = match (purpose, &mut self.pair) {
            (session::Purpose::From(_), Some(passing)) => {
                if !passing.passes(self.now, to, &packet, delivery) {
                    self.out.count_policed();
                    return false;
                }
                Purpose::From(passing.sender)
            }
            // Only what a member sends is from one.
            (session::Purpose::From(_), None) => return false,
            (session::Purpose::Answer, _) => Purpose::Answer,
            (session::Purpose::Hint, _) => Purpose::Hint,
            (session::Purpose::Snapshot, _) => Purpose::Snapshot,
            (session::Purpose::Update, _) => Purpose::Update,
            (session::Purpose::Notice, _) => Purpose::Notice,
            (session::Purpose::Renewal, _) => Purpose::Renewal,
        };
        let taken = self.out.packet(to, packet, delivery, purpose);
        if let Some(passing) = self.pair.as_mut().filter(|_| !taken) {
            passing.busy.push(to);
        }
        taken
    }
}
