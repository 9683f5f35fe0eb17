//! How files are kept: finished, and without tests that wait for a fixed time.

use super::source::{Source, files, mentions, root};

/// Test files that may sleep, one a line: path, then the reason.
const SLEEPERS: &str = "tests/check/sleeps.txt";

fn unfinished(source: &Source) -> Vec<String> {
    let lines = source.product_lines().into_iter().chain(source.test_lines());
    let found = lines.filter(|line| mentions(line, "todo!") || mentions(line, "unimplemented!"));
    found.map(|line| format!("{}: {}", source.path, line.trim())).collect()
}

fn sleeps(source: &Source) -> Vec<String> {
    let named =
        |line: &str| mentions(line, "thread::sleep") || mentions(line, "time::sleep") || mentions(line, "sleep(");
    let lines = source.test_lines().into_iter().enumerate().filter(|(_, line)| named(line));
    lines.map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim())).collect()
}

/// Paths that may sleep; every one must have a reason and still exist.
fn sleepers() -> Vec<String> {
    let path = root().join(SLEEPERS);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (file, reason) = line.split_once(' ').unwrap_or((line, ""));
            assert!(!reason.trim().is_empty(), "{SLEEPERS}: {file} has no reason");
            assert!(root().join(file).is_file(), "{SLEEPERS}: {file} does not exist");
            file.to_owned()
        })
        .collect()
}

#[test]
fn nothing_is_left_to_do() {
    let found: Vec<String> = files(&[".rs"]).iter().flat_map(unfinished).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_test_sleeps() {
    let sleepers = sleepers();
    let sources = files(&[".rs"]);
    let found: Vec<String> =
        sources.iter().filter(|source| !sleepers.contains(&source.path)).flat_map(sleeps).collect();
    assert!(found.is_empty(), "wait for the event instead, or add the file to {SLEEPERS}:\n{}", found.join("\n"));
}

#[test]
fn planted_offences_are_caught() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    assert_eq!(unfinished(&source("crates/a/src/lib.rs", "fn f() { todo!() }")).len(), 1);
    assert_eq!(unfinished(&source("crates/a/src/lib.rs", "// todo!()")).len(), 0);
    let sleeping = "fn f() { std::thread::sleep(second); }";
    assert_eq!(sleeps(&source("tests/e2e/a.rs", sleeping)).len(), 1);
    assert_eq!(sleeps(&source("crates/a/src/lib.rs", sleeping)).len(), 0, "the product may wait");
    let in_module = format!("#[cfg(test)]\nmod tests {{\n{sleeping}\n}}");
    assert_eq!(sleeps(&source("crates/a/src/lib.rs", &in_module)).len(), 1);
}
