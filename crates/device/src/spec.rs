//! Which device, as a value and as a text that a person types.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::DeviceError;

const DEFAULT_TONE_HZ: f32 = 440.0;
/// Above this a 48 kHz tone would be another one (Nyquist), so it is refused.
const MOST_TONE_HZ: f32 = 20_000.0;
/// Before a name, for a device that is called like one of the words.
const DEVICE_PREFIX: &str = "device:";
const LOOP_SUFFIX: &str = ":loop";

/// A microphone, or what stands in for one.
///
/// As text ([`FromStr`], [`Display`](fmt::Display)):
///
/// | text | is |
/// |---|---|
/// | `default` | the system's default microphone |
/// | `NAME.wav` | the file once, then silence |
/// | `NAME.wav:loop` | the file again and again |
/// | `tone`, `tone:1000` | a sine of 440 Hz, of 1000 Hz |
/// | `silence` | samples of silence |
/// | `null`, `none` | no microphone at all: no samples |
/// | `device:TEXT` | the device called `TEXT`, even if that is one of the words above |
/// | anything else | the device of that name |
#[derive(Clone, Debug, PartialEq)]
pub enum InputSpec {
    /// A real device by its name ([`DeviceInfo::name`](crate::DeviceInfo)); `None` is the system's
    /// default.
    Device(Option<String>),
    /// A WAV file of any rate, number of channels and bit depth that is common; mixed to mono,
    /// converted to 48 kHz.
    Wav {
        /// The file.
        path: PathBuf,
        /// Whether it begins again at its end; else silence follows.
        looped: bool,
    },
    /// A sine at a quarter of full scale.
    Tone {
        /// Its frequency.
        hz: f32,
    },
    /// Zeros at pace.
    Silence,
    /// No microphone: never a sample.
    Null,
    /// The program that embeds this hands over what it has captured itself
    /// ([`Capture::of_program`]); until then nothing. No text names it.
    ///
    /// [`Capture::of_program`]: crate::Capture::of_program
    Program,
}

/// A speaker, or what stands in for one.
///
/// As text: `default`, `NAME.wav`, `null` (or `none`, or `/dev/null`), `device:TEXT`; anything else is the device
/// of that name.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputSpec {
    /// A real device by its name ([`DeviceInfo::name`](crate::DeviceInfo)); `None` is the system's
    /// default.
    Device(Option<String>),
    /// A WAV file, 48 kHz mono 16 bit. A file of that name stays as it is: the new one gets a
    /// number, [`unused_wav`](crate::unused_wav) says which. While it is written its name ends in
    /// `.wav.part`; it is readable at any time, also after the process was killed.
    Wav(PathBuf),
    /// Takes samples at pace and plays nothing.
    Null,
    /// The program that embeds this plays what it is given itself. Here the same as
    /// [`Null`](Self::Null); no text names it.
    Program,
}

impl Default for InputSpec {
    fn default() -> Self {
        Self::Device(None)
    }
}

impl Default for OutputSpec {
    fn default() -> Self {
        Self::Device(None)
    }
}

/// What programs are given that want a file and should have none.
const NULL_DEVICE: &str = "/dev/null";

impl FromStr for InputSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        Ok(match text {
            "default" => Self::Device(None),
            "tone" => Self::Tone { hz: DEFAULT_TONE_HZ },
            "silence" => Self::Silence,
            "null" | "none" | NULL_DEVICE => Self::Null,
            _ => {
                if let Some(hz) = text.strip_prefix("tone:") {
                    Self::Tone { hz: tone_hz(text, hz)? }
                } else if let Some(file) =
                    text.strip_suffix(LOOP_SUFFIX).filter(|file| is_wav(file))
                {
                    Self::Wav { path: file.into(), looped: true }
                } else if is_wav(text) {
                    Self::Wav { path: text.into(), looped: false }
                } else {
                    Self::Device(Some(device_name(text)?))
                }
            }
        })
    }
}

impl FromStr for OutputSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        Ok(match text {
            "default" => Self::Device(None),
            "null" | "none" | NULL_DEVICE => Self::Null,
            _ if is_wav(text) => Self::Wav(text.into()),
            _ => Self::Device(Some(device_name(text)?)),
        })
    }
}

impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(None) => f.write_str("default"),
            Self::Device(Some(name)) => {
                write_device(f, name, name.parse::<Self>().is_ok_and(|read| read == *self))
            }
            Self::Wav { path, looped: false } => write!(f, "{}", path.display()),
            Self::Wav { path, looped: true } => write!(f, "{}{LOOP_SUFFIX}", path.display()),
            Self::Tone { hz } => write!(f, "tone:{hz}"),
            Self::Silence => f.write_str("silence"),
            Self::Null => f.write_str("null"),
            Self::Program => f.write_str("(the program's own)"),
        }
    }
}

impl fmt::Display for OutputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(None) => f.write_str("default"),
            Self::Device(Some(name)) => {
                write_device(f, name, name.parse::<Self>().is_ok_and(|read| read == *self))
            }
            Self::Wav(path) => write!(f, "{}", path.display()),
            Self::Null => f.write_str("null"),
            Self::Program => f.write_str("(the program's own)"),
        }
    }
}

fn is_wav(text: &str) -> bool {
    !text.starts_with(DEVICE_PREFIX) && text.to_ascii_lowercase().ends_with(".wav")
}

fn tone_hz(text: &str, hz: &str) -> Result<f32, DeviceError> {
    hz.parse().ok().filter(|hz| (1.0..=MOST_TONE_HZ).contains(hz)).ok_or_else(|| {
        DeviceError::BadSpec {
            text: text.into(),
            why: "a tone is written `tone` or `tone:1000`, with 1 to 20000 Hz",
        }
    })
}

fn device_name(text: &str) -> Result<String, DeviceError> {
    let name = text.strip_prefix(DEVICE_PREFIX).unwrap_or(text);
    if name.trim().is_empty() {
        let why = "it is empty; `default` is the system's default device";
        return Err(DeviceError::BadSpec { text: text.into(), why });
    }
    Ok(name.into())
}

/// A name that would be read as something else gets its prefix.
fn write_device(f: &mut fmt::Formatter<'_>, name: &str, reads_as_itself: bool) -> fmt::Result {
    if reads_as_itself { f.write_str(name) } else { write!(f, "{DEVICE_PREFIX}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_named_by_a_text() {
        let wav = |path: &str, looped| InputSpec::Wav { path: path.into(), looped };
        let device = |name: &str| InputSpec::Device(Some(name.into()));
        for (text, spec) in [
            ("default", InputSpec::Device(None)),
            ("a/b c.wav", wav("a/b c.wav", false)),
            ("B.WAV", wav("B.WAV", false)),
            ("b.wav:loop", wav("b.wav", true)),
            ("tone", InputSpec::Tone { hz: 440.0 }),
            ("tone:997.5", InputSpec::Tone { hz: 997.5 }),
            ("silence", InputSpec::Silence),
            ("null", InputSpec::Null),
            ("none", InputSpec::Null),
            ("/dev/null", InputSpec::Null),
            ("USB Headset: Mono", device("USB Headset: Mono")),
            ("device:tone", device("tone")),
            ("device:my.wav", device("my.wav")),
        ] {
            let parsed: InputSpec = text.parse().unwrap();
            assert_eq!(parsed, spec, "{text}");
            assert_eq!(
                parsed.to_string().parse::<InputSpec>().unwrap(),
                spec,
                "{text} written and read again"
            );
        }
    }

    #[test]
    fn an_output_is_named_by_a_text() {
        let device = |name: &str| OutputSpec::Device(Some(name.into()));
        for (text, spec) in [
            ("default", OutputSpec::Device(None)),
            ("heard.wav", OutputSpec::Wav("heard.wav".into())),
            ("null", OutputSpec::Null),
            ("none", OutputSpec::Null),
            ("/dev/null", OutputSpec::Null),
            ("silence", device("silence")),
            ("device:null", device("null")),
        ] {
            let parsed: OutputSpec = text.parse().unwrap();
            assert_eq!(parsed, spec, "{text}");
            assert_eq!(
                parsed.to_string().parse::<OutputSpec>().unwrap(),
                spec,
                "{text} written and read again"
            );
        }
    }

    #[test]
    fn a_text_that_names_nothing_is_refused_with_a_sentence() {
        for text in ["", " ", "device:", "tone:", "tone:loud", "tone:0", "tone:NaN", "tone:30000"] {
            let error = text.parse::<InputSpec>().unwrap_err().to_string();
            assert!(error.contains("names no device"), "{error}");
        }
        assert!("".parse::<OutputSpec>().is_err());
    }
}
