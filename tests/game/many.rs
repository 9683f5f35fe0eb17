//! Eight processes in one room.

use voicemesh_tests::process::Program;
use voicemesh_tests::room::PATIENCE;

use crate::player::{self, BATCH, wait_for, wait_for_batch};
use crate::server;

const PLAYERS: usize = 8;
const BATCHES: u32 = 2;

/// Every pair opens four channels, each side in another order; two of them open a fifth in two
/// ways, and mend it while all send.
///
/// proves: U-13, S-08
#[test]
fn eight_processes_send_on_four_channels_each_and_all_is_exact_and_in_order() {
    let start = |index| player::start(server(), "many", index, PLAYERS, true);
    let mut players: Vec<Program> = (0..PLAYERS).map(start).collect();
    for player in &mut players {
        wait_for(player, "ready");
    }
    for player in &mut players[..2] {
        wait_for(player, "mismatch");
    }
    for player in &mut players {
        player.type_line("send");
    }
    players[1].type_line("mend");
    for player in &mut players {
        player.type_line("send");
    }
    let mut lossy = 0;
    for (index, player) in players.iter_mut().enumerate() {
        for number in 1..=BATCHES {
            (0..PLAYERS)
                .filter(|from| *from != index)
                .for_each(|from| wait_for_batch(player, number, from));
        }
        if index < 2 {
            wait_for(player, "mended");
        }
    }
    for player in &mut players {
        player.type_line("report");
        let report = wait_for(player, "report");
        assert_eq!(report["strangers"], serde_json::json!({}));
        lossy += report["lossy"].as_u64().unwrap();
    }
    let sent = u64::from(2 * BATCHES * BATCH) * (PLAYERS * (PLAYERS - 1)) as u64;
    assert!((sent / 2..=2 * sent).contains(&lossy), "{lossy} of {sent} that may be lost");
    for mut player in players {
        player.type_line("end");
        wait_for(&mut player, "left");
        assert!(player.wait_for_exit(PATIENCE).success(), "{}", player.transcript());
    }
}
