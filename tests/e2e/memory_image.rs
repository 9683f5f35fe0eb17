//! What the memory of a server holds during a call that it relays.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ogg::PacketReader;
use voicemesh::{
    Event, Events, InputSpec, JoinOptions, MetadataTransaction, OutputSpec, Room, RoomEvent,
};
use voicemesh_tests::process::binary;
use voicemesh_tests::room::{Folder, Joining, PATIENCE, Server, leave, wait_for, wait_for_peer};
use voicemesh_tests::skip::refuse;

use crate::{alone, wait_until_heard, wait_until_heard_more};

const TEXT: &str = "the parcel lies under the third bridge, at noon";
/// The server has it in any case.
const ROOM: &str = "where the memory is searched";
const ADA: &str = "ada-of-the-lighthouse-keepers";
const BOB: &str = "bob-who-mends-the-fishing-nets";
const CARA: &str = "cara-from-the-other-riverbank";
const SEAT: &str = "the window seat in the second carriage";
const MAP: &str = "an old harbour with seven jetties";
const WINDOW_BYTES: usize = 16;
/// What is all but one byte again and again is in every memory.
const LEAST_DIFFERENT_BYTES: usize = 8;
/// The memory is looked at so often during the call, half a second apart.
const IMAGES: usize = 4;
/// A server that takes more is not the one of these tests.
const MOST_IMAGE_BYTES: u64 = 512 << 20;
/// The head and the comments come before sound.
const OGG_HEADERS: usize = 2;

/// What a process has written to, as it is now.
fn image_of(process: u32) -> io::Result<Vec<Vec<u8>>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let (mut parts, mut total) = (Vec::new(), 0);
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) =
            (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let (Some((from, to)), true) = (range.split_once('-'), rights.starts_with("rw")) else {
            continue;
        };
        let number = |hex| u64::from_str_radix(hex, 16).expect("an address");
        let (from, to) = (number(from), number(to));
        total += to - from;
        assert!(total < MOST_IMAGE_BYTES, "{maps}");
        let mut part = vec![0; usize::try_from(to - from).expect("it fits")];
        // What was unmapped since, or belongs to a device, is left out.
        if memory.read_exact_at(&mut part, from).is_ok() {
            parts.push(part);
        }
    }
    if parts.is_empty() { Err(io::Error::other("nothing could be read")) } else { Ok(parts) }
}

/// Windows of what must not be there, found by their first three bytes.
struct Wanted {
    windows: HashSet<[u8; WINDOW_BYTES]>,
    beginnings: Vec<u64>,
}

impl Wanted {
    fn new<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut wanted = Self { windows: HashSet::new(), beginnings: vec![0; 1 << 18] };
        for text in texts {
            for window in text.windows(WINDOW_BYTES) {
                let different: HashSet<u8> = window.iter().copied().collect();
                if different.len() >= LEAST_DIFFERENT_BYTES {
                    wanted.windows.insert(window.try_into().expect("of this length"));
                    let at = beginning(window);
                    wanted.beginnings[at / 64] |= 1 << (at % 64);
                }
            }
        }
        wanted
    }

    /// How many different ones are in an image.
    fn found_in(&self, images: &[Vec<Vec<u8>>]) -> usize {
        let mut found = HashSet::new();
        for window in images.iter().flatten().flat_map(|part| part.windows(WINDOW_BYTES)) {
            let at = beginning(window);
            if self.beginnings[at / 64] & (1 << (at % 64)) != 0
                && let Some(window) = self.windows.get(window)
            {
                found.insert(*window);
            }
        }
        found.len()
    }
}

fn beginning(window: &[u8]) -> usize {
    usize::from(window[0]) << 16 | usize::from(window[1]) << 8 | usize::from(window[2])
}

/// The frames of a recorded speaker.
fn recorded_frames(folder: &Path, speaker: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder).expect("a recording").map(|entry| entry.unwrap().path());
    let is_speakers =
        |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(speaker);
    let file = files.into_iter().find(is_speakers).expect("a file of the speaker");
    let mut reader = PacketReader::new(File::open(file).unwrap());
    let packets = std::iter::from_fn(|| reader.read_packet().unwrap());
    packets.skip(OGG_HEADERS).map(|packet| packet.data).collect()
}

/// How the members of a call encrypt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Unencrypted,
    WithoutKey,
    WithKey,
}

/// What was said and written in a call, and the server's memory during it; none if that cannot be
/// read here.
struct Call {
    frames: Vec<Vec<u8>>,
    images: Vec<Vec<Vec<u8>>>,
}

fn call(server: &Server, room: &str, folder: &Folder, secrecy: Secrecy) -> io::Result<Call> {
    let kept = folder.file("kept");
    let unencrypted = (secrecy == Secrecy::Unencrypted).then_some("--unencrypted");
    let join = |name| {
        let join = Joining::new(&server.url(), room, name).with(&["--relay-only"]);
        join.with(unencrypted.as_slice())
    };
    let recording = ["--record", kept.to_str().unwrap()];
    let (cara, mut events) =
        Room::join(publisher(server, room, folder, secrecy)).expect("Cara is let in");
    let is_done = |event: Event| match event {
        Event::Room(RoomEvent::TransactionDone { result, .. }) => Some(result),
        _ => None,
    };
    let map = MetadataTransaction::new().set("map", MAP);
    cara.lobby().set_room_metadata(map).expect("it is taken");
    wait_for_event(&mut events, is_done).expect("Cara owns the room");
    let mut bob = join(BOB).with(&recording).start(folder);
    wait_for(&mut bob, "connected");
    let mut ada = join(ADA).speaking_on("reader").start(folder);
    wait_until_heard(&mut bob, ADA, 25);
    wait_for_peer(&mut ada, "peer-joined", BOB);
    let mut names: Vec<String> = (0..2)
        .map(|_| {
            wait_for_event(&mut events, |event| match event {
                Event::Room(RoomEvent::PeerJoined { name, .. }) => Some(name),
                _ => None,
            })
        })
        .collect();
    names.sort();
    assert_eq!(names, [ADA, BOB], "she sees them");
    ada.type_line(TEXT);
    bob.wait_for("the text", PATIENCE, |json| json["event"] == "text" && json["text"] == TEXT);
    let mut images = Vec::new();
    for _ in 0..IMAGES {
        images.push(image_of(server.program.id())?);
        wait_until_heard_more(&mut bob, ADA, 25);
    }
    assert_eq!(cara.snapshot().room_metadata.get("map").map(String::as_str), Some(MAP));
    leave(ada);
    leave(bob);
    drop((cara, events));
    Ok(Call { frames: recorded_frames(&kept, "ada"), images })
}

/// Who publishes something, and has the room.
fn publisher(server: &Server, room: &str, folder: &Folder, secrecy: Secrecy) -> JoinOptions {
    let options = if room.contains("#k=") {
        JoinOptions::from_link(room).expect("a link")
    } else {
        JoinOptions::new(server.url(), room)
    };
    options
        .name(CARA)
        .encrypted(secrecy != Secrecy::Unencrypted)
        .metadata([("seat".to_owned(), SEAT.to_owned())].into())
        .input(InputSpec::Silence)
        .output(OutputSpec::Null)
        .relay_only(true)
        .state_dir(folder.file(CARA))
}

/// The first event that `pick` takes.
fn wait_for_event<T>(events: &mut Events, pick: impl Fn(Event) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        while let Some(event) = events.poll() {
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
        assert!(Instant::now() < deadline, "no such event");
        events.wait(Duration::from_millis(50));
    }
}

/// proves: B-04
#[test]
fn a_server_that_relays_an_encrypted_call_has_none_of_it_in_memory() {
    let _alone = alone();
    let test = "a_server_that_relays_an_encrypted_call_has_none_of_it_in_memory";
    for secrecy in [Secrecy::Unencrypted, Secrecy::WithoutKey, Secrecy::WithKey] {
        let folder = Folder::create("memory-image");
        let server = Server::start(&[]);
        let mut key = None;
        let room = if secrecy == Secrecy::WithKey {
            let mut made = Command::new(binary("voicemesh"));
            made.args(["link", ROOM, "--server", &server.url()]);
            let link = String::from_utf8(made.output().expect("it runs").stdout).expect("a link");
            key = link.trim().split_once("#k=").map(|(_, key)| key.to_owned());
            link.trim().to_owned()
        } else {
            ROOM.to_owned()
        };
        let call = match call(&server, &room, &folder, secrecy) {
            Ok(call) => call,
            Err(why) => {
                refuse(test, &format!("the server's memory cannot be read: {why}"));
                return;
            }
        };
        assert!(call.frames.len() > 100, "{} frames", call.frames.len());
        let speech = Wanted::new(call.frames.iter().map(Vec::as_slice)).found_in(&call.images);
        let text = Wanted::new([TEXT.as_bytes()]).found_in(&call.images);
        // With a key as without, the search finds what the server has.
        assert!(Wanted::new([ROOM.as_bytes()]).found_in(&call.images) > 0, "the room's name");
        let names = [ADA, BOB, CARA].map(|name| [name].map(str::as_bytes));
        let names = names.map(|name| Wanted::new(name).found_in(&call.images));
        let published = [SEAT, MAP].map(|value| [value].map(str::as_bytes));
        let published = published.map(|value| Wanted::new(value).found_in(&call.images));
        if let Some(key) = key {
            let bytes = URL_SAFE_NO_PAD.decode(&key).expect("a key");
            let found = Wanted::new([key.as_bytes(), &bytes]).found_in(&call.images);
            assert_eq!((speech, text, found), (0, 0, 0), "of speech, of the text, of the key");
            assert_eq!((names, published), ([0; 3], [0; 2]), "of names, of metadata");
        } else {
            // The same search finds what is there.
            if secrecy == Secrecy::Unencrypted {
                assert!(speech > 100 && text > 0, "{speech} of speech, {text} of the text");
            } else {
                assert_eq!((speech, text), (0, 0), "of speech, of the text");
            }
            assert!(
                names.iter().chain(&published).all(|found| *found > 0),
                "{names:?} {published:?}"
            );
        }
    }
}
