//! Data channels between two players.

use voicemesh::{DataEvent, Event, Reliability, SendError};

use crate::friends::{Player, two};
use crate::server;

fn opened(player: &mut Player, number: u8) -> Reliability {
    player.wait("a channel to open", |event| match event {
        Event::Data(DataEvent::ChannelOpened { channel, reliability, .. })
            if *channel == number =>
        {
            Some(*reliability)
        }
        _ => None,
    })
}

fn message_on(player: &mut Player, number: u8) -> Vec<u8> {
    player.wait("a message on a channel", |event| match event {
        Event::Data(DataEvent::ChannelMessage { channel, data, .. }) if *channel == number => {
            Some(data.to_vec())
        }
        _ => None,
    })
}

/// proves: S-06, S-10, S-11
#[test]
fn channels_are_opened_used_and_closed_one_by_one_or_all_with_the_peer() {
    let (mut ada, mut ben) = two(server(), "channels");
    for (number, how) in
        [(0, Reliability::Unreliable), (1, Reliability::Reliable), (255, Reliability::Reliable)]
    {
        ada.room.channel(ben.you, number).open(how).unwrap();
        ada.room.channel(ben.you, number).send(&[number, 1]).unwrap();
        ben.room.channel(ada.you, number).open(how).unwrap();
        assert_eq!((opened(&mut ada, number), opened(&mut ben, number)), (how, how));
    }
    for number in [1, 255] {
        assert_eq!(message_on(&mut ben, number), [number, 1]);
    }
    assert_eq!(ada.room.channel(ben.you, 7).send(b"never opened"), Err(SendError::ChannelClosed));

    ben.room.channel(ada.you, 1).close().unwrap();
    ada.wait("the end of a channel", |event| {
        (*event == Event::Data(DataEvent::ChannelClosed { peer: ben.you, channel: 1 }))
            .then_some(())
    });
    ada.room.channel(ben.you, 255).send(b"that channel only").unwrap();
    assert_eq!(message_on(&mut ben, 255), b"that channel only");

    ben.room.participant(ada.you).close_channels();
    ada.wait("to be disconnected", |event| {
        matches!(event, Event::Data(DataEvent::Disconnected { .. })).then_some(())
    });
    for number in [0, 1, 255] {
        assert_eq!(ada.room.channel(ben.you, number).send(b"x"), Err(SendError::ChannelClosed));
    }
    ada.room.channel(ben.you, 3).open(Reliability::Reliable).unwrap();
    ben.room.channel(ada.you, 3).open(Reliability::Reliable).unwrap();
    ben.room.channel(ada.you, 3).send(b"anew").unwrap();
    assert_eq!(message_on(&mut ada, 3), b"anew");
}

/// proves: S-07
#[test]
fn a_channel_that_is_opened_in_two_ways_is_told_to_both_and_can_be_mended() {
    let (mut ada, mut ben) = two(server(), "mismatch");
    ada.room.channel(ben.you, 4).open(Reliability::Reliable).unwrap();
    ben.room.channel(ada.you, 4).open(Reliability::Unreliable).unwrap();
    let mismatch = |player: &mut Player| {
        player.wait("the mismatch", |event| match event {
            Event::Data(DataEvent::ChannelMismatch { channel: 4, ours, theirs, .. }) => {
                Some((*ours, *theirs))
            }
            _ => None,
        })
    };
    assert_eq!(mismatch(&mut ada), (Reliability::Reliable, Reliability::Unreliable));
    assert_eq!(mismatch(&mut ben), (Reliability::Unreliable, Reliability::Reliable));
    let refused = ada.room.channel(ben.you, 4).send(b"x");
    assert_eq!(refused, Err(SendError::ChannelMismatch { theirs: Reliability::Unreliable }));
    ben.room.channel(ada.you, 4).open(Reliability::Reliable).unwrap();
    assert_eq!(
        (opened(&mut ada, 4), opened(&mut ben, 4)),
        (Reliability::Reliable, Reliability::Reliable)
    );
    ada.room.channel(ben.you, 4).send(b"mended").unwrap();
    assert_eq!(message_on(&mut ben, 4), b"mended");
}

/// proves: S-09
#[test]
fn what_is_received_has_its_sender_channel_and_bytes_and_comes_of_open_channels_only() {
    let (mut ada, mut ben) = two(server(), "received");
    for number in [5, 6] {
        ada.room.channel(ben.you, number).open(Reliability::Reliable).unwrap();
    }
    ada.room.channel(ben.you, 5).send(b"not yet open there").unwrap();
    ben.room.channel(ada.you, 6).open(Reliability::Reliable).unwrap();
    opened(&mut ada, 6);
    ada.room.channel(ben.you, 6).send(b"open").unwrap();
    let received = |ben: &mut Player| {
        ben.wait("a message on a channel", |event| match event {
            Event::Data(DataEvent::ChannelMessage { from, channel, data, .. }) => {
                Some((*from, *channel, data.to_vec()))
            }
            _ => None,
        })
    };
    assert_eq!(
        received(&mut ben),
        (ada.you, 6, b"open".to_vec()),
        "and nothing of channel 5 before it"
    );
    ben.room.channel(ada.you, 5).open(Reliability::Reliable).unwrap();
    assert_eq!(received(&mut ben), (ada.you, 5, b"not yet open there".to_vec()));
}
