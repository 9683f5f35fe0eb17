//! Which earlier frames should a packet carry again? Every layout costs the same on the wire.

use std::time::Duration;

use voicemesh_audio::FrameDuration;

use super::{
    PLAIN_BPS, PathConditions,
    hearers::{Ours, Outcome, converse},
    repeated,
    score::{Scores, mean},
    seeds,
    speaker::Sending,
    voices,
};
use crate::pesq::Pairs;
use crate::report::{Options, Row};

/// Layouts that are compared: how far behind the copies are, and the loss that in-band repair is
/// made for.
const LAYOUTS: [(&[u16], u8); 15] = [
    (&[], 10),
    (&[], 20),
    (&[1], 0),
    (&[2], 0),
    (&[3], 0),
    (&[4], 0),
    (&[5], 0),
    (&[2], 5),
    (&[2], 10),
    (&[3], 10),
    (&[4], 10),
    (&[5], 10),
    (&[1, 3], 0),
    (&[2, 4], 0),
    (&[2, 5], 0),
];

/// The table of layouts, for each kind of loss.
///
/// # Panics
/// If recordings cannot be written.
#[must_use]
pub fn figures(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (weather_name, conditions) in super::losses() {
        let mut pairs = Pairs::new("spacing").unwrap_or_else(|error| panic!("{error}"));
        let scored: Vec<_> = LAYOUTS
            .iter()
            .map(|(offsets, fec)| {
                (offsets, fec, hear(options, conditions, offsets, *fec, &mut pairs))
            })
            .collect();
        let pesq = pairs.score().unwrap_or_else(|error| {
            eprintln!("NO PESQ: {error}");
            Default::default()
        });
        for (offsets, fec, (scores, outcomes, bitrate_bps)) in scored {
            let layout =
                format!("{weather_name}: copies behind by {offsets:?}, in-band repair for {fec} %");
            let of = |pick: fn(&Outcome) -> f64| mean(outcomes.iter().map(pick));
            rows.push(
                Row::new(
                    "spacing",
                    &layout,
                    of(|outcome| outcome.unheard_percent),
                    "% never heard",
                )
                .with("concealed %", format!("{:.2}", of(|outcome| outcome.concealed_percent)))
                .with("delay ms", format!("{:.0}", of(|outcome| outcome.delay_ms)))
                .with("PESQ", format!("{:.3}", scores.pesq(&pesq)))
                .with("STOI", format!("{:.4}", scores.stoi()))
                .with("payload kbit/s", format!("{:.1}", bitrate_bps / 1e3)),
            );
        }
    }
    rows
}

fn hear(
    options: &Options,
    conditions: PathConditions,
    offsets: &[u16],
    fec_percent: u8,
    pairs: &mut Pairs,
) -> (Scores, Vec<Outcome>, f64) {
    let (mut scores, mut outcomes, mut rates) = (Scores::default(), Vec::new(), Vec::new());
    for voice in voices(options) {
        let (once, spoken) = repeated(voice, 3);
        let wire_bps = Sending::plain(FrameDuration::Ms20, PLAIN_BPS, 10).wire_bps(&spoken);
        let layout = Sending {
            frame: FrameDuration::Ms20,
            bitrate_bps: 16_000,
            fec_percent,
            offsets: offsets.to_vec(),
        };
        let sending = layout.at_wire_rate(&spoken, wire_bps);
        rates.push(f64::from(sending.bitrate_bps));
        let packets = sending.packets(&spoken);
        for seed in 0..seeds(options) {
            let judged_from = Duration::from_secs_f64(once as f64 / 48_000.0);
            let outcome = converse(
                &mut Ours::new(&sending),
                &packets,
                &sending,
                conditions,
                seed,
                judged_from,
            );
            scores.add(pairs, &spoken, &outcome.heard, once, outcome.delay_ms + 30.0);
            outcomes.push(outcome);
        }
    }
    (scores, outcomes, mean(rates.into_iter()))
}
