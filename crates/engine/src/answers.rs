//! How often the questions after the time are answered.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_session::client::Participant;

/// Bounds the answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers<P> {
    second: u64,
    given: u32,
    /// Who was answered last, the latest last: with few answers everyone has a turn.
    answered: VecDeque<Participant<P>>,
}

/// Askers remembered.
const ASKERS: usize = 64;

impl<P> Default for Answers<P> {
    fn default() -> Self {
        Self { second: 0, given: 0, answered: VecDeque::new() }
    }
}

impl<P: Copy + Ord> Answers<P> {
    /// `listeners` ask in turns.
    pub(crate) fn allow(
        &mut self,
        now: Duration,
        who: Participant<P>,
        most_per_second: u32,
        listeners: usize,
    ) -> bool {
        if self.second != now.as_secs() {
            (self.second, self.given) = (now.as_secs(), 0);
        }
        let turns = listeners.min(ASKERS).saturating_sub(most_per_second as usize);
        let was_lately = self.answered.iter().rev().take(turns).any(|answered| *answered == who);
        if was_lately || self.given >= most_per_second {
            return false;
        }
        self.given += 1;
        if self.answered.len() == ASKERS {
            self.answered.pop_front();
        }
        self.answered.push_back(who);
        true
    }
}
