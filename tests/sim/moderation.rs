//! What a moderator decides holds on links as well, whatever the member's own program does.

use std::time::Duration;

use voicemesh::Route;
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
        for decision in ["mute", "kick", "ban"] {
            let mut world = talking(seed, route);
            let peer = world.peers[0].id;
            let action = match decision {
                "mute" => Moderation::Mute { peer },
                "kick" => Moderation::Kick { peer },
                _ => Moderation::Ban { peer, seconds: 60 },
            };
            world.moderate(1, action, 0);
            world.run(WITHIN);
            let before = received(&world);
            world.run(SECOND);
            assert_eq!(received(&world), before, "{route:?}, {decision}");
            assert!(world.peers[0].comms.network().mesh.own_permissions().speak, "its program does not know");
        }
    }
}
