//! What can happen to a world, drawn from a seed; and the comparison with the reference once all is
//! quiet.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use voicemesh_netsim::{Conditions, Loss};
use voicemesh_session::Table;
use voicemesh_session::client::Dropped;
use voicemesh_session::route::Route;
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::SessionId;

use crate::net::Peer;
use crate::reference::{fail, groups};
use crate::world::{Kind, World};

const TICK: Duration = Duration::from_millis(5);
const COARSE_TICK: Duration = Duration::from_millis(20);
/// A world that is not quiet after this is not going to be.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// One thing that happens. All that it needs is in it, so that any of them can be left out.
#[derive(Clone, Debug)]
pub enum Command {
    Connect(Peer),
    Leave(Peer),
    DropSocket { peer: Peer, client_after_ms: u32, server_after_ms: u32 },
    BreakReliability(Peer),
    RestartServer { down_ms: u32 },
    SwapSession,
    JoinGroup(Peer, usize),
    LeaveGroup(Peer, usize),
    OpenGroup(Peer, usize),
    CloseGroup(Peer, usize),
    OpenPeer(Peer, Peer),
    ClosePeer(Peer, Peer),
    OpenClient(Peer, Peer),
    CloseClient(Peer, Peer),
    Talk(Peer, u32),
    WriteToGroup(Peer, usize),
    WriteTo(Peer, Peer),
    Link(Peer, Peer),
    Unlink(Peer, Peer),
    Stall(Peer, Peer, bool),
    Pass { ms: u32 },
    Change(NetworkConditions),
    Misbehave(u64),
    Settle { keep_stalls: bool },
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub enum NetworkConditions {
    Good,
    Poor,
    Bad,
    Bursts,
}

impl NetworkConditions {
    fn conditions(self) -> Conditions {
        let ms = Duration::from_millis;
        match self {
            Self::Good => Conditions::delay(ms(10)),
            Self::Poor => Conditions {
                latency: ms(20),
                jitter: ms(40),
                loss: Loss::Random(0.05),
                duplicate: 0.05,
                reorder: 0.1,
                held_back: ms(60),
                bytes_per_second: None,
            },
            Self::Bad => Conditions {
                latency: ms(60),
                jitter: ms(60),
                loss: Loss::Random(0.3),
                duplicate: 0.2,
                reorder: 0.3,
                held_back: ms(120),
                bytes_per_second: None,
            },
            Self::Bursts => Conditions {
                loss: Loss::Bursts { to_bad: 0.05, to_good: 0.2, while_good: 0.01, while_bad: 0.9 },
                ..Conditions::delay(ms(30))
            },
        }
    }
}

/// The world and the commands that a seed stands for.
pub fn draw(seed: u64, count: usize) -> (Kind, Vec<Command>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1);
    let mut below = |bound: u32| rng.next_u32() % bound;
    let members = 2 + below(7) as u8;
    let kind = Kind {
        members,
        has_roster: below(4) != 0,
        has_hostile: below(2) == 0,
        roster_first: below(2) == 0,
    };
    let mut commands: Vec<_> = (0..members).map(Command::Connect).collect();
    while commands.len() < count {
        let next = draw_one(&mut below, kind);
        commands.push(next);
    }
    commands.push(Command::Settle { keep_stalls: false });
    (kind, commands)
}

fn draw_one(below: &mut impl FnMut(u32) -> u32, kind: Kind) -> Command {
    let peers = u32::from(kind.members);
    let all_peers = peers + u32::from(kind.has_hostile);
    let p = below(peers) as Peer;
    let other = ((u32::from(p) + 1 + below(all_peers - 1)) % all_peers) as Peer;
    let g = below(groups().len() as u32) as usize;
    // Who a link's peer is, is only certain where there is a roster: without one, it is believed.
    let may_link = kind.has_roster || u32::from(other) < peers;
    match below(100) {
        0..=5 => Command::Connect(below(all_peers) as Peer),
        6..=7 => Command::Leave(p),
        8..=10 => Command::DropSocket {
            peer: below(all_peers) as Peer,
            client_after_ms: below(800),
            server_after_ms: below(2000),
        },
        11 => Command::BreakReliability(p),
        12 if below(2) == 0 => Command::RestartServer { down_ms: below(4000) },
        12 => Command::SwapSession,
        13..=21 => Command::JoinGroup(p, g),
        22..=28 => Command::LeaveGroup(p, g),
        29..=35 => Command::OpenGroup(p, g),
        36..=39 => Command::CloseGroup(p, g),
        40..=42 => Command::OpenPeer(p, other),
        43 => Command::ClosePeer(p, other),
        44..=46 => Command::OpenClient(p, other),
        47 => Command::CloseClient(p, other),
        48..=57 => Command::Talk(p, 1 + below(20)),
        58..=61 => Command::WriteToGroup(p, g),
        62..=64 => Command::WriteTo(p, other),
        65..=73 if may_link => Command::Link(p, other),
        74..=76 => Command::Unlink(p, other),
        77..=79 => Command::Stall(p, other, below(2) == 0),
        80..=84 => Command::Pass { ms: 10 + below(200) },
        85 => Command::Pass { ms: 1000 + below(2000) },
        86..=88 => Command::Change(
            [
                NetworkConditions::Good,
                NetworkConditions::Poor,
                NetworkConditions::Bad,
                NetworkConditions::Bursts,
            ][below(4) as usize],
        ),
        89..=97 if kind.has_hostile => Command::Misbehave(u64::from(below(u32::MAX))),
        98 => Command::Settle { keep_stalls: below(4) == 0 },
        _ => Command::Talk(p, 1 + below(5)),
    }
}

/// Runs the commands in a world of this seed. An error says what was not as the reference says, and
/// after how many commands.
pub fn run(seed: u64, kind: Kind, commands: &[Command]) -> Result<(), (usize, String)> {
    let mut done = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, kind);
        for command in commands {
            world.apply(command);
            world.tick(TICK);
            done += 1;
        }
    }));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (done, text.unwrap_or_else(|| "a panic without words".to_owned()))
    })
}

/// Leaves out what is not needed for the failure.
pub fn reduce(
    seed: u64,
    kind: Kind,
    mut commands: Vec<Command>,
    tries: usize,
) -> (Vec<Command>, String) {
    let mut why = String::new();
    let mut left = tries;
    let mut size = commands.len().div_ceil(2);
    while left > 0 && size > 0 {
        let mut start = 0;
        while start < commands.len() && left > 0 {
            let fewer: Vec<_> = commands[..start]
                .iter()
                .chain(commands.iter().skip(start + size))
                .cloned()
                .collect();
            left -= 1;
            match run(seed, kind, &fewer) {
                Err((done, text)) => {
                    why = text;
                    commands = fewer;
                    commands.truncate(done + 1);
                }
                Ok(()) => start += size,
            }
        }
        size /= 2;
    }
    (commands, why)
}

impl World {
    fn apply(&mut self, command: &Command) {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        match *command {
            Command::Connect(peer) => self.connect(peer),
            Command::Leave(peer) => self.leave(peer),
            Command::DropSocket { peer, client_after_ms, server_after_ms } => {
                self.drop_socket(peer, ms(client_after_ms), ms(server_after_ms));
            }
            Command::BreakReliability(peer) => drop(self.net.breaking.insert(peer)),
            Command::RestartServer { down_ms } => self.stop_server(Some(ms(down_ms))),
            Command::SwapSession => self.swap_session(),
            Command::JoinGroup(peer, group) => self.join_group(peer, &groups()[group]),
            Command::LeaveGroup(peer, group) => self.leave_group(peer, &groups()[group]),
            Command::OpenGroup(peer, group) => {
                self.open(peer, VoiceTarget::Group(groups()[group].clone()))
            }
            Command::CloseGroup(peer, group) => {
                self.close(peer, &VoiceTarget::Group(groups()[group].clone()))
            }
            Command::OpenPeer(peer, to) => self.open(peer, VoiceTarget::Peer(to)),
            Command::ClosePeer(peer, to) => self.close(peer, &VoiceTarget::Peer(to)),
            Command::OpenClient(peer, to) => {
                if let Some(client) = self.client_id(peer, to) {
                    self.open(peer, VoiceTarget::Client(client));
                }
            }
            Command::CloseClient(peer, to) => {
                if let Some(client) = self.client_id(peer, to) {
                    self.close(peer, &VoiceTarget::Client(client));
                }
            }
            Command::Talk(peer, frames) => self.talk(peer, frames),
            Command::WriteToGroup(peer, group) => self.write_to_group(peer, &groups()[group]),
            Command::WriteTo(peer, to) => self.write_to(peer, to),
            Command::Link(a, b) => drop(self.link(a, b)),
            Command::Unlink(a, b) => self.unlink(a, b),
            Command::Stall(a, b, stalled) => self.set_stalled(a, b, stalled),
            Command::Pass { ms: passing } => self.run(ms(passing), TICK),
            Command::Change(weather) => self.net.set_conditions(weather.conditions()),
            Command::Misbehave(seed) => self.misbehave(seed),
            Command::Settle { keep_stalls } => self.settle(keep_stalls),
        }
    }

    /// Waits until nothing is under way, and compares.
    fn settle(&mut self, keep_stalls: bool) {
        self.quieten(keep_stalls);
        self.check_tables();
        self.check_routes();
        self.check_bounds();
        self.call_the_roll();
        self.net.set_conditions(self.net.conditions);
    }

    fn quieten(&mut self, keep_stalls: bool) {
        self.start_server();
        self.net.set_conditions(NetworkConditions::Good.conditions());
        self.net.breaking.clear();
        if !keep_stalls {
            for (a, b) in std::mem::take(&mut self.net.stalled) {
                self.set_stalled(a, b, false);
            }
        }
        self.members.iter_mut().for_each(|member| member.stop_talking());
        // Who says nothing would not learn of a session that was swapped.
        self.run(Duration::from_millis(600), COARSE_TICK);
        for peer in 0..self.members.len() as Peer {
            self.write_to_group(peer, "a group without listeners");
        }
        // A silent link is probed every ten seconds at most and stalled after four more; three
        // answers, asked for at most 750 ms apart, make it sound again.
        let stays_stalled = keep_stalls && !self.net.stalled.is_empty();
        self.run(Duration::from_millis(if stays_stalled { 15_000 } else { 2_500 }), COARSE_TICK);
        let since = self.now;
        while !self.is_settled() {
            if self.now > since + SETTLES_WITHIN {
                fail("the world never becomes quiet");
            }
            self.run(Duration::from_millis(200), COARSE_TICK);
        }
        // Who joined last is asked within 750 ms by those whose links to it had stalled, and
        // answers three times.
        self.run(Duration::from_millis(1_600), COARSE_TICK);
    }

    /// Server and clients hold what the reference says, and nothing else.
    fn check_tables(&mut self) {
        let server = self.server.as_ref().unwrap_or_else(|| fail("there is no server"));
        // Before the first join, and long after the last, there is no room.
        let nothing = || (SessionId::new(1).expect("not zero"), Table::default());
        let (session, table) = server.state().unwrap_or_else(nothing);
        for (connection, socket) in &self.net.connections {
            let Some(wants) = self.reference.members.get(usize::from(socket.peer)) else {
                continue;
            };
            let client =
                server.client_of(*connection).unwrap_or_else(|| fail("a connection without an id"));
            let Some(member) = table.member(client) else {
                fail(format!("{} is not in the table", socket.peer))
            };
            let groups: BTreeSet<_> = member.groups.values().cloned().collect();
            if groups != wants.groups || !wants.online {
                fail(format!("{} wants {wants:?} and the server has {groups:?}", socket.peer));
            }
            if self.client_id(socket.peer, socket.peer) != Some(client) {
                fail(format!("{} is {client:?} and does not know", socket.peer));
            }
        }
        for member in table.members() {
            let owner = self.reference.owner(session, member.info.id);
            if !self.net.connections.values().any(|socket| Some(socket.peer) == owner) {
                fail(format!("{:?} is in the table and not connected", member.info));
            }
        }
        let groups: Vec<_> = table.groups().collect();
        for (id, name, count) in &groups {
            let listening = table
                .members()
                .filter(|member| member.groups.values().any(|own| own == name))
                .count();
            if listening != *count || listening == 0 {
                fail(format!("{name:?} has {listening} listeners and the list says {count}"));
            }
            let named_otherwise =
                table.members().any(|member| member.groups.get(id).is_some_and(|own| own != name));
            if named_otherwise {
                fail(format!("two names share the id of {name:?}"));
            }
        }
        for peer in self.present() {
            let member = &self.members[usize::from(peer)];
            let Some(view) = member.client.view() else { fail("present without a view") };
            if view.session() != session || view.table() != &table {
                fail(format!("{peer} has {:?} and the server {:?}", view.table(), table));
            }
            if view.table().groups().collect::<Vec<_>>() != groups {
                fail(format!(
                    "{peer} lists {:?} and the server {groups:?}",
                    view.table().groups().collect::<Vec<_>>()
                ));
            }
            if *member.told_present() != member.client.others() {
                let told = member.told_present();
                fail(format!("{peer} was told of {told:?} and has {:?}", member.client.others()));
            }
        }
        for (peer, wants) in self.reference.members.iter().enumerate() {
            if self.members[peer].client.groups().map(str::to_owned).collect::<BTreeSet<_>>()
                != wants.groups
            {
                fail(format!("{peer} does not want what it was told to want: {wants:?}"));
            }
        }
    }

    /// Those who are linked speak directly, the others through the relay; with those who are gone
    /// there is no route.
    fn check_routes(&mut self) {
        let present = self.present();
        for &a in &present {
            for &b in present.iter().filter(|b| **b != a) {
                let stalled = self.net.stalled.contains(&crate::net::pair(a, b));
                let expected = if self.net.is_linked(a, b) && !stalled {
                    Route::Direct
                } else {
                    Route::Relayed
                };
                let route = self.route(a, b);
                if route != expected {
                    fail(format!(
                        "the route from {a} to {b} is {route:?} and should be {expected:?}"
                    ));
                }
            }
        }
        for (peer, member) in self.members.iter().enumerate() {
            let routes: Vec<_> =
                member.client.routes().filter(|(_, route)| *route != Route::None).collect();
            if !routes
                .iter()
                .copied()
                .eq(member.told_routes().iter().map(|(who, route)| (*who, *route)))
            {
                fail(format!(
                    "{peer} was told of the routes {:?} and has {routes:?}",
                    member.told_routes()
                ));
            }
        }
    }

    fn check_bounds(&mut self) {
        for (peer, member) in self.members.iter_mut().enumerate() {
            let dropped = member.client.dropped();
            if dropped.contains_key(&Dropped::EventOverflow) {
                fail(format!("{peer} lost events"));
            }
            let suspicious = dropped.keys().find(|reason| {
                matches!(
                    reason,
                    Dropped::Malformed(_) | Dropped::Misplaced(_) | Dropped::WrongHandshake
                )
            });
            if let Some(reason) = suspicious.filter(|_| self.hostile.is_none()) {
                fail(format!("{peer} dropped something for {reason:?} though everybody is honest"));
            }
            let routes = member.client.routes().count();
            if routes > usize::from(u8::MAX) || self.net.links.len() > 4096 {
                fail(format!(
                    "{peer} has {routes} routes, and there are {} links",
                    self.net.links.len()
                ));
            }
            member.heard.clear();
        }
    }

    /// Everyone speaks and writes once, and exactly those hear it who should.
    fn call_the_roll(&mut self) {
        self.reference.forget();
        self.reference.is_quiet = true;
        let present = self.present();
        for &peer in &present {
            self.say(peer);
            for group in groups() {
                self.write_to_group(peer, group);
            }
        }
        self.run(Duration::from_millis(250), Duration::from_millis(10));
        self.reference.check_all_heard(&present);
        self.reference.is_quiet = false;
    }
}
