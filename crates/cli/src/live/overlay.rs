//! Text over the rest of the view until a key closes it: the help, the events so far, the answer to
//! `/who`.

use super::cells::{width, wrap};
use super::overlay_state::Content;
use super::screen::{Screen, TalkKey};
use crate::slash::HELP;

/// Continued rows of a line begin with these blanks.
const HANGING: &str = "  ";
/// Columns and rows of the border, and a column of space on each side.
pub(crate) const BORDER_COLUMNS: usize = 4;
pub(crate) const BORDER_ROWS: usize = 2;

const KEYS: [&str; 16] = [
    "F2                mute or unmute yourself",
    "F3                turn the sound of the others off, and on again",
    "F8                all events so far",
    "↑ ↓               choose a person; Esc ends that",
    "+ -, F7 F6        the chosen person louder, softer",
    "F5                turn the chosen person's sound off, and on again",
    "PgUp PgDn         older and newer messages",
    "Tab               complete a command or a name",
    "← → Home End      move in the line you type",
    "^W ^U             delete a word, the line before the cursor",
    "^L                draw the screen again",
    "^Z                pause the program; fg continues it",
    "^C ^Q             leave the room",
    "",
    "WHAT YOU SEE",
    "● ◉ ·             speaks, the loudest of several, silent",
];

const LEGEND: [&str; 20] = [
    "clear, fair, poor how well a person comes through to you",
    "loss, late, far   why not clearly: speech is lost, is late, has a long way",
    "direct, relayed   straight from their machine, or through the server",
    "ping              time of the network to them and back",
    "loss              share of their packets that did not arrive",
    "delay             from their microphone to your speaker",
    "muted, deafened   their own choice; “off” and “50 %” are yours",
    "no key            sent nothing: cannot encrypt, or not with the same key",
    "plain             not encrypted: the server hears what you say to them",
    "encrypts          otherwise than you: /code says who hears whom",
    "reaches 2 of 3    persons to whom your voice gets through",
    "others miss 2 %   share of your packets that did not arrive",
    "noise -57 dB      your room when it is silent; ╎ on the bar",
    "32 kbit/s         what each listener takes of your upload",
    "copies 2          packets that repeat earlier speech, against loss",
    "TOO LOUD          your microphone is driven beyond its range",
    "REC               keeps a recording of the room",
    "",
    "COMMANDS",
    "Type a line to write to everyone in the room, or:",
];

/// The title, and the lines before they are wrapped.
pub(crate) fn lines(content: &Content, screen: &Screen) -> (String, Vec<String>) {
    let owned = |text: &&str| (*text).to_owned();
    match content {
        Content::Help => {
            let talk = match screen.talk_key {
                TalkKey::None => None,
                TalkKey::Hold => {
                    Some("F4, space bar     hold to talk (the space bar while no text is typed)")
                }
                TalkKey::HoldByRepeats => Some(
                    "F4, space bar     hold to talk; a short press opens the microphone for 1 s",
                ),
            };
            let texts = talk.iter().chain(&KEYS).chain(&LEGEND).chain(&HELP);
            ("Help".to_owned(), texts.map(owned).collect())
        }
        Content::Events => {
            let lines = screen
                .events
                .lines()
                .map(|(clock, line)| format!("{clock}  {}", line.text))
                .collect();
            ("Events".to_owned(), lines)
        }
        Content::Answer { title, lines } => (title.clone(), lines.clone()),
    }
}

/// The rows at so many columns.
pub(crate) fn rows(lines: &[String], columns: usize) -> Vec<String> {
    let wrapped = lines.iter().flat_map(|line| {
        let mut rows = wrap(line, columns).into_iter();
        let first = rows.next();
        let rest = rows.collect::<Vec<_>>().join(" ");
        let rest = if rest.is_empty() {
            Vec::new()
        } else {
            wrap(&rest, columns.saturating_sub(HANGING.len()))
        };
        first.into_iter().chain(rest.into_iter().map(|row| format!("{HANGING}{row}")))
    });
    wrapped.collect()
}

/// Columns and rows inside the border on a terminal of this size.
pub(crate) fn inner_size(lines: &[String], columns: usize, height: usize) -> (usize, usize) {
    let widest = lines.iter().map(|line| width(line)).max().unwrap_or_default();
    let columns = columns.saturating_sub(BORDER_COLUMNS).min(widest).max(1);
    let wanted = rows(lines, columns).len();
    (columns, height.saturating_sub(BORDER_ROWS).min(wanted))
}

/// The largest offset that leaves no empty rows.
pub(crate) fn last_offset(
    content: &Content,
    screen: &Screen,
    columns: usize,
    height: usize,
) -> usize {
    let (_, lines) = lines(content, screen);
    let (columns, shown) = inner_size(&lines, columns, height);
    rows(&lines, columns).len().saturating_sub(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_rows_are_indented_and_no_text_is_lost() {
        let lines = ["F2    mute or unmute yourself".to_owned(), String::new()];
        assert_eq!(rows(&lines, 14), ["F2    mute or", "  unmute", "  yourself", ""]);
        assert_eq!(rows(&lines, 40), ["F2    mute or unmute yourself", ""]);
    }
}
