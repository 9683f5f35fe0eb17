//! The bans that the user of this program has decided: their members are gone from the room, and so from its list of names.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh::{PeerId, TransactionId};

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

/// What was asked of the server.
#[derive(Clone, Debug)]
pub enum BanChange {
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
}

/// The bans, by the labels that were shown of the members.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    banned: VecDeque<Banned>,
    /// What the server has not answered yet.
    asked: VecDeque<(TransactionId, BanChange)>,
}

impl Bans {
    /// The server was asked. It counts once the server agrees.
    pub fn asked(&mut self, transaction: TransactionId, change: BanChange) {
        if self.asked.len() >= MOST {
            self.asked.pop_front();
        }
        self.asked.push_back((transaction, change));
    }

    /// The server's answer to anything that it was asked.
    pub fn decided(&mut self, transaction: TransactionId, is_done: bool) {
        let Some(at) = self.asked.iter().position(|(asked, _)| *asked == transaction) else { return };
        let change = self.asked.remove(at).filter(|_| is_done);
        match change {
            Some((_, BanChange::Banned { peer, label, until })) => {
                self.forget(peer);
                if self.banned.len() >= MOST {
                    self.banned.pop_front();
                }
                self.banned.push_back(Banned { peer, label, until });
            }
            Some((_, BanChange::Lifted(peer))) => self.forget(peer),
            None => {}
        }
    }

    fn forget(&mut self, peer: PeerId) {
        self.banned.retain(|banned| banned.peer != peer);
    }

    /// Forgets the bans that have ended.
    pub fn expire(&mut self, now: Duration) {
        self.banned.retain(|banned| now < banned.until);
    }

    /// Whom a typed label, the beginning of one, or a whole peer id means.
    ///
    /// # Errors
    ///
    /// A sentence, when it means no banned member or several.
    pub fn find(&self, typed: &str) -> Result<PeerId, String> {
        let typed = typed.trim();
        if let Ok(id) = typed.parse() {
            return Ok(PeerId(id));
        }
        let lower = typed.to_lowercase();
        let those = |fits: &dyn Fn(&str) -> bool| -> Vec<&Banned> {
            self.banned.iter().filter(|banned| fits(&banned.label.to_lowercase())).collect()
        };
        let whole = those(&|label| label == lower);
        let found = if whole.is_empty() { those(&|label| label.starts_with(&lower)) } else { whole };
        match found.as_slice() {
            [banned] if !typed.is_empty() => Ok(banned.peer),
            [] | [_] => Err(format!("You have banned no one called “{}”. {}", harmless(typed), self.listed())),
            several => {
                let ids: Vec<String> =
                    several.iter().map(|banned| format!("{} ({})", banned.label, banned.peer)).collect();
                Err(format!("“{}” could be {}. Write the id.", harmless(typed), ids.join(" or ")))
            }
        }
    }

    /// Those banned, in a sentence.
    pub fn listed(&self) -> String {
        if self.banned.is_empty() {
            return "You have banned no one since you joined. The server's operator sees all bans.".to_owned();
        }
        let labels: Vec<&str> = self.banned.iter().map(|banned| banned.label.as_str()).collect();
        format!("Banned by you: {}. /unban NAME lets one in again.", labels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::peer;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ban(bans: &mut Bans, id: u16, label: &str, is_done: bool) {
        let transaction = TransactionId(id.into());
        bans.asked(transaction, BanChange::Banned { peer: peer(id), label: label.to_owned(), until: HOUR });
        bans.decided(transaction, is_done);
    }

    #[test]
    fn those_banned_are_found_by_name_and_by_id() {
        let mut bans = Bans::default();
        assert!(bans.find("Ben").is_err_and(|why| why.contains("no one since you joined")));
        for (id, label) in [(1, "Ben"), (2, "Benno"), (3, "Ada#0003"), (4, "Ada")] {
            ban(&mut bans, id, label, true);
        }
        assert_eq!(bans.find("ben"), Ok(peer(1)), "a whole name goes before a beginning");
        assert_eq!(bans.find("benn"), Ok(peer(2)));
        assert_eq!(bans.find(&peer(9).to_string()), Ok(peer(9)), "banned by another moderator");
        assert!(bans.find("b").is_err_and(|why| why.contains("could be")));
        assert!(bans.find("").is_err() && bans.find("Zoe").is_err_and(|why| why.contains("Banned by you: Ben, Benno")));
        bans.asked(TransactionId(9), BanChange::Lifted(peer(1)));
        assert_eq!(bans.find("ben"), Ok(peer(1)), "the server has not answered");
        bans.decided(TransactionId(9), true);
        assert_eq!(bans.find("ben"), Ok(peer(2)));
        bans.expire(HOUR);
        assert!(bans.listed().contains("no one"));
    }

    #[test]
    fn what_the_server_refused_has_not_happened() {
        let mut bans = Bans::default();
        ban(&mut bans, 1, "Ben", false);
        assert!(bans.find("ben").is_err());
        ban(&mut bans, 1, "Ben", true);
        bans.asked(TransactionId(2), BanChange::Lifted(peer(1)));
        bans.decided(TransactionId(2), false);
        assert_eq!(bans.find("ben"), Ok(peer(1)));
    }

    #[test]
    fn the_oldest_ban_is_forgotten_first() {
        let mut bans = Bans::default();
        for id in 0..=256 {
            ban(&mut bans, id, &format!("peer {id}."), true);
        }
        assert!(bans.find("peer 0.").is_err());
        assert_eq!(bans.find("peer 256."), Ok(peer(256)));
    }
}
