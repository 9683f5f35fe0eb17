//! Documents: a link to a file or a heading of the project leads somewhere, and the README stays
//! one page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::files::root;

const README: &str = "README.md";
const README_LINES: usize = 150;
/// Folders with documents, besides the root itself.
const FOLDERS: [&str; 5] = ["crates", "deploy", "docs", "signaling", "tests"];
/// Links relative to the repository's page at its host, not to a file.
const AT_THE_HOST: &str = "../../actions/";

/// Path relative to the root → text, code blocks left out.
type Documents = BTreeMap<String, String>;

fn documents() -> Documents {
    let mut found = Documents::new();
    collect(&root(), "", false, &mut found);
    for folder in FOLDERS {
        collect(&root().join(folder), &format!("{folder}/"), true, &mut found);
    }
    assert!(
        found.contains_key(README) && found.len() > 10,
        "the project's documents were not found"
    );
    found
}

fn collect(folder: &Path, prefix: &str, with_folders: bool, found: &mut Documents) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            if with_folders && !["target", "node_modules", "corpus"].contains(&name.as_str()) {
                collect(&entry.path(), &format!("{path}/"), true, found);
            }
        } else if name.ends_with(".md") {
            let text = std::fs::read_to_string(entry.path())
                .unwrap_or_else(|error| panic!("{path}: {error}"));
            found.insert(path, without_code(&text));
        }
    }
}

fn without_code(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The targets of inline links and pictures.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchors that a host makes of the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    headings.map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.flat_map(char::to_lowercase)
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn broken(documents: &Documents, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in documents {
        for link in links(text).filter(|link| !link.contains(':') && !link.starts_with(AT_THE_HOST))
        {
            let (file, heading) =
                link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { path.clone() } else { beside(path, file) };
            let is_there = documents.contains_key(&target) || exists(&target);
            let has_heading =
                |heading| documents.get(&target).is_none_or(|text| anchors(text).contains(heading));
            if !is_there || !heading.is_none_or(has_heading) {
                found.push(format!("{path}: {link}"));
            }
        }
    }
    found
}

/// The path of `file` as a document at `path` names it.
fn beside(path: &str, file: &str) -> String {
    let mut parts = PathBuf::from(path);
    parts.pop();
    for part in Path::new(file).components() {
        if part == Component::ParentDir {
            parts.pop();
        } else if part != Component::CurDir {
            parts.push(part);
        }
    }
    parts.to_string_lossy().replace('\\', "/")
}

#[test]
fn links_between_documents_lead_somewhere() {
    let found = broken(&documents(), |path| root().join(path).exists());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_readme_is_one_page() {
    let text = std::fs::read_to_string(root().join(README)).unwrap();
    let lines = text.lines().count();
    assert!(
        lines <= README_LINES,
        "{README} has {lines} lines, more than {README_LINES}; docs/ has room"
    );
}

#[test]
fn the_shortest_example_has_at_most_twenty_lines() {
    let text = std::fs::read_to_string(root().join("examples/minimal.rs")).unwrap();
    assert!(text.lines().count() <= 20, "{} lines", text.lines().count());
}

#[test]
fn planted_links_are_caught() {
    let of = |text: &str| {
        let documents = [("docs/a.md", text), ("docs/b.md", "# One, *two* `three`\n")];
        let documents = documents.map(|(path, text)| (path.to_owned(), without_code(text))).into();
        broken(&documents, |path| path == "LICENSE").len()
    };
    for good in [
        "[b](b.md#one-two-three)",
        "# Here\n[here](#here)",
        "![picture](../LICENSE)",
        "[elsewhere](https://voicemesh.example/x.md)",
        "[badge](../../actions/workflows/test.yml)",
        "```c\na[1](none.md)\n```",
    ] {
        assert_eq!(of(good), 0, "{good}");
    }
    for bad in ["[b](c.md)", "[b](b.md#four)", "[here](#here)", "[b](../docs/c.md)"] {
        assert_eq!(of(bad), 1, "{bad}");
    }
}
