//! Members who read slowly, or not at all, what the server sends them.

use std::time::Duration;

use voicemesh::{MemberStatus, Route};
use voicemesh_engine::EngineEvent;
use voicemesh_mesh::{MeshEvent, PeerLeftReason};
use voicemesh_rooms::{CloseReason, SendQueue};
use voicemesh_session::client::ClientEvent;
use voicemesh_wire::GroupId;
use voicemesh_wire::packet::Recipient;
use voicemesh_wire::signaling::ClientMessage;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// Two speak, one listens, one is slow.
const SPEAKERS: [usize; 2] = [0, 1];
const LISTENER: usize = 2;
const SLOW: usize = 3;

/// Four who cannot link, so that everything passes through the server.
fn room(seed: u64) -> World {
    let mut world = World::new(seed);
    world.wires.borrow_mut().links_blocked = true;
    for _ in 0..4 {
        world.add_peer();
    }
    world.run_until(5 * SECOND, "relayed", |world| world.all_routes_are(Route::Relayed));
    world
}

fn speak(world: &mut World, speaking: bool) {
    for speaker in SPEAKERS {
        world.peers[speaker].speaking = speaking;
    }
}

fn write(world: &mut World, from: usize, text: &str) {
    let now = world.now() + world.peers[from].clock;
    let everyone = Recipient::Group(GroupId::of("Global"));
    world.peers[from].comms.send_text(now, everyone, text).expect("it is connected");
}

/// The texts that a peer has got, in order.
fn texts(world: &World, at: usize) -> Vec<String> {
    let events = world.peers[at].events.iter();
    let texts = events.filter_map(|(_, event)| match event {
        EngineEvent::Session(ClientEvent::Text { text, .. }) => Some(text.to_string()),
        _ => None,
    });
    texts.collect()
}

/// What the listener got of the speech of so many seconds.
fn assert_unharmed(world: &World, seconds: u64) {
    for speaker in SPEAKERS {
        let heard = world.heard(LISTENER, speaker);
        let frames = seconds * 50;
        assert!(heard.received * 100 >= frames * 97, "{heard:?} of {frames} of {speaker}");
        assert_eq!(heard.concealed, 0, "of {speaker}");
    }
}

fn most_waiting(world: &World) -> usize {
    world.lines_of(SLOW).iter().map(|line| line.most_waiting()).max().expect("it is connected")
}

/// Of two voices, each of more than 3 kB/s, it reads 2.5 kB/s.
///
/// proves: D-24
#[test]
fn a_slow_reader_loses_speech_and_no_message_and_harms_no_other() {
    const SECONDS: u64 = 20;
    let mut world = room(900);
    world.reads_slowly(SLOW, 2_500);
    speak(&mut world, true);
    for second in 0..SECONDS {
        write(&mut world, LISTENER, &second.to_string());
        let status = MemberStatus { recording: second % 2 == 0, ..MemberStatus::default() };
        let now = world.now() + world.peers[LISTENER].clock;
        world.peers[LISTENER].comms.network_mut().mesh.set_status(now, status);
        world.run(SECOND);
    }
    speak(&mut world, false);
    world.run(5 * SECOND);
    let all: Vec<String> = (0..SECONDS).map(|second| second.to_string()).collect();
    assert_eq!(texts(&world, SLOW), all, "each once, in order");
    let (mesh, id) = (&world.peers[SLOW].comms.network().mesh, world.peers[LISTENER].id);
    assert_eq!(mesh.member(id).map(|member| member.status.recording), Some(false), "the last");
    assert_unharmed(&world, SECONDS);
    let got = SPEAKERS.map(|speaker| world.heard(SLOW, speaker).received);
    assert!(got.iter().all(|got| (100..700).contains(got)), "{got:?} of {}", SECONDS * 50);
    assert!(got[0].abs_diff(got[1]) * 5 < got[0], "each its share: {got:?}");
    let dropped: usize = world.lines_of(SLOW).iter().map(|line| line.voice_dropped()).sum();
    assert!(dropped > 500, "{dropped}");
    let waiting = most_waiting(&world);
    assert!(waiting < SendQueue::MAX_BYTES / 8, "{waiting}");
    assert_eq!((world.ended.len(), world.connections_of(SLOW)), (0, 1), "it stays");
}

/// A program that stands still: its system takes what its buffers hold, and no more.
#[test]
fn one_that_reads_nothing_is_lost_after_ten_seconds_and_may_come_again() {
    let mut world = room(901);
    world.peers[SLOW].frozen = true;
    world.reads_slowly(SLOW, 0);
    speak(&mut world, true);
    let begun = world.now();
    world.run_until(15 * SECOND, "ended", |world| !world.ended.is_empty());
    let (at, peer, reason) = world.ended[0];
    assert_eq!((peer, reason), (SLOW, CloseReason::SlowConsumer));
    // It is full within a second.
    assert!((10 * SECOND..12 * SECOND).contains(&(at - begun)), "after {:?}", at - begun);
    world.run(SECOND);
    let id = world.peers[SLOW].id;
    for other in SPEAKERS.into_iter().chain([LISTENER]) {
        let events = &world.peers[other].mesh_events;
        let lost = events.iter().filter(|event| {
            matches!(event, MeshEvent::PeerLeft { member, reason: PeerLeftReason::Lost } if member.peer == id)
        });
        assert_eq!(lost.count(), 1, "seen by {other}");
    }
    world.reads.clear();
    world.peers[SLOW].frozen = false;
    world.run_until(30 * SECOND, "back", |world| world.all_routes_are(Route::Relayed));
    assert_unharmed(&world, (world.now() - begun).as_secs());
}

/// A member that puts more questions than it reads answers is ended with its own words and reason,
/// and no other member is concerned.
#[test]
fn one_that_asks_and_does_not_read_the_answers_is_ended_and_others_speak_on() {
    let mut world = room(902);
    // What it asks is put in by the test.
    world.peers[SLOW].frozen = true;
    world.reads_slowly(SLOW, 100);
    let begun = world.now();
    while world.ended.is_empty() {
        assert!(world.now() < begun + 20 * SECOND, "it was not ended");
        for token in 0..5 {
            world.arrives_from(SLOW, &ClientMessage::Ping { token });
        }
        world.run(SECOND / 10);
    }
    let (_, peer, reason) = world.ended[0];
    assert_eq!((peer, reason), (SLOW, CloseReason::SlowConsumer));
    speak(&mut world, true);
    world.run(5 * SECOND);
    assert_unharmed(&world, 5);
}
