//! What the user of a [`VoiceEngine`] sets about its sound, and reads of it.
//!
//! A speaker is heard from its position if its speech is positional ([`TargetOptions::positional`])
//! and a position is known; other speech is heard without one. Speech that reaches this peer in
//! both ways is positional.
//!
//! [`TargetOptions::positional`]: voicemesh_session::voice_targets::TargetOptions::positional

use std::fmt::Debug;
use std::time::Duration;

use voicemesh_audio::process::{Activation, Processing};
use voicemesh_audio::space::{Attenuation, Handedness, Placement, Pose};
use voicemesh_session::client::Participant;
use voicemesh_uplink::plan::RateLimits;

use crate::VoiceEngine;
use crate::recording_tap::RecordedFrame;
use crate::status::{EngineError, SpeakingStatus};

impl<P: Copy + Ord + Debug> VoiceEngine<P> {
    /// Muted, nothing is sent; targets and talkspurt stay as they are.
    pub fn set_muted(&mut self, muted: bool) {
        self.capture.set_muted(muted);
    }

    /// Whether nothing is sent.
    pub fn is_muted(&self) -> bool {
        self.capture.is_muted()
    }

    /// Deafened, nothing is heard; what others say is still received.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.playout.set_deafened(deafened);
    }

    /// Whether nothing is heard.
    pub fn is_deafened(&self) -> bool {
        self.playout.is_deafened()
    }

    /// How loud one peer is heard: a factor, 1.0 as spoken, at most 4.0. Stays until changed,
    /// whatever the peer does.
    pub fn set_gain(&mut self, who: Participant<P>, gain: f32) {
        self.playout.set_gain(who, gain);
    }

    /// Whether one peer is not heard.
    pub fn set_peer_muted(&mut self, who: Participant<P>, muted: bool) {
        self.playout.set_peer_muted(who, muted);
    }

    /// What is done to the microphone's sound, from the next block on.
    pub fn set_processing(&mut self, processing: Processing) {
        self.capture.set_processing(processing);
    }

    /// What is done to the microphone's sound.
    pub fn processing(&self) -> Processing {
        self.capture.processing()
    }

    /// When the microphone's sound is sent.
    ///
    /// # Errors
    /// A release delay that is too long; the old rule stays.
    pub fn set_activation(&mut self, activation: Activation) -> Result<(), EngineError> {
        Ok(self.capture.set_activation(activation)?)
    }

    /// When the microphone's sound is sent.
    pub fn activation(&self) -> Activation {
        self.capture.activation()
    }

    /// Whether the key of push-to-talk is held.
    pub fn set_talking(&mut self, talking: bool) {
        self.capture.set_talking(talking);
    }

    /// What all that is sent may take of the uplink, in bits per second; `None` for no limit.
    pub fn set_uplink_bps(&mut self, uplink_bps: Option<u32>) {
        let limits = self.feedback.limits();
        self.feedback.allow(RateLimits { uplink_bps, ..limits });
    }

    /// What all that is sent may take of the uplink, in bits per second: what it is measured to
    /// carry, or what was set if that is less; `None` while no limit was met or set.
    pub fn uplink_ceiling_bps(&self) -> Option<u32> {
        let (measured, set) =
            (self.feedback.uplink().estimate_bps, self.feedback.limits().uplink_bps);
        measured.into_iter().chain(set).min()
    }

    /// What the devices add to the delay: how old the newest sample of a captured block is when it
    /// is handed over, and how long after being asked for a rendered block's first sample is heard.
    /// The measured delay counts both, and the echo canceller begins its search with their sum.
    pub fn set_device_delays(&mut self, capture_age: Duration, playout_delay: Duration) {
        self.device_delays.capture_age = capture_age;
        self.device_delays.playout_delay = playout_delay;
        self.capture.set_echo_delay(capture_age + playout_delay);
    }

    /// The microphone, and how its speech is sent.
    pub fn speaking_status(&self) -> SpeakingStatus {
        let plan = self.feedback.plan();
        SpeakingStatus {
            level: self.capture.level(),
            sending: self.capture.is_open(),
            bitrate_bps: plan.bitrate_bps,
            worst_loss: self.feedback.worst_loss().unwrap_or(0.0),
            copies: plan.copies.len() as u8,
            uplink_bps: plan.uplink_bps,
            frames_per_packet: plan.frames_per_packet,
            uplink: self.feedback.uplink(),
        }
    }

    /// Whether [`poll_frame`](Self::poll_frame) gives the frames that are sent and received.
    pub fn set_tapped(&mut self, tapped: bool) {
        self.frames.set_on(tapped);
    }

    /// The next frame that was sent or received.
    pub fn poll_frame(&mut self) -> Option<RecordedFrame<P>> {
        self.frames.take()
    }

    /// Where the listener stands and looks.
    pub fn set_listener(&mut self, pose: Pose) {
        self.playout.space.set_listener(pose);
    }

    /// How voices get softer with distance.
    pub fn set_attenuation(&mut self, attenuation: Attenuation) {
        self.playout.space.set_attenuation(attenuation);
    }

    /// Which way the axes lie.
    pub fn set_handedness(&mut self, handedness: Handedness) {
        self.playout.space.set_handedness(handedness);
    }

    /// Sets a speaker's position; `None` for no position. Stays until changed, for at most 1,024 of
    /// them.
    pub fn set_placement(&mut self, who: Participant<P>, placement: Option<Placement>) {
        self.playout.set_placement(who, placement);
    }
}
