//! What the system's sockets and the TLS library report, in words for people. Their own texts go to
//! the log.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Why a socket does not work.
pub(crate) fn socket_words(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    tracing::debug!(%error, "a socket failed");
    let words = match error.kind() {
        Kind::PermissionDenied => {
            "this system does not allow it: a firewall on this machine may be the reason"
        }
        Kind::NetworkDown => "this machine's network is down",
        Kind::NetworkUnreachable | Kind::HostUnreachable | Kind::AddrNotAvailable => {
            "no way leads there from here"
        }
        Kind::ConnectionRefused => "nothing seems to listen on that port",
        Kind::TimedOut | Kind::WouldBlock => "no answer came in time",
        Kind::UnexpectedEof
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe => "it was ended by the other side, or on the way",
        Kind::AddrInUse => "this machine has no free port for it",
        Kind::OutOfMemory => "this machine has no memory left for it",
        Kind::InvalidData => "what arrives is damaged",
        _ => match error.raw_os_error() {
            Some(number) if is_out_of_files(number) => {
                "this program has too many files and connections open"
            }
            Some(number) => return format!("this system reports error {number}"),
            None => "the reason is not known",
        },
    };
    words.to_owned()
}

/// EMFILE and ENFILE, the same on all Unix systems; WSAEMFILE.
const fn is_out_of_files(number: i32) -> bool {
    if cfg!(windows) { number == 10_024 } else { matches!(number, 23 | 24) }
}

/// Why a connection could not be secured, other than by its certificate.
pub(super) fn tls_words(error: &Error) -> String {
    tracing::debug!(%error, "TLS failed");
    let words = match error {
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "it knows only versions of TLS that are no longer safe",
        Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        )
        | Error::PeerIncompatible(_) => "it knows no way to encrypt that this program knows",
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it does not serve the name in the address"
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::AccessDenied,
        ) => "it admits only programs that show a certificate of their own, and this one has none",
        Error::AlertReceived(_) => "it refuses to",
        Error::NoCertificatesPresented => "it shows no certificate",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => "what it sends is damaged, or changed on the way",
        _ => "this machine failed to",
    };
    words.to_owned()
}

/// Why a certificate cannot be used, other than by its names, dates and issuer.
pub(super) fn certificate_words(error: &CertificateError) -> String {
    tracing::debug!(%error, "a certificate was refused");
    let is_condition = |error: &webpki::Error| {
        use webpki::Error as Cause;
        matches!(
            error,
            Cause::UnsupportedCriticalExtension
                | Cause::NameConstraintViolation
                | Cause::PathLenConstraintViolated
                | Cause::UnsupportedNameType
                | Cause::UnsupportedCertVersion
        )
    };
    let words = match error {
        CertificateError::BadEncoding | CertificateError::BadSignature => "it is damaged",
        CertificateError::Revoked => "it has been revoked",
        CertificateError::UnhandledCriticalExtension => CONDITIONS,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for servers"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed in a way that is unsafe, or not known here"
        }
        CertificateError::Other(cause) if cause.0.downcast_ref().is_some_and(is_condition) => {
            CONDITIONS
        }
        _ => "it does not pass the checks",
    };
    words.to_owned()
}

const CONDITIONS: &str = "it has conditions that are not met, or not known here";

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{InvalidMessage, OtherError};

    use super::*;

    #[test]
    fn what_the_library_reports_is_said_in_words() {
        let unusable = |error| certificate_words(&error);
        let other = |error| CertificateError::Other(OtherError(std::sync::Arc::new(error)));
        for (said, words) in [
            (tls_words(&Error::AlertReceived(AlertDescription::ProtocolVersion)), "no longer safe"),
            (
                tls_words(&Error::AlertReceived(AlertDescription::HandshakeFailure)),
                "no way to encrypt",
            ),
            (tls_words(&Error::AlertReceived(AlertDescription::InternalError)), "refuses"),
            (tls_words(&Error::InvalidMessage(InvalidMessage::InvalidContentType)), "damaged"),
            (tls_words(&Error::DecryptError), "damaged"),
            (unusable(CertificateError::InvalidPurpose), "not for servers"),
            (unusable(other(webpki::Error::UnsupportedCriticalExtension)), "conditions"),
            (unusable(CertificateError::ApplicationVerificationFailure), "checks"),
            (socket_words(&io::ErrorKind::PermissionDenied.into()), "does not allow it"),
            (socket_words(&io::Error::from_raw_os_error(24)), "too many files"),
            (socket_words(&io::Error::from_raw_os_error(71)), "error 71"),
            (socket_words(&io::Error::other("InvalidContentType")), "not known"),
        ] {
            assert!(said.contains(words), "{words}: {said}");
            let foreign =
                ["rustls", "received", "InvalidContentType", "CriticalExtension", "os error"];
            assert!(!foreign.iter().any(|word| said.contains(word)), "{said}");
        }
    }
}
