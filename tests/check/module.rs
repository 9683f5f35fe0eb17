//! The page's WebAssembly modules are those that their sources make: `scripts/page.sh` builds them
//! and writes the stamp.

use std::fs;

use sha2::{Digest, Sha256};

use super::files::{files, root};

const MODULES: [&str; 2] = ["web/src/uplink.wasm", "web/src/keys.wasm"];
const STAMP: &str = "crates/page/stamp.txt";

fn digits(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the modules are made from, without comments and tests, as `scripts/page.sh` has it.
fn inputs() -> Sha256 {
    let mut inputs = files(&[".rs", "Cargo.toml"]);
    inputs.retain(|source| {
        !source.path.contains("/src/tests") && !source.path.ends_with("/tests.rs")
    });
    inputs.retain(|source| {
        let of = |name: &str| {
            source.path.starts_with(&format!("crates/{name}/src/"))
                || source.path == format!("crates/{name}/Cargo.toml")
        };
        ["page", "uplink", "e2ee", "wire"].into_iter().any(of)
    });
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(inputs.len() > 5, "the sources of the modules were not found");
    let mut hash = Sha256::new();
    for source in inputs {
        let lines = source.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        let lines =
            lines.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"));
        for line in std::iter::once(source.path.as_str()).chain(lines) {
            hash.update(line);
            hash.update("\n");
        }
    }
    hash
}

#[test]
fn the_pages_modules_are_those_that_their_sources_make() {
    let read =
        |name: &str| fs::read(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let stamp = String::from_utf8(read(STAMP)).unwrap();
    let [sources, built @ ..] = &stamp.lines().collect::<Vec<_>>()[..] else {
        panic!("{STAMP} is empty")
    };
    assert_eq!(built.len(), MODULES.len(), "{STAMP} has a line for the sources and each module");
    assert_eq!(
        digits(inputs()),
        *sources,
        "crates/page, uplink, e2ee or wire has changed: run scripts/page.sh"
    );
    for (name, built) in MODULES.into_iter().zip(built) {
        assert_eq!(
            digits(Sha256::new_with_prefix(read(name))),
            *built,
            "{name} is not what scripts/page.sh made"
        );
    }
}
