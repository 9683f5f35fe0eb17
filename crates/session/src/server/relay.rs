//! What members send each other inside relay packets.

use bytes::Bytes;
use voicemesh_wire::DecodeError;
use voicemesh_wire::packet::{Kind, Relay, Routing};

use super::{DropReason, Purpose, Sender, Server, ServerOutput, Verdict};
use crate::permits;
use crate::transport::Delivery;

impl<P: Copy + Ord> Server<P> {
    /// Passes on what is inside to each listed client once: unknown ones and the sender itself are
    /// skipped (PROTOCOL.md, section 7).
    pub(super) fn relay(
        &mut self,
        Sender { peer, client, permissions }: Sender<P>,
        packet: &Bytes,
        relay: Relay<'_>,
        delivery: Delivery,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        let routing = Routing::read(relay.packet).map_err(|error| match error {
            DecodeError::BadValue => DropReason::NotRelayable,
            other => DropReason::Malformed(other),
        })?;
        if routing.session != self.session.number() {
            return Err(DropReason::WrongSession);
        }
        if routing.sender != client {
            return Err(DropReason::ForgedSender);
        }
        if routing.kind.is_for_links() {
            return Err(DropReason::NotRelayable);
        }
        if !permits(permissions, routing.kind) {
            return Err(DropReason::NotPermitted);
        }
        let (is_voice, is_data) = (routing.kind.is_voice(), routing.kind.is_data());
        let delivery = if is_data { Delivery::Data } else { delivery };
        let is_text = routing.kind == Kind::SealedText;
        let held_in = self
            .connections
            .get(&peer)
            .map(|known| &known.held_in)
            .filter(|held| (is_voice || is_text) && !held.is_empty());
        self.relays += 1;
        let inside = packet.slice_ref(relay.packet);
        let mut copies = 0;
        let mut is_kept_from_some = false;
        for to in relay.destinations.iter().filter(|to| *to != client) {
            let Some(receiver) = self.clients.get_mut(&to) else { continue };
            let may_read = || {
                let known = self.connections.get(&receiver.peer);
                is_text && known.is_some_and(|known| known.permissions.moderate)
            };
            let hears =
                held_in.is_none_or(|groups| self.table.listens_to_any(to, groups) || may_read());
            is_kept_from_some |= !hears;
            let takes = (receiver.listens || !is_voice) && (receiver.takes_data || !is_data);
            if receiver.last_relay != self.relays && takes && hears {
                receiver.last_relay = self.relays;
                copies += usize::from(out.deliver(
                    receiver.peer,
                    inside.clone(),
                    delivery,
                    Purpose::From(peer),
                ));
            }
        }
        if is_text && is_kept_from_some && copies == 0 {
            return Err(DropReason::HeldElsewhere);
        }
        Ok(Verdict::Relayed { copies })
    }
}
