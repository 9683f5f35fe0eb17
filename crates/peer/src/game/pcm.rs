//! Sound for a game's own audio engine: one peer's, or everyone's.
//!
//! A bounded ring lies between the engine thread, which writes 10 ms at a time, and the game's
//! audio thread, which reads as its device wants. With
//! [`OutputSpec::Program`](crate::OutputSpec::Program) the first that reads sets the pace; else the
//! speaker or the clock does, and a reader whose clock is another one skips or misses a few
//! milliseconds now and then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use voicemesh_audio::Block;
use voicemesh_audio::space::StereoBlock;
use voicemesh_device::{DeviceError, Resampler};
use voicemesh_engine::Mixing;
use voicemesh_wire::PeerId;

use crate::inbox::Wake;

/// What a ring holds: 200 ms. When it is full the newest is dropped; a reader that comes late skips
/// to what is new.
const RING_MS: usize = 200;
/// What lies ready beside what a reader takes at a time: 10 ms.
const AHEAD_MS: usize = 10;
/// More than this waits beside twice what a reader takes: it skips.
const TOO_MUCH_MS: usize = 40;
/// A skip goes over from the old to the new within this.
const BLEND_MS: usize = 5;
/// A reader that has not read for so long sets no pace.
const AWAY: Duration = Duration::from_millis(100);
/// Voices that are open at a time. One more is refused: it reads silence.
const VOICES: usize = 256;

/// What both ends of a ring know.
#[derive(Debug, Default)]
struct ReaderStats {
    /// Frames that the reader took at a time, lately.
    at_a_time: AtomicU32,
    reads: AtomicU32,
    /// Whether this reader sets the pace, so that its reading wakes the engine.
    leads: AtomicBool,
}

/// One end of a ring, for the game's audio thread.
pub(crate) struct Reader {
    ring: Consumer<f32>,
    channels: usize,
    frames_per_ms: usize,
    /// Nothing is given until enough waits again.
    is_dry: bool,
    demand: Arc<ReaderStats>,
    wake: Wake,
}

/// The other end, for the engine.
pub(crate) struct Source {
    ring: Producer<f32>,
    channels: usize,
    frames_per_ms: usize,
    left: Resampler,
    right: Option<Resampler>,
    /// The left side, while the right one is converted.
    waiting: Vec<f32>,
    demand: Arc<ReaderStats>,
    reads: u32,
    read_at: Option<Duration>,
    is_fed: bool,
}

/// Both ends of a ring at `rate_hz`.
pub(crate) fn ring(
    rate_hz: u32,
    channels: usize,
    wake: &Wake,
) -> Result<(Source, Reader), DeviceError> {
    let left = Resampler::new(rate_hz)?;
    let right = if channels == 2 { Some(Resampler::new(rate_hz)?) } else { None };
    let frames_per_ms = (rate_hz as usize).div_ceil(1_000);
    let (producer, consumer) = RingBuffer::new(RING_MS * frames_per_ms * channels);
    let demand = Arc::new(ReaderStats::default());
    let source = Source {
        ring: producer,
        channels,
        frames_per_ms,
        left,
        right,
        waiting: Vec::with_capacity(3 * AHEAD_MS * frames_per_ms),
        demand: demand.clone(),
        reads: 0,
        read_at: None,
        is_fed: false,
    };
    Ok((
        source,
        Reader {
            ring: consumer,
            channels,
            frames_per_ms,
            is_dry: true,
            demand,
            wake: wake.clone(),
        },
    ))
}

impl Reader {
    /// Fills `out`, with silence where there is nothing; says how many frames are sound.
    fn read(&mut self, out: &mut [f32]) -> usize {
        let frames = out.len() / self.channels;
        self.demand.at_a_time.store(frames as u32, Ordering::Relaxed);
        self.demand.reads.fetch_add(1, Ordering::Relaxed);
        let ms = self.frames_per_ms * self.channels;
        let (wanted, waiting) = (frames * self.channels, self.ring.slots());
        let enough = (wanted + AHEAD_MS * ms).min(RING_MS * ms);
        self.is_dry &= waiting < enough;
        let (sound, rest) = if self.is_dry {
            out.split_at_mut(0)
        } else if waiting > 2 * wanted + TOO_MUCH_MS * ms {
            self.skip(waiting - enough, &mut out[..wanted]);
            out.split_at_mut(wanted)
        } else {
            let given = self.ring.pop_partial_slice(&mut out[..wanted]).0.len();
            self.is_dry = given < wanted;
            out.split_at_mut(given)
        };
        rest.fill(0.0);
        if self.demand.leads.load(Ordering::Relaxed) {
            self.wake.wake();
        }
        sound.len() / self.channels
    }

    /// Goes over to what lies `skipped` samples further.
    fn skip(&mut self, skipped: usize, out: &mut [f32]) {
        let Ok(chunk) = self.ring.read_chunk(skipped + out.len()) else { return out.fill(0.0) };
        let (first, second) = chunk.as_slices();
        let at = |index: usize| {
            first.get(index).or_else(|| second.get(index - first.len())).copied().unwrap_or(0.0)
        };
        let blend = (BLEND_MS * self.frames_per_ms).min(out.len() / self.channels);
        for (index, out) in out.iter_mut().enumerate() {
            let (frame, new) = (index / self.channels, at(skipped + index));
            *out = match frame < blend {
                true => at(index) + (new - at(index)) * frame as f32 / blend as f32,
                false => new,
            };
        }
        chunk.commit_all();
    }
}

impl Source {
    fn frames_waiting(&self) -> usize {
        (self.ring.buffer().capacity() - self.ring.slots()) / self.channels
    }

    /// Whether its reader has read lately.
    fn is_read(&mut self, now: Duration) -> bool {
        let reads = self.demand.reads.load(Ordering::Relaxed);
        if reads != self.reads {
            (self.reads, self.read_at) = (reads, Some(now));
        }
        self.read_at.is_some_and(|at| now < at + AWAY)
    }

    fn wants_block(&self) -> bool {
        let at_a_time = self.demand.at_a_time.load(Ordering::Relaxed) as usize;
        // A block that does not fit would be dropped.
        let most = (RING_MS - 2 * AHEAD_MS) * self.frames_per_ms;
        self.frames_waiting() < (at_a_time + AHEAD_MS * self.frames_per_ms).min(most)
    }

    fn mono(&mut self, block: &Block) {
        let ring = &mut self.ring;
        self.left.push(block, |piece| {
            let _ = ring.push_partial_slice(piece);
        });
        self.is_fed = true;
    }

    fn stereo(&mut self, block: &StereoBlock) {
        let Some(right) = &mut self.right else { return self.mono(&block.mean()) };
        // Both sides are converted in equal pieces; the left one waits for the right one.
        let (waiting, ring) = (&mut self.waiting, &mut self.ring);
        waiting.clear();
        self.left.push(&block.left, |piece| waiting.extend_from_slice(piece));
        let mut at = 0;
        right.push(&block.right, |piece| {
            let left = &waiting[at.min(waiting.len())..];
            let frames = piece.len().min(left.len()).min(ring.slots() / 2);
            if let Ok(room) = ring.write_chunk_uninit(2 * frames) {
                room.fill_from_iter(
                    left.iter().zip(piece).flat_map(|(left, right)| [*left, *right]),
                );
            }
            at += piece.len();
        });
        self.is_fed = true;
    }
}

/// All rings that the engine feeds.
#[derive(Default)]
pub(crate) struct PcmOutputs {
    mix: Option<Source>,
    /// In the order in which they were opened.
    voices: Vec<(PeerId, Source)>,
    led: bool,
}

impl PcmOutputs {
    pub(crate) fn open_mix(&mut self, source: Source) {
        self.mix = Some(source);
    }

    pub(crate) fn open_voice(&mut self, peer: PeerId, source: Source) {
        self.voices.retain(|(open, _)| *open != peer);
        if self.voices.len() < VOICES {
            self.voices.push((peer, source));
        }
    }

    pub(crate) fn has_mix(&self) -> bool {
        self.mix.is_some()
    }

    /// Whether a reader sets the pace.
    pub(crate) fn lead(&self) -> bool {
        self.led
    }

    /// Whether the reader that sets the pace wants another block; `None` if none does.
    pub(crate) fn wants_block(&mut self, now: Duration) -> Option<bool> {
        let mut wants = None;
        for source in self.mix.iter_mut().chain(self.voices.iter_mut().map(|(_, source)| source)) {
            let leads = wants.is_none() && source.is_read(now);
            source.demand.leads.store(leads, Ordering::Relaxed);
            if leads {
                wants = Some(source.wants_block());
            }
        }
        self.led = wants.is_some();
        wants
    }

    /// One speaker's 10 ms. Who is read apart is not mixed.
    pub(crate) fn speaker(
        &mut self,
        peer: Option<PeerId>,
        block: &Block,
        is_deafened: bool,
    ) -> Mixing {
        let open = self.voices.iter_mut().find(|(open, _)| peer == Some(*open));
        let Some((_, source)) = open else { return Mixing::In };
        match is_deafened {
            true => source.mono(&SILENCE),
            false => source.mono(block),
        }
        Mixing::Out
    }

    /// The whole mix, after every speaker. Who did not speak was silent for as long.
    pub(crate) fn finish(&mut self, out: Option<&StereoBlock>) {
        for (_, source) in &mut self.voices {
            if !std::mem::take(&mut source.is_fed) {
                source.mono(&SILENCE);
                source.is_fed = false;
            }
        }
        self.voices.retain(|(_, source)| !source.ring.is_abandoned());
        if let (Some(mix), Some(out)) = (&mut self.mix, out) {
            mix.stereo(out);
        }
        self.mix = self.mix.take().filter(|mix| !mix.ring.is_abandoned());
    }
}

const SILENCE: Block = [0.0; voicemesh_audio::BLOCK_SAMPLES];

/// One peer's voice, to be read by the program: for a game that has its own place for it. It may
/// move to the audio thread. While it is open the peer is in no mix, and the echo canceller does
/// not know of it. Mute and volume of the peer count; its position does not.
///
/// Opening the same peer's voice again takes it away from the one before, which then reads silence;
/// so does leaving.
pub struct PeerVoice {
    reader: Reader,
    peer: PeerId,
    rate_hz: u32,
}

impl PeerVoice {
    pub(crate) fn new(reader: Reader, peer: PeerId, rate_hz: u32) -> Self {
        Self { reader, peer, rate_hz }
    }

    /// Whose.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Fills `out` with the next samples, mono, and says how many there were; silence is behind
    /// them. Wait-free: no lock, no allocation, at most one system call that wakes the engine.
    pub fn read(&mut self, out: &mut [f32]) -> usize {
        self.reader.read(out)
    }
}

impl fmt::Debug for PeerVoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVoice")
            .field("peer", &self.peer)
            .field("rate_hz", &self.rate_hz)
            .finish_non_exhaustive()
    }
}

/// Everyone whom the speaker would play, to be read by the program. It may move to the audio
/// thread.
pub struct MixVoice {
    reader: Reader,
    rate_hz: u32,
}

impl MixVoice {
    pub(crate) fn new(reader: Reader, rate_hz: u32) -> Self {
        Self { reader, rate_hz }
    }

    /// Frames a second.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Fills `out` with the next frames, left and right in turns, and says how many frames there
    /// were; silence is behind them. Wait-free, as [`PeerVoice::read`] is.
    pub fn read(&mut self, out: &mut [f32]) -> usize {
        self.reader.read(out)
    }
}

impl fmt::Debug for MixVoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MixVoice").field("rate_hz", &self.rate_hz).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
