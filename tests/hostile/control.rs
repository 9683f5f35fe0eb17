//! Control frames, and what breaks the WebSocket protocol itself.

use voicemesh_wire::signaling::ErrorCode;

use crate::client::{Client, Member, Received, join_of, run};
use crate::memory::{Watch, WatchedServer as Server};
use crate::socket::{BINARY, PING, PONG, TEXT, frame};

/// Pings that are sent, each with the longest payload.
const PINGS: usize = 400_000;
/// In one write.
const PINGS_AT_ONCE: usize = 500;
const MOST_GROWTH_KIB: u64 = 6 * 1024;

#[test]
fn pings_whose_pongs_are_not_read_fill_no_memory_before_and_after_a_join() {
    for opcode in [PING, PONG] {
        let server = Server::start(&[]);
        let watch = Watch::start("unread pongs", &server);
        run(async {
            let stranger = Client::connect(&server).await;
            let member = Member::join(&server, "pings", "member").await.client;
            for mut client in [stranger, member] {
                let mut pings = Vec::new();
                (0..PINGS_AT_ONCE).for_each(|_| frame(opcode, &[7; 125], &mut pings));
                let mut sent = 0;
                while sent < PINGS && client.try_send(&pings).await {
                    sent += PINGS_AT_ONCE;
                }
                let ended = client.end().await;
                assert_eq!(
                    ended,
                    (Some(ErrorCode::TooManyMessages), Some(1008)),
                    "after {sent} of them"
                );
            }
            Member::join(&server, "pings", "another").await;
        });
        let held = watch.held();
        assert!(held.growth() < MOST_GROWTH_KIB, "{held}");
    }
}

#[test]
fn a_ping_is_answered_with_what_it_carried() {
    let server = Server::start(&[]);
    run(async {
        let mut member = Member::join(&server, "pings", "member").await;
        for number in 0..50_u8 {
            member.client.send(PING, &[number; 4]).await;
            let answer = member.client.until("a pong", |received| match received {
                Received::Pong(payload) => Some(payload.clone()),
                _ => None,
            });
            assert_eq!(answer.await, [number; 4]);
        }
    });
}

/// Endless empty pieces of one message are one message.
#[test]
fn a_message_in_pieces_without_end_is_too_large() {
    let server = Server::start(&[]);
    run(async {
        let mut member = Member::join(&server, "pieces", "member").await;
        // Not final, masked, empty: the first of a text, and 100,000 that go on with it.
        let mut pieces = vec![TEXT, 0x80, 0, 0, 0, 0];
        (0..100_000).for_each(|_| pieces.extend_from_slice(&[0, 0x80, 0, 0, 0, 0]));
        member.client.try_send(&pieces).await;
        assert_eq!(member.client.end().await, (Some(ErrorCode::TooLarge), Some(1009)));
    });
}

/// RFC 6455 §7.4.1.
#[test]
fn what_is_no_websocket_ends_with_a_code_that_says_so() {
    let cases: [(&str, Vec<u8>, u16); 6] = [
        ("a frame without a mask", vec![0x82, 1, 0], 1002),
        ("a reserved bit", vec![0xC1, 0x80, 0, 0, 0, 0], 1002),
        ("an unknown opcode", vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        ("a ping in pieces", vec![PING, 0x80, 0, 0, 0, 0], 1002),
        ("a piece of nothing", vec![0x80, 0x80, 0, 0, 0, 0], 1002),
        ("a text that is not UTF-8", vec![0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28], 1007),
    ];
    let server = Server::start(&[]);
    run(async {
        for (what, bytes, code) in cases {
            let stranger = Client::connect(&server).await;
            let member = Member::join(&server, "frames", "member").await.client;
            for mut client in [stranger, member] {
                client.try_send(&bytes).await;
                assert_eq!(client.end().await.1, Some(code), "{what}");
            }
        }
    });
}

#[test]
fn a_join_is_at_most_32_kib_long_and_later_messages_64() {
    let server = Server::start(&[]);
    run(async {
        let padded = |text: &str, bytes: usize| {
            format!("{text}{}", " ".repeat(bytes - text.len())).into_bytes()
        };
        let join =
            voicemesh_wire::signaling::ClientMessage::Join(join_of("long", "member")).to_json();
        let mut client = Client::connect(&server).await;
        client.send(TEXT, &padded(&join, 32 * 1024)).await;
        client
            .until("joined", |received| matches!(received, Received::Message(_)).then_some(()))
            .await;
        client.send(TEXT, &padded(r#"{"type":"ping","token":9}"#, 65_535)).await;
        client.handled(10).await;
        let mut client = Client::connect(&server).await;
        client.send(TEXT, &padded(&join, 32 * 1024 + 1)).await;
        assert_eq!(client.end().await, (Some(ErrorCode::TooLarge), Some(1009)));
        let mut client = Client::connect(&server).await;
        client.send(BINARY, &[0; 40_000]).await;
        assert_eq!(client.end().await, (Some(ErrorCode::TooLarge), Some(1009)));
    });
}
