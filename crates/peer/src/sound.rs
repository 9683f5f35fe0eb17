//! The two ends of the sound: devices, or an echo of what is heard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use voicemesh_audio::mix::Width;
use voicemesh_audio::space::StereoBlock;
use voicemesh_audio::{BLOCK_DURATION, BLOCK_SAMPLES, Block};
use voicemesh_device::{
    Capture, Channels, DeviceError, DeviceEvent, DriftEstimator, InputSpec, OutputSpec, Playback,
    SAMPLE_RATE, refuse_same_file, unused_wav,
};

use crate::event::{DeviceRole, Event};
use crate::inbox::Wake;
use crate::join_error::JoinError;
use crate::options::SoundOptions;
use crate::switch::{DeviceSwap, close};

/// What the speaker's queue holds at least, in samples: one block that it is about to take.
const LEAST_QUEUED: usize = BLOCK_SAMPLES;
/// After the speaker has run dry, it holds this much more, up to [`MOST_QUEUED`]. A machine that is
/// that busy is so for longer.
const QUEUE_STEP: usize = BLOCK_SAMPLES / 2;
const MOST_QUEUED: usize = 4 * BLOCK_SAMPLES;
/// Without having run dry for this long, the queue gives a step back.
const CALM: Duration = Duration::from_secs(20);

/// What an echo says back is this old, so that one can tell it from oneself.
const ECHO_BLOCKS: usize = 100;
/// An echo that was not run for longer than this goes on from now.
const ECHO_BEHIND: Duration = Duration::from_millis(200);

/// Where blocks come from and where they go.
pub(crate) enum Sound {
    Devices(Box<Devices>),
    EchoBot(EchoBot),
}

/// A microphone and a speaker.
pub(crate) struct Devices {
    capture: Capture,
    /// The channel of every microphone to hear, counted from 1.
    channel: Option<u16>,
    /// What is in use, and what is being opened in its place.
    inputs_named: [InputSpec; 2],
    outputs_named: [OutputSpec; 2],
    is_simulated_input: bool,
    playback: Playback,
    channels: Channels,
    /// Whether the program plays everything itself.
    is_program_output: bool,
    least_queued: usize,
    underruns: u64,
    calm_since: Duration,
    wake: Wake,
    inputs: DeviceSwap<Capture>,
    outputs: DeviceSwap<Playback>,
    /// Whether the microphone that is being opened is none.
    next_is_simulated: bool,
    next_is_program: bool,
    drift: DriftEstimator,
}

/// A device was to be changed.
pub(crate) struct SwapResult {
    pub(crate) which: DeviceRole,
    /// Whether it was, or why not.
    pub(crate) result: Result<(), String>,
}

/// What is heard is said, a second later.
pub(crate) struct EchoBot {
    due: Duration,
    heard: VecDeque<Block>,
    turn: EchoPhase,
}

/// Each 10 ms one block is rendered, and the one of a second ago is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EchoPhase {
    Idle,
    Hear,
    Speak,
}

/// With the name of the file that will be written: one that is there already stays.
fn as_written(output: OutputSpec) -> OutputSpec {
    match output {
        OutputSpec::Wav(path) => OutputSpec::Wav(unused_wav(&path)),
        output => output,
    }
}

impl Sound {
    pub(crate) fn open(options: &SoundOptions, wake: &Wake) -> Result<Self, JoinError> {
        if options.echo {
            return Ok(Self::EchoBot(EchoBot {
                due: Duration::ZERO,
                heard: VecDeque::new(),
                turn: EchoPhase::Idle,
            }));
        }
        refuse_same_file(&options.input, &options.output).map_err(JoinError::Output)?;
        let channels = if options.positional { Channels::Stereo } else { Channels::Mono };
        let output = as_written(options.output.clone());
        let open_input = || {
            Capture::open_or_wait(&options.input, options.input_channel, waker(wake))
                .map_err(JoinError::Input)
        };
        // A file that cannot be played leaves no empty one behind.
        let file = match options.input {
            InputSpec::Wav { .. } => Some(open_input()?),
            _ => None,
        };
        let playback =
            Playback::open_or_wait(&output, channels, waker(wake)).map_err(JoinError::Output)?;
        let capture = file.map_or_else(open_input, Ok)?;
        let devices = Devices {
            capture,
            channel: options.input_channel,
            inputs_named: [options.input.clone(), options.input.clone()],
            outputs_named: [output.clone(), output],
            is_simulated_input: is_simulated(&options.input),
            playback,
            channels,
            is_program_output: options.output == OutputSpec::Program,
            least_queued: LEAST_QUEUED,
            underruns: 0,
            calm_since: Duration::ZERO,
            wake: wake.clone(),
            inputs: DeviceSwap::default(),
            outputs: DeviceSwap::default(),
            next_is_simulated: false,
            next_is_program: false,
            drift: DriftEstimator::new(),
        };
        Ok(Self::Devices(Box::new(devices)))
    }

    /// Whether this peer says back what it hears.
    pub(crate) fn echoes(&self) -> bool {
        matches!(self, Self::EchoBot(_))
    }

    /// Whether what is spoken comes from anything but a microphone.
    pub(crate) fn is_simulated_input(&self) -> bool {
        match self {
            Self::Devices(devices) => devices.is_simulated_input,
            Self::EchoBot(_) => true,
        }
    }

    /// Whether there is anything to speak with: a microphone, or what stands in for one.
    pub(crate) fn has_input(&self) -> bool {
        match self {
            Self::Devices(devices) => devices.inputs_named[0] != InputSpec::Null,
            Self::EchoBot(_) => true,
        }
    }

    /// How long ago the newest sample of the block last read was captured: the samples that wait
    /// behind it, and what the device itself adds.
    pub(crate) fn capture_age(&self) -> Duration {
        match self {
            Self::Devices(devices) => {
                let capture = &devices.capture;
                length(capture.available()) + capture.conversion_delay() + capture.latency()
            }
            Self::EchoBot(_) => Duration::ZERO,
        }
    }

    /// How long until the next block's first sample is heard: the samples that wait before it, and
    /// what the device itself adds.
    pub(crate) fn playout_delay(&self) -> Duration {
        match self {
            Self::Devices(devices) => {
                length(devices.playback.queued()) + devices.playback.latency()
            }
            Self::EchoBot(_) => Duration::ZERO,
        }
    }

    /// Begins to change the microphone; the one in use stays until the other is open. An echo has
    /// no microphone.
    pub(crate) fn set_input(&mut self, input: InputSpec) -> Result<(), String> {
        let Self::Devices(devices) = self else { return Ok(()) };
        devices
            .outputs_named
            .iter()
            .try_for_each(|output| refuse_same_file(&input, output))
            .map_err(|error| match error {
                DeviceError::SameFile { path } => DeviceError::WrittenFile { path }.to_string(),
                error => error.to_string(),
            })?;
        devices.next_is_simulated = is_simulated(&input);
        devices.inputs_named[1] = input.clone();
        let (waker, channel) = (waker(&devices.wake), devices.channel);
        devices.inputs.begin(move || Capture::open(&input, channel, waker))
    }

    /// Begins to change the speaker; the one in use stays until the other is open. An echo has no
    /// speaker.
    pub(crate) fn set_output(&mut self, output: OutputSpec) -> Result<(), String> {
        let Self::Devices(devices) = self else { return Ok(()) };
        devices
            .inputs_named
            .iter()
            .try_for_each(|input| refuse_same_file(input, &output))
            .map_err(|error| error.to_string())?;
        let output = as_written(output);
        devices.next_is_program = output == OutputSpec::Program;
        devices.outputs_named[1] = output.clone();
        let (waker, channels) = (waker(&devices.wake), devices.channels);
        devices.outputs.begin(move || Playback::open_with(&output, channels, waker))
    }

    /// Takes up a microphone that is open already. An echo has none.
    pub(crate) fn use_input(&mut self, capture: Capture) {
        let Self::Devices(devices) = self else { return };
        close(std::mem::replace(&mut devices.capture, capture));
        devices.is_simulated_input = false;
        if devices.inputs_named[0] == devices.inputs_named[1] {
            devices.inputs_named[1] = InputSpec::Program;
        }
        devices.inputs_named[0] = InputSpec::Program;
        devices.drift = DriftEstimator::new();
    }

    /// Whether the program plays everything itself.
    pub(crate) fn is_program_output(&self) -> bool {
        matches!(self, Self::Devices(devices) if devices.is_program_output)
    }

    /// Takes up devices that are open now; tells what happened to each.
    pub(crate) fn poll_switch(&mut self) -> Option<SwapResult> {
        let Self::Devices(devices) = self else { return None };
        if let Some(opened) = devices.inputs.poll() {
            if opened.is_err() {
                devices.inputs_named[1] = devices.inputs_named[0].clone();
            }
            let result = opened.map(|capture| {
                close(std::mem::replace(&mut devices.capture, capture));
                devices.is_simulated_input = devices.next_is_simulated;
                devices.inputs_named[0] = devices.inputs_named[1].clone();
                devices.drift = DriftEstimator::new();
            });
            return Some(SwapResult { which: DeviceRole::Input, result });
        }
        let opened = devices.outputs.poll()?;
        if opened.is_err() {
            devices.outputs_named[1] = devices.outputs_named[0].clone();
        }
        let result = opened.map(|playback| {
            close(std::mem::replace(&mut devices.playback, playback));
            devices.is_program_output = devices.next_is_program;
            (devices.least_queued, devices.underruns) = (LEAST_QUEUED, 0);
            devices.outputs_named[0] = devices.outputs_named[1].clone();
            devices.drift = DriftEstimator::new();
        });
        Some(SwapResult { which: DeviceRole::Output, result })
    }

    /// Once a turn, before anything else.
    pub(crate) fn begin(&mut self, now: Duration) {
        match self {
            Self::Devices(devices) => {
                devices.adapt(now);
                devices.follow_clocks(now);
            }
            Self::EchoBot(echo) => {
                if now > echo.due + ECHO_BEHIND {
                    echo.due = now;
                }
            }
        }
    }

    /// Whether the speaker wants another block now.
    pub(crate) fn wants_block(&mut self, now: Duration) -> bool {
        match self {
            Self::Devices(devices) => devices.playback.queued() < devices.least_queued,
            Self::EchoBot(echo) => {
                let wants = echo.turn == EchoPhase::Idle && now >= echo.due;
                if wants {
                    echo.turn = EchoPhase::Hear;
                }
                wants
            }
        }
    }

    /// A block for the speaker.
    pub(crate) fn play(&mut self, block: &Block) {
        match self {
            Self::Devices(devices) => {
                devices.playback.write(block);
            }
            Self::EchoBot(echo) => {
                echo.heard.push_back(*block);
                echo.due += BLOCK_DURATION;
                echo.turn = EchoPhase::Speak;
            }
        }
    }

    /// A block for the speaker's two sides.
    pub(crate) fn play_stereo(&mut self, block: &StereoBlock, width: Width) {
        match (&mut *self, width) {
            (Self::Devices(devices), Width::Stereo) => {
                devices.playback.write_stereo(&block.left, &block.right);
            }
            (Self::Devices(_) | Self::EchoBot(_), Width::Mono) => self.play(&block.left),
            (Self::EchoBot(_), Width::Stereo) => self.play(&block.mean()),
        }
    }

    /// The microphone's next block, if it has one.
    pub(crate) fn read_block(&mut self, block: &mut Block) -> bool {
        match self {
            Self::Devices(devices) => {
                let has_block = devices.capture.available() >= BLOCK_SAMPLES;
                if has_block {
                    devices.capture.read(block);
                }
                has_block
            }
            Self::EchoBot(echo) => {
                let speaks = echo.turn == EchoPhase::Speak;
                echo.turn = EchoPhase::Idle;
                if speaks && echo.heard.len() > ECHO_BLOCKS {
                    *block = echo.heard.pop_front().unwrap_or([0.0; BLOCK_SAMPLES]);
                    return true;
                }
                false
            }
        }
    }

    /// Drops what the microphone has captured and was not read.
    pub(crate) fn drop_captured(&mut self) {
        let Self::Devices(devices) = self else { return };
        let mut block: Block = [0.0; BLOCK_SAMPLES];
        for _ in 0..devices.capture.available() / BLOCK_SAMPLES {
            devices.capture.read(&mut block);
        }
    }

    /// What happened to the devices.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        let Self::Devices(devices) = self else { return None };
        let as_event = |which, event| match event {
            DeviceEvent::Lost { why } => Event::Device(crate::DeviceEvent::Lost { which, why }),
            _ => Event::Device(crate::DeviceEvent::Recovered { which }),
        };
        let input = devices.capture.poll_event().map(|event| as_event(DeviceRole::Input, event));
        let event = input.or_else(|| {
            devices.playback.poll_event().map(|event| as_event(DeviceRole::Output, event))
        });
        if event.is_some() {
            devices.drift.restart();
        }
        event
    }
}

/// Whether what is spoken comes from anything but a microphone.
fn is_simulated(input: &InputSpec) -> bool {
    !matches!(input, InputSpec::Device(_) | InputSpec::Program)
}

/// What a device wakes the engine with.
pub(crate) fn waker(wake: &Wake) -> voicemesh_device::Waker {
    let wake = wake.clone();
    Arc::new(move || wake.wake())
}

/// How long so many samples last.
fn length(samples: usize) -> Duration {
    Duration::from_micros(samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE))
}

impl Devices {
    /// More is queued where the speaker runs dry, less where it has not for a while.
    fn adapt(&mut self, now: Duration) {
        let underruns = self.playback.underruns();
        if underruns != self.underruns {
            self.underruns = underruns;
            self.least_queued = (self.least_queued + QUEUE_STEP).min(MOST_QUEUED);
            self.calm_since = now;
        } else if now > self.calm_since + CALM {
            self.least_queued = self.least_queued.saturating_sub(QUEUE_STEP).max(LEAST_QUEUED);
            self.calm_since = now;
        }
    }

    /// The microphone is read at the speaker's pace, so that the echo of what is played keeps its
    /// distance. What comes from a file stays as it is.
    fn follow_clocks(&mut self, now: Duration) {
        self.drift.observe(now, self.capture.samples_captured(), self.playback.samples_played());
        if !self.is_simulated_input {
            self.capture.set_rate_correction(self.drift.ppm());
        }
    }
}
