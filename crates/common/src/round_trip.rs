//! A round trip that follows its samples (RFC 6298, section 2).

use std::time::Duration;

/// A smoothed round trip and its variation.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    /// A sample counts for one part in this many.
    parts: u32,
}

impl Default for RoundTrip {
    /// A sample counts for an eighth, as in RFC 6298.
    fn default() -> Self {
        Self::with_parts(8)
    }
}

impl RoundTrip {
    /// A sample counts for one part in `parts`: fewer where samples are rare.
    ///
    /// # Panics
    /// If `parts` is 0.
    pub const fn with_parts(parts: u32) -> Self {
        assert!(parts > 0, "a sample counts for nothing");
        Self { smoothed: None, variation: Duration::ZERO, parts }
    }

    /// Takes in a sample. The first one is taken as it is, with half of it as the variation.
    pub fn measured(&mut self, sample: Duration) {
        match self.smoothed {
            None => (self.smoothed, self.variation) = (Some(sample), sample / 2),
            Some(smoothed) => {
                self.variation = (3 * self.variation + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some(((self.parts - 1) * smoothed + sample) / self.parts);
            }
        }
    }

    /// Takes this in place of all samples so far.
    pub fn replace(&mut self, round_trip: Duration) {
        *self = Self::with_parts(self.parts);
        self.measured(round_trip);
    }

    /// The smoothed round trip; `None` before the first sample.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The mean difference of a sample from the smoothed round trip; zero before the first sample.
    pub fn variation(&self) -> Duration {
        self.variation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// RFC 6298, section 2: SRTT = 7/8 SRTT + 1/8 R, RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|.
    #[test]
    fn it_follows_its_samples_as_in_the_rfc() {
        let mut round_trip = RoundTrip::default();
        assert_eq!((round_trip.smoothed(), round_trip.variation()), (None, ms(0)));
        round_trip.measured(ms(80));
        assert_eq!((round_trip.smoothed(), round_trip.variation()), (Some(ms(80)), ms(40)));
        round_trip.measured(ms(160));
        assert_eq!((round_trip.smoothed(), round_trip.variation()), (Some(ms(90)), ms(50)));
    }

    #[test]
    fn fewer_parts_follow_faster_and_a_replacement_forgets_the_samples() {
        let mut round_trip = RoundTrip::with_parts(2);
        round_trip.measured(ms(80));
        round_trip.measured(ms(160));
        assert_eq!(round_trip.smoothed(), Some(ms(120)));
        round_trip.replace(ms(20));
        assert_eq!((round_trip.smoothed(), round_trip.variation()), (Some(ms(20)), ms(10)));
        round_trip.measured(ms(40));
        assert_eq!(round_trip.smoothed(), Some(ms(30)));
    }
}
