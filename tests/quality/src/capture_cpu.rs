//! What speaking costs: processor time of the whole way from the microphone's block to the encoded
//! frame.

use std::time::Duration;

use voicemesh_audio::{
    BLOCK_SAMPLES,
    encode::{Profile, SpeechConfig, VoiceEncoder},
    process::{Activation, Microphone, MicrophoneConfig, NoiseSuppression, Processing},
};

use crate::{
    echo::{DELAYS_MS, Scene},
    echo_room::Room,
    report::{Options, Row},
    speech,
};

/// How much sound is processed.
const SOUND_MS: usize = 40_000;

/// The delay is looked for up to here (40 ms).
const LONGEST_DELAY_SAMPLES: usize = 1_920;

/// What of one core's time a chain takes while the microphone is open all the time.
#[must_use]
pub fn percent_of_a_core(scene: &Scene, processing: Processing, profile: Profile) -> f64 {
    let mut microphone =
        Microphone::new(MicrophoneConfig { processing, activation: Activation::Always })
            .unwrap_or_else(|error| panic!("{error}"));
    let config = SpeechConfig { complexity: profile.complexity(), ..SpeechConfig::default() };
    let mut speech = VoiceEncoder::new(config).unwrap_or_else(|error| panic!("{error}"));
    let heard: Vec<f32> =
        scene.echo.iter().zip(&scene.near).map(|(echo, near)| echo + near).collect();
    let (heard, played) =
        (heard.as_chunks::<BLOCK_SAMPLES>().0, scene.played.as_chunks::<BLOCK_SAMPLES>().0);
    let before = processor_time();
    for (heard, played) in heard.iter().zip(played) {
        microphone.played(played);
        microphone.push(heard);
        while let Some(block) = microphone.next_block() {
            speech.push(block).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let spent = processor_time() - before;
    100.0 * spent.as_secs_f64() / (heard.len() as f64 * 0.01)
}

/// By how much processing delays sound, in milliseconds: where what comes out is most like what
/// went in.
#[must_use]
pub fn delay_ms(processing: Processing) -> f64 {
    let said = &speech::load("reader")[..3 * 48_000];
    let mut microphone =
        Microphone::new(MicrophoneConfig { processing, activation: Activation::Always })
            .unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::with_capacity(said.len());
    for block in said.as_chunks::<BLOCK_SAMPLES>().0 {
        microphone.played(&[0.0; BLOCK_SAMPLES]);
        microphone.push(block);
        out.extend_from_slice(microphone.next_block().unwrap_or(&[0.0; BLOCK_SAMPLES]));
    }
    let likeness = |lag: usize| -> f64 {
        said.iter().zip(&out[lag..]).map(|(said, out)| f64::from(*said) * f64::from(*out)).sum()
    };
    let best =
        (0..LONGEST_DELAY_SAMPLES).max_by(|one, other| likeness(*one).total_cmp(&likeness(*other)));
    best.unwrap_or_default() as f64 / 48.0
}

/// The whole chain, and what its parts cost.
#[must_use]
pub fn figures(_options: &Options) -> Vec<Row> {
    let room = Room { rt60_ms: 200.0, loss_db: 6.0, seed: 1 };
    let samples = SOUND_MS * 48;
    let scene = Scene::far_end(0, room, samples, &[(0, DELAYS_MS[0].1 * 48)]).with_near(
        2,
        0.0,
        samples / 4,
    );
    let (off, all) = (Processing::OFF, Processing::default());
    let suppressed = Processing { noise_suppression: NoiseSuppression::High, ..off };
    let cpu = |what: &str, processing, profile: Profile| {
        let condition = format!("{what}, detector, Opus at complexity {}", profile.complexity());
        Row::new(
            "processor time of speaking",
            &condition,
            percent_of_a_core(&scene, processing, profile),
            "% of a core",
        )
    };
    let delay =
        |what: &str, processing| Row::new("delay of processing", what, delay_ms(processing), "ms");
    let echo = Processing { echo_cancellation: true, ..off };
    vec![
        cpu("echo, noise, gain, high-pass", all, Profile::Balanced)
            .at_most(5.0)
            .with("while", "both sides speak"),
        cpu("nothing", off, Profile::Balanced),
        cpu("echo", echo, Profile::Balanced),
        cpu("noise", suppressed, Profile::Balanced),
        cpu("gain", Processing { automatic_gain: true, ..off }, Profile::Balanced),
        cpu("echo, noise, gain, high-pass", all, Profile::Low),
        cpu("echo, noise, gain, high-pass", all, Profile::High),
        delay("echo, noise, gain, high-pass", all),
        delay("noise", suppressed),
        delay("echo", echo),
        delay("nothing", off),
    ]
}

/// Processor time of this process so far, in user and kernel mode: fields 14 and 15 of its `stat`,
/// in hundredths of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .unwrap_or_else(|error| panic!("/proc/self/stat: {error}"));
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_microphone_tells_the_delay_that_its_processing_has() {
        let off = Processing::OFF;
        for processing in [
            off,
            Processing { high_pass: true, ..off },
            Processing { noise_suppression: NoiseSuppression::Low, ..off },
            Processing { echo_cancellation: true, ..off },
            Processing { automatic_gain: true, ..off },
            Processing::default(),
        ] {
            let config = MicrophoneConfig { processing, activation: Activation::Always };
            let told_ms =
                Microphone::new(config).expect("valid settings").delay().as_secs_f64() * 1_000.0;
            let found_ms = delay_ms(processing);
            assert!(
                (told_ms - found_ms).abs() < 0.5,
                "{processing:?}: {found_ms} ms, not {told_ms} ms"
            );
        }
    }
}
