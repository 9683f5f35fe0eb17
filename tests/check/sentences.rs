//! The troubleshooting guide: what it quotes of the server is in the server's code.
//!
//! The sentences of the command and of the page are held beside them, in
//! `crates/cli/src/sentences.rs` and `web/test/view.test.js`.

use super::files::{files, root};

const SECTION: &str = "## The server\n";

/// The code's texts as they are printed: one that goes on in the next line in one piece.
fn printed(code: &str) -> String {
    let mut pieces = code.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start())
}

/// Quotes of the guide that no piece of code has.
fn unsaid<'g>(guide: &'g str, code: &[String]) -> Vec<&'g str> {
    let section = guide.split_once(SECTION).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let quotes = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    quotes.filter(|quote| !code.iter().any(|text| text.contains(quote))).collect()
}

#[test]
fn what_the_guide_quotes_of_the_server_is_said_by_it() {
    let guide = std::fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the guide");
    let sources = files(&[".rs"]).into_iter();
    let code: Vec<String> = sources
        .filter(|source| source.path.starts_with("signaling/src/"))
        .map(|source| printed(source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("")))
        .collect();
    assert!(guide.contains(SECTION) && code.len() > 20, "guide and code were not found");
    assert_eq!(unsaid(&guide, &code), <[&str; 0]>::default());
}

#[test]
fn a_quote_that_nothing_says_is_found() {
    let guide =
        format!("{SECTION}\n| `is long` | a | b |\n| `is gone` | a | b |\n## Next\n| `x` |");
    assert_eq!(unsaid(&guide, &[printed("\"it is \\\n    long\"")]), ["is gone"]);
}
