//! Recordings that begin and end during a call: which do not begin, and why.

use voicemesh::{Event, RecordError, Room, RoomEvent};
use voicemesh_tests::room::Folder;

use crate::friends::{PATIENCE, Player, options, two};
use crate::server;

#[test]
fn one_recording_is_kept_at_a_time_and_none_after_leaving() {
    let folder = Folder::create("recording");
    let (ada, mut ben) = two(server(), "recording");
    ada.room.start_recording(folder.file("first")).unwrap();
    ben.wait("Ada records", |event| match event {
        Event::Room(RoomEvent::StatusChanged { peer, status }) => {
            (*peer == ada.you && status.recording).then_some(())
        }
        _ => None,
    });
    assert_eq!(ada.room.start_recording(folder.file("second")), Err(RecordError::AlreadyRecording));
    assert!(!folder.file("second").exists(), "nothing is touched");
    ada.room.stop_recording();
    ada.room.start_recording(folder.file("third")).unwrap();
    let a_file = folder.file("file");
    std::fs::write(&a_file, b"no folder").unwrap();
    assert!(matches!(ben.room.start_recording(&a_file), Err(RecordError::Folder(_))));
    ada.room.leave_and_wait(PATIENCE);
    assert_eq!(ada.room.start_recording(folder.file("fourth")), Err(RecordError::Left));
}

#[test]
fn a_recording_from_the_join_on_is_kept_until_it_is_ended() {
    let folder = Folder::create("recorded");
    let ada = Player::join_with(server(), "recorded", "Ada", |options| {
        options.record(folder.file("first"))
    });
    assert_eq!(ada.room.start_recording(folder.file("second")), Err(RecordError::AlreadyRecording));
    ada.room.stop_recording();
    ada.room.start_recording(folder.file("second")).unwrap();
}

#[test]
fn no_recording_begins_while_the_others_cannot_learn_of_it() {
    let folder = Folder::create("unannounced");
    // The port for discarding is not listened to.
    let (room, _events) =
        Room::join(options("ws://127.0.0.1:9", "nowhere", "Ada", &folder)).unwrap();
    assert_eq!(room.start_recording(folder.file("first")), Err(RecordError::ServerAway));
    assert!(!folder.file("first").exists());
}
