use voicemesh_audio::BLOCK_SAMPLES;

use super::*;

/// A staircase, so that what is missing or doubled is seen.
fn block(number: usize) -> Block {
    std::array::from_fn(|at| (number * BLOCK_SAMPLES + at) as f32 / 1e6)
}

fn opened(rate_hz: u32, channels: usize) -> (Source, Reader) {
    ring(rate_hz, channels, &Wake::default()).unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// proves: B-11
#[test]
fn what_is_read_is_what_was_rendered_and_silence_is_behind_it() {
    let (mut source, mut reader) = opened(48_000, 1);
    let mut out = [1.0; 700];
    source.mono(&block(0));
    assert_eq!((reader.read(&mut out), out), (0, [0.0; 700]), "nothing before enough waits");
    (1..4).for_each(|number| source.mono(&block(number)));
    let mut heard = Vec::new();
    while reader.read(&mut out) == 700 {
        heard.extend_from_slice(&out);
    }
    heard.extend_from_slice(&out[..4 * BLOCK_SAMPLES - heard.len()]);
    let rendered: Vec<f32> = (0..4).flat_map(block).collect();
    assert!(heard == rendered && out[520..].iter().all(|sample| *sample == 0.0));
    assert_eq!(reader.read(&mut out), 0);
}

/// proves: B-11
#[test]
fn a_reader_that_comes_late_skips_to_what_is_new_without_a_step() {
    let (mut source, mut reader) = opened(48_000, 1);
    (0..1_000).for_each(|number| source.mono(&block(number)));
    assert_eq!(source.frames_waiting(), 9_600, "the ring is bounded");
    let mut out = [0.0; 480];
    assert_eq!(reader.read(&mut out), 480);
    assert!(out[0] == 0.0, "it begins with the old …");
    assert_eq!(out[479], (9_600 - 480 - 1) as f32 / 1e6, "… and ends with the new");
    let steepest = out.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f32::max);
    assert!(steepest < 60e-6, "{steepest}");
    assert_eq!(source.frames_waiting(), 480);
}

/// proves: B-11
#[test]
fn two_sides_stay_apart_at_any_rate() {
    for rate_hz in [48_000, 44_100, 16_000] {
        let (mut source, mut reader) = opened(rate_hz, 2);
        let both = StereoBlock { left: [0.5; BLOCK_SAMPLES], right: [-0.25; BLOCK_SAMPLES] };
        let mut out = vec![0.0; 2 * (rate_hz as usize / 100)];
        let mut frames = 0;
        for number in 0..200 {
            source.stereo(&both);
            frames += reader.read(&mut out);
            if number > 20 {
                let is_right =
                    |frame: &[f32]| (frame[0] - 0.5).abs() < 0.01 && (frame[1] + 0.25).abs() < 0.01;
                assert!(out.chunks_exact(2).all(is_right), "{rate_hz}: {:?}", &out[..4]);
            }
        }
        assert!(frames as f32 > 1.9 * rate_hz as f32, "{rate_hz}: {frames}");
    }
    assert!(ring(7_999, 1, &Wake::default()).is_err());
}

/// proves: B-11
#[test]
fn the_first_that_reads_sets_the_pace_until_it_stays_away() {
    let (source, mut reader) = opened(48_000, 1);
    let mut taps = PcmOutputs::default();
    let peer = {
        use voicemesh_wire::identity::{InstallationSecret, prove};
        prove(&InstallationSecret([1; 32]), "ws://here", "room", 0).peer_id()
    };
    taps.open_voice(peer, source);
    assert_eq!(taps.wants_block(ms(0)), None, "nothing is read");
    let mut out = [0.0; 1_024];
    let mut rendered = 0;
    let mut heard = 0;
    for turn in 0..100 {
        heard += reader.read(&mut out);
        let now = ms(21 * turn);
        while taps.wants_block(now) == Some(true) {
            taps.finish(None);
            rendered += BLOCK_SAMPLES;
        }
        assert!(taps.lead());
    }
    assert!(
        heard >= 98 * 1_024 && rendered - heard <= 1_024 + 2 * BLOCK_SAMPLES,
        "{heard} of {rendered}"
    );
    assert_eq!(taps.wants_block(ms(21 * 99 + 50)), Some(false));
    assert_eq!(taps.wants_block(ms(21 * 99 + 150)), None, "it stays away");
    drop(reader);
    taps.finish(None);
    assert!(taps.voices.is_empty());
    assert_eq!(
        taps.speaker(Some(peer), &block(0), false),
        Mixing::In,
        "and the peer is in the mix again"
    );
}

/// proves: B-11
#[test]
fn reading_allocates_nothing() {
    let (mut source, mut reader) = opened(44_100, 2);
    let both = StereoBlock { left: block(0), right: block(1) };
    let mut out = [0.0; 1_024];
    let mut frames = 0;
    let mut go_on = |turns: usize| {
        for turn in 0..turns {
            source.stereo(&both);
            if turn % 7 < 3 {
                frames += reader.read(&mut out);
            }
        }
    };
    go_on(100);
    let allocations = allocation_counter::measure(|| go_on(1_000));
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    assert!(frames > 100_000, "{frames}");
}
