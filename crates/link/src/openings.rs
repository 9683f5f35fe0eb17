//! How many links open at the same time.
//!
//! Signals, checks and handshakes of many links at once fill a narrow uplink, which then loses what would have opened them,
//! and speech with it. Links therefore take turns: one at first in each role, one more with each that opens in good time,
//! and one less with each that does not. Fifty links on a fast network so open in six rounds of handshakes. Where the
//! uplink is known to be narrow, turns also keep a distance in time, and wait while it has no room for another link. An answer never waits for an offer, so that two
//! peers never wait for each other in a circle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use crate::Role;

/// Links of one role that open at once: at first, at least and at most.
const FIRST: usize = 1;
const LEAST: usize = 1;
const MOST: usize = 16;
/// A link that is not open by then makes way for the next; it may still open.
const LONGEST_TURN: Duration = Duration::from_millis(1_500);
/// What opening a link sends: two descriptions with candidates through the server, checks, and two handshakes.
const OPENING_BITS: f64 = 80_000.0;
/// Of a narrow uplink, what opening links may take; the rest is for speech.
const SHARE: f64 = 0.25;
const LONGEST_DISTANCE: Duration = Duration::from_secs(10);
/// While there is no room, how often that is asked again.
const ASK_FOR_ROOM: Duration = Duration::from_millis(250);

/// The turns of all links of a peer.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    offers: Arc<Turns>,
    answers: Arc<Turns>,
    distance: Mutex<Distance>,
}

/// The time between two turns.
#[derive(Debug, Default)]
struct Distance {
    uplink_bps: Option<u32>,
    lacks_room: bool,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Turns {
    free: Arc<Semaphore>,
    /// Turns in all.
    limit: Mutex<usize>,
}

/// A link's turn. It ends when the link is open, has had its time, or is gone.
#[derive(Debug)]
pub(crate) struct Turn(oneshot::Sender<()>);

impl Openings {
    /// Waits for a turn; first come, first served.
    pub(crate) async fn turn(&self, role: Role) -> Turn {
        let turns = match role {
            Role::Offer => &self.offers,
            Role::Answer => &self.answers,
        };
        let (opened, has_opened) = oneshot::channel();
        // The semaphore is never closed.
        if let Ok(permit) = Arc::clone(&turns.free).acquire_owned().await {
            while let Some(at) = self.wait_until() {
                tokio::time::sleep_until(at).await;
            }
            let turns = Arc::clone(turns);
            tokio::spawn(async move { turns.end(permit, tokio::time::timeout(LONGEST_TURN, has_opened).await) });
        }
        Turn(opened)
    }

    /// What the uplink carries, in bits per second; `None` while no limit was met.
    pub(crate) fn set_uplink(&self, bps: Option<u32>) {
        self.distance().uplink_bps = bps;
    }

    /// Whether no turn begins for now.
    pub(crate) fn set_lacks_room(&self, lacks_room: bool) {
        self.distance().lacks_room = lacks_room;
    }

    /// Begins a turn, or says when to ask again.
    fn wait_until(&self) -> Option<Instant> {
        self.distance().keep(Instant::now()).err()
    }

    fn distance(&self) -> MutexGuard<'_, Distance> {
        self.distance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Distance {
    /// Begins a turn, or says when to ask again.
    fn keep(&mut self, now: Instant) -> Result<(), Instant> {
        let seconds = self.uplink_bps.map_or(0.0, |bps| OPENING_BITS / (SHARE * f64::from(bps.max(1))));
        let distance = Duration::from_secs_f64(seconds.min(LONGEST_DISTANCE.as_secs_f64()));
        if self.lacks_room {
            return Err(now + ASK_FOR_ROOM);
        }
        match self.last.map(|last| last + distance) {
            Some(next) if now < next => Err(next),
            _ => {
                self.last = Some(now);
                Ok(())
            }
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
        Self { free: Arc::new(Semaphore::new(FIRST)), limit: Mutex::new(FIRST) }
    }
}

impl Turns {
    fn end(&self, permit: OwnedSemaphorePermit, outcome: Result<Result<(), RecvError>, Elapsed>) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(Ok(())) if *limit < MOST => {
                *limit += 1;
                self.free.add_permits(1);
            }
            Err(_) if *limit > LEAST => {
                *limit -= 1;
                permit.forget();
            }
            // Open, or given up.
            Ok(_) | Err(_) => {}
        }
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
        while let Some(turn) = openings.turn(role).now_or_never() {
            turns.push(turn);
            settle().await;
        }
        turns
    }

    #[tokio::test(start_paused = true)]
    async fn every_link_that_opens_makes_room_for_another_one() {
        let openings = Openings::default();
        for expected in [1, 2, 4, 8, 16, 16] {
            let turns = take_all(&openings, Role::Offer).await;
            assert_eq!(turns.len(), expected);
            turns.into_iter().for_each(Turn::opened);
        }
        assert_eq!(take_all(&openings, Role::Answer).await.len(), 1, "answers have turns of their own");
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
        assert_eq!(take_all(&openings, Role::Answer).await.len(), 1, "one that is given up changes nothing");
        turns.into_iter().for_each(Turn::opened);
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_narrow_uplink_turns_keep_a_distance() {
        let openings = Openings::default();
        openings.set_uplink(Some(64_000));
        let began = Instant::now();
        openings.turn(Role::Offer).await.opened();
        openings.turn(Role::Answer).await.opened();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        openings.set_uplink(None);
        openings.turn(Role::Offer).await.opened();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_no_turn_begins_until_there_is() {
        let openings = Openings::default();
        openings.set_lacks_room(true);
        let mut turn = std::pin::pin!(openings.turn(Role::Offer));
        assert!(tokio::time::timeout(Duration::from_secs(60), turn.as_mut()).await.is_err());
        openings.set_lacks_room(false);
        assert!(tokio::time::timeout(ASK_FOR_ROOM, turn).await.is_ok());
    }
}
