//! Rooms with passwords over real sockets.

use std::time::Instant;

use crate::common::{PATIENCE, Person, Received, Server, join_of, within};
use tokio_tungstenite::tungstenite::Message;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, Joined, Password, ServerMessage};

fn with_password(room: &str, name: &str, password: &str) -> Join {
    Join { password: Some(Password::from(password)), ..join_of(room, name) }
}

/// In, or why not and when to come back.
async fn try_join(
    server: &Server,
    join: Join,
) -> Result<(Person, Joined), (ErrorCode, Option<u64>)> {
    let mut person = Person::connect(server).await;
    person.say(&ClientMessage::Join(join)).await;
    match person.next().await {
        Received::Message(ServerMessage::Joined(joined)) => Ok((person, joined)),
        Received::Message(ServerMessage::Error { code, fatal: true, retry_after_ms, .. }) => {
            Err((code, retry_after_ms))
        }
        other => panic!("{other:?}"),
    }
}

async fn expect_joined(person: &mut Person) {
    let pick = |message| match message {
        ServerMessage::Joined(_) => Some(()),
        other => panic!("{other:?}"),
    };
    person.expect("joined", pick).await;
}

/// proves: S-16
#[tokio::test]
async fn a_wrong_password_is_refused_and_costs_a_wait_in_which_none_is_hashed() {
    let server = Server::start().await;
    let (mut ana, _) =
        try_join(&server, with_password("lobby", "ana", "sesame")).await.expect("the first");
    let (bo, met) =
        try_join(&server, with_password("lobby", "bo", "sesame")).await.expect("the same password");
    assert_eq!(met.peers.len(), 1);
    assert_eq!(ana.expect_joined().await.peer, met.you);
    let none = try_join(&server, join_of("lobby", "cy")).await;
    assert_eq!(none.err(), Some((ErrorCode::PasswordRequired, None)));
    assert_eq!(
        server.metric("voicemesh_password_hashes_total").await,
        2,
        "to name none costs nothing"
    );

    let wrong = try_join(&server, with_password("lobby", "cy", "guess")).await;
    assert_eq!(wrong.err(), Some((ErrorCode::PasswordWrong, Some(1_000))));
    let soon =
        try_join(&server, with_password("lobby", "cy", "sesame")).await.err().expect("it waits");
    assert_eq!(soon.0, ErrorCode::PasswordWait);
    assert!(soon.1.is_some_and(|wait| (1..=1_000).contains(&wait)), "{soon:?}");
    assert_eq!(
        server.metric("voicemesh_password_hashes_total").await,
        3,
        "nothing is hashed meanwhile"
    );
    let elsewhere = try_join(&server, with_password("elsewhere", "cy", "mine")).await;
    elsewhere.expect("its wait is for this room");

    // Who asks too soon waits no longer for it.
    let begun = Instant::now();
    let cy = loop {
        match try_join(&server, with_password("lobby", "cy", "sesame")).await {
            Ok(joined) => break joined,
            Err((code, _)) => assert_eq!(code, ErrorCode::PasswordWait),
        }
        assert!(begun.elapsed() < PATIENCE, "the wait does not end");
    };
    assert_eq!(cy.1.peers.len(), 2);
    let again = try_join(&server, with_password("lobby", "di", "guess")).await;
    assert_eq!(
        again.err(),
        Some((ErrorCode::PasswordWrong, Some(1_000))),
        "another peer's wait is its own"
    );
    drop(bo);
}

#[tokio::test]
async fn of_many_who_come_first_with_different_passwords_one_decides() {
    let server = Server::start().await;
    let joins = (0..6).map(|number| {
        let name = format!("person {number}");
        try_join(&server, with_password("lobby", &name, &format!("password {}", number % 2)))
    });
    let joined: Vec<_> = futures_util::future::join_all(joins).await;
    let won: Vec<usize> =
        joined.iter().enumerate().filter(|(_, joined)| joined.is_ok()).map(|(at, _)| at).collect();
    assert!(!won.is_empty() && won.iter().all(|at| at % 2 == won[0] % 2), "{won:?}");
    for refused in joined.iter().filter_map(|joined| joined.as_ref().err()) {
        assert!(
            matches!(refused.0, ErrorCode::PasswordWrong | ErrorCode::PasswordWait),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_follows_a_join_waits_for_the_password_and_is_not_lost() {
    let server = Server::start().await;
    let mut ana = Person::connect(&server).await;
    ana.say(&ClientMessage::Join(with_password("lobby", "ana", "sesame"))).await;
    for request in 0..20 {
        let set = [("n".to_owned(), Some(request.to_string()))].into();
        ana.say(&ClientMessage::SetMetadata { request: Some(request), set }).await;
    }
    expect_joined(&mut ana).await;
    for number in 0..20 {
        let request = loop {
            match ana.next().await {
                Received::Message(ServerMessage::MetadataSet { request }) => break request,
                Received::Message(
                    ServerMessage::Metadata { .. } | ServerMessage::RosterMark(_),
                ) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(request, number);
    }
}

#[tokio::test]
async fn who_goes_while_its_password_is_looked_at_was_never_there() {
    let server = Server::start().await;
    let (mut ana, joined) =
        try_join(&server, with_password("lobby", "ana", "sesame")).await.expect("the first");
    // Work before it, so that its password is not hashed yet when it goes.
    let mut before = Vec::new();
    for number in 0..12 {
        let mut person = Person::connect(&server).await;
        person
            .say(&ClientMessage::Join(with_password("lobby", &format!("p {number}"), "sesame")))
            .await;
        before.push(person);
    }
    let mut gone = Person::connect(&server).await;
    gone.say(&ClientMessage::Join(with_password("lobby", "gone", "sesame"))).await;
    gone.send(Message::Close(None)).await;
    let last = gone.next().await;
    assert!(matches!(last, Received::Closed(_) | Received::Cut), "{last:?}");
    for person in &mut before {
        expect_joined(person).await;
    }
    let (_bo, met) =
        try_join(&server, with_password("lobby", "bo", "sesame")).await.expect("the queue goes on");
    assert_eq!(met.peers.len(), 13);
    assert_eq!(ana.expect_answer().await.len(), 14);
    assert_eq!(met.peers[0].peer, joined.you);
    assert_eq!(server.metric("voicemesh_joins_total").await, 14, "no other member heard of it");
    // The newest goes first: its hash may have begun before it went.
    let hashes = server.metric("voicemesh_password_hashes_total").await;
    assert!((14..=15).contains(&hashes), "{hashes}");
}

#[tokio::test]
async fn a_room_goes_on_while_many_passwords_are_looked_at() {
    let server = Server::start().await;
    let (mut ana, _) =
        try_join(&server, with_password("lobby", "ana", "sesame")).await.expect("the first");
    let mut knocking = Vec::new();
    for number in 0..20 {
        let mut person = Person::connect(&server).await;
        person
            .say(&ClientMessage::Join(with_password("lobby", &format!("p {number}"), "sesame")))
            .await;
        knocking.push(person);
    }
    let here = ana.expect_answer().await.len();
    assert!(here < 21, "the room answers before all have been looked at: {here}");
    for person in &mut knocking {
        expect_joined(person).await;
    }
    assert_eq!(ana.expect_answer().await.len(), 21);
}

#[tokio::test]
async fn passwords_that_wait_for_their_hash_are_shown() {
    let server = Server::start().await;
    try_join(&server, with_password("lobby", "ana", "sesame")).await.expect("the first");
    let mut waiting = Vec::new();
    loop {
        for number in 0..8 {
            let mut person = Person::connect(&server).await;
            let name = format!("guest {} {number}", waiting.len());
            person.say(&ClientMessage::Join(with_password("lobby", &name, "sesame"))).await;
            waiting.push(person);
        }
        if server.metric("voicemesh_hashes_waiting").await > 0 {
            break;
        }
        assert!(waiting.len() < 400, "no hash is seen to wait");
    }
    drop(waiting);
    within("none waits for those who are gone", async {
        while server.metric("voicemesh_hashes_waiting").await > 0 {}
    })
    .await;
}
