//! Every promise that is called tested has a test that names it: `/// proves: D-05, D-06` above the
//! test.

use std::collections::BTreeMap;

use super::files::{Source, files, root};

/// The promises, one a line: `| D-01 | text | tested |` or `open`.
const PROMISES: &str = "docs/features.md";
/// A test begins within this many lines after its proof is named.
const REACH: usize = 12;
/// A test proves at most so many rows: a name says no more than three things, and what it does not
/// say, a reader of the row does not find, and a change of the test loses unnoticed.
const MOST_ROWS: usize = 3;

/// Row → whether it is called tested.
fn promises() -> BTreeMap<String, bool> {
    let path = root().join(PROMISES);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    promises_in(&text)
}

fn promises_in(text: &str) -> BTreeMap<String, bool> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [row, _, state] = cells[..] else {
            panic!("{PROMISES}: not a row of three cells: {line}")
        };
        if row == "row" {
            continue;
        }
        let tested = match state {
            "tested" => true,
            "open" => false,
            _ => panic!("{PROMISES}: {row} is neither tested nor open"),
        };
        assert!(rows.insert(row.to_owned(), tested).is_none(), "{PROMISES}: {row} stands twice");
    }
    rows
}

/// Row → places that prove it; and what is wrong with places that do not.
fn proofs(
    sources: &[Source],
    promises: &BTreeMap<String, bool>,
) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
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
            if rows.split(',').count() > MOST_ROWS {
                complaints.push(format!(
                    "{place}: more than {MOST_ROWS} rows; name those that the test's name states"
                ));
            }
            let next = lines[number + 1..].iter().take_while(|line| !begins_test(line));
            if next.filter_map(|line| proof_in(line)).next().is_some() {
                complaints.push(format!("{place}: two lists of rows above one test"));
            }
            for row in rows.split(',').map(str::trim) {
                if promises.contains_key(row) {
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
    let comment =
        ["///", "//!", "//", "*", "#"].iter().find_map(|mark| comment.strip_prefix(mark))?;
    comment.trim_start().strip_prefix("proves:").map(str::trim)
}

fn begins_test(line: &str) -> bool {
    let line = line.trim_start();
    (line.starts_with("#[") && line.contains("test"))
        || line.starts_with("test(")
        || line.starts_with("it(")
}

fn test_sources() -> Vec<Source> {
    let checks = |source: &Source| source.path.starts_with("tests/check/");
    files(&[".rs", ".js", ".mjs", ".ts"]).into_iter().filter(|source| !checks(source)).collect()
}

#[test]
fn every_tested_row_has_a_test_that_names_it() {
    let promises = promises();
    let (proofs, _) = proofs(&test_sources(), &promises);
    let missing: Vec<&String> = promises
        .iter()
        .filter(|(row, tested)| **tested && !proofs.contains_key(*row))
        .map(|(row, _)| row)
        .collect();
    assert!(missing.is_empty(), "no test proves: {missing:?}");
}

#[test]
fn every_proof_names_a_tested_row_and_stands_above_a_test() {
    let promises = promises();
    let (proofs, complaints) = proofs(&test_sources(), &promises);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let open: Vec<&String> = proofs.keys().filter(|row| !promises[*row]).collect();
    assert!(open.is_empty(), "{PROMISES} calls rows open that tests prove: {open:?}");
}

#[test]
fn a_proof_without_a_test_or_with_an_unknown_row_is_a_complaint() {
    let promises = promises_in(
        "| row | promise | state |\n|---|---|---|\n| D-05 | a | tested |\n| D-06 | b | open |\n",
    );
    assert_eq!(promises.len(), 2);
    let source = |text: &str| [Source { path: "tests/x.rs".to_owned(), text: text.to_owned() }];
    let (found, complaints) =
        proofs(&source("/// proves: D-05, D-06\n#[test]\nfn a() {}\n"), &promises);
    assert_eq!((found.len(), complaints.len()), (2, 0));
    for wrong in [
        "/// proves: D-05\nfn a() {}\n",
        "/// proves: D-99\n#[test]\nfn a() {}\n",
        "/// proves: D-5\n#[test]\nfn a() {}\n",
    ] {
        let (found, complaints) = proofs(&source(wrong), &promises);
        assert_eq!((found.len(), complaints.len()), (0, 1), "{wrong}");
    }
    let many = source("/// proves: D-05, D-06, D-05, D-06\n#[test]\nfn a() {}\n");
    assert!(proofs(&many, &promises).1[0].contains("more than 3 rows"));
    let two = source("/// proves: D-05\n/// proves: D-06\n#[test]\nfn a() {}\n");
    assert!(proofs(&two, &promises).1[0].contains("above one test"));
    assert!(proofs(&source("let text = \"proves: D-05\";\n#[test]\n"), &promises).0.is_empty());
}
