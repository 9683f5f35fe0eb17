//! How what was heard compares with what was said, over many conversations.

use crate::hear;
use crate::pesq::Pairs;

/// Scores of many conversations of one kind.
#[derive(Debug, Default)]
pub struct Scores {
    stoi: Vec<f64>,
    spectral_distance_db: Vec<f64>,
    pesq: Vec<usize>,
}

impl Scores {
    /// Adds a conversation: what was said, and what was heard `delay_ms` later.
    ///
    /// # Panics
    /// If the pairs cannot be written.
    pub fn add(
        &mut self,
        pairs: &mut Pairs,
        spoken: &[f32],
        heard: &[f32],
        from: usize,
        delay_ms: f64,
    ) {
        let shift = (delay_ms * 48.0) as usize;
        let spoken = &spoken[from.min(spoken.len())..];
        let heard = &heard[(from + shift).min(heard.len())..];
        let spoken = &spoken[..spoken.len().min(heard.len())];
        let heard = &heard[..spoken.len()];
        let compared = hear::compare(spoken, heard);
        self.stoi.push(compared.stoi);
        self.spectral_distance_db.push(compared.spectral_distance_db);
        self.pesq.push(pairs.add(spoken, heard).unwrap_or_else(|error| panic!("{error}")));
    }

    /// The mean intelligibility.
    #[must_use]
    pub fn stoi(&self) -> f64 {
        mean(self.stoi.iter().copied())
    }

    /// The mean distance of the spectra.
    #[must_use]
    pub fn spectral_distance_db(&self) -> f64 {
        mean(self.spectral_distance_db.iter().copied())
    }

    /// The mean of those pairs' PESQ.
    #[must_use]
    pub fn pesq(&self, all: &std::collections::BTreeMap<usize, f64>) -> f64 {
        mean(
            self.pesq
                .iter()
                .filter_map(|number| all.get(number))
                .copied()
                .filter(|score| score.is_finite()),
        )
    }
}

/// The mean; not a number of none.
#[must_use]
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}
