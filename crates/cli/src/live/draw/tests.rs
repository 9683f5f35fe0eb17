use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::human::{Line as Said, plain};
use crate::live::screen::tests::screen;
use crate::people::tests::peer;

const PLAIN: Palette = Palette { coloured: false };
const COLOURED: Palette = Palette { coloured: true };

fn terminal(screen: &Screen, columns: u16, rows: u16, palette: Palette) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw(frame, screen, palette)).expect("drawn");
    terminal
}

/// The rows as text.
fn rows(screen: &Screen, columns: u16, rows: u16) -> Vec<String> {
    let terminal = terminal(screen, columns, rows, PLAIN);
    let buffer = terminal.backend().buffer();
    let cells = |y| (0..columns).map(move |x| buffer[(x, y)].symbol());
    (0..rows).map(|y| cells(y).collect::<String>().trim_end().to_owned()).collect()
}

fn text(screen: &Screen, columns: u16, height: u16) -> String {
    rows(screen, columns, height).join("\n")
}

fn busy() -> Screen {
    let mut screen = screen(&[(1, "Ben"), (2, "Cleo the Long-Named of Alexandria")]);
    screen.people[0].delay_ms = Some(84);
    screen.people[1].speaking = false;
    screen.people[1].level_dbfs = None;
    screen.people[1].route = voicemesh::Route::Relayed;
    screen.people[1].round_trip_ms = None;
    screen.people[1].recording = true;
    screen.people[1].gain_percent = 50;
    screen.own.level_dbfs = -20;
    screen.own.floor_dbfs = -57;
    screen.own.sending = true;
    screen.own.kbps = 32;
    screen.say(Duration::from_secs(3), &plain("Ben is here."));
    screen.say(Duration::from_secs(9), &Said { mood: Mood::Text, text: "Ben: good evening".into() });
    screen
}

#[test]
fn eighty_columns_show_everything() {
    let rows = rows(&busy(), 80, 24);
    assert!(rows[0].starts_with(" lobby  ws://127.0.0.1:8080") && rows[0].ends_with("connected  12:34"), "{rows:#?}");
    assert!(rows[0].contains("REC by Cleo"), "{rows:#?}");
    assert!(rows[2].starts_with("  ● Ben ") && rows[2].contains("━━"), "{rows:#?}");
    for heading in ["trip", "loss", "delay"] {
        assert!(rows[1].contains(&format!(" {heading} ")), "{rows:#?}");
    }
    for part in ["direct", " 12 ms", " 0 %", "  84 ms"] {
        assert!(rows[2].contains(part), "{part}: {rows:#?}");
    }
    for part in ["  · Cleo the", "relayed", "REC 50 %"] {
        assert!(rows[3].contains(part), "{part}: {rows:#?}");
    }
    assert_eq!(rows[19], " 0:09  Ben: good evening");
    assert!(rows[21].starts_with(" SENDING  ") && rows[21].contains("-20 dB  32 kbit/s"), "{rows:#?}");
    assert!(rows[22].starts_with("> write to everybody"));
    assert!(rows[23].contains("F1 help") && rows[23].contains("^C leave"));
}

#[test]
fn forty_by_ten_shows_what_matters() {
    let rows = rows(&busy(), 40, 10);
    assert!(rows[0].contains("lobby") && rows[0].contains("connected  12:34"), "{rows:#?}");
    assert!(rows[1].contains("Ben") && rows[1].contains("direct"), "{rows:#?}");
    assert!(rows[2].contains("relayed") && rows[2].contains("REC"), "{rows:#?}");
    assert_eq!(rows[6], " 0:09  Ben: good evening");
    assert!(rows[7].contains("SENDING"), "{rows:#?}");
    assert!(rows[9].contains("F1 help") && rows[9].contains("^C leave"), "{rows:#?}");
}

#[test]
fn any_size_is_drawn_and_nothing_runs_over_its_edge() {
    let mut screen = busy();
    screen.chosen = Some(peer(1));
    for help in [None, Some(0), Some(500)] {
        screen.help = help;
        for (columns, height) in [(1, 1), (2, 3), (7, 5), (20, 4), (40, 10), (80, 24), (133, 50), (500, 200)] {
            assert_eq!(rows(&screen, columns, height).len(), usize::from(height));
        }
    }
}

#[test]
fn a_server_that_is_away_is_in_the_header_with_the_next_try() {
    let mut screen = busy();
    screen.link = Link::Away { retry_s: 3 };
    assert!(rows(&screen, 80, 24)[0].contains("server away, trying again in 3 s"));
    assert!(rows(&screen, 40, 10)[0].contains("server away, trying again in"), "{:#?}", rows(&screen, 40, 10));
}

#[test]
fn a_server_that_does_not_answer_is_in_the_header() {
    let mut screen = busy();
    screen.is_server_silent = true;
    assert!(rows(&screen, 80, 24)[0].contains("server does not answer"), "{:#?}", rows(&screen, 80, 24));
}

#[test]
fn a_connection_that_others_can_read_is_in_the_header_all_the_time() {
    let mut screen = busy();
    screen.exposed = true;
    screen.room = "a room with a name that is far too long for any header at all".to_owned();
    for link in [Link::Connected, Link::Away { retry_s: 3 }] {
        screen.link = link;
        for (columns, expected) in [
            (120, "  not encrypted on the way to the server"),
            (80, "  not encrypted on the way to the server"),
            (40, "  not encrypted"),
        ] {
            let header = &rows(&screen, columns, 24)[0];
            assert!(header.contains(expected), "{columns}: {header}");
        }
    }
    screen.exposed = false;
    assert!(!rows(&screen, 120, 24)[0].contains("encrypted"));
}

#[test]
fn of_many_people_those_who_do_not_fit_are_counted_and_speakers_among_them_named() {
    let names: Vec<String> = (0..50).map(|number| format!("Guest {number}")).collect();
    let named: Vec<(u16, &str)> = names.iter().enumerate().map(|(id, name)| (id as u16 + 1, name.as_str())).collect();
    let mut screen = screen(&named);
    screen.people.iter_mut().for_each(|person| person.speaking = person.label == "Guest 49");
    let shown = text(&screen, 80, 24);
    assert!(shown.contains("50 other people") && shown.contains("… and 43 more (↑↓); speaking: Guest 49"), "{shown}");
    screen.chosen = Some(peer(50));
    let shown = text(&screen, 80, 24);
    assert!(shown.contains("▸ ● Guest 49") && !shown.contains("speaking:"), "{shown}");
}

#[test]
fn wide_and_marked_letters_leave_the_columns_where_they_are() {
    let heap = format!("Zo{}", "\u{334}".repeat(300));
    let screen = screen(&[(1, "Ben"), (2, "日本語のとても長い名前です"), (3, &heap), (4, "👩\u{200d}🚀 Sally")]);
    let terminal = terminal(&screen, 60, 20, PLAIN);
    let buffer = terminal.backend().buffer();
    let meter_begins = |y| (0..60_u16).find(|x| ["━", "─"].contains(&buffer[(*x, y)].symbol()));
    assert!(meter_begins(2).is_some());
    assert_eq!([3, 4, 5].map(meter_begins), [meter_begins(2); 3]);
    assert!(buffer.content().iter().all(|cell| cell.symbol().chars().count() <= 12), "heaps of marks are cut");
}

#[test]
fn nothing_that_others_send_reaches_the_terminal_raw() {
    let mut screen = screen(&[(1, "\u{1b}[31mEve\u{7}"), (2, "a\u{202e}b\nc")]);
    screen.say(Duration::ZERO, &plain(crate::text::harmless("\u{1b}]0;title\u{7}\r\n")));
    screen.editor.insert("\u{1b}[2J");
    let terminal = terminal(&screen, 80, 24, COLOURED);
    let hostile = |symbol: &str| symbol.chars().any(|letter| letter.is_control() || letter == '\u{202e}');
    assert!(!terminal.backend().buffer().content().iter().any(|cell| hostile(cell.symbol())));
    assert!(text(&screen, 80, 24).contains("␛[31mEve␇"));
}

#[test]
fn without_colours_no_cell_has_one_and_states_are_still_words() {
    let mut screen = busy();
    (screen.own.muted, screen.own.deafened, screen.own.clipping) = (true, true, true);
    screen.people[0].muted = true;
    let terminal = terminal(&screen, 80, 24, PLAIN);
    let colourless = |colour| colour == Color::Reset;
    assert!(terminal.backend().buffer().content().iter().all(|cell| colourless(cell.fg) && colourless(cell.bg)));
    let shown = text(&screen, 80, 24);
    for word in ["MUTED", "DEAFENED", "CLIPS", "not heard", "F2 unmute"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn the_key_to_talk_says_what_it_does_on_this_terminal() {
    let mut screen = busy();
    screen.talk_key = TalkKey::Hold;
    assert!(text(&screen, 80, 24).contains("F4 hold to talk") && text(&screen, 80, 24).contains("KEY UP"));
    screen.talk_key = TalkKey::HoldByRepeats;
    screen.own.talking = true;
    let shown = text(&screen, 80, 24);
    assert!(shown.contains("TALKING") && shown.contains("F4 hold to talk (short press: 1 s)"), "{shown}");
}

#[test]
fn a_chosen_person_has_keys_of_its_own() {
    let mut screen = busy();
    screen.chosen = Some(peer(1));
    let shown = rows(&screen, 80, 24);
    assert!(shown[2].starts_with("▸ ● Ben"), "{shown:#?}");
    assert!(shown[23].contains("+ - loudness") && shown[23].contains("F5 do not hear"), "{shown:#?}");
}

#[test]
fn the_cursor_stands_where_the_next_letter_goes() {
    let mut screen = busy();
    screen.editor.insert("日本");
    let mut terminal = terminal(&screen, 80, 24, PLAIN);
    let position = terminal.get_cursor_position().expect("a cursor");
    assert_eq!((position.x, position.y), (6, 22));
}

#[test]
fn help_lies_over_the_rest_and_scrolls_on_a_small_screen() {
    let mut screen = busy();
    screen.help = Some(0);
    let large = text(&screen, 100, 40);
    assert!(large.contains("Help (any key closes)") && large.contains("/gain NAME 0.5") && large.contains("F2"));
    let top = text(&screen, 40, 10);
    screen.help = Some(1000);
    let bottom = text(&screen, 40, 10);
    assert!(top.contains("F2  ") && !top.contains("/quit") && bottom.contains("/quit"), "{top}\n{bottom}");
}

#[test]
fn a_meter_is_empty_in_silence_and_full_at_full_scale() {
    assert_eq!(meter(-99, None, 6), ["", "──────"]);
    assert_eq!(meter(0, None, 6), ["━━━━━━", ""]);
    assert_eq!(meter(-30, Some(-50), 6), ["━╎━", "───"]);
    assert_eq!(meter(-60, Some(0), 6), ["", "─────╎"]);
}
