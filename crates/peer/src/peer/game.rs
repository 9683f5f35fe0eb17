//! Voice inside a game: places, audiences, levels, sound for its own audio engine and from its own microphone.
//!
//! What the game calls each frame neither blocks nor allocates in the steady state.

use std::sync::atomic::Ordering;

use voicemesh_audio::space::{Attenuation, Placement, Pose};
use voicemesh_device::{Capture, DeviceError, MicrophoneFeed, SAMPLE_RATE};
use voicemesh_wire::PeerId;

use super::Peer;
use crate::command::{Command, GameCommand};
use crate::event::Snapshot;
use crate::game::{GridChange, MixVoice, PeerVoice, ProximityGrid, SpeakOptions, SpeakingTo, VoiceAudience, ring};
use crate::sound::waker;

/// # Places
///
/// For a game that joined with [`JoinOptions::positional`](crate::JoinOptions::positional). A peer is heard from its place
/// if both hold: the game has told its position here, and what it says is positional, which its own program decides, with
/// that option or with [`SpeakOptions::positional`](crate::SpeakOptions::positional). So a radio or an announcer can be
/// heard as it is, beside those who stand around. Speech that reaches this peer in both ways is heard from its place.
///
/// All of it may be called each frame for each peer: it never blocks for longer than another such call takes, allocates
/// nothing, and only the latest counts. Units are metres and metres a second.
impl Peer {
    /// Where this peer's ears are. A pose with a number that is none has no effect.
    pub fn set_listener(&self, pose: Pose) {
        self.places.lock().listener = Some(pose);
    }

    /// Where another peer's mouth is, and how it moves; between two calls it is assumed to go on moving for at most a
    /// quarter of a second. Ignored for a peer that is not in the room, and if a component is not a number. A peer that
    /// leaves the room loses its position.
    pub fn set_position(&self, peer: PeerId, position: [f32; 3], velocity: [f32; 3]) {
        if let Some(placement) = Placement::new(self.started.elapsed(), position, velocity) {
            self.places.lock().put(peer, Some(placement));
        }
    }

    /// Another peer stands nowhere: it is heard as it is.
    pub fn clear_position(&self, peer: PeerId) {
        self.places.lock().put(peer, None);
    }

    /// How voices get softer with distance. At first [`Attenuation::default`].
    pub fn set_attenuation(&self, attenuation: Attenuation) {
        self.places.lock().attenuation = Some(attenuation);
    }
}

/// # Who is near
///
/// ```no_run
/// # use voicemesh::{GridAxes, Peer, ProximityGrid};
/// # fn game(peer: Peer, walk: impl Iterator<Item = [f32; 3]>) -> Option<()> {
/// peer.leave_group("Global");
/// let mut grid = ProximityGrid::new("field", 20.0, GridAxes::Ground)?;
/// for position in walk {
///     peer.move_in(&mut grid, position); // each frame
/// }
/// peer.leave_grid(&mut grid);
/// # Some(()) }
/// ```
impl Peer {
    /// Listens to those around this position, and speaks to them, positionally. May be called each frame: only in another
    /// cell is there anything to do. Dropping the grid ends the speaking, and [`leave_grid`](Self::leave_grid) also the
    /// listening.
    pub fn move_in(&self, grid: &mut ProximityGrid, position: [f32; 3]) {
        if let Some(change) = grid.move_to(position) {
            self.follow_grid(grid, change);
        }
    }

    /// Ceases to listen and to speak to a grid's groups.
    pub fn leave_grid(&self, grid: &mut ProximityGrid) {
        let change = grid.leave();
        self.follow_grid(grid, change);
    }

    fn follow_grid(&self, grid: &mut ProximityGrid, change: GridChange) {
        change.unlisten.iter().for_each(|group| self.unlisten(group));
        change.listen.iter().for_each(|group| self.listen(group));
        // The new one is open before the old one closes, so that what is being said does not break off.
        let options = SpeakOptions { positional: true, ..SpeakOptions::default() };
        grid.speak_by(change.speak.map(|group| self.speak_to(VoiceAudience::Group(group), options)));
    }
}

/// # Groups and handles
impl Peer {
    /// Speaks to an audience for as long as the handle is held, in addition to all that is spoken to already.
    /// [`Event::Warned`](crate::Event::Warned) reports what cannot be done (more than 64 audiences at a time).
    #[must_use = "dropping the handle closes it"]
    pub fn speak_to(&self, audience: VoiceAudience, options: SpeakOptions) -> SpeakingTo {
        let handle = self.speaking_handles.fetch_add(1, Ordering::Relaxed);
        SpeakingTo::new(audience, options, handle, self.commands.clone(), self.wake.clone())
    }

    /// Begins to listen to a talk group, without speaking to it: at most 64 of them.
    pub fn listen(&self, group: &str) {
        self.command(Command::Game(GameCommand::Listen(group.to_owned())));
    }

    /// Stops listening to a talk group; speaking to it is not affected.
    pub fn unlisten(&self, group: &str) {
        self.command(Command::Game(GameCommand::Unlisten(group.to_owned())));
    }
}

/// # Each frame
///
/// None of these allocates or waits for the engine; what they read is at most 20 ms old.
impl Peer {
    /// How loud a peer speaks, in dBFS from −120 (silence) to 0; −50 is where speech begins. `None` if nothing was heard
    /// lately, or it is not here.
    pub fn level(&self, peer: PeerId) -> Option<f32> {
        self.read_snapshot(|snapshot| snapshot.peers.iter().find(|state| state.peer == peer)?.level_dbfs)
    }

    /// Whether a peer speaks.
    pub fn is_speaking(&self, peer: PeerId) -> bool {
        self.read_snapshot(|snapshot| snapshot.peers.iter().any(|state| state.peer == peer && state.speaking))
    }

    /// How loud this peer's own microphone is, in dBFS, after processing; also while nothing is sent.
    pub fn own_level(&self) -> f32 {
        self.read_snapshot(|snapshot| snapshot.microphone.level_dbfs)
    }

    /// Reads the situation as of a few milliseconds ago, without a copy of it. Reading it blocks no other thread.
    pub fn read_snapshot<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> R {
        read(&self.shared.snapshot())
    }
}

/// # Sound for the game's own audio engine
impl Peer {
    /// One peer's voice at 48 kHz.
    pub fn open_voice(&self, peer: PeerId) -> PeerVoice {
        match self.open_voice_at(peer, SAMPLE_RATE) {
            Ok(voice) => voice,
            Err(error) => unreachable!("48 kHz needs no conversion: {error}"),
        }
    }

    /// One peer's voice at another rate, 8,000 to 192,000; the engine converts it.
    ///
    /// # Errors
    /// A rate outside of the range.
    pub fn open_voice_at(&self, peer: PeerId, rate_hz: u32) -> Result<PeerVoice, DeviceError> {
        let (source, reader) = ring(rate_hz, 1, &self.wake)?;
        self.command(Command::Game(GameCommand::OpenVoice(peer, Box::new(source))));
        Ok(PeerVoice::new(reader, peer, rate_hz))
    }

    /// Everyone together, two sides, at `rate_hz` of 8,000 to 192,000. One at a time: another takes its place.
    ///
    /// # Errors
    /// A rate outside of the range.
    pub fn open_mix(&self, rate_hz: u32) -> Result<MixVoice, DeviceError> {
        let (source, reader) = ring(rate_hz, 2, &self.wake)?;
        self.command(Command::Game(GameCommand::OpenMix(Box::new(source))));
        Ok(MixVoice::new(reader, rate_hz))
    }
}

/// # The game's own microphone
impl Peer {
    /// A microphone whose samples the program writes itself: mono, `rate_hz` of 8,000 to 192,000. It takes the place of the
    /// microphone in use, and is processed like one; [`set_input`](Self::set_input) takes its place again. To have no other
    /// before it, join with [`InputSpec::Program`](crate::InputSpec::Program).
    ///
    /// The feed may move to another thread, and may outlive the peer.
    ///
    /// # Errors
    /// A rate outside of the range.
    pub fn open_microphone(&self, rate_hz: u32) -> Result<MicrophoneFeed, DeviceError> {
        let (capture, feed) = Capture::of_program(rate_hz, waker(&self.wake))?;
        self.command(Command::Game(GameCommand::UseMicrophone(Box::new(capture))));
        Ok(feed)
    }
}
