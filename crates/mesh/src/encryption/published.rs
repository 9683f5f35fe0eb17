//! Display names and metadata in rooms with a key: sealed in what the server is sent, opened in what
//! it says (PROTOCOL.md, section 18, "Names and metadata"). Behind this, all is plain.

use voicemesh_e2ee::Published;
use voicemesh_wire::PeerId;
use voicemesh_wire::limits::METADATA_KEYS;
use voicemesh_wire::sealed_state::{NAME_KEY, PLACEHOLDER_NAME, is_sealed};
use voicemesh_wire::signaling::{
    ClientMessage, Join, Joined, Metadata, MetadataChanges, PeerInfo, ServerMessage,
};

use super::Encryption;
use crate::announcement::ANNOUNCEMENT_KEY;
use crate::transaction::MetadataScope;

/// Before a name that is the member's in any case.
const NAMED_BY_ITSELF: u8 = 0;
/// Before a name that an access token may have replaced.
const NAMED_BY_TOKEN: u8 = 1;
/// More values than a server takes are not opened: what members publish, and the name.
const MOST_VALUES: usize = METADATA_KEYS + 1;

/// What one part of a message publishes.
enum Part<'a> {
    Room(&'a mut Metadata),
    Member(PeerId, &'a mut Metadata),
    /// With its name.
    Info(&'a mut PeerInfo),
}

/// Leaves out what is sealed, for a peer that has no key to open it with.
pub(crate) fn hide_sealed(message: &mut ServerMessage) {
    visit(message, |part| {
        let metadata = match part {
            Part::Room(metadata) | Part::Member(_, metadata) => metadata,
            Part::Info(info) => &mut info.metadata,
        };
        metadata.retain(|_, value| !is_sealed(value));
    });
}

fn visit(message: &mut ServerMessage, mut see: impl FnMut(Part<'_>)) {
    match message {
        ServerMessage::Joined(joined) => {
            see(Part::Room(&mut joined.room_metadata));
            joined.peers.iter_mut().for_each(|info| see(Part::Info(info)));
            if let Some(taken_over) = &mut joined.taken_over {
                see(Part::Member(joined.you, &mut taken_over.metadata));
            }
        }
        ServerMessage::PeerJoined { peer } => see(Part::Info(peer)),
        ServerMessage::Metadata { peer, metadata, .. } => see(Part::Member(*peer, metadata)),
        ServerMessage::RoomMetadata { metadata } => see(Part::Room(metadata)),
        ServerMessage::Roster { peers, .. } => {
            peers.iter_mut().for_each(|info| see(Part::Info(info)));
        }
        ServerMessage::PeerLeft { .. }
        | ServerMessage::Permissions { .. }
        | ServerMessage::Status { .. }
        | ServerMessage::MetadataSet { .. }
        | ServerMessage::Moderated { .. }
        | ServerMessage::Move { .. }
        | ServerMessage::Held { .. }
        | ServerMessage::Locked { .. }
        | ServerMessage::Password(_)
        | ServerMessage::Signal { .. }
        | ServerMessage::RosterMark(_)
        | ServerMessage::Error { .. }
        | ServerMessage::IceServers { .. }
        | ServerMessage::Ticket { .. }
        | ServerMessage::GoingAway { .. }
        | ServerMessage::Replaced
        | ServerMessage::Pong { .. } => {}
    }
}

impl Encryption {
    /// A join as the server is sent it.
    pub(crate) fn seal_join(&mut self, you: PeerId, join: &mut Join) {
        if !self.has_room_key() {
            return;
        }
        let name = std::mem::replace(&mut join.name, PLACEHOLDER_NAME.to_owned());
        self.seal_all(MetadataScope::Room, you, &mut join.room_metadata);
        self.seal_all(MetadataScope::Own, you, &mut join.metadata);
        let by = if join.token.is_some() { NAMED_BY_TOKEN } else { NAMED_BY_ITSELF };
        let name = [&[by], name.as_bytes()].concat();
        if let Ok(text) = self.ring.seal_published(Published::Member(you, NAME_KEY), &name) {
            join.metadata.insert(NAME_KEY.to_owned(), text);
        }
    }

    /// A message as the server is sent it.
    pub(crate) fn seal_message(&mut self, you: PeerId, message: &mut ClientMessage) {
        let (scope, set) = match message {
            ClientMessage::SetMetadata { set, .. } => (MetadataScope::Own, set),
            ClientMessage::SetRoomMetadata { set, .. } => (MetadataScope::Room, set),
            ClientMessage::Join(_)
            | ClientMessage::Signal { .. }
            | ClientMessage::Moderate { .. }
            | ClientMessage::Status(_)
            | ClientMessage::Roster
            | ClientMessage::Ping { .. }
            | ClientMessage::Leave => return,
        };
        if self.has_room_key() {
            self.seal_changes(scope, you, set);
        }
    }

    fn seal_changes(&mut self, scope: MetadataScope, you: PeerId, set: &mut MetadataChanges) {
        // What cannot be sealed is not sent.
        set.retain(|key, value| match value {
            Some(value) => self.seal_value(scope, you, key, value),
            None => true,
        });
    }

    fn seal_all(&mut self, scope: MetadataScope, you: PeerId, metadata: &mut Metadata) {
        metadata.retain(|key, value| self.seal_value(scope, you, key, value));
    }

    /// False if it is not to be sent. An announcement is public.
    fn seal_value(
        &mut self,
        scope: MetadataScope,
        you: PeerId,
        key: &str,
        value: &mut String,
    ) -> bool {
        let place = match scope {
            MetadataScope::Own if key == ANNOUNCEMENT_KEY => return true,
            MetadataScope::Own => Published::Member(you, key),
            MetadataScope::Room => Published::Room(key),
        };
        match self.ring.seal_published(place, value.as_bytes()) {
            Ok(sealed) => *value = sealed,
            Err(_) => return false,
        }
        true
    }

    /// What the server says, as members with the room's key read it. A value that was not sealed for
    /// its place with this key is left out; a member without such a name has the placeholder.
    pub(crate) fn open_message(&mut self, message: &mut ServerMessage) {
        if !self.has_room_key() {
            return hide_sealed(message);
        }
        visit(message, |part| match part {
            Part::Room(metadata) => self.open_all(metadata, |key| Published::Room(key)),
            Part::Member(peer, metadata) => {
                metadata.remove(NAME_KEY);
                self.open_all(metadata, |key| Published::Member(peer, key));
            }
            Part::Info(info) => {
                let sealed = info.metadata.remove(NAME_KEY);
                info.name = self.name_of(info.peer, sealed.as_deref(), &info.name);
                self.open_all(&mut info.metadata, |key| Published::Member(info.peer, key));
            }
        });
    }

    fn open_all(&mut self, metadata: &mut Metadata, place: impl Fn(&str) -> Published<'_>) {
        if metadata.len() > MOST_VALUES {
            metadata.clear();
        }
        metadata.retain(|key, value| {
            let is_public = key == ANNOUNCEMENT_KEY && matches!(place(key), Published::Member(..));
            if is_public {
                return true;
            }
            let opened = self.ring.open_published(place(key), value).ok();
            match opened.and_then(|plain| String::from_utf8(plain).ok()) {
                Some(plain) => *value = plain,
                None => return false,
            }
            true
        });
    }

    /// A member's display name. The server's counts only for a member that says to have an access
    /// token: otherwise the server could name anyone.
    fn name_of(&mut self, peer: PeerId, sealed: Option<&str>, servers: &str) -> String {
        let place = Published::Member(peer, NAME_KEY);
        let opened = sealed.and_then(|sealed| self.ring.open_published(place, sealed).ok());
        let name = opened.as_deref().and_then(|plain| {
            let (by, name) = plain.split_first()?;
            let is_tokens = *by == NAMED_BY_TOKEN && servers != PLACEHOLDER_NAME;
            if is_tokens { Some(servers) } else { std::str::from_utf8(name).ok() }
        });
        name.unwrap_or(PLACEHOLDER_NAME).to_owned()
    }
}

/// The own name is the one that was asked for, unless an access token has another.
pub(crate) fn keep_own_name(joined: &mut Joined, has_token: bool) {
    joined.name.take_if(|name| !has_token || name == PLACEHOLDER_NAME);
}
