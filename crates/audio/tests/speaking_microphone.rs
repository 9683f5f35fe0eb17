//! The microphone's promises: what passes, what is held back, and when.

use std::{f32::consts::TAU, time::Duration};

use proptest::prelude::*;
use voicemesh_audio::{
    BLOCK_SAMPLES, Block,
    level::peak,
    process::{
        Activation, LONGEST_RELEASE, Microphone, MicrophoneConfig, NoiseSuppression, Processing,
    },
};

const NOTHING: Block = [0.0; BLOCK_SAMPLES];

fn microphone(processing: Processing, activation: Activation) -> Microphone {
    Microphone::new(MicrophoneConfig { processing, activation }).expect("valid settings")
}

/// Pushes a block and collects what is to be encoded.
fn push(microphone: &mut Microphone, block: &Block) -> Vec<Block> {
    microphone.played(&NOTHING);
    microphone.push(block);
    std::iter::from_fn(|| microphone.next_block().copied()).collect()
}

fn tone(index: usize) -> Block {
    std::array::from_fn(|sample| {
        0.3 * (TAU * 440.0 * (index * BLOCK_SAMPLES + sample) as f32 / 48_000.0).sin()
    })
}

fn bits(block: &Block) -> [u32; BLOCK_SAMPLES] {
    block.map(f32::to_bits)
}

/// The largest difference between one sample and the next.
fn steepest(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn with_everything_off_each_block_passes_bit_for_bit_and_at_once() {
    let mut microphone = microphone(Processing::OFF, Activation::Always);
    for index in 0..100 {
        let mut block = tone(index);
        block[7] = -0.0;
        block[8] = f32::MIN_POSITIVE / 4.0;
        block[9] = 3.5;
        let sent = push(&mut microphone, &block);
        assert_eq!(sent.iter().map(bits).collect::<Vec<_>>(), [bits(&block)]);
    }
}

#[test]
fn after_switching_everything_off_blocks_pass_bit_for_bit_again() {
    let mut microphone = microphone(Processing::default(), Activation::Always);
    (0..50).for_each(|index| drop(push(&mut microphone, &tone(index))));
    microphone.set_processing(Processing::OFF);
    (50..55).for_each(|index| drop(push(&mut microphone, &tone(index))));
    for index in 55..100 {
        assert_eq!(
            push(&mut microphone, &tone(index)).iter().map(bits).collect::<Vec<_>>(),
            [bits(&tone(index))]
        );
    }
}

#[test]
fn digital_silence_closes_within_half_a_second_under_every_activation() {
    let held = Activation::PushToTalk { release: Duration::from_millis(200) };
    for activation in [Activation::Always, Activation::Voice, held] {
        let mut microphone = microphone(Processing::OFF, activation);
        microphone.set_talking(true);
        (0..100).for_each(|index| drop(push(&mut microphone, &tone(index))));
        (0..50).for_each(|_| drop(push(&mut microphone, &NOTHING)));
        assert!(!microphone.is_open(), "{activation:?}");
        assert!((0..100).all(|_| push(&mut microphone, &NOTHING).is_empty()), "{activation:?}");
    }
}

#[test]
fn always_sends_a_quiet_room_and_stays_open_over_a_short_silence() {
    let mut microphone = microphone(Processing::OFF, Activation::Always);
    assert!(push(&mut microphone, &NOTHING).is_empty());
    for _ in 0..5 {
        assert_eq!(push(&mut microphone, &[0.0005; BLOCK_SAMPLES]).len(), 1);
        assert!((0..49).all(|_| push(&mut microphone, &NOTHING).len() == 1));
    }
}

#[test]
fn push_to_talk_sends_from_the_press_until_the_release_delay_is_over_and_nothing_else() {
    let mut microphone =
        microphone(Processing::OFF, Activation::PushToTalk { release: Duration::from_millis(200) });
    assert!((0..50).all(|index| push(&mut microphone, &tone(index)).is_empty()));
    microphone.set_talking(true);
    for index in 50..60 {
        assert_eq!(
            push(&mut microphone, &tone(index)),
            [tone(index)],
            "nothing from before the press either"
        );
    }
    microphone.set_talking(false);
    let after_release =
        (60..160).take_while(|index| push(&mut microphone, &tone(*index)).len() == 1).count();
    assert_eq!(after_release, 20);
    assert!(!microphone.is_open());
}

#[test]
fn a_release_delay_that_is_too_long_is_refused_and_the_old_rule_stays() {
    let mut microphone = microphone(Processing::OFF, Activation::Always);
    let release = LONGEST_RELEASE + Duration::from_millis(1);
    let error =
        microphone.set_activation(Activation::PushToTalk { release }).expect_err("too long");
    assert!(error.to_string().starts_with("release"), "{error}");
    assert_eq!(microphone.activation(), Activation::Always);
}

#[test]
fn a_muted_microphone_gives_nothing_and_what_was_said_meanwhile_is_never_given() {
    for processing in [Processing::OFF, Processing::default()] {
        let mut microphone = microphone(processing, Activation::Always);
        (0..100).for_each(|index| drop(push(&mut microphone, &tone(index))));
        assert!(microphone.is_open());
        microphone.set_muted(true);
        assert!(!microphone.is_open(), "muting closes at once");
        assert!((100..200).all(|index| push(&mut microphone, &tone(index)).is_empty()));
        assert!(microphone.level().level_dbfs > -20.0, "a muted microphone still shows its level");
        microphone.set_muted(false);
        let hiss = |index: usize| -> Block {
            std::array::from_fn(
                |sample| if (index + sample * 7919) % 13 > 6 { 2e-4 } else { -2e-4 },
            )
        };
        let after: Vec<Block> =
            (0..100).flat_map(|index| push(&mut microphone, &hiss(index))).collect();
        assert!(after.len() > 90, "it sends again");
        let loudest = after.iter().map(|block| peak(block)).fold(0.0, f32::max);
        assert!(loudest < 0.003, "{loudest} of the tone came through, {processing:?}");
    }
}

#[test]
fn blocks_that_were_not_fetched_before_muting_are_gone() {
    let mut microphone = microphone(Processing::OFF, Activation::Always);
    microphone.push(&tone(0));
    microphone.set_muted(true);
    assert_eq!(microphone.next_block(), None);
    microphone.set_muted(false);
    assert_eq!(microphone.next_block(), None);
}

#[test]
fn a_caller_that_never_fetches_gets_the_latest_blocks() {
    let mut microphone = microphone(Processing::OFF, Activation::Always);
    (0..1_000).for_each(|index| microphone.push(&tone(index)));
    let kept: Vec<Block> = std::iter::from_fn(|| microphone.next_block().copied()).collect();
    assert!((1..100).contains(&kept.len()), "{} blocks", kept.len());
    assert_eq!(kept.last(), Some(&tone(999)));
}

/// A switch that clicks would be heard by everybody.
#[test]
fn switching_processing_in_mid_sound_does_not_click() {
    let low = Processing { noise_suppression: NoiseSuppression::Low, ..Processing::OFF };
    let high_pass = Processing { high_pass: true, ..Processing::OFF };
    let mut microphone = microphone(Processing::OFF, Activation::Always);
    let mut sent = Vec::new();
    let settings =
        [Processing::OFF, low, high_pass, Processing { high_pass: true, ..low }, Processing::OFF];
    for (index, processing) in settings.into_iter().cycle().take(40).enumerate() {
        microphone.set_processing(processing);
        (0..13).for_each(|block| sent.extend(push(&mut microphone, &tone(13 * index + block))));
    }
    let limit = 1.5 * steepest(tone(0).as_slice());
    let found = steepest(sent.as_flattened());
    assert!(found < limit, "a step of {found} in a tone whose own are below {limit}");
}

#[test]
fn clipping_and_levels_are_shown() {
    let mut microphone = microphone(Processing::default(), Activation::Voice);
    (0..700)
        .for_each(|index| drop(push(&mut microphone, &tone(index).map(|sample| sample * 0.01))));
    let level = microphone.level();
    assert!((level.level_dbfs + 53.5).abs() < 0.5, "{level:?}");
    assert!((level.peak_dbfs + 50.5).abs() < 0.5, "{level:?}");
    assert!((level.noise_floor_dbfs + 53.5).abs() < 0.7, "{level:?}");
    assert!(!level.clipping && !level.open, "{level:?}");
    drop(push(&mut microphone, &tone(0).map(|sample| (sample * 10.0).clamp(-1.0, 1.0))));
    assert!(microphone.level().clipping);
    assert!(microphone.level().peak_dbfs > -0.1);
    (0..101).for_each(|_| drop(push(&mut microphone, &NOTHING)));
    assert!(!microphone.level().clipping, "for a second");
}

fn any_sample() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<f32>(),
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::NEG_INFINITY),
        Just(f32::MAX),
        -1.0f32..1.0,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever a device delivers, and whatever is switched meanwhile.
    #[test]
    fn any_samples_are_harmless_and_what_comes_after_is_sound(
        samples in prop::collection::vec(any_sample(), 1..64),
        switches in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0u8..3), 1..8),
    ) {
        let mut microphone = microphone(Processing::default(), Activation::Always);
        for (index, (echo, gain, muted, activation)) in switches.into_iter().enumerate() {
            microphone.set_processing(Processing {
                echo_cancellation: echo, automatic_gain: gain, ..Processing::default()
            });
            microphone.set_muted(muted);
            microphone.set_activation(match activation {
                0 => Activation::Always,
                1 => Activation::Voice,
                _ => Activation::PushToTalk { release: Duration::ZERO },
            }).expect("valid");
            for block in 0..6 {
                let mut noise: Block = std::array::from_fn(|at| samples[(at + index + block) % samples.len()]);
                microphone.played(&noise);
                noise.reverse();
                microphone.push(&noise);
                while let Some(block) = microphone.next_block() {
                    prop_assert!(block.iter().all(|sample| sample.is_finite()));
                }
            }
            let level = microphone.level();
            prop_assert!(level.level_dbfs.is_finite() && level.noise_floor_dbfs.is_finite() && level.peak_dbfs.is_finite());
            prop_assert!((0.0..=1.0).contains(&level.speech_probability));
        }
        microphone.set_muted(false);
        microphone.set_activation(Activation::Always).expect("valid");
        let sent: Vec<Block> = (0..300).flat_map(|index| push(&mut microphone, &tone(index))).collect();
        let loudest = sent[sent.len() - 20..].iter().map(|block| peak(block)).fold(0.0, f32::max);
        prop_assert!((0.02..=1.0).contains(&loudest), "a tone of 0.3 came out as {loudest}");
    }
}
