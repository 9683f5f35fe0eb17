//! What a game calls each frame allocates nothing and fills no queue.

use voicemesh::{Attenuation, InputSpec, JoinOptions, OutputSpec, PeerId, Pose, Room};
use voicemesh_wire::identity::{InstallationSecret, prove};

fn peer_id(number: u32) -> PeerId {
    prove(&InstallationSecret([9; 32]), "ws://here", "room", number).peer_id()
}

/// proves: B-11
#[test]
fn places_and_levels_of_a_frame_allocate_nothing() {
    let folder = std::env::temp_dir().join(format!("voicemesh-frame-{}", std::process::id()));
    // There is no server at that address; the calls of each frame do not need one.
    let options = JoinOptions::new("ws://127.0.0.1:9", "room")
        .input(InputSpec::Silence)
        .output(OutputSpec::Null)
        .positional(true)
        .state_dir(&folder);
    let (room, events) = Room::join(options).unwrap();
    let others: Vec<PeerId> = (0..300).map(peer_id).collect();
    let mut voice = room.participant(others[0]).open_voice();
    let mut sound = [1.0; 480];
    let mut frame = |number: u16| {
        let at = [f32::from(number), 0.0, 0.0];
        room.speaker().set_listener(Pose { position: at, ..Pose::default() });
        room.speaker().set_attenuation(Attenuation::Linear {
            reference: 1.0,
            max: 30.0,
            rolloff: 1.0,
        });
        for other in &others {
            room.participant(*other).set_position(at, [1.0, 0.0, 0.0]);
            assert_eq!(
                (room.participant(*other).level(), room.participant(*other).is_speaking()),
                (None, false)
            );
        }
        room.participant(others[1]).clear_position();
        voice.read(&mut sound);
        room.microphone().level() + room.read_snapshot(|now| now.peers.len()) as f32
    };
    frame(0);
    let mut levels = 0.0;
    let allocations = allocation_counter::measure(|| levels = (0..200).map(&mut frame).sum());
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    assert!(levels < 0.0);
    drop((room, events));
    let _ = std::fs::remove_dir_all(folder);
}
