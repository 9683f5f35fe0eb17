//! What a member may do holds for everyone, on links and through the relay, whatever its own program does.

use std::time::Duration;

use bytes::Bytes;
use voicemesh::Route;
use voicemesh::mesh::MeshEvent;
use voicemesh_session::Reliability;
use voicemesh_session::client::DataEvent;
use voicemesh_session::data::{DataError, PipeEvent};
use voicemesh_wire::packet::Recipient;
use voicemesh_wire::{GroupId, Permissions};

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
const MUTE: Permissions = Permissions { speak: false, listen: true, data: true, moderate: false };
const DEAF: Permissions = Permissions { speak: true, listen: false, data: true, moderate: false };
const SILENT: Permissions = Permissions { speak: true, listen: true, data: false, moderate: false };

/// The first of three peers speaks.
fn talking(seed: u64, route: Route) -> World {
    let mut world = World::new(seed);
    world.wires.borrow_mut().links_blocked = route == Route::Relayed;
    for _ in 0..3 {
        world.add_peer();
    }
    world.peers[0].speaking = true;
    world.run_until(3 * SECOND, "connected", |world| world.all_routes_are(route));
    world.run_until(3 * SECOND, "heard", |world| world.heard(1, 0).received > 10);
    world
}

/// How many frames of the first peer each other one receives in a second and a half, after what was on its way.
fn received(world: &mut World) -> [u64; 2] {
    world.run(SECOND / 2);
    let before = [1, 2].map(|at| world.heard(at, 0).received);
    world.run(3 * SECOND / 2);
    [1, 2].map(|at| world.heard(at, 0).received - before[at - 1])
}

#[test]
fn without_speak_a_member_is_not_heard_by_any_route_even_if_its_program_goes_on() {
    for (seed, route) in [(1, Route::Direct), (2, Route::Relayed)] {
        for unheard in [true, false] {
            let mut world = talking(seed, route);
            world.set_permissions(0, MUTE, unheard);
            assert_eq!(received(&mut world), [0, 0], "{route:?}, {unheard}");
            let sent = world.peers[0].comms.network().own_permissions();
            assert_eq!(sent.speak, unheard, "what its program knows");
            world.set_permissions(0, Permissions::default(), false);
            assert!(received(&mut world).iter().all(|frames| *frames > 60), "{route:?}: allowed again");
        }
    }
}

#[test]
fn without_listen_a_member_is_sent_no_speech() {
    for (seed, route) in [(3, Route::Direct), (4, Route::Relayed)] {
        let mut world = talking(seed, route);
        world.set_permissions(1, DEAF, true);
        let [deaf, other] = received(&mut world);
        assert_eq!(deaf, 0, "{route:?}");
        assert!(other > 60, "{route:?}: {other}");
        let told = |event: &MeshEvent| matches!(event, MeshEvent::PermissionsChanged { permissions, .. } if *permissions == DEAF);
        assert!(world.peers[0].mesh_events.iter().any(told));
    }
}

#[test]
fn without_data_neither_texts_nor_data_are_taken_but_data_can_be_received() {
    let mut world = talking(5, Route::Direct);
    let ids = [0, 1].map(|at| world.peers[at].id);
    let now = |world: &World, at: usize| world.now() + world.peers[at].clock;
    let group = Recipient::Group(GroupId::of("Global"));
    let hello = || Bytes::from_static(b"hello");
    world.set_permissions(0, SILENT, true);
    world.run(SECOND / 2);
    // Its program does not know.
    let at = now(&world, 0);
    world.peers[0].comms.send_text(at, group, "hello").unwrap();
    world.peers[0].comms.send_data(ids[1], Reliability::Unreliable, hello()).unwrap();
    world.run(SECOND);
    let events = world.peers[1].events.iter().map(|(_, event)| format!("{event:?}"));
    assert_eq!(events.filter(|event| event.contains("hello")).count(), 0);
    let at = now(&world, 1);
    assert_eq!(world.peers[1].comms.poll_data(at), None);
    // Now it does.
    world.run(6 * SECOND);
    let at = now(&world, 0);
    assert!(world.peers[0].comms.send_text(at, group, "hello").is_err());
    assert!(world.peers[0].comms.send_group_text(at, "Global", "hello").is_err());
    let refused = world.peers[0].comms.send_data(ids[1], Reliability::Reliable, hello());
    assert_eq!(refused, Err(DataError::NotPermitted));
    world.peers[1].comms.send_data(ids[0], Reliability::Reliable, hello()).unwrap();
    world.run(SECOND);
    let at = now(&world, 0);
    let message = PipeEvent::Message { channel: None, reliability: Reliability::Reliable, bytes: hello() };
    assert_eq!(world.peers[0].comms.poll_data(at), Some((ids[1], DataEvent::Pipe(message))));
    let waits = world.peers[1].comms.data_pipes().map(|(_, pipe)| pipe.queued_bytes()).sum::<usize>();
    assert_eq!(waits, 0, "it was acknowledged");
}
