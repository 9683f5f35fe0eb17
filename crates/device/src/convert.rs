//! Sound at another rate than ours, for callers that choose one.

use voicemesh_resample::Converter;

use crate::{DeviceError, SAMPLE_RATE};

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

    /// Converts what is complete, and calls `give` with each piece of it. Late by about 10 ms, if
    /// it converts at all; allocates nothing.
    pub fn push(&mut self, mut samples: &[f32], mut give: impl FnMut(&[f32])) {
        let Some(converter) = &mut self.converter else { return give(samples) };
        while !samples.is_empty() {
            let (piece, rest) =
                samples.split_at(samples.len().min(converter.chunk_in() - self.gathered.len()));
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
    DeviceError::BadSpec {
        text: format!("{rate_hz} Hz"),
        why: "a rate is 8000 to 192000 samples a second",
    }
}
