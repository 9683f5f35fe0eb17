//! Recordings of a room, as their files are played afterwards.

use std::fs::File;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use audiopus::coder::Decoder;
use audiopus::packet::Packet;
use audiopus::{Channels, MutSignals, SampleRate};
use ogg::PacketReader;
use voicemesh_tests::hear::{Floor, compare};
use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{
    Folder, Joining, PATIENCE, Server, finish, heard, leave, of_peer, wait_for, wait_for_peer,
    wait_for_route,
};
use voicemesh_tests::speech;

use crate::{alone, status};

/// The head and the comments come before sound.
const HEADERS: usize = 2;
/// The longest Opus packet, 120 ms.
const LONGEST: usize = 5_760;

/// What a player plays of an Ogg/Opus file.
fn played(file: &Path) -> Vec<f32> {
    let mut reader = PacketReader::new(
        File::open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
    );
    let mut decoder = Decoder::new(SampleRate::Hz48000, Channels::Mono).unwrap();
    let (mut samples, mut number) = (Vec::new(), 0);
    while let Some(packet) = reader.read_packet().unwrap() {
        number += 1;
        if number > HEADERS {
            let mut block = vec![0.0; LONGEST];
            let packet = Packet::try_from(&packet.data[..]).unwrap();
            let length = decoder
                .decode_float(Some(packet), MutSignals::try_from(&mut block[..]).unwrap(), false)
                .unwrap();
            samples.extend_from_slice(&block[..length]);
        }
    }
    samples
}

/// The only file of a speaker.
fn file_of(folder: &Path, speaker: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let own = |path: &std::path::PathBuf| {
        path.file_name().unwrap().to_string_lossy().starts_with(speaker)
    };
    let found: Vec<_> = files.filter(own).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn sees_recording(program: &mut Program, name: &str) -> bool {
    of_peer(&status(program), name)["recording"] == true
}

/// proves: B-09
#[test]
fn a_recording_holds_each_speaker_apart_and_everyone_sees_that_it_is_kept() {
    let _alone = alone();
    let folder = Folder::create("recording");
    let kept = folder.file("kept");
    let server = Server::start(&[]);
    let join = |name: &str| Joining::new(&server.url(), "recording", name);
    let mut bob = join("bob").hearing_into(&folder.file("bob.wav")).start(&folder);
    wait_for(&mut bob, "connected");
    let arguments = ["--record", kept.to_str().unwrap()];
    let mut ada = join("ada").with(&arguments).start(&folder);
    wait_for_route(&mut bob, "ada", "direct");
    assert!(sees_recording(&mut bob, "ada") && !sees_recording(&mut ada, "bob"));
    let mut cyd = join("cyd").speaking("cards").with(&["--duration", "9"]).start(&folder);
    wait_for_route(&mut cyd, "ada", "direct");
    assert!(sees_recording(&mut cyd, "ada"), "who comes later sees it too");
    let mut dan = join("dan").speaking("announcer").with(&["--duration", "9"]).start(&folder);
    finish(&mut cyd);
    finish(&mut dan);
    leave(ada);
    leave(bob);

    let mut begins = Vec::new();
    for (speaker, voice) in [("cyd", "cards"), ("dan", "announcer")] {
        let spoken = speech::load(voice);
        let hearing = compare(&spoken, &played(&file_of(&kept, speaker)));
        hearing
            .verdict(&Floor::default())
            .unwrap_or_else(|why| panic!("{speaker}: {why} ({hearing})"));
        begins.push(hearing.delay_ms);
    }
    // Cyd's words begin as far before Dan's in the files as they did in the room, where Bob heard
    // both at once.
    let room = heard(&folder.file("bob.wav"));
    let in_room = compare(&speech::load("announcer"), &room).delay_ms
        - compare(&speech::load("cards"), &room).delay_ms;
    let in_files = begins[1] - begins[0];
    assert!(
        (in_room - in_files).abs() < 150.0,
        "{in_room} ms apart in the room, {in_files} ms in the files"
    );
}

/// Who records and who echoes are members, with the keys of members.
///
/// proves: B-09
#[test]
fn behind_a_link_with_a_key_an_echo_answers_and_a_recording_holds_what_was_said() {
    let _alone = alone();
    let folder = Folder::create("recording-key");
    let (kept, file) = (folder.file("kept"), folder.file("ada.wav"));
    let server = Server::start(&[]);
    let mut made = Command::new(binary("voicemesh"));
    let made = made.args(["link", "kept", "--server", &server.url()]).output().expect("it runs");
    let link = String::from_utf8(made.stdout).expect("a link");
    let link = link.trim();
    let mut echo = Command::new(binary("voicemesh"));
    echo.args(["echo", link, "--json"]).arg("--state-dir").arg(folder.file("echo"));
    let mut echo = Program::start("echo", echo);
    wait_for(&mut echo, "connected");
    let recording = ["--record", kept.to_str().unwrap()];
    let mut bob = Joining::new(&server.url(), link, "bob").with(&recording).start(&folder);
    wait_for(&mut bob, "connected");
    let ada = Joining::new(&server.url(), link, "ada").speaking("cards").hearing_into(&file);
    let mut ada = ada.with(&["--duration", "10"]).start(&folder);
    wait_for_route(&mut bob, "ada", "direct");
    assert!(sees_recording(&mut ada, "bob"));
    finish(&mut ada);
    leave(bob);
    let said = speech::load("cards");
    for (what, sound) in [("echo", heard(&file)), ("recording", played(&file_of(&kept, "ada")))] {
        let hearing = compare(&said, &sound);
        hearing
            .verdict(&Floor::default())
            .unwrap_or_else(|why| panic!("{what}: {why} ({hearing})"));
    }
}

/// Names of what is in a folder; none if there is no folder.
fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until it is said that nothing is recorded, in an answer or an event, and why.
fn wait_for_refusal(program: &mut Program) -> String {
    let event = program.wait_for("that nothing is recorded", PATIENCE, |json| {
        json["event"] == "recording-failed"
            || json["event"] == "notice"
                && json["message"].as_str().is_some_and(|text| text.contains("is recorded: "))
    });
    let text = |key: &str| event.json[key].as_str().map(str::to_owned);
    text("why").or_else(|| text("message")).unwrap()
}

#[test]
fn nothing_is_recorded_while_the_others_cannot_see_that_it_is() {
    let _alone = alone();
    let folder = Folder::create("recording-away");
    let kept = folder.file("kept");
    let record = format!("/record {}", kept.display());
    let mut server = Server::start(&[]);
    let join = |name: &str| Joining::new(&server.url(), "recording", name);
    let mut bob = join("bob").speaking_on("reader").start(&folder);
    let mut ada = join("ada").start(&folder);
    wait_for_route(&mut ada, "bob", "direct");
    wait_for_peer(&mut ada, "first-heard", "bob");

    // It hangs, and no one knows yet.
    server.program.pause();
    ada.type_line(&record);
    assert!(wait_for_refusal(&mut ada).contains("out of reach"));
    assert_eq!(files_in(&kept), [""; 0], "what bob said meanwhile is not kept");
    server.program.resume();
    // What was said to it before is passed on now, and taken back.
    bob.wait_for("that ada does not record", PATIENCE, |json| {
        json["event"] == "status-changed"
            && json["name"] == "ada"
            && json["status"]["recording"] == false
    });
    assert!(!sees_recording(&mut bob, "ada"));

    // It is gone.
    server.program.kill();
    wait_for(&mut ada, "server-away");
    wait_for(&mut bob, "server-away");
    ada.type_line(&record);
    assert!(
        wait_for_refusal(&mut ada).starts_with("Nothing is recorded: the server is out of reach")
    );
    assert!(!sees_recording(&mut bob, "ada") && status(&mut ada)["recording"] == false);
    assert_eq!(files_in(&kept), [""; 0]);
    leave(ada);
    leave(bob);
}

#[test]
fn a_recording_goes_on_without_the_server_and_who_comes_later_sees_it() {
    let _alone = alone();
    let folder = Folder::create("recording-on");
    let kept = folder.file("kept");
    let server = Server::start(&[]);
    let join = |name: &str| Joining::new(&server.url(), "recording", name);
    let mut bob = join("bob").speaking_on("reader").start(&folder);
    let mut ada = join("ada").start(&folder);
    wait_for_route(&mut ada, "bob", "direct");
    ada.type_line(&format!("/record {}", kept.display()));
    ada.wait_for("the recording", PATIENCE, |json| {
        json["event"] == "notice"
            && json["message"].as_str().is_some_and(|text| text.starts_with("Recording into /"))
    });
    assert!(sees_recording(&mut bob, "ada"), "it is seen before it is said to have begun");
    let cyd = join("cyd");
    let Server { mut program, address } = server;
    program.kill();
    wait_for(&mut ada, "server-away");
    crate::wait_until_heard_more(&mut ada, "bob", 100);
    assert_eq!(status(&mut ada)["recording"], true);
    let server = Server::start_by(
        Command::new(binary("voicemesh-signaling")),
        Ipv4Addr::LOCALHOST,
        address.port(),
        &[],
    );
    wait_for(&mut ada, "joined");
    let mut cyd = cyd.start(&folder);
    wait_for_peer(&mut cyd, "peer-joined", "ada");
    assert!(sees_recording(&mut cyd, "ada") && sees_recording(&mut bob, "ada"));
    leave(cyd);
    leave(ada);
    leave(bob);
    let spoken = played(&file_of(&kept, "bob"));
    assert!(
        spoken.len() > 100 * 960,
        "what bob said without the server is kept: {} samples",
        spoken.len()
    );
    drop(server);
}

/// A way to the server that can be cut and mended.
struct Detour {
    address: SocketAddr,
    /// Both ends of every connection; none while it is cut.
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Detour {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let detour = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::new(Mutex::new(Some(Vec::new()))),
        };
        let open = Arc::clone(&detour.open);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut open = open.lock().unwrap();
                let (Some(open), Ok(far)) = (open.as_mut(), TcpStream::connect(server)) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        std::io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Both))
                    });
                }
                open.extend([near, far]);
            }
        });
        detour
    }

    fn cut(&self) {
        for end in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }
}

#[test]
fn a_member_whom_the_server_has_lost_is_not_recorded_before_it_can_see_that() {
    let _alone = alone();
    let folder = Folder::create("recording-lost");
    let kept = folder.file("kept");
    let server = Server::start(&[]);
    let detour = Detour::to(server.address);
    let join = |name: &str| Joining::new(&server.url(), "recording", name);
    let by_detour = Joining::new(&format!("ws://{}", detour.address), "recording", "bob");
    let mut bob = by_detour.speaking_on("reader").start(&folder);
    let mut ada = join("ada").start(&folder);
    let mut dan = join("dan").with(&["--relay-only"]).start(&folder);
    wait_for_route(&mut ada, "bob", "direct");
    crate::wait_until_heard(&mut ada, "bob", 25);
    wait_for_peer(&mut dan, "peer-joined", "bob");

    // The server says it to everyone at once, and to Ada before it answers what she publishes. Dan
    // has no link to Bob.
    detour.cut();
    wait_for_peer(&mut dan, "peer-left", "bob");
    ada.type_line(&format!("/record {}", kept.display()));
    ada.wait_for("the recording", PATIENCE, |json| {
        json["event"] == "notice"
            && json["message"].as_str().is_some_and(|text| text.starts_with("Recording into /"))
    });
    crate::wait_until_heard_more(&mut ada, "bob", 50);
    let of_bob =
        || files_in(&kept).into_iter().filter(|name| name.starts_with("bob")).collect::<Vec<_>>();
    assert_eq!(of_bob(), [""; 0], "he is heard over the link, and has not seen it");

    detour.mend();
    bob.wait_for("that ada records", PATIENCE, |json| {
        json["event"] == "status-changed"
            && json["name"] == "ada"
            && json["status"]["recording"] == true
    });
    crate::wait_until_heard_more(&mut ada, "bob", 100);
    leave(ada);
    leave(bob);
    leave(dan);
    let samples = played(&file_of(&kept, "bob")).len();
    assert!(samples > 50 * 960, "what bob says once he sees it is kept: {samples} samples");
}
