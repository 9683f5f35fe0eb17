//! `voicemesh try` from outside: the browser gets its link, and a member without a microphone hears.

// Elsewhere another program opens links.
#![cfg(all(unix, not(target_os = "macos")))]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use voicemesh_tests::process::Program;

const PATIENCE: Duration = Duration::from_secs(60);

/// Removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!(
            "voicemesh-trial-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What opens links on this system, replaced by what notes them; and where.
fn browser(folder: &Folder) -> PathBuf {
    let (program, noted) = (folder.path().join("xdg-open"), folder.path().join("opened"));
    let script =
        format!("#!/bin/sh\necho \"$1\" >'{0}.part' && mv '{0}.part' '{0}'\n", noted.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    noted
}

fn voicemesh(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh"));
    command.args(arguments).env_remove("VOICEMESH_SERVER").env_remove("VOICEMESH_LOG");
    command
}

/// Host with port, and path without its slash.
fn parts(link: &str) -> (&str, &str) {
    link.strip_prefix("http://").unwrap().split_once('/').unwrap()
}

fn get(link: &str) -> String {
    let (host, path) = parts(link);
    get_as(host, path, host, "")
}

/// The answer to a request that names its host so.
fn get_as(address: &str, path: &str, host: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn trying_it_opens_the_page_and_without_a_microphone_one_hears_a_chime_and_its_echo() {
    let folder = Folder::new();
    let noted = browser(&folder);
    let mut command = voicemesh(&["try"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("DISPLAY", ":0").env("PATH", format!("{}:{path}", folder.path().display()));
    let mut trial = Program::start("try", command);
    let link = trial.wait_for_text("the link", PATIENCE, |line| {
        line.trim().strip_prefix("voicemesh join ").map(str::to_owned)
    });
    trial.wait_for_line("Your browser opens", PATIENCE);
    let deadline = Instant::now() + PATIENCE;
    while !noted.exists() {
        assert!(Instant::now() < deadline, "no browser was started: {}", trial.transcript());
        std::thread::yield_now();
    }
    assert_eq!(fs::read_to_string(&noted).unwrap().trim(), link);
    let page = get(&link);
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");

    let state = folder.path().join("state");
    let mut command = voicemesh(&["join", &link, "--name", "Ada", "--json"]);
    command.args(["--input", "silence", "--output", "null", "--state-dir"]).arg(state);
    let mut ada = Program::start("ada", command);
    trial.wait_for_line("Ada joins", PATIENCE);
    for name in ["chime", "echo"] {
        // The first time, so it did not ring before.
        ada.wait_for(&format!("{name} is heard"), PATIENCE, |line| {
            line["event"] == "first-heard" && line["name"] == name
        });
    }
    ada.wait_for("the chime ends", PATIENCE, |line| {
        line["event"] == "speaking" && line["name"] == "chime" && line["speaking"] == false
    });
    ada.interrupt();
    assert!(ada.wait_for_exit(PATIENCE).success(), "{}", ada.transcript());
    trial.wait_for_line("Ada leaves", PATIENCE);
    trial.interrupt();
    assert!(trial.wait_for_exit(PATIENCE).success(), "{}", trial.transcript());
    let host = link.strip_prefix("http://").unwrap().split_once('/').unwrap().0;
    assert!(TcpStream::connect(host).is_err(), "the server has ended");
}

/// A page of another site can have its name lead to this machine, and asks as if it were its own.
#[test]
fn a_page_that_a_name_leads_here_is_refused_and_guesses_neither_room_nor_folder() {
    let temporary = Folder::new();
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let mut command = voicemesh(&["try", "--no-browser"]);
        command.env("TMPDIR", temporary.path());
        let mut trial = Program::start("try", command);
        let link = trial.wait_for_text("the link", PATIENCE, |line| {
            line.trim().strip_prefix("voicemesh join ").map(str::to_owned)
        });
        let (address, path) = parts(&link);
        let port = address.split_once(':').unwrap().1;
        let room = path.strip_prefix("r/try-").unwrap().to_owned();
        assert!(room.len() == 20, "{link}");
        let folders: Vec<_> = fs::read_dir(temporary.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(folders.len(), 1);
        assert_eq!(folders[0].metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let folder = folders[0].file_name().into_string().unwrap();
        assert!(!folder.ends_with(&trial.id().to_string()) && !folder.ends_with(&room), "{folder}");
        for name in ["evil.example", "localhost.evil.example"] {
            let upgrade = format!(
                "Origin: http://{name}:{port}\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            );
            let host = format!("{name}:{port}");
            for (path, headers) in [(path, ""), ("metrics", ""), ("ws", upgrade.as_str())] {
                let answer = get_as(address, path, &host, headers);
                assert!(answer.starts_with("HTTP/1.1 421"), "{path}: {answer}");
            }
        }
        assert!(
            get_as(address, path, &format!("localhost:{port}"), "").starts_with("HTTP/1.1 200")
        );
        rooms.push(room);
        trial.interrupt();
        assert!(trial.wait_for_exit(PATIENCE).success(), "{}", trial.transcript());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "it is removed");
    }
    assert_ne!(rooms[0], rooms[1]);
}

#[test]
fn without_a_screen_the_link_is_there_to_be_opened() {
    let mut command = voicemesh(&["try"]);
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
        command.env_remove(name);
    }
    let mut trial = Program::start("try", command);
    trial.wait_for_line("No browser was found", PATIENCE);
    trial.interrupt();
    assert!(trial.wait_for_exit(PATIENCE).success(), "{}", trial.transcript());
}
