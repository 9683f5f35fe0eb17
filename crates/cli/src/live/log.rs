//! Lines with the time of day at which each came, to be scrolled through: the messages, and apart
//! from them the events.

use std::collections::VecDeque;

use super::cells::{cut, wrap};
use crate::human::{Line, Mood};

/// Lines kept; when there are more, the oldest goes.
const MOST_LINES: usize = 1000;

/// The lines, and how far one has scrolled back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    lines: VecDeque<(String, Line)>,
    /// Rows between the newest and the bottom of what is shown.
    back: usize,
    /// Lines that came while one was reading older ones.
    unseen: usize,
}

/// A row to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The moment; empty in the second and later rows of a line.
    pub clock: String,
    pub text: String,
    pub mood: Mood,
}

impl Log {
    /// Appends a line. `clock` is the time of day.
    pub(crate) fn push(&mut self, clock: &str, line: Line) {
        if self.lines.len() >= MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((clock.to_owned(), line));
        if self.back > 0 {
            self.unseen += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The newest line, with its time of day.
    pub(crate) fn last(&self) -> Option<(&str, &Line)> {
        self.lines.back().map(|(clock, line)| (clock.as_str(), line))
    }

    /// The lines, each with its time of day, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &Line)> {
        self.lines.iter().map(|(clock, line)| (clock.as_str(), line))
    }

    /// The rows that fit into an area, the newest last.
    pub(crate) fn rows(&self, columns: usize, rows: usize) -> Vec<Row> {
        let wanted = rows + self.back;
        let mut all = self.last_rows(columns, wanted);
        let back = self.back.min(all.len().saturating_sub(rows));
        all.truncate(all.len() - back);
        all.split_off(all.len().saturating_sub(rows))
    }

    /// The newest line wrapped, and as many older ones above it as there are rows, each cut to one
    /// row.
    pub(crate) fn newest(&self, columns: usize, rows: usize) -> Vec<Row> {
        let Some((clock, line)) = self.lines.back() else { return Vec::new() };
        let room = |clock: &str| columns.saturating_sub(clock.len() + 2);
        let mut texts = wrap(&line.text, room(clock));
        if texts.len() > rows {
            let rest = texts.split_off(rows.saturating_sub(1)).join(" ");
            texts.push(cut(&rest, room(clock)));
        }
        let newest = texts.into_iter().take(rows).enumerate().map(|(row, text)| Row {
            clock: if row == 0 { clock.clone() } else { " ".repeat(clock.len()) },
            text,
            mood: line.mood,
        });
        let newest: Vec<Row> = newest.collect();
        let older = self.lines.iter().rev().skip(1).take(rows - newest.len());
        let older = older.map(|(clock, line)| Row {
            clock: clock.clone(),
            text: cut(&line.text, room(clock)),
            mood: line.mood,
        });
        let mut shown: Vec<Row> = older.collect();
        shown.reverse();
        shown.extend(newest);
        shown
    }

    /// Scrolls towards the older lines, as far as there are any.
    pub(crate) fn scroll_up(&mut self, by: usize, columns: usize, rows: usize) {
        let wanted = self.back + by;
        let all = self.last_rows(columns, wanted + rows).len();
        self.back = wanted.min(all.saturating_sub(rows));
    }

    /// Scrolls towards the newest.
    pub(crate) fn scroll_down(&mut self, by: usize) {
        self.back = self.back.saturating_sub(by);
        if self.back == 0 {
            self.unseen = 0;
        }
    }

    /// Shows the newest again.
    pub(crate) fn show_newest(&mut self) {
        self.scroll_down(usize::MAX);
    }

    /// Whether older lines are shown, and how many have come since.
    pub(crate) fn scrolled(&self) -> Option<usize> {
        (self.back > 0).then_some(self.unseen)
    }

    /// At least the last `wanted` rows, if there are so many.
    fn last_rows(&self, columns: usize, wanted: usize) -> Vec<Row> {
        let mut found = VecDeque::new();
        for (clock, line) in self.lines.iter().rev() {
            let texts = wrap(&line.text, columns.saturating_sub(clock.len() + 2));
            let mut rows: Vec<Row> = texts
                .into_iter()
                .map(|text| Row { clock: " ".repeat(clock.len()), text, mood: line.mood })
                .collect();
            if let Some(first) = rows.first_mut() {
                first.clock.clone_from(clock);
            }
            rows.into_iter().rev().for_each(|row| found.push_front(row));
            if found.len() >= wanted {
                break;
            }
        }
        found.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::human::plain;

    fn log(lines: usize) -> Log {
        let mut log = Log::default();
        (0..lines).for_each(|number| log.push("12:00", plain(format!("line {number}"))));
        log
    }

    fn texts(log: &Log, columns: usize, rows: usize) -> Vec<String> {
        log.rows(columns, rows).into_iter().map(|row| row.text).collect()
    }

    #[test]
    fn the_newest_rows_are_shown_and_older_ones_by_scrolling() {
        let mut log = log(10);
        assert_eq!(texts(&log, 40, 3), ["line 7", "line 8", "line 9"]);
        log.scroll_up(2, 40, 3);
        assert_eq!(texts(&log, 40, 3), ["line 5", "line 6", "line 7"]);
        log.scroll_up(100, 40, 3);
        assert_eq!(texts(&log, 40, 3), ["line 0", "line 1", "line 2"]);
        log.push("12:01", plain("line 10"));
        assert_eq!(log.scrolled(), Some(1), "the view shows that something came");
        log.scroll_down(1);
        assert!(log.scrolled().is_some());
        log.show_newest();
        assert_eq!((log.scrolled(), texts(&log, 40, 1)), (None, vec!["line 10".to_owned()]));
    }

    #[test]
    fn long_lines_take_several_rows_and_show_their_moment_once() {
        let mut log = Log::default();
        log.push("13:05", plain("one two three"));
        let rows = log.rows(14, 5);
        assert_eq!(
            rows.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(),
            ["one two", "three"]
        );
        assert_eq!([rows[0].clock.as_str(), rows[1].clock.as_str()], ["13:05", "     "]);
    }

    #[test]
    fn the_newest_line_is_shown_as_far_as_there_are_rows_and_older_ones_from_their_beginning() {
        let mut log = log(2);
        log.push("13:05", plain("one two three four five"));
        let newest =
            |rows| log.newest(15, rows).into_iter().map(|row| row.text).collect::<Vec<_>>();
        assert_eq!(newest(1), ["one two…"]);
        assert_eq!(newest(2), ["one two", "three f…"]);
        assert_eq!(newest(5), ["line 1", "one two", "three", "four", "five"]);
        assert!(newest(0).is_empty() && Log::default().newest(15, 3).is_empty());
    }

    #[test]
    fn only_so_many_lines_are_kept() {
        let log = log(MOST_LINES + 5);
        assert_eq!(log.lines.len(), MOST_LINES);
        assert_eq!(texts(&log, 40, 1), [format!("line {}", MOST_LINES + 4)]);
    }

    #[test]
    fn a_screen_without_room_shows_nothing() {
        assert_eq!(log(3).rows(0, 0), []);
        assert_eq!(Log::default().rows(40, 5), []);
    }
}
