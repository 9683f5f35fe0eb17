use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    date_time_ymd,
};

use super::*;

/// A moment at which the certificates below are valid, unless they say otherwise.
fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000))
}

/// As `openssl req -x509` makes them: signed by itself, and CA:TRUE.
fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
    params
}

fn self_signed(params: &CertificateParams) -> Certificate {
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate")
}

fn verify(trusted: &[&Certificate], shown: &Certificate, name: &str) -> Result<(), Error> {
    let tls =
        Tls { extra: trusted.iter().map(|one| one.der().clone()).collect(), read: Arc::default() };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls.extra.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let webpki =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
    let verifier = Verifier { webpki, named: tls.extra, provider };
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    verifier.verify_server_cert(shown.der(), &[], &name, &[], now()).map(|_| ())
}

fn is(result: Result<(), Error>, expected: impl Fn(&CertificateError) -> bool) -> bool {
    matches!(result, Err(Error::InvalidCertificate(error)) if expected(&error))
}

#[test]
fn a_named_certificate_is_accepted_even_if_it_says_that_it_signs_others() {
    for is_ca in [true, false] {
        let own = self_signed(&params("voice.lan", is_ca));
        assert_eq!(verify(&[&own], &own, "voice.lan"), Ok(()), "{is_ca}");
    }
    let by_address = self_signed(&params("192.168.1.5", true));
    assert_eq!(verify(&[&by_address], &by_address, "192.168.1.5"), Ok(()));
}

#[test]
fn another_certificate_of_the_same_name_is_not_accepted() {
    let (own, other) =
        (self_signed(&params("voice.lan", true)), self_signed(&params("voice.lan", true)));
    assert!(verify(&[&own], &other, "voice.lan").is_err());
    assert!(is(verify(&[], &other, "voice.lan"), |error| *error == CertificateError::UnknownIssuer));
}

#[test]
fn the_name_of_a_named_certificate_is_checked() {
    let own = self_signed(&params("voice.lan", true));
    assert!(is(verify(&[&own], &own, "other.lan"), |error| matches!(
        error,
        CertificateError::NotValidForNameContext { .. }
    )));
}

#[test]
fn the_dates_of_a_named_certificate_are_checked() {
    for is_ca in [true, false] {
        let mut past = params("voice.lan", is_ca);
        past.not_after = date_time_ymd(2020, 1, 1);
        let past = self_signed(&past);
        let expired =
            |error: &CertificateError| matches!(error, CertificateError::ExpiredContext { .. });
        assert!(is(verify(&[&past], &past, "voice.lan"), expired), "{is_ca}");
        let mut future = params("voice.lan", is_ca);
        future.not_before = date_time_ymd(2090, 1, 1);
        let future = self_signed(&future);
        let early =
            |error: &CertificateError| matches!(error, CertificateError::NotValidYetContext { .. });
        assert!(is(verify(&[&future], &future, "voice.lan"), early), "{is_ca}");
    }
}

#[test]
fn a_named_certificate_of_an_unknown_issuer_is_accepted_with_its_dates_and_name() {
    let issuer =
        CertifiedIssuer::self_signed(params("ca.lan", true), KeyPair::generate().expect("a key"))
            .expect("a CA");
    let issued = |params: CertificateParams| {
        params.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("a certificate")
    };
    let own = issued(params("voice.lan", false));
    assert_eq!(verify(&[&own], &own, "voice.lan"), Ok(()));
    assert!(verify(&[&own], &own, "other.lan").is_err());
    assert!(verify(&[], &own, "voice.lan").is_err());
    let mut past = params("voice.lan", false);
    past.not_after = date_time_ymd(2020, 1, 1);
    let past = issued(past);
    assert!(verify(&[&past], &past, "voice.lan").is_err());
}

/// What is said of a file with this content as `--ca`.
fn refused(content: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("voicemesh-ca-{}.pem", std::process::id()));
    std::fs::write(&path, content).expect("a file");
    let error = Tls::new(Some(&path)).err().map(|error| error.to_string());
    std::fs::remove_file(path).expect("its end");
    error.expect("refused")
}

#[test]
fn a_file_without_a_certificate_is_told_by_what_it_holds() {
    let own = self_signed(&params("server", true));
    assert!(refused(own.der()).contains("openssl x509 -inform der"));
    let key = KeyPair::generate().expect("a key").serialize_pem();
    assert!(refused(key.as_bytes()).contains("a key and no certificate"));
    assert!(refused(b"hello").contains("-----BEGIN CERTIFICATE-----"));
}

#[cfg(unix)]
#[test]
fn a_pipe_that_nothing_is_written_to_is_not_waited_for() {
    let path = std::env::temp_dir().join(format!("voicemesh-ca-{}.pipe", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    let error = Tls::new(Some(&path)).err().map(|error| error.to_string());
    std::fs::remove_file(path).expect("its end");
    assert!(error.is_some_and(|error| error.contains("it is a pipe or a device")));
}
