//! Frames that carry earlier frames again: who is sent them, and who is not.

use bytes::Bytes;
use voicemesh_networks::memory::PeerKey;
use voicemesh_session::ClientEvent;
use voicemesh_session::client::{OutgoingFrame, SendSummary, Voice};
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};

use crate::room::Room;

fn say(room: &mut Room, frame: &'static [u8], copies: &[u8], pause_follows: bool) -> SendSummary {
    let frame = Bytes::from_static(frame);
    room.with(0, |client, now, _| {
        client.send_spoken(
            now,
            &OutgoingFrame {
                pause_follows,
                copies,
                wants_copies: &|_| true,
                ..OutgoingFrame::plain(frame)
            },
        )
    })
}

fn open(room: &mut Room, target: VoiceTarget<PeerKey>) {
    room.guests[0].client.open_target(target, TargetOptions::default()).unwrap();
}

fn group(name: &str) -> VoiceTarget<PeerKey> {
    VoiceTarget::Group(name.into())
}

fn listen(room: &mut Room, guest: usize, name: &str) {
    room.with(guest, |client, _, _| client.join_group(name)).unwrap();
    room.settle();
}

fn voices(room: &Room, guest: usize) -> Vec<Voice<PeerKey>> {
    let voice = |event: &ClientEvent<PeerKey>| match event {
        ClientEvent::Voice(voice) => Some(voice.clone()),
        _ => None,
    };
    room.guests[guest].events.iter().filter_map(voice).collect()
}

fn frames(voices: &[Voice<PeerKey>]) -> Vec<(&[u8], u8)> {
    voices.iter().map(|voice| (&voice.frame[..], voice.behind)).collect()
}

#[test]
fn a_frame_that_was_lost_comes_inside_a_later_one_and_one_that_came_does_not_come_again() {
    let mut room = Room::new(2);
    listen(&mut room, 1, "talk");
    open(&mut room, group("talk"));
    let lost = room.key(0);
    room.hub.cut_server(lost);
    say(&mut room, b"one", &[], false);
    room.connect(0);
    room.settle();
    say(&mut room, b"two", &[], false);
    assert_eq!(say(&mut room, b"three", &[2, 1], false).listeners, 1);
    room.settle();
    let heard = voices(&room, 1);
    assert_eq!(frames(&heard), [(&b"two"[..], 0), (b"one", 2), (b"three", 0)]);
    let of = |frame: &[u8]| heard.iter().find(|voice| &voice.frame[..] == frame).unwrap();
    assert_eq!(
        (of(b"one").sequence + 1, of(b"one").talkspurt),
        (of(b"two").sequence, of(b"two").talkspurt)
    );
}

#[test]
fn what_was_said_to_others_is_not_repeated() {
    let mut room = Room::new(3);
    listen(&mut room, 1, "secret");
    listen(&mut room, 2, "open");
    open(&mut room, group("secret"));
    say(&mut room, b"hush", &[], false);
    open(&mut room, group("open"));
    say(&mut room, b"hello", &[1], false);
    room.settle();
    assert_eq!(frames(&voices(&room, 2)), [(&b"hello"[..], 0)]);
    say(&mut room, b"again", &[1, 2], false);
    room.settle();
    assert_eq!(frames(&voices(&room, 2)), [(&b"hello"[..], 0), (b"again", 0)]);
}

#[test]
fn a_pause_is_told_and_a_packet_that_grows_too_large_loses_its_copies_and_not_its_frame() {
    let mut room = Room::new(2);
    listen(&mut room, 1, "talk");
    open(&mut room, group("talk"));
    say(&mut room, b"the end", &[], true);
    say(&mut room, &[7; 700], &[], false);
    say(&mut room, &[8; 700], &[1], false);
    room.settle();
    let heard = voices(&room, 1);
    assert_eq!(
        heard.iter().map(|voice| voice.pause_follows).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(heard.iter().map(|voice| voice.frame.len()).collect::<Vec<_>>(), [7, 700, 700]);
}
