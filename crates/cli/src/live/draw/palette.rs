//! Colours, and what is drawn with them everywhere.

use ratatui::style::{Color, Modifier, Style};

use crate::human::Mood;
use crate::live::screen::QUIETEST_DBFS;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Palette {
    /// Without, everything is shown by words, signs and weight alone.
    pub coloured: bool,
    /// Without, ASCII stands for every other character.
    pub unicode: bool,
}

impl Palette {
    pub(super) fn colour(self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn voice(self) -> Style {
        self.colour(Color::Green)
    }

    pub(super) fn alarm(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn mood(self, mood: Mood) -> Style {
        match mood {
            Mood::Came => self.colour(Color::Green),
            Mood::Went => self.quiet(),
            Mood::Voice => self.colour(Color::Cyan),
            Mood::Text => self.strong(),
            Mood::Trouble => self.colour(Color::Yellow).add_modifier(Modifier::BOLD),
            Mood::Plain => Style::new(),
        }
    }
}

/// A meter of so many columns: how loud, and where it is quiet (`╎`).
pub(crate) fn meter(level_dbfs: i32, floor_dbfs: Option<i32>, columns: usize) -> [String; 2] {
    let place = |level: i32| {
        let above =
            usize::try_from(level.clamp(QUIETEST_DBFS, 0) - QUIETEST_DBFS).unwrap_or_default();
        (above * columns).div_ceil(usize::try_from(-QUIETEST_DBFS).unwrap_or(1))
    };
    let filled = place(level_dbfs);
    let mark = floor_dbfs.map(|floor| place(floor).min(columns.saturating_sub(1)));
    let cell = |at: usize| match (Some(at) == mark, at < filled) {
        (true, _) => '╎',
        (false, true) => '━',
        (false, false) => '─',
    };
    [(0..filled).map(cell).collect(), (filled..columns).map(cell).collect()]
}
