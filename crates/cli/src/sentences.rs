//! Every cause of trouble and the sentence that a person gets for it: what happened, the next step,
//! and no word of a library. `docs/troubleshooting.md` quotes beginnings of these sentences.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use voicemesh::{
    AddressFailure, ConnectFailure, DeviceError, DeviceEvent, ErrorCode, Event, InputSpec,
    JoinError, JoinOptions, NameError, OutputSpec, Permissions, PlainNotTried, ProxyFailure,
    RoomEvent, Unreached, VoiceEvent,
};
use voicemesh_device::{Capture, Cause, Playback};

use crate::encryption::EndToEnd;
use crate::exit::Failure;
use crate::human::{Part, SessionInfo, TextOutput, refusal, replaced};
use crate::live::problems::{Condition, Problems};
use crate::people::People;
use crate::served_by::ServedBy;
use crate::summary::tests::at;

/// Words of libraries and of systems that no person should meet.
const FOREIGN: [&str; 14] = [
    "rustls",
    "os error",
    "InvalidContentType",
    "CaUsedAsEndEntity",
    "UnknownIssuer",
    "handshake",
    "tungstenite",
    "docs.rs",
    "protocol error",
    "ALSA",
    "snd_",
    "hyper",
    "errno",
    "ECONN",
];

fn view() -> TextOutput {
    let (server, room, name) =
        ("wss://voice.example.org".to_owned(), "lobby".to_owned(), "Ada".to_owned());
    let stay = SessionInfo {
        server,
        served_by: ServedBy::Server,
        server_by_default: false,
        room,
        name,
        has_token: false,
        relay_only: false,
        end_to_end: EndToEnd::Off,
        unused_server: None,
        written_beside: None,
        record: None,
        part: Part::Talk,
    };
    TextOutput::new(stay)
}

fn connecting(failure: ConnectFailure) -> String {
    let away = Event::Room(RoomEvent::ServerAway {
        why: failure.to_string(),
        failure: Some(failure),
        silent_for: Duration::ZERO,
        retry_in: Duration::from_secs(1),
    });
    view().event(&at(0, away), &People::default()).map_or(String::new(), |line| line.text)
}

fn unreached(failure: AddressFailure) -> ConnectFailure {
    ConnectFailure::Unreached(Unreached(vec![(IpAddr::from([192, 0, 2, 1]), failure)]))
}

fn proxy(failure: ProxyFailure) -> ConnectFailure {
    ConnectFailure::Proxy { proxy: "proxy:3128".into(), failure }
}

/// Causes on the way to the server, a part of the sentence, and a part of the next step.
fn connections() -> Vec<(ConnectFailure, &'static str, &'static str)> {
    let plain = |plain_not_tried| ConnectFailure::NotTls {
        plain: "ws://192.168.1.5:8080".into(),
        plain_not_tried,
    };
    let other_name = ConnectFailure::CertificateForOtherName {
        host: "a.example".into(),
        presented: vec!["b.example".into()],
    };
    vec![
        (
            plain(PlainNotTried::SchemeGiven),
            "it speaks no TLS",
            "Write --server ws://192.168.1.5:8080",
        ),
        (plain(PlainNotTried::PublicHost), "it speaks no TLS", "if that is meant"),
        (
            plain(PlainNotTried::Secret),
            "it speaks no TLS",
            "no connection without TLS unless you ask for one",
        ),
        (plain(PlainNotTried::SpokeTlsBefore), "it speaks no TLS", "It did before"),
        (plain(PlainNotTried::NotRemembered), "it speaks no TLS", "if that is meant"),
        (plain(PlainNotTried::Proxy), "it speaks no TLS", "if that is meant"),
        (
            ConnectFailure::WantsTls { secured: "wss://a".into() },
            "wants a secured connection",
            "Write --server wss://a",
        ),
        (ConnectFailure::CertificateNotTrusted, "its certificate is not trusted here", "--ca FILE"),
        (
            ConnectFailure::NoTrustedRoots,
            "no certificates to check",
            "Install the package ca-certificates",
        ),
        (
            other_name,
            "its certificate is for b.example, not for a.example",
            "Use a name that is in the certificate",
        ),
        (
            ConnectFailure::CertificateExpired,
            "its certificate has expired",
            "Check this machine's date",
        ),
        (
            ConnectFailure::CertificateNotYetValid,
            "its certificate is not valid yet",
            "Check this machine's date",
        ),
        (ConnectFailure::UnknownHost, "no host of that name is known", "typing errors"),
        (
            ConnectFailure::Io("no answer came in time".into()),
            "the connection broke: no answer came in time",
            "Check whether this machine is online",
        ),
        (
            ConnectFailure::Tls("it refuses to".into()),
            "the connection cannot be secured: it refuses to",
            "see to its certificate and TLS settings",
        ),
        (
            ConnectFailure::CertificateUnusable("it is damaged".into()),
            "its certificate cannot be used: it is damaged",
            "see to its certificate",
        ),
        (ConnectFailure::ZoneMissing, "behind which network interface", "%eth0"),
        (ConnectFailure::UnknownZone("eth9".into()), "no network interface “eth9”", "behind the %"),
        (
            ConnectFailure::NotVoicemesh("its answer is no HTTP".into()),
            "should: its answer is",
            "Check host and port",
        ),
        (
            unreached(AddressFailure::Other("no answer came in time".into())),
            "cannot be connected to",
            "Is the address",
        ),
        (
            ConnectFailure::LookupFailed("try later".into()),
            "its name cannot be looked up",
            "online",
        ),
        (
            unreached(AddressFailure::Refused { port: 80 }),
            "it refuses the connection; nothing seems to listen on port 80.",
            "does the server run?",
        ),
        (unreached(AddressFailure::Silent), "it does not answer", "Is the address right"),
        (
            unreached(AddressFailure::NoRoute),
            "it cannot be reached from this network",
            "Is the address right",
        ),
        (ConnectFailure::Silent, "it does not answer", "Is the address right"),
        (ConnectFailure::Ended, "it ends the connection before", "Check host and port"),
        (
            ConnectFailure::Redirected { location: "wss://b".into() },
            "it redirects to wss://b",
            "write --server wss://b",
        ),
        (
            ConnectFailure::Refused {
                code: ErrorCode::RoomFull,
                message: "the room is full".into(),
            },
            "The server does not let you in for now: the room is full",
            "The next try is in",
        ),
        (ConnectFailure::Status(500), "HTTP status 500", "Is the address right"),
        (ConnectFailure::Status(400), "(400)", "reason in its log"),
        (ConnectFailure::Status(401), "(401)", "password"),
        (
            ConnectFailure::Status(403),
            "refuses this connection (403)",
            "let WebSocket connections to /ws through",
        ),
        (
            ConnectFailure::Status(404),
            "no voicemesh server under this path (404)",
            "may be under a path",
        ),
        (
            ConnectFailure::Status(426),
            "does not pass WebSocket connections on (426)",
            "docs/reverse-proxy.md",
        ),
        (ConnectFailure::Status(429), "too many connections from here (429)", "Wait a while"),
        (
            ConnectFailure::Status(502),
            "not the voicemesh server behind it (502)",
            "It may be starting",
        ),
        (ConnectFailure::WebPage("HTML".into()), "a web page answers", "sign in first"),
        (ConnectFailure::SignInRequired, "sign in first", "Open any page in a browser"),
        (
            proxy(ProxyFailure::AuthenticationRequired),
            "asks for a user name and a password",
            "--proxy http://USER",
        ),
        (
            proxy(ProxyFailure::NotAllowed("a:443".into())),
            "does not allow connections to a:443",
            "--proxy none",
        ),
        (
            proxy(ProxyFailure::Unreached(Box::new(ConnectFailure::Silent))),
            "proxy:3128 cannot be reached",
            "--proxy none",
        ),
        (
            proxy(ProxyFailure::NoAddress(Box::new(ConnectFailure::UnknownHost))),
            "needs the server's address",
            "socks5h://",
        ),
        (proxy(ProxyFailure::AuthenticationRefused), "does not accept the user name", "%40"),
        (
            proxy(ProxyFailure::AuthenticationUnsupported("NTLM".into())),
            "not supported (NTLM)",
            "cntlm",
        ),
        (
            proxy(ProxyFailure::TargetUnreachable("a:443".into())),
            "cannot reach a:443",
            "Check host and port",
        ),
        (
            proxy(ProxyFailure::NotAProxy("it ends the connection".into())),
            "does not answer as a proxy",
            "--proxy none",
        ),
        (proxy(ProxyFailure::Status(500)), "answers with status 500", "--proxy none"),
        (proxy(ProxyFailure::Silent), "the proxy proxy:3128 does not answer", "--proxy none"),
    ]
}

/// Why a join with a recording there cannot begin.
fn recorded_into(folder: &std::path::Path) -> JoinError {
    let state = std::env::temp_dir().join(format!("voicemesh-sentences-{}", std::process::id()));
    let options = JoinOptions::new("ws://127.0.0.1:1", "room").state_dir(&state).record(folder);
    let error = options.prepare().expect_err("nothing can be recorded there");
    let _ = std::fs::remove_dir_all(state);
    error
}

/// Causes at the start, a part of the sentence, and a part of the next step.
fn beginnings() -> Vec<(JoinError, &'static str, &'static str)> {
    let input = |spec: &str| {
        let spec: InputSpec = spec.parse().expect("a microphone");
        JoinError::Input(
            Capture::open(&spec, None, std::sync::Arc::new(|| {})).err().expect("an error"),
        )
    };
    let output = |spec: &str| {
        let spec: OutputSpec = spec.parse().expect("a speaker");
        JoinError::Output(
            Playback::open(&spec, std::sync::Arc::new(|| {})).err().expect("an error"),
        )
    };
    const CLOSE: &str = "close what else uses it, or choose another device";
    let busy = DeviceError::CannotOpen {
        name: "Mic".into(),
        why: "another program uses it".into(),
        step: CLOSE,
    };
    let absent = DeviceError::NotAnswering { name: "pulse".into() };
    let missing = DeviceError::NotFound {
        direction: "microphone",
        name: "Mic".into(),
        present: "none".into(),
    };
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let no_wav = std::env::temp_dir()
        .join(format!("voicemesh-{}-{number}-no-speech.wav", std::process::id()));
    std::fs::write(&no_wav, "this is text").expect("written");
    let found = vec![
        (input("/nowhere/none.wav"), "/nowhere/none.wav", "there is no such file or folder"),
        (
            JoinError::Input(DeviceError::WrittenFile { path: "a.wav".into() }),
            "a.wav is being written with what is heard",
            "name another file as the microphone",
        ),
        (
            input(no_wav.to_str().expect("UTF-8")),
            "no-speech.wav cannot be played as a microphone",
            "--input silence",
        ),
        (
            input("/dev/zero"),
            "/dev/zero is no microphone and no file: it is a device of the system",
            "choose a device from the list",
        ),
        (
            output("/dev/zero"),
            "/dev/zero is no speaker and no file: it is a device of the system",
            "choose a device from the list",
        ),
        (
            output("/nowhere/heard.mp3"),
            "/nowhere/heard.mp3 cannot be written as a speaker",
            "its name must end in .wav",
        ),
        (
            output("/nowhere/out.wav"),
            "/nowhere/out.wav cannot be written",
            "check the folder and its permissions",
        ),
        (JoinError::Input(busy), "another program uses it", "close what else uses it"),
        (
            JoinError::Input(absent),
            "`pulse` does not answer",
            "its sound server does not run; connect or start it",
        ),
        (
            JoinError::Input(missing),
            "no microphone called `Mic`",
            "`voicemesh devices` lists what there is",
        ),
        (JoinError::Input(DeviceError::NoMicrophone), "no microphone was found", "plug one in"),
        (JoinError::Output(DeviceError::NoSpeaker), "no speaker was found", "plug one in"),
        (JoinError::RoomUnlinkable, "a room cannot be called . or ..", "; choose another name"),
        (JoinError::RoomTooLong, "a room's name can have at most", "; choose a shorter one"),
        (JoinError::BadName(NameError::Blank), "a name can have at most", "--name"),
        (
            JoinError::BadRoomKey(voicemesh::RoomKeyError),
            "the key in the link is damaged",
            "copy the whole link again",
        ),
        (JoinError::PasswordTooLong, "a password can have at most", "choose a shorter one"),
        (
            JoinError::TokenTooLong,
            "an access token can have at most",
            "; copy the link or the token again",
        ),
        (
            JoinError::BadRoomInLink {
                link: "https://a/r/..".into(),
                why: "a room cannot be called . or ..".into(),
            },
            "is not a link to a room: a room cannot be called",
            "; copy the link again",
        ),
        (JoinError::NoRoomInLink("https://a".into()), "is not a link to a room", "/r/ROOM"),
        (
            JoinError::BadServer { url: "ftp://x".into(), why: "it must begin with wss://".into() },
            "ftp://x",
            "Use wss://host",
        ),
        (
            JoinError::Certificate("a.pem: there is no such file or folder".into()),
            "a.pem",
            "; name a PEM file that can be read. Name it with --ca",
        ),
        (JoinError::RoomBlank, "a room's name cannot be blank", "; choose one that can be seen"),
        (
            JoinError::BadProxy { variable: Some("https_proxy"), why: "it has no host".into() },
            "the variable https_proxy is not usable: it has no host",
            "--proxy none",
        ),
        (recorded_into(&no_wav), "is a file, and a recording needs a folder", "--record"),
        (recorded_into(&no_wav.join("x")), "nothing can be written to", "--record"),
        (
            JoinError::System {
                what: "a thread for the voices",
                why: Cause::of_system(std::io::ErrorKind::WouldBlock.into()),
            },
            "does not give a thread for the voices: it allows this user, or this program, no more",
            "end other programs",
        ),
        (
            JoinError::Input("tone:high".parse::<InputSpec>().expect_err("no tone")),
            "`tone:high` names no device",
            "`voicemesh devices` lists",
        ),
        (
            JoinError::Input(DeviceError::NoSoundSystem { why: "it has failed".into() }),
            "the sound system of this machine does not answer",
            "start it, or use files",
        ),
        (
            JoinError::Output(DeviceError::Refused { name: "Mic".into(), why: "denied".into() }),
            "does not let this program use `Mic`",
            "allow it in the system's privacy",
        ),
        (
            JoinError::Output(DeviceError::NoThread(Cause::of_system(
                std::io::ErrorKind::OutOfMemory.into(),
            ))),
            "no thread could be started for the device: it has no memory left",
            "end other programs",
        ),
        (
            JoinError::Output(DeviceError::SameFile { path: "a.wav".into() }),
            "a.wav is the file that is played as the microphone",
            "name another file for what is heard",
        ),
    ];
    std::fs::remove_file(&no_wav).expect("removed");
    found
}

fn refusals() -> Vec<(ErrorCode, &'static str)> {
    vec![
        (ErrorCode::RoomFull, "Try again later"),
        (ErrorCode::ServerFull, "Try again later"),
        (ErrorCode::RoomMissing, "--must-exist"),
        (ErrorCode::RoomExists, "--must-not-exist"),
        (ErrorCode::PasswordRequired, "--password"),
        (ErrorCode::PasswordWrong, "Ask for the right one"),
        (ErrorCode::PasswordWait, "Wait"),
        (ErrorCode::TokenRequired, "VOICEMESH_TOKEN"),
        (ErrorCode::TokenExpired, "Get a new link"),
        (ErrorCode::Kicked, "Ask a moderator"),
        (ErrorCode::Banned, "Ask a moderator"),
        (ErrorCode::RoomLocked, "Try again later"),
        (ErrorCode::TooManyJoins, "Wait a minute"),
        (ErrorCode::BadName, "--name"),
        (ErrorCode::BadRoom, "Choose"),
        (ErrorCode::UnsupportedProtocol, "Update the older one"),
        (ErrorCode::TokenInvalid, "Get a new link"),
        (ErrorCode::SlowConsumer, "too slow or too busy"),
        (ErrorCode::JoinTimeout, "too slow or too busy"),
        (ErrorCode::BadMetadata, "update this program"),
        (ErrorCode::Other("a-later-code".into()), "update this program"),
    ]
}

fn problems() -> Vec<String> {
    use voicemesh::DeviceRole::{Input, Output};
    let lost = |roles: &[voicemesh::DeviceRole]| {
        let mut problems = Problems::default();
        roles.iter().for_each(|which| {
            problems.event(&Event::Device(DeviceEvent::Lost { which: *which, why: "gone".into() }))
        });
        problems
    };
    let heard = crate::human::Heard::default();
    let fine = Condition {
        permissions: Permissions::ALL,
        upload_too_slow: false,
        in_no_group: false,
        heard,
    };
    let conditions = [
        Condition { permissions: Permissions::ALL.without_speak(), ..fine },
        Condition { permissions: Permissions { listen: false, ..Permissions::ALL }, ..fine },
        Condition { permissions: Permissions::NONE, ..fine },
        Condition { upload_too_slow: true, in_no_group: true, ..fine },
    ];
    let mut held = Problems::default();
    held.held_in(&["Red".to_owned()]);
    let mut renewed = Problems::default();
    for (code, message) in [
        ("identity-replaced", "You are a new person in every room: the file was damaged."),
        ("identity-not-kept", "You are a new person in every room each time: it is read-only."),
    ] {
        let code = ErrorCode::Other(code.to_owned());
        renewed.event(&Event::Room(RoomEvent::Warned {
            code,
            message: message.into(),
            text: None,
        }));
    }
    let lasting = [lost(&[Input, Output]), lost(&[Input]), lost(&[Output]), held, renewed];
    let of_devices = lasting.iter().flat_map(|problems| problems.lines(fine));
    of_devices
        .chain(conditions.into_iter().flat_map(|condition| Problems::default().lines(condition)))
        .collect()
}

/// What is said of events that need something of the person.
fn events() -> Vec<String> {
    let events = [
        Event::Voice(VoiceEvent::GroupRefused { group: "Red".into() }),
        Event::Voice(VoiceEvent::RecordingFailed { why: "the disk is full".into() }),
        Event::Room(RoomEvent::Warned {
            code: ErrorCode::BadField,
            message: "too long".into(),
            text: None,
        }),
    ];
    let mut view = view();
    let lines = events.into_iter().map(|event| view.event(&at(0, event), &People::default()));
    lines.map(|line| line.map_or(String::new(), |line| line.text)).collect()
}

fn all() -> Vec<String> {
    let connections = connections().into_iter().map(|(failure, ..)| connecting(failure));
    let beginnings = beginnings().into_iter().map(|(error, ..)| Failure::from(error).message);
    let refusals = refusals().into_iter().map(|(code, _)| refusal(&code, "No.", "lobby", None));
    connections
        .chain(beginnings)
        .chain(refusals)
        .chain(problems())
        .chain([replaced("lobby")])
        .chain(events())
        .collect()
}

#[test]
fn every_cause_on_the_way_to_the_server_has_a_sentence_and_a_next_step() {
    for (failure, cause, step) in connections() {
        let sentence = connecting(failure);
        assert!(
            sentence.contains(cause) && sentence.contains(step),
            "{cause} / {step}: {sentence}"
        );
    }
}

/// A file of the repository. There is none where this package stands alone.
fn in_repository(path: &str) -> Option<String> {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let stands_alone = !std::path::Path::new(repository).join("crates/cli").is_dir();
    (!stands_alone).then(|| std::fs::read_to_string(format!("{repository}/{path}")).expect(path))
}

#[test]
fn no_cause_on_the_way_to_the_server_is_left_out() {
    const FILE: &str = "crates/mesh/src/connect_failure.rs";
    let failures: Vec<ConnectFailure> = connections().into_iter().map(|(one, ..)| one).collect();
    assert_complete(FILE, "ConnectFailure", failures.iter().map(named));
    let addresses = failures.iter().filter_map(|failure| match failure {
        ConnectFailure::Unreached(Unreached(attempts)) => Some(attempts),
        _ => None,
    });
    assert_complete(FILE, "AddressFailure", addresses.flatten().map(|(_, one)| named(one)));
    let proxies = failures.iter().filter_map(|failure| match failure {
        ConnectFailure::Proxy { failure, .. } => Some(named(failure)),
        _ => None,
    });
    assert_complete(FILE, "ProxyFailure", proxies);
    let plain = failures.iter().filter_map(|failure| match failure {
        ConnectFailure::NotTls { plain_not_tried, .. } => Some(named(plain_not_tried)),
        _ => None,
    });
    assert_complete(FILE, "PlainNotTried", plain);
}

#[test]
fn no_cause_at_the_start_is_left_out() {
    let errors: Vec<JoinError> = beginnings().into_iter().map(|(error, ..)| error).collect();
    assert_complete("crates/peer/src/join_error.rs", "JoinError", errors.iter().map(named));
    let devices = errors.iter().filter_map(|error| match error {
        JoinError::Input(error) | JoinError::Output(error) => Some(named(error)),
        _ => None,
    });
    assert_complete("crates/device/src/error.rs", "DeviceError", devices);
}

/// Codes with which no server refuses a join: they answer a broken message, or what a member wants.
/// A program that breaks the protocol is refused with them all the same.
const OF_OTHER_MESSAGES: [&str; 13] = [
    "bad-json",
    "unknown-type",
    "bad-field",
    "too-large",
    "not-joined",
    "already-joined",
    "not-owner",
    "not-moderator",
    "not-permitted",
    "too-many-messages",
    "receiver-busy",
    "unknown-peer",
    "relay-only",
];

#[test]
fn no_refusal_is_left_out() {
    let Some(source) = in_repository("crates/wire/src/signaling/error_code.rs") else { return };
    let (_, codes) = source.split_once("error_codes! {\n").expect("its codes");
    let (codes, _) = codes.split_once("\n}\n").expect("their end");
    let codes = codes.lines().filter_map(|line| line.split_once(" = \"")?.1.strip_suffix("\","));
    let codes: Vec<ErrorCode> = codes.map(|code| ErrorCode::from(code.to_owned())).collect();
    assert!(codes.len() > 30, "{codes:?}");
    let refusals = refusals();
    for code in &codes {
        assert!(!matches!(code, ErrorCode::Other(_)), "{code}");
        let own = refusals.iter().find(|(one, _)| one == code).map(|(_, step)| *step);
        let general = OF_OTHER_MESSAGES.contains(&code.as_str()).then_some("update this program");
        let step = own.or(general).unwrap_or_else(|| panic!("{code} has no sentence"));
        let sentence = refusal(code, "No.", "lobby", None);
        assert!(sentence.contains(step), "{code}: {step}: {sentence}");
    }
    let known = |code: &str| codes.iter().any(|one| one.as_str() == code);
    assert!(OF_OTHER_MESSAGES.iter().all(|code| known(code)));
}

/// The name of a variant.
fn named(variant: &impl std::fmt::Debug) -> String {
    format!("{variant:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()
}

/// Each variant of the enum in that file is among these.
fn assert_complete(file: &str, name: &str, written: impl Iterator<Item = String>) {
    let Some(source) = in_repository(file) else { return };
    let (_, variants) = source.split_once(&format!("pub enum {name} {{")).expect(name);
    let (variants, _) = variants.split_once("\n}\n").expect("its end");
    let variants = variants
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(|line| line.split(['(', ' ', ',']).next().unwrap_or_default());
    let variants: Vec<&str> = variants.collect();
    assert!(variants.len() > 3, "{variants:?}");
    let written: Vec<String> = written.collect();
    for variant in variants {
        assert!(written.iter().any(|one| one == variant), "{name}::{variant}");
    }
}

#[test]
fn every_cause_at_the_start_has_a_sentence_and_a_next_step() {
    for (error, cause, step) in beginnings() {
        let sentence = Failure::from(error).message;
        assert!(
            sentence.contains(cause) && sentence.contains(step),
            "{cause} / {step}: {sentence}"
        );
    }
    for (code, step) in refusals() {
        let sentence = refusal(&code, "No.", "lobby", None);
        assert!(sentence.contains(step), "{step}: {sentence}");
    }
}

#[test]
fn no_word_of_a_library_reaches_a_person() {
    for sentence in all() {
        assert!(!FOREIGN.iter().any(|word| sentence.contains(word)), "{sentence}");
    }
}

#[test]
fn the_troubleshooting_guide_quotes_what_the_command_says() {
    let Some(guide) = in_repository("docs/troubleshooting.md") else { return };
    let (_, terminal) = guide.split_once("## In the terminal").expect("its section");
    let quoted: Vec<&str> =
        terminal.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(quoted.len() > 20, "{quoted:?}");
    let said = all();
    // What is said in a room is written where it is said.
    let sources = [
        "command_arguments.rs",
        "encryption.rs",
        "host_links.rs",
        "hosted.rs",
        "human.rs",
        "human/moderation.rs",
        "input.rs",
        "logs.rs",
        "mic.rs",
        "microphone.rs",
        "output.rs",
        "reach.rs",
        "talk/commands.rs",
    ];
    let sources = sources.map(|file| format!("crates/cli/src/{file}"));
    // What no one asked for is said as the library says it.
    let library = [
        "crates/mesh/src/connection.rs",
        "crates/mesh/src/negotiation.rs",
        "crates/peer/src/voice_loop.rs",
        "crates/renet/src/client.rs",
        "crates/renet/src/connection.rs",
    ]
    .map(str::to_owned);
    let sources = sources.iter().chain(&library).filter_map(|file| in_repository(file));
    let sources: Vec<String> = sources.collect();
    let written = |words: &&str| sources.iter().any(|source| source.contains(words));
    for words in &quoted {
        assert!(
            said.iter().any(|sentence| sentence.contains(words)) || written(words),
            "nothing says: {words}"
        );
    }
    let unexplained: Vec<&String> = said
        .iter()
        .filter(|sentence| !quoted.iter().any(|words| sentence.contains(words)))
        .collect();
    assert!(unexplained.is_empty(), "no row explains: {unexplained:#?}");
}
