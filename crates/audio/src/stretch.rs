//! Speech a little shorter or longer without another pitch: overlap-add of pieces that are whole
//! pitch periods apart.
//!
//! ```text
//! shorten   before │ a b c …      with b one period after a: before, a fading into b, c …
//! lengthen  … z before │ a b …    with z one period before a: before, a fading into z, the rest up to before, a b …
//! ```
//!
//! Both begin exactly as the sound would have gone on, and end exactly in what follows, so there is
//! no step. The length of a period is where the sound resembles itself most. What resembles itself
//! nowhere (a hiss, a pause) may be joined anywhere: then the fade keeps the power, not the
//! amplitude.

use std::ops::RangeInclusive;

/// The shortest piece taken out or put in (2.5 ms), and so the highest pitch (400 Hz; higher ones
/// match at a multiple).
pub const SHORTEST: usize = 120;

/// The longest piece taken out of or put into running speech (15 ms): the lowest pitch, 67 Hz.
pub const LONGEST: usize = 720;

/// Over how many samples (5 ms) pieces fade into one another.
pub const OVERLAP: usize = 240;

/// How much of the sound is compared to find the period (10 ms), where there is so much.
const WINDOW: usize = 480;

/// The first search is done at 8 kHz.
const DECIMATION: usize = 6;

/// The longest stretch of sound that a search looks at, at 8 kHz.
const LONGEST_SEARCH: usize = (LONGEST + WINDOW) / DECIMATION;

/// Below this energy per sample (−80 dBFS) there is nothing to resemble.
const NO_ENERGY: f32 = 1e-8;

/// A place to cut or to repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Join {
    /// How many samples the sound becomes shorter or longer by.
    pub samples: usize,
    /// How alike the pieces are that fade into one another: 1 the same, 0 not at all.
    pub likeness: f32,
}

/// The best number of samples, up to `most`, to take out after the beginning of `sound`. `None` if
/// it is too short.
pub fn find_shortening(sound: &[f32], most: usize) -> Option<Join> {
    let longest = most.min(LONGEST).min(sound.len().saturating_sub(OVERLAP));
    find(sound, longest, WINDOW.min(sound.len().saturating_sub(longest)))
}

/// The best number of samples, up to `most`, to put in between `before` and `sound`. `None` if
/// either is too short.
pub fn find_lengthening(before: &[f32], sound: &[f32], most: usize) -> Option<Join> {
    let longest = most.min(LONGEST).min(before.len());
    let window = WINDOW.min(sound.len());
    let mut turned = [0.0; LONGEST + WINDOW];
    let turned = &mut turned[..longest + window];
    // Turned around, what comes before `sound` lies behind its (turned) end.
    turned[..longest].copy_from_slice(&before[before.len() - longest..]);
    turned[longest..].copy_from_slice(&sound[..window]);
    turned.reverse();
    find(turned, longest, window)
}

/// Fades from the beginning of `from` into `into`, in place. Alike sounds keep their amplitude,
/// others their power.
pub fn fade(from: &[f32], into: &mut [f32], likeness: f32) {
    let count = from.len().min(into.len());
    let likeness = likeness.clamp(0.0, 1.0);
    for (index, (sample, old)) in into.iter_mut().zip(from).enumerate() {
        let new_share = (index as f32 + 1.0) / (count as f32 + 1.0);
        let old_share = 1.0 - new_share;
        let power =
            new_share * new_share + old_share * old_share + 2.0 * likeness * new_share * old_share;
        *sample = (*sample * new_share + old * old_share) / power.sqrt();
    }
}

/// The lag, at most `longest`, at which `sound` resembles its first `window` samples most.
fn find(sound: &[f32], longest: usize, window: usize) -> Option<Join> {
    if longest < SHORTEST || window < OVERLAP {
        return None;
    }
    let mut thin = [0.0; LONGEST_SEARCH];
    for (slot, piece) in thin.iter_mut().zip(sound.chunks_exact(DECIMATION)) {
        *slot = piece.iter().sum::<f32>() / DECIMATION as f32;
    }
    let thin = &thin[..((longest + window) / DECIMATION).min(LONGEST_SEARCH)];
    let thin_window = window / DECIMATION;
    let coarse = most_alike(thin, thin_window, SHORTEST / DECIMATION..=thin.len() - thin_window)?
        .samples
        * DECIMATION;
    let near = coarse.saturating_sub(DECIMATION - 1).max(SHORTEST)
        ..=(coarse + DECIMATION - 1).min(longest);
    most_alike(sound, window, near)
}

fn most_alike(sound: &[f32], window: usize, lags: RangeInclusive<usize>) -> Option<Join> {
    let join = |samples: usize| Join {
        samples,
        likeness: likeness(&sound[..window], &sound[samples..samples + window]),
    };
    lags.map(join).max_by(|a, b| a.likeness.total_cmp(&b.likeness))
}

/// The normalised correlation of two pieces; 1 where both are silent.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    let (mut product, mut energy_a, mut energy_b) = (0.0f32, 0.0f32, 0.0f32);
    for (a, b) in a.iter().zip(b) {
        product += a * b;
        energy_a += a * a;
        energy_b += b * b;
    }
    let floor = NO_ENERGY * a.len() as f32;
    if energy_a < floor && energy_b < floor {
        return 1.0;
    }
    product / (energy_a * energy_b + floor * floor).sqrt()
}

#[cfg(test)]
mod tests;
