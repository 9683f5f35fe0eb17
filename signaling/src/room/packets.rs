//! The session server's packets on their way into the outbox.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::{self as session, Delivery, ServerOutput};
use voicemesh_wire::packet;

use super::policing::{Policing, VoiceRates};
use crate::outbox::{ConnectionId, Outbox, Purpose};

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
