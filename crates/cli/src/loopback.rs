//! `voicemesh loopback`: hear yourself as others hear you, over a network as bad as you like.
//!
//! [`path`] is the whole way from one's own microphone to one's own speaker without a clock or a device; this file runs
//! it between the two.

mod path;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use voicemesh_audio::process::MicrophoneConfig;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_device::{Capture, DeviceError, DeviceEvent, Playback, Waker, refuse_same_file};

use crate::arguments::LoopbackArguments;
use crate::exit::{Exit, Failure};
use crate::logs;
use crate::signals::Stop;
use crate::talk::beside_earlier;
use crate::text::harmless;
use path::{Path, Settings, Totals};

/// Both devices are asked at least this often.
const NAP: Duration = Duration::from_millis(5);
/// A line comes this often.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The speaker's queue holds at least a block, and half a block more after it has run dry, up to four.
const LEAST_QUEUED: usize = BLOCK_SAMPLES;
const QUEUE_STEP: usize = BLOCK_SAMPLES / 2;
const MOST_QUEUED: usize = 4 * BLOCK_SAMPLES;
/// The losses of one run are those of the next: two settings are compared under the same fate.
const SEED: u64 = 1;

/// The next step after a device could not be opened.
fn next_for(error: &DeviceError) -> &'static str {
    if error.is_about_a_file() { "" } else { "`voicemesh devices` lists them." }
}

/// Runs until the time is over or one has heard enough.
pub(crate) fn run(arguments: &LoopbackArguments) -> Result<Exit, Failure> {
    logs::init("warn");
    let stop = Stop::listen();
    let device = |what: String, next: &str| Failure::new(Exit::Device, format!("{what}. {next}").trim_end());
    refuse_same_file(&arguments.input, &arguments.output)
        .map_err(|error| device(error.to_string(), next_for(&error)))?;
    let (output, earlier) = beside_earlier(arguments.output.clone());
    let playback = Playback::open(&output, waker()).map_err(|error| device(error.to_string(), next_for(&error)))?;
    let capture = Capture::open(&arguments.input, arguments.microphone.channel, waker())
        .map_err(|error| device(error.to_string(), next_for(&error)))?;
    let microphone = MicrophoneConfig {
        processing: arguments.microphone.processing(&arguments.input),
        activation: arguments.microphone.activation(&arguments.input).setting(),
    };
    let settings = Settings {
        microphone,
        frame: arguments.frame_ms,
        bitrate_bps: arguments.bitrate,
        conditions: arguments.conditions(),
        seed: SEED,
    };
    let path = Path::new(settings).map_err(|error| Failure::other(error.to_string()))?;
    if let Some(sentence) = earlier {
        say(&sentence);
    }
    say("You hear yourself as others hear you. Wear headphones; Ctrl-C ends.");
    let mut devices = Devices { capture, playback, least_queued: LEAST_QUEUED, underruns: 0 };
    let totals = devices.run(path, arguments.seconds, &stop);
    for line in totals.lines() {
        say(&line);
    }
    Ok(Exit::Done)
}

fn waker() -> Waker {
    let thread = std::thread::current();
    Arc::new(move || thread.unpark())
}

struct Devices {
    capture: Capture,
    playback: Playback,
    least_queued: usize,
    underruns: u64,
}

impl Devices {
    fn run(&mut self, mut path: Path, limit: Option<Duration>, stop: &Stop) -> Totals {
        let started = Instant::now();
        let mut line_at = LINE_EVERY;
        loop {
            let now = started.elapsed();
            self.sound(now, &mut path);
            if now >= line_at {
                line_at = now + LINE_EVERY;
                if !say(&path.line()) {
                    return path.totals();
                }
            }
            if stop.is_asked() || limit.is_some_and(|limit| now >= limit) {
                return path.totals();
            }
            std::thread::park_timeout(NAP);
        }
    }

    fn sound(&mut self, now: Duration, path: &mut Path) {
        let mut block: Block = [0.0; BLOCK_SAMPLES];
        let underruns = self.playback.underruns();
        if underruns != self.underruns {
            self.underruns = underruns;
            self.least_queued = (self.least_queued + QUEUE_STEP).min(MOST_QUEUED);
        }
        while self.playback.queued() < self.least_queued {
            let queued = Duration::from_secs(1) * self.playback.queued() as u32 / voicemesh_device::SAMPLE_RATE;
            path.render(now, queued, &mut block);
            if self.playback.write(&block) == 0 {
                break;
            }
        }
        while self.capture.available() >= BLOCK_SAMPLES {
            self.capture.read(&mut block);
            path.capture(now, &block);
        }
        let input = self.capture.poll_event().map(|event| ("microphone", event));
        let output = self.playback.poll_event().map(|event| ("speaker", event));
        for (which, event) in input.into_iter().chain(output) {
            match event {
                DeviceEvent::Lost { why } => say(&format!("Your {which} does not work any more: {}.", harmless(&why))),
                _ => say(&format!("Your {which} works again.")),
            };
        }
    }
}

/// False if the output's reader is gone.
fn say(line: &str) -> bool {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
}
