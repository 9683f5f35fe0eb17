//! What a client's owner knows of the others: a value, which the client is given anew whenever it
//! changes.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_wire::{ClientId, Permissions, SessionId};

use crate::transport::ClientLookup;

/// The packets that a peer reads beyond the least that all do (its capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// It acknowledges voice on links.
    pub acknowledges_voice: bool,
    /// It reads frames that carry earlier frames again.
    pub reads_copies: bool,
    /// It reads packets that carry several new frames.
    pub reads_bundles: bool,
    /// It takes reception reports and answers clock probes.
    pub takes_reports: bool,
    /// It says in acknowledgements when packets arrived, and answers trains of probes.
    pub takes_path_feedback: bool,
    /// It takes a game's own bytes.
    pub takes_data: bool,
}

impl Abilities {
    /// Everything.
    pub const ALL: Self = Self {
        acknowledges_voice: true,
        reads_copies: true,
        reads_bundles: true,
        takes_reports: true,
        takes_path_feedback: true,
        takes_data: true,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        acknowledges_voice: false,
        reads_copies: false,
        reads_bundles: false,
        takes_reports: false,
        takes_path_feedback: false,
        takes_data: false,
    };
}

/// Whether a peer can read the texts of this client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextReader {
    /// It can.
    #[default]
    Ready,
    /// It will: what it lacks is on its way. [Relayed](Roster::texts_are_relayed) texts wait for it.
    Soon,
    /// It cannot.
    Never,
}

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// Its id in the roster's session.
    pub client: Option<ClientId>,
    /// What it can do.
    pub abilities: Abilities,
    /// What it may do, as the server has told.
    pub permissions: Permissions,
    /// The talk groups in which a moderator holds it; none if it is held nowhere.
    pub held_in: Vec<String>,
    /// Whether it reads this client's texts.
    pub text_reader: TextReader,
    /// Speech is relayed to it in packets apart from those for others, which the network seals.
    pub hears_plain: bool,
}

/// What is known of everyone. [`Roster::default`] is that of a network without one: what a
/// HandshakeP2P says is believed, and everyone can and may do everything that is not for
/// moderators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster<P> {
    /// Whether the entries name all members of the session.
    is_kept: bool,
    /// The session whose client ids the entries have.
    session: Option<SessionId>,
    entries: BTreeMap<P, RosterEntry>,
    clients: BTreeMap<ClientId, P>,
    /// What those can do who have no entry.
    others: Abilities,
    /// What this client itself may do.
    pub own_permissions: Permissions,
    /// The talk groups in which a moderator holds this client.
    pub own_held_in: Vec<String>,
    /// Whether the server takes texts to groups by name (GroupText).
    pub server_takes_group_text: bool,
    /// Texts go to their recipients through the relay, so that the network can seal them.
    pub texts_are_relayed: bool,
}

impl<P> Default for Roster<P> {
    fn default() -> Self {
        Self {
            is_kept: false,
            session: None,
            entries: BTreeMap::new(),
            clients: BTreeMap::new(),
            others: Abilities::ALL,
            own_permissions: Permissions::default(),
            own_held_in: Vec::new(),
            server_takes_group_text: false,
            texts_are_relayed: false,
        }
    }
}

impl<P: Copy + Ord> Roster<P> {
    /// The roster of a session, without entries. A peer without one is not a member.
    pub fn of_session(session: Option<SessionId>) -> Self {
        Self { is_kept: true, session, others: Abilities::NONE, ..Self::default() }
    }

    /// The same, with other abilities of those who have no entry.
    #[must_use]
    pub fn with_others(self, others: Abilities) -> Self {
        Self { others, ..self }
    }

    /// Adds a peer, or changes its entry.
    pub fn insert(&mut self, peer: P, entry: RosterEntry) {
        let client = entry.client;
        if let Some(former) = self.entries.insert(peer, entry).and_then(|former| former.client) {
            self.clients.remove(&former);
        }
        if let Some(client) = client {
            self.clients.insert(client, peer);
        }
    }

    /// The talk groups in which a moderator holds a member.
    pub fn held_in(&self, peer: Option<P>) -> &[String] {
        peer.and_then(|peer| self.entries.get(&peer)).map_or(&[], |entry| &entry.held_in)
    }

    /// Whether the entries name all members of the session.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Everyone who has an entry.
    pub fn peers(&self) -> impl Iterator<Item = (P, &RosterEntry)> {
        self.entries.iter().map(|(peer, entry)| (*peer, entry))
    }

    /// What is known of a peer.
    pub fn entry(&self, peer: P) -> Option<&RosterEntry> {
        self.entries.get(&peer)
    }

    /// Which client a peer is in a session.
    pub fn client_of(&self, session: SessionId, peer: P) -> ClientLookup {
        if !self.is_kept {
            return ClientLookup::NoRoster;
        }
        let client = self
            .entries
            .get(&peer)
            .filter(|_| self.session == Some(session))
            .and_then(|entry| entry.client);
        client.map_or(ClientLookup::NotYet, ClientLookup::Client)
    }

    /// Which peer a client of a session is.
    pub fn peer_of(&self, session: SessionId, client: ClientId) -> Option<P> {
        self.clients.get(&client).copied().filter(|_| self.session == Some(session))
    }

    /// Whether speech is relayed to a client of a session in packets apart from those for others.
    pub fn hears_plain(&self, session: SessionId, client: ClientId) -> bool {
        let entry = self.peer_of(session, client).and_then(|peer| self.entries.get(&peer));
        entry.is_some_and(|entry| entry.hears_plain)
    }

    /// What a peer can do; `None` is a member that is known only as a client.
    pub fn abilities(&self, peer: Option<P>) -> Abilities {
        peer.and_then(|peer| self.entries.get(&peer)).map_or(self.others, |entry| entry.abilities)
    }

    /// What a member may do; `None` is a member that is known only as a client.
    pub fn permissions(&self, peer: Option<P>) -> Permissions {
        let entry = peer.and_then(|peer| self.entries.get(&peer));
        entry.map_or_else(Permissions::default, |entry| entry.permissions)
    }
}

/// Whether the server passes on what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHealth {
    /// It answers. While it does not, nothing is known to arrive through the relay.
    pub is_reached: bool,
    /// When the latest question was sent that it has answered; [`Duration::MAX`] where it is not
    /// asked.
    pub answered: Option<Duration>,
}

impl ServerHealth {
    /// Of a server that is not asked.
    pub const UNKNOWN: Self = Self { is_reached: true, answered: Some(Duration::MAX) };

    /// Whether it has answered something that was sent to it at `since` or later.
    pub fn has_answered_since(self, since: Duration) -> bool {
        self.answered.is_some_and(|answered| answered >= since)
    }
}
