//! How members take part, as the others see it.

use std::time::Duration;

use voicemesh::MemberStatus;
use voicemesh::Route;
use voicemesh_mesh::MeshEvent;
use voicemesh_rooms::RoomRules;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
const MUTED: MemberStatus =
    MemberStatus { muted: true, deafened: false, listening_only: false, recording: false };
const DEAFENED: MemberStatus =
    MemberStatus { muted: true, deafened: true, listening_only: false, recording: false };

fn set(world: &mut World, at: usize, status: MemberStatus) {
    let now = world.now() + world.peers[at].clock;
    world.peers[at].comms.network_mut().mesh.set_status(now, status);
}

fn seen(world: &World, at: usize, of: usize) -> Option<MemberStatus> {
    let member = world.peers[at].comms.network().mesh.member(world.peers[of].id);
    member.map(|member| member.status)
}

/// What `at` was told of `of`.
fn told(world: &World, at: usize, of: usize) -> Vec<MemberStatus> {
    let id = world.peers[of].id;
    let events = world.peers[at].mesh_events.iter();
    let statuses = events.filter_map(|event| match event {
        MeshEvent::StatusChanged { peer, status } if *peer == id => Some(*status),
        _ => None,
    });
    statuses.collect()
}

fn pair(seed: u64) -> World {
    let mut world = World::new(seed);
    world.add_peer();
    world.add_peer();
    world.run_until(3 * SECOND, "connected", |world| world.all_routes_are(Route::Direct));
    world
}

#[test]
fn the_others_see_within_a_second_that_a_member_has_muted_itself_and_a_late_joiner_finds_it() {
    let mut world = pair(1);
    assert_eq!(seen(&world, 1, 0), Some(MemberStatus::default()));
    set(&mut world, 0, MUTED);
    world.run_until(SECOND, "seen", |world| seen(world, 1, 0) == Some(MUTED));
    assert_eq!(told(&world, 1, 0), [MUTED]);
    let late = world.add_peer();
    world.run_until(SECOND, "joined", |world| seen(world, late, 0).is_some());
    assert_eq!((seen(&world, late, 0), told(&world, late, 0)), (Some(MUTED), vec![MUTED]));
    assert_eq!(told(&world, late, 1), [], "the default status raises no event");
    // No peer asks for the roster again: all count the same version.
    world.run(12 * SECOND);
    assert_eq!(told(&world, 1, 0), [MUTED]);
    assert_eq!(told(&world, 0, 0), [], "its own program knows");
}

#[test]
fn of_many_changes_few_are_told_and_the_last_within_a_second() {
    let mut world = pair(2);
    for change in 0..60 {
        set(&mut world, 0, if change % 2 == 0 { MUTED } else { MemberStatus::default() });
        world.run(SECOND / 20);
    }
    set(&mut world, 0, DEAFENED);
    world.run(SECOND);
    let told = told(&world, 1, 0);
    assert_eq!(told.last(), Some(&DEAFENED));
    assert!((4..=15).contains(&told.len()), "{} in 4 s", told.len());
}

#[test]
fn what_changes_while_the_server_is_away_is_part_of_the_next_join() {
    let mut world = pair(3);
    set(&mut world, 0, MUTED);
    world.run_until(SECOND, "seen", |world| seen(world, 1, 0) == Some(MUTED));
    world.kill_server();
    world.run(2 * SECOND);
    assert_eq!(seen(&world, 1, 0), Some(MUTED), "the link goes on, and so does what is known");
    set(&mut world, 0, DEAFENED);
    world.run(SECOND);
    world.start_server(RoomRules::default());
    world.run_until(15 * SECOND, "back", |world| seen(world, 1, 0) == Some(DEAFENED));
    assert_eq!(told(&world, 1, 0), [MUTED, DEAFENED]);
}

#[test]
fn a_connection_that_takes_over_loses_no_status() {
    let mut world = pair(4);
    // What is said on the dead connection is lost, and another takes over.
    world.wires.borrow_mut().move_peer(0);
    set(&mut world, 0, MUTED);
    world.run_until(15 * SECOND, "seen", |world| seen(world, 1, 0) == Some(MUTED));
    world.run(3 * SECOND);
    let events = &world.peers[0].mesh_events;
    assert_eq!(events.iter().filter(|event| matches!(event, MeshEvent::Joined { .. })).count(), 1);
    assert!(
        !events.iter().any(|event| matches!(event, MeshEvent::ServerAway { .. })),
        "it was never away"
    );
    assert_eq!(told(&world, 1, 0), [MUTED]);
}
