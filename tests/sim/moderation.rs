//! What a moderator decides holds on links as well, whatever the member's own program does.

use std::time::Duration;

use voicemesh::Route;
use voicemesh_mesh::MeshEvent;
use voicemesh_wire::Permissions;
use voicemesh_wire::signaling::Moderation;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// By when a decision holds.
const WITHIN: Duration = Duration::from_millis(200);

/// The first of three peers speaks, the second may moderate.
fn talking(seed: u64, route: Route) -> World {
    let mut world = World::new(seed);
    world.wires.borrow_mut().links_blocked = route == Route::Relayed;
    for _ in 0..3 {
        world.add_peer();
    }
    world.peers[0].speaking = true;
    world.run_until(3 * SECOND, "connected", |world| world.all_routes_are(route));
    world.run_until(3 * SECOND, "heard", |world| world.heard(1, 0).received > 10);
    world.set_permissions(1, Permissions::ALL, false);
    world
}

fn received(world: &World) -> [u64; 2] {
    [1, 2].map(|at| world.heard(at, 0).received)
}

/// proves: B-19
#[test]
fn a_member_who_is_muted_or_put_out_is_not_heard_although_its_program_goes_on() {
    for (seed, route) in [(1, Route::Direct), (2, Route::Relayed)] {
        for decision in ["mute", "move", "kick", "ban"] {
            let mut world = talking(seed, route);
            let peer = world.peers[0].id;
            let action = match decision {
                "mute" => Moderation::Mute { peer },
                "move" => Moderation::Move { peer, groups: vec!["Red".to_owned()] },
                "kick" => Moderation::Kick { peer },
                _ => Moderation::Ban { peer, seconds: 60 },
            };
            world.moderate(1, action, 0);
            world.run(WITHIN);
            let before = received(&world);
            world.run(SECOND);
            assert_eq!(received(&world), before, "{route:?}, {decision}");
            assert!(
                world.peers[0].comms.network().mesh.own_permissions().speak,
                "its program does not know"
            );
        }
    }
}

/// proves: B-19
#[test]
fn a_member_who_is_moved_is_heard_by_listeners_of_its_groups_only_until_it_is_moved_back() {
    for (seed, route) in [(3, Route::Direct), (4, Route::Relayed)] {
        let mut world = talking(seed, route);
        let peer = world.peers[0].id;
        let now = world.now() + world.peers[2].clock;
        world.peers[2].comms.join_group(now, "Red").unwrap();
        world.run(SECOND);
        let red = vec!["Red".to_owned()];
        world.moderate(1, Moderation::Move { peer, groups: red.clone() }, 0);
        world.run(WITHIN);
        let before = received(&world);
        world.run(SECOND);
        assert_eq!(received(&world)[0], before[0], "{route:?}");
        assert!(received(&world)[1] > before[1] + 40, "{route:?}: who listens there hears it");
        let held = |event: &MeshEvent| matches!(event, MeshEvent::HeldIn { peer: held, groups } if *held == peer && *groups == red);
        assert!(world.peers[2].mesh_events.iter().any(held));

        world.moderate(1, Moderation::Move { peer, groups: vec!["Global".to_owned()] }, 0);
        world.run(SECOND / 2);
        let before = received(&world);
        world.run(SECOND);
        assert!(
            received(&world).iter().zip(before).all(|(now, before)| *now > before + 40),
            "{route:?}: free again"
        );
    }
}

/// proves: B-19
#[test]
fn a_member_who_knows_that_it_is_moved_sends_nothing_elsewhere() {
    let mut world = talking(5, Route::Direct);
    let peer = world.peers[0].id;
    world.moderate(1, Moderation::Move { peer, groups: vec!["Red".to_owned()] }, usize::MAX);
    world.run(SECOND / 2);
    assert!(
        world.peers[0].mesh_events.iter().any(|event| matches!(event, MeshEvent::Moved { .. }))
    );
    let dropped = |world: &World| format!("{:?}", world.peers[1].comms.dropped());
    let before = dropped(&world);
    world.run(SECOND);
    assert_eq!(dropped(&world), before, "no frame came that had to be dropped");
}

/// proves: B-19
#[test]
fn what_is_decided_about_a_member_whom_only_links_reach_holds_there_and_when_it_is_back() {
    for (seed, decision) in [(6, "mute"), (7, "move"), (8, "ban")] {
        let mut world = talking(seed, Route::Direct);
        let peer = world.peers[0].id;
        world.wires.borrow_mut().server_dark.insert(0);
        world.break_socket(0);
        world.run(2 * SECOND);
        let before = received(&world);
        world.run(SECOND);
        assert!(
            received(&world).iter().zip(before).all(|(now, before)| *now > before + 40),
            "{decision}: links live"
        );
        let red = vec!["Red".to_owned()];
        let action = match decision {
            "mute" => Moderation::Mute { peer },
            "move" => Moderation::Move { peer, groups: red.clone() },
            _ => Moderation::Ban { peer, seconds: 60 },
        };
        world.moderate(1, action, 0);
        world.run(WITHIN);
        let before = received(&world);
        world.run(5 * SECOND);
        assert_eq!(received(&world), before, "{decision}");

        world.wires.borrow_mut().server_dark.remove(&0);
        if decision == "ban" {
            continue;
        }
        world.run_until(20 * SECOND, "it learns of it", |world| {
            let mesh = &world.peers[0].comms.network().mesh;
            let moved =
                |event: &MeshEvent| matches!(event, MeshEvent::Moved { groups } if *groups == red);
            let is_moved = world.peers[0].mesh_events.iter().any(moved);
            if decision == "mute" { !mesh.own_permissions().speak } else { is_moved }
        });
        world.run(SECOND);
        assert_eq!(received(&world), before, "{decision}: no more than before");
    }
}
