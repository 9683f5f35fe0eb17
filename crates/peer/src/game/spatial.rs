//! Positions of the listener and the speakers, from the game's frames to the engine.

use std::sync::{Mutex, MutexGuard};

use voicemesh_audio::space::{Attenuation, Placement, Pose};
use voicemesh_common::lock;
use voicemesh_wire::PeerId;

/// Speakers that moved since the engine last looked, which it does every 10 ms. When there are
/// more, the newest wait for the game's next frame.
const MOVED: usize = 256;

/// What changed since the engine last looked; of each the latest. The lock is held for one entry,
/// or one exchange.
#[derive(Debug, Default)]
pub(crate) struct PendingPositions(Mutex<MovedPositions>);

/// By peer, ascending.
#[derive(Debug)]
pub(crate) struct MovedPositions {
    pub listener: Option<Pose>,
    pub attenuation: Option<Attenuation>,
    pub speakers: Vec<(PeerId, Option<Placement>)>,
}

impl Default for MovedPositions {
    fn default() -> Self {
        Self { listener: None, attenuation: None, speakers: Vec::with_capacity(MOVED) }
    }
}

impl MovedPositions {
    pub(crate) fn put(&mut self, peer: PeerId, placement: Option<Placement>) {
        match self.speakers.binary_search_by_key(&peer, |(peer, _)| *peer) {
            Ok(at) => self.speakers[at].1 = placement,
            Err(at) if self.speakers.len() < MOVED => self.speakers.insert(at, (peer, placement)),
            Err(_) => {}
        }
    }
}

impl PendingPositions {
    pub(crate) fn lock(&self) -> MutexGuard<'_, MovedPositions> {
        lock(&self.0)
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
        let mut moved = MovedPositions::default();
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
