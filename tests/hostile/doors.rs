//! Rooms with passwords: whose they are after a restart, and who gets in while strangers guess.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use voicemesh_wire::packet::Kind;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, Password, ServerMessage, Ticket};

use crate::client::{Client, Member, PATIENCE, Received, is_kind, join_of, run};
use crate::memory::WatchedServer as Server;

const SECRET: [&str; 2] = ["--secret", "a secret of the operator's tests"];
/// Everybody comes from one address: that of a router.
const ROUTER: &str = "203.0.113.7";

fn with_password(room: &str, name: &str, password: &str) -> Join {
    Join { password: Some(Password::from(password)), ..join_of(room, name) }
}

fn with_ticket(room: &str, name: &str, ticket: &Option<Ticket>) -> Join {
    Join { ticket: ticket.clone(), run: 2, ..join_of(room, name) }
}

/// In, or why not.
async fn try_join(mut client: Client, join: Join) -> Result<Client, (ErrorCode, Option<u64>)> {
    if !client.say_if_there(&ClientMessage::Join(join)).await {
        panic!("the server takes a join");
    }
    let outcome = client.until("an answer to the join", |received| match received {
        Received::Message(ServerMessage::Joined(_)) => Some(Ok(())),
        Received::Message(ServerMessage::Error { code, retry_after_ms, fatal: true, .. }) => {
            Some(Err((code.clone(), *retry_after_ms)))
        }
        _ => None,
    });
    outcome.await.map(|()| client)
}

#[test]
fn after_a_restart_a_friend_takes_the_room_back_from_a_stranger_who_hears_nothing() {
    run(async {
        let before = Server::start(&SECRET);
        let ana =
            Member::enter(Client::connect(&before).await, with_password("den", "ana", "sesame"))
                .await;
        let bo =
            Member::enter(Client::connect(&before).await, with_password("den", "bo", "sesame"))
                .await;
        let elsewhere = Member::join(&before, "kitchen", "cy").await;
        let (first, second) = (ana.joined.ticket.clone(), bo.joined.ticket.clone());
        drop((ana, bo, before));

        let after = Server::start(&SECRET);
        let mut stranger =
            Member::enter(Client::connect(&after).await, with_password("den", "eve", "mine")).await;
        for (ticket, whose) in [
            (&first, "another peer's"),
            (&elsewhere.joined.ticket, "another room's"),
            (&None, "none"),
        ] {
            let refused = try_join(Client::connect(&after).await, with_ticket("den", "bo", ticket))
                .await
                .err();
            assert_eq!(refused, Some((ErrorCode::PasswordRequired, None)), "{whose}");
        }
        let mut ana =
            Member::enter(Client::connect(&after).await, with_ticket("den", "ana", &first)).await;
        assert!(ana.joined.peers.is_empty(), "the stranger is gone before");
        let mut bo =
            Member::enter(Client::connect(&after).await, with_ticket("den", "bo", &second)).await;
        assert_eq!(bo.joined.peers.len(), 1);
        let speech = bo.inner(Kind::VoiceData, 60);
        let relayed = bo.relay(Kind::ServerRelayUnreliable, &[ana.joined.client], &speech);
        bo.client.packet(&relayed).await;
        ana.client.until("speech", |received| is_kind(received, Kind::VoiceData)).await;

        let mut heard = 0;
        let ended = loop {
            match stranger.client.next().await {
                Received::Message(ServerMessage::Error { code, fatal: true, .. }) => break code,
                Received::Message(ServerMessage::PeerJoined { .. }) => {
                    panic!("the stranger met a member")
                }
                Received::Packet(packet) => {
                    heard +=
                        usize::from(is_kind(&Received::Packet(packet), Kind::VoiceData).is_some())
                }
                Received::Message(_) | Received::Ping | Received::Pong(_) => {}
                ended @ (Received::Closed(_) | Received::Cut) => panic!("{ended:?} without a word"),
            }
        };
        assert_eq!((ended, heard), (ErrorCode::PasswordRequired, 0));
    });
}

#[test]
fn without_a_secret_one_line_at_start_says_what_does_not_survive_a_restart() {
    let mut server = Server::start(&[]);
    server.program.wait_for_line("VOICEMESH_SECRET", PATIENCE);
}

/// How many passwords strangers guess, and how often.
const GUESSES: usize = 400;
const GUESS_INTERVAL: Duration = Duration::from_millis(25);

/// Strangers behind the router guess under ever new names, and wait as refusals ask.
async fn guess(server: SocketAddr, every: Duration) {
    let mut interval = tokio::time::interval(every);
    let mut waiting = VecDeque::new();
    for number in 0..GUESSES {
        interval.tick().await;
        let mut client = Client::connect_to_from(server, ROUTER).await;
        let join = with_password("den", &format!("guesser {number}"), &format!("guess {number}"));
        client.say_if_there(&ClientMessage::Join(join)).await;
        waiting.push_back(client);
        if waiting.len() > 100 {
            waiting.pop_front();
        }
    }
}

#[test]
fn while_strangers_of_the_same_address_guess_a_member_comes_back_at_once_and_a_newcomer_gets_in() {
    run(async {
        let server = Server::start(&["--trusted-proxy", "private,127.0.0.0/8"]);
        let from_router = || Client::connect_from(&server, ROUTER);
        let owner = Member::enter(from_router().await, with_password("den", "ana", "sesame")).await;
        let friend = Member::enter(from_router().await, with_password("den", "bo", "sesame")).await;
        let ticket = friend.joined.ticket.clone();
        drop(friend);
        let guessers = tokio::spawn(guess(server.address, GUESS_INTERVAL));
        // The address has no hash left once a join is refused for now.
        let mut newcomer = 0;
        let mut told = false;
        loop {
            newcomer += 1;
            match try_join(from_router().await, with_password("den", "cy", "sesame")).await {
                Ok(_) if told => break,
                // It came before the strangers had used up what the address may have at once: it
                // leaves again.
                Ok(client) => drop(client),
                Err((code, after)) => {
                    assert_eq!(code, ErrorCode::PasswordWait, "at try {newcomer}");
                    told = true;
                    let back =
                        try_join(from_router().await, with_ticket("den", "bo", &ticket)).await;
                    back.expect("a member comes back at once");
                    let after = Duration::from_millis(after.expect("a time to come back"));
                    tokio::time::interval_at(Instant::now() + after, GUESS_INTERVAL).tick().await;
                }
            }
            assert!(newcomer < 200, "the newcomer does not get in");
        }
        println!("the newcomer got in at try {newcomer}");
        guessers.abort();
        drop(owner);
    });
}

/// By when a newcomer with the password is in while a stranger of its address guesses once a
/// second.
const NEWCOMER_IN: Duration = Duration::from_secs(15);

#[test]
fn while_a_stranger_of_the_same_address_guesses_once_a_second_a_newcomer_is_in_within_15_seconds() {
    run(async {
        let server = Server::start(&["--trusted-proxy", "private,127.0.0.0/8"]);
        let from_router = || Client::connect_from(&server, ROUTER);
        let owner = Member::enter(from_router().await, with_password("den", "ana", "sesame")).await;
        // Until the address has used up the hashes that it may have at once.
        let mut early = 0;
        loop {
            early += 1;
            let join = with_password("den", &format!("early {early}"), "a guess");
            match try_join(from_router().await, join).await.err() {
                Some((ErrorCode::PasswordWrong, _)) => {}
                Some((ErrorCode::PasswordWait, _)) => break,
                other => panic!("{other:?} at try {early}"),
            }
            assert!(early < 100, "every guess is looked at");
        }
        let guesser = tokio::spawn(guess(server.address, Duration::from_secs(1)));
        let begun = Instant::now();
        while let Err((code, after)) =
            try_join(from_router().await, with_password("den", "cy", "sesame")).await
        {
            assert_eq!(code, ErrorCode::PasswordWait);
            assert!(
                begun.elapsed() < NEWCOMER_IN,
                "the newcomer waits since {:?}",
                begun.elapsed()
            );
            let after = Duration::from_millis(after.expect("a time to come back"));
            tokio::time::interval_at(Instant::now() + after, GUESS_INTERVAL).tick().await;
        }
        println!("the newcomer got in after {:?}", begun.elapsed());
        assert!(begun.elapsed() < NEWCOMER_IN);
        guesser.abort();
        drop(owner);
    });
}

/// Joins that a restless member tries, and what a room takes of them at once.
const COMINGS: usize = 60;
const AT_ONCE: usize = 20;

#[test]
fn a_member_that_comes_again_and_again_waits_and_neither_its_neighbours_nor_a_reconnection_do() {
    run(async {
        let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
        let mut witness =
            Member::enter(Client::connect_from(&server, "192.0.2.1").await, join_of("den", "ana"))
                .await;
        let from_router = || Client::connect_from(&server, ROUTER);
        let first = Member::enter(from_router().await, join_of("den", "eve")).await;
        let (peer, ticket) = (first.joined.you, first.joined.ticket.clone());
        let begun = Instant::now();
        let mut last = first.client;
        let mut refused = 0;
        for coming in 0..COMINGS {
            let join =
                Join { ticket: ticket.clone(), run: 2 + coming as u32, ..join_of("den", "eve") };
            match try_join(from_router().await, join).await {
                Ok(client) => last = client,
                Err((code, after)) => {
                    assert_eq!((code, after), (ErrorCode::TooManyJoins, Some(10_000)));
                    refused += 1;
                }
            }
        }
        let most = AT_ONCE + begun.elapsed().as_secs() as usize;
        println!("{refused} of {COMINGS} were refused");
        assert!(refused >= COMINGS.saturating_sub(most) && refused > 0, "{refused} were refused");
        // A neighbour behind the same router, and a connection of the same run that takes over.
        let mut neighbour = Member::enter(from_router().await, join_of("den", "bo")).await;
        for _ in 0..COMINGS {
            neighbour = Member::enter(from_router().await, join_of("den", "bo")).await;
            assert!(neighbour.joined.taken_over.is_some());
        }
        let mut seen = 0;
        let bo = neighbour.joined.you;
        witness
            .client
            .until("the neighbour", |received| match received {
                Received::Message(ServerMessage::PeerJoined { peer: info }) if info.peer == bo => {
                    Some(())
                }
                Received::Message(ServerMessage::PeerJoined { peer: info }) => {
                    seen += usize::from(info.peer == peer);
                    None
                }
                _ => None,
            })
            .await;
        assert_eq!(seen, COMINGS - refused + 1, "the others see those that were let in");
        drop(last);
    });
}

/// Members of before, and ids under which a neighbour of theirs has collected tickets.
const MEMBERS: usize = 12;
const IDS: usize = 256;
/// So many of the neighbour's joins are refused before the members come back.
const REFUSED: usize = 3 * IDS;

#[test]
fn members_are_back_at_once_beside_a_neighbour_who_shows_later_tickets_at_full_speed() {
    run(async {
        let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
        let address = server.address;
        let from = move |from: String| async move { Client::connect_to_from(address, &from).await };
        let _owner = Member::enter(from("192.0.2.1".into()).await, join_of("den", "owner")).await;
        let mut tickets = Vec::new();
        for number in 0..MEMBERS {
            let join = join_of("den", &format!("member {number}"));
            tickets.push(Member::enter(from(ROUTER.into()).await, join).await.joined.ticket);
        }
        // From several addresses, because it is not to wait.
        let mut later = Vec::new();
        for number in 0..IDS {
            let join = join_of("den", &format!("eve {number}"));
            let client = from(format!("198.51.100.{}", number % 4)).await;
            later.push(Member::enter(client, join).await.joined.ticket);
        }
        let (refused, mut refusals) = tokio::sync::watch::channel(0);
        let neighbour = tokio::spawn(async move {
            for number in (0..IDS).cycle() {
                let name = format!("eve {number}");
                let join = Join { run: 3, ..with_ticket("den", &name, &later[number]) };
                if try_join(from(ROUTER.into()).await, join).await.is_err() {
                    refused.send_modify(|refused| *refused += 1);
                }
            }
        });
        refusals.wait_for(|refused| *refused >= REFUSED).await.expect("the neighbour goes on");
        for (number, ticket) in tickets.iter().enumerate() {
            let join = with_ticket("den", &format!("member {number}"), ticket);
            let back = try_join(from(ROUTER.into()).await, join).await;
            assert!(back.is_ok(), "member {number}: {:?}", back.err());
        }
        assert!(!neighbour.is_finished());
        neighbour.abort();
    });
}
