//! The frame loop: what is sent, when it leaves, and what it costs.

use std::time::Duration;

use voicemesh::{DataEvent, Event, Reliability, RoomEvent, SendError};

use crate::friends::{PATIENCE, Player, two};
use crate::server;

/// proves: U-07, U-08, U-11, U-12, U-15, U-16, U-19
#[test]
fn a_message_reaches_one_peer_with_its_bytes_its_sender_and_how_it_was_sent() {
    let (mut ada, mut ben) = two(server(), "one");
    let mut cleo = Player::join(server(), "one", "Cleo");
    ada.meets("Cleo");
    cleo.meets("Ada");
    let buffer = b"xxhello benxx";
    ada.room.participant(ben.you).send(&buffer[2..11], Reliability::Reliable).unwrap();
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
    assert_eq!((from, bytes.as_slice(), how), (cleo.you, &b"again and again"[..], Reliability::Unreliable));
    cleo.poll();
    assert!(
        !cleo.events.iter().any(|event| matches!(event, Event::Data(DataEvent::Message { .. }))),
        "it was for another player"
    );
}

/// proves: U-10, U-17
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
    assert!(!ada.events.iter().any(|event| matches!(event, Event::Data(DataEvent::Message { .. }))), "not to oneself");
}

/// proves: S-12, S-13
#[test]
fn in_manual_mode_nothing_leaves_before_the_flush() {
    let mut ada = Player::join_with(server(), "manual", "Ada", |options| options.manual_flush(true));
    let mut ben = Player::join(server(), "manual", "Ben");
    ada.meets("Ben");
    ada.reaches_directly(ben.you);
    for number in 0..20u8 {
        ada.room.participant(ben.you).send(&[number], Reliability::Reliable).unwrap();
    }
    assert!(ada.room.participant(ben.you).queued_bytes() >= 20, "what waits is seen");
    // Whatever Ben says after it has come, and been answered, before anything of Ada's: a round trip and more.
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
    assert_eq!(ada.room.participant(ben.you).send(b"x", Reliability::Reliable), Err(SendError::Left));
    assert_eq!(ada.room.send_to_all(b"x", Reliability::Reliable), Err(SendError::Left));
    assert_eq!(ada.room.channel(ben.you, 1).open(Reliability::Reliable), Err(SendError::Left));
    ada.room.participant(ben.you).close_channels();
    ada.room.flush();
    ada.wait("the end", |event| (*event == Event::Room(RoomEvent::Left)).then_some(()));
    assert_eq!(ada.incoming.poll(), None);
    ben.wait("that Ada is gone", |event| matches!(event, Event::Room(RoomEvent::PeerLeft { .. })).then_some(()));
    assert_eq!(ben.room.participant(ada.you).send(b"x", Reliability::Reliable), Err(SendError::UnknownPeer));
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
    assert!(matches!(blocked, SendError::WouldBlock { queued_bytes } if queued_bytes > 900_000), "{blocked}");
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
