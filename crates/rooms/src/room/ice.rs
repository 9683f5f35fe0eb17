//! Which STUN and TURN servers a member gets, and credentials that expire.
//!
//! TURN servers that share a secret with this one (`use-auth-secret` in coturn;
//! draft-uberti-behave-turn-rest-00) take a user name of the form `expiry:name`, and as password
//! the Base64 of HMAC-SHA1 over it. Each member gets its own, and new ones when half of their
//! lifetime is over, so that a link that is opened at any time has valid ones.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::IceServer;

use crate::output::ConnectionId;

/// The ICE servers of a server's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceRules {
    /// The same for everyone.
    pub fixed: Vec<IceServer>,
    /// TURN servers with credentials for each member.
    pub shared: Option<SharedSecret>,
}

/// TURN servers that share a secret with this server.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret {
    urls: Vec<String>,
    secret: Vec<u8>,
    lifetime: Duration,
}

impl SharedSecret {
    /// `urls` as `turn:` addresses; credentials are valid for `lifetime`, in whole seconds.
    pub fn new(urls: Vec<String>, secret: &str, lifetime: Duration) -> Self {
        Self { urls, secret: secret.as_bytes().to_vec(), lifetime }
    }

    /// Credentials for one peer, valid until `unix` (seconds since 1970) plus the lifetime.
    fn credentials(&self, unix: u64, peer: PeerId) -> Option<IceServer> {
        let username = format!("{}:{peer}", unix.saturating_add(self.lifetime.as_secs()));
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).ok()?;
        mac.update(username.as_bytes());
        let credential = STANDARD.encode(mac.finalize().into_bytes());
        Some(IceServer {
            urls: self.urls.clone(),
            username: Some(username),
            credential: Some(credential),
        })
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret")
            .field("urls", &self.urls)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// When each member of a room got its credentials. At most one entry per member.
#[derive(Debug, Default)]
pub(super) struct IssuedCredentials {
    /// Seconds since 1970, as the room was given it last.
    unix: u64,
    issued_at: BTreeMap<ConnectionId, u64>,
}

impl IssuedCredentials {
    pub(super) fn set_unix_time(&mut self, seconds: u64) {
        self.unix = seconds;
    }

    /// The ICE servers of a member, with fresh credentials.
    pub(super) fn issue(
        &mut self,
        rules: &IceRules,
        connection: ConnectionId,
        peer: PeerId,
    ) -> Vec<IceServer> {
        let shared = rules.shared.as_ref().and_then(|shared| shared.credentials(self.unix, peer));
        if shared.is_some() {
            self.issued_at.insert(connection, self.unix);
        }
        rules.fixed.iter().cloned().chain(shared).collect()
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.issued_at.remove(&connection);
    }

    /// Members whose credentials are past half of their lifetime, or come from a time that the
    /// clock has left.
    pub(super) fn due(&self, rules: &IceRules) -> Vec<ConnectionId> {
        let Some(shared) = &rules.shared else { return Vec::new() };
        let half = (shared.lifetime.as_secs() / 2).max(1);
        let is_due = |issued: u64| self.unix < issued || self.unix - issued >= half;
        self.issued_at
            .iter()
            .filter(|(_, issued)| is_due(**issued))
            .map(|(connection, _)| *connection)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_wire::identity::{InstallationSecret, prove};

    use super::*;

    #[test]
    fn credentials_are_what_a_turn_server_computes() {
        let shared = SharedSecret::new(
            vec!["turn:turn.example".to_owned()],
            "north",
            Duration::from_secs(86_400),
        );
        let secret = InstallationSecret(std::array::from_fn(|index| index as u8));
        let peer = prove(&secret, "wss://voice.example", "lobby", 0).peer_id();
        let server = shared.credentials(1_433_895_918, peer).expect("HMAC takes any key");
        assert_eq!(
            server.username.as_deref(),
            Some("1433982318:ea203750-0d70-8b40-bec8-f6e3e43ba7a8")
        );
        // printf %s USERNAME | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(server.credential.as_deref(), Some("10ueW9C/a6yZM6Cib1DYBWkTa9s="));
    }

    #[test]
    fn the_secret_is_in_no_debug_output() {
        let shared = SharedSecret::new(Vec::new(), "north", Duration::from_secs(60));
        assert!(!format!("{shared:?}").contains("north"));
    }
}
