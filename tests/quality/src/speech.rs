//! The voices of `tests/speech`; its README tells origin and licence of each.

use std::path::PathBuf;

/// Names of all voices, without `.wav`.
pub const VOICES: [&str; 5] = ["reader", "cards", "numbers", "announcer", "synthetic"];

/// The file of a voice.
#[must_use]
pub fn path(voice: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../speech").join(format!("{voice}.wav"))
}

/// The samples of a voice, 48 kHz mono.
///
/// # Panics
/// If there is no such voice.
#[must_use]
pub fn load(voice: &str) -> Vec<f32> {
    crate::wav::read(&path(voice)).unwrap_or_else(|error| panic!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_voice_is_long_enough_and_of_sensible_level() {
        for voice in VOICES {
            let samples = load(voice);
            let seconds = samples.len() as f32 / 48_000.0;
            assert!((5.0..=10.0).contains(&seconds), "{voice}: {seconds} s");
            let rms = (samples.iter().map(|sample| sample * sample).sum::<f32>()
                / samples.len() as f32)
                .sqrt();
            let level_dbfs = 20.0 * rms.log10();
            assert!((-24.0..=-18.0).contains(&level_dbfs), "{voice}: {level_dbfs} dBFS");
        }
    }
}
