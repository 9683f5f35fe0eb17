//! Names that are made to be taken for others: of groups, of rooms, of people.

use std::collections::BTreeMap;

use voicemesh_wire::packet::{GroupText, Kind, TextData};
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, Join, Moderation, Password, ServerMessage,
};
use voicemesh_wire::{GroupId, RoomName};

use crate::client::{Client, Member, Received, is_kind, join_of, run};
use crate::memory::WatchedServer as Server;

/// A name with the id of `name`, as a squatter finds it: one in 65,536 has.
fn made_for(name: &str) -> String {
    let wanted = GroupId::of(name);
    (0..4_000_000_u32)
        .map(|n| format!("x{n}"))
        .find(|made| GroupId::of(made) == wanted)
        .expect("a name with this id")
}

async fn member(server: &Server, name: &str) -> Member {
    let mut join = join_of("texts", name);
    join.capabilities.group_text = true;
    Member::enter(Client::connect(server).await, join).await
}

/// How many texts of each kind came before the answer to a ping.
async fn texts(member: &mut Member, token: u32) -> BTreeMap<Kind, usize> {
    member.client.say(&ClientMessage::Ping { token }).await;
    let mut found = BTreeMap::new();
    member
        .client
        .until("a pong", |received| {
            for kind in [Kind::TextData, Kind::GroupText] {
                if is_kind(received, kind).is_some() {
                    *found.entry(kind).or_default() += 1;
                }
            }
            let pong = ServerMessage::Pong { token };
            matches!(received, Received::Message(message) if *message == pong).then_some(())
        })
        .await;
    found
}

#[test]
fn texts_reach_only_those_who_listen_to_the_very_same_name() {
    let server = Server::start(&[]);
    run(async {
        let made = made_for("Ops");
        // First the one who would keep the name from the others.
        let mut squatter = member(&server, "squatter").await;
        squatter.listen(&["Global", &made]).await;
        squatter.client.handled(1).await;
        let mut friend = member(&server, "friend").await;
        friend.listen(&["Global", "Ops"]).await;
        friend.client.handled(1).await;

        let mut author = member(&server, "author").await;
        let by_name = GroupText { sender: author.joined.client, group: "Ops", text: "hello" };
        let by_id: TextData<'_> = by_name.by_id();
        author.client.packet(&by_name.encode(author.session)).await;
        author.client.packet(&by_id.encode(author.session)).await;
        author.client.handled(2).await;
        assert_eq!(texts(&mut friend, 3).await, BTreeMap::from([(Kind::GroupText, 1)]));
        assert_eq!(texts(&mut squatter, 3).await, BTreeMap::new());
    });
}

/// proves: U-02
#[test]
fn spellings_of_a_room_meet_and_blank_names_are_refused() {
    let server = Server::start(&[]);
    run(async {
        let first = Member::join(&server, "Caf\u{e9}", "first").await;
        let second = Member::join(&server, " cAFE\u{301}\u{200b}", "  second\n").await;
        assert_eq!(second.joined.session, first.joined.session);
        assert_eq!(
            (first.joined.room.as_str(), second.joined.room.as_str()),
            ("Caf\u{e9}", "cAF\u{c9}")
        );
        let third = Member::join(&server, "caf\u{e9}", "th\u{202e}ird").await;
        let names: Vec<&str> = third.joined.peers.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
        for (room, name, code) in [
            ("room", "\u{3164}", ErrorCode::BadName),
            ("room", "", ErrorCode::BadName),
            ("room", "a\u{1b}b", ErrorCode::BadName),
            ("\u{2800} ", "name", ErrorCode::BadRoom),
            ("", "name", ErrorCode::BadRoom),
        ] {
            let mut client = Client::connect(&server).await;
            client.say(&ClientMessage::Join(join_of(room, name))).await;
            assert_eq!(client.end().await, (Some(code), Some(1008)), "{room:?} {name:?}");
        }
    });
}

/// A join as a client makes it: its proof is about the room's key.
fn spelled(room: &str, name: &str) -> Join {
    Join { room: room.to_owned(), ..join_of(&RoomName::key_of(room), name) }
}

async fn refused(server: &Server, join: Join) -> Option<ErrorCode> {
    Client::connect(server).await.refusal(join).await
}

async fn decide(member: &mut Member, action: Moderation) {
    member.client.say(&ClientMessage::Moderate { request: Some(1), action }).await;
    let answer = member.client.until("an answer", |received| match received {
        Received::Message(ServerMessage::Moderated { request: 1 }) => Some(()),
        Received::Message(ServerMessage::Error { code, message, .. }) => {
            panic!("{code}: {message}")
        }
        _ => None,
    });
    answer.await;
}

#[test]
fn what_is_decided_in_a_room_holds_for_every_spelling_of_its_name() {
    const SECRET: [&str; 4] =
        ["--owner-after", "0", "--secret", "a secret of the operator's tests"];
    let server = Server::start(&SECRET);
    run(async {
        let spellings = ["Caf\u{e9}", "CAFE\u{301}", " caf\u{e9}\u{200b}"];
        let mut owner =
            Member::enter(Client::connect(&server).await, spelled(spellings[0], "ana")).await;
        let eve = Member::enter(Client::connect(&server).await, spelled(spellings[1], "eve")).await;
        decide(&mut owner, Moderation::Ban { peer: eve.joined.you, seconds: 600 }).await;
        decide(&mut owner, Moderation::SetPassword { password: Some("sesame".into()) }).await;
        for room in spellings {
            assert_eq!(
                refused(&server, spelled(room, "eve")).await,
                Some(ErrorCode::Banned),
                "{room:?}"
            );
            assert_eq!(
                refused(&server, spelled(room, "bo")).await,
                Some(ErrorCode::PasswordRequired),
                "{room:?}"
            );
            let named = Join { password: Some(Password::from("sesame")), ..spelled(room, room) };
            assert_eq!(refused(&server, named).await, None, "{room:?}");
        }
        let action = Moderation::SetPassword { password: Some("another".into()) };
        owner.client.say(&ClientMessage::Moderate { request: None, action }).await;
        let ticket = owner.client.until("a ticket with the password", |received| match received {
            Received::Message(ServerMessage::Ticket { ticket }) => Some(ticket.clone()),
            _ => None,
        });
        let ticket = ticket.await;
        drop((owner, eve));

        // Password and right come back by a ticket under another spelling, also after a restart.
        for server in [server, Server::start(&SECRET)] {
            for room in [spellings[1], spellings[2]] {
                let back = Join { ticket: Some(ticket.clone()), run: 7, ..spelled(room, "ana") };
                let back = Member::enter(Client::connect(&server).await, back).await;
                assert!(back.joined.permissions.moderate, "{room:?}");
                assert_eq!(
                    refused(&server, spelled(spellings[0], "bo")).await,
                    Some(ErrorCode::PasswordRequired)
                );
            }
        }
    });
}

/// Messages with a name that is slow to look at.
const SLOW_NAMES: usize = 150;

#[test]
fn names_of_any_length_take_no_time_from_others() {
    let server = Server::start(&[]);
    run(async {
        let mut witness = member(&server, "witness").await;
        let mut eve = member(&server, "eve").await;
        // Non-joiners behind marks: whether each is kept depends on the letter before all marks.
        let name = format!("{}{}", "\u{301}".repeat(14_000), "\u{200c}".repeat(10_000));
        let join = ClientMessage::Join(join_of("texts", &name));
        let mut is_there = true;
        for _ in 0..SLOW_NAMES {
            is_there = is_there && eve.client.say_if_there(&join).await;
        }
        witness.client.handled(1).await;
        // All that she said is looked at: she is answered, or ended because it was too much for her
        // budget.
        if is_there && eve.client.say_if_there(&ClientMessage::Ping { token: 2 }).await {
            let pong = ServerMessage::Pong { token: 2 };
            let is_answer = |received: &Received| match received {
                Received::Message(message) => *message == pong,
                end => matches!(end, Received::Closed(_) | Received::Cut),
            };
            eve.client
                .until("a pong or the end", |received| is_answer(received).then_some(()))
                .await;
        }
    });
}
