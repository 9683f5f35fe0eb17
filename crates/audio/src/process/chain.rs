//! Echo canceller and noise suppressor, then gain.

use std::time::Duration;

use super::{
    settings::{NoiseSuppression, Processing},
    stage::{LEARNING_BLOCKS, Stage, WARM_UP_BLOCKS, cleaning_config, gain_config},
};
use crate::Block;

/// Samples beyond ±1 are cut to this before they are processed; the processors are made for sound.
const LARGEST_SAMPLE: f32 = 1.0;

/// The longest echo delay that the canceller takes a hint about.
const LONGEST_ECHO_DELAY: Duration = Duration::from_millis(500);

/// What splitting into bands and joining them delays.
const BANDS_DELAY: Duration = Duration::from_micros(3_270);

/// What echo cancellation adds: its blocks of 4 ms, twice.
const ECHO_DELAY: Duration = Duration::from_millis(8);

/// What noise suppression adds: the overlap of its windows.
const NOISE_DELAY: Duration = Duration::from_micros(3_670);

/// Two stages, each replaced alone. The voice detector listens between them: gain would bring the
/// pauses up, too.
#[derive(Debug)]
pub(super) struct Chain {
    processing: Processing,
    cleaning: Stage,
    gain: Stage,
    echo_delay: Option<Duration>,
}

impl Chain {
    pub fn new(processing: Processing) -> Self {
        Self {
            processing,
            cleaning: Stage::new(cleaning_config(&processing)),
            gain: Stage::new(gain_config(&processing)),
            echo_delay: None,
        }
    }

    pub fn processing(&self) -> Processing {
        self.processing
    }

    pub fn set_processing(&mut self, processing: Processing) {
        let old = std::mem::replace(&mut self.processing, processing);
        if cleaning(old) != cleaning(processing) {
            let learnt = old.echo_cancellation && processing.echo_cancellation;
            let unheard_blocks = if learnt { LEARNING_BLOCKS } else { WARM_UP_BLOCKS };
            self.cleaning.replace(cleaning_config(&processing), unheard_blocks);
            self.hint_echo_delay();
        }
        if old.automatic_gain != processing.automatic_gain {
            self.gain.replace(gain_config(&processing), WARM_UP_BLOCKS);
        }
    }

    /// Whether blocks pass unchanged.
    pub fn is_idle(&self) -> bool {
        self.cleaning.is_idle() && self.gain.is_idle()
    }

    /// How much later sound leaves than it came; the gain adds nothing.
    pub fn delay(&self) -> Duration {
        let Processing { echo_cancellation, noise_suppression, high_pass, .. } = self.processing;
        match (echo_cancellation, noise_suppression != NoiseSuppression::Off) {
            (true, true) => BANDS_DELAY + ECHO_DELAY + NOISE_DELAY,
            (true, false) => BANDS_DELAY + ECHO_DELAY,
            (false, true) => BANDS_DELAY + NOISE_DELAY,
            (false, false) if high_pass => BANDS_DELAY,
            (false, false) => Duration::ZERO,
        }
    }

    pub fn set_echo_delay(&mut self, delay: Duration) {
        self.echo_delay = Some(delay.min(LONGEST_ECHO_DELAY));
        self.hint_echo_delay();
    }

    pub fn played(&mut self, block: &Block) {
        // After cancellation was switched off it is still heard for a moment; a processor without
        // it ignores this.
        if !self.cleaning.is_idle() {
            self.cleaning.played(&within_full_scale(block));
        }
    }

    /// Removes echo and noise.
    pub fn clean(&mut self, block: &mut Block) {
        if self.is_idle() {
            return;
        }
        *block = within_full_scale(block);
        self.cleaning.process(block);
    }

    /// Brings what was cleaned to a usual level.
    pub fn level(&mut self, block: &mut Block) {
        if !self.gain.is_idle() {
            self.gain.process(block);
        }
    }

    fn hint_echo_delay(&mut self) {
        if let Some(delay) = self.echo_delay {
            self.cleaning.set_delay_ms(delay.as_millis() as i32);
        }
    }
}

/// What of the settings makes a difference to cleaning: echo cancellation and noise suppression
/// include the high-pass.
fn cleaning(processing: Processing) -> (bool, NoiseSuppression, bool) {
    let Processing { echo_cancellation, noise_suppression, high_pass, .. } = processing;
    let any = echo_cancellation || noise_suppression != NoiseSuppression::Off || high_pass;
    (echo_cancellation, noise_suppression, any)
}

fn within_full_scale(block: &Block) -> Block {
    block.map(|sample| sample.clamp(-LARGEST_SAMPLE, LARGEST_SAMPLE))
}
