//! Written messages: to one client, to a group by its id, or by its name.

use std::collections::BTreeMap;

use bytes::Bytes;
use voicemesh_wire::packet::{GroupText, Recipient, TextData};
use voicemesh_wire::{ClientId, GroupId};

use super::{DropReason, Purpose, Server, ServerOutput, Verdict};
use crate::transport::Delivery;

impl<P: Copy + Ord> Server<P> {
    pub(super) fn text(
        &mut self,
        peer: P,
        client: ClientId,
        packet: &Bytes,
        text: TextData<'_>,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        if text.sender != client {
            return Err(DropReason::ForgedSender);
        }
        if self.is_kept_from(peer, text.recipient) {
            return Err(DropReason::HeldElsewhere);
        }
        let mut copies = 0;
        let mut pass_on = |to: ClientId| {
            if let Some(receiver) = self.clients.get(&to).filter(|_| to != client) {
                let purpose = Purpose::From(peer);
                copies += usize::from(out.deliver(
                    receiver.peer,
                    packet.clone(),
                    Delivery::Reliable,
                    purpose,
                ));
            }
        };
        match text.recipient {
            Recipient::Client(to) => pass_on(to),
            // An id alone does not say which name is meant.
            Recipient::Group(group) if self.table.is_ambiguous(group) => {}
            Recipient::Group(group) => self.table.listeners(group).for_each(&mut pass_on),
        }
        Ok(Verdict::Relayed { copies })
    }

    /// Reaches those who listen to the very same name. Who does not know the packet gets a
    /// TextData, unless the name's id is that of another name as well.
    pub(super) fn group_text(
        &mut self,
        peer: P,
        client: ClientId,
        packet: &Bytes,
        text: GroupText<'_>,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        if text.sender != client {
            return Err(DropReason::ForgedSender);
        }
        let held_in = self.held_in(peer);
        if held_in.is_some_and(|held| {
            held.get(&GroupId::of(text.group)).is_none_or(|name| name != text.group)
        }) {
            return Err(DropReason::HeldElsewhere);
        }
        let mut by_id = None;
        let mut copies = 0;
        for to in self.table.listeners_of(text.group).filter(|to| *to != client) {
            let Some(receiver) = self.clients.get(&to) else { continue };
            let takes_names =
                self.connections.get(&receiver.peer).is_some_and(|known| known.takes_group_text);
            let packet = match takes_names {
                true => packet.clone(),
                false if self.table.is_shared(text.group) => continue,
                false => by_id
                    .get_or_insert_with(|| Bytes::from(text.by_id().encode(self.session)))
                    .clone(),
            };
            copies += usize::from(out.deliver(
                receiver.peer,
                packet,
                Delivery::Reliable,
                Purpose::From(peer),
            ));
        }
        Ok(Verdict::Relayed { copies })
    }

    /// Whether a sender is held in groups so that it may not write to this recipient: another
    /// group, or a client that neither listens to one of them nor may moderate.
    fn is_kept_from(&self, sender: P, recipient: Recipient) -> bool {
        let Some(held_in) = self.held_in(sender) else { return false };
        match recipient {
            Recipient::Group(group) => !held_in.contains_key(&group),
            Recipient::Client(to) => self.clients.get(&to).is_some_and(|receiver| {
                let moderates = self
                    .connections
                    .get(&receiver.peer)
                    .is_some_and(|known| known.permissions.moderate);
                !moderates && !self.table.listens_to_any(to, held_in)
            }),
        }
    }

    fn held_in(&self, peer: P) -> Option<&BTreeMap<GroupId, String>> {
        self.connections.get(&peer).map(|known| &known.held_in).filter(|held| !held.is_empty())
    }
}
