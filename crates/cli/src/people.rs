//! Who is in the room, by the names that a person reads and types.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use voicemesh::{DisplayName, Event, PeerId, RoomEvent, short_ids};

use crate::text::harmless;

/// The label of the user of this program.
const OWN_LABEL: &str = "You";

/// Names of those who are present. Names that look alike are followed by the beginning of the id:
/// `Ben#3f2a`.
#[derive(Clone, Debug, Default)]
pub struct People {
    you: Option<PeerId>,
    own_name: Option<String>,
    names: BTreeMap<PeerId, String>,
    /// What a person reads of each; made when first asked for after a change of the names.
    labels: OnceCell<BTreeMap<PeerId, String>>,
}

impl People {
    /// Names that look like this one get a short id as well.
    pub fn beside(own_name: &str) -> Self {
        Self { own_name: Some(own_name.to_owned()), ..Self::default() }
    }

    /// Learns from an event who is here.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Room(RoomEvent::Joined { you, name, .. }) => {
                self.you = Some(*you);
                self.own_name = Some(name.clone());
                self.labels.take();
            }
            Event::Room(RoomEvent::PeerJoined { peer, name, .. }) => {
                self.names.insert(*peer, name.clone());
                self.labels.take();
            }
            Event::Room(RoomEvent::PeerLeft { peer, .. }) => {
                self.names.remove(peer);
                self.labels.take();
            }
            _ => {}
        }
    }

    /// Whether this peer is in the room, or is the user's own.
    pub fn knows(&self, peer: PeerId) -> bool {
        self.you == Some(peer) || self.names.contains_key(&peer)
    }

    /// How many others are here.
    pub fn others(&self) -> usize {
        self.names.len()
    }

    /// The user's own id, once known.
    #[cfg(test)]
    pub fn you(&self) -> Option<PeerId> {
        self.you
    }

    /// Whether it is the user's own.
    pub fn is_own(&self, peer: PeerId) -> bool {
        self.you == Some(peer)
    }

    /// The name as its owner wrote it; for programs. The user's own, too.
    pub fn raw_name(&self, peer: PeerId) -> &str {
        match &self.own_name {
            Some(own) if self.you == Some(peer) => own,
            _ => self.names.get(&peer).map_or("", String::as_str),
        }
    }

    /// What a person reads.
    pub fn label(&self, peer: PeerId) -> String {
        self.label_as(peer, self.raw_name(peer))
    }

    /// The same, of a peer whose name is known from elsewhere.
    pub fn label_as(&self, peer: PeerId, name: &str) -> String {
        if self.you == Some(peer) {
            return OWN_LABEL.to_owned();
        }
        if self.names.get(&peer).is_some_and(|known| known == name)
            && let Some(label) = self.labels.get_or_init(|| self.labels_of(&self.names)).get(&peer)
        {
            return label.clone();
        }
        let mut names = self.names.clone();
        names.insert(peer, name.to_owned());
        self.labels_of(&names).remove(&peer).unwrap_or_default()
    }

    fn labels_of(&self, names: &BTreeMap<PeerId, String>) -> BTreeMap<PeerId, String> {
        let written = |name: &String| {
            if name.trim().is_empty() { "nameless".to_owned() } else { name.clone() }
        };
        let mut written: BTreeMap<PeerId, String> =
            names.iter().map(|(peer, name)| (*peer, written(name))).collect();
        let own = self.you.zip(self.own_name.clone());
        let received = |(peer, name): (PeerId, &str)| (peer, DisplayName::received(name, peer));
        let others = written.iter().map(|(peer, name)| (*peer, name.as_str()));
        let shown: Vec<(PeerId, DisplayName)> = others
            .chain(own.iter().map(|(peer, name)| (*peer, name.as_str())))
            .map(received)
            .collect();
        let ids = short_ids(shown.iter().map(|(peer, name)| (*peer, name)));
        for (peer, name) in &mut written {
            *name = match ids.get(peer) {
                Some(id) => {
                    format!("{}#{}", harmless(name), number(*peer).unwrap_or_else(|| id.clone()))
                }
                None if imitates(name) => {
                    let id = number(*peer).unwrap_or_else(|| format!("{:.4}", peer.to_string()));
                    format!("{}#{id}", harmless(name))
                }
                None => harmless(name).into_owned(),
            };
        }
        written
    }

    /// The peer that a typed name means: the one with this label, else the only one whose name it
    /// is, without regard to case. The beginning of a name means no peer: it could mean another one
    /// a moment after the one who was meant has left.
    ///
    /// # Errors
    ///
    /// A sentence for people, if the name means no peer or more than one.
    pub fn find(&self, typed: &str) -> Result<PeerId, String> {
        let typed = typed.trim();
        if let Some(peer) = self.names.keys().find(|peer| self.label(**peer) == typed) {
            return Ok(*peer);
        }
        let lower = typed.to_lowercase();
        if self.is_own_name(&lower) {
            return Err(format!("“{}” is you.", harmless(typed)));
        }
        let labels = |peers: &[PeerId]| {
            peers.iter().map(|peer| self.label(*peer)).collect::<Vec<_>>().join(" or ")
        };
        match self.called(&lower).as_slice() {
            [one] if !typed.is_empty() => Ok(*one),
            [] | [_] => {
                let similar = self.those(|label| !lower.is_empty() && label.starts_with(&lower));
                let hint = match similar.as_slice() {
                    [] => "/who lists who is.".to_owned(),
                    similar => format!("Did you mean {}?", labels(similar)),
                };
                Err(format!("No person here is called “{}”. {hint}", harmless(typed)))
            }
            several => Err(format!("“{}” could be {}.", harmless(typed), labels(several))),
        }
    }

    /// Whether only the user is called this, in lower case.
    fn is_own_name(&self, lower: &str) -> bool {
        let own = self.own_name.as_deref().map(|own| own.trim().to_lowercase());
        (lower == OWN_LABEL.to_lowercase() || own.is_some_and(|own| own == lower))
            && self.called(lower).is_empty()
    }

    /// Those whose name or label is this, in lower case.
    fn called(&self, lower: &str) -> Vec<PeerId> {
        let is_name = |peer: &PeerId| self.raw_name(*peer).trim().to_lowercase() == lower;
        self.names
            .keys()
            .copied()
            .filter(|peer| is_name(peer) || self.label(*peer).to_lowercase() == lower)
            .collect()
    }

    /// Parts `NAME TEXT`. The longest name in the room counts, because names may contain spaces.
    /// `usage` shows the form.
    ///
    /// # Errors
    ///
    /// A sentence, when no name stands there, or no text after it.
    pub fn addressee<'t>(
        &self,
        name_and_text: &'t str,
        usage: &str,
    ) -> Result<(PeerId, &'t str), String> {
        let parts = name_and_text
            .match_indices(char::is_whitespace)
            .map(|(at, _)| name_and_text.split_at(at));
        let labelled = |name: &str| {
            let lower = name.to_lowercase();
            self.called(&lower).first().and_then(|_| self.find(name).ok())
        };
        let longest =
            parts.clone().filter_map(|(name, text)| Some((labelled(name)?, text))).next_back();
        let found = match (longest, parts.clone().next()) {
            (Some(found), _) => found,
            (None, Some((name, text))) => (self.find(name)?, text),
            (None, None) => return Err(format!("Something is missing: {usage}")),
        };
        Ok((found.0, found.1.trim_start()))
    }

    fn those(&self, wanted: impl Fn(&str) -> bool) -> Vec<PeerId> {
        self.names
            .keys()
            .copied()
            .filter(|peer| wanted(&self.label(*peer).to_lowercase()))
            .collect()
    }
}

/// Whether a line of this person could be taken for the user's own, one of this program, or a
/// private one.
fn imitates(name: &str) -> bool {
    let lower = name.trim().to_lowercase();
    let skeleton = |name: &str| DisplayName::parse(name).map(|name| name.skeleton());
    let looks = skeleton(&lower);
    OF_THIS_PROGRAM.iter().any(|word| lower == *word || skeleton(word) == looks)
        || lower.contains("(to ")
}

/// In lines of this program.
const OF_THIS_PROGRAM: [&str; 7] =
    ["you", "everyone", "a moderator", "the server", "the host", "host", "your call"];

/// Of a member of a call over a host: the beginnings of their ids are the same.
fn number(peer: PeerId) -> Option<String> {
    peer.as_client().map(|(_, client)| format!("{:04x}", client.0))
}

#[cfg(test)]
pub(crate) mod tests {
    use uuid::Uuid;
    use voicemesh::Metadata;

    use super::*;

    const USAGE: &str = "/msg NAME TEXT";

    /// A peer whose id begins with these four hexadecimal digits.
    pub(crate) fn peer(id: u16) -> PeerId {
        PeerId(Uuid::from_u128(u128::from(id) << 112))
    }

    pub(crate) fn arrival(id: u16, name: &str) -> Event {
        Event::Room(RoomEvent::PeerJoined {
            peer: peer(id),
            name: name.to_owned(),
            metadata: Metadata::new(),
        })
    }

    pub(crate) fn people(names: &[(u16, &str)]) -> People {
        let mut people = People::default();
        for (id, name) in names {
            people.see(&arrival(*id, name));
        }
        people
    }

    #[test]
    fn two_of_one_name_are_told_apart_and_one_alone_is_not_marked() {
        let mut people = people(&[(0x3f2a, "Ben"), (0x81c0, "Ben"), (0x1111, "Ada")]);
        assert_eq!(people.label(peer(0x3f2a)), "Ben#3f2a");
        assert_eq!(people.label(peer(0x1111)), "Ada");
        assert!(people.find("ben").is_err_and(|why| why == "“ben” could be Ben#3f2a or Ben#81c0."));
        assert_eq!(people.find("Ben#81c0"), Ok(peer(0x81c0)));
        let reason = voicemesh::PeerLeftReason::Left;
        people.see(&Event::Room(RoomEvent::PeerLeft {
            peer: peer(0x3f2a),
            name: "Ben".into(),
            reason,
        }));
        assert_eq!(
            (people.label(peer(0x81c0)).as_str(), people.find("ben")),
            ("Ben", Ok(peer(0x81c0)))
        );
    }

    #[test]
    fn a_name_that_several_have_in_any_case_means_none_of_them() {
        let mut people =
            people(&[(0x3f2a, "Ben"), (0x81c0, "Ben"), (0x1111, "BEN"), (0x2222, "Ada")]);
        assert!(people.find("Ben").is_err_and(|why| why.contains("could be")));
        assert!(people.addressee("Ben secret", USAGE).is_err());
        assert_eq!(people.find("BEN"), Ok(peer(0x1111)), "as it is written");
        people.own_name = Some("Zed".to_owned());
        assert!(people.find("zed").is_err_and(|why| why == "“zed” is you."));
    }

    #[test]
    fn only_a_whole_name_means_a_person() {
        let people = people(&[(1, "Ada Lovelace"), (2, "Adam"), (3, "Ada")]);
        assert_eq!(people.find("adam"), Ok(peer(2)));
        assert_eq!(people.find("ada"), Ok(peer(3)), "a whole name goes before a beginning");
        assert_eq!(people.find("ada lovelace"), Ok(peer(1)));
        assert!(people.find("ada l").is_err_and(|why| why.ends_with("Did you mean Ada Lovelace?")));
        assert!(
            people.find("a").is_err() && people.find("Zoe").is_err() && people.find("").is_err()
        );
    }

    #[test]
    fn a_text_goes_to_the_longest_name_that_stands_before_it() {
        let people = people(&[(1, "Ada Lovelace"), (2, "Ada"), (3, "Ben")]);
        assert_eq!(people.addressee("Ada Lovelace hi there", USAGE), Ok((peer(1), "hi there")));
        assert_eq!(people.addressee("ada lovely day", USAGE), Ok((peer(2), "lovely day")));
        assert_eq!(people.addressee("ben  hi", USAGE), Ok((peer(3), "hi")));
        assert!(people.addressee("be hi", USAGE).is_err());
        assert!(people.addressee("Zoe hi", USAGE).is_err_and(|why| why.contains("Zoe")));
        assert!(
            people
                .addressee("Ben", USAGE)
                .is_err_and(|why| why.contains("missing: /msg NAME TEXT"))
        );
    }

    #[test]
    fn a_name_that_reads_like_a_part_of_this_program_is_followed_by_its_id() {
        for name in ["You", "Ben (to you alone)", "A moderator", "EVERYONE"] {
            assert_eq!(people(&[(0x3f2a, name)]).label(peer(0x3f2a)), format!("{name}#3f2a"));
        }
    }

    #[test]
    fn names_are_shown_harmlessly() {
        let people = people(&[(0x0abc, "\u{1b}[31mEve"), (0x0def, "  ")]);
        assert_eq!(people.label(peer(0x0abc)), "␛[31mEve");
        assert_eq!(people.label(peer(0x0def)), "nameless");
        assert_eq!(
            people.label_as(peer(0x0123), "you"),
            "you#0123",
            "a line of theirs is not the user's own"
        );
    }

    #[test]
    fn names_that_look_alike_are_told_apart_from_each_other_and_from_the_own() {
        let people = people(&[(0x0abc, "Ben"), (0x0def, "B\u{435}n"), (0x0123, "Ada")]);
        assert_eq!(
            [0x0abc, 0x0def, 0x0123].map(|id| people.label(peer(id))),
            ["Ben#0abc", "B\u{435}n#0def", "Ada"]
        );
        let mut people = People { names: people.names, ..People::beside("Ada") };
        people.see(&crate::summary::tests::joined());
        let you = people.you().expect("known since it joined");
        assert_eq!((people.raw_name(you), people.label(you).as_str()), ("Ada", "You"));
        assert_eq!(people.label(peer(0x0123)), "Ada#0123");
        let mut renamed = people_beside_ada();
        assert_eq!(renamed.label(peer(0x0123)), "Ada");
        renamed.see(&crate::summary::tests::joined());
        assert_eq!(
            renamed.label(peer(0x0123)),
            "Ada#0123",
            "the server has entered the user as Ada"
        );
    }

    /// The user asked for another name.
    fn people_beside_ada() -> People {
        People { names: people(&[(0x0123, "Ada")]).names, ..People::beside("Zed") }
    }
}
