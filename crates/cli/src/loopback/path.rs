//! Microphone, encoder, a simulated network, jitter buffer, decoder, mixer: everything but clock
//! and devices.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use voicemesh_audio::decode::{Playing, Rendered, VoiceDecoder};
use voicemesh_audio::encode::{SpeechConfig, VoiceEncoder};
use voicemesh_audio::mix::Mixer;
use voicemesh_audio::process::{Microphone, MicrophoneConfig};
use voicemesh_audio::{AudioError, BLOCK_DURATION, BLOCK_SAMPLES, Block, FrameDuration};
use voicemesh_netsim::{Channel, Conditions, Mode};
use voicemesh_uplink::plan::{
    AudienceStats, LINK_OVERHEAD_BYTES, ListenerLoss, RateLimits, SendPlan,
};

use crate::format::clock;
use crate::json::{millis, rounded};

/// The listener tells the speaker this often how its frames arrive.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Frames whose moment of capture is remembered. The oldest is forgotten; it would be heard seconds
/// late.
const MOST_REMEMBERED: usize = 512;
/// Frames kept to be sent again; none goes again later than this.
const MOST_KEPT: usize = 32;

/// How the way is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub microphone: MicrophoneConfig,
    pub frame: FrameDuration,
    pub bitrate_bps: u32,
    pub conditions: Conditions,
    /// Decides every loss and delay.
    pub seed: u64,
}

/// What goes over the network.
#[derive(Clone, Debug)]
struct Packet {
    frame: Frame,
    /// Earlier frames again, and how many frames earlier.
    copies: Vec<(u8, Frame)>,
}

#[derive(Clone, Debug)]
struct Frame {
    sequence: u64,
    talkspurt: u64,
    last_of_talkspurt: bool,
    payload: Vec<u8>,
}

/// The whole way.
pub(super) struct Path {
    settings: Settings,
    microphone: Microphone,
    speech: VoiceEncoder,
    plan: SendPlan,
    talkspurt: Talkspurt,
    sent: VecDeque<Frame>,
    sequence: u64,
    pipe: Channel<Packet>,
    listener: VoiceDecoder,
    mixer: Mixer,
    loss: ListenerLoss,
    report_at: Duration,
    /// When the first sample of each frame was captured.
    captured: BTreeMap<u64, Duration>,
    /// When the first sample of the frame in the making was.
    frame_began: Option<Duration>,
    sums: Sums,
    now: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talkspurt {
    Closed { next: u64 },
    Open { number: u64 },
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    packets: u64,
    copies: u64,
    bytes: u64,
    buffer_ms: f64,
    /// Blocks in which speech was heard.
    heard_blocks: u64,
    delay: Duration,
    lately: Option<Duration>,
}

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Totals {
    pub frames_sent: u64,
    pub frames_lost: u64,
    pub from_copies: u64,
    pub repaired: u64,
    pub concealed: u64,
    pub late: u64,
    pub concealed_ms: u64,
    pub stretched_ms: u64,
    pub copies_sent: u64,
    pub mean_buffer_ms: f64,
    pub mean_packet_bytes: u64,
    /// From the microphone to the speaker, without what the devices themselves add; `None` if
    /// nothing was heard.
    pub mouth_to_ear: Option<Duration>,
}

impl Path {
    pub(super) fn new(settings: Settings) -> Result<Self, AudioError> {
        let plan = plan(&settings, ListenerLoss::default());
        Ok(Self {
            settings,
            microphone: Microphone::new(settings.microphone)?,
            speech: VoiceEncoder::new(config(&settings, &plan))?,
            plan,
            talkspurt: Talkspurt::Closed { next: 0 },
            sent: VecDeque::new(),
            sequence: 0,
            pipe: Channel::new(Mode::Unreliable, settings.conditions, settings.seed, 0),
            listener: VoiceDecoder::new()?,
            mixer: Mixer::new(),
            loss: ListenerLoss::default(),
            report_at: REPORT_EVERY,
            captured: BTreeMap::new(),
            frame_began: None,
            sums: Sums::default(),
            now: Duration::ZERO,
        })
    }

    /// The microphone's next block.
    pub(super) fn capture(&mut self, now: Duration, block: &Block) {
        self.now = now;
        self.microphone.push(block);
        // At a talkspurt's beginning several come at once: those before speech was noticed.
        let mut blocks = Vec::new();
        while let Some(block) = self.microphone.next_block() {
            blocks.push(*block);
        }
        let oldest = now.saturating_sub(BLOCK_DURATION * blocks.len() as u32);
        for (place, block) in blocks.iter().enumerate() {
            self.speak(now, oldest + BLOCK_DURATION * place as u32, block, false);
        }
        if !self.microphone.is_open() && matches!(self.talkspurt, Talkspurt::Open { .. }) {
            self.end_talkspurt(now);
        }
    }

    /// The speaker's next block; so much is waiting there already.
    pub(super) fn render(&mut self, now: Duration, queued: Duration, out: &mut Block) {
        self.now = now;
        while let Some(packet) = self.pipe.poll(now) {
            let Frame { sequence, talkspurt, last_of_talkspurt, payload } = packet.frame;
            for (behind, copy) in packet.copies {
                self.listener.receive_copy(
                    now,
                    copy.sequence,
                    copy.talkspurt,
                    behind.into(),
                    &copy.payload,
                );
            }
            self.listener.receive(now, sequence, talkspurt, last_of_talkspurt, &payload);
        }
        let mut heard = [0.0; BLOCK_SAMPLES];
        let rendered = self.listener.render(now, &mut heard);
        self.mixer.add(&heard);
        self.mixer.finish(out);
        self.microphone.played(out);
        self.count(now + queued, rendered);
        if now >= self.report_at {
            self.report_at = now + REPORT_EVERY;
            self.report();
        }
    }

    /// How it goes.
    pub(super) fn line(&self) -> String {
        let level = self.microphone.level();
        let sent = if level.open { "sent" } else { "not sent" };
        let stats = self.listener.stats();
        let delay =
            self.sums.lately.map_or("–".to_owned(), |delay| format!("{} ms", delay.as_millis()));
        let (moment, loss) = (clock(self.now), self.loss.loss().unwrap_or_default() * 100.0);
        format!(
            "{moment}  {:>4.0} dB  {sent:<8}  lost {loss:.0} %  buffer {:.0} ms  delay {delay}  {} kbit/s",
            level.level_dbfs.max(-99.0),
            stats.buffer_ms,
            self.plan.bitrate_bps / 1000,
        )
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let (level, stats) = (self.microphone.level(), self.listener.stats());
        json!({
            "level_dbfs": rounded(level.level_dbfs, 1),
            "sending": level.open,
            "loss_percent": rounded(self.loss.loss().unwrap_or_default() * 100.0, 1),
            "buffer_ms": rounded(stats.buffer_ms, 1),
            "mouth_to_ear_ms": self.sums.lately.map(millis),
            "bitrate_bps": self.plan.bitrate_bps,
            "copies": self.plan.copies.len(),
        })
    }

    pub(super) fn totals(&self) -> Totals {
        let (stats, sums) = (self.listener.stats(), self.sums);
        Totals {
            frames_sent: sums.packets,
            frames_lost: self.pipe.counts().lost,
            from_copies: stats.frames_from_copies,
            repaired: stats.frames_repaired,
            concealed: stats.frames_concealed,
            late: stats.frames_late,
            concealed_ms: stats.concealed_ms,
            stretched_ms: stats.stretched_ms,
            copies_sent: sums.copies,
            mean_buffer_ms: if sums.heard_blocks > 0 {
                sums.buffer_ms / sums.heard_blocks as f64
            } else {
                0.0
            },
            mean_packet_bytes: sums.bytes.checked_div(sums.packets).unwrap_or_default(),
            mouth_to_ear: (sums.heard_blocks > 0)
                .then(|| sums.delay / u32::try_from(sums.heard_blocks).unwrap_or(u32::MAX)),
        }
    }

    fn speak(&mut self, now: Duration, captured: Duration, block: &Block, last_of_talkspurt: bool) {
        let number = match self.talkspurt {
            Talkspurt::Closed { next } => next,
            Talkspurt::Open { number } => number,
        };
        self.talkspurt = Talkspurt::Open { number };
        let began = *self.frame_began.get_or_insert(captured);
        // What the encoder refuses is lost, as it would be in a room.
        let Ok(Some(payload)) = self.speech.push(block) else { return };
        let payload = payload.to_vec();
        self.frame_began = None;
        self.captured.insert(self.sequence, began);
        if self.captured.len() > MOST_REMEMBERED {
            self.captured.pop_first();
        }
        self.send(
            now,
            Frame { sequence: self.sequence, talkspurt: number, last_of_talkspurt, payload },
        );
        self.sequence += 1;
    }

    /// Fills the last frame with silence, which makes it known as the last.
    fn end_talkspurt(&mut self, now: Duration) {
        let Talkspurt::Open { number } = self.talkspurt else { return };
        let blocks = self.settings.frame.blocks() - self.speech.partial_blocks();
        for _ in 0..blocks {
            self.speak(now, now, &[0.0; BLOCK_SAMPLES], true);
        }
        self.talkspurt = Talkspurt::Closed { next: number + 1 };
    }

    fn send(&mut self, now: Duration, frame: Frame) {
        let copy = |behind: &u8| {
            let wanted = frame.sequence.checked_sub(u64::from(*behind))?;
            let earlier = self.sent.iter().find(|earlier| {
                earlier.sequence == wanted && earlier.talkspurt == frame.talkspurt
            })?;
            Some((*behind, earlier.clone()))
        };
        let copies: Vec<(u8, Frame)> = self.plan.copies.iter().filter_map(copy).collect();
        let payload =
            frame.payload.len() + copies.iter().map(|(_, copy)| copy.payload.len()).sum::<usize>();
        let bytes = payload + LINK_OVERHEAD_BYTES as usize;
        self.sums.packets += 1;
        self.sums.copies += copies.len() as u64;
        self.sums.bytes += bytes as u64;
        self.sent.push_back(frame.clone());
        if self.sent.len() > MOST_KEPT {
            self.sent.pop_front();
        }
        // A full network loses it, which is counted there.
        let _ = self.pipe.send(now, bytes, Packet { frame, copies });
    }

    fn count(&mut self, heard_at: Duration, rendered: Rendered) {
        let Some(Playing { sequence, offset, .. }) = self.listener.playing() else {
            if rendered == Rendered::Silence {
                self.sums.lately = None;
            }
            return;
        };
        let Some(captured) = self.captured.get(&sequence) else { return };
        let delay = heard_at.saturating_sub(*captured + offset);
        self.sums.lately = Some(delay);
        self.sums.delay += delay;
        self.sums.heard_blocks += 1;
        self.sums.buffer_ms += f64::from(self.listener.stats().buffer_ms);
    }

    /// The speaker follows what the listener reports.
    fn report(&mut self) {
        let Some(reception) = self.listener.take_reception() else { return };
        self.loss.report(reception.expected, reception.lost, reception.mean_loss_run);
        self.plan = plan(&self.settings, self.loss);
        if let Err(error) = self.speech.configure(config(&self.settings, &self.plan)) {
            tracing::debug!(%error, "the encoder goes on as before");
        }
    }
}

impl Totals {
    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "frames_sent": self.frames_sent,
            "frames_lost": self.frames_lost,
            "frames_late": self.late,
            "frames_from_copies": self.from_copies,
            "frames_repaired": self.repaired,
            "frames_concealed": self.concealed,
            "concealed_ms": self.concealed_ms,
            "stretched_ms": self.stretched_ms,
            "copies_sent": self.copies_sent,
            "mean_packet_bytes": self.mean_packet_bytes,
            "mean_buffer_ms": rounded(self.mean_buffer_ms as f32, 1),
            "mouth_to_ear_ms": self.mouth_to_ear.map(millis),
        })
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.frames_sent == 0 {
            return vec![
                "Nothing was sent: no speech was heard. `voicemesh mic` says more about your microphone.".to_owned(),
            ];
        }
        let percent = |frames: u64| frames as f64 * 100.0 / self.frames_sent as f64;
        let delay =
            self.mouth_to_ear.map_or("–".to_owned(), |delay| format!("{} ms", delay.as_millis()));
        vec![
            format!(
                "Sent: {} frames, {} bytes each on the wire; {} copies of earlier ones among them.",
                self.frames_sent, self.mean_packet_bytes, self.copies_sent
            ),
            format!(
                "Lost on the way: {} ({:.1} %); too late: {}.",
                self.frames_lost,
                percent(self.frames_lost),
                self.late
            ),
            format!(
                "Repaired: {} from copies, {} from the frame after.",
                self.from_copies, self.repaired
            ),
            format!(
                "Concealed: {} frames ({:.1} %), {} ms; stretched by {} ms.",
                self.concealed,
                percent(self.concealed),
                self.concealed_ms,
                self.stretched_ms
            ),
            format!(
                "Buffer: {:.0} ms on average. Delay: {delay}, without what the devices add.",
                self.mean_buffer_ms
            ),
        ]
    }
}

fn plan(settings: &Settings, loss: ListenerLoss) -> SendPlan {
    let limits = RateLimits {
        bitrate_bps: settings.bitrate_bps,
        frame: settings.frame,
        uplink_bps: None,
        redundancy: true,
    };
    let with_copies = u32::from(loss.wants_copies());
    SendPlan::choose(
        limits,
        AudienceStats {
            direct: 1,
            relayed: 0,
            worst_loss: loss.loss(),
            loss_run: loss.run(),
            with_copies,
            further_header_bytes: 0,
        },
    )
}

fn config(settings: &Settings, plan: &SendPlan) -> SpeechConfig {
    SpeechConfig {
        frame: settings.frame,
        bitrate_bps: plan.bitrate_bps,
        expected_loss_percent: plan.expected_loss_percent,
        ..SpeechConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_audio::process::{Activation, Processing};
    use voicemesh_netsim::Loss;

    use super::*;

    /// So many seconds of a tone that swells and fades, over such a network.
    fn run(seconds: u64, conditions: Conditions) -> Totals {
        let microphone =
            MicrophoneConfig { processing: Processing::OFF, activation: Activation::Always };
        let settings = Settings {
            microphone,
            frame: FrameDuration::Ms20,
            bitrate_bps: 32_000,
            conditions,
            seed: 7,
        };
        let mut path = Path::new(settings).expect("settings that are allowed");
        let mut out: Block = [0.0; BLOCK_SAMPLES];
        for turn in 0..seconds * 100 {
            let now = BLOCK_DURATION * turn as u32;
            let block: Block = std::array::from_fn(|index| {
                let seconds = (turn as f32 * BLOCK_SAMPLES as f32 + index as f32) / 48_000.0;
                (seconds * 300.0 * std::f32::consts::TAU).sin()
                    * 0.3
                    * (seconds * 3.0).sin().abs().max(0.05)
            });
            path.capture(now, &block);
            path.render(now, Duration::ZERO, &mut out);
            let line = path.line();
            assert!(line.chars().count() < 80, "{line}");
        }
        path.totals()
    }

    #[test]
    fn a_network_that_loses_nothing_is_heard_soon_and_whole() {
        let totals = run(20, Conditions::delay(Duration::ZERO));
        assert_eq!((totals.frames_lost, totals.concealed, totals.copies_sent), (0, 0, 0));
        assert!((990..=1000).contains(&totals.frames_sent), "{totals:?}");
        let delay = totals.mouth_to_ear.expect("heard");
        assert!(
            delay >= Duration::from_millis(20) && delay < Duration::from_millis(70),
            "{totals:?}"
        );
    }

    #[test]
    fn latency_is_heard_as_it_is() {
        let near = run(10, Conditions::delay(Duration::ZERO)).mouth_to_ear.expect("heard");
        let far =
            run(10, Conditions::delay(Duration::from_millis(100))).mouth_to_ear.expect("heard");
        assert!(
            (far - near).abs_diff(Duration::from_millis(100)) < Duration::from_millis(15),
            "{near:?} {far:?}"
        );
    }

    #[test]
    fn losses_are_counted_and_most_are_repaired() {
        let conditions =
            Conditions { loss: Loss::Random(0.1), ..Conditions::delay(Duration::from_millis(30)) };
        let totals = run(60, conditions);
        let lost = totals.frames_lost as f64 / totals.frames_sent as f64;
        assert!((0.07..0.13).contains(&lost), "{totals:?}");
        assert!(
            totals.copies_sent > 0 && totals.from_copies + totals.repaired > totals.frames_lost / 2,
            "{totals:?}"
        );
        assert!(totals.concealed < totals.frames_lost / 3, "{totals:?}");
        assert_eq!(totals, run(60, conditions), "the same seed has the same fate");
    }

    #[test]
    fn the_end_says_everything_in_words() {
        let totals = run(5, Conditions::delay(Duration::from_millis(30)));
        let lines = totals.lines().join("\n");
        for word in [
            "Sent: ",
            "Lost on the way: 0",
            "from copies",
            "Concealed: 0 frames",
            "Buffer: ",
            "Delay: ",
        ] {
            assert!(lines.contains(word), "{word}: {lines}");
        }
        let nothing = Totals { frames_sent: 0, ..totals };
        assert!(nothing.lines()[0].contains("voicemesh mic"));
    }
}
