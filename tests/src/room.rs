//! A server and peers as the processes that people start, for the end-to-end tests and the demo.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::process::{Event, Program, binary};
use crate::{speech, wav};

/// How long anything may take that should take moments, on a machine that does other things as
/// well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A temporary folder; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty one.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn create(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("voicemesh-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A signaling server without STUN and TURN servers.
pub struct Server {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// On this machine, on a free port.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_by(
            Command::new(binary("voicemesh-signaling")),
            Ipv4Addr::LOCALHOST,
            0,
            arguments,
        )
    }

    /// By a command that may run it somewhere else, at a given address; 0 takes a free port.
    #[must_use]
    pub fn start_by(mut command: Command, host: Ipv4Addr, port: u16, arguments: &[&str]) -> Self {
        command.args(["--listen", &format!("{host}:{port}"), "--stun", "none"]).args(arguments);
        let mut program = Program::start("server", command);
        let address = program.wait_for_text("its address", PATIENCE, |line| {
            let (_, rest) = line.split_once("listening on ")?;
            let (_, rest) = rest.split_once("://")?;
            rest.split(' ').next()?.parse().ok()
        });
        Self { program, address }
    }

    /// What peers are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

/// How a member joins.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The server's address.
    pub server: String,
    /// The room.
    pub room: String,
    /// The display name; also names the folder of its identity, and its WAV file.
    pub name: String,
    /// As on the command line.
    pub input: String,
    /// As on the command line.
    pub output: String,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Joining {
    /// A member with neither voice nor ears, which can be given both.
    #[must_use]
    pub fn new(server: &str, room: &str, name: &str) -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            server: text(server),
            room: text(room),
            name: text(name),
            input: text("silence"),
            output: text("null"),
            arguments: Vec::new(),
        }
    }

    /// Speaks with a recorded voice, once.
    #[must_use]
    pub fn speaking(self, voice: &str) -> Self {
        Self { input: speech::path(voice).display().to_string(), ..self }
    }

    /// Speaks with a recorded voice, without end.
    #[must_use]
    pub fn speaking_on(self, voice: &str) -> Self {
        Self { input: format!("{}:loop", speech::path(voice).display()), ..self }
    }

    /// Hears into a file.
    #[must_use]
    pub fn hearing_into(self, file: &Path) -> Self {
        Self { output: file.display().to_string(), ..self }
    }

    /// With more arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Joins, by the command as it is.
    #[must_use]
    pub fn start(&self, folder: &Folder) -> Program {
        self.start_by(Command::new(binary("voicemesh")), folder)
    }

    /// Joins, by a command that may run it somewhere else.
    #[must_use]
    pub fn start_by(&self, mut command: Command, folder: &Folder) -> Program {
        command.args([
            "join",
            &self.room,
            "--json",
            "--server",
            &self.server,
            "--name",
            &self.name,
        ]);
        // What an earlier program of this name heard: the new file would have a number.
        if self.output.ends_with(".wav") {
            let _ = std::fs::remove_file(&self.output);
        }
        command.args(["--input", &self.input, "--output", &self.output]);
        command.arg("--state-dir").arg(folder.file(&self.name)).args(&self.arguments);
        Program::start(&self.name, command)
    }
}

/// Waits for an event of this name.
pub fn wait_for(program: &mut Program, event: &str) -> Event {
    program.wait_for(event, PATIENCE, |json| json["event"] == event)
}

/// Waits for an event of this name about a peer of this name.
pub fn wait_for_peer(program: &mut Program, event: &str, name: &str) -> Event {
    program.wait_for(&format!("{event} of {name}"), PATIENCE, |json| {
        json["event"] == event && json["name"] == name
    })
}

/// Waits until this route to a peer is in use.
pub fn wait_for_route(program: &mut Program, name: &str, route: &str) -> Event {
    program.wait_for(&format!("{route} route to {name}"), PATIENCE, |json| {
        json["event"] == "route-changed" && json["name"] == name && json["route"] == route
    })
}

/// Ends a peer in an orderly way and gives what it says at the end.
pub fn leave(mut program: Program) -> Value {
    program.interrupt();
    finish(&mut program)
}

/// Waits for a peer's own end and gives what it says then.
pub fn finish(program: &mut Program) -> Value {
    let summary = wait_for(program, "summary").json;
    program.wait_for_exit(PATIENCE);
    summary
}

/// What a summary says of a peer.
///
/// # Panics
/// If it says nothing.
#[must_use]
pub fn of_peer<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let peers = summary["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    peers
        .iter()
        .find(|peer| peer["name"] == name)
        .unwrap_or_else(|| panic!("nothing about {name} in {summary}"))
}

/// What was heard into a file.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn heard(file: &Path) -> Vec<f32> {
    wav::read(file).unwrap_or_else(|error| panic!("{error}"))
}
