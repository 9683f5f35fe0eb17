//! Who is in the room. A peer that the server lost is not given up while a link reaches it (PROTOCOL.md,
//! section 10), and each arrival and departure is reported once.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_session::network::NetworkEvent;
use voicemesh_session::{Abilities, Roster as SessionRoster, RosterEntry};
use voicemesh_wire::signaling::{Capabilities, LeaveReason, MemberStatus, Metadata, PeerInfo, RosterMark, roster_hash};
use voicemesh_wire::{ClientId, DisplayName, PeerId, Permissions, SessionId, names};

use super::{Mesh, MeshEvent};
use crate::event::PeerLeftReason;

/// A peer that the server lost is kept this long if a link reaches it, and the server's own absence is borne this long.
const KEEP_LINKED: Duration = Duration::from_secs(120);
/// A peer that is about to come back by itself is waited for this long: it was replaced by its own new connection, or
/// the server started anew and everyone rejoins.
const KEEP_RETURNING: Duration = Duration::from_secs(10);

/// One other peer in the room.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its id.
    pub peer: PeerId,
    /// Display name.
    pub name: String,
    /// The name, and the beginning of its id if it looks like the name of another peer in the room.
    pub label: String,
    /// What it publishes.
    pub metadata: Metadata,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its place in the order of arrival.
    pub order: u64,
    /// What it may do.
    pub permissions: Permissions,
    /// The talk groups in which a moderator holds it; none if it is held nowhere.
    pub held_in: Vec<String>,
    /// How it takes part, as its own program says.
    pub status: MemberStatus,
    pub(super) run: u32,
    pub(super) presence: Presence,
    client: Option<ClientId>,
    info: PeerInfo,
    shown: DisplayName,
}

/// Whether the server has a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It does, as far as is known.
    Here,
    /// It does not, and the peer is given up then, or when its link is gone if that alone keeps it.
    Lost { until: Duration, kept_by_link: bool },
}

/// Everyone else, and the current session's ids.
#[derive(Debug)]
pub(super) struct Roster {
    you: PeerId,
    own: Option<PeerInfo>,
    session: Option<SessionId>,
    members: BTreeMap<PeerId, Member>,
    clients: BTreeMap<ClientId, PeerId>,
    version: u64,
}

impl Roster {
    pub(super) fn new(you: PeerId) -> Self {
        Self { you, own: None, session: None, members: BTreeMap::new(), clients: BTreeMap::new(), version: 0 }
    }

    pub(super) fn you(&self) -> PeerId {
        self.you
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
    pub(super) fn of_session(&self) -> SessionRoster<PeerId> {
        let mut roster = SessionRoster::of_session(self.session);
        roster.own_permissions = self.own_permissions();
        roster.own_held_in = self.own_held_in().to_vec();
        for member in self.members.values() {
            let Capabilities { voice_ack, redundancy, reports, path_feedback, bundles, data, .. } = member.capabilities;
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
            roster.insert(member.peer, RosterEntry { client, abilities, permissions, held_in });
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

    fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.presence == Presence::Here)
    }

    /// The server's owner of the room.
    pub(super) fn longest_present(&self) -> Option<PeerId> {
        let present = self.present().map(|member| &member.info).chain(&self.own);
        present.min_by_key(|info| info.order).map(|info| info.peer)
    }

    /// Tells apart those whose names look alike, the own name included.
    fn label(&mut self) {
        let own = self.own.as_ref().map(|own| (own.peer, DisplayName::received(&own.name, own.peer)));
        let named = self.members.values().map(|member| (member.peer, &member.shown));
        let ids = names::short_ids(named.chain(own.as_ref().map(|(peer, name)| (*peer, name))));
        for member in self.members.values_mut() {
            let name = &member.name;
            member.label = ids.get(&member.peer).map_or_else(|| name.clone(), |id| format!("{name}#{id}"));
        }
    }

    fn name(&mut self, client: ClientId, peer: PeerId) {
        if let Some(former) = self.clients.insert(client, peer).filter(|former| *former != peer)
            && let Some(member) = self.members.get_mut(&former)
        {
            member.client = None;
        }
    }
}

impl Member {
    fn new(info: PeerInfo) -> Self {
        let name = DisplayName::received(&info.name, info.peer);
        Self {
            peer: info.peer,
            name: name.as_str().to_owned(),
            label: name.as_str().to_owned(),
            shown: name,
            metadata: info.metadata.clone(),
            capabilities: info.capabilities.clone(),
            order: info.order,
            permissions: info.permissions,
            held_in: info.held_in.clone(),
            status: info.status,
            run: info.run,
            presence: Presence::Here,
            client: Some(info.client),
            info,
        }
    }
}

impl Mesh {
    /// The server's whole word on who is here: at a join, or because something was missed.
    pub(super) fn set_roster(
        &mut self,
        now: Duration,
        session: SessionId,
        own: PeerInfo,
        others: Vec<PeerInfo>,
        mark: RosterMark,
    ) {
        self.roster.session = Some(session);
        let (you, permissions) = (own.peer, own.permissions);
        let former = self.roster.own_permissions();
        let former_groups = self.roster.own_held_in().to_vec();
        let groups = own.held_in.clone();
        self.roster.own = Some(own);
        if groups != former_groups {
            self.tell(MeshEvent::HeldIn { peer: you, groups });
        }
        if permissions != former {
            self.tell(MeshEvent::PermissionsChanged { peer: you, permissions });
        }
        self.roster.clients.clear();
        let listed: Vec<PeerId> = others.iter().map(|info| info.peer).collect();
        for info in others {
            self.arrive(now, info);
        }
        self.roster.label();
        let missing: Vec<PeerId> =
            self.roster.present().map(|member| member.peer).filter(|peer| !listed.contains(peer)).collect();
        for peer in missing {
            self.lose(now, peer, KEEP_RETURNING);
        }
        for member in self.roster.members.values_mut().filter(|member| !listed.contains(&member.peer)) {
            member.client = None;
        }
        self.roster.version = mark.version;
        self.roster_changed = true;
    }

    pub(super) fn peer_joined(&mut self, now: Duration, info: PeerInfo) {
        self.roster.version += 1;
        self.arrive(now, info);
        self.roster.label();
        self.roster_changed = true;
        self.tell_owner(false);
    }

    pub(super) fn peer_left(&mut self, now: Duration, peer: PeerId, reason: LeaveReason) {
        self.roster.version += 1;
        match reason {
            LeaveReason::Left | LeaveReason::Unknown => self.give_up(peer, PeerLeftReason::Left),
            LeaveReason::Kicked => self.give_up(peer, PeerLeftReason::Kicked),
            LeaveReason::Lost => self.lose(now, peer, Duration::ZERO),
            LeaveReason::Replaced => self.lose(now, peer, KEEP_RETURNING),
        }
        // A peer that was replaced comes back at once, in its old place.
        if reason != LeaveReason::Replaced {
            self.tell_owner(false);
        }
    }

    pub(super) fn metadata_changed(&mut self, now: Duration, peer: PeerId, metadata: Metadata) {
        self.roster.version += 1;
        if peer == self.roster.you {
            self.own_metadata_changed(metadata);
        } else if let Some(member) = self.roster.members.get_mut(&peer) {
            let former = std::mem::replace(&mut member.metadata, metadata.clone());
            member.info.metadata = metadata.clone();
            self.tell(MeshEvent::MetadataChanged { peer, metadata });
            self.token_changed(now, peer, &former);
        }
    }

    pub(super) fn permissions_changed(&mut self, peer: PeerId, permissions: Permissions) {
        self.roster.version += 1;
        if peer == self.roster.you {
            if let Some(own) = &mut self.roster.own {
                own.permissions = permissions;
            }
        } else if let Some(member) = self.roster.members.get_mut(&peer) {
            member.permissions = permissions;
            member.info.permissions = permissions;
        } else {
            return;
        }
        self.roster_changed = true;
        self.tell(MeshEvent::PermissionsChanged { peer, permissions });
    }

    pub(super) fn held_changed(&mut self, peer: PeerId, groups: Vec<String>) {
        if peer == self.roster.you {
            if let Some(own) = &mut self.roster.own {
                own.held_in.clone_from(&groups);
            }
        } else if let Some(member) = self.roster.members.get_mut(&peer) {
            member.held_in.clone_from(&groups);
            member.info.held_in.clone_from(&groups);
        } else {
            return;
        }
        self.roster_changed = true;
        self.tell(MeshEvent::HeldIn { peer, groups });
    }

    pub(super) fn status_changed(&mut self, peer: PeerId, status: MemberStatus) {
        self.roster.version += 1;
        if let Some(member) = self.roster.members.get_mut(&peer) {
            member.status = status;
            member.info.status = status;
            self.tell(MeshEvent::StatusChanged { peer, status });
        }
    }

    pub(super) fn tick_roster(&mut self, now: Duration) {
        if let Some(since) = self.socket.away_since()
            && now >= since + KEEP_LINKED
        {
            let unreachable: Vec<PeerId> =
                self.roster.present().map(|member| member.peer).filter(|peer| !self.has_open_link(*peer)).collect();
            for peer in unreachable {
                self.give_up(peer, PeerLeftReason::Lost);
            }
        }
        let over = |member: &&Member| match member.presence {
            Presence::Here => false,
            Presence::Lost { until, kept_by_link } => {
                now >= until || (kept_by_link && !self.has_open_link(member.peer))
            }
        };
        let given_up: Vec<PeerId> = self.roster.members().filter(over).map(|member| member.peer).collect();
        for peer in given_up {
            self.give_up(peer, PeerLeftReason::Lost);
        }
    }

    pub(super) fn is_lost(&self, peer: PeerId) -> bool {
        self.roster.member(peer).is_none_or(|member| member.presence != Presence::Here)
    }

    fn arrive(&mut self, now: Duration, info: PeerInfo) {
        if info.peer == self.roster.you {
            return;
        }
        if self.roster.member(info.peer).is_some_and(|known| known.run != info.run) {
            self.give_up(info.peer, PeerLeftReason::Restarted);
            self.tell_network(NetworkEvent::PeerRestarted(info.peer));
        }
        self.roster.name(info.client, info.peer);
        let peer = info.peer;
        match self.roster.members.get_mut(&peer) {
            Some(known) => {
                let former = std::mem::replace(known, Member::new(info));
                let (metadata, permissions, status) = (known.metadata.clone(), known.permissions, known.status);
                let groups = known.held_in.clone();
                if status != former.status {
                    self.tell(MeshEvent::StatusChanged { peer, status });
                }
                if permissions != former.permissions {
                    self.tell(MeshEvent::PermissionsChanged { peer, permissions });
                }
                if groups != former.held_in {
                    self.tell(MeshEvent::HeldIn { peer, groups });
                }
                let former = former.metadata;
                if metadata != former {
                    self.tell(MeshEvent::MetadataChanged { peer, metadata });
                    self.token_changed(now, peer, &former);
                }
            }
            None => {
                let member = Member::new(info);
                let (permissions, status) = (member.permissions, member.status);
                let groups = member.held_in.clone();
                self.roster.members.insert(peer, member.clone());
                self.tell(MeshEvent::PeerJoined(member));
                if !permissions.is_default() {
                    self.tell(MeshEvent::PermissionsChanged { peer, permissions });
                }
                if !status.is_default() {
                    self.tell(MeshEvent::StatusChanged { peer, status });
                }
                if !groups.is_empty() {
                    self.tell(MeshEvent::HeldIn { peer, groups });
                }
            }
        }
        self.tick_links(now);
    }

    /// The server no longer has this peer. It is kept while a link reaches it, and at least for `grace`.
    fn lose(&mut self, now: Duration, peer: PeerId, grace: Duration) {
        let linked = self.has_open_link(peer);
        let until = now + if linked { KEEP_LINKED } else { grace };
        if let Some(member) = self.roster.members.get_mut(&peer) {
            member.presence = Presence::Lost { until, kept_by_link: linked && grace.is_zero() };
        }
        if !linked && grace.is_zero() {
            self.give_up(peer, PeerLeftReason::Lost);
        }
    }

    /// Removes a peer: closes all links to it, and emits [`MeshEvent::PeerLeft`].
    pub(super) fn give_up(&mut self, peer: PeerId, reason: PeerLeftReason) {
        self.drop_links(peer);
        self.choices.forget(peer);
        if let Some(member) = self.roster.members.remove(&peer) {
            self.roster.clients.retain(|_, named| *named != peer);
            self.roster.label();
            self.roster_changed = true;
            self.tell(MeshEvent::PeerLeft { member, reason });
        }
    }

    /// Clears the roster when this peer leaves; emits no event.
    pub(super) fn clear_roster(&mut self) {
        self.roster = Roster::new(self.roster.you);
        self.roster_changed = true;
    }
}
