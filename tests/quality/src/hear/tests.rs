//! The measure must pass what is fine and fail what is not; each way of being wrong fails by the
//! figure that is about it.

use super::*;
use crate::speech::{VOICES, load};

/// Noise in −1..1 that is the same on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f64 / f64::from(1 << 24) * 2.0 - 1.0) as f32
    }

    fn below(&mut self, bound: usize) -> usize {
        ((f64::from(self.next()) + 1.0) / 2.0 * bound as f64) as usize % bound
    }
}

fn with_noise(samples: &[f32], gain: f32) -> Vec<f32> {
    let mut noise = Noise(1);
    samples.iter().map(|sample| sample + gain * noise.next()).collect()
}

fn delayed(samples: &[f32], delay_ms: usize) -> Vec<f32> {
    [vec![0.0; delay_ms * SAMPLES_PER_MS], samples.to_vec()].concat()
}

/// What a codec does and more: no treble, some noise, a gain that moves by 1 dB every 20 ms.
fn lightly_degraded(samples: &[f32]) -> Vec<f32> {
    let smooth = moving_average(samples, 3);
    let mut gains = Noise(7);
    let mut gain = 1.0;
    let mut out = with_noise(&smooth, 0.002);
    for frame in out.chunks_mut(20 * SAMPLES_PER_MS) {
        let next = 10_f32.powf(gains.next() / 20.0);
        let len = frame.len() as f32;
        for (at, sample) in frame.iter_mut().enumerate() {
            *sample *= gain + (next - gain) * at as f32 / len;
        }
        gain = next;
    }
    out
}

fn moving_average(samples: &[f32], taps: usize) -> Vec<f32> {
    (0..samples.len())
        .map(|at| (0..taps).map(|back| samples[at.saturating_sub(back)]).sum::<f32>() / taps as f32)
        .collect()
}

fn refused(spoken: &[f32], heard: &[f32], complaint: &str) -> Hearing {
    let hearing = compare(spoken, heard);
    let sentence =
        hearing.verdict(&Floor::default()).expect_err(&format!("must be refused: {hearing}"));
    assert!(sentence.contains(complaint), "refused for another reason: {sentence}");
    hearing
}

#[test]
fn the_same_again_is_perfect() {
    let spoken = load("reader");
    let hearing = compare(&spoken, &spoken);
    assert!(hearing.envelope_correlation > 0.9999 && hearing.stoi > 0.9999, "{hearing}");
    assert_eq!((hearing.delay_ms, hearing.unheard_total_ms), (0.0, 0.0));
    assert!(
        hearing.level_difference_db.abs() < 1e-6 && hearing.spectral_distance_db < 1e-6,
        "{hearing}"
    );
}

#[test]
fn a_light_degradation_and_a_delay_pass_in_every_voice() {
    for voice in VOICES {
        let spoken = load(voice);
        let hearing = compare(&spoken, &delayed(&lightly_degraded(&spoken), 40));
        hearing.verdict(&Floor::default()).unwrap_or_else(|sentence| panic!("{voice}: {sentence}"));
        assert!((hearing.delay_ms - 40.0).abs() <= 2.0, "{voice}: {hearing}");
    }
}

#[test]
fn delay_is_found_anywhere_in_a_long_recording() {
    let spoken = load("announcer");
    let heard = [vec![0.0; 48 * 4_321], lightly_degraded(&spoken), vec![0.0; 48 * 5_000]].concat();
    let hearing = compare(&spoken, &heard);
    assert!((hearing.delay_ms - 4_321.0).abs() <= 2.0, "{hearing}");
    hearing.verdict(&Floor::default()).unwrap();
}

#[test]
fn a_recording_that_begins_in_mid_speech_has_a_negative_delay_and_an_unheard_beginning() {
    let spoken = load("synthetic");
    let hearing = refused(&spoken, &spoken[48 * 1_000..], "a stretch is unheard");
    assert!((hearing.delay_ms + 1_000.0).abs() <= 2.0, "{hearing}");
    assert!((700.0..=1_000.0).contains(&hearing.unheard_total_ms), "{hearing}");
}

#[test]
fn a_jitter_buffer_that_adapts_by_40_ms_and_a_drifting_clock_pass() {
    for voice in VOICES {
        let spoken = load(voice);
        // 40 ms more from a quiet moment in the first third, 40 ms less from one in the last.
        let (grow, shrink) = (quietest(&spoken, 0.3), quietest(&spoken, 0.7));
        let shrunk = &spoken[shrink + 40 * SAMPLES_PER_MS..];
        let heard =
            [&spoken[..grow], &[0.0; 40 * SAMPLES_PER_MS][..], &spoken[grow..shrink], shrunk]
                .concat();
        // 200 ppm fast.
        let drifted: Vec<f32> =
            (0..heard.len()).filter(|at| at % 5_000 != 4_999).map(|at| heard[at]).collect();
        let hearing = compare(&spoken, &delayed(&drifted, 40));
        hearing.verdict(&Floor::default()).unwrap_or_else(|sentence| panic!("{voice}: {sentence}"));
        assert!(hearing.delay_range_ms.1 - hearing.delay_range_ms.0 >= 30.0, "{voice}: {hearing}");
    }
}

/// Position of the quietest 60 ms near a part of the signal.
fn quietest(samples: &[f32], part: f64) -> usize {
    let centre = (samples.len() as f64 * part) as usize;
    let energy = |at: &usize| {
        samples[*at..*at + 60 * SAMPLES_PER_MS].iter().map(|sample| sample * sample).sum::<f32>()
    };
    let candidates = (centre - 48_000..centre + 48_000).step_by(240);
    candidates.min_by(|a, b| energy(a).total_cmp(&energy(b))).unwrap_or(centre)
}

#[test]
fn shuffled_frames_are_refused() {
    for voice in VOICES {
        let spoken = load(voice);
        let mut frames: Vec<&[f32]> = spoken.chunks_exact(20 * SAMPLES_PER_MS).collect();
        let mut random = Noise(3);
        for group in frames.chunks_mut(5) {
            (1..group.len()).rev().for_each(|at| group.swap(at, random.below(at + 1)));
        }
        refused(&spoken, &frames.concat(), "unintelligible");
    }
}

#[test]
fn a_mirrored_spectrum_is_refused() {
    for voice in VOICES {
        let spoken = load(voice);
        // Ring modulation at 4 kHz turns the lower half of the speech band upside down and keeps
        // the envelope.
        let heard: Vec<f32> = moving_average(&spoken, 6)
            .iter()
            .enumerate()
            .map(|(at, sample)| {
                1.4 * sample * (at as f32 * std::f32::consts::TAU * 4_000.0 / 48_000.0).cos()
            })
            .collect();
        refused(&spoken, &heard, "unintelligible");
    }
}

#[test]
fn noise_with_the_envelope_of_the_speech_is_refused() {
    for voice in VOICES {
        let spoken = load(voice);
        let mut noise = Noise(5);
        let heard: Vec<f32> = spoken
            .chunks(5 * SAMPLES_PER_MS)
            .flat_map(|frame| {
                let rms = (frame.iter().map(|sample| sample * sample).sum::<f32>()
                    / frame.len() as f32)
                    .sqrt();
                frame.iter().map(|_| 1.73 * rms * noise.next()).collect::<Vec<f32>>()
            })
            .collect();
        let hearing = refused(&spoken, &heard, "unintelligible");
        assert!(
            hearing.envelope_correlation > 0.95,
            "the envelope alone would have passed: {hearing}"
        );
    }
}

#[test]
fn a_hole_of_100_ms_in_speech_is_refused_wherever_it_is() {
    for voice in VOICES {
        let spoken = load(voice);
        let active = active_frames(&levels_db(&spoken));
        let mut tried = 0;
        for start in (0..active.len() - 20).step_by(45) {
            if !active[start..start + 20].iter().all(|frame| *frame) {
                continue;
            }
            let mut heard = lightly_degraded(&spoken);
            heard[start * FRAME_SAMPLES..(start + 20) * FRAME_SAMPLES].fill(0.0);
            let hearing = compare(&spoken, &delayed(&heard, 40));
            assert!(hearing.verdict(&Floor::default()).is_err(), "{voice} at {start}: {hearing}");
            assert!(
                (75.0..=125.0).contains(&hearing.longest_unheard_ms),
                "{voice} at {start}: {hearing}"
            );
            tried += 1;
        }
        assert!(tried >= 3, "{voice}: {tried} places only");
    }
}

#[test]
fn a_lost_frame_of_20_ms_is_no_unheard_stretch_to_complain_of() {
    let spoken = load("reader");
    let mut heard = lightly_degraded(&spoken);
    heard[48 * 2_000..48 * 2_020].fill(0.0);
    let hearing = compare(&spoken, &heard);
    assert!(hearing.longest_unheard_ms <= 40.0, "{hearing}");
    hearing.verdict(&Floor::default()).unwrap();
}

#[test]
fn speech_that_is_jumped_over_is_unheard() {
    let spoken = load("reader");
    let heard = [&spoken[..48 * 3_000], &spoken[48 * 3_300..]].concat();
    let hearing = refused(&spoken, &heard, "a stretch is unheard");
    assert!(hearing.unheard_total_ms >= 100.0, "{hearing}");
}

#[test]
fn a_stated_cut_is_excused_and_a_longer_one_is_not() {
    for voice in ["reader", "synthetic", "numbers"] {
        let spoken = load(voice);
        let mut heard = lightly_degraded(&spoken);
        heard[48 * 1_000..48 * 1_400].fill(0.0);
        // The other route is 90 ms slower.
        let heard =
            [&heard[..48 * 1_400], &[0.0; 90 * SAMPLES_PER_MS][..], &heard[48 * 1_400..]].concat();
        let excused = compare_with_cut(&spoken, &heard, 500.0);
        excused.verdict(&Floor::default()).unwrap_or_else(|sentence| panic!("{voice}: {sentence}"));
        assert!((200.0..=450.0).contains(&excused.cut_found_ms), "{voice}: {excused}");
        assert!(
            compare_with_cut(&spoken, &heard, 200.0).verdict(&Floor::default()).is_err(),
            "{voice}"
        );
        assert!(compare(&spoken, &heard).verdict(&Floor::default()).is_err(), "{voice}");
    }
}

#[test]
fn of_two_holes_within_a_stated_cut_what_was_heard_between_them_counts_as_heard() {
    let spoken = load("synthetic");
    let mut heard = spoken.clone();
    heard[48 * 1_000..48 * 1_100].fill(0.0);
    heard[48 * 1_350..48 * 1_400].fill(0.0);
    let hearing = compare_with_cut(&spoken, &heard, 500.0);
    assert!(hearing.cut_found_ms >= 350.0, "{hearing}");
    assert!((50.0..=170.0).contains(&hearing.unheard_in_cut_ms), "{hearing}");
}

#[test]
fn a_second_hole_beside_a_stated_cut_is_refused() {
    let spoken = load("reader");
    let mut heard = spoken.clone();
    heard[48 * 1_000..48 * 1_400].fill(0.0);
    heard[48 * 4_000..48 * 4_200].fill(0.0);
    let sentence = compare_with_cut(&spoken, &heard, 500.0).verdict(&Floor::default()).unwrap_err();
    assert!(sentence.contains("a stretch is unheard"), "{sentence}");
}

#[test]
fn half_the_level_is_refused() {
    let spoken = load("cards");
    let heard: Vec<f32> = spoken.iter().map(|sample| 0.5 * sample).collect();
    let hearing = refused(&spoken, &heard, "the level differs");
    assert!((hearing.level_difference_db + 6.02).abs() < 0.05, "{hearing}");
    assert_eq!(hearing.unheard_total_ms, 0.0, "quieter is not unheard: {hearing}");
}

#[test]
fn the_wrong_speaker_is_refused() {
    for spoken in VOICES {
        for heard in VOICES.iter().filter(|heard| **heard != spoken) {
            refused(&load(spoken), &load(heard), "unintelligible");
        }
    }
}

#[test]
fn silence_an_empty_recording_and_plain_noise_are_refused() {
    let spoken = load("announcer");
    let hearing = refused(&spoken, &vec![0.0; spoken.len()], "a stretch is unheard");
    assert_eq!(hearing.level_difference_db, SILENCE_DB);
    refused(&spoken, &[], "a stretch is unheard");
    refused(&spoken, &with_noise(&vec![0.0; spoken.len()], 0.14), "the envelope differs");
}

#[test]
fn two_speakers_at_once_are_not_one() {
    let (spoken, other) = (load("reader"), load("announcer"));
    let both: Vec<f32> = spoken.iter().zip(&other).map(|(a, b)| a + b).collect();
    refused(&spoken[..other.len()], &both, "the envelope differs");
}

/// References: pystoi 0.4.1 on the same files with the same noise and the same moving average of
/// 16.
#[test]
fn stoi_agrees_with_the_reference_implementation() {
    let references = [
        ("reader", [0.98846, 0.87647, 0.70769, 0.99541]),
        ("cards", [0.98641, 0.88555, 0.71912, 0.99682]),
        ("numbers", [0.86176, 0.69508, 0.53746, 0.99137]),
        ("announcer", [0.98685, 0.87569, 0.75790, 0.99626]),
        ("synthetic", [0.99063, 0.92628, 0.76625, 0.99487]),
    ];
    for (voice, expected) in references {
        let clean = load(voice);
        let smoothed: Vec<f32> = (0..clean.len())
            .map(|at| clean[at.saturating_sub(15)..=at].iter().sum::<f32>() / 16.0)
            .collect();
        let processed =
            [with_noise(&clean, 0.02), with_noise(&clean, 0.1), with_noise(&clean, 0.3), smoothed];
        for (processed, expected) in processed.iter().zip(expected) {
            let stoi = stoi::compare(&clean, processed).stoi;
            assert!((stoi - expected).abs() < 0.002, "{voice}: {stoi:.5}, reference {expected}");
        }
    }
}
