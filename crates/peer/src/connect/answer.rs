//! What answered instead of a voicemesh server, by the first bytes that it sent.

use url::Url;

use crate::server_url::ServerUrl;
use voicemesh_mesh::ConnectFailure;

const MAX_HEADERS: usize = 64;
/// Longest part of an answer that is shown.
const MAX_SHOWN: usize = 200;

/// Whether these bytes begin a TLS record: a handshake message or an alert (RFC 8446 §5.1).
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23, 3, ..])
}

/// Whether a server of HTTPS says in plain HTTP that it is one. Each program has its own words for
/// that.
pub(super) fn says_https(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    text.starts_with("http/1.")
        && ["plain http", "https server", "https port"].iter().any(|words| text.contains(words))
}

/// Names what answered the request for a WebSocket at `url` with `bytes`; `None` if they are no
/// HTTP.
pub(super) fn classify(url: &ServerUrl, bytes: &[u8]) -> Option<ConnectFailure> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    // An answer that is cut, or has more headers than fit, still has its status and the first
    // headers.
    let _ = response.parse(bytes);
    let status = response.code?;
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let is_html =
        header("content-type").is_some_and(|value| value.to_ascii_lowercase().contains("html"));
    Some(match status {
        101 => ConnectFailure::NotVoicemesh(switched(header("sec-websocket-protocol"))),
        511 => ConnectFailure::SignInRequired,
        200..=299 => ConnectFailure::WebPage(format!(
            "status {status}{}",
            if is_html { ", HTML" } else { "" }
        )),
        300..=399 => match header("location") {
            Some(location) => redirected(url, &location),
            None => ConnectFailure::Status(status),
        },
        _ => ConnectFailure::Status(status),
    })
}

fn switched(subprotocol: Option<String>) -> String {
    match subprotocol {
        None => "it is a WebSocket server of another kind".to_owned(),
        Some(_) => "its answer to the WebSocket request is wrong".to_owned(),
    }
}

/// A redirection of a plain connection to another host is what a captive portal does. All others
/// are the server's own.
fn redirected(url: &ServerUrl, location: &str) -> ConnectFailure {
    let base = url.websocket().replacen("ws", "http", 1);
    let target = Url::parse(&base).and_then(|base| base.join(location));
    let Ok(target) = target else { return ConnectFailure::WebPage(shown(location)) };
    let server = ServerUrl::parse(target.as_str());
    match server {
        Ok(server) if url.tls || server.host() == url.host() => {
            ConnectFailure::Redirected { location: shown(&server.written()) }
        }
        _ => ConnectFailure::WebPage(format!("it redirects to {}", shown(target.as_str()))),
    }
}

pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(server: &str, text: &str) -> Option<ConnectFailure> {
        classify(&ServerUrl::parse(server).expect(server), text.as_bytes())
    }

    #[test]
    fn a_page_instead_of_a_socket_is_called_a_page() {
        let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>Welcome to our hotel";
        assert_eq!(
            answer("ws://host", html),
            Some(ConnectFailure::WebPage("status 200, HTML".into()))
        );
        let old = "HTTP/1.0 302 Found\r\nLocation: http://portal.hotel.example/login?to=x\r\n\r\n";
        let portal = ConnectFailure::WebPage(
            "it redirects to http://portal.hotel.example/login?to=x".into(),
        );
        assert_eq!(answer("ws://host", old), Some(portal));
        let asked = "HTTP/1.1 511 Network Authentication Required\r\n\r\n";
        assert_eq!(answer("ws://host", asked), Some(ConnectFailure::SignInRequired));
    }

    #[test]
    fn a_servers_own_redirection_names_the_address_to_use() {
        let to = |location: &str| {
            format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {location}\r\n\r\n")
        };
        let redirected =
            |location: &str| Some(ConnectFailure::Redirected { location: location.into() });
        assert_eq!(answer("ws://host", &to("https://host/ws")), redirected("wss://host"));
        assert_eq!(
            answer("wss://host", &to("https://other.example/voice/ws")),
            redirected("wss://other.example/voice")
        );
        assert_eq!(answer("wss://host/voice", &to("/talk/ws")), redirected("wss://host/talk"));
        assert_eq!(answer("ws://host:81", &to("//host:82/")), redirected("ws://host:82"));
    }

    #[test]
    fn other_statuses_are_kept() {
        for status in [400, 401, 403, 404, 426, 429, 500, 502, 503, 504] {
            let text =
                format!("HTTP/1.1 {status} Whatever\r\nContent-Type: text/html\r\n\r\n<html>");
            assert_eq!(answer("wss://host", &text), Some(ConnectFailure::Status(status)));
        }
    }

    #[test]
    fn what_is_no_http_is_not_taken_for_it() {
        assert_eq!(answer("ws://host", "SSH-2.0-OpenSSH_9.2\r\n"), None);
        assert_eq!(answer("ws://host", ""), None);
        assert!(
            is_tls(&[21, 3, 3, 0, 2, 2, 40]) && is_tls(&[22, 3, 1]) && !is_tls(b"HTTP/1.1 400")
        );
    }
}
