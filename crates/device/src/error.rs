//! What can go wrong when a device is opened, in sentences that say what to do next.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Why a device could not be opened or listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A text that names no device.
    #[error("`{text}` names no device: {why}")]
    BadSpec {
        /// The text as given.
        text: String,
        /// What is wrong with it and what would be right.
        why: &'static str,
    },
    /// There is no sound system, or it does not answer.
    #[error(
        "the sound system of this machine does not answer: {why}; start it, or use files or silence as devices"
    )]
    NoSoundSystem {
        /// The sound system's own words.
        why: String,
    },
    /// No device was named and there is no default microphone.
    #[error("no microphone was found; plug one in, or use the input `silence` to listen only")]
    NoMicrophone,
    /// No device was named and there is no default speaker.
    #[error("no speaker was found; plug one in, or use the output `null` to speak only")]
    NoSpeaker,
    /// No device has that name.
    #[error("there is no {direction} called `{name}`; there are: {present}")]
    NotFound {
        /// `microphone` or `speaker`.
        direction: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are, separated by commas, or `none`.
        present: String,
    },
    /// The operating system refuses.
    #[error(
        "the system does not let this program use `{name}`; allow it in the system's privacy or group settings ({why})"
    )]
    Refused {
        /// The device.
        name: String,
        /// The sound system's own words.
        why: String,
    },
    /// The device is not connected, or belongs to a sound server that does not run.
    #[error(
        "`{name}` does not answer: it is not connected, or its sound server does not run; connect or start it, or choose \
         another device"
    )]
    NotAnswering {
        /// The device.
        name: String,
    },
    /// The device is there and could not be opened.
    #[error("`{name}` could not be opened: {why}; {step}")]
    CannotOpen {
        /// The device.
        name: String,
        /// The cause.
        why: String,
        /// What the person can do about that cause.
        step: &'static str,
    },
    /// A WAV file that cannot be read.
    #[error("{} cannot be played as a microphone: {why}", path.display())]
    BadWav {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A WAV file that cannot be written.
    #[error("{} cannot be written as a speaker: {why}; check the folder and its permissions", path.display())]
    CannotWriteWav {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        why: String,
    },
    /// What is to be written as a speaker is no WAV file by its name.
    #[error("{} cannot be written as a speaker: its name must end in .wav", path.display())]
    NotNamedWav {
        /// The file.
        path: PathBuf,
    },
    /// The file that is played as a microphone would be overwritten.
    #[error("{} is the file that is played as the microphone; name another file for what is heard", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// The file that is to be played as the microphone is being written with what is heard.
    #[error("{} is being written with what is heard; name another file as the microphone", path.display())]
    WrittenFile {
        /// The file.
        path: PathBuf,
    },
    /// No thread could be started for the device.
    #[error(
        "no thread could be started for the device: {0}; end other programs, or raise the limit on threads"
    )]
    NoThread(String),
}

impl DeviceError {
    /// Whether the error may pass when a device is plugged in or a sound system is started. Failing
    /// to open a device that was named does not count: the caller, who named it, gets the error.
    pub(crate) fn may_pass(&self, unnamed: bool) -> bool {
        match self {
            Self::NoSoundSystem { .. } | Self::NoMicrophone | Self::NoSpeaker => true,
            Self::Refused { .. } | Self::NotAnswering { .. } | Self::CannotOpen { .. } => unnamed,
            Self::BadSpec { .. }
            | Self::NotFound { .. }
            | Self::BadWav { .. }
            | Self::CannotWriteWav { .. }
            | Self::NotNamedWav { .. }
            | Self::SameFile { .. }
            | Self::WrittenFile { .. }
            | Self::NoThread(_) => false,
        }
    }

    /// Whether it is about a file, so that the list of devices does not help.
    #[must_use]
    pub fn is_about_a_file(&self) -> bool {
        matches!(
            self,
            Self::BadWav { .. }
                | Self::CannotWriteWav { .. }
                | Self::NotNamedWav { .. }
                | Self::SameFile { .. }
                | Self::WrittenFile { .. }
        )
    }
}

/// Why the system gives this program no thread, socket or runtime. Its own words go to the log.
#[must_use]
pub fn system_words(error: &io::Error) -> String {
    tracing::debug!(%error, "the system refused");
    let words = match error.kind() {
        ErrorKind::WouldBlock => "it allows this user, or this program, no more threads",
        ErrorKind::OutOfMemory => "it has no memory left",
        ErrorKind::PermissionDenied => "it does not allow it",
        ErrorKind::Unsupported => "it is not able to",
        _ => match error.raw_os_error() {
            Some(number) if is_out_of_files(number) => {
                "this program has too many files and connections open"
            }
            Some(number) => return format!("it reports error {number}"),
            None => "the reason is not known",
        },
    };
    words.to_owned()
}

/// EMFILE and ENFILE, the same on all Unix systems; WSAEMFILE.
const fn is_out_of_files(number: i32) -> bool {
    if cfg!(windows) { number == 10_024 } else { matches!(number, 23 | 24) }
}

/// What is wrong with a file, without the system's error number where a sentence says it.
#[must_use]
pub fn file_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        ErrorKind::PermissionDenied => "this user has no permission for it".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        ErrorKind::NotADirectory => "a part of its path is not a folder".to_owned(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "the disk is read-only".to_owned(),
        ErrorKind::ResourceBusy | ErrorKind::ExecutableFileBusy => {
            "another program has locked it".to_owned()
        }
        ErrorKind::AlreadyExists => "it is there already".to_owned(),
        // The system's own words, which end with the number.
        _ => error.to_string().split(" (os error").next().unwrap_or_default().to_owned(),
    }
}
