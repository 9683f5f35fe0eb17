//! Where the listener and the speakers stand.
//!
//! A speaker is heard from its place if its speech is positional ([`TargetOptions::positional`]) and a place is known;
//! what it says to anything else, by radio as it were, is heard as it is. Speech that reaches this peer in both ways is
//! positional.
//!
//! [`TargetOptions::positional`]: voicemesh_session::speaker::TargetOptions::positional

use voicemesh_audio::space::{Attenuation, Handedness, Placement, Pose};
use voicemesh_session::Network;
use voicemesh_session::client::Who;

use crate::Comms;

impl<N: Network> Comms<N> {
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
    pub fn set_placement(&mut self, who: Who<N::Peer>, placement: Option<Placement>) {
        self.hearing.set_placement(who, placement);
    }
}
