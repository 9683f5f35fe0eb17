//! Another peer in the room.

use voicemesh_audio::space::Placement;
use voicemesh_device::{DeviceError, SAMPLE_RATE};
use voicemesh_mesh::Reachability;
use voicemesh_session::Reliability;
use voicemesh_wire::PeerId;

use super::core::Core;
use crate::command::{Command, GameCommand, LobbyCommand, TextTo};
use crate::data::SendError;
use crate::game::{PeerVoice, ring};
use crate::lobby::ConnectError;

/// Another peer; see [`Room::participant`](super::Room::participant).
#[derive(Clone, Copy, Debug)]
pub struct Participant<'a> {
    core: &'a Core,
    peer: PeerId,
}

impl<'a> Participant<'a> {
    pub(super) fn new(core: &'a Core, peer: PeerId) -> Self {
        Self { core, peer }
    }

    /// Its id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// How loud it is heard: a factor, 1.0 as spoken, at most 4.0.
    pub fn set_gain(&self, gain: f32) {
        self.core.command(Command::SetGain(self.peer, gain));
    }

    /// Whether it is not heard here. For all, a moderator mutes it:
    /// [`Lobby::moderate`](super::Lobby::moderate).
    pub fn set_muted(&self, muted: bool) {
        self.core.command(Command::SetPeerMuted(self.peer, muted));
    }

    /// How loud it speaks, in dBFS from −120 (silence) to 0; −50 is where speech begins. `None` if
    /// nothing was heard lately, or it is not here. At most 20 ms old; allocates nothing.
    pub fn level(&self) -> Option<f32> {
        self.core.read_snapshot(|snapshot| {
            snapshot.peers.iter().find(|state| state.peer == self.peer)?.level_dbfs
        })
    }

    /// Whether it speaks. At most 20 ms old; allocates nothing.
    pub fn is_speaking(&self) -> bool {
        self.core.read_snapshot(|snapshot| {
            snapshot.peers.iter().any(|state| state.peer == self.peer && state.speaking)
        })
    }

    /// Writes to it. A text that cannot be sent raises
    /// [`RoomEvent::Warned`](crate::RoomEvent::Warned).
    pub fn send_text(&self, text: &str) {
        self.core.command(Command::SendText(TextTo::Peer(self.peer), text.to_owned()));
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
impl Participant<'_> {
    /// Where its mouth is, and how it moves; between two calls it is assumed to go on moving for at
    /// most a quarter of a second. Ignored for a peer that is not in the room, and if a component
    /// is not a number. A peer that leaves the room loses its position.
    pub fn set_position(&self, position: [f32; 3], velocity: [f32; 3]) {
        if let Some(placement) = Placement::new(self.core.started.elapsed(), position, velocity) {
            self.core.positions.lock().put(self.peer, Some(placement));
        }
    }

    /// It stands nowhere: it is heard as it is.
    pub fn clear_position(&self) {
        self.core.positions.lock().put(self.peer, None);
    }
}

/// # Its voice for the game's own audio engine
impl Participant<'_> {
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
        let (source, reader) = ring(rate_hz, 1, &self.core.wake)?;
        self.core.game(GameCommand::OpenVoice(self.peer, Box::new(source)));
        Ok(PeerVoice::new(reader, self.peer, rate_hz))
    }
}

/// # Messages to it
impl Participant<'_> {
    /// Sends it a message, directly where a link carries it, else through the server. A reliable
    /// one (at most 256 KiB) arrives exact, complete and in order as long as both stay in the room,
    /// over any change of route; an unreliable one (at most 1,100 bytes) may be lost, doubled or
    /// overtaken. The bytes are copied.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; with [`SendError::WouldBlock`], try again in a later frame.
    pub fn send(&self, data: &[u8], how: Reliability) -> Result<(), SendError> {
        self.core.check_here()?;
        self.core.outbox.queue(|ledger, into| {
            into.push_back(ledger.send(self.peer, how, data)?);
            Ok(())
        })
    }

    /// Closes every data channel with it, and drops what waits to be sent to it. It stays in the
    /// room, and is heard; it receives [`DataEvent::Disconnected`](crate::DataEvent::Disconnected).
    pub fn close_channels(&self) {
        let ordered = self.core.outbox.queue(|ledger, into| {
            into.extend(ledger.disconnect(self.peer));
            Ok(())
        });
        debug_assert_eq!(ordered, Ok(()), "nothing is refused");
    }

    /// Reliable bytes that wait to be sent to it, or of which it has not said that they arrived.
    /// Each message counts 64 more.
    pub fn queued_bytes(&self) -> usize {
        self.core.outbox.ledger().queued_bytes(self.peer)
    }
}

/// # The link to it
impl Participant<'_> {
    /// Requests a direct link, by the token that the peer publishes ([`crate::REACHABILITY_KEY`]).
    /// With [`Connections::Explicit`](crate::Connections::Explicit) both sides must connect; a side
    /// that has not receives [`RoomEvent::ConnectionRequested`]. The request holds until the peer
    /// leaves the room or is disconnected. [`RoomEvent::Warned`] reports a token that is not the
    /// newest, or of a peer that is not in the room.
    ///
    /// # Errors
    ///
    /// When the token is none of that peer's.
    ///
    /// [`RoomEvent::ConnectionRequested`]: crate::RoomEvent::ConnectionRequested
    /// [`RoomEvent::Warned`]: crate::RoomEvent::Warned
    pub fn connect(&self, token: &str) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Connect(Reachability::parse(token, self.peer)?))
    }

    /// A newer token of a connected peer. A link that works goes on; without one, it is tried at
    /// once.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn update(&self, token: &str) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Update(Reachability::parse(token, self.peer)?))
    }

    /// Closes the link; there is none until [`connect`](Self::connect). Speech goes on, through the
    /// server.
    ///
    /// # Errors
    ///
    /// When the engine does not take it.
    pub fn disconnect(&self) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Disconnect(self.peer))
    }

    fn lobby(&self, command: LobbyCommand) -> Result<(), ConnectError> {
        self.core.try_command(Command::Lobby(command))
    }
}
