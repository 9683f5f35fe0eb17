//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use voicemesh::{FrameDuration, InputSpec, OutputSpec, Presence};

use crate::exit::EXIT_CODES;

/// Where a server is looked for when nobody says.
pub const DEFAULT_SERVER: &str = "ws://127.0.0.1:8080";
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
    #[command(after_help = EXIT_CODES)]
    Join(JoinArguments),
    /// Wait in a room and say back what is heard, so that one person alone can try everything.
    #[command(after_help = EXIT_CODES)]
    Echo(EchoArguments),
    /// List microphones and speakers.
    Devices,
    /// Run the signaling server: rooms, introductions, relay.
    Serve(Box<voicemesh_signaling::Config>),
}

/// For `join`.
#[derive(Args, Debug)]
pub struct JoinArguments {
    /// The room's name.
    pub room: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub stay: StayArguments,

    /// The name that others see [default: your login name].
    #[arg(long)]
    pub name: Option<String>,

    /// What you speak with: a microphone's name, "default", a .wav file, "tone", "silence" or "null".
    #[arg(long, default_value = "default")]
    pub input: InputSpec,

    /// Where you hear the others: a speaker's name, "default", a .wav file to write, or "null".
    #[arg(long, default_value = "default")]
    pub output: OutputSpec,

    /// Join muted; /unmute speaks.
    #[arg(long)]
    pub muted: bool,

    /// Only join if somebody is in the room already.
    #[arg(long, conflicts_with = "must_not_exist")]
    pub must_exist: bool,

    /// Only join if nobody is in the room yet.
    #[arg(long)]
    pub must_not_exist: bool,

    /// Milliseconds of speech in a packet: 10 is quicker, 40 sends less.
    #[arg(long, value_name = "MS", default_value = "20", value_parser = frame)]
    pub frame_ms: FrameDuration,

    /// Bits per second of your speech.
    #[arg(long, value_name = "BITS", default_value_t = 32_000, value_parser = clap::value_parser!(u32).range(6_000..=510_000))]
    pub bitrate: u32,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub microphone: MicrophoneArguments,

    /// Keep a recording in this folder, one Ogg/Opus file for each who speaks. Everyone in the room sees that it is on.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// What is done to the microphone's sound, and when it is sent.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicrophoneArguments {
    /// When you are heard: when you speak, always, or while a key is held (F4 in the live view).
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ActivationChoice::Voice)]
    pub activation: ActivationChoice,

    /// How much steady noise is removed.
    #[arg(long, value_enum, value_name = "HOW MUCH", default_value_t = NoiseChoice::High)]
    pub noise: NoiseChoice,

    /// Whether what your speaker plays is removed from what your microphone hears.
    #[arg(long, value_enum, value_name = "ON|OFF", default_value_t = Switch::On)]
    pub echo_cancel: Switch,

    /// Whether quiet speech is made louder and loud speech softer.
    #[arg(long, value_enum, value_name = "ON|OFF", default_value_t = Switch::On)]
    pub gain_control: Switch,

    /// Whether rumble below the voice is removed.
    #[arg(long, value_enum, value_name = "ON|OFF", default_value_t = Switch::On)]
    pub high_pass: Switch,
}

impl MicrophoneArguments {
    /// Of one that is no microphone: all of it is sent as it is.
    pub const ALWAYS: Self = Self {
        activation: ActivationChoice::Always,
        noise: NoiseChoice::Off,
        echo_cancel: Switch::Off,
        gain_control: Switch::Off,
        high_pass: Switch::Off,
    };
}

/// When one is heard.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationChoice {
    /// When somebody speaks.
    Voice,
    /// Whenever there is any sound.
    Always,
    /// While a key is held.
    PushToTalk,
}

/// How much steady noise is removed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseChoice {
    /// None.
    Off,
    /// About 6 dB.
    Low,
    /// About 12 dB.
    Moderate,
    /// About 18 dB.
    High,
}

/// On or off.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// For `echo`.
#[derive(Args, Debug)]
pub struct EchoArguments {
    /// The room's name.
    pub room: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub stay: StayArguments,

    /// The name that others see.
    #[arg(long, default_value = "echo")]
    pub name: String,
}

/// What every stay in a room needs.
#[derive(Args, Debug)]
pub struct StayArguments {
    /// The server, such as wss://voice.example.org [default: ws://127.0.0.1:8080, this machine].
    #[arg(long, env = "VOICEMESH_SERVER", value_name = "URL")]
    pub server: Option<String>,

    /// Leave after so long in the room.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,

    /// End when the server has been out of reach for so long; otherwise it is tried for ever.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub give_up_after: Option<Duration>,

    /// No direct connections, so that nobody in the room sees this machine's network address.
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

    /// Folder of the identity by which the server knows you again [default: your configuration folder].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Certificate (PEM) to trust beside those that the system trusts.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

impl JoinArguments {
    /// What must be true of the room.
    pub fn presence(&self) -> Presence {
        match (self.must_exist, self.must_not_exist) {
            (true, _) => Presence::MustExist,
            (_, true) => Presence::MustNotExist,
            (false, false) => Presence::Either,
        }
    }
}

impl StayArguments {
    /// The server's address.
    pub fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(DEFAULT_SERVER)
    }
}

/// The login name, as far as it can be a display name.
pub fn login_name() -> String {
    let variables = ["USER", "LOGNAME", "USERNAME"];
    let name = variables.iter().filter_map(|name| std::env::var(name).ok()).find(|name| !name.trim().is_empty());
    name.map_or_else(
        || "somebody".to_owned(),
        |name| name.chars().filter(|letter| !letter.is_control()).take(16).collect(),
    )
}

fn frame(text: &str) -> Result<FrameDuration, String> {
    let millis = text.parse().unwrap_or(0_u64);
    let found = FrameDuration::ALL.into_iter().find(|frame| frame.millis() == millis);
    found.ok_or_else(|| "10, 20, 40 or 60".to_owned())
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
        Arguments::try_parse_from(line.split(' '))
    }

    fn join(line: &str) -> JoinArguments {
        match parse(line).expect("a command line").command {
            Command::Join(join) => join,
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
        assert_eq!((join.presence(), join.frame_ms, join.bitrate), (Presence::Either, FrameDuration::Ms20, 32_000));
        assert_eq!((join.stay.duration, join.stay.give_up_after), (None, None));
    }

    #[test]
    fn all_settings_arrive() {
        let join = join(
            "voicemesh join lobby --duration 1.5 --give-up-after 30 --json --status-interval 0.5 --must-exist --frame-ms 10 --bitrate 24000",
        );
        assert_eq!(join.stay.duration, Some(Duration::from_millis(1500)));
        assert_eq!(join.stay.give_up_after, Some(Duration::from_secs(30)));
        assert_eq!(join.stay.status_interval, Some(Duration::from_millis(500)));
        assert_eq!((join.presence(), join.frame_ms, join.bitrate), (Presence::MustExist, FrameDuration::Ms10, 24_000));
    }

    #[test]
    fn the_microphone_is_set_by_words() {
        let as_it_is = join("voicemesh join lobby");
        assert_eq!(
            (as_it_is.microphone.activation, as_it_is.microphone.noise),
            (ActivationChoice::Voice, NoiseChoice::High)
        );
        let join =
            join("voicemesh join lobby --activation push-to-talk --noise off --echo-cancel off --record talks --plain");
        let microphone = join.microphone;
        assert_eq!((microphone.activation, microphone.noise), (ActivationChoice::PushToTalk, NoiseChoice::Off));
        assert_eq!((microphone.echo_cancel, microphone.gain_control), (Switch::Off, Switch::On));
        assert_eq!((join.record, join.stay.plain), (Some(PathBuf::from("talks")), true));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_code_2() {
        for line in [
            "voicemesh",
            "voicemesh join",
            "voicemesh join lobby --must-exist --must-not-exist",
            "voicemesh join lobby --frame-ms 15",
            "voicemesh join lobby --bitrate 10",
            "voicemesh join lobby --duration never",
            "voicemesh join lobby --duration -1",
            "voicemesh join lobby --duration NaN",
            "voicemesh join lobby --status-interval 1",
            "voicemesh join lobby --noise some",
            "voicemesh join lobby --activation never",
            "voicemesh join lobby --plain --json",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(crate::exit::Exit::Usage.code()), "{line}");
        }
    }
}
