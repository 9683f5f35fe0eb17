//! The view drawn: from the same values always the same cells, whatever the terminal's size.
//!
//! From top to bottom: room and server; people; messages; what does not work and what happened
//! last; the user's own state; the line being typed; keys. What does not fit goes by importance: a
//! small screen loses columns and separating lines first.

mod overlay;
mod own;
mod palette;
mod people;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::cells::{cut, fit, width, wrap};
use super::log::Row;
use super::screen::{Link, Own, Screen, TalkKey};
use crate::format::EVERYONE;
use crate::human::Mood;
use crate::reach::EXPOSED;
use crate::who::group_names;
pub(crate) use palette::{Palette, meter};

/// With so many rows, lines part the sections.
const ROWS_FOR_RULES: u16 = 16;
/// Rows of events: at least one, and with so many rows, two, or four.
const ROWS_FOR_TWO_EVENTS: u16 = 20;
const ROWS_FOR_FOUR_EVENTS: u16 = 34;
/// Rows left to the messages, however many people there are.
const LEAST_MESSAGES: u16 = 2;
/// Rows enough for the messages while there are people who would otherwise not be seen.
const USUAL_MESSAGES: u16 = 6;
/// Before events and messages, where no line parts the two.
const EVENT_MARK: &str = "» ";
/// With fewer columns, the header names no server, and the footer says less of the key to talk.
const COLUMNS_FOR_SERVER: u16 = 60;
/// With fewer columns, what is said of an unencrypted connection is shorter.
const COLUMNS_FOR_EXPOSED: u16 = 80;
/// Columns of a recorder's name in the header.
const MOST_RECORDER: usize = 12;
/// Columns of the own name above the people.
const MOST_OWN_NAME: usize = 24;
const PROMPT: &str = "> ";

/// Where the sections stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    pub header: Rect,
    pub people_rule: Rect,
    pub people: Rect,
    pub log_rule: Rect,
    pub log: Rect,
    pub events_rule: Rect,
    pub events: Rect,
    pub own_rule: Rect,
    pub own: Rect,
    pub input: Rect,
    pub keys: Rect,
}

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame, screen: &Screen, palette: Palette) {
    let sections = layout(screen, frame.area());
    frame.render_widget(header(screen, sections.header.width, palette), sections.header);
    rule(frame, sections.people_rule, &people_title(screen), palette);
    people::draw(frame, sections.people_rule, sections.people, screen, palette);
    rule(frame, sections.log_rule, &log_title(screen), palette);
    log(frame, sections.log, screen, palette);
    rule(frame, sections.events_rule, "Events (F8: all)", palette);
    events(frame, sections, screen, palette);
    rule(frame, sections.own_rule, "", palette);
    own::draw(frame, sections.own, screen, palette);
    input(frame, sections.input, screen, palette);
    frame.render_widget(keys(screen, sections.keys.width, palette), sections.keys);
    if let Some(overlay) = &screen.overlay {
        overlay::draw(frame, frame.area(), overlay, screen, palette);
    }
    if !palette.unicode {
        make_ascii(frame.buffer_mut());
    }
}

/// Cells that a terminal without UTF-8 can show.
fn make_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let ascii = cell.symbol().chars().next().map_or('?', crate::text::ascii);
            cell.set_char(ascii);
        }
    }
}

/// Parts the terminal.
pub(crate) fn layout(screen: &Screen, area: Rect) -> Sections {
    let rule = u16::from(area.height >= ROWS_FOR_RULES);
    let fixed = 4 + 4 * rule;
    let free = area.height.saturating_sub(fixed);
    let events = match area.height {
        ROWS_FOR_FOUR_EVENTS.. => 4,
        ROWS_FOR_TWO_EVENTS.. => 2,
        _ => 1,
    };
    let problems = u16::try_from(problem_rows(screen, area.width).len()).unwrap_or(u16::MAX);
    // What calls for an action is shown whole, before messages and people.
    let most = if rule == 0 { free.saturating_sub(1) } else { free / 3 };
    let urgent = problems.saturating_add(urgent_rows(screen, area.width));
    let events = if rule == 0 {
        events.min(free / 3).max(urgent.min(most))
    } else {
        events.max(problems.saturating_add(1)).max(urgent).min(most)
    };
    let free = free.saturating_sub(events);
    let wanted = u16::try_from(screen.people.len().max(1)).unwrap_or(u16::MAX);
    let most = (free / 2).max((2 * free / 3).min(free.saturating_sub(LEAST_MESSAGES)));
    let most = most.max(free.saturating_sub(USUAL_MESSAGES)).max(1);
    let people = wanted.min(most);
    let rows = [1, rule, people, rule].map(Constraint::Length).into_iter();
    let rows = rows
        .chain([Constraint::Min(0)])
        .chain([rule, events, rule, 1, 1, 1].map(Constraint::Length));
    let [
        header,
        people_rule,
        people,
        log_rule,
        log,
        events_rule,
        events,
        own_rule,
        own,
        input,
        keys,
    ] = Layout::vertical(rows).areas(area);
    Sections {
        header,
        people_rule,
        people,
        log_rule,
        log,
        events_rule,
        events,
        own_rule,
        own,
        input,
        keys,
    }
}

/// Rows of the newest event, if it is about something that did not work.
fn urgent_rows(screen: &Screen, columns: u16) -> u16 {
    let Some((clock, line)) = screen.events.last().filter(|(_, line)| line.mood == Mood::Trouble)
    else {
        return 0;
    };
    let columns = usize::from(columns).saturating_sub(EVENT_MARK.chars().count() + clock.len() + 2);
    u16::try_from(wrap(&line.text, columns).len()).unwrap_or(u16::MAX)
}

/// What does not work, wrapped.
fn problem_rows(screen: &Screen, columns: u16) -> Vec<String> {
    let columns = usize::from(columns).saturating_sub(1 + EVENT_MARK.len());
    screen.problems.iter().flat_map(|problem| wrap(problem, columns)).collect()
}

/// What does not work, above the events that came last.
fn events(frame: &mut Frame, sections: Sections, screen: &Screen, palette: Palette) {
    let Sections { events: area, events_rule, .. } = sections;
    let mark = if events_rule.height == 0 { EVENT_MARK } else { "" };
    let (columns, rows) =
        (usize::from(area.width).saturating_sub(width(mark)), usize::from(area.height));
    let mut problems = problem_rows(screen, area.width);
    problems.truncate(rows);
    let events = match screen.overlay {
        // The overlay shows them all.
        Some(super::overlay_state::Overlay {
            content: super::overlay_state::Content::Events,
            ..
        }) => Vec::new(),
        _ => screen.events.newest(columns, rows - problems.len()),
    };
    let problems = problems
        .into_iter()
        .map(|text| Line::styled(format!(" {text}"), palette.mood(Mood::Trouble)));
    let events = events.into_iter().map(|row| log_line(row, palette));
    for (y, mut line) in (area.y..area.bottom()).zip(problems.chain(events)) {
        line.spans.insert(0, Span::styled(mark, palette.quiet()));
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

fn log_line(row: Row, palette: Palette) -> Line<'static> {
    let clock = Span::styled(format!("{}  ", row.clock), palette.quiet());
    Line::from(vec![clock, Span::styled(row.text, palette.mood(row.mood))])
}

fn header(screen: &Screen, columns: u16, palette: Palette) -> Line<'static> {
    let columns = usize::from(columns);
    let status = status(screen);
    let recorded = match screen.recorders().as_slice() {
        [] => String::new(),
        [one] => format!("REC by {}  ", cut(one, MOST_RECORDER)),
        several => format!("REC by {} of them  ", several.len()),
    };
    let exposed = match (screen.exposed, columns >= usize::from(COLUMNS_FOR_EXPOSED)) {
        (false, _) => String::new(),
        (true, true) => format!("  {EXPOSED}"),
        (true, false) => "  not encrypted".to_owned(),
    };
    let mark = screen.encryption.as_ref();
    let exposed = mark.map_or(exposed, |mark| match columns < usize::from(COLUMNS_FOR_SERVER) {
        true => format!("  {}", mark.short),
        false => format!("  {}", mark.text),
    });
    let right =
        columns.saturating_sub(8 + width(&exposed)).min(width(&status) + width(&recorded) + 1);
    let recorded = cut(&recorded, right.saturating_sub(width(&status) + 1));
    let left = columns.saturating_sub(right);
    let room = cut(&format!(" {}", screen.room), left.saturating_sub(width(&exposed)));
    let exposed = cut(&exposed, left - width(&room));
    let server = match columns >= usize::from(COLUMNS_FOR_SERVER) {
        true => format!("  {}", screen.server),
        false => String::new(),
    };
    let server =
        fit(if exposed.is_empty() { &server } else { "" }, left - width(&room) - width(&exposed));
    let mood = if screen.link == Link::Connected && !screen.is_server_silent {
        Mood::Came
    } else {
        Mood::Trouble
    };
    let line = Line::from(vec![
        Span::styled(room, Style::new().add_modifier(Modifier::BOLD)),
        match mark.is_some_and(|mark| !mark.is_alarm) {
            true => Span::styled(exposed, palette.mood(Mood::Came)),
            false => Span::styled(exposed, palette.alarm()),
        },
        Span::styled(server, palette.quiet()),
        Span::styled(recorded, palette.alarm()),
        Span::styled(cut(&status, right), palette.mood(mood)),
        Span::raw(" "),
    ]);
    line.style(Style::new().add_modifier(Modifier::REVERSED))
}

fn status(screen: &Screen) -> String {
    let clock = screen
        .seconds
        .map(|seconds| format!("  {}", crate::format::clock_of(seconds).trim_start()));
    let server = screen.served_by.word();
    let link = match screen.link {
        Link::Joining => "joining …".to_owned(),
        Link::Connected if screen.is_server_silent => format!("{server} does not answer"),
        Link::Connected => "connected".to_owned(),
        Link::Away { retry_s: 0 } => format!("{server} away, trying again …"),
        Link::Away { retry_s } => format!("{server} away, trying again in {retry_s} s"),
    };
    let locked = if screen.locked { "locked  " } else { "" };
    format!("{locked}{link}{}", clock.unwrap_or_default())
}

fn people_title(screen: &Screen) -> String {
    let own = cut(&screen.name, MOST_OWN_NAME);
    match screen.people.len() {
        0 => format!("You: {own}"),
        1 => format!("You: {own}, and 1 other person"),
        more => format!("You: {own}, and {more} other people"),
    }
}

fn log_title(screen: &Screen) -> String {
    match screen.log.scrolled() {
        None => "Messages".to_owned(),
        Some(0) => "Older messages (PgDn: newer)".to_owned(),
        Some(unseen) => format!("Older messages (PgDn: newer, {unseen} unread)"),
    }
}

fn rule(frame: &mut Frame, area: Rect, title: &str, palette: Palette) {
    if area.height == 0 {
        return;
    }
    let title = if title.is_empty() { String::new() } else { format!(" {title} ") };
    let rest = usize::from(area.width).saturating_sub(2 + width(&title));
    let line = format!("──{title}{}", "─".repeat(rest));
    frame.render_widget(Span::styled(line, palette.quiet()), area);
}

fn log(frame: &mut Frame, area: Rect, screen: &Screen, palette: Palette) {
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let shown = screen.log.rows(columns, rows);
    if screen.log.is_empty() && rows > 0 {
        let text = cut(" No messages yet.", columns);
        frame.render_widget(
            Span::styled(text, palette.quiet()),
            Rect { y: area.bottom() - 1, height: 1, ..area },
        );
    }
    // The newest stands at the bottom, next to the line being typed.
    let empty = rows - shown.len().min(rows);
    for (place, row) in shown.into_iter().enumerate() {
        let line = log_line(row, palette);
        let y = area.y + u16::try_from(empty + place).unwrap_or(u16::MAX);
        frame.render_widget(line, Rect { y, height: 1, ..area }.intersection(area));
    }
}

fn input(frame: &mut Frame, area: Rect, screen: &Screen, palette: Palette) {
    let columns = usize::from(area.width).saturating_sub(PROMPT.len());
    let (text, cursor) = screen.editor.view(columns);
    let text = match screen.editor.is_empty() {
        true => Span::styled(cut(&may_write(&screen.own), columns), palette.quiet()),
        false => Span::raw(text.to_owned()),
    };
    frame.render_widget(Line::from(vec![Span::styled(PROMPT, palette.strong()), text]), area);
    let column = area.x + u16::try_from(PROMPT.len() + cursor).unwrap_or(u16::MAX);
    if area.height > 0 && column < area.right() && screen.overlay.is_none() {
        frame.set_cursor_position((column, area.y));
    }
}

/// Where a line that is typed goes.
fn may_write(own: &Own) -> String {
    let groups = own.groups.as_deref();
    match groups.filter(|groups| groups.iter().all(|group| group != EVERYONE)) {
        None => "write to everyone, or /help".to_owned(),
        Some([]) => "/join NAME enters a talk group; /help".to_owned(),
        Some(groups) => format!("write to “{}”, or /help", group_names(groups)),
    }
}

/// The keys that matter now, as many as fit.
fn keys(screen: &Screen, columns: u16, palette: Palette) -> Line<'static> {
    let mut keys = vec![("F1", "help".to_owned()), ("^C", "leave".to_owned())];
    match screen.talk_key {
        // Muted, the key opens nothing.
        TalkKey::None => {}
        _ if screen.own.muted => {}
        TalkKey::Hold => keys.push(("F4", "hold to talk".to_owned())),
        TalkKey::HoldByRepeats if columns < COLUMNS_FOR_SERVER => {
            keys.push(("F4", "hold (tap: 1 s)".to_owned()))
        }
        TalkKey::HoldByRepeats => keys.push(("F4", "hold to talk (short press: 1 s)".to_owned())),
    }
    if let Some(person) = screen.chosen() {
        let mute = if person.muted { "sound on" } else { "sound off" };
        keys.extend([
            ("+ -", "volume".to_owned()),
            ("F5", mute.to_owned()),
            ("Esc", "done".to_owned()),
        ]);
    }
    keys.push(("F2", if screen.own.muted { "unmute" } else { "mute" }.to_owned()));
    keys.push(("F3", if screen.own.deafened { "undeafen" } else { "deafen" }.to_owned()));
    if screen.chosen.is_none() && !screen.people.is_empty() {
        keys.push(("↑↓", "choose".to_owned()));
    }
    keys.push(("PgUp", "older".to_owned()));
    keys.push(("F8", "events".to_owned()));
    let (mut spans, mut left) = (vec![Span::raw(" ")], usize::from(columns).saturating_sub(1));
    for (key, does) in keys {
        let needed = width(key) + width(&does) + 3;
        if needed > left + 2 {
            continue;
        }
        left = left.saturating_sub(needed);
        spans.extend([
            Span::styled(key, palette.strong()),
            Span::styled(format!(" {does}  "), palette.quiet()),
        ]);
    }
    Line::from(spans)
}

#[cfg(test)]
mod captures;
#[cfg(test)]
mod tests;
