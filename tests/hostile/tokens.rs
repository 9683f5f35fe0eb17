//! Access tokens and what they permit, against clients that have none, a forged one, or send more
//! than it permits.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use voicemesh_signaling::token::{TokenRequest, sign};
use voicemesh_wire::packet::{Kind, Recipient, TextData};
use voicemesh_wire::signaling::{
    AccessToken, Capabilities, ClientMessage, ErrorCode, Join, LeaveReason, Moderation,
    ServerMessage,
};
use voicemesh_wire::{PeerId, Permissions};

use crate::client::{Client, Member, Received, is_kind, join_of, run};
use crate::memory::WatchedServer as Server;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Packets that a member without the permission sends: more than the violation budget bears.
const PACKETS: usize = 1000;

/// A server that asks for a token, and the file with its secret.
struct Guarded {
    server: Server,
    file: PathBuf,
}

impl Guarded {
    fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file =
            std::env::temp_dir().join(format!("voicemesh-secret-{}-{number}", std::process::id()));
        std::fs::write(&file, SECRET).expect("a folder for temporary files");
        let secret = file.to_str().expect("a path in UTF-8");
        let server = Server::start(&["--auth-secret", secret, "--trusted-proxy", "127.0.0.1"]);
        Self { server, file }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn request(name: &str, permissions: Permissions) -> TokenRequest {
    TokenRequest {
        room: "guarded".to_owned(),
        name: Some(name.to_owned()),
        permissions: Some(permissions),
        expires_at: now() + 600,
        ..TokenRequest::default()
    }
}

fn with(token: AccessToken, name: &str) -> Join {
    Join { token: Some(token), ..join_of("guarded", name) }
}

async fn enter(guarded: &Guarded, name: &str, permissions: Permissions) -> Member {
    let token = sign(request(name, permissions), SECRET).expect("a token");
    let capabilities = Capabilities { data: true, ..Capabilities::default() };
    let join = Join { capabilities, ..with(token, name) };
    Member::enter(Client::connect(&guarded.server).await, join).await
}

#[test]
fn a_forged_token_opens_nothing_and_says_nothing_of_the_secret() {
    let guarded = Guarded::start();
    let good = sign(request("a", Permissions::ALL), SECRET).expect("a token");
    let (head, signature) = good.as_str().rsplit_once('.').expect("three parts");
    let claims = head.split('.').nth(1).expect("claims");
    let changed = if signature.starts_with('A') { 'B' } else { 'A' };
    // {"alg":"none"}
    let unsigned = "eyJhbGciOiJub25lIn0";
    let old =
        sign(TokenRequest { expires_at: now() - 3600, ..request("a", Permissions::ALL) }, SECRET);
    let other =
        sign(TokenRequest { room: "other".to_owned(), ..request("a", Permissions::ALL) }, SECRET);
    let foreign = sign(request("a", Permissions::ALL), b"another secret of sufficient length!");
    let cases: Vec<(Option<String>, ErrorCode)> = vec![
        (None, ErrorCode::TokenRequired),
        (Some(String::new()), ErrorCode::TokenRequired),
        (Some("..".to_owned()), ErrorCode::TokenInvalid),
        (Some(format!("{unsigned}.{claims}.")), ErrorCode::TokenInvalid),
        (Some(format!("{unsigned}.{claims}.{signature}")), ErrorCode::TokenInvalid),
        (Some(format!("{head}.")), ErrorCode::TokenInvalid),
        (Some(format!("{head}.{changed}{}", &signature[1..])), ErrorCode::TokenInvalid),
        (Some(foreign.expect("a token").as_str().to_owned()), ErrorCode::TokenInvalid),
        (Some(other.expect("a token").as_str().to_owned()), ErrorCode::TokenInvalid),
        (Some(old.expect("a token").as_str().to_owned()), ErrorCode::TokenExpired),
        (Some("x".repeat(5000)), ErrorCode::BadField),
    ];
    run(async {
        for (token, code) in cases {
            let mut client = Client::connect(&guarded.server).await;
            let join = Join { token: token.map(AccessToken::from), ..join_of("guarded", "eve") };
            client.say(&ClientMessage::Join(join)).await;
            assert_eq!(client.end().await, (Some(code.clone()), Some(1008)), "{code}");
        }
        enter(&guarded, "ana", Permissions::default()).await;
    });
}

/// proves: B-19
#[test]
fn a_member_without_a_permission_reaches_no_one_whatever_it_sends_and_is_not_ended_for_it() {
    let guarded = Guarded::start();
    run(async {
        let mut listener = enter(&guarded, "bo", Permissions::default()).await;
        let muted = Permissions { listen: true, ..Permissions::NONE };
        let mut eve = enter(&guarded, "eve", muted).await;
        let to = listener.joined.client;
        for _ in 0..PACKETS {
            let voice =
                eve.relay(Kind::ServerRelayUnreliable, &[to], &eve.inner(Kind::VoiceData, 60));
            eve.client.packet(&voice).await;
        }
        for kind in [Kind::VoiceCopies, Kind::DataMessage, Kind::DataSegment] {
            for relay in [Kind::ServerRelayUnreliable, Kind::ServerRelayReliable] {
                let packet = eve.relay(relay, &[to], &eve.inner(kind, 60));
                eve.client.packet(&packet).await;
            }
        }
        let text =
            TextData { sender: eve.joined.client, recipient: Recipient::Client(to), text: "hello" };
        eve.client.packet(&text.encode(eve.session)).await;
        eve.client.handled(1).await;
        listener.client.say(&ClientMessage::Ping { token: 2 }).await;
        let mut came = 0;
        listener
            .client
            .until("a pong", |received| {
                let kinds = [
                    Kind::VoiceData,
                    Kind::VoiceCopies,
                    Kind::DataMessage,
                    Kind::DataSegment,
                    Kind::TextData,
                ];
                came += kinds.iter().filter(|kind| is_kind(received, **kind).is_some()).count();
                matches!(
                    received,
                    Received::Message(voicemesh_wire::signaling::ServerMessage::Pong { .. })
                )
                .then_some(())
            })
            .await;
        assert_eq!(came, 0, "nothing of it reached the listener");
        // And it is sent no speech if it may not listen.
        let mut deaf =
            enter(&guarded, "kim", Permissions { speak: true, ..Permissions::NONE }).await;
        let to = deaf.joined.client;
        for _ in 0..10 {
            let voice = listener.relay(
                Kind::ServerRelayUnreliable,
                &[to],
                &listener.inner(Kind::VoiceData, 60),
            );
            listener.client.packet(&voice).await;
        }
        let data = listener.relay(
            Kind::ServerRelayUnreliable,
            &[to],
            &listener.inner(Kind::DataMessage, 60),
        );
        listener.client.packet(&data).await;
        let mut voices = 0;
        deaf.client
            .until("the data behind the speech", |received| {
                voices += is_kind(received, Kind::VoiceData).map_or(0, |()| 1);
                is_kind(received, Kind::DataMessage)
            })
            .await;
        assert_eq!(voices, 0);
    });
}

/// A token about an account.
fn account(subject: &str, room: &str) -> AccessToken {
    let subject = Some(subject.to_owned());
    sign(
        TokenRequest {
            subject,
            name: None,
            room: room.to_owned(),
            ..request("", Permissions::default())
        },
        SECRET,
    )
    .expect("a token")
}

/// proves: B-19
#[test]
fn an_account_is_one_peer_at_a_time_in_all_rooms() {
    let guarded = Guarded::start();
    run(async {
        let enter = async |room: &str, join: Join| {
            let token = Some(account("ada", room));
            let join = Join { token, room: room.to_owned(), ..join };
            Member::enter(Client::connect(&guarded.server).await, join).await
        };
        let replaced = async |member: &mut Member| {
            let picked = member.client.until("that it is replaced", |received| {
                matches!(received, Received::Message(ServerMessage::Replaced)).then_some(())
            });
            picked.await;
            member.client.end().await.1
        };
        let mut red = enter("red", join_of("red", "ada")).await;
        let mut blue = enter("blue", join_of("blue", "ada")).await;
        assert_ne!(red.joined.you, blue.joined.you);
        assert_eq!(replaced(&mut red).await, Some(1008));
        // One peer id in two rooms is one peer.
        let mut green = enter("green", join_of("blue", "ada")).await;
        assert_eq!(green.joined.you, blue.joined.you);
        blue.client.handled(1).await;
        // Back in the first room, it leaves both others.
        let mut red = enter("red", join_of("red", "ada")).await;
        for former in [&mut blue, &mut green] {
            assert_eq!(replaced(former).await, Some(1008));
        }
        red.client.handled(1).await;
        drop(red);
        enter("blue", join_of("blue", "ada")).await;
    });
}

/// Over its links it would be heard in two rooms.
#[test]
fn an_account_that_was_lost_in_one_room_has_no_links_there_once_it_is_in_another() {
    let guarded = Guarded::start();
    run(async {
        let enter = async |subject: &str, room: &str| {
            let join = Join { token: Some(account(subject, room)), ..join_of(room, subject) };
            Member::enter(Client::connect(&guarded.server).await, join).await
        };
        let leaves = async |member: &mut Member, who: PeerId| {
            let left = member.client.until("that it leaves", |received| match received {
                Received::Message(ServerMessage::PeerLeft { peer, reason }) if *peer == who => {
                    Some(*reason)
                }
                _ => None,
            });
            left.await
        };
        let mut ben = enter("ben", "red").await;
        let ada = enter("ada", "red").await;
        let peer = ada.joined.you;
        drop(ada);
        assert_eq!(leaves(&mut ben, peer).await, LeaveReason::Lost);
        let mut ada = enter("ada", "blue").await;
        assert_eq!(leaves(&mut ben, peer).await, LeaveReason::Kicked);
        ada.client.handled(1).await;
        // It may come back.
        let ada = enter("ada", "red").await;
        assert_eq!(ada.joined.you, peer);
    });
}

async fn refused(guarded: &Guarded, address: &str, join: Join) -> Option<ErrorCode> {
    Client::connect_from(&guarded.server, address).await.refusal(join).await
}

/// proves: B-19
#[test]
fn a_ban_binds_the_account_whatever_its_peer_id_its_address_and_the_spelling_of_the_room() {
    const HERE: &str = "192.0.2.7";
    let guarded = Guarded::start();
    run(async {
        let may_moderate =
            sign(TokenRequest { name: None, ..request("", Permissions::ALL) }, SECRET)
                .expect("a token");
        let moderator = with(may_moderate, "ana");
        let mut moderator =
            Member::enter(Client::connect_from(&guarded.server, "192.0.2.1").await, moderator)
                .await;
        let heckler = with(account("eve", "guarded"), "eve");
        let mut heckler =
            Member::enter(Client::connect_from(&guarded.server, HERE).await, heckler).await;
        let action = Moderation::Ban { peer: heckler.joined.you, seconds: 60 };
        moderator.client.say(&ClientMessage::Moderate { request: Some(1), action }).await;
        assert_eq!(heckler.client.end().await.0, Some(ErrorCode::Banned));

        for (address, name, room) in [
            (HERE, "eve", "guarded"),
            (HERE, "another peer id", "guarded"),
            ("198.51.100.1", "a third", "guarded"),
            ("198.51.100.2", "a fourth", " GUARDED\u{200b}"),
        ] {
            let join = Join { room: room.to_owned(), ..with(account("eve", "GUARDED"), name) };
            assert_eq!(refused(&guarded, address, join).await, Some(ErrorCode::Banned), "{name}");
        }
        // With its ticket, and with a token that says nothing of an account: the peer id is bound
        // as well.
        let by_ticket =
            Join { ticket: heckler.joined.ticket.clone(), run: 2, ..join_of("guarded", "eve") };
        assert_eq!(refused(&guarded, HERE, by_ticket).await, Some(ErrorCode::Banned));
        let anonymous = with(
            sign(TokenRequest { name: None, ..request("", Permissions::default()) }, SECRET)
                .expect("a token"),
            "eve",
        );
        assert_eq!(refused(&guarded, HERE, anonymous).await, Some(ErrorCode::Banned));
        // Another account from the same address.
        assert_eq!(refused(&guarded, HERE, with(account("bo", "guarded"), "bo")).await, None);
    });
}
