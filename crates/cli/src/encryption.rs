//! End-to-end encryption in words: what of the room the server can hear.

use voicemesh::{AnnouncementError, MemberEncryption, PeerState, Snapshot};

use crate::live::cells::cut;
use crate::people::People;

/// Columns of a member's name in the header.
const MOST_NAME: usize = 12;

/// What the header of the live view shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderMark {
    pub text: String,
    /// For a narrow screen.
    pub short: &'static str,
    /// Someone is left out.
    pub is_alarm: bool,
}

/// `None` where this peer does not encrypt.
pub(crate) fn header_mark(snapshot: &Snapshot, people: &People) -> Option<HeaderMark> {
    let is_encrypted = snapshot.safety_code.is_some();
    is_encrypted.then(|| mark_of(snapshot, people))
}

fn mark_of(snapshot: &Snapshot, people: &People) -> HeaderMark {
    let name = |state: &PeerState| cut(&people.label_as(state.peer, &state.name), MOST_NAME);
    let another_key = Some(MemberEncryption::Refused(AnnouncementError::IdentityChanged));
    if let Some(one) = snapshot.peers.iter().find(|state| state.encryption == another_key) {
        let text = format!("another key of {}, see /code", name(one));
        return HeaderMark { text, short: "another key", is_alarm: true };
    }
    let is_plain = |state: &&PeerState| state.encryption == Some(MemberEncryption::Unencrypted);
    let mut plain = snapshot.peers.iter().filter(is_plain);
    if let Some(one) = plain.next() {
        let text = match plain.count() {
            0 => format!("not encrypted to {}, see /code", name(one)),
            more => format!("not encrypted to {} of them, see /code", more + 1),
        };
        return HeaderMark { text, short: "not for all", is_alarm: true };
    }
    let mut left_out = snapshot
        .peers
        .iter()
        .filter(|state| state.encryption.is_some_and(MemberEncryption::is_left_out));
    let (text, is_alarm) = match (left_out.next(), left_out.count()) {
        (Some(one), 0) => (format!("encrypted, not for {}", name(one)), true),
        (Some(_), more) => (format!("encrypted, not for {} of them", more + 1), true),
        (None, _) if snapshot.has_room_key => ("encrypted".to_owned(), false),
        (None, _) => ("encrypted, /code compares".to_owned(), false),
    };
    HeaderMark { text, short: if is_alarm { "not for all" } else { "encrypted" }, is_alarm }
}

/// How a join encrypts end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndToEnd {
    /// Not at all.
    Off,
    /// A server can be in between, unless the members compare codes.
    WithoutKey,
    /// With the key of a link.
    WithKey,
}

impl EndToEnd {
    /// What is said of it before the join.
    pub(crate) fn opening(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::WithoutKey => Some(
                "What is said is encrypted end to end. /code shows what to compare with the others.",
            ),
            Self::WithKey => Some(
                "What is said is encrypted end to end with the link's key: the server cannot listen.",
            ),
        }
    }
}

/// What stands beside a member in lists; its sentence says the rest.
pub(crate) fn mark(state: &PeerState) -> Option<&'static str> {
    match state.encryption? {
        MemberEncryption::OnlyTheirs { .. }
        | MemberEncryption::Refused(AnnouncementError::RoomKeyMissing) => Some("encrypts"),
        MemberEncryption::Unencrypted => Some("plain"),
        encryption => encryption.is_left_out().then_some("no key"),
    }
}

/// Whether a member receives what is said here.
pub(crate) fn reaches(state: &PeerState) -> bool {
    state.encryption.is_none_or(|state| state != MemberEncryption::Waiting && !state.is_left_out())
}

/// The answer to `/code`.
pub(crate) fn lines(snapshot: &Snapshot, people: &People) -> Vec<String> {
    let code = snapshot.safety_code.map(|code| code.to_string());
    lines_with(code.as_deref(), snapshot, people)
}

/// The same in a call over a host, which is always encrypted with the key of its link.
pub(crate) fn lines_over_host(snapshot: &Snapshot, people: &People) -> Vec<String> {
    let mut lines = sentences(snapshot, people);
    lines.push(OVER_HOST.to_owned());
    lines
}

const OVER_HOST: &str = "Encrypted end to end, verified by the link's key: who does not have the link cannot listen. The host hears what is said to all, as everyone does; what you say to one alone it passes on unread, unless its program was changed.";

fn sentences(snapshot: &Snapshot, people: &People) -> Vec<String> {
    let others = snapshot.peers.iter();
    others
        .filter_map(|state| sentence(state.encryption?, &people.label_as(state.peer, &state.name)))
        .collect()
}

fn lines_with(code: Option<&str>, snapshot: &Snapshot, people: &People) -> Vec<String> {
    let mut lines = sentences(snapshot, people);
    // Last, where it stands above the line that is typed, however many are left out.
    match code {
        None => lines.push(
            "What you say is not encrypted end to end: the server can hear what it relays. Join without --unencrypted, or by a link of `voicemesh link`."
                .to_owned(),
        ),
        Some(_) if !snapshot.peers.iter().any(is_encrypted) && snapshot.has_room_key => lines.push(
            "Encrypted end to end with the link's key, which no one else here has yet.".to_owned(),
        ),
        Some(_) if snapshot.has_room_key => lines
            .push("Encrypted end to end, verified by the link's key: the server cannot listen.".to_owned()),
        Some(_) if !snapshot.peers.iter().any(is_encrypted) => lines.push(
            "Encrypted end to end. There is no one yet to compare a code with.".to_owned(),
        ),
        Some(code) => lines.extend([
            "Encrypted end to end. Compare this code with the others, best in person: if all have the same, no server is in between.".to_owned(),
            format!("  {code}"),
        ]),
    }
    lines
}

fn is_encrypted(state: &PeerState) -> bool {
    let another_key = MemberEncryption::Refused(AnnouncementError::IdentityChanged);
    state.encryption.is_some_and(|encryption| {
        matches!(encryption, MemberEncryption::Encrypted { .. }) || encryption == another_key
    })
}

/// What is said to a person about one member, unless all is well.
pub(crate) fn sentence(encryption: MemberEncryption, who: &str) -> Option<String> {
    let lacks = |why: &str| Some(format!("{who} does not hear you: {why}"));
    match encryption {
        MemberEncryption::Encrypted { .. } => None,
        MemberEncryption::Unencrypted => Some(allowed(who)),
        MemberEncryption::Waiting => Some(format!(
            "The keys of {who} have not come yet: until then {who} does not hear you."
        )),
        MemberEncryption::OnlyTheirs { has_room_key: true } => {
            Some(format!("You do not hear {who}, nor they you: {LINK_WITH_KEY}"))
        }
        MemberEncryption::OnlyTheirs { has_room_key: false } => Some(format!(
            "{who} encrypts end to end: you hear {who} only if {who} lets the server hear it as well. Join without --unencrypted."
        )),
        MemberEncryption::Refused(AnnouncementError::IdentityChanged) => Some(format!(
            "{who} shows another key than before: it may be another program, or a server in between. Ask them over another way."
        )),
        left_out => lacks(&why_left_out(left_out)),
    }
}

/// Of one who was allowed to hear this peer in the clear.
pub(crate) fn allowed(who: &str) -> String {
    format!(
        "{who} hears you unencrypted, and so can the server, until {who} leaves. What you write is not sent to {who}. /disallow {who} ends it."
    )
}

/// What is asked of one whose program cannot encrypt, in a room without a key.
pub(crate) fn question(who: &str, encrypted_before: bool) -> String {
    let why = if encrypted_before {
        format!(
            "{who} encrypted when you met last, and now cannot, as the server says: it may pretend so. Ask {who} over another way."
        )
    } else {
        format!("{who}’s program cannot encrypt.")
    };
    format!(
        "{why} Let the server hear what you say to {who}? /allow {who} does; until then {who} does not hear you."
    )
}

/// Why `/allow` and `/disallow` change nothing for a member whose encryption is this.
pub(crate) fn not_to_be_allowed(
    encryption: Option<MemberEncryption>,
    own: EndToEnd,
    who: &str,
) -> String {
    match encryption {
        None if own == EndToEnd::Off => {
            format!("You are here unencrypted: {who} hears you, and so can the server.")
        }
        None => format!("Whether {who} encrypts is not known yet. Try again in a moment."),
        Some(MemberEncryption::Encrypted { .. } | MemberEncryption::Waiting) => {
            format!("{who} encrypts: there is nothing to allow.")
        }
        Some(_) if own == EndToEnd::WithKey => format!(
            "In a room with a key nothing is said unencrypted. {who} needs the link with the key."
        ),
        Some(encryption) => sentence(encryption, who).unwrap_or_default(),
    }
}

/// What is said of a text that one member cannot read.
pub(crate) fn unread(encryption: MemberEncryption, who: &str) -> String {
    format!("Not sent: {who} cannot read it: {}", why_left_out(encryption))
}

const LINK_WITH_KEY: &str = "they joined by a link with a key. Ask them for the link.";

/// What a member who is [left out](MemberEncryption::is_left_out) lacks.
fn why_left_out(encryption: MemberEncryption) -> String {
    match encryption {
        MemberEncryption::Stopped => {
            "they are back without encryption. Ask them to join as before.".to_owned()
        }
        MemberEncryption::OnlyTheirs { .. }
        | MemberEncryption::Refused(AnnouncementError::RoomKeyMissing) => LINK_WITH_KEY.to_owned(),
        MemberEncryption::Refused(AnnouncementError::NotAuthentic) => {
            "they are here without the key of your link.".to_owned()
        }
        MemberEncryption::Refused(error) => format!("their keys are refused ({error})."),
        _ => "their program does not encrypt: it cannot, or was told not to.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::people;
    use crate::summary::tests::state;

    fn room(has_room_key: bool, of_ben: MemberEncryption, of_cleo: MemberEncryption) -> Snapshot {
        let peers = [(1, "Ben", of_ben), (2, "Cleo", of_cleo)];
        let peers = peers.map(|(id, name, encryption)| PeerState {
            encryption: Some(encryption),
            ..state(id, name)
        });
        Snapshot { has_room_key, peers: peers.into(), ..Snapshot::default() }
    }

    const ENCRYPTED: MemberEncryption = MemberEncryption::Encrypted { verified: false };
    const ANOTHER_KEY: MemberEncryption =
        MemberEncryption::Refused(AnnouncementError::IdentityChanged);
    const ONLY_THEIRS: [MemberEncryption; 2] = [
        MemberEncryption::OnlyTheirs { has_room_key: true },
        MemberEncryption::OnlyTheirs { has_room_key: false },
    ];
    const VERIFIED: MemberEncryption = MemberEncryption::Encrypted { verified: true };

    #[test]
    fn the_header_says_whether_it_is_verified_and_who_is_left_out() {
        let people = people(&[(1, "Ben"), (2, "Cleo")]);
        assert_eq!(header_mark(&Snapshot::default(), &people), None);
        let refused = MemberEncryption::Refused(AnnouncementError::NotAuthentic);
        for (snapshot, text, is_alarm) in [
            (room(true, VERIFIED, VERIFIED), "encrypted", false),
            (room(true, VERIFIED, MemberEncryption::Waiting), "encrypted", false),
            (room(false, ENCRYPTED, ENCRYPTED), "encrypted, /code compares", false),
            (room(true, refused, VERIFIED), "encrypted, not for Ben", true),
            (room(true, VERIFIED, MemberEncryption::Stopped), "encrypted, not for Cleo", true),
            (room(false, refused, MemberEncryption::Unable), "encrypted, not for 2 of them", true),
            (
                room(false, refused, MemberEncryption::Unencrypted),
                "not encrypted to Cleo, see /code",
                true,
            ),
            (room(true, refused, ANOTHER_KEY), "another key of Cleo, see /code", true),
        ] {
            let mark = mark_of(&snapshot, &people);
            assert_eq!((mark.text.as_str(), mark.is_alarm), (text, is_alarm));
        }
    }

    #[test]
    fn the_code_is_shown_where_comparing_it_tells_something_and_who_is_left_out_always() {
        let people = people(&[(1, "Ben"), (2, "Cleo")]);
        assert!(lines(&Snapshot::default(), &people)[0].contains("voicemesh link"));
        let code = "01234 56789 01234 56789 01234 56789";
        let said = |snapshot: &Snapshot| lines_with(Some(code), snapshot, &people).join("\n");
        let verified = said(&room(true, VERIFIED, MemberEncryption::Unable));
        assert!(!verified.contains(code), "{verified}");
        assert!(verified.contains("the server cannot listen"), "{verified}");
        assert!(verified.contains("Cleo does not hear you"), "{verified}");
        let unverified = said(&room(false, ENCRYPTED, MemberEncryption::Waiting));
        assert!(unverified.contains(&format!("  {code}")), "{unverified}");
        assert!(unverified.contains("keys of Cleo"), "{unverified}");
        assert!(!unverified.contains("Ben"), "{unverified}");
        assert!(unverified.ends_with(code), "a long list does not scroll it away: {unverified}");
        let alone = said(&room(false, MemberEncryption::Waiting, MemberEncryption::Unable));
        assert!(!alone.contains(code) && alone.contains("no one yet to compare"), "{alone}");
        let refused = MemberEncryption::Refused(AnnouncementError::NotAuthentic);
        let alone = said(&room(true, refused, MemberEncryption::Unable));
        assert!(alone.contains("no one else here has") && !alone.contains("verified"), "{alone}");
        let plain = room(false, ONLY_THEIRS[0], ONLY_THEIRS[1]);
        let [ben, cleo, own] = &lines(&plain, &people)[..] else { panic!("three lines") };
        assert!(ben.contains("Ben") && ben.contains("nor they you"), "{ben}");
        assert!(cleo.contains("Cleo") && cleo.contains("lets the server hear it"), "{cleo}");
        assert!(own.contains("is not encrypted end to end"), "{own}");
    }

    #[test]
    fn only_who_cannot_encrypt_can_be_allowed_and_never_where_there_is_a_key() {
        for (encryption, own, part) in [
            (None, EndToEnd::Off, "You are here unencrypted"),
            (None, EndToEnd::WithoutKey, "not known yet"),
            (Some(VERIFIED), EndToEnd::WithKey, "Cleo encrypts"),
            (Some(MemberEncryption::Waiting), EndToEnd::WithoutKey, "Cleo encrypts"),
            (Some(MemberEncryption::Unable), EndToEnd::WithKey, "In a room with a key"),
            (Some(MemberEncryption::Stopped), EndToEnd::WithoutKey, "without encryption"),
            (Some(ANOTHER_KEY), EndToEnd::WithoutKey, "another key"),
        ] {
            let said = not_to_be_allowed(encryption, own, "Cleo");
            assert!(said.contains(part), "{encryption:?}: {said}");
        }
    }

    #[test]
    fn lists_mark_who_encrypts_otherwise_and_count_who_is_reached() {
        let wants_key = MemberEncryption::Refused(AnnouncementError::RoomKeyMissing);
        for (encryption, word, is_reached) in [
            (None, None, true),
            (Some(VERIFIED), None, true),
            (Some(MemberEncryption::Waiting), None, false),
            (Some(MemberEncryption::Unable), Some("no key"), false),
            (Some(MemberEncryption::Unencrypted), Some("plain"), true),
            (Some(ONLY_THEIRS[0]), Some("encrypts"), false),
            (Some(ONLY_THEIRS[1]), Some("encrypts"), true),
            (Some(wants_key), Some("encrypts"), false),
        ] {
            let ben = PeerState { encryption, ..state(1, "Ben") };
            assert_eq!((mark(&ben), reaches(&ben)), (word, is_reached), "{encryption:?}");
        }
    }
}
