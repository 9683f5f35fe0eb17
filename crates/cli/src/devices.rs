//! `voicemesh devices`: microphones and speakers, and what to do where there are none.

use std::time::Instant;

use serde_json::{Value, json};
use voicemesh::{DeviceError, DeviceInfo, Direction};

use crate::arguments::DevicesArguments;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::logs;
use crate::mic::print_line;
use crate::text::harmless;

const NO_MICROPHONE: &str = "join with --input silence to listen only, or --input tone to be heard";
const NO_SPEAKER: &str =
    "join with --output FILE.wav to keep what is heard, or --output null without";
const NO_SOUND_SYSTEM: &str =
    "Without one, join with --input silence, tone or FILE.wav and --output null or FILE.wav.";

/// Longer names push their descriptions aside; in letters.
const WIDEST_NAME: usize = 32;

/// A microphone or a speaker.
struct Listed {
    name: String,
    description: String,
    is_default: bool,
}

/// Prints them all. None is no failure: the list says so, and what next.
pub(crate) fn list(arguments: &DevicesArguments) -> Result<Exit, Failure> {
    // Sound systems log complaints about devices that this program did not ask for.
    logs::init("off");
    let started = Instant::now();
    let all = voicemesh::devices();
    let lines = match all {
        all if arguments.json => {
            vec![json::own_line("devices", started.elapsed(), for_programs(&all))]
        }
        Ok(all) => {
            let (inputs, outputs) =
                all.iter().partition::<Vec<_>, _>(|info| info.direction == Direction::Input);
            let listed =
                |infos: Vec<&DeviceInfo>| infos.into_iter().map(Listed::from).collect::<Vec<_>>();
            let mut lines = section("Microphones", "--input", &listed(inputs), NO_MICROPHONE);
            lines.extend(section("Speakers", "--output", &listed(outputs), NO_SPEAKER));
            lines
        }
        Err(error) => vec![
            format!("No devices: {}.", harmless(&error.to_string())),
            NO_SOUND_SYSTEM.to_owned(),
        ],
    };
    lines.iter().try_fold(Exit::Done, |_, line| print_line(line))
}

fn for_programs(all: &Result<Vec<DeviceInfo>, DeviceError>) -> Value {
    let has = |direction| all.iter().flatten().any(|info| info.direction == direction);
    let why = why_none(all.as_ref().err(), has(Direction::Input), has(Direction::Output));
    let of = |direction| {
        let infos = all.iter().flatten().filter(|info| info.direction == direction);
        let listed = infos.map(|DeviceInfo { name, description, is_default, .. }| {
            json!({ "name": name, "description": description, "default": is_default })
        });
        listed.collect::<Vec<_>>()
    };
    json!({ "inputs": of(Direction::Input), "outputs": of(Direction::Output), "why": why })
}

/// Why there are no microphones or no speakers.
fn why_none(error: Option<&DeviceError>, has_input: bool, has_output: bool) -> Option<String> {
    let none = match (has_input, has_output) {
        _ if error.is_some() => return error.map(|error| format!("{error}.")),
        (true, true) => return None,
        (false, true) => "No microphone was found: plug one in.",
        (true, false) => "No speaker was found: plug one in.",
        (false, false) => "No microphone and no speaker was found: plug them in.",
    };
    Some(none.to_owned())
}

impl From<&DeviceInfo> for Listed {
    fn from(info: &DeviceInfo) -> Self {
        let (name, description) =
            (harmless(&info.name).into_owned(), harmless(&info.description).into_owned());
        Self { name, description, is_default: info.is_default }
    }
}

fn section(title: &str, option: &str, devices: &[Listed], without: &str) -> Vec<String> {
    if devices.is_empty() {
        return vec![format!("{title}: none was found. Plug one in, or {without}.")];
    }
    let width = devices
        .iter()
        .map(|device| device.name.chars().count())
        .max()
        .unwrap_or_default()
        .min(WIDEST_NAME);
    let rows = devices.iter().map(|device| {
        let mark = if device.is_default { '*' } else { ' ' };
        format!("{mark} {:<width$}  {}", device.name, more_about(device)).trim_end().to_owned()
    });
    let default = match devices.iter().any(|device| device.is_default) {
        true => "* is used when none is named.".to_owned(),
        false => format!("None of them is the default: name one, or {without}."),
    };
    std::iter::once(format!("{title} ({option} NAME):")).chain(rows).chain([default]).collect()
}

/// What the description says beyond the name.
fn more_about(device: &Listed) -> &str {
    let description = device.description.as_str();
    description
        .strip_prefix(device.name.as_str())
        .unwrap_or(description)
        .trim_start_matches([',', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, description: &str, is_default: bool) -> Listed {
        Listed { name: name.to_owned(), description: description.to_owned(), is_default }
    }

    #[test]
    fn the_default_is_marked() {
        let devices = [device("Headset", "Headset, USB", true), device("hdmi:0", "Monitor", false)];
        let expected = [
            "Speakers (--output NAME):",
            "* Headset  USB",
            "  hdmi:0   Monitor",
            "* is used when none is named.",
        ];
        assert_eq!(section("Speakers", "--output", &devices, NO_SPEAKER), expected);
    }

    #[test]
    fn who_has_none_is_told_how_to_do_without() {
        let lines = section("Microphones", "--input", &[], NO_MICROPHONE);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("Microphones: none was found.")
                && lines[0].contains("--input silence")
        );
    }

    #[test]
    fn programs_get_empty_lists_and_why_there_are_none() {
        let none = for_programs(&Ok(Vec::new()));
        assert_eq!((&none["inputs"], &none["outputs"]), (&json!([]), &json!([])));
        assert!(
            none["why"].as_str().is_some_and(|why| why.starts_with("No microphone and no speaker")),
            "{none}"
        );
        assert_eq!(why_none(None, true, true), None);
        assert!(
            why_none(None, false, true).is_some_and(|why| why.starts_with("No microphone was"))
        );
        assert!(why_none(None, true, false).is_some_and(|why| why.starts_with("No speaker was")));
        let none =
            for_programs(&Err(DeviceError::NoSoundSystem { why: "there is no sound card".into() }));
        assert!(
            none["why"].as_str().is_some_and(|why| why.contains("no sound card; start it")),
            "{none}"
        );
    }

    #[test]
    fn a_list_without_a_default_says_so() {
        let lines =
            section("Microphones", "--input", &[device("null", "null", false)], NO_MICROPHONE);
        assert_eq!(lines[1], "  null");
        assert!(
            lines[2].starts_with("None of them is the default")
                && lines[2].contains("--input silence")
        );
    }
}
