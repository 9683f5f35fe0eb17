//! A speaker, as its writer sees it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpal::HostId;
use rtrb::{Consumer, Producer, RingBuffer};
use voicemesh_resample::Converter;

use crate::count::Counter;
use crate::device_thread::DeviceThread;
use crate::simulated::{self, Outlet};
use crate::stream::{Latency, OpenOptions, Running};
use crate::supervise::{self, Kind, Newest, Supervised};
use crate::wav::WavSpeaker;
use crate::{
    Channels, DeviceError, DeviceEvent, Direction, OutputSpec, SAMPLE_RATE, STEP_SAMPLES, Waker,
};

/// How much written sound waits for the device: 200 ms. When it is full, [`Playback::write`] takes
/// no more and says so.
const MOST_WAITING_MS: usize = 200;
/// A file is lost at most once.
const MOST_EVENTS: usize = 1;

/// An open speaker; closed when dropped.
pub struct Playback {
    /// In a cell so that asking about the newest needs no `&mut`; nothing is borrowed across calls.
    feed: RefCell<Newest<Feed>>,
    underruns: Arc<AtomicU64>,
    played: Arc<AtomicU64>,
    events: Consumer<DeviceEvent>,
    latency: Arc<Latency>,
    channels: Channels,
    _device: DeviceThread,
}

impl Playback {
    /// Opens a speaker. `waker` is called whenever it has taken samples.
    ///
    /// # Errors
    /// A [`DeviceError`], if the device is not there or cannot be opened, or the file cannot be
    /// written.
    pub fn open(spec: &OutputSpec, waker: Waker) -> Result<Self, DeviceError> {
        Self::open_with(spec, Channels::Mono, waker)
    }

    /// The same for one side or two.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        spec: &OutputSpec,
        channels: Channels,
        waker: Waker,
    ) -> Result<Self, DeviceError> {
        Self::begin(spec, channels, waker, |_| false)
    }

    /// The same, but a machine without a speaker or a sound system is no error: the speaker is lost
    /// from the beginning, which an event says, and recovers when there is one. A name that no
    /// device has stays an error.
    ///
    /// # Errors
    /// A [`DeviceError`], if the name or the file is wrong.
    pub fn open_or_wait(
        spec: &OutputSpec,
        channels: Channels,
        waker: Waker,
    ) -> Result<Self, DeviceError> {
        let unnamed = *spec == OutputSpec::Device(None);
        Self::begin(spec, channels, waker, move |error| error.may_pass(unnamed))
    }

    fn begin(
        spec: &OutputSpec,
        channels: Channels,
        waker: Waker,
        waits: impl Fn(&DeviceError) -> bool,
    ) -> Result<Self, DeviceError> {
        let file = match spec {
            OutputSpec::Device(name) => return Self::real(name.clone(), channels, waker, waits),
            OutputSpec::Wav(path) => {
                let speaker = WavSpeaker::create(path, channels.count())?;
                Some((speaker.written().to_owned(), speaker))
            }
            OutputSpec::Null | OutputSpec::Program => None,
        };
        let underruns = Arc::new(AtomicU64::new(0));
        let (outlet, feed) = Feed::unconverted(channels.count(), &underruns);
        let (news, events) = RingBuffer::new(MOST_EVENTS);
        let (latency, played) = Default::default();
        let device =
            simulated::speaker(file, outlet, Counter::new(&played, SAMPLE_RATE), news, waker)?;
        Ok(Self {
            feed: RefCell::new(Newest::only(feed)),
            underruns,
            played,
            events,
            latency,
            channels,
            _device: device,
        })
    }

    /// Hands over samples of 48 kHz mono and says how many were taken: fewer than given if 200 ms
    /// are waiting already. Never blocks. Both sides of two play them.
    pub fn write(&mut self, samples: &[f32]) -> usize {
        let feed = self.feed.get_mut().get();
        match self.channels {
            Channels::Mono => feed.write(&[samples]),
            Channels::Stereo => feed.write(&[samples; 2]),
        }
    }

    /// The same for two sides of equal length; what only has one plays their mean, of at most 10 ms
    /// at a time.
    pub fn write_stereo(&mut self, left: &[f32], right: &[f32]) -> usize {
        let feed = self.feed.get_mut().get();
        let length = left.len().min(right.len());
        match self.channels {
            Channels::Stereo => feed.write(&[&left[..length], &right[..length]]),
            Channels::Mono => {
                let mut mean = [0.0; STEP_SAMPLES];
                let mean = &mut mean[..length.min(STEP_SAMPLES)];
                for (mean, (left, right)) in mean.iter_mut().zip(left.iter().zip(right)) {
                    *mean = (left + right) / 2.0;
                }
                feed.write(&[mean])
            }
        }
    }

    /// How many samples of each side were written and not yet taken by the device.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.feed.borrow_mut().get().queued()
    }

    /// How often the device ran dry: wanted samples and found too few after it had found enough. It
    /// then plays silence, which is not counted again until there is something to play.
    #[must_use]
    pub fn underruns(&self) -> u64 {
        self.underruns.load(Ordering::Relaxed)
    }

    /// How many samples the device has taken since it was opened, silence included, whatever its
    /// own rate; it goes on when the device is lost and opened again. One atomic load.
    #[must_use]
    pub fn samples_played(&self) -> u64 {
        self.played.load(Ordering::Relaxed)
    }

    /// How long the device takes from asking for a sample to playing it, as its sound system says;
    /// zero for what is simulated.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency.get()
    }

    /// What happened to the device, in order; `None` when there is no more news.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop().ok()
    }

    fn real(
        name: Option<String>,
        channels: Channels,
        waker: Waker,
        waits: impl Fn(&DeviceError) -> bool,
    ) -> Result<Self, DeviceError> {
        let (latency, played) = (Arc::new(Latency::default()), Arc::new(AtomicU64::new(0)));
        let options = OpenOptions {
            direction: Direction::Output,
            channels: channels.count(),
            name,
            waker: Arc::clone(&waker),
            latency: Arc::clone(&latency),
            moved: Arc::clone(&played),
        };
        let underruns = Arc::new(AtomicU64::new(0));
        let speaker = PlaybackDevice { options, underruns: Arc::clone(&underruns) };
        let Supervised { feed, events, supervisor } = supervise::open(speaker, waker, waits)?;
        Ok(Self {
            feed: RefCell::new(feed),
            underruns,
            played,
            events,
            latency,
            channels,
            _device: supervisor,
        })
    }
}

/// A speaker of the machine.
struct PlaybackDevice {
    options: OpenOptions,
    underruns: Arc<AtomicU64>,
}

impl Kind for PlaybackDevice {
    type Feed = Feed;

    fn open(&self, earlier: Option<HostId>) -> Result<(Running, Feed), DeviceError> {
        self.options
            .open(earlier, |rate_hz, _| Feed::new(rate_hz, self.options.channels, &self.underruns))
    }

    /// Takes at pace what would have been played. What it misses is not the device's doing and not
    /// counted.
    fn stand_in(&self) -> (Feed, Box<dyn FnMut() + Send>) {
        let (mut outlet, feed) =
            Feed::unconverted(self.options.channels, &Arc::new(AtomicU64::new(0)));
        let mut counter = Counter::new(&self.options.moved, SAMPLE_RATE);
        let mut block = [0.0; 2 * STEP_SAMPLES];
        let step = move || {
            outlet.take(&mut block[..STEP_SAMPLES * outlet.channels()]);
            counter.moved(STEP_SAMPLES);
        };
        (feed, Box::new(step))
    }
}

/// The writer's end of one opened stream, at the stream's own rate.
pub(crate) struct Feed {
    /// Whole frames: of two sides, left and right take turns.
    ring: Producer<f32>,
    channels: usize,
    /// One for each side, in step; none at 48 kHz.
    conversions: Vec<Conversion>,
}

struct Conversion {
    converter: Converter,
    /// Written, and too few for a chunk yet.
    gathered: Vec<f32>,
}

impl Feed {
    /// Of a stream at `rate_hz`, with the callback's end of its ring.
    fn new(
        rate_hz: u32,
        channels: usize,
        underruns: &Arc<AtomicU64>,
    ) -> Result<(Outlet, Self), String> {
        let mut conversions = Vec::new();
        for _ in 0..channels {
            let converter = Converter::new(SAMPLE_RATE, rate_hz)?;
            conversions.extend(converter.map(|converter| {
                let gathered = Vec::with_capacity(converter.chunk_in());
                Conversion { converter, gathered }
            }));
        }
        // A chunk of an odd rate must fit whole.
        let chunk = conversions.first().map_or(0, |side| side.converter.chunk_out());
        let frames = (rate_hz as usize * MOST_WAITING_MS / 1_000).max(chunk);
        let (ring, taken) = RingBuffer::new(frames * channels);
        Ok((
            Outlet::new(taken, channels, Arc::clone(underruns)),
            Self { ring, channels, conversions },
        ))
    }

    fn unconverted(channels: usize, underruns: &Arc<AtomicU64>) -> (Outlet, Self) {
        let (ring, taken) =
            RingBuffer::new(SAMPLE_RATE as usize * MOST_WAITING_MS / 1_000 * channels);
        (
            Outlet::new(taken, channels, Arc::clone(underruns)),
            Self { ring, channels, conversions: Vec::new() },
        )
    }

    /// Takes as many slices as there are channels, each of the same length; says how many samples
    /// of each it took.
    fn write(&mut self, sides: &[&[f32]]) -> usize {
        let length = sides[0].len();
        let Some(first) = self.conversions.first() else {
            let frames = length.min(self.ring.slots() / self.channels);
            put(&mut self.ring, frames, sides.iter().copied());
            return frames;
        };
        let (chunk, made) = (first.converter.chunk_in(), first.converter.chunk_out());
        let mut taken = 0;
        while taken < length {
            let gathered = self.conversions[0].gathered.len();
            let piece = (chunk - gathered).min(length - taken);
            for (conversion, side) in self.conversions.iter_mut().zip(sides) {
                conversion.gathered.extend_from_slice(&side[taken..taken + piece]);
            }
            if gathered + piece == chunk {
                if self.ring.slots() / self.channels < made {
                    // Not these, then: a full chunk can only wait in the ring.
                    self.conversions.iter_mut().for_each(|side| side.gathered.truncate(gathered));
                    return taken;
                }
                let converted =
                    self.conversions.iter_mut().map(|Conversion { converter, gathered }| {
                        let converted = converter.convert(gathered);
                        gathered.clear();
                        converted
                    });
                put(&mut self.ring, made, converted);
            }
            taken += piece;
        }
        taken
    }

    fn queued(&self) -> usize {
        let in_ring = (self.ring.buffer().capacity() - self.ring.slots()) / self.channels;
        match self.conversions.first() {
            None => in_ring,
            Some(Conversion { converter, gathered }) => {
                gathered.len() + in_ring * converter.chunk_in() / converter.chunk_out()
            }
        }
    }
}

/// Puts frames, for which there is room, made of one slice or two.
fn put<'a>(ring: &mut Producer<f32>, frames: usize, mut sides: impl Iterator<Item = &'a [f32]>) {
    let left = &sides.next().unwrap_or_default()[..frames];
    let Some(right) = sides.next() else {
        let _ = ring.push_partial_slice(left);
        return;
    };
    if let Ok(room) = ring.write_chunk_uninit(2 * frames) {
        room.fill_from_iter(left.iter().zip(right).flat_map(|(left, right)| [*left, *right]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speaker_at_another_rate_plays_all_that_it_took_and_takes_no_more_than_fits() {
        let underruns = Arc::new(AtomicU64::new(0));
        let (mut outlet, mut feed) = Feed::new(44_100, 1, &underruns).unwrap();
        let mut written = 0;
        let full = loop {
            let taken = feed.write(&[&[0.5; 333]]);
            written += taken;
            if taken < 333 {
                break written;
            }
        };
        assert!((9_120..=9_600 + 480).contains(&full), "200 ms: {full}");
        assert!(feed.queued().abs_diff(full) <= 1, "{} of {full}", feed.queued());
        let mut played = vec![0.0; 44_100 / 5];
        outlet.take(&mut played);
        assert!(feed.queued() < 480, "only what is too little for a chunk is left");
        assert!((played[4_410] - 0.5).abs() < 0.001, "a constant stays what it is");
        assert!(feed.write(&[&[0.5; 333]]) > 0, "there is room again");
    }

    /// proves: B-11
    #[test]
    fn two_sides_of_another_rate_stay_apart_and_in_step() {
        let (mut outlet, mut feed) = Feed::new(44_100, 2, &Arc::default()).unwrap();
        for _ in 0..20 {
            assert_eq!(feed.write(&[&[0.5; 441], &[-0.25; 441]]), 441);
        }
        assert!(feed.queued().abs_diff(20 * 441) <= 1, "{}", feed.queued());
        let mut played = vec![0.0; 2 * 4_410];
        outlet.take(&mut played);
        for frame in played.chunks_exact(2).skip(2_000) {
            assert!((frame[0] - 0.5).abs() < 0.001 && (frame[1] + 0.25).abs() < 0.001, "{frame:?}");
        }
    }
}
