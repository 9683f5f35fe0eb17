//! Pure crates take the time and their seeds as arguments: no clock, socket, device, thread or
//! ambient randomness.

use std::io::Write;
use std::process::{Command, Stdio};

use super::files::root;
use super::imports::metadata;

/// Folder of every crate that is pure.
const PURE: [&str; 15] = [
    "crates/common/",
    "crates/wire/",
    "crates/e2ee/",
    "crates/sealing/",
    "crates/uplink/",
    "crates/session/",
    "crates/mesh/",
    "crates/audio/",
    "crates/engine/",
    "crates/netsim/",
    "crates/resample/",
    "crates/networks/",
    "crates/rooms/",
    "crates/cluster/",
    "crates/unityp2p/",
];

/// The libraries that their products may stand on; each is without I/O as these crates use it.
const LIBRARIES: [&str; 31] = [
    "bytes",
    "serde",
    "serde_json",
    "uuid",
    "hmac",
    "hkdf",
    "aes",
    "aes-gcm",
    "base64",
    "p256",
    "sframe",
    "subtle",
    "zeroize",
    "sha2",
    "thiserror",
    "tracing",
    "fastrand",
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
    "argon2",
    "base64",
    "sha1",
];

/// Features of those libraries that would read the system's chance or clock.
const IMPURE_FEATURES: [&str; 9] =
    ["v1", "v4", "v6", "v7", "thread_rng", "os_rng", "sys_rng", "getrandom", "default"];

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
            let impure = features
                .iter()
                .filter_map(|feature| feature.as_str())
                .find(|name| IMPURE_FEATURES.contains(name));
            assert!(impure.is_none(), "{manifest} imports {name} with {impure:?}");
            let defaults = dependency["uses_default_features"] == true;
            assert!(
                !(defaults && name == "rand"),
                "{manifest} imports {name} with the system's chance"
            );
        }
    }
}

#[test]
fn pure_crates_have_the_same_rules_for_clippy() {
    let read = |folder: &str| {
        let path = root().join(folder).join("clippy.toml");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let rules = read(PURE[0]);
    for folder in PURE {
        assert_eq!(read(folder), rules, "{folder}clippy.toml is not the one of {}", PURE[0]);
    }
}

/// Runs clippy over `code` under the rules of the pure crates; `true` if it has no complaint.
fn clippy_accepts(code: &str) -> bool {
    let mut clippy = Command::new("clippy-driver");
    clippy.args([
        "--edition",
        "2024",
        "--crate-type",
        "lib",
        "--crate-name",
        "planted",
        "--emit",
        "metadata",
    ]);
    clippy.args([
        "-A",
        "warnings",
        "-D",
        "clippy::disallowed_methods",
        "-D",
        "clippy::disallowed_types",
    ]);
    clippy.arg("--out-dir").arg(env!("CARGO_TARGET_TMPDIR")).arg("-");
    clippy
        .env("CLIPPY_CONF_DIR", root().join(PURE[0]))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut clippy = clippy.spawn().unwrap_or_else(|error| panic!("clippy-driver: {error}"));
    clippy.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
    let output = clippy.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains("disallowed"), "{code}: {said}");
    output.status.success()
}

#[test]
fn clippy_catches_planted_offences() {
    assert!(clippy_accepts(
        "pub fn f(now: std::time::Duration) -> std::time::Duration { now * 2 }"
    ));
    for code in [
        "pub fn f() { let _ = std::time::Instant::now(); }",
        "pub fn f(_: std::time::SystemTime) {}",
        "pub fn f(_: std::net::UdpSocket) {}",
        "pub fn f(_: std::collections::HashMap<u8, u8>) {}",
        "pub fn f() { std::thread::spawn(|| {}); }",
        "pub fn f() { let _ = std::env::var(\"HOME\"); }",
        "pub fn f() { let _ = std::fs::read(\"file\"); }",
    ] {
        assert!(!clippy_accepts(code), "{code}");
    }
}
