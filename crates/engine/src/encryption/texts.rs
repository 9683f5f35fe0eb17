//! Written messages, each of which waits for the keys of those who are to read it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::NextTimer;
use voicemesh_session::client::{UnreadReason, View};
use voicemesh_wire::packet::{self, Recipient, TextData};
use voicemesh_wire::{ClientId, GroupId};

use super::{EncryptionEvent, others, push};

/// Texts that wait for their readers; when there are more, the oldest does so no longer.
const TEXTS: usize = 16;
/// So long a text waits for keys that are on their way.
const TEXT_WAITS: Duration = Duration::from_secs(10);
/// The answer to the handshake need not name all who are there; the others are named right behind
/// it. A text to a group that is written within this time after the join is for them as well.
const ROSTER_COMES_WITHIN: Duration = Duration::from_secs(1);
/// Who joins is given keys by one member after the other. From the first on, a text that waits for
/// them waits so long for the rest, and is sealed and sent once.
const READERS_GATHER: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct WaitingTexts {
    texts: VecDeque<Text>,
    /// From then on it is known who is there.
    roster_is_known: Duration,
}

#[derive(Debug)]
struct Text {
    /// As the session made it.
    packet: Bytes,
    group: Option<GroupId>,
    /// For whom it is, of those who are known.
    recipients: BTreeSet<ClientId>,
    /// For whom of them it waits.
    to: BTreeSet<ClientId>,
    is_read: bool,
    until: Option<Duration>,
    /// Since when some of them can read it.
    gathers_since: Option<Duration>,
}

/// A text and those for whom it is to be sent now.
pub(super) struct Sending<'a> {
    pub packet: &'a Bytes,
    pub readers: Vec<ClientId>,
}

/// Whether a member can read what is sent to it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Can,
    /// Its keys are on their way.
    Will,
    Never,
}

impl Text {
    fn listeners(&self, view: &View) -> BTreeSet<ClientId> {
        let listeners = self.group.into_iter().flat_map(|group| view.table().listeners(group));
        listeners.filter(|client| *client != view.you()).collect()
    }

    /// Those who are known by now.
    fn find_listeners(&mut self, view: &View) {
        for client in self.listeners(view) {
            if self.recipients.insert(client) {
                self.to.insert(client);
            }
        }
    }

    /// It is sent to no one any more.
    fn end(self, view: Option<&View>, events: &mut VecDeque<EncryptionEvent>) {
        if self.is_read {
            return;
        }
        let is_alone = view.map(|view| others(view).next().is_none());
        let why = match is_alone {
            _ if !self.recipients.is_empty() => UnreadReason::Unreadable,
            Some(true) => UnreadReason::Alone,
            Some(false) => UnreadReason::NoListeners,
            None => UnreadReason::OthersAway,
        };
        let text = packet::open(&self.packet).and_then(|(_, body)| TextData::decode(body));
        if let Ok(text) = text {
            push(events, EncryptionEvent::Unread { text: text.text.to_owned(), why });
        }
    }
}

impl WaitingTexts {
    /// Of a client that has just joined.
    pub(super) fn new(now: Duration) -> Self {
        Self { texts: VecDeque::new(), roster_is_known: now + ROSTER_COMES_WITHIN }
    }

    /// None of them is sent any more.
    pub(super) fn end(self, events: &mut VecDeque<EncryptionEvent>) {
        self.texts.into_iter().for_each(|text| text.end(None, events));
    }

    /// Whether one of them may still be sent to someone who has not got it.
    pub(super) fn are_there(&self) -> bool {
        self.texts.iter().any(|text| !text.to.is_empty() || !text.is_read)
    }

    /// When they are looked at next, if nothing happens before.
    pub(super) fn timers(&self, next: &mut NextTimer) {
        for text in &self.texts {
            next.at(text.until);
            next.at(text.gathers_since.map(|since| since + READERS_GATHER));
            next.at(text.to.is_empty().then_some(self.roster_is_known));
        }
    }

    /// What the session wrote to the server, for the members whom that would have passed it on to.
    pub(super) fn push(
        &mut self,
        packet: &Bytes,
        view: &View,
        events: &mut VecDeque<EncryptionEvent>,
    ) {
        let text = packet::open(packet).and_then(|(_, body)| TextData::decode(body));
        let Ok(text) = text else { return };
        let (group, to) = match text.recipient {
            Recipient::Client(client) => (None, BTreeSet::from([client])),
            Recipient::Group(group) => (Some(group), BTreeSet::new()),
        };
        if self.texts.len() == TEXTS
            && let Some(oldest) = self.texts.pop_front()
        {
            oldest.end(Some(view), events);
        }
        let mut text = Text {
            packet: packet.clone(),
            group,
            recipients: to.clone(),
            to,
            is_read: false,
            until: None,
            gathers_since: None,
        };
        text.find_listeners(view);
        self.texts.push_back(text);
    }

    /// Has each sent to those who can read it by now, but not to those for whom something before it
    /// waits.
    pub(super) fn send(
        &mut self,
        now: Duration,
        view: &View,
        events: &mut VecDeque<EncryptionEvent>,
        reading: impl Fn(ClientId) -> Reading,
        mut send: impl FnMut(Sending<'_>),
    ) {
        let mut behind = BTreeSet::new();
        let mut has_sent = false;
        for mut text in std::mem::take(&mut self.texts) {
            if now < self.roster_is_known {
                text.find_listeners(view);
            }
            // What is written to those who can read it is not kept back from them.
            let is_new = text.until.is_none();
            let until = *text.until.get_or_insert(now + TEXT_WAITS);
            text.to.retain(|client| reading(*client) != Reading::Never);
            let can_now =
                |client: &&ClientId| !behind.contains(*client) && reading(**client) == Reading::Can;
            let readers: Vec<ClientId> = text.to.iter().filter(can_now).copied().collect();
            let gathers_since = match readers.is_empty() {
                true => None,
                false => Some(text.gathers_since.unwrap_or(now)),
            };
            let is_due = is_new
                || has_sent
                || readers.len() == text.to.len()
                || gathers_since.is_some_and(|since| now >= since + READERS_GATHER);
            if is_due && !readers.is_empty() {
                text.to.retain(|client| !readers.contains(client));
                (text.is_read, has_sent) = (true, true);
                text.gathers_since = None;
                send(Sending { packet: &text.packet, readers });
            } else {
                text.gathers_since = gathers_since;
            }
            let may_find_more = text.group.is_some() && now < self.roster_is_known;
            if (text.to.is_empty() && !may_find_more) || now >= until {
                text.end(Some(view), events);
            } else {
                behind.extend(text.to.iter().copied());
                self.texts.push_back(text);
            }
        }
    }
}
