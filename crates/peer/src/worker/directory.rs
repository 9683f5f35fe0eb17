//! A room calls its peers as its program does.

use voicemesh_engine::EngineOnNetwork;
use voicemesh_mesh::Carried;
use voicemesh_session::client::Participant;
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::{ClientId, PeerId};

use crate::carrier::RealCarrier;
use crate::voice_loop::Directory;

type RoomNetwork = Carried<RealCarrier>;

/// The roster of a room, which its mesh keeps.
pub(super) struct RoomDirectory;

impl Directory<RoomNetwork> for RoomDirectory {
    fn participant(&self, peer: PeerId) -> Option<Participant<PeerId>> {
        Some(Participant::Peer(peer))
    }

    fn member(
        &self,
        engine: &EngineOnNetwork<RoomNetwork>,
        peer: PeerId,
    ) -> Option<Participant<PeerId>> {
        engine.network().mesh.member(peer).map(|_| Participant::Peer(peer))
    }

    fn client(&self, engine: &EngineOnNetwork<RoomNetwork>, peer: PeerId) -> Option<ClientId> {
        engine.network().mesh.client(peer)
    }

    fn name(&self, engine: &EngineOnNetwork<RoomNetwork>, peer: PeerId) -> Option<String> {
        engine.network().mesh.member(peer).map(|member| member.name.clone())
    }

    fn peer(&self, who: Participant<PeerId>) -> Option<PeerId> {
        // The application does not know clients that are not in the roster.
        who.peer()
    }

    fn target(&self, target: &VoiceTarget<PeerId>) -> Option<VoiceTarget<PeerId>> {
        Some(target.clone())
    }
}
