//! What was written last, until the server can no longer refuse it.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh::ErrorCode;

/// A refusal comes one round trip after the text.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);
/// A text waits for its readers for 10 s before it comes back unread.
const UNREAD_WITHIN: Duration = Duration::from_secs(12);
/// Lines that are kept; the oldest goes first.
const KEPT: usize = 16;

#[derive(Debug, Default)]
pub(super) struct LastWritten {
    /// Oldest first.
    lines: VecDeque<Written>,
    /// This server says which text it refuses.
    says_which: bool,
}

#[derive(Debug)]
struct Written {
    at: Duration,
    /// As it was typed.
    line: String,
    /// What of it was sent.
    text: String,
    is_private: bool,
}

impl LastWritten {
    pub(super) fn sent(&mut self, at: Duration, line: &str, text: &str, is_private: bool) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(Written {
            at,
            line: line.to_owned(),
            text: text.to_owned(),
            is_private,
        });
    }

    /// The line whose text the server refused with this code, so that it can be sent again. `text`
    /// is what was refused, where the server says which; one that does not is taken to mean the
    /// last. What one receiver of several did not take, the others have got: that is no refusal.
    pub(super) fn refused(
        &mut self,
        now: Duration,
        code: &ErrorCode,
        text: Option<&str>,
    ) -> Option<String> {
        let is_unread = code.as_str() == "text-unread";
        self.lines.retain(|written| now < written.at + UNREAD_WITHIN);
        self.says_which |= text.is_some() && !is_unread;
        let index = match text {
            Some(text) => self.lines.iter().position(|written| written.text == text)?,
            // A server that says which means something else when it names none.
            None if self.says_which => return None,
            None => self.lines.len().checked_sub(1)?,
        };
        let is_refused = match code {
            ErrorCode::TooManyMessages | ErrorCode::NotPermitted => true,
            ErrorCode::ReceiverBusy => self.lines[index].is_private,
            _ => is_unread,
        };
        let is_late = !is_unread && now >= self.lines[index].at + REFUSED_WITHIN;
        if is_late || !is_refused {
            return None;
        }
        self.lines.remove(index).map(|written| written.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_private: bool) -> LastWritten {
        let mut written = LastWritten::default();
        for text in ["one", "two", "three"] {
            written.sent(Duration::from_secs(1), &format!("{text} "), text, is_private);
        }
        written
    }

    const SOON: Duration = Duration::from_secs(2);

    #[test]
    fn a_text_comes_back_when_it_was_refused_and_not_when_others_have_it() {
        let refused = |is_private, code, at| written(is_private).refused(at, &code, None);
        assert_eq!(refused(false, ErrorCode::TooManyMessages, SOON).as_deref(), Some("three "));
        assert_eq!(refused(false, ErrorCode::ReceiverBusy, SOON), None, "the others have got it");
        assert_eq!(refused(true, ErrorCode::ReceiverBusy, SOON).as_deref(), Some("three "));
        assert_eq!(refused(true, ErrorCode::BadField, SOON), None);
        assert_eq!(refused(false, ErrorCode::TooManyMessages, Duration::from_secs(9)), None);
    }

    #[test]
    fn of_several_texts_the_one_comes_back_that_the_server_names() {
        let mut written = written(false);
        let mut refused = |text| written.refused(SOON, &ErrorCode::TooManyMessages, text);
        assert_eq!(refused(Some("two")).as_deref(), Some("two "));
        assert_eq!(refused(Some("two")), None, "once");
        assert_eq!(refused(None), None, "a server that says which means something else");
        assert_eq!(refused(Some("one")).as_deref(), Some("one "));
    }

    #[test]
    fn only_the_newest_lines_are_kept() {
        let mut written = LastWritten::default();
        for _ in 0..1000 {
            written.sent(Duration::ZERO, "hello", "hello", false);
        }
        assert_eq!(written.lines.len(), KEPT);
    }
}
