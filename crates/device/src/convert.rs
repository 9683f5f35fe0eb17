//! From one sample rate to another: whole clips, and streams in chunks of about 10 ms.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

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
    Fft::new_custom(
        from_hz as usize,
        to_hz as usize,
        chunk,
        1,
        1,
        rubato::WindowFunction::BlackmanHarris2,
        FixedSync::Both,
    )
    .map_err(|error| error.to_string())
}
