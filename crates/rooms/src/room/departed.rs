//! Members who have left lately: they can be banned, and over links that still live they can be
//! heard.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_wire::signaling::{LeaveReason, PeerInfo, ServerMessage};
use voicemesh_wire::{PeerId, Permissions};

use super::bans::Banned;

/// Decisions about members who have left are possible for so long: longer than a link outlives the
/// connection to the server (PROTOCOL.md, section 10).
const WAIT: Duration = Duration::from_secs(300);
/// At most so many; the one that left first is forgotten.
const MEMBERS: usize = 64;

/// The members who have left lately.
#[derive(Debug, Default)]
pub(super) struct Departed {
    /// The latest last.
    members: VecDeque<DepartedMember>,
    /// When the last of those left that were forgotten before their time.
    forgotten: Option<Duration>,
}

/// A member who has left: leaving in time is no way round a ban.
#[derive(Clone, Debug)]
pub(super) struct DepartedMember {
    left_at: Duration,
    pub(super) of: Banned,
    pub(super) name: String,
    pub(super) run: u32,
    /// Its connection was lost: its links may live.
    is_lost: bool,
    /// What it may do unless a moderator decides otherwise.
    base: Permissions,
    /// What the others know of it.
    permissions: Permissions,
    held_in: Vec<String>,
    /// What was decided after it left, or made it leave: no roster says so.
    is_put_out: bool,
    is_permitted_anew: bool,
    is_held_anew: bool,
}

impl DepartedMember {
    fn peer(&self) -> PeerId {
        self.of.peer
    }
}

impl Departed {
    pub(super) fn left(
        &mut self,
        now: Duration,
        member: &PeerInfo,
        of: Banned,
        base: Permissions,
        reason: LeaveReason,
    ) {
        self.members
            .retain(|departed| departed.peer() != member.peer && now < departed.left_at + WAIT);
        if self.members.len() >= MEMBERS {
            self.forgotten = self.members.pop_front().map(|first| first.left_at);
        }
        self.members.push_back(DepartedMember {
            left_at: now,
            of,
            name: member.name.clone(),
            run: member.run,
            is_lost: reason == LeaveReason::Lost,
            base,
            permissions: member.permissions,
            held_in: member.held_in.clone(),
            is_put_out: reason == LeaveReason::Kicked,
            is_permitted_anew: false,
            is_held_anew: false,
        });
    }

    /// It is here again.
    pub(super) fn entered(&mut self, peer: PeerId) {
        self.members.retain(|departed| departed.peer() != peer);
    }

    /// Whether this run was in the room lately, as far as is known: it may have missed decisions
    /// about others that have left, and have links to them. Too many that leave make it true of
    /// every run.
    pub(super) fn was_here(&self, now: Duration, peer: PeerId, run: u32) -> bool {
        let is_known = self.get(now, peer).is_some_and(|departed| departed.run == run);
        is_known || self.forgotten.is_some_and(|left_at| now < left_at + WAIT)
    }

    pub(super) fn get(&self, now: Duration, peer: PeerId) -> Option<&DepartedMember> {
        self.members
            .iter()
            .find(|departed| departed.peer() == peer && now < departed.left_at + WAIT)
    }

    /// What it may do unless a moderator decides otherwise.
    pub(super) fn base(&self, peer: PeerId) -> Option<Permissions> {
        self.members.iter().find(|departed| departed.peer() == peer).map(|departed| departed.base)
    }

    pub(super) fn peers(&self) -> Vec<PeerId> {
        self.members.iter().map(DepartedMember::peer).collect()
    }

    /// Other peers than this one with the same subject of an access token whose links may live.
    pub(super) fn lost_of_subject(
        &self,
        now: Duration,
        subject: &str,
        than: PeerId,
    ) -> Vec<PeerId> {
        let lost = self.members.iter().filter(|departed| {
            departed.is_lost
                && !departed.is_put_out
                && now < departed.left_at + WAIT
                && departed.peer() != than
                && departed.of.subject.as_deref() == Some(subject)
        });
        lost.map(DepartedMember::peer).collect()
    }

    /// What it may do. Gives the message for the others, if that is news to them.
    pub(super) fn set_permissions(
        &mut self,
        peer: PeerId,
        permissions: Permissions,
    ) -> Option<ServerMessage> {
        let departed = self.find(peer).filter(|departed| departed.permissions != permissions)?;
        departed.permissions = permissions;
        departed.is_permitted_anew = true;
        Some(ServerMessage::Permissions { peer, permissions })
    }

    /// In which groups it is held. Gives the message for the others, if that is news to them.
    pub(super) fn set_held(&mut self, peer: PeerId, groups: Vec<String>) -> Option<ServerMessage> {
        let departed = self.find(peer).filter(|departed| departed.held_in != groups)?;
        departed.held_in.clone_from(&groups);
        departed.is_held_anew = true;
        Some(ServerMessage::Held { peer, groups })
    }

    /// It is put out. Gives the message for the others, who close their links to it.
    pub(super) fn put_out(&mut self, peer: PeerId) -> Option<ServerMessage> {
        self.find(peer)?.is_put_out = true;
        Some(ServerMessage::PeerLeft { peer, reason: LeaveReason::Kicked })
    }

    /// What no roster says: for a member that may have missed it.
    pub(super) fn decisions(&self, now: Duration) -> Vec<ServerMessage> {
        let mut messages = Vec::new();
        for departed in self.members.iter().filter(|departed| now < departed.left_at + WAIT) {
            let peer = departed.peer();
            if departed.is_put_out {
                messages.push(ServerMessage::PeerLeft { peer, reason: LeaveReason::Kicked });
                continue;
            }
            if departed.is_permitted_anew {
                messages
                    .push(ServerMessage::Permissions { peer, permissions: departed.permissions });
            }
            if departed.is_held_anew {
                messages.push(ServerMessage::Held { peer, groups: departed.held_in.clone() });
            }
        }
        messages
    }

    /// What was decided about those who are away holds no longer; who was put out stays out of the
    /// others' links.
    pub(super) fn forget_decisions(&mut self) {
        for departed in &mut self.members {
            (departed.is_permitted_anew, departed.is_held_anew) = (false, false);
        }
    }

    fn find(&mut self, peer: PeerId) -> Option<&mut DepartedMember> {
        self.members.iter_mut().find(|departed| departed.peer() == peer)
    }
}
