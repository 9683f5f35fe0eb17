//! The room as a lobby: its owner, passwords, what is published, and connections by token.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh::{ChoiceError, ErrorCode, Metadata, Presence, REACHABILITY_KEY, Route};
use voicemesh_mesh::{
    Connections, MeshConfig, MeshEvent, MetadataScope, Reachability, TransactionId,
};
use voicemesh_rooms::RoomRules;
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::MetadataChanges;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn room_of(seed: u64, peers: usize) -> World {
    let mut world = World::new(seed);
    for _ in 0..peers {
        world.add_peer();
        world.run(SECOND / 10);
    }
    world.run(SECOND);
    world
}

fn explicit(config: &mut MeshConfig) {
    config.connections = Connections::Explicit;
}

fn events<T>(world: &World, at: usize, pick: impl Fn(&MeshEvent) -> Option<T>) -> Vec<T> {
    world.peers[at].mesh_events.iter().filter_map(pick).collect()
}

fn owners(world: &World, at: usize) -> Vec<PeerId> {
    events(world, at, |event| match event {
        MeshEvent::OwnerChanged { owner } => Some(*owner),
        _ => None,
    })
}

fn done(world: &World, at: usize) -> BTreeMap<u64, Vec<Option<ErrorCode>>> {
    let mut done = BTreeMap::<u64, Vec<_>>::new();
    for event in &world.peers[at].mesh_events {
        if let MeshEvent::TransactionDone { transaction, result } = event {
            done.entry(transaction.0)
                .or_default()
                .push(result.clone().err().map(|error| error.code));
        }
    }
    done
}

fn refused(world: &World, at: usize) -> Vec<ErrorCode> {
    events(world, at, |event| match event {
        MeshEvent::Refused { code, .. } => Some(code.clone()),
        _ => None,
    })
}

fn set(key: &str, value: impl ToString) -> MetadataChanges {
    [(key.to_owned(), Some(value.to_string()))].into()
}

fn transact(world: &mut World, at: usize, id: u64, whose: MetadataScope, changes: MetadataChanges) {
    let now = world.now() + world.peers[at].clock;
    world.peers[at].comms.network_mut().mesh.transact(now, TransactionId(id), whose, changes);
}

/// What `at` sees of `of`.
fn seen(world: &World, at: usize, of: usize) -> Metadata {
    let member =
        world.peers[at].comms.network().mesh.member(world.peers[of].id).expect("it is here");
    member.metadata.clone()
}

fn token(world: &World, of: usize) -> Reachability {
    let token = world.peers[of].comms.network().mesh.own_token();
    Reachability::parse(&token, world.peers[of].id).expect("one's own token")
}

fn connect(world: &mut World, at: usize, of: usize) -> Result<(), ChoiceError> {
    let now = world.now() + world.peers[at].clock;
    let token = token(world, of);
    world.peers[at].comms.network_mut().mesh.connect_peer(now, token)
}

/// proves: U-03
#[test]
fn everyone_knows_the_owner_who_is_the_one_longest_there() {
    let mut world = room_of(1, 3);
    let ids: Vec<PeerId> = world.peers.iter().map(|peer| peer.id).collect();
    for at in 0..3 {
        assert_eq!(owners(&world, at), [ids[0]], "told once, after the join");
    }
    world.break_socket(2);
    world.run(3 * SECOND);
    assert_eq!(owners(&world, 0), [ids[0]], "who comes and goes changes nothing");
    let now = world.now() + world.peers[0].clock;
    world.peers[0].comms.stop(now);
    world.run(SECOND);
    for at in 1..3 {
        assert_eq!(owners(&world, at).last(), Some(&ids[1]));
        assert_eq!(world.peers[at].comms.network().mesh.owner(), Some(ids[1]));
    }
    // The server restarts: the peer that is back first owns the room, and all agree which one that
    // is.
    world.kill_server();
    world.run(SECOND);
    world.start_server(RoomRules::default());
    world.run_until(15 * SECOND, "everyone is back", |world| {
        (1..3).all(|at| world.peers[at].comms.network().mesh.members().count() == 1)
            && (1..3).all(|at| world.peers[at].comms.status().members.len() == 2)
    });
    world.run(SECOND);
    let owner = world.peers[1].comms.network().mesh.owner();
    assert!(owner.is_some() && owner == world.peers[2].comms.network().mesh.owner());
}

/// proves: U-03
#[test]
fn a_claim_holds_for_the_first_join_and_coming_back_is_no_second_one() {
    let mut world = World::new(2);
    world.add_peer_with(|config| config.presence = Presence::MustExist);
    world.run(SECOND);
    assert_eq!(refused(&world, 0), [ErrorCode::RoomMissing]);
    let retry = events(&world, 0, |event| match event {
        MeshEvent::Refused { retry_after, .. } => *retry_after,
        _ => None,
    });
    assert_eq!(retry, [2 * SECOND], "it may try again");
    let claimer = world.add_peer_with(|config| config.presence = Presence::MustNotExist);
    world.run(SECOND);
    let second = world.add_peer_with(|config| config.presence = Presence::MustNotExist);
    world.run(SECOND);
    assert_eq!(
        (refused(&world, claimer), refused(&world, second)),
        (vec![], vec![ErrorCode::RoomExists])
    );
    // Again with a back-off, and now another peer is there.
    let now = world.now() + world.peers[0].clock;
    world.peers[0].comms.stop(now);
    world.peers[0].comms.run_as_client(now, ()).unwrap();
    world.run(SECOND);
    assert_eq!(world.peers[0].comms.network().mesh.members().count(), 1);

    world.break_socket(claimer);
    world.run(3 * SECOND);
    world.kill_server();
    world.run(SECOND);
    world.start_server(RoomRules::default());
    world.run_until(15 * SECOND, "both are back", |world| {
        [0, claimer].iter().all(|at| world.peers[*at].comms.status().members.len() == 2)
    });
    assert_eq!(refused(&world, claimer), []);
}

/// proves: S-16
#[test]
fn a_protected_room_is_protected_again_after_a_restart() {
    let with = |password: &'static str| {
        move |config: &mut MeshConfig| config.password = Some(password.into())
    };
    let mut world = World::new(3);
    world.add_peer_with(with("sesame"));
    world.run(SECOND);
    world.add_peer_with(with("sesame"));
    let guesser = world.add_peer_with(with("guess"));
    let stranger = world.add_peer();
    world.run(SECOND);
    assert_eq!(refused(&world, guesser), [ErrorCode::PasswordWrong]);
    assert_eq!(refused(&world, stranger), [ErrorCode::PasswordRequired]);
    world.kill_server();
    world.run(SECOND);
    world.start_server(RoomRules::default());
    world.run_until(15 * SECOND, "both are back", |world| {
        (0..2).all(|at| world.peers[at].comms.status().members.len() == 2)
    });
    let late = world.add_peer_with(with("guess"));
    world.run(SECOND);
    assert_eq!(refused(&world, late), [ErrorCode::PasswordWrong]);

    // A stranger was quicker than the room after the next restart: those with the password wait,
    // and never join it.
    world.kill_server();
    world.run(SECOND / 10);
    world.start_server(RoomRules::default());
    let squatter = world.add_peer_with(|config| config.presence = Presence::MustNotExist);
    world.run(5 * SECOND);
    assert_eq!(world.peers[squatter].comms.network().mesh.members().count(), 0);
    let now = world.now() + world.peers[squatter].clock;
    world.peers[squatter].comms.stop(now);
    world.run_until(15 * SECOND, "both are back", |world| {
        (0..2).all(|at| world.peers[at].comms.status().members.len() == 2)
    });
}

#[test]
fn a_newcomer_whose_password_is_not_looked_at_yet_tries_again_by_itself_and_gets_in() {
    let mut world = World::new(4);
    world.add_peer_with(|config| config.password = Some("sesame".into()));
    world.run(SECOND);
    world.let_passwords_wait(3);
    let newcomer = world.add_peer_with(|config| config.password = Some("sesame".into()));
    world.run_until(10 * SECOND, "the newcomer is in", |world| {
        world.peers[newcomer].comms.status().members.len() == 2
    });
    let said = events(&world, newcomer, |event| match event {
        MeshEvent::ServerAway { failure, .. } => {
            Some(failure.as_ref().map_or_else(String::new, |failure| failure.code().to_owned()))
        }
        MeshEvent::Joined { .. } => Some("joined".to_owned()),
        MeshEvent::Refused { code, .. } => Some(format!("refused: {code}")),
        _ => None,
    });
    assert_eq!(said, ["password-wait", "password-wait", "password-wait", "joined"]);
}

#[test]
fn with_tickets_friends_take_their_room_back_from_a_stranger_who_was_quicker() {
    let with = |password: &'static str| {
        move |config: &mut MeshConfig| config.password = Some(password.into())
    };
    let mut world = World::new(8);
    world.start_server_with_secret();
    world.add_peer_with(with("sesame"));
    world.run(SECOND);
    world.add_peer_with(with("sesame"));
    world.run(SECOND);
    for stranger in [with("mine"), with("")] {
        world.kill_server();
        world.run(SECOND / 10);
        world.start_server_with_secret();
        let stranger = world.add_peer_with(stranger);
        world.run_until(15 * SECOND, "both are back", |world| {
            (0..2).all(|at| world.peers[at].comms.status().members.len() == 2)
        });
        assert_eq!(
            world.peers[0].comms.network().mesh.members().count(),
            1,
            "without the stranger"
        );
        let now = world.now() + world.peers[stranger].clock;
        world.peers[stranger].comms.stop(now);
    }
}

/// proves: S-17, S-18
#[test]
fn a_change_of_metadata_has_one_result_and_everyone_sees_it() {
    let mut world = room_of(4, 3);
    transact(&mut world, 0, 1, MetadataScope::Own, set("seat", 3));
    transact(&mut world, 0, 2, MetadataScope::Own, set("long", "v".repeat(9_000)));
    transact(
        &mut world,
        0,
        3,
        MetadataScope::Own,
        [("seat".to_owned(), None), ("ready".to_owned(), Some("yes".to_owned()))].into(),
    );
    transact(&mut world, 0, 4, MetadataScope::Own, set(REACHABILITY_KEY, "mine"));
    transact(&mut world, 1, 5, MetadataScope::Room, set("map", "castle"));
    transact(&mut world, 0, 6, MetadataScope::Room, set("map", "harbour"));
    world.run(SECOND);
    let bad = vec![Some(ErrorCode::BadMetadata)];
    let ok = vec![None];
    let expected = [(1, ok.clone()), (2, bad.clone()), (3, ok.clone()), (4, bad), (6, ok)];
    assert_eq!(done(&world, 0), expected.into());
    assert_eq!(done(&world, 1), [(5, vec![Some(ErrorCode::NotOwner)])].into());
    let mut own = world.peers[0].comms.network().mesh.own_metadata().clone();
    for at in 1..3 {
        assert_eq!(seen(&world, at, 0), own);
        let told = events(&world, at, |event| match event {
            MeshEvent::MetadataChanged { peer, metadata } if *peer == world.peers[0].id => {
                Some(metadata.clone())
            }
            _ => None,
        });
        assert_eq!(told.len(), 2, "one for each that changed something");
        assert_eq!(told[1], own);
    }
    own.remove(REACHABILITY_KEY);
    assert_eq!(own, [("ready".to_owned(), "yes".to_owned())].into());
    for at in 0..3 {
        let map = [("map".to_owned(), "harbour".to_owned())].into();
        assert_eq!(*world.peers[at].comms.network().mesh.room_metadata(), map);
    }
}

/// proves: S-17
#[test]
fn what_the_connections_end_left_unanswered_is_done_with_the_next_and_none_waits_for_ever() {
    let mut world = room_of(5, 2);
    transact(&mut world, 0, 1, MetadataScope::Room, set("map", "harbour"));
    world.run(SECOND);
    world.kill_server();
    for id in 2..5 {
        transact(&mut world, 0, id, MetadataScope::Own, set("seat", id));
    }
    transact(&mut world, 0, 5, MetadataScope::Room, set("round", 2));
    world.run(5 * SECOND);
    assert_eq!(done(&world, 0).len(), 1, "nothing is known yet");
    // The other is back first, and owns the room.
    world.peers[0].frozen = true;
    world.start_server(RoomRules::default());
    world.run_until(15 * SECOND, "one is back", |world| world.peers[1].comms.status().connected);
    world.peers[0].frozen = false;
    world.run_until(15 * SECOND, "all is answered", |world| done(world, 0).len() == 5);
    assert_eq!(done(&world, 0)[&4], [None]);
    assert_eq!(done(&world, 0)[&5], [Some(ErrorCode::NotOwner)]);
    assert_eq!(seen(&world, 1, 0)["seat"], "4");
    let room: Metadata = [("map".to_owned(), "harbour".to_owned())].into();
    assert_eq!(
        *world.peers[0].comms.network().mesh.room_metadata(),
        room,
        "the first brought what it knew"
    );

    world.kill_server();
    transact(&mut world, 0, 6, MetadataScope::Own, set("seat", 6));
    world.run(61 * SECOND);
    assert_eq!(done(&world, 0)[&6], [Some(ErrorCode::Other("no-answer".to_owned()))]);
    transact(&mut world, 0, 7, MetadataScope::Own, set("seat", 7));
    let now = world.now() + world.peers[0].clock;
    world.peers[0].comms.stop(now);
    world.run(SECOND);
    assert_eq!(done(&world, 0)[&7], [Some(ErrorCode::Other("left".to_owned()))]);
    transact(&mut world, 0, 8, MetadataScope::Own, set("seat", 8));
    world.run(SECOND);
    let done = done(&world, 0);
    assert_eq!(done[&8], [Some(ErrorCode::Other("left".to_owned()))]);
    assert!(done.values().all(|results| results.len() == 1), "each once: {done:?}");
}

/// proves: S-04, S-05
#[test]
fn tokens_that_change_often_end_the_same_for_everyone() {
    let mut world = room_of(6, 4);
    let tokens = |world: &World, at: usize| {
        events(world, at, |event| match event {
            MeshEvent::ReachabilityChanged { token } => Some(token.clone()),
            _ => None,
        })
    };
    assert_eq!(tokens(&world, 0).len(), 1, "with the first session");
    for round in 0..300 {
        let at = round % 4;
        let now = world.now() + world.peers[at].clock;
        world.peers[at].comms.network_mut().mesh.network_changed(now);
        if round % 50 == 49 {
            world.break_socket((at + 1) % 4);
        }
        world.run(SECOND / 20);
    }
    world.run(5 * SECOND);
    for of in 0..4 {
        let newest = token(&world, of);
        let told = tokens(&world, of);
        assert_eq!(told.last(), Some(&newest.to_string()));
        assert!(told.len() >= 75, "{}", told.len());
        for at in (0..4).filter(|at| *at != of) {
            assert_eq!(seen(&world, at, of)[REACHABILITY_KEY], newest.to_string(), "{at} of {of}");
        }
    }
    let before = world.wires.borrow().links_opened;
    world.run(SECOND);
    assert!(world.all_routes_are(Route::Direct), "links that work go on");
    assert_eq!(world.wires.borrow().links_opened, before);
}

/// proves: S-02, S-03
#[test]
fn with_explicit_connections_a_link_takes_both_and_speech_does_not_wait_for_it() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = World::new(7);
        world.add_peer_with(explicit);
        world.add_peer_with(explicit);
        world.peers[0].speaking = true;
        world.run(3 * SECOND);
        assert!(world.wires.borrow().signals.is_empty(), "nothing that shows an address was said");
        assert_eq!(world.route(1, 0), Route::Relayed);
        assert!(world.heard(1, 0).heard > 100);

        connect(&mut world, first, second).unwrap();
        world.run(2 * SECOND);
        let requested = |world: &World, at: usize| {
            events(world, at, |event| match event {
                MeshEvent::ConnectionRequested { peer } => Some(*peer),
                _ => None,
            })
        };
        assert_eq!(requested(&world, second), [world.peers[first].id], "told once");
        assert_eq!(requested(&world, first), []);
        assert_eq!(world.wires.borrow().links_opened, 0, "one alone is not enough");
        connect(&mut world, second, first).unwrap();
        world.run_until(3 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));

        let id = world.peers[first].id;
        world.peers[second].comms.network_mut().mesh.disconnect_peer(id);
        world.run(30 * SECOND);
        assert!(world.all_routes_are(Route::Relayed), "it stays so");
        connect(&mut world, second, first).unwrap();
        world.run_until(3 * SECOND, "direct again", |world| world.all_routes_are(Route::Direct));
    }
}

/// proves: S-02
#[test]
fn two_that_connect_a_moment_apart_are_linked_soon() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = World::new(9);
        world.add_peer_with(explicit);
        world.add_peer_with(explicit);
        world.run(SECOND);
        connect(&mut world, first, second).unwrap();
        world.run(SECOND / 5);
        connect(&mut world, second, first).unwrap();
        let took =
            world.run_until(20 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
        assert!(took < 4 * SECOND, "{took:?}");
    }
}

/// proves: S-02, S-03
#[test]
fn a_newer_token_is_tried_at_once_and_an_older_one_is_refused() {
    let mut world = World::new(8);
    world.add_peer_with(explicit);
    world.add_peer_with(explicit);
    world.run(SECOND);
    let old = token(&world, 1);
    let update = |world: &mut World, token: Reachability| {
        let now = world.now() + world.peers[0].clock;
        world.peers[0].comms.network_mut().mesh.update_peer(now, token)
    };
    assert_eq!(update(&mut world, old), Err(ChoiceError::NotConnected));
    assert_eq!(connect(&mut world, 0, 0), Err(ChoiceError::NotHere), "oneself is no peer");
    world.wires.borrow_mut().links_blocked = true;
    connect(&mut world, 0, 1).unwrap();
    connect(&mut world, 1, 0).unwrap();
    world.run(60 * SECOND);
    assert_eq!(world.wires.borrow().links_opened, 0);

    world.wires.borrow_mut().links_blocked = false;
    let now = world.now() + world.peers[1].clock;
    world.peers[1].comms.network_mut().mesh.network_changed(now);
    let newer = token(&world, 1);
    assert!(newer.serial > old.serial);
    let took = world.run_until(20 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    assert!(took < 2 * SECOND, "{took:?}");
    let opened = world.wires.borrow().links_opened;
    assert_eq!(update(&mut world, newer), Ok(()), "a link that works goes on");
    world.run(3 * SECOND);
    assert!(world.all_routes_are(Route::Direct));
    assert_eq!(world.wires.borrow().links_opened, opened);
    assert_eq!(update(&mut world, old), Err(ChoiceError::Outdated));
    assert_eq!(update(&mut world, Reachability { run: 77, ..newer }), Err(ChoiceError::Outdated));
}
