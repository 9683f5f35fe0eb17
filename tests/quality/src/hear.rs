//! Was it heard? Compares what one peer spoke with what another played.
//!
//! ```text
//! spoken ─┐
//!         ├─ align (envelopes, 1 ms) ─ unheard stretches ─ leave out a stated cut ─ envelope, level, STOI, spectrum
//! heard ──┘
//! ```
//!
//! The recording may begin earlier or later than the speech, be longer or shorter, and its delay
//! may change on the way: see `align` for what is followed. Without a stated cut the delay may
//! stray 60 ms from its usual value (a jitter buffer adapts by less, a clock drifts by less); with
//! one 250 ms, since after a cut the route may be another. Speech that the recording jumps over
//! when its delay falls counts as unheard.

mod align;
mod stoi;

use std::fmt;

pub use stoi::Intelligibility;

const SAMPLES_PER_MS: usize = 48;
/// One frame of the level comparison.
const FRAME_MS: usize = 5;
const FRAME_SAMPLES: usize = FRAME_MS * SAMPLES_PER_MS;
/// Farthest that the delay may stray from its usual value, without and with a stated cut.
const WANDER_MS: i32 = 60;
const WANDER_WITH_CUT_MS: i32 = 250;
/// Speech is active from this far under its own active level …
const ACTIVE_RANGE_DB: f64 = 30.0;
/// … and this far over its own background noise.
const OVER_NOISE_DB: f64 = 6.0;
/// Heard is what is less than this under what was spoken, after equalising the level …
const HEARD_RANGE_DB: f64 = 20.0;
/// … by at most this much.
const MOST_EQUALISED_DB: f64 = 12.0;
/// Frames by which a steep onset may come early or late without being a hole.
const ONSET_FRAMES: usize = 2;
/// A pause in the speech up to this long does not end a hole around it.
const BRIDGED_FRAMES: usize = 8;
/// What a level of nothing is called.
const SILENCE_DB: f64 = -120.0;

/// How what was heard differs from what was spoken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hearing {
    /// Position of the speech's beginning in the recording; negative if the recording began later.
    /// The median over the speech.
    pub delay_ms: f64,
    /// Least and most delay of any part of the speech.
    pub delay_range_ms: (f64, f64),
    /// Pearson's correlation of both envelopes (RMS over 20 ms, every 5 ms).
    pub envelope_correlation: f64,
    /// Level of the heard over the spoken where both are active; −120 where nothing is.
    pub level_difference_db: f64,
    /// Longest stretch of active speech that was not heard.
    pub longest_unheard_ms: f64,
    /// All of them together.
    pub unheard_total_ms: f64,
    /// Length of what was left out of all figures as the stated cut; 0 if nothing was missing.
    pub cut_found_ms: f64,
    /// Active speech in it that was not heard. Less than its length where it holds pauses or
    /// several holes.
    pub unheard_in_cut_ms: f64,
    /// Short-time objective intelligibility, at most 1.
    pub stoi: f64,
    /// Distance of the third-octave spectra.
    pub spectral_distance_db: f64,
}

/// What a recording must reach to count as heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Least envelope correlation.
    pub envelope_correlation: f64,
    /// Most level difference, either way.
    pub level_difference_db: f64,
    /// Longest unheard stretch.
    pub unheard_ms: f64,
    /// Least STOI.
    pub stoi: f64,
    /// Most spectral distance.
    pub spectral_distance_db: f64,
}

/// The floor of the end-to-end tests.
///
/// Measured on the voices of `tests/speech`: Opus at 16 to 32 kbit/s gives STOI 0.93 to 0.99 and 1
/// to 2 dB of spectral distance, with 10 % of the frames concealed at least 0.88 and at most 3 dB;
/// another voice stays under 0.4 and is 16 dB away.
impl Default for Floor {
    fn default() -> Self {
        Self {
            envelope_correlation: 0.95,
            level_difference_db: 3.0,
            unheard_ms: 60.0,
            stoi: 0.8,
            spectral_distance_db: 6.0,
        }
    }
}

/// Compares two recordings at 48 kHz; nothing is excused.
#[must_use]
pub fn compare(spoken: &[f32], heard: &[f32]) -> Hearing {
    compare_with_cut(spoken, heard, 0.0)
}

/// The same, where one cut of at most `cut_ms` is expected: what is unheard within the worst such
/// window is left out.
#[must_use]
pub fn compare_with_cut(spoken: &[f32], heard: &[f32], cut_ms: f64) -> Hearing {
    let wander_ms = if cut_ms > 0.0 { WANDER_WITH_CUT_MS } else { WANDER_MS };
    let aligned = align::align(spoken, heard, wander_ms);
    let spoken_levels = levels_db(spoken);
    let heard_levels = levels_db(&aligned.heard);
    let active = active_frames(&spoken_levels);
    let mut unheard = unheard_frames(&spoken_levels, &heard_levels, &active);
    for (at_ms, length_ms) in aligned.skipped_ms() {
        let (first, last) = (at_ms / FRAME_MS, (at_ms + length_ms) / FRAME_MS);
        (first..last.min(active.len()))
            .filter(|frame| active[*frame])
            .for_each(|frame| unheard[frame] = true);
    }
    let cut = worst_window(&unheard, (cut_ms / FRAME_MS as f64) as usize);
    let unheard_in_cut = unheard[cut.clone()].iter().filter(|frame| **frame).count();
    unheard[cut.clone()].fill(false);

    let kept: Vec<usize> = (0..active.len()).filter(|frame| !cut.contains(frame)).collect();
    let keep = |samples: &[f32]| -> Vec<f32> {
        kept.iter()
            .flat_map(|frame| &samples[frame * FRAME_SAMPLES..(frame + 1) * FRAME_SAMPLES])
            .copied()
            .collect()
    };
    let (spoken_kept, heard_kept) = (keep(spoken), keep(&aligned.heard));
    let both: Vec<usize> =
        kept.iter().copied().filter(|frame| active[*frame] && !unheard[*frame]).collect();
    let intelligibility = stoi::compare(&spoken_kept, &heard_kept);
    Hearing {
        delay_ms: f64::from(aligned.median_lag_ms()),
        delay_range_ms: (
            f64::from(aligned.lags_ms.iter().copied().min().unwrap_or(0)),
            f64::from(aligned.lags_ms.iter().copied().max().unwrap_or(0)),
        ),
        envelope_correlation: stoi::correlation(&envelope(&spoken_kept), &envelope(&heard_kept)),
        level_difference_db: mean_level_db(&heard_levels, &both)
            - mean_level_db(&spoken_levels, &both),
        longest_unheard_ms: (longest_run(&unheard, &active) * FRAME_MS) as f64,
        unheard_total_ms: (unheard.iter().filter(|frame| **frame).count() * FRAME_MS) as f64,
        cut_found_ms: (cut.len() * FRAME_MS) as f64,
        unheard_in_cut_ms: (unheard_in_cut * FRAME_MS) as f64,
        stoi: intelligibility.stoi,
        spectral_distance_db: intelligibility.spectral_distance_db,
    }
    .or_silence(both.is_empty())
}

impl Hearing {
    /// Whether the floor is reached.
    ///
    /// # Errors
    /// A sentence that names every figure that missed it, and all figures.
    pub fn verdict(&self, floor: &Floor) -> Result<(), String> {
        let checks = [
            (self.envelope_correlation >= floor.envelope_correlation, "the envelope differs"),
            (self.level_difference_db.abs() <= floor.level_difference_db, "the level differs"),
            (self.longest_unheard_ms <= floor.unheard_ms, "a stretch is unheard"),
            (self.stoi >= floor.stoi, "the words are unintelligible"),
            (self.spectral_distance_db <= floor.spectral_distance_db, "the spectrum differs"),
        ];
        let missed: Vec<&str> = checks
            .iter()
            .filter(|(reached, _)| !reached)
            .map(|(_, complaint)| *complaint)
            .collect();
        if missed.is_empty() {
            Ok(())
        } else {
            Err(format!("{}: {self}; wanted {floor:?}", missed.join(", ")))
        }
    }

    /// What no frame was heard of has no level to compare.
    fn or_silence(self, nothing_heard: bool) -> Self {
        if nothing_heard { Self { level_difference_db: SILENCE_DB, ..self } } else { self }
    }
}

impl fmt::Display for Hearing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "delay {:.0} ms ({:.0} to {:.0})",
            self.delay_ms, self.delay_range_ms.0, self.delay_range_ms.1
        )?;
        write!(
            out,
            ", envelope {:.3}, level {:+.1} dB",
            self.envelope_correlation, self.level_difference_db
        )?;
        write!(
            out,
            ", unheard {:.0} ms (longest {:.0})",
            self.unheard_total_ms, self.longest_unheard_ms
        )?;
        if self.cut_found_ms > 0.0 {
            write!(
                out,
                " outside a cut of {:.0} ms with {:.0} of them",
                self.cut_found_ms, self.unheard_in_cut_ms
            )?;
        }
        write!(out, ", STOI {:.3}, spectrum {:.1} dB", self.stoi, self.spectral_distance_db)
    }
}

fn levels_db(samples: &[f32]) -> Vec<f64> {
    let mean_square = |frame: &[f32]| {
        frame.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / frame.len() as f64
    };
    samples
        .chunks_exact(FRAME_SAMPLES)
        .map(|frame| (10.0 * mean_square(frame).log10()).max(SILENCE_DB))
        .collect()
}

/// The level of the mean energy of some frames.
fn mean_level_db(levels: &[f64], frames: &[usize]) -> f64 {
    let energy: f64 = frames.iter().map(|frame| 10_f64.powf(levels[*frame] / 10.0)).sum();
    (10.0 * (energy / frames.len().max(1) as f64).log10()).max(SILENCE_DB)
}

fn active_frames(levels: &[f64]) -> Vec<bool> {
    let mut sorted = levels.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at_part = |part: f64| {
        sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or(SILENCE_DB)
    };
    let loud: Vec<usize> = (0..levels.len())
        .filter(|frame| levels[*frame] > at_part(0.95) - ACTIVE_RANGE_DB)
        .collect();
    let threshold =
        (mean_level_db(levels, &loud) - ACTIVE_RANGE_DB).max(at_part(0.05) + OVER_NOISE_DB);
    levels.iter().map(|level| *level > threshold).collect()
}

fn unheard_frames(spoken: &[f64], heard: &[f64], active: &[bool]) -> Vec<bool> {
    // The usual difference of level, from the frames that are loud in the speech.
    let mut differences: Vec<f64> = (0..spoken.len())
        .filter(|frame| active[*frame])
        .map(|frame| heard[frame] - spoken[frame])
        .collect();
    differences.sort_unstable_by(f64::total_cmp);
    let usual = differences
        .get(differences.len() / 2)
        .copied()
        .unwrap_or(0.0)
        .clamp(-MOST_EQUALISED_DB, MOST_EQUALISED_DB);
    let reach = |frame: usize| {
        frame.saturating_sub(ONSET_FRAMES)..(frame + ONSET_FRAMES + 1).min(spoken.len())
    };
    let silent = |frame: usize| {
        let loudest_heard = reach(frame).map(|near| heard[near]).fold(SILENCE_DB, f64::max);
        loudest_heard - usual < (spoken[frame] - HEARD_RANGE_DB).max(SILENCE_DB + 1.0)
    };
    let core: Vec<bool> = (0..spoken.len()).map(|frame| active[frame] && silent(frame)).collect();
    // Looking around made every hole shorter at both ends: give that back.
    (0..spoken.len()).map(|frame| active[frame] && reach(frame).any(|near| core[near])).collect()
}

/// From the first to the last unheard frame of the window of `length` frames in which most is
/// unheard.
fn worst_window(unheard: &[bool], length: usize) -> std::ops::Range<usize> {
    let length = length.min(unheard.len());
    let count =
        |first: usize| unheard[first..first + length].iter().filter(|frame| **frame).count();
    let Some(first) = (0..=unheard.len() - length).rev().max_by_key(|first| count(*first)) else {
        return 0..0;
    };
    let window = &unheard[first..first + length];
    match (window.iter().position(|frame| *frame), window.iter().rposition(|frame| *frame)) {
        (Some(from), Some(to)) => first + from..first + to + 1,
        _ => 0..0,
    }
}

/// Unheard frames in the longest run; short pauses of the speech do not end one.
fn longest_run(unheard: &[bool], active: &[bool]) -> usize {
    let (mut longest, mut run, mut pause) = (0, 0, 0);
    for (unheard, active) in unheard.iter().zip(active) {
        if *unheard {
            run += 1;
            pause = 0;
        } else {
            pause += 1;
            if *active || pause > BRIDGED_FRAMES {
                run = 0;
            }
        }
        longest = longest.max(run);
    }
    longest
}

/// RMS over 20 ms for every 5 ms.
fn envelope(samples: &[f32]) -> Vec<f64> {
    let energies: Vec<f64> = samples
        .chunks_exact(FRAME_SAMPLES)
        .map(|frame| {
            frame.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>()
                / FRAME_SAMPLES as f64
        })
        .collect();
    energies.windows(4).map(|window| (window.iter().sum::<f64>() / 4.0).sqrt()).collect()
}

#[cfg(test)]
mod tests;
