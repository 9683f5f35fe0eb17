//! What a game calls each frame allocates nothing and fills no queue.

use voicemesh::{Attenuation, InputSpec, JoinOptions, OutputSpec, Peer, PeerId, Pose};
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
    let peer = Peer::join(options).unwrap();
    let others: Vec<PeerId> = (0..300).map(peer_id).collect();
    let mut voice = peer.open_voice(others[0]);
    let mut sound = [1.0; 480];
    let mut frame = |number: u16| {
        let at = [f32::from(number), 0.0, 0.0];
        peer.set_listener(Pose { position: at, ..Pose::default() });
        peer.set_attenuation(Attenuation::Linear { reference: 1.0, max: 30.0, rolloff: 1.0 });
        for other in &others {
            peer.set_position(*other, at, [1.0, 0.0, 0.0]);
            assert_eq!((peer.level(*other), peer.is_speaking(*other)), (None, false));
        }
        peer.clear_position(others[1]);
        voice.read(&mut sound);
        peer.own_level() + peer.read_snapshot(|now| now.peers.len()) as f32
    };
    frame(0);
    let mut levels = 0.0;
    let allocations = allocation_counter::measure(|| levels = (0..200).map(&mut frame).sum());
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    assert!(levels < 0.0);
    drop(peer);
    let _ = std::fs::remove_dir_all(folder);
}
