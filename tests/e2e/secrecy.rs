//! What those see who listen in between, and what peers see of each other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{
    Folder, Joining, PATIENCE, Server, finish, leave, wait_for, wait_for_peer, wait_for_route,
};

use crate::tap::Tap;
use crate::{alone, assert_heard};

const TEXT: &str = "the third bridge, at noon";
/// The beginning of a WebRTC address as peers tell it to each other.
const CANDIDATE: &[u8] = b"candidate:";
/// Part of every description of a link.
const UFRAG: &[u8] = b"a=ice-ufrag:";

/// A self-signed certificate for this machine, which only peers that name it trust.
struct Certificate {
    file: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn of(folder: &Folder) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (file, key) = (folder.file("server.pem"), folder.file("server.key"));
        std::fs::write(&file, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { file, key }
    }

    fn serve(&self) -> Server {
        Server::start(&["--tls-cert", text(&self.file), "--tls-key", text(&self.key)])
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// By this name the certificate knows the server.
fn secured(address: SocketAddr) -> String {
    format!("wss://localhost:{}", address.port())
}

/// The first bytes of a packet of speech in the session that a peer has joined.
fn beginning_of_speech(program: &mut Program) -> Vec<u8> {
    let session = wait_for(program, "joined").json["session"].as_u64().unwrap();
    let session = u32::try_from(session).unwrap();
    [&[0x8B, 0xC7, 2][..], &session.to_be_bytes()].concat()
}

/// Ada speaks once and writes; Bob hears and reads it. Gives the beginning of each packet of
/// speech.
fn converse(url: &str, room: &str, folder: &Folder, more: &[&str]) -> Vec<u8> {
    let join = |name| Joining::new(url, room, name).with(&["--relay-only"]).with(more);
    let mut bob = join("bob").hearing_into(&folder.file("bob.wav")).start(folder);
    let speech = beginning_of_speech(&mut bob);
    wait_for(&mut bob, "connected");
    let mut ada = join("ada").speaking("reader").with(&["--duration", "8"]).start(folder);
    wait_for_peer(&mut bob, "first-heard", "ada");
    ada.type_line(TEXT);
    bob.wait_for("the text", PATIENCE, |json| json["event"] == "text" && json["text"] == TEXT);
    finish(&mut ada);
    leave(bob);
    assert_heard("reader", &folder.file("bob.wav"));
    speech
}

/// proves: S-15, U-22
#[test]
fn with_a_certificate_neither_text_nor_speech_shows_on_the_wire() {
    let _alone = alone();
    let folder = Folder::create("secured");
    let certificate = Certificate::of(&folder);
    let server = certificate.serve();
    let tap = Tap::before(server.address);
    let speech = converse(
        &secured(tap.address),
        "secret",
        &folder,
        &["--unencrypted", "--ca", text(&certificate.file)],
    );
    assert_eq!((tap.count(TEXT.as_bytes()), tap.count(&speech)), (0, 0));
    drop(server);

    // The same without one: what was looked for is what would be there.
    let folder = Folder::create("plain");
    let server = Server::start(&[]);
    let tap = Tap::before(server.address);
    let speech = converse(&format!("ws://{}", tap.address), "secret", &folder, &["--unencrypted"]);
    assert!(
        tap.count(TEXT.as_bytes()) == 1 && tap.count(&speech) > 250,
        "{} packets",
        tap.count(&speech)
    );
}

/// Of those who joined by a link with a key: the server reads no text, and who has no key gets none
/// and hears nothing. The key is in no output.
#[test]
fn what_is_said_behind_a_link_with_a_key_is_for_those_who_have_it() {
    let _alone = alone();
    let folder = Folder::create("key");
    let server = Server::start(&[]);
    let tap = Tap::before(server.address);
    let url = format!("ws://{}", tap.address);
    let mut command = Command::new(binary("voicemesh"));
    let made = command.args(["link", "secret", "--server", &url]).output().expect("it runs");
    let link = String::from_utf8(made.stdout).expect("a link");
    let (link, key) = (link.trim(), link.trim().split("#k=").last().expect("a key"));
    assert!(link.starts_with(&format!("http://{}/r/secret#k=", tap.address)), "{link}");

    let without = Joining::new(&url, "secret", "cyd").hearing_into(&folder.file("cyd.wav"));
    let mut cyd = without.with(&["--unencrypted"]).start(&folder);
    wait_for(&mut cyd, "connected");
    let mut dan = Joining::new(&url, link, "dan").start(&folder);
    let left_out = dan.wait_for("who is left out", PATIENCE, |json| {
        json["event"] == "encryption-changed" && json["encryption"] == "unable"
    });
    // No one with the key vouches for a name.
    assert_eq!(left_out.json["name"], "Member");

    // The beginning of a packet of speech stays readable: the relay needs it.
    converse(&url, link, &folder, &[]);
    assert_eq!((tap.count(TEXT.as_bytes()), tap.count(key.as_bytes())), (0, 0));
    dan.wait_for("the text", PATIENCE, |json| json["text"] == TEXT);
    assert!(cyd.events().iter().all(|event| event.json["event"] != "text"), "{}", cyd.transcript());
    for program in [dan, cyd] {
        assert!(!program.transcript().contains(key), "{}", program.transcript());
        leave(program);
    }
    let silence = voicemesh_tests::room::heard(&folder.file("cyd.wav"));
    assert!(silence.iter().all(|sample| *sample == 0.0), "who has no key hears nothing");
}

/// In a room without a key all is encrypted, and who cannot encrypt hears those who let the server
/// hear it.
#[test]
fn who_cannot_encrypt_hears_those_who_let_the_server_hear_and_reads_nothing() {
    let _alone = alone();
    let folder = Folder::create("consent");
    let server = Server::start(&[]);
    let tap = Tap::before(server.address);
    let url = format!("ws://{}", tap.address);
    let join = |name| Joining::new(&url, "consent", name).with(&["--relay-only"]);
    let mut bob = join("bob").start(&folder);
    wait_for(&mut bob, "connected");
    let mut eve = join("eve").with(&["--unencrypted"]).speaking_on("numbers").start(&folder);
    wait_for_peer(&mut bob, "peer-joined", "eve");
    let mut ada = join("ada").speaking_on("reader").start(&folder);
    let eve_is = |ada: &mut Program, encryption: &str| {
        ada.wait_for(encryption, PATIENCE, |json| {
            json["event"] == "encryption-changed"
                && json["name"] == "eve"
                && json["encryption"] == encryption
        });
    };
    eve_is(&mut ada, "unable");
    // Ada hears Eve, and has spoken for as long as Bob has heard her: to Eve she has not.
    wait_for_peer(&mut ada, "first-heard", "eve");
    crate::wait_until_heard(&mut bob, "ada", 50);
    let hears_ada =
        |event: &serde_json::Value| event["event"] == "first-heard" && event["name"] == "ada";
    assert!(!eve.events().iter().any(|event| hears_ada(&event.json)), "{}", eve.transcript());

    ada.type_line("/allow eve");
    eve_is(&mut ada, "unencrypted");
    crate::wait_until_heard(&mut eve, "ada", 50);
    ada.type_line(TEXT);
    bob.wait_for("the text", PATIENCE, |json| json["event"] == "text" && json["text"] == TEXT);
    assert_eq!(tap.count(TEXT.as_bytes()), 0);
    ada.type_line("/disallow eve");
    eve_is(&mut ada, "unable");
    leave(ada);
    leave(bob);
    assert!(eve.events().iter().all(|event| event.json["event"] != "text"), "{}", eve.transcript());
    leave(eve);
}

/// One leaves, another comes, and who is told of that writes at once. What no one can read is
/// told to its author.
#[test]
fn what_is_written_as_soon_as_one_may_arrives_or_comes_back() {
    let _alone = alone();
    let folder = Folder::create("at-once");
    let server = Server::start(&[]);
    let mut command = Command::new(binary("voicemesh"));
    let made = command.args(["link", "at-once", "--server", &server.url()]).output();
    let link = String::from_utf8(made.expect("it runs").stdout).expect("a link");
    let joining = |room: &str, name: &str| Joining::new(&server.url(), room, name).start(&folder);
    let mut ada = joining(link.trim(), "ada");
    wait_for(&mut ada, "connected");
    ada.type_line("I am alone");
    ada.wait_for("that no one gets it", PATIENCE, |json| {
        json["message"] == "Not sent: no one else is here."
    });
    let mut before: Option<voicemesh_tests::process::Program> = None;
    for name in ["bob", "cyd", "dan"] {
        if let Some(former) = before.take() {
            leave(former);
            wait_for(&mut ada, "peer-left");
        }
        let mut next = joining(link.trim(), name);
        wait_for_peer(&mut ada, "peer-joined", name);
        ada.type_line(&format!("hello, {name}"));
        next.wait_for("the text", PATIENCE, |json| json["text"] == format!("hello, {name}"));
        before = Some(next);
    }
    let mut dan = before.expect("the last one");
    leave(dan);
    wait_for(&mut ada, "peer-left");
    dan = Joining::new(&server.url(), "at-once", "dan").with(&["--unencrypted"]).start(&folder);
    wait_for_peer(&mut ada, "peer-joined", "Member");
    ada.type_line("can you read this?");
    let unread = ada.wait_for("that it is not read", PATIENCE, |json| {
        let said = json["message"].as_str().unwrap_or_default();
        json["text"] == "can you read this?" || said.contains("Member cannot read it")
    });
    assert!(unread.json.to_string().contains("Not sent"), "{}", unread.json);
    assert!(dan.events().iter().all(|event| event.json["event"] != "text"), "{}", dan.transcript());
    [ada, dan].into_iter().for_each(|program| drop(leave(program)));
}

/// proves: S-15
#[test]
fn a_certificate_without_a_trusted_issuer_is_refused() {
    let _alone = alone();
    let folder = Folder::create("unknown");
    let server = Certificate::of(&folder).serve();
    let ada =
        Joining::new(&secured(server.address), "secret", "ada").with(&["--give-up-after", "1"]);
    let mut ada = ada.start(&folder);
    let why =
        wait_for(&mut ada, "server-away").json["why"].as_str().unwrap_or_default().to_lowercase();
    assert!(why.contains("certificate"), "{why}");
    assert_eq!(ada.wait_for_exit(PATIENCE).code(), Some(3));
}

/// A link is encrypted between the keys whose fingerprints the introduction names: none goes
/// without.
///
/// proves: S-15
#[test]
fn every_introduction_names_the_key_of_its_link() {
    let _alone = alone();
    let folder = Folder::create("introduced");
    let server = Server::start(&[]);
    let tap = Tap::before(server.address);
    let join = |name| Joining::new(&format!("ws://{}", tap.address), "keys", name).start(&folder);
    let (mut ada, mut bob) = (join("ada"), join("bob"));
    wait_for_route(&mut ada, "bob", "direct");
    wait_for_route(&mut bob, "ada", "direct");
    let descriptions = tap.count(b"v=0\\r\\n");
    assert!(descriptions >= 2, "an offer and an answer, but {descriptions}");
    assert_eq!(tap.count(b"a=fingerprint:sha-256 "), descriptions);
    assert_eq!(tap.count(b"UDP/DTLS/SCTP"), descriptions);
    // What the next test must not find is there to be found.
    assert!(tap.count(CANDIDATE) > 0 && tap.count(UFRAG) > 0);
    #[cfg(target_os = "linux")]
    assert!(udp_sockets(&ada) > 0);
    leave(ada);
    leave(bob);
}

/// proves: S-14
#[test]
fn a_relay_only_peer_reveals_no_address() {
    let _alone = alone();
    let relay_only = &["--relay-only"][..];
    for (server, ada, bob) in
        [(&[][..], relay_only, &[][..]), (&[], relay_only, relay_only), (relay_only, &[], &[])]
    {
        let folder = Folder::create("hidden");
        let server = Server::start(server);
        let tap = Tap::before(server.address);
        let join = |name| Joining::new(&format!("ws://{}", tap.address), "hidden", name);
        let mut ada = join("ada").speaking_on("reader").with(ada).start(&folder);
        wait_for(&mut ada, "connected");
        let mut bob = join("bob").speaking_on("numbers").with(bob).start(&folder);
        // Either of them has been heard for a while: what there is to be told has been.
        crate::wait_until_heard(&mut bob, "ada", 50);
        crate::wait_until_heard(&mut ada, "bob", 50);
        assert_eq!((tap.count(CANDIDATE), tap.count(UFRAG)), (0, 0));
        #[cfg(target_os = "linux")]
        assert_eq!(udp_sockets(&ada), 0, "nor does she listen for anybody");
        for (program, other) in [(ada, "bob"), (bob, "ada")] {
            let summary = leave(program);
            assert!(
                voicemesh_tests::room::of_peer(&summary, other)["direct_ms"].is_null(),
                "{summary}"
            );
        }
    }
}

/// How many UDP sockets a program has open.
#[cfg(target_os = "linux")]
fn udp_sockets(program: &Program) -> usize {
    let process = format!("/proc/{}", program.id());
    let tables = ["udp", "udp6"]
        .map(|table| std::fs::read_to_string(format!("{process}/net/{table}")).unwrap());
    let known: Vec<&str> =
        tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(inode).collect();
    let open = std::fs::read_dir(format!("{process}/fd")).unwrap().flatten();
    let open = open.filter_map(|entry| {
        std::fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()
    });
    open.filter(|target| {
        let socket = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        socket.is_some_and(|socket| known.contains(&socket))
    })
    .count()
}

/// The tenth column of a line of a socket table.
#[cfg(target_os = "linux")]
fn inode(line: &str) -> Option<&str> {
    line.split_whitespace().nth(9)
}
