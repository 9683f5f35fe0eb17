//! Echo canceller, noise suppressor and gain, one after the other.

use std::time::Duration;

use super::{
    settings::Processing,
    stage::{Stage, echo_config, gain_config, noise_config},
};
use crate::Block;

/// Samples beyond ±1 are cut to this before they are processed; the processors are made for sound.
const LARGEST_SAMPLE: f32 = 1.0;

/// The longest echo delay that the canceller takes a hint about.
const LONGEST_ECHO_DELAY: Duration = Duration::from_millis(500);

/// Three stages, each switched alone, so that switching one does not make another start learning anew.
#[derive(Debug)]
pub(super) struct Chain {
    processing: Processing,
    echo: Stage,
    noise: Stage,
    gain: Stage,
    echo_delay: Option<Duration>,
}

impl Chain {
    pub fn new(processing: Processing) -> Self {
        Self {
            processing,
            echo: Stage::new(echo_config(&processing)),
            noise: Stage::new(noise_config(&processing)),
            gain: Stage::new(gain_config(&processing)),
            echo_delay: None,
        }
    }

    pub fn processing(&self) -> Processing {
        self.processing
    }

    pub fn set_processing(&mut self, processing: Processing) {
        let old = std::mem::replace(&mut self.processing, processing);
        let high_pass_alone = |processing: Processing| processing.high_pass && !processing.echo_cancellation;
        if old.echo_cancellation != processing.echo_cancellation || high_pass_alone(old) != high_pass_alone(processing)
        {
            self.echo.replace(echo_config(&processing));
            self.hint_echo_delay();
        }
        if old.noise_suppression != processing.noise_suppression {
            self.noise.replace(noise_config(&processing));
        }
        if old.automatic_gain != processing.automatic_gain {
            self.gain.replace(gain_config(&processing));
        }
    }

    /// Whether blocks pass unchanged.
    pub fn is_idle(&self) -> bool {
        self.echo.is_idle() && self.noise.is_idle() && self.gain.is_idle()
    }

    pub fn set_echo_delay(&mut self, delay: Duration) {
        self.echo_delay = Some(delay.min(LONGEST_ECHO_DELAY));
        self.hint_echo_delay();
    }

    pub fn played(&mut self, block: &Block) {
        if self.processing.echo_cancellation {
            self.echo.played(&within_full_scale(block));
        }
    }

    /// Removes echo and noise.
    pub fn clean(&mut self, block: &mut Block) {
        if self.is_idle() {
            return;
        }
        *block = within_full_scale(block);
        self.echo.process(block);
        self.noise.process(block);
    }

    /// Brings what was cleaned to a usual level.
    pub fn level(&mut self, block: &mut Block) {
        if !self.gain.is_idle() {
            self.gain.process(block);
        }
    }

    fn hint_echo_delay(&mut self) {
        if let Some(delay) = self.echo_delay {
            self.echo.set_delay_ms(delay.as_millis() as i32);
        }
    }
}

fn within_full_scale(block: &Block) -> Block {
    block.map(|sample| sample.clamp(-LARGEST_SAMPLE, LARGEST_SAMPLE))
}
