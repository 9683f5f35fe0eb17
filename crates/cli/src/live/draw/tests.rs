use std::collections::BTreeSet;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::encryption::HeaderMark;
use crate::human::{Line as Said, plain};
use crate::live::overlay_state::{Content, Overlay};
use crate::live::screen::tests::screen;
use crate::live::screen::{Quality, Talking};
use crate::people::People;
use crate::people::tests::peer;
use crate::summary::tests::state;

/// Common sizes and the smallest ones.
pub(super) const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (60, 15), (40, 10)];

const PLAIN: Palette = Palette { coloured: false, unicode: true };
const COLOURED: Palette = Palette { coloured: true, unicode: true };

pub(super) fn terminal(
    screen: &Screen,
    columns: u16,
    rows: u16,
    palette: Palette,
) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw(frame, screen, palette)).expect("drawn");
    terminal
}

/// The rows as text.
fn rows(screen: &Screen, columns: u16, rows: u16) -> Vec<String> {
    lines_of(&terminal(screen, columns, rows, PLAIN))
}

pub(super) fn lines_of(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let buffer = terminal.backend().buffer();
    let Rect { width: columns, height: rows, .. } = buffer.area;
    let row = |y| {
        let mut skip = 0;
        let cells = (0..columns).map(|x| buffer[(x, y)].symbol());
        // The cell after a letter of two columns is no letter.
        let letters = cells.filter(|symbol| {
            let shown = skip == 0;
            skip = if shown { width(symbol).saturating_sub(1) } else { skip - 1 };
            shown
        });
        letters.collect::<String>().trim_end().to_owned()
    };
    (0..rows).map(row).collect()
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
    screen.say("14:03", &plain("Ben is here."));
    screen.say("14:09", &Said { mood: Mood::Text, text: "Ben: good evening".into() });
    screen
}

#[test]
fn eighty_columns_show_everything() {
    let rows = rows(&busy(), 80, 24);
    assert!(
        rows[0].starts_with(" lobby  ws://127.0.0.1:8080") && rows[0].ends_with("connected  12:34"),
        "{rows:#?}"
    );
    assert!(rows[0].contains("REC by Cleo"), "{rows:#?}");
    assert!(rows[2].starts_with("  ● Ben ") && rows[2].contains("━━"), "{rows:#?}");
    for heading in ["loss", "delay"] {
        assert!(rows[1].contains(&format!(" {heading} ")), "{rows:#?}");
    }
    for part in ["clear", "direct", " 0 %", "  84 ms"] {
        assert!(rows[2].contains(part), "{part}: {rows:#?}");
    }
    for part in ["  · Cleo the Long-Named of", "clear", "relayed", "REC 50 %"] {
        assert!(rows[3].contains(part), "{part}: {rows:#?}");
    }
    assert_eq!(
        [rows[16].as_str(), rows[18].as_str()],
        ["14:09  Ben: good evening", "14:03  Ben is here."]
    );
    assert!(
        rows[21].starts_with(" SENDING  ") && rows[21].contains("reaches all  -20 dB  32 kbit/s"),
        "{rows:#?}"
    );
    assert!(rows[22].starts_with("> write to everyone"));
    assert!(rows[23].contains("F1 help") && rows[23].contains("^C leave"));
}

#[test]
fn forty_by_ten_shows_what_matters() {
    let rows = rows(&busy(), 40, 10);
    assert!(rows[0].contains("lobby") && rows[0].contains("connected  12:34"), "{rows:#?}");
    assert!(rows[1].contains("Ben") && rows[1].contains("clear"), "{rows:#?}");
    assert!(rows[2].contains("clear") && rows[2].contains("REC"), "{rows:#?}");
    assert_eq!(
        [rows[5].as_str(), rows[6].as_str()],
        ["14:09  Ben: good evening", "» 14:03  Ben is here."]
    );
    assert!(rows[7].contains("SENDING"), "{rows:#?}");
    assert!(rows[9].contains("F1 help") && rows[9].contains("^C leave"), "{rows:#?}");
}

#[test]
fn any_size_is_drawn_and_nothing_runs_over_its_edge() {
    let mut screen = busy();
    screen.chosen = Some(peer(1));
    let answer =
        Content::Answer { title: "T".into(), lines: vec!["x".repeat(300), "日本語".into()] };
    let contents = [None, Some(Content::Help), Some(Content::Events), Some(answer)];
    screen.problems = vec!["p".repeat(300), "q q".repeat(50)];
    for (content, offset) in
        contents.into_iter().flat_map(|content| [0, 500].map(|offset| (content.clone(), offset)))
    {
        screen.overlay = content.map(|content| Overlay { content, offset });
        for (columns, height) in
            [(1, 1), (2, 3), (7, 5), (20, 4), (40, 10), (80, 24), (133, 50), (500, 200)]
        {
            assert_eq!(rows(&screen, columns, height).len(), usize::from(height));
        }
    }
}

#[test]
fn a_server_that_is_away_is_in_the_header_with_the_next_try() {
    let mut screen = busy();
    screen.link = Link::Away { retry_s: 3 };
    assert!(rows(&screen, 80, 24)[0].contains("server away, trying again in 3 s"));
    assert!(
        rows(&screen, 40, 10)[0].contains("server away, trying again in"),
        "{:#?}",
        rows(&screen, 40, 10)
    );
}

#[test]
fn a_server_that_does_not_answer_is_in_the_header() {
    let mut screen = busy();
    screen.is_server_silent = true;
    assert!(
        rows(&screen, 80, 24)[0].contains("server does not answer"),
        "{:#?}",
        rows(&screen, 80, 24)
    );
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
fn how_it_is_encrypted_end_to_end_stands_in_the_header_in_place_of_the_server() {
    let mut screen = busy();
    let mark =
        |text: &str, is_alarm| Some(HeaderMark { text: text.to_owned(), short: "short", is_alarm });
    for (text, is_alarm) in [("encrypted", false), ("encrypted, not for Ben", true)] {
        screen.encryption = mark(text, is_alarm);
        for columns in [120, 80, 60] {
            let header = &rows(&screen, columns, 24)[0];
            assert!(header.contains(&format!("  {text}  ")), "{columns}: {header}");
            assert!(!header.contains(&screen.server), "{columns}: {header}");
        }
        let narrow = &rows(&screen, 40, 24)[0];
        assert!(narrow.contains("  short  ") && narrow.contains("connected"), "{narrow}");
    }
    // Others who read on the way to the server read nothing of it.
    screen.exposed = true;
    assert!(!rows(&screen, 80, 24)[0].contains("not encrypted"));
}

#[test]
fn of_many_people_those_who_do_not_fit_are_counted_and_speakers_among_them_named() {
    let names: Vec<String> = (0..50).map(|number| format!("Guest {number}")).collect();
    let named: Vec<(u16, &str)> =
        names.iter().enumerate().map(|(id, name)| (id as u16 + 1, name.as_str())).collect();
    let mut screen = screen(&named);
    screen.people.iter_mut().for_each(|person| person.speaking = person.label == "Guest 49");
    let shown = text(&screen, 80, 24);
    assert!(
        shown.contains("You: Ada, and 50 other people")
            && shown.contains("… and 42 more (↑↓) ● Guest 49"),
        "{shown}"
    );
    screen.chosen = Some(peer(50));
    let shown = text(&screen, 80, 24);
    assert!(shown.contains("▸ ● Guest 49") && !shown.contains("(↑↓) ●"), "{shown}");
}

#[test]
fn wide_and_marked_letters_leave_the_columns_where_they_are() {
    let heap = format!("Zo{}", "\u{334}".repeat(300));
    let screen = screen(&[
        (1, "Ben"),
        (2, "日本語のとても長い名前です"),
        (3, &heap),
        (4, "👩\u{200d}🚀 Sally"),
    ]);
    let terminal = terminal(&screen, 60, 20, PLAIN);
    let buffer = terminal.backend().buffer();
    let meter_begins = |y| (0..60_u16).find(|x| ["━", "─"].contains(&buffer[(*x, y)].symbol()));
    assert!(meter_begins(2).is_some());
    assert_eq!([3, 4, 5].map(meter_begins), [meter_begins(2); 3]);
    assert!(
        buffer.content().iter().all(|cell| cell.symbol().chars().count() <= 12),
        "heaps of marks are cut"
    );
}

#[test]
fn nothing_that_others_send_reaches_the_terminal_raw() {
    let mut screen = screen(&[(1, "\u{1b}[31mEve\u{7}"), (2, "a\u{202e}b\nc")]);
    screen.say("14:00", &plain(crate::text::harmless("\u{1b}]0;title\u{7}\r\n")));
    screen.editor.insert("\u{1b}[2J");
    let terminal = terminal(&screen, 80, 24, COLOURED);
    let hostile =
        |symbol: &str| symbol.chars().any(|letter| letter.is_control() || letter == '\u{202e}');
    assert!(!terminal.backend().buffer().content().iter().any(|cell| hostile(cell.symbol())));
    assert!(text(&screen, 80, 24).contains("␛[31mEve␇"));
}

#[test]
fn without_colours_no_cell_has_one_and_states_are_still_words() {
    let mut screen = busy();
    (screen.own.muted, screen.own.deafened, screen.own.clipping) = (true, true, true);
    screen.people[0].muted = true;
    screen.people[1].may_speak = false;
    let terminal = terminal(&screen, 80, 24, PLAIN);
    let colourless = |colour| colour == Color::Reset;
    assert!(
        terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .all(|cell| colourless(cell.fg) && colourless(cell.bg))
    );
    let shown = text(&screen, 80, 24);
    for word in ["MUTED", "DEAFENED", "off", "may not speak", "F2 unmute"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn the_key_to_talk_says_what_it_does_on_this_terminal() {
    let mut screen = busy();
    screen.talk_key = TalkKey::Hold;
    assert!(
        text(&screen, 80, 24).contains("F4 hold to talk")
            && text(&screen, 80, 24).contains("KEY UP")
    );
    screen.talk_key = TalkKey::HoldByRepeats;
    screen.own.talking = Talking::ByKey;
    let shown = text(&screen, 80, 24);
    assert!(
        shown.contains("TALKING") && shown.contains("F4 hold to talk (short press: 1 s)"),
        "{shown}"
    );
}

#[test]
fn a_chosen_person_has_keys_of_its_own() {
    let mut screen = busy();
    screen.chosen = Some(peer(1));
    let shown = rows(&screen, 80, 24);
    assert!(shown[2].starts_with("▸ ● Ben"), "{shown:#?}");
    assert!(shown[23].contains("+ - volume") && shown[23].contains("F5 sound off"), "{shown:#?}");
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
    screen.open(Content::Help);
    let large = text(&screen, 100, 70);
    for part in ["Help (Esc closes)", "/gain NAME 0.5", "F2", "32 kbit/s", "/quit"] {
        assert!(large.contains(part), "{part}: {large}");
    }
    let top = text(&screen, 40, 10);
    screen.overlay = Some(Overlay { content: Content::Help, offset: 1000 });
    let bottom = text(&screen, 40, 10);
    assert!(
        top.contains("F2  ") && top.contains("scroll, Esc closes") && !top.contains("/quit"),
        "{top}"
    );
    assert!(bottom.contains("/quit"), "{bottom}");
}

#[test]
fn events_never_push_messages_out() {
    let mut screen = busy();
    (0..500).for_each(|number| screen.say("14:10", &plain(format!("event {number}"))));
    for (columns, height) in SIZES {
        let shown = text(&screen, columns, height);
        assert!(
            shown.contains("Ben: good evening") && shown.contains("event 499"),
            "{columns}x{height}: {shown}"
        );
    }
}

#[test]
fn what_does_not_work_stands_above_the_events_as_long_as_it_lasts() {
    let mut screen = busy();
    screen.problems =
        vec!["No sound card works: you and the others cannot hear each other. Plug one in.".into()];
    for (columns, height) in SIZES {
        let shown = text(&screen, columns, height);
        assert!(shown.contains("No sound card works"), "{columns}x{height}: {shown}");
    }
    let shown = rows(&screen, 80, 24);
    assert!(
        shown[18].starts_with(" No sound card works") && shown[19].contains("Ben is here."),
        "{shown:#?}"
    );
}

#[test]
fn a_terminal_without_utf8_gets_ascii() {
    let mut screen = busy();
    screen.people[1].label = "Zoë 日本".into();
    screen.open(Content::Help);
    for open in [true, false] {
        screen.overlay = screen.overlay.take().filter(|_| open);
        let ascii = Palette { coloured: false, unicode: false };
        let terminal = terminal(&screen, 80, 24, ascii);
        assert!(terminal.backend().buffer().content().iter().all(|cell| cell.symbol().is_ascii()));
    }
    let ascii = lines_of(&terminal(&screen, 80, 24, Palette { coloured: false, unicode: false }));
    assert!(
        ascii[2].contains("* Ben") && ascii[2].contains("==") && ascii[3].contains("Zoe ? ?"),
        "{ascii:#?}"
    );
}

#[test]
fn names_use_the_columns_there_are() {
    let long = "Karl-Theodor von Guttenplag zu Sandhausen am Neckar";
    let mut screen = screen(&[(1, long)]);
    assert!(text(&screen, 120, 40).contains(long), "{}", text(&screen, 120, 40));
    screen.people[0].muted_itself = true;
    let narrow = text(&screen, 80, 24);
    assert!(
        narrow.contains(&long[..22]) && narrow.contains("muted") && narrow.contains("direct"),
        "{narrow}"
    );
}

#[test]
fn no_column_moves_when_someone_speaks_falls_silent_or_a_number_grows() {
    let names: Vec<String> = (1..=20).map(|number| format!("Guest {number:02}")).collect();
    let named: Vec<(u16, &str)> =
        names.iter().enumerate().map(|(id, name)| (id as u16 + 1, name.as_str())).collect();
    for ((columns, height), people) in
        [(80, 24), (120, 40)].into_iter().flat_map(|size| [(size, 1), (size, 3), (size, 20)])
    {
        let mut screen = screen(&named[..people]);
        let mut places = BTreeSet::new();
        for state in states() {
            let one = &mut screen.people[0];
            (one.quality, one.route, one.speaking) = (state.quality, state.route, state.speaking);
            (one.loss_permille, one.round_trip_ms) = (state.loss_permille, state.round_trip_ms);
            (one.delay_ms, one.level_dbfs) = (state.delay_ms, state.level_dbfs);
            (one.muted_itself, one.deafened) = (state.muted, state.deafened);
            let rows = rows(&screen, columns, height);
            let word = match state.quality {
                Quality::Clear => "clear",
                Quality::Fair => "fair: ",
                Quality::Poor => "poor: ",
                Quality::Gone => "no sound",
            };
            let at = |row: &str, what: &str| row.find(what).map(|at| row[..at].chars().count());
            let quality = at(&rows[2], word);
            let headings = ["loss", "delay"].map(|heading| at(&rows[1], heading));
            // Where a number or the meter is cut, it has no room.
            assert!(!rows[2].contains('…') && rows[2].contains(['━', '─']), "{}", rows[2]);
            places.insert((quality, headings));
            let places_of_others =
                rows[3..people.min(4) + 2].iter().map(|row| (at(row, "clear"), headings));
            places.extend(places_of_others);
        }
        assert_eq!(places.len(), 1, "{columns}, {people}: {places:?}");
        assert!(
            places.iter().all(|(quality, [loss, delay])| {
                quality.is_some() && loss.is_some() && delay.is_some()
            }),
            "{columns}, {people}: {places:?}"
        );
    }
}

/// What changes of a person while people talk.
#[derive(Clone, Copy, Debug)]
struct Changing {
    quality: Quality,
    route: voicemesh::Route,
    speaking: bool,
    level_dbfs: Option<i32>,
    loss_permille: u32,
    round_trip_ms: Option<u128>,
    delay_ms: Option<u128>,
    muted: bool,
    deafened: bool,
}

/// Each combination of them.
fn states() -> Vec<Changing> {
    use voicemesh::Route::{Direct, None as NoRoute, Relayed};
    let times = [None, Some(9), Some(999), Some(1_412), Some(250_000)];
    let qualities = [
        (Quality::Clear, Direct),
        (Quality::Fair, Direct),
        (Quality::Poor, Relayed),
        (Quality::Gone, NoRoute),
    ];
    let mut states = Vec::new();
    for (quality, route) in qualities {
        for (speaking, level_dbfs) in [(false, None), (true, Some(-40)), (true, Some(-3))] {
            for loss_permille in [0, 4, 99, 104, 1_000] {
                for (round_trip_ms, delay_ms) in times.into_iter().zip(times.into_iter().rev()) {
                    for (muted, deafened) in [(false, false), (true, false), (false, true)] {
                        states.push(Changing {
                            quality,
                            route,
                            speaking,
                            level_dbfs,
                            loss_permille,
                            round_trip_ms,
                            delay_ms,
                            muted,
                            deafened,
                        });
                    }
                }
            }
        }
    }
    states
}

#[test]
fn of_several_who_speak_the_loudest_is_marked() {
    let mut people =
        [(1, "Ben"), (2, "Cleo"), (3, "Dan")].map(|(id, name)| state(id, name)).to_vec();
    people[1].level_dbfs = Some(-6.0);
    people[2].speaking = false;
    let mut screen = screen(&[]);
    screen
        .observe(&voicemesh::Snapshot { peers: people, ..Default::default() }, &People::default());
    let shown = rows(&screen, 80, 24);
    assert!(
        shown[2].contains("● Ben") && shown[3].contains("◉ Cleo") && shown[4].contains("· Dan"),
        "{shown:#?}"
    );
}

#[test]
fn talk_groups_and_missing_devices_are_in_the_own_row() {
    let mut screen = busy();
    let own = |screen: &Screen| rows(screen, 80, 24)[21].clone();
    screen.set_groups(&["Global".into(), "Red".into()]);
    let input = |screen: &Screen| rows(screen, 80, 24)[22].clone();
    assert!(own(&screen).contains("to everyone, Red"), "{}", own(&screen));
    assert!(input(&screen).starts_with("> write to everyone"), "{}", input(&screen));
    screen.set_groups(&["Red".into()]);
    assert!(input(&screen).starts_with("> write to “Red”"), "{}", input(&screen));
    screen.set_groups(&[]);
    assert!(own(&screen).contains("TO NO GROUP"), "{}", own(&screen));
    assert!(input(&screen).starts_with("> /join NAME"), "{}", input(&screen));
    screen.set_groups(&["Global".into()]);
    assert!(own(&screen).contains("reaches all"), "{}", own(&screen));
    screen.own.reaches = (1, 2);
    assert!(own(&screen).contains("reaches 1 of 2"), "{}", own(&screen));
    (screen.own.listening_only, screen.own.without_speaker) = (true, true);
    assert!(
        own(&screen).starts_with(" LISTENING ONLY  NO SPEAKER") && !own(&screen).contains("━"),
        "{}",
        own(&screen)
    );
}

#[test]
fn the_talk_groups_of_others_stand_in_their_row() {
    let mut screen = busy();
    screen.people[1].groups = Some("in Red".into());
    let shown = rows(&screen, 120, 40);
    let with_groups: Vec<&String> = shown.iter().filter(|row| row.contains("in Red")).collect();
    assert!(matches!(with_groups[..], [row] if row.contains("Cleo")), "{shown:#?}");
}

#[test]
fn muted_the_meter_is_empty_and_no_key_promises_speech() {
    let mut screen = busy();
    screen.talk_key = TalkKey::HoldByRepeats;
    screen.own.muted = true;
    let shown = rows(&screen, 80, 24);
    assert!(shown[21].starts_with(" MUTED") && !shown[21].contains("━"), "{shown:#?}");
    assert!(!shown[23].contains("F4") && shown[23].contains("F2 unmute"), "{shown:#?}");
}

#[test]
fn a_meter_is_empty_in_silence_and_full_at_full_scale() {
    assert_eq!(meter(-99, None, 6), ["", "──────"]);
    assert_eq!(meter(0, None, 6), ["━━━━━━", ""]);
    assert_eq!(meter(-30, Some(-50), 6), ["━╎━", "───"]);
    assert_eq!(meter(-60, Some(0), 6), ["", "─────╎"]);
}

#[test]
fn what_needs_action_is_whole_on_the_smallest_screen() {
    let mut screen = busy();
    let problem = "The server is not reached: it refuses the connection. Is the address right, and does the server run?";
    screen.problems = vec![problem.to_owned()];
    let shown = text(&screen, 40, 10);
    assert!(shown.contains("run?") && shown.contains("Ben"), "{shown}");
    screen.problems.clear();
    let sent = "Not sent: the server is out of reach. Send it again when you are back.";
    screen.say("14:10", &Said { mood: Mood::Trouble, text: sent.to_owned() });
    let shown = text(&screen, 40, 10);
    assert!(shown.contains("Not sent") && shown.contains("are back."), "{shown}");
    screen.problems = vec![problem.to_owned()];
    let shown = text(&screen, 40, 10);
    assert!(shown.contains("run?") && shown.contains("Not sent"), "{shown}");
}

#[test]
fn a_refusal_is_whole_beside_what_does_not_work() {
    let mut screen = busy();
    screen.problems =
        vec!["No sound card works: you and the others cannot hear each other. Plug one in.".into()];
    let refusal = "That did not work: the speaker stays as it is: /nowhere/heard.wav cannot be written as a speaker: there is no such folder; check the folder and its permissions.";
    screen.say("12:00", &crate::human::trouble(refusal));
    let shown = text(&screen, 80, 24).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("Plug one in.") && shown.contains("its permissions."), "{shown}");
    screen.say("12:01", &plain("Ben is here."));
    assert!(text(&screen, 80, 24).contains("Ben is here."));
}

#[test]
fn a_person_who_does_not_come_through_clearly_has_a_reason_in_words() {
    let mut screen = busy();
    screen.people.truncate(1);
    for (quality, loss, round_trip, reason) in [
        (Quality::Poor, 150, 20, "poor: loss"),
        (Quality::Fair, 0, 300, "fair: far"),
        (Quality::Poor, 0, 20, "poor: late"),
    ] {
        let person = &mut screen.people[0];
        (person.quality, person.loss_permille) = (quality, loss);
        person.round_trip_ms = Some(round_trip);
        assert!(text(&screen, 80, 24).contains(reason), "{reason}");
    }
    screen.people[0].quality = Quality::Clear;
    assert!(!text(&screen, 80, 24).contains(": late"));
}

#[test]
fn a_room_that_is_closed_to_newcomers_says_so_in_the_header() {
    let mut screen = busy();
    assert!(!rows(&screen, 80, 24)[0].contains("locked"));
    screen.locked = true;
    for (columns, height) in SIZES {
        assert!(rows(&screen, columns, height)[0].contains("locked  connected"), "{columns}");
    }
}
