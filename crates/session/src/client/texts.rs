//! Written messages, to one client and to groups by name or id (PROTOCOL.md, section 7, "Text").

use std::fmt::Debug;

use voicemesh_wire::limits::{GROUP_NAME_BYTES, TEXT_BYTES};
use voicemesh_wire::packet::{GroupText, Recipient, TextData};
use voicemesh_wire::{ClientId, GroupId};

use super::event::{ClientEvent, Dropped};
use super::{Client, ClientError, Participant, View};
use crate::transport::Reliability;

impl<P: Copy + Ord + Debug> Client<P> {
    /// Writes to a group or a client; always through the server, which distributes it, or passes on
    /// what the network has sealed.
    pub fn send_text(&mut self, recipient: Recipient, text: &str) -> Result<(), ClientError> {
        if text.len() > TEXT_BYTES {
            return Err(ClientError::TextTooLong);
        }
        let view = self.core.joined_view().ok_or(ClientError::NotJoined)?;
        if !self.core.permissions.data {
            return Err(ClientError::NotPermitted);
        }
        if let Recipient::Client(client) = recipient
            && view.table.member(client).is_none()
        {
            return Err(ClientError::UnknownClient);
        }
        if self.is_kept_from(view, recipient) {
            return Err(ClientError::NotPermitted);
        }
        let packet = TextData { sender: view.you, recipient, text }.encode(view.session);
        let to: Vec<ClientId> = match recipient {
            Recipient::Client(client) => vec![client],
            Recipient::Group(group) => view.table.listeners(group).collect(),
        };
        self.write(packet, to);
        Ok(())
    }

    /// Sends a text to everyone who listens to a group of this name.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text), and [`ClientError::GroupNameTooLong`].
    pub fn send_group_text(&mut self, group: &str, text: &str) -> Result<(), ClientError> {
        if group.len() > GROUP_NAME_BYTES {
            return Err(ClientError::GroupNameTooLong);
        }
        if !self.core.roster.server_takes_group_text && !self.core.roster.texts_are_relayed {
            return self.send_text(Recipient::Group(GroupId::of(group)), text);
        }
        if text.len() > TEXT_BYTES {
            return Err(ClientError::TextTooLong);
        }
        let view = self.core.joined_view().ok_or(ClientError::NotJoined)?;
        if !self.core.permissions.data {
            return Err(ClientError::NotPermitted);
        }
        let held_in = &self.core.roster.own_held_in;
        let is_held_elsewhere = !held_in.is_empty() && !held_in.iter().any(|held| held == group);
        if self.core.roster.texts_are_relayed && is_held_elsewhere {
            return Err(ClientError::NotPermitted);
        }
        let packet = GroupText { sender: view.you, group, text }.encode(view.session);
        let to = view.table.listeners_of(group).collect();
        self.write(packet, to);
        Ok(())
    }

    /// Whether this client is held in groups so that it may not write to this recipient. Of relayed
    /// texts the server cannot see all that this depends on.
    fn is_kept_from(&self, view: &View, recipient: Recipient) -> bool {
        let roster = &self.core.roster;
        if !roster.texts_are_relayed || roster.own_held_in.is_empty() {
            return false;
        }
        let held_in = || roster.own_held_in.iter().map(|name| GroupId::of(name));
        match recipient {
            Recipient::Group(group) => !held_in().any(|held| held == group),
            Recipient::Client(to) => {
                let peer = roster.peer_of(view.session, to);
                let moderates = peer.is_some_and(|peer| roster.permissions(Some(peer)).moderate);
                !moderates && !held_in().any(|held| view.table.listens(to, held))
            }
        }
    }

    /// Drops a relayed text of a member that is held in groups, if it may not write to this
    /// recipient: `group` by its id, and by its name where that is known.
    fn check_held(
        &self,
        from: Participant<P>,
        group: Option<(GroupId, Option<&str>)>,
    ) -> Result<(), Dropped> {
        let held_in = self.core.roster.held_in(from.peer());
        if !self.core.roster.texts_are_relayed || held_in.is_empty() {
            return Ok(());
        }
        let may_write = match group {
            Some((_, Some(name))) => held_in.iter().any(|held| held == name),
            Some((id, None)) => held_in.iter().any(|held| GroupId::of(held) == id),
            None => self.core.permissions.moderate || !self.core.is_held_elsewhere(from),
        };
        if may_write { Ok(()) } else { Err(Dropped::NotPermitted) }
    }

    fn write(&mut self, packet: Vec<u8>, mut to: Vec<ClientId>) {
        if !self.core.roster.texts_are_relayed {
            return self.core.tell_server(packet);
        }
        to.retain(|client| self.core.joined_view().is_some_and(|view| view.you != *client));
        if !to.is_empty() {
            self.core.relay(Reliability::Reliable, &to, &packet.into());
        }
    }

    pub(super) fn text(&mut self, text: TextData<'_>) -> Result<(), Dropped> {
        let view = self.core.joined_view().ok_or(Dropped::Unexpected)?;
        if view.table.member(text.sender).is_none() || text.sender == view.you {
            return Err(Dropped::WrongSender);
        }
        let is_for_us = match text.recipient {
            Recipient::Client(client) => client == view.you,
            Recipient::Group(group) => {
                self.core.groups.contains_key(&group) && !view.table.is_ambiguous(group)
            }
        };
        if !is_for_us {
            return Err(Dropped::NotAddressed);
        }
        let from = self.core.who(view.session, text.sender);
        if !self.core.roster.permissions(from.peer()).data {
            return Err(Dropped::NotPermitted);
        }
        self.check_held(
            from,
            match text.recipient {
                Recipient::Client(_) => None,
                Recipient::Group(group) => Some((group, None)),
            },
        )?;
        let TextData { sender: client, recipient, text } = text;
        let group = match recipient {
            Recipient::Client(_) => None,
            Recipient::Group(group) => self.core.groups.get(&group).cloned(),
        };
        self.core.push(ClientEvent::Text { from, client, recipient, group, text: text.to_owned() });
        Ok(())
    }

    pub(super) fn group_text(&mut self, text: GroupText<'_>) -> Result<(), Dropped> {
        let view = self.core.joined_view().ok_or(Dropped::Unexpected)?;
        if view.table.member(text.sender).is_none() || text.sender == view.you {
            return Err(Dropped::WrongSender);
        }
        let group = GroupId::of(text.group);
        if self.core.groups.get(&group).is_none_or(|own| own != text.group) {
            return Err(Dropped::NotAddressed);
        }
        let from = self.core.who(view.session, text.sender);
        if !self.core.roster.permissions(from.peer()).data {
            return Err(Dropped::NotPermitted);
        }
        self.check_held(from, Some((group, Some(text.group))))?;
        let GroupText { sender: client, group: name, text } = text;
        let recipient = Recipient::Group(group);
        self.core.push(ClientEvent::Text {
            from,
            client,
            recipient,
            group: Some(name.to_owned()),
            text: text.to_owned(),
        });
        Ok(())
    }
}
