use super::*;
use voicemesh_wire::packet::{
    ClientInfo, CodecSettings, GroupText, HandshakeP2P, HandshakeResponse, Probe, Recipient, Relay,
    SealedText, SealedWith, TextData,
};

const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
const NOW: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Sent(Vec<(u8, Bytes, Delivery)>);

impl ServerOutput<u8> for Sent {
    fn send(&mut self, to: u8, packet: Bytes, delivery: Delivery) {
        self.0.push((to, packet, delivery));
    }
}

struct Room {
    server: Server<u8>,
    sent: Sent,
}

impl Room {
    fn new() -> Self {
        Self { server: Server::new(ServerConfig::default(), session()), sent: Sent::default() }
    }

    fn receive(&mut self, peer: u8, packet: Vec<u8>) -> Verdict {
        self.server.receive(NOW, peer, &packet.into(), &mut self.sent)
    }

    fn join(&mut self, peer: u8, groups: &[&str]) -> ClientId {
        let request = HandshakeRequest { codec: CODEC, name: format!("p{peer}") };
        assert_eq!(self.receive(peer, request.encode()), Verdict::Applied);
        let client = self.server.client_of(peer).unwrap();
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let state = ClientState {
            client: ClientInfo { name: format!("p{peer}"), id: client, codec: CODEC },
            groups,
        };
        assert_eq!(self.receive(peer, state.encode(session())), Verdict::Applied);
        client
    }

    /// What was sent since the last look: receiver and kind.
    fn sent(&mut self) -> Vec<(u8, Kind)> {
        self.packets()
            .iter()
            .map(|(to, packet)| (*to, packet::open(packet).unwrap().0.kind))
            .collect()
    }

    fn packets(&mut self) -> Vec<(u8, Bytes)> {
        self.sent.0.drain(..).map(|(to, packet, _)| (to, packet)).collect()
    }
}

fn session() -> SessionId {
    SessionId::new(77).unwrap()
}

/// A packet of a type that has no meaning yet, so that it is passed on.
fn unassigned(sender: ClientId) -> Vec<u8> {
    let mut packet = Probe { sender, token: 5 }.encode(session());
    packet[2] = 50;
    packet
}

fn relay(kind: Kind, to: &[ClientId], inside: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    Relay::encode_packet(kind, session(), to, inside, &mut packet);
    packet
}

fn response(packet: &Bytes) -> HandshakeResponse {
    HandshakeResponse::decode(packet::open(packet).unwrap().1).unwrap()
}

/// proves: D-25
#[test]
fn what_is_for_links_is_not_relayed() {
    let mut room = Room::new();
    let (ada, bob) = (room.join(1, &[]), room.join(2, &[]));
    for kind in 32..64 {
        let mut packet = unassigned(ada);
        packet[2] = kind;
        for relayed in [Kind::ServerRelayReliable, Kind::ServerRelayUnreliable] {
            let verdict = room.receive(1, relay(relayed, &[bob], &packet));
            let is_relayed = !matches!(kind, 32..=34 | 43..=45);
            assert_eq!(verdict != Verdict::Dropped(DropReason::NotRelayable), is_relayed, "{kind}");
        }
    }
}

/// proves: D-08, D-12
#[test]
fn a_joiner_is_told_who_is_here_and_who_listens_to_what() {
    let mut room = Room::new();
    let ada = room.join(1, &["Lobby"]);
    let bob = room.join(2, &["Lobby", "Voice"]);
    room.packets();
    let request = HandshakeRequest { codec: CODEC, name: "c".into() };
    room.receive(3, request.encode());
    let (to, packet) = room.packets().remove(0);
    let response = response(&packet);
    assert_eq!(to, 3);
    assert_ne!(response.you, ada);
    assert_ne!(response.you, bob);
    assert_eq!(response.clients.iter().map(|client| client.id).collect::<Vec<_>>(), [ada, bob]);
    assert_eq!(response.groups, ["Lobby", "Voice"]);
    let listeners: BTreeMap<_, _> =
        response.listeners.into_iter().map(|l| (l.group, l.clients)).collect();
    assert_eq!(listeners[&GroupId::of("Lobby")], [ada, bob]);
    assert_eq!(listeners[&GroupId::of("Voice")], [bob]);
}

#[test]
fn a_joiner_is_listed_in_the_global_group_before_it_says_so_itself() {
    let mut room = Room::new();
    let ada = room.join(1, &[]);
    room.packets();
    room.receive(2, HandshakeRequest { codec: CODEC, name: "b".into() }.encode());
    let told = room.packets();
    let (_, packet) = told.iter().find(|(to, _)| *to == 1).unwrap();
    let state = ClientState::decode(packet::open(packet).unwrap().1).unwrap();
    assert_eq!(state.groups, [GLOBAL_GROUP]);
    let bob = state.client.id;
    let client = ClientInfo { name: "b".into(), id: bob, codec: CODEC };
    room.receive(2, ClientState { client, groups: vec![GLOBAL_GROUP.into()] }.encode(session()));
    assert_eq!(room.sent(), [], "what everyone knows is not told again");
    assert!(room.server.table().listens(bob, GroupId::of(GLOBAL_GROUP)));
    assert!(
        !room.server.table().listens(ada, GroupId::of(GLOBAL_GROUP)),
        "a client that leaves it is out"
    );
}

/// proves: D-09, D-10
#[test]
fn state_and_deltas_go_to_everyone_else_and_only_about_oneself() {
    let mut room = Room::new();
    let ada = room.join(1, &[]);
    let bob = room.join(2, &[]);
    assert_eq!(
        room.sent().last(),
        Some(&(1, Kind::ClientState)),
        "Bob's state goes to Ada, not back to Bob"
    );
    let delta =
        |client, joins| DeltaClientState { joins, client, group: "g".into() }.encode(session());
    assert_eq!(room.receive(1, delta(ada, true)), Verdict::Applied);
    assert_eq!(room.sent(), [(2, Kind::DeltaClientState)]);
    assert_eq!(room.receive(1, delta(ada, true)), Verdict::Applied);
    assert_eq!(room.sent(), [], "nothing changed, nothing is sent");
    assert_eq!(room.receive(1, delta(bob, true)), Verdict::Dropped(DropReason::ForgedSender));
    assert_eq!(room.receive(1, delta(ada, false)), Verdict::Applied);
    assert_eq!(room.server.table().groups().count(), 0);
}

/// proves: D-03, D-05
#[test]
fn a_wrong_session_number_is_answered_but_not_more_than_once_in_a_while() {
    let mut room = Room::new();
    let ada = room.join(1, &[]);
    room.packets();
    let wrong = Probe { sender: ada, token: 0 }.encode(SessionId::new(78).unwrap());
    for peer in [1, 9] {
        assert_eq!(room.receive(peer, wrong.clone()), Verdict::Dropped(DropReason::WrongSession));
        assert_eq!(room.receive(peer, wrong.clone()), Verdict::Dropped(DropReason::WrongSession));
        let answers = room.packets();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].0, peer);
        assert_eq!(packet::open(&answers[0].1).unwrap().0.session_id(), Some(session()));
        let later = NOW + ServerConfig::default().wrong_session_interval;
        room.server.receive(later, peer, &wrong.clone().into(), &mut room.sent);
        assert_eq!(room.packets().len(), 1);
    }
}

#[test]
fn an_error_about_a_session_is_never_answered_with_one() {
    let mut room = Room::new();
    room.join(1, &[]);
    room.packets();
    room.receive(1, packet::error_wrong_session(SessionId::new(5).unwrap()));
    assert_eq!(room.sent(), []);
}

/// proves: D-13, D-14
#[test]
fn the_loss_of_a_connection_removes_its_client_everywhere_and_once() {
    let mut room = Room::new();
    let ada = room.join(1, &["g"]);
    room.join(2, &["g"]);
    room.packets();
    room.server.disconnected(NOW, 1, &mut room.sent);
    room.server.disconnected(NOW, 1, &mut room.sent);
    let packets = room.packets();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].0, 2);
    assert_eq!(
        RemoveClient::decode(packet::open(&packets[0].1).unwrap().1),
        Ok(RemoveClient { client: ada })
    );
    assert!(room.server.table().member(ada).is_none());
    assert!(!room.server.table().listens(ada, GroupId::of("g")));
}

/// proves: D-23, D-26
#[test]
fn a_relayed_packet_arrives_unchanged_once_at_each_known_destination() {
    let mut room = Room::new();
    let ada = room.join(1, &[]);
    let bob = room.join(2, &[]);
    let cyd = room.join(3, &[]);
    room.packets();
    let inside = unassigned(ada);
    let to = [cyd, ClientId(999), bob, cyd, ada];
    for (kind, delivery) in [
        (Kind::ServerRelayReliable, Delivery::Reliable),
        (Kind::ServerRelayUnreliable, Delivery::Voice),
    ] {
        assert_eq!(room.receive(1, relay(kind, &to, &inside)), Verdict::Relayed { copies: 2 });
        let sent = std::mem::take(&mut room.sent.0);
        assert_eq!(sent.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [3, 2]);
        assert!(sent.iter().all(|(_, packet, how)| *packet == inside && *how == delivery));
        assert_eq!(sent[0].1.as_ptr(), sent[1].1.as_ptr(), "one copy is shared");
    }
}

/// proves: D-25
#[test]
fn the_relay_refuses_a_handshake_and_all_that_could_be_forged() {
    let mut room = Room::new();
    let ada = room.join(1, &[]);
    let bob = room.join(2, &[]);
    room.packets();
    let handshake = HandshakeP2P { client: ada }.encode(session());
    let remove = RemoveClient { client: bob }.encode(session());
    let nested = relay(Kind::ServerRelayReliable, &[bob], &unassigned(ada));
    for inside in [&handshake, &remove, &nested] {
        let verdict = room.receive(1, relay(Kind::ServerRelayReliable, &[bob], inside));
        assert_eq!(verdict, Verdict::Dropped(DropReason::NotRelayable));
    }
    let forged = room.receive(1, relay(Kind::ServerRelayReliable, &[bob], &unassigned(bob)));
    assert_eq!(forged, Verdict::Dropped(DropReason::ForgedSender));
    let other_session = Probe { sender: ada, token: 0 }.encode(SessionId::new(78).unwrap());
    let foreign = room.receive(1, relay(Kind::ServerRelayReliable, &[bob], &other_session));
    assert_eq!(foreign, Verdict::Dropped(DropReason::WrongSession));
    assert_eq!(room.receive(1, handshake), Verdict::Dropped(DropReason::NotForServer));
    assert_eq!(room.sent(), []);
}

/// proves: D-35
#[test]
fn text_reaches_its_addressees_only() {
    let mut room = Room::new();
    let ada = room.join(1, &["g"]);
    let bob = room.join(2, &["g"]);
    room.join(3, &[]);
    room.packets();
    let text = |sender, recipient| TextData { sender, recipient, text: "hi" }.encode(session());
    let to_group = room.receive(1, text(ada, Recipient::Group(GroupId::of("g"))));
    assert_eq!(to_group, Verdict::Relayed { copies: 1 });
    assert_eq!(room.sent(), [(2, Kind::TextData)], "never back to the sender");
    assert_eq!(
        room.receive(3, text(bob, Recipient::Client(ada))),
        Verdict::Dropped(DropReason::ForgedSender)
    );
    assert_eq!(room.receive(2, text(bob, Recipient::Client(ada))), Verdict::Relayed { copies: 1 });
    assert_eq!(room.sent(), [(1, Kind::TextData)]);
}

/// Finds two names with one id by counting; such pairs are common in 16 bits.
fn colliding_names() -> (String, String) {
    let mut seen = BTreeMap::new();
    (0..)
        .map(|n| format!("group-{n}"))
        .find_map(|name| Some((seen.insert(GroupId::of(&name), name.clone())?, name)))
        .unwrap()
}

/// proves: D-17
#[test]
fn two_group_names_with_one_id_are_never_merged() {
    let (first, second) = colliding_names();
    let mut room = Room::new();
    room.join(1, &[&first]);
    room.packets();
    let bob = room.join(2, &[&second, "other"]);
    let packets = room.packets();
    let leave = packets.iter().find(|(to, packet)| {
        *to == 2 && packet::open(packet).unwrap().0.kind == Kind::DeltaClientState
    });
    let leave = DeltaClientState::decode(packet::open(&leave.unwrap().1).unwrap().1).unwrap();
    assert_eq!(leave, DeltaClientState { joins: false, client: bob, group: second.clone() });
    let told = packets.iter().rfind(|(to, _)| *to == 1).unwrap();
    let state = ClientState::decode(packet::open(&told.1).unwrap().1).unwrap();
    assert_eq!(state.groups, ["other"]);
    let delta = DeltaClientState { joins: true, client: bob, group: second };
    room.receive(2, delta.encode(session()));
    assert_eq!(room.sent(), [(2, Kind::DeltaClientState)], "only the joiner hears of it");
}

/// proves: D-17
#[test]
fn names_with_one_id_are_told_apart_by_those_who_know_names() {
    let (first, second) = colliding_names();
    let mut room = Room::new();
    let ids: Vec<ClientId> = (1..=4).map(|peer| room.join(peer, &[])).collect();
    (1..=3).for_each(|peer| room.server.set_takes_group_text(peer, true));
    let listen = |room: &mut Room, peer: u8, joins, group: &String| {
        let delta =
            DeltaClientState { joins, client: ids[usize::from(peer) - 1], group: group.clone() };
        room.receive(peer, delta.encode(session()));
    };
    listen(&mut room, 4, true, &first);
    listen(&mut room, 1, true, &first);
    listen(&mut room, 2, true, &second);
    room.packets();
    listen(&mut room, 2, true, &first);
    assert_eq!(room.sent(), [(2, Kind::DeltaClientState)], "no client listens to both");

    let by_name =
        |name: &str| GroupText { sender: ids[2], group: name, text: "hi" }.encode(session());
    let by_id =
        TextData { sender: ids[2], recipient: Recipient::Group(GroupId::of(&first)), text: "hi" };
    assert_eq!(room.receive(3, by_name(&first)), Verdict::Relayed { copies: 1 });
    assert_eq!(
        room.sent(),
        [(1, Kind::GroupText)],
        "4 knows groups by id, and the id has two names"
    );
    room.receive(3, by_name(&second));
    assert_eq!(room.sent(), [(2, Kind::GroupText)]);
    room.receive(3, by_id.encode(session()));
    assert_eq!(room.sent(), []);

    room.receive(9, HandshakeRequest { codec: CODEC, name: "late".into() }.encode());
    let told = room.packets().into_iter().filter(|(to, _)| *to == 9).map(|(_, packet)| packet);
    let states =
        told.filter(|packet| packet::open(packet).unwrap().0.kind == Kind::ClientState).count();
    assert_eq!(states, 1, "who listens to the second name does not fit into a list by ids");

    listen(&mut room, 2, false, &second);
    room.packets();
    room.receive(3, by_name(&first));
    assert_eq!(room.sent(), [(1, Kind::GroupText), (4, Kind::TextData)]);
    room.receive(3, by_id.encode(session()));
    assert_eq!(room.sent(), [(1, Kind::TextData), (4, Kind::TextData)]);
    assert_eq!(room.receive(1, by_name(&first)), Verdict::Dropped(DropReason::ForgedSender));
}

#[test]
fn a_session_larger_than_a_packet_is_told_in_several() {
    let config = ServerConfig { reliable_packet_bytes: 400, ..ServerConfig::default() };
    let mut room = Room { server: Server::new(config, session()), sent: Sent::default() };
    for peer in 1..=40 {
        room.join(peer, &["everyone"]);
    }
    room.packets();
    room.receive(50, HandshakeRequest { codec: CODEC, name: "late".into() }.encode());
    let packets: Vec<_> = room.packets().into_iter().filter(|(to, _)| *to == 50).collect();
    assert!(packets.iter().all(|(_, packet)| packet.len() <= 400));
    let first = response(&packets[0].1);
    let mut told: Vec<ClientId> = first.clients.iter().map(|client| client.id).collect();
    assert!(!told.is_empty() && told.len() < 40);
    for (_, packet) in &packets[1..] {
        let state = ClientState::decode(packet::open(packet).unwrap().1).unwrap();
        assert_eq!(state.groups, ["everyone"]);
        told.push(state.client.id);
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 40);
}

#[test]
fn a_client_listens_to_at_most_so_many_groups() {
    let mut room = Room::new();
    let ada = room.join(1, &[]);
    for n in 0..GROUPS_PER_CLIENT + 5 {
        room.receive(
            1,
            DeltaClientState { joins: true, client: ada, group: format!("g{n}") }.encode(session()),
        );
    }
    assert_eq!(room.server.table().member(ada).unwrap().groups.len(), GROUPS_PER_CLIENT);
    assert_eq!(room.sent().iter().filter(|sent| **sent == (1, Kind::DeltaClientState)).count(), 5);
}

#[test]
fn each_group_that_is_too_many_is_refused_in_an_answer_or_in_the_verdict() {
    for asked in [GROUPS_PER_CLIENT, 100, 2 * GROUPS_PER_CLIENT, 2 * GROUPS_PER_CLIENT + 1, 900] {
        let mut room = Room::new();
        let ada = room.join(1, &[]);
        let groups = (0..asked).map(|n| format!("g{n}")).collect();
        let client = ClientInfo { id: ada, codec: CODEC, name: String::new() };
        room.sent();
        let verdict = room.receive(1, ClientState { client, groups }.encode(session()));
        let is_delta = |sent: &&(u8, Kind)| sent.1 == Kind::DeltaClientState;
        let answered = room.sent().iter().filter(is_delta).count();
        let unanswered = match verdict {
            Verdict::GroupsRefused { unanswered } => unanswered,
            verdict => {
                assert_eq!(verdict, Verdict::Applied);
                0
            }
        };
        assert_eq!(GROUPS_PER_CLIENT + answered + unanswered, asked);
        assert_eq!(answered, (asked - GROUPS_PER_CLIENT).min(GROUPS_PER_CLIENT));
    }
}

#[test]
fn packets_before_the_handshake_have_no_effect() {
    let mut room = Room::new();
    let client = room.server.admit(NOW, 1, 42, "a".into()).unwrap();
    assert_eq!(room.receive(1, unassigned(client)), Verdict::Dropped(DropReason::NotJoined));
    assert_eq!(
        room.receive(1, HandshakeRequest { codec: CODEC, name: String::new() }.encode()),
        Verdict::Applied
    );
    assert_eq!(
        response(&room.packets()[0].1).you,
        client,
        "the handshake gets the id that was reserved"
    );
    room.server.disconnected(NOW, 1, &mut room.sent);
    assert_eq!(
        room.server.admit(NOW, 2, 42, "a".into()),
        Ok(client),
        "and so does its owner's next connection"
    );
}

#[test]
fn permissions_decide_what_is_passed_on_and_to_whom() {
    let mut room = Room::new();
    let ada = room.join(1, &["Lobby"]);
    let bob = room.join(2, &["Lobby"]);
    let eve = room.join(3, &["Lobby"]);
    room.packets();
    let voice = |kind: u8| {
        let mut packet = unassigned(ada);
        packet[2] = kind;
        packet
    };
    let kind_at_2 = packet::open(&voice(Kind::VoiceData.number())).unwrap().0.kind;
    assert_eq!(kind_at_2, Kind::VoiceData);
    let spoken = |room: &mut Room, kind: Kind| {
        let verdict =
            room.receive(1, relay(Kind::ServerRelayUnreliable, &[bob, eve], &voice(kind.number())));
        (verdict, room.sent().into_iter().map(|(to, _)| to).collect::<Vec<_>>())
    };
    let passed = |copies| Verdict::Relayed { copies };
    let refused = || (Verdict::Dropped(DropReason::NotPermitted), vec![]);
    assert_eq!(spoken(&mut room, Kind::VoiceData), (passed(2), vec![2, 3]));
    room.server.set_permissions(2, Permissions { listen: false, ..Permissions::ALL });
    assert_eq!(spoken(&mut room, Kind::VoiceCopies), (passed(1), vec![3]));
    assert_eq!(spoken(&mut room, Kind::DataMessage), (passed(2), vec![2, 3]));
    room.server.set_permissions(1, Permissions { speak: false, ..Permissions::ALL });
    for kind in [Kind::VoiceData, Kind::VoiceCopies] {
        assert_eq!(spoken(&mut room, kind), refused(), "{kind:?}");
    }
    assert_eq!(spoken(&mut room, Kind::DataMessage), (passed(2), vec![2, 3]));
    room.server.set_permissions(1, Permissions { data: false, ..Permissions::ALL });
    for kind in [Kind::DataMessage, Kind::DataSegment, Kind::Unassigned(60)] {
        assert_eq!(spoken(&mut room, kind), refused(), "{kind:?}");
    }
    let text =
        TextData { sender: ada, recipient: Recipient::Client(bob), text: "hi" }.encode(session());
    assert_eq!(room.receive(1, text), Verdict::Dropped(DropReason::NotPermitted));
    assert_eq!(
        spoken(&mut room, Kind::DataAck),
        (passed(2), vec![2, 3]),
        "what it was sent is acknowledged"
    );
    // They hold for a new handshake, and for the connection that takes over.
    room.receive(2, HandshakeRequest { codec: CODEC, name: "b".into() }.encode());
    assert!(room.server.hand_over(1, 4));
    room.packets();
    let packet =
        relay(Kind::ServerRelayUnreliable, &[bob, eve], &voice(Kind::DataMessage.number()));
    assert_eq!(room.receive(4, packet), Verdict::Dropped(DropReason::NotPermitted));
    let packet = relay(Kind::ServerRelayUnreliable, &[bob, eve], &voice(Kind::VoiceData.number()));
    assert_eq!(room.receive(4, packet), passed(1));
}

#[test]
fn who_is_held_in_groups_is_heard_by_their_listeners_only_and_listens_to_no_other() {
    let mut room = Room::new();
    let ada = room.join(1, &["Global", "Red"]);
    let bob = room.join(2, &["Global"]);
    let eve = room.join(3, &["Red", "Global"]);
    room.packets();
    room.server.set_held_in(1, &["Red".to_owned()], &mut room.sent);
    let deltas = room.packets();
    assert_eq!(
        deltas.iter().map(|(to, _)| *to).collect::<Vec<_>>(),
        [2, 3],
        "the others are sent what it left"
    );
    let speak = |room: &mut Room, kind: Kind| {
        let mut packet = unassigned(ada);
        packet[2] = kind.number();
        room.receive(1, relay(Kind::ServerRelayUnreliable, &[bob, eve], &packet));
        room.sent().into_iter().map(|(to, _)| to).collect::<Vec<_>>()
    };
    assert_eq!(speak(&mut room, Kind::VoiceData), [3]);
    assert_eq!(speak(&mut room, Kind::DataMessage), [2, 3], "speech alone");
    let listens = |room: &Room, group: &str| room.server.table().listens(ada, GroupId::of(group));
    assert!(listens(&room, "Red") && !listens(&room, "Global"));
    let state = |groups: &[&str]| {
        let client = ClientInfo { name: String::new(), id: ada, codec: CODEC };
        ClientState { client, groups: groups.iter().map(|group| (*group).to_owned()).collect() }
            .encode(session())
    };
    room.receive(1, state(&["Global", "Blue"]));
    room.receive(
        1,
        DeltaClientState { joins: true, client: ada, group: "Blue".to_owned() }.encode(session()),
    );
    room.receive(1, HandshakeRequest { codec: CODEC, name: String::new() }.encode());
    assert!(!listens(&room, "Global") && !listens(&room, "Blue"));
    room.receive(1, state(&["Red"]));
    assert!(listens(&room, "Red"));
    // It holds for the connection that takes over, and ends.
    assert!(room.server.hand_over(1, 4));
    room.receive(4, state(&["Global"]));
    assert!(!listens(&room, "Global"));
    room.server.set_held_in(4, &[], &mut room.sent);
    room.receive(4, state(&["Global"]));
    assert!(listens(&room, "Global"));
}

#[test]
fn who_is_held_in_groups_begins_in_no_other_and_is_refused_none() {
    let mut room = Room::new();
    room.server.admit(Duration::ZERO, 1, 1, "ada".to_owned()).expect("there is room");
    room.server.set_held_in(1, &["Red".to_owned()], &mut room.sent);
    room.receive(1, HandshakeRequest { codec: CODEC, name: String::new() }.encode());
    assert_eq!(room.sent(), [(1, Kind::HandshakeResponse)]);
}

/// The first and the third listen to Global and Red, the others to Global; the fourth may moderate.
fn room_with_a_moderator() -> (Room, [ClientId; 4]) {
    let mut room = Room::new();
    let red: &[&str] = &["Global", "Red"];
    let clients = [(1, red), (2, &["Global"]), (3, red), (4, &["Global"])]
        .map(|(peer, groups)| room.join(peer, groups));
    room.server.set_permissions(4, Permissions { moderate: true, ..Permissions::default() });
    (room, clients)
}

/// The verdict on a packet of the first member, and its receivers.
fn written(room: &mut Room, packet: Vec<u8>) -> (Verdict, Vec<u8>) {
    room.packets();
    let verdict = room.receive(1, packet);
    (verdict, room.sent().into_iter().map(|(to, _)| to).collect())
}

fn kept() -> (Verdict, Vec<u8>) {
    (Verdict::Dropped(DropReason::HeldElsewhere), Vec::new())
}

fn passed(to: &[u8]) -> (Verdict, Vec<u8>) {
    (Verdict::Relayed { copies: to.len() }, to.to_vec())
}

#[test]
fn who_is_held_in_groups_writes_to_their_listeners_and_to_moderators_only() {
    let (mut room, [ada, bob, eve, mia]) = room_with_a_moderator();
    let text = |recipient| TextData { sender: ada, recipient, text: "hi" }.encode(session());
    let to_group = |group| GroupText { sender: ada, group, text: "hi" }.encode(session());
    let global = Recipient::Group(GroupId::of("Global"));
    assert_eq!(written(&mut room, text(global)), passed(&[2, 3, 4]));
    room.server.set_held_in(1, &["Red".to_owned()], &mut room.sent);
    for packet in [text(global), to_group("Global"), to_group("Blue"), text(Recipient::Client(bob))]
    {
        assert_eq!(written(&mut room, packet), kept());
    }
    for packet in
        [text(Recipient::Group(GroupId::of("Red"))), to_group("Red"), text(Recipient::Client(eve))]
    {
        assert_eq!(written(&mut room, packet), passed(&[3]));
    }
    assert_eq!(
        written(&mut room, text(Recipient::Client(mia))),
        passed(&[4]),
        "who may moderate can be asked"
    );
    room.server.set_held_in(1, &[], &mut room.sent);
    assert_eq!(written(&mut room, text(Recipient::Client(bob))), passed(&[2]));
}

#[test]
fn sealed_texts_of_who_is_held_in_groups_reach_their_listeners_and_moderators_only() {
    let (mut room, [ada, bob, eve, mia]) = room_with_a_moderator();
    let sealed = |to: &[ClientId]| {
        let text = SealedText { sender: ada, key: SealedWith::SenderKey, sealed: &[0; 20] };
        relay(Kind::ServerRelayReliable, to, &text.encode(session()))
    };
    assert_eq!(written(&mut room, sealed(&[bob, eve, mia])), passed(&[2, 3, 4]));
    room.server.set_held_in(1, &["Red".to_owned()], &mut room.sent);
    assert_eq!(written(&mut room, sealed(&[bob])), kept());
    assert_eq!(written(&mut room, sealed(&[bob, eve, mia])), passed(&[3, 4]));
    assert_eq!(written(&mut room, sealed(&[ClientId(99)])), passed(&[]), "a member that has left");
    room.server.set_held_in(1, &[], &mut room.sent);
    assert_eq!(written(&mut room, sealed(&[bob])), passed(&[2]));
}

#[test]
fn a_probe_is_answered_to_the_one_who_asks_and_not_a_flood_of_them() {
    let mut room = Room::new();
    let (ada, bob) = (room.join(1, &[]), room.join(2, &[]));
    room.packets();
    let probe = |sender, token| Probe { sender, token }.encode(session());
    assert_eq!(room.receive(1, probe(bob, 7)), Verdict::Dropped(DropReason::ForgedSender));
    assert_eq!(room.packets(), []);
    for token in 7..100 {
        assert_eq!(room.receive(1, probe(ada, token)), Verdict::Applied);
    }
    let echo = Probe { sender: ada, token: 7 }.encode_echo(session()).into();
    assert_eq!(room.packets(), [(1, echo)]);
}

/// proves: D-46
#[test]
fn a_peer_is_identified_by_any_small_type() {
    struct Last<P>(Option<P>);

    impl<P: Copy> ServerOutput<P> for Last<P> {
        fn send(&mut self, to: P, _packet: Bytes, _delivery: Delivery) {
            self.0 = Some(to);
        }
    }

    fn joins<P: Copy + Ord + std::fmt::Debug>(peer: P) {
        let (mut server, mut last) = (Server::new(ServerConfig::default(), session()), Last(None));
        let request = HandshakeRequest { codec: CODEC, name: "p".into() };
        assert_eq!(
            server.receive(NOW, peer, &request.encode().into(), &mut last),
            Verdict::Applied
        );
        assert!(last.0 == Some(peer) && server.client_of(peer).is_some(), "{peer:?}");
    }

    joins(u64::MAX);
    joins('x');
    joins(["name", "of", "a peer"]);
    joins(std::net::SocketAddr::from(([192, 0, 2, 1], 5)));
}

/// A session with budgets: a hostile or honest speaker, and so many listeners.
fn budgeted(listeners: u8) -> (Room, ClientId, Vec<ClientId>) {
    let config = ServerConfig { budgets: Some(Budgets::default()), ..ServerConfig::default() };
    let mut room = Room { server: Server::new(config, session()), sent: Sent::default() };
    let speaker = room.join(0, &["Global"]);
    let others = (1..=listeners).map(|peer| room.join(peer, &["Global"])).collect();
    room.packets();
    (room, speaker, others)
}

/// A frame, padded to this size, and relayed to these.
fn speech(kind: Kind, sender: ClientId, to: &[ClientId], bytes: usize) -> Bytes {
    let mut inside = unassigned(sender);
    inside.resize(bytes, 0);
    relay(kind, to, &inside).into()
}

#[test]
fn speech_to_64_listeners_in_frames_of_10_ms_that_are_sent_twice_is_within_the_budget() {
    let (mut room, ada, others) = budgeted(64);
    let frame = speech(Kind::ServerRelayUnreliable, ada, &others, 150);
    for number in 0..60 * 200 {
        let now = NOW + Duration::from_millis(5 * number);
        let verdict = room.server.receive(now, 0, &frame, &mut room.sent);
        assert_eq!(verdict, Verdict::Relayed { copies: 64 }, "packet {number}");
        room.sent.0.clear();
    }
}

#[test]
fn a_flood_of_speech_is_dropped_and_takes_nothing_from_what_others_say() {
    let (mut room, ada, others) = budgeted(8);
    let bob = others[0];
    let flood = speech(Kind::ServerRelayUnreliable, ada, &others, 1_000);
    let honest = speech(Kind::ServerRelayUnreliable, bob, &others[1..], 100);
    let mut copies = 0;
    for ms in 0..10_000 {
        let now = NOW + Duration::from_millis(ms);
        for _ in 0..2 {
            match room.server.receive(now, 0, &flood, &mut room.sent) {
                Verdict::Relayed { copies: 8 } => copies += 8,
                verdict => assert_eq!(verdict, Verdict::Dropped(DropReason::OverBudget)),
            }
        }
        if ms % 20 == 0 {
            let verdict = room.server.receive(now, 1, &honest, &mut room.sent);
            assert_eq!(verdict, Verdict::Relayed { copies: 7 });
        }
        room.sent.0.clear();
    }
    let Budgets { bytes, .. } = Budgets::default();
    let most = ((bytes.burst + 10.0 * bytes.per_second) / 1_000.0) as usize;
    assert!(copies <= most && copies > most * 9 / 10, "{copies} copies, {most} at most");
}

/// Speech, texts and groups that a receiver's queue keeps until they are taken: each is scarce long
/// before the 8 MiB that a host keeps for one guest.
#[test]
fn what_must_not_be_lost_never_fills_the_queue_of_a_slow_receiver() {
    type Flood = fn(ClientId, &[ClientId], usize) -> Bytes;
    let floods: [Flood; 3] = [
        |ada, others, _| speech(Kind::ServerRelayReliable, ada, others, 1_000),
        |ada, _, _| {
            let recipient = Recipient::Group(GroupId::of("Global"));
            let text = "x".repeat(1_000);
            TextData { sender: ada, recipient, text: &text }.encode(session()).into()
        },
        |ada, _, number| {
            let groups = (0..20).map(|group| format!("{number} {group} {}", "x".repeat(30)));
            let client = ClientInfo { name: "p0".to_owned(), id: ada, codec: CODEC };
            ClientState { client, groups: groups.collect() }.encode(session()).into()
        },
    ];
    for (kind, flood) in floods.into_iter().enumerate() {
        for to in [1, 8] {
            let (mut room, ada, others) = budgeted(8);
            let mut waiting = 0;
            let ended = (0..10_000).find(|number| {
                let now = NOW + Duration::from_millis(*number as u64);
                let packet = flood(ada, &others[..to], *number);
                let verdict = room.server.receive(now, 0, &packet, &mut room.sent);
                let kept = room.sent.0.drain(..).filter(|(peer, ..)| *peer == 1);
                waiting += kept.map(|(_, packet, _)| packet.len()).sum::<usize>();
                verdict == Verdict::Dropped(DropReason::Flooding)
            });
            assert!(ended.is_some(), "flood {kind} to {to}");
            assert!(waiting > 50_000 && waiting < 256 * 1024, "flood {kind} to {to}: {waiting}");
        }
    }
}

/// What one person may send does not grow by leaving and coming back.
#[test]
fn who_comes_back_from_the_same_place_goes_on_with_the_budget_that_was_left() {
    let copies_of = |origin: Option<u64>| {
        let (mut room, _, others) = budgeted(8);
        let mut copies = 0;
        for connection in 0..20_u8 {
            let peer = 100 + connection;
            let now = NOW + Duration::from_millis(50 * u64::from(connection));
            room.server.set_origin(peer, origin);
            let request = HandshakeRequest { codec: CODEC, name: "p".into() }.encode().into();
            let verdict = room.server.receive(now, peer, &request, &mut room.sent);
            assert_eq!(verdict, Verdict::Applied);
            let flooder = room.server.client_of(peer).unwrap();
            let flood = speech(Kind::ServerRelayUnreliable, flooder, &others, 1_000);
            while room.server.receive(now, peer, &flood, &mut room.sent)
                == (Verdict::Relayed { copies: 8 })
            {
                copies += 8;
            }
            room.sent.0.clear();
            room.server.disconnected(now, peer, &mut room.sent);
        }
        copies
    };
    let Budgets { bytes, .. } = Budgets::default();
    let each = (bytes.burst / 1_000.0) as usize;
    assert!(copies_of(None) > 19 * each, "each connection has its own");
    let most = ((bytes.burst + bytes.per_second) / 1_000.0) as usize;
    let copies = copies_of(Some(7));
    assert!(copies <= most, "{copies} copies, {most} at most");
}

/// A client that gets no answer asks again, and does not know that the answer is long.
#[test]
fn handshakes_over_the_budget_are_dropped_and_end_no_one() {
    let (mut room, ..) = budgeted(8);
    let request: Bytes = HandshakeRequest { codec: CODEC, name: "p0".into() }.encode().into();
    let verdicts: Vec<_> =
        (0..1_000).map(|_| room.server.receive(NOW, 0, &request, &mut room.sent)).collect();
    assert_eq!(verdicts[0], Verdict::Applied);
    assert_eq!(verdicts.last(), Some(&Verdict::Dropped(DropReason::OverBudget)));
    assert!(!verdicts.contains(&Verdict::Dropped(DropReason::Flooding)));
    let later = NOW + Duration::from_secs(1);
    assert_eq!(room.server.receive(later, 0, &request, &mut room.sent), Verdict::Applied);
}

/// The same wire, ten times as many listeners as a room has.
#[test]
fn a_session_larger_than_a_room_has_as_much_more_to_pass_on() {
    let config = ServerConfig { budgets: Some(Budgets::default()), ..ServerConfig::default() };
    let mut server = Server::<u16>::new(config, session());
    let mut taken = Taken::default();
    for peer in 0..=640 {
        let request = HandshakeRequest { codec: CODEC, name: format!("p{peer}") };
        server.receive(NOW, peer, &request.encode().into(), &mut taken);
    }
    let client = |peer: u16| server.client_of(peer).unwrap();
    let ada = client(0);
    let others: Vec<_> = (1..=640).map(client).collect();
    let frames: Vec<_> = others
        .chunks(128)
        .map(|some| speech(Kind::ServerRelayUnreliable, ada, some, 150))
        .collect();
    for number in 0..30 * 100 {
        let now = NOW + Duration::from_millis(10 * number);
        for frame in &frames {
            let verdict = server.receive(now, 0, frame, &mut taken);
            assert_eq!(verdict, Verdict::Relayed { copies: 128 }, "frame {number}");
        }
    }
}

#[derive(Default)]
struct Taken(usize);

impl ServerOutput<u16> for Taken {
    fn send(&mut self, _to: u16, _packet: Bytes, _delivery: Delivery) {
        self.0 += 1;
    }
}
