//! Where moderators moved members: kept, because a move that waits on a dying connection is
//! repeated on the next.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, ServerMessage};

use super::peer_records::{PeerRecords, Record};
use crate::refusal::Refusal;

/// A member that was lost and comes back later has begun anew.
const WAIT: Duration = Duration::from_secs(300);

/// The last move of each member.
#[derive(Debug, Default)]
pub(super) struct Moves {
    moves: PeerRecords<Move>,
    made: u32,
}

#[derive(Debug)]
struct Move {
    /// Another run of the program has its own groups.
    run: u32,
    number: u32,
    groups: Vec<String>,
    /// It holds the member nowhere.
    is_free: bool,
    lost_at: Option<Duration>,
}

impl Record for Move {
    fn bytes(&self) -> usize {
        self.groups.bytes()
    }
}

impl Move {
    /// Who is free and here goes elsewhere by itself, should it have missed its move.
    fn may_be_forgotten(&self) -> bool {
        self.is_free && self.lost_at.is_none()
    }
}

impl Moves {
    /// Whether there is room for one more. A move that frees its member is never refused; without
    /// room for it, it is not repeated.
    pub(super) fn may_move(
        &mut self,
        now: Duration,
        peer: PeerId,
        groups: &Vec<String>,
        is_free: bool,
    ) -> Result<(), Refusal> {
        self.tidy(now);
        let fits =
            is_free || self.moves.has_room(peer, groups.bytes(), |_, made| made.may_be_forgotten());
        if fits { Ok(()) } else { Err(Refusal::of(ErrorCode::TooManyMessages)) }
    }

    /// The message that would move a member now.
    pub(super) fn next(&self, groups: &[String]) -> ServerMessage {
        ServerMessage::Move { groups: groups.to_vec(), number: Some(self.made.wrapping_add(1)) }
    }

    /// This run of a member was moved; `lost_at` if it is not here.
    pub(super) fn moved(
        &mut self,
        (peer, run): (PeerId, u32),
        groups: Vec<String>,
        is_free: bool,
        lost_at: Option<Duration>,
    ) {
        self.made = self.made.wrapping_add(1);
        let made = Move { run, number: self.made, groups, is_free, lost_at };
        self.moves.insert(peer, made, |_, made| made.may_be_forgotten());
    }

    /// What a member's program missed if it did not get its last move.
    pub(super) fn of(&self, peer: PeerId) -> Option<ServerMessage> {
        let made = self.moves.get(peer)?;
        Some(ServerMessage::Move { groups: made.groups.clone(), number: Some(made.number) })
    }

    /// A member has come. Another run than the one that was moved begins anew.
    pub(super) fn entered(&mut self, now: Duration, peer: PeerId, run: u32) {
        self.tidy(now);
        match self.moves.get_mut(peer) {
            Some(made) if made.run == run => made.lost_at = None,
            _ => self.forget(peer),
        }
    }

    pub(super) fn lost(&mut self, now: Duration, peer: PeerId) {
        self.tidy(now);
        if let Some(made) = self.moves.get_mut(peer) {
            made.lost_at = Some(now);
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.moves.remove(peer);
    }

    /// The numbers go on: a member may have carried out the moves so far.
    pub(super) fn forget_all(&mut self) {
        self.moves.clear();
    }

    fn tidy(&mut self, now: Duration) {
        self.moves.retain(|made| made.lost_at.is_none_or(|at| now < at + WAIT));
    }
}
