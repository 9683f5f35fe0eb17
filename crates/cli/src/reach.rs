//! What a person can do about a server that cannot be reached, and what is said about the way to
//! one that can.

use voicemesh::{ConnectFailure, PlainNotTried, ProxyFailure, ServerConnection};

use crate::text::harmless;

/// Shown for as long as others on the network can read what goes to the server.
pub(crate) const EXPOSED: &str = "not encrypted on the way to the server";

/// One sentence: the next step. `None` if nothing is known that would help.
pub fn next_step(failure: &ConnectFailure) -> Option<String> {
    let step = match failure {
        ConnectFailure::UnknownHost => {
            "Check the address for typing errors, and whether this machine is online."
        }
        ConnectFailure::LookupFailed(_) | ConnectFailure::Io(_) => {
            "Check whether this machine is online."
        }
        ConnectFailure::ZoneMissing => {
            "Write the interface behind the address, such as ws://[fe80::1%eth0]:8080; `ip link` lists them."
        }
        ConnectFailure::UnknownZone(_) => {
            "Write one that this machine has behind the %; `ip link` lists them."
        }
        ConnectFailure::NotTls { plain, plain_not_tried } => {
            return Some(without_tls(&harmless(plain), *plain_not_tried));
        }
        ConnectFailure::WantsTls { secured } => {
            return Some(format!("Write --server {}.", harmless(secured)));
        }
        ConnectFailure::NoTrustedRoots => {
            "Install the package ca-certificates, or name the server's certificate with --ca FILE."
        }
        ConnectFailure::CertificateNotTrusted => {
            "If it is the server's own, get its certificate file from the server's operator and name it with --ca FILE. If not, this network may be listening in."
        }
        ConnectFailure::CertificateForOtherName { .. } => {
            "Use a name that is in the certificate. If you did, something else answers in the server's place: on a guest network, sign in with a browser first."
        }
        ConnectFailure::CertificateExpired => {
            "Check this machine's date; if it is right, the server's operator must renew the certificate."
        }
        ConnectFailure::CertificateNotYetValid => "Check this machine's date and time.",
        ConnectFailure::CertificateUnusable(_) | ConnectFailure::Tls(_) => {
            "The server's operator must see to its certificate and TLS settings."
        }
        ConnectFailure::WebPage(_) => {
            "On a guest network, open any page in a browser and sign in first; otherwise check the address: the server may be under a path, such as https://host/voice/."
        }
        ConnectFailure::SignInRequired => "Open any page in a browser and sign in.",
        ConnectFailure::Redirected { location } => {
            return Some(format!(
                "If you trust that address, write --server {}.",
                harmless(location)
            ));
        }
        ConnectFailure::Status(status) => return status_step(*status).map(str::to_owned),
        ConnectFailure::NotVoicemesh(_) => "Check host and port: something else runs there.",
        ConnectFailure::Ended => {
            "Check host and port; if they are right, the server's operator finds more in its log."
        }
        ConnectFailure::Proxy { failure, .. } => return proxy_step(failure),
        // Host and port may be wrong or the server not running, or it is one of this command's
        // newer failures.
        _ => return None,
    };
    Some(step.to_owned())
}

fn without_tls(plain: &str, why: PlainNotTried) -> String {
    let warning = "what you send to the server can then be read on the way";
    // The server of a link counts more than the option.
    let how = format!("--server {plain}, or {plain} at the beginning of the link,");
    match why {
        PlainNotTried::Secret => {
            format!(
                "With a password, an access token or a link's key there is no connection without TLS unless you ask for one: write {how} if that is meant; {warning}."
            )
        }
        PlainNotTried::SpokeTlsBefore => format!(
            "It did before, so something else may answer in its place; write {how} only if you know why; {warning}."
        ),
        _ => format!("Write {how} if that is meant; {warning}."),
    }
}

fn status_step(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "The operator of the server, or of a proxy before it, finds the reason in its log.",
        401 => "There is no way yet to give that password.",
        403 => "The server's operator must let WebSocket connections to /ws through.",
        404 => "Check the address: the server may be under a path, such as https://host/voice/.",
        426 => {
            "Its operator must pass the headers Upgrade and Connection on, as docs/reverse-proxy.md shows."
        }
        429 => "Wait a while.",
        502..=504 => "It may be starting; if this lasts, its operator must start it.",
        _ => return None,
    })
}

fn proxy_step(failure: &ProxyFailure) -> Option<String> {
    let step = match failure {
        ProxyFailure::Unreached(_) | ProxyFailure::Silent | ProxyFailure::NotAProxy(_) => {
            "Check its address in --proxy or in the environment (https_proxy, all_proxy), or try --proxy none."
        }
        ProxyFailure::NoAddress(_) => {
            "With socks5h:// instead of socks5:// the proxy looks the name up."
        }
        ProxyFailure::AuthenticationRequired => {
            "Write them into its address: --proxy http://USER:PASSWORD@HOST:PORT, or the same in https_proxy."
        }
        ProxyFailure::AuthenticationRefused => {
            "Check both in its address; letters such as @ or : in them are written %40 and %3A."
        }
        ProxyFailure::AuthenticationUnsupported(_) => {
            "A local helper that signs in for you (such as cntlm or px) can be named with --proxy."
        }
        ProxyFailure::NotAllowed(_) => {
            "Ask the proxy's operator to allow it, or try --proxy none if this network has another way out."
        }
        ProxyFailure::Status(_) => {
            "The people who run the proxy find the reason in its log; --proxy none does without it."
        }
        ProxyFailure::TargetUnreachable(_) => "Check host and port of the server.",
        _ => return None,
    };
    Some(step.to_owned())
}

/// What is said once about a connection to the server that is not what one would expect.
pub(crate) fn remarks(connection: &ServerConnection, relay_only: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    if connection.is_exposed() {
        remarks
            .push(format!("This connection is {EXPOSED}: others on the network can read and change what goes there."));
    }
    if let Some(proxy) = &connection.proxy {
        let links = match relay_only {
            true => "",
            false => {
                " Direct connections to the others do not go through it; --relay-only keeps everything on this way."
            }
        };
        remarks
            .push(format!("The server is reached through the proxy {}.{links}", harmless(proxy)));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_tls_gets_one_sentence_that_names_the_address_to_write() {
        for why in
            [PlainNotTried::SchemeGiven, PlainNotTried::Secret, PlainNotTried::SpokeTlsBefore]
        {
            let failure = ConnectFailure::NotTls {
                plain: "ws://192.168.1.5:8080".into(),
                plain_not_tried: why,
            };
            let step = next_step(&failure).expect("a step");
            assert!(step.contains("--server ws://192.168.1.5:8080"), "{step}");
            assert!(step.contains("ws://192.168.1.5:8080 at the beginning of the link"), "{step}");
            assert!(step.contains("can then be read"), "{step}");
        }
    }

    #[test]
    fn a_step_is_one_line_whatever_a_stranger_answered() {
        let failure = ConnectFailure::Redirected { location: "wss://x\u{1b}[2J\n".into() };
        assert!(!next_step(&failure).expect("a step").contains(['\u{1b}', '\n']));
    }
}
