//! The line that is being typed.

use super::cells::{letters, width};

/// The longest line; what is typed beyond it is not taken. More than the longest text that can be
/// sent.
const LINE_BYTES: usize = 8192;

/// A line and a cursor in it, which stands between letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Editor {
    text: String,
    /// In bytes, at a letter's beginning or at the end.
    cursor: usize,
}

impl Editor {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Gives the line away and begins another.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Control characters become spaces, so that a pasted text stays one line.
    pub(crate) fn insert(&mut self, text: &str) {
        for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
            if self.text.len() + letter.len_utf8() <= LINE_BYTES {
                self.text.insert(self.cursor, letter);
                self.cursor += letter.len_utf8();
            }
        }
    }

    /// The text before the cursor.
    pub(crate) fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Puts other text in the place of so many bytes before the cursor.
    pub(crate) fn replace_before(&mut self, bytes: usize, with: &str) {
        let start = self.cursor.saturating_sub(bytes);
        if self.text.is_char_boundary(start) {
            self.text.drain(start..self.cursor);
            self.cursor = start;
            self.insert(with);
        }
    }

    pub(crate) fn left(&mut self) {
        self.cursor -= letters(&self.text[..self.cursor]).next_back().map_or(0, str::len);
    }

    pub(crate) fn right(&mut self) {
        self.cursor += letters(&self.text[self.cursor..]).next().map_or(0, str::len);
    }

    pub(crate) fn home(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(crate) fn backspace(&mut self) {
        let end = self.cursor;
        self.left();
        self.text.drain(self.cursor..end);
    }

    pub(crate) fn delete(&mut self) {
        let end = letters(&self.text[self.cursor..]).next().map_or(0, str::len) + self.cursor;
        self.text.drain(self.cursor..end);
    }

    /// Removes the word before the cursor.
    pub(crate) fn delete_word(&mut self) {
        let before = self.text[..self.cursor].trim_end();
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let start =
            before.char_indices().map(|(at, _)| at).find(|at| *at >= start).unwrap_or(before.len());
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    /// Removes everything before the cursor.
    pub(crate) fn delete_to_start(&mut self) {
        self.text.drain(..self.cursor);
        self.cursor = 0;
    }

    /// The part to show in so many columns, and the cursor's column in it.
    pub(crate) fn view(&self, columns: usize) -> (&str, usize) {
        let room = columns.saturating_sub(1);
        let mut start = 0;
        let mut before = width(&self.text[..self.cursor]);
        for letter in letters(&self.text[..self.cursor]) {
            if before <= room {
                break;
            }
            before -= width(letter);
            start += letter.len();
        }
        (&self.text[start..], before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn letters_are_inserted_and_removed_where_the_cursor_stands() {
        let mut editor = typed("helo");
        editor.left();
        editor.insert("l");
        editor.home();
        editor.insert("> ");
        assert_eq!(editor.view(20), ("> hello", 2));
        editor.delete();
        editor.end();
        editor.backspace();
        assert_eq!(editor.take(), "> ell");
        assert!(editor.is_empty());
    }

    #[test]
    fn a_letter_of_several_parts_goes_as_one() {
        let mut editor = typed("ae\u{301}👩\u{200d}🚀");
        editor.backspace();
        editor.backspace();
        assert_eq!(editor.take(), "a");
        let mut empty = Editor::default();
        empty.backspace();
        empty.delete();
        empty.left();
        empty.right();
        empty.delete_word();
        assert_eq!(empty, Editor::default());
    }

    #[test]
    fn words_and_all_before_the_cursor_can_be_removed() {
        let mut editor = typed("one two  three ");
        editor.delete_word();
        assert_eq!(editor.view(40).0, "one two  ");
        editor.delete_word();
        assert_eq!(editor.view(40).0, "one ");
        editor.delete_to_start();
        assert!(editor.is_empty());
    }

    #[test]
    fn the_cursor_is_always_in_sight() {
        let mut editor = typed("日本語 and a long line");
        for columns in 2..30 {
            let (_, column) = editor.view(columns);
            assert!(column < columns, "{columns}");
        }
        editor.home();
        assert_eq!(editor.view(5).1, 0);
    }

    #[test]
    fn a_pasted_text_is_one_line_of_bounded_length() {
        let mut editor = typed("two\nlines\u{1b}[2J");
        assert_eq!(editor.take(), "two lines [2J");
        editor.insert(&"x".repeat(2 * LINE_BYTES));
        assert_eq!(editor.take().len(), LINE_BYTES);
    }
}
