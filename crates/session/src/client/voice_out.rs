//! Speech on its way to its listeners, by the route of each (PROTOCOL.md, section 8).

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::VOICE_COPIES;
use voicemesh_wire::packet::{self, CopiesMarks, Relay, Target, TargetKind, VoiceHeader};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use super::bundling::Bundling;
use super::core::Core;
use super::event::Participant;
use super::health::SpeechPacket;
use super::pairs::Binding;
use super::view::View;
use crate::output::Fallback;
use crate::transport::{Destination, LinkId, Reliability};
use crate::voice_targets::{FrameAddress, VoiceTarget, VoiceTargets};
use voicemesh_common::NextTimer;

/// Frames kept to be sent again when a link stalls; the oldest is forgotten first. 1.28 s of 20 ms
/// frames.
pub(super) const RECENT_FRAMES: usize = 64;
/// What is older than this is not worth hearing any more.
const RESEND_AGE: Duration = Duration::from_millis(1000);
/// A frame that waits to share a packet leaves alone after this.
const LONGEST_BUNDLE_WAIT: Duration = Duration::from_millis(100);
/// A target that closes while nothing is said is closed by an empty frame after this.
const CLOSE_WITHOUT_FRAME: Duration = Duration::from_millis(60);

/// A frame that was sent not long ago.
#[derive(Clone, Debug)]
pub(super) struct Recent<P> {
    at: Duration,
    /// In which session: in another, its targets that are clients are others.
    session: Option<SessionId>,
    address: FrameAddress<P>,
    frame: Bytes,
}

impl<P> Recent<P> {
    fn names_clients(&self) -> bool {
        self.address.targets.iter().any(|(target, _)| matches!(target, VoiceTarget::Client(_)))
    }
}

/// A frame of the microphone, and what goes with it to those who can make use of it.
pub struct OutgoingFrame<'a, P> {
    /// One encoded frame.
    pub frame: Bytes,
    /// Nothing is said after it for now.
    pub pause_follows: bool,
    /// Which earlier frames go again: how many frames behind. At most [`VOICE_COPIES`] count.
    pub copies: &'a [u8],
    /// Who is sent them.
    pub wants_copies: &'a dyn Fn(Participant<P>) -> bool,
    /// How many frames share a packet to this listener (1 to
    /// [`FRAMES_PER_PACKET`](super::FRAMES_PER_PACKET)). Listeners that do not read bundles get one
    /// frame in each packet; a bundle carries no copies.
    pub frames_per_packet: &'a dyn Fn(Participant<P>) -> u8,
}

impl<P> OutgoingFrame<'_, P> {
    /// A frame alone.
    pub fn plain(frame: Bytes) -> Self {
        Self {
            frame,
            pause_follows: false,
            copies: &[],
            wants_copies: &|_| false,
            frames_per_packet: &|_| 1,
        }
    }
}

/// Whom a frame reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendSummary {
    /// Listeners, each once.
    pub listeners: usize,
    /// Packets that went over links.
    pub links: usize,
    /// Packets that went to the relay.
    pub relay_packets: usize,
}

/// A listener of the last frame, and the ways to it.
pub type AudienceMember<P> = voicemesh_uplink::policy::AudienceMember<Participant<P>>;

/// What a listener is sent of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum VoiceEncoding {
    /// VoiceData.
    Plain,
    /// VoiceCopies without a copy: it says that a pause follows.
    Marked,
    /// VoiceCopies.
    Copies,
    /// VoiceCopies with so many frames before it that have not been sent yet.
    Bundle(u8),
}

impl VoiceEncoding {
    /// So many frames for the first time, and nothing else.
    fn of(frames: u8) -> Self {
        if frames > 1 { Self::Bundle(frames - 1) } else { Self::Plain }
    }

    /// How many frames the packet carries for the first time.
    fn frames(self) -> u8 {
        match self {
            Self::Plain | Self::Marked | Self::Copies => 1,
            Self::Bundle(earlier) => earlier + 1,
        }
    }
}

/// Those who are sent the same packet over links.
struct Batch<P> {
    session: SessionId,
    encoding: VoiceEncoding,
    to: Vec<Destination<P>>,
}

/// A participant that a frame may be for.
struct Remote<P> {
    who: Participant<P>,
    /// Its id in the current session, through whose server it can be reached.
    relay: Option<ClientId>,
    link: Option<(LinkId<P>, Binding)>,
}

/// The own speech: to whom, and what of it may have to go again.
#[derive(Debug)]
pub(super) struct VoiceSender<P> {
    pub speaker: VoiceTargets<P>,
    pub recent: VecDeque<Recent<P>>,
    pub bundling: Bundling<P>,
    pub audience: Vec<AudienceMember<P>>,
    /// Whether the last frame had listeners.
    pub is_heard: bool,
    pub closing_since: Option<Duration>,
}

impl<P: Copy + Ord + Debug> VoiceSender<P> {
    pub(super) fn new(first_sequence: u16) -> Self {
        Self {
            speaker: VoiceTargets::new(first_sequence),
            recent: VecDeque::new(),
            bundling: Bundling::default(),
            audience: Vec::new(),
            is_heard: false,
            closing_since: None,
        }
    }

    /// Sends one encoded frame to everyone whom the open targets address, each by its route. Says
    /// how many those are.
    ///
    /// With no open target the frame is not sent and takes no number. A frame larger than a packet
    /// is not sent.
    pub(super) fn send_voice(&mut self, core: &mut Core<P>, now: Duration, frame: Bytes) -> usize {
        self.send_spoken(core, now, &OutgoingFrame::plain(frame)).listeners
    }

    /// The same, with what goes with it.
    pub(super) fn send_spoken(
        &mut self,
        core: &mut Core<P>,
        now: Duration,
        spoken: &OutgoingFrame<'_, P>,
    ) -> SendSummary {
        let Some(address) = self.speaker.next_frame() else { return SendSummary::default() };
        if !self.speaker.is_closing() {
            self.closing_since = None;
        }
        if self.recent.back().is_some_and(|recent| !same_address(&recent.address, &address)) {
            self.flush_bundles(core, now);
        }
        let audience = self.audience(core, &address.targets);
        self.note_audience(core, &audience);
        let was_heard = std::mem::replace(&mut self.is_heard, !audience.is_empty());
        if was_heard && !self.is_heard {
            // What is sent to no listener is no loss of those who listen next.
            self.speaker.end_talkspurt();
        }
        let must_leave = spoken.pause_follows
            || spoken.frame.is_empty()
            || address.targets.iter().any(|(_, target)| target.closing);
        let earlier = self.earlier(&address, spoken.copies);
        let speech = AddressedFrame {
            frame: &spoken.frame,
            pause_follows: spoken.pause_follows,
            earlier,
            address,
        };
        let mut to = Vec::with_capacity(audience.len());
        for remote in audience {
            let peer = remote.who.peer();
            let reads_bundles = core.roster.abilities(peer).reads_bundles;
            let frames_per_packet =
                if reads_bundles { (spoken.frames_per_packet)(remote.who) } else { 1 };
            let Some(waiting) = self.bundling.next(
                remote.who,
                speech.address.sequence,
                frames_per_packet,
                must_leave,
            ) else {
                continue;
            };
            let wants_copies = frames_per_packet <= 1 && (spoken.wants_copies)(remote.who);
            let encoding =
                speech.encoding(core.roster.abilities(peer).reads_copies, wants_copies, waiting);
            to.push((remote, encoding));
        }
        let listeners = self.audience.len();
        let reached = SendSummary { listeners, ..self.transmit(core, now, to, &speech) };
        if !self.is_heard {
            return reached;
        }
        if self.recent.len() == RECENT_FRAMES {
            self.recent.pop_front();
        }
        let AddressedFrame { address, .. } = speech;
        let session = core.joined_view().map(View::session);
        self.recent.push_back(Recent { at: now, session, address, frame: spoken.frame.clone() });
        reached
    }

    /// Sends frames that wait for others to share a packet with: no other comes, or to other
    /// listeners.
    pub(super) fn flush_bundles(&mut self, core: &mut Core<P>, now: Duration) {
        let waiting = self.bundling.take();
        let Some(Recent { address, frame, .. }) = self.recent.back().cloned() else { return };
        if waiting.is_empty() {
            return;
        }
        let audience = self.audience(core, &address.targets).into_iter();
        let to = audience.filter_map(|remote| {
            let frames = *waiting.get(&remote.who)?;
            Some((remote, VoiceEncoding::of(frames)))
        });
        let to = to.collect();
        let speech =
            AddressedFrame { frame: &frame, pause_follows: false, earlier: Vec::new(), address };
        self.transmit(core, now, to, &speech);
    }

    /// Sends frames that have waited for the next one for too long.
    pub(super) fn flush_late_bundles(&mut self, core: &mut Core<P>, now: Duration) {
        if !self.bundling.is_empty()
            && self.recent.back().is_none_or(|recent| now >= recent.at + LONGEST_BUNDLE_WAIT)
        {
            self.flush_bundles(core, now);
        }
    }

    /// When a target is to be closed without a frame, or a frame has waited for the next for too
    /// long.
    pub(super) fn timers(&self, next: &mut NextTimer) {
        next.at(self.closing_since.map(|since| since + CLOSE_WITHOUT_FRAME));
        if !self.bundling.is_empty() {
            next.at(self.recent.back().map(|recent| recent.at + LONGEST_BUNDLE_WAIT));
        }
    }

    /// Finds who would hear a frame that is sent now; `audience` has them.
    pub(super) fn look_at_audience(&mut self, core: &Core<P>) {
        let audience = self.audience(core, &self.speaker.next_targets());
        self.note_audience(core, &audience);
    }

    fn note_audience(&mut self, core: &Core<P>, audience: &[Remote<P>]) {
        self.audience.clear();
        for remote in audience {
            let link = remote.link.and_then(|(id, _)| core.pairs.link(id));
            self.audience.push(AudienceMember {
                who: remote.who,
                has_link: link.is_some_and(|link| !link.health.is_stalled()),
                has_relay: remote.relay.is_some() && !core.is_dark,
                hears_plain: core
                    .joined_view()
                    .zip(remote.relay)
                    .is_some_and(|(view, client)| core.roster.hears_plain(view.session, client)),
            });
        }
    }

    /// Sends one frame, by each listener's route.
    fn transmit(
        &mut self,
        core: &mut Core<P>,
        now: Duration,
        to: Vec<(Remote<P>, VoiceEncoding)>,
        speech: &AddressedFrame<'_, P>,
    ) -> SendSummary {
        let mut packets = PacketCache::default();
        let mut relayed: Vec<(VoiceEncoding, ClientId)> = Vec::new();
        let mut direct: Vec<Batch<P>> = Vec::new();
        let mut reached = SendSummary::default();
        for (remote, encoding) in to {
            let route = core.routes.get(&remote.who).copied().unwrap_or_default();
            if let Some((link, binding)) = remote.link.filter(|_| route.uses_link()) {
                let destination = Destination { client: binding.remote, link };
                let session = binding.session;
                match direct
                    .iter_mut()
                    .find(|batch| (batch.session, batch.encoding) == (session, encoding))
                {
                    Some(batch) => batch.to.push(destination),
                    None => direct.push(Batch { session, encoding, to: vec![destination] }),
                }
            }
            if let Some(client) =
                remote.relay.filter(|_| route.uses_relay() || remote.link.is_none())
            {
                relayed.push((encoding, client));
                if let Participant::Peer(peer) = remote.who {
                    core.answering.used(now, peer);
                }
            }
        }
        let sequence = speech.address.sequence;
        for Batch { session, encoding, to } in direct {
            if let Some(packet) = packets.get(self, core, session, encoding, speech) {
                reached.links += to.len();
                self.send_direct(core, now, to, packet, sequence, encoding.frames());
            }
        }
        reached.relay_packets = self.relay_speech(core, relayed, &mut packets, speech);
        reached
    }

    fn relay_speech(
        &mut self,
        core: &mut Core<P>,
        mut relayed: Vec<(VoiceEncoding, ClientId)>,
        packets: &mut PacketCache,
        speech: &AddressedFrame<'_, P>,
    ) -> usize {
        let Some(session) = core.joined_view().map(View::session) else { return 0 };
        relayed.sort_unstable();
        relayed.dedup();
        let mut count = 0;
        for group in relayed.chunk_by(|a, b| a.0 == b.0) {
            let clients: Vec<_> = group.iter().map(|(_, client)| *client).collect();
            if let Some(packet) = packets.get(self, core, session, group[0].0, speech) {
                relay_voice(core, &clients, &packet);
                count += 1;
            }
        }
        count
    }

    /// Earlier frames of the same talkspurt and to the same targets: frames to other targets are
    /// not for these listeners.
    fn earlier(&self, address: &FrameAddress<P>, behind: &[u8]) -> Vec<(u8, Bytes)> {
        let behind = behind.iter().copied().filter(|behind| *behind > 0).take(VOICE_COPIES);
        let find = |behind: u8| {
            let sequence = address.sequence.wrapping_sub(u16::from(behind));
            let mut recent = self.recent.iter().rev();
            let found = recent.find(|recent| recent.address.sequence == sequence)?;
            let same = same_address(&found.address, address);
            (same && !found.frame.is_empty()).then(|| (behind, found.frame.clone()))
        };
        behind.filter_map(find).collect()
    }

    /// Sends a packet of speech over bound links.
    fn send_direct(
        &mut self,
        core: &mut Core<P>,
        now: Duration,
        mut to: Vec<Destination<P>>,
        packet: Bytes,
        sequence: u16,
        frames: u8,
    ) {
        // A full queue on the way drops the last packets of a burst: it is another listener's turn
        // each time.
        let packets = sequence / u16::from(frames.max(1));
        let first = usize::from(packets) % to.len().max(1);
        to.rotate_left(first);
        for destination in &to {
            // Without acknowledgements, only the network can tell that a link carries nothing.
            if core.roster.abilities(Some(destination.link.peer)).acknowledges_voice
                && let Some(link) = core.pairs.link_mut(destination.link)
            {
                link.health.sent(now, SpeechPacket { sequence, frames });
                // What a dead link loses is no congestion.
                if link.health.dead_since().is_none() {
                    link.path.sent(now, sequence, packet.len());
                }
            }
        }
        core.out.send_to_links(
            to,
            Reliability::Unreliable,
            packet,
            Fallback::Speech { sequence, frames },
        );
    }

    /// A link to a peer did not deliver these packets: their frames go through the relay, if there
    /// is one.
    pub(super) fn resend_via_relay(
        &mut self,
        core: &mut Core<P>,
        now: Duration,
        peer: P,
        packets: Vec<SpeechPacket>,
    ) {
        if packets.is_empty() {
            return;
        }
        let (Some(client), Some(session)) =
            (core.relay_address(peer), core.joined_view().map(View::session))
        else {
            return;
        };
        let lost: Vec<_> = self
            .worth_sending_again(now, session)
            .filter_map(|recent| {
                let is_its = |packet: &&SpeechPacket| packet.sequence == recent.address.sequence;
                packets.iter().find(is_its).map(|packet| (recent.clone(), packet.frames))
            })
            .collect();
        for (Recent { address, frame, .. }, frames) in lost {
            let speech = AddressedFrame {
                frame: &frame,
                pause_follows: false,
                earlier: Vec::new(),
                address,
            };
            let encoding = VoiceEncoding::of(frames);
            if let Some(packet) = PacketCache::default().get(self, core, session, encoding, &speech)
            {
                core.relay(Reliability::Unreliable, &[client], &packet);
            }
        }
    }

    /// Links to these peers did not take a packet with so many frames, of which `sequence` is the
    /// last: it goes through the relay to those who are in the current session. A packet of a
    /// former session is made anew for the current one, if its frames are not too old and are not
    /// addressed to clients of the former one.
    pub(super) fn relay_refused(
        &mut self,
        core: &mut Core<P>,
        now: Duration,
        peers: &BTreeSet<P>,
        packet: Bytes,
        sequence: u16,
        frames: u8,
    ) {
        let clients = core.relay_addresses(peers);
        let Some(session) = core.joined_view().map(View::session).filter(|_| !clients.is_empty())
        else {
            return;
        };
        if core.is_of_current_session(&packet) {
            return relay_voice(core, &clients, &packet);
        }
        let mut recent = self.worth_sending_again(now, session);
        let Some(Recent { address, frame, .. }) =
            recent.find(|recent| recent.address.sequence == sequence).cloned()
        else {
            return;
        };
        let encoding = VoiceEncoding::of(frames);
        let speech =
            AddressedFrame { frame: &frame, pause_follows: false, earlier: Vec::new(), address };
        if let Some(packet) = PacketCache::default().get(self, core, session, encoding, &speech) {
            relay_voice(core, &clients, &packet);
        }
    }

    /// Frames that someone may still hear in this session.
    fn worth_sending_again(
        &self,
        now: Duration,
        session: SessionId,
    ) -> impl Iterator<Item = &Recent<P>> {
        let recent = self.recent.iter().filter(move |recent| now <= recent.at + RESEND_AGE);
        recent.filter(move |recent| recent.session == Some(session) || !recent.names_clients())
    }

    /// A target closed while nothing is being said would otherwise stay open for its listeners.
    pub(super) fn close_targets(&mut self, core: &mut Core<P>, now: Duration) {
        if self.closing_since.is_some_and(|since| now >= since + CLOSE_WITHOUT_FRAME) {
            self.closing_since = None;
            self.send_voice(core, now, Bytes::new());
        }
    }

    /// Everyone whom these targets address and who may listen, once each; no one if this client may
    /// not speak.
    fn audience(&self, core: &Core<P>, targets: &[(VoiceTarget<P>, Target)]) -> Vec<Remote<P>> {
        if !core.permissions.speak {
            return Vec::new();
        }
        // A client that is held in groups is heard by their listeners only.
        let held: Vec<(GroupId, &String)> =
            core.roster.own_held_in.iter().map(|name| (GroupId::of(name), name)).collect();
        let hears = |view: &View, client| {
            held.is_empty() || held.iter().any(|(group, name)| view.listens(client, *group, name))
        };
        let mut remotes = Vec::new();
        let mut present = BTreeSet::new();
        if let Some(view) = core.joined_view() {
            for client in
                view.table.members().map(|member| member.info.id).filter(|id| *id != view.you)
            {
                let who = core.who(view.session, client);
                present.insert(who);
                let link = match who {
                    Participant::Peer(peer) => {
                        core.pairs.bound(peer).map(|(id, _, binding)| (id, binding))
                    }
                    Participant::Client(..) => None,
                };
                let listens = |group, name: &str| view.listens(client, group, name);
                if !core.roster.permissions(who.peer()).listen || !hears(view, client) {
                    continue;
                }
                if targets.iter().any(|target| addresses(target, who, Some(client), &listens)) {
                    remotes.push(Remote { who, relay: Some(client), link });
                }
            }
        }
        for (id, _, binding) in core.pairs.all_bound() {
            let who = Participant::Peer(id.peer);
            let Some(view) = core.view_of(binding.session).filter(|_| !present.contains(&who))
            else {
                continue;
            };
            if !core.roster.permissions(Some(id.peer)).listen || !hears(view, binding.remote) {
                continue;
            }
            let listens = |group, name: &str| view.listens(binding.remote, group, name);
            // Targets that are clients are clients of the current session.
            let client = Some(binding.remote).filter(|_| core.is_current(binding.session));
            if targets.iter().any(|target| addresses(target, who, client, &listens)) {
                remotes.push(Remote { who, relay: None, link: Some((id, binding)) });
            }
        }
        remotes
    }
}

/// Passes a packet of speech of the current session to clients through the server.
fn relay_voice<P: Copy + Ord + Debug>(core: &mut Core<P>, clients: &[ClientId], packet: &Bytes) {
    let session = core.joined_view().map(View::session);
    let (apart, together): (Vec<ClientId>, Vec<ClientId>) = clients.iter().partition(|client| {
        session.is_some_and(|session| core.roster.hears_plain(session, **client))
    });
    for clients in [together, apart].iter().filter(|clients| !clients.is_empty()) {
        core.relay(Reliability::Unreliable, clients, packet);
        core.relay_path.voice_sent(packet.len() + Relay::overhead(clients.len()));
    }
}

fn addresses<P: Copy + Ord>(
    (target, wire): &(VoiceTarget<P>, Target),
    who: Participant<P>,
    client: Option<ClientId>,
    listens: &impl Fn(GroupId, &str) -> bool,
) -> bool {
    match target {
        VoiceTarget::Group(name) => {
            matches!(wire.kind, TargetKind::Group(group) if listens(group, name))
        }
        VoiceTarget::Peer(peer) => who == Participant::Peer(*peer),
        VoiceTarget::Client(target) => client == Some(*target),
    }
}

/// Whether two frames are said to the same people in one talkspurt, so that they may share a
/// packet.
fn same_address<P: PartialEq>(a: &FrameAddress<P>, b: &FrameAddress<P>) -> bool {
    a.talkspurt == b.talkspurt && a.targets == b.targets
}

/// A frame with its address and what goes with it.
struct AddressedFrame<'a, P> {
    frame: &'a Bytes,
    pause_follows: bool,
    earlier: Vec<(u8, Bytes)>,
    address: FrameAddress<P>,
}

impl<P> AddressedFrame<'_, P> {
    fn encoding(&self, reads_copies: bool, wants_copies: bool, waiting: u8) -> VoiceEncoding {
        if waiting > 0 {
            VoiceEncoding::Bundle(waiting)
        } else if reads_copies && wants_copies && !self.earlier.is_empty() {
            VoiceEncoding::Copies
        } else if reads_copies && self.pause_follows {
            VoiceEncoding::Marked
        } else {
            VoiceEncoding::Plain
        }
    }
}

/// One frame's packets: pairs may speak different sessions, and each packet is made once.
#[derive(Default)]
struct PacketCache(Vec<(SessionId, VoiceEncoding, Bytes)>);

impl PacketCache {
    fn get<P: Copy + Ord + Debug>(
        &mut self,
        sender: &VoiceSender<P>,
        core: &Core<P>,
        session: SessionId,
        encoding: VoiceEncoding,
        speech: &AddressedFrame<'_, P>,
    ) -> Option<Bytes> {
        if let Some((.., packet)) =
            self.0.iter().find(|(to, made, _)| (*to, *made) == (session, encoding))
        {
            return Some(packet.clone());
        }
        let view = core.view_of(session)?;
        let address = &speech.address;
        let mut targets = Vec::with_capacity(address.targets.len());
        for (target, wire) in &address.targets {
            let kind = match target {
                VoiceTarget::Group(_) => Some(wire.kind),
                VoiceTarget::Client(_) => Some(wire.kind).filter(|_| core.is_current(session)),
                VoiceTarget::Peer(peer) => core.client_in(session, *peer).map(TargetKind::Client),
            };
            targets.extend(kind.map(|kind| Target { kind, ..*wire }));
        }
        let header = VoiceHeader {
            sender: view.you,
            talkspurt: address.talkspurt,
            sequence: address.sequence,
        };
        // With one destination around it, it has to fit into what the network carries.
        let room = core.config.limits.unreliable_bytes.saturating_sub(Relay::overhead(1));
        let earlier = match encoding {
            VoiceEncoding::Plain | VoiceEncoding::Marked => Vec::new(),
            VoiceEncoding::Copies => speech.earlier.clone(),
            VoiceEncoding::Bundle(frames) => {
                sender.earlier(address, &[1, 2, 3][..usize::from(frames).min(3)])
            }
        };
        let packet = write(header, session, &targets, encoding, speech, earlier, room)?;
        self.0.push((session, encoding, packet.clone()));
        Some(packet)
    }
}

/// Writes a packet of at most `room` bytes: where earlier frames make it too large, the last of
/// them stay away.
fn write<P>(
    header: VoiceHeader,
    session: SessionId,
    targets: &[Target],
    encoding: VoiceEncoding,
    speech: &AddressedFrame<'_, P>,
    earlier: Vec<(u8, Bytes)>,
    room: usize,
) -> Option<Bytes> {
    let mut copies: Vec<_> =
        earlier.iter().map(|(behind, frame)| packet::Copy { behind: *behind, frame }).collect();
    loop {
        let bytes: usize = copies.iter().map(|copy| copy.frame.len() + 3).sum();
        let mut packet = Vec::with_capacity(32 + 4 * targets.len() + speech.frame.len() + bytes);
        let bundled =
            if matches!(encoding, VoiceEncoding::Bundle(_)) { copies.len() as u8 } else { 0 };
        match encoding {
            VoiceEncoding::Plain => {
                header.encode_packet(session, targets, speech.frame, &mut packet)
            }
            VoiceEncoding::Marked | VoiceEncoding::Copies | VoiceEncoding::Bundle(_) => {
                let marks = CopiesMarks { pause_follows: speech.pause_follows, bundled };
                header.encode_copies_packet(
                    session,
                    targets,
                    marks,
                    &copies,
                    speech.frame,
                    &mut packet,
                );
            }
        }
        if packet.len() <= room {
            return Some(packet.into());
        }
        copies.pop()?;
    }
}
