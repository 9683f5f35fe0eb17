//! The edge as hostile or careless callers meet it.

mod game;
mod links;
mod network;
mod over;

use std::ffi::{CStr, c_char};
use std::mem::size_of;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use voicemesh::{DataEvent, Event, Metadata, PasswordChange, RoomEvent, TimedEvent};

use crate::data::*;
use crate::devices::*;
use crate::event::*;
use crate::guard::*;
use crate::memory::Sized32;
use crate::options::*;
use crate::room::*;
use crate::state::*;
use crate::vmesh_result::*;
use crate::*;

/// An address without a server: joining begins, and waits.
const NOWHERE: &CStr = c"ws://127.0.0.1:1";

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("voicemesh-capi-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn in_c(text: &CStr) -> vmesh_string {
    vmesh_string { data: text.as_ptr(), length: VMESH_NUL_TERMINATED }
}

fn filled() -> vmesh_options {
    let mut options = DEFAULTS;
    // SAFETY: a structure of its size.
    let done = unsafe { vmesh_options_init(&raw mut options, size_of::<vmesh_options>() as u32) };
    assert_eq!(done, VMESH_OK);
    vmesh_options {
        server: in_c(NOWHERE),
        room: in_c(c"room"),
        name: in_c(c"Ada"),
        input: in_c(c"silence"),
        output: in_c(c"null"),
        ..options
    }
}

fn joined(folder: &Folder) -> vmesh_room {
    let state_dir = folder.0.to_str().unwrap();
    let state_dir = vmesh_string { data: state_dir.as_ptr().cast(), length: state_dir.len() };
    let (options, mut peer) = (vmesh_options { state_dir, ..filled() }, 0);
    // SAFETY: options as they must be, and a place for the handle.
    let result = unsafe { vmesh_room_join(&raw const options, &raw mut peer) };
    assert_eq!(result, VMESH_OK, "{}", last_error());
    peer
}

fn join(options: &vmesh_options) -> vmesh_result {
    let mut peer = 1;
    // SAFETY: a reference is a pointer, and a place for the handle.
    let result = unsafe { vmesh_room_join(options, &raw mut peer) };
    assert_eq!(peer, 0);
    result
}

fn poll(peer: vmesh_room, event: &mut vmesh_event) -> vmesh_result {
    // SAFETY: a structure with its size.
    unsafe { vmesh_events_poll(peer, event) }
}

fn last_error() -> &'static str {
    // SAFETY: a text that ends in a NUL, read before the next call of this thread.
    unsafe { CStr::from_ptr(vmesh_last_error()) }.to_str().unwrap()
}

fn read(string: vmesh_string) -> String {
    // SAFETY: a text that the library gave, with a NUL behind it.
    let (bytes, nul) = unsafe {
        let data = string.data.cast::<u8>();
        (std::slice::from_raw_parts(data, string.length), data.add(string.length).read())
    };
    assert_eq!(nul, 0);
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_link_with_a_new_key_is_made_and_what_is_none_is_refused() {
    let mut buffer = [0; 80];
    let mut needed = 0;
    let mut new_link = |server: &str, room: &str, capacity: usize| {
        // SAFETY: texts and a buffer of their lengths.
        let result = unsafe {
            vmesh_options_new_link(
                server.as_ptr().cast(),
                server.len(),
                room.as_ptr().cast(),
                room.len(),
                buffer.as_mut_ptr(),
                capacity.min(buffer.len()),
                &raw mut needed,
            )
        };
        // SAFETY: it is zeros, or ends with one.
        let link = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str().unwrap().to_owned();
        (result, link, needed)
    };
    let (result, link, needed) = new_link("wss://voice.example", "tea time", 80);
    assert_eq!(result, VMESH_OK, "{}", last_error());
    assert!(link.starts_with("https://voice.example/r/tea%20time#k="), "{link}");
    assert_eq!(needed, link.len() + 1);
    assert_ne!(new_link("wss://voice.example", "tea time", 80).1, link);
    assert_eq!(new_link("wss://voice.example", "tea time", needed - 1).0, VMESH_ERROR_BUFFER);
    let elsewhere = new_link("wss://voice.example", "https://other.example/r/tea", 80).1;
    assert!(elsewhere.starts_with("https://other.example/r/tea#k="), "{elsewhere}");
    assert_eq!(new_link("no server", "tea", 80).0, VMESH_ERROR_BAD_SERVER);
    assert_eq!(new_link("wss://voice.example", " ", 80).0, VMESH_ERROR_BAD_NAME);
    // Its own key is another's.
    let former = new_link("wss://voice.example", &link, 80).1;
    assert!(former != link && former.starts_with("https://voice.example/r/tea%20time#k="));
}

#[test]
fn a_handle_is_of_use_until_it_is_closed_and_harmless_after() {
    let folder = Folder::new("closed");
    let peer = joined(&folder);
    let mut event = NONE;
    assert_eq!(
        vmesh_events_wait(peer, 10_000),
        VMESH_OK,
        "the event that the room is empty wakes the wait"
    );
    assert_eq!(poll(peer, &mut event), VMESH_OK);
    assert_eq!(event.r#type, vmesh_event_type::VMESH_EVENT_SERVER_AWAY as i32);
    assert!(!read(event.text).is_empty() && event.wait_us > 0);
    assert_eq!(vmesh_microphone_set_muted(peer, 1), VMESH_OK);
    let waiting = std::thread::spawn(move || while vmesh_events_wait(peer, 50) as i32 >= 0 {});
    assert_eq!(vmesh_room_close(peer), VMESH_OK);
    waiting.join().unwrap();
    assert_eq!((vmesh_room_close(peer), vmesh_room_close(0)), (VMESH_OK, VMESH_OK));
    assert_eq!(poll(peer, &mut event), VMESH_ERROR_CLOSED);
    assert_eq!(event.r#type, vmesh_event_type::VMESH_EVENT_NONE as i32);
    assert_eq!(
        (vmesh_microphone_set_muted(peer, 0), vmesh_events_wait(peer, 0)),
        (VMESH_ERROR_CLOSED, VMESH_ERROR_CLOSED)
    );
    assert_eq!(last_error(), "the handle was closed; open a new one");
    assert_eq!(
        vmesh_room_close(peer | u64::from(u32::MAX)),
        VMESH_ERROR_BAD_HANDLE,
        "no slot has this number"
    );
}

#[test]
fn null_is_an_error_wherever_it_is_none() {
    let folder = Folder::new("null");
    let peer = joined(&folder);
    let (mut event, mut handle, mut count) = (NONE, 0, 0);
    let id = vmesh_peer_id::default();
    // SAFETY: null where a pointer is asked for, and else as it must be.
    unsafe {
        for result in [
            vmesh_options_init(null_mut(), size_of::<vmesh_options>() as u32),
            vmesh_room_join(null(), &raw mut handle),
            vmesh_room_join(&DEFAULTS, null_mut()),
            vmesh_events_poll(peer, null_mut()),
            vmesh_room_snapshot(peer, null_mut()),
            vmesh_room_peers(
                peer,
                null_mut(),
                size_of::<vmesh_peer_state>() as u32,
                1,
                &raw mut count,
            ),
            vmesh_room_peers(peer, null_mut(), size_of::<vmesh_peer_state>() as u32, 0, null_mut()),
            vmesh_devices(null_mut(), size_of::<vmesh_device>() as u32, 1, &raw mut count),
            vmesh_participant_set_gain(peer, null(), 1.0),
            vmesh_participant_set_muted(peer, null(), 1),
            vmesh_participant_send_text(peer, null(), null(), 0),
            vmesh_room_send_text(peer, null(), 5),
            vmesh_room_start_recording(peer, null(), 5),
            vmesh_group_join(peer, null(), 5),
            vmesh_group_send_text(peer, null(), 5, null(), 0),
            vmesh_group_send_text(peer, null(), 0, null(), 5),
            vmesh_participant_send(peer, null(), null(), 0, 1),
            vmesh_participant_send(peer, &raw const id, null(), 5, 1),
            vmesh_room_send_to_all(peer, null(), 5, 0),
            vmesh_channel_send(peer, &raw const id, 0, null(), 5),
            vmesh_channel_open(peer, null(), 0, 1),
            vmesh_channel_close(peer, null(), 0),
            vmesh_participant_close_channels(peer, null()),
            vmesh_participant_queued_bytes(peer, null(), &raw mut count),
            vmesh_participant_queued_bytes(peer, &raw const id, null_mut()),
            vmesh_peer_id_text(null(), null_mut(), 0),
            vmesh_peer_id_text(&raw const id, null_mut(), 37),
        ] {
            assert_eq!(result, VMESH_ERROR_NULL);
            assert!(last_error().contains(" is a null pointer; "), "{}", last_error());
        }
        assert_eq!(
            vmesh_room_peers(
                peer,
                null_mut(),
                size_of::<vmesh_peer_state>() as u32,
                0,
                &raw mut count
            ),
            VMESH_OK
        );
        assert_eq!(vmesh_room_start_recording(peer, null(), 0), VMESH_ERROR_BAD_VALUE);
        let file = folder.0.join("recording");
        let text = file.to_str().unwrap();
        assert_eq!(
            vmesh_room_start_recording(peer, text.as_ptr().cast(), text.len()),
            VMESH_ERROR_SERVER_AWAY
        );
        assert!(last_error().starts_with("the server is out of reach"), "{}", last_error());
        assert_eq!(vmesh_room_stop_recording(peer), VMESH_OK);
        let mut recording = 7;
        assert_eq!(vmesh_room_is_recording(peer, &raw mut recording), VMESH_OK);
        assert_eq!(recording, 0);
        assert_eq!(vmesh_room_is_recording(peer, null_mut()), VMESH_ERROR_NULL);
        assert_eq!(
            vmesh_participant_held_group(peer, null(), 0, null_mut(), 0, null_mut()),
            VMESH_EMPTY
        );
        let mut length = 0;
        let code = || vmesh_room_safety_code(peer, null_mut(), 0, &raw mut length);
        // The engine has it from its first turn on.
        let until = Instant::now() + Duration::from_secs(10);
        let result = std::iter::repeat_with(code).find(|result| {
            assert!(Instant::now() < until, "there is no code");
            *result != VMESH_EMPTY
        });
        assert_eq!(result, Some(VMESH_ERROR_BUFFER));
        assert_eq!(length, 36);
        assert_eq!(
            vmesh_participant_held_group(peer, &raw const id, 0, null_mut(), 0, null_mut()),
            VMESH_ERROR_UNKNOWN_PEER
        );
        assert_eq!(
            vmesh_participant_send(peer, &raw const id, null(), 0, 2),
            VMESH_ERROR_BAD_VALUE
        );
        assert_eq!(
            vmesh_participant_send(peer, &raw const id, null(), 0, 1),
            VMESH_ERROR_UNKNOWN_PEER
        );
        assert_eq!(vmesh_channel_send(peer, &raw const id, 9, null(), 0), VMESH_ERROR_UNKNOWN_PEER);
    }
    assert_ne!(poll(peer, &mut event), VMESH_ERROR_NULL);
    assert_eq!(vmesh_room_close(peer), VMESH_OK);
}

#[test]
fn what_stands_for_no_choice_is_refused() {
    let good = filled();
    let not_utf8 = vmesh_string { data: c"\xFF".as_ptr(), length: 1 };
    let endless = vmesh_string { data: NOWHERE.as_ptr(), length: usize::MAX / 2 };
    let long = "x".repeat(300);
    let too_long = vmesh_string { data: long.as_ptr().cast(), length: long.len() };
    for (options, expected) in [
        (vmesh_options { presence: 3, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { connections: 2, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { handedness: -1, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { password: too_long, ..good }, VMESH_ERROR_BAD_PASSWORD),
        (vmesh_options { activation: -1, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { input_channel: 65_536, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { activation: 3, release_ms: 5_001, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { has_processing: 1, noise_suppression: 4, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { server: endless, ..good }, VMESH_ERROR_BAD_VALUE),
        (vmesh_options { room: not_utf8, ..good }, VMESH_ERROR_BAD_TEXT),
        (vmesh_options { room: too_long, ..good }, VMESH_ERROR_BAD_NAME),
        (vmesh_options { name: in_c(c"a\nb"), ..good }, VMESH_ERROR_BAD_NAME),
        // A link is followed, and not taken for a name.
        (vmesh_options { room: in_c(c"https://a.example/"), ..good }, VMESH_ERROR_BAD_NAME),
        (vmesh_options { room: in_c(c"https://a.example/r/.."), ..good }, VMESH_ERROR_BAD_NAME),
        (vmesh_options { server: in_c(c"ftp://x"), ..good }, VMESH_ERROR_BAD_SERVER),
        (
            vmesh_options { server: vmesh_string { data: null(), length: 3 }, ..good },
            VMESH_ERROR_NULL,
        ),
        (vmesh_options { metadata_count: 1, ..good }, VMESH_ERROR_NULL),
        (vmesh_options { input: in_c(c"tone:x"), ..good }, VMESH_ERROR_DEVICE),
        (vmesh_options { extra_root_pem: in_c(c"/nowhere.pem"), ..good }, VMESH_ERROR_CERTIFICATE),
        (vmesh_options { size: 4, ..good }, VMESH_ERROR_BAD_SIZE),
        (vmesh_options { size: u32::MAX, ..good }, VMESH_ERROR_BAD_SIZE),
    ] {
        assert_eq!(join(&options), expected, "{}", last_error());
        let sentence = last_error();
        assert!(
            ["; ", ". Use ", " is written "].iter().any(|step| sentence.contains(step))
                && !sentence.contains("os error"),
            "no next step: {sentence}"
        );
    }
}

#[test]
fn structures_of_other_versions_are_understood() {
    // One that is longer than ours: what we do not know must be zero.
    #[repr(C)]
    struct Longer {
        ours: vmesh_options,
        more: u64,
    }
    let size = size_of::<Longer>() as u32;
    let mut longer = Longer { ours: filled(), more: 9 };
    // SAFETY: a structure of that size.
    assert_eq!(unsafe { vmesh_options_init((&raw mut longer).cast(), size) }, VMESH_OK);
    assert_eq!((longer.ours.size, longer.more), (size, 0), "all of it is initialised");
    longer.ours.server = in_c(c"ftp://x");
    let mut peer = 0;
    // SAFETY: as above.
    let mut join =
        |longer: &Longer| unsafe { vmesh_room_join((&raw const *longer).cast(), &raw mut peer) };
    assert_eq!(join(&longer), VMESH_ERROR_BAD_SERVER, "it was read");
    longer.more = 1;
    assert_eq!(join(&longer), VMESH_ERROR_BAD_SIZE);
    assert!(last_error().contains("does not have"), "{}", last_error());

    // One that is shorter: nothing is written behind it.
    let folder = Folder::new("versions");
    let peer = joined(&folder);
    let mut memory = [0xAA_u8; size_of::<vmesh_event>() + 64];
    let (event, size) = (memory.as_mut_ptr().cast::<vmesh_event>(), vmesh_event::FIRST);
    // SAFETY: bytes enough, and their first four are the size.
    unsafe { event.cast::<u32>().write_unaligned(size as u32) };
    // SAFETY: as above.
    while unsafe { vmesh_events_poll(peer, event) } == VMESH_OK {}
    assert!(memory[size..].iter().all(|byte| *byte == 0xAA));
    assert_eq!(memory[..4], (size as u32).to_ne_bytes());
    // SAFETY: as above, with a size that is too small.
    unsafe { event.cast::<u32>().write_unaligned(8) };
    // SAFETY: as above.
    assert_eq!(unsafe { vmesh_events_poll(peer, event) }, VMESH_ERROR_BAD_SIZE);
    assert_eq!(vmesh_room_close(peer), VMESH_OK);
}

#[test]
fn an_event_points_to_what_happened() {
    let mut current = Current::default();
    let metadata =
        Metadata::from([("a".to_owned(), String::new()), ("team".to_owned(), "röd".to_owned())]);
    let id = vmesh_peer_id { bytes: [7; 16] };
    let joined = |metadata| TimedEvent {
        at: std::time::Duration::from_millis(3),
        event: Event::Room(RoomEvent::PeerJoined {
            peer: id.into(),
            name: "Ada\0!".to_owned(),
            metadata,
        }),
    };
    let event = current.keep(joined(metadata));
    assert_eq!(
        (event.r#type, event.at_us, event.peer),
        (vmesh_event_type::VMESH_EVENT_PEER_JOINED as i32, 3_000, id)
    );
    assert_eq!((read(event.name), read(event.text)), ("Ada\0!".to_owned(), String::new()));
    // SAFETY: so many pairs, until the next event.
    let pairs = unsafe { std::slice::from_raw_parts(event.metadata, event.metadata_count) };
    let pairs: Vec<_> = pairs.iter().map(|pair| (read(pair.key), read(pair.value))).collect();
    assert_eq!(pairs, [("a", ""), ("team", "röd")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let message = voicemesh::Bytes::from_static(b"\0\x01\x02");
    let sent = message.as_ptr();
    let event = current.keep(TimedEvent {
        at: std::time::Duration::ZERO,
        event: Event::Data(DataEvent::ChannelMessage {
            from: id.into(),
            channel: 255,
            data: message,
            reliability: voicemesh::Reliability::Reliable,
        }),
    });
    assert_eq!((event.data, event.data_length), (sent, 3), "not copied");
    assert_eq!((event.channel, event.reliability), (255, vmesh_reliability::VMESH_RELIABLE as i32));
    let event = current.keep(joined(Metadata::new()));
    assert!(event.metadata.is_null() && event.metadata_count == 0);
}

#[test]
fn what_moderators_and_members_do_is_an_event_of_its_own() {
    let mut current = Current::default();
    let id = vmesh_peer_id { bytes: [7; 16] };
    let mut keep = |event| current.keep(TimedEvent { at: std::time::Duration::ZERO, event });
    let groups = |event: vmesh_event| {
        if event.groups.is_null() {
            return Vec::new();
        }
        // SAFETY: so many texts, until the next event.
        let groups = unsafe { std::slice::from_raw_parts(event.groups, event.group_count) };
        groups.iter().map(|group| read(*group)).collect()
    };
    let event =
        keep(Event::Room(RoomEvent::Moved { groups: vec!["Red".to_owned(), "röd".to_owned()] }));
    assert_eq!(
        (event.r#type, groups(event)),
        (vmesh_event_type::VMESH_EVENT_MOVED as i32, vec!["Red".into(), "röd".into()])
    );
    let event =
        keep(Event::Room(RoomEvent::Held { peer: id.into(), groups: vec!["Red".to_owned()] }));
    assert_eq!(
        (event.r#type, event.peer, groups(event)),
        (vmesh_event_type::VMESH_EVENT_HELD as i32, id, vec!["Red".into()])
    );
    let event = keep(Event::Room(RoomEvent::Held { peer: id.into(), groups: Vec::new() }));
    assert_eq!(
        (event.r#type, groups(event)),
        (vmesh_event_type::VMESH_EVENT_HELD as i32, Vec::<String>::new())
    );
    let event = keep(Event::Room(RoomEvent::RoomLocked { locked: true }));
    assert_eq!((event.r#type, event.on), (vmesh_event_type::VMESH_EVENT_ROOM_LOCKED as i32, 1));
    assert_eq!(groups(event), Vec::<String>::new());
    for (change, on) in [(PasswordChange::Changed, 1), (PasswordChange::Removed, 0)] {
        let event = keep(Event::Room(RoomEvent::RoomPassword { change }));
        assert_eq!(
            (event.r#type, event.on, read(event.code).as_str()),
            (vmesh_event_type::VMESH_EVENT_ROOM_PASSWORD as i32, on, change.name())
        );
    }
    let event =
        keep(Event::Room(RoomEvent::OwnerRight { state: voicemesh::OwnerRightState::Later }));
    assert_eq!(
        (event.r#type, read(event.code).as_str()),
        (vmesh_event_type::VMESH_EVENT_OWNER_RIGHT as i32, "later")
    );
    let status = voicemesh::MemberStatus {
        muted: true,
        recording: true,
        ..voicemesh::MemberStatus::default()
    };
    let event = keep(Event::Room(RoomEvent::StatusChanged { peer: id.into(), status }));
    let bits =
        vmesh_status::VMESH_STATUS_MUTED as i32 | vmesh_status::VMESH_STATUS_RECORDING as i32;
    assert_eq!(
        (event.r#type, event.peer, event.status),
        (vmesh_event_type::VMESH_EVENT_STATUS_CHANGED as i32, id, bits)
    );
    let text = |group: Option<&str>| {
        Event::Room(RoomEvent::Text {
            from: id.into(),
            name: "Ada".to_owned(),
            private: group.is_none(),
            group: group.map(str::to_owned),
            text: "hello".to_owned(),
        })
    };
    let event = keep(text(Some("Red")));
    assert_eq!(
        (groups(event), read(event.text).as_str(), event.on),
        (vec!["Red".to_owned()], "hello", 0)
    );
    assert!(keep(text(None)).groups.is_null());
}

#[test]
fn texts_fit_the_buffer_or_say_what_they_need() {
    let id = vmesh_peer_id { bytes: [0xAB; 16] };
    let mut buffer: [c_char; 37] = [1; 37];
    // SAFETY: buffers of their size.
    unsafe {
        assert_eq!(vmesh_peer_id_text(&raw const id, buffer.as_mut_ptr(), 36), VMESH_ERROR_BUFFER);
        assert_eq!(buffer, [1; 37]);
        assert_eq!(vmesh_peer_id_text(&raw const id, buffer.as_mut_ptr(), 37), VMESH_OK);
        assert_eq!(
            CStr::from_ptr(buffer.as_ptr()).to_str(),
            Ok("abababab-abab-abab-abab-abababababab")
        );
    }
    let cut: [c_char; 4] = memory::array("aöö");
    assert_eq!(cut.map(|byte| byte as u8), [b'a', 0xC3, 0xB6, 0], "never within a character");
}

#[test]
fn a_panic_stays_inside() {
    let result = guarded(|| panic!("number {}", 5));
    assert_eq!(
        (result, last_error()),
        (
            VMESH_ERROR_INTERNAL,
            "a fault of voicemesh: number 5; close the handle, and report this sentence"
        )
    );
    let meaning = |result| {
        // SAFETY: a constant text that ends in a NUL.
        unsafe { CStr::from_ptr(vmesh_result_text(result)) }.to_str().unwrap()
    };
    assert_eq!(meaning(-3), "the handle was closed; open a new one");
    assert!(meaning(77).starts_with("an unknown result"), "{}", meaning(77));
    let last = vmesh_result::VMESH_ERROR_NO_NETWORK as i32;
    assert!((last..=1).all(|result| meaning(result) != meaning(77)));
    assert_eq!(meaning(last - 1), meaning(77), "another was added");
}

/// One table numbers and names the events; the header and the C# source follow it.
#[test]
fn the_header_and_the_csharp_source_number_the_events_as_the_table_does() {
    let header = include_str!("../include/voicemesh.h");
    let csharp = include_str!("../unity/Runtime/Native.cs");
    let in_csharp =
        csharp.split("enum EventType").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    for kind in voicemesh::EventKind::ALL {
        let c = format!(
            "VMESH_EVENT_{} = {},",
            kind.name().replace('-', "_").to_uppercase(),
            kind.number()
        );
        assert!(header.contains(&c), "{c}");
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        let name: String = kind.name().split('-').map(capital).collect();
        assert_eq!(format!("{kind:?}"), name);
        let is_there =
            |line: &str| line.trim().trim_end_matches(',') == format!("{name} = {}", kind.number());
        assert!(in_csharp.lines().any(is_there), "{name} = {}", kind.number());
    }
    let numbered = |text: &str, prefix: &str| {
        text.lines().filter(|line| line.trim().starts_with(prefix) && line.contains(" = ")).count()
    };
    // And VMESH_EVENT_NONE and VMESH_EVENT_OTHER, of which C# has the first.
    assert_eq!(numbered(header, "VMESH_EVENT_"), voicemesh::EventKind::ALL.len() + 2);
    assert_eq!(numbered(in_csharp, ""), voicemesh::EventKind::ALL.len() + 1);
}
