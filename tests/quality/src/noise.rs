//! How much quieter the pauses become in noise, and what the speech loses by it.

use voicemesh_audio::{
    BLOCK_SAMPLES,
    process::{Activation, Microphone, MicrophoneConfig, NoiseSuppression, Processing},
};

use crate::{
    hear,
    noise_sources::{FRAME_SAMPLES, Noise, mean_square, speech_frames, with_noise},
    report::{Options, Row},
    speech,
};

/// The suppressor learns the noise for so long before anything is measured (2 s).
const LEARNING_FRAMES: usize = 200;

/// Pauses are measured from so long after speech (300 ms) …
const AFTER_SPEECH_FRAMES: usize = 30;

/// … to so long before it, so that what the processing delays does not matter.
const BEFORE_SPEECH_FRAMES: usize = 10;

/// What suppression did to noisy speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suppression {
    /// How much quieter the pauses are.
    pub pauses_db: f64,
    /// Intelligibility of the speech with its noise (STOI), before and after.
    pub stoi: (f64, f64),
}

/// A voice and pauses of 2 s, three times, after 2 s of nothing.
#[must_use]
pub fn with_pauses(voice: &str, pause_ms: usize) -> Vec<f32> {
    let voice = speech::load(voice);
    let pause = vec![0.0; pause_ms * 48];
    let mut all = vec![0.0; LEARNING_FRAMES * FRAME_SAMPLES];
    for _ in 0..3 {
        all.extend(&voice);
        all.extend(&pause);
    }
    all
}

/// Suppresses one noise under one voice.
#[must_use]
pub fn suppress(
    voice: &str,
    noise: Noise,
    snr_db: f64,
    level: NoiseSuppression,
    seed: u64,
) -> Suppression {
    let clean = with_pauses(voice, 2_000);
    let noisy = with_noise(&clean, noise, snr_db, seed);
    let processing = Processing { noise_suppression: level, ..Processing::OFF };
    let mut microphone =
        Microphone::new(MicrophoneConfig { processing, activation: Activation::Always })
            .unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::with_capacity(noisy.len());
    for block in noisy.as_chunks::<BLOCK_SAMPLES>().0 {
        microphone.push(block);
        out.extend_from_slice(microphone.next_block().unwrap_or(&[0.0; BLOCK_SAMPLES]));
    }
    let pauses = pause_frames(&clean);
    let level_db = |samples: &[f32]| {
        let energy: f64 = pauses
            .iter()
            .filter_map(|frame| samples.get(frame * FRAME_SAMPLES..(frame + 1) * FRAME_SAMPLES))
            .map(mean_square)
            .sum();
        10.0 * energy.max(1e-12).log10()
    };
    let learnt = LEARNING_FRAMES * FRAME_SAMPLES;
    let stoi = |heard: &[f32]| hear::compare(&clean[learnt..], &heard[learnt..]).stoi;
    Suppression { pauses_db: level_db(&noisy) - level_db(&out), stoi: (stoi(&noisy), stoi(&out)) }
}

/// Frames of silence, with a distance to speech.
fn pause_frames(clean: &[f32]) -> Vec<usize> {
    let speech = speech_frames(clean);
    let near = |frame: usize| {
        let from = frame.saturating_sub(AFTER_SPEECH_FRAMES);
        speech[from..(frame + BEFORE_SPEECH_FRAMES).min(speech.len())].contains(&true)
    };
    (LEARNING_FRAMES..speech.len()).filter(|frame| !near(*frame)).collect()
}

/// Pauses in each noise at 5 dB, and how the levels of suppression compare.
#[must_use]
pub fn figures(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for noise in Noise::ALL {
        for level in [NoiseSuppression::High, NoiseSuppression::Moderate, NoiseSuppression::Low] {
            rows.push(row(noise, level, options.seeds()));
        }
    }
    rows
}

fn row(noise: Noise, level: NoiseSuppression, seeds: u64) -> Row {
    let runs: Vec<Suppression> = speech::VOICES
        .iter()
        .flat_map(|voice| (0..seeds).map(move |seed| suppress(voice, noise, 5.0, level, seed)))
        .collect();
    let mean = |of: fn(&Suppression) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let least = runs.iter().map(|run| run.pauses_db).fold(f64::INFINITY, f64::min);
    let suppression = format!("{level:?}").to_lowercase();
    let condition = format!("{noise} noise 5 dB under five voices, suppression {suppression}");
    let row = Row::new("pauses quieter", &condition, mean(|run| run.pauses_db), "dB")
        .with("least", format!("{least:.1} dB"))
        .with("STOI", format!("{:.3} → {:.3}", mean(|run| run.stoi.0), mean(|run| run.stoi.1)));
    let row = match noise {
        Noise::Babble => {
            row.with("why not more", "the suppressor takes what is steady, and voices are not")
        }
        Noise::White | Noise::Pink | Noise::Brown => row,
    };
    let met = row.value >= 15.0;
    if level == NoiseSuppression::High { row.wanted("≥ 15".to_owned(), met) } else { row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_become_quieter_the_more_is_suppressed_and_words_stay_intelligible() {
        let levels = [NoiseSuppression::Low, NoiseSuppression::Moderate, NoiseSuppression::High];
        let runs = levels.map(|level| suppress("announcer", Noise::Pink, 5.0, level, 4));
        assert!(runs[0].pauses_db > 4.0 && runs[2].pauses_db > 14.0, "{runs:?}");
        assert!(
            runs[0].pauses_db < runs[1].pauses_db && runs[1].pauses_db < runs[2].pauses_db,
            "{runs:?}"
        );
        assert!(runs.iter().all(|run| run.stoi.1 > run.stoi.0 - 0.05), "{runs:?}");
    }

    #[test]
    fn without_suppression_the_noise_stays() {
        let run = suppress("cards", Noise::White, 5.0, NoiseSuppression::Off, 4);
        assert!(run.pauses_db.abs() < 0.01, "{run:?}");
    }
}
