//! The machine's own sound system, by cpal: which devices there are, and which format to ask of
//! one.

use std::path::Path;

use cpal::traits::{DeviceTrait as _, HostTrait as _};
use cpal::{
    BufferSize, ErrorKind, HostId, SampleFormat, StreamConfig, SupportedBufferSize,
    SupportedStreamConfig,
};

use crate::{Cause, DeviceError, DeviceInfo, Direction, SAMPLE_RATE};

/// Asked for between two callbacks, as a part of a second: 10 ms. A default is not: it may be 2 s.
const CALLBACKS_A_SECOND: u32 = 100;

/// More channels of a microphone are not asked for.
const MOST_CAPTURED_CHANNELS: usize = 32;

/// Names of ALSA's plug-ins, before any colon, as alsa-lib and alsa-plugins configure them.
const ALSA_PLUG_INS: [&str; 20] = [
    "null",
    "lavrate",
    "samplerate",
    "samplerate_best",
    "samplerate_medium",
    "samplerate_order",
    "samplerate_linear",
    "speexrate",
    "speexrate_best",
    "speexrate_medium",
    "speex",
    "jack",
    "oss",
    "upmix",
    "vdownmix",
    "a52",
    "usbstream",
    "dmix",
    "dsnoop",
    "dshare",
];

/// Names of ALSA's ways to sound servers.
const ALSA_SERVERS: [&str; 2] = ["pulse", "pipewire"];

/// The sound system to use: the one of an earlier stream, so that a stream returns to where it was,
/// or else the default.
pub(crate) fn host(earlier: Option<HostId>) -> Result<cpal::Host, DeviceError> {
    match earlier {
        None => Ok(cpal::default_host()),
        Some(id) => cpal::host_from_id(id)
            .map_err(|error| DeviceError::NoSoundSystem { why: cause(&error) }),
    }
}

/// Every device of the default sound system, defaults first.
pub(crate) fn list() -> Result<Vec<DeviceInfo>, DeviceError> {
    let host = host(None)?;
    let mut listed = Vec::new();
    for direction in [Direction::Input, Direction::Output] {
        listed.extend(usable(&host, direction, present(&host, direction)?.iter()));
    }
    Ok(listed)
}

/// Those that are devices to a person, the default one first.
fn usable<'a>(
    host: &cpal::Host,
    direction: Direction,
    present: impl Iterator<Item = &'a cpal::Device>,
) -> Vec<DeviceInfo> {
    let default = default_device(host, direction).and_then(|device| device.id().ok());
    let usable = present.filter(|device| is_usable(device, direction));
    let devices = usable.map(|device| DeviceInfo {
        name: name(device),
        direction,
        is_default: default.is_some() && device.id().ok() == default,
        description: description(device),
    });
    in_order(devices.collect())
}

fn in_order(mut devices: Vec<DeviceInfo>) -> Vec<DeviceInfo> {
    // Stable: within a rank in the sound system's own order.
    devices.sort_by_key(|info| (!info.is_default, rank(&info.description)));
    name_apart(&mut devices);
    devices
}

/// ALSA lists its plug-ins among the devices: rate converters, mixers, bridges to other sound
/// systems. They open by name, but only the cards behind them, and the sound servers, are devices
/// to a person.
fn is_alsa_plug_in(identity: &str) -> bool {
    let plug_in = identity.split(':').next().unwrap_or_default();
    ALSA_PLUG_INS.contains(&plug_in)
}

/// Whether it is a device to a person, and there. ALSA names its ways to sound servers whether or
/// not those run.
fn is_usable(device: &cpal::Device, direction: Direction) -> bool {
    let Some(id) = identity(device) else { return true };
    if is_alsa_plug_in(&id) {
        return false;
    }
    if !ALSA_SERVERS.contains(&id.as_str()) {
        return true;
    }
    match direction {
        Direction::Input => {
            device.supported_input_configs().is_ok_and(|mut formats| formats.next().is_some())
        }
        Direction::Output => {
            device.supported_output_configs().is_ok_and(|mut formats| formats.next().is_some())
        }
    }
}

/// Sound servers and whole cards first; the many ways that ALSA has of opening a part of a card
/// last.
fn rank(description: &str) -> u8 {
    let identity = description.rsplit(", ").next().unwrap_or_default();
    match identity.split(':').next().unwrap_or_default() {
        "default" | "pulse" | "pipewire" => 0,
        "sysdefault" | "plughw" => 1,
        "front" | "hw" | "hdmi" | "iec958" | "rear" | "center_lfe" | "side" | "usbstream" => 2,
        surround if surround.starts_with("surround") => 2,
        // Names of other systems and servers are devices as people know them.
        _ => 0,
    }
}

/// A few names, for a sentence.
fn short_list(mut names: Vec<String>) -> String {
    const MOST: usize = 4;
    names.dedup();
    let more = names.len().saturating_sub(MOST);
    let first: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    match (first.as_slice(), more) {
        ([], _) => "none".into(),
        (first, 0) => first.join(", "),
        (first, more) => format!("{} and {more} more", first.join(", ")),
    }
}

/// The device of that name, or the default one.
pub(crate) fn find(
    host: &cpal::Host,
    direction: Direction,
    wanted: Option<&str>,
) -> Result<cpal::Device, DeviceError> {
    let Some(wanted) = wanted else {
        return default_device(host, direction).ok_or_else(|| none_found(direction));
    };
    let devices = present(host, direction)?;
    let same_id = |device: &&cpal::Device| identity(device).is_some_and(|id| id == wanted);
    let same_name = |device: &&cpal::Device| name(device) == wanted;
    let same_letters = |device: &&cpal::Device| name(device).eq_ignore_ascii_case(wanted);
    let found = devices.iter().find(same_id).or_else(|| devices.iter().find(same_name));
    found.or_else(|| devices.iter().find(same_letters)).cloned().ok_or_else(|| {
        // As `list` names them.
        let usable = usable(host, direction, devices.iter());
        let present = short_list(usable.into_iter().map(|info| info.name).collect());
        // The name of a file, as people write it.
        let path = Path::new(wanted);
        if let Some(what) = other_than_a_file(path) {
            return DeviceError::NotAFile { path: path.into(), direction: word(direction), what };
        }
        match direction {
            Direction::Input if names_a_file(path) => DeviceError::BadWav {
                path: path.into(),
                why: "only files whose names end in .wav are played; `ffmpeg -i FILE FILE.wav` makes one".into(),
            },
            Direction::Output if names_a_file(path) => {
                DeviceError::NotNamedWav { path: path.into() }
            }
            Direction::Input | Direction::Output => {
                DeviceError::NotFound { direction: word(direction), name: wanted.into(), present }
            }
        }
    })
}

/// What a path leads to, if that is there and is no file. It is not opened, which could wait for ever.
fn other_than_a_file(path: &Path) -> Option<&'static str> {
    let metadata = std::fs::metadata(path).ok().filter(|metadata| !metadata.is_file())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return Some("a pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_char_device() || kind.is_block_device() {
            return Some("a device of the system");
        }
    }
    metadata.is_dir().then_some("a folder")
}

/// Whether people mean a file or folder by it. Names of devices can have slashes and dots as well.
fn names_a_file(path: &Path) -> bool {
    const SOUND: [&str; 16] = [
        "wave", "mp3", "ogg", "oga", "opus", "flac", "m4a", "aac", "wma", "aif", "aiff", "mp4",
        "webm", "mkv", "raw", "pcm",
    ];
    let text = path.to_string_lossy();
    let begins_as_one =
        ["/", "./", "../", "~/"].iter().any(|beginning| text.starts_with(beginning));
    let is_sound = path
        .extension()
        .is_some_and(|extension| SOUND.iter().any(|known| extension.eq_ignore_ascii_case(known)));
    let in_a_folder =
        path.parent().is_some_and(|folder| folder.file_name().is_some() && folder.is_dir());
    text == "-" || begins_as_one || is_sound || in_a_folder || path.exists()
}

/// What to ask of a device that should have so many channels, the best first; the next when it
/// refuses. A microphone is asked for the channels that it has: a sound system that makes one of
/// them takes their mean, in which one voice of eight is lost.
pub(crate) fn configurations(
    device: &cpal::Device,
    direction: Direction,
    channels: usize,
) -> Vec<(StreamConfig, SampleFormat)> {
    let supported: Vec<_> = match direction {
        Direction::Input => {
            device.supported_input_configs().map(Iterator::collect).unwrap_or_default()
        }
        Direction::Output => {
            device.supported_output_configs().map(Iterator::collect).unwrap_or_default()
        }
    };
    let usual = match direction {
        Direction::Input => device.default_input_config(),
        Direction::Output => device.default_output_config(),
    };
    let usual = usual.ok().filter(|config| format_rank(config.sample_format()).is_some());
    let channels = match (direction, &usual) {
        (Direction::Input, Some(usual)) => {
            usize::from(usual.channels()).min(MOST_CAPTURED_CHANNELS)
        }
        (Direction::Input, None) | (Direction::Output, _) => channels,
    };
    let best = supported
        .into_iter()
        .filter(|range| format_rank(range.sample_format()).is_some())
        .filter_map(|range| {
            let rate = SAMPLE_RATE.clamp(range.min_sample_rate(), range.max_sample_rate());
            range.try_with_sample_rate(rate)
        })
        .min_by_key(|config| {
            let (rate_off, has) =
                (config.sample_rate().abs_diff(SAMPLE_RATE), usize::from(config.channels()));
            (rate_off, has < channels, has, format_rank(config.sample_format()))
        });
    let mut asked = Vec::new();
    for config in [best, usual].into_iter().flatten() {
        for buffer_size in [fixed_buffer(&config), BufferSize::Default] {
            let (channels, sample_rate) = (config.channels(), config.sample_rate());
            let asking =
                (StreamConfig { channels, sample_rate, buffer_size }, config.sample_format());
            if channels > 0 && sample_rate > 0 && !asked.contains(&asking) {
                asked.push(asking);
            }
        }
    }
    asked
}

/// What the sound system reports, in words for people. Its own text goes to the log.
pub(crate) fn words(error: &cpal::Error) -> &'static str {
    tracing::debug!(%error, "the sound system failed");
    match error.kind() {
        ErrorKind::DeviceBusy => "another program uses it",
        ErrorKind::DeviceNotAvailable => "it is not there any more",
        ErrorKind::DeviceChanged | ErrorKind::StreamInvalidated => "it has changed",
        ErrorKind::HostUnavailable => "there is no sound card and no sound server",
        ErrorKind::UnsupportedConfig => "it takes none of the usual formats",
        ErrorKind::InvalidInput | ErrorKind::UnsupportedOperation => {
            "it cannot do what it was asked for"
        }
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::ResourceExhausted => "the system has no resources left for it",
        _ => "the sound system has failed",
    }
}

fn cause(error: &cpal::Error) -> Cause {
    Cause::new(words(error), error.clone())
}

/// Why a device was not opened, in our words.
pub(crate) fn cannot_open(
    error: &cpal::Error,
    direction: Direction,
    wanted: Option<&str>,
) -> DeviceError {
    let why = cause(error);
    let name = wanted.map_or_else(|| format!("default {}", word(direction)), String::from);
    match (error.kind(), wanted) {
        (ErrorKind::HostUnavailable, _) => DeviceError::NoSoundSystem { why },
        (ErrorKind::PermissionDenied, _) => DeviceError::Refused { name, why },
        (ErrorKind::DeviceNotAvailable, None) => none_found(direction),
        (ErrorKind::DeviceNotAvailable, Some(_)) => DeviceError::NotAnswering { name },
        (ErrorKind::DeviceBusy, _) => DeviceError::CannotOpen {
            name,
            why,
            step: "close what else uses it, or choose another device",
        },
        _ => DeviceError::CannotOpen { name, why, step: "choose another device" },
    }
}

/// There is no device of that direction to be the default.
pub(crate) fn none_found(direction: Direction) -> DeviceError {
    match direction {
        Direction::Input => DeviceError::NoMicrophone,
        Direction::Output => DeviceError::NoSpeaker,
    }
}

pub(crate) fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "microphone",
        Direction::Output => "speaker",
    }
}

fn present(host: &cpal::Host, direction: Direction) -> Result<Vec<cpal::Device>, DeviceError> {
    let devices = match direction {
        Direction::Input => host.input_devices().map(Iterator::collect),
        Direction::Output => host.output_devices().map(Iterator::collect),
    };
    devices.map_err(|error| DeviceError::NoSoundSystem { why: cause(&error) })
}

fn default_device(host: &cpal::Host, direction: Direction) -> Option<cpal::Device> {
    match direction {
        Direction::Input => host.default_input_device(),
        Direction::Output => host.default_output_device(),
    }
}

/// The name that people know.
fn name(device: &cpal::Device) -> String {
    match device.description() {
        Ok(description) => description.name().into(),
        Err(_) => identity(device).unwrap_or_default(),
    }
}

/// The sound system's own name for it; not always for people.
fn identity(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

fn description(device: &cpal::Device) -> String {
    let described = device.description().ok();
    let maker = described.as_ref().and_then(|described| described.manufacturer()).map(String::from);
    let more = described.iter().flat_map(|described| described.extended()).map(String::from);
    let mut parts: Vec<String> =
        maker.into_iter().chain(more).filter(|part| *part != name(device)).collect();
    // Last, because a name that two devices have is replaced by it.
    parts.extend(identity(device));
    parts.join(", ")
}

/// Devices that share a name get the sound system's own name for each instead, which ends its
/// description.
fn name_apart(devices: &mut [DeviceInfo]) {
    let names: Vec<String> = devices.iter().map(|info| info.name.clone()).collect();
    for info in devices {
        if names.iter().filter(|name| **name == info.name).count() > 1
            && let Some(identity) =
                info.description.rsplit(", ").next().filter(|identity| !identity.is_empty())
        {
            info.name = identity.into();
        }
    }
}

/// Floating point first, as it is what we have; one-bit streams are not understood.
fn format_rank(format: SampleFormat) -> Option<u8> {
    match format {
        SampleFormat::F32 => Some(0),
        SampleFormat::I32 | SampleFormat::I24 => Some(1),
        SampleFormat::I16 => Some(2),
        SampleFormat::F64 | SampleFormat::I64 | SampleFormat::U64 => Some(3),
        SampleFormat::U32 | SampleFormat::U24 | SampleFormat::U16 => Some(4),
        SampleFormat::U8 | SampleFormat::I8 => Some(5),
        _ => None,
    }
}

fn fixed_buffer(config: &SupportedStreamConfig) -> BufferSize {
    let wanted = config.sample_rate() / CALLBACKS_A_SECOND;
    match *config.buffer_size() {
        SupportedBufferSize::Range { min, max } if min <= max => {
            BufferSize::Fixed(wanted.clamp(min, max))
        }
        _ => BufferSize::Fixed(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device of the same name is found before this is asked.
    #[test]
    #[cfg(unix)]
    fn what_is_in_the_file_system_and_no_file_is_distinguished() {
        let folder = std::env::temp_dir().join(format!("voicemesh-kinds-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let file = folder.join("file");
        std::fs::write(&file, "x").unwrap();
        for (path, what) in [
            (Path::new("/dev/zero"), Some("a device of the system")),
            (&folder, Some("a folder")),
            (&socket, Some("a socket")),
            (&file, None),
            (Path::new("/nowhere/at/all"), None),
        ] {
            assert_eq!(other_than_a_file(path), what, "{}", path.display());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_list_in_a_sentence_is_short() {
        let names = |count: usize| (0..count).map(|number| format!("D{number}")).collect();
        assert_eq!([0, 2].map(|count| short_list(names(count))), ["none", "`D0`, `D1`"]);
        assert_eq!(short_list(names(12)), "`D0`, `D1`, `D2`, `D3` and 8 more");
    }

    #[test]
    fn devices_are_named_and_ordered_as_people_choose_them() {
        let device = |name: &str, id: &str, is_default| DeviceInfo {
            name: name.to_owned(),
            direction: Direction::Input,
            is_default,
            description: format!("HDA Intel, {id}"),
        };
        let found = vec![
            device("HDA Intel", "front:CARD=PCH,DEV=0", false),
            device("HDA Intel", "sysdefault:CARD=PCH", false),
            device("USB", "sysdefault:CARD=USB", false),
            device("Default", "default", true),
        ];
        let names: Vec<String> = in_order(found).into_iter().map(|info| info.name).collect();
        assert_eq!(names, ["Default", "sysdefault:CARD=PCH", "USB", "front:CARD=PCH,DEV=0"]);
    }

    #[test]
    fn names_of_files_are_told_from_names_of_devices() {
        for file in
            ["/tmp/none.mp3", "none.OGG", "-", "/dev/stdin", ".", "./a", "~/speech", "src/a"]
        {
            assert!(names_a_file(Path::new(file)), "{file}");
        }
        for device in ["pulse", "hw:CARD=PCH,DEV=0", "Family 17h/19h Audio", "USB Audio 2.0", "Ogg"]
        {
            assert!(!names_a_file(Path::new(device)), "{device}");
        }
    }

    #[test]
    fn servers_and_cards_come_before_their_parts() {
        let mut listed = [
            "x, surround51:CARD=PCH",
            "hw:CARD=PCH,DEV=0, hw:CARD=PCH",
            "y, sysdefault:CARD=PCH",
            "pulse",
        ];
        listed.sort_by_key(|description| rank(description));
        assert_eq!(
            listed,
            [
                "pulse",
                "y, sysdefault:CARD=PCH",
                "x, surround51:CARD=PCH",
                "hw:CARD=PCH,DEV=0, hw:CARD=PCH"
            ]
        );
    }

    #[test]
    fn no_word_of_the_sound_library_stands_for_a_usual_cause() {
        for (kind, words) in [
            (
                ErrorKind::DeviceBusy,
                "`Mic` could not be opened: another program uses it; close what else uses it",
            ),
            (
                ErrorKind::UnsupportedConfig,
                "it takes none of the usual formats; choose another device",
            ),
            (
                ErrorKind::DeviceNotAvailable,
                "`Mic` does not answer: it is not connected, or its sound server",
            ),
            (
                ErrorKind::PermissionDenied,
                "the system does not let this program use `Mic`; allow it",
            ),
            (
                ErrorKind::BackendError,
                "`Mic` could not be opened: the sound system has failed; choose",
            ),
            (
                ErrorKind::HostUnavailable,
                "does not answer: there is no sound card and no sound server; start it",
            ),
        ] {
            let error =
                cpal::Error::with_message(kind, "ALSA function 'snd_pcm_open' failed (-16)");
            let sentence = cannot_open(&error, Direction::Input, Some("Mic")).to_string();
            assert!(sentence.contains(words) && !sentence.contains("snd_pcm"), "{sentence}");
        }
        let none = cpal::Error::with_message(ErrorKind::DeviceNotAvailable, "ENOENT");
        assert_eq!(cannot_open(&none, Direction::Output, None), DeviceError::NoSpeaker);
    }

    #[test]
    fn plug_ins_of_alsa_are_no_devices_and_cards_and_servers_are() {
        for plug_in in ["null", "lavrate", "dsnoop:CARD=PCH,DEV=0", "usbstream:CARD=PCH"] {
            assert!(is_alsa_plug_in(plug_in), "{plug_in}");
        }
        for device in [
            "default",
            "pulse",
            "pipewire",
            "sysdefault:CARD=PCH",
            "hw:CARD=PCH,DEV=0",
            "plughw:CARD=PCH,DEV=0",
        ] {
            assert!(!is_alsa_plug_in(device), "{device}");
        }
    }
}
