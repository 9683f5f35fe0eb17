//! The hearing ends: ours, and the plain one that ours must be better than.

use std::collections::BTreeMap;
use std::time::Duration;

use audiopus::{Channels, MutSignals, SampleRate, coder::Decoder};
use voicemesh_audio::decode::VoiceDecoder;
use voicemesh_audio::{BLOCK_SAMPLES, Block};

use super::path::{LATENCY, Packet, Path, PathConditions};
use super::speaker::Sending;

/// A receiver of packets that plays blocks.
pub trait Hearer {
    /// A packet has arrived.
    fn receive(&mut self, now: Duration, packet: &Packet);
    /// The next block, and when what it begins with was said, if that is known.
    fn render(&mut self, now: Duration, out: &mut Block) -> Option<Duration>;
    /// Milliseconds concealed so far, and by how many speech was stretched.
    fn concealed_and_stretched_ms(&self) -> (f64, f64);
    /// Frames of which nothing real was played so far.
    fn frames_unheard(&self) -> u64;
}

/// What a conversation came to, from the moment from which it is judged.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Everything played, from the beginning.
    pub heard: Vec<f32>,
    /// Share of the time that was concealed.
    pub concealed_percent: f64,
    /// Milliseconds concealed, and stretched.
    pub concealed_ms: f64,
    /// Milliseconds by which speech was made longer or shorter.
    pub stretched_ms: f64,
    /// Share of the frames of which nothing real was played.
    pub unheard_percent: f64,
    /// From mouth to ear without the network's latency and without devices, on average.
    pub delay_ms: f64,
    /// That delay over time: seconds and milliseconds.
    pub delays: Vec<(f64, f64)>,
}

/// Lets a voice be heard through a network, and judges what is heard from `judged_from` on.
pub fn converse(
    hearer: &mut dyn Hearer,
    packets: &[Packet],
    sending: &Sending,
    conditions: PathConditions,
    seed: u64,
    judged_from: Duration,
) -> Outcome {
    let frame = Duration::from_millis(sending.frame.millis());
    let mut path = Path::new(conditions, seed);
    // The device's blocks lie anywhere between the packets.
    let phase = Duration::from_micros(seed.wrapping_mul(2_654_435_761) % 10_000);
    let last = frame * packets.len() as u32 + LATENCY;
    let mut outcome = Outcome::default();
    let (mut out, mut sent, mut at_start) = ([0.0; BLOCK_SAMPLES], 0, None);
    let mut now = phase;
    while now < last {
        while let Some(packet) = packets.get(sent).filter(|_| frame * (sent as u32 + 1) <= now) {
            path.send(frame * (sent as u32 + 1), packet.clone());
            sent += 1;
        }
        while let Some((at, packet)) = path.poll(now) {
            hearer.receive(at, &packet);
        }
        if now >= judged_from && at_start.is_none() {
            at_start = Some((hearer.concealed_and_stretched_ms(), hearer.frames_unheard()));
        }
        let said = hearer.render(now, &mut out);
        if let Some(said) = said.filter(|_| now >= judged_from) {
            outcome.delays.push((
                now.as_secs_f64(),
                (now.as_secs_f64() - said.as_secs_f64() - LATENCY.as_secs_f64()) * 1e3,
            ));
        }
        outcome.heard.extend_from_slice(&out);
        now += Duration::from_millis(10);
    }
    let ((concealed_before, stretched_before), unheard_before) = at_start.unwrap_or_default();
    let (concealed_ms, stretched_ms) = hearer.concealed_and_stretched_ms();
    let judged = now.saturating_sub(judged_from);
    outcome.concealed_ms = concealed_ms - concealed_before;
    outcome.stretched_ms = stretched_ms - stretched_before;
    outcome.concealed_percent = outcome.concealed_ms / 10.0 / judged.as_secs_f64();
    let frames = judged.as_secs_f64() / frame.as_secs_f64();
    outcome.unheard_percent = 100.0 * (hearer.frames_unheard() - unheard_before) as f64 / frames;
    outcome.delay_ms =
        outcome.delays.iter().map(|(_, ms)| ms).sum::<f64>() / outcome.delays.len().max(1) as f64;
    outcome
}

/// Our listener.
#[derive(Debug)]
pub struct Ours {
    listener: VoiceDecoder,
    frame: Duration,
}

impl Ours {
    /// Hears what is sent like this.
    ///
    /// # Panics
    /// If there is no memory for a decoder.
    #[must_use]
    pub fn new(sending: &Sending) -> Self {
        let frame = Duration::from_millis(sending.frame.millis());
        Self { listener: VoiceDecoder::new().expect("a decoder"), frame }
    }

    /// The listener.
    #[must_use]
    pub fn listener(&self) -> &VoiceDecoder {
        &self.listener
    }
}

impl Hearer for Ours {
    fn receive(&mut self, now: Duration, packet: &Packet) {
        for carried in packet {
            match carried.behind {
                0 => self.listener.receive(now, carried.sequence, 0, false, &carried.payload),
                behind => {
                    self.listener.receive_copy(now, carried.sequence, 0, behind, &carried.payload)
                }
            }
        }
    }

    fn render(&mut self, now: Duration, out: &mut Block) -> Option<Duration> {
        self.listener.render(now, out);
        self.listener.playing().map(|playing| self.frame * playing.sequence as u32 + playing.offset)
    }

    fn concealed_and_stretched_ms(&self) -> (f64, f64) {
        let stats = self.listener.stats();
        (stats.concealed_ms as f64, stats.stretched_ms as f64)
    }

    fn frames_unheard(&self) -> u64 {
        self.listener.stats().frames_concealed
    }
}

/// The plain one: each frame is played a fixed time after the fastest packet of its number would
/// have come; what is not there is repaired in band if the next frame is, else concealed.
#[derive(Debug)]
pub struct Plain {
    decoder: Decoder,
    buffer: Duration,
    frame: Duration,
    waiting: BTreeMap<u64, Vec<u8>>,
    next: u64,
    pcm: Vec<f32>,
    concealed_frames: u64,
}

impl Plain {
    /// With a buffer of this length.
    ///
    /// # Panics
    /// If there is no memory for a decoder.
    #[must_use]
    pub fn new(sending: &Sending, buffer: Duration) -> Self {
        Self {
            decoder: Decoder::new(SampleRate::Hz48000, Channels::Mono).expect("a decoder"),
            buffer,
            frame: Duration::from_millis(sending.frame.millis()),
            waiting: BTreeMap::new(),
            next: 0,
            pcm: Vec::new(),
            concealed_frames: 0,
        }
    }

    fn decode_next(&mut self) {
        let samples = (self.frame.as_millis() * 48) as usize;
        let mut pcm = vec![0.0; samples];
        let own = self.waiting.remove(&self.next);
        let (payload, fec) = match (&own, self.waiting.get(&(self.next + 1))) {
            (Some(own), _) => (Some(own), false),
            (None, Some(next)) if carries_repair(next) => (Some(next), true),
            (None, _) => (None, false),
        };
        self.concealed_frames += u64::from(payload.is_none());
        let packet =
            payload.map(|payload| payload.as_slice().try_into().expect("frames are not empty"));
        let signals = MutSignals::try_from(&mut pcm[..]).expect("a frame is not too long");
        self.decoder.decode_float(packet, signals, fec).expect("frames decode");
        self.next += 1;
        self.pcm.extend(pcm);
    }
}

impl Hearer for Plain {
    fn receive(&mut self, _: Duration, packet: &Packet) {
        for carried in packet.iter().filter(|carried| carried.sequence >= self.next) {
            self.waiting.insert(carried.sequence, carried.payload.clone());
        }
    }

    fn render(&mut self, now: Duration, out: &mut Block) -> Option<Duration> {
        let begins = self.frame + LATENCY + self.buffer;
        if now < begins {
            out.fill(0.0);
            return None;
        }
        if self.pcm.is_empty() {
            self.decode_next();
        }
        let into = self.frame * self.next as u32
            - Duration::from_micros(self.pcm.len() as u64 * 1_000 / 48);
        out.copy_from_slice(&self.pcm[..BLOCK_SAMPLES]);
        self.pcm.drain(..BLOCK_SAMPLES);
        // The codec hands out what it was given 6.5 ms late.
        into.checked_sub(Duration::from_micros(6_500))
    }

    fn concealed_and_stretched_ms(&self) -> (f64, f64) {
        (self.concealed_frames as f64 * self.frame.as_secs_f64() * 1e3, 0.0)
    }

    fn frames_unheard(&self) -> u64 {
        self.concealed_frames
    }
}

/// Whether a packet carries the frame before it in band (RFC 6716 §4.2.4), for mono packets of one
/// frame up to 20 ms.
fn carries_repair(payload: &[u8]) -> bool {
    payload.first().is_some_and(|contents| contents >> 3 < 16)
        && payload.get(1).is_some_and(|first| first & 0x40 != 0)
}
