//! What access tokens say, and what that lets their bearers do in a room. Who signed a token is
//! checked by the caller's [`TokenVerifier`].

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use voicemesh_wire::limits::{ROOM_NAME_BYTES, TOKEN_SUBJECT_BYTES};
use voicemesh_wire::signaling::{AccessToken, ErrorCode};
use voicemesh_wire::{DisplayName, Permissions, RoomName};

use crate::refusal::Refusal;

/// Clocks may differ by this, in seconds.
const LEEWAY: u64 = 60;

/// What a valid token allows.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The display name, if the token decides it.
    pub name: Option<String>,
    /// What the member may do.
    pub permissions: Permissions,
    /// Who the token is about, to its issuer.
    pub subject: Option<String>,
    /// When it expires, in seconds since 1970.
    pub expires_at: u64,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Grant");
        debug
            .field("permissions", &self.permissions)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Why a token does not let its bearer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It was valid once.
    #[error("the access token has expired")]
    Expired,
    /// It is not for this server, this room or this moment, or is no token at all.
    #[error("the access token is not valid: {0}")]
    Invalid(&'static str),
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Expired => ErrorCode::TokenExpired,
            TokenError::Invalid(_) => ErrorCode::TokenInvalid,
        };
        let mut message = error.to_string();
        message.replace_range(..1, "T");
        message.push('.');
        Self { message, ..Self::of(code) }
    }
}

/// What the holder of a signing key says in a token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Claims {
    /// The room it is for; a token names exactly one of this and `room_pattern`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// The rooms it is for: `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_pattern: Option<String>,
    /// The display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the member may do; the default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// Who it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// For which server; the verifier compares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<serde_json::Value>,
    /// When it expires, in seconds since 1970.
    pub exp: serde_json::Number,
    /// From when it is valid, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<serde_json::Number>,
}

/// Checks who signed access tokens.
pub trait TokenVerifier: fmt::Debug + Send + Sync {
    /// What a token says, if its signature, algorithm and audience are those of this server. The
    /// time is not looked at.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`].
    fn verify(&self, token: &AccessToken) -> Result<Claims, TokenError>;
}

impl Claims {
    /// What they allow in a room at `unix` (seconds since 1970).
    ///
    /// # Errors
    ///
    /// When they do not let their bearer in.
    pub fn grant(self, room: &str, unix: u64) -> Result<Grant, TokenError> {
        if !is_for(&self, room) {
            return Err(TokenError::Invalid("it is for another room"));
        }
        if self.sub.as_ref().is_some_and(|subject| subject.len() > TOKEN_SUBJECT_BYTES) {
            return Err(TokenError::Invalid("its subject is too long"));
        }
        let name = self.name.as_deref().map(DisplayName::parse).transpose();
        let name =
            name.map_err(|_| TokenError::Invalid("its name is none that a member can have"))?;
        if let Some(not_before) = &self.nbf {
            let not_before =
                seconds(not_before).ok_or(TokenError::Invalid("its nbf is no time"))?;
            if not_before > unix.saturating_add(LEEWAY) {
                return Err(TokenError::Invalid("it is not valid yet"));
            }
        }
        let expires_at = seconds(&self.exp).ok_or(TokenError::Invalid("its exp is no time"))?;
        if expires_at.saturating_add(LEEWAY) < unix {
            return Err(TokenError::Expired);
        }
        let permissions = self.permissions.unwrap_or_default();
        let name = name.map(|name| name.as_str().to_owned());
        Ok(Grant { name, permissions, subject: self.sub, expires_at })
    }
}

/// Whole seconds since 1970.
fn seconds(number: &serde_json::Number) -> Option<u64> {
    let fraction = || {
        number
            .as_f64()
            .filter(|seconds| (0.0..1e15).contains(seconds))
            .map(|seconds| seconds as u64)
    };
    number.as_u64().or_else(fraction)
}

/// A token names exactly one of a room and a pattern. Both are compared in the form in which rooms
/// are.
fn is_for(claims: &Claims, room: &str) -> bool {
    let fits = |text: &str| text.len() <= ROOM_NAME_BYTES;
    match (&claims.room, &claims.room_pattern) {
        (Some(named), None) => fits(named) && folded(named) == folded(room),
        (None, Some(pattern)) => {
            fits(pattern) && matches(folded(pattern).as_bytes(), folded(room).as_bytes())
        }
        (Some(_), Some(_)) | (None, None) => false,
    }
}

/// The form in which rooms are compared.
fn folded(room: &str) -> String {
    RoomName::key_of(room)
}

/// Whether a pattern describes a whole text; `*` stands for any bytes, none included. Linear in
/// time but for the product of both lengths, which are bounded.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((position, taken)) => {
                    star = Some((position, taken + 1));
                    at = position + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
