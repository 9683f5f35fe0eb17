//! Devices without hardware: a thread that moves 10 ms every 10 ms.

use std::f64::consts::TAU;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rtrb::{Consumer, Producer};

use crate::count::Counter;
use crate::device_thread::{DeviceThread, Stop};
use crate::pace::{Pace, Pacer};
use crate::wav::WavSpeaker;
use crate::{DeviceError, DeviceEvent, SAMPLE_RATE, STEP_SAMPLES, Waker};

const TONE_AMPLITUDE: f64 = 0.25;

/// What a simulated microphone hears.
pub(crate) enum Voice {
    Clip { samples: Vec<f32>, position: usize, looped: bool },
    Tone { phase: f64, step: f64 },
    Silence,
}

impl Voice {
    pub(crate) fn tone(hz: f32) -> Self {
        Self::Tone { phase: 0.0, step: f64::from(hz) / f64::from(SAMPLE_RATE) }
    }

    fn speak(&mut self, block: &mut [f32; STEP_SAMPLES]) {
        block.fill(0.0);
        match self {
            Self::Silence => {}
            Self::Tone { phase, step } => {
                for sample in block {
                    *sample = ((*phase * TAU).sin() * TONE_AMPLITUDE) as f32;
                    *phase = (*phase + *step).fract();
                }
            }
            Self::Clip { samples, position, looped } => {
                let mut filled = 0;
                while filled < block.len() && *position < samples.len() {
                    let length = (block.len() - filled).min(samples.len() - *position);
                    block[filled..filled + length]
                        .copy_from_slice(&samples[*position..*position + length]);
                    filled += length;
                    *position += length;
                    if *looped && *position == samples.len() {
                        *position = 0;
                    }
                }
            }
        }
    }
}

/// Starts a microphone. Time that is skipped (the machine slept) is not spoken: a clip goes on
/// where it was.
pub(crate) fn microphone(
    mut voice: Voice,
    mut ring: Producer<f32>,
    mut counter: Counter,
    waker: Waker,
) -> Result<DeviceThread, DeviceError> {
    DeviceThread::spawn("simulated microphone", move |stop| {
        let mut block = [0.0; STEP_SAMPLES];
        // The benchmark of mouth to ear reads both files' moment zero from these lines.
        tracing::debug!("the simulated microphone begins");
        pace(&stop, || {
            voice.speak(&mut block);
            // What a reader that stays away leaves no room for is dropped.
            let _ = ring.push_partial_slice(&block);
            counter.moved(block.len());
            waker();
        });
    })
}

/// Starts a speaker: a file, or nothing at all.
pub(crate) fn speaker(
    file: Option<(PathBuf, WavSpeaker)>,
    mut outlet: Outlet,
    mut counter: Counter,
    mut events: Producer<DeviceEvent>,
    waker: Waker,
) -> Result<DeviceThread, DeviceError> {
    DeviceThread::spawn("simulated speaker", move |stop| {
        let (path, mut file) = file.unzip();
        let mut lost = |why: String| {
            let path = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            let why = format!("nothing more can be written to {path}: {why}");
            tracing::debug!("{why}");
            let _ = events.push(DeviceEvent::Lost { why });
        };
        let mut block = [0.0; 2 * STEP_SAMPLES];
        let block = &mut block[..STEP_SAMPLES * outlet.channels()];
        tracing::debug!("the simulated speaker begins");
        pace(&stop, || {
            outlet.take(block);
            counter.moved(STEP_SAMPLES);
            if let Some(Err(why)) = file.as_mut().map(|file| file.play(block)) {
                // As much as there is gets its name; on a full disk it may not.
                let _ = file.take().map(WavSpeaker::finish);
                lost(why);
            }
            waker();
        });
        if let Some(Err(why)) = file.map(WavSpeaker::finish) {
            lost(why);
        }
    })
}

/// Calls `step` every 10 ms until told to stop.
pub(crate) fn pace(stop: &Stop, mut step: impl FnMut()) {
    let epoch = Instant::now();
    let mut pacer = Pacer::new(epoch.elapsed());
    while !stop.is_set() {
        match pacer.next(epoch.elapsed()) {
            Pace::Wait(length) => stop.doze(length),
            Pace::Step { skipped } => {
                if skipped > 0 {
                    tracing::debug!(skipped_ms = skipped * 10, "a simulated device was held up");
                }
                step();
            }
        }
    }
}

/// The device's end of a playback ring: takes what there is, silence for the rest, and counts how
/// often it ran dry.
pub(crate) struct Outlet {
    /// Whole frames: of two channels, left and right take turns.
    ring: Consumer<f32>,
    channels: usize,
    underruns: Arc<AtomicU64>,
    dry: bool,
}

impl Outlet {
    pub(crate) fn new(ring: Consumer<f32>, channels: usize, underruns: Arc<AtomicU64>) -> Self {
        Self { ring, channels, underruns, dry: true }
    }

    /// One or two.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Wait-free: for real-time callbacks too.
    pub(crate) fn take(&mut self, block: &mut [f32]) {
        let (taken, rest) = self.ring.pop_partial_slice(block);
        let was_dry = std::mem::replace(&mut self.dry, !rest.is_empty());
        let ran_dry = self.dry && (!was_dry || !taken.is_empty());
        if ran_dry {
            self.underruns.fetch_add(1, Ordering::Relaxed);
        }
        rest.fill(0.0);
    }
}
