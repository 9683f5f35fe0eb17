//! Pure crates take the time and their seeds as arguments: no clock, socket, device, thread or ambient randomness.

use super::imports::metadata;
use super::source::{Source, files, mentions, root};

/// Folder of every crate that is pure.
const PURE: [&str; 8] = [
    "crates/wire/",
    "crates/uplink/",
    "crates/session/",
    "crates/mesh/",
    "crates/audio/",
    "crates/engine/",
    "crates/netsim/",
    "crates/networks/",
];

/// What their product code never names, and what it does instead.
const BANNED: [(&str, &str); 25] = [
    ("Instant", "be told the time"),
    ("SystemTime", "be told the time"),
    ("thread_rng", "be given a seed"),
    ("rand::rng", "be given a seed"),
    ("rand::random", "be given a seed"),
    ("getrandom", "be given a seed"),
    ("from_entropy", "be given a seed"),
    ("from_os_rng", "be given a seed"),
    ("OsRng", "be given a seed"),
    ("SysRng", "be given a seed"),
    ("new_v4", "be given a seed"),
    ("now_v7", "be given a seed and the time"),
    ("HashMap", "use a BTreeMap: a hash map's order is chance"),
    ("HashSet", "use a BTreeSet: a hash set's order is chance"),
    ("RandomState", "use a BTreeMap: a hash map's order is chance"),
    ("std::net::UdpSocket", "hand packets in and out"),
    ("UdpSocket", "hand packets in and out"),
    ("TcpStream", "hand packets in and out"),
    ("TcpListener", "hand packets in and out"),
    ("cpal", "hand samples in and out"),
    ("tokio", "have no tasks"),
    ("std::thread", "have no threads"),
    ("std::fs", "hand bytes in and out"),
    ("std::env", "take parameters"),
    ("std::process", "have no processes"),
];

/// The libraries that their products may stand on; each is without I/O as these crates use it.
const LIBRARIES: [&str; 19] = [
    "bytes",
    "serde",
    "serde_json",
    "uuid",
    "hmac",
    "sha2",
    "thiserror",
    "tracing",
    "rand",
    "rand_chacha",
    "audiopus",
    "realfft",
    "sonora",
    "earshot",
    "icu_casemap",
    "icu_normalizer",
    "icu_properties",
    "unicode-security",
    "rubato",
];

/// Features of those libraries that would read the system's chance or clock.
const IMPURE_FEATURES: [&str; 8] = ["v1", "v4", "v6", "v7", "thread_rng", "os_rng", "sys_rng", "default"];

fn offences(source: &Source) -> Vec<String> {
    let mut offences = Vec::new();
    for (number, line) in source.product_lines().iter().enumerate() {
        for (banned, instead) in BANNED {
            if mentions(line, banned) {
                offences.push(format!("{}:{}: {banned}: {instead}", source.path, number + 1));
            }
        }
    }
    offences
}

fn is_pure(source: &Source) -> bool {
    PURE.iter().any(|folder| source.path.starts_with(folder))
}

#[test]
fn pure_crates_name_no_clock_socket_device_thread_or_chance() {
    let found: Vec<String> = files(&[".rs"]).iter().filter(|source| is_pure(source)).flat_map(offences).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn pure_crates_stand_on_libraries_without_io() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().expect("packages") {
        let manifest = package["manifest_path"].as_str().expect("a path").replace('\\', "/");
        if !PURE.iter().any(|folder| manifest.ends_with(&format!("{folder}Cargo.toml"))) {
            continue;
        }
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let name = dependency["name"].as_str().expect("a name");
            if dependency["kind"] == "dev" || name.starts_with("voicemesh-") {
                continue;
            }
            assert!(LIBRARIES.contains(&name), "{manifest} imports {name}");
            let features = dependency["features"].as_array().expect("features");
            let impure =
                features.iter().filter_map(|feature| feature.as_str()).find(|name| IMPURE_FEATURES.contains(name));
            assert!(impure.is_none(), "{manifest} imports {name} with {impure:?}");
            let defaults = dependency["uses_default_features"] == true;
            assert!(!(defaults && name == "rand"), "{manifest} imports {name} with the system's chance");
        }
    }
}

#[test]
fn pure_crates_tell_clippy_so() {
    for folder in PURE {
        let path = root().join(folder).join("clippy.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for method in ["std::time::Instant::now", "std::time::SystemTime::now", "RandomState"] {
            assert!(text.contains(method), "{folder}clippy.toml does not disallow {method}");
        }
    }
}

#[test]
fn planted_offences_are_caught_outside_tests_only() {
    let planted = [
        "fn f() { let a = Instant::now(); }",
        "use std::time::{Duration, SystemTime};",
        "fn f() { rand :: rng(); }",
        "use std::net::{Ipv4Addr, UdpSocket};",
        "use std::collections::HashMap;",
        "async fn f() { tokio::task::yield_now().await }",
        "mod a { #[cfg(test)] mod tests { } fn f() { getrandom::fill(&mut []); } }",
    ];
    for text in planted {
        let source = |text: &str| Source { path: "crates/wire/src/lib.rs".to_owned(), text: text.to_owned() };
        assert!(!offences(&source(text)).is_empty(), "{text}");
        assert!(offences(&source(&format!("#[cfg(test)]\nmod tests {{ {text} }}"))).is_empty(), "{text}");
        assert!(offences(&source(&format!("/// {text}\nfn g() {{}}"))).is_empty(), "{text}");
    }
}
