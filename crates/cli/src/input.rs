//! Typed lines, read on a thread of their own, because reading blocks.

use std::io::{BufRead, IsTerminal, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Lines that have been read but not taken yet, at most. Reading waits while there are so many.
const WAITING_LINES: usize = 64;
/// The longest line; a longer one is dropped whole. More than the longest text that can be sent.
const LINE_BYTES: u64 = 8192;

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line, with its end.
    Line(String),
    /// A line that is longer than any that can be sent was dropped.
    TooLong,
    /// A person at a terminal has pressed Ctrl-D. If the input is no terminal (a pipe, a file, a
    /// service), its end means nothing.
    Ended,
}

/// Begins to read standard input.
pub(crate) fn read() -> Receiver<Input> {
    let (sender, receiver) = sync_channel(WAITING_LINES);
    let is_terminal = std::io::stdin().is_terminal();
    let reader = move || pass_on(std::io::stdin().lock(), is_terminal, &sender);
    if let Err(error) = thread::Builder::new().name("voicemesh-input".to_owned()).spawn(reader) {
        tracing::warn!("nothing can be typed: {}", voicemesh_device::file_words(&error));
    }
    receiver
}

fn pass_on(mut source: impl BufRead, is_terminal: bool, lines: &SyncSender<Input>) {
    let mut is_rest = false;
    loop {
        let mut line = Vec::new();
        match source.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {
                let is_whole = line.ends_with(b"\n") || (line.len() as u64) < LINE_BYTES;
                let was_rest = std::mem::replace(&mut is_rest, !is_whole);
                let input = match (was_rest, is_whole) {
                    (true, _) => continue,
                    (false, true) => Input::Line(String::from_utf8_lossy(&line).into_owned()),
                    (false, false) => Input::TooLong,
                };
                if lines.send(input).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "standard input cannot be read any more");
                break;
            }
        }
    }
    if is_terminal {
        // Fails only if the receiver is gone, and then the program ends anyway.
        let _ = lines.send(Input::Ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(source: &[u8], is_terminal: bool) -> Vec<Input> {
        let (sender, receiver) = sync_channel(WAITING_LINES);
        pass_on(source, is_terminal, &sender);
        drop(sender);
        receiver.into_iter().collect()
    }

    #[test]
    fn the_end_of_input_counts_only_at_a_terminal() {
        let hello = Input::Line("hello\n".to_owned());
        assert_eq!(inputs(b"hello\n", true), [hello.clone(), Input::Ended]);
        assert_eq!(inputs(b"hello\n", false), [hello]);
        assert_eq!(inputs(b"", false), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_whole_and_told_once() {
        let long = [&[b'x'; 70_000][..], b"\nhello\n"].concat();
        assert_eq!(inputs(&long, false), [Input::TooLong, Input::Line("hello\n".to_owned())]);
        assert_eq!(inputs(&[b'x'; 20_000], false), [Input::TooLong], "also without an end");
        let longest = "y".repeat(LINE_BYTES as usize - 1) + "\n";
        assert_eq!(inputs(longest.as_bytes(), false), [Input::Line(longest)]);
    }

    #[test]
    fn what_is_no_text_is_made_one() {
        assert_eq!(inputs(b"a\xffb\n", false), [Input::Line("a\u{fffd}b\n".to_owned())]);
    }
}
