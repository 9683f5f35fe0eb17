//! How the program calls the others, and how the engine does.

use voicemesh_engine::EngineOnNetwork;
use voicemesh_session::Network;
use voicemesh_session::client::Participant;
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::{ClientId, PeerId};

/// By what the program knows a peer, against what the engine knows it by.
pub(crate) trait Directory<N: Network> {
    /// One that may be there, or come.
    fn participant(&self, peer: PeerId) -> Option<Participant<N::Peer>>;

    /// One that is there.
    fn member(&self, engine: &EngineOnNetwork<N>, peer: PeerId) -> Option<Participant<N::Peer>>;

    /// The id in the session of one that is there.
    fn client(&self, engine: &EngineOnNetwork<N>, peer: PeerId) -> Option<ClientId>;

    /// The name of one that is there.
    fn name(&self, engine: &EngineOnNetwork<N>, peer: PeerId) -> Option<String>;

    /// The other way round.
    fn peer(&self, who: Participant<N::Peer>) -> Option<PeerId>;

    /// Whom speech is for.
    fn target(&self, target: &VoiceTarget<PeerId>) -> Option<VoiceTarget<N::Peer>>;
}
