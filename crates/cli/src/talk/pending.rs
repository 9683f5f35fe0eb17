//! Commands whose refusal comes later than they were typed: from the server, or from a device that
//! is opened.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh::{DeviceRole, TransactionId};

/// What is refused later than that is no answer any more to what was typed.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
/// Lines that are kept; the oldest goes first.
const KEPT: usize = 16;

/// What a command asked for, by which its refusal is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A moderator's decision.
    Decision(TransactionId),
    /// To join a talk group.
    Group(String),
    /// To begin a recording.
    Recording,
    /// Another microphone or speaker.
    Device(DeviceRole),
}

/// The lines of such commands, oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingCommands(VecDeque<(Duration, Request, String)>);

impl PendingCommands {
    pub(super) fn asked(&mut self, at: Duration, request: Request, line: &str) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((at, request, line.to_owned()));
    }

    /// It is done.
    pub(super) fn done(&mut self, request: &Request) {
        self.0.retain(|(_, asked, _)| asked != request);
    }

    /// The line of what was refused, so that it can be corrected.
    pub(super) fn refused(&mut self, now: Duration, request: &Request) -> Option<String> {
        self.0.retain(|(at, ..)| now < *at + REFUSED_WITHIN);
        let at = self.0.iter().rposition(|(_, asked, _)| asked == request)?;
        self.0.remove(at).map(|(.., line)| line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_gives_the_line_back_once_and_only_while_it_is_an_answer() {
        let mut pending = PendingCommands::default();
        let red = Request::Group("Red".to_owned());
        pending.asked(Duration::ZERO, red.clone(), "/join Red");
        let microphone = Request::Device(DeviceRole::Input);
        pending.asked(Duration::from_secs(5), microphone.clone(), "/input x.wav");
        assert_eq!(pending.refused(Duration::from_secs(6), &Request::Recording), None);
        assert_eq!(pending.refused(Duration::from_secs(6), &red).as_deref(), Some("/join Red"));
        assert_eq!(pending.refused(Duration::from_secs(6), &red), None, "once");
        assert_eq!(pending.refused(Duration::from_secs(15), &microphone), None, "too late");
        pending.asked(Duration::from_secs(20), Request::Recording, "/record calls");
        pending.done(&Request::Recording);
        assert_eq!(
            pending.refused(Duration::from_secs(21), &Request::Recording),
            None,
            "it has begun"
        );
    }

    #[test]
    fn only_the_newest_lines_are_kept() {
        let mut pending = PendingCommands::default();
        for number in 0..1000 {
            pending.asked(Duration::ZERO, Request::Decision(TransactionId(number)), "/lock");
        }
        assert_eq!(pending.0.len(), KEPT);
    }
}
