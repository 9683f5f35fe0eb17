//! The frame loop: what is sent, when it leaves, and what it costs.

use std::time::{Duration, Instant};

use voicemesh::{DataEvent, Event, Reliability, RoomEvent, SendError};

use crate::friends::{PATIENCE, Player, two};
use crate::{OwnServer, server};

/// proves: U-11, U-12, U-15
#[test]
fn a_message_reaches_one_peer_with_its_bytes_its_sender_and_how_it_was_sent() {
    let (mut ada, mut ben) = two(server(), "one");
    let mut cleo = Player::join(server(), "one", "Cleo");
    ada.meets("Cleo");
    cleo.meets("Ada");
    ada.room.participant(ben.you).send(b"hello ben", Reliability::Reliable).unwrap();
    assert_eq!(ben.message(), (ada.you, b"hello ben".to_vec(), Reliability::Reliable));
    ada.reaches_directly(ben.you);
    ada.room.participant(ben.you).send(b"direct", Reliability::Reliable).unwrap();
    assert_eq!(ben.message(), (ada.you, b"direct".to_vec(), Reliability::Reliable));
    // Who joined later has the same calls, and an unreliable message differs from a reliable one.
    let (from, bytes, how) = loop {
        cleo.room.participant(ada.you).send(b"again and again", Reliability::Unreliable).unwrap();
        ada.incoming.wait(Duration::from_millis(20));
        ada.poll();
        if ada.events.iter().any(|event| matches!(event, Event::Data(DataEvent::Message { .. }))) {
            break ada.message();
        }
    };
    assert_eq!(
        (from, bytes.as_slice(), how),
        (cleo.you, &b"again and again"[..], Reliability::Unreliable)
    );
    cleo.poll();
    assert!(
        !cleo.events.iter().any(|event| matches!(event, Event::Data(DataEvent::Message { .. }))),
        "it was for another player"
    );
}

/// proves: U-16
#[test]
fn any_slice_of_a_buffer_can_be_sent() {
    let (ada, mut ben) = two(server(), "slices");
    let buffer: Vec<u8> = (0..=255).collect();
    let slices = [0..1, 255..256, 2..11, 0..256, 100..199];
    for slice in slices.clone() {
        ada.room.participant(ben.you).send(&buffer[slice], Reliability::Reliable).unwrap();
    }
    for slice in slices {
        assert_eq!(ben.message().1, buffer[slice]);
    }
}

/// proves: U-07
#[test]
fn messages_go_from_peer_to_peer_when_the_server_is_gone() {
    let own = OwnServer::start();
    let (mut ada, mut ben) = two(&own.url, "without a server");
    ada.reaches_directly(ben.you);
    ben.reaches_directly(ada.you);
    own.stop();
    for player in [&mut ada, &mut ben] {
        player.wait("the loss of the server", |event| {
            matches!(event, Event::Room(RoomEvent::ServerAway { .. })).then_some(())
        });
    }
    ada.room.participant(ben.you).send(b"still there?", Reliability::Reliable).unwrap();
    assert_eq!(ben.message().1, b"still there?");
    ben.room.participant(ada.you).send(b"yes", Reliability::Reliable).unwrap();
    assert_eq!(ada.message().1, b"yes");
}

/// proves: U-08, S-12
#[test]
fn polls_at_the_start_of_a_frame_take_what_has_arrived_and_do_not_wait() {
    let (mut ada, mut ben) = two(server(), "polls");
    ben.poll();
    ben.events.clear();
    for number in 0..20u8 {
        ada.room.participant(ben.you).send(&[number], Reliability::Reliable).unwrap();
    }
    // All of it has arrived when the last of it is acknowledged; not polled, it waits.
    let deadline = Instant::now() + PATIENCE;
    while ada.room.participant(ben.you).queued_bytes() > 0 {
        assert!(Instant::now() < deadline, "Ben's side does not take it");
        ada.incoming.wait(Duration::from_millis(5));
    }
    let mut numbers = Vec::new();
    let mut frames = 0;
    while numbers.len() < 20 {
        assert!(Instant::now() < deadline, "only {numbers:?}");
        frames += 1;
        while let Some(event) = ben.incoming.poll() {
            if let Event::Data(DataEvent::Message { data, .. }) = event {
                numbers.push(data[0]);
            }
        }
        // Between the frames of a game.
        ben.incoming.wait(Duration::from_millis(16));
    }
    assert_eq!(numbers, (0..20).collect::<Vec<u8>>(), "after {frames} frames");
    let begun = Instant::now();
    for _ in 0..1_000 {
        // A link may open meanwhile, which is no message.
        assert!(!matches!(ben.incoming.poll(), Some(Event::Data(_))));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "1,000 polls of an empty queue took {:?}",
        begun.elapsed()
    );
}

/// proves: S-20
#[test]
fn ones_own_name_id_and_metadata_can_be_read() {
    let color = [("color".to_owned(), "red".to_owned())];
    let ada =
        Player::join_with(server(), "own", "Ada", |options| options.metadata(color.clone().into()));
    let own = ada.room.snapshot();
    assert_eq!((own.you, own.name.as_str()), (Some(ada.you), "Ada"));
    assert_eq!(own.metadata.get("color").map(String::as_str), Some("red"));
}

/// proves: U-10, S-19
#[test]
fn the_list_of_members_has_their_ids_in_order_of_arrival_and_follows_who_comes_and_goes() {
    let (mut ada, ben) = two(server(), "list");
    let cleo = Player::join(server(), "list", "Cleo");
    ada.meets("Cleo");
    let listed =
        |ada: &Player| ada.room.snapshot().peers.iter().map(|peer| peer.peer).collect::<Vec<_>>();
    assert_eq!(listed(&ada), [ben.you, cleo.you]);
    ben.room.leave_and_wait(PATIENCE);
    ada.wait("that Ben is gone", |event| {
        matches!(event, Event::Room(RoomEvent::PeerLeft { peer, .. }) if *peer == ben.you)
            .then_some(())
    });
    assert_eq!(listed(&ada), [cleo.you]);
}

/// proves: U-17
#[test]
fn a_message_to_all_reaches_everyone_once() {
    let (mut ada, mut ben) = two(server(), "all");
    let mut cleo = Player::join(server(), "all", "Cleo");
    ada.meets("Cleo");
    ada.room.send_to_all(b"first", Reliability::Reliable).unwrap();
    ada.room.send_to_all(b"second", Reliability::Reliable).unwrap();
    for player in [&mut ben, &mut cleo] {
        for expected in [&b"first"[..], b"second"] {
            assert_eq!(player.message(), (ada.you, expected.to_vec(), Reliability::Reliable));
        }
    }
    ada.poll();
    assert!(
        !ada.events.iter().any(|event| matches!(event, Event::Data(DataEvent::Message { .. }))),
        "not to oneself"
    );
}

/// proves: S-13
#[test]
fn in_manual_mode_nothing_leaves_before_the_flush() {
    let mut ada =
        Player::join_with(server(), "manual", "Ada", |options| options.manual_flush(true));
    let mut ben = Player::join(server(), "manual", "Ben");
    ada.meets("Ben");
    ada.reaches_directly(ben.you);
    for number in 0..20u8 {
        ada.room.participant(ben.you).send(&[number], Reliability::Reliable).unwrap();
    }
    assert!(ada.room.participant(ben.you).queued_bytes() >= 20, "what waits is seen");
    // Whatever Ben says after it has come, and been answered, before anything of Ada's: a round
    // trip and more.
    let mut answers = 0;
    while answers < 5 {
        ben.room.participant(ada.you).send(b"?", Reliability::Reliable).unwrap();
        ada.message();
        answers += 1;
    }
    ben.poll();
    assert!(
        !ben.events.iter().any(|event| matches!(event, Event::Data(DataEvent::Message { .. }))),
        "{:?}",
        ben.events
    );
    ada.room.flush();
    for number in 0..20u8 {
        assert_eq!(ben.message().1, [number]);
    }
}

/// proves: U-18
#[test]
fn closing_is_idempotent_and_a_closed_peer_is_safe_to_use() {
    let (mut ada, mut ben) = two(server(), "closing");
    ada.room.participant(ben.you).send(b"the last word", Reliability::Reliable).unwrap();
    ada.room.leave_and_wait(PATIENCE);
    ada.room.leave_and_wait(PATIENCE);
    assert_eq!(ben.message().1, b"the last word");
    assert_eq!(
        ada.room.participant(ben.you).send(b"x", Reliability::Reliable),
        Err(SendError::Left)
    );
    assert_eq!(ada.room.send_to_all(b"x", Reliability::Reliable), Err(SendError::Left));
    assert_eq!(ada.room.channel(ben.you, 1).open(Reliability::Reliable), Err(SendError::Left));
    ada.room.participant(ben.you).close_channels();
    ada.room.flush();
    ada.wait("the end", |event| (*event == Event::Room(RoomEvent::Left)).then_some(()));
    assert_eq!(ada.incoming.poll(), None);
    ben.wait("that Ada is gone", |event| {
        matches!(event, Event::Room(RoomEvent::PeerLeft { .. })).then_some(())
    });
    assert_eq!(
        ben.room.participant(ada.you).send(b"x", Reliability::Reliable),
        Err(SendError::UnknownPeer)
    );
}

#[test]
fn what_is_too_much_is_said_at_once_and_nothing_of_it_is_lost() {
    let (ada, mut ben) = two(server(), "too much");
    let limit = 256 * 1024;
    assert_eq!(
        ada.room.participant(ben.you).send(&vec![0; limit + 1], Reliability::Reliable),
        Err(SendError::TooLarge { limit })
    );
    let refused = ada.room.participant(ben.you).send(&[0; 1_101], Reliability::Unreliable);
    assert_eq!(refused, Err(SendError::TooLarge { limit: 1_100 }));
    let mut taken = 0u32;
    let blocked = loop {
        let message = [&taken.to_be_bytes()[..], &vec![7; 60_000]].concat();
        match ada.room.participant(ben.you).send(&message, Reliability::Reliable) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(blocked, SendError::WouldBlock { queued_bytes } if queued_bytes > 900_000),
        "{blocked}"
    );
    for number in 0..taken {
        assert_eq!(ben.message().1[..4], number.to_be_bytes());
    }
}

/// A bot without a loop.
#[test]
fn events_can_be_awaited() {
    let (mut ada, ben) = two(server(), "await");
    let ada_id = ada.you;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (bot, mut incoming) = (ben.room, ben.incoming);
    ada.room.participant(ben.you).send(b"marco", Reliability::Reliable).unwrap();
    runtime.block_on(async {
        while let Some(event) = incoming.next().await {
            if let Event::Data(DataEvent::Message { from, data, reliability }) = event {
                assert_eq!((from, &data[..]), (ada_id, &b"marco"[..]));
                bot.participant(from).send(b"polo", reliability).unwrap();
                break;
            }
        }
        bot.leave();
        while let Some(event) = incoming.next().await {
            drop(event);
        }
        assert_eq!(incoming.next().await, None, "and never anything again");
    });
    assert_eq!(ada.message().1, b"polo");
}
