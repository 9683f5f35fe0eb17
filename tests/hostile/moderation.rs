//! Who may moderate, and that it holds against programs that ignore it.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use tokio::time::interval;
use voicemesh_tests::process::binary;
use voicemesh_wire::SessionId;
use voicemesh_wire::packet::{GroupText, HandshakeRequest, Kind, Recipient, TextData};
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, Join, LeaveReason, Moderation, OwnerRightState, ServerMessage,
};

use crate::client::{CODEC, Client, Member, Received, is_kind, join_of, run};
use crate::memory::WatchedServer as Server;

const SECRET: [&str; 2] = ["--secret", "a secret of the operator's tests"];
/// Between two tries of a stranger to be the first after a restart.
const POLL: Duration = Duration::from_millis(3);
/// How often a stranger comes and goes while the server starts.
const POLLS: usize = 40;

/// How a decision is answered.
async fn decide(member: &mut Member, action: Moderation) -> Option<ErrorCode> {
    member.client.say(&ClientMessage::Moderate { request: Some(5), action }).await;
    let answer = member.client.until("an answer", |received| match received {
        Received::Message(ServerMessage::Moderated { request: 5 }) => Some(None),
        Received::Message(ServerMessage::Error { code, request: Some(5), .. }) => {
            Some(Some(code.clone()))
        }
        _ => None,
    });
    answer.await
}

#[test]
fn a_member_who_is_muted_or_put_out_is_not_heard_whatever_its_program_does() {
    run(async {
        let server = Server::start(&["--owner-after", "0"]);
        let mut owner = Member::join(&server, "stage", "ana").await;
        assert!(owner.joined.permissions.moderate);
        let mut heckler = Member::join(&server, "stage", "eve").await;
        let mut listener = Member::join(&server, "stage", "bo").await;
        let peer = heckler.joined.you;
        assert_eq!(
            decide(&mut heckler, Moderation::Kick { peer: owner.joined.you }).await,
            Some(ErrorCode::NotModerator)
        );
        assert_eq!(decide(&mut owner, Moderation::Mute { peer }).await, None);
        let speech = heckler.inner(Kind::VoiceData, 60);
        let relayed =
            heckler.relay(Kind::ServerRelayUnreliable, &[listener.joined.client], &speech);
        for _ in 0..20 {
            heckler.client.packet(&relayed).await;
        }
        heckler.client.handled(9).await;
        assert_eq!(decide(&mut owner, Moderation::Ban { peer, seconds: 60 }).await, None);
        let mut heard = 0;
        let reason = loop {
            match listener.client.next().await {
                Received::Message(ServerMessage::PeerLeft { peer: left, reason })
                    if left == peer =>
                {
                    break reason;
                }
                Received::Packet(packet) => {
                    heard +=
                        usize::from(is_kind(&Received::Packet(packet), Kind::VoiceData).is_some());
                }
                ended @ (Received::Closed(_) | Received::Cut) => panic!("{ended:?}"),
                Received::Message(_) | Received::Ping | Received::Pong(_) => {}
            }
        };
        assert_eq!((heard, reason), (0, LeaveReason::Kicked));
        assert_eq!(heckler.client.end().await.0, Some(ErrorCode::Banned));
        let mut again = Client::connect(&server).await;
        let ticket = heckler.joined.ticket.clone();
        again.say(&ClientMessage::Join(Join { ticket, run: 2, ..join_of("stage", "eve") })).await;
        assert_eq!(again.end().await.0, Some(ErrorCode::Banned), "with its ticket as well");
    });
}

/// Which of its written messages the server has refused, until it answers a question.
async fn refused_texts(client: &mut Client, token: u32) -> Vec<Option<u32>> {
    client.say(&ClientMessage::Ping { token }).await;
    let mut refused = Vec::new();
    let answered = client.until("a pong", |received| match received {
        Received::Message(ServerMessage::Error {
            code: ErrorCode::NotPermitted,
            fatal: false,
            text,
            ..
        }) => {
            refused.push(*text);
            None
        }
        Received::Message(ServerMessage::Pong { token: answer }) => {
            (*answer == token).then_some(())
        }
        _ => None,
    });
    answered.await;
    refused
}

#[test]
fn who_is_held_comes_back_without_a_refusal_and_writes_to_its_groups_and_to_moderators_only() {
    run(async {
        let server = Server::start(&["--owner-after", "0"]);
        let mut owner = Member::join(&server, "stage", "ana").await;
        let heckler = Member::join(&server, "stage", "eve").await;
        let mut listener = Member::join(&server, "stage", "bo").await;
        let peer = heckler.joined.you;
        let groups = vec!["Red".to_owned()];
        assert_eq!(
            decide(&mut owner, Moderation::Move { peer, groups: groups.clone() }).await,
            None
        );
        drop(heckler);

        let mut client = Client::connect(&server).await;
        client.say(&ClientMessage::Join(Join { run: 2, ..join_of("stage", "eve") })).await;
        client.packet(&HandshakeRequest { codec: CODEC, name: String::new() }.encode()).await;
        let joined = client.until("joined", |received| match received {
            Received::Message(ServerMessage::Joined(joined)) => Some(joined.clone()),
            _ => None,
        });
        let joined = joined.await;
        assert_eq!(joined.held_in, groups);
        client
            .until("the handshake's answer", |received| is_kind(received, Kind::HandshakeResponse))
            .await;
        client.say(&ClientMessage::Ping { token: 1 }).await;
        let answered = client.until("a pong", |received| {
            assert_eq!(
                is_kind(received, Kind::DeltaClientState),
                None,
                "it is refused what it did not ask for"
            );
            matches!(received, Received::Message(ServerMessage::Pong { token: 1 })).then_some(())
        });
        answered.await;

        let session = SessionId::new(joined.session).expect("a session");
        let mut heckler = Member { client, joined, session };
        heckler.listen(&["Red"]).await;
        let sender = heckler.joined.client;
        let to = |recipient, text| TextData { sender, recipient, text }.encode(session);
        let (bo, ana) =
            (Recipient::Client(listener.joined.client), Recipient::Client(owner.joined.client));
        heckler.client.packet(&to(bo, "heckling")).await;
        heckler
            .client
            .packet(&GroupText { sender, group: "Global", text: "heckling" }.encode(session))
            .await;
        heckler
            .client
            .packet(&GroupText { sender, group: "Red", text: "hello" }.encode(session))
            .await;
        heckler.client.packet(&to(ana, "why?")).await;
        assert_eq!(refused_texts(&mut heckler.client, 2).await, [Some(1), Some(2)]);
        owner.client.until("a text", |received| is_kind(received, Kind::TextData)).await;
        listener.client.say(&ClientMessage::Ping { token: 3 }).await;
        let answered = listener.client.until("a pong", |received| {
            assert_eq!(is_kind(received, Kind::TextData), None);
            matches!(received, Received::Message(ServerMessage::Pong { token: 3 })).then_some(())
        });
        answered.await;
        listener.listen(&["Red", "Global"]).await;
        listener.client.handled(4).await;
        heckler.client.packet(&to(bo, "hello")).await;
        listener.client.until("a text", |received| is_kind(received, Kind::TextData)).await;
        assert!(refused_texts(&mut heckler.client, 5).await.is_empty());
    });
}

#[test]
fn a_stranger_who_polls_during_a_restart_and_one_who_waits_for_the_owner_to_go_can_moderate_nothing()
 {
    run(async {
        let before = Server::start(&[&SECRET[..], &["--owner-after", "0"]].concat());
        let owner = Member::join(&before, "stage", "ana").await;
        let ticket = owner.joined.ticket.clone();
        drop((owner, before));

        let after = Server::start(&SECRET);
        for _ in 0..POLLS {
            let polled = Member::join(&after, "stage", "eve").await;
            assert!(!polled.joined.permissions.moderate);
        }
        let mut stranger = Member::join(&after, "stage", "eve").await;
        assert_eq!(stranger.joined.owner_right, OwnerRightState::Later);
        assert_eq!(decide(&mut stranger, Moderation::Lock).await, Some(ErrorCode::NotModerator));
        let back = Join { ticket, run: 2, ..join_of("stage", "ana") };
        let mut owner = Member::enter(Client::connect(&after).await, back).await;
        assert!(owner.joined.permissions.moderate);
        assert_eq!(decide(&mut owner, Moderation::Unlock).await, None);
        let id = owner.joined.you;
        drop(owner);
        let left = stranger.client.until("the owner goes", |received| match received {
            Received::Message(ServerMessage::PeerLeft { peer, .. }) if *peer == id => Some(()),
            _ => None,
        });
        left.await;
        for action in [Moderation::Lock, Moderation::SetPassword { password: Some("mine".into()) }]
        {
            assert_eq!(decide(&mut stranger, action).await, Some(ErrorCode::NotModerator));
        }
    });
}

#[test]
fn a_stranger_who_polls_during_a_restart_and_waits_moderates_nothing_once_the_former_owner_is_back()
{
    run(async {
        let before = Server::start(&[&SECRET[..], &["--owner-after", "0"]].concat());
        let owner = Member::join(&before, "stage", "ana").await;
        let (ticket, address) = (owner.joined.ticket.clone(), before.address);
        drop((owner, before));

        let anew = tokio::task::spawn_blocking(move || {
            let command = Command::new(binary("voicemesh-signaling"));
            let arguments = [&SECRET[..], &["--owner-after", "1"]].concat();
            voicemesh_tests::room::Server::start_by(
                command,
                Ipv4Addr::LOCALHOST,
                address.port(),
                &arguments,
            )
        });
        let first_in = async {
            let mut polls = interval(POLL);
            loop {
                polls.tick().await;
                if let Ok(client) = Client::try_connect(address).await {
                    return Member::enter(client, join_of("stage", "eve")).await;
                }
            }
        };
        let (mut stranger, after) = tokio::join!(first_in, anew);
        let after = Server::of(after.expect("the server starts"));
        let you = stranger.joined.you;
        let right = stranger.client.until("the right", |received| match received {
            Received::Message(ServerMessage::Permissions { peer, permissions }) if *peer == you => {
                permissions.moderate.then_some(())
            }
            _ => None,
        });
        right.await;
        assert_eq!(decide(&mut stranger, Moderation::Lock).await, None);
        let action = Moderation::SetPassword { password: Some("mine".into()) };
        assert_eq!(decide(&mut stranger, action).await, None);

        let back = Join { ticket, run: 2, ..join_of("stage", "ana") };
        let mut owner = Member::enter(Client::connect(&after).await, back).await;
        assert!(owner.joined.permissions.moderate && !owner.joined.locked);
        assert_eq!(
            stranger.client.end().await.0,
            Some(ErrorCode::Kicked),
            "it is not overheard behind its password"
        );
        let again =
            Join { ticket: stranger.joined.ticket.clone(), run: 2, ..join_of("stage", "eve") };
        let mut stranger = Member::enter(Client::connect(&after).await, again).await;
        let peer = owner.joined.you;
        for action in
            [Moderation::Lock, Moderation::Kick { peer }, Moderation::Ban { peer, seconds: 60 }]
        {
            assert_eq!(decide(&mut stranger, action).await, Some(ErrorCode::NotModerator));
        }
        assert_eq!(decide(&mut owner, Moderation::Kick { peer: you }).await, None);
    });
}

#[test]
fn in_an_emptied_room_bans_hold_and_the_right_is_that_of_who_made_it_anew() {
    run(async {
        let server = Server::start(&["--owner-after", "0"]);
        let mut owner = Member::join(&server, "stage", "ana").await;
        let banned = Member::join(&server, "stage", "eve").await;
        let action = Moderation::Ban { peer: banned.joined.you, seconds: 600 };
        assert_eq!(decide(&mut owner, action).await, None);
        owner.client.say(&ClientMessage::Leave).await;
        owner.client.end().await;
        let again =
            || Join { ticket: banned.joined.ticket.clone(), run: 2, ..join_of("stage", "eve") };
        assert_eq!(Client::connect(&server).await.refusal(again()).await, Some(ErrorCode::Banned));

        let newcomer = Member::join(&server, "stage", "mal").await;
        assert!(newcomer.joined.permissions.moderate);
        let back = Join { ticket: owner.joined.ticket.clone(), run: 2, ..join_of("stage", "ana") };
        let mut owner = Member::enter(Client::connect(&server).await, back).await;
        assert!(!owner.joined.permissions.moderate, "its right ended with the empty room");
        let action = Moderation::Kick { peer: newcomer.joined.you };
        assert_eq!(decide(&mut owner, action).await, Some(ErrorCode::NotModerator));
        assert_eq!(Client::connect(&server).await.refusal(again()).await, Some(ErrorCode::Banned));
    });
}

#[test]
fn a_ban_binds_the_address_of_who_comes_back_as_another_person_in_that_room_alone() {
    run(async {
        let server = Server::start(&["--owner-after", "0", "--trusted-proxy", "127.0.0.1"]);
        let from = |address| Client::connect_from(&server, address);
        let mut owner = Member::enter(from("203.0.113.1").await, join_of("stage", "ana")).await;
        for (name, address, same, other) in [
            ("eve", "203.0.113.9", "203.0.113.9", "203.0.113.10"),
            ("mal", "2001:db8:1:2::5", "2001:db8:1:2:9:8:7:6", "2001:db8:1:3::5"),
        ] {
            let banned = Member::enter(from(address).await, join_of("stage", name)).await;
            let action = Moderation::Ban { peer: banned.joined.you, seconds: 600 };
            assert_eq!(decide(&mut owner, action).await, None);
            let renamed = |room| join_of(room, &format!("{name} the second"));
            assert_eq!(from(same).await.refusal(renamed("stage")).await, Some(ErrorCode::Banned));
            assert_eq!(from(same).await.refusal(renamed("pit")).await, None);
            assert_eq!(from(other).await.refusal(renamed("stage")).await, None);
            let back = join_of("stage", name);
            assert_eq!(from(other).await.refusal(back).await, Some(ErrorCode::Banned), "itself");
        }
    });
}

#[test]
fn a_moderator_sets_the_password_and_newcomers_need_it() {
    run(async {
        let server = Server::start(&["--owner-after", "0"]);
        let mut owner = Member::join(&server, "stage", "ana").await;
        let action = Moderation::SetPassword { password: Some("sesame".into()) };
        assert_eq!(decide(&mut owner, action).await, None);
        let mut newcomer = Client::connect(&server).await;
        newcomer.say(&ClientMessage::Join(join_of("stage", "bo"))).await;
        assert_eq!(newcomer.end().await.0, Some(ErrorCode::PasswordRequired));
        let named = Join { password: Some("sesame".into()), ..join_of("stage", "bo") };
        assert_eq!(
            Member::enter(Client::connect(&server).await, named).await.joined.peers.len(),
            1
        );
    });
}

#[test]
fn after_a_restart_who_left_the_room_empty_before_takes_nothing_from_who_made_it_anew() {
    run(async {
        let before = Server::start(&[&SECRET[..], &["--owner-after", "0"]].concat());
        let mut former = Member::join(&before, "stage", "mal").await;
        assert!(former.joined.permissions.moderate);
        former.client.say(&ClientMessage::Leave).await;
        former.client.end().await;
        let owner = Member::join(&before, "stage", "ana").await;
        assert!(owner.joined.permissions.moderate);
        let (former, owner) = (again_as("mal", &former), again_as("ana", &owner));
        drop(before);

        let after = Server::start(&SECRET);
        let mut former = Member::enter(Client::connect(&after).await, former).await;
        let mut owner = Member::enter(Client::connect(&after).await, owner).await;
        assert!(owner.joined.permissions.moderate);
        let kick = |member: &Member| Moderation::Kick { peer: member.joined.you };
        let of_owner = kick(&owner);
        assert_eq!(decide(&mut former, of_owner).await, Some(ErrorCode::NotModerator));
        assert_eq!(decide(&mut owner, kick(&former)).await, None);
    });
}

/// What a member shows when it comes again by its ticket.
fn again_as(name: &str, member: &Member) -> Join {
    Join { ticket: member.joined.ticket.clone(), run: 2, ..join_of("stage", name) }
}

#[test]
fn a_lock_is_passed_by_members_of_this_room_who_were_not_put_out() {
    run(async {
        let server = Server::start(&["--owner-after", "0"]);
        // Those who were in a room of the name before.
        let mut former = Member::join(&server, "stage", "first").await;
        let mut yesterday = Member::join(&server, "stage", "yesterday").await;
        for member in [&mut former, &mut yesterday] {
            member.client.say(&ClientMessage::Leave).await;
            member.client.end().await;
        }
        let mut owner = Member::join(&server, "stage", "ana").await;
        let friend = Member::join(&server, "stage", "bo").await;
        let heckler = Member::join(&server, "stage", "eve").await;
        let action = Moderation::Kick { peer: heckler.joined.you };
        assert_eq!(decide(&mut owner, action).await, None);
        assert_eq!(decide(&mut owner, Moderation::Lock).await, None);
        for (name, member) in [("eve", &heckler), ("yesterday", &yesterday)] {
            let refusal = Client::connect(&server).await.refusal(again_as(name, member)).await;
            assert_eq!(refusal, Some(ErrorCode::RoomLocked), "{name}");
        }
        let join = again_as("bo", &friend);
        drop(friend);
        assert_eq!(Client::connect(&server).await.refusal(join).await, None);
    });
}
