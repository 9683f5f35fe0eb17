//! Whether peers to whom speech is relayed still answer.
//!
//! Up to half a minute passes before the server finds that a peer's network is gone; what is
//! relayed to that peer until then is lost without a notice. So a peer from which nothing comes
//! while speech is relayed to it, while its link is stalled, or before its relayed speech has
//! ended, is sent a clock probe (PROTOCOL.md §9, "Routes").

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A peer from which nothing has come for this long is asked.
const QUIET: Duration = Duration::from_secs(2);
/// The first questions follow each other after this, later ones after twice as long.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
const FIRST_QUESTIONS: u32 = 4;
/// A peer that has not answered for this long since it was asked is not reached.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// For this long after a relayed packet the peer counts as one to whom speech is relayed.
const IN_USE: Duration = Duration::from_secs(3);
/// Relayed speech that has stopped without an announced pause is asked after within this time.
const BROKEN_OFF: Duration = Duration::from_secs(4);

/// What is known of those to whom speech is relayed.
#[derive(Debug)]
pub(super) struct Answering<P> {
    relayed: BTreeMap<P, Relayed>,
    /// Who has answered before. From others silence means nothing: a client without an engine
    /// answers no questions.
    answer: BTreeSet<P>,
}

#[derive(Clone, Copy, Debug)]
struct Relayed {
    used_at: Option<Duration>,
    /// When speech last came from it through the relay, if it did not say that a pause follows.
    speech_at: Option<Duration>,
    heard_at: Duration,
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    since: Duration,
    last_at: Duration,
    questions: u32,
}

impl<P: Copy + Ord> Answering<P> {
    pub(super) fn new() -> Self {
        Self { relayed: BTreeMap::new(), answer: BTreeSet::new() }
    }

    /// Speech is relayed to a peer.
    pub(super) fn used(&mut self, now: Duration, peer: P) {
        self.entry(now, peer).used_at = Some(now);
    }

    /// Speech to a peer could only be relayed, since its link is stalled.
    pub(super) fn stalled(&mut self, now: Duration, peer: P, heard_at: Duration) {
        let relayed = self.relayed.entry(peer).or_insert(Relayed { heard_at, ..Relayed::new(now) });
        relayed.used_at = Some(now);
    }

    /// Speech came from a peer through the relay.
    pub(super) fn spoke(&mut self, now: Duration, peer: P, pause_follows: bool) {
        self.entry(now, peer).speech_at = Some(now).filter(|_| !pause_follows);
    }

    fn entry(&mut self, now: Duration, peer: P) -> &mut Relayed {
        self.relayed.entry(peer).or_insert(Relayed::new(now))
    }

    /// Something came from a peer; `answers` if it was of the kind that only a peer which answers
    /// questions sends.
    pub(super) fn heard(&mut self, now: Duration, peer: P, answers: bool) {
        if answers {
            self.answer.insert(peer);
        }
        if let Some(relayed) = self.relayed.get_mut(&peer) {
            (relayed.heard_at, relayed.asked) = (now, None);
        }
    }

    /// The server is not known to pass anything on: the peers cannot be blamed.
    pub(super) fn excuse_all(&mut self, now: Duration) {
        for relayed in self.relayed.values_mut() {
            (relayed.heard_at, relayed.asked) = (now, None);
        }
    }

    /// Whom to ask now. Forgets peers to whom nothing is relayed any more, and those that are not
    /// `present`.
    pub(super) fn questions(&mut self, now: Duration, present: impl Fn(P) -> bool) -> Vec<P> {
        self.answer.retain(|peer| present(*peer));
        self.relayed.retain(|peer, relayed| {
            present(*peer) && (relayed.asked.is_some() || relayed.is_in_use(now))
        });
        let due =
            self.relayed.iter_mut().filter_map(|(peer, relayed)| relayed.ask(now).then_some(*peer));
        due.collect()
    }

    /// A peer was asked and does not answer.
    pub(super) fn is_silent(&self, now: Duration, peer: P) -> bool {
        let asked = self
            .relayed
            .get(&peer)
            .and_then(|relayed| relayed.asked)
            .filter(|_| self.answer.contains(&peer));
        asked.is_some_and(|asked| now >= asked.since + ANSWER_LIMIT)
    }

    pub(super) fn clear(&mut self) {
        self.relayed.clear();
        self.answer.clear();
    }
}

impl Relayed {
    fn new(now: Duration) -> Self {
        Self { used_at: None, speech_at: None, heard_at: now, asked: None }
    }

    fn is_in_use(&self, now: Duration) -> bool {
        self.used_at.is_some_and(|at| now < at + IN_USE)
            || self.speech_at.is_some_and(|at| now < at + BROKEN_OFF)
    }

    fn ask(&mut self, now: Duration) -> bool {
        let Some(asked) = &mut self.asked else {
            let is_due = now >= self.heard_at + QUIET;
            self.asked = is_due.then_some(Asked { since: now, last_at: now, questions: 1 });
            return is_due;
        };
        let interval =
            if asked.questions < FIRST_QUESTIONS { ASK_INTERVAL } else { 2 * ASK_INTERVAL };
        let is_due = now >= asked.last_at + interval;
        if is_due {
            (asked.last_at, asked.questions) = (now, asked.questions.saturating_add(1));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Speech is relayed to peer 7 from 0 to `until`, in steps of 20 ms; `heard` says when
    /// something comes. Returns the moments of questions, and the one at which the peer is found
    /// not to answer.
    fn run(until: u64, heard: impl Fn(u64) -> bool) -> (Vec<u64>, Option<u64>) {
        let mut answering = Answering::new();
        answering.heard(ms(0), 7, true);
        let (mut questions, mut silent_at) = (Vec::new(), None);
        for now in (0..until).step_by(20) {
            answering.used(ms(now), 7);
            if heard(now) {
                answering.heard(ms(now), 7, false);
            }
            questions.extend(answering.questions(ms(now), |_| true).iter().map(|_| now));
            if answering.is_silent(ms(now), 7) {
                silent_at.get_or_insert(now);
            }
        }
        (questions, silent_at)
    }

    #[test]
    fn a_peer_that_is_heard_is_not_asked() {
        assert_eq!(run(20_000, |now| now % 1_000 == 0), (Vec::new(), None));
    }

    #[test]
    fn a_peer_that_falls_silent_is_asked_and_then_not_counted_on() {
        assert_eq!(run(9_000, |_| false), (vec![2_000, 3_000, 4_000, 5_000, 7_000], Some(4_000)));
        assert_eq!(
            run(6_000, |now| now == 3_900),
            (vec![2_000, 3_000, 5_900], None),
            "an answer in time"
        );
    }

    #[test]
    fn a_peer_that_answers_again_is_counted_on_at_once() {
        let mut answering = Answering::new();
        answering.heard(ms(0), 7, true);
        answering.used(ms(0), 7);
        assert_eq!(answering.questions(ms(2_000), |_| true), [7]);
        answering.used(ms(4_000), 7);
        assert!(answering.is_silent(ms(4_000), 7));
        answering.heard(ms(4_010), 7, false);
        assert!(!answering.is_silent(ms(4_010), 7));
        assert!(
            answering.questions(ms(7_100), |_| true).is_empty(),
            "nothing is relayed to it any more"
        );
        assert!(answering.relayed.is_empty());
    }

    #[test]
    fn silence_of_a_peer_that_never_answered_means_nothing() {
        let mut answering = Answering::new();
        for second in 0..60 {
            answering.used(ms(second * 1_000), 7);
            answering.heard(ms(0), 8, true);
            answering.questions(ms(second * 1_000), |peer| peer == 7);
            assert!(!answering.is_silent(ms(second * 1_000), 7));
        }
        assert!(answering.answer.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn speech_that_breaks_off_is_asked_after_and_a_pause_is_not() {
        for (pause_follows, asked) in [(false, vec![7]), (true, Vec::new())] {
            let mut answering = Answering::new();
            answering.spoke(ms(0), 7, false);
            answering.spoke(ms(20), 7, pause_follows);
            assert!(answering.questions(ms(1_900), |_| true).is_empty());
            assert_eq!(answering.questions(ms(2_100), |_| true), asked);
        }
    }

    #[test]
    fn a_silent_peer_is_asked_until_it_is_gone() {
        let mut answering = Answering::new();
        answering.heard(ms(0), 7, true);
        answering.used(ms(0), 7);
        for second in 2..60 {
            answering.questions(ms(second * 1_000), |_| true);
        }
        assert!(answering.is_silent(ms(60_000), 7));
        assert!(answering.questions(ms(61_000), |_| false).is_empty());
        assert!(answering.relayed.is_empty());
    }

    #[test]
    fn while_the_server_does_not_answer_no_peer_is_blamed() {
        let mut answering = Answering::new();
        answering.used(ms(0), 7);
        assert_eq!(answering.questions(ms(2_000), |_| true), [7]);
        answering.excuse_all(ms(3_900));
        assert!(!answering.is_silent(ms(5_000), 7));
    }
}
