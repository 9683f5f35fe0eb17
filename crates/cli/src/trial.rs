//! `voicemesh try`: server, page, and two peers to hear, in one process on this machine alone.
//!
//! Web pages and other users of this machine can reach the server's port. A page that a name leads
//! here is refused by its host, and none can guess the room or the folder.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

use tokio::sync::oneshot;
use voicemesh::{
    Activation, Event, Events, InputSpec, JoinOptions, OutputSpec, Processing, Room, RoomEvent,
};
use voicemesh_device::file_words;
use voicemesh_signaling::{Config, ServeError};

use crate::arguments::TryArguments;
use crate::exit::{Exit, Failure};
use crate::logs;
use crate::mic::{print_line, println};
use crate::signals::Stop;
use crate::text::harmless;

const ECHO: &str = "echo";
const CHIME: &str = "chime";
/// The chime waits for the route to a member to be known, and for their sound to have begun.
const RINGS_AFTER: Duration = Duration::from_millis(800);
/// How long it rings.
const RING: Duration = Duration::from_millis(1_500);
/// Events are awaited at most this long, before the signals and the clock get their turn.
const TURN: Duration = Duration::from_millis(50);
/// How long leaving waits for the others to know.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// Runs until it is asked to end.
pub(crate) fn run(arguments: &TryArguments) -> Result<Exit, Failure> {
    logs::init("warn");
    let stop = Stop::listen();
    let server = LocalServer::start()?;
    let folder = IdentityFolder::create()
        .map_err(|error| failed(&format!("no temporary folder: {}", file_words(&error))))?;
    let echo = peer(&server, &folder, ECHO).input(InputSpec::Silence).echo(true);
    let (echo, _) = Room::join(echo)?;
    let chime = peer(&server, &folder, CHIME)
        .input(InputSpec::Tone { hz: 660.0 })
        .processing(Processing::OFF)
        .activation(Activation::Always)
        .muted(true);
    let (chime, events) = Room::join(chime)?;
    let link = server.link();
    // Without the link there is nothing to try.
    print_line(&format!(
        "A server on this machine alone, and in its room \"{}\":

    {ECHO}    says back what you say (wear headphones)
    {CHIME}   rings once you are there, so that you hear something without a microphone

    {link}

    voicemesh join {link}
",
        server.room
    ))?;
    println(if arguments.no_browser {
        "Open the first line in a browser, or join from another terminal with the second. Ctrl-C ends it."
    } else if open_browser(&link) {
        "Your browser opens the first line; the second joins from another terminal. Ctrl-C ends it."
    } else {
        "No browser was found: open the first line yourself, or join from another terminal with the second. Ctrl-C ends it."
    });
    Chime { room: chime, events, rings: None }.run(&stop, &server);
    echo.leave_and_wait(LEAVE_WITHIN);
    server.end()
}

/// The server's thread.
struct LocalServer {
    address: SocketAddr,
    room: String,
    end: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl LocalServer {
    /// On a free port, which only programs of this machine reach. It names no STUN server.
    fn start() -> Result<Self, Failure> {
        let config = Config {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            stun: vec!["none".to_owned()],
            only_as_this_machine: true,
            ..Config::default()
        };
        let room = format!("try-{}", random_name().map_err(|error| failed(&error))?);
        let (end, ended) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = voicemesh_signaling::bind(&config).await?;
                // Without a hearer there is none to serve either.
                let _ = tell.send(listener.local_addr()?);
                let ended = async { drop(ended.await) };
                voicemesh_signaling::serve(config, listener, ended).await
            })
        };
        let thread = thread::Builder::new()
            .name("voicemesh-server".to_owned())
            .spawn(serve)
            .map_err(|error| failed(&ServeError::from(error)))?;
        match told.recv() {
            Ok(address) => Ok(Self { address, room, end, thread }),
            Err(mpsc::RecvError) => Err(match thread.join() {
                Ok(Err(error)) => failed(&error),
                _ => Failure::other("the server did not start".to_owned()),
            }),
        }
    }

    fn link(&self) -> String {
        format!("http://{}/r/{}", self.address, self.room)
    }

    fn end(self) -> Result<Exit, Failure> {
        let Self { end, thread, .. } = self;
        drop(end);
        match thread.join() {
            Ok(Ok(())) => Ok(Exit::Done),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(Failure::other("the server ended by a fault of its program".to_owned())),
        }
    }
}

fn failed(error: &impl Display) -> Failure {
    Failure::other(format!("no server can be started here: {error}"))
}

/// 80 bits.
pub(crate) fn random_name() -> Result<String, &'static str> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|_| "the system has no random numbers; try again later")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Identities for this run alone: the user's own is for the user, who joins as well.
struct IdentityFolder(PathBuf);

impl IdentityFolder {
    /// New, and for this user alone: what was put there before is not taken.
    fn create() -> io::Result<Self> {
        let name = random_name().map_err(io::Error::other)?;
        let path = std::env::temp_dir().join(format!("voicemesh-try-{name}"));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }

    fn of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for IdentityFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}

fn peer(server: &LocalServer, folder: &IdentityFolder, name: &str) -> JoinOptions {
    JoinOptions::new(format!("ws://{}", server.address), server.room.as_str())
        .name(name)
        .output(OutputSpec::Null)
        .state_dir(folder.of(name))
}

/// The peer that rings for each who joins.
struct Chime {
    room: Room,
    events: Events,
    /// From when until when.
    rings: Option<(Instant, Instant)>,
}

impl Chime {
    /// Until it is asked to end, or the server has.
    fn run(mut self, stop: &Stop, server: &LocalServer) {
        while !stop.is_asked() && !server.thread.is_finished() {
            self.events.wait(TURN);
            let now = Instant::now();
            while let Some(event) = self.events.poll() {
                self.handle(&event, now);
            }
            let is_ringing = self.rings.is_some_and(|(from, until)| from <= now && now < until);
            self.room.microphone().set_muted(!is_ringing);
        }
        self.room.leave_and_wait(LEAVE_WITHIN);
    }

    fn handle(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Room(RoomEvent::PeerJoined { name, .. }) if name != ECHO => {
                println(&format!("{} joins", harmless(name)));
                let from = now + RINGS_AFTER;
                self.rings = Some((from, from + RING));
            }
            Event::Room(RoomEvent::PeerLeft { name, .. }) if name != ECHO => {
                println(&format!("{} leaves", harmless(name)));
            }
            _ => {}
        }
    }
}

/// Whether a program was started that shows the page.
fn open_browser(link: &str) -> bool {
    // Without a screen it would be a browser of letters, in this very terminal.
    let has_screen = !cfg!(all(unix, not(target_os = "macos")))
        || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    has_screen && open::that_detached(link).is_ok()
}
