//! Words in documents and code: what ARCHITECTURE.md names is there, and the terms that the
//! project avoids stay rare.

use std::collections::{BTreeMap, BTreeSet};

use super::files::{Source, files, names, root};

const MAP: &str = "ARCHITECTURE.md";
/// What it names of others: paths of a system or of what is built, and a kernel's option.
const FOREIGN: [&str; 4] =
    ["/etc/hosts", "out/browser", "target/terminal/real", "TCP_USER_TIMEOUT"];
/// Endings of files with code.
const CODE: [&str; 9] = [".rs", ".js", ".cs", ".h", ".c", ".toml", ".json", ".html", ".sh"];

/// Text between single backticks, outside of blocks of code.
fn spans(text: &str) -> BTreeSet<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let lines = prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    lines.map(str::to_owned).collect()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter| !is_word(letter)).filter(|word| word.starts_with(|l: char| !l.is_numeric()))
}

fn is_path(span: &str) -> bool {
    let is_of_path = |letter: char| is_word(letter) || "./-{}".contains(letter);
    let is_file = CODE.iter().any(|ending| span.ends_with(ending)) || span.ends_with(".gz");
    (span.contains('/') || is_file) && span.chars().all(is_of_path)
}

/// Whether a file has this path, or a folder that ends so.
fn is_there(names: &[String], path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let (end, folder, inner) = (format!("/{path}"), format!("{path}/"), format!("/{path}/"));
    let fits = |name: &String| {
        name == path || name.ends_with(&end) || name.starts_with(&folder) || name.contains(&inner)
    };
    names.iter().any(fits)
}

/// What a document names and is nowhere: paths; words; and members that no file which names their
/// owner has.
fn missing(text: &str, names: &[String], sources: &[Source]) -> Vec<String> {
    let by_file: Vec<BTreeSet<&str>> =
        sources.iter().map(|source| words(&source.text).collect()).collect();
    let has = |word: &str| by_file.iter().any(|file| file.contains(word));
    let together = |owner: &str, member: &str| {
        by_file.iter().any(|file| file.contains(owner) && file.contains(member))
    };
    let mut found = Vec::new();
    for span in spans(text) {
        if FOREIGN.contains(&span.as_str()) || span.contains('*') {
            continue;
        }
        if is_path(&span) {
            if !is_there(names, &span) {
                found.push(span);
            }
            continue;
        }
        let apart = words(&span).find(|word| !has(word));
        let parts: Vec<&str> = span.split("::").collect();
        let is_alone = parts.windows(2).any(|pair| {
            let (owner, member) = (words(pair[0]).last(), words(pair[1]).next());
            owner.zip(member).is_some_and(|(owner, member)| !together(owner, member))
        });
        if apart.is_some() || is_alone {
            found.push(span);
        }
    }
    found
}

#[test]
fn what_the_architecture_names_is_there() {
    let text = std::fs::read_to_string(root().join(MAP)).unwrap();
    assert!(spans(&text).len() > 400, "little was read");
    let found = missing(&text, &names(), &files(&CODE));
    assert!(found.is_empty(), "{MAP} names what is nowhere:\n{}", found.join("\n"));
}

#[test]
fn planted_names_that_are_nowhere_are_found() {
    let names = ["crates/a/src/lib.rs".to_owned()];
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let sources =
        [source("a.rs", "struct Link; fn open() {}"), source("b.rs", "struct Mesh; fn tick() {}")];
    let of = |text: &str| missing(text, &names, &sources).len();
    for good in
        ["`Link::open`", "`a/src/lib.rs`", "`crates/a`", "`tick` and `Mesh`", "```\n`x`\n```"]
    {
        assert_eq!(of(good), 0, "{good}");
    }
    for bad in ["`Link::tick`", "`a/src/none.rs`", "`crates/b`", "`shut`", "`lib.js`"] {
        assert_eq!(of(bad), 1, "{bad}");
    }
}

/// Phrases of another register than the one that the project writes.
const AVOIDED: [[&str; 3]; 7] = [
    ["no", "bo", "dy"],
    ["some", "bo", "dy"],
    ["who", "ev", "er"],
    ["is", " ", "told"],
    ["are", " ", "told"],
    ["of its", " ", "own"],
    ["like", "wi", "se"],
];
const MOST_AVOIDED: usize = 20;

fn avoided(text: &str) -> usize {
    let text = text.to_lowercase();
    let count = |phrase: [&str; 3]| {
        let phrase = phrase.concat();
        let is_whole = |(at, _): &(usize, &str)| {
            let (before, after) =
                (text[..*at].chars().next_back(), text[at + phrase.len()..].chars().next());
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        };
        text.match_indices(phrase.as_str()).filter(is_whole).count()
    };
    AVOIDED.into_iter().map(count).sum()
}

#[test]
fn avoided_phrases_stay_rare() {
    let documents = names().into_iter().filter(|name| name.ends_with(".md")).map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        Source { path, text }
    });
    let endings: Vec<&str> = CODE.into_iter().filter(|ending| *ending != ".json").collect();
    let counts: BTreeMap<String, usize> = files(&endings)
        .into_iter()
        .chain(documents)
        .map(|source| (source.path, avoided(&source.text)))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert!(counts.values().sum::<usize>() <= MOST_AVOIDED, "{counts:#?}");
    let planted: String = AVOIDED.map(|phrase| format!("{} ", phrase.concat())).concat();
    assert_eq!((avoided(&planted), avoided("this told of its owner")), (AVOIDED.len(), 0));
}
