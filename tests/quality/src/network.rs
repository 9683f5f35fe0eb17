//! The hearing side on simulated networks, beside a plain pipeline at the same bitrate on the wire.
//!
//! The plain one is Opus with in-band repair and a fixed buffer. Delays are from mouth to ear,
//! without the network's own latency and without devices: the frame's 20 ms, the codec's 6.5 ms,
//! and the buffer.
//!
//! Of the jitter that alternates between 5 and 40 ms a buffer that knew each change beforehand
//! would have, at 1 % concealed and by a rough calculation (not measured), a mean delay of about 60
//! % of the fixed buffer's: in-band repair makes the fixed buffer cheap (two frames in a row must
//! be late), and the frame and the codec are in both. Ours also needs about a second to notice each
//! change. So that row is missed; its curve stands beside it.

pub mod cpu;
pub mod hearers;
pub mod path;
pub mod score;
pub mod spacing;
pub mod speaker;

use std::time::Duration;

use voicemesh_audio::FrameDuration;

use self::hearers::{Hearer, Ours, Outcome, Plain, converse};
pub use self::path::PathConditions;
use self::score::{Scores, mean};
use self::speaker::Sending;
use crate::pesq::Pairs;
use crate::report::{Options, Row};
use crate::speech;

/// Payload of the plain pipeline. Losses are shown at lower bitrates as well: there a copy leaves
/// too little for the frame, and the plain pipeline, which loses more of them, can have the better
/// frames.
pub const PLAIN_BPS: u32 = 64_000;

/// Its buffer where nothing else is said.
const PLAIN_BUFFER: Duration = Duration::from_millis(60);

/// The delay that no row may exceed.
const MOST_DELAY_MS: f64 = 140.0;

/// How far behind copies are sent against a tenth of loss, random and in bursts, and against a
/// fifth; always without in-band repair, which would take more from the frames than it gives beside
/// copies. Chosen by [`spacing`].
pub const AGAINST_A_TENTH: &[u16] = &[3];
/// See [`AGAINST_A_TENTH`].
pub const AGAINST_A_TENTH_IN_BURSTS: &[u16] = &[4];
/// See [`AGAINST_A_TENTH`].
pub const AGAINST_A_FIFTH: &[u16] = &[2, 4];

/// The losses of the figures.
#[must_use]
pub fn losses() -> [(&'static str, PathConditions); 4] {
    [
        ("10 % random", PathConditions::random(0.1)),
        ("20 % random", PathConditions::random(0.2)),
        ("10 % in bursts of 3", PathConditions::bursts(0.1)),
        ("20 % in bursts of 3", PathConditions::bursts(0.2)),
    ]
}

/// All figures of the network.
///
/// # Panics
/// If recordings cannot be read or written.
#[must_use]
pub fn figures(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (frame, limit_ms) in [(FrameDuration::Ms20, 45.0), (FrameDuration::Ms10, 30.0)] {
        rows.extend(perfect(options, frame, limit_ms));
    }
    rows.extend(jitter(options, "exponential, mean 15 ms", PathConditions::Jitter(15.0), 60, 1.0));
    rows.extend(jitter(
        options,
        "5 and 40 ms, alternating every 20 s",
        PathConditions::Alternating(5.0, 40.0),
        120,
        0.6,
    ));
    rows.extend(lossy(options));
    rows.extend(detour(options));
    rows.extend(cpu::figures());
    rows
}

fn perfect(options: &Options, frame: FrameDuration, limit_ms: f64) -> Vec<Row> {
    let sending = Sending::plain(frame, PLAIN_BPS, 0);
    let (mut outcomes, mut buffers_ms) = (Vec::new(), Vec::new());
    for voice in voices(options) {
        let (_, spoken) = repeated(voice, 2);
        let packets = sending.packets(&spoken);
        // As many seeds as there are places of the device's blocks between the packets.
        for seed in 0..2 * seeds(options) {
            let mut ours = Ours::new(&sending);
            outcomes.push(converse(
                &mut ours,
                &packets,
                &sending,
                PathConditions::Perfect,
                seed,
                Duration::ZERO,
            ));
            buffers_ms.push(f64::from(ours.listener().stats().buffer_ms));
        }
    }
    let delay_ms = mean(outcomes.iter().map(|outcome| outcome.delay_ms));
    let concealed_ms: f64 = outcomes.iter().map(|outcome| outcome.concealed_ms).sum();
    let condition = format!("perfect network, frames of {} ms", frame.millis());
    vec![
        Row::new("buffer", &condition, mean(buffers_ms.into_iter()), "ms").at_most(25.0),
        Row::new("concealed", &condition, concealed_ms, "ms").at_most(0.0),
        Row::new("mouth to ear", &condition, delay_ms, "ms").at_most(limit_ms),
    ]
}

/// Ours beside what fixed buffers would need to conceal at most as much.
fn jitter(
    options: &Options,
    name: &str,
    conditions: PathConditions,
    seconds: usize,
    share: f64,
) -> Vec<Row> {
    let sending = Sending::plain(FrameDuration::Ms20, PLAIN_BPS, 10);
    let judged_from = Duration::from_secs(10);
    let mut conversations = Vec::new();
    for voice in voices(options) {
        let (once, _) = repeated(voice, 1);
        let (_, spoken) = repeated(voice, (seconds * 48_000).div_ceil(once));
        conversations.push(sending.packets(&spoken));
    }
    let run = |make: &dyn Fn() -> Box<dyn Hearer>| {
        let mut outcomes = Vec::new();
        for packets in &conversations {
            for seed in 0..seeds(options) {
                outcomes.push(converse(
                    make().as_mut(),
                    packets,
                    &sending,
                    conditions,
                    seed,
                    judged_from,
                ));
            }
        }
        outcomes
    };
    let of = |outcomes: &[Outcome], pick: fn(&Outcome) -> f64| mean(outcomes.iter().map(pick));
    let concealed = |outcomes: &[Outcome]| of(outcomes, |outcome| outcome.concealed_percent);
    let ours = run(&|| Box::new(Ours::new(&sending)));
    let mut curve = Vec::new();
    let mut needed = None;
    for buffer_ms in (20..=240).step_by(10) {
        let plain = run(&|| Box::new(Plain::new(&sending, Duration::from_millis(buffer_ms))));
        curve.push(format!("{buffer_ms} ms {:.2} %", concealed(&plain)));
        if concealed(&plain) <= 1.0 {
            needed = Some(of(&plain, |outcome| outcome.delay_ms));
            break;
        }
    }
    let delay_ms = of(&ours, |outcome| outcome.delay_ms);
    let needed_ms = needed.unwrap_or(f64::NAN);
    let condition = format!("jitter {name}");
    vec![
        Row::new("concealed", &condition, concealed(&ours), "%")
            .at_most(1.0)
            .with(
                "frames never heard %",
                format!("{:.2}", of(&ours, |outcome| outcome.unheard_percent)),
            )
            .with(
                "stretched ms/s",
                format!("{:.1}", of(&ours, |outcome| outcome.stretched_ms) / (seconds - 10) as f64),
            )
            .with("delay ms", format!("{delay_ms:.0}")),
        Row::new("delay", &condition, delay_ms, "ms")
            .at_most((needed_ms * share).min(MOST_DELAY_MS))
            .with("plain needs ms", format!("{needed_ms:.0}"))
            .with("plain by buffer", curve.join(", ")),
    ]
}

fn lossy(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    let against = [
        (1.0, 10, AGAINST_A_TENTH),
        (4.0, 20, AGAINST_A_FIFTH),
        (3.0, 10, AGAINST_A_TENTH_IN_BURSTS),
        (8.0, 20, AGAINST_A_FIFTH),
    ];
    let few = Options { quick: true };
    for (plain_bps, options) in [(PLAIN_BPS, options), (48_000, &few), (32_000, &few)] {
        for ((name, conditions), (limit, fec_percent, offsets)) in losses().into_iter().zip(against)
        {
            let plain = Sending::plain(FrameDuration::Ms20, plain_bps, fec_percent);
            rows.extend(one_loss(options, (name, conditions, limit), &plain, offsets));
        }
    }
    rows
}

fn one_loss(
    options: &Options,
    (name, conditions, limit): (&str, PathConditions, f64),
    plain: &Sending,
    offsets: &[u16],
) -> Vec<Row> {
    let mut pairs = Pairs::new("loss").unwrap_or_else(|error| panic!("{error}"));
    let (mut our_scores, mut plain_scores) = (Scores::default(), Scores::default());
    let (mut ours, mut plains, mut wires) = (Vec::new(), Vec::new(), Vec::new());
    for voice in voices(options) {
        let (once, spoken) = repeated(voice, 3);
        let judged_from = Duration::from_secs_f64(once as f64 / 48_000.0);
        let layout = Sending {
            offsets: offsets.to_vec(),
            fec_percent: 0,
            bitrate_bps: 16_000,
            ..plain.clone()
        };
        let our = layout.at_wire_rate(&spoken, plain.wire_bps(&spoken));
        wires.push((our.wire_bps(&spoken), plain.wire_bps(&spoken)));
        let (our_packets, plain_packets) = (our.packets(&spoken), plain.packets(&spoken));
        for seed in 0..seeds(options) {
            let outcome =
                converse(&mut Ours::new(&our), &our_packets, &our, conditions, seed, judged_from);
            our_scores.add(&mut pairs, &spoken, &outcome.heard, once, outcome.delay_ms + 30.0);
            ours.push(outcome);
            let mut hearer = Plain::new(plain, PLAIN_BUFFER);
            let outcome =
                converse(&mut hearer, &plain_packets, plain, conditions, seed, judged_from);
            plain_scores.add(&mut pairs, &spoken, &outcome.heard, once, outcome.delay_ms + 30.0);
            plains.push(outcome);
        }
    }
    let of = |outcomes: &[Outcome], pick: fn(&Outcome) -> f64| mean(outcomes.iter().map(pick));
    let unheard = |outcomes: &[Outcome]| of(outcomes, |outcome| outcome.unheard_percent);
    let delay = |outcomes: &[Outcome]| of(outcomes, |outcome| outcome.delay_ms);
    let condition = format!("loss {name}, plain at {} kbit/s", plain.bitrate_bps / 1_000);
    let (our_wire, plain_wire) =
        (mean(wires.iter().map(|wire| wire.0)), mean(wires.iter().map(|wire| wire.1)));
    let ahead = |what: &str, ours: f64, plain: f64, more_is_better: bool| {
        let met = if more_is_better { ours > plain } else { ours < plain };
        let sign = if more_is_better { '>' } else { '<' };
        Row::new(what, &condition, ours, "").wanted(format!("{sign} {plain:.3} (plain)"), met)
    };
    let mut rows = vec![
        Row::new("concealed", &condition, unheard(&ours), "% of frames")
            .at_most(limit)
            .with("plain %", format!("{:.2}", unheard(&plains)))
            .with(
                "time concealed %",
                format!("{:.2}", of(&ours, |outcome| outcome.concealed_percent)),
            )
            .with("wire kbit/s", format!("{:.1} (plain {:.1})", our_wire / 1e3, plain_wire / 1e3))
            .with("copies behind by", format!("{offsets:?}")),
        Row::new("delay", &condition, delay(&ours), "ms")
            .at_most(MOST_DELAY_MS)
            .with("plain ms", format!("{:.0}", delay(&plains))),
        ahead("STOI", our_scores.stoi(), plain_scores.stoi(), true),
    ];
    match pairs.score() {
        Ok(pesq) => {
            rows.push(ahead("PESQ", our_scores.pesq(&pesq), plain_scores.pesq(&pesq), true))
        }
        Err(error) => {
            eprintln!("NO PESQ, the distance of third-octave spectra stands in for it: {error}");
            let (ours, plain) =
                (our_scores.spectral_distance_db(), plain_scores.spectral_distance_db());
            rows.push(ahead("spectral distance, dB", ours, plain, false));
        }
    }
    rows
}

/// A route 200 ms longer for seven seconds.
fn detour(options: &Options) -> Vec<Row> {
    let sending = Sending::plain(FrameDuration::Ms20, PLAIN_BPS, 0);
    let (there, back) = (Duration::from_secs(7), Duration::from_secs(14));
    let (mut going, mut coming, mut lost, mut delays) = (Vec::new(), Vec::new(), 0, Vec::new());
    for voice in voices(options) {
        let (_, spoken) = repeated(voice, 3);
        let packets = sending.packets(&spoken);
        for seed in 0..seeds(options) {
            let mut disturbed_ms = [0.0; 2];
            for (part, until) in [back, Duration::from_secs(60)].into_iter().enumerate() {
                let from = if part == 0 { there } else { back };
                let kept = packets.len().min((until.as_millis() / 20) as usize);
                let mut ours = Ours::new(&sending);
                let conditions = PathConditions::Detour(there, back);
                let outcome =
                    converse(&mut ours, &packets[..kept], &sending, conditions, seed, from);
                let played = outcome.heard.len() as f64 / 48.0 - from.as_secs_f64() * 1e3;
                // Whatever is neither speech nor stretched speech is a disturbance, silence
                // included.
                disturbed_ms[part] =
                    played - outcome.delays.len() as f64 * 10.0 + outcome.stretched_ms;
                if part == 1 {
                    lost += ours.listener().stats().frames_concealed
                        + ours.listener().stats().frames_late;
                    delays.push(outcome.delay_ms);
                }
            }
            going.push(disturbed_ms[0]);
            coming.push(disturbed_ms[1]);
        }
    }
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    vec![
        Row::new("concealed or stretched", "route 200 ms longer", most(&going), "ms at most")
            .at_most(250.0)
            .with("mean ms", format!("{:.0}", mean(going.iter().copied()))),
        Row::new("concealed or stretched", "and back", most(&coming), "ms at most")
            .at_most(250.0)
            .with("mean ms", format!("{:.0}", mean(coming.iter().copied())))
            .with("delay ms", format!("{:.0}", mean(delays.into_iter()))),
        Row::new("frames lost", "route 200 ms longer and back", lost as f64, "frames").at_most(0.0),
    ]
}

/// The voices that are measured.
#[must_use]
pub fn voices(options: &Options) -> &'static [&'static str] {
    if options.quick { &speech::VOICES[3..] } else { &speech::VOICES }
}

/// How many seeds.
#[must_use]
pub fn seeds(options: &Options) -> u64 {
    if options.quick { 2 } else { 4 }
}

/// A voice so many times: the samples of one time, and all.
#[must_use]
pub fn repeated(voice: &str, times: usize) -> (usize, Vec<f32>) {
    let mut once = speech::load(voice);
    // Whole frames of every duration.
    once.truncate(once.len() / 2_880 * 2_880);
    (once.len(), once.repeat(times))
}

#[cfg(test)]
mod tests;
