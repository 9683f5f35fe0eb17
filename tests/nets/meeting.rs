//! Reaching each other: by kind of NAT, address family, MTU and interfaces.

use voicemesh_tests::nets::{Ended, Host, Nat, servers};

use crate::table::{Outcome, Table};
use crate::two_homes::{TwoHomes, server_url_v6};

/// Seconds that a pair speaks which should be direct, and one that should not.
const DIRECT_CALL_S: f64 = 7.0;
const RELAYED_CALL_S: f64 = 14.0;
/// The first moments of a call do not count for gaps: the route changes in them.
const SETTLING_S: f64 = 1.0;

/// How two peers are expected to meet.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Directly, within this many milliseconds after both have joined.
    Direct { within_ms: f64 },
    /// Through the server all the time.
    Relayed,
}

/// Two homes and what is special about them.
pub struct Meeting {
    nats: (Nat, Nat),
    /// Whether the server offers TURN.
    turn: bool,
    arrange: fn(&mut TwoHomes),
    way: Way,
}

const SOON: Way = Way::Direct { within_ms: 2_500.0 };

const fn nats(a: Nat, b: Nat, way: Way) -> Meeting {
    Meeting { nats: (a, b), turn: false, arrange: |_| {}, way }
}

const fn arranged(arrange: fn(&mut TwoHomes), way: Way) -> Meeting {
    Meeting { nats: (Nat::PortRestricted, Nat::PortRestricted), turn: false, arrange, way }
}

const NAT_CASES: Table<Meeting> = Table {
    title: "Kinds of NAT",
    columns: COLUMNS,
    cases: &[
        ("full cone, full cone", nats(Nat::FullCone, Nat::FullCone, SOON)),
        (
            "address restricted, address restricted",
            nats(Nat::AddressRestricted, Nat::AddressRestricted, SOON),
        ),
        ("port restricted, port restricted", nats(Nat::PortRestricted, Nat::PortRestricted, SOON)),
        ("symmetric, full cone", nats(Nat::Symmetric, Nat::FullCone, SOON)),
        ("symmetric, address restricted", nats(Nat::Symmetric, Nat::AddressRestricted, SOON)),
        ("symmetric, port restricted", nats(Nat::Symmetric, Nat::PortRestricted, Way::Relayed)),
        ("symmetric, symmetric", nats(Nat::Symmetric, Nat::Symmetric, Way::Relayed)),
        (
            "symmetric, symmetric, TURN",
            Meeting {
                turn: true,
                ..nats(Nat::Symmetric, Nat::Symmetric, Way::Direct { within_ms: 4_000.0 })
            },
        ),
        (
            "symmetric, port restricted, TURN",
            Meeting {
                turn: true,
                ..nats(Nat::Symmetric, Nat::PortRestricted, Way::Direct { within_ms: 4_000.0 })
            },
        ),
        ("no UDP, port restricted", nats(Nat::NoUdp, Nat::PortRestricted, Way::Relayed)),
        ("no UDP, no UDP", nats(Nat::NoUdp, Nat::NoUdp, Way::Relayed)),
        (
            "no UDP, no UDP, TURN over UDP",
            Meeting { turn: true, ..nats(Nat::NoUdp, Nat::NoUdp, Way::Relayed) },
        ),
        (
            "TCP to web ports only, port restricted",
            nats(Nat::WebOnly, Nat::PortRestricted, Way::Relayed),
        ),
        ("public address, port restricted", arranged(public_address, SOON)),
        ("one LAN", arranged(one_lan, SOON)),
        ("one LAN with client isolation", arranged(isolated_lan, Way::Relayed)),
        (
            "one LAN with client isolation, hairpin",
            Meeting { nats: (Nat::Hairpin, Nat::PortRestricted), ..arranged(isolated_lan, SOON) },
        ),
    ],
    run: meet,
};

const PATH_CASES: Table<Meeting> = Table {
    title: "Address families, MTU, interfaces",
    columns: COLUMNS,
    cases: &[
        ("dual stack, dual stack", arranged(dual_stack, SOON)),
        ("dual stack, IPv6 only", arranged(dual_stack_and_ipv6_only, SOON)),
        ("IPv4 only, IPv6 only", arranged(ipv4_only_and_ipv6_only, Way::Relayed)),
        ("MTU 1280 on the way", arranged(small_mtu, SOON)),
        (
            "UDP above 1200 bytes lost",
            arranged(|lab| lab.lose_long_packets("meta l4proto udp "), SOON),
        ),
        ("everything above 1200 bytes lost", arranged(|lab| lab.lose_long_packets(""), SOON)),
        ("Docker bridge and tunnel", arranged(bridge_and_tunnel, SOON)),
        ("five bridges before the card", arranged(|lab| five_bridges(lab, false), SOON)),
        ("one cable, addresses of 169.254.0.0/16", arranged(cable_with_ipv4_link_local, SOON)),
        (
            "one cable, IPv6 link-local addresses only",
            arranged(cable_with_ipv6_link_local, Way::Relayed),
        ),
        ("five bridges with masquerading", arranged(|lab| five_bridges(lab, true), SOON)),
    ],
    run: meet,
};

const COLUMNS: &[&str] = &[
    "route",
    "heard after",
    "direct after",
    "longest gap",
    "concealed",
    "mouth to ear",
    "as shown",
];

#[test]
fn two_homes_with_common_routers_speak_directly() {
    NAT_CASES.run_one("port restricted, port restricted");
}

#[test]
fn dual_stack_meets_ipv6_only() {
    PATH_CASES.run_one("dual stack, IPv6 only");
}

#[test]
fn five_bridges_do_not_keep_two_homes_apart() {
    PATH_CASES.run_one("five bridges before the card");
}

#[test]
#[ignore = "the whole table: make test-long PART=nets-nat"]
fn nat_table() {
    NAT_CASES.run_all();
}

#[test]
#[ignore = "the whole table: make test-long PART=nets-paths"]
fn paths_table() {
    PATH_CASES.run_all();
}

fn meet(name: &str, case: &Meeting) -> Option<Outcome> {
    let mut lab = TwoHomes::new(name, case.nats)?;
    (case.arrange)(&mut lab);
    lab.serve(&if case.turn { servers::with_turn() } else { Vec::new() });
    let seconds = if case.way == Way::Relayed { RELAYED_CALL_S } else { DIRECT_CALL_S };
    let (ada, bob) = lab.call(seconds, &[]);
    Some(judge(&ada, &bob, case.way))
}

/// The figures of both directions, the worse one of each.
fn judge(ada: &Ended, bob: &Ended, way: Way) -> Outcome {
    let both_joined = ada.joined_at().into_iter().chain(bob.joined_at()).fold(0.0, f64::max);
    let directions = [ada.exchange_with(bob, both_joined), bob.exchange_with(ada, both_joined)];
    let worst = |figures: [Option<f64>; 2]| Some(figures[0]?.max(figures[1]?));
    let each = |figure: &dyn Fn(&voicemesh_tests::nets::Exchange) -> Option<f64>| {
        worst([figure(&directions[0]), figure(&directions[1])])
    };
    let settled = both_joined + SETTLING_S;
    let heard_ms = each(&|exchange| Some((exchange.first_heard_at? - both_joined).max(0.0) * 1e3));
    let direct_ms =
        each(&|exchange| Some((exchange.direct_after(0.0)? - both_joined).max(0.0) * 1e3));
    let gap_ms = each(&|exchange| {
        exchange.heard.first_at.map(|_| exchange.heard.longest_gap_after(settled) * 1e3)
    });
    let concealed = each(&|exchange| exchange.concealed);
    let delay_ms = each(&|exchange| exchange.heard.median_delay_after(settled));
    let shown_off_by_ms = each(&|exchange| exchange.shown_delay_off_by(settled));
    let routes: Vec<&str> = directions.iter().map(|exchange| exchange.route.as_str()).collect();

    let shown = |figure: Option<f64>, unit: &str| {
        figure.map_or("never".to_owned(), |figure| format!("{figure:.0}{unit}"))
    };
    let mut outcome = Outcome {
        figures: vec![
            if routes[0] == routes[1] { routes[0].to_owned() } else { routes.join(" / ") },
            shown(heard_ms, " ms"),
            shown(direct_ms, " ms"),
            shown(gap_ms, " ms"),
            concealed.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0)),
            shown(delay_ms, " ms"),
            shown_off_by_ms.map_or("–".to_owned(), |ms| format!("± {ms:.0} ms")),
        ],
        held_up_ms: ada.held_up_ms + bob.held_up_ms,
        ..Outcome::default()
    };
    let at_most = |figure: Option<f64>, bound: f64| figure.is_some_and(|figure| figure <= bound);
    match way {
        Way::Direct { within_ms } => {
            outcome.check(routes == ["direct", "direct"], || "not direct at the end".to_owned());
            outcome.check(at_most(direct_ms, within_ms), || {
                format!("direct later than {within_ms} ms")
            });
        }
        Way::Relayed => {
            outcome.check(routes == ["relayed", "relayed"], || "not relayed at the end".to_owned())
        }
    }
    outcome.check(at_most(heard_ms, 1_500.0), || "heard later than 1500 ms".to_owned());
    outcome.check(at_most(gap_ms, 150.0), || "a gap above 150 ms".to_owned());
    outcome.check(at_most(concealed, 0.02), || "more than 2 % concealed".to_owned());
    outcome.check(at_most(delay_ms, 300.0), || "mouth to ear above 300 ms".to_owned());
    outcome
}

/// Ada has no router.
fn public_address(lab: &mut TwoHomes) {
    lab.ada = lab.internet.public_host("office", 60);
}

/// Bob moves into Ada's LAN.
fn one_lan(lab: &mut TwoHomes) {
    lab.bob = lab.ada_home.host("guest", 3);
}

/// Two machines and a server on one switch, without a router.
fn one_cable(lab: &mut TwoHomes, server_address: fn(&Host) -> String) {
    one_lan(lab);
    let nas = lab.ada_home.host("nas", 10);
    for (host, last) in [(&lab.ada, 2), (&lab.bob, 3), (&nas, 10)] {
        host.run("ip -4 address flush dev eth0");
        host.run(&format!("ip address add 169.254.7.{last}/16 dev eth0"));
    }
    let address = server_address(&nas);
    lab.urls = [0, 1].map(|_| format!("ws://{address}:{}", servers::PORT));
    let listen = format!("[::]:{}", servers::PORT);
    lab.programs.push(servers::signaling_as_given(&nas, &["--listen", &listen, "--stun", "none"]));
    lab.others.push(nas);
}

fn cable_with_ipv4_link_local(lab: &mut TwoHomes) {
    one_cable(lab, |_| "169.254.7.10".to_owned());
}

fn cable_with_ipv6_link_local(lab: &mut TwoHomes) {
    one_cable(lab, |nas| {
        let addresses = nas.run("ip -6 -brief address show dev eth0 scope link");
        let address = addresses
            .split_whitespace()
            .find_map(|word| word.strip_suffix("/64"))
            .unwrap_or_default();
        format!("[{address}%eth0]")
    });
    for host in [&lab.ada, &lab.bob] {
        host.run("ip -4 address flush dev eth0");
    }
}

fn isolated_lan(lab: &mut TwoHomes) {
    one_lan(lab);
    lab.ada_home.isolate(&lab.ada);
    lab.ada_home.isolate(&lab.bob);
}

fn dual_stack(lab: &mut TwoHomes) {
    for (home, host) in [(&lab.ada_home, &lab.ada), (&lab.bob_home, &lab.bob)] {
        home.enable_ipv6();
        home.give_ipv6(host, 2);
    }
}

fn dual_stack_and_ipv6_only(lab: &mut TwoHomes) {
    dual_stack(lab);
    make_ipv6_only(lab);
}

fn ipv4_only_and_ipv6_only(lab: &mut TwoHomes) {
    lab.bob_home.enable_ipv6();
    lab.bob_home.give_ipv6(&lab.bob, 2);
    make_ipv6_only(lab);
}

fn make_ipv6_only(lab: &mut TwoHomes) {
    lab.bob.run("ip -4 address flush dev eth0");
    lab.urls[1] = server_url_v6();
}

fn small_mtu(lab: &mut TwoHomes) {
    lab.internet.core().run("ip link set to-router1 mtu 1280");
    lab.ada_home.router().run("ip link set wan mtu 1280");
}

/// As a machine with Docker and a VPN of its company has them.
fn bridge_and_tunnel(lab: &mut TwoHomes) {
    for host in [&lab.ada, &lab.bob] {
        host.run("ip link add docker0 type bridge");
        host.run("ip address add 172.17.0.1/16 dev docker0");
        host.run("ip link set docker0 up");
        host.run("ip tuntap add tun0 mode tun");
        host.run("ip address add 10.8.0.2/24 dev tun0");
        host.run("ip link set tun0 up");
        host.run("ip route add 203.0.114.0/24 dev tun0");
    }
}

/// Bridges that come before the network card in the list of interfaces.
fn five_bridges(lab: &mut TwoHomes, masquerade: bool) {
    for (home, host) in [(&lab.ada_home, &lab.ada), (&lab.bob_home, &lab.bob)] {
        host.run("ip link delete eth0");
        for number in 0..5 {
            host.run(&format!("ip link add br-{number} type bridge"));
            host.run(&format!("ip address add 172.{}.0.1/16 dev br-{number}", 17 + number));
            host.run(&format!("ip link set br-{number} up"));
        }
        home.plug_in(host, "eth0");
        host.run(&format!("ip address add {}/24 dev eth0", home.address(2)));
        host.run(&format!("ip route add default via {}", home.gateway()));
        if masquerade {
            host.set_firewall(
                "table ip nat {\n chain post {\n  type nat hook postrouting priority 100;\n  ip saddr 172.16.0.0/12 oifname \"eth0\" masquerade\n }\n}\n",
            );
        }
    }
}
