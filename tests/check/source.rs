//! The project's own source text: which files there are, and what of a file is code, comment or test.

use std::path::{Path, PathBuf};

/// One file, its path relative to the project's root with `/` on every system.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of ours with one of these endings.
pub fn files(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for top in ["crates", "signaling", "tests", "web"] {
        collect(&root().join(top), top, endings, &mut found);
    }
    assert!(found.len() > 10, "the project's files were not found");
    found
}

fn collect(directory: &Path, name: &str, endings: &[&str], found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{name}/{file_name}");
        if entry.path().is_dir() {
            if !["target", "node_modules", "dist", "corpus", "artifacts"].contains(&file_name.as_str()) {
                collect(&entry.path(), &path, endings, found);
            }
        } else if endings.iter().any(|ending| file_name.ends_with(ending)) {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
            found.push(Source { path, text });
        }
    }
}

impl Source {
    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.starts_with("tests/") || self.path.contains("/tests/")
    }

    /// The lines of what is compiled into the product: no comments, no contents of strings, no `#[cfg(test)]` items.
    pub fn product_lines(&self) -> Vec<String> {
        if self.is_test() { Vec::new() } else { lines(&blank_tests(&code_of(&self.text))) }
    }

    /// The lines of test code; the other lines are empty.
    pub fn test_lines(&self) -> Vec<String> {
        let all = lines(&code_of(&self.text));
        if self.is_test() {
            return all;
        }
        let product = self.product_lines().into_iter().chain(std::iter::repeat(String::new()));
        all.into_iter().zip(product).map(|(line, product)| if line == product { String::new() } else { line }).collect()
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Where every letter of a comment or literal is a space; line numbers stay.
pub fn code_of(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = literal_or_comment_end(&letters, at);
        if let Some(end) = end {
            code.extend(letters[at..end].iter().map(|letter| if *letter == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            code.push(letters[at]);
            at += 1;
        }
    }
    code
}

/// The end of the comment, string or character that begins here, if one does.
fn literal_or_comment_end(letters: &[char], at: usize) -> Option<usize> {
    let rest = &letters[at..];
    let after = |length: usize| (at + length).min(letters.len());
    match rest {
        ['/', '/', ..] => Some(after(rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()))),
        ['/', '*', ..] => Some(after(block_comment_length(rest))),
        ['r', '"' | '#', ..] if !follows_a_word(letters, at) => raw_string_length(rest).map(after),
        ['"', ..] => Some(after(quoted_length(rest, '"'))),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Some(after(quoted_length(rest, '\''))),
        _ => None,
    }
}

/// True for the last letter of `for`, but not of the prefix `b` of a byte string.
fn follows_a_word(letters: &[char], at: usize) -> bool {
    let word = |letter: Option<&char>| letter.is_some_and(|letter| letter.is_alphanumeric() || *letter == '_');
    let before = at.checked_sub(1).map(|before| letters[before]);
    match before {
        Some('b') => at >= 2 && word(letters.get(at - 2)),
        before => word(before.as_ref()),
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn raw_string_length(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|letter| **letter == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &rest[2 + hashes..];
    let close = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    Some(2 + hashes + close + end.len())
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The code without items marked `#[cfg(test)]` or `#[cfg(all(test, …))]`; line numbers stay.
fn blank_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|mark| rest.find(mark)).min() {
        kept.push_str(&rest[..start]);
        let item = &rest[start..start + item_length(&rest[start..])];
        kept.extend(item.chars().filter(|letter| *letter == '\n'));
        rest = &rest[start + item.len()..];
    }
    kept + rest
}

/// Up to the item's closing brace, or the semicolon before any brace.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in item.char_indices() {
        match letter {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

/// Whether `path` stands in the line as whole words, however the `::` are spaced.
pub fn mentions(line: &str, path: &str) -> bool {
    let line: String = line.chars().filter(|letter| *letter != ' ').collect();
    let word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let ends_in_word = word(path.chars().next_back());
    line.match_indices(path).any(|(at, found)| {
        let longer_before = word(line[..at].chars().next_back());
        let longer_after = ends_in_word && word(line[at + found.len()..].chars().next());
        !longer_before && !longer_after
    })
}

#[test]
fn comments_strings_and_tests_are_told_from_code() {
    let text = r##"fn a<'a>() { call("tokio \" // no", 'x', '\'', r#"cpal " "#); } // SystemTime
/* getrandom /* nested */ still */ fn b() { real::code() }
#[cfg(test)]
mod tests { fn c() { in_test({ }) } }
fn d() { after }
"##;
    let source = Source { path: "crates/x/src/lib.rs".to_owned(), text: text.to_owned() };
    let product = source.product_lines().join("\n");
    for hidden in ["tokio", "no", "cpal", "SystemTime", "getrandom", "still", "in_test"] {
        assert!(!product.contains(hidden), "{hidden} in {product}");
    }
    for shown in ["fn a<'a>() { call(", "real::code()", "fn d() { after }"] {
        assert!(product.contains(shown), "{shown} not in {product}");
    }
    assert!(source.test_lines()[3].contains("in_test"));
    assert!(source.test_lines()[4].is_empty());
}

#[test]
fn whole_words_are_found_however_spaced() {
    assert!(mentions("let now = Instant :: now();", "Instant::now"));
    assert!(mentions("std::time::Instant::now()", "Instant::now"));
    assert!(!mentions("MyInstant::now()", "Instant::now"));
    assert!(!mentions("Instant::nowhere()", "Instant::now"));
}
