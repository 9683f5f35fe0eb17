//! From one sample rate to another: whole clips, streams in chunks of about 10 ms, and streams that
//! are corrected by some parts per million.
//!
//! A crate by itself so that the transforms under it, which are generic, are compiled once and not
//! in each of their users.

use std::collections::VecDeque;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable as _, Async, Fft, FixedAsync, FixedSync, Resampler as _,
    SincInterpolationParameters, SincInterpolationType, WindowFunction,
};

/// Samples a second inside voicemesh.
pub const SAMPLE_RATE: u32 = 48_000;

/// A stream's converter. Adds the delay of about one chunk.
pub struct Converter {
    fft: Fft<f32>,
    converted: Vec<f32>,
}

impl Converter {
    /// From one rate to another, in samples a second; `None` if they are the same.
    ///
    /// # Errors
    /// Rates that cannot be converted, in the converter's words.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Option<Self>, String> {
        if from_hz == to_hz {
            return Ok(None);
        }
        let fft = fft(from_hz, to_hz)?;
        let converted = vec![0.0; fft.output_frames_max()];
        Ok(Some(Self { fft, converted }))
    }

    /// How many samples [`Self::convert`] takes.
    pub fn chunk_in(&self) -> usize {
        self.fft.input_frames_next()
    }

    /// How many samples [`Self::convert`] gives.
    pub fn chunk_out(&self) -> usize {
        self.converted.len()
    }

    /// Converts exactly one chunk.
    pub fn convert(&mut self, chunk: &[f32]) -> &[f32] {
        let frames = self.converted.len();
        let done = InterleavedSlice::new(chunk, 1, chunk.len())
            .map_err(|error| error.to_string())
            .and_then(|input| {
                let mut output = InterleavedSlice::new_mut(&mut self.converted, 1, frames)
                    .map_err(|error| error.to_string())?;
                self.fft
                    .process_into_buffer(&input, &mut output, None)
                    .map_err(|error| error.to_string())
            });
        debug_assert!(done.is_ok(), "one chunk in gives one chunk out: {done:?}");
        &self.converted
    }

    /// By how many samples of the result what is given is late.
    pub fn delay(&self) -> usize {
        self.fft.output_delay()
    }
}

/// What [`Corrector::correct`] takes: 1 ms.
pub const CORRECTED_AT_A_TIME: usize = SAMPLE_RATE as usize / 1_000;
/// What a [`Corrector`] wants to know of the sound before it: several times its filter.
pub const HISTORY: usize = 4 * CORRECTED_AT_A_TIME;
/// Twice the corrector's delay in samples: 32 samples are 0.7 ms.
const SINC_LENGTH: usize = 64;
/// Filters between two samples; a line between two of them is 98 dB near, and half as dear as a
/// polynomial through four.
const SINC_OVERSAMPLING: usize = 256;
/// How long a stream takes to go over to its correction: 10 ms.
const FADE: usize = SAMPLE_RATE as usize / 100;
/// The furthest a corrector goes, in parts per million.
const MOST_CORRECTION_PPM: f64 = 1_000.0;

/// Makes a stream of [`SAMPLE_RATE`] a little longer or shorter, by a factor that may change while
/// it runs.
pub struct Corrector {
    resampler: Async<f32>,
    corrected: Vec<f32>,
    /// What the resampler still gives of the time before.
    repeated: usize,
    fade: Option<Fade>,
}

/// From the stream as it came to the corrected one: what a filter takes away of the highest tones
/// does not go at once.
struct Fade {
    uncorrected: VecDeque<f32>,
    faded: usize,
}

impl Corrector {
    /// Goes on where a stream has ended so far: the first sample it gives is the one after
    /// `history`.
    ///
    /// # Errors
    /// What the converter cannot do, in its words.
    pub fn after(history: &[f32; HISTORY]) -> Result<Self, String> {
        let parameters =
            SincInterpolationParameters::new(SINC_LENGTH, WindowFunction::BlackmanHarris)
                .oversampling_factor(SINC_OVERSAMPLING)
                .interpolation(SincInterpolationType::Linear);
        let most = 1.0 + MOST_CORRECTION_PPM * 1e-6;
        let resampler =
            Async::new_sinc(1.0, most, &parameters, CORRECTED_AT_A_TIME, 1, FixedAsync::Input)
                .map_err(|error| error.to_string())?;
        let corrected = vec![0.0; resampler.output_frames_max()];
        let fade =
            Fade { uncorrected: VecDeque::with_capacity(FADE + 2 * CORRECTED_AT_A_TIME), faded: 0 };
        let mut corrector = Self { resampler, corrected, repeated: 0, fade: Some(fade) };
        let given: usize =
            history.chunks_exact(CORRECTED_AT_A_TIME).map(|chunk| corrector.process(chunk)).sum();
        corrector.repeated = HISTORY + corrector.delay() - given;
        Ok(corrector)
    }

    /// From the next chunk on, so much slower if positive.
    pub fn set_ppm(&mut self, ppm: f64) {
        let ppm = if ppm.is_finite() {
            ppm.clamp(-MOST_CORRECTION_PPM, MOST_CORRECTION_PPM)
        } else {
            0.0
        };
        let most = 1.0 + MOST_CORRECTION_PPM * 1e-6;
        let ratio = (1.0 / (1.0 + ppm * 1e-6)).clamp(1.0 / most, most);
        let done = self.resampler.set_resample_ratio_relative(ratio, true);
        debug_assert!(done.is_ok(), "the ratio is within its limits: {done:?}");
    }

    /// Corrects exactly [`CORRECTED_AT_A_TIME`] samples.
    pub fn correct(&mut self, chunk: &[f32], into: &mut VecDeque<f32>) {
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
    pub fn delay(&self) -> usize {
        // The resampler steps before it looks, so its first sample is one further than half its
        // filter says.
        self.resampler.output_delay() - 1
    }

    fn process(&mut self, chunk: &[f32]) -> usize {
        let frames = self.corrected.len();
        let done = InterleavedSlice::new(chunk, 1, chunk.len())
            .map_err(|error| error.to_string())
            .and_then(|input| {
                let mut output = InterleavedSlice::new_mut(&mut self.corrected, 1, frames)
                    .map_err(|error| error.to_string())?;
                self.resampler
                    .process_into_buffer(&input, &mut output, None)
                    .map_err(|error| error.to_string())
            });
        debug_assert!(done.is_ok(), "one chunk is what it takes: {done:?}");
        done.map_or(0, |(_, given)| given)
    }
}

/// Converts a whole clip; what begins at its first sample begins at the first sample of the result.
///
/// # Errors
/// Rates that cannot be converted, in the converter's words.
pub fn clip(samples: Vec<f32>, from_hz: u32, to_hz: u32) -> Result<Vec<f32>, String> {
    if from_hz == to_hz || samples.is_empty() {
        return Ok(samples);
    }
    let mut fft = fft(from_hz, to_hz)?;
    let input =
        InterleavedSlice::new(&samples, 1, samples.len()).map_err(|error| error.to_string())?;
    let converted =
        fft.process_all(&input, samples.len(), None).map_err(|error| error.to_string())?;
    Ok(converted.take_data())
}

/// Both chunks of fixed length, as near to 10 ms as the ratio of the rates allows.
fn fft(from_hz: u32, to_hz: u32) -> Result<Fft<f32>, String> {
    let chunk = (from_hz / 100).max(1) as usize;
    Fft::new_custom(
        from_hz as usize,
        to_hz as usize,
        chunk,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Both,
    )
    .map_err(|error| error.to_string())
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converter")
            .field("chunk_out", &self.converted.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Corrector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corrector").field("repeated", &self.repeated).finish_non_exhaustive()
    }
}
