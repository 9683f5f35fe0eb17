//! The game's own bytes while routes come and go.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use voicemesh_engine::EngineOnNetwork;
use voicemesh_rooms::RoomRules;
use voicemesh_session::Reliability;
use voicemesh_session::client::DataEvent;
use voicemesh_session::data::{DataError, PipeEvent};
use voicemesh_wire::limits::RELIABLE_DATA_BYTES;

use crate::world::{STEP, SimPeer, World};

const SECOND: Duration = Duration::from_secs(1);
const MESSAGES: usize = 10_000;

/// 1 B to 256 KiB: most are small, as in games; each size class has its share.
fn message(random: &mut Rng) -> Bytes {
    let exponent = 18.0 * random.f64().powi(3);
    let length = (exponent.exp2() as usize).clamp(1, RELIABLE_DATA_BYTES);
    let first = random.u8(..);
    (0..length).map(|index| first.wrapping_add((index % 253) as u8)).collect()
}

/// What one side still has to send to the other, and what the other has to get.
struct Stream {
    to_send: VecDeque<Bytes>,
    expected: VecDeque<Bytes>,
    refused: u32,
}

impl Stream {
    fn new(random: &mut Rng, messages: usize) -> Self {
        let mut to_send: VecDeque<_> = (0..messages).map(|_| message(random)).collect();
        // The ends of the range are in it for certain.
        to_send[messages / 3] = vec![1; RELIABLE_DATA_BYTES].into();
        to_send[messages / 2] = vec![2; 1].into();
        Self { expected: to_send.clone(), to_send, refused: 0 }
    }

    fn send(&mut self, from: &mut SimPeer, to: voicemesh_wire::PeerId, at_most: usize) {
        for _ in 0..at_most {
            let Some(bytes) = self.to_send.front() else { return };
            match from.comms.client_mut().unwrap().send_data(
                to,
                Reliability::Reliable,
                bytes.clone(),
            ) {
                Ok(()) => {
                    self.to_send.pop_front();
                }
                Err(DataError::WouldBlock { .. }) => {
                    self.refused += 1;
                    return;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn take(&mut self, at: &mut SimPeer, now: Duration) {
        for event in received(&mut at.comms, now + at.clock) {
            match event {
                DataEvent::Pipe(PipeEvent::Message {
                    bytes,
                    reliability: Reliability::Reliable,
                    ..
                }) => {
                    let expected = self.expected.pop_front().expect("no more than was sent");
                    assert!(
                        bytes == expected,
                        "another message than the next: {} for {}",
                        bytes.len(),
                        expected.len()
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn received<N: voicemesh_session::Network>(
    comms: &mut EngineOnNetwork<N>,
    now: Duration,
) -> Vec<DataEvent> {
    std::iter::from_fn(|| comms.client_mut().unwrap().poll_data(now))
        .map(|(_, event)| event)
        .collect()
}

/// A way is taken from under the pair, in one of the ways in which that happens.
fn disturb(world: &mut World, number: usize) {
    match number % 5 {
        0 => world.wires.borrow_mut().cut_link(0, 1),
        1 => world.wires.borrow_mut().break_links(0, 1),
        2 => world.break_socket(number % 2),
        // The link goes while there is no socket either.
        3 => {
            world.break_socket(0);
            world.wires.borrow_mut().break_links(0, 1);
        }
        _ => {
            world.kill_server();
            world.wires.borrow_mut().break_links(0, 1);
            world.start_server(RoomRules::default());
        }
    }
}

struct Outcome {
    time: Duration,
    bytes: usize,
    voice_received: u64,
    voice_spoken: u64,
}

/// Both speak, and send each other `messages` while the world is disturbed every few seconds.
fn exchange(
    seed: u64,
    messages: usize,
    disturbances: usize,
    change: impl Fn(&mut World),
) -> Outcome {
    let mut world = World::new(seed);
    world.add_peer();
    world.add_peer();
    change(&mut world);
    for peer in &mut world.peers {
        peer.speaking = true;
    }
    world.run_until(3 * SECOND, "direct", |world| world.all_routes_are(voicemesh::Route::Direct));
    let mut random = Rng::with_seed(seed);
    let mut streams = [Stream::new(&mut random, messages), Stream::new(&mut random, messages)];
    let bytes = streams.iter().flat_map(|stream| &stream.to_send).map(Bytes::len).sum();
    let ids = [world.peers[0].id, world.peers[1].id];
    let begun = world.now();
    let between = Duration::from_millis(6_300);
    let last = between * disturbances as u32;
    let mut disturbed = 0;
    // So many that they are still under way when the last disturbance comes.
    let steps = (last.as_millis() / STEP.as_millis()).max(1) as usize;
    let mut owed = 0.0;
    loop {
        let passed = world.now() - begun;
        if disturbed < disturbances && passed >= between * (disturbed as u32 + 1) {
            disturb(&mut world, disturbed);
            disturbed += 1;
        }
        owed += if disturbances == 0 { messages as f64 } else { messages as f64 / steps as f64 };
        let now = world.now();
        let waiting = owed as usize;
        owed -= waiting as f64;
        for (from, stream) in streams.iter_mut().enumerate() {
            stream.send(&mut world.peers[from], ids[1 - from], waiting.max(1));
            stream.take(&mut world.peers[1 - from], now);
        }
        if disturbed == disturbances && streams.iter().all(|stream| stream.expected.is_empty()) {
            break;
        }
        assert!(
            passed < last + 1_200 * SECOND,
            "{:?} are missing",
            streams.map(|stream| stream.expected.len())
        );
        world.step();
    }
    let time = world.now() - begun;
    for peer in &mut world.peers {
        peer.speaking = false;
    }
    world.run(2 * SECOND);
    for (at, peer) in world.peers.iter().enumerate() {
        let left: usize =
            peer.comms.client().unwrap().data_pipes().map(|(_, pipe)| pipe.queued_bytes()).sum();
        assert_eq!(left, 0, "peer {at} knows that all has come");
    }
    let voice_received = world.heard(0, 1).received + world.heard(1, 0).received;
    let voice_spoken = world.peers.iter().map(|peer| peer.comms.frames_spoken()).sum();
    Outcome { time, bytes, voice_received, voice_spoken }
}

/// 10,000 messages of 1 B to 256 KiB each way, while links are cut and break, sockets break and
/// servers start anew, fifty times in all.
///
/// proves: U-13, D-32
#[test]
fn ten_thousand_messages_survive_fifty_changes_of_route_exact_and_in_order() {
    let Outcome { time, bytes, voice_received, voice_spoken } = exchange(5, MESSAGES, 50, |_| {});
    println!(
        "{MESSAGES} messages each way, {bytes} bytes in {time:?}; voice: {voice_received} of {voice_spoken} frames"
    );
    assert!(bytes > 20_000_000);
}

/// proves: U-13
#[test]
fn ten_thousand_messages_over_ten_percent_loss_are_all_there_exact_and_in_order() {
    let lossy = |world: &mut World| {
        world.wires.borrow_mut().conditions.loss = 0.1;
        world.wires.borrow_mut().conditions.jitter = Duration::from_millis(5);
    };
    let Outcome { time, bytes, .. } = exchange(6, MESSAGES, 0, lossy);
    println!("{MESSAGES} messages each way, {bytes} bytes in {time:?} at 10 % loss");
}

/// Speech beside the data loses no more than without it, where everything is disturbed alike.
#[test]
fn voice_beside_data_loses_no_more_than_without_it() {
    let with = exchange(7, 2_000, 15, |_| {});
    let without = exchange(7, 10, 15, |_| {});
    let lost = |outcome: &Outcome| outcome.voice_spoken - outcome.voice_received;
    println!(
        "lost with data {} of {}, without {} of {}",
        lost(&with),
        with.voice_spoken,
        lost(&without),
        without.voice_spoken
    );
    // Frames fall on other moments of a cut.
    assert!(lost(&with) <= lost(&without) + 8);
}
