//! Networks that change during a call: new addresses, other interfaces, routers that restart,
//! servers that vanish.

use voicemesh_tests::nets::{Ended, Home, Nat, Speaker, now};

use crate::table::{Outcome, Table};
use crate::two_homes::TwoHomes;

/// Seconds of speech before the change.
const BEFORE_S: f64 = 4.0;
/// Seconds of speech after it.
const AFTER_S: f64 = 14.0;
/// The last seconds, by which the delay at the end is judged.
const END_S: f64 = 4.0;
/// Numbers of the homes to which people move.
const ADAS_SECOND: u8 = 5;
const BOBS_SECOND: u8 = 6;
/// Last byte of the address of a second gateway.
const SECOND_GATEWAY: u8 = 254;

/// What happens in a call, and what it may cost.
pub struct Change {
    nats: (Nat, Nat),
    /// Whether both have chosen the relay.
    relay_only: bool,
    /// Whether Ada and Bob have a second network.
    second: bool,
    /// Whether Ada's LAN has a second gateway.
    second_gateway: bool,
    /// The change; the speaker lets time pass.
    act: fn(&mut TwoHomes, &mut Speaker),
    /// Most speech lost by the worse direction, in seconds; the outage of the network itself
    /// included.
    lost_s: f64,
    /// Longest time from the end of the change until both are direct again; none where they are not
    /// to be.
    direct_s: Option<f64>,
}

const fn change(act: fn(&mut TwoHomes, &mut Speaker), lost_s: f64, direct_s: f64) -> Change {
    let nats = (Nat::PortRestricted, Nat::PortRestricted);
    Change {
        nats,
        relay_only: false,
        second: false,
        second_gateway: false,
        act,
        lost_s,
        direct_s: Some(direct_s),
    }
}

const fn relayed(act: fn(&mut TwoHomes, &mut Speaker), lost_s: f64) -> Change {
    Change { relay_only: true, direct_s: None, ..change(act, lost_s, 0.0) }
}

const CASES: Table<Change> = Table {
    title: "Changes of network during a call",
    columns: &["lost", "lost the other way", "direct again after", "mouth to ear at the end"],
    cases: &[
        ("new address in the same LAN", change(renumber, 2.0, 5.0)),
        (
            "another interface, the first one gone",
            Change { second: true, ..change(move_ada, 2.0, 5.0) },
        ),
        (
            "another interface, the first one silent",
            Change { second: true, ..change(fade, 2.0, 5.0) },
        ),
        (
            "both ends change their interface at once",
            Change { second: true, ..change(move_both, 2.0, 5.0) },
        ),
        (
            "another interface, relayed",
            Change {
                second: true,
                nats: (Nat::NoUdp, Nat::NoUdp),
                direct_s: None,
                ..change(move_ada, 2.0, 0.0)
            },
        ),
        (
            "another gateway, the address stays",
            Change { second_gateway: true, ..change(change_gateway, 1.0, 5.0) },
        ),
        ("router forgets its mappings", change(|lab, _| lab.ada_home.forget_mappings(), 2.0, 5.0)),
        (
            "symmetric router forgets its mappings",
            Change {
                nats: (Nat::Symmetric, Nat::FullCone),
                ..change(|lab, _| lab.ada_home.forget_mappings(), 2.0, 5.0)
            },
        ),
        (
            "symmetric router restarts in 3 s",
            Change { nats: (Nat::Symmetric, Nat::FullCone), ..change(restart_router, 4.0, 5.0) },
        ),
        ("cable unplugged for 3 s", change(|lab, ada| unplug(lab, ada, 3.0), 4.0, 5.0)),
        ("cable unplugged for 3 s, relayed", relayed(|lab, ada| unplug(lab, ada, 3.0), 4.0)),
        (
            "server dark for 10 s, direct",
            change(|lab, ada| darken_server(lab, ada, 10.0), 0.1, 0.0),
        ),
        ("server dark for 2 s, relayed", relayed(|lab, ada| darken_server(lab, ada, 2.0), 3.0)),
        ("server dark for 10 s, relayed", relayed(|lab, ada| darken_server(lab, ada, 10.0), 11.0)),
        ("direct path silent for 0.5 s, server dark", change(hiccup_with_dark_server, 0.8, 5.0)),
    ],
    run,
};

#[test]
fn a_new_address_costs_at_most_two_seconds() {
    CASES.run_one("new address in the same LAN");
}

#[test]
fn a_router_that_forgets_its_mappings_costs_little() {
    CASES.run_one("router forgets its mappings");
}

#[test]
fn another_gateway_costs_little_though_no_address_changes() {
    CASES.run_one("another gateway, the address stays");
}

#[test]
#[ignore = "the whole table: make test-long PART=nets-changes"]
fn changes_table() {
    CASES.run_all();
}

fn run(name: &str, case: &Change) -> Option<Outcome> {
    let mut lab = TwoHomes::new(name, case.nats)?;
    let _second = case.second.then(|| second_networks(&lab));
    let _gateway = case.second_gateway.then(|| {
        let other = lab.internet.home(ADAS_SECOND, Nat::PortRestricted);
        lab.ada_home.join_as_gateway(&other, SECOND_GATEWAY);
        other
    });
    lab.serve(&[]);
    let (mut ada, mut bob) = lab.join(if case.relay_only { &["--relay-only"] } else { &[] });
    if case.direct_s.is_some() {
        ada.wait_for_route("bob", "direct", voicemesh_tests::room::PATIENCE);
        bob.wait_for_route("ada", "direct", voicemesh_tests::room::PATIENCE);
    }
    ada.go_on_for(BEFORE_S);
    let began = now();
    (case.act)(&mut lab, &mut ada);
    let ended = now();
    ada.go_on_for(AFTER_S);
    let (ada, bob) = (ada.leave(), bob.leave());
    Some(judge(case, &ada, &bob, began, ended))
}

fn judge(case: &Change, ada: &Ended, bob: &Ended, began: f64, ended: f64) -> Outcome {
    let directions =
        [ada.exchange_with(bob, began - BEFORE_S), bob.exchange_with(ada, began - BEFORE_S)];
    let lost = directions.each_ref().map(|exchange| match exchange.heard.first_at {
        Some(first) if first < began => exchange.heard.lost_after(began),
        // Not heard before the change either.
        _ => f64::INFINITY,
    });
    let direct_again = directions.each_ref().map(|exchange| {
        let changes: Vec<&(f64, String)> =
            exchange.routes.iter().filter(|(at, _)| *at >= began).collect();
        match changes.last() {
            None if exchange.route == "direct" => Some(0.0),
            Some((at, route)) if route == "direct" => Some((at - ended).max(0.0)),
            _ => None,
        }
    });
    let direct_again = direct_again[0].zip(direct_again[1]).map(|(ada, bob)| ada.max(bob));
    let delay_ms = directions
        .iter()
        .filter_map(|exchange| exchange.heard.median_delay_after(ended + AFTER_S - END_S))
        .fold(0.0, f64::max);
    let direct = match (case.direct_s, direct_again) {
        (None, _) => "–".to_owned(),
        (_, None) => "not again".to_owned(),
        (_, Some(seconds)) => format!("{seconds:.1} s"),
    };
    let mut outcome = Outcome {
        figures: vec![
            format!("{:.2} s", lost[1]),
            format!("{:.2} s", lost[0]),
            direct,
            format!("{delay_ms:.0} ms"),
        ],
        held_up_ms: ada.held_up_ms + bob.held_up_ms,
        ..Outcome::default()
    };
    let worse = lost[0].max(lost[1]);
    outcome.check(worse <= case.lost_s, || format!("more than {} s lost", case.lost_s));
    if let Some(bound) = case.direct_s {
        let kept = direct_again.is_some_and(|seconds| seconds <= bound);
        outcome.check(kept, || format!("not direct again within {bound} s"));
    }
    outcome
}

/// Ada's and Bob's second networks, whose cables are plugged in and whose interfaces are down.
fn second_networks(lab: &TwoHomes) -> [Home; 2] {
    let second = |number, host: &voicemesh_tests::nets::Host| {
        let home = lab.internet.home(number, Nat::PortRestricted);
        home.plug_in(host, "eth1");
        host.run("ip link set eth1 down");
        home
    };
    [second(ADAS_SECOND, &lab.ada), second(BOBS_SECOND, &lab.bob)]
}

fn renumber(lab: &mut TwoHomes, _: &mut Speaker) {
    lab.ada.run("ip address add 192.168.1.77/24 dev eth0");
    lab.ada.run("ip address delete 192.168.1.2/24 dev eth0");
    lab.ada.run("ip address replace 192.168.1.77/24 dev eth0");
    lab.ada.run("ip route replace default via 192.168.1.1");
}

/// The other gateway translates to another public address; no address of Ada's changes.
fn change_gateway(lab: &mut TwoHomes, _: &mut Speaker) {
    let gateway = lab.ada_home.address(SECOND_GATEWAY);
    lab.ada.run(&format!("ip route replace default via {gateway}"));
}

/// Leaves the first network half a second before the second one is there.
fn move_ada(lab: &mut TwoHomes, ada: &mut Speaker) {
    leave_first(&lab.ada);
    ada.go_on_for(0.5);
    enter_second(&lab.ada, ADAS_SECOND);
}

fn move_both(lab: &mut TwoHomes, ada: &mut Speaker) {
    leave_first(&lab.ada);
    leave_first(&lab.bob);
    ada.go_on_for(0.5);
    enter_second(&lab.ada, ADAS_SECOND);
    enter_second(&lab.bob, BOBS_SECOND);
}

fn leave_first(host: &voicemesh_tests::nets::Host) {
    host.run("ip address flush dev eth0");
    host.run("ip link set eth0 down");
}

fn enter_second(host: &voicemesh_tests::nets::Host, number: u8) {
    host.run("ip link set eth1 up");
    host.run(&format!("ip address add 192.168.{number}.2/24 dev eth1"));
    host.run(&format!("ip route replace default via 192.168.{number}.1"));
}

/// The first network carries nothing any more, but keeps its address; the default route moves.
fn fade(lab: &mut TwoHomes, _: &mut Speaker) {
    lab.ada.run("ip link set eth1 up");
    lab.ada.run(&format!("ip address add 192.168.{ADAS_SECOND}.2/24 dev eth1"));
    lab.ada.set_firewall(
        "table ip dead {\n chain input {\n  type filter hook input priority 0;\n  iifname \"eth0\" drop\n }\n chain output {\n  type filter hook output priority 0;\n  oifname \"eth0\" drop\n }\n}\n",
    );
    lab.ada.run(&format!("ip route replace default via 192.168.{ADAS_SECOND}.1"));
}

fn restart_router(lab: &mut TwoHomes, ada: &mut Speaker) {
    lab.ada_home
        .router()
        .set_firewall("table ip off {\n chain forward {\n  type filter hook forward priority 0; policy drop;\n }\n}\n");
    lab.ada_home.forget_mappings();
    ada.go_on_for(3.0);
    lab.ada_home.set_nat(Nat::Symmetric);
}

fn unplug(lab: &mut TwoHomes, ada: &mut Speaker, seconds: f64) {
    lab.ada.run("ip link set eth0 down");
    ada.go_on_for(seconds);
    lab.ada.run("ip link set eth0 up");
    lab.ada.run("ip route replace default via 192.168.1.1");
}

fn darken_server(lab: &mut TwoHomes, ada: &mut Speaker, seconds: f64) {
    lab.internet.set_server_reachable(false);
    ada.go_on_for(seconds);
    lab.internet.set_server_reachable(true);
}

fn hiccup_with_dark_server(lab: &mut TwoHomes, ada: &mut Speaker) {
    lab.internet.set_server_reachable(false);
    ada.go_on_for(1.0);
    lab.ada_home.router().run("ip link set wan down");
    ada.go_on_for(0.5);
    lab.ada_home.router().run("ip link set wan up");
    lab.ada_home.router().run("ip route replace default via 203.0.113.1");
    ada.go_on_for(1.0);
    lab.internet.set_server_reachable(true);
}
