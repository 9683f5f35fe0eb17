//! The way out allocates nothing in its steady state, as far as it is ours; what the echo canceller
//! and the gain control allocate inside is bounded, and given back before they return.

use allocation_counter::{AllocationInfo, measure};
use voicemesh_audio::{
    BLOCK_SAMPLES, Block,
    encode::{SpeechConfig, VoiceEncoder},
    process::{Activation, Microphone, MicrophoneConfig, NoiseSuppression, Processing},
};

/// Allocations per block inside the echo canceller: vectors of one spectrum each, per 4 ms.
const ECHO_ALLOCATIONS: u64 = 45;

/// Allocations per block inside the gain control: copies of the block.
const GAIN_ALLOCATIONS: u64 = 12;

fn noise(seed: &mut u32) -> Block {
    std::array::from_fn(|_| {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 8) as f32 / 16_777_216.0 * 0.4 - 0.2
    })
}

/// Ten seconds on the way out, half of them silent; what was allocated after the first two.
fn allocations(processing: Processing, activation: Activation) -> AllocationInfo {
    let mut microphone =
        Microphone::new(MicrophoneConfig { processing, activation }).expect("valid settings");
    let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("valid settings");
    let mut seed = 1;
    let mut step = |index: usize| {
        let (played, heard) = (noise(&mut seed), noise(&mut seed));
        microphone.set_talking(index % 200 < 100);
        microphone.set_muted(index % 400 > 380);
        microphone.played(&played);
        microphone.push(if index % 500 < 250 { &heard } else { &[0.0; BLOCK_SAMPLES] });
        while let Some(block) = microphone.next_block() {
            speech.push(block).expect("encodes");
        }
        let bitrate_bps = if index % 20 < 10 { 16_000 } else { 64_000 };
        let expected_loss_percent = (index % 30) as u8;
        let config = SpeechConfig {
            bitrate_bps,
            expected_loss_percent,
            fec: index % 7 < 4,
            ..SpeechConfig::default()
        };
        speech.configure(config).expect("valid settings");
        assert!(microphone.level().level_dbfs.is_finite());
    };
    (0..200).for_each(&mut step);
    measure(|| (200..1_000).for_each(&mut step))
}

#[test]
fn activation_detector_metering_suppression_and_encoding_allocate_nothing() {
    let suppressed = Processing {
        noise_suppression: NoiseSuppression::High,
        high_pass: true,
        ..Processing::OFF
    };
    let held = Activation::PushToTalk { release: std::time::Duration::from_millis(200) };
    for activation in [Activation::Always, Activation::Voice, held] {
        for processing in [Processing::OFF, suppressed] {
            assert_eq!(
                allocations(processing, activation).count_total,
                0,
                "{processing:?} {activation:?}"
            );
        }
    }
}

#[test]
fn what_the_echo_canceller_and_the_gain_control_allocate_is_bounded_and_given_back() {
    let found = allocations(Processing::default(), Activation::Always);
    let per_block = found.count_total as f64 / 800.0;
    assert!(per_block <= (ECHO_ALLOCATIONS + GAIN_ALLOCATIONS) as f64, "{per_block} per block");
    assert!(found.count_current <= 0, "{} are kept", found.count_current);
    assert!(found.bytes_max < 32 * 1024, "{} bytes at a time", found.bytes_max);
}
