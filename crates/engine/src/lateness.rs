//! Whether speech comes late, over all speakers. Links wait meanwhile: opening them would fill a
//! full way here further.

use std::ops::Range;
use std::time::Duration;

use voicemesh_common::NextTimer;

/// Speech that came late this lately does so still: between two stalls of TCP little waits for
/// moments.
const LATELY: Duration = Duration::from_millis(1_500);
/// While speech is late, links wait at most this long, and then have this long to open.
const LINKS_WAIT_AT_MOST: Duration = Duration::from_secs(10);
const LINKS_MAY_OPEN_FOR: Duration = Duration::from_secs(2);

/// Joins the spans in which speakers are late. What is found depends on these alone, and not on how
/// often it is called: each is observed before and after whatever changes it.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    late: Option<Late>,
    /// It began, or was forgotten, since it was last settled.
    has_changed: bool,
    settled_at: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Late {
    since: Duration,
    /// When speech last was late.
    last: Duration,
}

impl Lateness {
    /// Takes the span in which a speaker is late, as far as is known at `now`.
    pub fn observe(&mut self, now: Duration, span: &Range<Duration>) {
        if now < span.start {
            return;
        }
        let until = span.end.min(now);
        match &mut self.late {
            Some(late) if until < late.last + LATELY || span.start <= late.last => {
                late.last = late.last.max(until)
            }
            _ if now < span.end => {
                self.late = Some(Late { since: now, last: now });
                self.has_changed = true;
            }
            _ => {}
        }
    }

    /// Runs timers, after all speakers have been observed at `now`.
    pub fn settle(&mut self, now: Duration) {
        (self.settled_at, self.has_changed) = (now, false);
        let Some(Late { since, last }) = self.late else { return };
        if now >= last + LATELY {
            self.late = None;
        } else if now >= since + LINKS_WAIT_AT_MOST + LINKS_MAY_OPEN_FOR {
            self.late = (last == now).then_some(Late { since: now, last });
        }
    }

    /// Whether links wait, since it was last settled.
    pub fn links_wait(&self) -> bool {
        self.late.is_some_and(|late| self.settled_at < late.since + LINKS_WAIT_AT_MOST)
    }

    /// Whether speech comes late, since it was last settled.
    pub fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// Forgets what was: another way is used.
    pub fn forget(&mut self) {
        self.has_changed |= self.late.take().is_some();
    }

    /// When it is to be settled. `spans` are those of all speakers.
    pub fn timeout(&self, spans: impl Iterator<Item = Range<Duration>>) -> Option<Duration> {
        if self.has_changed {
            return Some(Duration::ZERO);
        }
        let mut next = NextTimer::after(self.settled_at);
        for span in spans {
            next.at(span.start);
            next.at(span.end);
        }
        if let Some(Late { since, last }) = self.late {
            next.at(last + LATELY);
            next.at(since + LINKS_WAIT_AT_MOST);
            next.at(since + LINKS_WAIT_AT_MOST + LINKS_MAY_OPEN_FOR);
        }
        next.earliest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// When links begin and cease to wait, asked each `step` milliseconds, and also when it says
    /// so.
    fn changes(span: &Range<Duration>, step: u64) -> Vec<(u64, bool)> {
        let mut lateness = Lateness::default();
        let (mut changes, mut waits) = (Vec::new(), false);
        for at in 0..40_000 {
            let is_due = lateness.timeout(std::iter::once(span.clone()));
            if at % step == 0 || is_due.is_some_and(|due| due <= ms(at)) {
                lateness.observe(ms(at), span);
                lateness.settle(ms(at));
            }
            if std::mem::replace(&mut waits, lateness.links_wait()) != lateness.links_wait() {
                changes.push((at, lateness.links_wait()));
            }
        }
        changes
    }

    #[test]
    fn links_wait_while_speech_is_late_and_have_turns_however_often_it_is_asked() {
        let short = ms(1_000)..ms(3_000);
        let long = ms(1_000)..ms(30_000);
        for step in [1, 7, 100_000] {
            assert_eq!(changes(&short, step), [(1_000, true), (4_500, false)], "each {step} ms");
            let turns = [
                (1_000, true),
                (11_000, false),
                (13_000, true),
                (23_000, false),
                (25_000, true),
                (31_500, false),
            ];
            assert_eq!(changes(&long, step), turns, "each {step} ms");
        }
    }

    #[test]
    fn what_is_forgotten_is_said_at_once() {
        let mut lateness = Lateness::default();
        lateness.observe(ms(5), &(ms(1)..ms(50)));
        assert_eq!(lateness.timeout(std::iter::empty()), Some(Duration::ZERO), "it began");
        lateness.settle(ms(5));
        assert!(lateness.links_wait());
        assert!(lateness.timeout(std::iter::empty()).is_some_and(|at| at > ms(5)));
        lateness.forget();
        assert_eq!(lateness.timeout(std::iter::empty()), Some(Duration::ZERO));
        lateness.settle(ms(6));
        assert!(!lateness.links_wait());
        assert_eq!(lateness.timeout(std::iter::empty()), None);
    }
}
