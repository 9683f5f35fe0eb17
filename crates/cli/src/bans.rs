//! The bans that the user of this program has decided: their members are gone from the room, and so from its list of names.

use std::collections::VecDeque;

use voicemesh::PeerId;

use crate::text::harmless;

/// As many as a room has; the oldest is forgotten first.
const MOST: usize = 256;

/// Who was banned, by the label that was shown of them.
#[derive(Clone, Debug, Default)]
pub struct Bans(VecDeque<(PeerId, String)>);

impl Bans {
    /// Remembers a ban.
    pub fn add(&mut self, peer: PeerId, label: String) {
        self.remove(peer);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((peer, label));
    }

    /// Forgets one that is lifted.
    pub fn remove(&mut self, peer: PeerId) {
        self.0.retain(|(banned, _)| *banned != peer);
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
        let those = |fits: &dyn Fn(&str) -> bool| -> Vec<&(PeerId, String)> {
            self.0.iter().filter(|(_, label)| fits(&label.to_lowercase())).collect()
        };
        let whole = those(&|label| label == lower);
        let found = if whole.is_empty() { those(&|label| label.starts_with(&lower)) } else { whole };
        match found.as_slice() {
            [(peer, _)] if !typed.is_empty() => Ok(*peer),
            [] | [_] => Err(format!("You have banned no one called “{}”. {}", harmless(typed), self.listed())),
            several => {
                let ids: Vec<String> = several.iter().map(|(peer, label)| format!("{label} ({peer})")).collect();
                Err(format!("“{}” could be {}. Write the id.", harmless(typed), ids.join(" or ")))
            }
        }
    }

    /// Those banned, in a sentence.
    pub fn listed(&self) -> String {
        if self.0.is_empty() {
            return "You have banned no one since you joined. The server's operator sees all bans.".to_owned();
        }
        let labels: Vec<&str> = self.0.iter().map(|(_, label)| label.as_str()).collect();
        format!("Banned by you: {}. /unban NAME lets one in again.", labels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::peer;

    #[test]
    fn those_banned_are_found_by_name_and_by_id() {
        let mut bans = Bans::default();
        assert!(bans.find("Ben").is_err_and(|why| why.contains("no one since you joined")));
        for (id, label) in [(1, "Ben"), (2, "Benno"), (3, "Ada#0003"), (4, "Ada")] {
            bans.add(peer(id), label.to_owned());
        }
        assert_eq!(bans.find("ben"), Ok(peer(1)), "a whole name goes before a beginning");
        assert_eq!(bans.find("benn"), Ok(peer(2)));
        assert_eq!(bans.find(&peer(9).to_string()), Ok(peer(9)), "banned by another moderator");
        assert!(bans.find("b").is_err_and(|why| why.contains("could be")));
        assert!(bans.find("").is_err() && bans.find("Zoe").is_err_and(|why| why.contains("Banned by you: Ben, Benno")));
        bans.remove(peer(1));
        assert_eq!(bans.find("ben"), Ok(peer(2)));
    }

    #[test]
    fn the_oldest_ban_is_forgotten_first() {
        let mut bans = Bans::default();
        for id in 0..=256 {
            bans.add(peer(id), format!("peer {id}."));
        }
        assert!(bans.find("peer 0.").is_err());
        assert_eq!(bans.find("peer 256."), Ok(peer(256)));
    }
}
