use super::*;
use crate::nets::continuous_speech;

/// Speech from 100 s on, and a recording from 99 s on that hears it after `delay_s`.
fn call(seconds: usize, delay_s: f64) -> (Track, Track) {
    let spoken = Track { begins_at: 100.0, samples: continuous_speech(3, 20) };
    let silence = ((1.0 + delay_s) * RATE) as usize;
    let speech = spoken.samples.iter().copied().cycle().take(seconds * RATE as usize);
    let samples = std::iter::repeat_n(0.0, silence).chain(speech).collect();
    (spoken, Track { begins_at: 99.0, samples })
}

fn silence(heard: &mut Track, at: f64, seconds: f64) {
    let first = ((at - heard.begins_at) * RATE) as usize;
    heard.samples[first..first + (seconds * RATE) as usize].fill(0.0);
}

#[test]
fn the_delay_of_a_clean_call_is_found_all_the_time() {
    let (spoken, heard) = call(30, 0.12);
    let result = listen(&spoken, &heard, 99.0, 130.0);
    assert!((result.first_at.unwrap() - 100.12).abs() < 0.2, "{:?}", result.first_at);
    assert!(result.gaps.is_empty(), "{:?}", result.gaps);
    assert!(result.delays.len() > 100);
    assert!(
        result.delays.iter().all(|delay| (delay.ms - 130.0).abs() <= 5.0),
        "{:?}",
        result.delays
    );
}

#[test]
fn gaps_are_found_where_they_are() {
    let (spoken, mut heard) = call(30, 0.12);
    silence(&mut heard, 110.0, 0.5);
    silence(&mut heard, 120.0, 2.0);
    silence(&mut heard, 125.0, 0.03);
    let result = listen(&spoken, &heard, 99.0, 130.0);
    let found: Vec<(f64, f64)> = result.gaps.iter().map(|gap| (gap.at, gap.seconds)).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    for ((at, seconds), (true_at, true_seconds)) in
        found.into_iter().zip([(110.0, 0.5), (120.0, 2.0)])
    {
        assert!(
            (at - true_at).abs() < 0.05 && (seconds - true_seconds).abs() < 0.08,
            "{at} {seconds}"
        );
    }
    assert!((result.lost_after(115.0) - 2.0).abs() < 0.08);
    assert!((result.lost_after(121.0) - 1.0).abs() < 0.08);
    assert!((result.longest_gap_after(99.0) - 2.0).abs() < 0.08);
}

#[test]
fn a_call_that_never_comes_back_is_one_gap_to_the_end() {
    let (spoken, mut heard) = call(30, 0.12);
    silence(&mut heard, 112.0, 17.0);
    let result = listen(&spoken, &heard, 99.0, 129.0);
    assert!((result.lost_after(99.0) - 17.0).abs() < 0.1, "{:?}", result.gaps);
}

#[test]
fn a_delay_that_grows_is_followed() {
    let (spoken, mut heard) = call(30, 0.12);
    // From 115 s on everything comes 2 s later.
    let at = (16.0 * RATE) as usize;
    heard.samples.splice(at..at, std::iter::repeat_n(0.0, 2 * RATE as usize));
    let result = listen(&spoken, &heard, 99.0, 131.0);
    let after = result.median_delay_after(119.0).unwrap();
    assert!((after - 2_130.0).abs() <= 5.0, "{after}");
    assert!((result.longest_delay_after(99.0).unwrap() - 2_130.0).abs() <= 5.0);
}

#[test]
fn silence_and_another_voice_match_nothing() {
    let (spoken, mut heard) = call(10, 0.1);
    heard.samples.fill(0.0);
    let silent = listen(&spoken, &heard, 99.0, 109.0);
    assert_eq!((silent.first_at, silent.delays.len()), (None, 0));
    let other = Track { begins_at: 99.0, samples: continuous_speech(9, 10) };
    let matched = listen(&spoken, &other, 99.0, 109.0).delays.len();
    assert_eq!(matched, 0, "{matched} moments of another voice match");
}
