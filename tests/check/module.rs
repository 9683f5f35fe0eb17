//! The page's WebAssembly module is the one that its sources make: `scripts/page.sh` builds it and
//! writes the stamp.

use std::fs;

use sha2::{Digest, Sha256};

use super::files::{files, root};

const MODULE: &str = "web/src/uplink.wasm";
const STAMP: &str = "crates/page/stamp.txt";

fn digits(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the module is made from, without comments and tests, as `scripts/page.sh` has it.
fn inputs() -> Sha256 {
    let mut inputs = files(&[".rs", "Cargo.toml"]);
    inputs.retain(|source| {
        let of = |name: &str| {
            source.path.starts_with(&format!("crates/{name}/src/"))
                || source.path == format!("crates/{name}/Cargo.toml")
        };
        of("page") || of("uplink")
    });
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(inputs.len() > 5, "the sources of the module were not found");
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
fn the_pages_module_is_the_one_that_its_sources_make() {
    let read =
        |name: &str| fs::read(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let stamp = String::from_utf8(read(STAMP)).unwrap();
    let [sources, module] = stamp.lines().collect::<Vec<_>>()[..] else {
        panic!("{STAMP} has two lines")
    };
    assert_eq!(
        digits(inputs()),
        sources,
        "crates/page or crates/uplink has changed: run scripts/page.sh"
    );
    assert_eq!(
        digits(Sha256::new_with_prefix(read(MODULE))),
        module,
        "{MODULE} is not what scripts/page.sh made"
    );
}
