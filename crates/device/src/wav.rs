//! WAV files as microphone and as speaker.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::{DeviceError, SAMPLE_RATE, convert};

/// The longest file that is played; it is held in memory, 11.5 MB a minute. A longer one is refused.
const MOST_SECONDS: u32 = 30 * 60;
/// A file's header is made true, and its data handed to the system, this often: 500 ms.
const STEPS_BETWEEN_FLUSHES: u32 = 50;
/// What a WAV header can count, less the header; about 12 hours. Then the file is finished and the rest is lost.
const MOST_WRITTEN: u32 = (u32::MAX - 1_024) / 2;

/// Reads a whole file as 48 kHz mono.
pub(crate) fn load(path: &Path) -> Result<Vec<f32>, DeviceError> {
    read_mono(path).map_err(|why| DeviceError::BadWav { path: path.into(), why })
}

fn read_mono(path: &Path) -> Result<Vec<f32>, String> {
    let reader = WavReader::open(path).map_err(|error| match error {
        hound::Error::IoError(error) => error.to_string(),
        hound::Error::Unsupported => "its format is not supported; save it as 16-bit PCM".into(),
        other => format!("it is no WAV file or damaged ({other})"),
    })?;
    let spec = reader.spec();
    if spec.channels == 0 || spec.sample_rate == 0 {
        return Err("it is damaged: no channels or no sample rate".into());
    }
    if reader.duration() / spec.sample_rate >= MOST_SECONDS {
        return Err(format!("it is longer than {} minutes; cut it", MOST_SECONDS / 60));
    }
    let samples: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().collect(),
        SampleFormat::Int => {
            let full_scale = 2.0_f32.powi(i32::from(spec.bits_per_sample) - 1);
            reader.into_samples::<i32>().map(|sample| Ok(sample? as f32 / full_scale)).collect()
        }
    };
    let samples = samples.map_err(|error| format!("it is damaged ({error})"))?;
    let samples = samples.into_iter().map(|sample| if sample.is_finite() { sample } else { 0.0 }).collect();
    convert::clip(mix_down(samples, usize::from(spec.channels)), spec.sample_rate, SAMPLE_RATE)
}

/// The mean of the channels.
fn mix_down(samples: Vec<f32>, channels: usize) -> Vec<f32> {
    if channels == 1 {
        return samples;
    }
    samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect()
}

/// A speaker that writes what it plays.
pub(crate) struct WavSpeaker {
    writer: WavWriter<BufWriter<File>>,
    steps_unflushed: u32,
}

impl WavSpeaker {
    /// Creates or replaces the file; it is a valid, empty WAV file from then on.
    pub(crate) fn create(path: &Path, channels: usize) -> Result<Self, DeviceError> {
        let (channels, sample_format) = (channels as u16, SampleFormat::Int);
        let spec = WavSpec { channels, sample_rate: SAMPLE_RATE, bits_per_sample: 16, sample_format };
        let created = WavWriter::create(path, spec).and_then(|mut writer| writer.flush().map(|()| writer));
        let writer = created.map_err(|error| DeviceError::CannotWriteWav { path: path.into(), why: plain(&error) })?;
        Ok(Self { writer, steps_unflushed: 0 })
    }

    /// Writes 10 ms of all channels. After an error the speaker is to be dropped.
    pub(crate) fn play(&mut self, step: &[f32]) -> Result<(), String> {
        if self.writer.len() > MOST_WRITTEN - step.len() as u32 {
            return Err("a WAV file cannot be longer".into());
        }
        for sample in step {
            self.writer.write_sample(to_i16(*sample)).map_err(|error| plain(&error))?;
        }
        self.steps_unflushed += 1;
        if self.steps_unflushed >= STEPS_BETWEEN_FLUSHES {
            self.steps_unflushed = 0;
            self.writer.flush().map_err(|error| plain(&error))?;
        }
        Ok(())
    }

    /// Ends the file. (Dropping does too, without a word about failure.)
    pub(crate) fn finish(self) -> Result<(), String> {
        self.writer.finalize().map_err(|error| plain(&error))
    }
}

/// The scale by which a 16-bit file is read here, so that what was read is written exactly.
fn to_i16(sample: f32) -> i16 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

fn plain(error: &hound::Error) -> String {
    match error {
        hound::Error::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}
