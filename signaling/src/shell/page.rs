//! The browser client over HTTP: one page for every room, its assets, and the headers that bound
//! what it may do.
//!
//! The page asks anew each time and names the version of its assets, which may be kept for ever.
//! Assets of any other version are not found: served instead, files of two versions would run
//! together and fail later and less clearly. Who meets that has an old page open from before an
//! update, and reloading it mends it.
//!
//! The room stands in the page's address for its scripts to read. The server does not look at it,
//! and puts nothing of a request into an answer. All addresses in the page are relative, so that a
//! proxy may serve it under any path.
//!
//! What the binary carries was compressed when it was built, and is sent in the smallest form that
//! the client takes.

mod encoding;
mod files;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::map_response_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use voicemesh_wire::invitation::percent_decoded;

use crate::config::key_file::{file_fault, named};
use crate::config::{Config, ConfigError};
use encoding::{Accepted, Encoding};
use files::{Contents, Files, INDEX};

/// The page's own server is the only place that it loads from and connects to. `'self'` covers the
/// WebSocket of the same host in Chromium 70, Firefox, and Safari 16; what else the page needs,
/// WebCodecs for sound, came to each of them later. Connections between peers are not bound by it.
/// `'wasm-unsafe-eval'` allows WebAssembly and nothing else; a browser that does not know it goes
/// without.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors ";

/// What a voice needs, and nothing else that a browser asks people about. Only names that Chromium
/// knows: of others it complains in the console.
const PERMISSIONS: &str = "microphone=(self), speaker-selection=(self), screen-wake-lock=(self), accelerometer=(), \
    camera=(), clipboard-read=(), display-capture=(), encrypted-media=(), geolocation=(), gyroscope=(), hid=(), \
    idle-detection=(), local-fonts=(), magnetometer=(), midi=(), payment=(), serial=(), usb=(), xr-spatial-tracking=()";

/// Sent with every answer of the page's routes that a browser may show as a document. Of a script, a
/// style or a module it ignores them, and with seventy of those they were a third of a first visit.
const OF_DOCUMENTS: [(HeaderName, HeaderValue); 2] = [
    (HeaderName::from_static("permissions-policy"), HeaderValue::from_static(PERMISSIONS)),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];
/// Types that a browser shows as text at most, because of `nosniff`.
const NO_DOCUMENTS: [&str; 3] = ["text/javascript", "text/css", "application/wasm"];

/// Sent with every answer of the page's routes.
const BOUNDS: [(HeaderName, HeaderValue); 3] = [
    // Other sites must not learn a room's name.
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

const NO_ROOM: [&str; 2] = [
    "There is no room at this address",
    "An invitation ends in <code>/r/</code> and the name of a room. Perhaps a part of it got lost.",
];
const NOT_ENCODED: [&str; 2] = [
    "There is no room at this address",
    "What stands behind <code>/r/</code> is not written as in a link: a <code>%</code> in it stands for nothing. \
     Perhaps a part of the invitation got lost.",
];
const NO_PAGE_FOR_ROOM: [&str; 2] = [
    "This server shows no page",
    "The link is right, but here rooms are joined with the program: \
     <code>voicemesh join ADDRESS</code>, with the whole address of this page.",
];

/// As far up as an address leads to the lobby.
const DEEPEST: usize = 16;

const ASK_ANEW: HeaderValue = HeaderValue::from_static("no-cache");
const KEEP_FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const DO_NOT_KEEP: HeaderValue = HeaderValue::from_static("no-store");

/// The page as this server serves it.
#[derive(Debug)]
pub(super) struct Page {
    files: Files,
    policy: HeaderValue,
}

impl Page {
    /// The page that the configuration wants, if it wants one.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, ConfigError> {
        let files = match &config.web_dir {
            _ if config.no_web => return Ok(None),
            None => Files::Embedded,
            Some(folder) => {
                let index = folder.join(INDEX);
                std::fs::metadata(&index).map_err(|error| ConfigError {
                    option: "--web-dir",
                    variable: "VOICEMESH_WEB_DIR",
                    problem: format!(
                        "{}; name the folder of the page",
                        named(&index, &file_fault(&error))
                    ),
                })?;
                Files::Folder(folder.clone())
            }
        };
        Ok(Some(Self { files, policy: policy(config) }))
    }

    /// The page and everything that it loads.
    pub(super) fn routes(page: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/r/{room}", get(index))
            .route("/r/{room}/", get(index))
            .route("/assets/{*path}", get(asset))
            .layer(map_response_with_state(Arc::clone(page), bound))
            .with_state(Arc::clone(page))
    }

    /// Changes when the page or anything that it loads does, and differs with the encoding (RFC
    /// 9110, section 8.8.3.3).
    fn etag(&self, encoding: Encoding) -> Option<HeaderValue> {
        let version = self.files.version();
        let quoted = match encoding.name() {
            Some(name) => format!("\"{version}-{name}\""),
            None => format!("\"{version}\""),
        };
        self.files.are_fixed().then(|| HeaderValue::try_from(quoted).ok())?
    }
}

async fn index(State(page): State<Arc<Page>>, uri: Uri, headers: HeaderMap) -> Response {
    if !is_encoded(uri.path()) {
        return no_room(Some(&page), uri.path());
    }
    let Some(contents) = page.files.index(to_lobby(uri.path()), accepted(&headers)).await else {
        return not_found("There is no page here.\n");
    };
    let etag = page.etag(contents.encoding);
    let caching = if page.files.are_fixed() { ASK_ANEW } else { DO_NOT_KEEP };
    let mut response = if etag.as_ref().is_some_and(|etag| matches(&headers, etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        encoded(contents, "text/html; charset=utf-8")
    };
    response.headers_mut().insert(CACHE_CONTROL, caching);
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// Looks at the path as it was sent: no asset has a name that needs an escape.
async fn asset(State(page): State<Arc<Page>>, uri: Uri, headers: HeaderMap) -> Response {
    let named = uri.path().strip_prefix("/assets/").and_then(|path| path.split_once('/'));
    let Some((version, name)) = named else { return not_found("There is no such file.\n") };
    if version != page.files.version() {
        return not_found("This page belongs to another version of the server; reload it.\n");
    }
    let Some((contents, media_type)) = page.files.asset(name, accepted(&headers)).await else {
        return not_found("There is no such file.\n");
    };
    let caching = if page.files.are_fixed() { KEEP_FOR_EVER } else { DO_NOT_KEEP };
    let mut response = encoded(contents, media_type);
    response.headers_mut().insert(CACHE_CONTROL, caching);
    response
}

fn accepted(headers: &HeaderMap) -> Accepted {
    Accepted::of(
        headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok()),
    )
}

fn encoded(contents: Contents, media_type: &'static str) -> Response {
    let mut response = contents.bytes.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Some(name) = contents.encoding.name() {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
}

/// From a path to the lobby, relative: a proxy may show the browser another path in front of it,
/// which neither the page nor the server needs to know.
fn to_lobby(path: &str) -> Cow<'static, str> {
    match path.bytes().filter(|byte| *byte == b'/').count() {
        0 | 1 => Cow::Borrowed(""),
        2 => Cow::Borrowed("../"),
        3 => Cow::Borrowed("../../"),
        // No link leads this deep, and the length of the answer must not grow with that of the
        // request.
        deep => Cow::Owned("../".repeat((deep - 1).min(DEEPEST))),
    }
}

/// The answer for an address that is neither a room nor a file, with a way to the lobby; or for a
/// room's, from a server that has no page for it.
pub(super) fn no_room(page: Option<&Page>, path: &str) -> Response {
    let lobby = to_lobby(path);
    let [heading, text] = match (is_room(path), is_encoded(path)) {
        (true, false) => NOT_ENCODED,
        (true, true) if page.is_none() => NO_PAGE_FOR_ROOM,
        _ => NO_ROOM,
    };
    let style = page.map(|page| {
        format!("<link rel=stylesheet href=\"{lobby}assets/{}/style.css\">", page.files.version())
    });
    let text = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta name=color-scheme content=\"light dark\"><title>{heading} · voicemesh</title>{}\
         <main class=lobby><div class=\"card ending\"><h1>{heading}</h1><p>{text}</p>\
         <p><a href=\"{}\">Go to the lobby</a></p></div></main></html>\n",
        style.unwrap_or_default(),
        if lobby.is_empty() { "./" } else { &lobby },
    );
    let mut response =
        (StatusCode::NOT_FOUND, [(CACHE_CONTROL, DO_NOT_KEEP)], Html(text)).into_response();
    let policy = page.map_or_else(|| policy(&Config::default()), |page| page.policy.clone());
    bound_by(&policy, response.headers_mut());
    response
}

/// Whether a path is that of a room, as the page's routes know it.
fn is_room(path: &str) -> bool {
    let room = path.strip_prefix("/r/").map(|room| room.strip_suffix('/').unwrap_or(room));
    room.is_some_and(|room| !room.is_empty() && !room.contains('/'))
}

/// Whether every `%` in it stands for a byte, and they are text in UTF-8.
fn is_encoded(path: &str) -> bool {
    percent_decoded(path).is_some()
}

fn not_found(why: &'static str) -> Response {
    (StatusCode::NOT_FOUND, [(CACHE_CONTROL, DO_NOT_KEEP)], why).into_response()
}

async fn bound(State(page): State<Arc<Page>>, mut response: Response) -> Response {
    bound_by(&page.policy, response.headers_mut());
    // Of a folder too: what is carried may take its place at the same address.
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Adds what an answer may do in a browser.
fn bound_by(policy: &HeaderValue, headers: &mut HeaderMap) {
    headers.extend(BOUNDS);
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !NO_DOCUMENTS.contains(&kind) {
        headers.extend(OF_DOCUMENTS);
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    }
}

/// The policy of a page that the configured origins may show in a frame, and no others.
fn policy(config: &Config) -> HeaderValue {
    let mut ancestors: Vec<&str> = config.embedding_origins().collect();
    if ancestors.is_empty() {
        ancestors.push("'none'");
    }
    let text = format!("{POLICY}{}", ancestors.join(" "));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// RFC 9110 §13.1.2: whether the client has this version already. Proxies that compress make our
/// tag a weak one.
fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    let values = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sent: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(IF_NONE_MATCH, value.parse().expect("a header"));
        }
        matches(&headers, &HeaderValue::from_static("\"abc\""))
    }

    #[test]
    fn a_tag_is_known_weak_or_in_a_list() {
        assert!(known(&["\"abc\""]) && known(&["W/\"abc\""]) && known(&["*"]));
        assert!(known(&["\"x\", \"abc\""]) && known(&["\"x\"", "W/\"abc\""]));
        assert!(!known(&[]) && !known(&["\"abcd\""]) && !known(&["abc"]) && !known(&["w/\"abc\""]));
    }

    #[test]
    fn every_path_leads_to_the_lobby_within_bounds() {
        for (path, lobby) in [
            ("/", ""),
            ("/x", ""),
            ("/r/lobby", "../"),
            ("/r/lobby/", "../../"),
            ("/a/b/c/d", "../../../"),
        ] {
            assert_eq!(to_lobby(path), lobby, "{path}");
        }
        assert_eq!(to_lobby(&"/".repeat(9_000)).len(), 3 * DEEPEST);
    }

    #[test]
    fn a_server_without_a_page_has_none_whatever_the_folder() {
        let none = Config { no_web: true, web_dir: Some("/nowhere".into()), ..Config::default() };
        assert!(Page::of(&none).expect("nothing is read").is_none());
        let missing = Config { web_dir: Some("/nowhere".into()), ..Config::default() };
        let Err(error) = Page::of(&missing) else { panic!("there is no such folder") };
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}
