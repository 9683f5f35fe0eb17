//! The lobby and the voice in a game, as careless callers meet them.

use super::*;
use crate::lobby::*;
use crate::pcm::*;
use crate::places::*;
use crate::speak::*;

static ID: vm_peer_id = vm_peer_id { bytes: [7; 16] };
const HERE: vm_vector = vm_vector { x: 1.0, y: 0.0, z: -2.0 };
const NOT_A_NUMBER: vm_vector = vm_vector { y: f32::NAN, ..HERE };
const AHEAD: vm_pose = vm_pose {
    position: HERE,
    forward: vm_vector { x: 0.0, y: 0.0, z: -1.0 },
    up: vm_vector { x: 0.0, y: 1.0, z: 0.0 },
};

/// A name in C, for calls that take a pointer and a length.
fn group() -> (*const c_char, usize) {
    (c"team".as_ptr(), VM_NUL_TERMINATED)
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
            vm_get_owner(peer, null_mut()),
            vm_set_metadata(peer, null(), 1, null_mut()),
            vm_set_room_metadata(peer, null(), 1, null_mut()),
            vm_get_metadata(peer, null(), null(), 1, null_mut(), 0, null_mut()),
            vm_get_room_metadata(peer, null(), 1, null_mut(), 0, null_mut()),
            vm_connect_peer(peer, null(), name, length),
            vm_connect_peer(peer, id, null(), 3),
            vm_update_peer(peer, null(), name, length),
            vm_disconnect_peer(peer, null()),
            vm_set_listener(peer, null()),
            vm_set_position(peer, null(), &HERE, null()),
            vm_set_position(peer, id, null(), null()),
            vm_clear_position(peer, null()),
            vm_set_attenuation_points(peer, null(), 1),
            vm_create_grid(name, length, 20.0, 0, null_mut()),
            vm_create_grid(null(), 1, 20.0, 0, &raw mut handle),
            vm_move_in_grid(peer, 0, null()),
            vm_speak_to_group(peer, name, length, 1.0, 0, 0, null_mut()),
            vm_speak_to_group(peer, null(), 1, 1.0, 0, 0, &raw mut handle),
            vm_speak_to_peer(peer, null(), 1.0, 0, 0, &raw mut handle),
            vm_listen(peer, null(), 1),
            vm_unlisten(peer, null(), 1),
            vm_open_voice(peer, null(), 48_000, &raw mut handle),
            vm_open_voice(peer, id, 48_000, null_mut()),
            vm_open_mix(peer, 48_000, null_mut()),
            vm_open_microphone(peer, 48_000, null_mut()),
            vm_read_voice(0, null_mut(), 1, &raw mut count),
            vm_read_mix(0, null_mut(), 1, null_mut()),
            vm_write_microphone(0, null(), 1, null_mut()),
        ] {
            assert_eq!(result, VM_ERROR_NULL);
        }
        assert_eq!(handle, 0);
        assert_eq!(vm_get_level(peer, null(), null_mut(), null_mut()), VM_OK, "neither value is wanted");
    }
    assert_eq!(vm_close(peer), VM_OK);
}

#[test]
fn what_makes_no_sense_in_a_game_is_refused() {
    let folder = Folder::new("values-game");
    let peer = joined(&folder);
    let (name, length) = group();
    let long = "x".repeat(129);
    let (mut handle, mut sample) = (1, [0_u32; 2]);
    let odd = sample.as_mut_ptr().cast::<u8>().wrapping_add(1).cast::<f32>();
    let falling = [vm_point { distance: 2.0, gain: 1.0 }, vm_point { distance: 1.0, gain: 0.0 }];
    let id = &raw const ID;
    // SAFETY: as it must be, but for the values.
    unsafe {
        for (number, result) in [
            vm_set_listener(peer, &vm_pose { up: NOT_A_NUMBER, ..AHEAD }),
            vm_set_position(peer, id, &NOT_A_NUMBER, null()),
            vm_set_position(peer, id, &HERE, &NOT_A_NUMBER),
            vm_set_attenuation(peer, 4, 1.0, 50.0, 1.0),
            vm_set_attenuation_points(peer, null(), 0),
            vm_set_attenuation_points(peer, falling.as_ptr(), 2),
            vm_create_grid(name, length, f32::NAN, 0, &raw mut handle),
            vm_create_grid(name, length, 20.0, 3, &raw mut handle),
            vm_create_grid(long.as_ptr().cast(), long.len(), 20.0, 0, &raw mut handle),
            vm_move_in_grid(peer, 0, &NOT_A_NUMBER),
            vm_speak_to_group(peer, name, length, 2.1, 0, 0, &raw mut handle),
            vm_speak_to_group(peer, name, length, f32::NAN, 0, 0, &raw mut handle),
            vm_speak_to_peer(peer, id, 1.0, 3, 0, &raw mut handle),
            vm_set_speaking(0, 1.0, -2, 0),
            vm_open_voice(peer, id, 7_999, &raw mut handle),
            vm_open_mix(peer, 192_001, &raw mut handle),
            vm_open_microphone(peer, 0, &raw mut handle),
            vm_read_voice(0, odd, 1, null_mut()),
            vm_read_mix(0, odd, usize::MAX, null_mut()),
            vm_write_microphone(0, odd, 1, null_mut()),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(result, VM_ERROR_BAD_VALUE, "number {number}");
        }
        assert_eq!(handle, 0);
        assert_eq!(vm_connect_peer(peer, id, c"r1-no".as_ptr(), VM_NUL_TERMINATED), VM_ERROR_BAD_TOKEN);
        assert_eq!(vm_get_metadata_key(peer, id, 0, null_mut(), 0, null_mut()), VM_ERROR_UNKNOWN_PEER);
        assert_eq!(vm_get_room_metadata_key(peer, 0, null_mut(), 0, null_mut()), VM_EMPTY);
        let mut owner = ID;
        assert_eq!(vm_get_owner(peer, &raw mut owner), VM_EMPTY);
        assert_eq!(owner, vm_peer_id::default(), "no owner");
        let (mut level, mut speaking) = (1.0, 1);
        assert_eq!(vm_get_level(peer, id, &raw mut level, &raw mut speaking), VM_OK);
        assert_eq!((level, speaking), (crate::state::SILENCE_DBFS, 0), "a peer that is not present");
    }
    assert_eq!(vm_close(peer), VM_OK);
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
            vm_speak_to_group(peer, name, length, 0.5, 2, 1, &raw mut speaking),
            vm_create_grid(name, length, 20.0, 0, &raw mut grid),
            vm_open_voice(peer, &ID, 44_100, &raw mut voice),
            vm_open_mix(peer, 48_000, &raw mut mix),
            vm_open_microphone(peer, 16_000, &raw mut microphone),
            vm_set_listener(peer, &AHEAD),
            vm_set_position(peer, &ID, &HERE, &HERE),
            vm_clear_position(peer, &ID),
            vm_set_attenuation(peer, vm_attenuation::VM_ATTENUATION_LINEAR as i32, 1.0, 9.0, 1.0),
            vm_set_speaking(speaking, 2.0, -1, 0),
            vm_move_in_grid(peer, grid, &HERE),
            vm_listen(peer, name, length),
        ] {
            assert_eq!(result, VM_OK, "{}", last_error());
        }
        let wrong = [
            vm_close_voice(mix),
            vm_close_mix(voice),
            vm_close_grid(speaking),
            vm_stop_speaking(peer),
            vm_close_microphone(1),
            vm_read_voice(mix, samples.as_mut_ptr(), 960, null_mut()),
        ];
        assert_eq!(wrong, [VM_ERROR_BAD_HANDLE; 6]);
        assert_eq!(vm_close(peer), VM_OK);
        // The handles outlive the peer: nothing is heard, nothing is sent, and nothing reads the microphone.
        samples.fill(1.0);
        assert_eq!(vm_read_voice(voice, samples.as_mut_ptr(), 960, &raw mut moved), VM_OK);
        assert_eq!((moved, samples), (0, [0.0; 960]));
        samples.fill(1.0);
        assert_eq!(vm_read_mix(mix, samples.as_mut_ptr(), 480, &raw mut moved), VM_OK);
        assert_eq!(samples, [0.0; 960]);
        assert_eq!(vm_write_microphone(microphone, samples.as_ptr(), 160, &raw mut moved), VM_OK);
        assert_eq!(moved, 160);
        assert_eq!(vm_set_speaking(speaking, 1.0, 0, 0), VM_OK);
        assert_eq!(vm_move_in_grid(peer, grid, &HERE), VM_ERROR_CLOSED, "a grid does need it");
        for _ in 0..2 {
            let closed = [
                vm_stop_speaking(speaking),
                vm_close_grid(grid),
                vm_close_voice(voice),
                vm_close_mix(mix),
                vm_close_microphone(microphone),
            ];
            assert_eq!(closed, [VM_OK; 5]);
        }
        samples.fill(1.0);
        let after = [
            vm_read_voice(voice, samples.as_mut_ptr(), 960, &raw mut moved),
            vm_read_mix(mix, samples.as_mut_ptr(), 480, null_mut()),
            vm_write_microphone(microphone, samples.as_ptr(), 960, null_mut()),
            vm_set_speaking(speaking, 1.0, 0, 0),
            vm_leave_grid(peer, grid),
        ];
        assert_eq!(after, [VM_ERROR_CLOSED; 5]);
        assert_eq!((moved, samples), (0, [0.0; 960]), "silence after an error");
    }
    let none = [vm_stop_speaking(0), vm_close_grid(0), vm_close_voice(0), vm_close_mix(0), vm_close_microphone(0)];
    assert_eq!(none, [VM_OK; 5]);
}

#[test]
fn a_voice_may_be_closed_while_another_thread_reads_it() {
    let folder = Folder::new("threads-game");
    let peer = joined(&folder);
    for _ in 0..20 {
        let mut voice = 0;
        // SAFETY: as it must be.
        assert_eq!(unsafe { vm_open_voice(peer, &ID, 48_000, &raw mut voice) }, VM_OK);
        let (begun, begins) = std::sync::mpsc::channel();
        let audio = std::thread::spawn(move || {
            let mut samples = [0.0; 480];
            loop {
                // SAFETY: a buffer of its size.
                let result = unsafe { vm_read_voice(voice, samples.as_mut_ptr(), 480, null_mut()) };
                let _ = begun.send(());
                match result {
                    VM_OK | VM_EMPTY => {}
                    result => return result,
                }
            }
        });
        begins.recv().unwrap();
        assert_eq!(vm_close_voice(voice), VM_OK);
        assert_eq!(audio.join().unwrap(), VM_ERROR_CLOSED);
    }
    assert_eq!(vm_close(peer), VM_OK);
}

#[test]
fn events_of_a_lobby_carry_what_they_say() {
    let mut current = Current::default();
    let mut told = |event| {
        let event = current.keep(Stamped { at: std::time::Duration::ZERO, event });
        (event, read(event.code), read(event.text))
    };
    let refused = |retry_after| Event::Refused {
        code: voicemesh::ErrorCode::PasswordWrong,
        message: "no".to_owned(),
        retry_after,
    };
    let (event, code, text) = told(refused(Some(std::time::Duration::from_secs(2))));
    assert_eq!((event.on, event.wait_us, code.as_str(), text.as_str()), (1, 2_000_000, "password-wrong", "no"));
    assert_eq!(told(refused(None)).0.on, 0);
    let transaction = voicemesh::TransactionId(u64::MAX);
    let (event, code, _) = told(Event::TransactionDone { transaction, result: Ok(()) });
    assert_eq!((event.r#type, event.transaction, event.on, code.as_str()), (26, u64::MAX, 1, ""));
    let (event, _, text) = told(Event::ReachabilityChanged { token: "r1-x".to_owned() });
    assert_eq!((event.r#type, text.as_str()), (28, "r1-x"));
    let metadata = Metadata::from([("map".to_owned(), "ice".to_owned())]);
    assert_eq!(told(Event::RoomMetadataChanged { metadata }).0.metadata_count, 1);
    for (event, number) in [
        (Event::OwnerChanged { owner: ID.into() }, vm_event_type::VM_EVENT_OWNER_CHANGED),
        (Event::ConnectionRequested { peer: ID.into() }, vm_event_type::VM_EVENT_CONNECTION_REQUESTED),
    ] {
        let event = told(event).0;
        assert_eq!((event.r#type, event.peer), (number as i32, ID));
    }
}
