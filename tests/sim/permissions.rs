//! What a member may do holds for everyone, on links and through the relay, whatever its own
//! program does.

use std::time::Duration;

use bytes::Bytes;
use voicemesh::Route;
use voicemesh_mesh::MeshEvent;
use voicemesh_session::Reliability;
use voicemesh_session::client::DataEvent;
use voicemesh_session::data::{DataError, PipeEvent};
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
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

/// How many frames of the first peer each other one receives in a second and a half, after what was
/// on its way.
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
            let sent = world.peers[0].comms.network().mesh.own_permissions();
            assert_eq!(sent.speak, unheard, "what its program knows");
            world.set_permissions(0, Permissions::default(), false);
            assert!(
                received(&mut world).iter().all(|frames| *frames > 60),
                "{route:?}: allowed again"
            );
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
    world.peers[0]
        .comms
        .client_mut()
        .unwrap()
        .send_data(ids[1], Reliability::Unreliable, hello())
        .unwrap();
    world.run(SECOND);
    let events = world.peers[1].events.iter().map(|(_, event)| format!("{event:?}"));
    assert_eq!(events.filter(|event| event.contains("hello")).count(), 0);
    let at = now(&world, 1);
    assert_eq!(world.peers[1].comms.client_mut().unwrap().poll_data(at), None);
    // Now it does.
    world.run(6 * SECOND);
    let at = now(&world, 0);
    assert!(world.peers[0].comms.send_text(at, group, "hello").is_err());
    assert!(world.peers[0].comms.send_group_text(at, "Global", "hello").is_err());
    let refused = world.peers[0].comms.client_mut().unwrap().send_data(
        ids[1],
        Reliability::Reliable,
        hello(),
    );
    assert_eq!(refused, Err(DataError::NotPermitted));
    world.peers[1]
        .comms
        .client_mut()
        .unwrap()
        .send_data(ids[0], Reliability::Reliable, hello())
        .unwrap();
    world.run(SECOND);
    let at = now(&world, 0);
    let message =
        PipeEvent::Message { channel: None, reliability: Reliability::Reliable, bytes: hello() };
    assert_eq!(
        world.peers[0].comms.client_mut().unwrap().poll_data(at),
        Some((ids[1], DataEvent::Pipe(message)))
    );
    let waits = world.peers[1]
        .comms
        .client()
        .unwrap()
        .data_pipes()
        .map(|(_, pipe)| pipe.queued_bytes())
        .sum::<usize>();
    assert_eq!(waits, 0, "it was acknowledged");
}

/// Says that the second peer heard the first without a loss, and that the first was told so.
fn no_loss_is_counted(world: &World, concealed: u64, what: &str) {
    assert_eq!(
        world.heard(1, 0).concealed,
        concealed,
        "{what}: frames that were sent to no listener are no loss"
    );
    let heard = world.status(1, 0).expect("the speaker is known");
    let told = world.status(0, 1).expect("the listener is known");
    assert_eq!((heard.loss, told.reported_loss), (0.0, Some(0.0)), "{what}");
    assert_eq!(world.peers[0].comms.speaking_status().bitrate_bps, 32_000, "{what}");
}

fn set_muted(world: &mut World, at: usize, muted: bool) {
    world.peers[at].comms.set_muted(muted);
}

#[test]
fn what_is_said_while_it_may_not_be_heard_is_no_loss_afterwards() {
    // MetadataScope permission, and whether its own program does not learn of it.
    let withheld = [(0, MUTE, false), (0, MUTE, true), (1, DEAF, false)];
    for (seed, route) in [(6, Route::Direct), (7, Route::Relayed)] {
        for (whose, permissions, unheard) in withheld {
            let mut world = talking(seed, route);
            world.run(3 * SECOND);
            let concealed = world.heard(1, 0).concealed;
            world.set_permissions(whose, permissions, unheard);
            world.run(SECOND / 2);
            set_muted(&mut world, 0, true);
            world.run(SECOND / 4);
            set_muted(&mut world, 0, false);
            world.run(SECOND / 2);
            world.set_permissions(whose, Permissions::default(), false);
            let before = world.heard(1, 0).received;
            world.run(3 * SECOND);
            assert!(world.heard(1, 0).received > before + 100, "heard again");
            no_loss_is_counted(&world, concealed, &format!("{route:?}, {whose}, {unheard}"));
        }
    }
}

#[test]
fn a_group_that_is_left_and_joined_again_by_either_side_costs_no_frame() {
    for (seed, route) in [(8, Route::Direct), (9, Route::Relayed)] {
        for speaker_moves in [false, true] {
            let mut world = talking(seed, route);
            world.run(3 * SECOND);
            let concealed = world.heard(1, 0).concealed;
            let (whose, global) =
                (usize::from(!speaker_moves), VoiceTarget::Group("Global".to_owned()));
            let now = world.now() + world.peers[whose].clock;
            if speaker_moves {
                let elsewhere = VoiceTarget::Group("Elsewhere".to_owned());
                world.peers[0].comms.open_target(elsewhere, TargetOptions::default()).unwrap();
                world.peers[0].comms.close_target(now, &global).unwrap();
            } else {
                world.peers[1].comms.leave_group(now, "Global").unwrap();
            }
            world.run(SECOND / 2);
            let before = world.heard(1, 0).received;
            world.run(SECOND);
            assert_eq!(world.heard(1, 0).received, before, "not addressed");
            let now = world.now() + world.peers[whose].clock;
            if speaker_moves {
                world.peers[0].comms.open_target(global, TargetOptions::default()).unwrap();
            } else {
                world.peers[1].comms.join_group(now, "Global").unwrap();
            }
            world.run(3 * SECOND);
            assert!(world.heard(1, 0).received > before + 100, "heard again");
            no_loss_is_counted(
                &world,
                concealed,
                &format!("{route:?}, the speaker moves: {speaker_moves}"),
            );
        }
    }
}
