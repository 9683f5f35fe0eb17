//! Programs that encrypt: in one room, over real WebRTC and through a real server.

use std::time::{Duration, Instant};

use voicemesh::{
    Event, InputSpec, JoinError, JoinOptions, MemberEncryption, PeerId, PeerState, Reliability,
    Room, RoomEvent, RoomKey, Route,
};

use crate::friends::{PATIENCE, Player};
use crate::server;

const VERIFIED: MemberEncryption = MemberEncryption::Encrypted { verified: true };

fn link(room: &str, key: &RoomKey) -> String {
    format!("{}/r/{room}#k={}", server(), key.to_text())
}

fn join(room: &str, name: &str, relay_only: bool) -> Player {
    Player::join_with(server(), room, name, |options| {
        options.relay_only(relay_only).input(InputSpec::Tone { hz: 440.0 })
    })
}

fn state(player: &Player, of: PeerId) -> PeerState {
    shown(player, of).expect("it is there")
}

/// None before the player's program knows of that member.
fn shown(player: &Player, of: PeerId) -> Option<PeerState> {
    player.room.snapshot().peers.into_iter().find(|state| state.peer == of)
}

/// Turns the player's loop until it sees another member as the condition says.
fn until(player: &mut Player, of: PeerId, what: &str, is_so: impl Fn(&PeerState) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !shown(player, of).is_some_and(|state| is_so(&state)) {
        assert!(Instant::now() < deadline, "{what}: {:?}", shown(player, of));
        player.incoming.wait(Duration::from_millis(50));
        player.poll();
    }
}

#[test]
fn speech_texts_and_messages_are_sealed_on_links_and_through_the_server() {
    for (relay_only, route) in [(false, Route::Direct), (true, Route::Relayed)] {
        let link = link(&format!("sealed-{relay_only}"), &RoomKey::new([7; 16]));
        let mut ada = join(&link, "Ada", relay_only);
        let mut ben = join(&link, "Ben", relay_only);
        let (a, b) = (ada.you, ben.you);
        for (player, of) in [(&mut ada, b), (&mut ben, a)] {
            until(player, of, "heard", |state| {
                state.encryption == Some(VERIFIED) && state.route == route
            });
            let before = state(player, of).frames_heard;
            until(player, of, "heard", |state| state.frames_heard > before + 100);
        }
        let codes = [&ada, &ben].map(|player| player.room.snapshot().safety_code);
        assert!(codes[0].is_some() && codes[0] == codes[1], "{codes:?}");

        ada.room.participant(b).send_text("for you");
        ada.room.send_text("for all");
        for expected in ["for you", "for all"] {
            ben.wait(expected, |event| match event {
                Event::Room(RoomEvent::Text { text, .. }) if text == expected => Some(()),
                _ => None,
            });
        }
        ada.room.participant(b).send(b"a message", Reliability::Reliable).unwrap();
        assert_eq!(ben.message().1, b"a message");
    }
}

#[test]
fn who_has_another_key_or_none_hears_nothing_and_is_shown_so() {
    let key = RoomKey::new([7; 16]);
    let mut ada = join(&link("locked-out", &key), "Ada", true);
    let mut ben = join(&link("locked-out", &key), "Ben", true);
    let others = [
        join(&link("locked-out", &RoomKey::new([8; 16])), "other key", true),
        join("locked-out", "no key", true),
        Player::join_with(server(), "locked-out", "not encrypted", |options| {
            options.encrypted(false).relay_only(true).input(InputSpec::Tone { hz: 440.0 })
        }),
    ];
    let is_let_in =
        |state: &PeerState| matches!(state.encryption, Some(MemberEncryption::Encrypted { .. }));
    for other in &others[..2] {
        until(&mut ada, other.you, "refused", |state| {
            matches!(state.encryption, Some(MemberEncryption::Refused(_)))
        });
    }
    until(&mut ada, others[2].you, "unable", |state| {
        state.encryption == Some(MemberEncryption::Unable)
    });
    // In the time of so much speech of Ada's anything would have come.
    until(&mut ben, ada.you, "heard", is_let_in);
    let before = state(&ben, ada.you).frames_heard;
    until(&mut ben, ada.you, "heard", |state| state.frames_heard > before + 100);
    for other in &others {
        assert_eq!(state(other, ada.you).frames_received, 0, "Ada, heard by another");
        assert_eq!(state(&ada, other.you).frames_received, 0, "another, heard by Ada");
    }
}

#[test]
fn a_damaged_key_is_no_reason_to_enter_without_one() {
    for damaged in ["short", "AAAAAAAAAAAAAAAAAAAAAB", "%%%", "AAAAAAAAAAAAAAAAAAAAAAA", ""] {
        let link = format!("{}/r/damaged#k={damaged}", server());
        let options = JoinOptions::from_link(&link).unwrap();
        let error = Room::join(options.input(InputSpec::Null)).err();
        let error = error.expect("it is refused");
        assert!(matches!(error, JoinError::BadRoomKey(_)), "{error:?}");
        let said = format!("{error} {error:?}");
        assert!(damaged.is_empty() || !said.contains(damaged), "{said}");
    }
}
