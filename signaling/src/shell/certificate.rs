//! The server's certificate, and its replacement while the server runs.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::{ServeError, lock};
use crate::config::Config;

/// Between two looks at the files. A change is taken up when it has stood still for one of these, because certificate and
/// key are two files.
const LOOK: Duration = Duration::from_secs(2);
/// A pair that could not be loaded is tried again after this: permissions may have changed, which the stamp does not show.
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
    pub(super) fn load(config: &Config) -> Result<Option<Arc<Self>>, ServeError> {
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
                tracing::info!("new connections get the certificate that is in {} now", self.cert.display());
                true
            }
            Err(error) => {
                tracing::warn!("the certificate was not replaced, the former one stays in use: {error}");
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

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ServeError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| ServeError::Certificate {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain = chain.map_err(|error| failed(cert, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| failed(cert, &error))?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}
