//! Rooms whose members encrypt: everything arrives, and none of it can be read on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use voicemesh::Route;
use voicemesh_e2ee::{Configuration, KeyRing, RoomKey, Seed};
use voicemesh_engine::{EngineError, EngineEvent};
use voicemesh_mesh::{MemberEncryption, MeshEvent, MetadataScope, SocketEvent, TransactionId};
use voicemesh_rooms::RoomRules;
use voicemesh_session::Reliability;
use voicemesh_session::client::{ClientError, ClientEvent, DataEvent, Phase, UnreadReason};
use voicemesh_session::data::PipeEvent;
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_wire::identity::InstallationSecret;
use voicemesh_wire::packet::{self, Header, Kind, Recipient, Relay, SealedPart, SealedWith};
use voicemesh_wire::sealed_state::PLACEHOLDER_NAME;
use voicemesh_wire::signaling::{ErrorCode, Moderation};
use voicemesh_wire::{GroupId, PeerId, Permissions};

use crate::carrier::Conditions;
use crate::world::{ORIGIN, ROOM, World};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than what two packets have in common by chance.
const SECRET: &str = "the treasure is under the third palm tree";
const VERIFIED: Option<MemberEncryption> = Some(MemberEncryption::Encrypted { verified: true });
const UNVERIFIED: Option<MemberEncryption> = Some(MemberEncryption::Encrypted { verified: false });

fn room_key() -> RoomKey {
    RoomKey::new([0xA7; 16])
}

/// The ring of a simulated peer; `seed` is another one for each ring of a world.
pub fn key_ring(
    secret: &InstallationSecret,
    peer: PeerId,
    room_key: Option<RoomKey>,
    seed: u64,
) -> KeyRing {
    let configuration = Configuration {
        secret,
        origin: ORIGIN,
        room: ROOM,
        instance: 0,
        peer,
        room_key,
        max_members: 64,
    };
    let mut bytes = [0x5E; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    KeyRing::new(configuration, Seed::new(bytes))
}

/// A world whose peers encrypt, and whose packets are kept.
fn encrypted(seed: u64, key: Option<RoomKey>, relay_only: bool) -> World {
    let mut world = World::new(seed);
    world.encrypts = true;
    world.room_key = key;
    world.wires.borrow_mut().links_blocked = relay_only;
    world.wires.borrow_mut().carried = Some(Vec::new());
    world
}

/// Members with direct links who have the room's key and each other's keys.
fn direct_and_verified(seed: u64, members: usize) -> World {
    let mut world = encrypted(seed, Some(room_key()), false);
    for _ in 0..members {
        world.add_peer();
    }
    world.run_until(3 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    world.run_until(SECOND, "encrypted", |world| all_are(world, VERIFIED));
    world
}

fn encryption(world: &World, at: usize, of: usize) -> Option<MemberEncryption> {
    world.peers[at].comms.network().mesh.encryption_of(world.peers[of].id)
}

fn all_are(world: &World, state: Option<MemberEncryption>) -> bool {
    let everyone = 0..world.peers.len();
    everyone.clone().all(|at| {
        everyone.clone().filter(|of| *of != at).all(|of| encryption(world, at, of) == state)
    })
}

fn texts(world: &World, at: usize) -> Vec<String> {
    let events = world.peers[at].events.iter();
    let texts = events.filter_map(|(_, event)| match event {
        EngineEvent::Session(ClientEvent::Text { text, .. }) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

fn messages(world: &mut World, at: usize) -> Vec<Bytes> {
    let now = world.now() + world.peers[at].clock;
    let client = world.peers[at].comms.client_mut().unwrap();
    let events = std::iter::from_fn(|| client.poll_data(now));
    let messages = events.filter_map(|(_, event)| match event {
        DataEvent::Pipe(PipeEvent::Message { bytes, .. }) => Some(bytes),
        _ => None,
    });
    messages.collect()
}

/// The packets that a peer sent to others: on links, and what is inside of relay packets.
fn sent(world: &World, by: usize) -> Vec<Bytes> {
    let wires = world.wires.borrow();
    let carried = wires.carried.as_ref().expect("it is kept").iter();
    let inside = carried.filter(|(from, ..)| *from == by).map(|(_, to_server, packet)| {
        match packet::open(packet) {
            Ok((
                Header { kind: Kind::ServerRelayReliable | Kind::ServerRelayUnreliable, .. },
                body,
            )) if *to_server => Bytes::copy_from_slice(Relay::decode(body).unwrap().packet),
            _ => packet.clone(),
        }
    });
    inside.collect()
}

/// Each counter of a sender's key has sealed one packet, which may have gone to several. Plain
/// speech among them would show as counters that were used before.
fn assert_sealed_once(packets: &[Bytes], by: usize) {
    let mut sealed = BTreeMap::new();
    for packet in packets {
        if let Some(with) = sealed_with(packet) {
            let first: &Bytes = sealed.entry(with).or_insert(packet);
            assert_eq!(first, packet, "{by}: {with:?}");
        }
    }
}

/// Speech and texts of everyone were sent, and none of it can be read.
fn assert_nothing_can_be_read(world: &World) {
    for by in 0..world.peers.len() {
        let packets = sent(world, by);
        let is_voice =
            |packet: &&Bytes| packet::open(packet).is_ok_and(|(header, _)| header.kind.is_voice());
        assert!(packets.iter().filter(is_voice).count() > 20, "{by} spoke");
        assert_sealed_once(&packets, by);
        let is_told = |packet: &Bytes| {
            packet
                .windows(16)
                .any(|window| SECRET.as_bytes().windows(16).any(|secret| secret == window))
        };
        assert!(!packets.iter().any(is_told), "{by}");
    }
}

/// The key id and the counter of speech under a sender's key (RFC 9605, section 4.3).
fn sealed_with(packet: &[u8]) -> Option<(u8, u64)> {
    let (header, _) = packet::open(packet).ok()?;
    let part = SealedPart::of(packet).ok()??;
    if !header.kind.is_voice() || part.key != SealedWith::SenderKey {
        return None;
    }
    let (config, rest) = packet[part.clear_bytes..].split_first().expect("a header");
    let number = |is_long: bool, short: u8, rest: &mut &[u8]| {
        let (bytes, after) = rest.split_at(if is_long { usize::from(short) + 1 } else { 0 });
        *rest = after;
        let long = bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        if is_long { long } else { u64::from(short) }
    };
    let mut rest = rest;
    let id = number(config & 0x80 != 0, (config >> 4) & 7, &mut rest);
    let counter = number(config & 8 != 0, config & 7, &mut rest);
    Some((u8::try_from(id).expect("a key id of eight bits"), counter))
}

/// The epoch's bits in the key id of speech.
fn epoch_of(packet: &[u8]) -> Option<u8> {
    sealed_with(packet).map(|(id, _)| id >> 5)
}

#[test]
fn speech_texts_and_data_arrive_and_cannot_be_read_on_the_way() {
    for (seed, members, key, relay_only) in [
        (1, 3, Some(room_key()), false),
        (2, 8, Some(room_key()), false),
        (3, 3, None, false),
        (4, 4, Some(room_key()), true),
        (5, 3, None, true),
    ] {
        let state = if key.is_some() { VERIFIED } else { UNVERIFIED };
        let mut world = encrypted(seed, key, relay_only);
        for _ in 0..members {
            world.add_peer();
        }
        let route = if relay_only { Route::Relayed } else { Route::Direct };
        world.run_until(3 * SECOND, "connected", |world| world.all_routes_are(route));
        world.run_until(SECOND, "encrypted", |world| all_are(world, state));
        let spoken: Vec<_> = world.peers.iter().map(|peer| peer.comms.frames_spoken()).collect();
        for peer in &mut world.peers {
            peer.speaking = true;
        }
        world.run(3 * SECOND);

        let ids: Vec<PeerId> = world.peers.iter().map(|peer| peer.id).collect();
        let now = world.now();
        let client = world.peers[0].comms.network().mesh.client(ids[1]).unwrap();
        let at = now + world.peers[0].clock;
        let author = &mut world.peers[0].comms;
        author.send_text(at, Recipient::Client(client), &format!("{SECRET}, for you")).unwrap();
        author.send_group_text(at, "Global", &format!("{SECRET}, for all")).unwrap();
        for reliability in [Reliability::Reliable, Reliability::Unreliable] {
            author
                .client_mut()
                .unwrap()
                .send_data(ids[1], reliability, Bytes::from(format!("{SECRET} {reliability:?}")))
                .unwrap();
        }
        // Private speech, beside that for everyone.
        author.open_target(VoiceTarget::Peer(ids[2]), TargetOptions::default()).unwrap();
        author.close_target(at, &VoiceTarget::Group("Global".to_owned())).unwrap();
        let [heard_by_one, heard_by_two] = [1, 2].map(|at| world.heard(at, 0).received);
        world.run(3 * SECOND);
        assert!(world.heard(2, 0).received > heard_by_two + 100, "seed {seed}");
        assert!(world.heard(1, 0).received < heard_by_one + 20, "seed {seed}");

        for peer in &mut world.peers {
            peer.speaking = false;
        }
        world.run(SECOND);
        for at in 0..members {
            for of in (1..members).filter(|of| *of != at) {
                let (heard, spoke) =
                    (world.heard(at, of), world.peers[of].comms.frames_spoken() - spoken[of]);
                assert!(spoke > 250 && heard.received + 1 >= spoke, "seed {seed}: {heard:?}");
                assert_eq!(heard.heard, heard.received, "seed {seed}: frames are opened whole");
            }
        }
        assert_eq!(texts(&world, 1).len(), 2, "seed {seed}");
        for at in 2..members {
            assert_eq!(texts(&world, at), [format!("{SECRET}, for all")], "seed {seed}");
        }
        let mut got = messages(&mut world, 1);
        got.sort();
        assert_eq!(got, [format!("{SECRET} Reliable"), format!("{SECRET} Unreliable")]);
        let codes: Vec<_> = world
            .peers
            .iter()
            .map(|peer| peer.comms.network().mesh.safety_code().unwrap().to_string())
            .collect();
        assert!(codes.iter().all(|code| *code == codes[0]), "seed {seed}: {codes:?}");
        assert_nothing_can_be_read(&world);
    }
}

fn display_name(number: usize) -> String {
    format!("the member with the number {number}")
}

/// A value that a member publishes; the length as of names, and as of what games publish.
fn value(of: usize, what: &str) -> String {
    format!("{what} of member {of}: ").repeat(1 + 9 * of)
}

fn add_named(world: &mut World) -> usize {
    let number = world.peers.len();
    world.add_peer_with(|config| {
        config.name = display_name(number);
        config.metadata = [("seat".to_owned(), value(number, "the seat"))].into();
    })
}

fn publish(world: &mut World, at: usize, scope: MetadataScope, key: &str, value: String) {
    let now = world.now() + world.peers[at].clock;
    let set = [(key.to_owned(), Some(value))].into();
    let mesh = &mut world.peers[at].comms.network_mut().mesh;
    mesh.transact(now, TransactionId(1), scope, set);
}

/// What `at` sees of `of`: name, seat, and whether a sealed value is among the metadata.
fn seen(world: &World, at: usize, of: usize) -> Option<(String, Option<String>)> {
    let member = world.peers[at].comms.network().mesh.member(world.peers[of].id)?;
    assert!(!member.metadata.values().any(|value| value.starts_with("e2ee1:")), "{member:?}");
    Some((member.name.clone(), member.metadata.get("seat").cloned()))
}

fn map_of(world: &World, at: usize) -> Option<String> {
    world.peers[at].comms.network().mesh.room_metadata().get("map").cloned()
}

/// proves: B-04
#[test]
fn names_and_metadata_are_seen_by_all_with_the_key_from_their_join_on_and_never_by_the_server() {
    for (seed, key) in [(1, Some(room_key())), (2, Some(room_key())), (3, None)] {
        let has_key = key.is_some();
        let mut world = encrypted(seed, key, true);
        for _ in 0..3 {
            add_named(&mut world);
        }
        let expected = |of, seat: String| Some((display_name(of), Some(seat)));
        world.run_until(3 * SECOND, "they see each other", |world| {
            (0..3).all(|at| (0..3).filter(|of| *of != at).all(|of| seen(world, at, of).is_some()))
        });
        publish(&mut world, 1, MetadataScope::Own, "seat", value(1, "another seat"));
        publish(&mut world, 0, MetadataScope::Room, "map", value(0, "the map"));
        world.run(SECOND);
        assert_eq!(seen(&world, 0, 1), expected(1, value(1, "another seat")), "seed {seed}");
        assert_eq!(seen(&world, 1, 2), expected(2, value(2, "the seat")), "seed {seed}");
        assert_eq!(map_of(&world, 2), Some(value(0, "the map")), "seed {seed}");

        // Who comes late sees all of it as soon as it sees anyone, before it has a key of theirs.
        let late = add_named(&mut world);
        world.run_until(SECOND, "it has joined", |world| seen(world, late, 0).is_some());
        assert_eq!(encryption(&world, late, 0), Some(MemberEncryption::Waiting), "seed {seed}");
        assert_eq!(seen(&world, late, 0), expected(0, value(0, "the seat")), "seed {seed}");
        assert_eq!(seen(&world, late, 1), expected(1, value(1, "another seat")), "seed {seed}");
        assert_eq!(map_of(&world, late), Some(value(0, "the map")), "seed {seed}");
        world.run_until(SECOND, "it is seen", |world| seen(world, 0, late).is_some());
        assert_eq!(seen(&world, 0, late), expected(late, value(late, "the seat")), "seed {seed}");

        // The next run of the server learns what the room publishes from who comes back first.
        world.kill_server();
        world.run(SECOND);
        world.start_server(RoomRules::default());
        world.run(8 * SECOND);
        for at in 0..4 {
            assert_eq!(map_of(&world, at), Some(value(0, "the map")), "seed {seed}: {at}");
            let of = (at + 1) % 4;
            assert_eq!(seen(&world, at, of).map(|(name, _)| name), Some(display_name(of)));
        }

        // Without the key there is neither.
        world.encrypts = false;
        let stranger = world.add_peer();
        world.run(2 * SECOND);
        if has_key {
            let nameless = Some((PLACEHOLDER_NAME.to_owned(), None));
            assert_eq!(seen(&world, stranger, 1), nameless, "seed {seed}");
            assert_eq!(seen(&world, 1, stranger), nameless, "seed {seed}: no one vouches for it");
            assert_eq!(map_of(&world, stranger), None, "seed {seed}");
            let mesh = &world.peers[stranger].comms.network().mesh;
            let member = mesh.member(world.peers[1].id).unwrap();
            let [id, ..] = member.peer.0.as_bytes();
            assert!(member.label.starts_with(&format!("Member#{id:02x}")), "{}", member.label);
        } else {
            assert_eq!(seen(&world, stranger, 1), expected(1, value(1, "another seat")));
        }

        let wires = world.wires.borrow();
        let secrets: Vec<String> = (0..4)
            .flat_map(|of| [display_name(of), value(of, "the seat")])
            .chain([value(1, "another seat"), value(0, "the map")])
            .collect();
        let windows: BTreeSet<&[u8]> =
            secrets.iter().flat_map(|secret| secret.as_bytes().windows(16)).collect();
        let shows = |bytes: &[u8]| bytes.windows(16).any(|window| windows.contains(window));
        let carried = wires.carried.as_ref().expect("it is kept");
        let packets = carried.iter().filter(|(.., packet)| shows(packet)).count();
        let texts = wires.texts.iter().filter(|text| shows(text.as_bytes())).count();
        assert!(wires.texts.len() > 15 && carried.len() > 15, "{}", wires.texts.len());
        if has_key {
            assert_eq!((packets, texts), (0, 0), "seed {seed}");
        } else {
            assert!(packets >= 4 && texts >= 6, "the search finds them: {packets}, {texts}");
        }
    }
}

#[test]
fn who_comes_later_is_heard_half_a_round_trip_after_it_joined_and_hears_after_one() {
    for seed in 1..=5 {
        let mut world = encrypted(seed, Some(room_key()), true);
        for _ in 0..3 {
            world.add_peer();
        }
        for peer in &mut world.peers {
            peer.speaking = true;
        }
        world.run(3 * SECOND);
        let late = world.add_peer();
        world.peers[late].speaking = true;
        let joined = |world: &World| {
            world.peers[late].mesh_events.iter().any(|e| matches!(e, MeshEvent::Joined { .. }))
        };
        world.run_until(SECOND, "joined", joined);
        // One way to the server takes 20 ms; packets of speech, turns and capture add the rest.
        let heard = world.run_until(SECOND, "heard by all", |world| {
            (0..3).all(|at| world.heard(at, late).received > 0)
        });
        assert!(heard < Duration::from_millis(110), "seed {seed}: {heard:?}");
        let hears = world.run_until(SECOND, "hears all", |world| {
            (0..3).all(|of| world.heard(late, of).received > 0)
        });
        assert!(heard + hears < Duration::from_millis(160), "seed {seed}: {:?}", heard + hears);
    }
}

#[test]
fn who_was_put_out_cannot_open_what_is_said_a_second_later() {
    for seed in 1..=5 {
        let mut world = encrypted(seed, Some(room_key()), true);
        for _ in 0..3 {
            world.add_peer();
        }
        world.peers[0].speaking = true;
        world.run_until(3 * SECOND, "heard", |world| world.heard(2, 0).received > 100);
        world.set_permissions(1, Permissions::ALL, false);
        let epoch = sent(&world, 0).iter().rev().find_map(|packet| epoch_of(packet)).unwrap();

        // It is not told, and a server that is on its side goes on relaying to it.
        let peer = world.peers[2].id;
        world.moderate(1, Moderation::Kick { peer }, 2);
        let relay_to_it = |world: &mut World, time: Duration| {
            let until = world.now() + time;
            while world.now() < until {
                world.wires.borrow_mut().carried = Some(Vec::new());
                world.step();
                let sockets: Vec<_> = world.wires.borrow().sockets.iter().copied().collect();
                for packet in sent(world, 0) {
                    for (_, socket) in sockets.iter().filter(|(of, _)| *of == 2) {
                        let event = SocketEvent::Packet(packet.clone());
                        world.wires.borrow_mut().tell_peer(2, *socket, event);
                    }
                }
            }
        };
        relay_to_it(&mut world, SECOND / 4);
        let before = world.heard(2, 0).received;
        assert!(before > 100, "seed {seed}: at first it has the keys");
        relay_to_it(&mut world, 3 * SECOND / 4);
        let after = world.heard(2, 0).received;
        // Before it notices that it was put out, and joins again.
        relay_to_it(&mut world, SECOND / 2);
        assert_eq!(world.heard(2, 0).received, after, "seed {seed}");
        let is_away = |event: &MeshEvent| matches!(event, MeshEvent::ServerAway { .. });
        assert!(!world.peers[2].mesh_events.iter().any(is_away), "seed {seed}: it still listens");

        let others_before = world.heard(1, 0).received;
        world.run(SECOND);
        assert!(world.heard(1, 0).received >= others_before + 45, "seed {seed}: the others go on");
        let next = sent(&world, 0).iter().rev().find_map(|packet| epoch_of(packet)).unwrap();
        assert_eq!(next, (epoch + 1) % 8, "seed {seed}");
    }
}

#[test]
fn a_member_that_cannot_encrypt_is_sent_nothing_and_shown_so() {
    for (seed, key, relay_only) in [
        (1, None, false),
        (2, Some(room_key()), false),
        (3, None, true),
        (4, Some(room_key()), true),
    ] {
        let takes_plain = key.is_none();
        let mut world = encrypted(seed, key, relay_only);
        world.add_peer();
        world.add_peer();
        world.encrypts = false;
        world.add_peer();
        let route_if = |is_direct| if is_direct { Route::Direct } else { Route::Relayed };
        // Who lacks the room's key cannot say whose end of a link it is.
        let links = [(0, 1, !relay_only), (0, 2, !relay_only && takes_plain)];
        world.run_until(3 * SECOND, "connected", |world| {
            links.iter().all(|(at, of, is_direct)| {
                [(*at, *of), (*of, *at)]
                    .into_iter()
                    .all(|(at, of)| world.route(at, of) == route_if(*is_direct))
            })
        });
        for peer in &mut world.peers {
            peer.speaking = true;
        }
        world.run(SECOND);
        let (now, ids) = (world.now(), world.peers.iter().map(|peer| peer.id).collect::<Vec<_>>());
        let client = world.peers[0].comms.network().mesh.client(ids[2]).unwrap();
        let at = now + world.peers[0].clock;
        let author = &mut world.peers[0].comms;
        author.send_text(at, Recipient::Client(client), SECRET).unwrap();
        author.send_group_text(at, "Global", SECRET).unwrap();
        author
            .client_mut()
            .unwrap()
            .send_data(ids[2], Reliability::Reliable, Bytes::from_static(SECRET.as_bytes()))
            .unwrap();
        let plain = world.peers[2].comms.client_mut().unwrap();
        plain.send_data(ids[0], Reliability::Reliable, Bytes::from_static(b"to one")).unwrap();
        plain.send_data(ids[0], Reliability::Unreliable, Bytes::from_static(b"to one")).unwrap();
        world.run(10 * SECOND);

        assert!(messages(&mut world, 0).is_empty(), "seed {seed}: it could not be acknowledged");
        assert_eq!(world.heard(2, 0).received + world.heard(2, 1).received, 0, "seed {seed}");
        assert_eq!(texts(&world, 2), [""; 0], "seed {seed}");
        assert!(messages(&mut world, 2).is_empty(), "seed {seed}");
        assert_eq!(texts(&world, 1), [SECRET], "seed {seed}");
        assert!(world.heard(1, 0).received > 500, "seed {seed}: those who can, hear");
        for at in [0, 1] {
            assert_eq!(encryption(&world, at, 2), Some(MemberEncryption::Unable), "seed {seed}");
            let told =
                MeshEvent::EncryptionChanged { peer: ids[2], encryption: MemberEncryption::Unable };
            assert!(world.peers[at].mesh_events.contains(&told), "seed {seed}");
            assert_eq!(world.heard(at, 2).received > 400, takes_plain, "seed {seed}");
            assert_sealed_once(&sent(&world, at), at);
        }
        let theirs = MemberEncryption::OnlyTheirs { has_room_key: !takes_plain };
        assert_eq!(encryption(&world, 2, 0), Some(theirs), "it does not encrypt itself");
        let links = match (relay_only, takes_plain) {
            (true, _) => 0,
            (false, true) => 3,
            (false, false) => 1,
        };
        assert_eq!(world.wires.borrow().links_opened, links, "seed {seed}: none is replaced");
        let told =
            |packet: &Bytes| packet.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(![0, 1].iter().any(|by| sent(&world, *by).iter().any(told)), "seed {seed}");
    }
}

#[test]
fn another_session_costs_encrypted_speech_nothing() {
    for seed in 1..=3 {
        let mut world = direct_and_verified(seed, 3);
        for peer in &mut world.peers {
            peer.speaking = true;
        }
        world.run(SECOND);
        world.kill_server();
        world.run(10 * SECOND);
        world.start_server(RoomRules::default());
        world.run_until(15 * SECOND, "everyone is back", |world| {
            world.peers.iter().all(|peer| peer.comms.status().members.len() == 3)
        });
        world.run(5 * SECOND);
        for peer in &mut world.peers {
            peer.speaking = false;
        }
        world.run(SECOND);
        assert!(all_are(&world, VERIFIED), "seed {seed}");
        for (at, of) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let (heard, spoken) = (world.heard(at, of), world.peers[of].comms.frames_spoken());
            assert!(heard.received + 1 >= spoken, "seed {seed}: {heard:?} of {spoken}");
        }
        assert_nothing_can_be_read(&world);
        // No member was gone, so none has new keys.
        assert!(
            sent(&world, 0).iter().filter_map(|packet| epoch_of(packet)).all(|epoch| epoch == 0)
        );
    }
}

#[test]
fn a_member_that_is_held_writes_sealed_texts_to_its_group_and_moderators_only() {
    for (seed, knows) in [(1, true), (2, false)] {
        let mut world = encrypted(seed, Some(room_key()), true);
        // Held, who moderates, listens to both groups, listens to the other one.
        for _ in 0..4 {
            world.add_peer();
        }
        world.run_until(3 * SECOND, "encrypted", |world| all_are(world, VERIFIED));
        world.set_permissions(1, Permissions::ALL, false);
        let now = world.now() + world.peers[2].clock;
        world.peers[2].comms.join_group(now, "Red").unwrap();
        world.run(SECOND / 2);
        let peer = world.peers[0].id;
        let unheard = if knows { usize::MAX } else { 0 };
        world.moderate(1, Moderation::Move { peer, groups: vec!["Red".to_owned()] }, unheard);
        world.run(SECOND / 2);

        let clients =
            [1, 2, 3].map(|to| world.peers[0].comms.network().mesh.client(world.peers[to].id));
        let [moderator, both, other] = clients.map(|client| Recipient::Client(client.unwrap()));
        let by_id = |group| Recipient::Group(GroupId::of(group));
        let at = world.now() + world.peers[0].clock;
        let held = &mut world.peers[0].comms;
        held.send_text(at, moderator, "to the moderator").unwrap();
        held.send_text(at, both, "to one of the group").unwrap();
        held.send_group_text(at, "Red", "to the group").unwrap();
        held.send_text(at, by_id("Red"), "to the group's id").unwrap();
        let refused = [
            held.send_text(at, other, "to another"),
            held.send_group_text(at, "Global", "to all"),
            held.send_text(at, by_id("Global"), "to the id of all"),
        ];
        for result in refused {
            let is_refused = matches!(result, Err(EngineError::Client(ClientError::NotPermitted)));
            assert!(is_refused == knows && result.is_ok() != knows, "{result:?}");
        }
        world.run(SECOND);
        assert_eq!(texts(&world, 1), ["to the moderator"], "seed {seed}");
        let to_group = ["to one of the group", "to the group", "to the group's id"];
        assert_eq!(texts(&world, 2), to_group, "seed {seed}");
        assert_eq!(texts(&world, 3), [""; 0], "seed {seed}");
        let is_refused = |event: &MeshEvent| {
            matches!(event, MeshEvent::Warned { code: ErrorCode::NotPermitted, text, .. }
                if text.as_deref() == Some("to another"))
        };
        let refused = world.peers[0].mesh_events.iter().filter(|event| is_refused(event));
        assert_eq!(refused.count(), usize::from(!knows), "seed {seed}");
    }
}

/// Two who encrypt with the room's key, some seconds later.
fn two_verified() -> World {
    let mut world = encrypted(1, Some(room_key()), true);
    for _ in 0..2 {
        world.add_peer();
    }
    world.run_until(3 * SECOND, "encrypted", |world| all_are(world, VERIFIED));
    world.run(2 * SECOND);
    world
}

#[test]
fn a_sealed_text_that_a_dead_connection_swallowed_arrives_once_on_the_next() {
    let mut world = two_verified();
    world.wires.borrow_mut().move_peer(0);
    let (now, clock) = (world.now(), world.peers[0].clock);
    let client = world.peers[0].comms.network().mesh.client(world.peers[1].id).unwrap();
    let author = &mut world.peers[0].comms;
    author.send_text(now + clock, Recipient::Client(client), "are you there?").unwrap();
    author.send_group_text(now + clock, "Global", "and all of you?").unwrap();
    world.run(6 * SECOND);
    assert_eq!(texts(&world, 1), ["are you there?", "and all of you?"]);
}

#[test]
fn a_sealed_text_whose_connection_ended_is_reported_as_unconfirmed() {
    let mut world = two_verified();
    let at = world.now() + world.peers[0].clock;
    world.peers[0].comms.send_group_text(at, "Global", SECRET).unwrap();
    world.kill_server();
    world.run(SECOND);
    let is_reported = |event: &MeshEvent| {
        matches!(event, MeshEvent::Warned { code: ErrorCode::Other(code), .. }
            if code == "text-unconfirmed")
    };
    assert!(world.peers[0].mesh_events.iter().any(is_reported));
}

/// The author learns of a newcomer before that one's keys have come, and, where another was put out
/// just then, before its own new keys are in use.
#[test]
fn what_is_written_as_soon_as_someone_comes_is_read_by_all_once() {
    for (seed, key, relay_only, one_goes) in [
        (1, Some(room_key()), true, false),
        (2, Some(room_key()), true, true),
        (3, Some(room_key()), false, true),
        (4, None, false, false),
        (5, None, true, true),
    ] {
        let state = if key.is_some() { VERIFIED } else { UNVERIFIED };
        let mut world = encrypted(seed, key, relay_only);
        for _ in 0..3 {
            world.add_peer();
        }
        world.run_until(3 * SECOND, "encrypted", |world| all_are(world, state));
        // The keys in use have sealed something that who comes later may not open.
        write_to_all(&mut world, 0, "before");
        world.run(SECOND);
        if one_goes {
            world.set_permissions(1, Permissions::ALL, false);
            let peer = world.peers[2].id;
            world.moderate(1, Moderation::Kick { peer }, 2);
            let is_gone = |event: &MeshEvent| matches!(event, MeshEvent::PeerLeft { .. });
            world.run_until(SECOND, "gone", |world| world.peers[0].mesh_events.iter().any(is_gone));
        }
        let late = world.add_peer();
        let id = world.peers[late].id;
        let has_come =
            |event: &MeshEvent| matches!(event, MeshEvent::PeerJoined(who) if who.peer == id);
        world.run_until(SECOND, "come", |world| world.peers[0].mesh_events.iter().any(has_come));
        for number in 0..12 {
            write_to_all(&mut world, 0, &format!("text {number}"));
            world.run(SECOND / 20);
        }
        world.run(SECOND);
        let written: Vec<String> = (0..12).map(|number| format!("text {number}")).collect();
        assert_eq!(texts(&world, late), written, "seed {seed}");
        assert_eq!(texts(&world, 1)[1..], written, "seed {seed}");
        assert_eq!(unread(&world, 0), [], "seed {seed}");
    }
}

#[test]
fn what_is_written_as_soon_as_the_server_is_back_waits_for_those_who_are_not() {
    let mut world = encrypted(1, Some(room_key()), true);
    for _ in 0..3 {
        world.add_peer();
    }
    world.run_until(3 * SECOND, "encrypted", |world| all_are(world, VERIFIED));
    world.kill_server();
    world.run(SECOND);
    world.start_server(RoomRules::default());
    let times_joined = |world: &World, at: usize| {
        let events = world.peers[at].mesh_events.iter();
        events.filter(|event| matches!(event, MeshEvent::Joined { .. })).count()
    };
    world.run_until(20 * SECOND, "the first is back", |world| {
        (0..3).any(|at| times_joined(world, at) == 2)
    });
    let first = (0..3).find(|at| times_joined(&world, *at) == 2).unwrap();
    let others: Vec<usize> = (0..3).filter(|at| *at != first).collect();
    assert!(others.iter().any(|at| times_joined(&world, *at) == 1), "not all are back");
    world.run_until(SECOND, "in the session", |world| {
        world.peers[first].comms.client().unwrap().phase() == Phase::Joined
    });
    write_to_all(&mut world, first, "I am back");
    world.run(8 * SECOND);
    for at in others {
        assert_eq!(texts(&world, at), ["I am back"]);
    }
}

#[test]
fn what_no_one_can_read_is_told_to_its_author() {
    let mut world = encrypted(1, Some(room_key()), true);
    world.add_peer();
    world.run(SECOND);
    write_to_all(&mut world, 0, "alone");
    assert_eq!(unread_soon(&mut world), [UnreadReason::Alone]);
    world.encrypts = false;
    world.add_peer();
    world.run(SECOND);
    write_to_all(&mut world, 0, "to one without the key");
    assert_eq!(unread_soon(&mut world), [UnreadReason::Unreadable]);
    write_to_all(&mut world, 1, "to one who takes nothing plain");
    world.run(SECOND);
    let told = ("to one who takes nothing plain".to_owned(), UnreadReason::Unreadable);
    assert_eq!(unread(&world, 1), [told]);
    world.encrypts = true;
    world.add_peer();
    world.run_until(3 * SECOND, "encrypted", |world| encryption(world, 0, 2) == VERIFIED);
    let at = world.now() + world.peers[0].clock;
    world.peers[0].comms.send_group_text(at, "Red", "to no one").unwrap();
    assert_eq!(unread_soon(&mut world), [UnreadReason::NoListeners]);
    write_to_all(&mut world, 0, "to one of two");
    assert_eq!(unread_soon(&mut world), []);
    assert_eq!(texts(&world, 2), ["to one of two"]);
    assert_eq!((texts(&world, 0), texts(&world, 1)), (vec![], vec![]));
}

/// Who is lost for good is gone after a while; until then a text waits, at most for ten seconds.
#[test]
fn what_waits_in_vain_for_its_readers_comes_back() {
    for encrypts in [true, false] {
        let mut world = encrypted(1, Some(room_key()), true);
        world.encrypts = encrypts;
        for _ in 0..2 {
            world.add_peer();
        }
        world.run(3 * SECOND);
        world.kill_server();
        world.peers[1].frozen = true;
        world.run(SECOND);
        world.start_server(RoomRules::default());
        world.run_until(20 * SECOND, "back", |world| {
            world.peers[0].comms.client().unwrap().phase() == Phase::Joined
        });
        write_to_all(&mut world, 0, "are you back?");
        let told = world.run_until(12 * SECOND, "told", |world| !unread(world, 0).is_empty());
        assert_eq!(unread(&world, 0), [("are you back?".to_owned(), UnreadReason::OthersAway)]);
        assert!(encrypts || told < SECOND / 2, "in the clear the server cannot keep it: {told:?}");
    }
}

fn write_to_all(world: &mut World, by: usize, text: &str) {
    let at = world.now() + world.peers[by].clock;
    world.peers[by].comms.send_group_text(at, "Global", text).unwrap();
}

fn unread(world: &World, at: usize) -> Vec<(String, UnreadReason)> {
    let events = world.peers[at].events.iter();
    let unread = events.filter_map(|(_, event)| match event {
        EngineEvent::Session(ClientEvent::TextUnread { text, why }) => Some((text.clone(), *why)),
        _ => None,
    });
    unread.collect()
}

/// What the first is told within a moment that it was not told before.
fn unread_soon(world: &mut World) -> Vec<UnreadReason> {
    let before = unread(world, 0).len();
    world.run(SECOND / 2);
    let reasons = unread(world, 0).into_iter().skip(before);
    let reasons: Vec<_> = reasons.map(|(_, why)| why).collect();
    world.peers[0].events.clear();
    reasons
}

/// Copies of earlier frames are sealed with the frame that carries them.
///
/// proves: B-12
#[test]
fn encrypted_speech_over_a_lossy_link_is_repaired_with_copies() {
    let mut world = direct_and_verified(31, 2);
    world.peers[0].speaking = true;
    world.wires.borrow_mut().conditions = Conditions { loss: 0.15, ..Conditions::default() };
    world.run(10 * SECOND);
    let before = world.status(1, 0).unwrap().heard.unwrap();
    world.run(30 * SECOND);
    let after = world.status(1, 0).unwrap().heard.unwrap();
    let heard = after.frames_heard - before.frames_heard;
    let concealed = after.frames_concealed - before.frames_concealed;
    assert!(after.frames_from_copies > before.frames_from_copies + 50, "{after:?}");
    assert!(concealed * 100 <= 4 * heard, "{concealed} of {heard}");
    assert_sealed_once(&sent(&world, 0), 0);
}

/// Keys are renewed when someone is gone, and only then.
#[test]
fn who_is_away_for_a_moment_costs_no_one_new_keys() {
    let mut world = direct_and_verified(32, 3);
    for peer in &mut world.peers {
        peer.speaking = true;
    }
    for _ in 0..3 {
        world.break_socket(2);
        world.run(3 * SECOND);
    }
    assert!(all_are(&world, VERIFIED));
    for by in 0..3 {
        let epochs: BTreeSet<_> =
            sent(&world, by).iter().filter_map(|packet| epoch_of(packet)).collect();
        assert_eq!(epochs, BTreeSet::from([0]), "{by}");
    }
}

/// The second of two departures gets its keys five seconds after the first: the server is away then.
#[test]
fn new_keys_travel_over_links_while_the_server_is_away() {
    let mut world = direct_and_verified(33, 4);
    for peer in &mut world.peers {
        peer.speaking = true;
    }
    world.set_permissions(0, Permissions::ALL, false);
    for gone in [3, 2] {
        world.run(SECOND);
        let peer = world.peers[gone].id;
        world.moderate(0, Moderation::Kick { peer }, usize::MAX);
        world.peers[gone].speaking = false;
    }
    world.run(SECOND);
    world.kill_server();
    let epochs = |world: &World, by| {
        let packets = sent(world, by);
        packets.iter().filter_map(|packet| epoch_of(packet)).collect::<BTreeSet<_>>()
    };
    assert_eq!(epochs(&world, 0), BTreeSet::from([0, 1]), "the second keys are not due yet");
    world.run_until(10 * SECOND, "new keys", |world| {
        [0, 1].iter().all(|by| epochs(world, *by).contains(&2))
    });
    let before = [world.heard(0, 1), world.heard(1, 0)];
    world.run(10 * SECOND);
    for (before, after) in before.into_iter().zip([world.heard(0, 1), world.heard(1, 0)]) {
        assert!(after.heard - before.heard >= 490, "{before:?} {after:?}");
        assert_eq!(after.concealed, before.concealed);
    }
}

/// Instead, what is said goes through the server, sealed.
///
/// proves: B-04
#[test]
fn no_link_opens_whose_certificate_the_server_put_in_place_of_a_members() {
    for (key, opens) in [(Some(room_key()), false), (None, true)] {
        let mut world = encrypted(34, key, false);
        world.wires.borrow_mut().server_forges = true;
        for _ in 0..3 {
            world.add_peer();
        }
        for peer in &mut world.peers {
            peer.speaking = true;
        }
        world.run(40 * SECOND);
        assert_eq!(
            world.wires.borrow().links_opened > 0,
            opens,
            "without a key a forgery is not seen"
        );
        for (at, of) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let (heard, spoken) = (world.heard(at, of), world.peers[of].comms.frames_spoken());
            assert!(heard.heard + 20 >= spoken, "{at} hears {of}: {heard:?} of {spoken}");
        }
        assert_nothing_can_be_read(&world);
    }
}
