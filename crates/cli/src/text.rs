//! Foreign text on a terminal: what others send can contain anything, and a terminal obeys much of
//! it.

use std::borrow::Cow;

use icu_normalizer::DecomposingNormalizerBorrowed;
use voicemesh::RoomName;
use voicemesh_common::shortened;

/// One line in which nothing moves the cursor, changes colours, hides letters or turns their order
/// around. Control characters become visible signs.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().all(|letter| sign(letter) == letter) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(sign).collect())
}

/// A server's address as a sentence repeats it.
pub fn address(server: &str) -> String {
    harmless(&shortened(server)).into_owned()
}

/// The name of a talk group, which a program may choose freely, as names of rooms are shown.
pub fn group_shown(group: &str) -> String {
    match RoomName::parse(group) {
        Ok(name) => harmless(name.as_str()).into_owned(),
        Err(_) => harmless(group).into_owned(),
    }
}

/// Several such names, within quotation marks that the sentence has around them.
pub fn groups_quoted(groups: &[String]) -> String {
    groups.iter().map(|group| group_shown(group)).collect::<Vec<_>>().join("”, “")
}

/// The letter itself, or what stands for it.
fn sign(letter: char) -> char {
    match letter {
        '\t' => ' ',
        '\n' => '⏎',
        // The pictures of control characters stand in the same order as these.
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(letter)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        _ if is_invisible(letter) => char::REPLACEMENT_CHARACTER,
        _ => letter,
    }
}

/// What stands for a character on a terminal that has ASCII alone: a letter without its marks, if
/// that is one.
pub fn ascii(letter: char) -> char {
    match letter {
        '\0'..='\u{7f}' => letter,
        '─' | '–' | '—' | '╌' => '-',
        '━' => '=',
        '│' | '╎' => '|',
        '┌' | '┐' | '└' | '┘' => '+',
        '●' => '*',
        '◉' => '@',
        '·' | '…' => '.',
        '▸' | '»' | '→' => '>',
        '←' => '<',
        '↑' => '^',
        '↓' => 'v',
        '“' | '”' | '„' => '"',
        '‘' | '’' => '\'',
        '\u{a0}' | '⏎' => ' ',
        // These are letters of their own and come apart into nothing.
        'Æ' => 'A',
        'æ' => 'a',
        'Ø' | 'Œ' => 'O',
        'ø' | 'œ' => 'o',
        'Ł' => 'L',
        'ł' => 'l',
        'Đ' => 'D',
        'đ' => 'd',
        'ı' => 'i',
        'ß' => 's',
        _ => {
            let parts = DecomposingNormalizerBorrowed::new_nfd();
            let mut parts = parts.normalize_iter(std::iter::once(letter));
            parts.next().filter(char::is_ascii).unwrap_or('?')
        }
    }
}

/// Line and paragraph separators, marks and overrides of direction, and letters of no width with
/// which one name can be made to look like another. The joiners that scripts and emoji need are
/// none of these.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_shown_as_a_room_is() {
        for (group, shown) in [
            ("Red Team", "Red Team"),
            (" Re\u{202e}d\u{2066}  Team\u{200b} ", "Red Team"),
            ("Cafe\u{301}", "Café"),
            ("\u{202e}", "\u{fffd}"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(group_shown(group), shown, "{group:?}");
        }
    }

    #[test]
    fn of_a_long_address_the_beginning_is_shown() {
        assert_eq!(address("wss://a\u{1b}"), "wss://a␛");
        assert_eq!(address(&"&".repeat(100_000)), "&".repeat(100) + "…");
    }

    #[test]
    fn ordinary_text_of_any_script_stays_as_it_is() {
        for text in ["Ada", "Zoë Müller", "日本語", "مرحبا", "👩\u{200d}🚀", "क्\u{200d}ष", "a b"]
        {
            assert_eq!(harmless(text), text);
        }
    }

    #[test]
    fn an_escape_sequence_is_shown_and_does_nothing() {
        assert_eq!(harmless("\u{1b}[2Jgone\u{7}"), "␛[2Jgone␇");
        assert_eq!(harmless("\u{9b}31mred"), "\u{fffd}31mred", "the one-byte form of the same");
        assert_eq!(harmless("\u{1b}]0;title\u{7}"), "␛]0;title␇");
    }

    #[test]
    fn a_text_cannot_add_a_line() {
        assert_eq!(harmless("hi\nBen has left"), "hi⏎Ben has left");
        assert_eq!(harmless("hi\r\u{8}\u{b}"), "hi␍␈␋");
        assert_eq!(harmless("hi\u{2028}there"), "hi\u{fffd}there");
    }

    #[test]
    fn a_text_cannot_reverse_the_reading_direction_or_hide_letters() {
        assert_eq!(harmless("\u{202e}neB"), "\u{fffd}neB");
        assert_eq!(harmless("Be\u{200b}n"), "Be\u{fffd}n");
    }

    #[test]
    fn every_sign_of_the_view_has_one_in_ascii() {
        let signs = "─━│╎┌┐└┘●◉·…▸»←→↑↓“”–";
        assert!(signs.chars().map(ascii).all(|letter| letter.is_ascii() && letter != '?'));
        assert_eq!(
            "Zoë Łukasz Nguyễn 日".chars().map(ascii).collect::<String>(),
            "Zoe Lukasz Nguyen ?"
        );
    }

    #[test]
    fn no_control_character_survives() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        assert!(!harmless(&all).chars().any(char::is_control));
    }
}
