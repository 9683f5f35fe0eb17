//! Who is here: a row each, with as many columns as there is room for.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use voicemesh::Route;

use super::palette::{Palette, meter};
use crate::human::Mood;
use crate::live::cells::{fit, fit_right, width};
use crate::live::screen::{CLEAR, Person, QUIETEST_DBFS, Quality, Screen};

const LEAST_NAME: usize = 8;
/// Names grow to this before the less important columns get their place.
const USUAL_NAME: usize = 21;
const LEAST_METER: usize = 6;
const MOST_METER: usize = 24;
/// The mark of who is chosen, and the one of who speaks, each with a space.
const MARKS: usize = 4;

/// A column after name and meter, in the order of importance; shown in [`ORDER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// What is out of the ordinary: muted, recording, softer or louder.
    Notes,
    /// How clearly a person comes through, and why not better.
    Quality,
    Groups,
    Route,
    Delay,
    Loss,
    RoundTrip,
}

const IMPORTANCE: [Column; 7] = [
    Column::Notes,
    Column::Quality,
    Column::Groups,
    Column::Route,
    Column::Delay,
    Column::Loss,
    Column::RoundTrip,
];
const ORDER: [Column; 7] = [
    Column::Quality,
    Column::Route,
    Column::RoundTrip,
    Column::Loss,
    Column::Delay,
    Column::Groups,
    Column::Notes,
];
/// The names grow before this column gets a place.
const AFTER_NAMES: Column = Column::Loss;

/// Which columns there are, and how wide.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns {
    name: usize,
    meter: usize,
    shown: Vec<(Column, usize)>,
    /// Whether numbers have headings, and need no word beside them.
    headed: bool,
}

/// Draws the rows that fit, the chosen one among them; `rule` is the line above, if there is one.
pub(super) fn draw(frame: &mut Frame, rule: Rect, area: Rect, screen: &Screen, palette: Palette) {
    let rows = usize::from(area.height);
    if screen.people.is_empty() {
        frame
            .render_widget(Span::styled("    No other person is here yet.", palette.quiet()), area);
        return;
    }
    let headed = rule.height > 0;
    let columns = columns(&screen.people, usize::from(area.width), headed);
    if headed {
        headings(frame, rule, &columns, palette);
    }
    let chosen = screen.people.iter().position(|person| Some(person.peer) == screen.chosen);
    let (first, end) = window(screen.people.len(), rows, chosen);
    let shown = screen.people.get(first..end).unwrap_or_default();
    let lines = shown
        .iter()
        .map(|person| row(person, &columns, Some(person.peer) == screen.chosen, palette));
    let hidden = screen.people.iter().take(first).chain(screen.people.iter().skip(end));
    let rest =
        (shown.len() < screen.people.len()).then(|| Line::styled(rest(hidden), palette.quiet()));
    for (y, line) in (area.y..area.bottom()).zip(lines.chain(rest)) {
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

/// Which of so many are shown in so many rows; the last row tells of the others, if there are more.
fn window(people: usize, rows: usize, chosen: Option<usize>) -> (usize, usize) {
    if people <= rows {
        return (0, people);
    }
    let room = rows.saturating_sub(1);
    let first = chosen.map_or(0, |chosen| (chosen + 1).saturating_sub(room));
    (first, first + room)
}

fn rest<'a>(hidden: impl Iterator<Item = &'a Person> + Clone) -> String {
    let more = hidden.clone().count();
    let speaking: Vec<&str> =
        hidden.filter(|one| one.speaking).map(|one| one.label.as_str()).collect();
    match speaking.as_slice() {
        [] => format!("    … and {more} more (↑↓)"),
        some => format!("    … and {more} more (↑↓) ● {}", some.join(", ")),
    }
}

fn columns(people: &[Person], room: usize, headed: bool) -> Columns {
    let widest = |column: Column| {
        let widest = people
            .iter()
            .map(|person| width(&text(person, column, headed)))
            .max()
            .unwrap_or_default();
        widest.max(if people.is_empty() { 0 } else { usual_width(column, headed) })
    };
    let names = people.iter().map(|person| width(&person.label)).max().unwrap_or_default();
    let mut name = names.clamp(1, LEAST_NAME.max(room / 5));
    let mut left = room.saturating_sub(MARKS + name + 1 + LEAST_METER);
    let mut kept = Vec::new();
    for column in IMPORTANCE {
        if column == AFTER_NAMES {
            let more = names.min(USUAL_NAME).saturating_sub(name).min(left);
            (name, left) = (name + more, left - more);
        }
        let wanted = widest(column);
        let fitting = [wanted, short_width(column).min(wanted)];
        let fitting = fitting.into_iter().find(|wanted| *wanted > 0 && left > wanted + 1);
        if let Some(wanted) = fitting {
            left -= wanted + 2;
            kept.push((column, wanted));
        }
    }
    let more = names.saturating_sub(name).min(left);
    (name, left) = (name + more, left - more);
    let meter = (LEAST_METER + left).min(MOST_METER);
    let shown = ORDER
        .into_iter()
        .filter_map(|column| kept.iter().copied().find(|(kept, _)| *kept == column));
    Columns { name, meter, shown: shown.collect(), headed }
}

/// The least width of a column, so that the layout stays while values change.
fn usual_width(column: Column, headed: bool) -> usize {
    let longest = match column {
        Column::Quality => "poor: loss",
        Column::Route => "relayed",
        Column::Delay | Column::RoundTrip => "999 ms",
        Column::Loss => "9.9 %",
        Column::Notes => "deafened",
        Column::Groups => return 0,
    };
    let name = if headed { 0 } else { width(heading(column)) };
    width(longest) + if name > 0 { name + 1 } else { 0 }
}

/// The width of a column without what can be left out, on a narrow screen.
fn short_width(column: Column) -> usize {
    if column == Column::Quality { width(quality_word(Quality::Gone)) } else { 0 }
}

/// What the numbers are, over the line above them.
fn headings(frame: &mut Frame, rule: Rect, columns: &Columns, palette: Palette) {
    let mut x = MARKS + columns.name + 1 + columns.meter;
    for (column, columns) in &columns.shown {
        let heading = heading(*column);
        if !heading.is_empty() {
            let x = rule.x + u16::try_from(x + 1 + columns - width(heading)).unwrap_or(u16::MAX);
            let area =
                Rect { x, width: u16::try_from(width(heading) + 2).unwrap_or(u16::MAX), ..rule };
            frame.render_widget(
                Span::styled(format!(" {heading} "), palette.quiet()),
                area.intersection(rule),
            );
        }
        x += 2 + columns;
    }
}

fn heading(column: Column) -> &'static str {
    match column {
        Column::Notes | Column::Quality | Column::Groups | Column::Route => "",
        Column::Delay => "delay",
        Column::Loss => "loss",
        Column::RoundTrip => "ping",
    }
}

fn row(person: &Person, columns: &Columns, chosen: bool, palette: Palette) -> Line<'static> {
    let speaks = person.speaking && !person.muted;
    let mark = match (person.speaking, person.loudest) {
        (true, true) => '◉',
        (true, false) => '●',
        (false, _) => '·',
    };
    let marks = format!("{} {mark} ", if chosen { '▸' } else { ' ' });
    let name = if person.speaking { palette.strong() } else { Style::new() };
    let [full, empty] = meter(person.level_dbfs.unwrap_or(QUIETEST_DBFS), None, columns.meter);
    let mut spans = vec![
        Span::styled(marks, if speaks { palette.voice() } else { palette.quiet() }),
        Span::styled(fit(&person.label, columns.name), name),
        Span::raw(" "),
        Span::styled(full, palette.voice()),
        Span::styled(empty, palette.quiet()),
    ];
    let headed = columns.headed;
    for (column, columns) in &columns.shown {
        let text = match column {
            Column::Quality if *columns < usual_width(*column, headed) => {
                quality_word(person.quality).to_owned()
            }
            _ => text(person, *column, headed),
        };
        let (fitted, style) = match column {
            Column::Quality => (fit(&text, *columns), quality_style(person.quality, palette)),
            Column::Route | Column::Groups => (fit(&text, *columns), palette.quiet()),
            Column::Notes => (fit(&text, *columns), palette.alarm()),
            Column::Delay | Column::Loss | Column::RoundTrip => {
                (fit_right(&text, *columns), palette.quiet())
            }
        };
        spans.extend([Span::raw("  "), Span::styled(fitted, style)]);
    }
    let line = Line::from(spans);
    if chosen { line.patch_style(Style::new().add_modifier(Modifier::BOLD)) } else { line }
}

fn text(person: &Person, column: Column, headed: bool) -> String {
    let named = |value: String| if headed { value } else { format!("{} {value}", heading(column)) };
    match column {
        Column::Quality => quality(person),
        Column::Route => match person.route {
            Route::Direct => "direct".to_owned(),
            Route::Relayed => "relayed".to_owned(),
            Route::None => String::new(),
        },
        Column::RoundTrip => person.round_trip_ms.map(|ms| named(time(ms))).unwrap_or_default(),
        Column::Loss => named(format!("{} %", tenths(person.loss_permille))),
        Column::Delay => person.delay_ms.map(|ms| named(time(ms))).unwrap_or_default(),
        Column::Groups => person.groups.clone().unwrap_or_default(),
        Column::Notes => notes(person),
    }
}

/// Formats a time in at most six columns.
fn time(ms: u128) -> String {
    let ms = ms.min(99_999);
    if ms < 1_000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1_000, ms % 1_000 / 100) }
}

fn quality_word(quality: Quality) -> &'static str {
    match quality {
        Quality::Clear => "clear",
        Quality::Fair => "fair",
        Quality::Poor => "poor",
        Quality::Gone => "no sound",
    }
}

fn quality_style(quality: Quality, palette: Palette) -> Style {
    match quality {
        Quality::Clear => Style::new(),
        Quality::Fair => palette.mood(Mood::Trouble),
        Quality::Poor | Quality::Gone => palette.alarm(),
    }
}

fn notes(person: &Person) -> String {
    let gain = format!("{} %", person.gain_percent);
    let notes = [
        (person.encryption.is_some(), person.encryption.unwrap_or_default()),
        (person.recording, "REC"),
        (person.listening_only, "listens only"),
        (person.muted_itself && !person.listening_only, "muted"),
        (person.deafened, "deafened"),
        (!person.may_speak, "may not speak"),
        (!person.may_listen, "may not listen"),
        (person.muted, "off"),
        (person.gain_percent != 100 && !person.muted, gain.as_str()),
    ];
    let notes = notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note);
    notes.collect::<Vec<_>>().join(" ")
}

/// How a person comes through, and why not clearly, as far as it can be told.
fn quality(person: &Person) -> String {
    let word = quality_word(person.quality);
    let is_far = person.round_trip_ms.is_some_and(|ms| ms >= CLEAR.1);
    match person.quality {
        Quality::Clear | Quality::Gone => word.to_owned(),
        Quality::Fair | Quality::Poor if person.loss_permille >= CLEAR.0 => format!("{word}: loss"),
        Quality::Fair | Quality::Poor if is_far => format!("{word}: far"),
        Quality::Fair | Quality::Poor => format!("{word}: late"),
    }
}

/// Per cent with one digit below ten, without above.
pub(super) fn tenths(permille: u32) -> String {
    match permille {
        0 => "0".to_owned(),
        small if small < 100 => format!("{}.{}", small / 10, small % 10),
        large => format!("{}", (large + 5) / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_one_is_always_among_those_shown() {
        for people in 1..40 {
            for rows in 2..12 {
                for chosen in 0..people {
                    let (first, end) = window(people, rows, Some(chosen));
                    assert!(
                        (first..end).contains(&chosen),
                        "{chosen} of {people} in {rows} rows: {first}..{end}"
                    );
                    assert!(end - first <= rows && end <= people);
                }
            }
        }
    }

    #[test]
    fn parts_of_a_hundred() {
        assert_eq!([0, 4, 99, 104, 1000].map(tenths), ["0", "0.4", "9.9", "10", "100"]);
    }
}
