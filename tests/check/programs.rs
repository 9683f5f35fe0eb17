//! Every file of tests runs: where a crate's tests are one program, each file is a module of it or
//! a program in the crate's manifest.

use super::files::{Source, files};

/// Files beside a `tests/main.rs` that neither it nor the manifest names.
fn forgotten(sources: &[Source]) -> Vec<&str> {
    let text_of = |path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.map_or("", |source| source.text.as_str())
    };
    let mut forgotten = Vec::new();
    for main in sources.iter().filter(|source| source.path.ends_with("/tests/main.rs")) {
        let folder = main.path.strip_suffix("main.rs").unwrap_or_default();
        let manifest = text_of(&folder.replace("/tests/", "/Cargo.toml"));
        for source in sources {
            let Some(name) = source.path.strip_prefix(folder) else { continue };
            let Some(module) = name.strip_suffix(".rs").filter(|name| !name.contains('/')) else {
                continue;
            };
            let is_module = main.text.lines().any(|line| line == format!("mod {module};"));
            let is_program = manifest.contains(&format!("path = \"tests/{name}\""));
            if !is_module && !is_program {
                forgotten.push(source.path.as_str());
            }
        }
    }
    forgotten
}

#[test]
fn every_file_of_a_crates_tests_is_part_of_a_program() {
    let sources = files(&[".rs", "Cargo.toml"]);
    let programs = sources.iter().filter(|source| source.path.ends_with("/tests/main.rs"));
    assert!(programs.count() > 5, "the crates' tests were not found");
    let forgotten = forgotten(&sources);
    assert!(forgotten.is_empty(), "no program has these tests: {forgotten:?}");
}

#[test]
fn a_file_that_no_program_names_is_a_complaint() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let sources = [
        source(
            "crates/a/Cargo.toml",
            "[[test]]\npath = \"tests/main.rs\"\n[[test]]\npath = \"tests/alone.rs\"\n",
        ),
        source("crates/a/tests/main.rs", "mod common;\nmod one;\n"),
        source("crates/a/tests/common/mod.rs", ""),
        source("crates/a/tests/one.rs", ""),
        source("crates/a/tests/alone.rs", ""),
        source("crates/a/tests/lost.rs", ""),
    ];
    assert_eq!(forgotten(&sources), ["crates/a/tests/lost.rs"]);
}
