//! UnityP2P's clients over real sockets: its paths, and invalid or hostile input that disturbs no
//! one else.

use std::time::Duration;

use crate::common::{Person, Server, within};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use voicemesh_signaling::{Budgets, Config};
use voicemesh_unityp2p::{Limits, MESSAGE_BYTES};

/// A client that knows bytes and nothing else.
struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    async fn connect(server: &Server, path: &str) -> Self {
        Self::try_connect(server, path, None).await.expect("the server takes connections")
    }

    async fn from(server: &Server, address: &str) -> Self {
        let client = Self::try_connect(server, "/unityp2p", Some(address)).await;
        client.expect("the server takes connections")
    }

    /// From where a proxy says that it is.
    async fn try_connect(
        server: &Server,
        path: &str,
        address: Option<&str>,
    ) -> Result<Self, tungstenite::Error> {
        let stream = TcpStream::connect(server.address).await.expect("the server listens");
        Self::upgrade(server, stream, path, address).await
    }

    async fn upgrade(
        server: &Server,
        stream: TcpStream,
        path: &str,
        address: Option<&str>,
    ) -> Result<Self, tungstenite::Error> {
        let url = format!("ws://{}{path}", server.address);
        let mut request = url.into_client_request().expect("a URL");
        if let Some(address) = address {
            let address = address.parse().expect("a header");
            request.headers_mut().insert("x-forwarded-for", address);
        }
        let connected = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = within("an upgrade", connected).await?;
        Ok(Self { socket })
    }

    async fn listen(server: &Server, address: &str) -> Self {
        let mut client = Self::connect(server, "/unityp2p").await;
        client.send(text(3, -1, address)).await;
        assert_eq!(client.next().await, text(3, -1, address));
        client
    }

    /// Connected with a listener, which has heard of it.
    async fn call(server: &Server, host: &mut Self, address: &str) -> (Self, i16) {
        let mut client = Self::connect(server, "/unityp2p").await;
        client.send(text(6, 1, address)).await;
        assert_eq!(client.next().await, head(6, 1));
        let heard = host.next().await;
        assert_eq!(heard[..2], [6, 0]);
        (client, i16::from_le_bytes([heard[2], heard[3]]))
    }

    async fn send(&mut self, frame: Vec<u8>) {
        within("the server reads", self.socket.send(Message::binary(frame)))
            .await
            .expect("it does");
    }

    async fn next(&mut self) -> Vec<u8> {
        loop {
            let next = within("a frame", self.socket.next()).await;
            match next.expect("the connection goes on").expect("a message") {
                Message::Binary(frame) => return frame.to_vec(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} in place of a frame"),
            }
        }
    }

    /// The code of the close frame, or that there is none; frames before it do not matter.
    async fn end(&mut self) -> Option<CloseCode> {
        loop {
            match within("the end", self.socket.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Whether it is served as if nothing had happened.
    async fn is_well(&mut self) {
        self.send(vec![202]).await;
        assert_eq!(self.next().await, [202]);
    }
}

fn head(kind: u8, connection: i16) -> Vec<u8> {
    let [low, high] = connection.to_le_bytes();
    vec![kind, 0, low, high]
}

fn text(kind: u8, connection: i16, text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut frame = head(kind, connection);
    frame[1] = 2;
    frame.extend((units.len() as u32).to_le_bytes());
    frame.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    frame
}

fn bytes(kind: u8, connection: i16, data: &[u8]) -> Vec<u8> {
    let mut frame = head(kind, connection);
    frame[1] = 1;
    frame.extend((data.len() as u32).to_le_bytes());
    frame.extend(data);
    frame
}

fn behind_a_proxy() -> Config {
    let proxy = "127.0.0.1".parse().expect("an address");
    Config { trusted_proxies: vec![proxy], ..Config::default() }
}

/// proves: U-24
#[tokio::test]
async fn on_every_path_two_clients_meet_talk_and_part_and_those_of_other_paths_do_not() {
    let server = Server::start().await;
    let mut hosts = Vec::new();
    for path in ["/", "/chatapp", "/callapp", "/conferenceapp", "/test", "/testshared"] {
        let path = format!("/unityp2p{path}");
        let mut host = Client::connect(&server, &path).await;
        host.send(vec![201, 2]).await;
        assert_eq!(host.next().await, [201, 2], "the first that it receives");
        host.send(text(3, -1, "a")).await;
        assert_eq!(host.next().await, text(3, -1, "a"), "{path}");
        let mut guest = Client::connect(&server, &path).await;
        guest.send(text(6, 1, "a")).await;
        assert_eq!(
            (host.next().await, guest.next().await),
            (head(6, 16_384), head(6, 1)),
            "{path}"
        );
        guest.send(bytes(2, 1, b"offer")).await;
        assert_eq!(host.next().await, bytes(2, 16_384, b"offer"));
        host.send(bytes(1, 16_384, b"answer")).await;
        assert_eq!(guest.next().await, bytes(1, 1, b"answer"));
        guest.send(head(8, 1)).await;
        assert_eq!((guest.next().await, host.next().await), (head(8, 1), head(8, 16_384)));
        guest.socket.close(None).await.expect("it closes");
        assert_eq!(guest.end().await, None, "the answer to a close without a code has none");
        hosts.push(host);
    }
    assert_eq!(server.metric("voicemesh_unityp2p_addresses").await, 6);
    drop(hosts);
}

#[tokio::test]
async fn those_who_share_an_address_are_connected_and_who_is_lost_is_reported() {
    let server = Server::start().await;
    let mut first = Client::connect(&server, "/unityp2p/conferenceapp").await;
    first.send(text(3, -1, "a")).await;
    first.next().await;
    let mut second = Client::connect(&server, "/unityp2p/conferenceapp").await;
    second.send(text(3, -1, "a")).await;
    assert_eq!(second.next().await, text(3, -1, "a"));
    assert_eq!((second.next().await, first.next().await), (head(6, 16_384), head(6, 16_384)));
    drop(second);
    assert_eq!(first.next().await, head(8, 16_384), "its socket is lost without a close");
}

#[tokio::test]
async fn there_are_no_other_paths_and_none_where_the_operator_wants_none() {
    let server = Server::start().await;
    for path in ["/unityp2p/other", "/unityp2p/chatapp/", "/unityp2p/a/b", "/unityp2pchatapp"] {
        let refused = Client::try_connect(&server, path, None).await.err();
        assert!(
            matches!(&refused, Some(tungstenite::Error::Http(answer)) if answer.status() == 404),
            "{path}: {refused:?}"
        );
    }
    assert!(server.http("/unityp2p/callapp").await.starts_with("HTTP/1.1 426"));
    for config in [
        Config { no_unityp2p: true, ..Config::default() },
        Config { relay_only: true, ..Config::default() },
    ] {
        let server = Server::with(config).await;
        let refused = Client::try_connect(&server, "/unityp2p", None).await.err();
        assert!(
            matches!(&refused, Some(tungstenite::Error::Http(answer)) if answer.status() == 404),
            "{refused:?}"
        );
        assert!(!server.http("/metrics").await.contains("unityp2p"));
    }
    let below =
        Server::with(Config { base_path: Some("/voice".into()), ..Config::default() }).await;
    Client::connect(&below, "/voice/unityp2p/callapp").await.is_well().await;
}

#[tokio::test]
async fn the_largest_message_arrives_whole_and_one_byte_more_ends_its_sender_alone() {
    let server = Server::start().await;
    let mut host = Client::listen(&server, "a").await;
    let (mut guest, id) = Client::call(&server, &mut host, "a").await;
    let data: Vec<u8> = (0..MESSAGE_BYTES - 8).map(|number| (number % 251) as u8).collect();
    for _ in 0..3 {
        guest.send(bytes(2, 1, &data)).await;
        assert!(host.next().await == bytes(2, id, &data));
    }
    let mut larger = bytes(2, 1, &data);
    larger.push(0);
    guest.send(larger).await;
    assert_eq!(guest.end().await, Some(CloseCode::Size));
    assert_eq!(host.next().await, head(8, id));
    host.is_well().await;
}

#[tokio::test]
async fn nonsense_is_refused_or_ignored_and_the_connection_goes_on() {
    let server = Server::start().await;
    let mut host = Client::listen(&server, "a").await;
    let mut client = Client::connect(&server, "/unityp2p").await;
    for frame in [vec![], vec![1], vec![9, 9, 9], vec![2, 3, 0, 0, 0, 0, 0, 0], vec![255; 1_000]] {
        client.send(frame).await;
    }
    for length in [u32::MAX, 1 << 31, 1 << 30, 100] {
        for kind in [1, 2, 5, 8] {
            let mut frame = bytes(kind, 1, b"short");
            frame[4..8].copy_from_slice(&length.to_le_bytes());
            client.send(frame).await;
        }
    }
    client.socket.send(Message::text("{}")).await.expect("text is ignored");
    for id in 0..2_000 {
        client.send(bytes(2, id, b"to no one")).await;
    }
    client.is_well().await;
    client.send(text(6, 7, "a")[..9].to_vec()).await;
    assert_eq!(client.next().await, head(7, 7));
    host.is_well().await;
}

#[tokio::test]
async fn what_is_no_websocket_ends_with_its_code_and_the_address_is_free() {
    let server = Server::start().await;
    let mut client = Client::listen(&server, "a").await;
    client.socket.get_mut().write_all(&[0xF3, 0x80, 1, 2, 3, 4]).await.expect("the server reads");
    assert_eq!(client.end().await, Some(CloseCode::Protocol));
    Client::listen(&server, "a").await.is_well().await;
}

#[tokio::test]
async fn a_flood_ends_who_floods_and_disturbs_no_one() {
    let server = Server::start().await;
    let mut host = Client::listen(&server, "a").await;
    let (mut guest, id) = Client::call(&server, &mut host, "a").await;
    let flooder = Client::connect(&server, "/unityp2p").await;
    let (mut writing, mut reading) = flooder.socket.split();
    let flood =
        tokio::spawn(
            async move { while writing.send(Message::binary(vec![202])).await.is_ok() {} },
        );
    let code = loop {
        match within("the end", reading.next()).await {
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break None,
        }
    };
    // What it still sends may destroy the close frame on its way.
    assert!(matches!(code, Some(CloseCode::Policy) | None), "{code:?}");
    within("the flood ends", flood).await.expect("it does");
    assert!(server.metric("voicemesh_unityp2p_over_budget_total").await >= 200);
    guest.send(bytes(2, 1, b"still")).await;
    assert_eq!(host.next().await, bytes(2, id, b"still"));
}

/// Thousands of ids by one client: a host has bounded connections with it, and others get through.
#[tokio::test]
async fn thousands_of_connects_take_a_few_places_and_others_still_connect() {
    let server = Server::start().await;
    let mut host = Client::listen(&server, "a").await;
    let mut greedy = Client::connect(&server, "/unityp2p").await;
    for id in 1..=3_000_i16 {
        greedy.send(text(6, id, "a")).await;
    }
    let mut connected = 0;
    for id in 1..=3_000_i16 {
        let answer = greedy.next().await;
        assert_eq!(answer[2..], id.to_le_bytes());
        connected += usize::from(answer[0] == 6);
    }
    assert_eq!(connected, 8);
    for _ in 0..8 {
        assert_eq!(host.next().await[0], 6);
    }
    Client::call(&server, &mut host, "a").await.0.is_well().await;
}

/// It has a small window, and takes nothing.
#[tokio::test]
async fn a_receiver_that_does_not_read_costs_the_connection_and_then_its_own_socket() {
    let limits = Limits { stuck: Duration::from_secs(1), ..Limits::default() };
    let server = Server::with(Config { unityp2p: limits, ..Config::default() }).await;
    let narrow = TcpSocket::new_v4().expect("a socket");
    narrow.set_recv_buffer_size(8 * 1024).expect("a small buffer");
    let stream = narrow.connect(server.address).await.expect("the server listens");
    let mut host = Client::upgrade(&server, stream, "/unityp2p", None).await.expect("an upgrade");
    host.send(text(3, -1, "a")).await;
    host.next().await;
    let (mut guest, _) = Client::call(&server, &mut host, "a").await;
    for _ in 0..7 {
        guest.send(bytes(2, 1, &[0; 1_000_000])).await;
    }
    assert_eq!(guest.next().await, head(8, 1), "the connection has ended");
    guest.is_well().await;
    let lost = async {
        while server.metric("voicemesh_unityp2p_slow_consumers_total").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the host's socket ends", lost).await;
    Client::listen(&server, "a").await.is_well().await;
}

/// Each holds almost a megabyte of a message that does not end.
#[tokio::test]
async fn unfinished_messages_are_bounded_for_an_address() {
    let server = Server::with(behind_a_proxy()).await;
    let mut header = vec![0x82, 0xFF];
    header.extend((MESSAGE_BYTES as u64).to_be_bytes());
    header.extend([0; 4]);
    let mut clients = Vec::new();
    for _ in 0..24 {
        let mut client = Client::from(&server, "192.0.2.1").await;
        let stream = client.socket.get_mut();
        stream.write_all(&header).await.expect("the server reads");
        within("the server reads", stream.write_all(&[0; 1_000_000])).await.expect("it does");
        clients.push(client);
    }
    let ended = async {
        while server.metric("voicemesh_unfinished_ended_total").await < 8 {
            tokio::task::yield_now().await;
        }
    };
    within("the oldest end", ended).await;
    for client in &mut clients[..8] {
        assert_eq!(client.end().await, Some(CloseCode::Size));
    }
    Client::from(&server, "192.0.2.2").await.is_well().await;
    for mut client in clients.drain(8..) {
        client.socket.get_mut().write_all(&[9; MESSAGE_BYTES - 1_000_000]).await.expect("it stays");
        client.is_well().await;
    }
    assert_eq!(server.metric("voicemesh_unfinished_ended_total").await, 8, "and no other one");
}

/// Far more sockets than an address may have megabytes, by whole messages and by such in fragments.
#[tokio::test]
async fn a_large_message_leaves_nothing_that_counts_once_it_is_whole() {
    let server = Server::with(behind_a_proxy()).await;
    let mut clients = Vec::new();
    for number in 0..40 {
        let mut client = Client::from(&server, "192.0.2.1").await;
        if number % 2 == 0 {
            client.send(vec![9; MESSAGE_BYTES]).await;
        } else {
            for first in [0x02, 0x00, 0x80] {
                let mut frame = vec![first, 0xFF];
                frame.extend(300_000_u64.to_be_bytes());
                frame.extend([0; 4]);
                frame.resize(frame.len() + 300_000, 9);
                let stream = client.socket.get_mut();
                within("the server reads", stream.write_all(&frame)).await.expect("it does");
            }
        }
        client.is_well().await;
        clients.push(client);
    }
    for client in &mut clients {
        client.is_well().await;
        // One half of a pong, which comes with the next message.
        client.socket.get_mut().write_all(&[0x8A, 0x84, 0, 0, 0, 0, 1, 2]).await.expect("it reads");
    }
    for mut client in clients {
        client.socket.get_mut().write_all(&[3, 4]).await.expect("it reads");
        client.is_well().await;
    }
    assert_eq!(server.metric("voicemesh_unfinished_ended_total").await, 0);
    assert_eq!(server.metric("voicemesh_unityp2p_over_budget_total").await, 0);
}

/// A part of a message for each ping, and no pong.
#[tokio::test]
async fn a_client_with_a_slow_upload_is_there_while_its_message_arrives() {
    let limits = Limits { ping_interval: Duration::from_secs(2), ..Limits::default() };
    let server = Server::with(Config { unityp2p: limits, ..Config::default() }).await;
    let mut slow = Client::connect(&server, "/unityp2p").await;
    let mut frame = vec![0x82, 0xFE];
    frame.extend(60_000_u16.to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + 60_000, 9);
    let mut parts = frame.chunks(8);
    slow.socket.get_mut().write_all(parts.next().expect("a part")).await.expect("it reads");
    let _silent = Client::listen(&server, "silent").await;
    while server.metric("voicemesh_unityp2p_lost_total").await == 0 {
        let part = parts.next().expect("the silent one is lost before the message is whole");
        // A part each time the server asks, so that the message outlasts the silent one.
        let mut ping = [0; 64];
        let asked = slow.socket.get_mut().read(&mut ping);
        assert_ne!(within("the server asks", asked).await.expect("it is there"), 0);
        slow.socket.get_mut().write_all(part).await.expect("it reads");
    }
    for part in parts {
        slow.socket.get_mut().write_all(part).await.expect("it reads");
    }
    slow.is_well().await;
    assert_eq!(server.metric("voicemesh_unityp2p_lost_total").await, 1);
}

/// All ask for an upgrade before the first is answered.
#[tokio::test]
async fn upgrades_that_are_asked_for_together_are_limited_as_well() {
    let server = Server::with(Config { max_connections: 3, ..Config::default() }).await;
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(TcpStream::connect(server.address).await.expect("the server listens"));
    }
    let asking =
        streams.into_iter().map(|stream| Client::upgrade(&server, stream, "/unityp2p", None));
    let mut well = 0;
    for client in futures_util::future::join_all(asking).await {
        let Ok(mut client) = client else { continue };
        if client.socket.send(Message::binary(vec![202])).await.is_err() {
            continue;
        }
        match within("an answer", client.socket.next()).await {
            Some(Ok(Message::Binary(frame))) => {
                assert_eq!(frame[..], [202]);
                well += 1;
            }
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Restart),
            Some(Ok(other)) => panic!("{other:?}"),
            Some(Err(_)) | None => {}
        }
        // It keeps its place.
        std::mem::forget(client);
    }
    assert_eq!(well, 3);
}

#[tokio::test]
async fn connections_are_limited_in_all_and_for_an_address_and_shared_with_rooms() {
    let budgets = Budgets { address_connections: 3, ..Budgets::default() };
    let config = Config { budgets, max_connections: 6, ..behind_a_proxy() };
    let server = Server::with(config).await;
    let mut clients = Vec::new();
    let status = |refused: Result<Client, tungstenite::Error>| match refused.err() {
        Some(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("{other:?}"),
    };
    for _ in 0..3 {
        clients.push(Client::from(&server, "192.0.2.1").await);
    }
    let more = Client::try_connect(&server, "/unityp2p", Some("192.0.2.1")).await;
    assert_eq!(status(more), 429);
    let (_person, _) = Person::join(&server, "lobby", "person").await;
    for _ in 0..2 {
        clients.push(Client::from(&server, "192.0.2.2").await);
    }
    let more = Client::try_connect(&server, "/unityp2p", Some("192.0.2.2")).await;
    assert_eq!(status(more), 503);
    assert_eq!(server.metric("voicemesh_unityp2p_sockets").await, 5);
    clients.remove(0).socket.close(None).await.expect("it closes");
    let again = async {
        while server.metric("voicemesh_unityp2p_sockets").await > 4 {
            tokio::task::yield_now().await;
        }
    };
    within("its place is free", again).await;
    Client::from(&server, "192.0.2.1").await.is_well().await;
}

#[tokio::test]
async fn an_idle_host_is_pinged_and_stays_and_one_that_answers_none_is_gone() {
    let limits = Limits { ping_interval: Duration::from_millis(500), ..Limits::default() };
    let server = Server::with(Config { unityp2p: limits, ..Config::default() }).await;
    let _silent = Client::listen(&server, "silent").await;
    let mut host = Client::listen(&server, "host").await;
    let mut pings = 0;
    while pings < 5 {
        let next =
            within("a ping", host.socket.next()).await.expect("it stays").expect("a message");
        pings += usize::from(matches!(next, Message::Ping(_)));
    }
    assert_eq!(server.metric("voicemesh_unityp2p_lost_total").await, 1);
    host.is_well().await;
    Client::listen(&server, "silent").await.is_well().await;
}

#[tokio::test]
async fn a_server_that_stops_closes_all_and_waits_for_them() {
    let server = Server::start().await;
    let mut host = Client::listen(&server, "a").await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(host.end().await, Some(CloseCode::Restart));
    within("it stops", stopping).await.expect("it does").expect("without an error");
}
