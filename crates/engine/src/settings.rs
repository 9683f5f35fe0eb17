//! What the user of a [`VoiceEngine`] sets about its sound, and reads of it.
//!
//! A speaker is heard from its position if its speech is positional ([`TargetOptions::positional`]) and a position is known;
//! other speech is heard without one. Speech that reaches this peer in both ways is positional.
//!
//! [`TargetOptions::positional`]: voicemesh_session::speaker::TargetOptions::positional

use std::fmt::Debug;
use std::time::Duration;

use voicemesh_audio::process::{Activation, Processing};
use voicemesh_audio::space::{Attenuation, Handedness, Placement, Pose};
use voicemesh_session::client::Who;
use voicemesh_uplink::plan::RateLimits;

use crate::VoiceEngine;
use crate::status::{CommsError, SpeakingStatus};
use crate::tap::TappedFrame;

impl<P: Copy + Ord + Debug> VoiceEngine<P> {
    /// Muted, nothing is sent; targets and burst stay as they are.
    pub fn set_muted(&mut self, muted: bool) {
        self.speaking.set_muted(muted);
    }

    /// Whether nothing is sent.
    pub fn is_muted(&self) -> bool {
        self.speaking.is_muted()
    }

    /// Deafened, nothing is heard; what others say is still received.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.hearing.set_deafened(deafened);
    }

    /// Whether nothing is heard.
    pub fn is_deafened(&self) -> bool {
        self.hearing.is_deafened()
    }

    /// How loud one peer is heard: a factor, 1.0 as spoken, at most 4.0. Stays until changed, whatever the peer does.
    pub fn set_gain(&mut self, who: Who<P>, gain: f32) {
        self.hearing.set_gain(who, gain);
    }

    /// Whether one peer is not heard.
    pub fn set_peer_muted(&mut self, who: Who<P>, muted: bool) {
        self.hearing.set_peer_muted(who, muted);
    }

    /// What is done to the microphone's sound, from the next block on.
    pub fn set_processing(&mut self, processing: Processing) {
        self.speaking.set_processing(processing);
    }

    /// What is done to the microphone's sound.
    pub fn processing(&self) -> Processing {
        self.speaking.processing()
    }

    /// When the microphone's sound is sent.
    ///
    /// # Errors
    /// A release delay that is too long; the old rule stays.
    pub fn set_activation(&mut self, activation: Activation) -> Result<(), CommsError> {
        Ok(self.speaking.set_activation(activation)?)
    }

    /// When the microphone's sound is sent.
    pub fn activation(&self) -> Activation {
        self.speaking.activation()
    }

    /// Whether the key of push-to-talk is held.
    pub fn set_talking(&mut self, talking: bool) {
        self.speaking.set_talking(talking);
    }

    /// What all that is sent may take of the uplink, in bits per second; `None` for no limit.
    pub fn set_uplink_bps(&mut self, uplink_bps: Option<u32>) {
        let limits = self.feedback.limits();
        self.feedback.allow(RateLimits { uplink_bps, ..limits });
    }

    /// What the devices add to the delay: how old the newest sample of a captured block is when it is handed over, and
    /// how long after being asked for a rendered block's first sample is heard. The measured delay counts both, and the
    /// echo canceller begins its search with their sum.
    pub fn set_device_delays(&mut self, capture_age: Duration, playout_delay: Duration) {
        self.devices.capture_age = capture_age;
        self.devices.playout_delay = playout_delay;
        self.speaking.set_echo_delay(capture_age + playout_delay);
    }

    /// The microphone, and how its speech is sent.
    pub fn speaking_status(&self) -> SpeakingStatus {
        let plan = self.feedback.plan();
        SpeakingStatus {
            level: self.speaking.level(),
            sending: self.speaking.is_open(),
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
    pub fn poll_frame(&mut self) -> Option<TappedFrame<P>> {
        self.frames.take()
    }

    /// Where the listener stands and looks.
    pub fn set_listener(&mut self, pose: Pose) {
        self.hearing.space.set_listener(pose);
    }

    /// How voices get softer with distance.
    pub fn set_attenuation(&mut self, attenuation: Attenuation) {
        self.hearing.space.set_attenuation(attenuation);
    }

    /// Which way the axes lie.
    pub fn set_handedness(&mut self, handedness: Handedness) {
        self.hearing.space.set_handedness(handedness);
    }

    /// Sets a speaker's position; `None` for no position. Stays until changed, for at most 1,024 of them.
    pub fn set_placement(&mut self, who: Who<P>, placement: Option<Placement>) {
        self.hearing.set_placement(who, placement);
    }
}
