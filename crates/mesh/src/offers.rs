//! How often offers are answered of which no link comes: at most so many of one peer in a minute,
//! whatever it gives up and begins anew meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use voicemesh_wire::PeerId;

/// Offers of one peer that are answered within [`INTERVAL`]. An honest offerer waits longer after
/// each that fails.
const MOST: usize = 6;
const INTERVAL: Duration = Duration::from_secs(60);

/// When whose offers were answered.
#[derive(Debug, Default)]
pub(super) struct AnsweredOffers(BTreeMap<PeerId, VecDeque<Duration>>);

impl AnsweredOffers {
    /// When the next offer of this peer may be answered, if not now.
    pub(super) fn waits_until(&self, now: Duration, peer: PeerId) -> Option<Duration> {
        let times = self.0.get(&peer).filter(|times| times.len() >= MOST)?;
        times.front().map(|first| *first + INTERVAL).filter(|next| now < *next)
    }

    /// The link of the last offer is open: that offer does not count.
    pub(super) fn opened(&mut self, peer: PeerId) {
        if let Some(times) = self.0.get_mut(&peer) {
            times.pop_back();
        }
    }

    pub(super) fn answered(&mut self, now: Duration, peer: PeerId) {
        self.0.retain(|_, times| times.back().is_some_and(|last| now < *last + INTERVAL));
        let times = self.0.entry(peer).or_default();
        times.push_back(now);
        if times.len() > MOST {
            times.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_wire::identity::{InstallationSecret, prove};

    use super::*;

    #[test]
    fn six_offers_a_minute_are_answered_of_each_peer() {
        let mut offers = AnsweredOffers::default();
        let [eve, ben] = [1, 2].map(|secret| {
            prove(&InstallationSecret([secret; 32]), "ws://here", "room", 0).peer_id()
        });
        let mut answered = Vec::new();
        for second in 0..180 {
            let now = Duration::from_secs(second);
            if offers.waits_until(now, eve).is_none() {
                offers.answered(now, eve);
                answered.push(second);
            }
        }
        let most = (0..120)
            .map(|from| answered.iter().filter(|at| (from..from + 60).contains(*at)).count())
            .max();
        assert_eq!((most, answered.len()), (Some(6), 18));
        assert_eq!(offers.waits_until(Duration::from_secs(179), ben), None);
        for second in 200..400 {
            let now = Duration::from_secs(second);
            assert_eq!(offers.waits_until(now, ben), None, "its links open");
            offers.answered(now, ben);
            offers.opened(ben);
        }
        offers.answered(Duration::from_secs(400), ben);
        assert_eq!(offers.0.len(), 1, "what is long ago is forgotten");
    }
}
