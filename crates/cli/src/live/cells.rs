//! Text measured in terminal columns: letters of two columns, of none, and many marks on one
//! letter.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// A letter with more marks than this keeps its first ones. The longest emoji in use have ten
/// parts.
const MOST_PARTS: usize = 12;
/// What stands where text was cut off.
const CUT: &str = "…";

/// The letters as a person counts them.
pub(crate) fn letters(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.graphemes(true).map(|letter| match letter.char_indices().nth(MOST_PARTS) {
        Some((end, _)) => &letter[..end],
        None => letter,
    })
}

/// How many columns the text takes.
pub(crate) fn width(text: &str) -> usize {
    letters(text).map(UnicodeWidthStr::width).sum()
}

/// The text in exactly so many columns: cut off with a sign, or followed by spaces.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut fitted = cut(text, columns);
    let missing = columns.saturating_sub(width(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// The same at the right edge.
pub(crate) fn fit_right(text: &str, columns: usize) -> String {
    let fitted = cut(text, columns);
    let missing = columns.saturating_sub(width(&fitted));
    format!("{:missing$}{fitted}", "")
}

/// The text in at most so many columns, cut off with a sign.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return letters(text).collect();
    }
    let (mut kept, mut taken) = (String::new(), 0);
    for letter in letters(text) {
        taken += letter.width();
        if taken + CUT.width() > columns {
            break;
        }
        kept.push_str(letter);
    }
    if columns >= CUT.width() {
        kept.push_str(CUT);
    }
    kept
}

/// Rows of at most so many columns, parted at spaces where there are any. Never empty.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let (mut rows, mut row, mut taken) = (Vec::new(), String::new(), 0);
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        if taken + width(bare) > columns && taken > 0 {
            rows.push(std::mem::take(&mut row).trim_end().to_owned());
            taken = 0;
        }
        for letter in letters(bare) {
            if taken + letter.width() > columns {
                rows.push(std::mem::take(&mut row));
                taken = 0;
            }
            row.push_str(letter);
            taken += letter.width();
        }
        let space = &word[bare.len()..];
        if !space.is_empty() && taken + width(space) <= columns {
            row.push_str(space);
            taken += width(space);
        } else if !space.is_empty() {
            // A space at the edge is the edge.
            rows.push(std::mem::take(&mut row));
            taken = 0;
        }
    }
    if !row.is_empty() || rows.is_empty() {
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_as_a_terminal_counts_them() {
        assert_eq!([width("Ada"), width("日本"), width("e\u{301}"), width("")], [3, 4, 1, 0]);
    }

    #[test]
    fn what_is_too_long_is_cut_where_a_letter_ends() {
        assert_eq!(fit("Ada Lovelace", 6), "Ada L…");
        assert_eq!(fit("日本語", 4), "日… ", "no half letter");
        assert_eq!(fit("Ben", 5), "Ben  ");
        assert_eq!(fit_right("12 ms", 7), "  12 ms");
        assert_eq!([cut("Ada", 3), cut("Adam", 1), cut("Adam", 0)], ["Ada", "…", ""]);
    }

    #[test]
    fn a_letter_under_a_heap_of_marks_is_still_one_column_and_short() {
        let heap = format!("Z{}", "\u{334}".repeat(500));
        assert_eq!(width(&heap), 1);
        assert!(fit(&heap, 4).chars().count() <= MOST_PARTS + 3);
    }

    #[test]
    fn lines_break_between_words_and_inside_only_of_the_longest() {
        assert_eq!(wrap("hello there world", 11), ["hello there", "world"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("日本語日本語", 5), ["日本", "語日", "本語"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("heard (1.0 %) ok.", 7), ["heard", "(1.0 %)", "ok."], "only at spaces");
        for columns in 1..30 {
            let rows =
                wrap("Two words, 日本語, and a-very-long-word-indeed e\u{301}\u{301}!", columns);
            assert!(rows.iter().all(|row| width(row) <= columns.max(2)), "{columns}: {rows:?}");
        }
    }
}
