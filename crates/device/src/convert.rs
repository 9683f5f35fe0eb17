//! From one sample rate to another: whole clips, and streams in chunks of about 10 ms.

use std::collections::VecDeque;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable as _, Async, Fft, FixedAsync, FixedSync, Resampler as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use crate::{DeviceError, SAMPLE_RATE};

/// A stream's converter. Adds the delay of about one chunk.
pub(crate) struct Converter {
    fft: Fft<f32>,
    converted: Vec<f32>,
}

impl Converter {
    /// From one rate to another; `None` if they are the same. Errors are the converter's words.
    pub(crate) fn new(from_hz: u32, to_hz: u32) -> Result<Option<Self>, String> {
        if from_hz == to_hz {
            return Ok(None);
        }
        let fft = fft(from_hz, to_hz)?;
        let converted = vec![0.0; fft.output_frames_max()];
        Ok(Some(Self { fft, converted }))
    }

    /// How many samples [`Self::convert`] takes.
    pub(crate) fn chunk_in(&self) -> usize {
        self.fft.input_frames_next()
    }

    /// How many samples [`Self::convert`] gives.
    pub(crate) fn chunk_out(&self) -> usize {
        self.converted.len()
    }

    /// Converts exactly one chunk.
    pub(crate) fn convert(&mut self, chunk: &[f32]) -> &[f32] {
        let frames = self.converted.len();
        let done = InterleavedSlice::new(chunk, 1, chunk.len()).map_err(|error| error.to_string()).and_then(|input| {
            let mut output =
                InterleavedSlice::new_mut(&mut self.converted, 1, frames).map_err(|error| error.to_string())?;
            self.fft.process_into_buffer(&input, &mut output, None).map_err(|error| error.to_string())
        });
        debug_assert!(done.is_ok(), "one chunk in gives one chunk out: {done:?}");
        &self.converted
    }

    /// By how many samples of the result what is given is late.
    pub(crate) fn delay(&self) -> usize {
        self.fft.output_delay()
    }
}

/// Converts 48 kHz to another rate, for programs that hand samples on to another sound system.
pub struct Resampler {
    /// `None` if the rate is ours.
    converter: Option<Converter>,
    /// Too few for a chunk yet.
    gathered: Vec<f32>,
}

impl Resampler {
    /// To a rate of 8 to 192 kHz.
    ///
    /// # Errors
    /// Another rate.
    pub fn new(rate_hz: u32) -> Result<Self, DeviceError> {
        checked(rate_hz)?;
        let converter = Converter::new(SAMPLE_RATE, rate_hz).map_err(|_| bad_rate(rate_hz))?;
        let gathered = Vec::with_capacity(converter.as_ref().map_or(0, Converter::chunk_in));
        Ok(Self { converter, gathered })
    }

    /// Converts what is complete, and calls `give` with each piece of it. Late by about 10 ms, if it converts at all;
    /// allocates nothing.
    pub fn push(&mut self, mut samples: &[f32], mut give: impl FnMut(&[f32])) {
        let Some(converter) = &mut self.converter else { return give(samples) };
        while !samples.is_empty() {
            let (piece, rest) = samples.split_at(samples.len().min(converter.chunk_in() - self.gathered.len()));
            self.gathered.extend_from_slice(piece);
            samples = rest;
            if self.gathered.len() == converter.chunk_in() {
                give(converter.convert(&self.gathered));
                self.gathered.clear();
            }
        }
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler").field("gathered", &self.gathered.len()).finish_non_exhaustive()
    }
}

/// Checks that a rate chosen by the caller can be converted.
pub(crate) fn checked(rate_hz: u32) -> Result<(), DeviceError> {
    if (8_000..=192_000).contains(&rate_hz) { Ok(()) } else { Err(bad_rate(rate_hz)) }
}

pub(crate) fn bad_rate(rate_hz: u32) -> DeviceError {
    DeviceError::BadSpec { text: format!("{rate_hz} Hz"), why: "a rate is 8000 to 192000 samples a second" }
}

/// What [`Corrector::correct`] takes: 1 ms.
pub(crate) const CORRECTED_AT_A_TIME: usize = SAMPLE_RATE as usize / 1_000;
/// What a [`Corrector`] wants to know of the sound before it: several times its filter.
pub(crate) const HISTORY: usize = 4 * CORRECTED_AT_A_TIME;
/// Twice the corrector's delay in samples: 32 samples are 0.7 ms.
const SINC_LENGTH: usize = 64;
/// Filters between two samples; a line between two of them is 98 dB near, and half as dear as a polynomial through four.
const SINC_OVERSAMPLING: usize = 256;
/// How long a stream takes to go over to its correction: 10 ms.
const FADE: usize = SAMPLE_RATE as usize / 100;
/// The furthest a corrector goes, in parts per million.
const MOST_CORRECTION_PPM: f64 = 1_000.0;

/// Makes a stream of 48 kHz a little longer or shorter, by a factor that may change while it runs.
pub(crate) struct Corrector {
    resampler: Async<f32>,
    corrected: Vec<f32>,
    /// What the resampler still gives of the time before.
    repeated: usize,
    fade: Option<Fade>,
}

/// From the stream as it came to the corrected one: what a filter takes away of the highest tones does not go at once.
struct Fade {
    uncorrected: VecDeque<f32>,
    faded: usize,
}

impl Corrector {
    /// Goes on where a stream has ended so far: the first sample it gives is the one after `history`. Errors are the
    /// converter's words.
    pub(crate) fn after(history: &[f32; HISTORY]) -> Result<Self, String> {
        let parameters = SincInterpolationParameters::new(SINC_LENGTH, WindowFunction::BlackmanHarris)
            .oversampling_factor(SINC_OVERSAMPLING)
            .interpolation(SincInterpolationType::Linear);
        let most = 1.0 + MOST_CORRECTION_PPM * 1e-6;
        let resampler = Async::new_sinc(1.0, most, &parameters, CORRECTED_AT_A_TIME, 1, FixedAsync::Input)
            .map_err(|error| error.to_string())?;
        let corrected = vec![0.0; resampler.output_frames_max()];
        let fade = Fade { uncorrected: VecDeque::with_capacity(FADE + 2 * CORRECTED_AT_A_TIME), faded: 0 };
        let mut corrector = Self { resampler, corrected, repeated: 0, fade: Some(fade) };
        let given: usize = history.chunks_exact(CORRECTED_AT_A_TIME).map(|chunk| corrector.process(chunk)).sum();
        corrector.repeated = HISTORY + corrector.delay() - given;
        Ok(corrector)
    }

    /// From the next chunk on, so much slower if positive.
    pub(crate) fn set_ppm(&mut self, ppm: f64) {
        let ppm = if ppm.is_finite() { ppm.clamp(-MOST_CORRECTION_PPM, MOST_CORRECTION_PPM) } else { 0.0 };
        let most = 1.0 + MOST_CORRECTION_PPM * 1e-6;
        let ratio = (1.0 / (1.0 + ppm * 1e-6)).clamp(1.0 / most, most);
        let done = self.resampler.set_resample_ratio_relative(ratio, true);
        debug_assert!(done.is_ok(), "the ratio is within its limits: {done:?}");
    }

    /// Corrects exactly [`CORRECTED_AT_A_TIME`] samples.
    pub(crate) fn correct(&mut self, chunk: &[f32], into: &mut VecDeque<f32>) {
        let given = self.process(chunk);
        let skipped = self.repeated.min(given);
        self.repeated -= skipped;
        let given = &mut self.corrected[skipped..given];
        if let Some(fade) = &mut self.fade {
            fade.uncorrected.extend(chunk);
            let length = given.len().min(fade.uncorrected.len());
            for (sample, uncorrected) in given.iter_mut().zip(fade.uncorrected.drain(..length)) {
                fade.faded += 1;
                let share = (fade.faded as f32 / FADE as f32).min(1.0);
                *sample = uncorrected + share * (*sample - uncorrected);
            }
            self.fade = self.fade.take().filter(|fade| fade.faded < FADE);
        }
        into.extend(given.iter());
    }

    /// By how many samples what is given is late.
    pub(crate) fn delay(&self) -> usize {
        // The resampler steps before it looks, so its first sample is one further than half its filter says.
        self.resampler.output_delay() - 1
    }

    fn process(&mut self, chunk: &[f32]) -> usize {
        let frames = self.corrected.len();
        let done = InterleavedSlice::new(chunk, 1, chunk.len()).map_err(|error| error.to_string()).and_then(|input| {
            let mut output =
                InterleavedSlice::new_mut(&mut self.corrected, 1, frames).map_err(|error| error.to_string())?;
            self.resampler.process_into_buffer(&input, &mut output, None).map_err(|error| error.to_string())
        });
        debug_assert!(done.is_ok(), "one chunk is what it takes: {done:?}");
        done.map_or(0, |(_, given)| given)
    }
}

/// Converts a whole clip; what begins at its first sample begins at the first sample of the result.
pub(crate) fn clip(samples: Vec<f32>, from_hz: u32, to_hz: u32) -> Result<Vec<f32>, String> {
    if from_hz == to_hz || samples.is_empty() {
        return Ok(samples);
    }
    let mut fft = fft(from_hz, to_hz)?;
    let input = InterleavedSlice::new(&samples, 1, samples.len()).map_err(|error| error.to_string())?;
    let converted = fft.process_all(&input, samples.len(), None).map_err(|error| error.to_string())?;
    Ok(converted.take_data())
}

/// Both chunks of fixed length, as near to 10 ms as the ratio of the rates allows.
fn fft(from_hz: u32, to_hz: u32) -> Result<Fft<f32>, String> {
    let chunk = (from_hz / 100).max(1) as usize;
    Fft::new_custom(from_hz as usize, to_hz as usize, chunk, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(samples: &[f32]) -> f32 {
        samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
    }

    #[test]
    fn a_stream_keeps_its_level_and_its_length_at_every_common_rate() {
        for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 88_200, 96_000, 192_000] {
            for (from, to) in [(rate, 48_000), (48_000, rate)] {
                let mut converter = Converter::new(from, to).unwrap().expect("the rates differ");
                let (chunk_in, chunk_out) = (converter.chunk_in(), converter.chunk_out());
                assert_eq!(chunk_in as u64 * u64::from(to), chunk_out as u64 * u64::from(from), "{from} to {to}");
                assert!(chunk_in as u32 <= from / 25, "{from} to {to}: chunks of {chunk_in} are too long");
                let mut out = Vec::new();
                let tone: Vec<f32> = (0..from)
                    .map(|at| (std::f32::consts::TAU * (at * 500 % from) as f32 / from as f32).sin())
                    .collect();
                for chunk in tone.chunks_exact(chunk_in) {
                    out.extend_from_slice(converter.convert(chunk));
                }
                let found = power(&out[out.len() / 4..out.len() * 3 / 4]);
                assert!((found - 0.5).abs() < 0.01, "{from} to {to}: power {found}");
            }
        }
    }

    #[test]
    fn a_clip_of_an_odd_rate_keeps_its_length() {
        let converted = clip(vec![0.5; 12_345], 44_101, 48_000).unwrap();
        assert_eq!(converted.len(), (12_345.0_f64 * 48_000.0 / 44_101.0).ceil() as usize);
    }

    #[test]
    fn the_same_rate_is_not_converted() {
        assert!(Converter::new(48_000, 48_000).unwrap().is_none());
        assert_eq!(clip(vec![0.1, 0.2], 48_000, 48_000).unwrap(), [0.1, 0.2]);
    }
}
