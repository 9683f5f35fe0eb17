//! Levels for mouths and lamps, read each frame.

use voicemesh_wire::PeerId;

use crate::{Peer, Snapshot};

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
