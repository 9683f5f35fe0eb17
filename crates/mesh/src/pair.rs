//! What is known of the links to one peer, and when the next attempt may be made.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::NextTimer;
use voicemesh_uplink::opening_pace::OPENING_SENDS_FOR;

use super::negotiation::ASK_AFTER;

/// After a failed attempt the next one waits this long, twice as long each time …
pub(super) const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// An attempt that ends without an answer after this had an answerer that waits, because links that
/// open would take the place of speech there. It asks when it has room: what is offered meanwhile
/// only fills its download …
const UNANSWERED_AFTER: Duration = Duration::from_secs(10);
/// … so that the next offer comes after this, unless it is asked for.
const UNANSWERED_RETRY: Duration = Duration::from_secs(30);
/// An offer that is asked for is made at most this often …
pub(super) const REQUEST_INTERVAL: Duration = Duration::from_secs(2);
/// … but once within this time as soon as [`OFFER_INTERVAL`] allows, if the last one was not
/// answered.
const HURRY_INTERVAL: Duration = Duration::from_secs(10);
/// An offer is answered at most this often; an honest offerer waits longer between two.
pub(super) const OFFER_INTERVAL: Duration = Duration::from_millis(500);
/// An offer that is asked for comes within this time, if it comes soon.
const OFFER_COMES_WITHIN: Duration = Duration::from_millis(1_500);

/// What is known of the links to one peer.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) attempt: u32,
    pub(super) links: BTreeMap<u32, LinkState>,
    pub(super) failures: u32,
    pub(super) next_attempt_at: Duration,
    /// When the last offer was made or answered.
    pub(super) offered_at: Option<Duration>,
    /// The last offer that this side made has been answered.
    pub(super) is_answered: bool,
    /// When an offer was last made sooner than [`REQUEST_INTERVAL`] after another.
    pub(super) hurried_at: Option<Duration>,
    pub(super) asked_at: Duration,
    /// An offer that was asked for and has not come.
    pub(super) requested: Option<Requested>,
    /// The other side will not answer the attempt under way, and wants the next.
    pub(super) wants_newer_attempt: bool,
    /// A new attempt is due as soon as the server can be spoken to: this machine's path has
    /// changed, or what was said of the last attempt may not have arrived.
    pub(super) renew: bool,
    /// An offer that came too soon after the last, or after many: it is asked for again.
    pub(super) ignored: Option<IgnoredOffer>,
    /// A description came that this peer did not make.
    pub(super) is_forged: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Requested {
    /// The newest attempt that will not be answered any more.
    pub(super) attempt: u32,
    pub(super) repeats: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct IgnoredOffer {
    pub(super) attempt: u32,
    pub(super) ask_at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    Opening,
    Open,
    Lingering { until: Duration },
}

impl LinkState {
    /// Whether the session knows of the link, and must learn of its end.
    pub(super) fn is_announced(&self) -> bool {
        match self {
            Self::Opening => false,
            Self::Open | Self::Lingering { .. } => true,
        }
    }
}

impl Pair {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            attempt: 0,
            links: BTreeMap::new(),
            failures: 0,
            next_attempt_at: now,
            offered_at: None,
            is_answered: false,
            hurried_at: None,
            asked_at: now,
            requested: None,
            wants_newer_attempt: false,
            renew: false,
            ignored: None,
            is_forged: false,
        }
    }

    /// Each moment that a condition of [`Links::tick`](super::negotiation::Links::tick) compares
    /// with.
    pub(super) fn timers(&self, next: &mut NextTimer) {
        for state in self.links.values() {
            match state {
                LinkState::Lingering { until } => next.at(*until),
                LinkState::Opening | LinkState::Open => {}
            }
        }
        next.at(self.next_attempt_at);
        next.at(self.asked_at + ASK_AFTER);
        next.at(self.ignored.map(|ignored| ignored.ask_at));
        if self.requested.is_some() {
            next.at(self.asked_at + REQUEST_INTERVAL);
            next.at(self.asked_at + OFFER_COMES_WITHIN);
        }
        if let Some(offered_at) = self.offered_at {
            next.at(offered_at + OFFER_INTERVAL);
            next.at(offered_at + REQUEST_INTERVAL);
            next.at(offered_at + OPENING_SENDS_FOR);
        }
        next.at(self.hurried_at.map(|at| at + HURRY_INTERVAL));
    }

    pub(super) fn is_linked(&self) -> bool {
        self.links.values().any(|state| matches!(state, LinkState::Opening | LinkState::Open))
    }

    pub(super) fn is_opening(&self) -> bool {
        self.links.values().any(|state| *state == LinkState::Opening)
    }

    /// An attempt is under way that began so short a time ago that it is sending much.
    pub(super) fn is_newly_opening(&self, now: Duration) -> bool {
        self.is_opening() && !self.may_negotiate(now, OPENING_SENDS_FOR)
    }

    /// An offer was asked for so short a time ago that it may come yet.
    pub(super) fn has_newly_asked(&self, now: Duration) -> bool {
        self.requested.is_some() && now < self.asked_at + OFFER_COMES_WITHIN
    }

    /// Another link is in use already.
    pub(super) fn is_superseded(&self, attempt: u32) -> bool {
        let later = self.links.iter().filter(|(number, _)| **number > attempt);
        later.into_iter().any(|(_, state)| *state == LinkState::Open)
    }

    pub(super) fn may_negotiate(&self, now: Duration, interval: Duration) -> bool {
        self.offered_at.is_none_or(|at| now >= at + interval)
    }

    /// Whether a request that comes now may be answered by an offer at once. One that comes a while
    /// after an offer has not crossed it: that offer was lost.
    pub(super) fn may_answer_request(&mut self, now: Duration) -> bool {
        if self.may_negotiate(now, REQUEST_INTERVAL) {
            return true;
        }
        let may_hurry = self.wants_newer_attempt
            && self.may_negotiate(now, OFFER_INTERVAL)
            && self.hurried_at.is_none_or(|at| now >= at + HURRY_INTERVAL);
        if may_hurry {
            self.hurried_at = Some(now);
        }
        may_hurry
    }

    /// An attempt has failed, in which this side offered or not.
    pub(super) fn failed(&mut self, now: Duration, offered: bool) {
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(6)).min(LONGEST_RETRY);
        let is_unanswered =
            offered && !self.is_answered && self.may_negotiate(now, UNANSWERED_AFTER);
        let wait = if is_unanswered { wait.max(UNANSWERED_RETRY) } else { wait };
        self.failures += 1;
        self.next_attempt_at = now + wait;
    }
}
