//! The situation in a room, as a snapshot.

use std::sync::Arc;

use voicemesh_engine::EngineOnNetwork;
use voicemesh_mesh::{Carried, Mesh};
use voicemesh_session::client::Participant;
use voicemesh_wire::PeerId;

use super::RECORDING;
use crate::carrier::RealCarrier;
use crate::snapshot::{PeerState, QueueDrops, Snapshot};
use crate::voice_loop::{KnownGroups, peer_state, voice_state};

/// What a snapshot is made from.
pub(super) struct Situation<'a> {
    pub(super) engine: &'a EngineOnNetwork<Carried<RealCarrier>>,
    pub(super) name: &'a str,
    pub(super) talking: bool,
    pub(super) recording: bool,
}

impl Situation<'_> {
    pub(super) fn snapshot(&self, known_groups: &mut KnownGroups) -> Snapshot {
        let mesh = &self.engine.network().mesh;
        let peers = self.engine.peers();
        let status =
            |peer: PeerId| peers.iter().find(|status| status.who == Participant::Peer(peer));
        if known_groups.len() > mesh.members().count() {
            known_groups.retain(|peer, _| mesh.members().any(|member| member.peer == *peer));
        }
        let mut groups_of = |peer: PeerId| {
            let known = known_groups.entry(peer).or_default();
            if !known.iter().map(String::as_str).eq(self.engine.groups_of(peer)) {
                *known = self.engine.groups_of(peer).map(str::to_owned).collect();
            }
            Arc::clone(known)
        };
        let states = mesh.members().map(|member| {
            let state = peer_state(
                member.peer,
                member.name.clone(),
                member.label.clone(),
                status(member.peer),
            );
            PeerState {
                metadata: member.metadata.clone(),
                status: member.status,
                groups: groups_of(member.peer),
                permissions: member.permissions,
                held_in: member.held_in.iter().cloned().collect(),
                order: member.order,
                encryption: mesh.encryption_of(member.peer),
                recording: member.status.recording || member.metadata.contains_key(RECORDING),
                ..state
            }
        });
        let peers = states.collect();
        let voice = voice_state(self.engine, self.talking);
        let mut snapshot = Snapshot {
            server_answers: voice.connected && mesh.server_is_reached(),
            you: Some(mesh.you()),
            peers,
            listening_only: mesh.status().listening_only,
            recording: self.recording,
            name: self.name.to_owned(),
            server_connection: mesh.server_connection().cloned(),
            drops: QueueDrops {
                internal: voice.drops.internal + mesh.events_dropped() + mesh.outputs_dropped(),
                ..voice.drops
            },
            ..voice
        };
        fill_lobby(&mut snapshot, mesh);
        snapshot
    }
}

/// What a snapshot says of the lobby.
fn fill_lobby(snapshot: &mut Snapshot, mesh: &Mesh) {
    snapshot.safety_code = mesh.safety_code();
    snapshot.has_room_key = mesh.has_room_key();
    snapshot.owner = mesh.owner();
    snapshot.permissions = mesh.own_permissions();
    snapshot.held_in = mesh.own_held_in().iter().cloned().collect();
    snapshot.metadata = mesh.own_metadata().clone();
    snapshot.room_metadata = mesh.room_metadata().clone();
    snapshot.peers.sort_by_key(|peer| peer.order);
}
