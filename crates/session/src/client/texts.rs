//! Written messages, to one client and to groups by name or id (PROTOCOL.md, section 7, "Text").

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use voicemesh_common::NextTimer;
use voicemesh_wire::limits::{GROUP_NAME_BYTES, TEXT_BYTES};
use voicemesh_wire::packet::{GroupText, Recipient, TextData};
use voicemesh_wire::{ClientId, GroupId};

use super::event::{ClientEvent, Dropped, UnreadReason};
use super::{Client, ClientError, Participant, Phase, View};
use crate::roster::TextReader;
use crate::table::Table;
use crate::transport::Reliability;

/// Texts that wait for their readers; when there are more, the oldest does so no longer.
const WAITING_TEXTS: usize = 16;
/// So long a text waits for those who are not back yet, or whose keys are on their way.
const TEXT_WAITS: Duration = Duration::from_secs(10);

/// Whom a relayed text is for.
#[derive(Debug)]
enum Readers<P> {
    Peer(P),
    /// A group by its id.
    Group(GroupId),
    /// The same by its name.
    Named(String),
}

impl<P> Readers<P> {
    fn has(&self, table: &Table, client: ClientId) -> bool {
        match self {
            Self::Peer(_) => true,
            Self::Group(group) => table.listens(client, *group),
            Self::Named(name) => table.listeners_of(name).any(|listener| listener == client),
        }
    }
}

/// A relayed text that some of its readers cannot get yet.
#[derive(Debug)]
pub(super) struct WaitingText<P> {
    readers: Readers<P>,
    text: String,
    waits_for: BTreeSet<P>,
    /// Some have got it.
    is_read: bool,
    /// If no one gets it.
    why: UnreadReason,
    until: Option<Duration>,
}

impl<P> WaitingText<P> {
    fn is_over(&self, now: Option<Duration>) -> bool {
        let is_late = now.is_some_and(|now| self.until.is_some_and(|until| now >= until));
        self.waits_for.is_empty() || is_late
    }
}

impl<P: Copy + Ord + Debug> Client<P> {
    /// Writes to a group or a client; always through the server, which distributes it, or passes on
    /// what the network has sealed. A text that no one gets is told as
    /// [`ClientEvent::TextUnread`], at once or, where its readers are not back or their keys have not
    /// come, after 10 s.
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
        if self.core.roster.texts_are_relayed {
            let readers = match recipient {
                Recipient::Client(client) => match self.core.roster.peer_of(view.session, client) {
                    Some(peer) => Readers::Peer(peer),
                    None => return Err(ClientError::UnknownClient),
                },
                Recipient::Group(group) => Readers::Group(group),
            };
            self.relay_text(readers, text);
        } else {
            let packet = TextData { sender: view.you, recipient, text }.encode(view.session);
            self.give_to_server(text, packet);
        }
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
        if self.core.roster.texts_are_relayed {
            self.relay_text(Readers::Named(group.to_owned()), text);
        } else {
            let packet = GroupText { sender: view.you, group, text }.encode(view.session);
            self.give_to_server(text, packet);
        }
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

    /// The server distributes it.
    fn give_to_server(&mut self, text: &str, packet: Vec<u8>) {
        match self.no_one_there() {
            Some(why) => self.core.push(ClientEvent::TextUnread { text: text.to_owned(), why }),
            None => self.core.tell_server(packet),
        }
    }

    /// Why no one at all gets a text that is written now.
    fn no_one_there(&self) -> Option<UnreadReason> {
        let (roster, view) = (&self.core.roster, self.core.joined_view()?);
        let is_listed = |client| roster.peer_of(view.session, client).is_some();
        let is_unlisted = |client| client != view.you && !is_listed(client);
        // Of those whom the roster does not name nothing is known.
        if !roster.is_kept() || view.table.members().any(|member| is_unlisted(member.info.id)) {
            return None;
        }
        let mut others = roster.peers().map(|(_, entry)| entry).peekable();
        if others.peek().is_none() {
            return Some(UnreadReason::Alone);
        }
        let mut readers = others.filter(|entry| entry.text_reader != TextReader::Never).peekable();
        if readers.peek().is_none() {
            return Some(UnreadReason::Unreadable);
        }
        // Who has come is in the table in a moment.
        (!readers.any(|entry| entry.client.is_some())).then_some(UnreadReason::OthersAway)
    }

    /// Sends a text to those who can read it, and keeps it for those who will.
    fn relay_text(&mut self, readers: Readers<P>, text: &str) {
        let waits_for = match readers {
            Readers::Peer(peer) => [peer].into(),
            Readers::Group(_) | Readers::Named(_) => {
                self.core.roster.peers().map(|(peer, _)| peer).collect()
            }
        };
        let mut text = WaitingText {
            readers,
            text: text.to_owned(),
            waits_for,
            is_read: false,
            why: UnreadReason::Alone,
            until: None,
        };
        // What was written to them before goes first.
        let behind: BTreeSet<P> =
            self.waiting_texts.iter().flat_map(|text| text.waits_for.iter().copied()).collect();
        self.send_waiting(&mut text, &behind);
        if text.is_over(None) {
            return self.push_unread(text);
        }
        if self.waiting_texts.len() == WAITING_TEXTS
            && let Some(oldest) = self.waiting_texts.pop_front()
        {
            self.push_unread(oldest);
        }
        self.waiting_texts.push_back(text);
    }

    /// Sends what waits to those who can read it by now.
    pub(super) fn send_waiting_texts(&mut self, now: Duration) {
        if self.core.phase != Phase::Joined || self.waiting_texts.is_empty() {
            return self.end_waiting_texts(now);
        }
        let mut texts = std::mem::take(&mut self.waiting_texts);
        let mut behind = BTreeSet::new();
        for text in &mut texts {
            self.send_waiting(text, &behind);
            behind.extend(text.waits_for.iter().copied());
        }
        self.waiting_texts = texts;
        self.end_waiting_texts(now);
    }

    fn end_waiting_texts(&mut self, now: Duration) {
        for mut text in std::mem::take(&mut self.waiting_texts) {
            text.until.get_or_insert(now + TEXT_WAITS);
            if text.is_over(Some(now)) {
                self.push_unread(text);
            } else {
                self.waiting_texts.push_back(text);
            }
        }
    }

    fn push_unread(&mut self, WaitingText { text, is_read, why, .. }: WaitingText<P>) {
        if !is_read {
            self.core.push(ClientEvent::TextUnread { text, why });
        }
    }

    pub(super) fn text_timers(&self, next: &mut NextTimer) {
        self.waiting_texts.iter().for_each(|text| next.at(text.until));
    }

    /// Sends a text to those for whom it waits and who can read it, but not to those for whom
    /// something before it waits.
    fn send_waiting(&mut self, text: &mut WaitingText<P>, behind: &BTreeSet<P>) {
        let Some(view) = self.core.joined_view() else { return };
        let roster = &self.core.roster;
        let mut to = Vec::new();
        let mut why = text.why;
        text.waits_for.retain(|peer| {
            let Some(entry) = roster.entry(*peer) else { return false };
            let client = entry.client.filter(|client| {
                view.table
                    .member(*client)
                    .is_some_and(|_| roster.peer_of(view.session, *client) == Some(*peer))
            });
            let is_listener = |client| text.readers.has(&view.table, client);
            match (entry.text_reader, client) {
                (TextReader::Never, Some(client)) if is_listener(client) => {
                    why = why.max(UnreadReason::Unreadable);
                    false
                }
                (TextReader::Never, _) => false,
                (_, Some(client)) if !is_listener(client) => {
                    why = why.max(UnreadReason::NoListeners);
                    false
                }
                (TextReader::Ready, Some(client)) if !behind.contains(peer) => {
                    to.push(client);
                    false
                }
                (_, Some(_)) => {
                    why = why.max(UnreadReason::Unreadable);
                    true
                }
                (_, None) => {
                    why = why.max(UnreadReason::OthersAway);
                    true
                }
            }
        });
        text.why = why;
        if to.is_empty() || !self.core.permissions.data {
            return;
        }
        let (sender, session, words) = (view.you, view.session, text.text.as_str());
        let packet = match &text.readers {
            Readers::Named(group) => GroupText { sender, group, text: words }.encode(session),
            Readers::Group(group) => {
                TextData { sender, recipient: Recipient::Group(*group), text: words }
                    .encode(session)
            }
            Readers::Peer(_) => {
                TextData { sender, recipient: Recipient::Client(to[0]), text: words }
                    .encode(session)
            }
        };
        text.is_read = true;
        self.core.relay(Reliability::Reliable, &to, &packet.into());
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
