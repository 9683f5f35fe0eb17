//! Puts together keys that the terminal's escape sequences were taken apart into.
//!
//! Esc and a function key in one read (`ESC ESC O Q`), or a function key whose bytes arrive apart, come as Esc and letters.
//! Letters that follow Esc faster than anybody types are the rest of such a sequence (ECMA-48 §5.4, and SS3 of xterm).

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What arrives within this time after Esc belongs to its sequence.
const TOGETHER: Duration = Duration::from_millis(50);
/// Parameters and intermediate bytes of a sequence.
const LONGEST: usize = 16;

/// What has come of a sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Escapes(Option<Pending>);

#[derive(Clone, Debug, PartialEq)]
struct Pending {
    /// When its last byte came.
    at: Duration,
    /// What follows Esc.
    text: String,
}

impl Escapes {
    /// Takes an event of the terminal; gives what it means, in order. Esc itself is passed on at once.
    pub(crate) fn take(&mut self, now: Duration, event: Event) -> Vec<Event> {
        let mut events = self.flush(now);
        match (self.0.take(), letter(&event)) {
            (None, _) if is_escape(&event) => {
                self.0 = Some(Pending { at: now, text: String::new() });
                events.push(event);
            }
            (Some(pending), Some(letter)) => {
                let mut text = pending.text;
                text.push(letter);
                match meaning(&text) {
                    Meaning::Key(code) => events.push(key(code)),
                    Meaning::Nothing => {}
                    Meaning::Unfinished => self.0 = Some(Pending { at: now, text }),
                    Meaning::Text => events.extend(text.chars().map(|letter| key(KeyCode::Char(letter)))),
                }
            }
            (pending, _) => {
                events.extend(pending.into_iter().flat_map(Pending::typed));
                if is_escape(&event) {
                    self.0 = Some(Pending { at: now, text: String::new() });
                }
                events.push(event);
            }
        }
        events
    }

    /// What was typed after all, because nothing followed in time.
    pub(crate) fn flush(&mut self, now: Duration) -> Vec<Event> {
        let late = self.0.take_if(|pending| now.saturating_sub(pending.at) > TOGETHER);
        late.map(Pending::typed).unwrap_or_default()
    }
}

impl Pending {
    fn typed(self) -> Vec<Event> {
        self.text.chars().map(|letter| key(KeyCode::Char(letter))).collect()
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
    match event {
        Event::Key(KeyEvent { code: KeyCode::Char(letter), modifiers, kind: KeyEventKind::Press, .. })
            if letter.is_ascii() && (*modifiers - KeyModifiers::SHIFT).is_empty() =>
        {
            Some(*letter)
        }
        _ => None,
    }
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

    #[test]
    fn a_function_key_right_after_escape_types_no_letters() {
        use KeyCode::{Char, Delete, Esc, F, Up};
        assert_eq!(after_escape("OQ"), [Esc, F(2)]);
        assert_eq!(after_escape("OQOQ"), [Esc, F(2), Char('O'), Char('Q')], "a second sequence begins with Esc");
        assert_eq!(after_escape("[15~"), [Esc, F(5)]);
        assert_eq!(after_escape("[A"), [Esc, Up]);
        assert_eq!(after_escape("[3~"), [Esc, Delete]);
        assert_eq!(after_escape("[1;5C"), [Esc], "a key that has no meaning here");
        assert_eq!(after_escape("[99999999999999999999999"), [vec![Esc], vec![Char('9'); 7]].concat());
    }

    #[test]
    fn what_a_person_types_after_escape_stays_text() {
        use KeyCode::{Char, Esc};
        assert_eq!(after_escape("O"), [Esc, Char('O')]);
        assert_eq!(after_escape("Oh"), [Esc, Char('O'), Char('h')]);
        assert_eq!(after_escape("hi"), [Esc, Char('h'), Char('i')]);
        let mut escapes = Escapes::default();
        escapes.take(Duration::ZERO, ESC);
        let later = Duration::from_millis(200);
        for letter in ['O', 'Q'] {
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
}
