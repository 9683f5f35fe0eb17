use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use voicemesh_rooms::grant::Grant;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn rules() -> TokenRules {
    TokenRules::from_secret(SECRET, None).unwrap()
}

impl TokenRules {
    fn check(&self, token: &AccessToken, room: &str, unix: u64) -> Result<Grant, TokenError> {
        self.verify(token)?.grant(room, unix)
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token whose header and claims are exactly these.
fn raw(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> AccessToken {
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    AccessToken::from(format!("{message}.{}", base64(sign(message.as_bytes()))))
}

fn hmac_with(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    move |message| ring::hmac::sign(&key, message).as_ref().to_vec()
}

fn claims() -> Value {
    json!({ "room": "lobby", "exp": NOW + 100 })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

/// What the server says to claims that are signed well.
fn said(claims: &Value) -> Result<Grant, TokenError> {
    rules().check(
        &raw(&json!({ "alg": "HS256", "typ": "JWT" }), claims, hmac_with(SECRET)),
        "lobby",
        NOW,
    )
}

#[test]
fn what_is_signed_lets_in_with_what_it_says() {
    let request = TokenRequest {
        room: "lobby".into(),
        name: Some("Ada".into()),
        permissions: Some(Permissions { listen: true, ..Permissions::NONE }),
        subject: Some("user-7".into()),
        expires_at: NOW + 60,
        ..TokenRequest::default()
    };
    let token = sign(request, SECRET).unwrap();
    let grant = rules().check(&token, "lobby", NOW).unwrap();
    assert_eq!(grant.name.as_deref(), Some("Ada"));
    assert_eq!(grant.permissions, Permissions { listen: true, ..Permissions::NONE });
    assert_eq!((grant.subject.as_deref(), grant.expires_at), (Some("user-7"), NOW + 60));
    let other = TokenRules::from_secret(b"another secret of sufficient length", None).unwrap();
    assert_eq!(
        other.check(&token, "lobby", NOW),
        Err(TokenError::Invalid("its signature is wrong"))
    );
    let with_line_break = TokenRules::from_secret(&[SECRET, b"\n"].concat(), None).unwrap();
    assert!(with_line_break.check(&token, "lobby", NOW).is_ok());
}

#[test]
fn what_a_token_does_not_say_has_its_default() {
    let grant = said(&claims()).unwrap();
    assert_eq!((grant.name, grant.subject), (None, None));
    assert_eq!(grant.permissions, Permissions::default());
    assert_eq!(said(&with("permissions", json!([]))).unwrap().permissions, Permissions::NONE);
}

#[test]
fn a_token_expires_a_minute_late_at_most_and_must_say_when() {
    assert!(said(&with("exp", json!(NOW - 60))).is_ok());
    assert!(said(&with("exp", json!(NOW as f64 - 59.5))).is_ok());
    assert_eq!(said(&with("exp", json!(NOW - 61))), Err(TokenError::Expired));
    assert_eq!(said(&with("exp", json!(0))), Err(TokenError::Expired));
    for exp in [json!(null), json!("never"), json!(-1), json!(1e300), json!([NOW + 9])] {
        assert!(matches!(said(&with("exp", exp.clone())), Err(TokenError::Invalid(_))), "{exp}");
    }
    assert!(matches!(said(&json!({ "room": "lobby" })), Err(TokenError::Invalid(_))));
    assert!(said(&with("nbf", json!(NOW + 60))).is_ok());
    assert_eq!(
        said(&with("nbf", json!(NOW + 61))),
        Err(TokenError::Invalid("it is not valid yet"))
    );
    assert!(said(&with("nbf", json!("soon"))).is_err());
}

#[test]
fn a_token_is_for_one_room_or_for_those_of_a_pattern() {
    assert!(said(&with("room", json!("other"))).is_err());
    assert!(said(&with("room", json!("*"))).is_err(), "a room's name is no pattern");
    assert!(said(&json!({ "exp": NOW })).is_err(), "no room at all");
    assert!(said(&with("room_pattern", json!("*"))).is_err(), "both");
    let pattern = |pattern: &str| said(&json!({ "room_pattern": pattern, "exp": NOW }));
    for good in ["*", "lobby", "lob*", "*by", "l*b*y", "**l*o*b*b*y**", "LOB*", " Lobby "] {
        assert!(pattern(good).is_ok(), "{good}");
    }
    for bad in ["", "lob", "obby", "lobby?", "x*", "*x", "l*x*y", "lobby*y"] {
        assert!(pattern(bad).is_err(), "{bad}");
    }
    // The worst pattern that fits takes no time to speak of.
    let room = "a".repeat(255);
    let token = raw(
        &json!({ "alg": "HS256" }),
        &json!({ "room_pattern": format!("{}b", "a*".repeat(127)), "exp": NOW }),
        hmac_with(SECRET),
    );
    assert!(rules().check(&token, &room, NOW).is_err());
}

#[test]
fn the_audience_is_the_one_of_this_server() {
    let strict = TokenRules::from_secret(SECRET, Some("voice.example".into())).unwrap();
    let check = |rules: &TokenRules, claims: &Value| {
        rules
            .check(&raw(&json!({ "alg": "HS256" }), claims, hmac_with(SECRET)), "lobby", NOW)
            .map(|_| ())
    };
    assert_eq!(check(&strict, &with("aud", json!("voice.example"))), Ok(()));
    assert_eq!(check(&strict, &with("aud", json!(["x", "voice.example"]))), Ok(()));
    assert_eq!(check(&strict, &claims()), Err(TokenError::Invalid("it names no audience")));
    for other in [json!("other"), json!([]), json!(7), json!({ "voice.example": true })] {
        assert!(check(&strict, &with("aud", other.clone())).is_err(), "{other}");
    }
    assert!(check(&rules(), &with("aud", json!("other"))).is_err(), "meant for another server");
}

#[test]
fn the_option_and_not_the_token_fixes_the_algorithm() {
    let none = |_: &[u8]| Vec::new();
    for algorithm in ["none", "None", "HS384", "HS512", "RS256", "ES256", "EdDSA", ""] {
        let header = json!({ "alg": algorithm, "typ": "JWT" });
        for token in [raw(&header, &claims(), none), raw(&header, &claims(), hmac_with(SECRET))] {
            assert!(
                matches!(rules().check(&token, "lobby", NOW), Err(TokenError::Invalid(_))),
                "{algorithm}"
            );
        }
    }
    let unsigned = raw(&json!({ "alg": "HS256" }), &claims(), none);
    assert!(rules().check(&unsigned, "lobby", NOW).is_err());
    let critical = raw(&json!({ "alg": "HS256", "crit": ["exp"] }), &claims(), hmac_with(SECRET));
    assert!(rules().check(&critical, "lobby", NOW).is_err());
    // Keys in the token itself are not looked at.
    let own = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": base64(b"own") }, "jku": "https://evil.example" });
    assert!(rules().check(&raw(&own, &claims(), hmac_with(b"own")), "lobby", NOW).is_err());
}

struct Issuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random)
                .unwrap(),
            random,
        }
    }

    fn ec_point(&self) -> &[u8] {
        self.ec.public_key().as_ref()
    }

    fn jwks(&self) -> Value {
        json!({ "keys": [
            { "kty": "RSA", "kid": "old", "n": "AQAB", "e": "AQAB" },
            { "kty": "oct", "kid": "shared", "k": base64(SECRET) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "use": "sig", "x": base64(self.ed.public_key()) },
            { "kty": "EC", "crv": "P-256", "kid": "ec", "x": base64(&self.ec_point()[1..33]), "y": base64(&self.ec_point()[33..]) },
        ] })
    }
}

#[test]
fn public_keys_verify_what_their_own_algorithm_signed_and_nothing_else() {
    let issuer = Issuer::new();
    let rules = TokenRules::from_jwks(&issuer.jwks().to_string(), None).unwrap();
    let ed = |message: &[u8]| issuer.ed.sign(message).as_ref().to_vec();
    let ec = |message: &[u8]| issuer.ec.sign(&issuer.random, message).unwrap().as_ref().to_vec();
    let check = |token: &AccessToken| rules.check(token, "lobby", NOW).map(|_| ());
    for header in [json!({ "alg": "EdDSA" }), json!({ "alg": "EdDSA", "kid": "ed" })] {
        assert_eq!(check(&raw(&header, &claims(), ed)), Ok(()));
    }
    assert_eq!(check(&raw(&json!({ "alg": "ES256", "kid": "ec" }), &claims(), ec)), Ok(()));
    assert!(
        check(&raw(&json!({ "alg": "ES256", "kid": "ed" }), &claims(), ec)).is_err(),
        "names another key"
    );
    assert!(check(&raw(&json!({ "alg": "EdDSA" }), &claims(), ec)).is_err());
    assert!(check(&raw(&json!({ "alg": "ES256" }), &claims(), ed)).is_err());
    // The classic: a public key, which anybody has, as the secret of HS256.
    let secrets =
        [issuer.ec_point().to_vec(), issuer.ed.public_key().as_ref().to_vec(), SECRET.to_vec()];
    for secret in secrets.iter().cloned().chain([issuer.jwks().to_string().into_bytes()]) {
        for header in [json!({ "alg": "HS256" }), json!({ "alg": "HS256", "kid": "shared" })] {
            assert!(check(&raw(&header, &claims(), hmac_with(&secret))).is_err());
        }
    }
    assert!(check(&raw(&json!({ "alg": "none" }), &claims(), |_| Vec::new())).is_err());
}

#[test]
fn key_files_that_cannot_be_meant_are_refused() {
    let secret = |file: &[u8]| TokenRules::from_secret(file, None).unwrap_err();
    assert_eq!(secret(b"short\n"), KeyError::ShortSecret { bytes: 5 });
    assert_eq!(secret(b""), KeyError::ShortSecret { bytes: 0 });
    assert_eq!(
        secret(b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"),
        KeyError::PublicSecret
    );
    assert_eq!(secret(Issuer::new().jwks().to_string().as_bytes()), KeyError::PublicSecret);
    let jwks = |text: &str| TokenRules::from_jwks(text, None).unwrap_err();
    for secret in [
        "0123456789abcdef0123456789abcdef",
        "192496895995",
        "\"sesame192496895995\"",
        r#"{"keys":"192496895995"}"#,
    ] {
        let error = jwks(secret);
        assert_eq!(error, KeyError::NotJwks, "{secret}");
        assert!(
            !error.to_string().contains("1924968") && error.to_string().contains("--auth-secret"),
            "{error}"
        );
    }
    assert_eq!(jwks(r#"{"keys":[]}"#), KeyError::NoKey);
    let shared = json!({ "keys": [{ "kty": "oct", "k": base64(SECRET) }] });
    assert_eq!(jwks(&shared.to_string()), KeyError::NoKey, "a shared secret is no public key");
    assert!(sign(TokenRequest::default(), b"short").is_err());
}

#[test]
fn anything_that_is_no_token_is_refused_without_a_panic() {
    let good = sign(
        TokenRequest { room: "lobby".into(), expires_at: NOW, ..TokenRequest::default() },
        SECRET,
    )
    .unwrap();
    let text = good.as_str();
    for cut in 0..text.len() {
        let token = AccessToken::from(text[..cut].to_owned());
        assert!(rules().check(&token, "lobby", NOW).is_err(), "{cut}");
    }
    for position in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let token = AccessToken::from(String::from_utf8(bytes).unwrap());
        // The last digit of a signature has bits that mean nothing; a reader may take or refuse
        // them.
        assert!(
            position == text.len() - 1 || rules().check(&token, "lobby", NOW).is_err(),
            "{position}"
        );
    }
    for text in ["", ".", "..", "...", "a.b.c", "e30.e30.e30", &"a".repeat(TOKEN_BYTES + 1)] {
        assert!(rules().check(&AccessToken::from(text.to_owned()), "lobby", NOW).is_err());
    }
}

#[test]
fn nothing_prints_a_token_or_a_key() {
    let token =
        sign(TokenRequest { room: "lobby".into(), ..TokenRequest::default() }, SECRET).unwrap();
    let grant = rules().check(&token, "lobby", 0).unwrap();
    let printed = format!("{token:?} {:?} {grant:?}", rules());
    assert!(!printed.contains(token.as_str()) && !printed.contains("0123456789"), "{printed}");
}

#[test]
fn what_no_server_takes_is_refused_before_it_is_signed() {
    let request = |room: &str| TokenRequest {
        room: room.to_owned(),
        expires_at: NOW + 60,
        ..TokenRequest::default()
    };
    for (room, error) in [
        ("", RequestError::RoomBlank),
        (" ", RequestError::RoomBlank),
        (".", RequestError::RoomUnlinkable(".".to_owned())),
        (" ..", RequestError::RoomUnlinkable("..".to_owned())),
        (&"x".repeat(ROOM_NAME_BYTES + 1), RequestError::RoomTooLong),
    ] {
        assert_eq!(request(room).check(), Err(error), "{room}");
    }
    for name in ["  ", "two\nlines", &"x".repeat(NAME_BYTES + 1)] {
        let named = TokenRequest { name: Some(name.to_owned()), ..request("lobby") };
        assert!(matches!(named.check(), Err(RequestError::Name(_))), "{name}");
    }
    // Control characters are the longest in JSON.
    let most = |bytes: usize| Some("\u{1}".repeat(bytes));
    let mut longest = TokenRequest {
        room: "\u{1}x".repeat(ROOM_NAME_BYTES / 2),
        name: Some("x".repeat(NAME_BYTES)),
        subject: most(TOKEN_SUBJECT_BYTES),
        audience: most(AUDIENCE_BYTES),
        ..request("lobby")
    };
    assert_eq!(longest.check(), Ok(()));
    let room = longest.room.clone();
    let secret = [7; SECRET_BYTES];
    let token = sign(longest.clone(), &secret).expect("a token");
    let rules = TokenRules::from_secret(&secret, longest.audience.clone()).expect("a secret");
    assert!(rules.check(&token, &room, NOW).is_ok(), "{} bytes", token.len());
    longest.subject = most(TOKEN_SUBJECT_BYTES + 1);
    assert_eq!(longest.check(), Err(RequestError::SubjectTooLong));
    let audience = TokenRequest { audience: most(AUDIENCE_BYTES + 1), ..request("lobby") };
    assert_eq!(audience.check(), Err(RequestError::AudienceTooLong));
}
