//! Two ends of a pipe over a path that loses, doubles, delays and breaks, under a virtual clock.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use voicemesh_netsim::Schedule;
use voicemesh_wire::packet::{self, DataAck, DataMessage, DataSegment, Kind, PipeEnd, Record};
use voicemesh_wire::{ClientId, SessionId};

use super::*;

fn chance(random: &mut Rng, percent: u64) -> bool {
    random.u64(..100) < percent
}

struct Path {
    delay_ms: u64,
    jitter_ms: u64,
    loss_percent: u64,
    double_percent: u64,
    is_cut: bool,
}

const CALM: Path =
    Path { delay_ms: 20, jitter_ms: 0, loss_percent: 0, double_percent: 0, is_cut: false };

struct World {
    now: Duration,
    ends: [Pipe; 2],
    path: Path,
    random: Rng,
    under_way: Schedule<(usize, Vec<u8>)>,
    packets: u64,
    got: [VecDeque<PipeEvent>; 2],
    takes: bool,
}

fn end(number: u32) -> PipeEnd {
    PipeEnd::new(number).unwrap()
}

fn session() -> SessionId {
    SessionId::new(1).unwrap()
}

impl World {
    fn new(path: Path, seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            ends: [Pipe::new(end(1), None), Pipe::new(end(2), None)],
            path,
            random: Rng::with_seed(seed),
            under_way: Schedule::default(),
            packets: 0,
            got: Default::default(),
            takes: true,
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        while let Some((to, bytes)) = self.under_way.pop(self.now) {
            self.deliver(to, &bytes);
        }
        for from in 0..2 {
            self.ends[from].update(self.now);
            while let Some(outward) = self.ends[from].poll_outward(self.now) {
                self.send(1 - from, &outward.encode(session(), ClientId(from as u16)));
            }
            while self.takes
                && let Some(event) = self.ends[from].poll_event(self.now)
            {
                self.got[from].push_back(event);
            }
        }
    }

    fn send(&mut self, to: usize, bytes: &[u8]) {
        let copies = 1 + u64::from(chance(&mut self.random, self.path.double_percent));
        for _ in 0..copies {
            self.packets += 1;
            if self.path.is_cut || chance(&mut self.random, self.path.loss_percent) {
                continue;
            }
            let delay = self.path.delay_ms + self.random.u64(..self.path.jitter_ms + 1);
            self.under_way.add(self.now + Duration::from_millis(delay), (to, bytes.to_vec()));
        }
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let (header, body) = packet::open(bytes).unwrap();
        let pipe = &mut self.ends[to];
        let inward = match header.kind {
            Kind::DataSegment => {
                let segment = DataSegment::decode(body).unwrap();
                pipe.set_remote(segment.from);
                Incoming::Segment(segment, Bytes::copy_from_slice(segment.payload))
            }
            Kind::DataAck => {
                let ack = DataAck::decode(body).unwrap();
                pipe.set_remote(ack.from);
                Incoming::Ack(ack)
            }
            Kind::DataMessage => {
                let message = DataMessage::decode(body).unwrap();
                Incoming::Lossy(
                    message.on.map(|(_, channel)| channel),
                    Bytes::copy_from_slice(message.payload),
                )
            }
            other => panic!("{other:?}"),
        };
        pipe.receive(self.now, inward).unwrap();
    }

    fn messages(&mut self, at: usize) -> Vec<Bytes> {
        let taken = std::mem::take(&mut self.got[at]);
        taken
            .into_iter()
            .filter_map(|event| match event {
                PipeEvent::Message { bytes, .. } => Some(bytes),
                _ => None,
            })
            .collect()
    }
}

fn message(random: &mut Rng, most: u64) -> Bytes {
    let length = 1 + random.u64(..most);
    let first = random.u8(..);
    (0..length).map(|index| first.wrapping_add((index % 251) as u8)).collect()
}

/// Sends so many messages of random sizes both ways as fast as the queue takes them, and compares
/// what arrives. Gives how long that took, and how many packets.
fn exchange(
    mut world: World,
    count: usize,
    most: u64,
    mut each_ms: impl FnMut(&mut World),
) -> (Duration, u64) {
    let mut random = Rng::with_seed(7);
    let mut left: [VecDeque<Bytes>; 2] =
        [0, 1].map(|_| (0..count).map(|_| message(&mut random, most)).collect());
    let mut expected = left.clone();
    let limit = Duration::from_secs(600);
    while expected.iter().any(|expected| !expected.is_empty()) {
        assert!(world.now < limit, "not all there: {:?}", expected.map(|expected| expected.len()));
        for (left, end) in left.iter_mut().zip(&mut world.ends) {
            while let Some(bytes) = left.front() {
                match end.send(Reliability::Reliable, bytes.clone()) {
                    Ok(()) => left.pop_front(),
                    Err(DataError::WouldBlock { queued_bytes }) => {
                        assert!(queued_bytes > QUEUE_BYTES / 2);
                        break;
                    }
                    Err(other) => panic!("{other}"),
                };
            }
        }
        each_ms(&mut world);
        world.step();
        for at in 0..2 {
            for got in world.messages(at) {
                assert_eq!(Some(got), expected[1 - at].pop_front(), "exact and in order");
            }
        }
    }
    world.run(2_000);
    assert_eq!(world.ends.each_ref().map(Pipe::queued_bytes), [0, 0], "all of it is acknowledged");
    (world.now - Duration::from_secs(2), world.packets)
}

/// proves: U-13, S-08
#[test]
fn messages_of_every_size_arrive_exact_and_in_order() {
    let (time, _) = exchange(World::new(CALM, 1), 300, 20_000, |_| {});
    println!("{time:?}");
    exchange(World::new(CALM, 2), 6, RELIABLE_DATA_BYTES as u64, |_| {});
}

/// proves: U-13
#[test]
fn loss_disorder_and_doubles_change_nothing_but_the_time() {
    for seed in 0..4 {
        let path = Path { loss_percent: 10, double_percent: 5, jitter_ms: 15, ..CALM };
        let (time, packets) = exchange(World::new(path, seed), 400, 4_000, |_| {});
        println!("{time:?}, {packets} packets");
    }
    let heavy = Path { loss_percent: 40, ..CALM };
    exchange(World::new(heavy, 9), 100, 3_000, |_| {});
}

/// proves: U-13
#[test]
fn a_path_that_breaks_and_comes_back_loses_nothing() {
    let mut breaks = 0;
    let world = World::new(Path { loss_percent: 2, jitter_ms: 10, ..CALM }, 3);
    exchange(world, 1_000, 6_000, |world| {
        let ms = world.now.as_millis();
        let is_cut = ms % 700 > 400;
        if world.path.is_cut && !is_cut && ms % 3 == 0 {
            world.ends[0].on_route_change();
            world.ends[1].on_route_change();
        }
        breaks += u32::from(is_cut && !world.path.is_cut);
        world.path.is_cut = is_cut;
    });
    assert!(breaks >= 5, "{breaks}");
}

#[test]
fn what_is_lost_is_sent_again_once_a_round_trip_and_not_more() {
    let lossless = exchange(World::new(CALM, 1), 300, 8_000, |_| {}).1;
    let path = Path { loss_percent: 10, ..CALM };
    let lossy = exchange(World::new(path, 1), 300, 8_000, |_| {}).1;
    println!("{lossless} packets without loss, {lossy} with 10 %");
    assert!(lossy * 10 < lossless * 14);
}

#[test]
fn a_program_that_takes_nothing_holds_the_sender_back_and_then_gets_everything() {
    let mut world = World::new(CALM, 5);
    world.takes = false;
    let mut sent = Vec::new();
    for round in 0..3_000u32 {
        let bytes = Bytes::from(vec![round as u8; 900]);
        match world.ends[0].send(Reliability::Reliable, bytes.clone()) {
            Ok(()) => sent.push(bytes),
            Err(DataError::WouldBlock { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        world.run(2);
    }
    let blocked = world.ends[0].send(Reliability::Reliable, Bytes::from(vec![0; 900]));
    assert!(
        matches!(blocked, Err(DataError::WouldBlock { queued_bytes }) if queued_bytes > QUEUE_BYTES - 1_000)
    );
    let asked = world.packets;
    world.run(10_000);
    assert!(
        world.packets - asked < 40,
        "a full receiver is asked now and then: {}",
        world.packets - asked
    );
    world.takes = true;
    world.run(60_000);
    assert_eq!(world.messages(1), sent);
}

/// proves: S-07, S-08
#[test]
fn data_flows_on_channels_that_both_opened_alike_and_on_no_others() {
    let mut world = World::new(CALM, 1);
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let [ada, ben] = &mut world.ends;
    assert_eq!(ada.send_on(1, bytes("x")), Err(DataError::ChannelClosed));
    ada.open(1, Reliability::Reliable).unwrap();
    ada.open(2, Reliability::Unreliable).unwrap();
    ada.open(3, Reliability::Reliable).unwrap();
    ada.send_on(1, bytes("early, reliable")).unwrap();
    ada.send_on(2, bytes("early, lossy")).unwrap();
    ada.send_on(3, bytes("without a receiver")).unwrap();
    ben.open(1, Reliability::Reliable).unwrap();
    world.run(200);
    assert_eq!(
        Vec::from(std::mem::take(&mut world.got[1])),
        [
            PipeEvent::Opened { channel: 1, reliability: Reliability::Reliable },
            PipeEvent::Message {
                channel: Some(1),
                reliability: Reliability::Reliable,
                bytes: bytes("early, reliable")
            },
        ]
    );
    let [ada, ben] = &mut world.ends;
    ben.open(2, Reliability::Unreliable).unwrap();
    ben.open(3, Reliability::Unreliable).unwrap();
    assert_eq!(
        ben.send_on(3, bytes("no")),
        Err(DataError::ChannelMismatch { theirs: Reliability::Reliable }),
        "it was told of ada's way already"
    );
    assert!(ada.queued_bytes() > 0, "what waits is seen");
    world.run(200);
    assert_eq!(world.ends[0].queued_bytes(), 0);
    let mismatch = |ours, theirs| PipeEvent::Mismatch { channel: 3, ours, theirs };
    assert!(world.got[1].contains(&mismatch(Reliability::Unreliable, Reliability::Reliable)));
    assert!(world.got[0].contains(&mismatch(Reliability::Reliable, Reliability::Unreliable)));
    assert!(world.got[1].contains(&PipeEvent::Message {
        channel: Some(2),
        reliability: Reliability::Unreliable,
        bytes: bytes("early, lossy")
    }));
    world.got = Default::default();

    let [ada, ben] = &mut world.ends;
    ben.close(1).unwrap();
    ada.send_on(2, bytes("still open")).unwrap();
    world.run(200);
    assert_eq!(Vec::from(std::mem::take(&mut world.got[0])), [PipeEvent::Closed { channel: 1 }]);
    assert_eq!(world.messages(1), [bytes("still open")], "that channel only");
    let [ada, ben] = &mut world.ends;
    ada.send_on(1, bytes("it waits")).unwrap();
    ben.open(1, Reliability::Reliable).unwrap();
    world.run(200);
    assert_eq!(world.messages(1), [bytes("it waits")]);
}

#[test]
fn a_channel_opened_again_in_another_way_is_mended() {
    let mut world = World::new(CALM, 1);
    world.ends[0].open(9, Reliability::Reliable).unwrap();
    world.ends[1].open(9, Reliability::Unreliable).unwrap();
    world.run(200);
    world.got = Default::default();
    world.ends[0].open(9, Reliability::Unreliable).unwrap();
    world.run(200);
    let opened = PipeEvent::Opened { channel: 9, reliability: Reliability::Unreliable };
    assert!(world.got.iter().all(|got| got.contains(&opened)), "{:?}", world.got);
}

/// proves: U-14
#[test]
fn lossy_messages_come_whole_or_not_at_all() {
    let mut world =
        World::new(Path { loss_percent: 20, double_percent: 20, jitter_ms: 30, ..CALM }, 4);
    let mut random = Rng::with_seed(1);
    let sent: Vec<Bytes> =
        (0..500).map(|_| message(&mut random, UNRELIABLE_DATA_BYTES as u64)).collect();
    for bytes in &sent {
        world.ends[0].send(Reliability::Unreliable, bytes.clone()).unwrap();
        world.run(3);
    }
    world.run(100);
    let got = world.messages(1);
    assert!(got.iter().all(|bytes| sent.contains(bytes)));
    assert!((300..600).contains(&got.len()), "{}", got.len());
    let too_large = Bytes::from(vec![0; UNRELIABLE_DATA_BYTES + 1]);
    let refused = world.ends[0].send(Reliability::Unreliable, too_large);
    assert_eq!(refused, Err(DataError::TooLarge { limit: UNRELIABLE_DATA_BYTES }));
}

#[test]
fn whatever_comes_nothing_grows_and_nothing_breaks() {
    let mut random = Rng::with_seed(11);
    for _ in 0..40 {
        let mut pipe = Pipe::new(end(1), Some(end(2)));
        for index in 0..20_000u64 {
            let now = Duration::from_millis(index);
            let payload = vec![0; random.u64(..1_001) as usize];
            let record = match random.u64(..6) {
                0 => Record::Close(random.u8(..)),
                1 => Record::OpenReliable(random.u8(..)),
                2 => Record::OpenUnreliable(random.u8(..)),
                3 => Record::OnChannel(random.u8(..)),
                _ => Record::Message,
            };
            let whole = !record.is_message();
            let segment = DataSegment {
                sender: ClientId(2),
                from: end(2),
                to: Some(end(1)),
                number: if chance(&mut random, 80) { index as u32 } else { random.u32(..) },
                record,
                is_first: whole || chance(&mut random, 90),
                is_last: whole || chance(&mut random, 90),
                payload: if whole { &[][..] } else { &payload },
            };
            let inward = match random.u64(..4) {
                0 => Incoming::Ack(DataAck {
                    sender: ClientId(2),
                    from: end(2),
                    to: end(1),
                    next: random.u64(..200) as u32,
                    later: random.u64(..),
                    window: random.u16(..),
                }),
                1 => Incoming::Lossy(
                    Some(random.u8(..)).filter(|_| chance(&mut random, 50)),
                    payload.clone().into(),
                ),
                _ => Incoming::Segment(segment, Bytes::copy_from_slice(segment.payload)),
            };
            if pipe.receive(now, inward).is_err() {
                break;
            }
            let _ = pipe.send(Reliability::Reliable, Bytes::from_static(b"beside"));
            pipe.update(now);
            let leaves = std::iter::from_fn(|| pipe.poll_outward(now)).take(200).count();
            assert!(leaves < 200, "no packet makes many");
            assert!(pipe.queued_bytes() <= QUEUE_BYTES);
        }
        let held = std::iter::from_fn(|| pipe.poll_event(Duration::from_secs(100))).count();
        assert!(held <= HELD_SEGMENTS + HELD_LOSSY + 256, "{held}");
    }
}
