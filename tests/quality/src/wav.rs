//! WAV files of 48 kHz mono as slices of samples in −1..1.

use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// The one rate of everything in the tests.
pub const SAMPLE_RATE: u32 = 48_000;

/// Reads a 48 kHz file; of several channels the first.
///
/// # Errors
/// A sentence with the path, if the file cannot be read, is damaged or has another rate.
pub fn read(path: &Path) -> Result<Vec<f32>, String> {
    read_channel(path, 0)
}

/// Reads one channel of a 48 kHz file, counted from 0.
///
/// # Errors
/// As [`read`], or if it has no such channel.
pub fn read_channel(path: &Path, channel: usize) -> Result<Vec<f32>, String> {
    let complain = |error: hound::Error| format!("{}: {error}", path.display());
    let mut reader = WavReader::open(path).map_err(complain)?;
    let spec = reader.spec();
    if spec.sample_rate != SAMPLE_RATE {
        return Err(format!(
            "{}: {} Hz where {SAMPLE_RATE} Hz is needed",
            path.display(),
            spec.sample_rate
        ));
    }
    let channels = usize::from(spec.channels);
    if channel >= channels {
        return Err(format!(
            "{}: {channels} channels where {} are needed",
            path.display(),
            channel + 1
        ));
    }
    let all: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().skip(channel).step_by(channels).collect(),
        SampleFormat::Int => {
            let full_scale = (1_i64 << (spec.bits_per_sample - 1)) as f32;
            reader
                .samples::<i32>()
                .skip(channel)
                .step_by(channels)
                .map(|sample| sample.map(|value| value as f32 / full_scale))
                .collect()
        }
    };
    all.map_err(complain)
}

/// Writes 48 kHz mono, 16 bit; what is outside −1..1 is clipped.
///
/// # Errors
/// A sentence with the path, if the file cannot be written.
pub fn write(path: &Path, samples: &[f32]) -> Result<(), String> {
    let complain = |error: hound::Error| format!("{}: {error}", path.display());
    let spec = WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(path, spec).map_err(complain)?;
    for sample in samples {
        writer
            .write_sample((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16)
            .map_err(complain)?;
    }
    writer.finalize().map_err(complain)
}
