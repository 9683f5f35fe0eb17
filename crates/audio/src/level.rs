//! Loudness as people read it: decibels below full scale.

/// What digital silence is reported as.
pub const SILENCE_DBFS: f32 = -120.0;

/// The root mean square of `samples` in dBFS, where a full-scale sine wave is −3; never below
/// [`SILENCE_DBFS`].
pub fn rms_dbfs(samples: &[f32]) -> f32 {
    let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
    // Half of 20·log10: the square root is left to the logarithm.
    decibels(energy / samples.len().max(1) as f32) / 2.0
}

/// The largest magnitude among `samples`, 1.0 being full scale.
pub fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

fn decibels(amplitude: f32) -> f32 {
    if amplitude > 0.0 {
        (20.0 * amplitude.log10()).max(2.0 * SILENCE_DBFS)
    } else {
        2.0 * SILENCE_DBFS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_known_signals_are_right() {
        assert_eq!(rms_dbfs(&[0.0; 480]), SILENCE_DBFS);
        assert_eq!(rms_dbfs(&[]), SILENCE_DBFS);
        assert!((rms_dbfs(&[0.1; 480]) + 20.0).abs() < 0.01);
        assert!(rms_dbfs(&[1.0, -1.0]).abs() < 0.01);
        assert_eq!(peak(&[0.25, -0.5]), 0.5);
    }
}
