//! A server that asks for access tokens, and programs that have to get another one.

use std::sync::Arc;
use std::time::Duration;

use voicemesh::Route;
use voicemesh_mesh::MeshEvent;
use voicemesh_rooms::RoomRules;
use voicemesh_signaling::token::{TokenRequest, TokenRules, sign};
use voicemesh_wire::signaling::{AccessToken, ErrorCode};

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const UNIX: u64 = 1_800_000_000;

fn rules() -> RoomRules {
    let tokens = TokenRules::from_secret(SECRET, None).expect("a secret");
    RoomRules { tokens: Some(Arc::new(tokens)), ..RoomRules::default() }
}

fn token(expires_at: u64) -> AccessToken {
    let request = TokenRequest { room: "room".to_owned(), expires_at, ..TokenRequest::default() };
    sign(request, SECRET).expect("a token")
}

fn guarded(seed: u64) -> World {
    let mut world = World::new(seed);
    world.kill_server();
    world.start_server(rules());
    world.set_server_time(UNIX);
    world
}

fn asked(world: &World, peer: usize) -> Vec<ErrorCode> {
    let events = world.peers[peer].mesh_events.iter();
    let codes = events.filter_map(|event| match event {
        MeshEvent::TokenNeeded { code, .. } => Some(code.clone()),
        _ => None,
    });
    codes.collect()
}

fn joins(world: &World, peer: usize) -> usize {
    world.peers[peer]
        .mesh_events
        .iter()
        .filter(|event| matches!(event, MeshEvent::Joined { .. }))
        .count()
}

fn give(world: &mut World, peer: usize, token: AccessToken) {
    let now = world.now() + world.peers[peer].clock;
    world.peers[peer].comms.network_mut().mesh.set_token(now, token);
}

#[test]
fn a_program_that_said_so_is_asked_for_a_token_once_and_joins_when_it_has_one() {
    let mut world = guarded(1);
    let peer = world.add_peer_with(|config| config.renews_token = true);
    world.run_until(5 * SECOND, "asked", |world| !asked(world, peer).is_empty());
    world.run(60 * SECOND);
    assert_eq!(
        asked(&world, peer),
        [ErrorCode::TokenRequired],
        "nothing is tried without another token"
    );
    give(&mut world, peer, token(UNIX - 1000));
    world.run_until(5 * SECOND, "asked again", |world| asked(world, peer).len() == 2);
    assert_eq!(asked(&world, peer)[1], ErrorCode::TokenExpired);
    give(&mut world, peer, token(UNIX + 60));
    world.run_until(5 * SECOND, "joined", |world| joins(world, peer) == 1);
}

/// The names under which the server has entered this peer.
fn names(world: &World, peer: usize) -> Vec<&str> {
    let events = world.peers[peer].mesh_events.iter();
    let names = events.filter_map(|event| match event {
        MeshEvent::Joined { name, .. } => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}

#[test]
fn a_member_learns_the_name_that_its_token_gives_it_and_keeps_it_through_a_restart_of_the_server() {
    let mut world = guarded(4);
    let request =
        TokenRequest { room: "room".to_owned(), expires_at: UNIX + 600, ..TokenRequest::default() };
    let named = sign(TokenRequest { name: Some("Dr. Ada".to_owned()), ..request.clone() }, SECRET)
        .expect("a token");
    let by_token =
        world.add_peer_with(|config| (config.name, config.token) = ("ada".to_owned(), Some(named)));
    let unnamed = sign(request, SECRET).expect("a token");
    let by_itself = world
        .add_peer_with(|config| (config.name, config.token) = ("ben".to_owned(), Some(unnamed)));
    world.run_until(5 * SECOND, "joined", |world| (0..2).all(|peer| joins(world, peer) == 1));
    assert_eq!((names(&world, by_token), names(&world, by_itself)), (vec!["Dr. Ada"], vec!["ben"]));
    world.kill_server();
    world.start_server(rules());
    world.set_server_time(UNIX);
    world.run_until(30 * SECOND, "joined again", |world| joins(world, by_token) == 2);
    assert_eq!(names(&world, by_token), ["Dr. Ada", "Dr. Ada"]);
}

#[test]
fn a_program_that_did_not_say_so_is_refused_for_good() {
    let mut world = guarded(2);
    let peer = world.add_peer();
    world.run(60 * SECOND);
    let refusals: Vec<_> = world.peers[peer]
        .mesh_events
        .iter()
        .filter_map(|event| match event {
            MeshEvent::Refused { code, .. } => Some(code.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(refusals, [ErrorCode::TokenRequired]);
    assert!(asked(&world, peer).is_empty());
}

#[test]
fn direct_speech_goes_on_while_a_program_gets_another_token() {
    let mut world = guarded(3);
    for _ in 0..2 {
        world.add_peer_with(|config| {
            config.renews_token = true;
            config.token = Some(token(UNIX + 60));
        });
    }
    world.peers[0].speaking = true;
    world.run_until(5 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    world.kill_server();
    world.start_server(rules());
    world.set_server_time(UNIX + 3600);
    world.run_until(15 * SECOND, "asked", |world| {
        (0..2).all(|peer| asked(world, peer) == [ErrorCode::TokenExpired])
    });
    let before = world.heard(1, 0).received;
    world.run(20 * SECOND);
    assert!(
        world.heard(1, 0).received > before + 900,
        "{} to {}",
        before,
        world.heard(1, 0).received
    );
    (0..2).for_each(|peer| give(&mut world, peer, token(UNIX + 7200)));
    world.run_until(5 * SECOND, "joined again", |world| (0..2).all(|peer| joins(world, peer) == 2));
}
