//! Draws cells on terminals that have no more than the sixteen ANSI colours.
//!
//! crossterm names even these by their place among 256 (`38;5;2`). A terminal that knows only
//! sixteen reads that as three attributes, 5 among them: it blinks. Here they are SGR 30–37 and
//! 90–97, which every terminal with colours has. A frame is written in one piece, so that a slow
//! line shows it whole.

use std::fmt::Write as _;
use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};

const ESC: char = '\u{1b}';

/// [`CrosstermBackend`] for everything but the cells.
pub(crate) struct AnsiBackend<W: Write>(CrosstermBackend<W>);

impl<W: Write> AnsiBackend<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self(CrosstermBackend::new(writer))
    }
}

impl<W: Write> Backend for AnsiBackend<W> {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        self.0.write_all(drawn(content).as_bytes())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.0.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.0.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.0.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.0.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.0.clear_region(clear_type)
    }

    fn append_lines(&mut self, lines: u16) -> io::Result<()> {
        self.0.append_lines(lines)
    }

    fn size(&self) -> io::Result<Size> {
        self.0.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.0.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(&mut self.0)
    }
}

/// What to write for these cells; begins and ends with no attributes.
fn drawn<'a>(cells: impl Iterator<Item = (u16, u16, &'a Cell)>) -> String {
    let (mut text, mut style, mut next) = (format!("{ESC}[0m"), String::new(), None);
    for (x, y, cell) in cells {
        if next != Some((x, y)) {
            // Into a string, which cannot fail.
            let _ = write!(text, "{ESC}[{};{}H", u32::from(y) + 1, u32::from(x) + 1);
        }
        next = x.checked_add(1).map(|x| (x, y));
        let wanted = attributes(cell);
        if wanted != style {
            let _ = write!(text, "{ESC}[0{wanted}m");
            style = wanted;
        }
        text.push_str(cell.symbol());
    }
    text + &format!("{ESC}[0m")
}

/// Parameters of SGR, each after a semicolon.
fn attributes(cell: &Cell) -> String {
    let modifiers = [
        (Modifier::BOLD, 1),
        (Modifier::DIM, 2),
        (Modifier::ITALIC, 3),
        (Modifier::UNDERLINED, 4),
        (Modifier::REVERSED, 7),
    ];
    let modifiers = modifiers
        .into_iter()
        .filter(|(one, _)| cell.modifier.contains(*one))
        .map(|(_, number)| number);
    let colours = [foreground(cell.fg), foreground(cell.bg).map(|number| number + 10)];
    modifiers.chain(colours.into_iter().flatten()).map(|number| format!(";{number}")).collect()
}

/// None for the terminal's own colour, and for those that not every terminal has.
fn foreground(colour: Color) -> Option<u8> {
    Some(match colour {
        Color::Black => 30,
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Blue => 34,
        Color::Magenta => 35,
        Color::Cyan => 36,
        Color::Gray => 37,
        Color::DarkGray => 90,
        Color::LightRed => 91,
        Color::LightGreen => 92,
        Color::LightYellow => 93,
        Color::LightBlue => 94,
        Color::LightMagenta => 95,
        Color::LightCyan => 96,
        Color::White => 97,
        Color::Reset | Color::Rgb(..) | Color::Indexed(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::layout::Rect;
    use ratatui::style::Style;
    use ratatui::text::{Line, Span};
    use ratatui::{TerminalOptions, Viewport};

    use super::*;

    #[test]
    fn colours_are_among_the_sixteen_and_end_where_they_end() {
        let mut written = Vec::new();
        let viewport = Viewport::Fixed(Rect::new(0, 0, 8, 2));
        let mut terminal =
            Terminal::with_options(AnsiBackend::new(&mut written), TerminalOptions { viewport })
                .expect("a terminal");
        let bold = Style::new().add_modifier(Modifier::BOLD).fg(Color::Red);
        let line = Line::from(vec![Span::raw("a"), Span::styled("日b", bold), Span::raw("c")]);
        let frame = terminal.draw(|frame| frame.render_widget(line, Rect::new(1, 1, 6, 1)));
        assert!(frame.is_ok());
        drop(terminal);
        let written = String::from_utf8(written).expect("text");
        // After a letter of two columns the cursor is placed anew: not every terminal takes it for
        // two.
        let expected = "\u{1b}[0m\u{1b}[2;2Ha\u{1b}[0;1;31m日\u{1b}[2;5Hb\u{1b}[0mc\u{1b}[0m";
        assert!(written.contains(expected), "{written:?}");
        assert!(!written.contains("38;"));
    }

    #[test]
    fn a_colour_that_not_every_terminal_has_is_the_terminals_own() {
        let mut cell = Cell::new("x");
        cell.set_fg(Color::Indexed(200)).set_bg(Color::Blue);
        assert_eq!(attributes(&cell), ";44");
        assert_eq!(
            drawn([(u16::MAX, 0, &cell)].into_iter()),
            "\u{1b}[0m\u{1b}[1;65536H\u{1b}[0;44mx\u{1b}[0m"
        );
    }
}
