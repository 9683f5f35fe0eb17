//! Speech on its way to whoever listens, by each one's route (DESIGN §4 and §5; seed 001, "Voice Packets").

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::VOICE_COPIES;
use voicemesh_wire::packet::{self, Relay, Target, TargetKind, VoiceHeader};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use super::Client;
use super::event::Who;
use super::pairs::Common;
use super::view::View;
use crate::network::{Destination, LinkId, Network, Reliability};
use crate::speaker::{FrameAddress, VoiceTarget};

/// Frames kept to be sent again when a link stalls; the oldest is forgotten first. 1.28 s of 20 ms frames.
const RECENT_FRAMES: usize = 64;
/// What is older than this is not worth hearing any more.
const RESCUE_AGE: Duration = Duration::from_millis(1000);
/// A target that closes while nothing is said is closed by an empty frame after this.
const CLOSE_WITHOUT_FRAME: Duration = Duration::from_millis(60);

/// A frame that was sent not long ago.
#[derive(Clone, Debug)]
pub(super) struct Recent<P> {
    at: Duration,
    address: FrameAddress<P>,
    frame: Bytes,
}

/// A frame of the microphone, and what goes with it to those who can make use of it.
pub struct Spoken<'a, P> {
    /// One encoded frame.
    pub frame: Bytes,
    /// Nothing is said after it for now.
    pub pause_follows: bool,
    /// Which earlier frames go again: how many frames behind. At most [`VOICE_COPIES`] count.
    pub copies: &'a [u8],
    /// Who is sent them.
    pub wants_copies: &'a dyn Fn(Who<P>) -> bool,
}

impl<P> Spoken<'_, P> {
    /// A frame alone.
    pub fn plain(frame: Bytes) -> Self {
        Self { frame, pause_follows: false, copies: &[], wants_copies: &|_| false }
    }
}

/// Whom a frame reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Listeners, each once.
    pub listeners: usize,
    /// Packets that went over links.
    pub links: usize,
    /// Packets that went to the relay.
    pub relay_packets: usize,
}

/// What a listener is sent of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// VoiceData.
    Plain,
    /// VoiceCopies without a copy: it says that a pause follows.
    Marked,
    /// VoiceCopies.
    Copies,
}

/// Those who are sent the same packet over links.
struct Batch<P> {
    session: SessionId,
    form: Form,
    to: Vec<Destination<P>>,
}

/// Somebody whom a frame may be for.
struct Remote<P> {
    who: Who<P>,
    /// Its id in the current session, through whose server it can be reached.
    relay: Option<ClientId>,
    link: Option<(LinkId<P>, Common)>,
}

impl<P: Copy + Ord + Debug> Client<P> {
    /// Sends one encoded frame to everyone whom the open targets address, each by its route. Says how many those are.
    ///
    /// With no open target the frame is for nobody and is not counted. A frame larger than a packet is not sent.
    pub fn send_voice<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N, frame: Bytes) -> usize {
        self.send_spoken(now, net, &Spoken::plain(frame)).listeners
    }

    /// The same, with what goes with it.
    pub fn send_spoken<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N, spoken: &Spoken<'_, P>) -> Reached {
        let Some(address) = self.speaker.next_frame() else { return Reached::default() };
        if !self.speaker.is_closing() {
            self.closing_since = None;
        }
        let audience = self.audience(net, &address.targets);
        let speech = Speech { spoken, earlier: self.earlier(&address, spoken.copies), address };
        let mut packets = PacketCache::default();
        let mut relayed: Vec<(Form, ClientId)> = Vec::new();
        let mut direct: Vec<Batch<P>> = Vec::new();
        let mut reached = Reached { listeners: audience.len(), ..Reached::default() };
        for remote in audience {
            let form = speech.form(net, remote.who);
            let route = self.routes.get(&remote.who).copied().unwrap_or_default();
            if let Some((link, common)) = remote.link.filter(|_| route.uses_link()) {
                let destination = Destination { client: common.remote, link };
                let session = common.session;
                match direct.iter_mut().find(|batch| (batch.session, batch.form) == (session, form)) {
                    Some(batch) => batch.to.push(destination),
                    None => direct.push(Batch { session, form, to: vec![destination] }),
                }
            }
            if let Some(client) = remote.relay.filter(|_| route.uses_relay() || remote.link.is_none()) {
                relayed.push((form, client));
            }
        }
        let sequence = speech.address.sequence;
        for Batch { session, form, to } in direct {
            if let Some(packet) = packets.get(self, net, session, form, &speech) {
                let asked = to.len();
                let unserved = self.send_direct(now, net, to, &packet, sequence);
                reached.links += asked.saturating_sub(unserved.len());
                relayed.extend(unserved.into_iter().map(|client| (form, client)));
            }
        }
        reached.relay_packets = self.relay_speech(now, net, relayed, &mut packets, &speech);
        if self.recent.len() == RECENT_FRAMES {
            self.recent.pop_front();
        }
        let Speech { address, .. } = speech;
        self.recent.push_back(Recent { at: now, address, frame: spoken.frame.clone() });
        reached
    }

    fn relay_speech<N: Network<Peer = P>>(
        &mut self,
        now: Duration,
        net: &mut N,
        relayed: Vec<(Form, ClientId)>,
        packets: &mut PacketCache,
        speech: &Speech<'_, P>,
    ) -> usize {
        let Some(session) = self.joined_view().map(View::session) else { return 0 };
        let mut count = 0;
        for form in [Form::Plain, Form::Marked, Form::Copies] {
            let clients: BTreeSet<_> =
                relayed.iter().filter(|(wanted, _)| *wanted == form).map(|(_, client)| *client).collect();
            if clients.is_empty() {
                continue;
            }
            if let Some(packet) = packets.get(self, net, session, form, speech) {
                self.relay(now, net, Reliability::Unreliable, &clients.into_iter().collect::<Vec<_>>(), &packet);
                count += 1;
            }
        }
        count
    }

    /// The number of the frame that would be sent next.
    pub fn next_sequence(&self) -> u16 {
        self.speaker.next_sequence()
    }

    /// Earlier frames of the same burst and to the same targets: what was said to others is nobody else's.
    fn earlier(&self, address: &FrameAddress<P>, behind: &[u8]) -> Vec<(u8, Bytes)> {
        let behind = behind.iter().copied().filter(|behind| *behind > 0).take(VOICE_COPIES);
        let find = |behind: u8| {
            let sequence = address.sequence.wrapping_sub(u16::from(behind));
            let mut recent = self.recent.iter().rev();
            let found = recent.find(|recent| recent.address.sequence == sequence)?;
            let same = found.address.burst == address.burst && found.address.targets == address.targets;
            (same && !found.frame.is_empty()).then(|| (behind, found.frame.clone()))
        };
        behind.filter_map(find).collect()
    }

    /// Gives a bound link's frames to the network. Whom it could not serve is returned, as far as the relay can.
    fn send_direct<N: Network<Peer = P>>(
        &mut self,
        now: Duration,
        net: &mut N,
        destinations: Vec<Destination<P>>,
        packet: &Bytes,
        sequence: u16,
    ) -> Vec<ClientId> {
        let mut unserved = destinations.clone();
        net.send_to_links(now, &mut unserved, Reliability::Unreliable, packet);
        for destination in destinations.iter().filter(|destination| !unserved.contains(destination)) {
            if let Some(link) = self.pairs.link_mut(destination.link).filter(|_| {
                // Without acknowledgements, only the network can tell that a link carries nothing.
                net.acknowledges_voice(destination.link.peer)
            }) {
                link.health.sent(now, sequence);
            }
        }
        unserved.iter().filter_map(|destination| self.relay_address(net, destination.link.peer)).collect()
    }

    /// A link to a peer did not deliver these frames: they go through the relay, if there is one.
    pub(super) fn rescue<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N, peer: P, sequences: Vec<u16>) {
        if sequences.is_empty() {
            return;
        }
        let (Some(client), Some(session)) = (self.relay_address(net, peer), self.joined_view().map(View::session))
        else {
            return;
        };
        let lost: Vec<_> = self
            .recent
            .iter()
            .filter(|recent| now <= recent.at + RESCUE_AGE && sequences.contains(&recent.address.sequence))
            .cloned()
            .collect();
        for Recent { address, frame, .. } in lost {
            let spoken = Spoken::plain(frame);
            let speech = Speech { spoken: &spoken, earlier: Vec::new(), address };
            if let Some(packet) = PacketCache::default().get(self, net, session, Form::Plain, &speech) {
                self.relay(now, net, Reliability::Unreliable, &[client], &packet);
            }
        }
    }

    /// A target closed while nothing is being said would otherwise stay open for its listeners.
    pub(super) fn close_targets<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N) {
        if self.closing_since.is_some_and(|since| now >= since + CLOSE_WITHOUT_FRAME) {
            self.closing_since = None;
            self.send_voice(now, net, Bytes::new());
        }
    }

    /// Everyone whom these targets address, once each.
    fn audience<N: Network<Peer = P>>(&self, net: &N, targets: &[(VoiceTarget<P>, Target)]) -> Vec<Remote<P>> {
        let mut remotes = Vec::new();
        let mut present = BTreeSet::new();
        if let Some(view) = self.joined_view() {
            for client in view.table.members().map(|member| member.info.id).filter(|id| *id != view.you) {
                let who = self.who(net, view.session, client);
                present.insert(who);
                let link = match who {
                    Who::Peer(peer) => self.pairs.bound(peer).map(|(id, _, common)| (id, common)),
                    Who::Client(..) => None,
                };
                let listens = |group, name: &str| view.listens(client, group, name);
                if targets.iter().any(|target| addresses(target, who, Some(client), &listens)) {
                    remotes.push(Remote { who, relay: Some(client), link });
                }
            }
        }
        for (id, _, common) in self.pairs.all_bound() {
            let who = Who::Peer(id.peer);
            let Some(view) = self.view_of(common.session).filter(|_| !present.contains(&who)) else { continue };
            let listens = |group, name: &str| view.listens(common.remote, group, name);
            // Targets that are clients are clients of the current session.
            let client = Some(common.remote).filter(|_| self.is_current(common.session));
            if targets.iter().any(|target| addresses(target, who, client, &listens)) {
                remotes.push(Remote { who, relay: None, link: Some((id, common)) });
            }
        }
        remotes
    }

    /// A peer's client id in a session.
    fn client_in<N: Network<Peer = P>>(&self, net: &N, session: SessionId, peer: P) -> Option<ClientId> {
        let by_link = self.pairs.bound(peer).map(|(.., common)| common).filter(|common| common.session == session);
        by_link.map(|common| common.remote).or_else(|| match net.client_of(session, peer) {
            crate::network::Naming::Client(client) => Some(client),
            crate::network::Naming::NotYet | crate::network::Naming::NoRoster => None,
        })
    }
}

fn addresses<P: Copy + Ord>(
    (target, wire): &(VoiceTarget<P>, Target),
    who: Who<P>,
    client: Option<ClientId>,
    listens: &impl Fn(GroupId, &str) -> bool,
) -> bool {
    match target {
        VoiceTarget::Group(name) => matches!(wire.kind, TargetKind::Group(group) if listens(group, name)),
        VoiceTarget::Peer(peer) => who == Who::Peer(*peer),
        VoiceTarget::Client(target) => client == Some(*target),
    }
}

/// A frame with its address and what goes with it.
struct Speech<'a, P> {
    spoken: &'a Spoken<'a, P>,
    earlier: Vec<(u8, Bytes)>,
    address: FrameAddress<P>,
}

impl<P: Copy + Ord + Debug> Speech<'_, P> {
    fn form<N: Network<Peer = P>>(&self, net: &N, who: Who<P>) -> Form {
        let peer = match who {
            Who::Peer(peer) => Some(peer),
            Who::Client(..) => None,
        };
        let wants = !self.earlier.is_empty() && (self.spoken.wants_copies)(who);
        if !(wants || self.spoken.pause_follows) || !net.reads_copies(peer) {
            Form::Plain
        } else if wants {
            Form::Copies
        } else {
            Form::Marked
        }
    }
}

/// One frame's packets: pairs may speak different sessions, and each packet is made once.
#[derive(Default)]
struct PacketCache(Vec<(SessionId, Form, Bytes)>);

impl PacketCache {
    fn get<P: Copy + Ord + Debug, N: Network<Peer = P>>(
        &mut self,
        client: &Client<P>,
        net: &N,
        session: SessionId,
        form: Form,
        speech: &Speech<'_, P>,
    ) -> Option<Bytes> {
        if let Some((.., packet)) = self.0.iter().find(|(to, made, _)| (*to, *made) == (session, form)) {
            return Some(packet.clone());
        }
        let view = client.view_of(session)?;
        let address = &speech.address;
        let mut targets = Vec::with_capacity(address.targets.len());
        for (target, wire) in &address.targets {
            let kind = match target {
                VoiceTarget::Group(_) => Some(wire.kind),
                VoiceTarget::Client(_) => Some(wire.kind).filter(|_| client.is_current(session)),
                VoiceTarget::Peer(peer) => client.client_in(net, session, *peer).map(TargetKind::Client),
            };
            targets.extend(kind.map(|kind| Target { kind, ..*wire }));
        }
        let header = VoiceHeader { sender: view.you, burst: address.burst, sequence: address.sequence };
        // With one destination around it, it has to fit into what the network carries.
        let room = net.limits().unreliable_bytes.saturating_sub(Relay::overhead(1));
        let packet = write(header, session, &targets, form, speech, room)?;
        self.0.push((session, form, packet.clone()));
        Some(packet)
    }
}

/// Writes a packet of at most `room` bytes: where copies make it too large, the last of them stay away.
fn write<P>(
    header: VoiceHeader,
    session: SessionId,
    targets: &[Target],
    form: Form,
    speech: &Speech<'_, P>,
    room: usize,
) -> Option<Bytes> {
    let Spoken { frame, pause_follows, .. } = speech.spoken;
    let mut copies: Vec<_> = match form {
        Form::Plain | Form::Marked => Vec::new(),
        Form::Copies => speech.earlier.iter().map(|(behind, frame)| packet::Copy { behind: *behind, frame }).collect(),
    };
    loop {
        let bytes: usize = copies.iter().map(|copy| copy.frame.len() + 3).sum();
        let mut packet = Vec::with_capacity(32 + 4 * targets.len() + frame.len() + bytes);
        match form {
            Form::Plain => header.encode_packet(session, targets, frame, &mut packet),
            Form::Marked | Form::Copies => {
                header.encode_copies_packet(session, targets, *pause_follows, &copies, frame, &mut packet);
            }
        }
        if packet.len() <= room {
            return Some(packet.into());
        }
        copies.pop()?;
    }
}
