//! What can go wrong when a device is opened, in sentences that say what to do next.

use std::path::PathBuf;

use crate::cause::Cause;

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
        /// What the sound system reports, in our words.
        #[source]
        why: Cause,
    },
    /// No device was named and there is no default microphone.
    #[error("no microphone was found; plug one in, or use the input `silence` to listen only")]
    NoMicrophone,
    /// No device was named and there is no default speaker.
    #[error("no speaker was found; plug one in, or use the output `null` to speak only")]
    NoSpeaker,
    /// No device has that name.
    #[error("there is no {direction} called `{name}`; {}", choice(present))]
    NotFound {
        /// `microphone` or `speaker`.
        direction: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are, separated by commas, or `none` if there is none to choose.
        present: String,
    },
    /// The operating system refuses.
    #[error(
        "the system does not let this program use `{name}`; allow it in the system's privacy or group settings ({why})"
    )]
    Refused {
        /// The device.
        name: String,
        /// What the sound system reports, in our words.
        #[source]
        why: Cause,
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
        #[source]
        why: Cause,
        /// What the person can do about that cause.
        step: &'static str,
    },
    /// A WAV file that cannot be read.
    #[error("{} cannot be played as a microphone: {why}; choose another file", path.display())]
    BadWav {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: Cause,
    },
    /// A WAV file that cannot be written.
    #[error("{} cannot be written as a speaker: {why}; check the folder and its permissions", path.display())]
    CannotWriteWav {
        /// The file.
        path: PathBuf,
        /// What is wrong, in our words.
        #[source]
        why: Cause,
    },
    /// What is to be written as a speaker is no WAV file by its name.
    #[error("{} cannot be written as a speaker: its name must end in .wav; name it so", path.display())]
    NotNamedWav {
        /// The file.
        path: PathBuf,
    },
    /// What was given as a microphone or speaker is in the file system, and no file.
    #[error("{} is no {direction} and no file: it is {what}; choose a device from the list, a file whose name ends in .wav, or `null`", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
        /// `microphone` or `speaker`.
        direction: &'static str,
        /// What it is.
        what: &'static str,
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
    NoThread(#[source] Cause),
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
            | Self::NotAFile { .. }
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

fn choice(present: &str) -> String {
    if present == "none" { "plug it in".to_owned() } else { format!("choose one of: {present}") }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::cause::{file_words, system_words};

    const FOREIGN: [&str; 6] =
        ["os error", "ALSA", "snd_", "No such file", "Permission denied", "reports error"];

    /// All errors, one after the other: the compiler wants each here.
    fn after(error: Option<&DeviceError>) -> Option<DeviceError> {
        use DeviceError as E;
        let (name, path) = (|| "Mic".to_owned(), || PathBuf::from("a.wav"));
        let missing = || io::Error::from_raw_os_error(5);
        Some(match error {
            None => "tone:high".parse::<crate::InputSpec>().expect_err("no tone"),
            Some(E::BadSpec { .. }) => E::NoSoundSystem { why: "it has failed".into() },
            Some(E::NoSoundSystem { .. }) => E::NoMicrophone,
            Some(E::NoMicrophone) => E::NoSpeaker,
            Some(E::NoSpeaker) => {
                E::NotFound { direction: "microphone", name: name(), present: "Mic, Line".into() }
            }
            Some(E::NotFound { .. }) => E::Refused { name: name(), why: "not allowed".into() },
            Some(E::Refused { .. }) => E::NotAnswering { name: name() },
            Some(E::NotAnswering { .. }) => E::CannotOpen {
                name: name(),
                why: "another program uses it".into(),
                step: "choose another device",
            },
            Some(E::CannotOpen { .. }) => {
                E::BadWav { path: path(), why: Cause::of_file(missing()) }
            }
            Some(E::BadWav { .. }) => {
                E::CannotWriteWav { path: path(), why: Cause::of_file(missing()) }
            }
            Some(E::CannotWriteWav { .. }) => E::NotNamedWav { path: path() },
            Some(E::NotNamedWav { .. }) => {
                E::NotAFile { path: path(), direction: "speaker", what: "a pipe" }
            }
            Some(E::NotAFile { .. }) => E::SameFile { path: path() },
            Some(E::SameFile { .. }) => E::WrittenFile { path: path() },
            Some(E::WrittenFile { .. }) => E::NoThread(Cause::of_system(missing())),
            Some(E::NoThread(_)) => return None,
        })
    }

    #[test]
    fn each_error_has_a_sentence_with_the_next_step() {
        for error in std::iter::successors(after(None), |error| after(Some(error))) {
            let step = match &error {
                DeviceError::BadSpec { .. } => "a tone is written `tone`",
                DeviceError::NoSoundSystem { .. } => "; start it, or use files or silence",
                DeviceError::NoMicrophone | DeviceError::NoSpeaker => "; plug one in",
                DeviceError::NotFound { .. } => "; choose one of: Mic, Line",
                DeviceError::Refused { .. } => "; allow it in",
                DeviceError::NotAnswering { .. } => "; connect or start it",
                DeviceError::CannotOpen { .. } => "; choose another device",
                DeviceError::BadWav { .. } => "; choose another file",
                DeviceError::CannotWriteWav { .. } => "; check the folder",
                DeviceError::NotNamedWav { .. } => "; name it so",
                DeviceError::NotAFile { .. } => "; choose a device from the list",
                DeviceError::SameFile { .. } => "; name another file for what is heard",
                DeviceError::WrittenFile { .. } => "; name another file as the microphone",
                DeviceError::NoThread(_) => "; end other programs",
            };
            let sentence = error.to_string();
            assert!(sentence.contains(step), "{step}: {sentence}");
            assert!(!FOREIGN.iter().any(|word| sentence.contains(word)), "{sentence}");
        }
    }

    #[test]
    fn no_number_and_no_words_of_the_system_stand_for_a_cause() {
        for number in 1..140 {
            let error = io::Error::from_raw_os_error(number);
            let own = error.to_string();
            let (own, _) = own.split_once(" (os error").expect("the system's words");
            for words in [file_words(&error), system_words(&error)] {
                assert!(
                    !words.contains(own) && !words.contains(|letter: char| letter.is_ascii_digit()),
                    "{number}: {words}"
                );
            }
        }
        let sentence = "too many files of this name are there already";
        assert_eq!(file_words(&io::Error::other(sentence)), sentence);
    }
}
