//! How the command ends: a number for scripts, a sentence for people.

use std::process::ExitCode;

use voicemesh::{DeviceError, JoinError};

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for was done, or the user ended it.
    Done,
    /// Anything without a specific number.
    Other,
    /// The command line is wrong, the server's address included.
    Usage,
    /// The server was not reached within `--give-up-after`, or the host of a link not at all.
    Unreachable,
    /// The server, or the host, does not let this peer into the room.
    Refused,
    /// There is no such microphone or speaker.
    Device,
    /// The same identity joined from somewhere else.
    Replaced,
}

/// For the end of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended by you
  1  any other failure
  2  wrong command line or server address
  3  the server was not reached within --give-up-after, or the host of a link not at all
  4  the server or the host refused: room full, room missing, …
  5  no such microphone or speaker
  6  the same identity joined this room from somewhere else";

/// A program that was asked to end twice ends like this, as shells expect of Ctrl-C.
pub const INTERRUPTED_TWICE: i32 = 130;

/// Why the command ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    /// For people: what happened, and what next.
    pub message: String,
    /// For programs: what next alone, if something is known to help. The message has it as well.
    pub next_step: Option<String>,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Device => 5,
            Self::Replaced => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Failure {
    /// Without a step that would help beside what the message says.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), next_step: None }
    }

    /// A device that cannot be opened, where there is no room to join.
    pub fn device(error: &DeviceError) -> Self {
        let next =
            if error.is_about_a_file() { "" } else { "`voicemesh devices` lists what there is." };
        let next_step = (!next.is_empty()).then(|| next.to_owned());
        Self { exit: Exit::Device, message: two_sentences(&error.to_string(), next), next_step }
    }

    /// A failure without a specific number.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Exit::Other, message)
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        let (exit, next) = match &error {
            JoinError::BadServer { .. } => (Exit::Usage, ""),
            JoinError::RoomTooLong | JoinError::RoomBlank | JoinError::RoomUnlinkable => {
                (Exit::Usage, "")
            }
            JoinError::BadName(_) => (Exit::Usage, "Name it with --name."),
            JoinError::TokenTooLong | JoinError::PasswordTooLong | JoinError::BadRoomKey(_) => {
                (Exit::Usage, "")
            }
            JoinError::BadProxy { .. } => (Exit::Usage, "--proxy none does without."),
            JoinError::NoRoomInLink(_) | JoinError::BadRoomInLink { .. } => {
                (Exit::Usage, "Or name the room, and the server with --server.")
            }
            JoinError::Certificate(_) => (Exit::Usage, "Name it with --ca."),
            JoinError::Input(why) if why.is_about_a_file() => {
                (Exit::Device, "--input silence does without.")
            }
            JoinError::Output(why) if why.is_about_a_file() => {
                (Exit::Device, "--output null does without.")
            }
            JoinError::Input(_) => (
                Exit::Device,
                "`voicemesh devices` lists what there is; --input silence does without.",
            ),
            JoinError::Output(_) => (
                Exit::Device,
                "`voicemesh devices` lists what there is; --output null does without.",
            ),
            JoinError::Recording(_) => (Exit::Other, "Name it with --record."),
            _ => (Exit::Other, ""),
        };
        // The error's own sentence has it as well, without this command's options.
        let next_step = match &error {
            JoinError::BadServer { .. } => "Use wss://host, or ws://host:port on your own machine.",
            JoinError::RoomTooLong | JoinError::RoomBlank | JoinError::RoomUnlinkable => {
                "Choose another name for the room."
            }
            JoinError::BadName(_) => "Choose another with --name.",
            JoinError::TokenTooLong => "Copy the link or the token again, whole and alone.",
            JoinError::BadRoomKey(_) => "Copy the whole link again.",
            JoinError::PasswordTooLong => "Ask for the room's password, or choose a shorter one.",
            JoinError::NoRoomInLink(_) | JoinError::BadRoomInLink { .. } => {
                "Copy the link again, or name the room, and the server with --server."
            }
            JoinError::Certificate(_) => "Name a PEM file with --ca.",
            JoinError::Recording(_) => "Name another folder with --record.",
            JoinError::System { .. } => "End other programs, or raise the limits of this user.",
            _ => next,
        };
        let next_step = (!next_step.is_empty()).then(|| next_step.to_owned());
        Self { exit, message: two_sentences(&error.to_string(), next), next_step }
    }
}

fn two_sentences(what: &str, next: &str) -> String {
    let what = what.trim_end();
    match next {
        "" => what.to_owned(),
        next if what.ends_with(['.', '!', '?']) => format!("{what} {next}"),
        next => format!("{what}. {next}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_end_has_its_own_number_and_help_names_it() {
        let all = [
            Exit::Done,
            Exit::Other,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Refused,
            Exit::Device,
            Exit::Replaced,
        ];
        for (number, exit) in all.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
            assert!(EXIT_CODES.contains(&format!("\n  {number}  ")), "{exit:?}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_a_wrong_command_line() {
        let error = JoinError::BadServer {
            url: "ftp://x".into(),
            why: "it must begin with wss:// or ws://".into(),
        };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.message.contains("ftp://x") && failure.message.contains("Use wss://"),
            "{failure:?}"
        );
    }

    #[test]
    fn who_has_no_microphone_is_told_how_to_do_without() {
        let failure = Failure::from(JoinError::Input(DeviceError::NoMicrophone));
        assert_eq!(failure.exit, Exit::Device);
        assert!(failure.message.starts_with("no microphone was found"), "{failure:?}");
        assert!(
            failure.message.contains("voicemesh devices")
                && failure.message.contains("--input silence")
        );
        assert_eq!(Failure::from(JoinError::Output(DeviceError::NoSpeaker)).exit, Exit::Device);
        let failure =
            Failure::from(JoinError::Output(DeviceError::SameFile { path: "a.wav".into() }));
        assert!(
            !failure.message.contains("voicemesh devices"),
            "the list of devices says nothing about a file: {failure:?}"
        );
    }

    #[test]
    fn a_machine_that_refuses_has_no_number_of_its_own() {
        assert_eq!(
            Failure::from(JoinError::System { what: "a thread", why: "no threads".into() }).exit,
            Exit::Other
        );
        assert_eq!(Failure::from(JoinError::Certificate("no such file".into())).exit, Exit::Usage);
    }
}
