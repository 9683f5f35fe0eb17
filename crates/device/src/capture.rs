//! A microphone, as its reader sees it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpal::HostId;
use rtrb::{Consumer, Producer, RingBuffer};
use voicemesh_resample::{CORRECTED_AT_A_TIME, Converter, Corrector, HISTORY};

use crate::convert;
use crate::count::Counter;
use crate::device_thread::DeviceThread;
use crate::downmix::{Downmix, MicrophoneChannels, SharedChannels, no_such_channel};
use crate::simulated::{self, Voice};
use crate::stream::{Latency, Mixed, OpenOptions, Running};
use crate::supervise::{self, Kind, Newest, Supervised};
use crate::{DeviceError, DeviceEvent, Direction, InputSpec, SAMPLE_RATE, Waker, wav};

/// How much captured sound waits for its reader: 1 s. When it is full the newest is dropped,
/// because the device's end of a wait-free ring cannot take back what it gave; a reader that comes
/// late and wants the newest reads the rest away.
const MOST_WAITING_S: usize = 1;
/// How much is corrected ahead of its reader: 1 s too. When there is more, the rest waits
/// uncorrected.
const MOST_READY: usize = SAMPLE_RATE as usize;

/// An open microphone; closed when dropped.
pub struct Capture {
    /// In a cell so that asking about the newest needs no `&mut`; nothing is borrowed across calls.
    feed: RefCell<Newest<Feed>>,
    events: Consumer<DeviceEvent>,
    latency: Arc<Latency>,
    captured: Arc<AtomicU64>,
    correction_ppm: f64,
    channels: Arc<SharedChannels>,
    _device: Option<DeviceThread>,
}

impl Capture {
    /// Opens a microphone. `channel`, counted from 1, is the one to hear; without it the channels
    /// are mixed, or the loudest is taken where they do not agree ([`Self::channels`]). `waker` is
    /// called whenever it has given samples.
    ///
    /// # Errors
    /// A [`DeviceError`], if the device is not there or cannot be opened or has no such channel, or
    /// the file cannot be read.
    pub fn open(spec: &InputSpec, channel: Option<u16>, waker: Waker) -> Result<Self, DeviceError> {
        Self::begin(spec, channel, waker, |_| false)
    }

    /// The same, but a machine without a microphone or a sound system is no error: the microphone
    /// is lost from the beginning, which an event says, and recovers when there is one. A name that
    /// no device has stays an error.
    ///
    /// # Errors
    /// A [`DeviceError`], if the name or the file is wrong.
    pub fn open_or_wait(
        spec: &InputSpec,
        channel: Option<u16>,
        waker: Waker,
    ) -> Result<Self, DeviceError> {
        let unnamed = *spec == InputSpec::Device(None);
        Self::begin(spec, channel, waker, move |error| error.may_pass(unnamed))
    }

    fn begin(
        spec: &InputSpec,
        channel: Option<u16>,
        waker: Waker,
        waits: impl Fn(&DeviceError) -> bool,
    ) -> Result<Self, DeviceError> {
        let voice = match spec {
            InputSpec::Device(name) => return Self::real(name.clone(), channel, waker, waits),
            InputSpec::Wav { path, looped } => {
                Voice::Clip { samples: wav::load(path, channel)?, position: 0, looped: *looped }
            }
            InputSpec::Tone { hz } => Voice::tone(*hz),
            InputSpec::Silence => Voice::Silence,
            InputSpec::Null | InputSpec::Program => {
                return Ok(Self::simulated(RingBuffer::new(0).1, Arc::default(), None));
            }
        };
        let (producer, consumer) = RingBuffer::new(SAMPLE_RATE as usize * MOST_WAITING_S);
        let captured = Arc::default();
        let counter = Counter::new(&captured, SAMPLE_RATE);
        let device = simulated::microphone(voice, producer, counter, waker)?;
        Ok(Self::simulated(consumer, captured, Some(device)))
    }

    /// A microphone whose samples, mono at `rate_hz`, the program writes itself, and the end to
    /// write them to. `waker` is called whenever another 10 ms are complete.
    ///
    /// # Errors
    /// A rate outside of 8 to 192 kHz.
    pub fn of_program(rate_hz: u32, waker: Waker) -> Result<(Self, MicrophoneFeed), DeviceError> {
        convert::checked(rate_hz)?;
        let (ring, feed) = Feed::new(rate_hz).map_err(|_| convert::bad_rate(rate_hz))?;
        let captured = Arc::default();
        let writer = MicrophoneFeed {
            ring,
            counter: Counter::new(&captured, rate_hz),
            waker,
            every: (rate_hz / 100) as usize,
            since: 0,
        };
        let (events, latency) = (RingBuffer::new(0).1, Arc::default());
        let feed = RefCell::new(Newest::only(feed));
        let channels = Arc::default();
        Ok((
            Self { feed, events, latency, captured, correction_ppm: 0.0, channels, _device: None },
            writer,
        ))
    }

    /// Takes up to `out.len()` samples of 48 kHz mono, the oldest first, and says how many. Never
    /// blocks. To take whole blocks only, ask [`Self::available`] first.
    pub fn read(&mut self, out: &mut [f32]) -> usize {
        self.with_feed(|feed| feed.read(out))
    }

    /// How many samples [`Self::read`] would give now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.with_feed(Feed::available)
    }

    /// Makes what [`Self::read`] gives from now on slower by `ppm` parts per million (faster if
    /// negative), at most 1000: to the pace of a speaker whose clock is that much slower than the
    /// microphone's, as [`DriftEstimator`] tells it. Without a click, and also after the device was
    /// opened again.
    ///
    /// Until it is first told anything but 0, a device of 48 kHz gives exactly what it has
    /// captured.
    ///
    /// [`DriftEstimator`]: crate::DriftEstimator
    pub fn set_rate_correction(&mut self, ppm: f64) {
        self.correction_ppm = ppm;
    }

    /// How late samples are because of the conversion from the device's rate and to the corrected
    /// one.
    #[must_use]
    pub fn conversion_delay(&self) -> Duration {
        let samples = self.with_feed(|feed| feed.delay());
        Duration::from_micros(samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE))
    }

    /// How many samples the device has given since it was opened, before any correction, whatever
    /// its own rate; it goes on when the device is lost and opened again. One atomic load.
    #[must_use]
    pub fn samples_captured(&self) -> u64 {
        self.captured.load(Ordering::Relaxed)
    }

    /// How old the newest sample was when the device handed it over, as its sound system says; zero
    /// for what is simulated.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency.get()
    }

    /// The channels of a real device, and which of them are heard; `None` for what is simulated and
    /// before it is open.
    #[must_use]
    pub fn channels(&self) -> Option<MicrophoneChannels> {
        self.channels.get()
    }

    /// What happened to the device, in order; `None` when there is no more news.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop().ok()
    }

    fn real(
        name: Option<String>,
        channel: Option<u16>,
        waker: Waker,
        waits: impl Fn(&DeviceError) -> bool,
    ) -> Result<Self, DeviceError> {
        let (latency, captured) = (Arc::new(Latency::default()), Arc::new(AtomicU64::new(0)));
        let channels = Arc::new(SharedChannels::default());
        let options = OpenOptions {
            direction: Direction::Input,
            channels: 1,
            name,
            waker: Arc::clone(&waker),
            latency: Arc::clone(&latency),
            moved: Arc::clone(&captured),
        };
        let microphone = Microphone { options, channel, channels: Arc::clone(&channels) };
        let Supervised { feed, events, supervisor } = supervise::open(microphone, waker, waits)?;
        let feed = RefCell::new(feed);
        Ok(Self {
            feed,
            events,
            latency,
            captured,
            correction_ppm: 0.0,
            channels,
            _device: Some(supervisor),
        })
    }

    fn simulated(
        ring: Consumer<f32>,
        captured: Arc<AtomicU64>,
        device: Option<DeviceThread>,
    ) -> Self {
        let feed = RefCell::new(Newest::only(Feed::unconverted(ring)));
        let (events, latency) = (RingBuffer::new(0).1, Arc::default());
        Self {
            feed,
            events,
            latency,
            captured,
            correction_ppm: 0.0,
            channels: Arc::default(),
            _device: device,
        }
    }

    /// The newest stream, corrected as all are.
    fn with_feed<R>(&self, act: impl FnOnce(&mut Feed) -> R) -> R {
        let mut newest = self.feed.borrow_mut();
        let feed = newest.get();
        feed.set_correction(self.correction_ppm);
        act(feed)
    }
}

/// Where a program puts what it has captured itself. It may move to the program's audio thread.
pub struct MicrophoneFeed {
    ring: Producer<f32>,
    counter: Counter,
    waker: Waker,
    every: usize,
    /// Samples since the last whole `every`.
    since: usize,
}

impl MicrophoneFeed {
    /// Hands over samples of the rate it was opened with and returns how many were taken: fewer if
    /// a second of them waits already, unread. What is not a finite number becomes silence.
    /// Wait-free; allocates nothing.
    pub fn write(&mut self, samples: &[f32]) -> usize {
        let taken = samples.len().min(self.ring.slots());
        if let Ok(room) = self.ring.write_chunk_uninit(taken) {
            let clean = |sample: &f32| if sample.is_finite() { *sample } else { 0.0 };
            room.fill_from_iter(samples[..taken].iter().map(clean));
        }
        self.counter.moved(taken);
        self.since += taken;
        if self.since >= self.every {
            self.since %= self.every;
            (self.waker)();
        }
        taken
    }
}

impl std::fmt::Debug for MicrophoneFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MicrophoneFeed").field("room", &self.ring.slots()).finish_non_exhaustive()
    }
}

/// A microphone of the machine.
struct Microphone {
    options: OpenOptions,
    /// The one to hear, counted from 1.
    channel: Option<u16>,
    channels: Arc<SharedChannels>,
}

impl Kind for Microphone {
    type Feed = Feed;

    fn open(&self, earlier: Option<HostId>) -> Result<(Running, Feed), DeviceError> {
        self.options.open(earlier, |rate_hz, count| {
            if let Some(channel) = self.channel.filter(|channel| usize::from(*channel) > count) {
                return Err(no_such_channel(count, channel));
            }
            let (ring, feed) = Feed::new(rate_hz)?;
            let downmix = Downmix::new(count, rate_hz, self.channel, Arc::clone(&self.channels));
            Ok((Mixed { ring, downmix }, feed))
        })
    }

    fn stand_in(&self) -> (Feed, Box<dyn FnMut() + Send>) {
        (Feed::unconverted(RingBuffer::new(0).1), Box::new(|| {}))
    }
}

/// The reader's end of one opened stream: at 48 kHz, and at another clock's pace if it is
/// corrected.
pub(crate) struct Feed {
    source: Source,
    pace: Pace,
}

/// Whether a stream has ever been corrected.
enum Pace {
    /// What was read last, so that a correction can begin where it ends.
    Own {
        history: Box<[f32; HISTORY]>,
    },
    Corrected(Box<Correction>),
}

struct Correction {
    corrector: Corrector,
    ppm: f64,
    /// Corrected and not read yet: what waits is corrected whenever anyone looks, so that it is
    /// known how much it makes.
    ready: VecDeque<f32>,
}

impl Feed {
    /// Of a stream at `rate_hz`, with the callback's end of its ring.
    fn new(rate_hz: u32) -> Result<(Producer<f32>, Self), String> {
        let (producer, ring) = RingBuffer::new(rate_hz as usize * MOST_WAITING_S);
        let conversion = Converter::new(rate_hz, SAMPLE_RATE)?.map(|converter| {
            let (chunk, ready) =
                (vec![0.0; converter.chunk_in()], vec![0.0; converter.chunk_out()]);
            Conversion { converter, chunk, read: ready.len(), ready }
        });
        Ok((producer, Self::over(Source { ring, conversion })))
    }

    fn unconverted(ring: Consumer<f32>) -> Self {
        Self::over(Source { ring, conversion: None })
    }

    fn over(source: Source) -> Self {
        Self { source, pace: Pace::Own { history: Box::new([0.0; HISTORY]) } }
    }

    fn set_correction(&mut self, ppm: f64) {
        match &mut self.pace {
            Pace::Own { history } if ppm != 0.0 => match Corrector::after(history) {
                Ok(mut corrector) => {
                    corrector.set_ppm(ppm);
                    let ready = VecDeque::with_capacity(MOST_READY + 2 * CORRECTED_AT_A_TIME);
                    self.pace = Pace::Corrected(Box::new(Correction { corrector, ppm, ready }));
                }
                Err(why) => {
                    debug_assert!(false, "the corrector's parameters are always the same: {why}")
                }
            },
            Pace::Corrected(correction) if correction.ppm != ppm => {
                correction.ppm = ppm;
                correction.corrector.set_ppm(ppm);
            }
            Pace::Own { .. } | Pace::Corrected(_) => {}
        }
    }

    fn read(&mut self, out: &mut [f32]) -> usize {
        match &mut self.pace {
            Pace::Own { history } => {
                let given = self.source.read(out);
                remember(history, &out[..given]);
                given
            }
            Pace::Corrected(correction) => {
                correction.correct_waiting(&mut self.source);
                correction.give(out)
            }
        }
    }

    fn available(&mut self) -> usize {
        match &mut self.pace {
            Pace::Own { .. } => self.source.available(),
            Pace::Corrected(correction) => {
                correction.correct_waiting(&mut self.source);
                correction.ready.len()
            }
        }
    }

    /// In samples of 48 kHz.
    fn delay(&self) -> usize {
        let corrector = match &self.pace {
            Pace::Own { .. } => 0,
            Pace::Corrected(correction) => correction.corrector.delay(),
        };
        corrector
            + self.source.conversion.as_ref().map_or(0, |conversion| conversion.converter.delay())
    }
}

/// Adds to what was read last, and forgets the oldest.
fn remember(history: &mut [f32; HISTORY], read: &[f32]) {
    let newest = &read[read.len().saturating_sub(HISTORY)..];
    history.copy_within(newest.len().., 0);
    history[HISTORY - newest.len()..].copy_from_slice(newest);
}

impl Correction {
    fn correct_waiting(&mut self, source: &mut Source) {
        let mut chunk = [0.0; CORRECTED_AT_A_TIME];
        while self.ready.len() < MOST_READY && source.available() >= chunk.len() {
            source.read(&mut chunk);
            self.corrector.correct(&chunk, &mut self.ready);
        }
    }

    fn give(&mut self, out: &mut [f32]) -> usize {
        let length = out.len().min(self.ready.len());
        for (out, sample) in out.iter_mut().zip(self.ready.drain(..length)) {
            *out = sample;
        }
        length
    }
}

/// One opened stream at 48 kHz, by its own clock.
struct Source {
    /// At the stream's own rate.
    ring: Consumer<f32>,
    conversion: Option<Conversion>,
}

struct Conversion {
    converter: Converter,
    chunk: Vec<f32>,
    ready: Vec<f32>,
    /// How much of `ready` has been read.
    read: usize,
}

impl Source {
    fn read(&mut self, out: &mut [f32]) -> usize {
        let Some(conversion) = &mut self.conversion else {
            return self.ring.pop_partial_slice(out).0.len();
        };
        let mut given = 0;
        loop {
            given += conversion.give(&mut out[given..]);
            if given == out.len() || self.ring.pop_entire_slice(&mut conversion.chunk).is_err() {
                return given;
            }
            conversion.convert_chunk();
        }
    }

    fn available(&self) -> usize {
        match &self.conversion {
            None => self.ring.slots(),
            Some(conversion) => conversion.available(self.ring.slots()),
        }
    }
}

impl Conversion {
    fn give(&mut self, out: &mut [f32]) -> usize {
        let length = out.len().min(self.ready.len() - self.read);
        out[..length].copy_from_slice(&self.ready[self.read..self.read + length]);
        self.read += length;
        length
    }

    fn convert_chunk(&mut self) {
        self.ready.copy_from_slice(self.converter.convert(&self.chunk));
        self.read = 0;
    }

    fn available(&self, waiting: usize) -> usize {
        self.ready.len() - self.read + waiting / self.chunk.len() * self.ready.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_at_another_rate_gives_exactly_what_it_says_is_available() {
        let (mut ring, mut feed) = Feed::new(44_100).unwrap();
        let mut out = vec![0.0; 48_000];
        let mut total = 0;
        for step in 0..100 {
            // Callbacks of other sizes than the converter's chunks.
            for _ in 0..100 + step * 7 {
                ring.push(0.5).unwrap();
            }
            let available = feed.available();
            let wanted = available.min(300);
            assert_eq!(feed.read(&mut out[..wanted]), wanted);
            assert_eq!(feed.available(), available - wanted);
            assert_eq!(feed.read(&mut out), available - wanted, "asked for more than there is");
            total += available;
        }
        let captured: usize = (0..100).map(|step| 100 + step * 7).sum();
        let expected = captured * 48_000 / 44_100;
        assert!((expected - 480..=expected).contains(&total), "{total} of {expected}");
        assert!((out[0] - 0.5).abs() < 0.001, "a constant stays what it is");
    }

    /// A tone through a corrected stream, in uneven pieces; `ppm(at)` is set before the piece that
    /// begins there.
    fn corrected_tone(hz: f64, seconds: usize, ppm: impl Fn(usize) -> f64) -> Vec<f32> {
        let (mut ring, mut feed) = Feed::new(48_000).unwrap();
        let (mut heard, mut captured) = (Vec::new(), 0);
        let mut out = vec![0.0; 4_800];
        for piece in 0.. {
            if captured >= seconds * 48_000 {
                break;
            }
            feed.set_correction(ppm(captured));
            for _ in 0..100 + piece % 7 * 131 {
                ring.push((captured as f64 * hz / 48_000.0 * std::f64::consts::TAU).sin() as f32)
                    .unwrap();
                captured += 1;
            }
            let available = feed.available();
            let wanted = available.min(480 + piece % 5);
            assert_eq!(feed.read(&mut out[..wanted]), wanted);
            heard.extend_from_slice(&out[..wanted]);
            assert_eq!(feed.available(), available - wanted);
            assert_eq!(feed.read(&mut out), available - wanted, "asked for more than there is");
            heard.extend_from_slice(&out[..available - wanted]);
        }
        heard
    }

    /// The largest second difference, which is `amplitude * (TAU * hz / rate)^2` for a tone and
    /// more for a click.
    fn roughest(samples: &[f32]) -> f64 {
        let bend = |three: &[f32]| f64::from(three[0] - 2.0 * three[1] + three[2]).abs();
        samples.windows(3).map(bend).fold(0.0, f64::max)
    }

    #[test]
    fn a_stream_that_was_never_corrected_is_what_was_captured_to_the_bit() {
        let heard = corrected_tone(997.0, 3, |_| 0.0);
        let spoken =
            |at: usize| (at as f64 * 997.0 / 48_000.0 * std::f64::consts::TAU).sin() as f32;
        assert!(heard.len() >= 3 * 48_000, "without delay");
        assert!(heard.iter().enumerate().all(|(at, sample)| *sample == spoken(at)));
    }

    #[test]
    fn going_over_to_a_corrected_pace_and_changing_it_makes_no_click() {
        for hz in [100.0, 440.0, 1_000.0, 4_000.0] {
            let heard = corrected_tone(hz, 20, |at| match at / 48_000 {
                0 => 0.0,
                1..5 => 6.0 * (at - 48_000) as f64 / 24_000.0,
                5..10 => -500.0,
                10..15 => 500.0,
                _ => 0.0,
            });
            let tone = (std::f64::consts::TAU * hz / 48_000.0).powi(2);
            let found = roughest(&heard);
            assert!(found < tone * 1.01 + 2e-5, "{hz} Hz: {found}, a tone alone {tone}");
            let loudest = heard[48_000..].chunks_exact(4_800).map(|piece| {
                (piece.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>()
                    / piece.len() as f64)
                    .sqrt()
            });
            for level in loudest {
                assert!(
                    (level * std::f64::consts::SQRT_2 - 1.0).abs() < 0.002,
                    "{hz} Hz: level {level}"
                );
            }
        }
    }

    #[test]
    fn what_is_heard_before_and_after_a_correction_begins_fits_to_the_sample() {
        // So little that nothing moves in a second.
        let heard = corrected_tone(1_000.0, 2, |at| if at < 48_000 { 0.0 } else { 1e-3 });
        for (at, sample) in heard.iter().enumerate() {
            let spoken = (at as f64 * 1_000.0 / 48_000.0 * std::f64::consts::TAU).sin() as f32;
            assert!((sample - spoken).abs() < 2e-3, "{sample} for {spoken} at {at}");
        }
    }

    #[test]
    fn a_corrected_stream_has_the_length_and_the_pitch_of_the_other_clock() {
        for ppm in [-500.0, -100.0, 100.0, 500.0] {
            let heard = corrected_tone(1_000.0, 20, |_| ppm);
            let expected = 20.0 * 48_000.0 / (1.0 + ppm * 1e-6);
            assert!(
                (heard.len() as f64 - expected).abs() < 900.0,
                "{ppm} ppm: {} for {expected}",
                heard.len()
            );
            let rising = |at: &usize| heard[at - 1] < 0.0 && heard[*at] >= 0.0;
            let crossing =
                |at: usize| at as f64 - f64::from(heard[at] / (heard[at] - heard[at - 1]));
            let begins: Vec<usize> = (480..heard.len()).filter(rising).collect();
            let (first, last) = (crossing(begins[0]), crossing(begins[begins.len() - 1]));
            let period = (last - first) / (begins.len() - 1) as f64;
            let found = (48.0 / period - 1.0) * 1e6;
            assert!((found - ppm).abs() < 1.0, "{found} for {ppm} ppm");
        }
    }

    #[test]
    fn a_corrected_stream_of_another_rate_gives_exactly_what_it_says_and_its_delay_is_small() {
        let (mut ring, mut feed) = Feed::new(44_100).unwrap();
        let converted = feed.delay();
        feed.set_correction(250.0);
        assert!(
            (1..48).contains(&(feed.delay() - converted)),
            "within a millisecond: {}",
            feed.delay() - converted
        );
        let mut out = vec![0.0; 48_000];
        for step in 0..100 {
            (0..100 + step * 7).for_each(|_| ring.push(0.5).unwrap());
            let available = feed.available();
            let wanted = available.min(300);
            assert_eq!(feed.read(&mut out[..wanted]), wanted);
            assert_eq!(feed.available(), available - wanted);
            assert_eq!(feed.read(&mut out), available - wanted);
        }
        assert!((out[0] - 0.5).abs() < 0.001, "a constant stays what it is: {}", out[0]);
    }

    #[test]
    fn a_reader_that_only_asks_lets_no_more_than_two_seconds_wait() {
        let (mut ring, mut feed) = Feed::new(48_000).unwrap();
        feed.set_correction(100.0);
        while ring.push(0.5).is_ok() {
            feed.available();
        }
        let available = feed.available();
        assert!((48_000..48_100).contains(&available), "{available} ready");
        assert_eq!(feed.read(&mut vec![0.0; 200_000]), available);
        assert!(feed.available() > 47_000, "the other second");
    }
}
