//! Who is in the session, and what the program and the engine call each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use voicemesh_engine::EngineOnNetwork;
use voicemesh_session::Network;
use voicemesh_session::client::{Participant, Phase};
use voicemesh_session::route::Route;
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::names::short_id;
use voicemesh_wire::{ClientId, DisplayName, PeerId, SessionId};

use crate::snapshot::{PeerState, Snapshot};
use crate::voice_loop::{Directory, KnownGroups, peer_state, voice_state};

/// A network without signaling knows no machines, only clients of a session: a member's id is made
/// of both ([`PeerId::of_client`]). The engine calls it by them, or by its link once that is bound.
#[derive(Debug)]
pub(super) struct Members<P> {
    session: Option<SessionId>,
    you: Option<ClientId>,
    here: BTreeMap<PeerId, Member<P>>,
    /// Those who are called by their links.
    linked: BTreeMap<P, PeerId>,
    /// What was set of members who are here.
    settings: BTreeMap<PeerId, Setting>,
}

#[derive(Clone, Debug, PartialEq)]
struct Member<P> {
    who: Participant<P>,
    client: ClientId,
    /// As a receiver in a room makes it of what was sent.
    name: DisplayName,
    /// The name, told apart from others that look alike.
    label: String,
}

impl<P> Member<P> {
    fn new(
        session: SessionId,
        client: ClientId,
        name: &str,
        who: Participant<P>,
    ) -> (PeerId, Self) {
        let id = PeerId::of_client(session, client);
        let mut name = DisplayName::received(name, id);
        // Where a room has the beginning of an id, which is the same of all members here.
        if name.as_str() == short_id(id)
            && let Ok(number) = DisplayName::parse(&number(client))
        {
            name = number;
        }
        let label = name.as_str().to_owned();
        (id, Self { who, client, name, label })
    }

    fn shown(&self) -> String {
        self.name.as_str().to_owned()
    }
}

/// What tells members of one session apart: ids of all of them begin alike.
fn number(client: ClientId) -> String {
    format!("{:04x}", client.0)
}

/// Tells apart those whose names look alike, the own name included, as a room does.
fn label<P>(members: &mut BTreeMap<PeerId, Member<P>>, own: Option<&DisplayName>) {
    let (mut seen, mut alike) = (BTreeSet::new(), BTreeSet::new());
    for name in members.values().map(|member| &member.name).chain(own) {
        let skeleton = name.skeleton();
        if !seen.insert(skeleton.clone()) {
            alike.insert(skeleton);
        }
    }
    for member in members.values_mut() {
        if alike.contains(&member.name.skeleton()) {
            member.label = format!("{}#{}", member.name.as_str(), number(member.client));
        }
    }
}

/// What the program has set of one member.
#[derive(Clone, Copy, Debug)]
struct Setting {
    gain: f32,
    is_muted: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { gain: 1.0, is_muted: false }
    }
}

/// Someone came or went.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Came { peer: PeerId, name: String },
    Left { peer: PeerId, name: String },
}

impl<P> Default for Members<P> {
    fn default() -> Self {
        Self {
            session: None,
            you: None,
            here: BTreeMap::new(),
            linked: BTreeMap::new(),
            settings: BTreeMap::new(),
        }
    }
}

impl<P: Copy + Ord + Debug> Members<P> {
    /// Looks who is in the session now. A member whom the engine calls otherwise than before keeps
    /// what was set of it.
    pub(super) fn follow<N: Network<Peer = P>>(
        &mut self,
        engine: &mut EngineOnNetwork<N>,
    ) -> Vec<Change> {
        let (session, you, here) = self.look(engine);
        let left = self.here.iter().filter(|(peer, _)| !here.contains_key(peer));
        let mut changes: Vec<_> =
            left.map(|(peer, member)| Change::Left { peer: *peer, name: member.shown() }).collect();
        for (peer, member) in &here {
            let before = self.here.get(peer);
            if before.is_none() {
                changes.push(Change::Came { peer: *peer, name: member.shown() });
            }
            if before.is_some_and(|before| before.who != member.who)
                && let Some(Setting { gain, is_muted }) = self.settings.get(peer)
            {
                engine.set_gain(member.who, *gain);
                engine.set_peer_muted(member.who, *is_muted);
            }
        }
        self.settings.retain(|peer, _| here.contains_key(peer));
        self.linked =
            here.iter().filter_map(|(id, member)| Some((member.who.peer()?, *id))).collect();
        (self.session, self.you, self.here) = (session, you, here);
        changes
    }

    fn look<N: Network<Peer = P>>(
        &self,
        engine: &EngineOnNetwork<N>,
    ) -> (Option<SessionId>, Option<ClientId>, BTreeMap<PeerId, Member<P>>) {
        let Some(client) = engine.client() else {
            let status = engine.status();
            let Some(session) = status.session else { return (None, None, BTreeMap::new()) };
            let members = status.members.into_iter().map(|(client, name)| {
                Member::new(session, client, &name, Participant::Client(session, client))
            });
            let mut members: BTreeMap<_, _> = members.collect();
            label(&mut members, None);
            return (Some(session), None, members);
        };
        if client.phase() != Phase::Joined {
            // Links go on.
            let linked = self.here.iter().filter(|(_, member)| {
                member.who.peer().is_some() && client.route(member.who) == Route::Direct
            });
            let linked = linked.map(|(peer, member)| (*peer, member.clone())).collect();
            return (self.session, self.you, linked);
        }
        let Some(view) = client.view() else { return (None, None, BTreeMap::new()) };
        let session = view.session();
        let others = view.table().members().filter(|member| member.info.id != view.you());
        let here = others.filter_map(|member| {
            let id = member.info.id;
            let who = client.who(id).unwrap_or(Participant::Client(session, id));
            // Sealed, it comes a moment later.
            Some(Member::new(session, id, engine.name_of(id)?, who))
        });
        let mut here: BTreeMap<_, _> = here.collect();
        let own = engine
            .name_of(view.you())
            .map(|own| DisplayName::received(own, PeerId::of_client(session, view.you())));
        label(&mut here, own.as_ref());
        (Some(session), Some(view.you()), here)
    }

    /// The own id.
    pub(super) fn you(&self) -> Option<PeerId> {
        Some(PeerId::of_client(self.session?, self.you?))
    }

    pub(super) fn set_gain(&mut self, peer: PeerId, gain: f32) {
        if self.here.contains_key(&peer) {
            self.settings.entry(peer).or_default().gain = gain;
        }
    }

    pub(super) fn set_muted(&mut self, peer: PeerId, is_muted: bool) {
        if self.here.contains_key(&peer) {
            self.settings.entry(peer).or_default().is_muted = is_muted;
        }
    }

    /// The situation, for the program.
    pub(super) fn snapshot<N: Network<Peer = P>>(
        &self,
        engine: &EngineOnNetwork<N>,
        name: &str,
        is_talking: bool,
        is_listening_only: bool,
        known_groups: &mut KnownGroups,
    ) -> Snapshot {
        let mut statuses = engine.peers();
        statuses.sort_by_key(|status| status.who);
        known_groups.retain(|peer, _| self.here.contains_key(peer));
        let peers = self.here.iter().map(|(peer, member)| {
            let at = statuses.binary_search_by_key(&member.who, |status| status.who);
            let status = at.ok().map(|at| &statuses[at]);
            let groups = known_groups.entry(*peer).or_default();
            let view = engine.client().and_then(|client| client.view());
            let now = view.and_then(|view| view.table().member(member.client));
            let now = now.into_iter().flat_map(|member| member.groups.values());
            if !groups.iter().eq(now.clone()) {
                *groups = now.cloned().collect();
            }
            PeerState {
                groups: Arc::clone(groups),
                order: u64::from(member.client.0),
                encryption: engine.encryption_of(member.client),
                ..peer_state(*peer, member.shown(), member.label.clone(), status)
            }
        });
        let peers = peers.collect();
        let voice = voice_state(engine, is_talking);
        Snapshot {
            server_answers: voice.connected,
            you: self.you(),
            name: name.to_owned(),
            peers,
            listening_only: is_listening_only,
            safety_code: engine.safety_code(),
            has_room_key: engine.encrypts(),
            ..voice
        }
    }
}

impl<N: Network> Directory<N> for Members<N::Peer> {
    fn participant(&self, peer: PeerId) -> Option<Participant<N::Peer>> {
        self.here.get(&peer).map(|member| member.who)
    }

    fn member(&self, _engine: &EngineOnNetwork<N>, peer: PeerId) -> Option<Participant<N::Peer>> {
        self.here.get(&peer).map(|member| member.who)
    }

    fn client(&self, _engine: &EngineOnNetwork<N>, peer: PeerId) -> Option<ClientId> {
        self.here.get(&peer).map(|member| member.client)
    }

    fn name(&self, _engine: &EngineOnNetwork<N>, peer: PeerId) -> Option<String> {
        self.here.get(&peer).map(Member::shown)
    }

    fn peer(&self, who: Participant<N::Peer>) -> Option<PeerId> {
        match who {
            Participant::Peer(peer) => self.linked.get(&peer).copied(),
            Participant::Client(session, client) => Some(PeerId::of_client(session, client)),
        }
    }

    fn target(&self, target: &VoiceTarget<PeerId>) -> Option<VoiceTarget<N::Peer>> {
        match target {
            VoiceTarget::Group(name) => Some(VoiceTarget::Group(name.clone())),
            VoiceTarget::Peer(peer) => {
                self.here.get(peer).map(|member| VoiceTarget::Client(member.client))
            }
            VoiceTarget::Client(client) => Some(VoiceTarget::Client(*client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str], own: &str) -> Vec<String> {
        let session = SessionId::new(7).unwrap();
        let mut members: BTreeMap<PeerId, Member<u8>> = (2..)
            .zip(names)
            .map(|(client, name)| {
                let who = Participant::Client(session, ClientId(client));
                Member::new(session, ClientId(client), name, who)
            })
            .collect();
        label(&mut members, DisplayName::parse(own).ok().as_ref());
        members.into_values().map(|member| member.label).collect()
    }

    #[test]
    fn names_of_other_programs_are_cleaned_as_in_a_room() {
        let long = "x".repeat(10_000);
        let labels = members(&["B\u{1b}[31men\n", " \u{200b}\u{202e}", &long], "Ada");
        assert_eq!(labels[0], "B[31men");
        assert_eq!(labels[1], "0003", "its number stands for a name without letters");
        assert!(labels[2].len() < 100, "{}", labels[2].len());
    }

    #[test]
    fn names_that_look_alike_are_told_apart_the_own_one_included() {
        // The second has a Cyrillic letter.
        assert_eq!(
            members(&["Ben", "B\u{435}n", "Cy"], "Ada"),
            ["Ben#0002", "B\u{435}n#0003", "Cy"]
        );
        assert_eq!(members(&["Ada"], "Ada"), ["Ada#0002"]);
    }
}
