//! `voicemesh mic`: what the microphone gives, what the detector thinks of it, and what to do about
//! it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::crossterm::terminal;
use serde_json::json;
use voicemesh::{InputSpec, MicrophoneState};
use voicemesh_audio::process::{Microphone, MicrophoneConfig};
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_device::{Capture, ChannelMix, DeviceEvent, MicrophoneChannels, file_words};

use crate::arguments::MicArguments;
use crate::exit::{Exit, Failure};
use crate::format::is_unicode;
use crate::json;
use crate::live::cells::cut;
use crate::live::meter;
use crate::logs;
use crate::signals::Stop;
use crate::text::{ascii, harmless};

/// The microphone is asked at least this often.
const NAP: Duration = Duration::from_millis(20);
/// On a terminal one row is written over itself this often; as JSON lines come as often.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Elsewhere a line comes this often.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Columns of the meter, as long as there is room for them beside the words.
const LEAST_METER: usize = 8;
const MOST_METER: usize = 30;
const WORDS: usize = 56;
/// A full row would begin the next one, and Ctrl-C shows itself with two letters.
const SPARE: usize = 3;

/// Below this there is no microphone behind the device; the quietest room is louder.
const NOTHING_DBFS: f32 = -80.0;
/// Speech below this is hard to hear even when it is made louder.
const QUIET_DBFS: f32 = -45.0;
/// A room above this is heard by everyone.
const NOISY_DBFS: f32 = -45.0;
/// How sure the detector must be that it was speech.
const SURE: f32 = 0.5;

/// Shows until the time is over or one has seen enough.
pub(crate) fn run(arguments: &MicArguments) -> Result<Exit, Failure> {
    let started = Instant::now();
    show(arguments).inspect_err(|failure| {
        if arguments.json {
            println(&json::error(started.elapsed(), failure));
        }
    })
}

/// False if nothing more can be printed.
pub(crate) fn println(line: &str) -> bool {
    print(line).is_ok()
}

/// The same for a line without which the command has not done what it should. That its reader is
/// gone is no failure.
pub(crate) fn print_line(line: &str) -> Result<Exit, Failure> {
    print(line).or_else(unprinted)
}

/// What becomes of a command that could not print.
fn unprinted(error: io::Error) -> Result<Exit, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        _ => Err(Failure::other(format!(
            "nothing can be printed: {}. Free some room, or print elsewhere.",
            file_words(&error)
        ))),
    }
}

fn print(line: &str) -> io::Result<Exit> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", showable(line, stdout.is_terminal())).and_then(|()| stdout.flush())?;
    Ok(Exit::Done)
}

/// What a terminal without UTF-8 can show of it.
fn showable(text: &str, is_terminal: bool) -> Cow<'_, str> {
    if is_unicode() || !is_terminal {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().map(ascii).collect())
    }
}

fn show(arguments: &MicArguments) -> Result<Exit, Failure> {
    logs::init("warn");
    arguments.microphone.must_need_no_key()?;
    arguments.microphone.must_fit(&arguments.input)?;
    let stop = Stop::listen();
    let thread = std::thread::current();
    let waker = Arc::new(move || thread.unpark());
    let mut capture = Capture::open(&arguments.input, arguments.microphone.channel, waker)
        .map_err(|error| Failure::device(&error))?;
    let activation = arguments.microphone.activation(&arguments.input).setting();
    let processing = arguments.microphone.processing(&arguments.input);
    let microphone = Microphone::new(MicrophoneConfig { processing, activation });
    let mut microphone = microphone.map_err(|error| Failure::other(error.to_string()))?;
    let mut show = Show::new(arguments, io::stdout().is_terminal());
    if show.form == MicView::Row {
        show.write("Speak. Ctrl-C ends it.");
    }
    let started = Instant::now();
    let mut block: Block = [0.0; BLOCK_SAMPLES];
    let mut heard = Heard::default();
    let is_over = |now: Duration| arguments.seconds.is_some_and(|seconds| now >= seconds);
    while !stop.is_asked() && !is_over(started.elapsed()) && show.fault.is_none() {
        while capture.available() >= BLOCK_SAMPLES {
            capture.read(&mut block);
            microphone.push(&block);
            while microphone.next_block().is_some() {}
            heard.block(&state(&microphone));
        }
        while let Some(event) = capture.poll_event() {
            show.device(started.elapsed(), &event);
        }
        show.state(started.elapsed(), &state(&microphone));
        std::thread::park_timeout(NAP);
    }
    let channels =
        capture.channels().map(|channels| channels_line(channels, arguments.microphone.channel));
    show.end(started.elapsed(), &heard, &arguments.input, channels.as_deref());
    show.fault.map_or(Ok(Exit::Done), unprinted)
}

/// Which channels of a device were heard; `named` by the person or not.
fn channels_line(channels: MicrophoneChannels, named: Option<u16>) -> String {
    let MicrophoneChannels { count, mix } = channels;
    match (mix, named) {
        _ if count == 1 => "It has one channel.".to_owned(),
        (ChannelMix::One(channel), Some(_)) => {
            format!("Channel {channel} of {count} is heard, as you asked.")
        }
        (ChannelMix::One(channel), None) => {
            format!(
                "Channel {channel} of {count} is heard: it is the loudest, and the channels differ. --channel names another."
            )
        }
        (ChannelMix::Mean, _) => format!("All {count} channels are heard, mixed."),
    }
}

fn state(microphone: &Microphone) -> MicrophoneState {
    let level = microphone.level();
    MicrophoneState {
        level_dbfs: level.level_dbfs,
        peak_dbfs: level.peak_dbfs,
        noise_floor_dbfs: level.noise_floor_dbfs,
        clipping: level.clipping,
        speech_probability: level.speech_probability,
        sending: level.open,
    }
}

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Heard {
    blocks: u64,
    clipped_blocks: u64,
    sent_blocks: u64,
    peak_dbfs: f32,
    noise_floor_dbfs: f32,
    /// The highest level during speech; `None` if there was none.
    speech_dbfs: Option<f32>,
}

impl Default for Heard {
    fn default() -> Self {
        let silence = MicrophoneState::default();
        Self {
            blocks: 0,
            clipped_blocks: 0,
            sent_blocks: 0,
            peak_dbfs: silence.peak_dbfs,
            noise_floor_dbfs: silence.noise_floor_dbfs,
            speech_dbfs: None,
        }
    }
}

impl Heard {
    fn block(&mut self, state: &MicrophoneState) {
        self.blocks += 1;
        self.clipped_blocks += u64::from(state.clipping);
        self.sent_blocks += u64::from(state.sending);
        self.peak_dbfs = self.peak_dbfs.max(state.peak_dbfs);
        self.noise_floor_dbfs = state.noise_floor_dbfs;
        if state.speech_probability >= SURE {
            self.speech_dbfs =
                Some(self.speech_dbfs.map_or(state.level_dbfs, |most| most.max(state.level_dbfs)));
        }
    }

    /// Plain words about what to do, the gravest first.
    fn advice(&self) -> Vec<&'static str> {
        if self.blocks == 0 {
            return vec![
                "No sound at all: the microphone gave nothing. `voicemesh devices` lists others; --input names one.",
            ];
        }
        if self.peak_dbfs < NOTHING_DBFS {
            return vec![
                "No sound at all: the microphone is there and gives silence. Is it switched off or muted, or is it another one? `voicemesh devices` lists all.",
            ];
        }
        let mut advice = Vec::new();
        if self.clipped_blocks > 0 {
            advice.push(
                "It clips: it is too loud for the device. Turn it down, or move away from it.",
            );
        }
        match self.speech_dbfs {
            None => advice.push("No speech was recognized: speak while this runs."),
            Some(speech) if speech < QUIET_DBFS => {
                advice.push("It is too quiet: turn it up, or move closer. Automatic gain makes up for some of it.");
            }
            Some(_) => {}
        }
        if self.noise_floor_dbfs > NOISY_DBFS {
            advice.push(
                "The room is noisy, or it has music in it: move closer, and use --noise high.",
            );
        }
        if advice.is_empty() {
            advice.push("That sounds right.");
        }
        advice
    }
}

/// Where it is shown.
struct Show {
    form: MicView,
    due: Duration,
    /// Why nothing more can be printed.
    fault: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MicView {
    Json,
    Lines,
    /// One row of a terminal, again and again.
    Row,
}

impl Show {
    fn new(arguments: &MicArguments, is_terminal: bool) -> Self {
        let form = match (arguments.json, is_terminal) {
            (true, _) => MicView::Json,
            (false, true) => MicView::Row,
            (false, false) => MicView::Lines,
        };
        let due = if form == MicView::Lines { LINE_EVERY } else { SHOW_EVERY };
        Self { form, due, fault: None }
    }

    fn state(&mut self, now: Duration, state: &MicrophoneState) {
        if now < self.due {
            return;
        }
        match self.form {
            MicView::Json => self.write(&json::microphone_line(now, state)),
            MicView::Lines => self.write(&row(state, MOST_METER)),
            MicView::Row => self.overwrite(state),
        }
        self.due = now + if self.form == MicView::Lines { LINE_EVERY } else { SHOW_EVERY };
    }

    fn device(&mut self, now: Duration, event: &DeviceEvent) {
        let text = match event {
            DeviceEvent::Lost { why } => {
                format!("The microphone does not work any more: {}.", harmless(why))
            }
            _ => "The microphone works again.".to_owned(),
        };
        self.say(now, &text);
    }

    fn end(&mut self, now: Duration, heard: &Heard, input: &InputSpec, channels: Option<&str>) {
        let mut advice = heard.advice();
        advice.extend(channels);
        if self.form == MicView::Json {
            self.write(&json::own_line("summary", now, summary(heard, &advice)));
            return;
        }
        let percent = (heard.sent_blocks * 100).checked_div(heard.blocks).unwrap_or_default();
        let seconds = heard.blocks as f64 / 100.0;
        let input = harmless(&input.to_string()).into_owned();
        self.say(
            now,
            &format!("{seconds:.1} s of “{input}”; {percent} % of it would have been sent."),
        );
        advice.into_iter().for_each(|line| self.say(now, line));
    }

    fn say(&mut self, now: Duration, text: &str) {
        match self.form {
            MicView::Json => self.write(&json::notice(now, text)),
            MicView::Lines => self.write(text),
            MicView::Row => self.write(&format!("\r\u{1b}[K{text}")),
        }
    }

    fn overwrite(&mut self, state: &MicrophoneState) {
        let columns =
            terminal::size().map_or(80, |(columns, _)| usize::from(columns)).saturating_sub(SPARE);
        let meter = columns.saturating_sub(WORDS).clamp(LEAST_METER, MOST_METER);
        self.put(&format!("\r\u{1b}[K{}", cut(&row(state, meter), columns)));
    }

    fn write(&mut self, line: &str) {
        self.put(&format!("{line}\n"));
    }

    fn put(&mut self, text: &str) {
        let mut stdout = io::stdout().lock();
        let text = showable(text, stdout.is_terminal());
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            self.fault.get_or_insert(error);
        }
    }
}

fn row(state: &MicrophoneState, columns: usize) -> String {
    let whole = |level: f32| level.round().clamp(-99.0, 0.0) as i32;
    let [full, empty] =
        meter(whole(state.level_dbfs), Some(whole(state.noise_floor_dbfs)), columns);
    let sent = if state.sending { "SENT    " } else { "not sent" };
    let clips = if state.clipping { "  CLIPS" } else { "" };
    format!(
        "{full}{empty} {:>3} dB  {sent}{clips}  speech {:>3.0} %  peak {:>3}  noise {:>3}",
        whole(state.level_dbfs),
        state.speech_probability * 100.0,
        whole(state.peak_dbfs),
        whole(state.noise_floor_dbfs),
    )
}

fn summary(heard: &Heard, advice: &[&str]) -> serde_json::Value {
    json!({
        "seconds": heard.blocks as f64 / 100.0,
        "peak_dbfs": json::rounded(heard.peak_dbfs, 1),
        "noise_floor_dbfs": json::rounded(heard.noise_floor_dbfs, 1),
        "speech_dbfs": heard.speech_dbfs.map(|level| json::rounded(level, 1)),
        "clipped_seconds": heard.clipped_blocks as f64 / 100.0,
        "sent_seconds": heard.sent_blocks as f64 / 100.0,
        "advice": advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(states: &[MicrophoneState]) -> String {
        let mut heard = Heard::default();
        states.iter().for_each(|state| heard.block(state));
        heard.advice().join(" ")
    }

    fn speech() -> MicrophoneState {
        MicrophoneState {
            level_dbfs: -22.0,
            peak_dbfs: -10.0,
            noise_floor_dbfs: -65.0,
            clipping: false,
            speech_probability: 0.9,
            sending: true,
        }
    }

    #[test]
    fn each_trouble_has_its_advice() {
        assert_eq!(heard(&[speech()]), "That sounds right.");
        assert!(heard(&[]).starts_with("No sound at all: the microphone gave nothing."));
        assert!(heard(&[MicrophoneState::default()]).contains("gives silence"));
        assert!(
            heard(&[MicrophoneState { clipping: true, ..speech() }, speech()])
                .starts_with("It clips")
        );
        assert!(
            heard(&[MicrophoneState { level_dbfs: -50.0, ..speech() }])
                .starts_with("It is too quiet")
        );
        assert!(
            heard(&[MicrophoneState { speech_probability: 0.1, ..speech() }])
                .starts_with("No speech")
        );
        assert!(
            heard(&[MicrophoneState { noise_floor_dbfs: -30.0, ..speech() }])
                .starts_with("The room is noisy")
        );
    }

    #[test]
    fn the_channels_that_are_heard_are_named() {
        let line = |count, mix, named| channels_line(MicrophoneChannels { count, mix }, named);
        assert_eq!(line(1, ChannelMix::Mean, None), "It has one channel.");
        assert_eq!(line(2, ChannelMix::Mean, None), "All 2 channels are heard, mixed.");
        assert!(
            line(8, ChannelMix::One(3), None)
                .starts_with("Channel 3 of 8 is heard: it is the loudest")
        );
        assert_eq!(line(8, ChannelMix::One(3), Some(3)), "Channel 3 of 8 is heard, as you asked.");
    }

    #[test]
    fn a_row_says_all_of_it_in_words_and_numbers() {
        let row = row(&MicrophoneState { clipping: true, ..speech() }, 30);
        assert!(
            row.ends_with(" -22 dB  SENT      CLIPS  speech  90 %  peak -10  noise -65"),
            "{row}"
        );
        assert!(row.starts_with("╎━━━"), "{row}");
    }
}
