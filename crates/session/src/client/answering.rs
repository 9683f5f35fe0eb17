//! Whether peers to whom speech is relayed still answer.
//!
//! Up to half a minute passes before the server finds that a peer's network is gone; what is
//! relayed to that peer until then is lost without a notice. So a peer from which nothing comes
//! while speech is relayed to it, while its link is stalled, or before its relayed speech has
//! ended, is sent a clock probe (PROTOCOL.md §9, "Routes"). So is one that only the relay reaches
//! and that says nothing for longer: what is shown of it is to be true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use voicemesh_common::NextTimer;

/// A peer from which nothing has come for this long is asked.
const QUIET: Duration = Duration::from_secs(2);
/// Without speech a peer that only the relay reaches is asked after this, as a silent link is …
const QUIET_WITHOUT_SPEECH: Duration = Duration::from_secs(8);
/// … one at a time: a large room is not to fill a narrow uplink with questions.
const WITHOUT_SPEECH_APART: Duration = Duration::from_millis(250);
/// How often it is looked who is reached by the relay alone.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
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
    looked_at: Option<Duration>,
    /// When a peer was last asked without speech.
    asked_idle_at: Option<Duration>,
    /// The server is not known to pass anything on.
    all_excused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Relayed {
    used_at: Option<Duration>,
    /// Its link is stalled, so that speech to it could only be relayed.
    is_stalled: bool,
    /// When speech last came from it through the relay, if it did not say that a pause follows.
    speech_at: Option<Duration>,
    heard_at: Duration,
    /// No link reaches it.
    is_only_way: bool,
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
        Self {
            relayed: BTreeMap::new(),
            answer: BTreeSet::new(),
            looked_at: None,
            asked_idle_at: None,
            all_excused: false,
        }
    }

    /// Whether [`Answering::only_ways`] is due.
    pub(super) fn is_to_look(&self, now: Duration) -> bool {
        self.looked_at.is_none_or(|at| now >= at + LOOK_INTERVAL)
    }

    /// Only the relay reaches these.
    pub(super) fn only_ways(&mut self, now: Duration, peers: impl Iterator<Item = P>) {
        self.looked_at = Some(now);
        self.relayed.values_mut().for_each(|relayed| relayed.is_only_way = false);
        for peer in peers {
            self.entry(now, peer).is_only_way = true;
        }
    }

    /// Speech is relayed to a peer.
    pub(super) fn used(&mut self, now: Duration, peer: P) {
        self.entry(now, peer).used_at = Some(now);
    }

    /// The links to these are stalled, and something last came from them then: speech to them could
    /// only be relayed.
    pub(super) fn stalled(&mut self, now: Duration, stalled: &BTreeMap<P, Duration>) {
        for (peer, relayed) in &mut self.relayed {
            if relayed.is_stalled && !stalled.contains_key(peer) {
                (relayed.is_stalled, relayed.used_at) = (false, Some(now));
            }
        }
        for (peer, heard_at) in stalled {
            let new = Relayed { heard_at: *heard_at, ..Relayed::new(now) };
            self.relayed.entry(*peer).or_insert(new).is_stalled = true;
        }
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

    /// Whether the server is known to pass anything on. While it is not, and until the moment in
    /// which it is again, the peers cannot be blamed.
    pub(super) fn set_excused(&mut self, now: Duration, excused: bool) {
        if std::mem::replace(&mut self.all_excused, excused) || excused {
            self.excuse_all(now);
        }
    }

    fn excuse_all(&mut self, now: Duration) {
        for relayed in self.relayed.values_mut() {
            (relayed.heard_at, relayed.asked) = (now, None);
        }
    }

    /// Whom to ask now. Forgets peers to whom nothing is relayed any more, and those that are not
    /// `present`.
    pub(super) fn questions(&mut self, now: Duration, present: impl Fn(P) -> bool) -> Vec<P> {
        self.answer.retain(|peer| present(*peer));
        self.relayed.retain(|peer, relayed| {
            present(*peer)
                && (relayed.asked.is_some() || relayed.is_in_use(now) || relayed.is_only_way)
        });
        let mut due = Vec::new();
        let mut quietest: Option<(Duration, P)> = None;
        for (peer, relayed) in &mut self.relayed {
            if relayed.is_in_use(now) || relayed.asked.is_some() && self.answer.contains(peer) {
                if relayed.is_due(now, QUIET, 2 * ASK_INTERVAL) {
                    relayed.ask(now);
                    due.push(*peer);
                }
            } else if relayed.is_due(now, QUIET_WITHOUT_SPEECH, QUIET_WITHOUT_SPEECH) {
                let since = relayed.asked.map_or(relayed.heard_at, |asked| asked.last_at);
                if quietest.is_none_or(|(least, _)| since < least) {
                    quietest = Some((since, *peer));
                }
            }
        }
        if let Some((_, peer)) = quietest
            && self.asked_idle_at.is_none_or(|at| now >= at + WITHOUT_SPEECH_APART)
            && let Some(relayed) = self.relayed.get_mut(&peer)
        {
            relayed.ask(now);
            self.asked_idle_at = Some(now);
            due.push(peer);
        }
        due
    }

    /// When the next question is due, or a peer counts as one that does not answer, if nothing
    /// happens before.
    pub(super) fn timers(&self, next: &mut NextTimer) {
        if self.all_excused {
            return;
        }
        next.at(self.looked_at.map(|at| at + LOOK_INTERVAL));
        next.at(self.asked_idle_at.map(|at| at + WITHOUT_SPEECH_APART));
        for relayed in self.relayed.values() {
            next.at(relayed.used_at.map(|at| at + IN_USE));
            next.at(relayed.speech_at.map(|at| at + BROKEN_OFF));
            next.at(relayed.heard_at + QUIET);
            next.at(relayed.heard_at + QUIET_WITHOUT_SPEECH);
            if let Some(asked) = relayed.asked {
                next.at(asked.since + ANSWER_LIMIT);
                next.at(asked.last_at + ASK_INTERVAL);
                next.at(asked.last_at + 2 * ASK_INTERVAL);
                next.at(asked.last_at + QUIET_WITHOUT_SPEECH);
            }
        }
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
        self.looked_at = None;
    }
}

impl Relayed {
    fn new(now: Duration) -> Self {
        Self {
            used_at: None,
            is_stalled: false,
            speech_at: None,
            heard_at: now,
            is_only_way: false,
            asked: None,
        }
    }

    fn is_in_use(&self, now: Duration) -> bool {
        self.is_stalled
            || self.used_at.is_some_and(|at| now < at + IN_USE)
            || self.speech_at.is_some_and(|at| now < at + BROKEN_OFF)
    }

    /// Whether a question is due: the first after `quiet` without a packet, those after
    /// `FIRST_QUESTIONS` at intervals of `later`.
    fn is_due(&self, now: Duration, quiet: Duration, later: Duration) -> bool {
        match self.asked {
            None => now >= self.heard_at + quiet,
            Some(asked) if asked.questions < FIRST_QUESTIONS => now >= asked.last_at + ASK_INTERVAL,
            Some(asked) => now >= asked.last_at + later,
        }
    }

    fn ask(&mut self, now: Duration) {
        let asked = self.asked.get_or_insert(Asked { since: now, last_at: now, questions: 0 });
        (asked.last_at, asked.questions) = (now, asked.questions.saturating_add(1));
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

    /// Peers 1 to `peers` are reached by the relay alone; those of `answering` answer at once.
    /// Returns how many questions each was asked in a minute, and who is found silent at its end.
    fn without_speech(peers: u32, answering: impl Fn(u32, u64) -> bool) -> (Vec<usize>, Vec<u32>) {
        let mut asks = Answering::new();
        let mut questions = vec![0; peers as usize];
        for now in (0..60_000).step_by(20) {
            if asks.is_to_look(ms(now)) {
                asks.only_ways(ms(now), 1..=peers);
            }
            let asked = asks.questions(ms(now), |_| true);
            assert!(asked.len() <= 1 || peers == 1, "{asked:?}");
            for peer in asked {
                questions[peer as usize - 1] += 1;
                if answering(peer, now) {
                    asks.heard(ms(now), peer, true);
                }
            }
        }
        (questions, (1..=peers).filter(|peer| asks.is_silent(ms(60_000), *peer)).collect())
    }

    #[test]
    fn who_is_silent_and_reached_by_the_relay_alone_is_asked_each_eight_seconds() {
        assert_eq!(without_speech(1, |_, _| true), (vec![7], vec![]));
        let (questions, silent) = without_speech(1, |_, now| now < 30_000);
        assert!(questions[0] > 10, "{questions:?}");
        assert_eq!(silent, [1], "its network is gone");
        let (questions, silent) = without_speech(1, |_, _| false);
        assert!(questions[0] <= 12, "{questions:?}");
        assert_eq!(silent, [0; 0], "it may be unable to answer");
    }

    #[test]
    fn a_large_room_is_asked_one_peer_at_a_time() {
        let (questions, silent) = without_speech(60, |_, _| true);
        assert_eq!(silent, [0; 0]);
        assert!(questions.iter().all(|asked| (3..=5).contains(asked)), "{questions:?}");
    }

    #[test]
    fn a_peer_that_a_link_reaches_is_not_asked_without_speech() {
        let mut answering = Answering::new();
        answering.only_ways(ms(0), std::iter::once(7));
        answering.only_ways(ms(1_000), std::iter::empty());
        assert!(answering.questions(ms(20_000), |_| true).is_empty());
        assert!(answering.relayed.is_empty());
    }

    #[test]
    fn while_the_server_does_not_answer_no_peer_is_blamed() {
        let mut answering = Answering::new();
        answering.used(ms(0), 7);
        assert_eq!(answering.questions(ms(2_000), |_| true), [7]);
        answering.set_excused(ms(3_900), true);
        assert!(!answering.is_silent(ms(5_000), 7));
    }
}
