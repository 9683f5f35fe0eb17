//! What the user of this program has decided as a moderator: what is said once the server agrees,
//! and the bans, whose members are gone from the room, and so from its list of names.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use voicemesh::{PasswordChange, PeerId, RoomEvent, TransactionId};

use crate::format::in_minutes;
use crate::human::room_changed;
use crate::text::harmless;

/// As many as a room has; the oldest is forgotten first.
const MOST: usize = 256;

/// Who was banned.
#[derive(Clone, Debug)]
struct Banned {
    peer: PeerId,
    /// What was shown of the member.
    label: String,
    until: Duration,
}

/// Members who have left can be banned for so long, as the server remembers them.
const LEFT_WAITS: Duration = Duration::from_secs(300);
const MOST_LEFT: usize = 64;

/// Who has left.
#[derive(Clone, Debug)]
struct Left {
    peer: PeerId,
    /// What was shown of the member.
    label: String,
    at: Duration,
}

/// What a decision changes of what is remembered here.
#[derive(Clone, Debug)]
pub enum Change {
    /// To ban a member.
    Banned {
        /// The member.
        peer: PeerId,
        /// What was shown of the member.
        label: String,
        /// When the ban ends, since the start of this program.
        until: Duration,
    },
    /// To lift the ban of a member.
    Lifted(PeerId),
    /// To put a member out of the room.
    PutOut(PeerId),
    /// To mute a member for all, or to let it be heard again.
    MutedForAll(PeerId, bool),
    /// To close the room to newcomers, or to let them in again.
    Locked(bool),
    /// To give the room a password, or to take it away.
    Password(bool),
}

/// What was asked of the server.
#[derive(Clone, Debug)]
struct Asked {
    transaction: TransactionId,
    /// What is said once it is done.
    done: Option<String>,
    change: Option<Change>,
    /// What is said if it is refused: another member has decided the same meanwhile.
    if_refused: Option<&'static str>,
}

/// The decisions, and the bans by the labels that were shown of the members.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    banned: VecDeque<Banned>,
    muted: BTreeSet<PeerId>,
    locked: bool,
    password: bool,
    /// The session in which that was decided.
    session: Option<u32>,
    /// What the server has not answered yet.
    asked: VecDeque<Asked>,
    /// Who was put out last, until the member leaves.
    put_out: Option<PeerId>,
    /// The latest last.
    left: VecDeque<Left>,
}

impl Decisions {
    /// The server was asked. It counts once the server agrees.
    pub fn asked(
        &mut self,
        transaction: TransactionId,
        done: Option<String>,
        change: Option<Change>,
    ) {
        if self.asked.len() >= MOST {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked { transaction, done, change, if_refused: None });
    }

    /// Whether an event about the room looks like the doing of a decision that waits for its
    /// answer. What is said of it then comes with the answer.
    pub fn answers_for(&mut self, event: &RoomEvent) -> bool {
        let is_its_doing = |asked: &&mut Asked| match (&asked.change, event) {
            (Some(Change::Locked(wanted)), RoomEvent::RoomLocked { locked }) => wanted == locked,
            (Some(Change::Password(wanted)), RoomEvent::RoomPassword { change }) => {
                *wanted == (*change != PasswordChange::Removed)
            }
            _ => false,
        };
        let Some(asked) = self.asked.iter_mut().find(is_its_doing) else { return false };
        asked.if_refused = room_changed(event);
        if let RoomEvent::RoomPassword { change: PasswordChange::Removed } = event {
            asked.done = asked.if_refused.map(str::to_owned);
        }
        true
    }

    /// Whether the room has become what this one asked for, which waits for its answer.
    pub fn is_seen(&self, transaction: TransactionId) -> bool {
        let asked = self.asked.iter().find(|asked| asked.transaction == transaction);
        asked.is_some_and(|asked| asked.if_refused.is_some())
    }

    /// What was asked last.
    #[cfg(test)]
    pub(crate) fn asked_last(&self) -> Option<TransactionId> {
        self.asked.back().map(|asked| asked.transaction)
    }

    /// The server's answer to anything that it was asked; what is to be said of it.
    pub fn decided(&mut self, transaction: TransactionId, is_done: bool) -> Option<String> {
        let at = self.asked.iter().position(|asked| asked.transaction == transaction)?;
        let Asked { done, change, if_refused, .. } = self.asked.remove(at)?;
        if !is_done {
            return if_refused.map(str::to_owned);
        }
        match change {
            Some(Change::Banned { peer, label, until }) => {
                self.forget(peer);
                if self.banned.len() >= MOST {
                    self.banned.pop_front();
                }
                self.banned.push_back(Banned { peer, label, until });
                self.put_out = Some(peer);
            }
            Some(Change::Lifted(peer)) => self.forget(peer),
            Some(Change::PutOut(peer)) => self.put_out = Some(peer),
            Some(Change::MutedForAll(peer, true)) if self.muted.len() < MOST => {
                self.muted.insert(peer);
            }
            Some(Change::MutedForAll(peer, _)) => {
                self.muted.remove(&peer);
            }
            Some(Change::Locked(locked)) => self.locked = locked,
            Some(Change::Password(is_set)) => self.password = is_set,
            None => {}
        }
        done
    }

    /// A member has left.
    pub fn left(&mut self, at: Duration, peer: PeerId, label: String) {
        self.left.retain(|left| left.peer != peer);
        if self.left.len() >= MOST_LEFT {
            self.left.pop_front();
        }
        self.left.push_back(Left { peer, label, at });
    }

    /// The member of this label who has just left, and the label as it was shown; none if several
    /// had it.
    pub fn find_left(&self, now: Duration, typed: &str) -> Option<(PeerId, String)> {
        let lower = typed.trim().to_lowercase();
        let is_meant =
            |left: &&Left| left.label.to_lowercase() == lower && now < left.at + LEFT_WAITS;
        let mut meant = self.left.iter().filter(is_meant);
        meant.next().filter(|_| meant.next().is_none()).map(|left| (left.peer, left.label.clone()))
    }

    /// Whether a member who leaves does so by such a decision, of which something is said by
    /// itself.
    pub fn puts_out(&mut self, peer: PeerId) -> bool {
        let is_asked = self.asked.iter().any(|asked| match &asked.change {
            Some(Change::Banned { peer: of, .. } | Change::PutOut(of)) => *of == peer,
            _ => false,
        });
        is_asked || self.put_out.take_if(|of| *of == peer).is_some()
    }

    /// This program is in the room, in this session. What is to be said of decisions that may have
    /// ended because the room has begun anew.
    pub fn joined(&mut self, now: Duration, session: u32) -> Option<String> {
        if self.session.replace(session).is_none_or(|before| before == session) {
            return None;
        }
        self.expire(now);
        let ended: Vec<&str> = [
            (!self.muted.is_empty(), "mutes for all have ended"),
            (self.locked, "the lock has ended"),
            (!self.banned.is_empty(), "bans have ended if the server was started again"),
            (
                self.password,
                "the password has ended if the server was started again without a secret",
            ),
        ]
        .into_iter()
        .filter_map(|(was_decided, what)| was_decided.then_some(what))
        .collect();
        self.muted.clear();
        (self.locked, self.password) = (false, false);
        (!ended.is_empty()).then(|| format!("The room has begun anew: {}.", ended.join(", ")))
    }

    fn forget(&mut self, peer: PeerId) {
        self.banned.retain(|banned| banned.peer != peer);
    }

    /// Forgets the bans that have ended.
    pub fn expire(&mut self, now: Duration) {
        self.banned.retain(|banned| now < banned.until);
    }

    /// What was shown of a banned member.
    pub fn label(&self, peer: PeerId) -> String {
        let banned = self.banned.iter().find(|banned| banned.peer == peer);
        banned.map_or_else(|| peer.to_string(), |banned| banned.label.clone())
    }

    /// Whom a typed label, or a whole peer id means.
    ///
    /// # Errors
    ///
    /// A sentence, when it means no banned member or several.
    pub fn find(&self, now: Duration, typed: &str) -> Result<PeerId, String> {
        let typed = typed.trim();
        if let Ok(id) = typed.parse() {
            return Ok(PeerId(id));
        }
        let lower = typed.to_lowercase();
        let those = |fits: &dyn Fn(&str) -> bool| -> Vec<&Banned> {
            self.banned.iter().filter(|banned| fits(&banned.label.to_lowercase())).collect()
        };
        match those(&|label| label == lower).as_slice() {
            [banned] if !typed.is_empty() => Ok(banned.peer),
            [] | [_] => Err(format!(
                "You have banned no one called “{}”. {}",
                harmless(typed),
                self.listed(now)
            )),
            several => {
                let ids: Vec<String> = several
                    .iter()
                    .map(|banned| format!("{} ({})", banned.label, banned.peer))
                    .collect();
                Err(format!("“{}” could be {}. Write the id.", harmless(typed), ids.join(" or ")))
            }
        }
    }

    /// Those banned and for how long, in a sentence.
    pub fn listed(&self, now: Duration) -> String {
        if self.banned.is_empty() {
            return "You have banned no one since you joined. The server's operator sees all bans."
                .to_owned();
        }
        let left = |banned: &Banned| in_minutes(banned.until.saturating_sub(now));
        let listed: Vec<_> = self
            .banned
            .iter()
            .map(|banned| format!("{} (for {})", banned.label, left(banned)))
            .collect();
        format!("Banned by you: {}. /unban NAME lets one in again.", listed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::peer;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ban(bans: &mut Decisions, id: u16, label: &str, is_done: bool) {
        let transaction = TransactionId(id.into());
        let change = Change::Banned { peer: peer(id), label: label.to_owned(), until: HOUR };
        bans.asked(transaction, Some(format!("{label} is out.")), Some(change));
        assert_eq!(bans.decided(transaction, is_done).is_some(), is_done);
    }

    #[test]
    fn those_banned_are_found_by_name_and_by_id() {
        let mut bans = Decisions::default();
        assert!(
            bans.find(Duration::ZERO, "Ben")
                .is_err_and(|why| why.contains("no one since you joined"))
        );
        for (id, label) in [(1, "Ben"), (2, "Benno"), (3, "Ada#0003"), (4, "Ada")] {
            ban(&mut bans, id, label, true);
        }
        assert_eq!(bans.find(Duration::ZERO, "ben"), Ok(peer(1)));
        assert_eq!(bans.find(Duration::ZERO, "Benno"), Ok(peer(2)));
        assert_eq!(
            bans.find(Duration::ZERO, &peer(9).to_string()),
            Ok(peer(9)),
            "banned by another moderator"
        );
        assert!(bans.find(Duration::ZERO, "benn").is_err(), "only a whole name means a person");
        assert!(
            bans.find(Duration::ZERO, "").is_err()
                && bans.find(Duration::ZERO, "Zoe").is_err_and(
                    |why| why.contains("Banned by you: Ben (for 60 minutes), Benno (for")
                )
        );
        bans.asked(TransactionId(9), None, Some(Change::Lifted(peer(1))));
        assert_eq!(bans.find(Duration::ZERO, "ben"), Ok(peer(1)), "the server has not answered");
        bans.decided(TransactionId(9), true);
        assert_eq!(bans.find(Duration::ZERO, "benno"), Ok(peer(2)));
        bans.expire(HOUR);
        assert!(bans.listed(HOUR).contains("no one"));
    }

    #[test]
    fn who_is_put_out_is_said_once() {
        let mut decisions = Decisions::default();
        assert!(!decisions.puts_out(peer(1)));
        decisions.asked(TransactionId(1), None, Some(Change::PutOut(peer(1))));
        assert!(
            decisions.puts_out(peer(1)) && !decisions.puts_out(peer(2)),
            "the member leaves before the answer"
        );
        ban(&mut decisions, 2, "Ben", true);
        assert!(decisions.puts_out(peer(2)), "or after it");
        assert!(!decisions.puts_out(peer(2)), "a later end has another cause");
    }

    #[test]
    fn who_has_just_left_is_found_by_the_whole_name() {
        let mut decisions = Decisions::default();
        for (id, label) in [(1, "Ben"), (2, "Cleo"), (3, "Cleo")] {
            decisions.left(Duration::ZERO, peer(id), label.to_owned());
        }
        assert_eq!(decisions.find_left(Duration::ZERO, " ben"), Some((peer(1), "Ben".to_owned())));
        assert_eq!(decisions.find_left(Duration::ZERO, "Be"), None);
        assert_eq!(decisions.find_left(Duration::ZERO, "Cleo"), None, "two were called so");
        assert_eq!(decisions.find_left(LEFT_WAITS, "Ben"), None);
    }

    #[test]
    fn what_the_server_refused_has_not_happened() {
        let mut bans = Decisions::default();
        ban(&mut bans, 1, "Ben", false);
        assert!(bans.find(Duration::ZERO, "ben").is_err());
        ban(&mut bans, 1, "Ben", true);
        bans.asked(TransactionId(2), None, Some(Change::Lifted(peer(1))));
        bans.decided(TransactionId(2), false);
        assert_eq!(bans.find(Duration::ZERO, "ben"), Ok(peer(1)));
    }

    #[test]
    fn a_room_that_begins_anew_has_lost_what_was_decided_in_it() {
        let mut decisions = Decisions::default();
        let decide = |decisions: &mut Decisions, change| {
            decisions.asked(TransactionId(1), None, Some(change));
            decisions.decided(TransactionId(1), true);
        };
        assert_eq!(decisions.joined(Duration::ZERO, 1), None);
        for change in
            [Change::MutedForAll(peer(1), true), Change::Locked(true), Change::Password(true)]
        {
            decide(&mut decisions, change);
        }
        ban(&mut decisions, 2, "Ben", true);
        assert_eq!(decisions.joined(Duration::ZERO, 1), None, "it is the same room");
        let said = decisions.joined(Duration::ZERO, 2).expect("it is another");
        assert!(
            ["mutes", "lock", "bans", "password"].iter().all(|what| said.contains(what)),
            "{said}"
        );
        decide(&mut decisions, Change::Locked(true));
        decide(&mut decisions, Change::Locked(false));
        assert_eq!(decisions.joined(HOUR, 3), None, "nothing is left that could end");
    }

    #[test]
    fn the_oldest_ban_is_forgotten_first() {
        let mut bans = Decisions::default();
        for id in 0..=256 {
            ban(&mut bans, id, &format!("peer {id}."), true);
        }
        assert!(bans.find(Duration::ZERO, "peer 0.").is_err());
        assert_eq!(bans.find(Duration::ZERO, "peer 256."), Ok(peer(256)));
    }
}
