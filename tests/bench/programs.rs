//! The server and the peers, as the processes that people start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use voicemesh_tests::process::{Event, Program, binary};
use voicemesh_tests::speech;

/// How long anything may take that should take milliseconds, on a machine that does other things as
/// well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The signaling server, on a free port, without STUN and TURN servers.
pub struct Server {
    pub program: Program,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start() -> Self {
        let mut command = Command::new(binary("voicemesh-signaling"));
        command.args(["--listen", "127.0.0.1:0", "--stun", "none"]);
        let mut program = Program::start("server", command);
        let address = program.wait_for_text("its address", PATIENCE, |line| {
            let (_, rest) = line.split_once("listening on ws://")?;
            rest.split(' ').next()?.parse().ok()
        });
        Self { program, address }
    }
}

/// A program that was built into the folder of the server, or below it.
pub fn beside_programs(path: &str) -> Option<PathBuf> {
    let signaling = binary("voicemesh-signaling");
    let file = signaling.parent().unwrap_or(Path::new(".")).join(path);
    file.exists().then_some(file)
}

/// Whether direct links are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Relayed,
    Direct,
}

/// A folder for this run of the benchmarks; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty one.
    pub fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "voicemesh-bench-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The command that lets `name` join; its identity lies in `folder`.
pub fn join_command(
    server: &Server,
    folder: &Folder,
    name: &str,
    way: Way,
    input: &str,
    output: &str,
) -> Command {
    if output.ends_with(".wav") {
        // The new file would have a number beside an earlier one.
        let _ = std::fs::remove_file(output);
    }
    let mut command = Command::new(binary("voicemesh"));
    command.args(["join", "bench", "--json", "--name", name, "--input", input, "--output", output]);
    command.args(["--server", &format!("ws://{}", server.address)]);
    command.arg("--state-dir").arg(folder.file(name));
    if way == Way::Relayed {
        command.arg("--relay-only");
    }
    command
}

/// Joins as `name`.
pub fn join(server: &Server, folder: &Folder, name: &str, way: Way, input: &str) -> Program {
    Program::start(name, join_command(server, folder, name, way, input, "null"))
}

/// The input of an endless speaker.
pub fn speaking() -> String {
    format!("{}:loop", speech::path("reader").display())
}

/// The next event of this name.
pub fn wait_for(program: &mut Program, event: &str) -> Event {
    program.wait_for(event, PATIENCE, |json| json["event"] == event)
}

/// The next change of a route to direct.
pub fn wait_for_direct(program: &mut Program) -> Event {
    program.wait_for("a direct route", PATIENCE, |json| {
        json["event"] == "route-changed" && json["route"] == "direct"
    })
}

/// When the program says that it happened, since the call that joined.
pub fn at_ms(event: &Event) -> f64 {
    event.json["at_ms"]
        .as_f64()
        .unwrap_or_else(|| panic!("an event without its time: {}", event.json))
}

/// Lets a peer leave and waits until it has.
pub fn leave(mut program: Program) {
    program.interrupt();
    program.wait_for_exit(PATIENCE);
}
