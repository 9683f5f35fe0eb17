//! Every promise that is called kept has a test that names it: `/// proves: D-05, D-06` above the test.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, files, root};

/// Rows that are done, one a line; `#` begins a comment.
const DONE: &str = "tests/check/rows.txt";
/// How many rows each list of promises has.
const LISTS: [(&str, usize); 4] = [("D", 57), ("U", 24), ("S", 20), ("B", 17)];
/// A test begins within this many lines after its proof is named.
const REACH: usize = 12;

fn done() -> BTreeSet<String> {
    let path = root().join(DONE);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    rows.filter(|row| !row.is_empty()).map(str::to_owned).collect()
}

fn exists(row: &str) -> bool {
    let Some((list, number)) = row.split_once('-') else { return false };
    let known = LISTS.iter().find(|(name, _)| *name == list);
    known.is_some_and(|(_, rows)| {
        number.len() == 2 && number.parse().is_ok_and(|number: usize| (1..=*rows).contains(&number))
    })
}

/// Row → places that prove it; and what is wrong with places that do not.
fn proofs(sources: &[Source]) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let mut proofs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for source in sources {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(rows) = proof_in(line) else { continue };
            let place = format!("{}:{}", source.path, number + 1);
            if !lines[number + 1..].iter().take(REACH).any(|line| begins_test(line)) {
                complaints.push(format!("{place}: no test follows"));
                continue;
            }
            for row in rows.split(',').map(str::trim) {
                if exists(row) {
                    proofs.entry(row.to_owned()).or_default().push(place.clone());
                } else {
                    complaints.push(format!("{place}: there is no row {row:?}"));
                }
            }
        }
    }
    (proofs, complaints)
}

/// The list of rows in a comment line that names a proof.
fn proof_in(line: &str) -> Option<&str> {
    let comment = line.trim_start();
    let comment = ["///", "//!", "//", "*", "#"].iter().find_map(|mark| comment.strip_prefix(mark))?;
    comment.trim_start().strip_prefix("proves:").map(str::trim)
}

fn begins_test(line: &str) -> bool {
    let line = line.trim_start();
    (line.starts_with("#[") && line.contains("test")) || line.starts_with("test(") || line.starts_with("it(")
}

fn test_sources() -> Vec<Source> {
    let checks = |source: &Source| source.path.starts_with("tests/check/");
    files(&[".rs", ".js", ".mjs", ".ts"]).into_iter().filter(|source| !checks(source)).collect()
}

#[test]
fn every_row_that_is_done_has_a_test_that_names_it() {
    let (proofs, _) = proofs(&test_sources());
    let missing: Vec<String> = done().into_iter().filter(|row| !proofs.contains_key(row)).collect();
    assert!(missing.is_empty(), "no test proves: {}", missing.join(", "));
}

#[test]
fn every_proof_names_rows_that_exist_and_stands_above_a_test() {
    let (_, complaints) = proofs(&test_sources());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let unknown: Vec<String> = done().into_iter().filter(|row| !exists(row)).collect();
    assert!(unknown.is_empty(), "{DONE} names rows that do not exist: {}", unknown.join(", "));
}

#[test]
fn a_proof_without_a_test_or_with_an_unknown_row_proves_nothing() {
    let source = |text: &str| [Source { path: "tests/x.rs".to_owned(), text: text.to_owned() }];
    let (found, complaints) = proofs(&source("/// proves: D-05, D-06\n#[test]\nfn a() {}\n"));
    assert_eq!((found.len(), complaints.len()), (2, 0));
    for wrong in [
        "/// proves: D-05\nfn a() {}\n",
        "/// proves: D-99\n#[test]\nfn a() {}\n",
        "/// proves: D-5\n#[test]\nfn a() {}\n",
    ] {
        let (found, complaints) = proofs(&source(wrong));
        assert_eq!((found.len(), complaints.len()), (0, 1), "{wrong}");
    }
    assert!(proofs(&source("let text = \"proves: D-05\";\n#[test]\n")).0.is_empty());
}
