//! One opened stream of a real device: its callbacks, and what they tell its supervisor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use cpal::traits::{DeviceTrait as _, StreamTrait as _};
use cpal::{ErrorKind, FromSample, HostId, SampleFormat, SizedSample, StreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::count::Counter;
use crate::downmix::Downmix;
use crate::simulated::Outlet;
use crate::{DeviceError, Direction, Waker, host};

/// How long a sound system may take to open a stream.
const OPEN_PATIENCE: Duration = Duration::from_secs(3);
/// Samples that a speaker's callback handles at a time, on its stack.
const PIECE: usize = 256;

/// A sound system may move single milliseconds. The caller is woken for whole blocks of 10 ms from
/// a microphone, because it can use no less; earlier by a speaker, which may run dry before it has
/// taken a block more.
const CAPTURE_WAKES_A_SECOND: u32 = 100;
const PLAYBACK_WAKES_A_SECOND: u32 = 400;

/// A running stream; ended when dropped, which may take as long as the sound system likes.
pub(crate) struct Running {
    /// Of the first fatal error; those after it say nothing new.
    pub(crate) errors: Consumer<cpal::Error>,
    /// How many callbacks there were.
    pub(crate) callbacks: Arc<AtomicU64>,
    /// Whom the first fatal error wakes.
    pub(crate) supervisor: Arc<OnceLock<Thread>>,
    /// Where it was opened.
    pub(crate) host: HostId,
    _stream: cpal::Stream,
}

/// What a real device is opened with.
#[derive(Clone)]
pub(crate) struct OpenOptions {
    pub(crate) direction: Direction,
    /// Of the caller's sound; the device may have others.
    pub(crate) channels: usize,
    pub(crate) name: Option<String>,
    pub(crate) waker: Waker,
    pub(crate) latency: Arc<Latency>,
    /// Samples of 48 kHz that all its streams have moved.
    pub(crate) moved: Arc<AtomicU64>,
}

/// What a device itself adds to the delay, as its sound system reports it with each callback.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

/// Smoothing of the reported latency: the weight of a new value is one part in this many.
const LATENCY_SMOOTHING: u64 = 16;
/// A reported latency above this is wrong and ignored.
const LONGEST_LATENCY: Duration = Duration::from_secs(5);

impl Latency {
    pub(crate) fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    /// Called by one callback at a time only; a thread that reads meanwhile gets the value before.
    fn report(&self, latency: Duration) {
        if latency <= LONGEST_LATENCY {
            let (before, told) = (self.0.load(Ordering::Relaxed), latency.as_micros() as u64);
            let smoothed = if before == 0 {
                told
            } else {
                (before * (LATENCY_SMOOTHING - 1) + told).div_ceil(LATENCY_SMOOTHING)
            };
            self.0.store(smoothed, Ordering::Relaxed);
        }
    }
}

/// The callbacks' view of the stream.
struct Reports {
    errors: Producer<cpal::Error>,
    supervisor: Arc<OnceLock<Thread>>,
}

impl OpenOptions {
    /// Opens the device and starts it. `ends(rate, channels)` makes the callback's end of a ring
    /// for a stream of that rate and number of channels, and the caller's end; it is called for
    /// each format that is tried.
    pub(crate) fn open<E: End, F>(
        &self,
        earlier: Option<HostId>,
        ends: impl Fn(u32, usize) -> Result<(E, F), String>,
    ) -> Result<(Running, F), DeviceError> {
        let host = host::host(earlier)?;
        let device = host::find(&host, self.direction, self.name.as_deref())?;
        let mut refused = cpal::Error::with_message(
            ErrorKind::DeviceNotAvailable,
            "it offers no format that is understood",
        );
        for (config, format) in host::configurations(&device, self.direction, self.channels) {
            let (end, feed) = match ends(config.sample_rate, usize::from(config.channels)) {
                Ok(ends) => ends,
                Err(why) => {
                    refused = cpal::Error::with_message(ErrorKind::UnsupportedConfig, why);
                    continue;
                }
            };
            match self.start(&device, host.id(), config, format, end) {
                Ok(running) => {
                    tracing::debug!(
                        direction = host::word(self.direction),
                        ?config,
                        ?format,
                        "opened"
                    );
                    return Ok((running, feed));
                }
                Err(error) => {
                    tracing::debug!(direction = host::word(self.direction), ?config, ?format, %error, "refused");
                    refused = error;
                }
            }
        }
        Err(host::cannot_open(&refused, self.direction, self.name.as_deref()))
    }

    fn start<E: End>(
        &self,
        device: &cpal::Device,
        host: HostId,
        config: StreamConfig,
        format: SampleFormat,
        end: E,
    ) -> Result<Running, cpal::Error> {
        let (reported, errors) = RingBuffer::new(1);
        let supervisor = Arc::new(OnceLock::new());
        let callbacks = Arc::new(AtomicU64::new(0));
        let wakes_a_second = match self.direction {
            Direction::Input => CAPTURE_WAKES_A_SECOND,
            Direction::Output => PLAYBACK_WAKES_A_SECOND,
        };
        let plumbing = Plumbing {
            end,
            channels: usize::from(config.channels),
            rate_hz: config.sample_rate,
            latency: Arc::clone(&self.latency),
            alarm: Alarm {
                callbacks: Arc::clone(&callbacks),
                counter: Counter::new(&self.moved, config.sample_rate),
                waker: Arc::clone(&self.waker),
                every: (config.sample_rate / wakes_a_second).max(1) as usize,
                since: 0,
            },
            reports: Reports { errors: reported, supervisor: Arc::clone(&supervisor) },
        };
        let stream = match format {
            SampleFormat::F32 => E::build::<f32>(device, config, plumbing),
            SampleFormat::F64 => E::build::<f64>(device, config, plumbing),
            SampleFormat::I8 => E::build::<i8>(device, config, plumbing),
            SampleFormat::I16 => E::build::<i16>(device, config, plumbing),
            SampleFormat::I24 => E::build::<cpal::I24>(device, config, plumbing),
            SampleFormat::I32 => E::build::<i32>(device, config, plumbing),
            SampleFormat::I64 => E::build::<i64>(device, config, plumbing),
            SampleFormat::U8 => E::build::<u8>(device, config, plumbing),
            SampleFormat::U16 => E::build::<u16>(device, config, plumbing),
            SampleFormat::U24 => E::build::<cpal::U24>(device, config, plumbing),
            SampleFormat::U32 => E::build::<u32>(device, config, plumbing),
            SampleFormat::U64 => E::build::<u64>(device, config, plumbing),
            _ => Err(cpal::Error::with_message(
                ErrorKind::UnsupportedConfig,
                "its sample format is not understood",
            )),
        }?;
        stream.play()?;
        Ok(Running { errors, callbacks, supervisor, host, _stream: stream })
    }
}

/// Everything that one stream's callbacks own.
pub(crate) struct Plumbing<E> {
    end: E,
    channels: usize,
    rate_hz: u32,
    latency: Arc<Latency>,
    alarm: Alarm,
    reports: Reports,
}

/// Tells the supervisor that the stream lives, and wakes the caller when it has something to do.
struct Alarm {
    callbacks: Arc<AtomicU64>,
    counter: Counter,
    waker: Waker,
    every: usize,
    /// Frames moved since the last whole `every`.
    since: usize,
}

impl Alarm {
    fn moved(&mut self, frames: usize) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        self.counter.moved(frames);
        self.since += frames;
        if self.since >= self.every {
            self.since %= self.every;
            (self.waker)();
        }
    }
}

/// The callback's end of a ring.
pub(crate) trait End: Send + Sized + 'static {
    /// Builds the stream whose callback owns this end.
    fn build<T>(
        device: &cpal::Device,
        config: StreamConfig,
        plumbing: Plumbing<Self>,
    ) -> Result<cpal::Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32> + Send + 'static,
        f32: FromSample<T>;
}

/// A microphone's: its channels are mixed to one, and what does not fit is dropped.
pub(crate) struct Mixed {
    pub(crate) ring: Producer<f32>,
    pub(crate) downmix: Downmix,
}

impl End for Mixed {
    fn build<T>(
        device: &cpal::Device,
        config: StreamConfig,
        plumbing: Plumbing<Self>,
    ) -> Result<cpal::Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32> + Send + 'static,
        f32: FromSample<T>,
    {
        let Plumbing { end: mut mixed, channels, rate_hz, latency, mut alarm, mut reports } =
            plumbing;
        let captured = move |samples: &[T], info: &cpal::InputCallbackInfo| {
            // The timestamps give the age of the first sample; that of the last is less by the
            // length of the block.
            let (first, frames) = (info.timestamp(), samples.len() / channels);
            let length =
                Duration::from_micros(frames as u64 * 1_000_000 / u64::from(rate_hz.max(1)));
            latency.report(first.callback.duration_since(first.capture).saturating_sub(length));
            give(samples, channels, &mut mixed);
            alarm.moved(frames);
        };
        device.build_input_stream(
            config,
            captured,
            move |error| reports.add(error),
            Some(OPEN_PATIENCE),
        )
    }
}

/// A speaker's.
impl End for Outlet {
    fn build<T>(
        device: &cpal::Device,
        config: StreamConfig,
        plumbing: Plumbing<Self>,
    ) -> Result<cpal::Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32> + Send + 'static,
        f32: FromSample<T>,
    {
        let Plumbing { end: mut outlet, channels, latency, mut alarm, mut reports, .. } = plumbing;
        let wanted = move |samples: &mut [T], info: &cpal::OutputCallbackInfo| {
            let told = info.timestamp();
            latency.report(told.playback.duration_since(told.callback));
            take(samples, channels, &mut outlet);
            alarm.moved(samples.len() / channels);
        };
        device.build_output_stream(
            config,
            wanted,
            move |error| reports.add(error),
            Some(OPEN_PATIENCE),
        )
    }
}

impl Reports {
    /// May be called hundreds of thousands of times a second when a sound server dies.
    fn add(&mut self, error: cpal::Error) {
        if is_fatal(error.kind())
            && self.errors.push(error).is_ok()
            && let Some(supervisor) = self.supervisor.get()
        {
            supervisor.unpark();
        }
    }
}

/// Whether a stream is over with that error. An unknown one is: opening again is the safer mistake.
fn is_fatal(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied | ErrorKind::Xrun)
}

/// From a device's frames to mono.
fn give<T: Copy>(samples: &[T], channels: usize, mixed: &mut Mixed)
where
    f32: FromSample<T>,
{
    let Mixed { ring, downmix } = mixed;
    let fits = ring.slots().min(samples.len() / channels);
    if let Ok(room) = ring.write_chunk_uninit(fits) {
        let mono = samples
            .chunks_exact(channels)
            .map(|frame| downmix.mix(frame.iter().map(|sample| f32::from_sample_(*sample))));
        room.fill_from_iter(mono);
    }
}

/// To a device's frames: the first two channels (a pair of speakers) play both sides, or the same
/// if there is one; others are silent. A device with one channel plays the mean.
fn take<T: Copy + SizedSample + FromSample<f32>>(
    samples: &mut [T],
    channels: usize,
    outlet: &mut Outlet,
) {
    let mut waiting = [0.0; 2 * PIECE];
    for piece in samples.chunks_mut(PIECE * channels) {
        let waiting = &mut waiting[..piece.len() / channels * outlet.channels()];
        outlet.take(waiting);
        piece.fill(T::EQUILIBRIUM);
        for (frame, sides) in
            piece.chunks_exact_mut(channels).zip(waiting.chunks_exact(outlet.channels()))
        {
            let pair = match *sides {
                [left, right] if channels == 1 => [(left + right) / 2.0; 2],
                [left, right] => [left, right],
                _ => [sides[0]; 2],
            };
            for (channel, sample) in frame.iter_mut().zip(pair) {
                *channel = T::from_sample(sample.clamp(-1.0, 1.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn latency_is_smoothed_and_nonsense_is_not_believed() {
        let latency = Latency::default();
        assert_eq!(latency.get(), Duration::ZERO);
        latency.report(Duration::from_millis(40));
        assert_eq!(latency.get(), Duration::from_millis(40), "the first is believed at once");
        latency.report(Duration::from_secs(4_000));
        assert_eq!(latency.get(), Duration::from_millis(40));
        (0..200).for_each(|_| latency.report(Duration::from_millis(20)));
        assert!((20_000..20_100).contains(&latency.get().as_micros()), "{:?}", latency.get());
    }

    #[test]
    fn frames_of_any_format_become_mono_and_what_does_not_fit_is_dropped() {
        let (ring, mut given) = RingBuffer::new(3);
        let mut mixed = Mixed { ring, downmix: Downmix::new(2, 48_000, None, Arc::default()) };
        give(&[16_384_i16, 0, -16_384, -16_384], 2, &mut mixed);
        mixed.downmix = Downmix::new(1, 48_000, None, Arc::default());
        give(&[255_u8, 128], 1, &mut mixed);
        let mut mono = [0.0; 4];
        assert_eq!(given.pop_partial_slice(&mut mono).0, [0.25, -0.5, 127.0 / 128.0]);
    }

    #[test]
    fn mono_becomes_frames_whose_front_pair_plays_it() {
        let (mut ring, taken) = RingBuffer::new(4);
        let mut outlet = Outlet::new(taken, 1, Arc::default());
        ring.push_entire_slice(&[0.5, -2.0]).unwrap();
        let mut frames = [9_i16; 9];
        take(&mut frames, 3, &mut outlet);
        assert_eq!(
            frames,
            [16_384, 16_384, 0, -32_768, -32_768, 0, 0, 0, 0],
            "clipped, and silence when there is no more"
        );
        let mut unsigned = [9_u8; 2];
        take(&mut unsigned, 1, &mut outlet);
        assert_eq!(unsigned, [128, 128], "silence of an unsigned format is its middle");
    }

    /// proves: B-11
    #[test]
    fn two_sides_become_frames_of_any_number_of_channels() {
        let sides = [0.5, -0.25, 0.25, 0.75];
        for (channels, frames) in [
            (1, &[0.125, 0.5][..]),
            (2, &[0.5, -0.25, 0.25, 0.75]),
            (3, &[0.5, -0.25, 0.0, 0.25, 0.75, 0.0]),
        ] {
            let (mut ring, taken) = RingBuffer::new(4);
            let mut outlet = Outlet::new(taken, 2, Arc::default());
            ring.push_entire_slice(&sides).unwrap();
            let mut played = vec![9.0_f32; frames.len()];
            take(&mut played, channels, &mut outlet);
            assert_eq!(played, frames);
        }
    }

    #[test]
    fn the_caller_is_woken_for_whole_blocks_however_small_the_callbacks_are() {
        let wakes = Arc::new(AtomicU64::new(0));
        let woken = Arc::clone(&wakes);
        let waker: Waker = Arc::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        });
        let counter = Counter::new(&Arc::default(), 48_000);
        let mut alarm = Alarm { callbacks: Arc::default(), counter, waker, every: 480, since: 0 };
        for millisecond in 1..=1_000 {
            alarm.moved(48);
            assert_eq!(wakes.load(Ordering::Relaxed), millisecond / 10);
        }
        alarm.moved(48_000);
        assert_eq!(wakes.load(Ordering::Relaxed), 101, "once for a callback of many blocks");
        assert_eq!(alarm.callbacks.load(Ordering::Relaxed), 1_001);
    }
}
