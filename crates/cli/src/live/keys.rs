//! What each key does.

use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Size;
use voicemesh::PeerId;

use super::complete::{Completion, complete};
use super::draw::layout;
use super::overlay::last_offset;
use super::overlay_state::{Content, Overlay};
use super::screen::{Person, Screen, TalkKey, Talking};
use crate::format::time_of_day;
use crate::human::plain;

/// A step of how loud one is heard.
const GAIN_STEP_PERCENT: u32 = 10;
const MOST_GAIN_PERCENT: u32 = 400;

/// What a key asks of the room; what it does to the view alone is done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// A line was typed.
    Line(String),
    /// Speak no more, or again.
    Mute(bool),
    /// Hear no peer, or all of them again.
    Deafen(bool),
    /// The key to talk is held, or no longer.
    Talk(bool),
    /// Hear one no more, or again.
    MutePeer(PeerId, bool),
    /// How loud one is heard.
    Gain(PeerId, f32),
    /// Draw everything anew, whatever a program has written over it.
    Redraw,
    /// Give the terminal back for a while.
    Suspend,
    /// Leave the room.
    Leave,
}

/// Takes one event of the terminal.
pub(crate) fn take(screen: &mut Screen, now: Duration, event: Event, size: Size) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => released(screen, key),
        Event::Key(key) if key.kind == KeyEventKind::Repeat && is_talk_key(screen, key) => None,
        Event::Key(key) => pressed(screen, now, key, size),
        Event::Paste(text) => {
            screen.overlay = None;
            screen.editor.insert(&text);
            None
        }
        // The release of the key, or its repeats, go to another window.
        Event::FocusLost => let_go(screen),
        Event::FocusGained | Event::Mouse(_) | Event::Resize(..) => None,
    }
}

/// A key to talk is no longer heard of. What a command has opened stays open.
pub(crate) fn let_go(screen: &mut Screen) -> Option<Action> {
    screen.held_key.release();
    (screen.own.talking == Talking::ByKey).then(|| talk(screen, false)).flatten()
}

/// Time has passed.
pub(crate) fn poll(screen: &mut Screen, now: Duration) -> Option<Action> {
    screen.held_key.poll(now).and_then(|held| talk(screen, held))
}

fn pressed(screen: &mut Screen, now: Duration, key: KeyEvent, size: Size) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'q') if control => return Some(Action::Leave),
        KeyCode::Char('d') if control && screen.editor.is_empty() => return Some(Action::Leave),
        KeyCode::Char('l') if control => return Some(Action::Redraw),
        KeyCode::Char('z') if control => return Some(Action::Suspend),
        _ => {}
    }
    if is_talk_key(screen, key) {
        let held = match screen.talk_key {
            TalkKey::Hold => Some(true),
            TalkKey::HoldByRepeats => screen.held_key.press(now),
            TalkKey::None => None,
        };
        return held.and_then(|held| talk(screen, held));
    }
    if let Some(overlay) = screen.overlay.take() {
        screen.overlay = scrolled(screen, overlay, key.code, size);
        // These only close it. Every other key does what it does without the text: nothing that is
        // typed is lost.
        let only_closes = matches!(key.code, KeyCode::Esc | KeyCode::Enter | KeyCode::F(1 | 8));
        if screen.overlay.is_some() || only_closes {
            return None;
        }
    }
    match key.code {
        KeyCode::F(1) => screen.open(Content::Help),
        KeyCode::F(8) => {
            screen.open(Content::Events);
            let newest =
                last_offset(&Content::Events, screen, size.width.into(), size.height.into());
            screen.overlay = Some(Overlay { content: Content::Events, offset: newest });
        }
        KeyCode::Tab => complete_word(screen),
        KeyCode::F(2) => return Some(Action::Mute(flip(&mut screen.own.muted))),
        KeyCode::F(3) => return Some(Action::Deafen(flip(&mut screen.own.deafened))),
        KeyCode::F(5) => return mute_chosen(screen),
        KeyCode::F(6) => return gain(screen, false),
        KeyCode::F(7) => return gain(screen, true),
        KeyCode::Up => screen.choose(false),
        KeyCode::Down => screen.choose(true),
        KeyCode::Esc if screen.chosen.is_some() => screen.chosen = None,
        KeyCode::Esc => screen.log.show_newest(),
        KeyCode::PageUp | KeyCode::PageDown => scroll(screen, key.code == KeyCode::PageUp, size),
        KeyCode::Enter if screen.editor.is_empty() => {}
        KeyCode::Enter => {
            screen.log.show_newest();
            return Some(Action::Line(screen.editor.take()));
        }
        KeyCode::Char(sign @ ('+' | '-'))
            if screen.editor.is_empty() && screen.chosen.is_some() =>
        {
            return gain(screen, sign == '+');
        }
        _ => edit(screen, key, control),
    }
    None
}

/// The overlay after a key, or none if the key closes it.
fn scrolled(screen: &Screen, overlay: Overlay, key: KeyCode, size: Size) -> Option<Overlay> {
    let last = last_offset(&overlay.content, screen, size.width.into(), size.height.into());
    let page = usize::from(size.height).saturating_sub(4).max(1);
    let offset = overlay.offset.min(last);
    let offset = match key {
        KeyCode::Down => offset + 1,
        KeyCode::Up => offset.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => offset + page,
        KeyCode::PageUp => offset.saturating_sub(page),
        KeyCode::Home => 0,
        KeyCode::End => last,
        _ => return None,
    };
    Some(Overlay { offset: offset.min(last), ..overlay })
}

fn complete_word(screen: &mut Screen) {
    let names: Vec<String> = screen.people.iter().map(|person| person.label.clone()).collect();
    match complete(screen.editor.before_cursor(), &names) {
        Completion::Replace { bytes, with } => screen.editor.replace_before(bytes, &with),
        Completion::Choices(choices) => {
            let line = plain(choices.join("  "));
            screen.say(&time_of_day(), &line);
        }
        Completion::None => {}
    }
}

fn edit(screen: &mut Screen, key: KeyEvent, control: bool) {
    let editor = &mut screen.editor;
    match key.code {
        KeyCode::Char('a') if control => editor.home(),
        KeyCode::Char('e') if control => editor.end(),
        KeyCode::Char('u') if control => editor.delete_to_start(),
        KeyCode::Char('w') if control => editor.delete_word(),
        KeyCode::Char('h') if control => editor.backspace(),
        KeyCode::Char(letter) if !control && !key.modifiers.contains(KeyModifiers::ALT) => {
            editor.insert(letter.encode_utf8(&mut [0; 4]));
        }
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Delete => editor.delete(),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End => editor.end(),
        _ => {}
    }
}

fn released(screen: &mut Screen, key: KeyEvent) -> Option<Action> {
    // A space that was pressed to talk is released as one, whatever has been typed meanwhile.
    let key_to_talk = matches!(key.code, KeyCode::F(4) | KeyCode::Char(' '));
    (key_to_talk && screen.talk_key == TalkKey::Hold && screen.own.talking == Talking::ByKey)
        .then(|| talk(screen, false))
        .flatten()
}

/// F4, and the space bar as long as nothing is typed.
fn is_talk_key(screen: &Screen, key: KeyEvent) -> bool {
    let space =
        key.code == KeyCode::Char(' ') && screen.editor.is_empty() && key.modifiers.is_empty();
    screen.talk_key != TalkKey::None && (key.code == KeyCode::F(4) || space)
}

fn talk(screen: &mut Screen, held: bool) -> Option<Action> {
    screen.own.talking = if held { Talking::ByKey } else { Talking::No };
    Some(Action::Talk(held))
}

fn mute_chosen(screen: &mut Screen) -> Option<Action> {
    let person = chosen(screen)?;
    let muted = flip(&mut person.muted);
    Some(Action::MutePeer(person.peer, muted))
}

fn gain(screen: &mut Screen, louder: bool) -> Option<Action> {
    let person = chosen(screen)?;
    let stepped = person
        .gain_percent
        .saturating_add_signed(if louder { 1 } else { -1 } * GAIN_STEP_PERCENT as i32);
    person.gain_percent = stepped.min(MOST_GAIN_PERCENT);
    Some(Action::Gain(person.peer, person.gain_percent as f32 / 100.0))
}

fn chosen(screen: &mut Screen) -> Option<&mut Person> {
    let chosen = screen.chosen?;
    screen.people.iter_mut().find(|person| person.peer == chosen)
}

fn scroll(screen: &mut Screen, up: bool, size: Size) {
    let log = layout(screen, size.into()).log;
    let (columns, rows) = (usize::from(log.width), usize::from(log.height));
    let page = rows.saturating_sub(1).max(1);
    if up {
        screen.log.scroll_up(page, columns, rows);
    } else {
        screen.log.scroll_down(page);
    }
}

/// Shown at once; the next snapshot says how it really is.
fn flip(switch: &mut bool) -> bool {
    *switch = !*switch;
    *switch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::human::{Line, Mood};
    use crate::live::screen::tests::screen;
    use crate::people::People;
    use crate::people::tests::peer;
    use voicemesh::Snapshot;

    const SIZE: Size = Size { width: 80, height: 24 };

    fn press(screen: &mut Screen, code: KeyCode) -> Option<Action> {
        with(screen, code, KeyModifiers::NONE)
    }

    fn with(screen: &mut Screen, code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        take(screen, Duration::ZERO, Event::Key(KeyEvent::new(code, modifiers)), SIZE)
    }

    fn kind(screen: &mut Screen, code: KeyCode, kind: KeyEventKind) -> Option<Action> {
        take(
            screen,
            Duration::ZERO,
            Event::Key(KeyEvent::new_with_kind(code, KeyModifiers::NONE, kind)),
            SIZE,
        )
    }

    fn type_text(screen: &mut Screen, text: &str) {
        for letter in text.chars() {
            assert_eq!(press(screen, KeyCode::Char(letter)), None);
        }
    }

    #[test]
    fn what_is_typed_becomes_a_line() {
        let mut screen = screen(&[]);
        type_text(&mut screen, "helo");
        press(&mut screen, KeyCode::Left);
        type_text(&mut screen, "l");
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Action::Line("hello".into())));
        assert_eq!(press(&mut screen, KeyCode::Enter), None, "nothing is no line");
        take(&mut screen, Duration::ZERO, Event::Paste("a\nb".into()), SIZE);
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Action::Line("a b".into())));
    }

    #[test]
    fn keys_leave_mute_and_deafen() {
        let mut screen = screen(&[]);
        for letter in ['c', 'q', 'd'] {
            assert_eq!(
                with(&mut screen, KeyCode::Char(letter), KeyModifiers::CONTROL),
                Some(Action::Leave)
            );
        }
        type_text(&mut screen, "x");
        assert_eq!(
            with(&mut screen, KeyCode::Char('d'), KeyModifiers::CONTROL),
            None,
            "a half-typed line is not lost"
        );
        assert_eq!(press(&mut screen, KeyCode::F(2)), Some(Action::Mute(true)));
        assert_eq!(press(&mut screen, KeyCode::F(2)), Some(Action::Mute(false)));
        assert_eq!(press(&mut screen, KeyCode::F(3)), Some(Action::Deafen(true)));
    }

    #[test]
    fn a_chosen_person_is_made_softer_louder_or_mute() {
        let mut screen = screen(&[(1, "Ben"), (2, "Cleo")]);
        assert_eq!(press(&mut screen, KeyCode::F(5)), None, "no one is chosen");
        press(&mut screen, KeyCode::Down);
        press(&mut screen, KeyCode::Down);
        assert_eq!(press(&mut screen, KeyCode::Char('-')), Some(Action::Gain(peer(2), 0.9)));
        assert_eq!(press(&mut screen, KeyCode::F(6)), Some(Action::Gain(peer(2), 0.8)));
        assert_eq!(press(&mut screen, KeyCode::Char('+')), Some(Action::Gain(peer(2), 0.9)));
        assert_eq!(press(&mut screen, KeyCode::F(5)), Some(Action::MutePeer(peer(2), true)));
        assert_eq!(press(&mut screen, KeyCode::F(5)), Some(Action::MutePeer(peer(2), false)));
        press(&mut screen, KeyCode::Esc);
        type_text(&mut screen, "+-");
        assert_eq!(
            press(&mut screen, KeyCode::Enter),
            Some(Action::Line("+-".into())),
            "signs are text without a choice"
        );
    }

    #[test]
    fn gain_stays_within_its_limits() {
        let mut screen = screen(&[(1, "Ben")]);
        press(&mut screen, KeyCode::Down);
        let last = (0..100).map(|_| press(&mut screen, KeyCode::F(7))).last().flatten();
        assert_eq!(last, Some(Action::Gain(peer(1), 4.0)));
        let last = (0..100).map(|_| press(&mut screen, KeyCode::F(6))).last().flatten();
        assert_eq!(last, Some(Action::Gain(peer(1), 0.0)));
    }

    #[test]
    fn where_releases_are_told_one_talks_while_the_key_is_held() {
        let mut screen = screen(&[]);
        screen.talk_key = TalkKey::Hold;
        for code in [KeyCode::F(4), KeyCode::Char(' ')] {
            assert_eq!(kind(&mut screen, code, KeyEventKind::Press), Some(Action::Talk(true)));
            assert_eq!(kind(&mut screen, code, KeyEventKind::Repeat), None);
            assert_eq!(kind(&mut screen, code, KeyEventKind::Release), Some(Action::Talk(false)));
        }
        assert_eq!(kind(&mut screen, KeyCode::Char('x'), KeyEventKind::Release), None);
        press(&mut screen, KeyCode::F(4));
        assert_eq!(
            take(&mut screen, Duration::ZERO, Event::FocusLost, SIZE),
            Some(Action::Talk(false)),
            "the release goes elsewhere"
        );
    }

    #[test]
    fn what_a_command_opened_stays_open_in_another_window_until_a_key_is_held() {
        let lost = |screen: &mut Screen| take(screen, Duration::ZERO, Event::FocusLost, SIZE);
        for talk_key in [TalkKey::Hold, TalkKey::HoldByRepeats] {
            let mut screen = screen(&[]);
            screen.talk_key = talk_key;
            press(&mut screen, KeyCode::F(4));
            screen.set_talking(true);
            assert_eq!(lost(&mut screen), None, "{talk_key:?}");
            assert_eq!(kind(&mut screen, KeyCode::F(4), KeyEventKind::Release), None);
            assert_eq!(poll(&mut screen, Duration::from_secs(10)), None, "no key runs out");
            assert_eq!(screen.own.talking, Talking::ByCommand);
            assert_eq!(press(&mut screen, KeyCode::F(4)), Some(Action::Talk(true)));
            assert_eq!(lost(&mut screen), Some(Action::Talk(false)));
            screen.set_talking(true);
            screen.set_talking(false);
            assert_eq!(screen.own.talking, Talking::No);
        }
    }

    #[test]
    fn a_release_counts_whatever_an_older_snapshot_says() {
        let mut screen = screen(&[]);
        screen.talk_key = TalkKey::Hold;
        press(&mut screen, KeyCode::F(4));
        screen.observe(&Snapshot { talking: false, ..Snapshot::default() }, &People::default());
        assert_eq!(screen.own.talking, Talking::ByKey, "the view shows what the key does");
        assert_eq!(
            kind(&mut screen, KeyCode::F(4), KeyEventKind::Release),
            Some(Action::Talk(false))
        );
        screen.observe(&Snapshot { talking: true, ..Snapshot::default() }, &People::default());
        assert_eq!(screen.own.talking, Talking::No);
        press(&mut screen, KeyCode::F(4));
        screen.observe(&Snapshot { talking: false, ..Snapshot::default() }, &People::default());
        assert_eq!(
            take(&mut screen, Duration::ZERO, Event::FocusLost, SIZE),
            Some(Action::Talk(false))
        );
    }

    #[test]
    fn where_they_are_not_a_press_opens_until_no_repeat_comes() {
        let mut screen = screen(&[]);
        assert_eq!(press(&mut screen, KeyCode::F(4)), None, "no key is needed to talk");
        screen.talk_key = TalkKey::HoldByRepeats;
        let second = Duration::from_secs(1);
        for code in [KeyCode::F(4), KeyCode::Char(' ')] {
            assert_eq!(press(&mut screen, code), Some(Action::Talk(true)));
            assert_eq!(poll(&mut screen, second), None);
            assert_eq!(poll(&mut screen, 2 * second), Some(Action::Talk(false)));
        }
        press(&mut screen, KeyCode::F(4));
        assert_eq!(
            take(&mut screen, second, Event::FocusLost, SIZE),
            Some(Action::Talk(false)),
            "repeats go elsewhere"
        );
        assert_eq!(take(&mut screen, second, Event::FocusLost, SIZE), None);
        type_text(&mut screen, "two words");
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Action::Line("two words".into())));
    }

    #[test]
    fn an_overlay_scrolls_within_its_ends_and_another_key_closes_it() {
        let mut screen = screen(&[(1, "Ben")]);
        press(&mut screen, KeyCode::F(1));
        press(&mut screen, KeyCode::Down);
        assert_eq!(
            (screen.overlay.as_ref().map(|help| help.offset), screen.chosen),
            (Some(1), None)
        );
        (0..200).for_each(|_| assert_eq!(press(&mut screen, KeyCode::Down), None));
        let bottom = screen.overlay.as_ref().map(|help| help.offset);
        press(&mut screen, KeyCode::Up);
        assert_eq!(screen.overlay.as_ref().map(|help| help.offset + 1), bottom);
        press(&mut screen, KeyCode::Esc);
        assert_eq!((screen.overlay.clone(), screen.editor.is_empty()), (None, true));
        press(&mut screen, KeyCode::F(1));
        type_text(&mut screen, "/set-password x");
        assert_eq!(screen.overlay, None);
        assert_eq!(
            press(&mut screen, KeyCode::Enter),
            Some(Action::Line("/set-password x".into())),
            "no key is lost"
        );
        (0..100).for_each(|number| screen.say("12:00", &plain(format!("{number}"))));
        press(&mut screen, KeyCode::F(8));
        assert!(
            screen.overlay.as_ref().is_some_and(|events| events.offset > 70),
            "the newest events are shown first"
        );
        assert_eq!(
            press(&mut screen, KeyCode::F(2)),
            Some(Action::Mute(true)),
            "muting works over any text"
        );
        assert_eq!(screen.overlay, None);
    }

    #[test]
    fn tab_completes_commands_and_names() {
        let mut screen = screen(&[(1, "Ben"), (2, "Bernd")]);
        type_text(&mut screen, "/kic");
        press(&mut screen, KeyCode::Tab);
        type_text(&mut screen, "ben");
        press(&mut screen, KeyCode::Tab);
        assert_eq!(press(&mut screen, KeyCode::Enter), Some(Action::Line("/kick Ben ".into())));
        type_text(&mut screen, "/kick be");
        press(&mut screen, KeyCode::Tab);
        assert_eq!(
            screen.events.lines().map(|(_, line)| line.text.as_str()).collect::<Vec<_>>(),
            ["Ben  Bernd"]
        );
    }

    #[test]
    fn older_messages_are_a_page_away_and_a_text_leads_back() {
        let mut screen = screen(&[]);
        let text = |number| Line { mood: Mood::Text, text: format!("{number}") };
        (0..100).for_each(|number| screen.say("12:00", &text(number)));
        press(&mut screen, KeyCode::PageUp);
        assert!(screen.log.scrolled().is_some());
        type_text(&mut screen, "x");
        press(&mut screen, KeyCode::Enter);
        assert!(screen.log.scrolled().is_none());
    }
}
