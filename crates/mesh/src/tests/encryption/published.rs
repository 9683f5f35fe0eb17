//! Names and metadata: what the server is sent of them, and what it can make members believe.

use voicemesh_e2ee::Published;
use voicemesh_wire::sealed_state::{NAME_KEY, PLACEHOLDER_NAME};
use voicemesh_wire::signaling::RosterMark;

use super::*;

const NAME: &str = "Bo of the harbour";

fn named(by_token: bool, name: &str) -> Vec<u8> {
    [&[u8::from(by_token)], name.as_bytes()].concat()
}

/// What Bo publishes, with his name sealed, as the server has it.
fn sealed(bo: &mut KeyRing, by_token: bool, metadata: &[(&str, &str)]) -> Metadata {
    let name = bo.seal_published(Published::Member(peer(2), NAME_KEY), &named(by_token, NAME));
    let mut published = Metadata::from([(NAME_KEY.to_owned(), name.expect("a text"))]);
    for (key, value) in metadata {
        let text = bo.seal_published(Published::Member(peer(2), key), value.as_bytes());
        published.insert((*key).to_owned(), text.expect("a text"));
    }
    published
}

/// The server lists Bo with a name, and says that he publishes this.
fn list(room: &mut Room, name: &str, metadata: Metadata) {
    let bo = PeerInfo {
        peer: peer(2),
        client: BO,
        run: 1,
        name: name.to_owned(),
        metadata,
        capabilities: Capabilities { e2ee: true, ..Capabilities::default() },
        order: 2,
        status: MemberStatus::default(),
        permissions: Permissions::default(),
        held_in: Vec::new(),
    };
    room.says(&ServerMessage::PeerJoined { peer: bo });
    room.turn();
}

/// Bo's name and metadata for Ada.
fn seen(room: &Room) -> (&str, Vec<(&str, &str)>) {
    let bo = room.mesh.member(peer(2)).expect("he is here");
    let metadata = bo.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    (&bo.name, metadata.collect())
}

fn texts(mesh: &mut Mesh) -> Vec<String> {
    std::iter::from_fn(|| mesh.poll_output())
        .filter_map(|output| match output {
            MeshOutput::SendText { text, .. } => Some(text),
            _ => None,
        })
        .collect()
}

/// proves: S-15
#[test]
fn a_server_can_neither_name_a_member_nor_write_its_metadata_nor_move_any_of_it() {
    let bo = || ring(2, room_key(), 0);
    let mut room = Room::new(room_key());
    list(&mut room, "Eve", sealed(&mut bo(), false, &[("seat", "window"), ("team", "red")]));
    assert_eq!(seen(&room), (NAME, vec![("seat", "window"), ("team", "red")]));

    // Plain, damaged, of another key, and of another member.
    let right = sealed(&mut bo(), false, &[("seat", "window"), ("team", "red")]);
    let mut other = ring(2, Some(RoomKey::new([9; 16])), 0);
    let (seat, team) = (right["seat"].clone(), right["team"].clone());
    let with = |name: Option<String>, seat: String| -> Metadata {
        let name = name.map(|name| (NAME_KEY.to_owned(), name));
        name.into_iter().chain([("seat".to_owned(), seat)]).collect()
    };
    let of_ada = Published::Member(room.mesh.you(), NAME_KEY);
    let of_ada = bo().seal_published(of_ada, &named(false, "Ada")).expect("a text");
    for name in [
        None,
        Some("Eve".to_owned()),
        Some(of_ada),
        Some(seat.clone()),
        Some(sealed(&mut other, false, &[])[NAME_KEY].clone()),
        Some(right[NAME_KEY][..60].to_owned()),
    ] {
        let mut room = Room::new(room_key());
        list(&mut room, "Eve", with(name.clone(), team.clone()));
        assert_eq!(seen(&room), (PLACEHOLDER_NAME, vec![]), "{name:?}");
        let metadata = with(name, "window".to_owned());
        room.says(&ServerMessage::Metadata { peer: peer(2), metadata, changes: 1 });
        assert_eq!(seen(&room), (PLACEHOLDER_NAME, vec![]), "also later");
        let metadata = right.clone();
        room.says(&ServerMessage::Metadata { peer: peer(2), metadata, changes: 1 });
        assert_eq!(seen(&room).1, [("seat", "window"), ("team", "red")]);
    }
    // More than a server takes of one member is not opened at all.
    let many: Vec<String> = (0..40).map(|key| format!("key {key}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "x")).collect();
    let mut room = Room::new(room_key());
    list(&mut room, "Eve", sealed(&mut bo(), false, &many));
    assert_eq!(seen(&room), (NAME, vec![]));
}

#[test]
fn the_servers_name_counts_for_who_joined_with_an_access_token() {
    for (by_token, servers, name) in [
        (true, "Bo of the accounts", "Bo of the accounts"),
        (true, PLACEHOLDER_NAME, NAME),
        (false, "Bo of the accounts", NAME),
    ] {
        let mut room = Room::new(room_key());
        list(&mut room, servers, sealed(&mut ring(2, room_key(), 0), by_token, &[]));
        assert_eq!(seen(&room).0, name, "{by_token} {servers}");
    }
}

#[test]
fn a_name_comes_with_the_roster_as_well() {
    let mut room = Room::new(room_key());
    list(&mut room, "Eve", Metadata::new());
    assert_eq!(seen(&room).0, PLACEHOLDER_NAME);
    let bo = PeerInfo {
        metadata: sealed(&mut ring(2, room_key(), 0), false, &[("seat", "window")]),
        ..room.mesh.member(peer(2)).expect("he is here").info.clone()
    };
    let mark = RosterMark { version: 2, hash: roster_hash([&bo]) };
    room.says(&ServerMessage::Roster { mark, peers: vec![bo] });
    assert_eq!(seen(&room), (NAME, vec![("seat", "window")]));
}

#[test]
fn who_has_no_key_sees_the_placeholder_and_no_sealed_value() {
    for mut room in [Room::plain(), Room::new(None)] {
        let mut published = sealed(&mut ring(2, room_key(), 0), false, &[("seat", "window")]);
        published.insert("plain".to_owned(), "as ever".to_owned());
        list(&mut room, PLACEHOLDER_NAME, published);
        assert_eq!(seen(&room), (PLACEHOLDER_NAME, vec![("plain", "as ever")]));
        let metadata = [("map".to_owned(), "e2ee1:AAAA".to_owned())].into();
        room.says(&ServerMessage::RoomMetadata { metadata });
        assert!(room.mesh.room_metadata().is_empty());
    }
}

/// proves: B-04
#[test]
fn the_server_is_sent_no_name_and_no_value_and_counts_what_is_sealed() {
    const SECRET: &str = "under the third palm tree";
    for (key, token) in [(room_key(), None), (room_key(), Some("a token".into())), (None, None)] {
        let has_key = key.is_some();
        let metadata = [("seat".to_owned(), format!("{SECRET}, one"))].into();
        let name = format!("{SECRET}, Ada");
        let config = MeshConfig { name: name.clone(), metadata, token, ..Room::config() };
        let has_token = config.token.is_some();
        let mut room = Room::with(Mesh::encrypted(config, ring(7, key, 0), None));
        // The announcement is published first.
        room.says(&ServerMessage::MetadataSet { request: 1 });
        for (number, scope) in [(1, MetadataScope::Own), (2, MetadataScope::Room)] {
            let set = [("map".to_owned(), Some(format!("{SECRET}, {number}")))].into();
            room.mesh.transact(room.now, TransactionId(number), scope, set);
            room.turn();
            let request = number as u32 + 1;
            room.says(&ServerMessage::MetadataSet { request });
        }
        let sent = texts(&mut room.mesh);
        assert!(sent.len() >= 4, "{sent:#?}");
        let told = sent.iter().filter(|text| text.contains(SECRET)).count();
        assert_eq!(told, if has_key { 0 } else { 3 }, "{sent:#?}");
        let join: serde_json::Value = serde_json::from_str(&sent[0]).expect("JSON");
        if has_key {
            assert_eq!(join["name"], PLACEHOLDER_NAME);
            let sealed = join["metadata"][NAME_KEY].as_str().expect("a text");
            let place = Published::Member(room.mesh.you(), NAME_KEY);
            let opened = ring(2, room_key(), 0).open_published(place, sealed);
            assert_eq!(opened.expect("Bo reads it"), named(has_token, &name));
        }
        // The own name and metadata are what they were.
        let entered = std::iter::from_fn(|| room.mesh.poll_event()).find_map(|event| match event {
            MeshEvent::Joined { name, .. } => Some(name),
            _ => None,
        });
        assert_eq!(entered, Some(name));
        assert_eq!(room.mesh.own_metadata()["seat"], format!("{SECRET}, one"));
    }
}

#[test]
fn a_packet_that_may_have_the_name_and_cannot_be_read_is_not_sent() {
    for kind in [Kind::HandshakeRequest, Kind::ClientState] {
        for (key, sent) in [(room_key(), 0), (None, 1)] {
            let mut room = Room::new(key);
            let mut packet = vec![0x8b, 0xc7, kind.number()];
            if kind != Kind::HandshakeRequest {
                packet.extend(session().number().to_be_bytes());
            }
            packet.extend(NAME.as_bytes());
            let Mesh { encryption, roster, .. } = &mut room.mesh;
            let encryption = encryption.as_mut().expect("it encrypts");
            let packets = encryption.seal_for_server(room.now, packet.into(), roster);
            assert_eq!(packets.len(), sent, "{kind:?}");
        }
    }
}
