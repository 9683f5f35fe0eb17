//! In rooms with a key, descriptions of links carry a tag over the fingerprint of the DTLS
//! certificate (PROTOCOL.md, section 18), so that no server puts its own end into a link.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use voicemesh_e2ee::{FINGERPRINT_BYTES, KeyRing};
use voicemesh_wire::signaling::Signal;
use voicemesh_wire::{PeerId, SessionId};

use crate::member::Member;

/// What links are negotiated with where members encrypt.
pub(crate) trait LinkAuthentication {
    /// Whether links to this member are authenticated, or need not be.
    fn may_link(&self, member: &Member) -> bool;

    /// What authenticates the ends of links; none in a room without a key.
    fn authority(&self) -> Option<&KeyRing>;
}

/// The last line of a description, before the tag in base64url.
const TAG: &str = "a=voicemesh-tag:";
const FINGERPRINT: &str = "a=fingerprint:";

/// Adds the tag to a description that goes to a peer. Other signals stay as they are.
pub(crate) fn tagged(
    ring: &KeyRing,
    session: SessionId,
    to: PeerId,
    attempt: u32,
    signal: Signal,
) -> Signal {
    let tag = |sdp: String| {
        let tag = fingerprint(&sdp)
            .and_then(|fingerprint| ring.tag_fingerprint(session, to, attempt, &fingerprint).ok());
        // Without one the other end takes it for forged.
        let Some(tag) = tag else { return sdp };
        let end = if sdp.ends_with('\n') { "" } else { "\r\n" };
        format!("{sdp}{end}{TAG}{}\r\n", URL_SAFE_NO_PAD.encode(tag))
    };
    match signal {
        Signal::Offer { sdp } => Signal::Offer { sdp: tag(sdp) },
        Signal::Answer { sdp } => Signal::Answer { sdp: tag(sdp) },
        other => other,
    }
}

/// A signal without its tag; none if it is a description whose tag is not the member's.
pub(crate) fn authenticated(
    ring: &KeyRing,
    session: SessionId,
    from: PeerId,
    attempt: u32,
    signal: Signal,
) -> Option<Signal> {
    let check = |sdp: &str| {
        let (description, tag) = sdp.rsplit_once(TAG)?;
        if !description.ends_with('\n') {
            return None;
        }
        let tag = URL_SAFE_NO_PAD.decode(tag.trim_end()).ok()?;
        let fingerprint = fingerprint(description)?;
        ring.verify_fingerprint(session, from, attempt, &fingerprint, &tag).ok()?;
        Some(description.to_owned())
    };
    Some(match signal {
        Signal::Offer { sdp } => Signal::Offer { sdp: check(&sdp)? },
        Signal::Answer { sdp } => Signal::Answer { sdp: check(&sdp)? },
        other => other,
    })
}

/// The one certificate that a description names (RFC 8122, section 5), by SHA-256. None if it names
/// several, or in a way that another reader could take differently.
fn fingerprint(sdp: &str) -> Option<[u8; FINGERPRINT_BYTES]> {
    let mut all = Vec::new();
    for line in sdp.lines() {
        let Some(value) = line.strip_prefix(FINGERPRINT) else { continue };
        let (hash, hex) = value.trim_end().split_once(' ')?;
        // As every stack writes it; ours knows no other case.
        if hash != "sha-256" {
            return None;
        }
        all.push(octets(hex)?);
    }
    let mentioned = sdp.to_ascii_lowercase().matches("fingerprint").count();
    let first = *all.first()?;
    (mentioned == all.len() && all.iter().all(|one| *one == first)).then_some(first)
}

/// `AB:CD:…`
fn octets(hex: &str) -> Option<[u8; FINGERPRINT_BYTES]> {
    let mut octets = [0; FINGERPRINT_BYTES];
    let mut parts = hex.split(':');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

#[cfg(test)]
mod tests {
    use voicemesh_e2ee::RoomKey;

    use super::*;
    use crate::tests::encryption::{self, peer};

    fn ring(number: u8, room_key: u8) -> KeyRing {
        encryption::ring(number, Some(RoomKey::new([room_key; 16])), 0)
    }

    fn session(number: u32) -> SessionId {
        SessionId::new(number).expect("not zero")
    }

    fn named(first_octet: &str) -> String {
        let rest = ":5c".repeat(FINGERPRINT_BYTES - 1);
        format!("v=0\r\na=fingerprint:sha-256 {first_octet}{rest}\r\na=setup:actpass\r\n")
    }

    fn offer(sdp: String) -> Signal {
        Signal::Offer { sdp }
    }

    #[test]
    fn a_description_is_taken_from_the_member_that_made_it_for_this_peer_attempt_and_session() {
        let (ada, bo, key) = (ring(1, 9), ring(2, 9), session(7));
        let sent = tagged(&ada, key, peer(2), 3, offer(named("AB")));
        let taken = |ring: &KeyRing, session, from, attempt| {
            authenticated(ring, session, from, attempt, sent.clone())
        };
        assert_eq!(taken(&bo, key, peer(1), 3), Some(offer(named("AB"))), "and without the tag");
        assert_eq!(taken(&bo, key, peer(3), 3), None, "another sender");
        assert_eq!(taken(&bo, key, peer(1), 4), None, "another attempt");
        assert_eq!(taken(&bo, session(8), peer(1), 3), None, "another session");
        assert_eq!(taken(&ring(3, 9), key, peer(1), 3), None, "another receiver");
        assert_eq!(taken(&ring(2, 8), key, peer(1), 3), None, "another room key");
        let answer = Signal::Answer { sdp: named("AB") };
        let sent = tagged(&ada, key, peer(2), 3, answer.clone());
        assert_eq!(authenticated(&bo, key, peer(1), 3, sent), Some(answer));
        let candidate = Signal::EndOfCandidates;
        assert_eq!(authenticated(&bo, key, peer(1), 3, candidate.clone()), Some(candidate));
    }

    #[test]
    fn a_description_that_could_name_another_certificate_is_not_taken() {
        let (ada, bo, key) = (ring(1, 9), ring(2, 9), session(7));
        let Signal::Offer { sdp } = tagged(&ada, key, peer(2), 3, offer(named("AB"))) else {
            unreachable!("it was an offer")
        };
        let is_taken = |sdp: String| authenticated(&bo, key, peer(1), 3, offer(sdp)).is_some();
        assert!(is_taken(sdp.clone()));
        assert!(is_taken(sdp.replace("AB:", "ab:")), "RFC 8122: letters of either case");
        let (description, tag) = sdp.split_once(TAG).expect("a tag");
        for forged in [
            named("AC") + TAG + tag,
            named("AB"),
            description.to_owned() + tag,
            sdp.clone() + "a=fingerprint:sha-256 00\r\n",
            format!("{}{description}{TAG}{tag}", named("AC")),
            format!("{description}{}{TAG}{tag}", named("AC")),
            format!("{description}a=fingerprint:sha-1 AB:CD\r\n{TAG}{tag}"),
            format!("{description}A=Fingerprint:sha-256 AC\r\n{TAG}{tag}"),
            format!("{description} a=fingerprint:sha-256 AC\r{TAG}{tag}"),
            description.trim_end().to_owned() + TAG + tag,
            sdp.replace("AB:", "+B:"),
            sdp.replace("AB:", "AB:AB:"),
            sdp.replace("sha-256", "sha-512"),
            sdp.replace("sha-256", "SHA-256"),
            String::new(),
            TAG.to_owned(),
        ] {
            assert!(!is_taken(forged.clone()), "{forged}");
        }
    }
}
