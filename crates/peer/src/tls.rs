//! Whom to trust when a server proves its name.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use voicemesh_device::Cause;

use crate::join_error::JoinError;

/// The system's certificates, and those of one file more if asked for. They are read when the first
/// secured connection is made: on some systems that takes a while, and a plain connection never
/// needs them.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    extra: Vec<CertificateDer<'static>>,
    read: Arc<OnceLock<Trust>>,
}

fn unreadable(error: pem::Error) -> Cause {
    match error {
        pem::Error::Io(error) => Cause::of_file(error),
        error => {
            Cause::new("it is no PEM file (it begins with -----BEGIN CERTIFICATE-----)", error)
        }
    }
}

/// Why a file has none. DER begins with a sequence of more than 127 bytes (X.690 §8.1.3.5).
fn without_certificate(read: &[u8]) -> &'static str {
    let has = |text: &[u8]| read.windows(text.len()).any(|part| part == text);
    if read.starts_with(&[0x30, 0x82]) {
        "it is in the form DER; `openssl x509 -inform der -in FILE -out FILE.pem` makes it one in the form PEM"
    } else if has(b"PRIVATE KEY-----") {
        "it holds a key and no certificate; the certificate is another file"
    } else {
        "it holds no certificate in the form PEM (it begins with -----BEGIN CERTIFICATE-----)"
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) config: Arc<ClientConfig>,
    /// Whether there is no certificate at all that could vouch for a server.
    pub(crate) is_empty: bool,
}

impl Tls {
    pub(crate) fn new(extra_root_pem: Option<&Path>) -> Result<Self, JoinError> {
        let mut extra = Vec::new();
        if let Some(path) = extra_root_pem {
            let unusable = |why: Cause| {
                JoinError::Certificate(why.said_as(|why| format!("{}: {why}", path.display())))
            };
            let read = voicemesh_device::read_file(path)
                .map_err(|error| unusable(Cause::of_file(error)))?;
            for certificate in CertificateDer::pem_slice_iter(&read) {
                extra.push(certificate.map_err(|error| unusable(unreadable(error)))?);
            }
            if extra.is_empty() {
                return Err(unusable(without_certificate(&read).into()));
            }
        }
        Ok(Self { extra, read: Arc::default() })
    }

    pub(crate) fn trust(&self) -> Trust {
        self.read.get_or_init(|| self.read()).clone()
    }

    fn read(&self) -> Trust {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!(%error, "a system certificate was passed over");
        }
        roots.add_parsable_certificates(system.certs);
        roots.add_parsable_certificates(self.extra.iter().cloned());
        let is_empty = roots.is_empty();
        let provider = Arc::new(ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .ok();
        let verifier = Verifier { webpki, named: self.extra.clone(), provider: provider.clone() };
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = match builder {
            Ok(builder) => builder,
            // The provider has suites for both versions of TLS.
            Err(error) => unreachable!("{error}"),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Trust { config: Arc::new(builder.with_no_client_auth()), is_empty }
    }
}

/// Checks a server's certificate as usual, and accepts besides a certificate that was itself named:
/// one that says of itself that it signs others (`openssl req -x509` makes such), or whose issuer
/// is not known. Name, dates and the handshake's signature are checked for it all the same.
#[derive(Debug)]
struct Verifier {
    /// `None` if nothing at all is trusted.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(webpki) = &self.webpki else { return Err(CertificateError::UnknownIssuer.into()) };
        match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            // The dates come first, so that they were found right where only the issuer is missing.
            Err(error)
                if lacks_an_issuer_only(&error)
                    && self.named.iter().any(|named| named == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn lacks_an_issuer_only(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
