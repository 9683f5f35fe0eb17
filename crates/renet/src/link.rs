//! The link to a host, as people hand it on: `voicemesh://HOST:PORT#k=…`.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use renetcode::generate_random_bytes;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::parameters::KEY_BYTES;

const SCHEME: &str = "voicemesh://";
/// Of a host's name; no name in DNS is longer.
const LONGEST_HOST_BYTES: usize = 253;
/// What keys are derived for, as HKDF's `info`. One key is never used for both.
const NETCODE: &[u8] = b"netcode";
const END_TO_END: &[u8] = b"e2ee";

/// The secret of a link: 128 random bits. What encrypts is derived from them (HKDF-SHA-256 without
/// salt, RFC 5869), a key for each use.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct HostKey([u8; 16]);

impl HostKey {
    /// A new one, from the randomness of the system.
    pub fn random() -> Self {
        Self(generate_random_bytes())
    }

    /// Reads what a link has behind `k=`: 22 characters of base64url without padding (RFC 4648 §5).
    ///
    /// # Errors
    ///
    /// Anything else, also a last character that has bits beyond the 128.
    pub fn from_text(text: &str) -> Result<Self, LinkError> {
        let mut key = Self([0; 16]);
        match URL_SAFE_NO_PAD.decode_slice(text, &mut key.0) {
            Ok(16) => Ok(key),
            Ok(_) | Err(_) => Err(LinkError::BadKey),
        }
    }

    /// The form in links. A secret: it belongs into no log, title or error.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What lets a client in: `key` of [`ServerParameters`](crate::ServerParameters) and
    /// [`ClientParameters`](crate::ClientParameters).
    pub fn netcode_key(&self) -> [u8; KEY_BYTES] {
        self.derive(NETCODE)
    }

    /// The room key of an encryption between the members, which the host is only one of.
    pub fn room_key(&self) -> [u8; 16] {
        self.derive(END_TO_END)
    }

    fn derive<const BYTES: usize>(&self, purpose: &[u8]) -> [u8; BYTES] {
        let mut key = [0; BYTES];
        match Hkdf::<Sha256>::new(None, &self.0).expand(purpose, &mut key) {
            Ok(()) => key,
            Err(error) => unreachable!("HKDF-SHA-256 gives up to 8,160 bytes: {error}"),
        }
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(hidden)")
    }
}

/// Where a host is, and the key that lets in. `Display` writes it as people hand it on, key
/// included; [`HostLink::place`] without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLink {
    host: String,
    port: u16,
    key: HostKey,
}

/// A text is no link to a host. No error repeats it: it may hold the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It does not begin with `voicemesh://`.
    #[error("it does not begin with voicemesh://")]
    OtherScheme,
    /// The host is missing, or neither a name nor an address.
    #[error("it names no host: neither a name nor an address stands behind voicemesh://")]
    BadHost,
    /// The address begins with fe80.
    #[error("an address that begins with fe80 belongs to another network card on each machine")]
    LinkLocal,
    /// The port is missing, or none from 1 to 65535.
    #[error("it has no port behind the host, such as :7788")]
    BadPort,
    /// Something stands between the port and the `#`.
    #[error("something stands between its port and its #")]
    Path,
    /// There is no `#k=`.
    #[error("its key is missing, which begins with #k=")]
    NoKey,
    /// What is behind `#k=` is no key.
    #[error("its key is damaged")]
    BadKey,
}

impl HostLink {
    /// To a name or an address, in the form that it has in links: of IPv6 without brackets.
    ///
    /// # Errors
    ///
    /// When it is neither, or the port is 0.
    pub fn new(host: &str, port: u16, key: HostKey) -> Result<Self, LinkError> {
        let host = read_host(host).ok_or(LinkError::BadHost)?;
        if port == 0 { Err(LinkError::BadPort) } else { Ok(Self { host, port, key }) }
    }

    /// Whether the text is meant to be such a link, in order or not.
    pub fn is_meant(text: &str) -> bool {
        without_scheme(text).is_some()
    }

    /// Reads a link.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let rest = without_scheme(text).ok_or(LinkError::OtherScheme)?;
        let (place, fragment) = rest.split_once('#').ok_or(LinkError::NoKey)?;
        // Programs put a slash there.
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?']) {
            return Err(LinkError::Path);
        }
        let (host, port) = parse_place(place)?;
        // Further pairs are for later versions.
        let key = fragment.split('&').find_map(|pair| pair.strip_prefix("k="));
        Ok(Self { host, port, key: HostKey::from_text(key.ok_or(LinkError::NoKey)?)? })
    }

    /// A name, or an address; that of IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The secret.
    pub fn key(&self) -> &HostKey {
        &self.key
    }

    /// `HOST:PORT`, without the secret.
    pub fn place(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl From<(SocketAddr, HostKey)> for HostLink {
    fn from((address, key): (SocketAddr, HostKey)) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), key }
    }
}

impl fmt::Display for HostLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}#k={}", self.place(), self.key.to_text())
    }
}

/// Host and port of `HOST:PORT` or `[IPV6]:PORT`.
///
/// # Errors
///
/// Which of the two is missing or none.
pub fn parse_place(place: &str) -> Result<(String, u16), LinkError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(LinkError::BadHost)?;
            // With or without a zone, such as %eth0.
            let (address, _zone) = host.split_once('%').unwrap_or((host, ""));
            let ip: Ipv6Addr = address.parse().map_err(|_| LinkError::BadHost)?;
            if ip.is_unicast_link_local() {
                return Err(LinkError::LinkLocal);
            }
            if address != host {
                return Err(LinkError::BadHost);
            }
            (ip.to_string(), rest.strip_prefix(':').ok_or(LinkError::BadPort)?)
        }
        None => {
            let (host, port) = place.rsplit_once(':').ok_or(match place {
                "" => LinkError::BadHost,
                _ => LinkError::BadPort,
            })?;
            // An address of IPv6 without brackets ends in no port.
            let host = read_host(host).filter(|host| !host.contains(':'));
            (host.ok_or(LinkError::BadHost)?, port)
        }
    };
    let is_number = port.bytes().all(|digit| digit.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port != 0);
    Ok((host, port.ok_or(LinkError::BadPort)?))
}

/// A name of ASCII letters, or an address, in its usual form.
fn read_host(host: &str) -> Option<String> {
    if let Ok(ip) = host.parse::<Ipv6Addr>() {
        return Some(ip.to_string());
    }
    let is_of_name = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
    let is_name = !host.is_empty()
        && host.len() <= LONGEST_HOST_BYTES
        && !host.starts_with(['-', '.'])
        && host.bytes().all(is_of_name);
    is_name.then(|| host.to_ascii_lowercase())
}

fn without_scheme(text: &str) -> Option<&str> {
    let text = text.trim();
    let scheme = text.get(..SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| &text[SCHEME.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw";

    fn parse(text: &str) -> Result<(String, u16), LinkError> {
        HostLink::parse(text).map(|link| (link.host().to_owned(), link.port()))
    }

    #[test]
    fn a_link_is_read_as_it_is_written() {
        let key = HostKey::from_text(KEY).unwrap();
        assert_eq!(key.to_text(), KEY);
        for (host, place) in [
            ("192.168.1.5", "192.168.1.5:7788"),
            ("party.example.org", "party.example.org:7788"),
            ("2001:db8::5", "[2001:db8::5]:7788"),
        ] {
            let link = HostLink::new(host, 7788, key.clone()).unwrap();
            assert_eq!(link.place(), place);
            assert_eq!(link.to_string(), format!("voicemesh://{place}#k={KEY}"));
            assert_eq!(HostLink::parse(&link.to_string()), Ok(link));
        }
        let address: SocketAddr = "[::1]:7".parse().unwrap();
        assert_eq!(HostLink::from((address, key)).place(), "[::1]:7");
    }

    #[test]
    fn forms_that_programs_make_of_a_link_are_read() {
        for text in [
            format!("VoiceMesh://Party.Example.org:7788#k={KEY}"),
            format!("voicemesh://party.example.org:7788/#k={KEY}"),
            format!("  voicemesh://party.example.org:7788#k={KEY}\n"),
            format!("voicemesh://party.example.org:7788#later=1&k={KEY}&more"),
        ] {
            assert!(HostLink::is_meant(&text));
            assert_eq!(parse(&text), Ok(("party.example.org".to_owned(), 7788)), "{text}");
        }
        let long = format!("voicemesh://[2001:0DB8:0:0::5]:7788#k={KEY}");
        assert_eq!(parse(&long), Ok(("2001:db8::5".to_owned(), 7788)));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        use LinkError::{BadHost, BadKey, BadPort, LinkLocal, NoKey, OtherScheme, Path};
        let long = "a".repeat(LONGEST_HOST_BYTES + 1);
        for (place, error) in [
            ("", BadHost),
            (":7788", BadHost),
            ("[]:7788", BadHost),
            ("[fe80::1]:7788", LinkLocal),
            ("[fe80::1%eth0]:7788", LinkLocal),
            ("[2001:db8::1%eth0]:7788", BadHost),
            ("[2001:db8::5:7788", BadHost),
            ("[192.168.1.5]:7788", BadHost),
            ("2001:db8::5", BadHost),
            ("fe80::1%eth0:7788", BadHost),
            ("user@host:7788", BadHost),
            ("-x:7788", BadHost),
            ("häuser.example:7788", BadHost),
            (&format!("{long}:7788"), BadHost),
            ("host", BadPort),
            ("host:", BadPort),
            ("host:0", BadPort),
            ("host:+7788", BadPort),
            ("host:65536", BadPort),
            ("[::1]", BadPort),
            ("[::1]7788", BadPort),
            ("host:7788/r/lobby", Path),
            ("host:7788?k=1", Path),
        ] {
            assert_eq!(parse(&format!("voicemesh://{place}#k={KEY}")), Err(error), "{place}");
        }
        for (text, error) in [
            ("https://host:7788#k=", OtherScheme),
            ("voicemesh:/", OtherScheme),
            ("lobby", OtherScheme),
            ("voicemesh://host:7788", NoKey),
            ("voicemesh://host:7788#", NoKey),
            ("voicemesh://host:7788#t=AAECAwQFBgcICQoLDA0ODw", NoKey),
            ("voicemesh://host:7788#k=", BadKey),
            ("voicemesh://host:7788#k=AAECAwQFBgcICQoLDA0O", BadKey),
            ("voicemesh://host:7788#k=AAECAwQFBgcICQoLDA0ODxA", BadKey),
            ("voicemesh://host:7788#k=AAECAwQFBgcICQoLDA0ODw==", BadKey),
            ("voicemesh://host:7788#k=AAECAwQFBgcICQoLDA0ODx", BadKey),
            ("voicemesh://host:7788#k=AAECAwQFBgcICQoLDA0OD+", BadKey),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    /// The values are those of another implementation of RFC 5869.
    #[test]
    fn each_use_has_a_key_for_itself() {
        let key = HostKey::from_text(KEY).unwrap();
        let netcode = [
            0xf0, 0x62, 0x53, 0xef, 0x10, 0x0f, 0xea, 0x16, 0x2e, 0x14, 0x6c, 0x1b, 0xc8, 0x4d,
            0xea, 0x6c, 0x21, 0xdc, 0x4a, 0x14, 0x2a, 0xd0, 0x6e, 0x16, 0x49, 0x80, 0x1e, 0x3b,
            0x63, 0x34, 0xad, 0x25,
        ];
        let room = [
            0x2e, 0xf0, 0x3c, 0xf5, 0x4b, 0xc4, 0x6a, 0x68, 0xdc, 0x18, 0x4c, 0x79, 0xc8, 0x3c,
            0x0d, 0x81,
        ];
        assert_eq!((key.netcode_key(), key.room_key()), (netcode, room));
        assert_ne!(HostKey::random(), HostKey::random());
        let link = HostLink::new("host", 1, key).unwrap();
        assert!(!format!("{link:?}").contains(KEY), "no log has it");
    }
}
