//! Reaching the server: address families, proxies, reverse proxies, certificates, LANs; and the
//! sentence where it cannot be.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use voicemesh_tests::nets::{Host, Joining, Nat, SERVER, SERVER_V6, servers};
use voicemesh_tests::skip;

use crate::table::{Outcome, Table};
use crate::two_homes::{TwoHomes, server_url, server_url_v6};

/// A person waits this long for a join that succeeds.
const PATIENCE: Duration = Duration::from_secs(20);
/// The command gives up after so many seconds without a server.
const GIVE_UP: &str = "8";

/// One way to name and to reach a server.
pub struct Reach {
    /// Starts servers and sets up the network; returns how Ada joins.
    arrange: fn(&mut TwoHomes) -> Attempt,
    expect: Expect,
    /// A program that is needed beside those of every lab.
    needs: Option<&'static str>,
}

enum Expect {
    /// In the room within this many milliseconds.
    Joined(f64),
    /// Not in the room; `code` of a `server-away` event is one of these.
    Says(&'static [&'static str]),
}

/// How Ada joins.
struct Attempt {
    server: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Attempt {
    fn to(server: impl Into<String>) -> Self {
        Self { server: server.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    fn with(mut self, option: &str, value: impl std::fmt::Display) -> Self {
        self.arguments.extend([option.to_owned(), value.to_string()]);
        self
    }

    fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

const fn joined(within_ms: f64, arrange: fn(&mut TwoHomes) -> Attempt) -> Reach {
    Reach { arrange, expect: Expect::Joined(within_ms), needs: None }
}

const fn says(codes: &'static [&'static str], arrange: fn(&mut TwoHomes) -> Attempt) -> Reach {
    Reach { arrange, expect: Expect::Says(codes), needs: None }
}

const fn needing(program: &'static str, reach: Reach) -> Reach {
    Reach { needs: Some(program), ..reach }
}

const CASES: Table<Reach> = Table {
    title: "Reaching the server",
    columns: &["joined after", "said"],
    cases: &[
        ("IPv4 address", joined(1_000.0, plain)),
        ("IPv6 address, dual stack", joined(1_000.0, by_ipv6)),
        ("name, IPv6 leads nowhere", joined(1_000.0, |lab| by_name(lab, "ip6"))),
        ("name, IPv4 leads nowhere", joined(1_000.0, |lab| by_name(lab, "ip"))),
        ("name, the first of two IPv4 addresses is dead", joined(1_000.0, first_address_dead)),
        ("link-local address with zone", joined(1_000.0, |lab| link_local(lab, "%"))),
        (
            "link-local address with zone, as in a URL",
            joined(1_000.0, |lab| link_local(lab, "%25")),
        ),
        ("LAN address without scheme, plain server", joined(2_000.0, bare_lan_address)),
        ("HTTP proxy", joined(2_000.0, |lab| by_proxy(lab, "http", "http://", None))),
        (
            "HTTP proxy with password",
            joined(2_000.0, |lab| by_proxy(lab, "http", "http://voice:lab@", Some("voice:lab"))),
        ),
        (
            "HTTP proxy, password missing",
            says(&["proxy"], |lab| by_proxy(lab, "http", "http://", Some("voice:lab"))),
        ),
        (
            "SOCKS proxy that resolves the name",
            joined(2_000.0, |lab| by_proxy(lab, "socks5", "socks5h://", None)),
        ),
        (
            "SOCKS proxy with password",
            joined(2_000.0, |lab| {
                by_proxy(lab, "socks5", "socks5h://voice:lab@", Some("voice:lab"))
            }),
        ),
        (
            "own certificate (CA:TRUE) named with --ca",
            joined(1_000.0, |lab| own_certificate(lab, true)),
        ),
        (
            "own certificate, not named",
            says(&["certificate-not-trusted"], |lab| own_certificate(lab, false)),
        ),
        ("nginx at the root", joined(1_000.0, |lab| by_nginx(lab, "/", "/", UPGRADE))),
        ("nginx under a path", joined(1_000.0, |lab| by_nginx(lab, "/voice/", "/voice/", UPGRADE))),
        (
            "nginx that does not pass the upgrade on",
            says(&["http-status", "web-page"], |lab| by_nginx(lab, "/", "/", "")),
        ),
        (
            "nginx under another path",
            says(&["http-status"], |lab| by_nginx(lab, "/voice/", "/elsewhere/", UPGRADE)),
        ),
        ("nginx whose server is down (502)", says(&["http-status"], nginx_without_server)),
        (
            "everything above 1200 bytes lost, TLS",
            joined(1_000.0, |lab| short_packets(lab, |lab| own_certificate(lab, true))),
        ),
        (
            "everything above 1200 bytes lost, nginx",
            joined(1_000.0, |lab| short_packets(lab, |lab| by_nginx(lab, "/", "/", UPGRADE))),
        ),
        ("IPv6 only, NAT64: name", needing("tayga", joined(2_000.0, |lab| by_nat64(lab, NAME)))),
        (
            "IPv6 only, NAT64: IPv4 address",
            needing("tayga", joined(2_000.0, |lab| by_nat64(lab, &SERVER.to_string()))),
        ),
        ("captive portal", says(&["web-page", "sign-in-required", "redirected"], captive_portal)),
        (
            "TLS spoken to a plain server",
            says(&["not-tls"], |lab| {
                lab.serve(&[]);
                Attempt::to(format!("wss://{SERVER}:{}", servers::PORT))
            }),
        ),
    ],
    run,
};

#[test]
fn a_proxy_leads_to_the_server() {
    CASES.run_one("HTTP proxy");
}

#[test]
fn a_family_that_leads_nowhere_is_passed_over() {
    CASES.run_one("name, IPv6 leads nowhere");
}

#[test]
fn an_ipv4_address_is_reached_from_a_network_with_ipv6_only() {
    CASES.run_one("IPv6 only, NAT64: IPv4 address");
}

#[test]
fn a_way_that_swallows_long_packets_leads_to_the_server() {
    CASES.run_one("everything above 1200 bytes lost, nginx");
}

#[test]
#[ignore = "the whole table: make test-long PART=nets-reaching"]
fn reaching_table() {
    CASES.run_all();
}

fn run(name: &str, case: &Reach) -> Option<Outcome> {
    if !skip::can_run(name, true, case.needs.as_slice()) {
        return None;
    }
    let mut lab = TwoHomes::new(name, (Nat::PortRestricted, Nat::PortRestricted))?;
    let attempt = (case.arrange)(&mut lab);
    let mut joining =
        Joining::new(&attempt.server, "lab", None).with(&["--give-up-after", GIVE_UP]);
    joining.arguments.extend(attempt.arguments);
    joining.environment = attempt.environment;
    let began = Instant::now();
    let mut ada = joining.start(&lab.ada, "ada", &lab.folder);
    let last = ada.wait_for("an end of trying", PATIENCE, |json| {
        json["event"] == "joined" || json["event"] == "error"
    });
    let joined_ms = (last.json["event"] == "joined").then(|| (last.at - began).as_secs_f64() * 1e3);
    let away: Vec<serde_json::Value> = ada
        .history()
        .filter(|event| event.json["event"] == "server-away")
        .map(|event| event.json.clone())
        .collect();
    let said = away.last().map_or("", |json| json["why"].as_str().unwrap_or_default());
    let mut outcome = Outcome {
        figures: vec![
            joined_ms.map_or("not".to_owned(), |ms| format!("{ms:.0} ms")),
            if said.is_empty() { "–".to_owned() } else { said.replace('|', "/") },
        ],
        ..Outcome::default()
    };
    match case.expect {
        Expect::Joined(within_ms) => {
            let kept = joined_ms.is_some_and(|ms| ms <= within_ms);
            outcome.check(kept, || format!("not joined within {within_ms} ms"));
        }
        Expect::Says(codes) => {
            outcome.check(joined_ms.is_none(), || "joined".to_owned());
            let code = away.last().and_then(|json| json["code"].as_str()).unwrap_or("none");
            outcome.check(codes.contains(&code), || {
                format!("the code is {code} instead of {}", codes.join(" or "))
            });
        }
    }
    Some(outcome)
}

const NAME: &str = "voice.test";

fn plain(lab: &mut TwoHomes) -> Attempt {
    lab.serve(&[]);
    Attempt::to(server_url())
}

fn by_ipv6(lab: &mut TwoHomes) -> Attempt {
    lab.serve(&[]);
    lab.ada_home.enable_ipv6();
    lab.ada_home.give_ipv6(&lab.ada, 2);
    Attempt::to(server_url_v6())
}

/// A name with both families, one of which (in nftables' words) vanishes in Ada's router.
fn by_name(lab: &mut TwoHomes, dead: &str) -> Attempt {
    lab.serve(&[]);
    lab.ada_home.enable_ipv6();
    lab.ada_home.give_ipv6(&lab.ada, 2);
    lab.ada.set_names(&[(&SERVER_V6.to_string(), NAME), (&SERVER.to_string(), NAME)]);
    let rules = format!(
        "table {dead} dead {{\n chain forward {{\n  type filter hook forward priority -5; policy drop;\n }}\n}}\n"
    );
    lab.ada_home.set_nat_and(Nat::PortRestricted, &rules);
    Attempt::to(format!("ws://{NAME}:{}", servers::PORT))
}

fn first_address_dead(lab: &mut TwoHomes) -> Attempt {
    lab.serve(&[]);
    // Of an address without a machine the last router would say so: this one swallows.
    let rules = "table ip dead {\n chain forward {\n  type filter hook forward priority -5;\n  ip daddr 203.0.113.90 drop\n }\n}\n";
    lab.ada_home.set_nat_and(Nat::PortRestricted, rules);
    lab.ada.set_names(&[("203.0.113.90", NAME), (&SERVER.to_string(), NAME)]);
    Attempt::to(format!("ws://{NAME}:{}", servers::PORT))
}

/// A machine in Ada's LAN that runs the server.
fn lan_server(lab: &mut TwoHomes) -> &Host {
    let host = lab.ada_home.host("nas", 10);
    lab.programs.push(servers::signaling_as_given(
        &host,
        &["--listen", &format!("[::]:{}", servers::PORT), "--stun", "none"],
    ));
    lab.others.push(host);
    &lab.others[lab.others.len() - 1]
}

fn link_local(lab: &mut TwoHomes, zone: &str) -> Attempt {
    let addresses = lan_server(lab).run("ip -6 -brief address show dev eth0 scope link");
    let address =
        addresses.split_whitespace().find_map(|word| word.strip_suffix("/64")).unwrap_or_default();
    Attempt::to(format!("ws://[{address}{zone}eth0]:{}", servers::PORT))
}

fn bare_lan_address(lab: &mut TwoHomes) -> Attempt {
    lan_server(lab);
    Attempt::to(format!("192.168.1.10:{}", servers::PORT))
}

/// Ada's network lets nothing out but connections to a proxy, which alone knows the server's name.
fn by_proxy(lab: &mut TwoHomes, kind: &str, url: &str, password: Option<&str>) -> Attempt {
    lab.serve(&[]);
    let host = lab.internet.public_host("proxy", 60);
    host.set_names(&[(&SERVER.to_string(), NAME)]);
    lab.ada.set_names(&[]);
    lab.programs.push(servers::proxy(&host, kind, password));
    lab.others.push(host);
    let rules = "table ip dead {\n chain forward {\n  type filter hook forward priority -5;\n  iifname \"lan\" ip daddr != 203.0.113.60 drop\n }\n}\n";
    lab.ada_home.set_nat_and(Nat::PortRestricted, rules);
    let variable = if kind == "http" { "HTTP_PROXY" } else { "ALL_PROXY" };
    let attempt = Attempt::to(format!("ws://{NAME}:{}", servers::PORT));
    let proxy = format!("{url}203.0.113.60:{}", servers::PROXY_PORT);
    // Programs read either spelling.
    attempt.with_variable(variable, &proxy).with_variable(&variable.to_lowercase(), &proxy)
}

fn own_certificate(lab: &mut TwoHomes, named: bool) -> Attempt {
    let (certificate, key) = servers::self_signed_certificate(&lab.folder);
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let listen = format!("[::]:{}", servers::PORT);
    let arguments =
        ["--listen", &listen, "--stun", "none", "--tls-cert", &certificate, "--tls-key", &key];
    lab.programs.push(servers::signaling_as_given(lab.internet.server(), &arguments));
    lab.ada.set_names(&[(&SERVER.to_string(), NAME)]);
    let attempt = Attempt::to(format!("wss://{NAME}:{}", servers::PORT));
    if named { attempt.with("--ca", certificate) } else { attempt }
}

const UPGRADE: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";

/// nginx with TLS before a server that listens on loopback; it has `location`, Ada asks for `path`.
fn by_nginx(lab: &mut TwoHomes, location: &str, path: &str, upgrade: &str) -> Attempt {
    let host = lab.internet.server();
    let listen = format!("127.0.0.1:{}", servers::PORT);
    let server = servers::signaling_as_given(
        host,
        &["--listen", &listen, "--stun", "none", "--trusted-proxy", "127.0.0.0/8"],
    );
    lab.programs.push(server);
    nginx(
        lab,
        &format!(
            "location {location} {{ proxy_pass http://127.0.0.1:{}/; proxy_set_header Host $http_host; {upgrade} }}",
            servers::PORT
        ),
        path,
    )
}

fn nginx_without_server(lab: &mut TwoHomes) -> Attempt {
    nginx(lab, &format!("location / {{ proxy_pass http://127.0.0.1:9; {UPGRADE} }}"), "/")
}

fn nginx(lab: &mut TwoHomes, location: &str, path: &str) -> Attempt {
    let (certificate, key) = servers::self_signed_certificate(&lab.folder);
    let text = format!(
        "server {{ listen 443 ssl; server_name {NAME}; ssl_certificate {}; ssl_certificate_key {}; {location} }}",
        certificate.display(),
        key.display()
    );
    lab.programs.push(servers::nginx(lab.internet.server(), &lab.folder, &text));
    lab.ada.set_names(&[(&SERVER.to_string(), NAME)]);
    Attempt::to(format!("https://{NAME}{path}")).with("--ca", certificate.display())
}

/// A way on which long packets vanish. The server's certificate fills some.
fn short_packets(lab: &mut TwoHomes, arrange: fn(&mut TwoHomes) -> Attempt) -> Attempt {
    let attempt = arrange(lab);
    lab.lose_long_packets("");
    attempt
}

/// Ada has IPv6 only. Her router translates to IPv4, and its name server writes IPv4 addresses as
/// IPv6 ones (DNS64).
fn by_nat64(lab: &mut TwoHomes, host: &str) -> Attempt {
    lab.serve(&[]);
    lab.ada_home.enable_ipv6();
    lab.ada_home.give_ipv6(&lab.ada, 2);
    lab.ada.run("ip -4 address flush dev eth0");
    lab.programs.push(servers::nat64(&lab.ada_home, &lab.folder));
    let translated = |address: Ipv4Addr| servers::translated(address).to_string();
    lab.ada.set_names(&[
        (&translated(SERVER), NAME),
        (&translated(Ipv4Addr::new(192, 0, 0, 170)), "ipv4only.arpa"),
    ]);
    Attempt::to(format!("ws://{host}:{}", servers::PORT))
}

/// A network that answers every request with its own page.
fn captive_portal(lab: &mut TwoHomes) -> Attempt {
    let page = "location / { default_type text/html; return 200 '<html><body>Please sign in to this network.</body></html>'; }";
    let text = format!("server {{ listen {}; server_name _; {page} }}", servers::PORT);
    lab.programs.push(servers::nginx(lab.internet.server(), &lab.folder, &text));
    lab.ada.set_names(&[(&SERVER.to_string(), NAME)]);
    Attempt::to(format!("ws://{NAME}:{}", servers::PORT))
}
