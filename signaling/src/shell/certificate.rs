//! The server's certificate, and its replacement while the server runs.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::config::key_file::{content, named};
use crate::config::{Config, ConfigError};
use voicemesh_rooms::lock;

/// Between two looks at the files. A change is taken up when it has stood still for one of these,
/// because certificate and key are two files.
const LOOK: Duration = Duration::from_secs(2);
/// A pair that could not be loaded is tried again after this: permissions may have changed, which
/// the stamp does not show.
const RETRY: Duration = Duration::from_secs(60);

/// Certificate and key as they were last loaded.
pub(super) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    acceptor: Mutex<TlsAcceptor>,
    /// The files when they were read at start.
    loaded: Stamp,
}

/// What tells one state of both files from another.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    /// What the configuration names, if it wants TLS.
    pub(super) fn load(config: &Config) -> Result<Option<Arc<Self>>, ConfigError> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        // Before the files are read, so that no change is missed.
        let loaded = stamp(cert, key);
        let acceptor = Mutex::new(acceptor(cert, key)?);
        Ok(Some(Arc::new(Self { cert: cert.clone(), key: key.clone(), acceptor, loaded })))
    }

    /// For new connections.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        lock(&self.acceptor).clone()
    }

    /// Whether the pair in the files is in use now.
    fn reload(&self) -> bool {
        match acceptor(&self.cert, &self.key) {
            Ok(acceptor) => {
                *lock(&self.acceptor) = acceptor;
                tracing::info!(
                    "new connections get the certificate that is in {} now",
                    self.cert.display()
                );
                true
            }
            Err(error) => {
                tracing::warn!(
                    "the certificate was not replaced, the former one stays in use: {error}"
                );
                false
            }
        }
    }

    fn stamp(&self) -> Stamp {
        stamp(&self.cert, &self.key)
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    let stamp = |metadata: Metadata| Some((metadata.modified().ok()?, metadata.len()));
    [cert, key].map(|path| std::fs::metadata(path).ok().and_then(stamp))
}

/// Loads certificate and key again when the files change, and when `asked`.
pub(super) async fn keep_fresh(certificate: Arc<Certificate>, asked: Arc<Notify>) {
    let mut interval = tokio::time::interval(LOOK);
    let mut loaded = certificate.loaded;
    let mut seen = loaded;
    let mut retry = None;
    loop {
        tokio::select! {
            () = asked.notified() => {
                loaded = certificate.stamp();
                retry = (!certificate.reload()).then(|| Instant::now() + RETRY);
            }
            _ = interval.tick() => {
                let now = certificate.stamp();
                // What could not be read may have been made readable without another change.
                let is_due = retry.is_some_and(|at| Instant::now() >= at);
                if (now != loaded || is_due) && now == seen {
                    loaded = now;
                    retry = (!certificate.reload()).then(|| Instant::now() + RETRY);
                }
                seen = now;
            }
        }
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ConfigError> {
    let wrong_cert = |problem: &str| ConfigError {
        option: "--tls-cert",
        variable: "VOICEMESH_TLS_CERT",
        problem: named(cert, &problem),
    };
    let wrong_key = |problem: &str| ConfigError {
        option: "--tls-key",
        variable: "VOICEMESH_TLS_KEY",
        problem: named(key, &problem),
    };
    let read = content(cert).map_err(|problem| wrong_cert(&problem))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read).collect();
    let chain = chain.map_err(|error| wrong_cert(&pem_words(&error, "certificate")))?;
    if chain.is_empty() {
        return Err(wrong_cert(&without_certificate(&read)));
    }
    let read = content(key).map_err(|problem| wrong_key(&problem))?;
    let private = PrivateKeyDer::from_pem_slice(&read).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(&read) => wrong_key(ENCRYPTED),
        error => wrong_key(&pem_words(&error, "private key")),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                wrong_key(&format!("it is not the key of the certificate in {}", cert.display()))
            }
            error => {
                tracing::debug!(%error, "the TLS library refuses the pair");
                let (words, is_key) = pair_words(&error);
                if is_key { wrong_key(words) } else { wrong_cert(words) }
            }
        })?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// Why a file has none. DER begins with a sequence of more than 127 bytes (X.690 §8.1.3.5).
fn without_certificate(read: &[u8]) -> String {
    if read.starts_with(&[0x30, 0x82]) {
        "it is in the form DER; `openssl x509 -inform der -in FILE -out FILE.pem` makes it one in the form PEM"
            .to_owned()
    } else if String::from_utf8_lossy(read).contains("PRIVATE KEY-----") {
        "it holds a key and no certificate; the certificate is another file".to_owned()
    } else {
        pem_words(&pem::Error::NoItemsFound, "certificate")
    }
}

const ENCRYPTED: &str = "it is protected by a password, which cannot be typed at a restart; `openssl pkey -in FILE -out FILE.pem` takes it off";

/// Whether a key is written in one of the forms with a password (PKCS #8; RFC 1421 §4.6.1.1).
fn is_encrypted(key: &[u8]) -> bool {
    String::from_utf8_lossy(key).contains("ENCRYPTED")
}

/// Why a certificate and its key cannot be used, and whether the key is what is wrong.
fn pair_words(error: &rustls::Error) -> (&'static str, bool) {
    match error {
        rustls::Error::InvalidCertificate(_) => (
            "it is damaged, or of a kind that no browser takes; get it anew from its issuer",
            false,
        ),
        rustls::Error::NoCertificatesPresented => {
            ("it has no certificate; name the file with the whole chain", false)
        }
        _ => (
            "no key of a kind that is supported; use RSA with 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519",
            true,
        ),
    }
}

/// Why a PEM file is none. Nothing of its contents is shown: it may be the key.
fn pem_words(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!(
            "it has no {what} in the form PEM (-----BEGIN …); name the file that its issuer, or the tool that made it, has written"
        ),
        _ => format!("its PEM (-----BEGIN …) is damaged, or it holds something else than a {what}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error};

    use super::*;

    #[test]
    fn what_is_given_as_a_certificate_and_is_none_is_named() {
        for (read, words) in [
            (&[0x30, 0x82, 1, 0][..], "openssl x509 -inform der"),
            (b"-----BEGIN PRIVATE KEY-----", "a key and no certificate"),
            (b"hello", "in the form PEM (-----BEGIN …); name the file"),
        ] {
            assert!(without_certificate(read).contains(words), "{words}");
        }
    }

    #[test]
    fn a_key_with_a_password_is_not_taken_for_none() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert!(is_encrypted(pem("ENCRYPTED PRIVATE KEY").as_bytes()));
        assert!(!is_encrypted(pem("PRIVATE KEY").as_bytes()) && !is_encrypted(b""));
    }

    #[test]
    fn what_the_library_refuses_is_said_in_our_words_with_the_next_step() {
        for (error, words, step, key) in [
            (
                Error::InvalidCertificate(CertificateError::BadEncoding),
                "it is damaged",
                "get it anew",
                false,
            ),
            (Error::NoCertificatesPresented, "it has no certificate", "name the file", false),
            (Error::General("failed to parse private key".into()), "no key of a kind", "use", true),
        ] {
            let (said, is_key) = pair_words(&error);
            assert!(said.contains(words) && said.contains(step), "{said}");
            assert_eq!(is_key, key, "{said}");
        }
    }
}
