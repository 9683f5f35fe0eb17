//! What the policy of the uplink costs: the time that it takes for a second of speech to 15
//! listeners, and beside it the time of encoding that second. Both in this process, on one thread,
//! with nothing sent.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_audio::BLOCK_SAMPLES;
use voicemesh_audio::encode::{SpeechConfig, VoiceEncoder};
use voicemesh_quality::speech;
use voicemesh_uplink::FrameDuration;
use voicemesh_uplink::path::{PathMonitor, PathState, RelayPath};
use voicemesh_uplink::plan::RateLimits;
use voicemesh_uplink::policy::{AudienceMember, Feedback, LossReport, Paths};

use crate::machine::cpu_time;
use crate::report::Row;
use crate::run::Scale;

const LISTENERS: u8 = 15;
/// Of speech, for the policy; in a tenth of it the kernel's steps of 10 ms are still small.
const SPEECH: Duration = Duration::from_secs(2_000);
/// The engine looks at the paths so often.
const TICK_MS: u64 = 10;
const FRAME_MS: u64 = 20;
/// From sending a packet until it is acknowledged: with every second packet, as SCTP does.
const ROUND_TRIP_MS: u64 = 30;
const FRAME_BYTES: usize = 100;
const BLOCKS_PER_SECOND: usize = 100;
/// How often the recording is encoded.
const ENCODED: usize = 10;

/// Two rows: milliseconds for a second of speech, and the share of what encoding takes.
pub fn measure(scale: Scale) -> Vec<Row> {
    let seconds = scale.length(SPEECH).as_secs();
    let runs: Vec<(f64, f64)> =
        (0..scale.runs()).map(|_| (policy_ms(seconds), encoding_ms())).collect();
    let note = format!(
        "encoding one takes {:.2} ms",
        runs.first().map_or(f64::NAN, |(_, encoding)| *encoding)
    );
    let row = |name, unit, values| Row { name, unit, target: None, values, note: String::new() };
    let (name, policy) =
        ("policy, 15 direct listeners: a second of speech", runs.iter().map(|(policy, _)| *policy));
    let shares = runs.iter().map(|(policy, encoding)| 100.0 * policy / encoding);
    vec![
        Row { note, ..row(name, "ms", policy.collect()) },
        row("the same beside encoding", "%", shares.collect()),
    ]
}

struct Listeners {
    audience: Vec<AudienceMember<u8>>,
    links: Vec<PathMonitor>,
    relay: RelayPath,
}

impl Paths<u8> for Listeners {
    fn audience(&self) -> &[AudienceMember<u8>] {
        &self.audience
    }

    fn link(&self, now: Duration, who: u8) -> Option<PathState> {
        self.links.get(usize::from(who)).map(|link| link.state(now, 1))
    }

    fn relay(&self, now: Duration) -> PathState {
        self.relay.monitor().state(now, 0)
    }
}

/// Milliseconds of CPU for a second of speech: packets to 15 links and their acknowledgements, a
/// report of each listener a second, and what is decided.
fn policy_ms(seconds: u64) -> f64 {
    let limits = RateLimits {
        bitrate_bps: 32_000,
        frame: FrameDuration::Ms20,
        uplink_bps: None,
        redundancy: true,
    };
    let mut feedback = Feedback::new(limits);
    let mut paths = Listeners {
        audience: (0..LISTENERS)
            .map(|who| AudienceMember { who, has_link: true, has_relay: true, hears_plain: false })
            .collect(),
        links: (0..LISTENERS).map(|_| PathMonitor::new()).collect(),
        relay: RelayPath::new(),
    };
    let mut acknowledged_at: VecDeque<(u64, u16)> = VecDeque::new();
    let mut number = 0_u16;
    let mut decisions = 0_u64;
    let before = cpu_time(std::process::id());
    for now_ms in (1_000..1_000 + seconds * 1_000).step_by(TICK_MS as usize) {
        let now = Duration::from_millis(now_ms);
        while let Some((_, newest)) = acknowledged_at.pop_front_if(|(at, _)| *at <= now_ms) {
            for link in &mut paths.links {
                link.acknowledged(now, newest, Some(now_ms as u32), |_| true);
            }
        }
        if now_ms.is_multiple_of(1_000) {
            for who in 0..LISTENERS {
                feedback.report(now, who, LossReport { expected: 50, ..LossReport::default() });
            }
        }
        decisions += u64::from(feedback.update(now, &paths).is_some());
        if now_ms.is_multiple_of(FRAME_MS) {
            number = number.wrapping_add(1);
            for link in &mut paths.links {
                link.sent(now, number, FRAME_BYTES);
            }
            feedback.sent(now);
            if number.is_multiple_of(2) {
                acknowledged_at.push_back((now_ms + ROUND_TRIP_MS, number));
            }
        }
    }
    let spent = cpu_time(std::process::id()) - before;
    assert!(decisions > 9 * seconds, "{decisions} decisions in {seconds} s");
    spent.as_secs_f64() * 1e3 / seconds as f64
}

/// Milliseconds of CPU to encode a second of speech with the usual settings.
fn encoding_ms() -> f64 {
    let mut encoder =
        VoiceEncoder::new(SpeechConfig::default()).unwrap_or_else(|error| panic!("{error}"));
    let said = speech::load("reader");
    let blocks = said.as_chunks::<BLOCK_SAMPLES>().0;
    let before = cpu_time(std::process::id());
    for block in (0..ENCODED).flat_map(|_| blocks) {
        encoder.push(block).unwrap_or_else(|error| panic!("{error}"));
    }
    let spent = cpu_time(std::process::id()) - before;
    spent.as_secs_f64() * 1e3 * BLOCKS_PER_SECOND as f64 / (ENCODED * blocks.len()) as f64
}
