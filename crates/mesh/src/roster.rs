//! Who is in the room. A peer that the server lost is not given up while a link reaches it
//! (PROTOCOL.md, section 10), and each arrival and departure is reported once.

use std::collections::BTreeMap;

use voicemesh_session::{Abilities, Roster as SessionRoster, RosterEntry, TextReader};
use voicemesh_wire::signaling::{Capabilities, PeerInfo, RosterMark, roster_hash};
use voicemesh_wire::{ClientId, DisplayName, PeerId, Permissions, SessionId, names};

use crate::member::{Member, Presence};

/// Everyone else, and the current session's ids.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) you: PeerId,
    pub(super) own: Option<PeerInfo>,
    pub(super) session: Option<SessionId>,
    pub(super) members: BTreeMap<PeerId, Member>,
    pub(super) clients: BTreeMap<ClientId, PeerId>,
    pub(super) version: u64,
    /// The session has not been given the present roster.
    pub(super) is_changed: bool,
    /// Grows with each change of the members, of what they publish included.
    pub(super) changes: u64,
}

impl Roster {
    pub(super) fn new(you: PeerId) -> Self {
        Self {
            you,
            own: None,
            session: None,
            members: BTreeMap::new(),
            clients: BTreeMap::new(),
            version: 0,
            is_changed: true,
            changes: 0,
        }
    }

    pub(super) fn you(&self) -> PeerId {
        self.you
    }

    /// Before the first join: this peer has another id.
    pub(super) fn set_you(&mut self, you: PeerId) {
        let changes = self.changes + 1;
        *self = Self { is_changed: self.is_changed, changes, ..Self::new(you) };
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn member(&self, peer: PeerId) -> Option<&Member> {
        self.members.get(&peer)
    }

    pub(super) fn client_of(&self, peer: PeerId) -> Option<ClientId> {
        self.members.get(&peer).and_then(|member| member.client)
    }

    /// What the session has to know of it.
    pub(super) fn of_session(
        &self,
        adapt: impl Fn(&Member, &mut RosterEntry),
    ) -> SessionRoster<PeerId> {
        let mut roster = SessionRoster::of_session(self.session);
        roster.own_permissions = self.own_permissions();
        roster.own_held_in = self.own_held_in().to_vec();
        for member in self.members.values() {
            let Capabilities {
                voice_ack, redundancy, reports, path_feedback, bundles, data, ..
            } = member.capabilities;
            let abilities = Abilities {
                acknowledges_voice: voice_ack,
                reads_copies: redundancy,
                reads_bundles: bundles,
                takes_reports: reports,
                takes_path_feedback: path_feedback,
                takes_data: data,
            };
            let (client, permissions) = (member.client, member.permissions);
            let held_in = member.held_in.clone();
            let mut entry = RosterEntry {
                client,
                abilities,
                permissions,
                held_in,
                text_reader: TextReader::default(),
                hears_plain: false,
            };
            adapt(member, &mut entry);
            roster.insert(member.peer, entry);
        }
        roster
    }

    /// What this peer itself may do.
    pub(super) fn own_permissions(&self) -> Permissions {
        self.own.as_ref().map_or_else(Permissions::default, |own| own.permissions)
    }

    /// Where a moderator holds this peer.
    pub(super) fn own_held_in(&self) -> &[String] {
        self.own.as_ref().map_or(&[], |own| own.held_in.as_slice())
    }

    /// Whether the server's roster is what this one holds.
    pub(super) fn matches(&self, mark: RosterMark) -> bool {
        mark.version == self.version && self.present_hash() == mark.hash
    }

    fn present_hash(&self) -> voicemesh_wire::signaling::RosterHash {
        let mut present: Vec<&PeerInfo> = self.present().map(|member| &member.info).collect();
        present.extend(&self.own);
        present.sort_by_key(|info| info.order);
        roster_hash(present)
    }

    pub(super) fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.presence == Presence::Here)
    }

    /// The server's owner of the room.
    pub(super) fn longest_present(&self) -> Option<PeerId> {
        let present = self.present().map(|member| &member.info).chain(&self.own);
        present.min_by_key(|info| info.order).map(|info| info.peer)
    }

    /// Tells apart those whose names look alike, the own name included.
    pub(super) fn label(&mut self) {
        let own =
            self.own.as_ref().map(|own| (own.peer, DisplayName::received(&own.name, own.peer)));
        let named = self.members.values().map(|member| (member.peer, &member.shown));
        let ids = names::short_ids(named.chain(own.as_ref().map(|(peer, name)| (*peer, name))));
        for member in self.members.values_mut() {
            let name = &member.name;
            member.label =
                ids.get(&member.peer).map_or_else(|| name.clone(), |id| format!("{name}#{id}"));
        }
    }

    pub(super) fn name(&mut self, client: ClientId, peer: PeerId) {
        if let Some(former) = self.clients.insert(client, peer).filter(|former| *former != peer)
            && let Some(member) = self.members.get_mut(&former)
        {
            member.client = None;
        }
    }

    pub(super) fn is_lost(&self, peer: PeerId) -> bool {
        self.member(peer).is_none_or(Member::is_lost)
    }

    /// Clears the roster when this peer leaves; emits no event.
    pub(super) fn clear(&mut self) {
        *self = Self { changes: self.changes + 1, ..Self::new(self.you) };
    }

    /// Whether the session has not been given the present roster; it is from now on.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// What the session has to know besides the members has changed.
    pub(super) fn mark_changed(&mut self) {
        self.is_changed = true;
        self.changes += 1;
    }
}
