//! Written messages, each of which waits for the keys of those who are to read it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::client::View;
use voicemesh_wire::ClientId;
use voicemesh_wire::packet::{self, Recipient, TextData};

use super::{EncryptionEvent, push};

/// Texts that wait for their readers; when there are more, the oldest does so no longer.
const TEXTS: usize = 16;
/// So long a text waits for keys that are on their way.
const TEXT_WAITS: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct WaitingTexts(VecDeque<Text>);

#[derive(Debug)]
struct Text {
    /// As the session made it.
    packet: Bytes,
    to: BTreeSet<ClientId>,
    is_read: bool,
    until: Option<Duration>,
}

impl Text {
    /// It is sent to no one any more.
    fn end(self, events: &mut VecDeque<EncryptionEvent>) {
        if self.is_read {
            return;
        }
        let text = packet::open(&self.packet).and_then(|(_, body)| TextData::decode(body));
        if let Ok(text) = text {
            push(events, EncryptionEvent::Unread { text: text.text.to_owned() });
        }
    }
}

impl WaitingTexts {
    /// None of them is sent any more.
    pub(super) fn end(self, events: &mut VecDeque<EncryptionEvent>) {
        self.0.into_iter().for_each(|text| text.end(events));
    }

    /// When the next of them waits no longer.
    pub(super) fn until(&self) -> Option<Duration> {
        self.0.iter().filter_map(|text| text.until).min()
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
        let to: BTreeSet<ClientId> = match text.recipient {
            Recipient::Client(client) => [client].into(),
            Recipient::Group(group) => {
                view.table().listeners(group).filter(|client| *client != view.you()).collect()
            }
        };
        if to.is_empty() {
            return;
        }
        if self.0.len() == TEXTS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.end(events);
        }
        self.0.push_back(Text { packet: packet.clone(), to, is_read: false, until: None });
    }

    /// Has each sent to those who can read it by now, but not to those for whom something before it
    /// waits. `send` keeps those who will, and says how many it sent to.
    pub(super) fn send(
        &mut self,
        now: Duration,
        events: &mut VecDeque<EncryptionEvent>,
        mut send: impl FnMut(&Bytes, &mut BTreeSet<ClientId>) -> usize,
    ) {
        let mut behind = BTreeSet::new();
        for mut text in std::mem::take(&mut self.0) {
            let (mut waiting, mut now_to): (BTreeSet<_>, BTreeSet<_>) =
                text.to.iter().partition(|client| behind.contains(*client));
            text.is_read |= send(&text.packet, &mut now_to) > 0;
            waiting.append(&mut now_to);
            text.to = waiting;
            let until = *text.until.get_or_insert(now + TEXT_WAITS);
            if text.to.is_empty() || now >= until {
                text.end(events);
            } else {
                behind.extend(text.to.iter().copied());
                self.0.push_back(text);
            }
        }
    }
}
