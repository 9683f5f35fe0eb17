//! The help, over everything else.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear};

use super::Palette;
use crate::live::cells::{cut, width};
use crate::live::screen::TalkKey;
use crate::slash::HELP;

const KEYS: [&str; 13] = [
    "F2                mute or unmute yourself",
    "F3                hear nobody, or everybody again",
    "↑ ↓               choose somebody; Esc: nobody",
    "+ -, F7 F6        hear the chosen one louder, softer",
    "F5                do not hear the chosen one, or again",
    "PgUp PgDn         older and newer messages",
    "← → Home End      move in the line you type",
    "^W ^U             delete a word, the whole line before the cursor",
    "^L                draw everything anew",
    "^Z                pause the program; fg goes on",
    "^C ^Q             leave the room",
    "",
    "Type a line to write to everybody, or:",
];

pub(super) fn draw(frame: &mut Frame, area: Rect, offset: usize, talk_key: TalkKey, palette: Palette) {
    let talk = match talk_key {
        TalkKey::None => None,
        TalkKey::Hold => Some("F4, space bar     hold to talk (the space bar while nothing is typed)"),
        TalkKey::HoldByRepeats => Some("F4, space bar     hold to talk; a short press opens the microphone for 1 s"),
    };
    let texts: Vec<&str> = talk.into_iter().chain(KEYS).chain(HELP).collect();
    let widest = texts.iter().map(|text| width(text)).max().unwrap_or_default();
    let area = middle(area, widest + 4, texts.len() + 2);
    let inner = area.inner(ratatui::layout::Margin::new(2, 1));
    let offset = offset.min(texts.len().saturating_sub(usize::from(inner.height)));
    let more = texts.len() > usize::from(inner.height);
    let title = if more { " Help (↑↓; any other key closes) " } else { " Help (any key closes) " };
    // A column more on the left: half of a letter of two columns would push the border aside.
    let left = area.x.saturating_sub(1);
    frame.render_widget(Clear, Rect { x: left, width: area.right() - left, ..area });
    frame.render_widget(Block::bordered().title(title).border_style(palette.quiet()), area);
    for (y, text) in (inner.y..inner.bottom()).zip(texts.into_iter().skip(offset)) {
        let text = cut(text, usize::from(inner.width));
        frame.render_widget(Line::raw(text), Rect { y, height: 1, ..inner });
    }
}

fn middle(area: Rect, columns: usize, rows: usize) -> Rect {
    let width = area.width.min(u16::try_from(columns).unwrap_or(u16::MAX));
    let height = area.height.min(u16::try_from(rows).unwrap_or(u16::MAX));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}
