//! Another member: how it is heard, where it stands, and a text to it.

use voicemesh_audio::space::Placement;
use voicemesh_device::{DeviceError, SAMPLE_RATE};
use voicemesh_wire::PeerId;

use super::controls::Controls;
use crate::command::{TextTo, VoiceCommand};
use crate::game::{PeerVoice, ring};

/// Another member of the session: how it is heard, where it stands, and a text to it. Calls about
/// one that is not there do nothing.
///
/// In a room a [`Participant`](crate::Participant) is one as well; over another network see
/// [`over::Voice::member`](crate::over::Voice::member).
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    controls: &'a Controls,
    peer: PeerId,
}

impl<'a> Member<'a> {
    pub(crate) fn new(controls: &'a Controls, peer: PeerId) -> Self {
        Self { controls, peer }
    }

    /// Its id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// How loud it is heard: a factor, 1.0 as spoken, at most 4.0.
    pub fn set_gain(&self, gain: f32) {
        self.controls.command(VoiceCommand::SetGain(self.peer, gain));
    }

    /// Whether it is not heard here. For all, a moderator mutes it:
    /// [`Lobby::moderate`](crate::Lobby::moderate).
    pub fn set_muted(&self, muted: bool) {
        self.controls.command(VoiceCommand::SetPeerMuted(self.peer, muted));
    }

    /// How loud it speaks, in dBFS from −120 (silence) to 0; −50 is where speech begins. `None` if
    /// nothing was heard lately, or it is not here. At most 20 ms old; allocates nothing.
    pub fn level(&self) -> Option<f32> {
        self.controls.read_snapshot(|snapshot| {
            snapshot.peers.iter().find(|state| state.peer == self.peer)?.level_dbfs
        })
    }

    /// Whether it speaks. At most 20 ms old; allocates nothing.
    pub fn is_speaking(&self) -> bool {
        self.controls.read_snapshot(|snapshot| {
            snapshot.peers.iter().any(|state| state.peer == self.peer && state.speaking)
        })
    }

    /// Writes to it. A text that cannot be sent raises
    /// [`RoomEvent::Warned`](crate::RoomEvent::Warned).
    pub fn send_text(&self, text: &str) {
        self.controls.command(VoiceCommand::SendText(TextTo::Peer(self.peer), text.to_owned()));
    }
}

/// # Its place
///
/// For a game that joined with [`JoinOptions::positional`](crate::JoinOptions::positional). A peer
/// is heard from its place if both hold: the game has set its position here, and what it says is
/// positional, which its own program decides, with that option or with
/// [`TransmitOptions::positional`](crate::TransmitOptions::positional). So a radio or an announcer
/// can be heard as it is, beside those who stand around. Speech that reaches this peer in both ways
/// is heard from its place.
///
/// All of it may be called each frame for each peer: it never blocks for longer than another such
/// call takes, allocates nothing, and only the latest counts. Units are metres and metres a second.
impl Member<'_> {
    /// Where its mouth is, and how it moves; between two calls it is assumed to go on moving for at
    /// most a quarter of a second. Ignored for a peer that is not in the room, and if a component
    /// is not a number. A peer that leaves the room loses its position.
    pub fn set_position(&self, position: [f32; 3], velocity: [f32; 3]) {
        if let Some(placement) = Placement::new(self.controls.started.elapsed(), position, velocity)
        {
            self.controls.positions.lock().put(self.peer, Some(placement));
        }
    }

    /// It stands nowhere: it is heard as it is.
    pub fn clear_position(&self) {
        self.controls.positions.lock().put(self.peer, None);
    }
}

/// # Its voice for the game's own audio engine
impl Member<'_> {
    /// Its voice at 48 kHz.
    pub fn open_voice(&self) -> PeerVoice {
        match self.open_voice_at(SAMPLE_RATE) {
            Ok(voice) => voice,
            Err(error) => unreachable!("48 kHz needs no conversion: {error}"),
        }
    }

    /// Its voice at another rate, 8,000 to 192,000; the engine converts it.
    ///
    /// # Errors
    ///
    /// A rate outside of the range.
    pub fn open_voice_at(&self, rate_hz: u32) -> Result<PeerVoice, DeviceError> {
        let (source, reader) = ring(rate_hz, 1, &self.controls.wake)?;
        self.controls.command(VoiceCommand::OpenVoice(self.peer, Box::new(source)));
        Ok(PeerVoice::new(reader, self.peer, rate_hz))
    }
}
