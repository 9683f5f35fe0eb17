//! What was written before a program leaves reaches the others, where that is soon.

use std::fmt::Debug;
use std::time::Duration;

use voicemesh_engine::VoiceEngine;

/// Who leaves stays so long at most for others to take what must arrive.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(400);

/// Since when a program wants to leave, if it does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flush(Option<Duration>);

impl Flush {
    /// The program wants to leave.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.0.get_or_insert(now);
    }

    /// It does not, or has left. Says whether it wanted to.
    pub(crate) fn end(&mut self) -> bool {
        self.0.take().is_some()
    }

    pub(crate) fn is_begun(self) -> bool {
        self.0.is_some()
    }

    /// Whether it can leave now: everyone who can be reached has taken what must arrive and was sent
    /// the texts that waited for keys, or had the time.
    pub(crate) fn is_done<P: Copy + Ord + Debug>(
        self,
        now: Duration,
        engine: &VoiceEngine<P>,
    ) -> bool {
        self.0.is_some_and(|since| now >= since + FLUSH_TIMEOUT || !engine.has_unsent())
    }
}
