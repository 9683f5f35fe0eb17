//! The command line.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use voicemesh::{
    AccessToken, FrameDuration, InputSpec, JoinError, JoinOptions, OutputSpec, Password,
    Permissions, Presence, RoomKey,
};
use voicemesh_netsim::{Conditions, Loss};

use crate::encryption::EndToEnd;
use crate::exit::EXIT_CODES;
use crate::microphone::MicrophoneArguments;

/// The server's address unless one is named.
pub const DEFAULT_SERVER: &str = "ws://127.0.0.1:8080";
/// Where `host` listens unless something else is named. The port stays the same, so that a router
/// can be told to forward it.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 7788));
/// No session lasts longer.
const LONGEST_SECONDS: f64 = 365.0 * 24.0 * 3600.0;

/// Talk to the people in a room by its name.
#[derive(Parser, Debug)]
#[command(name = "voicemesh", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Join a room, speak and listen.
    #[command(after_help = EXIT_CODES, allow_negative_numbers = true)]
    Join(Box<JoinArguments>),
    /// Let others join you without any server: prints a link for each address that they may reach.
    #[command(after_help = EXIT_CODES, allow_negative_numbers = true)]
    Host(Box<HostArguments>),
    /// Wait in a room and say back what is heard, so that one person alone can try everything.
    #[command(after_help = EXIT_CODES, allow_negative_numbers = true)]
    Echo(EchoArguments),
    /// Show what your microphone gives, and what would help.
    #[command(after_help = EXIT_CODES, allow_negative_numbers = true)]
    Mic(MicArguments),
    /// Hear yourself as others hear you, over a network as bad as you like.
    #[command(after_help = EXIT_CODES, allow_negative_numbers = true)]
    Loopback(LoopbackArguments),
    /// List microphones and speakers.
    #[command(after_help = EXIT_CODES)]
    Devices(DevicesArguments),
    /// Make a link with a key to a room: what is said between those who join by it is encrypted end
    /// to end, and the server cannot listen.
    #[command(after_help = EXIT_CODES)]
    Link(LinkArguments),
    /// Make an access token, for a server that was started with --auth-secret.
    Token(TokenArguments),
    /// Try it on this machine alone: a server, its page in your browser, and an echo to talk to.
    #[command(after_help = EXIT_CODES)]
    Try(TryArguments),
    /// Run the signaling server: rooms, introductions, relay.
    Serve(Box<voicemesh_signaling::Config>),
}

/// For `join`.
#[derive(Args, Debug)]
pub struct JoinArguments {
    /// The room's name, or a link to it.
    #[arg(
        help = "The room's name, or a link to it, such as https://voice.example.org/r/lobby, or one of `voicemesh host`"
    )]
    pub room: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub stay: StayArguments,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub voice: VoiceArguments,

    /// Only join if another peer is in the room already.
    #[arg(long, conflicts_with = "must_not_exist")]
    pub must_exist: bool,

    /// Only join if no other peer is in the room yet.
    #[arg(long, visible_alias = "exclusive")]
    pub must_not_exist: bool,

    /// Keep a recording in this folder, one Ogg/Opus file for each who speaks. Everyone in the room
    /// sees that it is on.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// For `host`.
#[derive(Args, Debug)]
pub struct HostArguments {
    /// The address and UDP port to listen on.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = DEFAULT_LISTEN)]
    pub listen: SocketAddr,

    /// An address by which others reach this machine, and it does not know by itself: that of your
    /// router, which forwards the port. May be given several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = place)]
    pub public: Vec<(String, u16)>,

    /// How many others may be there at one time.
    #[arg(long, value_name = "NUMBER", default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub most: u16,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub voice: VoiceArguments,

    /// End after so long.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,

    /// One JSON object a line, for programs.
    #[arg(long)]
    pub json: bool,

    /// Lines instead of the live view of a terminal.
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,

    /// With --json: a "status" line every so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "json")]
    pub status_interval: Option<Duration>,
}

/// Who one is to the others, and what one speaks and hears with.
#[derive(Args, Debug)]
pub struct VoiceArguments {
    /// The name that others see [default: your login name].
    #[arg(long, allow_hyphen_values = true)]
    pub name: Option<String>,

    /// What you speak with: a microphone's name, "default", a .wav file, "tone", "silence" or
    /// "null".
    #[arg(long, default_value = "default")]
    pub input: InputSpec,

    /// Where you hear the others: a speaker's name, "default", a .wav file to write, or "null".
    #[arg(long, default_value = "default")]
    pub output: OutputSpec,

    /// Begin muted; /unmute speaks.
    #[arg(long)]
    pub muted: bool,

    /// Milliseconds of speech in a packet: 10 is quicker, 40 sends less.
    #[arg(long, value_name = "MS", default_value = "20", value_parser = frame)]
    pub frame_ms: FrameDuration,

    /// Bits per second of your speech.
    #[arg(long, value_name = "BITS", default_value_t = 32_000, value_parser = bitrate)]
    pub bitrate: u32,

    /// Bits per second that your speech may take of your upload, headers included, from 48000 on
    /// [default: as much as is measured to fit]. With little, several listeners hear you through the server.
    #[arg(long, value_name = "BITS", value_parser = uplink)]
    pub uplink: Option<u32>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub microphone: MicrophoneArguments,
}

/// For `link`.
#[derive(Args, Debug)]
pub struct LinkArguments {
    /// The room's name, or a link to it [default: a new name].
    pub room: Option<String>,

    /// The server, such as wss://voice.example.org [default: ws://127.0.0.1:8080, this machine].
    #[arg(long, env = "VOICEMESH_SERVER", value_name = "URL")]
    pub server: Option<String>,

    /// The server is that of the environment, and no one has named it for this link.
    #[arg(skip)]
    pub is_server_of_environment: bool,
}

/// For `token`.
#[derive(Args, Debug)]
pub struct TokenArguments {
    /// The room's name, or a link to it.
    pub room: String,

    /// The file with the secret, as the server has it.
    #[arg(long, value_name = "FILE", env = "VOICEMESH_AUTH_SECRET")]
    pub secret: PathBuf,

    /// Take the room's name as a pattern, in which * stands for any text.
    #[arg(long)]
    pub pattern: bool,

    /// The name that others see; without it, the member chooses.
    #[arg(long, allow_hyphen_values = true)]
    pub name: Option<String>,

    /// What the member may do: speak, listen, data, moderate [default: all but moderate].
    #[arg(long, value_name = "LIST", value_parser = permissions)]
    pub permissions: Option<Permissions>,

    /// Whose token it is, to you: a member joins with it as one peer at a time.
    #[arg(long, value_name = "ID")]
    pub subject: Option<String>,

    /// The server's --auth-audience.
    #[arg(long, value_name = "TEXT", env = "VOICEMESH_AUTH_AUDIENCE")]
    pub audience: Option<String>,

    /// When it expires: 30s, 15m, 12h or 7d from now.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time_from_now)]
    pub expires: Duration,
}

/// For `echo`.
#[derive(Args, Debug)]
pub struct EchoArguments {
    /// The room's name, or a link to it.
    pub room: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub stay: StayArguments,

    /// The name that others see.
    #[arg(long, default_value = "echo", allow_hyphen_values = true)]
    pub name: String,
}

/// For `mic`.
#[derive(Args, Debug)]
pub struct MicArguments {
    /// The microphone: a name, "default", a .wav file, "tone" or "silence".
    #[arg(long, default_value = "default")]
    pub input: InputSpec,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub microphone: MicrophoneArguments,

    /// End after so long [default: with Ctrl-C].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,

    /// One JSON object a line, ten a second, for programs.
    #[arg(long)]
    pub json: bool,
}

/// For `loopback`.
#[derive(Args, Debug)]
pub struct LoopbackArguments {
    /// The microphone: a name, "default", a .wav file, "tone" or "silence".
    #[arg(long, default_value = "default")]
    pub input: InputSpec,

    /// The speaker: a name, "default", a .wav file to write, or "null".
    #[arg(long, default_value = "default")]
    pub output: OutputSpec,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub microphone: MicrophoneArguments,

    /// Milliseconds that every packet takes.
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = between::<0, 10_000>)]
    pub delay: f64,

    /// Up to so many milliseconds more, another for each packet.
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = between::<0, 10_000>)]
    pub jitter: f64,

    /// Of a hundred packets, so many are lost.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = between::<0, 100>)]
    pub loss: f64,

    /// Losses come so many in a row, on average.
    #[arg(long, value_name = "PACKETS", default_value_t = 1.0, value_parser = between::<1, 1_000>)]
    pub burst: f64,

    /// Milliseconds of speech in a packet.
    #[arg(long, value_name = "MS", default_value = "20", value_parser = frame)]
    pub frame_ms: FrameDuration,

    /// Bits per second of your speech.
    #[arg(long, value_name = "BITS", default_value_t = 32_000, value_parser = bitrate)]
    pub bitrate: u32,

    /// End after so long [default: with Ctrl-C].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,

    /// One JSON object a line, one a second, for programs.
    #[arg(long)]
    pub json: bool,
}

/// For `try`.
#[derive(Args, Debug)]
pub struct TryArguments {
    /// Only say where the page is.
    #[arg(long)]
    pub no_browser: bool,
}

/// For `devices`.
#[derive(Args, Debug)]
pub struct DevicesArguments {
    /// One JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// What every stay in a room needs.
#[derive(Args, Debug, Default)]
pub struct StayArguments {
    /// The server, such as wss://voice.example.org [default: ws://127.0.0.1:8080, this machine].
    #[arg(long, env = "VOICEMESH_SERVER", value_name = "URL")]
    pub server: Option<String>,

    /// The server is that of the environment, and no one has named it for this room.
    #[arg(skip)]
    pub is_server_of_environment: bool,

    /// Of the options that need a server, those that stand on the command line.
    #[arg(skip)]
    pub named: Vec<&'static str>,

    /// A server that was named, while the room is a link to another one.
    #[arg(skip)]
    pub unused_server: Option<String>,

    /// The room's password, decided by its first peer. In the environment it does not show among
    /// the processes.
    #[arg(long, env = "VOICEMESH_PASSWORD", hide_env_values = true, allow_hyphen_values = true)]
    pub password: Option<Password>,

    /// The access token, for servers that ask for one. Like the password, for the server that is
    /// named; for the link's, if none is. In the environment it does not show among the processes.
    #[arg(long, env = "VOICEMESH_TOKEN", hide_env_values = true)]
    pub token: Option<AccessToken>,

    /// Leave after so long in the room.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,

    /// End when the server has been out of reach for so long; otherwise it is tried for ever.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub give_up_after: Option<Duration>,

    /// Do not encrypt end to end what is said and written here, so that the server can hear what it
    /// relays. Those who encrypt hear you, and are asked before you hear them. Has no effect where
    /// the link has a key.
    #[arg(long)]
    pub unencrypted: bool,

    /// The key in the link that was followed.
    #[arg(skip)]
    pub room_key: Option<RoomKey>,

    /// No direct connections, so that no other peer sees this machine's IP address.
    #[arg(long)]
    pub relay_only: bool,

    /// One JSON object a line, for programs.
    #[arg(long)]
    pub json: bool,

    /// Lines instead of the live view of a terminal.
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,

    /// With --json: a "status" line every so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "json")]
    pub status_interval: Option<Duration>,

    /// Folder of the identity by which the server knows you again [default: your configuration
    /// folder].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Certificates (PEM) to trust beside those that the system trusts: the server's own, or its
    /// authority's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Reach the server through this proxy, or through none.
    #[arg(
        long,
        value_name = "URL",
        help = "Reach the server through this proxy: http://[user:password@]host:port, socks5h://…, or \"none\" [default: \
                what https_proxy, http_proxy, all_proxy and no_proxy say, except on this machine and in private networks]"
    )]
    pub proxy: Option<String>,
}

impl Arguments {
    /// Takes what was found on a command line and in the environment.
    ///
    /// # Errors
    ///
    /// When that is not what this command has.
    pub fn read(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Self::from_arg_matches(matches)?;
        if let Command::Join(join) = &mut arguments.command {
            join.stay.named = named(matches);
        }
        let mark = match &mut arguments.command {
            Command::Join(join) => &mut join.stay.is_server_of_environment,
            Command::Echo(echo) => &mut echo.stay.is_server_of_environment,
            Command::Link(link) => &mut link.is_server_of_environment,
            Command::Host(_)
            | Command::Mic(_)
            | Command::Loopback(_)
            | Command::Devices(_)
            | Command::Token(_)
            | Command::Try(_)
            | Command::Serve(_) => return Ok(arguments),
        };
        *mark = matches.subcommand().is_some_and(|(_, matches)| {
            matches.value_source("server") == Some(ValueSource::EnvVariable)
        });
        Ok(arguments)
    }
}

/// Options that mean something only where there is a server, by their names in [`ArgMatches`].
const OF_SERVERS: [(&str, &str); 6] = [
    ("server", "--server"),
    ("password", "--password"),
    ("token", "--token"),
    ("state_dir", "--state-dir"),
    ("ca", "--ca"),
    ("unencrypted", "--unencrypted"),
];

/// Those of them that stand on the command line. In the environment they are for rooms.
fn named(matches: &ArgMatches) -> Vec<&'static str> {
    let Some((_, matches)) = matches.subcommand() else { return Vec::new() };
    let is_named = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    OF_SERVERS.into_iter().filter(|(id, _)| is_named(id)).map(|(_, option)| option).collect()
}

impl JoinArguments {
    /// If the room is a link, takes server and room from it.
    ///
    /// # Errors
    ///
    /// When it is a link to something else.
    pub fn follow_link(mut self) -> Result<Self, JoinError> {
        self.room = self.stay.follow_link(self.room)?;
        Ok(self)
    }

    /// What must be true of the room.
    pub fn presence(&self) -> Presence {
        match (self.must_exist, self.must_not_exist) {
            (true, _) => Presence::MustExist,
            (_, true) => Presence::MustNotExist,
            (false, false) => Presence::Either,
        }
    }
}

impl LoopbackArguments {
    /// The network that was asked for.
    pub fn conditions(&self) -> Conditions {
        let millis = |millis: f64| Duration::from_secs_f64(millis / 1000.0);
        let share = self.loss / 100.0;
        let loss = if self.burst > 1.0 && share < 1.0 {
            let to_good = 1.0 / self.burst;
            Loss::Bursts {
                to_bad: (to_good * share / (1.0 - share)).min(1.0),
                to_good,
                while_good: 0.0,
                while_bad: 1.0,
            }
        } else {
            Loss::Random(share)
        };
        Conditions { jitter: millis(self.jitter), loss, ..Conditions::delay(millis(self.delay)) }
    }
}

impl EchoArguments {
    /// If the room is a link, takes server and room from it.
    ///
    /// # Errors
    ///
    /// When it is a link to something else.
    pub fn follow_link(mut self) -> Result<Self, JoinError> {
        self.room = self.stay.follow_link(self.room)?;
        Ok(self)
    }
}

impl StayArguments {
    /// The room that a name or link names. Of a link the server and the access token are taken as
    /// well.
    fn follow_link(&mut self, room: String) -> Result<String, JoinError> {
        let options = JoinOptions::new(self.server(), room.as_str()).follow_link()?;
        // A path alone is of the server that is given anyway.
        if options.server() != self.server() {
            let linked = options.server().to_owned();
            let unused = self.server.replace(linked).filter(|named| !options.is_at(named));
            // They are for the server that was named.
            let dropped = unused.as_ref().map(|_| (self.token.take(), self.password.take()));
            let is_missed = matches!(dropped, Some((Some(_), _) | (_, Some(_))));
            self.unused_server = unused.filter(|_| is_missed || !self.is_server_of_environment);
        }
        self.token = options.access_token().cloned().or(self.token.take());
        self.room_key = options.given_room_key()?.cloned();
        Ok(options.room().to_owned())
    }

    /// How a join with them encrypts.
    pub(crate) fn end_to_end(&self) -> EndToEnd {
        match (&self.room_key, self.unencrypted) {
            (Some(_), _) => EndToEnd::WithKey,
            (None, false) => EndToEnd::WithoutKey,
            (None, true) => EndToEnd::Off,
        }
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(DEFAULT_SERVER)
    }
}

/// The login name, as far as it can be a display name.
pub fn login_name() -> String {
    let variables = ["USER", "LOGNAME", "USERNAME"];
    let name = variables
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.trim().is_empty());
    name.map_or_else(
        || "somebody".to_owned(),
        |name| name.chars().filter(|letter| !letter.is_control()).take(16).collect(),
    )
}

fn permissions(text: &str) -> Result<Permissions, String> {
    let mut permissions = Permissions::NONE;
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !permissions.allow(name) {
            return Err(format!("“{name}” is none of speak, listen, data, moderate"));
        }
    }
    Ok(permissions)
}

fn time_from_now(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let read = units.iter().find_map(|(unit, seconds)| {
        Some((text.strip_suffix(unit)?.parse::<u32>().ok()?, *seconds))
    });
    let (count, unit) = read
        .filter(|(count, _)| *count > 0)
        .ok_or("a number from 1 and s, m, h or d, such as 15m")?;
    Ok(Duration::from_secs(u64::from(count) * unit))
}

fn place(text: &str) -> Result<(String, u16), String> {
    voicemesh_renet::parse_place(text).map_err(|_| {
        "a name or an address, a colon, and a port, such as 203.0.113.5:7788".to_owned()
    })
}

fn frame(text: &str) -> Result<FrameDuration, String> {
    let millis = text.parse().unwrap_or(0_u64);
    let found = FrameDuration::ALL.into_iter().find(|frame| frame.millis() == millis);
    found.ok_or_else(|| "10, 20, 40 or 60".to_owned())
}

fn bitrate(text: &str) -> Result<u32, String> {
    let bits = text.parse().ok().filter(|bits| (6_000..=90_000).contains(bits));
    bits.ok_or_else(|| "write a whole number of bits per second from 6000 to 90000".to_owned())
}

/// One relayed copy of speech at its lowest takes at most this, in packets of 10 ms and encrypted
/// end to end as well.
const LEAST_UPLINK_BPS: u32 = 48_000;
const MOST_UPLINK_BPS: u32 = 1_000_000_000;

fn uplink(text: &str) -> Result<u32, String> {
    let bits = text.parse().ok();
    bits.filter(|bits| (LEAST_UPLINK_BPS..=MOST_UPLINK_BPS).contains(bits)).ok_or_else(|| {
        format!(
            "write a whole number of bits per second from {LEAST_UPLINK_BPS} to {MOST_UPLINK_BPS}"
        )
    })
}

fn between<const LEAST: u32, const MOST: u32>(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_between = (f64::from(LEAST)..=f64::from(MOST)).contains(&number);
    if is_between { Ok(number) } else { Err(format!("not between {LEAST} and {MOST}")) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.01..=LONGEST_SECONDS).contains(&seconds) {
        return Err("not between a hundredth of a second and a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(&Arguments::command().try_get_matches_from(line.split(' '))?)
    }

    fn join(line: &str) -> JoinArguments {
        match parse(line).expect("a command line").command {
            Command::Join(join) => *join,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    /// proves: U-01
    #[test]
    fn a_room_and_a_server_are_enough() {
        let join = join("voicemesh join lobby --server wss://voice.example.org");
        assert_eq!((join.room.as_str(), join.stay.server()), ("lobby", "wss://voice.example.org"));
        assert_eq!(
            (join.presence(), join.voice.frame_ms, join.voice.bitrate),
            (Presence::Either, FrameDuration::Ms20, 32_000)
        );
        assert_eq!((join.stay.duration, join.stay.give_up_after), (None, None));
    }

    #[test]
    fn all_settings_arrive() {
        let join = join(
            "voicemesh join lobby --duration 1.5 --give-up-after 30 --json --status-interval 0.5 --must-exist --frame-ms 10 --bitrate 24000 --uplink 200000 --password sesame",
        );
        assert_eq!(join.stay.password, Some("sesame".into()));
        assert!(!format!("{join:?}").contains("sesame"), "nothing prints it");
        assert_eq!(join.stay.duration, Some(Duration::from_millis(1500)));
        assert_eq!(join.stay.give_up_after, Some(Duration::from_secs(30)));
        assert_eq!(join.stay.status_interval, Some(Duration::from_millis(500)));
        assert_eq!(
            (join.presence(), join.voice.frame_ms, join.voice.bitrate),
            (Presence::MustExist, FrameDuration::Ms10, 24_000)
        );
        assert_eq!(join.voice.uplink, Some(200_000));
    }

    #[test]
    fn a_link_names_server_and_room() {
        let followed = |line: &str| join(line).follow_link();
        let link = followed(
            "voicemesh join https://voice.example.org/voice/r/tea%20time --server wss://other",
        );
        let link = link.expect("a link");
        assert_eq!(
            (link.room.as_str(), link.stay.server()),
            ("tea time", "wss://voice.example.org/voice")
        );
        let name = followed("voicemesh join a/r/b --server wss://other").expect("a name");
        assert_eq!((name.room.as_str(), name.stay.server()), ("a/r/b", "wss://other"));
        assert!(followed("voicemesh join https://voice.example.org/").is_err());
        let bare = followed("voicemesh join voice.example.org/r/lobby").expect("a link");
        assert_eq!((bare.room.as_str(), bare.stay.server()), ("lobby", "voice.example.org"));
    }

    #[test]
    fn what_is_for_one_server_is_not_given_to_another() {
        let followed = |server: &str, room: &str| {
            let line =
                format!("voicemesh join {room} --server {server} --token secret --password sesame");
            let stay = join(&line).follow_link().expect("a link").stay;
            (stay.token.is_some(), stay.password.is_some())
        };
        let link = "https://voice.example.org/r/tea";
        assert_eq!(followed("wss://game.example", link), (false, false));
        assert_eq!(
            followed("wss://game.example", "https://voice.example.org/r/tea#t=theirs"),
            (true, false)
        );
        assert_eq!(followed("wss://voice.example.org", link), (true, true));
        assert_eq!(followed("wss://game.example", "tea"), (true, true));
    }

    #[test]
    fn a_server_that_was_named_for_a_room_elsewhere_is_said_but_not_that_of_the_environment() {
        let unused = |room: &str, more: &str, is_of_environment: bool| {
            let mut join = join(&format!("voicemesh join {room} --server wss://b.example{more}"));
            assert!(!join.stay.is_server_of_environment);
            join.stay.is_server_of_environment = is_of_environment;
            join.follow_link().expect("a room").stay.unused_server.is_some()
        };
        let link = "https://a.example/r/tea";
        assert!(unused(link, "", false) && !unused(link, "", true));
        assert!(unused(link, " --password sesame", true), "what it was for is not used either");
        for here in ["tea", "/r/tea", "https://b.example/r/tea"] {
            assert!(!unused(here, "", false), "{here}");
        }
    }

    #[test]
    fn a_link_with_a_key_is_no_server_for_any_command() {
        for room in ["tea", "https://a.example/r/tea"] {
            let line = format!("voicemesh join {room} --server https://b.example/r/tea?k=");
            let refused = join(&format!("{line}cm9vbS1rZXktNy1oaWRlcw")).follow_link();
            let said = refused.expect_err("refused").to_string();
            assert!(said.contains("give the whole link as the room"), "{said}");
            assert!(!said.contains("cm9v"), "{said}");
        }
    }

    #[test]
    fn a_recording_and_plain_lines_are_asked_for() {
        let join = join("voicemesh join lobby --record talks --plain");
        assert_eq!((join.record, join.stay.plain), (Some(PathBuf::from("talks")), true));
    }

    #[test]
    fn a_bad_network_is_described_by_delay_jitter_loss_and_bursts() {
        let conditions = |line: &str| match parse(line).expect("a command line").command {
            Command::Loopback(loopback) => loopback.conditions(),
            other => panic!("{other:?}"),
        };
        let good = conditions("voicemesh loopback");
        assert_eq!(
            (good.latency, good.jitter, good.loss.share()),
            (Duration::ZERO, Duration::ZERO, 0.0)
        );
        let bad = conditions(
            "voicemesh loopback --delay 40 --jitter 25.5 --loss 10 --burst 3 --seconds 5",
        );
        assert_eq!(
            (bad.latency, bad.jitter),
            (Duration::from_millis(40), Duration::from_micros(25_500))
        );
        assert!((bad.loss.share() - 0.1).abs() < 1e-9 && matches!(bad.loss, Loss::Bursts { .. }));
        assert_eq!(conditions("voicemesh loopback --loss 100 --burst 3").loss, Loss::Random(1.0));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_code_2() {
        for line in [
            "voicemesh",
            "voicemesh join",
            "voicemesh join lobby --must-exist --must-not-exist",
            "voicemesh join lobby --frame-ms 15",
            "voicemesh join lobby --bitrate 10",
            "voicemesh join lobby --bitrate loud",
            "voicemesh join lobby --uplink 47999",
            "voicemesh join lobby --uplink 100000000000",
            "voicemesh join lobby --duration never",
            "voicemesh join lobby --duration -1",
            "voicemesh join lobby --duration NaN",
            "voicemesh join lobby --status-interval 1",
            "voicemesh join lobby --noise some",
            "voicemesh loopback --loss 101",
            "voicemesh loopback --delay -1",
            "voicemesh mic --seconds 0",
            "voicemesh join lobby --activation never",
            "voicemesh join lobby --plain --json",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(crate::exit::Exit::Usage.code()), "{line}");
            assert!(!error.to_string().contains("invalid digit"), "{error}");
        }
    }

    #[test]
    fn a_link_with_a_key_brings_it_and_a_damaged_one_is_refused() {
        let followed = |line: &str| join(line).follow_link();
        let link = "https://voice.example.org/r/tea#k=AAAAAAAAAAAAAAAAAAAAAA";
        let with_key = followed(&format!("voicemesh join {link}")).expect("a link");
        assert!(with_key.stay.room_key.is_some() && !with_key.stay.unencrypted);
        let without = followed("voicemesh join tea --unencrypted").expect("a name");
        assert!(without.stay.room_key.is_none() && without.stay.unencrypted);
        let damaged = followed("voicemesh join https://voice.example.org/r/tea#k=AAAA");
        assert!(matches!(damaged, Err(JoinError::BadRoomKey(_))), "{damaged:?}");
    }
}
