//! One switchable step of the chain: changing it fades from the old sound to the new.

use sonora::{AudioProcessing, Config, StreamConfig, config};

use super::settings::{NoiseSuppression, Processing};
use crate::{BLOCK_SAMPLES, Block, SAMPLE_RATE_HZ};

/// A new processor runs unheard for so many blocks (30 ms), so that its delay lines are full before
/// it is heard.
pub(super) const WARM_UP_BLOCKS: u32 = 3;

/// One that takes over from an echo canceller runs unheard for so many (1.5 s), so that it has
/// learnt the room.
pub(super) const LEARNING_BLOCKS: u32 = 150;

/// Takes and gives blocks, or does nothing; what it does can be replaced while it runs.
#[derive(Debug, Default)]
pub(super) struct Stage {
    heard: Option<Box<AudioProcessing>>,
    change: Option<Change>,
}

#[derive(Debug)]
struct Change {
    to: Option<Box<AudioProcessing>>,
    unheard_blocks: u32,
}

impl Stage {
    pub fn new(config: Option<Config>) -> Self {
        Self { heard: config.map(processor), change: None }
    }

    /// Replaces what the stage does after so many blocks. A change under way is abandoned.
    pub fn replace(&mut self, config: Option<Config>, unheard_blocks: u32) {
        let to = config.map(processor);
        self.change =
            (to.is_some() || self.heard.is_some()).then_some(Change { to, unheard_blocks });
    }

    /// Whether blocks pass unchanged.
    pub fn is_idle(&self) -> bool {
        self.heard.is_none() && self.change.is_none()
    }

    /// Shows what the loudspeaker plays.
    pub fn played(&mut self, block: &Block) {
        let mut unused = [0.0; BLOCK_SAMPLES];
        for processor in self.processors() {
            // Fails only for another shape than the processor was made for.
            let _ = processor.process_render_f32(&[block], &mut [&mut unused]);
        }
    }

    /// Tells how long sound takes from [`played`](Self::played) to the microphone's block.
    pub fn set_delay_ms(&mut self, delay_ms: i32) {
        for processor in self.processors() {
            let _ = processor.set_stream_delay_ms(delay_ms); // complains when it had to clamp
        }
    }

    pub fn process(&mut self, block: &mut Block) {
        let Some(mut change) = self.change.take() else {
            run(&mut self.heard, block);
            return;
        };
        let mut new = *block;
        run(&mut self.heard, block);
        run(&mut change.to, &mut new);
        if change.unheard_blocks > 0 {
            change.unheard_blocks -= 1;
            self.change = Some(change);
            return;
        }
        for (index, (old, new)) in block.iter_mut().zip(new).enumerate() {
            *old += (new - *old) * (index as f32 / BLOCK_SAMPLES as f32);
        }
        self.heard = change.to;
    }

    fn processors(&mut self) -> impl Iterator<Item = &mut AudioProcessing> {
        let coming = self.change.as_mut().and_then(|change| change.to.as_deref_mut());
        self.heard.as_deref_mut().into_iter().chain(coming)
    }
}

/// Echo cancellation, noise suppression and high-pass: one processor, because each alone would
/// split the sound into bands and delay it by 3 ms for that.
pub(super) fn cleaning_config(processing: &Processing) -> Option<Config> {
    let Processing { echo_cancellation, noise_suppression, high_pass, .. } = *processing;
    let level = match noise_suppression {
        NoiseSuppression::Off => None,
        NoiseSuppression::Low => Some(config::NoiseSuppressionLevel::Low),
        NoiseSuppression::Moderate => Some(config::NoiseSuppressionLevel::Moderate),
        NoiseSuppression::High => Some(config::NoiseSuppressionLevel::High),
    };
    let wanted = echo_cancellation || level.is_some() || high_pass;
    wanted.then(|| Config {
        echo_canceller: echo_cancellation.then(config::EchoCanceller::default),
        noise_suppression: level
            .map(|level| config::NoiseSuppression { level, ..Default::default() }),
        high_pass_filter: Some(config::HighPassFilter::default()),
        ..full_band()
    })
}

/// Automatic gain.
pub(super) fn gain_config(processing: &Processing) -> Option<Config> {
    let adaptive_digital =
        config::AdaptiveDigital { initial_gain_db: 6.0, max_gain_db: 30.0, ..Default::default() };
    processing.automatic_gain.then(|| Config {
        gain_controller2: Some(config::GainController2 {
            adaptive_digital: Some(adaptive_digital),
            ..Default::default()
        }),
        ..full_band()
    })
}

/// Nothing is switched on, and nothing of the spectrum is cut off.
fn full_band() -> Config {
    let pipeline = config::Pipeline {
        maximum_internal_processing_rate: config::MaxProcessingRate::Rate48kHz,
        ..Default::default()
    };
    Config { pipeline, ..Default::default() }
}

/// A processor that has seen one silent block, because the first call is the one that allocates.
fn processor(config: Config) -> Box<AudioProcessing> {
    let format = StreamConfig::new(SAMPLE_RATE_HZ, 1);
    let processing = AudioProcessing::builder()
        .config(config)
        .capture_config(format)
        .render_config(format)
        .build();
    let mut processing = Some(Box::new(processing));
    run(&mut processing, &mut [0.0; BLOCK_SAMPLES]);
    processing.expect("it was put there")
}

fn run(processor: &mut Option<Box<AudioProcessing>>, block: &mut Block) {
    if let Some(processor) = processor {
        let input = *block;
        // Fails only for another shape than the processor was made for, and then leaves the block
        // as it is.
        let _ = processor.process_capture_f32(&[&input], &mut [block]);
    }
}
