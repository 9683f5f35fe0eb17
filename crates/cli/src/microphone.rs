//! What is done to the microphone's sound and when it is sent, in words.

use std::time::Duration;

use clap::{Args, ValueEnum};
use voicemesh::{Activation, InputSpec, NoiseSuppression, Processing};

use crate::exit::{Exit, Failure};

/// With push-to-talk, sending goes on for so long after the key was let go: people let go early.
pub(crate) const RELEASE: Duration = Duration::from_millis(200);

const NO_CHANNEL: &str = "--channel is for microphones and files. Leave it out.";
const NO_KEY: &str = "Use --activation voice or --activation always.";

fn channel(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "write the number of the channel: 1 is the first".to_owned())
}

/// What was said on the command line. Nothing said means: all of it for a microphone, nothing for a
/// file or a tone.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MicrophoneArguments {
    /// When you are heard: when you speak, always, or while a key is held (F4 in the live view)
    /// [default: voice].
    #[arg(long, value_enum, value_name = "WHEN")]
    pub activation: Option<ActivationChoice>,

    /// The channel of the microphone or file to hear [default: their mean, or the loudest where
    /// they differ].
    #[arg(long, value_name = "N", value_parser = channel)]
    pub channel: Option<u16>,

    /// How much steady noise is removed [default: high].
    #[arg(long, value_enum, value_name = "HOW MUCH")]
    pub noise: Option<NoiseChoice>,

    /// Whether what your speaker plays is removed from what your microphone hears [default: on].
    #[arg(long, value_enum, value_name = "ON|OFF")]
    pub echo_cancel: Option<Switch>,

    /// Whether quiet speech is made louder and loud speech softer [default: on].
    #[arg(long, value_enum, value_name = "ON|OFF")]
    pub gain_control: Option<Switch>,

    /// Whether rumble below the voice is removed [default: on].
    #[arg(long, value_enum, value_name = "ON|OFF")]
    pub high_pass: Option<Switch>,
}

/// When one is heard.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationChoice {
    /// When speech is detected.
    Voice,
    /// Whenever there is any sound.
    Always,
    /// While a key is held.
    PushToTalk,
}

/// How much steady noise is removed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseChoice {
    /// None.
    Off,
    /// About 6 dB.
    Low,
    /// About 12 dB.
    Moderate,
    /// About 18 dB.
    High,
}

/// On or off.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

impl MicrophoneArguments {
    /// What is done to the sound that comes from there.
    pub fn processing(&self, input: &InputSpec) -> Processing {
        let usual = if is_microphone(input) { Processing::default() } else { Processing::OFF };
        let is_on = |switch: Option<Switch>, usual: bool| {
            switch.map_or(usual, |switch| switch == Switch::On)
        };
        Processing {
            echo_cancellation: is_on(self.echo_cancel, usual.echo_cancellation),
            noise_suppression: self.noise.map_or(usual.noise_suppression, NoiseChoice::setting),
            automatic_gain: is_on(self.gain_control, usual.automatic_gain),
            high_pass: is_on(self.high_pass, usual.high_pass),
        }
    }

    /// Where no room is joined there is no view whose key could be held.
    ///
    /// # Errors
    ///
    /// If one would be needed.
    pub(crate) fn must_need_no_key(&self) -> Result<(), Failure> {
        match self.activation {
            Some(ActivationChoice::PushToTalk) => Err(Failure {
                exit: Exit::Usage,
                message: format!("there is no key to hold here. {NO_KEY}"),
                next_step: Some(NO_KEY.to_owned()),
            }),
            Some(ActivationChoice::Voice | ActivationChoice::Always) | None => Ok(()),
        }
    }

    /// Whether the channel that was named can be heard at all. Whether it is there is seen when the
    /// source is opened.
    ///
    /// # Errors
    ///
    /// If the source has no channels.
    pub(crate) fn must_fit(&self, input: &InputSpec) -> Result<(), Failure> {
        let has_channels = matches!(input, InputSpec::Device(_) | InputSpec::Wav { .. });
        match self.channel {
            Some(channel) if !has_channels => Err(Failure {
                exit: Exit::Usage,
                message: format!("--input {input} has no channel {channel}: {NO_CHANNEL}"),
                next_step: Some(NO_CHANNEL.to_owned()),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// When it is sent.
    pub fn activation(&self, input: &InputSpec) -> ActivationChoice {
        let usual =
            if is_microphone(input) { ActivationChoice::Voice } else { ActivationChoice::Always };
        self.activation.unwrap_or(usual)
    }
}

impl ActivationChoice {
    /// For the engine.
    pub fn setting(self) -> Activation {
        match self {
            Self::Voice => Activation::Voice,
            Self::Always => Activation::Always,
            Self::PushToTalk => Activation::PushToTalk { release: RELEASE },
        }
    }
}

impl NoiseChoice {
    /// For the engine.
    pub fn setting(self) -> NoiseSuppression {
        match self {
            Self::Off => NoiseSuppression::Off,
            Self::Low => NoiseSuppression::Low,
            Self::Moderate => NoiseSuppression::Moderate,
            Self::High => NoiseSuppression::High,
        }
    }
}

fn is_microphone(input: &InputSpec) -> bool {
    match input {
        InputSpec::Device(_) => true,
        InputSpec::Wav { .. }
        | InputSpec::Tone { .. }
        | InputSpec::Silence
        | InputSpec::Null
        | InputSpec::Program => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        microphone: MicrophoneArguments,
    }

    fn said(line: &str) -> MicrophoneArguments {
        Only::try_parse_from(line.split_whitespace()).expect("a command line").microphone
    }

    #[test]
    fn a_microphone_is_cleaned_and_a_file_is_not() {
        let nothing = said("mic");
        assert_eq!(nothing.processing(&InputSpec::default()), Processing::default());
        assert_eq!(nothing.activation(&InputSpec::default()), ActivationChoice::Voice);
        assert_eq!(nothing.processing(&InputSpec::Silence), Processing::OFF);
        assert_eq!(nothing.activation(&InputSpec::Silence), ActivationChoice::Always);
    }

    #[test]
    fn only_what_has_channels_can_be_asked_for_one() {
        let of = |input: &str| said("mic --channel 7").must_fit(&input.parse().expect("a source"));
        for input in ["tone", "tone:300", "silence", "null"] {
            assert!(
                of(input).is_err_and(|failure| failure.message.contains("has no channel 7")),
                "{input}"
            );
        }
        assert!(of("default").is_ok() && of("speech.wav").is_ok());
        assert!(said("mic").must_fit(&InputSpec::Silence).is_ok());
    }

    #[test]
    fn each_setting_is_said_alone() {
        let arguments = said("mic --activation push-to-talk --noise low --echo-cancel off");
        assert_eq!(
            arguments.activation(&InputSpec::default()).setting(),
            Activation::PushToTalk { release: RELEASE }
        );
        let expected = Processing {
            echo_cancellation: false,
            noise_suppression: NoiseSuppression::Low,
            ..Processing::default()
        };
        assert_eq!(arguments.processing(&InputSpec::default()), expected);
        let of_a_file = Processing { noise_suppression: NoiseSuppression::Low, ..Processing::OFF };
        assert_eq!(arguments.processing(&InputSpec::Silence), of_a_file);
    }
}
