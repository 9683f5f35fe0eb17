use super::*;

const ROOM: Room = Room { rt60_ms: 200.0, loss_db: 6.0, seed: 4 };
const ECHO_ONLY: Processing = Processing { echo_cancellation: true, ..Processing::OFF };

#[test]
fn echo_is_removed_and_again_after_its_delay_has_changed() {
    let delays = [(0, 40 * MS), (10_000 * MS, 120 * MS)];
    let scene = Scene::far_end(1, ROOM, 20_000 * MS, &delays);
    let found = removal(&scene, &scene.process(ECHO_ONLY), &delays);
    assert!(found.settled_db >= 25.0, "{found:?}");
    let (start, change) = found.converged_ms;
    assert!(
        start.is_some_and(|time| time < 5_000) && change.is_some_and(|time| time < 5_000),
        "{found:?}"
    );
}

#[test]
fn without_cancellation_the_echo_stays() {
    let delays = [(0, 40 * MS)];
    let scene = Scene::far_end(1, ROOM, 10_000 * MS, &delays);
    let found = removal(&scene, &scene.process(Processing::OFF), &delays);
    assert!(found.settled_db.abs() < 1.0, "{found:?}");
    assert_eq!(found.converged_ms.0, None);
}

#[test]
fn the_near_speaker_survives_double_talk() {
    let from = 8_000 * MS;
    let scene = Scene::far_end(3, ROOM, 20_000 * MS, &[(0, 40 * MS)]).with_near(0, 0.0, from);
    let alone = scene.clone().near_alone().process(ECHO_ONLY);
    let loss_db = near_loss_db(&alone, &scene.process(ECHO_ONLY), from);
    assert!((0.0..=8.0).contains(&loss_db), "{loss_db} dB are lost");
}

#[test]
fn near_speech_is_unchanged_without_far_speech() {
    let scene = Scene::far_end(3, ROOM, 12_000 * MS, &[(0, 0)]).with_near(0, 0.0, 0).near_alone();
    let change_db = active_level_dbfs(&scene.process(ECHO_ONLY)) - active_level_dbfs(&scene.near);
    assert!(change_db.abs() < 1.0, "{change_db} dB");
}

#[test]
fn echo_is_removed_when_blocks_are_played_and_heard_in_bundles() {
    let scene = Scene::far_end(1, ROOM, 12_000 * MS, &[(0, 60 * MS)]);
    let config = MicrophoneConfig { processing: ECHO_ONLY, activation: Activation::Always };
    let mut microphone = Microphone::new(config).expect("valid settings");
    let mut out = Vec::new();
    for (heard, played) in blocks(&scene.echo).chunks(3).zip(blocks(&scene.played).chunks(3)) {
        played.iter().for_each(|block| microphone.played(block));
        for block in heard {
            microphone.push(block);
            out.extend_from_slice(microphone.next_block().unwrap_or(&[0.0; BLOCK_SAMPLES]));
        }
    }
    let found = removal(&scene, &out, &[(0, 60 * MS)]);
    assert!(found.settled_db >= 25.0, "{found:?}");
}

#[test]
fn switching_suppression_in_mid_call_lets_no_echo_through() {
    let scene = Scene::far_end(1, ROOM, 16_000 * MS, &[(0, 40 * MS)]);
    let config = MicrophoneConfig { processing: ECHO_ONLY, activation: Activation::Always };
    let mut microphone = Microphone::new(config).expect("valid settings");
    let (mut echo_energy, mut out_energy) = (0.0, 0.0);
    for (index, (heard, played)) in
        blocks(&scene.echo).iter().zip(blocks(&scene.played)).enumerate()
    {
        if index == 1_000 {
            microphone.set_processing(Processing {
                noise_suppression: NoiseSuppression::Low,
                ..ECHO_ONLY
            });
        }
        microphone.played(played);
        microphone.push(heard);
        let out = microphone.next_block().map_or(0.0, |block| mean_square(block));
        if index >= 1_000 {
            echo_energy += mean_square(heard);
            out_energy += out;
        }
    }
    let removed_db = 10.0 * (echo_energy / out_energy.max(1e-12)).log10();
    assert!(removed_db >= 20.0, "{removed_db} dB");
}
