//! The signatures of access tokens: JSON Web Tokens (RFC 7519) by which a community with its own
//! accounts lets its people in.
//!
//! What a token is signed with is fixed by the operator's option and never by the token: a secret
//! means HS256 and nothing else, a set of public keys means the algorithm of each key. PROTOCOL.md,
//! "Access tokens".

mod crypto;
#[cfg(test)]
mod tests;

use std::fmt;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use thiserror::Error;
use voicemesh_wire::limits::{NAME_BYTES, ROOM_NAME_BYTES, TOKEN_BYTES, TOKEN_SUBJECT_BYTES};
use voicemesh_wire::names::NameError;
use voicemesh_wire::signaling::AccessToken;
use voicemesh_wire::{DisplayName, Permissions, RoomName};

use voicemesh_rooms::grant::{Claims, TokenError, TokenVerifier};

/// The least that a secret may have, in bytes: as many as its hash (RFC 7518 §3.2).
pub const SECRET_BYTES: usize = 32;
/// Public keys in a set; each may be tried for a token that does not name its key.
const KEYS: usize = 16;

/// With it and the longest of everything else, a token still fits into [`TOKEN_BYTES`].
pub(crate) const AUDIENCE_BYTES: usize = 128;

/// What lets a join in: who signs tokens, and for whom they must be.
#[derive(Clone)]
pub struct TokenRules {
    keys: Vec<Key>,
    audience: Option<String>,
}

#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    id: Option<String>,
    key: DecodingKey,
}

/// A key file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A secret is too short.
    #[error(
        "the secret has {bytes} bytes; write at least {SECRET_BYTES}, such as `openssl rand -hex 32`"
    )]
    ShortSecret {
        /// How long it is.
        bytes: usize,
    },
    /// Anybody may know it.
    #[error("this is a public key, which anybody may know; use --auth-jwks for it")]
    PublicSecret,
    /// Not a JWK set (RFC 7517). It may be a secret, so nothing of it is shown.
    #[error(
        r#"not a JWK set, which is JSON of public keys as in {{"keys":[{{"kty":"OKP",…}}]}}; a secret belongs to --auth-secret"#
    )]
    NotJwks,
    /// It has no key that can be used.
    #[error("the set has no public key for EdDSA (Ed25519) or ES256 (P-256)")]
    NoKey,
    /// It has too many.
    #[error("the set has more than {KEYS} keys")]
    TooManyKeys,
}

impl TokenRules {
    /// Tokens are signed with HS256 and the secret in this file. A line break at its end does not
    /// count.
    ///
    /// # Errors
    ///
    /// When it is too short, or is a public key.
    pub fn from_secret(file: &[u8], audience: Option<String>) -> Result<Self, KeyError> {
        let secret = file.trim_ascii_end();
        if looks_public(secret) {
            return Err(KeyError::PublicSecret);
        }
        if secret.len() < SECRET_BYTES {
            return Err(KeyError::ShortSecret { bytes: secret.len() });
        }
        let key =
            Key { algorithm: Algorithm::HS256, id: None, key: DecodingKey::from_secret(secret) };
        Ok(Self { keys: vec![key], audience })
    }

    /// Tokens are signed with EdDSA or ES256, and these are the public keys: a JWK set (RFC 7517
    /// §5). Keys of other kinds in it are not used.
    ///
    /// # Errors
    ///
    /// When it is none, or has no key that can be used.
    pub fn from_jwks(file: &str, audience: Option<String>) -> Result<Self, KeyError> {
        let set: JwkSet = serde_json::from_str(file).map_err(|_| KeyError::NotJwks)?;
        if set.keys.len() > KEYS {
            return Err(KeyError::TooManyKeys);
        }
        let keys: Vec<Key> = set.keys.iter().filter_map(public_key).collect();
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(Self { keys, audience }) }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // The time is given, not read.
        validation.validate_exp = false;
        let mut required = vec!["exp"];
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl TokenVerifier for TokenRules {
    fn verify(&self, token: &AccessToken) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Invalid("it is too long"));
        }
        crypto::install();
        let header =
            decode_header(token.as_str()).map_err(|_| TokenError::Invalid("it is no JWT"))?;
        if header.crit.is_some() {
            return Err(TokenError::Invalid("it has critical extensions"));
        }
        let mut refused = TokenError::Invalid("it has another algorithm than this server expects");
        let by_algorithm = self.keys.iter().filter(|key| key.algorithm == header.alg);
        for key in by_algorithm {
            let is_named = key.id.is_none() || header.kid.is_none() || key.id == header.kid;
            if !is_named {
                refused = TokenError::Invalid("its key is not known");
                continue;
            }
            match decode::<Claims>(token.as_str(), &key.key, &self.validation(key.algorithm)) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => refused = TokenError::Invalid(reason(&error)),
            }
        }
        Err(refused)
    }
}

impl fmt::Debug for TokenRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRules").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// What [`sign`] puts into a token.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest {
    /// For this room, or with `is_pattern` for all rooms that match: `*` stands for any text.
    pub room: String,
    /// See `room`.
    pub is_pattern: bool,
    /// The display name.
    pub name: Option<String>,
    /// What the member may do; the default if missing.
    pub permissions: Option<Permissions>,
    /// Who it is about.
    pub subject: Option<String>,
    /// For which server.
    pub audience: Option<String>,
    /// When it expires, in seconds since 1970.
    pub expires_at: u64,
}

/// Why no server would let anyone in with what a [`TokenRequest`] asks for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// It is for no room.
    #[error("the room's name is blank")]
    RoomBlank,
    /// No link leads to such a room.
    #[error("no room can be called “{0}”, because no link could lead to it")]
    RoomUnlinkable(String),
    /// The name of the room, or the pattern.
    #[error("the room's name is too long: at most {ROOM_NAME_BYTES} bytes")]
    RoomTooLong,
    /// The display name.
    #[error(
        "no member can have this display name (--name): {0}; at most {NAME_BYTES} bytes, on one line"
    )]
    Name(NameError),
    /// The subject.
    #[error("the subject (--subject) is too long: at most {TOKEN_SUBJECT_BYTES} bytes")]
    SubjectTooLong,
    /// With it, the token would be longer than servers take.
    #[error("the audience (--audience) is too long: at most {AUDIENCE_BYTES} bytes")]
    AudienceTooLong,
}

impl TokenRequest {
    /// Checks what every server checks.
    ///
    /// # Errors
    ///
    /// The first part with which no server would take the token.
    pub fn check(&self) -> Result<(), RequestError> {
        match RoomName::parse(&self.room) {
            Ok(room) if !self.is_pattern && matches!(room.as_str(), "." | "..") => {
                return Err(RequestError::RoomUnlinkable(room.as_str().to_owned()));
            }
            Ok(_) => {}
            Err(NameError::TooLong) => return Err(RequestError::RoomTooLong),
            Err(_) => return Err(RequestError::RoomBlank),
        }
        self.name.as_deref().map(DisplayName::parse).transpose().map_err(RequestError::Name)?;
        if self.subject.as_ref().is_some_and(|subject| subject.len() > TOKEN_SUBJECT_BYTES) {
            return Err(RequestError::SubjectTooLong);
        }
        if self.audience.as_ref().is_some_and(|audience| audience.len() > AUDIENCE_BYTES) {
            return Err(RequestError::AudienceTooLong);
        }
        Ok(())
    }
}

/// Makes a token, signed with HS256. A line break at the end of the secret does not count.
///
/// # Errors
///
/// When the secret cannot be one.
pub fn sign(request: TokenRequest, secret: &[u8]) -> Result<AccessToken, KeyError> {
    TokenRules::from_secret(secret, None)?;
    crypto::install();
    let TokenRequest { room, is_pattern, name, permissions, subject, audience, expires_at } =
        request;
    let (room, room_pattern) = if is_pattern { (None, Some(room)) } else { (Some(room), None) };
    let claims = Claims {
        room,
        room_pattern,
        name,
        permissions,
        sub: subject,
        aud: audience.map(serde_json::Value::from),
        exp: expires_at.into(),
        nbf: None,
    };
    let key = EncodingKey::from_secret(secret.trim_ascii_end());
    match encode(&Header::new(Algorithm::HS256), &claims, &key) {
        Ok(token) => Ok(AccessToken::from(token)),
        Err(error) => unreachable!("HMAC signs anything: {error}"),
    }
}

fn public_key(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        _ => return None,
    };
    let said = match algorithm {
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        _ => KeyAlgorithm::ES256,
    };
    let common = &jwk.common;
    let is_for_signatures =
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && common.key_algorithm.is_none_or(|algorithm| algorithm == said);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_signatures)?;
    Some(Key { algorithm, id: common.key_id.clone(), key })
}

/// Whether a secret is what one gives away: PEM, a certificate, or a JWK.
fn looks_public(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret);
    let text = text.trim_start();
    text.starts_with("-----BEGIN")
        || text.starts_with("ssh-")
        || (text.starts_with('{') && text.contains("\"kty\""))
}

fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => "it names no audience",
        ErrorKind::MissingRequiredClaim(_) => "it has no exp",
        ErrorKind::Json(_) => "its claims are not what they must be",
        _ => "it cannot be read",
    }
}
