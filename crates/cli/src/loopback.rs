//! `voicemesh loopback`: hear yourself as others hear you, over a network as bad as you like.
//!
//! [`path`] is the whole way from one's own microphone to one's own speaker without a clock or a
//! device; this file runs it between the two.

mod path;

use std::sync::Arc;
use std::time::{Duration, Instant};

use voicemesh_audio::process::MicrophoneConfig;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_device::{Capture, DeviceError, DeviceEvent, Playback, Waker, refuse_same_file};

use crate::arguments::LoopbackArguments;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::logs;
use crate::mic::{print_line, println};
use crate::signals::Stop;
use crate::talk::beside_earlier;
use crate::text::harmless;
use path::{Path, Settings, Totals};

/// Both devices are asked at least this often.
const NAP: Duration = Duration::from_millis(5);
/// A line comes this often.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The speaker's queue holds at least a block, and half a block more after it has run dry, up to
/// four.
const LEAST_QUEUED: usize = BLOCK_SAMPLES;
const QUEUE_STEP: usize = BLOCK_SAMPLES / 2;
const MOST_QUEUED: usize = 4 * BLOCK_SAMPLES;
/// The losses of one run are those of the next: two settings are compared under the same fate.
const SEED: u64 = 1;

/// Runs until the time is over or one has heard enough.
pub(crate) fn run(arguments: &LoopbackArguments) -> Result<Exit, Failure> {
    let started = Instant::now();
    loop_back(arguments).inspect_err(|failure| {
        if arguments.json {
            println(&json::error(started.elapsed(), failure));
        }
    })
}

fn loop_back(arguments: &LoopbackArguments) -> Result<Exit, Failure> {
    logs::init("warn");
    arguments.microphone.must_need_no_key()?;
    arguments.microphone.must_fit(&arguments.input)?;
    let stop = Stop::listen();
    let device = |error: DeviceError| Failure::device(&error);
    refuse_same_file(&arguments.input, &arguments.output).map_err(device)?;
    let (output, earlier) = beside_earlier(arguments.output.clone());
    // A file that cannot be played leaves no empty one behind.
    let capture =
        Capture::open(&arguments.input, arguments.microphone.channel, waker()).map_err(device)?;
    let playback = Playback::open(&output, waker()).map_err(device)?;
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
    let show = Show { for_programs: arguments.json };
    if let Some(sentence) = earlier {
        show.say(Duration::ZERO, &sentence);
    }
    if !arguments.json {
        show.say(
            Duration::ZERO,
            "You hear yourself as others hear you. Wear headphones; Ctrl-C ends.",
        );
    }
    let started = Instant::now();
    let mut loopback =
        Loopback { capture, playback, least_queued: LEAST_QUEUED, underruns: 0, show };
    let totals = loopback.run(path, started, arguments.seconds, &stop);
    if arguments.json {
        print_line(&json::own_line("summary", started.elapsed(), totals.json()))
    } else {
        totals.lines().iter().try_fold(Exit::Done, |_, line| print_line(line))
    }
}

fn waker() -> Waker {
    let thread = std::thread::current();
    Arc::new(move || thread.unpark())
}

/// How it is said.
#[derive(Clone, Copy)]
struct Show {
    for_programs: bool,
}

impl Show {
    /// False if the output's reader is gone.
    fn say(self, at: Duration, text: &str) -> bool {
        if self.for_programs { println(&json::notice(at, text)) } else { println(text) }
    }

    fn progress(self, at: Duration, path: &Path) -> bool {
        if self.for_programs {
            println(&json::own_line("loopback", at, path.json()))
        } else {
            println(&path.line())
        }
    }
}

struct Loopback {
    capture: Capture,
    playback: Playback,
    least_queued: usize,
    underruns: u64,
    show: Show,
}

impl Loopback {
    fn run(
        &mut self,
        mut path: Path,
        started: Instant,
        limit: Option<Duration>,
        stop: &Stop,
    ) -> Totals {
        let mut line_at = LINE_EVERY;
        loop {
            let now = started.elapsed();
            self.sound(now, &mut path);
            if now >= line_at {
                line_at = now + LINE_EVERY;
                if !self.show.progress(now, &path) {
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
            let queued = Duration::from_secs(1) * self.playback.queued() as u32
                / voicemesh_device::SAMPLE_RATE;
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
                DeviceEvent::Lost { why } => self
                    .show
                    .say(now, &format!("Your {which} does not work any more: {}.", harmless(&why))),
                _ => self.show.say(now, &format!("Your {which} works again.")),
            };
        }
    }
}
