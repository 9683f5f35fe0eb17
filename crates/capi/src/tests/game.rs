//! The lobby and the voice in a game, as careless callers meet them.

use voicemesh::{MemberEncryption, RoomEvent};

use super::*;
use crate::lobby::*;
use crate::pcm::*;
use crate::spatial::*;
use crate::transmission::*;

static ID: vmesh_peer_id = vmesh_peer_id { bytes: [7; 16] };
const HERE: vmesh_vector = vmesh_vector { x: 1.0, y: 0.0, z: -2.0 };
const NOT_A_NUMBER: vmesh_vector = vmesh_vector { y: f32::NAN, ..HERE };
const AHEAD: vmesh_pose = vmesh_pose {
    position: HERE,
    forward: vmesh_vector { x: 0.0, y: 0.0, z: -1.0 },
    up: vmesh_vector { x: 0.0, y: 1.0, z: 0.0 },
};

/// A name in C, for calls that take a pointer and a length.
fn group() -> (*const c_char, usize) {
    (c"team".as_ptr(), VMESH_NUL_TERMINATED)
}

#[test]
fn null_is_an_error_in_the_lobby_and_in_the_game() {
    let folder = Folder::new("null-game");
    let peer = joined(&folder);
    let (name, length) = group();
    let (mut handle, mut count) = (1, 0);
    let id = &raw const ID;
    // SAFETY: null where a pointer is asked for, and else as it must be.
    unsafe {
        for result in [
            vmesh_lobby_owner(peer, null_mut()),
            vmesh_lobby_set_metadata(peer, null(), 1, null_mut()),
            vmesh_lobby_set_room_metadata(peer, null(), 1, null_mut()),
            vmesh_participant_metadata(peer, null(), null(), 1, null_mut(), 0, null_mut()),
            vmesh_lobby_room_metadata(peer, null(), 1, null_mut(), 0, null_mut()),
            vmesh_participant_connect(peer, null(), name, length),
            vmesh_participant_connect(peer, id, null(), 3),
            vmesh_participant_update(peer, null(), name, length),
            vmesh_participant_disconnect(peer, null()),
            vmesh_speaker_set_listener(peer, null()),
            vmesh_participant_set_position(peer, null(), &HERE, null()),
            vmesh_participant_set_position(peer, id, null(), null()),
            vmesh_participant_clear_position(peer, null()),
            vmesh_speaker_set_attenuation_points(peer, null(), 1),
            vmesh_grid_new(name, length, 20.0, 0, null_mut()),
            vmesh_grid_new(null(), 1, 20.0, 0, &raw mut handle),
            vmesh_room_move_in(peer, 0, null()),
            vmesh_room_transmit_to_group(peer, name, length, 1.0, 0, 0, null_mut()),
            vmesh_room_transmit_to_group(peer, null(), 1, 1.0, 0, 0, &raw mut handle),
            vmesh_room_transmit_to_peer(peer, null(), 1.0, 0, 0, &raw mut handle),
            vmesh_group_listen(peer, null(), 1),
            vmesh_group_stop_listening(peer, null(), 1),
            vmesh_participant_open_voice(peer, null(), 48_000, &raw mut handle),
            vmesh_participant_open_voice(peer, id, 48_000, null_mut()),
            vmesh_speaker_open_mix(peer, 48_000, null_mut()),
            vmesh_microphone_open_feed(peer, 48_000, null_mut()),
            vmesh_peer_voice_read(0, null_mut(), 1, &raw mut count),
            vmesh_mix_voice_read(0, null_mut(), 1, null_mut()),
            vmesh_microphone_feed_write(0, null(), 1, null_mut()),
        ] {
            assert_eq!(result, VMESH_ERROR_NULL);
        }
        assert_eq!(handle, 0);
        assert_eq!(
            vmesh_participant_level(peer, null(), null_mut(), null_mut()),
            VMESH_OK,
            "neither value is wanted"
        );
    }
    assert_eq!(vmesh_room_close(peer), VMESH_OK);
}

#[test]
fn what_makes_no_sense_in_a_game_is_refused() {
    let folder = Folder::new("values-game");
    let peer = joined(&folder);
    let (name, length) = group();
    let long = "x".repeat(129);
    let (mut handle, mut sample) = (1, [0_u32; 2]);
    let odd = sample.as_mut_ptr().cast::<u8>().wrapping_add(1).cast::<f32>();
    let falling =
        [vmesh_point { distance: 2.0, gain: 1.0 }, vmesh_point { distance: 1.0, gain: 0.0 }];
    let id = &raw const ID;
    // SAFETY: as it must be, but for the values.
    unsafe {
        for (number, result) in [
            vmesh_speaker_set_listener(peer, &vmesh_pose { up: NOT_A_NUMBER, ..AHEAD }),
            vmesh_participant_set_position(peer, id, &NOT_A_NUMBER, null()),
            vmesh_participant_set_position(peer, id, &HERE, &NOT_A_NUMBER),
            vmesh_speaker_set_attenuation(peer, 4, 1.0, 50.0, 1.0),
            vmesh_speaker_set_attenuation_points(peer, null(), 0),
            vmesh_speaker_set_attenuation_points(peer, falling.as_ptr(), 2),
            vmesh_grid_new(name, length, f32::NAN, 0, &raw mut handle),
            vmesh_grid_new(name, length, 20.0, 3, &raw mut handle),
            vmesh_grid_new(long.as_ptr().cast(), long.len(), 20.0, 0, &raw mut handle),
            vmesh_room_move_in(peer, 0, &NOT_A_NUMBER),
            vmesh_room_transmit_to_group(peer, name, length, 2.1, 0, 0, &raw mut handle),
            vmesh_room_transmit_to_group(peer, name, length, f32::NAN, 0, 0, &raw mut handle),
            vmesh_room_transmit_to_peer(peer, id, 1.0, 3, 0, &raw mut handle),
            vmesh_transmission_set(0, 1.0, -2, 0),
            vmesh_participant_open_voice(peer, id, 7_999, &raw mut handle),
            vmesh_speaker_open_mix(peer, 192_001, &raw mut handle),
            vmesh_microphone_open_feed(peer, 0, &raw mut handle),
            vmesh_peer_voice_read(0, odd, 1, null_mut()),
            vmesh_mix_voice_read(0, odd, usize::MAX, null_mut()),
            vmesh_microphone_feed_write(0, odd, 1, null_mut()),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(result, VMESH_ERROR_BAD_VALUE, "number {number}");
        }
        assert_eq!(handle, 0);
        assert_eq!(
            vmesh_participant_connect(peer, id, c"r1-no".as_ptr(), VMESH_NUL_TERMINATED),
            VMESH_ERROR_BAD_TOKEN
        );
        assert_eq!(
            vmesh_participant_metadata_key(peer, id, 0, null_mut(), 0, null_mut()),
            VMESH_ERROR_UNKNOWN_PEER
        );
        assert_eq!(vmesh_lobby_room_metadata_key(peer, 0, null_mut(), 0, null_mut()), VMESH_EMPTY);
        let mut owner = ID;
        assert_eq!(vmesh_lobby_owner(peer, &raw mut owner), VMESH_EMPTY);
        assert_eq!(owner, vmesh_peer_id::default(), "no owner");
        let (mut level, mut speaking) = (1.0, 1);
        assert_eq!(vmesh_participant_level(peer, id, &raw mut level, &raw mut speaking), VMESH_OK);
        assert_eq!(
            (level, speaking),
            (crate::state::SILENCE_DBFS, 0),
            "a peer that is not present"
        );
    }
    assert_eq!(vmesh_room_close(peer), VMESH_OK);
}

#[test]
fn handles_in_a_game_are_harmless_after_they_or_their_peer_are_closed() {
    let folder = Folder::new("handles-game");
    let peer = joined(&folder);
    let (name, length) = group();
    let (mut speaking, mut grid, mut voice, mut mix, mut microphone) = (0, 0, 0, 0, 0);
    let (mut samples, mut moved) = ([1.0; 960], 9);
    // SAFETY: as it must be.
    unsafe {
        for result in [
            vmesh_room_transmit_to_group(peer, name, length, 0.5, 2, 1, &raw mut speaking),
            vmesh_grid_new(name, length, 20.0, 0, &raw mut grid),
            vmesh_participant_open_voice(peer, &ID, 44_100, &raw mut voice),
            vmesh_speaker_open_mix(peer, 48_000, &raw mut mix),
            vmesh_microphone_open_feed(peer, 16_000, &raw mut microphone),
            vmesh_speaker_set_listener(peer, &AHEAD),
            vmesh_participant_set_position(peer, &ID, &HERE, &HERE),
            vmesh_participant_clear_position(peer, &ID),
            vmesh_speaker_set_attenuation(
                peer,
                vmesh_attenuation::VMESH_ATTENUATION_LINEAR as i32,
                1.0,
                9.0,
                1.0,
            ),
            vmesh_transmission_set(speaking, 2.0, -1, 0),
            vmesh_room_move_in(peer, grid, &HERE),
            vmesh_group_listen(peer, name, length),
        ] {
            assert_eq!(result, VMESH_OK, "{}", last_error());
        }
        let wrong = [
            vmesh_peer_voice_close(mix),
            vmesh_mix_voice_close(voice),
            vmesh_grid_close(speaking),
            vmesh_transmission_close(peer),
            vmesh_microphone_feed_close(1),
            vmesh_peer_voice_read(mix, samples.as_mut_ptr(), 960, null_mut()),
        ];
        assert_eq!(wrong, [VMESH_ERROR_BAD_HANDLE; 6]);
        assert_eq!(vmesh_room_close(peer), VMESH_OK);
        // The handles outlive the peer: nothing is heard, nothing is sent, and nothing reads the
        // microphone.
        samples.fill(1.0);
        assert_eq!(
            vmesh_peer_voice_read(voice, samples.as_mut_ptr(), 960, &raw mut moved),
            VMESH_OK
        );
        assert_eq!((moved, samples), (0, [0.0; 960]));
        samples.fill(1.0);
        assert_eq!(vmesh_mix_voice_read(mix, samples.as_mut_ptr(), 480, &raw mut moved), VMESH_OK);
        assert_eq!(samples, [0.0; 960]);
        assert_eq!(
            vmesh_microphone_feed_write(microphone, samples.as_ptr(), 160, &raw mut moved),
            VMESH_OK
        );
        assert_eq!(moved, 160);
        assert_eq!(vmesh_transmission_set(speaking, 1.0, 0, 0), VMESH_OK);
        assert_eq!(
            vmesh_room_move_in(peer, grid, &HERE),
            VMESH_ERROR_CLOSED,
            "a grid does need it"
        );
        for _ in 0..2 {
            let closed = [
                vmesh_transmission_close(speaking),
                vmesh_grid_close(grid),
                vmesh_peer_voice_close(voice),
                vmesh_mix_voice_close(mix),
                vmesh_microphone_feed_close(microphone),
            ];
            assert_eq!(closed, [VMESH_OK; 5]);
        }
        samples.fill(1.0);
        let after = [
            vmesh_peer_voice_read(voice, samples.as_mut_ptr(), 960, &raw mut moved),
            vmesh_mix_voice_read(mix, samples.as_mut_ptr(), 480, null_mut()),
            vmesh_microphone_feed_write(microphone, samples.as_ptr(), 960, null_mut()),
            vmesh_transmission_set(speaking, 1.0, 0, 0),
            vmesh_room_leave_grid(peer, grid),
        ];
        assert_eq!(after, [VMESH_ERROR_CLOSED; 5]);
        assert_eq!((moved, samples), (0, [0.0; 960]), "silence after an error");
    }
    let none = [
        vmesh_transmission_close(0),
        vmesh_grid_close(0),
        vmesh_peer_voice_close(0),
        vmesh_mix_voice_close(0),
        vmesh_microphone_feed_close(0),
    ];
    assert_eq!(none, [VMESH_OK; 5]);
}

#[test]
fn a_voice_may_be_closed_while_another_thread_reads_it() {
    let folder = Folder::new("threads-game");
    let peer = joined(&folder);
    for _ in 0..20 {
        let mut voice = 0;
        // SAFETY: as it must be.
        let opened = unsafe { vmesh_participant_open_voice(peer, &ID, 48_000, &raw mut voice) };
        assert_eq!(opened, VMESH_OK);
        let (begun, begins) = std::sync::mpsc::channel();
        let audio = std::thread::spawn(move || {
            let mut samples = [0.0; 480];
            loop {
                // SAFETY: a buffer of its size.
                let result =
                    unsafe { vmesh_peer_voice_read(voice, samples.as_mut_ptr(), 480, null_mut()) };
                let _ = begun.send(());
                match result {
                    VMESH_OK | VMESH_EMPTY => {}
                    result => return result,
                }
            }
        });
        begins.recv().unwrap();
        assert_eq!(vmesh_peer_voice_close(voice), VMESH_OK);
        assert_eq!(audio.join().unwrap(), VMESH_ERROR_CLOSED);
    }
    assert_eq!(vmesh_room_close(peer), VMESH_OK);
}

#[test]
fn events_of_a_lobby_carry_what_they_say() {
    let mut current = Current::default();
    let mut told = |event| {
        let event = current.keep(TimedEvent { at: std::time::Duration::ZERO, event });
        (event, read(event.code), read(event.text))
    };
    let refused = |retry_after| {
        Event::Room(RoomEvent::Refused {
            code: voicemesh::ErrorCode::PasswordWrong,
            message: "no".to_owned(),
            retry_after,
        })
    };
    let (event, code, text) = told(refused(Some(std::time::Duration::from_secs(2))));
    assert_eq!(
        (event.on, event.wait_us, code.as_str(), text.as_str()),
        (1, 2_000_000, "password-wrong", "no")
    );
    assert_eq!(told(refused(None)).0.on, 0);
    let transaction = voicemesh::TransactionId(u64::MAX);
    let (event, code, _) =
        told(Event::Room(RoomEvent::TransactionDone { transaction, result: Ok(()) }));
    assert_eq!((event.r#type, event.transaction, event.on, code.as_str()), (26, u64::MAX, 1, ""));
    let (event, _, text) =
        told(Event::Room(RoomEvent::ReachabilityChanged { token: "r1-x".to_owned() }));
    assert_eq!((event.r#type, text.as_str()), (28, "r1-x"));
    let encryption = MemberEncryption::Encrypted { verified: true };
    for encrypted_before in [false, true] {
        let changed =
            RoomEvent::EncryptionChanged { peer: ID.into(), encryption, encrypted_before };
        let (event, code, _) = told(Event::Room(changed));
        let on = i32::from(encrypted_before);
        assert_eq!((event.r#type, code.as_str(), event.on), (42, "verified", on));
    }
    let metadata = Metadata::from([("map".to_owned(), "ice".to_owned())]);
    assert_eq!(told(Event::Room(RoomEvent::RoomMetadataChanged { metadata })).0.metadata_count, 1);
    for (event, number) in [
        (
            Event::Room(RoomEvent::OwnerChanged { owner: ID.into() }),
            vmesh_event_type::VMESH_EVENT_OWNER_CHANGED,
        ),
        (
            Event::Room(RoomEvent::ConnectionRequested { peer: ID.into() }),
            vmesh_event_type::VMESH_EVENT_CONNECTION_REQUESTED,
        ),
    ] {
        let event = told(event).0;
        assert_eq!((event.r#type, event.peer), (number as i32, ID));
    }
}
