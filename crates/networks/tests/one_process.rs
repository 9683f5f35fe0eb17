//! The example game, played.

#[path = "../examples/one_process.rs"]
mod one_process;

use one_process::Party;
use voicemesh_engine::Mode;

const LOUD: f32 = -25.0;
const SILENT: f32 = -80.0;

fn frames(party: &mut Party, frames: usize) {
    (0..frames).for_each(|_| party.frame().unwrap());
}

/// Ada hosts, Ben and Cleo join.
fn three() -> Party {
    let mut party = Party::default();
    let players = ["Ada", "Ben", "Cleo"].map(|name| party.sit_down(name).unwrap());
    party.host(players[0]).unwrap();
    frames(&mut party, 1);
    party.join(players[1]).unwrap();
    party.join(players[2]).unwrap();
    frames(&mut party, 20);
    party
}

#[test]
fn the_others_hear_and_read_each_player_and_none_hears_itself() {
    let mut party = three();
    for speaker in 0..3 {
        party.set_speaks(speaker, true);
        frames(&mut party, 100);
        let heard = [0, 1, 2].map(|player| party.loudness(player));
        for (player, level) in heard.into_iter().enumerate() {
            let is_right = if player == speaker { level < SILENT } else { level > LOUD };
            assert!(is_right, "{speaker} speaks: {heard:?}");
        }
        party.set_speaks(speaker, false);
        frames(&mut party, 100);

        party.write(speaker, "good game").unwrap();
        frames(&mut party, 5);
        let read = [0, 1, 2].map(|player| party.texts(player).len());
        assert_eq!(read, [0, 1, 2].map(|player| usize::from(player != speaker)));
    }
}

/// proves: D-36, D-39
#[test]
fn another_player_hosts_when_the_host_has_left() {
    let mut party = three();
    for round in 0..3 {
        let [host, next, other] = [round % 3, (round + 1) % 3, (round + 2) % 3];
        assert_eq!(
            [host, next, other].map(|player| party.mode(player)),
            [Mode::Host, Mode::Client, Mode::Client]
        );
        assert_eq!(party.names(other).len(), 3, "round {round}");
        party.leave(host);
        frames(&mut party, 5);
        assert!([0, 1, 2].iter().all(|player| party.names(*player).is_empty()));
        party.leave(next);
        party.leave(other);
        party.host(next).unwrap();
        frames(&mut party, 1);
        party.join(host).unwrap();
        party.join(other).unwrap();
        frames(&mut party, 20);
    }
}
