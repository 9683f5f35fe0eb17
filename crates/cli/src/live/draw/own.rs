//! The user's own state: what is sent and what is not, in words, and the microphone's meter.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::palette::{Palette, meter};
use super::people::tenths;
use crate::human::Mood;
use crate::live::cells::{cut, width};
use crate::live::screen::{Own, QUIETEST_DBFS, Screen, TalkKey, Talking};
use crate::who::group_names;

const LEAST_METER: usize = 8;
const MOST_METER: usize = 40;
/// Columns of the names of talk groups.
const MOST_GROUPS: usize = 24;

/// Draws the one row.
pub(super) fn draw(frame: &mut Frame, area: Rect, screen: &Screen, palette: Palette) {
    let own = &screen.own;
    let columns = usize::from(area.width).saturating_sub(1);
    let states = states(own, screen.talk_key, palette);
    let mut left = columns.saturating_sub(
        states.iter().map(|(text, _)| width(text) + 2).sum::<usize>() + LEAST_METER,
    );
    let mut details = Vec::new();
    for (text, style) in details_of(own, palette) {
        if width(&text) + 2 <= left {
            left -= width(&text) + 2;
            details.push((text, style));
        }
    }
    let level = if own.muted || own.listening_only { QUIETEST_DBFS } else { own.level_dbfs };
    let [full, empty] = meter(level, Some(own.floor_dbfs), (LEAST_METER + left).min(MOST_METER));
    let mut spans = vec![Span::raw(" ")];
    let spaced = |(text, style)| [Span::styled(text, style), Span::raw("  ")];
    spans.extend(states.into_iter().flat_map(spaced));
    let sends = if own.sending && !own.muted { palette.voice() } else { palette.quiet() };
    spans.extend([
        Span::styled(full, sends),
        Span::styled(empty, palette.quiet()),
        Span::raw("  "),
    ]);
    spans.extend(details.into_iter().flat_map(spaced));
    frame.render_widget(Line::from(spans), area);
}

/// Whether the others hear the user, and the user the others.
fn states(own: &Own, talk_key: TalkKey, palette: Palette) -> Vec<(String, Style)> {
    let voice = match (own.muted, talk_key, own.talking) {
        _ if own.listening_only => ("LISTENING ONLY", palette.alarm()),
        (true, ..) => ("MUTED", palette.alarm()),
        (false, TalkKey::Hold | TalkKey::HoldByRepeats, Talking::No) => {
            ("KEY UP ", palette.quiet())
        }
        (false, TalkKey::Hold | TalkKey::HoldByRepeats, Talking::ByKey | Talking::ByCommand) => {
            ("TALKING", palette.voice())
        }
        (false, TalkKey::None, _) if own.sending => ("SENDING", palette.voice()),
        (false, TalkKey::None, _) => ("silent ", palette.quiet()),
    };
    let mut states = vec![(voice.0.to_owned(), voice.1)];
    if own.deafened {
        states.push(("DEAFENED".to_owned(), palette.alarm()));
    }
    if own.without_speaker {
        states.push(("NO SPEAKER".to_owned(), palette.alarm()));
    }
    if own.clipping && !own.muted {
        states.push(("TOO LOUD".to_owned(), palette.alarm()));
    }
    if let Some(groups) = &own.groups {
        states.push((to_groups(groups), palette.strong()));
    }
    states
}

/// In the order of importance.
fn details_of(own: &Own, palette: Palette) -> Vec<(String, Style)> {
    let mut details = Vec::new();
    if !own.muted && !own.listening_only {
        details.extend(reaches(own, palette));
        details.push((decibels("", own.level_dbfs), palette.quiet()));
    }
    if own.kbps > 0 && !own.muted && !own.listening_only {
        details.push((format!("{:>2} kbit/s", own.kbps), palette.quiet()));
    }
    if !own.listening_only {
        details.push((decibels("noise ", own.floor_dbfs), palette.quiet()));
    }
    if own.loss_permille > 0 {
        details.push((format!("others miss {} %", tenths(own.loss_permille)), palette.quiet()));
    }
    if own.copies > 0 {
        details.push((format!("copies {}", own.copies), palette.quiet()));
    }
    details
}

/// To how many the user's voice gets through.
fn reaches(own: &Own, palette: Palette) -> Option<(String, Style)> {
    match own.reaches {
        (_, 0) => None,
        (0, _) => Some(("reaches none".to_owned(), palette.alarm())),
        (reached, all) if reached == all => Some(("reaches all".to_owned(), Style::new())),
        (reached, all) => {
            Some((format!("reaches {reached} of {all}"), palette.mood(Mood::Trouble)))
        }
    }
}

fn to_groups(groups: &[String]) -> String {
    match groups {
        [] => "TO NO GROUP".to_owned(),
        groups => cut(&format!("to {}", group_names(groups)), MOST_GROUPS),
    }
}

fn decibels(what: &str, level_dbfs: i32) -> String {
    match level_dbfs {
        ..=-99 => format!("{what}  – dB"),
        level => format!("{what}{level:>3} dB"),
    }
}
