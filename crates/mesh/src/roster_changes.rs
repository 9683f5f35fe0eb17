//! What comes of an arrival, a departure and news of a member: the links that follow, and the
//! events.

use std::time::Duration;

use voicemesh_common::NextTimer;
use voicemesh_session::network::NetworkEvent;
use voicemesh_wire::signaling::{LeaveReason, MemberStatus, Metadata, PeerInfo, RosterMark};
use voicemesh_wire::{PeerId, Permissions, SessionId};

use crate::connection::Connection;
use crate::event::{MeshEvent, PeerLeftReason};
use crate::fingerprints::LinkAuthentication;
use crate::member::{Member, Presence};
use crate::negotiation::{Links, Negotiation};
use crate::queues::Queues;
use crate::roster::Roster;

/// A peer that the server lost is kept this long if a link reaches it, and the server's own absence
/// is borne this long.
const KEEP_LINKED: Duration = Duration::from_secs(120);

/// A peer that is about to come back by itself is waited for this long: it was replaced by its own
/// new connection, or the server started anew and everyone rejoins.
const KEEP_RETURNING: Duration = Duration::from_secs(10);

/// What a change of the roster acts on.
pub(super) struct Membership<'a> {
    pub(super) now: Duration,
    pub(super) links: &'a mut Links,
    pub(super) encryption: Option<&'a dyn LinkAuthentication>,
    pub(super) connection: &'a mut Connection,
    pub(super) queues: &'a mut Queues,
}

impl Roster {
    /// The server's whole word on who is here: at a join, or because something was missed.
    pub(super) fn set(
        &mut self,
        session: SessionId,
        own: PeerInfo,
        others: Vec<PeerInfo>,
        mark: RosterMark,
        around: &mut Membership<'_>,
    ) {
        self.session = Some(session);
        let (you, permissions) = (own.peer, own.permissions);
        let former = self.own_permissions();
        let former_groups = self.own_held_in().to_vec();
        let groups = own.held_in.clone();
        self.own = Some(own);
        if groups != former_groups {
            around.queues.tell(MeshEvent::HeldIn { peer: you, groups });
        }
        if permissions != former {
            around.queues.tell(MeshEvent::PermissionsChanged { peer: you, permissions });
        }
        self.clients.clear();
        let listed: Vec<PeerId> = others.iter().map(|info| info.peer).collect();
        for info in others {
            self.arrive(info, around);
        }
        self.label();
        let missing: Vec<PeerId> = self
            .present()
            .map(|member| member.peer)
            .filter(|peer| !listed.contains(peer))
            .collect();
        for peer in missing {
            self.mark_lost(peer, KEEP_RETURNING, around);
        }
        for member in self.members.values_mut().filter(|member| !listed.contains(&member.peer)) {
            member.client = None;
        }
        self.version = mark.version;
        self.mark_changed();
    }

    pub(super) fn peer_joined(&mut self, info: PeerInfo, around: &mut Membership<'_>) {
        self.version += 1;
        self.arrive(info, around);
        self.label();
        self.mark_changed();
    }

    pub(super) fn peer_left(
        &mut self,
        peer: PeerId,
        reason: LeaveReason,
        around: &mut Membership<'_>,
    ) {
        self.version += 1;
        match reason {
            LeaveReason::Left | LeaveReason::Unknown => {
                self.remove(peer, PeerLeftReason::Left, around)
            }
            LeaveReason::Kicked => self.remove(peer, PeerLeftReason::Kicked, around),
            LeaveReason::Lost => self.mark_lost(peer, Duration::ZERO, around),
            LeaveReason::Replaced => self.mark_lost(peer, KEEP_RETURNING, around),
        }
    }

    /// A member publishes something else, after so many changes. Gives it back if that member is
    /// this peer itself.
    pub(super) fn metadata_changed(
        &mut self,
        (peer, metadata): (PeerId, Metadata),
        changes: u32,
        around: &mut Membership<'_>,
    ) -> Option<Metadata> {
        self.version = self.version.wrapping_add(u64::from(changes));
        if peer == self.you {
            return Some(metadata);
        }
        if let Some(member) = self.members.get_mut(&peer) {
            let former = std::mem::replace(&mut member.metadata, metadata.clone());
            member.info.metadata = metadata.clone();
            self.changes += 1;
            around.queues.tell(MeshEvent::MetadataChanged { peer, metadata });
            around.token_changed(self, peer, &former);
        }
        None
    }

    pub(super) fn permissions_changed(
        &mut self,
        peer: PeerId,
        permissions: Permissions,
        queues: &mut Queues,
    ) {
        self.version += 1;
        if peer == self.you {
            if let Some(own) = &mut self.own {
                own.permissions = permissions;
            }
        } else if let Some(member) = self.members.get_mut(&peer) {
            member.permissions = permissions;
            member.info.permissions = permissions;
        } else {
            return;
        }
        self.mark_changed();
        queues.tell(MeshEvent::PermissionsChanged { peer, permissions });
    }

    pub(super) fn held_changed(&mut self, peer: PeerId, groups: Vec<String>, queues: &mut Queues) {
        if peer == self.you {
            if let Some(own) = &mut self.own {
                own.held_in.clone_from(&groups);
            }
        } else if let Some(member) = self.members.get_mut(&peer) {
            member.held_in.clone_from(&groups);
            member.info.held_in.clone_from(&groups);
        } else {
            return;
        }
        self.mark_changed();
        queues.tell(MeshEvent::HeldIn { peer, groups });
    }

    pub(super) fn status_changed(
        &mut self,
        peer: PeerId,
        status: MemberStatus,
        queues: &mut Queues,
    ) {
        self.version += 1;
        if let Some(member) = self.members.get_mut(&peer) {
            member.status = status;
            member.info.status = status;
            queues.tell(MeshEvent::StatusChanged { peer, status });
        }
    }

    pub(super) fn timers(&self, away_since: Option<Duration>, next: &mut NextTimer) {
        next.at(away_since.map(|since| since + KEEP_LINKED));
        for member in self.members() {
            match member.presence {
                Presence::Here => {}
                Presence::Lost { until, .. } => next.at(until),
            }
        }
    }

    /// Gives up those whom neither the server nor a link has reached for long enough.
    pub(super) fn tick(&mut self, around: &mut Membership<'_>) {
        let now = around.now;
        if let Some(since) = around.connection.away_since()
            && now >= since + KEEP_LINKED
        {
            let unreachable: Vec<PeerId> = self
                .present()
                .map(|member| member.peer)
                .filter(|peer| !around.links.has_open_link(*peer))
                .collect();
            for peer in unreachable {
                self.remove(peer, PeerLeftReason::Lost, around);
            }
        }
        let over = |member: &&Member| match member.presence {
            Presence::Here => false,
            Presence::Lost { until, kept_by_link } => {
                now >= until || (kept_by_link && !around.links.has_open_link(member.peer))
            }
        };
        let given_up: Vec<PeerId> = self.members().filter(over).map(|member| member.peer).collect();
        for peer in given_up {
            self.remove(peer, PeerLeftReason::Lost, around);
        }
    }

    fn arrive(&mut self, info: PeerInfo, around: &mut Membership<'_>) {
        if info.peer == self.you {
            return;
        }
        if self.member(info.peer).is_some_and(|known| known.run != info.run) {
            self.remove(info.peer, PeerLeftReason::Restarted, around);
            around.queues.tell_network(NetworkEvent::PeerRestarted(info.peer));
        }
        self.name(info.client, info.peer);
        let peer = info.peer;
        match self.members.get_mut(&peer) {
            Some(known) => {
                let former = std::mem::replace(known, Member::new(info));
                let (metadata, permissions, status) =
                    (known.metadata.clone(), known.permissions, known.status);
                let groups = known.held_in.clone();
                if status != former.status {
                    around.queues.tell(MeshEvent::StatusChanged { peer, status });
                }
                if permissions != former.permissions {
                    around.queues.tell(MeshEvent::PermissionsChanged { peer, permissions });
                }
                if groups != former.held_in {
                    around.queues.tell(MeshEvent::HeldIn { peer, groups });
                }
                let former = former.metadata;
                if metadata != former {
                    around.queues.tell(MeshEvent::MetadataChanged { peer, metadata });
                    around.token_changed(self, peer, &former);
                }
            }
            None => {
                let member = Member::new(info);
                let (permissions, status) = (member.permissions, member.status);
                let groups = member.held_in.clone();
                self.members.insert(peer, member.clone());
                around.queues.tell(MeshEvent::PeerJoined(member));
                if !permissions.is_default() {
                    around.queues.tell(MeshEvent::PermissionsChanged { peer, permissions });
                }
                if !status.is_default() {
                    around.queues.tell(MeshEvent::StatusChanged { peer, status });
                }
                if !groups.is_empty() {
                    around.queues.tell(MeshEvent::HeldIn { peer, groups });
                }
            }
        }
        around.tick_links(self);
    }

    /// The server no longer has this peer. It is kept while a link reaches it, and at least for
    /// `grace`.
    fn mark_lost(&mut self, peer: PeerId, grace: Duration, around: &mut Membership<'_>) {
        let linked = around.links.has_open_link(peer);
        let until = around.now + if linked { KEEP_LINKED } else { grace };
        if let Some(member) = self.members.get_mut(&peer) {
            member.presence = Presence::Lost { until, kept_by_link: linked && grace.is_zero() };
        }
        if !linked && grace.is_zero() {
            self.remove(peer, PeerLeftReason::Lost, around);
        }
    }

    /// Removes a peer: closes all links to it, and emits [`MeshEvent::PeerLeft`].
    fn remove(&mut self, peer: PeerId, reason: PeerLeftReason, around: &mut Membership<'_>) {
        around.links.forget(peer, around.queues);
        if let Some(member) = self.members.remove(&peer) {
            self.clients.retain(|_, named| *named != peer);
            self.label();
            self.mark_changed();
            around.queues.tell(MeshEvent::PeerLeft { member, reason });
        }
    }
}

impl Membership<'_> {
    fn tick_links(&mut self, roster: &Roster) {
        let Self { now, links, encryption, connection, queues } = self;
        links.tick(&mut Negotiation {
            now: *now,
            roster,
            encryption: *encryption,
            connection,
            queues,
        });
    }

    fn token_changed(&mut self, roster: &Roster, peer: PeerId, former: &Metadata) {
        let Self { now, links, encryption, connection, queues } = self;
        links.token_changed(
            peer,
            former,
            &mut Negotiation { now: *now, roster, encryption: *encryption, connection, queues },
        );
    }
}
