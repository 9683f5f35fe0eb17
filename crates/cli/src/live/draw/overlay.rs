//! The overlay's frame and rows.

use ratatui::Frame;
use ratatui::layout::{Margin, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear};

use super::palette::Palette;
use crate::live::cells::cut;
use crate::live::overlay::{BORDER_COLUMNS, BORDER_ROWS, inner_size, lines, rows};
use crate::live::overlay_state::Overlay;
use crate::live::screen::Screen;

pub(super) fn draw(
    frame: &mut Frame,
    area: Rect,
    overlay: &Overlay,
    screen: &Screen,
    palette: Palette,
) {
    let (title, lines) = lines(&overlay.content, screen);
    let (columns, height) = inner_size(&lines, area.width.into(), area.height.into());
    let rows = rows(&lines, columns);
    let more = rows.len() > height;
    let hint = if more { "↑ ↓ scroll, Esc closes" } else { "Esc closes" };
    let title = format!(" {title} ({hint}) ");
    let area = middle(area, columns.max(title.len()) + BORDER_COLUMNS, height + BORDER_ROWS);
    let inner = area.inner(Margin::new(2, 1));
    let offset = overlay.offset.min(rows.len().saturating_sub(height));
    // A column more on the left: half of a letter of two columns would push the border aside.
    let left = area.x.saturating_sub(1);
    frame.render_widget(Clear, Rect { x: left, width: area.right() - left, ..area });
    frame.render_widget(Block::bordered().title(title).border_style(palette.quiet()), area);
    for (y, text) in (inner.y..inner.bottom()).zip(rows.iter().skip(offset)) {
        let text = cut(text, usize::from(inner.width));
        let is_heading =
            !text.is_empty() && text.chars().all(|letter| letter.is_uppercase() || letter == ' ');
        let style = if is_heading { palette.strong() } else { ratatui::style::Style::new() };
        frame.render_widget(Line::styled(text, style), Rect { y, height: 1, ..inner });
    }
}

fn middle(area: Rect, columns: usize, rows: usize) -> Rect {
    let width = area.width.min(u16::try_from(columns).unwrap_or(u16::MAX));
    let height = area.height.min(u16::try_from(rows).unwrap_or(u16::MAX));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}
