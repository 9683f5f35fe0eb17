//! What the server answers over HTTP, and the upgrade to a WebSocket.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, CONTENT_TYPE, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use voicemesh_wire::signaling::{ErrorCode, PATH, SUBPROTOCOL};

use super::address::{AddressKey, client_address};
use super::connection::Connection;
use super::hub::Hub;
use super::page::Page;
use crate::refusal::Refusal;

/// Where a request's connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketAddress(pub(super) IpAddr);

/// What a server without the page says of itself.
const NO_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>voicemesh</title>\
<h1>voicemesh</h1><p>This is a voicemesh signaling server: people meet here in rooms by name and talk to each other. \
Join with <code>voicemesh join ROOM --server THIS-ADDRESS</code>.</p></html>\n";

pub(super) fn router(hub: Arc<Hub>, page: Option<Page>) -> Router {
    let page = match page {
        Some(page) => page.routes(),
        None => Router::new().route("/", get(async || Html(NO_PAGE))),
    };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route(PATH, any(websocket))
        .with_state(hub)
        .merge(page)
}

async fn metrics(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let text = hub.metrics.render(hub.connections(), hub.rooms());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

async fn websocket(State(hub): State<Arc<Hub>>, mut request: Request) -> Response {
    let headers = request.headers();
    let Some(key) = upgrade_key(request.method(), headers) else { return no_upgrade() };
    let Some(SocketAddress(socket)) = request.extensions().get::<SocketAddress>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let trusted = hub.config.trusted_proxies.iter().any(|proxy| proxy.covers(socket));
    if !origin_allowed(headers, &hub.config.allowed_origins, trusted) {
        return (StatusCode::FORBIDDEN, "This page may not connect here; see --allow-origin.\n").into_response();
    }
    let protocol = match protocol(headers) {
        Protocol::Ours => Some(HeaderValue::from_static(SUBPROTOCOL)),
        Protocol::Unsaid => None,
        Protocol::Other => {
            return (StatusCode::BAD_REQUEST, "This server speaks voicemesh.v1.\n").into_response();
        }
    };
    let client = client_address(socket, headers, &hub.config.trusted_proxies);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            open(hub, upgraded, client).await;
        }
    });
    switching(&key, protocol)
}

/// Refusals are told as messages of the protocol, because a browser's page cannot see why an upgrade failed.
async fn open(hub: Arc<Hub>, upgraded: hyper::upgrade::Upgraded, client: IpAddr) {
    let full = hub.connections() >= hub.config.max_connections;
    let mut refusal = full.then(|| Refusal::of(ErrorCode::ServerFull));
    let key = AddressKey::of(client);
    let address = match key {
        Some(key) => {
            let address = hub.addresses.enter(hub.now(), key, &hub.config.budgets);
            if address.is_none() {
                refusal = Some(Refusal::of(ErrorCode::TooManyJoins));
            }
            address
        }
        None => None,
    };
    if let Some(connection) = Connection::new(hub, upgraded, address, key, refusal).await {
        // A task of its own: this one has the size of everything that an upgrade needs.
        tokio::spawn(connection);
    }
}

/// RFC 6455 §4.2.1: the client's key, if this is an upgrade to a WebSocket.
fn upgrade_key(method: &Method, headers: &HeaderMap) -> Option<String> {
    let is_upgrade = has_token(headers, CONNECTION, "upgrade") && has_token(headers, UPGRADE, "websocket");
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    (method == Method::GET && is_upgrade && version).then(|| key.to_owned())
}

/// The answer to what is no upgrade says what would be.
fn no_upgrade() -> Response {
    let told = [(SEC_WEBSOCKET_VERSION, "13"), (UPGRADE, "websocket")];
    (StatusCode::UPGRADE_REQUIRED, told, "This is a WebSocket.\n").into_response()
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// What a client offers as subprotocols.
enum Protocol {
    Ours,
    Unsaid,
    Other,
}

fn protocol(headers: &HeaderMap) -> Protocol {
    let mut offered = tokens(headers, SEC_WEBSOCKET_PROTOCOL);
    match offered.next() {
        None => Protocol::Unsaid,
        Some(first) if first == SUBPROTOCOL || offered.any(|protocol| protocol == SUBPROTOCOL) => Protocol::Ours,
        Some(_) => Protocol::Other,
    }
}

/// Only browsers send an origin; a page may connect to the host that it came from, and from those that the operator
/// named.
fn origin_allowed(headers: &HeaderMap, allowed: &[String], behind_trusted_proxy: bool) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|one| one == "*" || one.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        return true;
    }
    let forwarded = headers.get("x-forwarded-host").filter(|_| behind_trusted_proxy);
    let host = forwarded.or(headers.get(HOST)).and_then(|host| host.to_str().ok());
    let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), host) else { return false };
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let without_port = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    without_port(authority) == without_port(host)
}

fn switching(key: &str, protocol: Option<HeaderValue>) -> Response {
    let told = [(CONNECTION, "upgrade"), (UPGRADE, "websocket")];
    let accept = [(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, told, accept, Body::empty()).into_response();
    if let Some(protocol) = protocol {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: Option<&str>, host: &str, list: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header"));
        }
        let list: Vec<String> = list.iter().map(|one| (*one).to_owned()).collect();
        origin_allowed(&headers, &list, false)
    }

    #[test]
    fn a_page_may_connect_to_its_own_host_only() {
        assert!(allowed(None, "voice.example", &[]), "not a browser");
        assert!(allowed(Some("https://voice.example"), "voice.example", &[]));
        assert!(allowed(Some("https://Voice.example"), "voice.example:443", &[]));
        assert!(allowed(Some("http://localhost:8080"), "localhost:8080", &[]));
        assert!(!allowed(Some("http://localhost:8081"), "localhost:8080", &[]));
        assert!(!allowed(Some("https://evil.example"), "voice.example", &[]));
        assert!(!allowed(Some("null"), "voice.example", &[]));
    }

    #[test]
    fn a_page_of_a_named_origin_may_connect() {
        let list = ["https://game.example/"];
        assert!(allowed(Some("https://game.example"), "voice.example", &list));
        assert!(!allowed(Some("https://game.example.evil.example"), "voice.example", &list));
        assert!(allowed(Some("https://evil.example"), "voice.example", &["*"]));
    }
}
