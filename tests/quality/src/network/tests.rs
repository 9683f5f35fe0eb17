//! The direction of each row, on one voice: what the benchmark measures at length must not turn
//! round unnoticed.

use std::time::Duration;

use voicemesh_audio::FrameDuration;

use super::hearers::{Ours, Outcome, Plain, converse};
use super::{
    AGAINST_A_FIFTH, AGAINST_A_TENTH, AGAINST_A_TENTH_IN_BURSTS, PLAIN_BPS, PLAIN_BUFFER,
    PathConditions, repeated, speaker::Sending,
};
use crate::hear;

const VOICE: &str = "announcer";

struct Heard {
    outcome: Outcome,
    stoi: f64,
}

fn heard(conditions: PathConditions, sending: &Sending, plain: bool) -> Heard {
    let (once, spoken) = repeated(VOICE, 3);
    let packets = sending.packets(&spoken);
    let judged_from = Duration::from_secs_f64(once as f64 / 48_000.0);
    let outcome = if plain {
        converse(
            &mut Plain::new(sending, PLAIN_BUFFER),
            &packets,
            sending,
            conditions,
            1,
            judged_from,
        )
    } else {
        converse(&mut Ours::new(sending), &packets, sending, conditions, 1, judged_from)
    };
    let stoi = hear::compare(&spoken[once..], &outcome.heard[once..]).stoi;
    Heard { outcome, stoi }
}

/// proves: B-12
#[test]
fn under_loss_ours_loses_less_and_is_understood_better_than_a_plain_pipeline_of_the_same_rate() {
    let (_, spoken) = repeated(VOICE, 1);
    for (conditions, offsets, limit) in [
        (PathConditions::random(0.1), AGAINST_A_TENTH, 1.5),
        (PathConditions::random(0.2), AGAINST_A_FIFTH, 4.0),
        (PathConditions::bursts(0.1), AGAINST_A_TENTH_IN_BURSTS, 3.0),
        (PathConditions::bursts(0.2), AGAINST_A_FIFTH, 8.0),
    ] {
        let plain = Sending::plain(FrameDuration::Ms20, PLAIN_BPS, 10);
        let layout = Sending { offsets: offsets.to_vec(), fec_percent: 0, ..plain.clone() };
        let ours = layout.at_wire_rate(&spoken, plain.wire_bps(&spoken));
        assert!(ours.wire_bps(&spoken) <= 1.03 * plain.wire_bps(&spoken), "no more on the wire");
        let (ours, plain) = (heard(conditions, &ours, false), heard(conditions, &plain, true));
        let unheard = (ours.outcome.unheard_percent, plain.outcome.unheard_percent);
        assert!(
            unheard.0 <= limit && unheard.0 < unheard.1 / 2.0,
            "{conditions:?}: {unheard:?} % never heard"
        );
        assert!(
            ours.stoi > plain.stoi - 0.01 && ours.stoi > 0.85,
            "{conditions:?}: {} and {}",
            ours.stoi,
            plain.stoi
        );
        assert!(ours.outcome.delay_ms <= 140.0, "{conditions:?}: {} ms", ours.outcome.delay_ms);
    }
}

#[test]
fn on_a_perfect_network_nothing_is_concealed_and_little_is_waited() {
    for (frame, limit_ms) in [(FrameDuration::Ms20, 45.0), (FrameDuration::Ms10, 35.0)] {
        let Heard { outcome, stoi } =
            heard(PathConditions::Perfect, &Sending::plain(frame, PLAIN_BPS, 0), false);
        assert_eq!((outcome.concealed_ms, outcome.stretched_ms), (0.0, 0.0));
        assert!(outcome.delay_ms <= limit_ms, "{frame:?}: {} ms", outcome.delay_ms);
        assert!(stoi > 0.98, "{frame:?}: {stoi}");
    }
}

#[test]
fn under_jitter_little_is_concealed_with_the_delay_that_a_fixed_buffer_would_need() {
    let sending = Sending::plain(FrameDuration::Ms20, PLAIN_BPS, 10);
    let Heard { outcome, stoi } = heard(PathConditions::Jitter(15.0), &sending, false);
    assert!(outcome.concealed_percent <= 1.5, "{} % concealed", outcome.concealed_percent);
    assert!(outcome.delay_ms <= 95.0, "{} ms", outcome.delay_ms);
    assert!(stoi > 0.8, "{stoi}");
}

#[test]
fn a_detour_of_200_ms_disturbs_for_little_more_and_loses_no_frame() {
    let rows = super::detour(&crate::report::Options { quick: true });
    for row in &rows[..2] {
        assert!(row.value <= 300.0, "{row:?}");
    }
    assert_eq!(rows[2].value, 0.0, "frames lost");
}

#[test]
fn what_begins_to_play_is_as_late_as_it_sounds() {
    // The measured delay against the place where the recording really lies.
    let sending = Sending::plain(FrameDuration::Ms20, PLAIN_BPS, 0);
    let (once, spoken) = repeated(VOICE, 2);
    let packets = sending.packets(&spoken);
    let outcome = converse(
        &mut Ours::new(&sending),
        &packets,
        &sending,
        PathConditions::Perfect,
        0,
        Duration::ZERO,
    );
    let found_ms = hear::compare(&spoken[once..], &outcome.heard[once..]).delay_ms;
    // The first block is rendered at seed 0's phase, which is 0, and the network takes 30 ms.
    assert!(
        (found_ms - outcome.delay_ms - 30.0).abs() <= 2.0,
        "{found_ms} and {} + 30",
        outcome.delay_ms
    );
}
