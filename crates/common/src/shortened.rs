//! Texts that a sentence repeats.

use std::borrow::Cow;

/// Letters of an address that are enough to know it again.
const LETTERS: usize = 100;

/// A text as a sentence repeats it: of one of any length its beginning, and `…` behind that.
pub fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LETTERS) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_ends_after_a_hundred_letters() {
        for (text, expected) in [
            ("wss://voice.example.org".to_owned(), "wss://voice.example.org".to_owned()),
            ("é".repeat(100), "é".repeat(100)),
            ("é".repeat(101), "é".repeat(100) + "…"),
            ("&".repeat(100_000), "&".repeat(100) + "…"),
        ] {
            assert_eq!(shortened(&text), expected);
        }
    }
}
