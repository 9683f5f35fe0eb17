//! A microphone, as its reader sees it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use cpal::HostId;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::convert::Converter;
use crate::simulated::{self, Voice};
use crate::stream::{Latency, Opening, Running};
use crate::supervise::{self, Kind, Newest, Supervised};
use crate::worker::Worker;
use crate::{DeviceError, DeviceEvent, Direction, InputSpec, SAMPLE_RATE, Waker, wav};

/// How much captured sound waits for its reader: 1 s. When it is full the newest is dropped, because the device's end of a
/// wait-free ring cannot take back what it gave; a reader that comes late and wants the newest reads the rest away.
const MOST_WAITING_S: usize = 1;

/// An open microphone; closed when dropped.
pub struct Capture {
    /// In a cell so that asking about the newest needs no `&mut`; nothing is borrowed across calls.
    feed: RefCell<Newest<Feed>>,
    events: Consumer<DeviceEvent>,
    latency: Arc<Latency>,
    _device: Option<Worker>,
}

impl Capture {
    /// Opens a microphone. `waker` is called whenever it has given samples.
    ///
    /// # Errors
    /// A [`DeviceError`], if the device is not there or cannot be opened, or the file cannot be read.
    pub fn open(spec: &InputSpec, waker: Waker) -> Result<Self, DeviceError> {
        Self::begin(spec, waker, |_| false)
    }

    /// The same, but a machine without a microphone or a sound system is no error: the microphone is lost from the
    /// beginning, which is told as an event, and recovers when there is one. A name that no device has stays an error.
    ///
    /// # Errors
    /// A [`DeviceError`], if the name or the file is wrong.
    pub fn open_or_wait(spec: &InputSpec, waker: Waker) -> Result<Self, DeviceError> {
        let unnamed = *spec == InputSpec::Device(None);
        Self::begin(spec, waker, move |error| error.may_pass(unnamed))
    }

    fn begin(spec: &InputSpec, waker: Waker, waits: impl Fn(&DeviceError) -> bool) -> Result<Self, DeviceError> {
        let voice = match spec {
            InputSpec::Device(name) => return Self::real(name.clone(), waker, waits),
            InputSpec::Wav { path, looped } => Voice::Clip { samples: wav::load(path)?, position: 0, looped: *looped },
            InputSpec::Tone { hz } => Voice::tone(*hz),
            InputSpec::Silence => Voice::Silence,
            InputSpec::Null => return Ok(Self::simulated(RingBuffer::new(0).1, None)),
        };
        let (producer, consumer) = RingBuffer::new(SAMPLE_RATE as usize * MOST_WAITING_S);
        Ok(Self::simulated(consumer, Some(simulated::microphone(voice, producer, waker)?)))
    }

    /// Takes up to `out.len()` samples of 48 kHz mono, the oldest first, and says how many. Never blocks. To take whole
    /// blocks only, ask [`Self::available`] first.
    pub fn read(&mut self, out: &mut [f32]) -> usize {
        self.feed.get_mut().get().read(out)
    }

    /// How many samples [`Self::read`] would give now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.feed.borrow_mut().get().available()
    }

    /// How old the newest sample was when the device handed it over, as its sound system says; zero for what is simulated.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency.get()
    }

    /// What happened to the device, in order; `None` when there is no more news.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop().ok()
    }

    fn real(name: Option<String>, waker: Waker, waits: impl Fn(&DeviceError) -> bool) -> Result<Self, DeviceError> {
        let latency = Arc::new(Latency::default());
        let opening =
            Opening { direction: Direction::Input, name, waker: Arc::clone(&waker), latency: Arc::clone(&latency) };
        let microphone = Microphone(opening);
        let Supervised { feed, events, supervisor } = supervise::open(microphone, waker, waits)?;
        Ok(Self { feed: RefCell::new(feed), events, latency, _device: Some(supervisor) })
    }

    fn simulated(ring: Consumer<f32>, device: Option<Worker>) -> Self {
        let feed = Feed { ring, conversion: None };
        let (events, latency) = (RingBuffer::new(0).1, Arc::default());
        Self { feed: RefCell::new(Newest::only(feed)), events, latency, _device: device }
    }
}

/// A microphone of the machine.
struct Microphone(Opening);

impl Kind for Microphone {
    type Feed = Feed;

    fn open(&self, earlier: Option<HostId>) -> Result<(Running, Feed), DeviceError> {
        self.0.open(earlier, Feed::new)
    }

    fn stand_in(&self) -> (Feed, Box<dyn FnMut() + Send>) {
        (Feed { ring: RingBuffer::new(0).1, conversion: None }, Box::new(|| {}))
    }
}

/// The reader's end of one opened stream, at the stream's own rate.
pub(crate) struct Feed {
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

impl Feed {
    /// Of a stream at `rate_hz`, with the callback's end of its ring.
    fn new(rate_hz: u32) -> Result<(Producer<f32>, Self), String> {
        let (producer, ring) = RingBuffer::new(rate_hz as usize * MOST_WAITING_S);
        let conversion = Converter::new(rate_hz, SAMPLE_RATE)?.map(|converter| {
            let (chunk, ready) = (vec![0.0; converter.chunk_in()], vec![0.0; converter.chunk_out()]);
            Conversion { converter, chunk, read: ready.len(), ready }
        });
        Ok((producer, Self { ring, conversion }))
    }

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
}
