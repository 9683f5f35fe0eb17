//! One real server, real clients and a hostile member on a simulated network, under a virtual
//! clock.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use voicemesh_netsim::{Schedule, State};
use voicemesh_session::Client;
use voicemesh_session::client::{ClientConfig, ClientError, Participant, Phase};
use voicemesh_session::network::{DisconnectReason, LinkId, Network, NetworkEvent};
use voicemesh_session::route::Route;
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_wire::packet::{CodecSettings, Recipient};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use crate::hostile::Hostile;
use crate::net::{Connection, Down, Net, Peer, Request, Roster, pair};
use crate::reference::{Reference, Target, fail};
use crate::server::{Sent, Server};

pub const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
const FRAME: Duration = Duration::from_millis(20);

/// What happens by itself after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Later {
    Connect(Peer),
    ClientNotices(Peer, Connection),
    ServerNotices(Connection),
    EndUp(Peer, LinkId<Peer>),
    EndDown(Peer, LinkId<Peer>),
    ServerStarts,
    ReplaceLink(Peer, Peer),
}

/// One honest member.
pub struct Member {
    pub client: Client<Peer>,
    /// Frames that it still has to say.
    talking: u32,
    next_frame_at: Duration,
    /// Who is present, as its events say.
    present: BTreeSet<ClientId>,
    /// Routes, as its events say.
    routes: BTreeMap<Participant<Peer>, Route>,
    pub sessions: Vec<SessionId>,
    pub ended: Vec<DisconnectReason>,
    /// When each frame was heard: speaker and extended sequence.
    pub heard: Vec<(Peer, u64, Route)>,
}

pub struct World {
    pub now: Duration,
    pub net: Net,
    pub server: Option<Server>,
    pub members: Vec<Member>,
    pub hostile: Option<Hostile>,
    pub reference: Reference,
    /// Whether a leaver goes from the roster before or after its RemoveClient.
    roster_first: bool,
    rng: ChaCha8Rng,
    seed: u64,
    sessions: u64,
    later: Schedule<Later>,
}

/// What kind of world.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub members: u8,
    pub has_roster: bool,
    pub has_hostile: bool,
    pub roster_first: bool,
}

impl World {
    pub fn new(seed: u64, kind: Kind) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let members =
            (0..kind.members).map(|peer| Member::new(peer, rng.next_u32() as u16)).collect();
        let mut world = Self {
            now: Duration::from_secs(1),
            net: Net::new(seed, kind.has_roster),
            server: None,
            members,
            hostile: kind.has_hostile.then(|| Hostile::new(kind.members)),
            reference: Reference::new(kind.members.into(), kind.has_hostile, kind.has_roster),
            roster_first: kind.roster_first,
            rng,
            seed,
            sessions: 0,
            later: Schedule::default(),
        };
        world.start_server();
        world
    }

    // --- What the commands do
    // -----------------------------------------------------------------------------------------

    pub fn connect(&mut self, peer: Peer) {
        if let Some(wants) = self.reference.members.get_mut(usize::from(peer)) {
            wants.online = true;
        }
        if !self.net.client_ends.contains_key(&peer) {
            self.schedule_in(1, 60, Later::Connect(peer));
        }
    }

    pub fn leave(&mut self, peer: Peer) {
        self.reference.leaves(peer);
        self.with_client(peer, |client, now, port| {
            port.disconnect(now);
            client.leave();
        });
        self.members[usize::from(peer)].present.clear();
        self.members[usize::from(peer)].routes.clear();
        self.drain(peer);
        self.answer_requests();
    }

    /// The connection is gone; each end learns of it when it learns of it.
    pub fn drop_socket(&mut self, peer: Peer, client_after: Duration, server_after: Duration) {
        if let Some(connection) = self.net.client_ends.get(&peer).copied() {
            self.net.cut(self.now, connection);
            self.schedule(client_after, Later::ClientNotices(peer, connection));
            self.schedule(server_after, Later::ServerNotices(connection));
        }
    }

    /// All connections end with the server; links stay.
    pub fn stop_server(&mut self, down_for: Option<Duration>) {
        if self.server.take().is_none() {
            return;
        }
        let ends: Vec<_> =
            self.net.client_ends.iter().map(|(peer, connection)| (*peer, *connection)).collect();
        for (peer, connection) in ends {
            self.net.cut(self.now, connection);
            self.schedule_in(0, 300, Later::ClientNotices(peer, connection));
        }
        self.net.connections.clear();
        if let Some(down_for) = down_for {
            self.schedule(down_for, Later::ServerStarts);
        }
    }

    pub fn start_server(&mut self) {
        if self.server.is_none() {
            self.server = Some(self.new_session());
        }
    }

    /// A new session in the same connections: clients find out by its number.
    pub fn swap_session(&mut self) {
        if self.server.is_none() {
            return;
        }
        let mut server = self.new_session();
        let live: Vec<_> = self
            .net
            .connections
            .iter()
            .map(|(connection, socket)| (*connection, socket.peer))
            .collect();
        for (connection, peer) in live {
            let admitted = server.admit(self.now, connection, peer);
            let session = server.session().unwrap_or_else(|| fail("there is no session"));
            self.reference.admit(session, admitted, peer);
        }
        self.server = Some(server);
        self.carry_out();
        self.tell_roster();
    }

    pub fn join_group(&mut self, peer: Peer, group: &str) {
        match self.with_client(peer, |client, _, _| client.join_group(group)) {
            Ok(()) => self.reference.joins_group(peer, group),
            Err(ClientError::GroupNameTaken) => self.reference.check_refusal(peer, group),
            Err(error) => fail(format!("{peer} could not join {group:?}: {error}")),
        }
    }

    pub fn leave_group(&mut self, peer: Peer, group: &str) {
        self.reference.members[usize::from(peer)].groups.remove(group);
        self.with_client(peer, |client, _, _| client.leave_group(group));
    }

    pub fn open(&mut self, peer: Peer, target: VoiceTarget<Peer>) {
        let Some(wanted) = self.target(peer, &target) else { return };
        let wants = &mut self.reference.members[usize::from(peer)];
        wants.closing.remove(&wanted);
        wants.targets.insert(wanted);
        let opened =
            self.members[usize::from(peer)].client.open_target(target, TargetOptions::default());
        opened.unwrap_or_else(|error| fail(error.to_string()));
    }

    pub fn close(&mut self, peer: Peer, target: &VoiceTarget<Peer>) {
        let Some(wanted) = self.target(peer, target) else { return };
        let wants = &mut self.reference.members[usize::from(peer)];
        if wants.targets.remove(&wanted) {
            wants.closing.insert(wanted);
        }
        self.members[usize::from(peer)].client.close_target(self.now, target);
    }

    /// Begins to speak so many frames, 20 ms apart.
    pub fn talk(&mut self, peer: Peer, frames: u32) {
        let member = &mut self.members[usize::from(peer)];
        member.talking = member.talking.max(frames);
        member.next_frame_at = member.next_frame_at.max(self.now);
    }

    pub fn write_to_group(&mut self, peer: Peer, group: &str) {
        self.write(peer, Recipient::Group(GroupId::of(group)));
    }

    pub fn write_to(&mut self, peer: Peer, to: Peer) {
        if let Some(client) = self.client_id(peer, to) {
            self.write(peer, Recipient::Client(client));
        }
    }

    fn write(&mut self, peer: Peer, recipient: Recipient) {
        let Some(session) =
            self.members[usize::from(peer)].client.view().map(|view| view.session())
        else {
            return;
        };
        let number = self.reference.writes(peer, session, recipient);
        let text = number.to_string();
        let sent = self.with_client(peer, |client, _, _| client.send_text(recipient, &text));
        if sent.is_err() {
            self.reference.takes_back_text();
        }
    }

    /// A link; to a pair that has one, one that replaces it.
    pub fn link(&mut self, a: Peer, b: Peer) -> u32 {
        let generation = self.net.add_link(self.now, a, b);
        self.schedule_in(1, 40, Later::EndUp(a, LinkId { peer: b, generation }));
        self.schedule_in(1, 40, Later::EndUp(b, LinkId { peer: a, generation }));
        generation
    }

    pub fn unlink(&mut self, a: Peer, b: Peer) {
        let (low, high) = pair(a, b);
        let links: Vec<_> = self
            .net
            .links
            .range((low, high, 0)..=(low, high, u32::MAX))
            .map(|(id, _)| id.2)
            .collect();
        links.into_iter().for_each(|generation| self.end_link(a, LinkId { peer: b, generation }));
    }

    pub fn set_stalled(&mut self, a: Peer, b: Peer, stalled: bool) {
        self.net.set_stalled(self.now, a, b, stalled);
    }

    fn end_link(&mut self, a: Peer, link: LinkId<Peer>) {
        let back = LinkId { peer: a, ..link };
        for (peer, id) in [(a, link), (link.peer, back)] {
            if let Some(end) = self.net.end_mut(peer, id) {
                end.arriving.set_state(self.now, State::Cut);
            }
            self.schedule_in(0, 100, Later::EndDown(peer, id));
        }
    }

    // --- Time
    // ---------------------------------------------------------------------------------------------------------

    pub fn run(&mut self, time: Duration, tick: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick(tick.min(until - self.now));
        }
    }

    pub fn tick(&mut self, tick: Duration) {
        self.now += tick;
        while let Some(what) = self.later.pop(self.now) {
            self.happen(what);
        }
        if let Some(server) = &mut self.server {
            server.tick(self.now);
        }
        self.carry_out();
        self.carry_up();
        self.carry_down();
        self.carry_on_links();
        for peer in 0..self.members.len() as Peer {
            self.speak_if_due(peer);
            self.with_client(peer, |client, now, _| client.update(now));
            self.drain(peer);
        }
        self.answer_requests();
    }

    fn schedule(&mut self, after: Duration, what: Later) {
        self.later.add(self.now + after, what);
    }

    fn schedule_in(&mut self, least_ms: u64, most_ms: u64, what: Later) {
        let after = least_ms + u64::from(self.rng.next_u32()) % (most_ms - least_ms + 1);
        self.schedule(Duration::from_millis(after), what);
    }

    /// Nothing is to happen by itself any more.
    pub fn is_idle(&self) -> bool {
        self.later.is_empty() && self.net.reliable_in_flight() == 0
    }

    fn happen(&mut self, what: Later) {
        match what {
            Later::Connect(peer) => self.connects(peer),
            Later::ClientNotices(peer, connection) => {
                if self.net.client_ends.get(&peer) == Some(&connection) {
                    self.net.client_ends.remove(&peer);
                    self.deliver(peer, NetworkEvent::Disconnected(DisconnectReason::Lost));
                    self.schedule_in(50, 600, Later::Connect(peer));
                }
            }
            Later::ServerNotices(connection) => self.server_loses(connection),
            Later::EndUp(peer, id) => {
                if let Some(end) =
                    self.net.end_mut(peer, id).filter(|end| end.arriving.state() != State::Cut)
                {
                    end.is_up = true;
                    self.deliver(peer, NetworkEvent::LinkUp(id));
                }
            }
            Later::EndDown(peer, id) => self.end_down(peer, id),
            Later::ServerStarts => self.start_server(),
            Later::ReplaceLink(a, b) => drop(self.link(a, b)),
        }
    }

    fn end_down(&mut self, peer: Peer, id: LinkId<Peer>) {
        let Some(end) = self.net.end_mut(peer, id) else { return };
        if std::mem::take(&mut end.is_up) {
            self.deliver(peer, NetworkEvent::LinkDown(id));
        }
        let far_is_up =
            self.net.end_mut(id.peer, LinkId { peer, ..id }).is_some_and(|end| end.is_up);
        if !far_is_up {
            let (low, high) = pair(peer, id.peer);
            self.net.links.remove(&(low, high, id.generation));
        }
    }

    fn wants_online(&self, peer: Peer) -> bool {
        self.reference.members.get(usize::from(peer)).is_none_or(|wants| wants.online)
    }

    fn connects(&mut self, peer: Peer) {
        if self.net.client_ends.contains_key(&peer) || !self.wants_online(peer) {
            return;
        }
        let Some(server) = &mut self.server else {
            return self.schedule_in(100, 300, Later::Connect(peer));
        };
        // A connection of the same peer that the server still holds is replaced.
        let former: Vec<_> = self
            .net
            .connections
            .iter()
            .filter(|(_, socket)| socket.peer == peer)
            .map(|(id, _)| *id)
            .collect();
        let connection = self.net.connect(peer);
        let client = server.admit(self.now, connection, peer);
        for former in former {
            server.disconnected(self.now, former);
            self.net.connections.remove(&former);
        }
        let session = server.session().unwrap_or_else(|| fail("there is no session"));
        self.reference.admit(session, client, peer);
        self.carry_out();
        self.tell_roster();
        self.deliver(peer, NetworkEvent::Connected);
    }

    fn server_loses(&mut self, connection: Connection) {
        let Some(socket) = self.net.connections.remove(&connection) else { return };
        if self.net.client_ends.get(&socket.peer) == Some(&connection) {
            // The server gave it up first; its other end finds out.
            self.schedule_in(0, 300, Later::ClientNotices(socket.peer, connection));
        }
        if self.roster_first {
            self.tell_roster();
        }
        if let Some(server) = &mut self.server {
            server.disconnected(self.now, connection);
        }
        self.carry_out();
        if !self.roster_first {
            self.tell_roster();
        }
    }

    fn tell_roster(&mut self) {
        let Some(server) = self.server.as_ref().filter(|_| self.net.has_roster) else { return };
        let Some(session) = server.session() else { return };
        let named = self
            .net
            .connections
            .iter()
            .filter_map(|(id, socket)| Some((socket.peer, server.client_of(*id)?)));
        let roster = Roster { session, clients: named.collect() };
        for socket in self.net.connections.values_mut() {
            let _ = socket.down.send(
                self.now,
                voicemesh_netsim::Mode::Reliable,
                100,
                Down::Roster(roster.clone()),
            );
        }
    }

    fn new_session(&mut self) -> Server {
        self.sessions += 1;
        Server::new(self.seed ^ self.sessions.wrapping_mul(0x9E37_79B1))
    }

    fn carry_up(&mut self) {
        let connections: Vec<_> = self.net.connections.keys().copied().collect();
        for connection in connections {
            while let Some((_, packet)) =
                self.net.connections.get_mut(&connection).and_then(|s| s.up.poll(self.now))
            {
                if let Some(server) = &mut self.server {
                    server.receive(self.now, connection, packet);
                }
                self.carry_out();
            }
        }
    }

    /// What the server sends goes on its way. A connection that it ends is lost to it.
    fn carry_out(&mut self) {
        let sent = self.server.as_mut().map(Server::take_sent).unwrap_or_default();
        let mut ended = Vec::new();
        for (connection, sent) in sent {
            match sent {
                Sent::Packet(packet, delivery) => {
                    self.net.send_down(self.now, connection, packet, delivery)
                }
                Sent::End => ended.push(connection),
            }
        }
        ended.into_iter().for_each(|connection| self.server_loses(connection));
    }

    fn carry_down(&mut self) {
        let ends: Vec<_> =
            self.net.client_ends.iter().map(|(peer, connection)| (*peer, *connection)).collect();
        for (peer, connection) in ends {
            while self.net.client_ends.get(&peer) == Some(&connection) {
                let socket = self.net.connections.get_mut(&connection);
                match socket.and_then(|socket| socket.down.poll(self.now)) {
                    Some((_, Down::Packet(packet))) => {
                        self.deliver(peer, NetworkEvent::FromServer(packet))
                    }
                    Some((_, Down::Roster(roster))) => {
                        self.net.learn_roster(peer, roster);
                        let roster = Box::new(self.net.session_roster(peer));
                        self.deliver(peer, NetworkEvent::RosterChanged(roster));
                    }
                    None => break,
                }
            }
        }
    }

    fn carry_on_links(&mut self) {
        let links: Vec<_> = self.net.links.keys().copied().collect();
        for (low, high, generation) in links {
            for (to, id) in
                [(low, LinkId { peer: high, generation }), (high, LinkId { peer: low, generation })]
            {
                while let Some(end) = self.net.end_mut(to, id).filter(|end| end.is_up) {
                    let Some((_, packet)) = end.arriving.poll(self.now) else { break };
                    self.deliver(to, NetworkEvent::FromLink { link: id, packet });
                }
            }
        }
    }

    fn deliver(&mut self, peer: Peer, event: NetworkEvent<Peer>) {
        if usize::from(peer) < self.members.len() {
            self.with_client(peer, |client, now, _| client.network_event(now, event));
            self.drain(peer);
            self.answer_requests();
        } else if let Some(hostile) = &mut self.hostile {
            hostile.hears(&event);
            self.reference.overheard(peer, &event);
            if event == NetworkEvent::Disconnected(DisconnectReason::Lost) {
                self.schedule_in(50, 300, Later::Connect(peer));
            }
        }
    }

    fn answer_requests(&mut self) {
        for request in std::mem::take(&mut self.net.requests) {
            match request {
                Request::Disconnect(peer) => self.client_hangs_up(peer),
                Request::Release(peer, link) => {
                    if self.net.end_mut(peer, link).is_some() {
                        self.end_link(peer, link);
                    }
                }
                Request::Replace(peer, link) => {
                    self.schedule_in(50, 300, Later::ReplaceLink(peer, link.peer))
                }
            }
        }
    }

    /// The client ended its own side, and with it its links if it left.
    fn client_hangs_up(&mut self, peer: Peer) {
        if let Some(connection) = self.net.client_ends.remove(&peer) {
            self.net.cut(self.now, connection);
            self.schedule_in(0, 200, Later::ServerNotices(connection));
            if self.wants_online(peer) {
                self.schedule_in(50, 600, Later::Connect(peer));
            }
        }
        if !self.wants_online(peer) {
            let linked: Vec<_> = self
                .net
                .links
                .keys()
                .filter(|(a, b, _)| *a == peer || *b == peer)
                .copied()
                .collect();
            for (a, b, generation) in linked {
                let other = if a == peer { b } else { a };
                if let Some(end) = self.net.end_mut(peer, LinkId { peer: other, generation }) {
                    end.is_up = false;
                }
                self.end_link(peer, LinkId { peer: other, generation });
            }
        }
    }

    fn target(&self, peer: Peer, target: &VoiceTarget<Peer>) -> Option<Target> {
        Some(match target {
            VoiceTarget::Group(group) => Target::Group(group.clone()),
            VoiceTarget::Peer(peer) => Target::Peer(*peer),
            VoiceTarget::Client(client) => {
                Target::Client(self.members[usize::from(peer)].client.view()?.session(), *client)
            }
        })
    }

    /// The id that `of` has in the session that `peer` is in, as far as `peer` can know.
    pub fn client_id(&self, peer: Peer, of: Peer) -> Option<ClientId> {
        let view = self.members[usize::from(peer)].client.view()?;
        let ids = view.table().members().map(|member| member.info.id);
        ids.into_iter().find(|client| self.reference.owner(view.session(), *client) == Some(of))
    }

    /// The way from one to another, by whatever name.
    pub fn route(&self, peer: Peer, to: Peer) -> Route {
        let member = &self.members[usize::from(peer)];
        let by_client = member.client.view().and_then(|view| {
            let client = self.client_id(peer, to)?;
            Some(member.client.route(Participant::Client(view.session(), client)))
        });
        member.client.route(Participant::Peer(to)).max(by_client.unwrap_or(Route::None))
    }

    /// Those in the server's session.
    pub fn present(&self) -> BTreeSet<Peer> {
        let joined = |peer: &Peer| self.members[usize::from(*peer)].client.phase() == Phase::Joined;
        (0..self.members.len() as Peer).filter(joined).collect()
    }

    pub fn is_settled(&self) -> bool {
        let online = |peer: Peer| self.reference.members[usize::from(peer)].online;
        let session = self.server.as_ref().and_then(Server::session);
        self.is_idle()
            && (0..self.members.len() as Peer).filter(|peer| online(*peer)).all(|peer| {
                let client = &self.members[usize::from(peer)].client;
                client.phase() == Phase::Joined
                    && client.view().map(|view| view.session()) == session
            })
    }
}

impl Member {
    fn new(peer: Peer, first_sequence: u16) -> Self {
        Self {
            client: Client::new(ClientConfig::new(format!("member {peer}"), CODEC, first_sequence)),
            talking: 0,
            next_frame_at: Duration::ZERO,
            present: BTreeSet::new(),
            routes: BTreeMap::new(),
            sessions: Vec::new(),
            ended: Vec::new(),
            heard: Vec::new(),
        }
    }

    pub fn stop_talking(&mut self) {
        self.talking = 0;
    }

    pub fn told_present(&self) -> &BTreeSet<ClientId> {
        &self.present
    }

    pub fn told_routes(&self) -> &BTreeMap<Participant<Peer>, Route> {
        &self.routes
    }
}
