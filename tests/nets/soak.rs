//! Eight peers in one room for a long time: speech stays whole and memory stays where it is.

use std::time::Instant;

use voicemesh_tests::nets::{Ended, Joining, Nat, Speaker, now};
use voicemesh_tests::process::Program;

use crate::alone;
use crate::table::write_report;
use crate::two_homes::{TwoHomes, server_url, speech};

/// Length in minutes; the variable sets another.
const VARIABLE: &str = "SOAK_MINUTES";
const MINUTES: f64 = 10.0;
/// Memory counts from here on: buffers have found their size.
const WARM_UP_S: f64 = 60.0;
/// Most that a process may grow afterwards, in MiB.
const MAX_GROWTH_MIB: f64 = 16.0;
const MAX_CONCEALED: f64 = 0.02;
const MAX_LOST_S: f64 = 1.0;

#[test]
#[ignore = "long: make test-long PART=soak"]
fn eight_peers_for_a_long_time() {
    let _alone = alone();
    let name = "eight_peers_for_a_long_time";
    let Some(mut lab) = TwoHomes::new(name, (Nat::PortRestricted, Nat::PortRestricted)) else {
        return;
    };
    lab.serve(&[]);
    let minutes =
        std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(MINUTES);
    let office = lab.internet.public_host("office", 60);
    let url = server_url();
    let speaking = Joining::new(&url, "lab", Some(speech(1)));
    let listening = Joining::new(&url, "lab", None);
    let mut peers = vec![
        Speaker::join(&lab.ada, "ada", &lab.folder, &speaking),
        Speaker::join(&lab.bob, "bob", &lab.folder, &listening),
    ];
    peers.extend(
        (1..=6).map(|number| {
            Speaker::join(&office, &format!("guest{number}"), &lab.folder, &listening)
        }),
    );
    lab.others.push(office);
    peers.iter_mut().for_each(|peer| _ = peer.wait_for("connected"));

    let from = now() + WARM_UP_S;
    // Statuses are taken while they come, so that no queue of the test overflows.
    let pass = |peers: &mut Vec<Speaker>, seconds: f64| peers[0].go_on_for(seconds);
    pass(&mut peers, WARM_UP_S);
    let before = memory_mib(&peers, &lab.programs);
    // Every minute one guest leaves, and another one comes.
    let end =
        Instant::now() + std::time::Duration::from_secs_f64((minutes * 60.0 - WARM_UP_S).max(60.0));
    let mut number = 7;
    while Instant::now() < end {
        pass(&mut peers, 55.0);
        drop(peers.pop().map(Speaker::leave));
        peers.push(Speaker::join(
            &lab.others[0],
            &format!("guest{number}"),
            &lab.folder,
            &listening,
        ));
        peers.last_mut().map(|peer| peer.wait_for("connected"));
        number += 1;
        pass(&mut peers, 5.0);
    }
    let after = memory_mib(&peers, &lab.programs);
    // The last guest came a moment ago.
    drop(peers.pop().map(Speaker::leave));
    let ada = peers.remove(0).leave();
    let listeners: Vec<Ended> = peers.into_iter().map(Speaker::leave).collect();
    write_report("\n| process | memory | grown since the first minute |\n|---|---|---|\n");
    for (name, mib) in &after {
        let grown =
            before.iter().find(|(known, _)| known == name).map(|(_, earlier)| mib - earlier);
        let shown = grown.map_or("–".to_owned(), |grown| format!("{grown:+.1} MiB"));
        write_report(&format!("| {name} | {mib:.0} MiB | {shown} |\n"));
        assert!(
            grown.is_none_or(|grown| grown < MAX_GROWTH_MIB),
            "{name} grew to {mib:.0} MiB: {before:?}"
        );
    }
    write_report("\n| listener | lost | gaps | concealed |\n|---|---|---|---|\n");
    for listener in &listeners {
        let exchange = listener.exchange_with(&ada, from);
        let (lost, concealed) =
            (exchange.heard.lost_after(from), exchange.concealed.unwrap_or(1.0));
        let gaps = exchange.heard.gaps.len();
        let (name, percent) = (listener.name(), concealed * 100.0);
        write_report(&format!("| {name} | {lost:.2} s | {gaps} | {percent:.2} % |\n"));
        assert!(
            lost <= MAX_LOST_S && concealed <= MAX_CONCEALED,
            "{} lost {lost} s: {:?}",
            listener.name(),
            exchange.heard.gaps
        );
    }
}

/// Resident memory of every process.
fn memory_mib(peers: &[Speaker], programs: &[Program]) -> Vec<(String, f64)> {
    let all = peers.iter().map(|peer| &peer.program).chain(programs);
    let of = |program: &Program| {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 =
            line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
        (program.name().to_owned(), kib / 1024.0)
    };
    all.map(of).collect()
}
