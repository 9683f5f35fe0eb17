//! Puts together keys that the terminal's escape sequences were taken apart into, and drops what is
//! no key.
//!
//! Esc and a function key in one read (`ESC ESC O Q`), or a function key whose bytes arrive apart,
//! come as Esc and letters. Letters that follow Esc faster than anybody types are the rest of such
//! a sequence (ECMA-48 §5.4, and SS3 of xterm).
//!
//! Answers of a terminal are control strings (ECMA-48 §5.6): `ESC ] 0;title BEL`, `ESC P 1$r0m ESC
//! \`. A program that ran before may have asked for one. They come as Alt and the second byte, then
//! letters; nothing of them is text.

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What arrives within this time after Esc belongs to its sequence: a line with lag may part them.
const TOGETHER: Duration = Duration::from_millis(90);
/// Parameters and intermediate bytes of a sequence.
const LONGEST: usize = 16;
/// How far apart the letters of a control string may arrive once the first has followed at once: a
/// slow line parts them.
const STRING_PATIENCE: Duration = Duration::from_secs(1);
/// Letters of a control string; what follows is text again.
const LONGEST_STRING: usize = 4_096;
/// What begins a control string after Esc: OSC, DCS, SOS, PM and APC.
const STRING_BEGINNINGS: &str = "]PX^_";

/// What has come of a sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Escapes {
    #[default]
    Nothing,
    /// Esc, and what follows it; the last byte came at this time.
    Sequence { at: Duration, text: String },
    /// Within a control string after so many letters.
    ControlString { at: Duration, letters: usize },
    /// Esc within a control string: its end, if `\` follows.
    StringEnd { at: Duration },
}

impl Escapes {
    /// Takes an event of the terminal; gives what it means, in order. Esc itself is passed on at
    /// once, but not within a control string.
    pub(crate) fn take(&mut self, now: Duration, event: Event) -> Vec<Event> {
        let mut events = self.flush(now);
        match std::mem::take(self) {
            Self::Nothing => self.begin(now, event, &mut events),
            Self::Sequence { at, text }
                if text.is_empty() && is_typed_after(now.saturating_sub(at), &event) =>
            {
                self.begin(now, event, &mut events);
            }
            Self::Sequence { text, .. } => self.go_on(now, text, event, &mut events),
            Self::ControlString { .. } if ends_string(&event) => {}
            Self::ControlString { .. } if is_escape(&event) => *self = Self::StringEnd { at: now },
            Self::ControlString { letters, .. }
                if letters < LONGEST_STRING && any_letter(&event).is_some() =>
            {
                *self = Self::ControlString { at: now, letters: letters + 1 };
            }
            Self::ControlString { .. } => self.begin(now, event, &mut events),
            Self::StringEnd { .. } if any_letter(&event) == Some('\\') => {}
            Self::StringEnd { .. } => {
                events.push(key(KeyCode::Esc));
                self.go_on(now, String::new(), event, &mut events);
            }
        }
        events
    }

    /// What was typed after all, because nothing followed in time.
    pub(crate) fn flush(&mut self, now: Duration) -> Vec<Event> {
        let patience = match self {
            Self::ControlString { letters: 1.., .. } => STRING_PATIENCE,
            // Nothing is held back yet.
            Self::Sequence { text, .. } if text.is_empty() => STRING_PATIENCE,
            _ => TOGETHER,
        };
        match self {
            Self::Sequence { at, .. } | Self::ControlString { at, .. } | Self::StringEnd { at }
                if now.saturating_sub(*at) > patience =>
            {
                std::mem::take(self).typed()
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, now: Duration, event: Event, events: &mut Vec<Event>) {
        if is_escape(&event) {
            *self = Self::Sequence { at: now, text: String::new() };
        } else if begins_string(&event) {
            // A key without a meaning, if nothing follows.
            *self = Self::ControlString { at: now, letters: 0 };
            return;
        } else if let Some(letter) = pressed(&event, KeyModifiers::ALT) {
            // Esc and a letter in one read, as a line with lag brings them, are the same bytes.
            events.extend([key(KeyCode::Esc), key(KeyCode::Char(letter))]);
            return;
        }
        events.push(event);
    }

    /// Takes what follows Esc and `text`.
    fn go_on(&mut self, now: Duration, mut text: String, event: Event, events: &mut Vec<Event>) {
        if is_string_beginning(&text) && (ends_string(&event) || any_letter(&event).is_some()) {
            if !ends_string(&event) {
                *self = Self::ControlString { at: now, letters: 1 };
            }
            return;
        }
        let Some(letter) = letter(&event) else {
            events.extend(Self::Sequence { at: now, text }.typed());
            return self.begin(now, event, events);
        };
        text.push(letter);
        match meaning(&text) {
            Meaning::Key(code) => events.push(key(code)),
            Meaning::Nothing => {}
            Meaning::Unfinished => *self = Self::Sequence { at: now, text },
            Meaning::Text => events.extend(Self::Sequence { at: now, text }.typed()),
        }
    }

    /// What was meant if nothing follows.
    fn typed(self) -> Vec<Event> {
        match self {
            Self::Sequence { text, .. } => {
                text.chars().map(|letter| key(KeyCode::Char(letter))).collect()
            }
            Self::StringEnd { .. } => vec![key(KeyCode::Esc)],
            Self::Nothing | Self::ControlString { .. } => Vec::new(),
        }
    }
}

enum Meaning {
    Key(KeyCode),
    /// A sequence that names no key of ours.
    Nothing,
    Unfinished,
    /// No sequence: a person typed it.
    Text,
}

fn meaning(text: &str) -> Meaning {
    let mut letters = text.chars();
    match (letters.next(), letters.as_str()) {
        (Some('O' | '['), "") => Meaning::Unfinished,
        _ if is_string_beginning(text) => Meaning::Unfinished,
        (Some('O'), last) => match last {
            "P" => Meaning::Key(KeyCode::F(1)),
            "Q" => Meaning::Key(KeyCode::F(2)),
            "R" => Meaning::Key(KeyCode::F(3)),
            "S" => Meaning::Key(KeyCode::F(4)),
            last => arrow(last).map_or(Meaning::Text, Meaning::Key),
        },
        (Some('['), rest) => control_sequence(rest),
        _ => Meaning::Text,
    }
}

/// What follows `ESC [`.
fn control_sequence(rest: &str) -> Meaning {
    let Some(last) = rest.chars().next_back() else { return Meaning::Unfinished };
    // Of the console of Linux.
    if let Some(function) = rest.strip_prefix('[') {
        return match function {
            "" => Meaning::Unfinished,
            "A" => Meaning::Key(KeyCode::F(1)),
            "B" => Meaning::Key(KeyCode::F(2)),
            "C" => Meaning::Key(KeyCode::F(3)),
            "D" => Meaning::Key(KeyCode::F(4)),
            "E" => Meaning::Key(KeyCode::F(5)),
            _ => Meaning::Nothing,
        };
    }
    match last {
        ' '..='?' if rest.len() < LONGEST => Meaning::Unfinished,
        '~' => tilde(rest).map_or(Meaning::Nothing, Meaning::Key),
        '@'..='}' => arrow(rest).map_or(Meaning::Nothing, Meaning::Key),
        _ => Meaning::Nothing,
    }
}

fn arrow(rest: &str) -> Option<KeyCode> {
    Some(match rest {
        "A" => KeyCode::Up,
        "B" => KeyCode::Down,
        "C" => KeyCode::Right,
        "D" => KeyCode::Left,
        "H" => KeyCode::Home,
        "F" => KeyCode::End,
        _ => return None,
    })
}

fn tilde(rest: &str) -> Option<KeyCode> {
    Some(match rest {
        "3~" => KeyCode::Delete,
        "5~" => KeyCode::PageUp,
        "6~" => KeyCode::PageDown,
        "11~" => KeyCode::F(1),
        "12~" => KeyCode::F(2),
        "13~" => KeyCode::F(3),
        "14~" => KeyCode::F(4),
        "15~" => KeyCode::F(5),
        "17~" => KeyCode::F(6),
        "18~" => KeyCode::F(7),
        "19~" => KeyCode::F(8),
        _ => return None,
    })
}

fn key(code: KeyCode) -> Event {
    Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn is_escape(event: &Event) -> bool {
    matches!(event, Event::Key(KeyEvent { code: KeyCode::Esc, kind: KeyEventKind::Press, .. }))
}

fn letter(event: &Event) -> Option<char> {
    any_letter(event).filter(char::is_ascii)
}

fn any_letter(event: &Event) -> Option<char> {
    pressed(event, KeyModifiers::NONE)
}

/// The letter of a key that was pressed together with these and no others, or with Shift as well.
fn pressed(event: &Event, held: KeyModifiers) -> Option<char> {
    match event {
        Event::Key(KeyEvent {
            code: KeyCode::Char(letter),
            modifiers,
            kind: KeyEventKind::Press,
            ..
        }) if *modifiers - KeyModifiers::SHIFT == held => Some(*letter),
        _ => None,
    }
}

/// Whether what comes so long after Esc is typed. A bracket may be the rest of an answer that was
/// parted there, and an O that of a function key: then more follows at once, faster than anybody
/// types.
fn is_typed_after(since: Duration, event: &Event) -> bool {
    since > TOGETHER && !matches!(letter(event), Some('[' | 'O'))
}

fn is_string_beginning(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| STRING_BEGINNINGS.contains(first))
        && letters.as_str().is_empty()
}

fn begins_string(event: &Event) -> bool {
    pressed(event, KeyModifiers::ALT).is_some_and(|letter| STRING_BEGINNINGS.contains(letter))
}

/// BEL, or `ESC \` in one read.
fn ends_string(event: &Event) -> bool {
    pressed(event, KeyModifiers::CONTROL) == Some('g')
        || pressed(event, KeyModifiers::ALT) == Some('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESC: Event = Event::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));

    /// What comes of Esc and these letters, all at once, and then nothing more.
    fn after_escape(letters: &str) -> Vec<KeyCode> {
        let mut escapes = Escapes::default();
        let mut events = escapes.take(Duration::ZERO, ESC);
        for letter in letters.chars() {
            events.extend(escapes.take(Duration::ZERO, key(KeyCode::Char(letter))));
        }
        events.extend(escapes.flush(Duration::from_secs(1)));
        let codes = events.into_iter().filter_map(|event| event.as_key_event().map(|key| key.code));
        codes.collect()
    }

    /// What comes of these letters, each so many ms after Esc, and then nothing more.
    fn late(letters: &[(u64, char)]) -> Vec<KeyCode> {
        let mut escapes = Escapes::default();
        let mut events = escapes.take(Duration::ZERO, ESC);
        for (at, letter) in letters {
            events.extend(escapes.take(Duration::from_millis(*at), key(KeyCode::Char(*letter))));
        }
        events.extend(escapes.flush(Duration::from_secs(9)));
        events.into_iter().filter_map(|event| event.as_key_event().map(|key| key.code)).collect()
    }

    #[test]
    fn an_answer_that_was_parted_after_escape_types_no_letters_and_a_person_does() {
        use KeyCode::{Char, Esc};
        assert_eq!(late(&[(600, '['), (601, '?'), (602, '6'), (602, '2'), (603, 'c')]), [Esc]);
        assert_eq!(late(&[(300, '['), (600, 'x')]), [Esc, Char('['), Char('x')]);
        assert_eq!(late(&[(600, 'O'), (601, 'Q')]), [Esc, KeyCode::F(2)]);
        assert_eq!(late(&[(300, 'O'), (600, 'Q')]), [Esc, Char('O'), Char('Q')]);
        assert_eq!(late(&[(300, 'O'), (301, 'h')]), [Esc, Char('O'), Char('h')]);
        assert_eq!(late(&[(300, 'P'), (310, 'a')]), [Esc, Char('P'), Char('a')]);
        assert_eq!(late(&[(1_200, '['), (1_201, 'A')]), [Esc, Char('['), Char('A')]);
    }

    #[test]
    fn a_function_key_right_after_escape_types_no_letters() {
        use KeyCode::{Char, Delete, Esc, F, Up};
        assert_eq!(after_escape("OQ"), [Esc, F(2)]);
        assert_eq!(
            after_escape("OQOQ"),
            [Esc, F(2), Char('O'), Char('Q')],
            "a second sequence begins with Esc"
        );
        assert_eq!(after_escape("[15~"), [Esc, F(5)]);
        assert_eq!(after_escape("[A"), [Esc, Up]);
        assert_eq!(after_escape("[[B"), [Esc, F(2)], "the console of Linux");
        assert_eq!(after_escape("[[Z"), [Esc]);
        assert_eq!(after_escape("[3~"), [Esc, Delete]);
        assert_eq!(after_escape("[1;5C"), [Esc], "a key that has no meaning here");
        assert_eq!(
            after_escape("[99999999999999999999999"),
            [vec![Esc], vec![Char('9'); 7]].concat()
        );
    }

    #[test]
    fn what_a_person_types_after_escape_stays_text() {
        use KeyCode::{Char, Esc};
        assert_eq!(after_escape("O"), [Esc, Char('O')]);
        assert_eq!(after_escape("Oh"), [Esc, Char('O'), Char('h')]);
        assert_eq!(after_escape("hi"), [Esc, Char('h'), Char('i')]);
        let mut escapes = Escapes::default();
        escapes.take(Duration::ZERO, ESC);
        let lag = Duration::from_millis(80);
        escapes.take(lag, key(Char('O')));
        assert_eq!(escapes.take(lag, key(Char('Q'))), [key(KeyCode::F(2))], "over a slow line");
        let mut escapes = Escapes::default();
        escapes.take(Duration::ZERO, ESC);
        let later = Duration::from_millis(200);
        for letter in ['Q', 'O'] {
            let typed = key(KeyCode::Char(letter));
            assert_eq!(escapes.take(later, typed.clone()), [typed]);
        }
    }

    #[test]
    fn another_event_in_between_ends_the_sequence() {
        let mut escapes = Escapes::default();
        escapes.take(Duration::ZERO, ESC);
        assert_eq!(escapes.take(Duration::ZERO, key(KeyCode::Char('['))), []);
        let typed = escapes.take(Duration::ZERO, Event::FocusLost);
        assert_eq!(typed, [key(KeyCode::Char('[')), Event::FocusLost]);
    }

    const ALT: KeyModifiers = KeyModifiers::ALT;

    /// The text that is typed by these keys, at once. `\u{1b}` is Esc, and so `ESC \` as it comes
    /// in two reads.
    fn typed(escapes: &mut Escapes, now: Duration, keys: &str) -> String {
        let keys = keys.chars().map(|letter| match letter {
            '\u{1b}' => ESC,
            '\u{7}' => held(KeyModifiers::CONTROL, 'g'),
            letter => key(KeyCode::Char(letter)),
        });
        let events = keys.flat_map(|event| escapes.take(now, event)).collect::<Vec<_>>();
        events.iter().filter_map(any_letter).collect()
    }

    fn held(modifiers: KeyModifiers, letter: char) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(letter), modifiers))
    }

    #[test]
    fn answers_of_the_terminal_type_nothing_and_what_follows_them_is_text() {
        for (beginning, rest) in [
            (']', "0;hi\u{7}"),
            (']', "11;rgb:0000/ffff/0000\u{1b}\\"),
            ('P', "1$r0m\u{1b}\\"),
            ('_', "Gi=1;OK\u{1b}\\"),
            (']', "\u{7}"),
        ] {
            let mut escapes = Escapes::default();
            // As the terminal's bytes come in one read, and with Esc in a read before.
            assert_eq!(escapes.take(Duration::ZERO, held(ALT, beginning)), []);
            assert_eq!(typed(&mut escapes, Duration::ZERO, rest), "", "{beginning}{rest:?}");
            assert_eq!(
                typed(&mut escapes, Duration::ZERO, "yes"),
                "yes",
                "after {beginning}{rest:?}"
            );
            assert_eq!(
                typed(&mut escapes, Duration::ZERO, &format!("\u{1b}{beginning}{rest}yes")),
                "yes"
            );
        }
        let mut escapes = Escapes::default();
        escapes.take(Duration::ZERO, held(ALT, 'P'));
        assert_eq!(typed(&mut escapes, Duration::ZERO, "0$r"), "");
        assert_eq!(
            escapes.take(Duration::ZERO, held(ALT, '\\')),
            [],
            "the end as it comes in one read"
        );
        assert_eq!(escapes, Escapes::Nothing);
    }

    #[test]
    fn a_slow_line_may_part_an_answer_but_it_ends_after_a_while_and_at_a_length() {
        let ms = Duration::from_millis;
        let mut escapes = Escapes::default();
        assert_eq!(typed(&mut escapes, ms(0), "\u{1b}]0;a ti"), "");
        assert_eq!(typed(&mut escapes, ms(900), "tle"), "");
        assert_eq!(typed(&mut escapes, ms(1_950), "yes"), "yes");
        assert_eq!(typed(&mut escapes, ms(3_000), "\u{1b}]0"), "");
        let long = "x".repeat(LONGEST_STRING);
        assert_eq!(
            typed(&mut escapes, ms(3_000), &(long + "yes")),
            "xyes",
            "the first letter was counted before"
        );
    }

    #[test]
    fn keys_end_an_answer_and_do_what_they_do() {
        let leave = held(KeyModifiers::CONTROL, 'c');
        let f2 = key(KeyCode::F(2));
        for event in [leave, f2, key(KeyCode::Enter), Event::Paste("text".into())] {
            let mut escapes = Escapes::default();
            typed(&mut escapes, Duration::ZERO, "\u{1b}]0;a");
            assert_eq!(escapes.take(Duration::ZERO, event.clone()), [event]);
            assert_eq!(typed(&mut escapes, Duration::ZERO, "yes"), "yes");
        }
        let mut escapes = Escapes::default();
        typed(&mut escapes, Duration::ZERO, "\u{1b}]0;a\u{1b}");
        assert_eq!(
            escapes.flush(Duration::from_millis(100)),
            [ESC],
            "it was the key Esc after all"
        );
    }

    #[test]
    fn a_letter_that_comes_in_one_read_with_escape_is_not_lost() {
        let mut escapes = Escapes::default();
        let now = Duration::ZERO;
        assert_eq!(escapes.take(now, held(ALT, '/')), [ESC, key(KeyCode::Char('/'))]);
        assert_eq!(typed(&mut escapes, now, "msg Ben"), "msg Ben");
        let shifted = escapes.take(now, held(ALT | KeyModifiers::SHIFT, 'A'));
        assert_eq!(shifted, [ESC, key(KeyCode::Char('A'))]);
        assert_eq!(after_escape("[19~"), [KeyCode::Esc, KeyCode::F(8)]);
    }

    #[test]
    fn what_is_typed_with_alt_or_after_escape_stays_text() {
        let mut escapes = Escapes::default();
        let ms = Duration::from_millis;
        assert_eq!(escapes.take(ms(0), held(ALT, ']')), []);
        assert_eq!(typed(&mut escapes, ms(100), "hi"), "hi");
        assert_eq!(typed(&mut escapes, ms(200), "\u{1b}"), "");
        assert_eq!(typed(&mut escapes, ms(300), "P"), "P");
        assert_eq!(after_escape("P"), [KeyCode::Esc, KeyCode::Char('P')], "nothing follows");
    }
}
