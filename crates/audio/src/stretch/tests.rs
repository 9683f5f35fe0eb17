//! Stretching: no click, the same pitch, and exactly as much as was said.

use std::f32::consts::TAU;

use proptest::prelude::*;

use super::*;

fn sine(hertz: f32, samples: usize) -> Vec<f32> {
    (0..samples).map(|index| 0.5 * (TAU * hertz * index as f32 / 48_000.0).sin()).collect()
}

/// A sawtooth without its highest partials, as a voice has them.
fn vowel(hertz: f32, samples: usize) -> Vec<f32> {
    let partial = |index: usize, k: f32| (TAU * k * hertz * index as f32 / 48_000.0).sin() / k;
    (0..samples).map(|index| 0.3 * (1..10).map(|k| partial(index, k as f32)).sum::<f32>()).collect()
}

/// The sound with a piece taken out after `at`, as the listener does it.
fn shortened(sound: &[f32], at: usize, most: usize) -> (Vec<f32>, usize) {
    let join = find_shortening(&sound[at..], most).expect("long enough");
    let mut rest = sound[at + join.samples..].to_vec();
    let faded = OVERLAP.min(join.samples);
    fade(&sound[at..at + faded], &mut rest[..faded], join.likeness);
    ([&sound[..at], &rest].concat(), join.samples)
}

/// The sound with a piece repeated before `at`.
fn lengthened(sound: &[f32], at: usize, most: usize) -> (Vec<f32>, usize) {
    let join = find_lengthening(&sound[..at], &sound[at..], most).expect("long enough");
    let mut rest = sound[at - join.samples..].to_vec();
    let faded = OVERLAP.min(join.samples);
    fade(&sound[at..at + faded], &mut rest[..faded], join.likeness);
    ([&sound[..at], &rest].concat(), join.samples)
}

fn largest_step(sound: &[f32]) -> f32 {
    sound.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

/// Rising zero crossings in a second.
fn pitch(sound: &[f32]) -> f32 {
    let crossings: Vec<usize> =
        (1..sound.len()).filter(|at| sound[at - 1] < 0.0 && sound[*at] >= 0.0).collect();
    let (first, last) = (crossings[0], crossings[crossings.len() - 1]);
    48_000.0 * (crossings.len() - 1) as f32 / (last - first) as f32
}

#[test]
fn a_stretched_sine_has_no_step_larger_than_its_own_and_keeps_its_pitch() {
    for hertz in [80.0, 113.0, 220.0, 391.0, 1_000.0] {
        let sound = sine(hertz, 9_600);
        for at in [2_000, 2_037, 3_333] {
            let (shorter, by) = shortened(&sound, at, LONGEST);
            assert_eq!(shorter.len(), sound.len() - by);
            let (longer, by) = lengthened(&sound, at, LONGEST);
            assert_eq!(longer.len(), sound.len() + by);
            for stretched in [shorter, longer] {
                let steps = (largest_step(&stretched), largest_step(&sound));
                assert!(steps.0 <= steps.1 * 1.02, "{hertz} Hz: {steps:?}");
                assert!(
                    (pitch(&stretched) / pitch(&sound) - 1.0).abs() < 0.01,
                    "{hertz} Hz: {} Hz",
                    pitch(&stretched)
                );
            }
        }
    }
}

#[test]
fn a_vowel_is_cut_and_repeated_by_whole_periods() {
    for hertz in [75.0, 120.0, 210.0, 330.0] {
        let sound = vowel(hertz, 9_600);
        let period = 48_000.0 / hertz;
        for join in [
            find_shortening(&sound[4_000..6_000], LONGEST).expect("long enough"),
            find_lengthening(&sound[..4_000], &sound[4_000..5_000], LONGEST).expect("long enough"),
        ] {
            let periods = join.samples as f32 / period;
            let off = (periods - periods.round()).abs() * period;
            assert!(off < 2.0 && periods > 0.5, "{hertz} Hz: {join:?}, {periods} periods");
            assert!(join.likeness > 0.95, "{hertz} Hz: {join:?}");
        }
    }
}

#[test]
fn what_is_too_short_is_left_alone() {
    assert_eq!(find_shortening(&sine(200.0, 300), LONGEST), None);
    assert_eq!(find_shortening(&sine(200.0, 3_000), SHORTEST - 1), None);
    assert_eq!(find_lengthening(&sine(200.0, 100), &sine(200.0, 3_000), LONGEST), None);
    assert_eq!(find_lengthening(&sine(200.0, 3_000), &sine(200.0, 100), LONGEST), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sound_breaks_the_search(
        sound in prop::collection::vec(-1.0f32..1.0, 0..3_000),
        split in 0.0f64..1.0,
        most in 0..2_000usize,
    ) {
        let (before, after) = sound.split_at((sound.len() as f64 * split) as usize);
        for (join, limit) in [
            (find_shortening(&sound, most), sound.len()),
            (find_lengthening(before, after, most), before.len()),
        ] {
            if let Some(join) = join {
                prop_assert!((SHORTEST..=most.min(LONGEST).min(limit)).contains(&join.samples), "{join:?}");
                prop_assert!(join.likeness.is_finite() && join.likeness <= 1.001);
            }
        }
    }
}
