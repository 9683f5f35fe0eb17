//! Where everybody stands, from the game's frames to the engine.

use std::sync::{Mutex, MutexGuard, PoisonError};

use voicemesh_audio::space::{Attenuation, Placement, Pose};
use voicemesh_session::client::Who;
use voicemesh_wire::PeerId;

use crate::Peer;
use crate::engine::Engine;

/// Speakers that moved since the engine last looked, which it does every 10 ms. When there are more, the newest wait for
/// the game's next frame.
const MOVED: usize = 256;

/// What changed since the engine last looked; of each the latest. The lock is held for one entry, or one exchange.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Moved>);

/// By peer, ascending.
#[derive(Debug)]
pub(super) struct Moved {
    listener: Option<Pose>,
    attenuation: Option<Attenuation>,
    speakers: Vec<(PeerId, Option<Placement>)>,
}

impl Default for Moved {
    fn default() -> Self {
        Self { listener: None, attenuation: None, speakers: Vec::with_capacity(MOVED) }
    }
}

impl Moved {
    fn put(&mut self, peer: PeerId, placement: Option<Placement>) {
        match self.speakers.binary_search_by_key(&peer, |(peer, _)| *peer) {
            Ok(at) => self.speakers[at].1 = placement,
            Err(at) if self.speakers.len() < MOVED => self.speakers.insert(at, (peer, placement)),
            Err(_) => {}
        }
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        self.game.places.lock().listener = Some(pose);
    }

    /// Where another peer's mouth is, and how it moves; between two calls it is assumed to go on moving for at most a
    /// quarter of a second. Ignored for a peer that is not in the room, and if a component is not a number. A peer that
    /// leaves the room loses its position.
    pub fn set_position(&self, peer: PeerId, position: [f32; 3], velocity: [f32; 3]) {
        if let Some(placement) = Placement::new(self.started.elapsed(), position, velocity) {
            self.game.places.lock().put(peer, Some(placement));
        }
    }

    /// Another peer stands nowhere: it is heard as it is.
    pub fn clear_position(&self, peer: PeerId) {
        self.game.places.lock().put(peer, None);
    }

    /// How voices get softer with distance. At first [`Attenuation::default`].
    pub fn set_attenuation(&self, attenuation: Attenuation) {
        self.game.places.lock().attenuation = Some(attenuation);
    }
}

impl Engine {
    /// Takes up what has changed.
    pub(super) fn take_places(&mut self) {
        let Self { comms, game, .. } = self;
        std::mem::swap(&mut *game.places.lock(), &mut game.moved);
        if let Some(pose) = game.moved.listener.take() {
            comms.set_listener(pose);
        }
        if let Some(attenuation) = game.moved.attenuation.take() {
            comms.set_attenuation(attenuation);
        }
        for (peer, placement) in game.moved.speakers.drain(..) {
            if comms.network().member(peer).is_some() {
                comms.set_placement(Who::Peer(peer), placement);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use voicemesh_wire::identity::{InstallationSecret, prove};

    use super::*;

    fn peer(number: u32) -> PeerId {
        let secret = InstallationSecret([7; 32]);
        prove(&secret, "ws://here", "room", number).peer_id()
    }

    /// proves: B-11
    #[test]
    fn the_latest_place_counts_and_the_table_is_bounded() {
        let placed = |x| Placement::new(Duration::ZERO, [x, 0.0, 0.0], [0.0; 3]);
        let mut moved = Moved::default();
        let room = moved.speakers.capacity();
        for frame in 0..3 {
            for number in (0..1_000).rev() {
                moved.put(peer(number), placed(frame as f32));
            }
        }
        assert_eq!((moved.speakers.len(), moved.speakers.capacity()), (MOVED, room));
        assert!(moved.speakers.is_sorted_by_key(|(peer, _)| *peer));
        assert!(moved.speakers.iter().all(|(_, placement)| *placement == placed(2.0)));
        moved.put(peer(999), None);
        assert!(moved.speakers.contains(&(peer(999), None)));
    }
}
