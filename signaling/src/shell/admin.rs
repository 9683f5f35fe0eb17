//! What an operator can ask and do while the server runs, over HTTP on a separate address: rooms,
//! members, bans, kick, drain.
//!
//! Off unless `--admin-listen` names an address. Every request needs the token, also on loopback,
//! where other programs and other users are; a page in a browser can neither read an answer (no
//! CORS header is sent) nor use a login (no cookie counts), and a request that names another host,
//! or comes from a page at all, is refused. Each action is one line in the log, without names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path as PathOf, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use voicemesh_wire::PeerId;

use super::host;
use super::hub::Hub;
use super::turns::Turns;
use crate::config::AdminToken;
use voicemesh_rooms::lock;

/// The most that a request may bring.
const BODY_BYTES: usize = 4096;
/// Connections at a time. For the next, the oldest that has not shown the token is closed.
const CONNECTIONS: usize = 64;
/// How long one connection may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the head of a request may take, the wait for it included.
const HEAD_LIMIT: Duration = Duration::from_secs(2);
/// Between two answers to wrong tokens, and the line about them in the log.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);
/// Requests that are looked at before everything else on the server has its turn.
const REQUESTS_PER_TURN: usize = 2;
/// A drain sends its peers away within this.
const DRAIN: Duration = Duration::from_secs(10);

/// The address of this machine at which a request's connection arrived.
#[derive(Clone, Copy, Debug)]
struct ArrivedAt(SocketAddr);

/// Whether a connection has brought a request with the token.
#[derive(Clone, Debug, Default)]
struct HasToken(Arc<AtomicBool>);

/// The connections that are open.
#[derive(Debug, Default)]
struct Open {
    accepted: u64,
    connections: BTreeMap<u64, (AbortHandle, HasToken)>,
}

impl Open {
    /// Closes the oldest connection without the token if there are too many; if all have shown it,
    /// the oldest.
    fn make_space(&mut self) {
        if self.connections.len() < CONNECTIONS {
            return;
        }
        let without = self
            .connections
            .iter()
            .find(|(_, (_, has_token))| !has_token.0.load(Ordering::Relaxed));
        let oldest = without.or_else(|| self.connections.iter().next()).map(|(number, _)| *number);
        if let Some((task, _)) = oldest.and_then(|number| self.connections.remove(&number)) {
            task.abort();
        }
    }
}

struct Admin {
    hub: Arc<Hub>,
    token: AdminToken,
    address: SocketAddr,
    /// One wrong token at a time is answered.
    wrong_tokens: tokio::sync::Mutex<()>,
    turns: Turns,
}

/// Serves until it is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the system does not report that descriptors are free again"
)]
pub(super) async fn serve(hub: Arc<Hub>, token: AdminToken, listener: TcpListener) {
    let Ok(address) = listener.local_addr() else { return };
    let admin = Arc::new(Admin {
        hub,
        token,
        address,
        wrong_tokens: tokio::sync::Mutex::default(),
        turns: Turns::new(REQUESTS_PER_TURN),
    });
    let router = router(admin);
    let open = Arc::new(Mutex::new(Open::default()));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(local) = socket.local_addr() else { continue };
        let has_token = HasToken::default();
        let layered =
            router.clone().layer(Extension(ArrivedAt(local))).layer(Extension(has_token.clone()));
        let mut all = lock(&open);
        all.make_space();
        all.accepted += 1;
        let number = all.accepted;
        let open = Arc::clone(&open);
        // It cannot remove itself before it is entered: that waits for the lock.
        let task = tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
            let serving =
                server.serve_connection(TokioIo::new(socket), TowerToHyperService::new(layered));
            let _ = tokio::time::timeout(LIMIT, serving).await;
            lock(&open).connections.remove(&number);
        });
        all.connections.insert(number, (task.abort_handle(), has_token));
    }
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/rooms", get(rooms))
        .route("/rooms/{room}/members", get(members))
        .route("/rooms/{room}/kick", post(kick))
        .route("/rooms/{room}/make-owner", post(make_owner))
        .route("/rooms/{room}/bans", get(bans))
        .route("/rooms/{room}/unban", post(unban))
        .route("/drain", post(drain))
        .method_not_allowed_fallback(async || {
            refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "This request takes another method; docs/operate.md lists them.",
            )
        })
        .fallback(async || {
            refusal(StatusCode::NOT_FOUND, "There is no such request; docs/operate.md lists them.")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&admin), guard))
        .with_state(admin)
}

/// Nothing is looked at before host and token are right.
#[expect(clippy::disallowed_methods, reason = "slows down guesses of the token")]
async fn guard(
    State(admin): State<Arc<Admin>>,
    Extension(ArrivedAt(local)): Extension<ArrivedAt>,
    Extension(has_token): Extension<HasToken>,
    request: Request,
    next: Next,
) -> Response {
    // Given back at once: who has waited for it yields before it is used.
    drop(admin.turns.next().await);
    let headers = request.headers();
    if !host::is_named(request.version(), headers) {
        return refusal(StatusCode::BAD_REQUEST, host::MISSING.trim_end());
    }
    let address = named_address(admin.address, local);
    if !is_for(headers, address) {
        return refusal(StatusCode::MISDIRECTED_REQUEST, &format!("The Host must be {address}."));
    }
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return refusal(StatusCode::FORBIDDEN, "This is not for web pages.");
    }
    let given = headers
        .get(AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .and_then(|value| value.strip_prefix(b"Bearer "));
    if !given.is_some_and(|given| admin.token.is(given)) {
        let _turn = admin.wrong_tokens.lock().await;
        tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
        tracing::warn!(target: "voicemesh_signaling::audit", "admin: a request without the token was refused");
        let mut answer =
            refusal(StatusCode::UNAUTHORIZED, "Authorization: Bearer TOKEN is missing or wrong.");
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    has_token.0.store(true, Ordering::Relaxed);
    let mut answer = next.run(request).await;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// What requests must name as their Host: the address of --admin-listen; where that stands for
/// every address of the machine (`0.0.0.0`, `[::]`), the one at which their connection arrived.
fn named_address(listen: SocketAddr, local: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::new(local.ip().to_canonical(), local.port())
    } else {
        listen
    }
}

/// A name that leads here by a trick of DNS is another one. HTTP leaves its own port out.
fn is_for(headers: &HeaderMap, address: SocketAddr) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let full = address.to_string();
    host.as_bytes() == full.as_bytes()
        || full.strip_suffix(":80").is_some_and(|short| host.as_bytes() == short.as_bytes())
}

fn answer(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{value}\n")).into_response()
}

fn refusal(status: StatusCode, why: &str) -> Response {
    answer(status, &json!({ "error": why }))
}

async fn rooms(State(admin): State<Arc<Admin>>) -> Response {
    let rooms = admin.hub.signaling.room_sizes();
    tracing::info!(target: "voicemesh_signaling::audit", "admin: listed {} rooms", rooms.len());
    let rooms: Vec<Value> = rooms
        .into_iter()
        .map(|(room, members)| json!({ "room": room, "members": members }))
        .collect();
    answer(StatusCode::OK, &json!({ "rooms": rooms }))
}

/// The name of a room in a path, percent-encoded.
struct RoomInPath(String);

impl<S: Send + Sync> FromRequestParts<S> for RoomInPath {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let room = PathOf::<String>::from_request_parts(parts, state).await;
        room.map(|PathOf(room)| Self(room)).map_err(|_| {
            refusal(
                StatusCode::BAD_REQUEST,
                "The room's name must be UTF-8, percent-encoded, as in /rooms/tea%20room/members.",
            )
        })
    }
}

async fn members(State(admin): State<Arc<Admin>>, RoomInPath(room): RoomInPath) -> Response {
    let Some(members) = admin.hub.signaling.members_of(admin.hub.now(), &room) else {
        tracing::info!(target: "voicemesh_signaling::audit", "admin: members of a room that is not there");
        return no_room();
    };
    tracing::info!(target: "voicemesh_signaling::audit", "admin: listed {} members of a room", members.len());
    let members: Vec<Value> = members
        .into_iter()
        .map(|(member, subject)| {
            json!({
                "peer": member.peer, "name": member.name, "order": member.order,
                "permissions": member.permissions, "subject": subject,
            })
        })
        .collect();
    answer(StatusCode::OK, &json!({ "members": members }))
}

/// The body of a request about one peer.
fn peer_in(body: &[u8]) -> Option<PeerId> {
    #[derive(serde::Deserialize)]
    struct Named {
        peer: PeerId,
    }
    let named: Named = serde_json::from_slice(body).ok()?;
    Some(named.peer)
}

fn no_peer_named() -> Response {
    refusal(StatusCode::BAD_REQUEST, r#"The body must be {"peer":"PEER-ID"}."#)
}

async fn bans(State(admin): State<Arc<Admin>>, RoomInPath(room): RoomInPath) -> Response {
    let Some(bans) = admin.hub.signaling.bans_of(admin.hub.now(), &room) else {
        tracing::info!(target: "voicemesh_signaling::audit", "admin: bans of a room that is not there");
        return no_room();
    };
    tracing::info!(target: "voicemesh_signaling::audit", "admin: listed {} bans of a room", bans.len());
    let bans: Vec<Value> = bans
        .into_iter()
        .map(|ban| {
            json!({
                "peer": ban.peer, "name": ban.name, "subject": ban.subject, "binds_address": ban.binds_address,
                "seconds_left": ban.left.as_secs_f64().ceil(),
            })
        })
        .collect();
    answer(StatusCode::OK, &json!({ "bans": bans }))
}

async fn unban(
    State(admin): State<Arc<Admin>>,
    RoomInPath(room): RoomInPath,
    body: Bytes,
) -> Response {
    let Some(peer) = peer_in(&body) else { return no_peer_named() };
    let done = admin.hub.signaling.unban(admin.hub.now(), &room, peer);
    tracing::info!(target: "voicemesh_signaling::audit", "admin: unban {peer}: {}", if done == Some(true) { "done" } else { "not banned" });
    match done {
        Some(true) => answer(StatusCode::OK, &json!({ "unbanned": peer })),
        Some(false) => refusal(StatusCode::NOT_FOUND, "No such peer is banned from the room."),
        None => no_room(),
    }
}

async fn kick(
    State(admin): State<Arc<Admin>>,
    RoomInPath(room): RoomInPath,
    body: Bytes,
) -> Response {
    let Some(peer) = peer_in(&body) else { return no_peer_named() };
    let done = admin.hub.signaling.kick(admin.hub.now(), &room, peer);
    tracing::info!(target: "voicemesh_signaling::audit", "admin: kick {peer}: {}", if done == Some(true) { "done" } else { "not there" });
    match done {
        Some(true) => answer(StatusCode::OK, &json!({ "kicked": peer })),
        Some(false) => refusal(StatusCode::NOT_FOUND, "No such peer is in the room."),
        None => no_room(),
    }
}

async fn make_owner(
    State(admin): State<Arc<Admin>>,
    RoomInPath(room): RoomInPath,
    body: Bytes,
) -> Response {
    let Some(peer) = peer_in(&body) else { return no_peer_named() };
    let done = admin.hub.signaling.make_owner(admin.hub.now(), &room, peer);
    tracing::info!(target: "voicemesh_signaling::audit", "admin: make-owner {peer}: {}", if done == Some(true) { "done" } else { "not there" });
    match done {
        Some(true) => answer(StatusCode::OK, &json!({ "owner": peer })),
        Some(false) => refusal(StatusCode::NOT_FOUND, "No such peer is in the room."),
        None => no_room(),
    }
}

async fn drain(State(admin): State<Arc<Admin>>) -> Response {
    let connections = admin.hub.drain(DRAIN);
    tracing::info!(target: "voicemesh_signaling::audit", "admin: drain: {connections} connections told to come back later, no more joins");
    answer(StatusCode::OK, &json!({ "connections": connections }))
}

fn no_room() -> Response {
    refusal(StatusCode::NOT_FOUND, "No such room.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_compared_whole() {
        for short in ["", "short", "fifteen letters", "with a space in the middle of it"] {
            assert!(AdminToken::parse(short.as_bytes()).is_err(), "{short}");
        }
        let token = AdminToken::parse(b"0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "hidden");
    }
}
