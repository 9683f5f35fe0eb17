//! Oneself: what is sent and what is not, in words, and the microphone's meter.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::people::tenths;
use super::{Palette, meter};
use crate::live::cells::width;
use crate::live::screen::{Own, Screen, TalkKey};

const LEAST_METER: usize = 8;
const MOST_METER: usize = 40;

/// Draws the one row.
pub(super) fn draw(frame: &mut Frame, area: Rect, screen: &Screen, palette: Palette) {
    let own = &screen.own;
    let columns = usize::from(area.width).saturating_sub(1);
    let states = states(own, screen.talk_key, palette);
    let mut left = columns.saturating_sub(states.iter().map(|(text, _)| width(text) + 2).sum::<usize>() + LEAST_METER);
    let mut details = Vec::new();
    for (text, style) in details_of(own, palette) {
        if width(&text) + 2 <= left {
            left -= width(&text) + 2;
            details.push((text, style));
        }
    }
    let [full, empty] = meter(own.level_dbfs, Some(own.floor_dbfs), (LEAST_METER + left).min(MOST_METER));
    let mut spans = vec![Span::raw(" ")];
    let spaced = |(text, style)| [Span::styled(text, style), Span::raw("  ")];
    spans.extend(states.into_iter().flat_map(spaced));
    let sends = if own.sending { palette.voice() } else { palette.quiet() };
    spans.extend([Span::styled(full, sends), Span::styled(empty, palette.quiet()), Span::raw("  ")]);
    spans.extend(details.into_iter().flat_map(spaced));
    frame.render_widget(Line::from(spans), area);
}

/// What others get of oneself, and oneself of them.
fn states(own: &Own, talk_key: TalkKey, palette: Palette) -> Vec<(String, Style)> {
    let voice = match (own.muted, talk_key, own.talking) {
        (true, ..) => ("MUTED", palette.alarm()),
        (false, TalkKey::Hold | TalkKey::HoldByRepeats, true) => ("TALKING", palette.voice()),
        (false, TalkKey::Hold | TalkKey::HoldByRepeats, false) => ("KEY UP", palette.quiet()),
        (false, TalkKey::None, _) if own.sending => ("SENDING", palette.voice()),
        (false, TalkKey::None, _) => ("silent ", palette.quiet()),
    };
    let mut states = vec![(voice.0.to_owned(), voice.1)];
    if own.deafened {
        states.push(("DEAFENED".to_owned(), palette.alarm()));
    }
    if own.clipping {
        states.push(("CLIPS".to_owned(), palette.alarm()));
    }
    states
}

/// In the order of importance.
fn details_of(own: &Own, palette: Palette) -> Vec<(String, Style)> {
    let mut details = vec![(decibels("", own.level_dbfs), Style::new())];
    if own.kbps > 0 {
        details.push((format!("{:>2} kbit/s", own.kbps), palette.quiet()));
    }
    details.push((decibels("noise ", own.floor_dbfs), palette.quiet()));
    if own.loss_permille > 0 {
        details.push((format!("they lose {} %", tenths(own.loss_permille)), palette.quiet()));
    }
    if own.copies > 0 {
        details.push((format!("sent {} times", u32::from(own.copies) + 1), palette.quiet()));
    }
    details
}

fn decibels(what: &str, level_dbfs: i32) -> String {
    match level_dbfs {
        ..=-99 => format!("{what}  – dB"),
        level => format!("{what}{level:>3} dB"),
    }
}
