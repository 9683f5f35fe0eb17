//! A speaker, as its writer sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::convert::Converter;
use crate::simulated::{self, Outlet};
use crate::wav::WavSpeaker;
use crate::worker::Worker;
use crate::{DeviceError, DeviceEvent, OutputSpec, SAMPLE_RATE, Waker};

/// How much written sound waits for the device: 200 ms. When it is full, [`Playback::write`] takes no more and says so.
const MOST_WAITING_MS: usize = 200;
/// News that nobody has asked for; the newest beyond it is dropped. A loss and a return are two, and at least 0.5 s apart.
const MOST_EVENTS: usize = 64;

/// An open speaker; closed when dropped.
pub struct Playback {
    feed: Feed,
    underruns: Arc<AtomicU64>,
    events: Consumer<DeviceEvent>,
    _device: Worker,
}

impl Playback {
    /// Opens a speaker. `waker` is called whenever it has taken samples.
    ///
    /// # Errors
    /// A [`DeviceError`], if the device is not there or cannot be opened, or the file cannot be written.
    pub fn open(spec: &OutputSpec, waker: Waker) -> Result<Self, DeviceError> {
        let file = match spec {
            OutputSpec::Device(_) => return Err(DeviceError::NoSpeaker),
            OutputSpec::Wav(path) => Some((path.clone(), WavSpeaker::create(path)?)),
            OutputSpec::Null => None,
        };
        let (ring, taken) = RingBuffer::new(SAMPLE_RATE as usize * MOST_WAITING_MS / 1_000);
        let (news, events) = RingBuffer::new(MOST_EVENTS);
        let underruns = Arc::new(AtomicU64::new(0));
        let device = simulated::speaker(file, Outlet::new(taken, Arc::clone(&underruns)), news, waker)?;
        Ok(Self { feed: Feed { ring, conversion: None }, underruns, events, _device: device })
    }

    /// Hands over samples of 48 kHz mono and says how many were taken: fewer than given if 200 ms are waiting already. Never
    /// blocks.
    pub fn write(&mut self, samples: &[f32]) -> usize {
        self.feed.write(samples)
    }

    /// How many samples were written and not yet taken by the device.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.feed.queued()
    }

    /// How often the device ran dry: wanted samples and found too few after it had found enough. It then plays silence,
    /// which is not counted again until there is something to play.
    #[must_use]
    pub fn underruns(&self) -> u64 {
        self.underruns.load(Ordering::Relaxed)
    }

    /// What happened to the device, in order; `None` when there is no more news.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop().ok()
    }
}

/// The writer's end of one opened stream, at the stream's own rate.
pub(crate) struct Feed {
    ring: Producer<f32>,
    conversion: Option<Conversion>,
}

struct Conversion {
    converter: Converter,
    /// Written, and too few for a chunk yet.
    gathered: Vec<f32>,
}

impl Feed {
    fn write(&mut self, samples: &[f32]) -> usize {
        let Some(conversion) = &mut self.conversion else {
            return self.ring.push_partial_slice(samples).0.len();
        };
        let mut taken = 0;
        while taken < samples.len() {
            let chunk = conversion.converter.chunk_in();
            let length = (chunk - conversion.gathered.len()).min(samples.len() - taken);
            conversion.gathered.extend_from_slice(&samples[taken..taken + length]);
            taken += length;
            if conversion.gathered.len() == chunk {
                if self.ring.slots() < conversion.converter.chunk_out() {
                    // Not these, then: a full chunk can only wait in the ring.
                    conversion.gathered.truncate(chunk - length);
                    return taken - length;
                }
                let converted = conversion.converter.convert(&conversion.gathered);
                let _ = self.ring.push_partial_slice(converted);
                conversion.gathered.clear();
            }
        }
        taken
    }

    fn queued(&self) -> usize {
        let in_ring = self.ring.buffer().capacity() - self.ring.slots();
        match &self.conversion {
            None => in_ring,
            Some(Conversion { converter, gathered }) => {
                gathered.len() + in_ring * converter.chunk_in() / converter.chunk_out()
            }
        }
    }
}
