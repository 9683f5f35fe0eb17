//! A peer that speaks all the time and records what it hears.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::Host;
use super::listening::{Heard, Track, listen, median};
use crate::process::{Event, Program, binary};
use crate::room::{Folder, PATIENCE};
use crate::wav;

/// Seconds between two status events.
const STATUS_INTERVAL: &str = "0.25";
/// The last moments of a recording: the speaker may have ended before the listener.
const TAIL_S: f64 = 0.5;

/// Names a folder in which what each peer printed is kept, for a look at a case that fails.
const KEEP: &str = "VOICEMESH_KEEP";
/// What peers log, as of the command; it must name `voicemesh_device=debug`.
const LOG: &str = "VOICEMESH_LOG";

/// A running `voicemesh join`.
pub struct Speaker {
    /// The process.
    pub program: Program,
    name: String,
    speech: Option<PathBuf>,
    recording: PathBuf,
    /// When its devices began, on the lab's clock.
    microphone_at: f64,
    speaker_at: f64,
}

/// How a speaker joins; see [`Speaker::join`].
#[derive(Clone)]
pub struct Joining<'a> {
    /// The server's address, as a person gives it.
    pub server: &'a str,
    /// The room.
    pub room: &'a str,
    /// The WAV file that is spoken in a loop; without one the peer listens only.
    pub speech: Option<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
}

/// A speaker that has ended.
pub struct Ended {
    name: String,
    /// The last event.
    pub summary: Value,
    events: Vec<Event>,
    spoken: Option<Track>,
    heard: Track,
    /// How long its devices were held up by a busy machine, in milliseconds: figures are off by as
    /// much.
    pub held_up_ms: u64,
}

/// What one peer heard of another, between two moments.
pub struct Exchange {
    /// Gaps and delays, in seconds on the lab's clock.
    pub heard: Heard,
    /// Share of frames that were concealed, from 0 to 1; none if nothing was heard.
    pub concealed: Option<f64>,
    /// The route at the end.
    pub route: String,
    /// When the first frame was heard, in seconds on the lab's clock.
    pub first_heard_at: Option<f64>,
    /// Route changes in order, in seconds on the lab's clock.
    pub routes: Vec<(f64, String)>,
    /// The delay that the listener's program shows, in milliseconds, once a status.
    shown_delays: Vec<(f64, Option<f64>)>,
}

impl<'a> Joining<'a> {
    /// Speaks this file, or only listens.
    #[must_use]
    pub fn new(server: &'a str, room: &'a str, speech: Option<PathBuf>) -> Self {
        Self { server, room, speech, arguments: Vec::new(), environment: Vec::new() }
    }

    /// With further arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command on a host, without devices to wait for.
    #[must_use]
    pub fn start(&self, host: &Host, name: &str, folder: &Folder) -> Program {
        let mut command = host.command(binary("voicemesh"));
        command.args(["join", self.room, "--json", "--server", self.server, "--name", name]);
        let input = self
            .speech
            .as_ref()
            .map_or("silence".to_owned(), |file| format!("{}:loop", file.display()));
        command.args(["--input", &input, "--status-interval", STATUS_INTERVAL]);
        let recording = folder.file(&format!("{name}.wav"));
        // What an earlier program of this name heard: the new file would have a number.
        let _ = std::fs::remove_file(&recording);
        command.arg("--output").arg(recording);
        command.arg("--state-dir").arg(folder.file(&format!("state-{name}"))).args(&self.arguments);
        let log = std::env::var(LOG).unwrap_or_else(|_| "info,voicemesh_device=debug".to_owned());
        command.env(LOG, log);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Program::start(name, command)
    }
}

impl Speaker {
    /// Joins from a host and waits until the devices run, not until the server answers.
    #[must_use]
    pub fn join(host: &Host, name: &str, folder: &Folder, joining: &Joining<'_>) -> Self {
        let mut program = joining.start(host, name, folder);
        let mut began_at = |which: &str| {
            let mark = format!("the simulated {which} begins");
            program.wait_for_text(&mark, PATIENCE, |line| {
                line.contains(&mark)
                    .then(|| time_of_day_s(line))
                    .flatten()
                    .map(|day_s| CLOCK.at_time_of_day(day_s))
            })
        };
        let (microphone_at, speaker_at) = (began_at("microphone"), began_at("speaker"));
        let (speech, recording) = (joining.speech.clone(), folder.file(&format!("{name}.wav")));
        Self { program, name: name.to_owned(), speech, recording, microphone_at, speaker_at }
    }

    /// Waits for an event of this name and returns its moment; events of the past count.
    pub fn wait_for(&mut self, event: &str) -> f64 {
        let event = self.program.wait_for(event, PATIENCE, |json| json["event"] == event);
        CLOCK.at(event.at)
    }

    /// Waits for this route to a peer and returns its moment; events of the past count.
    pub fn wait_for_route(&mut self, name: &str, route: &str, patience: Duration) -> f64 {
        let event = self.program.wait_for(&format!("{route} route to {name}"), patience, |json| {
            json["event"] == "route-changed" && json["name"] == name && json["route"] == route
        });
        CLOCK.at(event.at)
    }

    /// Goes on for this long: until a status event says so.
    pub fn go_on_for(&mut self, seconds: f64) {
        let until = now() + seconds;
        let patience = Duration::from_secs_f64(seconds) + PATIENCE;
        while CLOCK
            .at(self.program.wait_for("status", patience, |json| json["event"] == "status").at)
            < until
        {}
    }

    /// Leaves, and reads what was recorded.
    ///
    /// # Panics
    /// If there is no summary or no recording.
    #[must_use]
    pub fn leave(mut self) -> Ended {
        if self.program.is_running() {
            self.program.interrupt();
        }
        self.end()
    }

    /// Waits until it has ended by itself, and reads what was recorded.
    #[must_use]
    pub fn end(mut self) -> Ended {
        let summary =
            self.program.wait_for("summary", PATIENCE, |json| json["event"] == "summary").json;
        self.program.wait_for_exit(PATIENCE);
        let read = |file: &PathBuf| wav::read(file).unwrap_or_else(|error| panic!("{error}"));
        let spoken = self
            .speech
            .as_ref()
            .map(|file| Track { begins_at: self.microphone_at, samples: read(file) });
        let heard = Track { begins_at: self.speaker_at, samples: read(&self.recording) };
        let held_up = self
            .program
            .transcript()
            .lines()
            .filter_map(|line| line.split_once("skipped_ms=")?.1.parse::<u64>().ok())
            .sum();
        if let Some(folder) = std::env::var_os(KEEP) {
            let file = PathBuf::from(folder).join(format!("{}.log", self.name));
            std::fs::write(&file, self.program.transcript())
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        let events = self.program.history().cloned().collect();
        Ended { name: self.name, summary, events, spoken, heard, held_up_ms: held_up }
    }
}

impl Ended {
    /// Its name in the room.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it joined for the first time, in seconds on the lab's clock.
    #[must_use]
    pub fn joined_at(&self) -> Option<f64> {
        self.moments("joined").next()
    }

    /// Moments of all events of this name.
    pub fn moments(&self, event: &str) -> impl Iterator<Item = f64> {
        let moment =
            move |found: &Event| (found.json["event"] == event).then(|| CLOCK.at(found.at));
        self.events.iter().filter_map(moment)
    }

    /// All status events with their moments.
    pub fn statuses(&self) -> impl Iterator<Item = (f64, &Value)> {
        let status = |event: &&Event| event.json["event"] == "status";
        self.events.iter().filter(status).map(|event| (CLOCK.at(event.at), &event.json))
    }

    /// How what this peer said reached another one at the end: "direct", "relayed" or "none".
    #[must_use]
    pub fn route_to(&self, name: &str) -> &str {
        self.last_route_to(name).map_or("none", |(_, route)| route)
    }

    /// The same, and since when, on the lab's clock.
    #[must_use]
    pub fn last_route_to(&self, name: &str) -> Option<(f64, &str)> {
        let is_change =
            |event: &&Event| event.json["event"] == "route-changed" && event.json["name"] == name;
        let last = self.events.iter().rev().find(is_change)?;
        Some((CLOCK.at(last.at), last.json["route"].as_str()?))
    }

    /// What this peer heard of another one from a moment on, until shortly before the first of both
    /// ended.
    ///
    /// # Panics
    /// If the other one did not speak.
    #[must_use]
    pub fn exchange_with(&self, other: &Self, from: f64) -> Exchange {
        let spoken =
            other.spoken.as_ref().unwrap_or_else(|| panic!("{} did not speak", other.name));
        let until = self.last_status_at().min(other.last_status_at()) - TAIL_S;
        let of_other = |event: &&Event| event.json["name"] == other.name.as_str();
        let changes = self
            .events
            .iter()
            .filter(of_other)
            .filter(|event| event.json["event"] == "route-changed");
        // Who leaves first changes the other's route.
        let routes: Vec<(f64, String)> = changes
            .filter(|event| CLOCK.at(event.at) < until)
            .map(|event| {
                (CLOCK.at(event.at), event.json["route"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let before_end = routes.last();
        Exchange {
            heard: listen(spoken, &self.heard, from, until),
            concealed: self.concealed(&other.name, from, until),
            route: before_end.map_or_else(|| "none".to_owned(), |(_, route)| route.clone()),
            first_heard_at: self
                .events
                .iter()
                .filter(of_other)
                .find(|event| event.json["event"] == "first-heard")
                .map(|event| CLOCK.at(event.at)),
            routes,
            shown_delays: self
                .of_peer(&other.name)
                .filter(|(at, _)| (from..=until).contains(at))
                .map(|(at, peer)| (at, peer["delay_ms"].as_f64()))
                .collect(),
        }
    }

    /// What the statuses say of a peer.
    fn of_peer<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (f64, &'a Value)> {
        self.statuses().filter_map(move |(at, status)| {
            Some((at, status["peers"].as_array()?.iter().find(|peer| peer["name"] == name)?))
        })
    }

    /// Share of the frames of a peer that were concealed between two moments.
    fn concealed(&self, name: &str, from: f64, until: f64) -> Option<f64> {
        let frames = |peer: &Value| {
            Some((peer["frames_heard"].as_u64()?, peer["frames_concealed"].as_u64()?))
        };
        let mut within = self
            .of_peer(name)
            .filter(|(at, _)| (from..=until).contains(at))
            .filter_map(|(_, peer)| frames(peer));
        let first = within.next()?;
        let last = within.last()?;
        // A peer that left and came back begins at zero.
        let (heard, concealed) = (last.0.saturating_sub(first.0), last.1.saturating_sub(first.1));
        (heard + concealed > 0).then(|| concealed as f64 / (heard + concealed) as f64)
    }

    fn last_status_at(&self) -> f64 {
        self.statuses().last().map_or(0.0, |(at, _)| at)
    }
}

impl Exchange {
    /// When the peer was reached directly for the first time after a moment.
    #[must_use]
    pub fn direct_after(&self, at: f64) -> Option<f64> {
        self.routes
            .iter()
            .find(|(moment, route)| *moment >= at && route == "direct")
            .map(|(moment, _)| *moment)
    }

    /// How far the median of the delays that are shown after a moment is from that of the delays
    /// that were heard, in milliseconds; none if none is shown.
    #[must_use]
    pub fn shown_delay_off_by(&self, at: f64) -> Option<f64> {
        let shown = median(self.shown_after(at).flatten().collect())?;
        Some((shown - self.heard.median_delay_after(at)?).abs())
    }

    /// The share of the statuses after a moment that show no delay, from 0 to 1.
    #[must_use]
    pub fn delay_unknown_after(&self, at: f64) -> f64 {
        let unknown = self.shown_after(at).filter(Option::is_none).count();
        unknown as f64 / self.shown_after(at).count().max(1) as f64
    }

    fn shown_after(&self, at: f64) -> impl Iterator<Item = Option<f64>> {
        let shown = self.shown_delays.iter().filter(move |(moment, _)| *moment >= at);
        shown.map(|(_, delay)| *delay)
    }
}

/// The moment now, in seconds on the lab's clock.
#[must_use]
pub fn now() -> f64 {
    CLOCK.at(Instant::now())
}

/// Seconds since midnight of the day on which the lab began: for times of day in logs, and for
/// events read here.
static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);

struct Clock {
    instant: Instant,
    day_s: f64,
}

impl Clock {
    const DAY_S: f64 = 24.0 * 3600.0;

    fn new() -> Self {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), day_s: since_epoch.as_secs_f64() % Self::DAY_S }
    }

    fn at(&self, instant: Instant) -> f64 {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.day_s + later.as_secs_f64(),
            None => self.day_s - self.instant.duration_since(instant).as_secs_f64(),
        }
    }

    /// A time of day within half a day of the lab's beginning.
    fn at_time_of_day(&self, day_s: f64) -> f64 {
        self.day_s + (day_s - self.day_s + Self::DAY_S / 2.0).rem_euclid(Self::DAY_S)
            - Self::DAY_S / 2.0
    }
}

/// Of a line that begins with a time such as `2026-01-31T12:34:56.789012Z`.
fn time_of_day_s(line: &str) -> Option<f64> {
    let (_, time) = line.split_whitespace().next()?.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.split(':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}
