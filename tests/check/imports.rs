//! Who may import whom: the table of the house, held against what Cargo knows.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Package, and the packages of ours that its product may import.
const TABLE: [(&str, &[&str]); 30] = [
    ("voicemesh-common", &[]),
    ("voicemesh-wire", &[]),
    ("voicemesh-resample", &[]),
    ("voicemesh-device", &["voicemesh-resample"]),
    ("voicemesh-netsim", &[]),
    ("voicemesh-uplink", &[]),
    ("voicemesh-e2ee", &["voicemesh-wire"]),
    ("voicemesh-sealing", &["voicemesh-wire", "voicemesh-e2ee"]),
    ("voicemesh-session", &["voicemesh-common", "voicemesh-wire", "voicemesh-uplink"]),
    ("voicemesh-audio", &["voicemesh-wire", "voicemesh-uplink"]),
    (
        "voicemesh-mesh",
        &[
            "voicemesh-common",
            "voicemesh-wire",
            "voicemesh-session",
            "voicemesh-e2ee",
            "voicemesh-sealing",
            "voicemesh-uplink",
        ],
    ),
    (
        "voicemesh-link",
        &["voicemesh-common", "voicemesh-wire", "voicemesh-mesh", "voicemesh-uplink"],
    ),
    (
        "voicemesh-engine",
        &[
            "voicemesh-common",
            "voicemesh-wire",
            "voicemesh-e2ee",
            "voicemesh-sealing",
            "voicemesh-session",
            "voicemesh-audio",
            "voicemesh-uplink",
        ],
    ),
    ("voicemesh-networks", &["voicemesh-common", "voicemesh-wire", "voicemesh-session"]),
    ("voicemesh-renet", &["voicemesh-session"]),
    (
        "voicemesh-conformance",
        &["voicemesh-wire", "voicemesh-session", "voicemesh-audio", "voicemesh-engine"],
    ),
    (
        "voicemesh",
        &[
            "voicemesh-common",
            "voicemesh-wire",
            "voicemesh-session",
            "voicemesh-mesh",
            "voicemesh-e2ee",
            "voicemesh-audio",
            "voicemesh-engine",
            "voicemesh-link",
            "voicemesh-device",
        ],
    ),
    ("voicemesh-page", &["voicemesh-wire", "voicemesh-uplink", "voicemesh-e2ee"]),
    ("voicemesh-capi", &["voicemesh-common", "voicemesh"]),
    ("voicemesh-bevy", &["voicemesh"]),
    // Sound and devices: `voicemesh mic` and `voicemesh loopback` run them without a room.
    (
        "voicemesh-cli",
        &[
            "voicemesh-common",
            "voicemesh",
            "voicemesh-renet",
            "voicemesh-signaling",
            "voicemesh-netsim",
            "voicemesh-audio",
            "voicemesh-device",
            "voicemesh-uplink",
        ],
    ),
    ("voicemesh-web", &[]),
    ("voicemesh-rooms", &["voicemesh-common", "voicemesh-wire", "voicemesh-session"]),
    (
        "voicemesh-cluster",
        &["voicemesh-common", "voicemesh-wire", "voicemesh-session", "voicemesh-rooms"],
    ),
    ("voicemesh-unityp2p", &["voicemesh-common"]),
    (
        "voicemesh-signaling",
        &[
            "voicemesh-wire",
            "voicemesh-session",
            "voicemesh-rooms",
            "voicemesh-cluster",
            "voicemesh-unityp2p",
            "voicemesh-web",
        ],
    ),
    ("voicemesh-vectors", &[]),
    ("voicemesh-examples", &[]),
    // The harness sees programs from outside; the benchmarks' load speaks the protocol, and they
    // time the uplink's policy beside the encoder, a session's server, and hosts over renet; the impaired link does
    // to frames what the simulator does to packets; tests themselves are free (development
    // dependencies).
    (
        "voicemesh-tests",
        &[
            "voicemesh-common",
            "voicemesh-wire",
            "voicemesh-quality",
            "voicemesh-netsim",
            "voicemesh-audio",
            "voicemesh-uplink",
            "voicemesh-engine",
            "voicemesh-session",
            "voicemesh-renet",
            "voicemesh-e2ee",
        ],
    ),
    ("voicemesh-quality", &["voicemesh-audio", "voicemesh-netsim"]),
];

/// The only package that names the WebRTC stack.
const WEBRTC: (&str, &str) = ("webrtc", "voicemesh-link");

/// One edge of the graph.
#[derive(Clone)]
struct Import {
    from: String,
    to: String,
    development: bool,
}

fn imports() -> Vec<Import> {
    let mut edges = Vec::new();
    for package in metadata()["packages"].as_array().expect("packages") {
        let from = package["name"].as_str().expect("a name").to_owned();
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name").to_owned();
            edges.push(Import { from: from.clone(), to, development: dependency["kind"] == "dev" });
        }
    }
    edges
}

/// What `cargo metadata` says of the packages of the workspace.
pub fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(super::files::root());
    let output = command.output().unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("cargo metadata: {error}"))
}

fn offences(imports: &[Import]) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = TABLE.into_iter().collect();
    let mut offences = Vec::new();
    for Import { from, to, development } in imports {
        if to == WEBRTC.0 && from != WEBRTC.1 {
            offences.push(format!("{from} imports {to}, which only {} may", WEBRTC.1));
        }
        if *development || !table.contains_key(to.as_str()) {
            continue;
        }
        match table.get(from.as_str()) {
            None => offences.push(format!("{from} stands in no row of the table")),
            Some(allowed) if !allowed.contains(&to.as_str()) => {
                offences.push(format!("{from} imports {to}"))
            }
            Some(_) => {}
        }
    }
    offences
}

#[test]
fn every_crate_imports_only_what_the_table_allows() {
    let found = offences(&imports());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_package_stands_in_the_table() {
    for package in metadata()["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        assert!(
            TABLE.iter().any(|(known, _)| *known == name),
            "{name} stands in no row of the table"
        );
    }
}

#[test]
fn planted_imports_are_caught() {
    let import = |from: &str, to: &str| Import {
        from: from.to_owned(),
        to: to.to_owned(),
        development: false,
    };
    for (from, to) in [
        ("voicemesh-wire", "voicemesh-session"),
        ("voicemesh-signaling", "voicemesh"),
        ("voicemesh", "webrtc"),
    ] {
        assert_eq!(offences(&[import(from, to)]).len(), 1, "{from} → {to}");
    }
    let development = Import { development: true, ..import("voicemesh-wire", "voicemesh-session") };
    assert!(offences(&[development, import("voicemesh-link", "webrtc")]).is_empty());
}
