//! Where moderators moved members: kept, because a move that waits on a dying connection is repeated on the next.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, ServerMessage};

use crate::refusal::Refusal;

/// Members whose last move is kept, and bytes of the groups' names.
const MEMBERS: usize = 256;
const BYTES: usize = 16 * 1024;
/// A member that was lost and comes back later has begun anew.
const WAIT: Duration = Duration::from_secs(300);

/// The last move of each member.
#[derive(Debug, Default)]
pub(super) struct Moves {
    moves: BTreeMap<PeerId, Move>,
    made: u32,
}

#[derive(Debug)]
struct Move {
    /// Another run of the program has its own groups.
    run: u32,
    number: u32,
    groups: Vec<String>,
    lost_at: Option<Duration>,
}

impl Moves {
    /// Whether there is room for one more.
    pub(super) fn may_move(&self, peer: PeerId, groups: &[String]) -> Result<(), Refusal> {
        let others = self.moves.iter().filter(|(moved, _)| **moved != peer);
        let (members, names) =
            others.fold((0, 0), |(members, names), (_, made)| (members + 1, names + bytes(&made.groups)));
        let fits = members < MEMBERS && names + bytes(groups) <= BYTES;
        if fits { Ok(()) } else { Err(Refusal::of(ErrorCode::TooManyMessages)) }
    }

    /// The message that would move a member now.
    pub(super) fn next(&self, groups: &[String]) -> ServerMessage {
        ServerMessage::Move { groups: groups.to_vec(), number: Some(self.made.wrapping_add(1)) }
    }

    /// A member was moved; `lost_at` if it is not here.
    pub(super) fn moved(&mut self, peer: PeerId, run: u32, groups: Vec<String>, lost_at: Option<Duration>) {
        self.made = self.made.wrapping_add(1);
        self.moves.insert(peer, Move { run, number: self.made, groups, lost_at });
    }

    /// What a member's program missed if it did not get its last move.
    pub(super) fn of(&self, peer: PeerId) -> Option<ServerMessage> {
        let made = self.moves.get(&peer)?;
        Some(ServerMessage::Move { groups: made.groups.clone(), number: Some(made.number) })
    }

    /// A member has come. Another run than the one that was moved begins anew.
    pub(super) fn entered(&mut self, now: Duration, peer: PeerId, run: u32) {
        self.tidy(now);
        match self.moves.get_mut(&peer) {
            Some(made) if made.run == run => made.lost_at = None,
            _ => self.forget(peer),
        }
    }

    pub(super) fn lost(&mut self, now: Duration, peer: PeerId) {
        self.tidy(now);
        if let Some(made) = self.moves.get_mut(&peer) {
            made.lost_at = Some(now);
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.moves.remove(&peer);
    }

    /// The numbers go on: a member may have carried out the moves so far.
    pub(super) fn forget_all(&mut self) {
        self.moves.clear();
    }

    fn tidy(&mut self, now: Duration) {
        self.moves.retain(|_, made| made.lost_at.is_none_or(|at| now < at + WAIT));
    }
}

fn bytes(groups: &[String]) -> usize {
    groups.iter().map(String::len).sum()
}
