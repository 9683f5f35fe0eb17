//! Whom to trust when a server proves its name.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::options::JoinError;

/// The system's certificates, and one more if asked for. They are read when the first secured connection is made: on
/// some systems that takes a while, and a plain connection never needs them.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    extra: Vec<CertificateDer<'static>>,
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Tls {
    pub(crate) fn new(extra_root_pem: Option<&Path>) -> Result<Self, JoinError> {
        let mut extra = Vec::new();
        if let Some(path) = extra_root_pem {
            let unusable = |why: String| JoinError::Certificate(format!("{}: {why}", path.display()));
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
            for certificate in certificates {
                extra.push(certificate.map_err(|error| unusable(error.to_string()))?);
            }
            if extra.is_empty() {
                return Err(unusable("it holds no certificate".to_owned()));
            }
        }
        Ok(Self { extra, config: Arc::default() })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.get_or_init(|| Arc::new(self.read())).clone()
    }

    fn read(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!(%error, "a system certificate was passed over");
        }
        roots.add_parsable_certificates(system.certs);
        roots.add_parsable_certificates(self.extra.iter().cloned());
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    }
}
