//! What the server answers over HTTP, and the upgrade to a WebSocket.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use voicemesh_wire::signaling::{ErrorCode, PATH, SUBPROTOCOL};

use super::address::client_address;
use super::connection::{Connection, socket_of};
use super::host;
use super::hub::Hub;
use super::member::Member;
use super::page::{Page, no_room};
use super::refused::{Asker, Outcome, connect_check};
use super::request_limits::{ConnectionRequests, RequestLimits};
use super::unityp2p::{self, UnityP2P};
use super::unityp2p_client::Client;
use voicemesh_rooms::{Address, AddressKey, Refusal};

/// Where a request's connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketAddress(pub(super) IpAddr);

/// What a server without the page says of itself.
const NO_PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>voicemesh</title>\
<h1>voicemesh</h1><p>This is a voicemesh signaling server: people meet here in rooms by name and talk to each other. \
Join with <code>voicemesh join ROOM --server THIS-ADDRESS</code>.</p></html>\n";
const NO_CONTENT: &str = "Requests have no content here.\n";
/// Longest path that is looked at for a base path that the operator may have forgotten.
const HINT_BYTES: usize = 64;

/// Everything that is answered, at the root and under the base path.
#[derive(Clone)]
pub(super) struct Site {
    hub: Arc<Hub>,
    limits: Arc<RequestLimits>,
    router: Router,
    /// Without a slash at its end; empty for none.
    base: Arc<str>,
}

impl Site {
    pub(super) fn new(hub: Arc<Hub>, page: Option<Page>) -> Self {
        let base = hub.config.base().into();
        let router = router(Arc::clone(&hub), page);
        Self { hub, limits: Arc::default(), router, base }
    }

    /// A site of these routes alone.
    #[cfg(test)]
    pub(super) fn of(hub: Arc<Hub>, router: Router) -> Self {
        Self { hub, limits: Arc::default(), router, base: "".into() }
    }

    /// The server's time.
    pub(super) fn now(&self) -> Duration {
        self.hub.now()
    }

    /// Answers a request of a connection from `socket`; a base path in front of its path is taken
    /// off before anything else looks at it.
    pub(super) async fn answer(
        &self,
        requests: &ConnectionRequests,
        socket: IpAddr,
        request: hyper::Request<Incoming>,
    ) -> Result<Response, std::convert::Infallible> {
        let proxies = &self.hub.config.trusted_proxies;
        let key = AddressKey::of(client_address(socket, request.headers(), proxies));
        let path = request.uri().path().to_owned();
        if let Err(refusal) = self.limits.admit(self.now(), requests, key, &path).await {
            self.hub.metrics.requests_over_budget.add(1);
            return Ok(refusal);
        }
        let answer = self.admitted(request).await?;
        let bytes = answer.body().size_hint().lower();
        self.limits.answered(self.now(), requests, key, &path, bytes);
        Ok(answer)
    }

    async fn admitted(
        &self,
        mut request: hyper::Request<Incoming>,
    ) -> Result<Response, std::convert::Infallible> {
        // No request here has content, and where it ends is something that a proxy may see
        // otherwise: a hidden request would be answered to another client.
        if !request.body().is_end_stream() || request.headers().contains_key(TRANSFER_ENCODING) {
            return Ok(
                (StatusCode::BAD_REQUEST, [(CONNECTION, "close")], NO_CONTENT).into_response()
            );
        }
        if !host::is_named(request.version(), request.headers()) {
            return Ok((StatusCode::BAD_REQUEST, host::MISSING).into_response());
        }
        if self.hub.config.only_as_this_machine && !host::is_this_machine(request.headers()) {
            return Ok((StatusCode::MISDIRECTED_REQUEST, host::ELSEWHERE).into_response());
        }
        let path = request.uri().path();
        match path.strip_prefix(&*self.base) {
            _ if self.base.is_empty() => {}
            // Relative addresses in the page need the slash.
            Some("") => return Ok(to_folder(&self.base)),
            Some(rest) if rest.starts_with('/') => {
                if let Some(uri) = with_path(request.uri(), rest) {
                    *request.uri_mut() = uri;
                }
            }
            Some(_) | None => {}
        }
        TowerToHyperService::new(self.router.clone()).call(request).await
    }
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

/// From `/voice` to `/voice/`, relative, because a proxy may show another path to the browser.
fn to_folder(base: &str) -> Response {
    let name = base.rsplit('/').next().unwrap_or_default();
    (
        StatusCode::PERMANENT_REDIRECT,
        [(LOCATION, format!("{name}/"))],
        "The slash at the end is missing.\n",
    )
        .into_response()
}

fn router(hub: Arc<Hub>, page: Option<Page>) -> Router {
    let page = page.map(Arc::new);
    let routes = match &page {
        Some(page) => Page::routes(page),
        None => Router::new().route("/", get(async || Html(NO_PAGE))),
    };
    let state = Arc::clone(&hub);
    let missing = async move |request: Request| not_found(&state, page.as_deref(), &request);
    let unityp2p = match &hub.unityp2p {
        Some(_) => Router::new()
            .route(unityp2p::PREFIX, any(unityp2p_websocket))
            .route(&format!("{}/", unityp2p::PREFIX), any(unityp2p_websocket))
            .route(&format!("{}/{{app}}", unityp2p::PREFIX), any(unityp2p_websocket)),
        None => Router::new(),
    };
    unityp2p
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/connect-check", any(check))
        .route(PATH, any(websocket))
        .with_state(hub)
        .merge(routes)
        .fallback(missing)
}

/// A page that says so, with a way to the lobby; and a line for the operator where a base path
/// seems to be missing.
fn not_found(hub: &Hub, page: Option<&Page>, request: &Request) -> Response {
    let path = request.uri().path();
    if let Some(SocketAddress(socket)) = request.extensions().get::<SocketAddress>().copied() {
        let asker = Asker::of(socket, request.headers(), &hub.config);
        let wants_socket = upgrade_key(request.method(), request.headers()).is_some();
        if let Some(base) = missing_base(path, wants_socket, asker.through_proxy) {
            hub.upgrades.log(
                hub.now(),
                &format!(
                    "requests arrive under {base}/, where nothing is. If a reverse proxy passes that path on as it is, \
                     add --base-path {base}"
                ),
            );
        }
    }
    no_room(page, path)
}

/// The base path under which a request came, if it looks as if a proxy had left one.
fn missing_base(path: &str, wants_socket: bool, through_proxy: bool) -> Option<&str> {
    let base = match path.strip_suffix(PATH) {
        Some(base) if wants_socket => base,
        _ => path.strip_suffix('/').filter(|_| through_proxy)?,
    };
    let is_plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let mut parts = base.strip_prefix('/')?.split('/');
    // No name of a room is to be logged.
    (base.len() <= HINT_BYTES && parts.all(|part| is_plain(part) && part != "r")).then_some(base)
}

/// Says to a page why its WebSocket did not open.
async fn check(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    let Some(SocketAddress(socket)) = request.extensions().get::<SocketAddress>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let asker = Asker::of(socket, request.headers(), &hub.config);
    let answer = connect_check(&hub.upgrades, hub.now(), request.uri(), &asker, &hub.config);
    ([(CACHE_CONTROL, "no-store"), (CONTENT_TYPE, "application/json")], answer.to_string())
        .into_response()
}

/// A server that is being drained takes no more joins; load balancers ask here.
async fn health(State(hub): State<Arc<Hub>>) -> (StatusCode, &'static str) {
    if hub.signaling.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn metrics(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let mut text = hub.metrics.render(hub.gauges());
    if let Some(unityp2p) = &hub.unityp2p {
        unityp2p.render(&mut text);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

async fn websocket(State(hub): State<Arc<Hub>>, mut request: Request) -> Response {
    let (key, client) = match checked_upgrade(&hub, &request) {
        Ok(checked) => checked,
        Err(refusal) => return *refusal,
    };
    let protocol = match protocol(request.headers()) {
        Protocol::Ours => Some(HeaderValue::from_static(SUBPROTOCOL)),
        Protocol::Unsaid => None,
        Protocol::Other => {
            let line = "refused a WebSocket: it offers other subprotocols than voicemesh.v1";
            refuse(&hub, request.uri(), Outcome::Protocol, line);
            return (StatusCode::BAD_REQUEST, "This server speaks voicemesh.v1.\n").into_response();
        }
    };
    hub.upgrades.note(hub.now(), request.uri(), Outcome::Upgraded);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            open(hub, upgraded, client).await;
        }
    });
    switching(&key, protocol)
}

/// What every WebSocket has to be: an upgrade, and not of a page that may not connect. Gives the
/// client's key, and where the client is.
fn checked_upgrade(hub: &Hub, request: &Request) -> Result<(String, IpAddr), Box<Response>> {
    let headers = request.headers();
    let Some(SocketAddress(socket)) = request.extensions().get::<SocketAddress>().copied() else {
        return Err(Box::new(StatusCode::INTERNAL_SERVER_ERROR.into_response()));
    };
    let asker = Asker::of(socket, headers, &hub.config);
    if let Some(line) = asker.proxy_line() {
        hub.upgrades.log(hub.now(), &line);
    }
    let Some(key) = upgrade_key(request.method(), headers) else {
        refuse(hub, request.uri(), Outcome::NoUpgrade, &asker.upgrade_line());
        return Err(Box::new(no_upgrade()));
    };
    if !asker.is_allowed(&hub.config) {
        refuse(hub, request.uri(), Outcome::Origin, &asker.origin_line());
        let refusal =
            (StatusCode::FORBIDDEN, "This page may not connect here; see --allow-origin.\n");
        return Err(Box::new(refusal.into_response()));
    }
    Ok((key, client_address(socket, headers, &hub.config.trusted_proxies)))
}

fn refuse(hub: &Hub, uri: &Uri, outcome: Outcome, line: &str) {
    hub.metrics.upgrades_refused.add(1);
    hub.upgrades.note(hub.now(), uri, outcome);
    hub.upgrades.log(hub.now(), line);
}

/// Refusals are sent as messages of the protocol, because a browser's page cannot see why an
/// upgrade failed.
async fn open(hub: Arc<Hub>, upgraded: hyper::upgrade::Upgraded, client: IpAddr) {
    let full = hub.connections() >= hub.config.max_connections;
    let mut refusal = full.then(|| Refusal::of(ErrorCode::ServerFull));
    let key = AddressKey::of(client);
    let address = match key {
        Some(key) => {
            let address = hub.signaling.enter_address(hub.now(), key);
            if address.is_none() {
                refusal = Some(Refusal::too_many_connections());
            }
            address
        }
        None => None,
    };
    if let Some(socket) = socket_of(upgraded) {
        let member = Member::new(hub, address, key, refusal);
        // A separate task: this one has the size of everything that an upgrade needs.
        tokio::spawn(Connection::new(socket, member));
    }
}

/// The WebSocket of a client of UnityP2P. Its protocol has no words for a refusal, so that is said
/// over HTTP.
async fn unityp2p_websocket(State(hub): State<Arc<Hub>>, mut request: Request) -> Response {
    let path = unityp2p::path_of(request.uri().path());
    let (Some(path), Some(unityp2p)) = (path, hub.unityp2p.clone()) else {
        return (StatusCode::NOT_FOUND, "UnityP2P has no such path here.\n").into_response();
    };
    let (key, client) = match checked_upgrade(&hub, &request) {
        Ok(checked) => checked,
        Err(refusal) => return *refusal,
    };
    let client = AddressKey::of(client);
    let address = client.map(|key| hub.signaling.enter_address(hub.now(), key));
    let refusal = if hub.signaling.is_draining() {
        Some((StatusCode::SERVICE_UNAVAILABLE, "The server is being drained.\n"))
    } else if hub.connections() >= hub.config.max_connections {
        Some((StatusCode::SERVICE_UNAVAILABLE, "The server is full.\n"))
    } else if matches!(address, Some(None)) {
        Some((StatusCode::TOO_MANY_REQUESTS, "Too many connections from this address.\n"))
    } else {
        None
    };
    if let Some(refusal) = refusal {
        hub.metrics.upgrades_refused.add(1);
        return (refusal.0, [(RETRY_AFTER, "10")], refusal.1).into_response();
    }
    // As the original: the first that is offered.
    let protocol = tokens(request.headers(), SEC_WEBSOCKET_PROTOCOL).next();
    let protocol = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            open_unityp2p(hub, unityp2p, path, upgraded, address.flatten(), client);
        }
    });
    switching(&key, protocol)
}

fn open_unityp2p(
    hub: Arc<Hub>,
    unityp2p: Arc<UnityP2P>,
    path: voicemesh_unityp2p::Path,
    upgraded: hyper::upgrade::Upgraded,
    address: Option<Arc<Address>>,
    key: Option<AddressKey>,
) {
    if let Some(mut socket) = socket_of(upgraded) {
        let client = Client::new(hub, unityp2p, path, address, key, &mut socket);
        tokio::spawn(Connection::new(socket, client));
    }
}

/// RFC 6455 §4.2.1: the client's key, if this is an upgrade to a WebSocket.
fn upgrade_key(method: &Method, headers: &HeaderMap) -> Option<String> {
    let is_upgrade =
        has_token(headers, CONNECTION, "upgrade") && has_token(headers, UPGRADE, "websocket");
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    (method == Method::GET && is_upgrade && version).then(|| key.to_owned())
}

/// The answer to what is no upgrade says what would be.
fn no_upgrade() -> Response {
    let headers = [(SEC_WEBSOCKET_VERSION, "13"), (UPGRADE, "websocket")];
    (StatusCode::UPGRADE_REQUIRED, headers, "This is a WebSocket.\n").into_response()
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
        Some(first) if first == SUBPROTOCOL || offered.any(|protocol| protocol == SUBPROTOCOL) => {
            Protocol::Ours
        }
        Some(_) => Protocol::Other,
    }
}

fn switching(key: &str, protocol: Option<HeaderValue>) -> Response {
    let headers = [(CONNECTION, "upgrade"), (UPGRADE, "websocket")];
    let accept = [(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))];
    let mut response =
        (StatusCode::SWITCHING_PROTOCOLS, headers, accept, Body::empty()).into_response();
    if let Some(protocol) = protocol {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_taken_off_with_the_query_kept() {
        let uri: Uri = "/voice/ws?attempt=1".parse().expect("a URI");
        assert_eq!(with_path(&uri, "/ws").expect("a path").to_string(), "/ws?attempt=1");
        let uri: Uri = "/voice//".parse().expect("a URI");
        assert_eq!(with_path(&uri, "//").expect("a path").to_string(), "//");
    }

    #[test]
    fn a_forgotten_base_path_is_seen_and_no_room_is_named() {
        assert_eq!(missing_base("/voice/ws", true, false), Some("/voice"));
        assert_eq!(missing_base("/a/b/ws", true, false), Some("/a/b"));
        assert_eq!(missing_base("/voice/", false, true), Some("/voice"));
        assert_eq!(missing_base("/voice/", false, false), None, "no proxy is seen");
        assert_eq!(missing_base("/voice/ws", false, false), None, "no WebSocket");
        for path in
            ["/ws", "/", "/r/lobby/", "/x/r/lobby/ws", "/voice/r/lobby/ws", "/%41/ws", "//ws", "//"]
        {
            assert_eq!(missing_base(path, true, true), None, "{path}");
        }
    }
}
