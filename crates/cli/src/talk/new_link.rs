//! `/new-link`: a new room with a new key, for those who stay when one who has the link must not
//! hear any more.

use std::collections::BTreeSet;

use voicemesh::{JoinOptions, MemberEncryption, PeerId, Snapshot};

use crate::people::People;
use crate::text::harmless;
use crate::trial::random_name;

/// Who would be invited, and who not.
pub(super) struct Invited {
    pub staying: Vec<(PeerId, String)>,
    /// They could not read it.
    left_out: Vec<String>,
    /// They have come since the user was asked: one of them may be who is not to have it.
    came_since: Vec<String>,
}

impl Invited {
    /// Those who have this room's key get it; it is sealed for each of them alone.
    pub(super) fn of(snapshot: &Snapshot, people: &People) -> Self {
        let verified = Some(MemberEncryption::Encrypted { verified: true });
        let (staying, left_out): (Vec<_>, Vec<_>) =
            snapshot.peers.iter().partition(|state| state.encryption == verified);
        Self {
            staying: staying
                .into_iter()
                .map(|state| (state.peer, people.label_as(state.peer, &state.name)))
                .collect(),
            left_out: left_out
                .into_iter()
                .map(|state| people.label_as(state.peer, &state.name))
                .collect(),
            came_since: Vec::new(),
        }
    }

    /// Of them only those whom the user was asked about.
    pub(super) fn among(mut self, asked: &BTreeSet<PeerId>) -> Self {
        let (staying, came): (Vec<_>, Vec<_>) =
            self.staying.into_iter().partition(|(peer, _)| asked.contains(peer));
        self.staying = staying;
        self.came_since = came.into_iter().map(|(_, label)| label).collect();
        self
    }

    /// What is asked before anything is made.
    pub(super) fn question(&self) -> String {
        if self.staying.is_empty() {
            return format!(
                "/new-link send makes a link to a new room with a new key, and shows it to you alone: no one else here has this room's key.{}",
                self.remark()
            );
        }
        format!(
            "/new-link send makes a link to a new room with a new key, and writes it privately to {}. Who is not to have it must be put out before.{}",
            listed(self.staying.iter().map(|(_, label)| label)),
            self.remark()
        )
    }

    /// What is said once it is sent. The link stands alone at its end.
    pub(super) fn answer(&self, link: &str) -> String {
        let sent = if self.staying.is_empty() {
            "No one was sent the link to the new room.".to_owned()
        } else {
            format!(
                "The link to the new room was written to {}.",
                listed(self.staying.iter().map(|(_, label)| label))
            )
        };
        format!(
            "{sent}{} Leave this room and enter that one: voicemesh join '{}'",
            self.remark(),
            link.replace('\'', "%27")
        )
    }

    fn remark(&self) -> String {
        let mut remark = String::new();
        if !self.left_out.is_empty() {
            let names = listed(&self.left_out);
            remark += &format!(" Without this room's key, and so without the new one: {names}.");
        }
        if !self.came_since.is_empty() {
            let names = listed(&self.came_since);
            remark += &format!(" Not written to, because they came after you were asked: {names}.");
        }
        remark
    }
}

/// What the last `/new-link send` wrote, and to whom: one text for each who stayed.
#[derive(Debug, Default)]
pub(super) struct Invitations {
    /// Label and text.
    unrefused: Vec<(String, String)>,
    sent: usize,
}

impl Invitations {
    pub(super) fn new(invited: &Invited, link: &str) -> Self {
        let unrefused: Vec<_> =
            invited.staying.iter().map(|(_, label)| (label.clone(), text(label, link))).collect();
        Self { sent: unrefused.len(), unrefused }
    }

    /// What is said of a text that did not reach its reader, if it is one of these.
    pub(super) fn refused(&mut self, text: &str) -> Option<String> {
        let at = self.unrefused.iter().position(|(_, sent)| sent == text)?;
        let (label, _) = self.unrefused.swap_remove(at);
        let refused = self.sent - self.unrefused.len();
        Some(format!(
            "{} did not get the link to the new room, which makes {refused} of {}: /msg sends it again.",
            harmless(&label),
            self.sent
        ))
    }
}

/// A link to a room that no one knows, on the same server.
pub(super) fn make(server: &str) -> Result<String, String> {
    let failed = |why: &dyn std::fmt::Display| format!("No link was made: {why}.");
    let room = random_name().map_err(|why| failed(&why))?;
    let options = JoinOptions::new(server, room).new_room_key().map_err(|error| failed(&error))?;
    options.invitation().map_err(|error| failed(&error))
}

/// What one of those who stay reads. It names the reader, so that no two are the same.
pub(super) fn text(label: &str, link: &str) -> String {
    format!("{}, we go on in a new room, with a new key: {link}", harmless(label))
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| harmless(name).into_owned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use voicemesh::PeerState;

    use super::*;
    use crate::people::tests::people;
    use crate::summary::tests::state;

    fn room(encryption: [MemberEncryption; 2]) -> Invited {
        let peers = [(1, "Ben"), (2, "Cleo")].into_iter().zip(encryption);
        let peers = peers.map(|((id, name), encryption)| PeerState {
            encryption: Some(encryption),
            ..state(id, name)
        });
        let snapshot =
            Snapshot { has_room_key: true, peers: peers.collect(), ..Snapshot::default() };
        Invited::of(&snapshot, &people(&[(1, "Ben"), (2, "Cleo")]))
    }

    const VERIFIED: MemberEncryption = MemberEncryption::Encrypted { verified: true };

    #[test]
    fn those_who_have_the_key_are_invited_and_the_others_are_named() {
        let both = room([VERIFIED; 2]);
        assert!(both.question().contains("privately to Ben, Cleo. Who"), "{}", both.question());
        assert!(!both.answer("LINK").contains("Without"));
        for not_read in [
            MemberEncryption::Waiting,
            MemberEncryption::Unable,
            MemberEncryption::Stopped,
            MemberEncryption::Encrypted { verified: false },
        ] {
            let one = room([VERIFIED, not_read]);
            assert_eq!(one.staying.len(), 1, "{not_read:?}");
            let said = one.answer("LINK");
            assert!(said.contains("written to Ben. Without this room's key"), "{said}");
            assert!(said.contains(": Cleo. Leave") && said.ends_with("join 'LINK'"), "{said}");
        }
        let alone = room([MemberEncryption::Unable; 2]);
        assert!(alone.question().contains("shows it to you alone"), "{}", alone.question());
        assert!(alone.answer("LINK").starts_with("No one was sent"), "{}", alone.answer("LINK"));
    }

    /// Who was put out may come back by the link that it still has.
    #[test]
    fn who_came_after_the_question_is_named_and_not_invited() {
        let room = room([VERIFIED; 2]);
        let ben = room.staying[0].0;
        let invited = room.among(&BTreeSet::from([ben]));
        assert_eq!(invited.staying, [(ben, "Ben".to_owned())]);
        let said = invited.answer("LINK");
        assert!(said.contains("written to Ben. Not written to, because they came"), "{said}");
        assert!(said.contains("asked: Cleo. Leave"), "{said}");
    }

    #[test]
    fn the_command_that_is_shown_stays_within_its_quotes() {
        let said = room([VERIFIED; 2]).answer("https://host/a';id;'/r/x#k=1");
        assert!(said.ends_with("join 'https://host/a%27;id;%27/r/x#k=1'"), "{said}");
    }

    #[test]
    fn each_link_leads_to_another_room_of_the_same_server_and_has_another_key() {
        let links = [(); 2].map(|()| make("wss://voice.example.org").expect("a link"));
        let parts = links.each_ref().map(|link| link.split_once("#k=").expect("a key"));
        assert!(parts[0].0 != parts[1].0 && parts[0].1 != parts[1].1, "{links:?}");
        for (room, key) in parts {
            assert!(room.starts_with("https://voice.example.org/r/"), "{room}");
            assert_eq!(key.len(), 22, "128 bits");
        }
        assert_ne!(text("Ben", &links[0]), text("Cleo", &links[0]));
    }
}
