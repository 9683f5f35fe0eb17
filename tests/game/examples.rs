//! The example programs of UnityP2P and of Discord's networking manager, line by line in our calls;
//! the comments name what stands at that line there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use voicemesh::{
    Bytes, Connections, DataEvent, ErrorCode, Event, Events, JoinOptions, Metadata,
    MetadataTransaction, PeerId, Presence, Reliability, Room, RoomEvent, Route, SendError,
};
use voicemesh_tests::room::Folder;

use crate::friends::{self, PATIENCE};
use crate::server;

/// A turn of a loop waits so long for something to poll: a frame.
const FRAME: Duration = Duration::from_millis(10);

/// Turns every program's loop until something has happened.
fn until<P>(
    what: &str,
    programs: &mut [&mut P],
    turn: impl Fn(&mut P),
    done: impl Fn(&[&mut P]) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !done(programs) {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        programs.iter_mut().for_each(|program| turn(program));
    }
}

/// UnityP2P, "How to use it": P2PServer and P2PClient are the same here, but for how they come into
/// the room.
struct P2P {
    room: Room,
    incoming: Events,
    _folder: Folder,
    you: Option<PeerId>,
    owner: Option<PeerId>,
    connected: Vec<PeerId>,
    disconnected: Vec<PeerId>,
    received: Vec<(PeerId, Vec<u8>, bool)>,
    log: Vec<String>,
    refused: Option<ErrorCode>,
}

impl P2P {
    fn new(room: &str, name: &str, presence: Presence) -> Self {
        let folder = Folder::create("seeds");
        let (room, incoming) =
            Room::join(friends::options(server(), room, name, &folder).presence(presence)).unwrap();
        Self {
            room,
            incoming,
            _folder: folder,
            you: None,
            owner: None,
            connected: Vec::new(),
            disconnected: Vec::new(),
            received: Vec::new(),
            log: Vec::new(),
            refused: None,
        }
    }

    /// UpdateServer() and UpdateClient(), once a frame.
    fn update(&mut self) {
        self.incoming.wait(FRAME);
        while let Some(event) = self.incoming.poll() {
            match event {
                // OnConnection
                Event::Room(RoomEvent::PeerJoined { peer, .. }) => self.on_connection(peer),
                // OnDisconnection
                Event::Room(RoomEvent::PeerLeft { peer, .. }) => self.on_disconnection(peer),
                // OnReceivedMessage
                Event::Data(DataEvent::Message { from, data, reliability }) => {
                    self.on_received_message(from, &data, reliability)
                }
                Event::Room(RoomEvent::Joined { you, .. }) => self.you = Some(you),
                Event::Room(RoomEvent::OwnerChanged { owner }) => self.owner = Some(owner),
                Event::Room(RoomEvent::Refused { code, .. }) => self.refused = Some(code),
                _ => {}
            }
        }
    }

    fn on_connection(&mut self, connection: PeerId) {
        self.log.push(format!("Client: {connection} connected"));
        self.connected.push(connection);
    }

    fn on_disconnection(&mut self, connection: PeerId) {
        self.log.push(format!("Client: {connection} disconnected"));
        self.disconnected.push(connection);
    }

    fn on_received_message(&mut self, from: PeerId, data: &Bytes, reliability: Reliability) {
        // message.MessageData with its Offset and ContentLength
        let bytes: &[u8] = data;
        // Buffer.BlockCopy
        let copy = bytes.to_vec();
        // Encoding.UTF8.GetString
        let text = std::str::from_utf8(bytes).unwrap_or("no text");
        self.log.push(format!("received message: {text} from client {from}"));
        // message.Type == NetEventType.ReliableMessageReceived
        let is_reliable = reliability == Reliability::Reliable;
        self.received.push((from, copy, is_reliable));
    }
}

fn has_text(program: &P2P, text: &str) -> bool {
    program.log.iter().any(|line| line.contains(&format!("received message: {text} from")))
}

#[test]
fn unity_p2ps_server_and_clients() {
    let room = "UnityP2P: hi";
    let turn = |programs: &mut [&mut P2P], what: &str, done: &dyn Fn(&[&mut P2P]) -> bool| {
        until(what, programs, P2P::update, done);
    };
    // A client before there is a server: it gets an error, and may try again.
    let mut early = P2P::new(room, "early", Presence::MustExist);
    turn(&mut [&mut early], "the room is missing", &|p| {
        p[0].refused == Some(ErrorCode::RoomMissing)
    });

    // new P2PServer(signalingServer, roomName)
    let mut host = P2P::new(room, "server", Presence::MustNotExist);
    turn(&mut [&mut host], "the server is there", &|p| p[0].owner.is_some());
    let mut second = P2P::new(room, "second server", Presence::MustNotExist);
    turn(&mut [&mut second], "the name is in use", &|p| {
        p[0].refused == Some(ErrorCode::RoomExists)
    });
    // new P2PClient(signalingServer, roomName)
    let mut client = P2P::new(room, "client", Presence::MustExist);
    let mut other = P2P::new(room, "other", Presence::MustExist);
    turn(&mut [&mut host, &mut client, &mut other], "all have met", &|p| {
        p.iter().all(|p| p.connected.len() == 2)
    });
    let (host_id, client_id, other_id) =
        (host.you.unwrap(), client.you.unwrap(), other.you.unwrap());
    assert_eq!(
        [host.owner, client.owner, other.owner],
        [Some(host_id); 3],
        "everyone can tell who is the server"
    );

    let data = b"..some data..";
    let (data_offset, data_len) = (2, 9);
    // server.SendMessage(connectionId, data, isReliable)
    host.room.participant(client_id).send(data, Reliability::Reliable).unwrap();
    // server.SendMessage(connectionId, data, dataOffset, dataLen, isReliable)
    host.room
        .participant(client_id)
        .send(&data[data_offset..data_offset + data_len], Reliability::Reliable)
        .unwrap();
    // server.SendMessageToAll(data, isReliable)
    host.room.send_to_all(b"to all", Reliability::Reliable).unwrap();
    // server.SendMessageToAll(data, dataOffset, dataLen, isReliable)
    host.room.send_to_all(&data[7..][..4], Reliability::Reliable).unwrap();
    // And a client to a client, of which the server sees nothing.
    client.room.participant(other_id).send(b"not by the server", Reliability::Reliable).unwrap();
    turn(&mut [&mut host, &mut client, &mut other], "all has come", &|p| {
        has_text(p[1], "data") && has_text(p[2], "data") && has_text(p[2], "not by the server")
    });
    let of = |program: &P2P, from: PeerId| -> Vec<Vec<u8>> {
        program
            .received
            .iter()
            .filter(|(sender, ..)| *sender == from)
            .map(|(_, bytes, _)| bytes.clone())
            .collect()
    };
    assert_eq!(of(&client, host_id), [&data[..], b"some data", b"to all", b"data"]);
    assert_eq!(of(&other, host_id), [&b"to all"[..], b"data"]);
    assert_eq!(of(&other, client_id), [b"not by the server"]);
    assert!(
        host.received.is_empty() && client.received.iter().all(|(.., is_reliable)| *is_reliable)
    );

    // isReliable = false: it may be lost, so it is sent until one has come.
    let deadline = Instant::now() + PATIENCE;
    while !has_text(&host, "perhaps") {
        assert!(Instant::now() < deadline, "all were lost");
        client.room.participant(host_id).send(b"perhaps", Reliability::Unreliable).unwrap();
        client.update();
        host.update();
    }
    assert!(
        host.received.iter().all(|message| *message == (client_id, b"perhaps".to_vec(), false)),
        "whole, or not"
    );

    // OnApplicationQuit and OnDestroy both call client.Dispose()
    client.room.leave_and_wait(PATIENCE);
    client.room.leave_and_wait(PATIENCE);
    assert_eq!(
        client.room.participant(host_id).send(b"after", Reliability::Reliable),
        Err(SendError::Left)
    );
    turn(&mut [&mut host, &mut other], "it is gone", &|p| {
        p.iter().all(|p| p.disconnected == [client_id])
    });
    // server.Dispose(): the member that has been there longest owns the room now.
    host.room.leave_and_wait(PATIENCE);
    host.room.leave_and_wait(PATIENCE);
    turn(&mut [&mut other], "the server is gone", &|p| {
        p[0].owner == Some(other_id) && p[0].disconnected.len() == 2
    });
    assert_eq!(host.disconnected, [client_id], "once");
    assert_eq!(other.disconnected, [client_id, host_id]);
}

/// Discord's networking manager, "Example: Connecting to Another Player in a Lobby". Both players
/// run it.
struct Lobby {
    room: Room,
    incoming: Events,
    _folder: Folder,
    me: Option<PeerId>,
    /// In order of arrival, with what each publishes.
    members: Vec<(PeerId, Metadata)>,
    /// otherUserPeerId
    other: Option<PeerId>,
    /// Results of UpdateMember that are still to come.
    unanswered: usize,
    channels: BTreeMap<u8, Reliability>,
    received: Vec<(PeerId, u8, Vec<u8>)>,
    route: Option<Route>,
    refused: Option<ErrorCode>,
    ended: Vec<Event>,
}

impl Lobby {
    /// lobbyManager.Connect(12345, "password", …)
    fn connect(name: &str, secret: &str) -> Self {
        let folder = Folder::create("seeds");
        let lobby = |options: JoinOptions| {
            options.password(secret).connections(Connections::Explicit).manual_flush(true)
        };
        let options = lobby(friends::options(server(), "Discord: 12345", name, &folder));
        let (room, incoming) = Room::join(options).unwrap();
        Self {
            room,
            incoming,
            _folder: folder,
            me: None,
            members: Vec::new(),
            other: None,
            unanswered: 0,
            channels: BTreeMap::new(),
            received: Vec::new(),
            route: None,
            refused: None,
            ended: Vec::new(),
        }
    }

    /// One turn of the game's loop.
    fn frame(&mut self) {
        // discord.RunCallbacks()
        self.incoming.wait(FRAME);
        while let Some(event) = self.incoming.poll() {
            self.on(event);
        }
        // networkManager.Flush()
        self.room.flush();
    }

    fn on(&mut self, event: Event) {
        match event {
            // networkManager.OnRouteUpdate
            Event::Room(RoomEvent::ReachabilityChanged { token }) => {
                self.update_member("route", token)
            }
            // The callback of lobbyManager.Connect, with userManager.GetCurrentUser
            Event::Room(RoomEvent::Joined { you, .. }) => {
                self.me = Some(you);
                // networkManager.GetPeerId()
                self.update_member("peer_id", you.to_string());
            }
            // The result of lobbyManager.UpdateMember
            Event::Room(RoomEvent::TransactionDone { result, .. }) => {
                result.unwrap();
                self.unanswered -= 1;
            }
            Event::Room(RoomEvent::PeerJoined { peer, metadata, .. }) => {
                self.members.push((peer, metadata));
                self.connect_to_the_first();
            }
            // lobbyManager.OnMemberUpdate
            Event::Room(RoomEvent::MetadataChanged { peer, metadata }) => {
                self.on_member_update(peer, metadata)
            }
            // networkManager.OnMessage
            Event::Data(DataEvent::ChannelMessage { from, channel, data, reliability }) => {
                assert_eq!(self.channels[&channel], reliability);
                self.received.push((from, channel, data.to_vec()));
            }
            Event::Data(DataEvent::ChannelOpened { channel, reliability, .. }) => {
                self.channels.insert(channel, reliability);
            }
            Event::Room(RoomEvent::RouteChanged { route, .. }) => self.route = Some(route),
            Event::Room(RoomEvent::Refused { code, .. }) => self.refused = Some(code),
            Event::Data(DataEvent::ChannelClosed { .. } | DataEvent::Disconnected { .. }) => {
                self.ended.push(event)
            }
            _ => {}
        }
    }

    /// GetMemberTransaction, SetMetadataString, UpdateMember
    fn update_member(&mut self, key: &str, value: String) {
        let transaction = MetadataTransaction::new().set(key, value);
        self.room.lobby().set_metadata(transaction).unwrap();
        self.unanswered += 1;
    }

    fn on_member_update(&mut self, member: PeerId, metadata: Metadata) {
        self.members.iter_mut().find(|(peer, _)| *peer == member).unwrap().1 = metadata;
        let Some(other) = self.other else {
            // A player that was alone when it came connects to the first that says how.
            return self.connect_to_the_first();
        };
        let (peer_id, route) = self.member(member).unwrap();
        assert_eq!(peer_id, other);
        // UpdateRoute
        self.room.participant(peer_id).update(&route).unwrap();
    }

    /// GetMemberMetadata of "peer_id" and of "route"
    fn member(&self, member: PeerId) -> Option<(PeerId, String)> {
        let (_, metadata) = self.members.iter().find(|(peer, _)| *peer == member)?;
        Some((PeerId(metadata.get("peer_id")?.parse().unwrap()), metadata.get("route")?.clone()))
    }

    fn connect_to_the_first(&mut self) {
        // GetMemberUserId(lobby.Id, 0)
        let Some((first, _)) = self.members.first().cloned() else { return };
        let Some((peer_id, route)) = self.member(first) else { return };
        self.other = Some(peer_id);
        // ConnectPeer, which the example calls OpenRoute
        self.room.participant(peer_id).connect(&route).unwrap();
        // OpenChannel(otherUserPeerId, 0, false) and (otherUserPeerId, 1, true)
        self.room.channel(peer_id, 0).open(Reliability::Unreliable).unwrap();
        self.room.channel(peer_id, 1).open(Reliability::Reliable).unwrap();
    }

    /// SendMessage, on the channel that fits
    fn send(&mut self, data: &[u8]) {
        let is_loot = data.starts_with(b"loot");
        self.room.channel(self.other.unwrap(), u8::from(is_loot)).send(data).unwrap();
    }
}

#[test]
fn discords_two_players_connect_in_a_lobby() {
    let turn = |programs: &mut [&mut Lobby], what: &str, done: &dyn Fn(&[&mut Lobby]) -> bool| {
        until(what, programs, Lobby::frame, done);
    };
    let mut ada = Lobby::connect("Ada", "password");
    turn(&mut [&mut ada], "Ada has published herself", &|p| {
        p[0].me.is_some() && p[0].unanswered == 0
    });
    let mut ben = Lobby::connect("Ben", "password");
    turn(&mut [&mut ada, &mut ben], "both are connected", &|p| {
        p.iter()
            .all(|p| p.route == Some(Route::Direct) && p.channels.len() == 2 && p.unanswered == 0)
    });
    assert_eq!((ada.other, ben.other), (ben.me, ada.me));
    let (ada_id, ben_id) = (ada.me.unwrap(), ben.me.unwrap());
    turn(&mut [&mut ada, &mut ben], "Ben knows who he is", &|p| {
        let mine = p[1].room.snapshot();
        let published = mine.metadata.get("peer_id") == Some(&ben_id.to_string());
        published && mine.you == Some(ben_id) && mine.name == "Ben"
    });

    ben.send(b"loot: a sword");
    let deadline = Instant::now() + PATIENCE;
    while ada.received.len() < 2 || !ada.received.iter().any(|(_, channel, _)| *channel == 0) {
        assert!(Instant::now() < deadline, "{:?}", ada.received);
        ben.send(b"position: 3, 4");
        ben.frame();
        ada.frame();
    }
    let of = |player: &Lobby, wanted: u8| -> Vec<(PeerId, Vec<u8>)> {
        let received = player.received.iter().filter(|(_, channel, _)| *channel == wanted);
        received.map(|(from, _, data)| (*from, data.clone())).collect()
    };
    turn(&mut [&mut ada, &mut ben], "the loot is there", &|p| !of(p[0], 1).is_empty());
    assert_eq!(of(&ada, 1), [(ben_id, b"loot: a sword".to_vec())]);
    assert!(of(&ada, 0).iter().all(|message| *message == (ben_id, b"position: 3, 4".to_vec())));

    // The way to Ada changes, often; Ben ends with the newest, and the connection goes on.
    let former = ben.member(ada_id).unwrap().1;
    for _ in 0..5 {
        ada.room.network_changed().unwrap();
        ada.frame();
    }
    turn(&mut [&mut ada, &mut ben], "the newest route is published", &|p| {
        let own = p[0].room.snapshot().metadata;
        let seen = p[1].member(ada_id).unwrap().1;
        p[0].unanswered == 0
            && seen != former
            && Some(&seen) == own.get("route")
            && own.get("route") == own.get(voicemesh::REACHABILITY_KEY)
    });
    ada.send(b"loot: a shield");
    turn(&mut [&mut ada, &mut ben], "the shield is there", &|p| !p[1].received.is_empty());
    assert_eq!(of(&ben, 1), [(ada_id, b"loot: a shield".to_vec())]);
    assert_eq!((ada.route, ben.route), (Some(Route::Direct), Some(Route::Direct)));

    // CloseChannel(playerAPeerId, 0)
    ben.room.channel(ada_id, 0).close().unwrap();
    assert_eq!(ben.room.channel(ada_id, 0).send(b"position"), Err(SendError::ChannelClosed));
    turn(&mut [&mut ada, &mut ben], "that channel is closed", &|p| !p[0].ended.is_empty());
    assert_eq!(ada.ended, [Event::Data(DataEvent::ChannelClosed { peer: ben_id, channel: 0 })]);
    ada.send(b"loot: a bow");
    turn(&mut [&mut ada, &mut ben], "the other channel is open", &|p| of(p[1], 1).len() == 2);
    // DisconnectPeer(playerAPeerId): the channels and the connection to it.
    ben.room.participant(ada_id).close_channels();
    ben.room.participant(ada_id).disconnect().unwrap();
    turn(&mut [&mut ada, &mut ben], "they are disconnected", &|p| {
        p.iter().all(|p| p.route == Some(Route::Relayed)) && p[0].ended.len() == 2
    });
    assert!(
        matches!(ada.ended[1], Event::Data(DataEvent::Disconnected { peer, .. }) if peer == ben_id)
    );
    assert_eq!(ada.room.channel(ben_id, 1).send(b"loot"), Err(SendError::ChannelClosed));
    // Last, because a wrong secret makes everyone at its address wait.
    let mut stranger = Lobby::connect("Stranger", "passwort");
    turn(&mut [&mut stranger], "a wrong secret is refused", &|p| {
        p[0].refused == Some(ErrorCode::PasswordWrong)
    });
}
