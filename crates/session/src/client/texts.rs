//! Written messages, to one client and to groups by name or id (PROTOCOL.md, section 7, "Text").

use std::fmt::Debug;

use voicemesh_wire::GroupId;
use voicemesh_wire::limits::{GROUP_NAME_BYTES, TEXT_BYTES};
use voicemesh_wire::packet::{GroupText, Recipient, TextData};

use super::event::{ClientEvent, Dropped};
use super::{Client, ClientError};

impl<P: Copy + Ord + Debug> Client<P> {
    /// Writes to a group or a client; always through the server.
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
        let packet = TextData { sender: view.you, recipient, text }.encode(view.session);
        self.core.tell_server(packet);
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
        if !self.core.roster.server_takes_group_text {
            return self.send_text(Recipient::Group(GroupId::of(group)), text);
        }
        if text.len() > TEXT_BYTES {
            return Err(ClientError::TextTooLong);
        }
        let view = self.core.joined_view().ok_or(ClientError::NotJoined)?;
        if !self.core.permissions.data {
            return Err(ClientError::NotPermitted);
        }
        let packet = GroupText { sender: view.you, group, text }.encode(view.session);
        self.core.tell_server(packet);
        Ok(())
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
