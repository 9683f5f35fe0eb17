//! How many links open at the same time.
//!
//! Signals, checks and handshakes of many links at once fill a narrow uplink, which then loses what
//! would have opened them, and speech with it. Links therefore take turns: one at first in each
//! role, one more with each that opens in good time, and one less with each that does not. Fifty
//! links on a fast network so open in six rounds of handshakes. Where the uplink is known to be
//! narrow, turns also keep a distance in time. While there is no room for another link no turn
//! begins, and for some time after that one link opens after another ([`OpeningPace`]). Apart from
//! that an answer never waits for an offer, so that two peers never wait for each other in a
//! circle. A remote whose links did not open in time lately waits for those whose did, and does not
//! cost them turns twice: several that offer and never open delay others by the rest of one turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot::{self, error::RecvError};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use voicemesh_common::lock;
use voicemesh_uplink::opening_pace::{OPENING_SENDS_FOR, OpeningPace};

use crate::Role;

/// Links of one role that open at once: at first, at least and at most.
const FIRST: usize = 1;
const LEAST: usize = 1;
const MOST: usize = 16;
/// A link that is not open by then makes way for the next; it may still open.
const LONGEST_TURN: Duration = Duration::from_millis(1_500);
/// For how long a turn that was missed counts, and of how many remotes that is remembered.
const MISSED_COUNTS: Duration = Duration::from_secs(60);
const REMEMBERED: usize = 1_024;

/// The turns of all links of a peer.
#[derive(Debug)]
pub(crate) struct Openings {
    /// From which the pace counts its time.
    began: Instant,
    offers: Arc<Turns>,
    answers: Arc<Turns>,
    pace: Arc<Mutex<OpeningPace>>,
    /// What links have put on the wire until they were open.
    sent_bytes: AtomicU64,
}

#[derive(Debug)]
struct Turns(Mutex<TurnState>);

#[derive(Debug)]
struct TurnState {
    /// Turns in all, and those that are taken.
    limit: usize,
    taken: usize,
    arrivals: u64,
    waiting: Vec<Waiting>,
    /// Remotes whose links did not open in time.
    missed: BTreeMap<u128, Missed>,
}

#[derive(Debug)]
struct Waiting {
    remote: u128,
    arrival: u64,
    grant: oneshot::Sender<Permit>,
}

#[derive(Clone, Copy, Debug)]
struct Missed {
    turns: u32,
    last: Instant,
}

/// A taken turn; it is free again when this goes.
#[derive(Debug)]
struct Permit(Option<Arc<Turns>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.free();
        }
    }
}

/// A link's turn. It ends when the link is open, has had its time, or is gone.
#[derive(Debug)]
pub(crate) struct Turn(oneshot::Sender<()>);

impl Openings {
    /// Waits for a turn: of remotes that have missed equally many lately, first come, first served.
    pub(crate) async fn turn(&self, role: Role, remote: u128) -> Turn {
        let turns = match role {
            Role::Offer => &self.offers,
            Role::Answer => &self.answers,
        };
        let (opened, has_opened) = oneshot::channel();
        // Who waits is granted a turn at the latest when all others have had theirs.
        if let Ok(permit) = turns.request(remote).await {
            let number = self.begin().await;
            let (turns, pace, began) = (Arc::clone(turns), Arc::clone(&self.pace), self.began);
            tokio::spawn(async move {
                let mut has_opened = has_opened;
                let outcome = tokio::time::timeout(LONGEST_TURN, &mut has_opened).await;
                let is_late = outcome.is_err();
                turns.end(permit, remote, outcome);
                if is_late {
                    let further = OPENING_SENDS_FOR.saturating_sub(LONGEST_TURN);
                    let _ = tokio::time::timeout(further, has_opened).await;
                }
                lock(&pace).ended(began.elapsed(), number);
            });
        }
        Turn(opened)
    }

    /// What the uplink carries, in bits per second; `None` while no limit was met.
    pub(crate) fn set_uplink(&self, bps: Option<u32>) {
        lock(&self.pace).set_uplink(bps);
    }

    /// A link that is not open yet has put so many bytes on the wire, headers included.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What opening links have put on the wire in all.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Whether no turn begins for now.
    pub(crate) fn set_lacks_room(&self, lacks_room: bool) {
        lock(&self.pace).set_lacks_room(self.began.elapsed(), lacks_room);
    }

    /// Waits until a link may begin to open, and gives its number.
    async fn begin(&self) -> u64 {
        loop {
            let begun = lock(&self.pace).begin(self.began.elapsed());
            match begun {
                Ok(number) => return number,
                Err(at) => tokio::time::sleep_until(self.began + at).await,
            }
        }
    }
}

impl Default for Openings {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            offers: Arc::default(),
            answers: Arc::default(),
            pace: Arc::default(),
            sent_bytes: AtomicU64::default(),
        }
    }
}

impl Turn {
    /// The link is open.
    pub(crate) fn opened(self) {
        let _ = self.0.send(());
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self(Mutex::new(TurnState {
            limit: FIRST,
            taken: 0,
            arrivals: 0,
            waiting: Vec::new(),
            missed: BTreeMap::new(),
        }))
    }
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, TurnState> {
        lock(&self.0)
    }

    fn request(self: &Arc<Self>, remote: u128) -> oneshot::Receiver<Permit> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.state();
        state.arrivals += 1;
        let arrival = state.arrivals;
        state.waiting.push(Waiting { remote, arrival, grant });
        drop(state);
        self.serve();
        granted
    }

    /// Gives free turns to those who wait.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = self.state().next(Instant::now());
            let Some(next) = next else { return };
            // Who waits no more drops the permit, and with it comes back here.
            if let Err(mut unclaimed) = next.grant.send(Permit(Some(Arc::clone(self)))) {
                unclaimed.0 = None;
                self.state().taken -= 1;
            }
        }
    }

    fn free(self: &Arc<Self>) {
        self.state().taken -= 1;
        self.serve();
    }

    fn end(&self, permit: Permit, remote: u128, outcome: Result<Result<(), RecvError>, Elapsed>) {
        let mut state = self.state();
        match outcome {
            Ok(Ok(())) => {
                state.missed.remove(&remote);
                state.limit = (state.limit + 1).min(MOST);
            }
            // Given up.
            Ok(Err(_)) => {
                state.miss(Instant::now(), remote);
            }
            // Only the first one says something about this side's uplink.
            Err(_) if state.miss(Instant::now(), remote) => {
                state.limit = (state.limit - 1).max(LEAST)
            }
            Err(_) => {}
        }
        drop(state);
        drop(permit);
    }
}

impl TurnState {
    /// Gives the turn to the next one.
    fn next(&mut self, now: Instant) -> Option<Waiting> {
        if self.taken >= self.limit {
            return None;
        }
        let key = |waiting: &Waiting| (self.missed_turns(now, waiting.remote), waiting.arrival);
        let (at, _) = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| key(waiting))?;
        self.taken += 1;
        Some(self.waiting.swap_remove(at))
    }

    fn missed_turns(&self, now: Instant, remote: u128) -> u32 {
        let recent = self.missed.get(&remote).filter(|missed| now < missed.last + MISSED_COUNTS);
        recent.map_or(0, |missed| missed.turns)
    }

    /// True if it is the first one of this remote lately.
    fn miss(&mut self, now: Instant, remote: u128) -> bool {
        let before = self.missed_turns(now, remote);
        self.missed.retain(|_, missed| now < missed.last + MISSED_COUNTS);
        if self.missed.len() < REMEMBERED {
            self.missed.insert(remote, Missed { turns: before + 1, last: now });
        }
        before == 0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// How many turns are to be had now.
    async fn take_all(openings: &Openings, role: Role) -> Vec<Turn> {
        let mut turns = Vec::new();
        settle().await;
        while let Some(turn) = openings.turn(role, 0).now_or_never() {
            turns.push(turn);
            settle().await;
        }
        turns
    }

    /// An uplink that is known, and has room for all.
    const WIDE_BPS: u32 = 100_000_000;

    #[tokio::test(start_paused = true)]
    async fn every_link_that_opens_makes_room_for_another_one() {
        let openings = Openings::default();
        for expected in [1, 2, 4, 8, 16, 16] {
            let turns = take_all(&openings, Role::Offer).await;
            assert_eq!(turns.len(), expected);
            turns.into_iter().for_each(Turn::opened);
        }
        assert_eq!(
            take_all(&openings, Role::Answer).await.len(),
            1,
            "answers have turns of their own"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn links_that_do_not_open_in_time_make_way_one_by_one() {
        let openings = Openings::default();
        take_all(&openings, Role::Answer).await.into_iter().for_each(Turn::opened);
        let turns = take_all(&openings, Role::Answer).await;
        assert_eq!(turns.len(), 2);
        tokio::time::advance(LONGEST_TURN).await;
        let next = take_all(&openings, Role::Answer).await;
        assert_eq!(next.len(), 1);
        drop(next);
        assert_eq!(
            take_all(&openings, Role::Answer).await.len(),
            1,
            "one that is given up changes nothing"
        );
        turns.into_iter().for_each(Turn::opened);
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_narrow_uplink_turns_keep_a_distance() {
        let openings = Openings::default();
        openings.set_uplink(Some(64_000));
        let began = Instant::now();
        openings.turn(Role::Offer, 0).await.opened();
        openings.turn(Role::Answer, 0).await.opened();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        openings.set_uplink(None);
        openings.turn(Role::Offer, 0).await.opened();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    /// Eight remotes offer again and again and never open.
    #[tokio::test(start_paused = true)]
    async fn remotes_that_never_open_delay_others_by_one_turn() {
        let openings = Arc::new(Openings::default());
        for hostile in 1..=8 {
            let openings = Arc::clone(&openings);
            tokio::spawn(async move {
                loop {
                    let turn = openings.turn(Role::Answer, hostile).await;
                    let _ =
                        tokio::time::timeout(2 * LONGEST_TURN, std::future::pending::<()>()).await;
                    drop(turn);
                }
            });
        }
        // Each of them has missed a turn by then.
        let _ = tokio::time::timeout(9 * LONGEST_TURN, std::future::pending::<()>()).await;
        for honest in 100..140 {
            let asked = Instant::now();
            openings.turn(Role::Answer, honest).await.opened();
            assert!(asked.elapsed() <= LONGEST_TURN, "{honest}: {:?}", asked.elapsed());
            settle().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_no_more_takes_no_turn() {
        let openings = Openings::default();
        let first = openings.turn(Role::Answer, 1).await;
        assert!(openings.turn(Role::Answer, 2).now_or_never().is_none());
        drop(first);
        settle().await;
        assert!(openings.turn(Role::Answer, 3).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_no_turn_begins_until_there_is() {
        let openings = Openings::default();
        openings.set_lacks_room(true);
        let mut turn = std::pin::pin!(openings.turn(Role::Offer, 0));
        assert!(tokio::time::timeout(Duration::from_secs(60), turn.as_mut()).await.is_err());
        openings.set_lacks_room(false);
        assert!(tokio::time::timeout(Duration::from_millis(250), turn).await.is_ok());
    }

    /// Speech comes late because links open: the first of them did not open in its time.
    #[tokio::test(start_paused = true)]
    async fn after_there_was_no_room_one_link_opens_after_another_and_then_all_rest() {
        let openings = Openings::default();
        openings.set_uplink(Some(WIDE_BPS));
        openings.set_lacks_room(true);
        openings.set_lacks_room(false);
        let began = Instant::now();
        let slow = openings.turn(Role::Offer, 1).await;
        let answer = openings.turn(Role::Answer, 2).await;
        assert!(
            began.elapsed() >= OPENING_SENDS_FOR + Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
        drop(slow);
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(100)).await;
        answer.opened();
        settle().await;
        openings.turn(Role::Offer, 3).await.opened();
        let rested = began.elapsed();
        assert!(rested >= 4 * Duration::from_millis(100), "{rested:?}");
        assert!(
            rested < Duration::from_millis(1_500),
            "who opens soon leaves no long queue: {rested:?}"
        );
        tokio::time::advance(Duration::from_secs(30)).await;
        openings.set_uplink(None);
        let _offer = openings.turn(Role::Offer, 4).await;
        assert!(openings.turn(Role::Answer, 5).now_or_never().is_some(), "as before");
    }
}
