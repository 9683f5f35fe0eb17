//! A player as a separate process: this very program, started to run one test that otherwise is
//! left out. It opens channels to everyone who plays, sends what it is asked to, and checks every
//! byte that comes.
//!
//! It is controlled by lines: `send` a batch to everyone, `mend` the channel that was opened in two
//! ways, `report`, `end`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead as _, Write as _};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use voicemesh::{DataEvent, Event, Events, PeerId, Reliability, Room, RoomEvent, SendError};
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, PATIENCE};

use crate::friends;

/// Where a player finds its part.
const PART: &str = "VOICEMESH_PLAYER";
/// How often a player looks for new orders.
const TURN: Duration = Duration::from_millis(5);
/// What every pair has open.
const CHANNELS: [(u8, Reliability); 4] = [
    (10, Reliability::Reliable),
    (20, Reliability::Unreliable),
    (30, Reliability::Reliable),
    (255, Reliability::Unreliable),
];
/// The first two players open this one in two ways.
const TWO_WAYS: u8 = 50;
/// In each batch: messages on each channel to each player …
pub const BATCH: u32 = 40;
/// … and messages to all.
const TO_ALL: u32 = 10;
/// On the channel that was opened in two ways, once it is mended.
const MENDED: u32 = 20;
/// How long the messages are that must arrive: below, at and beyond one packet, and many packets.
const LENGTHS: [usize; 7] = [8, 60, 999, 1_000, 1_001, 4_000, 24_000];
/// And those that may be lost.
const LOSSY_LENGTHS: [usize; 3] = [8, 300, 1_100];

/// Starts a player in a room of so many.
pub fn start(server: &str, room: &str, index: usize, of: usize, encrypts: bool) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["player::program", "--exact", "--ignored", "--nocapture"]);
    let part =
        json!({ "server": server, "room": room, "index": index, "of": of, "encrypts": encrypts });
    command.env(PART, part.to_string());
    Program::start(&format!("player {index}"), command)
}

/// Waits for what a player says.
pub fn wait_for(player: &mut Program, event: &str) -> Value {
    player.wait_for(event, PATIENCE, |json| json["event"] == event).json
}

/// Waits until a player has had a batch of another.
pub fn wait_for_batch(player: &mut Program, number: u32, from: usize) {
    player.wait_for(&format!("batch {number} of player {from}"), PATIENCE, |json| {
        json["event"] == "batch" && json["number"] == number && json["from"] == from
    });
}

#[test]
#[ignore = "a program that other tests start"]
fn program() {
    // A run of all ignored tests has no part for it.
    let Ok(part) = std::env::var(PART) else { return };
    let part: Value = serde_json::from_str(&part).unwrap();
    let number = |name: &str| part[name].as_u64().unwrap() as usize;
    let folder = Folder::create("player");
    let (index, of) = (number("index"), number("of"));
    let name = format!("player {index}");
    let options = friends::options(
        part["server"].as_str().unwrap(),
        part["room"].as_str().unwrap(),
        &name,
        &folder,
    );
    let options = options.encrypted(part["encrypts"] == true);
    let (room, incoming) = Room::join(options).unwrap();
    let play = Play {
        room,
        incoming,
        index,
        of,
        friends: BTreeMap::new(),
        to_all: VecDeque::new(),
        batches: 0,
        told: Told::default(),
    };
    play.run(&orders());
}

/// Lines that are typed, from a thread of their own.
fn orders() -> Receiver<String> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_ok_and(|line| sender.send(line).is_ok()) {
                continue;
            }
            return;
        }
    });
    orders
}

fn say(what: &Value) {
    // The first line of a test's output begins behind its name.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what}").and_then(|()| out.flush()).unwrap();
}

struct Play {
    room: Room,
    incoming: Events,
    index: usize,
    of: usize,
    friends: BTreeMap<PeerId, Friend>,
    /// Numbers of messages to all.
    to_all: VecDeque<u32>,
    batches: u32,
    told: Told,
}

/// A player.
struct Friend {
    index: usize,
    /// Channels and numbers, in order.
    to_send: VecDeque<(u8, u32)>,
    /// Of each lane, how many have been begun.
    begun: BTreeMap<Option<u8>, u32>,
    /// Of each lane, how many have come.
    got: BTreeMap<Option<u8>, u32>,
    opened: BTreeSet<u8>,
    batches: u32,
}

/// What there is to report.
#[derive(Default)]
struct Told {
    lossy: u32,
    strangers: BTreeSet<PeerId>,
    /// Events of strangers, by kind.
    of_strangers: BTreeMap<&'static str, u32>,
    /// Why nothing more could be sent to strangers.
    refusals: BTreeSet<&'static str>,
}

/// One message, known by who sent it to whom, on what, and which it is. `None` is to all, outside
/// of channels.
fn message(from: usize, to: usize, lane: Option<u8>, number: u32) -> Vec<u8> {
    let lossy = CHANNELS.contains(&(lane.unwrap_or(0), Reliability::Unreliable));
    let lengths: &[usize] = if lossy { &LOSSY_LENGTHS } else { &LENGTHS };
    let length = lengths[(number as usize + from) % lengths.len()];
    let to = if lane.is_some() { to as u8 } else { u8::MAX };
    let mut bytes = vec![from as u8, to, u8::from(lane.is_some()), lane.unwrap_or(0)];
    bytes.extend(number.to_be_bytes());
    bytes.extend((8..length).map(|at| (at as u32 * 31 + number) as u8));
    bytes
}

impl Play {
    fn run(mut self, orders: &Receiver<String>) {
        loop {
            match orders.try_recv().as_deref() {
                Ok("send") => self.begin_batch(),
                Ok("mend") => self.mend(),
                Ok("report") => self.report(),
                Ok(_) | Err(std::sync::mpsc::TryRecvError::Disconnected) => break,
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            self.send_what_can_be();
            self.incoming.wait(TURN);
            while let Some(event) = self.incoming.poll() {
                self.on(event);
            }
        }
        self.room.leave_and_wait(PATIENCE);
        say(&json!({ "event": "left" }));
    }

    fn begin_batch(&mut self) {
        self.batches += 1;
        for friend in self.friends.values_mut() {
            for _ in 0..BATCH {
                friend.begin(CHANNELS.iter().map(|(channel, _)| *channel));
            }
        }
        self.to_all.extend((self.batches - 1) * TO_ALL..self.batches * TO_ALL);
        for stranger in &self.told.strangers {
            let refusal = loop {
                match self.room.participant(*stranger).send(&[0x55; 4_000], Reliability::Reliable) {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            self.told.refusals.insert(match refusal {
                SendError::WouldBlock { .. } => "would-block",
                SendError::UnknownPeer => "unknown-peer",
                other => panic!("{other}"),
            });
        }
    }

    /// The second player closes the channel and opens it as the first did.
    fn mend(&mut self) {
        let first = *self.friends.iter().find(|(_, friend)| friend.index == 0).unwrap().0;
        self.room.channel(first, TWO_WAYS).close().unwrap();
        self.room.channel(first, TWO_WAYS).open(Reliability::Reliable).unwrap();
    }

    fn report(&self) {
        let Told { lossy, of_strangers, refusals, .. } = &self.told;
        say(
            &json!({ "event": "report", "lossy": lossy, "strangers": of_strangers, "refusals": refusals }),
        );
    }

    fn send_what_can_be(&mut self) {
        let is_full = |error| matches!(error, SendError::WouldBlock { .. });
        for (peer, friend) in &mut self.friends {
            while let Some((channel, number)) = friend.to_send.front() {
                let bytes = message(self.index, friend.index, Some(*channel), *number);
                match self.room.channel(*peer, *channel).send(&bytes) {
                    Ok(()) => drop(friend.to_send.pop_front()),
                    Err(error) if is_full(error) => break,
                    Err(error) => panic!("on channel {channel}: {error}"),
                }
            }
        }
        while let Some(number) = self.to_all.front() {
            // A stranger's full queue would hold everybody up.
            if !self.told.strangers.is_empty() {
                let bytes = message(self.index, 0, None, *number);
                let full =
                    |(peer, _): (&PeerId, _)| self.room.participant(*peer).queued_bytes() > 900_000;
                if self.friends.iter().any(full) {
                    break;
                }
                for peer in self.friends.keys() {
                    self.room.participant(*peer).send(&bytes, Reliability::Reliable).unwrap();
                }
            } else {
                match self
                    .room
                    .send_to_all(&message(self.index, 0, None, *number), Reliability::Reliable)
                {
                    Ok(()) => {}
                    Err(error) if is_full(error) => break,
                    Err(error) => panic!("to all: {error}"),
                }
            }
            self.to_all.pop_front();
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Room(RoomEvent::PeerJoined { peer, name, .. }) => self.met(peer, &name),
            Event::Room(RoomEvent::PeerLeft { peer, .. }) => {
                self.told.strangers.remove(&peer);
            }
            Event::Data(DataEvent::ChannelOpened { peer, channel, reliability }) => {
                self.opened(peer, channel, reliability)
            }
            Event::Data(DataEvent::ChannelMismatch { peer, channel, ours, theirs }) => {
                self.mismatch(peer, channel, ours, theirs)
            }
            Event::Data(DataEvent::Message { from, data, reliability }) => {
                self.got(from, None, &data, reliability)
            }
            Event::Data(DataEvent::ChannelMessage { from, channel, data, reliability }) => {
                self.got(from, Some(channel), &data, reliability);
            }
            Event::Data(DataEvent::ChannelClosed { peer, channel }) => {
                assert!(
                    self.is_strange(peer, "closed"),
                    "player {peer} has closed channel {channel}"
                );
            }
            Event::Data(DataEvent::Disconnected { peer, .. }) => {
                assert!(self.is_strange(peer, "disconnected"), "{peer} has disconnected");
            }
            Event::Room(
                RoomEvent::Refused { .. } | RoomEvent::ServerAway { .. } | RoomEvent::Left,
            ) => {
                panic!("{event:?}")
            }
            _ => {}
        }
    }

    /// Opens what this player opens, in its own order.
    fn met(&mut self, peer: PeerId, name: &str) {
        let Some(index) = name.strip_prefix("player ").and_then(|index| index.parse().ok()) else {
            self.told.strangers.insert(peer);
            return self.room.channel(peer, 10).open(Reliability::Reliable).unwrap();
        };
        let mut channels = CHANNELS.to_vec();
        channels.rotate_left((self.index + 3 * index) % CHANNELS.len());
        if self.index % 2 == 1 {
            channels.reverse();
        }
        match (self.index, index) {
            (0, 1) => channels.insert(2, (TWO_WAYS, Reliability::Reliable)),
            (1, 0) => channels.insert(1, (TWO_WAYS, Reliability::Unreliable)),
            _ => {}
        }
        for (channel, reliability) in channels {
            self.room.channel(peer, channel).open(reliability).unwrap();
        }
        let (begun, got) = (BTreeMap::new(), BTreeMap::new());
        let (to_send, opened) = (VecDeque::new(), BTreeSet::new());
        self.friends.insert(peer, Friend { index, to_send, begun, got, opened, batches: 0 });
    }

    fn opened(&mut self, peer: PeerId, channel: u8, reliability: Reliability) {
        if self.is_strange(peer, "opened") {
            return;
        }
        let friend = self.friends.get_mut(&peer).unwrap();
        assert!(
            friend.opened.insert(channel),
            "channel {channel} with {} has opened twice",
            friend.index
        );
        if channel == TWO_WAYS {
            assert_eq!(reliability, Reliability::Reliable);
            for _ in 0..MENDED {
                friend.begin([TWO_WAYS]);
            }
            return;
        }
        assert!(CHANNELS.contains(&(channel, reliability)), "{channel} is {reliability:?}");
        let all =
            |friend: &Friend| CHANNELS.iter().all(|(channel, _)| friend.opened.contains(channel));
        if self.friends.len() == self.of - 1 && self.friends.values().all(all) {
            say(&json!({ "event": "ready" }));
        }
    }

    fn mismatch(&mut self, peer: PeerId, channel: u8, ours: Reliability, theirs: Reliability) {
        if self.is_strange(peer, "mismatch") {
            return;
        }
        let expected = [Reliability::Reliable, Reliability::Unreliable];
        assert_eq!(
            (channel, ours, theirs),
            (TWO_WAYS, expected[self.index], expected[1 - self.index])
        );
        assert_eq!(
            self.room.channel(peer, channel).send(b"x"),
            Err(SendError::ChannelMismatch { theirs })
        );
        say(&json!({ "event": "mismatch" }));
    }

    fn got(&mut self, from: PeerId, lane: Option<u8>, data: &[u8], reliability: Reliability) {
        if self.is_strange(from, "messages") {
            return;
        }
        let friend = self.friends.get_mut(&from).unwrap();
        let number = u32::from_be_bytes(*data[4..].first_chunk().unwrap());
        let place = || format!("player {}'s number {number} on {lane:?}", friend.index);
        assert!(
            data == message(friend.index, self.index, lane, number),
            "{} is not what was sent",
            place()
        );
        let how =
            if lane == Some(TWO_WAYS) { Some(&(TWO_WAYS, Reliability::Reliable)) } else { None }
                .or(CHANNELS.iter().find(|(channel, _)| Some(*channel) == lane));
        assert_eq!(reliability, how.map_or(Reliability::Reliable, |(_, how)| *how), "{}", place());
        if reliability == Reliability::Unreliable {
            self.told.lossy += 1;
            return;
        }
        let next = friend.got.entry(lane).or_default();
        assert_eq!(number, *next, "{} is out of order", place());
        *next += 1;
        if lane == Some(TWO_WAYS) && *next == MENDED {
            say(&json!({ "event": "mended" }));
        }
        let of = |lane| friend.got.get(&lane).copied().unwrap_or(0);
        let whole = (of(Some(10)) / BATCH).min(of(Some(30)) / BATCH).min(of(None) / TO_ALL);
        while friend.batches < whole {
            friend.batches += 1;
            say(&json!({ "event": "batch", "from": friend.index, "number": friend.batches }));
        }
    }

    /// Whether it does not play; what it did is counted then. It may be gone already.
    fn is_strange(&mut self, peer: PeerId, what: &'static str) -> bool {
        let strange = !self.friends.contains_key(&peer);
        if strange {
            *self.told.of_strangers.entry(what).or_default() += 1;
        }
        strange
    }
}

impl Friend {
    fn begin(&mut self, channels: impl IntoIterator<Item = u8>) {
        for channel in channels {
            let number = self.begun.entry(Some(channel)).or_default();
            self.to_send.push_back((channel, *number));
            *number += 1;
        }
    }
}
