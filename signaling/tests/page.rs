//! The web page over a real socket: what it is made of, how long it may be kept, and what bounds
//! it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Person, Server, http, http_bytes};
use voicemesh_signaling::{Config, ServeError};

/// Of the whole page: the three forms of its index and everything that it loads at a first visit.
/// Most of a kilobyte of it is what `uplink.wasm` knows of policers.
const MOST_BYTES_GZIP: usize = 166_500;
const MOST_BYTES_BROTLI: usize = 146_000;
/// Loaded when they are needed, and how large they may be with brotli.
const LATER: [(&str, usize); 10] = [
    ("look-alikes.js", 15_000),
    ("capture-rate-worklet.js", 500),
    ("resample.js", 1_000),
    // What encrypts, in every room: with a key it seals names as well; without one it also serves
    // members that cannot encrypt, and asks before the server hears what is said to them.
    ("keys.wasm", 54_000),
    ("encryption.js", 4_700),
    ("key-ring.js", 2_000),
    ("fingerprints.js", 1_000),
    ("known-members.js", 1_000),
    ("lock.js", 2_600),
    ("new-link.js", 1_300),
];

/// What a server answered.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Where the page says that its assets are.
    fn assets(&self) -> &str {
        let (_, rest) = self.body.split_once("assets/").expect("the page names an asset");
        let (version, _) = rest.split_once('/').expect("the asset has a name");
        version
    }
}

async fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let address = server.address;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"
    );
    let text = http(address, &request).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

async fn get(server: &Server, path: &str) -> Answer {
    ask(server, "GET", path, "").await
}

/// Head and body of an answer to a client that takes these encodings.
async fn ask_encoded(server: &Server, path: &str, accepted: &str) -> (Answer, Vec<u8>) {
    let address = server.address;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept-Encoding: {accepted}\r\n\r\n"
    );
    let bytes = http_bytes(address, &request).await;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head and a body");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (Answer { status, head, body: String::new() }, bytes[end + 4..].to_vec())
}

/// What an answer's body is when its encoding is undone.
fn decoded(answer: &Answer, body: &[u8]) -> Vec<u8> {
    let mut contents = Vec::new();
    match answer.header("content-encoding") {
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut contents),
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut contents),
        None => return body.to_vec(),
        Some(other) => panic!("{other} is sent"),
    }
    .expect("the encoding that is named");
    contents
}

fn web() -> PathBuf {
    PathBuf::from(voicemesh_web::SOURCE)
}

/// Every file below, relative to the top.
fn files(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path(), &format!("{name}/"))),
            false => found.push(name),
        }
    }
    found
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let mut number = [0; 8];
        getrandom::fill(&mut number).expect("random numbers");
        let path = std::env::temp_dir()
            .join(format!("voicemesh-page-{:016x}", u64::from_ne_bytes(number)));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file");
    }

    fn config(&self) -> Config {
        Config { web_dir: Some(self.0.clone()), ..Config::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn every_room_has_the_same_page_which_names_the_version_of_its_assets() {
    let server = Server::start().await;
    let page = get(&server, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.contains("voicemesh") && !page.body.contains("{{"), "{}", page.body);
    let version = page.assets();
    assert!(page.body.contains("\"assets/"), "{}", page.body);
    assert!(
        version.len() == 16 && version.chars().all(|digit| digit.is_ascii_hexdigit()),
        "{version}"
    );
    for room in [
        "/r/lobby",
        "/r/a%2Fb",
        "/r/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/r/100%25",
        "/r/lobby?mute=1",
    ] {
        let room = get(&server, room).await;
        let same = room.body.replace("\"../assets/", "\"assets/");
        assert_eq!(
            (room.status, &same),
            (200, &page.body),
            "no answer holds anything of its request"
        );
    }
}

#[tokio::test]
async fn every_file_of_the_page_is_served_and_kept_for_ever_its_scripts_without_comments() {
    let server = Server::start().await;
    let page = get(&server, "/").await;
    let types = [
        (".js", "text/javascript; charset=utf-8"),
        (".css", "text/css; charset=utf-8"),
        (".svg", "image/svg+xml"),
        (".json", "application/json"),
        (".webmanifest", "application/manifest+json"),
    ];
    let mut served = 0;
    for name in files(&web(), "") {
        let Some((_, media_type)) = types.iter().find(|(ending, _)| name.ends_with(ending)) else {
            continue;
        };
        let asset = get(&server, &format!("/assets/{}/{name}", page.assets())).await;
        assert_eq!(
            (asset.status, asset.header("content-type")),
            (200, Some(*media_type)),
            "{name}"
        );
        assert_eq!(
            asset.header("cache-control"),
            Some("public, max-age=31536000, immutable"),
            "{name}"
        );
        let source = std::fs::read_to_string(web().join(&name)).expect("a text");
        match name.ends_with(".js") || name.ends_with(".css") {
            true => assert!(
                (1..source.len()).contains(&asset.body.len()),
                "{name}: {} bytes",
                asset.body.len()
            ),
            false => assert!(asset.body == source, "{name} is another"),
        }
        assert!(!asset.body.contains("/**"), "{name} has comments");
        served += 1;
    }
    assert!(served > 0, "the page has scripts");
}

/// The crate that removes comments takes a pattern after `return` for a division, and two slashes
/// in it for a comment.
#[test]
fn no_script_returns_a_pattern_with_slashes() {
    for name in files(&web(), "").into_iter().filter(|name| name.ends_with(".js")) {
        let source = std::fs::read_to_string(web().join(&name)).expect("a text");
        let patterns = source.lines().filter_map(|line| line.split_once("return /"));
        for (_, pattern) in patterns {
            assert!(!pattern.contains("\\/"), "{name}: {pattern}");
        }
    }
}

#[tokio::test]
async fn everything_that_the_page_names_is_there() {
    let server = Server::start().await;
    let page = get(&server, "/").await;
    let base = format!("assets/{}/", page.assets());
    let named: Vec<&str> = page.body.split('"').filter(|text| text.starts_with(&base)).collect();
    assert!(!named.is_empty());
    for path in named {
        assert_eq!(get(&server, &format!("/{path}")).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_file_comes_in_the_smallest_form_that_is_taken_and_is_the_same_in_each() {
    let server = Server::start().await;
    let version = get(&server, "/").await.assets().to_owned();
    let mut paths = vec!["/".to_owned(), "/r/lobby".to_owned(), "/r/lobby/".to_owned()];
    paths.extend(
        files(&web(), "")
            .iter()
            .filter(|name| *name != "index.html")
            .map(|name| format!("/assets/{version}/{name}")),
    );
    let mut sent = [0; 3];
    for path in &paths {
        let (plain, body) = ask_encoded(&server, path, "identity").await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "{path}");
        let mut tags = vec![plain.header("etag").map(str::to_owned)];
        let mut sizes = [body.len(), 0, 0];
        for (at, accepted, encoding) in
            [(1, "gzip, deflate", "gzip"), (2, "gzip, deflate, br, zstd", "br")]
        {
            let (answer, compressed) = ask_encoded(&server, path, accepted).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("vary"), Some("accept-encoding"), "{path}");
            assert_eq!(answer.header("content-type"), plain.header("content-type"), "{path}");
            assert_eq!(answer.header("cache-control"), plain.header("cache-control"), "{path}");
            assert_eq!(
                answer.header("content-length"),
                Some(compressed.len().to_string().as_str()),
                "{path}"
            );
            assert!(decoded(&answer, &compressed) == body, "{path} is another in {accepted}");
            // A few bytes do not become fewer.
            let is_compressed = answer.header("content-encoding").is_some();
            assert!(is_compressed || body.len() < 200, "{path}");
            if is_compressed {
                assert_eq!(answer.header("content-encoding"), Some(encoding), "{path}");
                assert!(
                    compressed.len() < body.len(),
                    "{path}: {} of {}",
                    compressed.len(),
                    body.len()
                );
            }
            sizes[at] = compressed.len();
            tags.push(answer.header("etag").map(str::to_owned));
        }
        let later = LATER.into_iter().find(|(name, _)| path.ends_with(&format!("/{name}")));
        if let Some((later, most)) = later {
            println!(
                "{later}: {} bytes, {} with gzip, {} with brotli",
                sizes[0], sizes[1], sizes[2]
            );
            assert!(sizes[2] <= most, "{later}: {} with brotli", sizes[2]);
        } else {
            for (sum, size) in sent.iter_mut().zip(sizes) {
                *sum += size;
            }
        }
        // Each form has its own tag, and only that one is known of it.
        let is_index = !path.starts_with("/assets/");
        assert!(tags.iter().all(|tag| tag.is_some() == is_index), "{path}: {tags:?}");
        if is_index {
            assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
            for (tag, accepted, status) in
                [(2, "br", 304), (1, "gzip", 304), (1, "br", 200), (2, "identity", 200)]
            {
                let tag = tags[tag].as_deref().expect("a tag");
                let headers = format!("If-None-Match: {tag}\r\nAccept-Encoding: {accepted}\r\n");
                let answer = ask(&server, "HEAD", path, &headers).await;
                assert_eq!(
                    (answer.status, answer.header("vary")),
                    (status, Some("accept-encoding")),
                    "{path} {headers}"
                );
            }
        }
    }
    let [plain, gzip, brotli] = sent;
    println!("bytes: {plain} as they are, {gzip} with gzip, {brotli} with brotli");
    assert!(
        gzip <= MOST_BYTES_GZIP && brotli <= MOST_BYTES_BROTLI,
        "{gzip} with gzip, {brotli} with brotli"
    );
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let server = Server::start().await;
    let page = get(&server, "/r/lobby").await;
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let etag = page.header("etag").expect("it has a tag");
    let again = ask(&server, "GET", "/r/other", &format!("If-None-Match: W/{etag}\r\n")).await;
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(etag)));
    assert_eq!(again.header("cache-control"), Some("no-cache"));
    let changed = ask(&server, "GET", "/r/lobby", "If-None-Match: \"0123456789abcdef\"\r\n").await;
    assert_eq!((changed.status, &changed.body), (200, &page.body));
}

#[tokio::test]
async fn the_head_of_a_page_or_an_asset_comes_alone() {
    let server = Server::start().await;
    let page = get(&server, "/").await;
    let base = format!("assets/{}/", page.assets());
    let asset =
        page.body.split('"').find(|text| text.starts_with(&base)).expect("the page names an asset");
    let asset = format!("/{asset}");
    for path in ["/", "/r/lobby", &asset] {
        let (whole, head) = (get(&server, path).await, ask(&server, "HEAD", path, "").await);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        for name in
            ["content-length", "content-type", "cache-control", "etag", "content-security-policy"]
        {
            assert_eq!(head.header(name), whole.header(name), "{path}: {name}");
        }
        assert_eq!(whole.header("content-length"), Some(whole.body.len().to_string().as_str()));
    }
    assert_eq!(ask(&server, "POST", "/r/lobby", "Content-Length: 0\r\n").await.status, 405);
}

#[tokio::test]
async fn assets_of_another_version_and_unknown_ones_are_not_found_and_that_is_not_kept() {
    let server = Server::start().await;
    let page = get(&server, "/").await;
    let version = page.assets();
    let other = get(&server, "/assets/0123456789abcdef/main.js").await;
    assert_eq!(other.status, 404);
    assert!(other.body.contains("another version"), "{}", other.body);
    let mut unknown = vec!["/assets/".to_owned() + version];
    for name in [
        "nothing.js",
        "index.html",
        "../signaling/Cargo.toml",
        "%2e%2e/package.json",
        "view/",
        "..%5cmain.js",
    ] {
        unknown.push(format!("/assets/{version}/{name}"));
    }
    for path in unknown {
        let missing = get(&server, &path).await;
        assert_eq!(
            (missing.status, missing.header("cache-control")),
            (404, Some("no-store")),
            "{path}"
        );
        assert!(!missing.body.contains("another version"), "{path}");
    }
    assert_eq!(other.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn every_answer_of_the_page_bounds_what_it_may_do() {
    let server = Server::start().await;
    let page = get(&server, "/").await;
    let tag = page.header("etag").expect("it has a tag");
    let not_modified = ask(&server, "GET", "/", &format!("If-None-Match: {tag}\r\n")).await;
    let missing = get(&server, "/assets/0/main.js").await;
    for answer in [&page, &get(&server, "/r/lobby").await, &not_modified, &missing] {
        let policy = answer.header("content-security-policy").expect("a policy");
        let directives: Vec<&str> = policy.split("; ").collect();
        for wanted in [
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(directives.contains(&wanted), "{wanted} in {policy}");
        }
        // Compiling the page's own WebAssembly is all that is allowed beyond.
        let strict = policy.replace("'wasm-unsafe-eval'", "");
        assert!(
            !strict.contains("unsafe") && !strict.contains('*') && !policy.contains("  "),
            "{policy}"
        );
        let permissions = answer.header("permissions-policy").expect("permissions");
        for wanted in
            ["microphone=(self)", "screen-wake-lock=(self)", "camera=()", "geolocation=()"]
        {
            assert!(permissions.split(", ").any(|one| one == wanted), "{wanted} in {permissions}");
        }
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
    }
}

/// A browser ignores the policies of documents there, and they would be sent seventy times.
#[tokio::test]
async fn scripts_and_styles_have_no_policies_of_documents() {
    let server = Server::start().await;
    let page = get(&server, "/").await;
    for file in ["wire.js", "style.css"] {
        let answer = get(&server, &format!("/assets/{}/{file}", page.assets())).await;
        for (name, value) in [
            ("referrer-policy", Some("no-referrer")),
            ("x-content-type-options", Some("nosniff")),
            ("cross-origin-resource-policy", Some("same-origin")),
            ("content-security-policy", None),
            ("permissions-policy", None),
            ("cross-origin-opener-policy", None),
        ] {
            assert_eq!(answer.header(name), value, "{file}: {name}");
        }
    }
}

#[tokio::test]
async fn only_the_origins_that_the_operator_names_may_frame_the_page() {
    let embed_origins =
        vec!["https://club.example/".to_owned(), " http://127.0.0.1:8000".to_owned()];
    let server = Server::with(Config { embed_origins, ..Config::default() }).await;
    for path in ["/", "/r/lobby", "/no/such/path"] {
        let answer = get(&server, path).await;
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(
            policy.ends_with("; frame-ancestors https://club.example http://127.0.0.1:8000"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn a_folder_is_served_as_it_is_at_that_moment() {
    let folder = Folder::new();
    folder.write("index.html", "<script type=\"module\" src=\"{{assets}}/main.js\"></script>");
    folder.write("main.js", "one");
    folder.write("notes.md", "not for the page");
    let server = Server::with(folder.config()).await;
    let page = get(&server, "/r/lobby").await;
    assert_eq!(
        (page.assets(), page.header("cache-control"), page.header("etag")),
        ("dev", Some("no-store"), None)
    );
    assert_eq!(get(&server, "/assets/dev/main.js").await.body, "one");
    folder.write("main.js", "two");
    let changed = get(&server, "/assets/dev/main.js").await;
    assert_eq!((changed.body.as_str(), changed.header("cache-control")), ("two", Some("no-store")));
    folder.write("index.html", "<p>another page</p>");
    assert_eq!(get(&server, "/").await.body, "<p>another page</p>");
    for path in [
        "notes.md",
        "index.html",
        "../Cargo.toml",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        ".",
        "",
    ] {
        assert_eq!(get(&server, &format!("/assets/dev/{path}")).await.status, 404, "{path}");
    }
    std::fs::remove_file(folder.0.join("index.html")).expect("the file is there");
    assert_eq!(get(&server, "/").await.status, 404);
}

#[tokio::test]
async fn a_folder_without_a_page_is_named() {
    let folder = Folder::new();
    let Err(error) = Server::with(folder.config()).await.stop().await else { panic!("it started") };
    assert!(
        matches!(&error, ServeError::Config(wrong) if wrong.option == "--web-dir" && wrong.problem.contains("no such file")),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_without_a_page_still_says_what_it_is_and_serves_programs() {
    let server = Server::with(Config { no_web: true, ..Config::default() }).await;
    let page = get(&server, "/").await;
    assert!(
        page.status == 200
            && page.body.contains("voicemesh join")
            && !page.body.contains("<script")
    );
    for room in ["/r/lobby", "/r/tea%20time/"] {
        let page = get(&server, room).await;
        assert!(page.status == 404 && page.body.contains("The link is right"), "{}", page.body);
        assert!(page.body.contains("voicemesh join ADDRESS"), "{}", page.body);
    }
    for lost in ["/r/", "/r/a/b", "/lobby", "/r/%ff", "/r/%E0%A4%A", "/%"] {
        assert!(get(&server, lost).await.body.contains("There is no room at this"), "{lost}");
    }
    assert_eq!(get(&server, "/assets/dev/main.js").await.status, 404);
    assert_eq!(get(&server, "/healthz").await.status, 200);
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    assert_eq!(ana.expect_answer().await.len(), 1);
}

#[tokio::test]
async fn the_page_takes_nothing_from_the_servers_own_routes() {
    let server = Server::start().await;
    assert_eq!(get(&server, "/ws").await.status, 426);
    let health = get(&server, "/healthz").await;
    assert_eq!(
        (health.status, health.body.as_str(), health.header("cache-control")),
        (200, "ok\n", None)
    );
    assert!(get(&server, "/metrics").await.body.contains("voicemesh_connections 0"));
    for path in ["/r/%", "/r/%ff", "/r/%FF%00", "/r/%E0%A4%A/", "/r/100%"] {
        let page = get(&server, path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.body.contains("not written as in a link"), "{path}: {}", page.body);
        assert!(page.body.contains("Go to the lobby"), "{path}: {}", page.body);
    }
    for path in ["/r", "/r/", "/r/a/b", "/index.html", "/assets", "/favicon.ico"] {
        assert_eq!(get(&server, path).await.status, 404, "{path}");
    }
}

#[test]
fn the_program_has_the_flags() {
    let help = Command::new(env!("CARGO_BIN_EXE_voicemesh-signaling"))
        .arg("--help")
        .output()
        .expect("it runs");
    let help = String::from_utf8(help.stdout).expect("text");
    for flag in ["--web-dir <FOLDER>", "VOICEMESH_WEB_DIR", "--no-web", "VOICEMESH_NO_WEB"] {
        assert!(help.contains(flag), "{flag} in {help}");
    }
}
