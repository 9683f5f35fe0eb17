//! Why a connection to the server did not come about.

use std::fmt;
use std::net::IpAddr;

use voicemesh_wire::signaling::ErrorCode;

/// Why the server cannot be reached. `Display` says what was seen; what a person can do about it
/// follows from the variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The name has no address, as far as the system's resolver knows.
    #[error("no host of that name is known")]
    UnknownHost,
    /// The system's resolver does not answer, or cannot say.
    #[error("its name cannot be looked up: {0}")]
    LookupFailed(String),
    /// A link-local address (`fe80::…`) without the interface it is on.
    #[error("the address is link-local, and does not say behind which network interface")]
    ZoneMissing,
    /// This machine has no such network interface, or the address is not one of it.
    #[error("this machine has no network interface “{0}”")]
    UnknownZone(String),
    /// The host does not let itself be connected to.
    #[error("{0}")]
    Unreached(Unreached),
    /// The host took the connection and then said nothing.
    #[error("it does not answer")]
    Silent,
    /// The host took the connection and ended it.
    #[error("it ends the connection before it has answered")]
    Ended,
    /// Another error of the system's sockets.
    #[error("the connection broke: {0}")]
    Io(String),
    /// The server speaks no TLS where TLS was asked for.
    #[error("it speaks no TLS")]
    NotTls {
        /// The same address without TLS.
        plain: String,
        /// Why it was not tried without TLS by itself.
        plain_not_tried: PlainNotTried,
    },
    /// The server speaks TLS where it was not asked for.
    #[error("it wants a secured connection")]
    WantsTls {
        /// The same address with TLS.
        secured: String,
    },
    /// This system has no certificates by which a server could be trusted, and none was named.
    #[error("this system has no certificates to check the server's with")]
    NoTrustedRoots,
    /// The certificate is not signed by anything that this system trusts.
    #[error("its certificate is not trusted here")]
    CertificateNotTrusted,
    /// The certificate is for other names.
    #[error("its certificate is for {}, not for {host}", names(presented))]
    CertificateForOtherName {
        /// The server's name.
        host: String,
        /// Names in the certificate, at most four.
        presented: Vec<String>,
    },
    /// The certificate is no longer valid, or this machine's clock is wrong.
    #[error("its certificate has expired")]
    CertificateExpired,
    /// The certificate is not valid yet, or this machine's clock is wrong.
    #[error("its certificate is not valid yet")]
    CertificateNotYetValid,
    /// The certificate cannot be used for another reason.
    #[error("its certificate cannot be used: {0}")]
    CertificateUnusable(String),
    /// The TLS handshake failed for another reason.
    #[error("the connection cannot be secured: {0}")]
    Tls(String),
    /// A web page, or a redirection to another host, came instead of the server's answer: a network
    /// that wants its users to sign in (a captive portal), or an address of something else.
    #[error("a web page answers instead of a voicemesh server ({0})")]
    WebPage(String),
    /// The network says that one has to sign in first (511, RFC 6585 §6).
    #[error("this network wants you to sign in first")]
    SignInRequired,
    /// The server redirects to another address.
    #[error("it redirects to {location}")]
    Redirected {
        /// Where to, as an address for a voicemesh server if it can be one.
        location: String,
    },
    /// The server, or what stands before it, answered with an HTTP status that is none of the
    /// above.
    #[error("{}", Status(*.0))]
    Status(u16),
    /// The answer is no HTTP, or not what a WebSocket server says.
    #[error("it does not speak as a voicemesh server should: {0}")]
    NotVoicemesh(String),
    /// The server answers, and does not let this peer in for now: the room is full, passwords are
    /// looked at later, …
    #[error("{message}")]
    Refused {
        /// The server's own code; [`code`](Self::code) gives it as well.
        code: ErrorCode,
        /// The server's sentence.
        message: String,
    },
    /// The HTTP or SOCKS proxy did not make the connection.
    #[error("the proxy {proxy} {failure}")]
    Proxy {
        /// Its host and port.
        proxy: String,
        /// What is wrong.
        failure: ProxyFailure,
    },
}

/// What became of the attempts to connect to a host, one for each of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached(pub Vec<(IpAddr, AddressFailure)>);

/// What became of the attempt to connect to one address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressFailure {
    /// No answer in time.
    #[error("does not answer")]
    Silent,
    /// The host refuses connections to that port.
    #[error("refuses the connection; nothing seems to listen on port {port}")]
    Refused {
        /// Of the address, or the default of its scheme.
        port: u16,
    },
    /// No route leads there.
    #[error("cannot be reached from this network")]
    NoRoute,
    /// Anything else.
    #[error("cannot be connected to: {0}")]
    Other(String),
}

/// Why a server that speaks no TLS was not tried without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlainNotTried {
    /// The address says `wss://` or `https://`.
    SchemeGiven,
    /// The host is not an address of a private network.
    PublicHost,
    /// The join carries a password, which would be readable on the way.
    Secret,
    /// The server at this address has spoken TLS before.
    SpokeTlsBefore,
    /// Whether it has spoken TLS before is not known, because nothing can be kept on this machine.
    NotRemembered,
    /// The connection goes through a proxy.
    Proxy,
}

/// What a proxy did instead of making the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// The proxy itself cannot be reached.
    #[error("cannot be reached: {0}")]
    Unreached(Box<ConnectFailure>),
    /// This machine has to look the server's name up, and cannot.
    #[error("needs the server's address: {0}")]
    NoAddress(Box<ConnectFailure>),
    /// It took the connection and then said nothing.
    #[error("does not answer")]
    Silent,
    /// It asks for a user and a password.
    #[error("asks for a user name and a password")]
    AuthenticationRequired,
    /// It does not accept the user and the password.
    #[error("does not accept the user name and the password")]
    AuthenticationRefused,
    /// It wants its users to prove who they are in a way this program does not know.
    #[error("asks for a way to sign in that is not supported ({0})")]
    AuthenticationUnsupported(String),
    /// It does not allow connections to this server.
    #[error("does not allow connections to {0}")]
    NotAllowed(String),
    /// It cannot reach the server.
    #[error("cannot reach {0}")]
    TargetUnreachable(String),
    /// It answered with an HTTP status that is none of the above.
    #[error("answers with status {0}")]
    Status(u16),
    /// It is not a proxy of the kind that was named.
    #[error("does not answer as a proxy of its kind should: {0}")]
    NotAProxy(String),
}

impl ConnectFailure {
    /// A stable name for programs; of a refusal, the server's code.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code.as_str(),
            Self::UnknownHost => "unknown-host",
            Self::LookupFailed(_) => "lookup-failed",
            Self::ZoneMissing => "zone-missing",
            Self::UnknownZone(_) => "unknown-zone",
            Self::Unreached(_) => "unreached",
            Self::Silent => "silent",
            Self::Ended => "ended",
            Self::Io(_) => "io",
            Self::NotTls { .. } => "not-tls",
            Self::WantsTls { .. } => "wants-tls",
            Self::NoTrustedRoots => "no-trusted-roots",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::CertificateForOtherName { .. } => "certificate-for-other-name",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateUnusable(_) => "certificate-unusable",
            Self::Tls(_) => "tls",
            Self::WebPage(_) => "web-page",
            Self::SignInRequired => "sign-in-required",
            Self::Redirected { .. } => "redirected",
            Self::Status(_) => "http-status",
            Self::NotVoicemesh(_) => "not-voicemesh",
            Self::Proxy { .. } => "proxy",
        }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(attempts) = self;
        let Some((_, first)) = attempts.first() else { return f.write_str("it does not answer") };
        if attempts.iter().all(|(_, failure)| failure == first) {
            return write!(f, "it {first}");
        }
        f.write_str("none of its addresses works: ")?;
        for (number, (address, failure)) in attempts.iter().take(MAX_NAMED).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{address} {failure}")?;
        }
        match attempts.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Of many addresses or names, only these are written out.
const MAX_NAMED: usize = 4;

fn names(presented: &[String]) -> String {
    match presented {
        [] => "another name".to_owned(),
        names => names.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        match status {
            401 => f.write_str("what stands before it asks for a password (401)"),
            403 => f.write_str("it, or a proxy before it, refuses this connection (403)"),
            404 => f.write_str("there is no voicemesh server under this path (404)"),
            400 => f.write_str("it does not accept the request for a WebSocket (400)"),
            426 => f.write_str("a proxy before it does not pass WebSocket connections on (426)"),
            429 => f.write_str("it has had too many connections from here (429)"),
            502..=504 => {
                write!(f, "a proxy answers, but not the voicemesh server behind it ({status})")
            }
            status => write!(f, "it answers with HTTP status {status} instead of a WebSocket"),
        }
    }
}
