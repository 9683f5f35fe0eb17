//! Which nodes live, by their beats, and whether this one reaches the bus, by its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::{Beat, NodeId};

/// How often a node says that it lives.
const BEAT_INTERVAL: Duration = Duration::from_millis(250);
/// A node of which nothing was heard for this long has lost its rooms.
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// A node to which the bus has returned no beat for this long reaches no other node. With the interval of
/// a beat that is less than two seconds.
const CUT_OFF_AFTER: Duration = Duration::from_millis(1_600);
/// Only a node that has just had its own beat back judges others.
const JUDGES_WITHIN: Duration = Duration::from_millis(700);
/// With so many beats a node that has appeared is sent which rooms this one owns, because the bus may
/// lose a message.
const TELLINGS: u8 = 5;
/// A node that was silent for this long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Nodes that are known at a time. Beats of further ones are not counted.
const MOST_NODES: usize = 1024;

/// All nodes that were heard.
#[derive(Debug)]
pub(crate) struct Peers {
    own: NodeId,
    nodes: BTreeMap<NodeId, Peer>,
    /// When the newest own beat that has come back was sent, and since when none was missed.
    echo: Option<Echo>,
    beat_due: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    heard_at: Duration,
    drains: bool,
    /// How often it is still to be sent which rooms this node owns.
    tellings: u8,
}

#[derive(Clone, Copy, Debug)]
struct Echo {
    sent_at: Duration,
    unbroken_since: Duration,
}

impl Peers {
    pub(crate) fn new(now: Duration, own: NodeId) -> Self {
        Self { own, nodes: BTreeMap::new(), echo: None, beat_due: now }
    }

    pub(crate) fn beat(&mut self, now: Duration, beat: Beat) {
        if beat.from == self.own {
            return self.echoed(now, beat.sent_at);
        }
        let known = self.nodes.get(&beat.from).copied();
        if self.nodes.len() >= MOST_NODES && known.is_none() {
            return;
        }
        // While it was silent others may have taken its rooms, and it those of others.
        let tellings = match known {
            Some(peer) if now <= peer.heard_at + DEAD_AFTER => peer.tellings,
            _ => TELLINGS,
        };
        let peer = Peer { heard_at: now, drains: beat.drains, tellings };
        self.nodes.insert(beat.from, peer);
    }

    /// A beat of this node itself. One that was long under way shows nothing of the present.
    fn echoed(&mut self, now: Duration, sent_at: Duration) {
        if sent_at > now {
            return;
        }
        let before = self.echo;
        let is_newer = before.is_none_or(|echo| sent_at > echo.sent_at);
        if !is_newer {
            return;
        }
        let unbroken_since = match before {
            Some(echo) if now <= echo.sent_at + JUDGES_WITHIN + BEAT_INTERVAL => {
                echo.unbroken_since
            }
            _ => now,
        };
        self.echo = Some(Echo { sent_at, unbroken_since });
    }

    /// A beat to be sent, if one is due.
    pub(crate) fn take_beat(&mut self, now: Duration, drains: bool) -> Option<Beat> {
        if now < self.beat_due {
            return None;
        }
        self.beat_due = now + BEAT_INTERVAL;
        Some(Beat { from: self.own, sent_at: now, drains })
    }

    /// The nodes that are to be sent which rooms this one owns. Asked with each beat.
    pub(crate) fn take_newcomers(&mut self) -> Vec<NodeId> {
        let newcomers = self.nodes.iter_mut().filter(|(_, peer)| peer.tellings > 0);
        newcomers
            .map(|(node, peer)| {
                peer.tellings -= 1;
                *node
            })
            .collect()
    }

    pub(crate) fn next_beat_at(&self) -> Duration {
        self.beat_due
    }

    /// Whether what this node sends arrives anywhere.
    pub(crate) fn reaches_bus(&self, now: Duration) -> bool {
        self.echo.is_some_and(|echo| now <= echo.sent_at + CUT_OFF_AFTER)
    }

    /// Whether a node was heard lately.
    pub(crate) fn is_alive(&self, now: Duration, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|peer| now <= peer.heard_at + DEAD_AFTER)
    }

    /// Whether a node would have been heard lately, and was not. Neither alive nor dead is a node
    /// that this one could not have heard.
    pub(crate) fn is_dead(&self, now: Duration, node: NodeId) -> bool {
        let Some(echo) = self.echo.filter(|echo| now <= echo.sent_at + JUDGES_WITHIN) else {
            return false;
        };
        let heard_at = self.nodes.get(&node).map_or(Duration::ZERO, |peer| peer.heard_at);
        now > heard_at.max(echo.unbroken_since) + DEAD_AFTER
    }

    /// Since when a node has been silent.
    pub(crate) fn silent_for(&self, now: Duration, node: NodeId) -> Duration {
        let heard_at = self.nodes.get(&node).map_or(Duration::ZERO, |peer| peer.heard_at);
        now.saturating_sub(heard_at)
    }

    /// A node that can take over rooms: the one with the lowest number of those that live.
    pub(crate) fn successor(&self, now: Duration) -> Option<NodeId> {
        let mut alive =
            self.nodes.iter().filter(|(_, peer)| !peer.drains && now <= peer.heard_at + DEAD_AFTER);
        alive.next().map(|(node, _)| *node)
    }

    pub(crate) fn tidy(&mut self, now: Duration) {
        self.nodes.retain(|_, peer| now <= peer.heard_at + FORGOTTEN_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn beat(from: u64, sent_at: u64) -> Beat {
        Beat { from: NodeId(from), sent_at: ms(sent_at), drains: false }
    }

    #[test]
    fn a_silent_node_is_dead_only_to_one_that_could_have_heard_it() {
        let mut peers = Peers::new(ms(0), NodeId(1));
        assert!(!peers.is_dead(ms(5_000), NodeId(2)), "nothing is known yet");
        peers.beat(ms(0), beat(1, 0));
        peers.beat(ms(0), beat(2, 0));
        for at in (250..=1_250).step_by(250) {
            peers.beat(ms(at), beat(1, at));
        }
        assert!(peers.is_dead(ms(1_250), NodeId(2)));
        assert!(!peers.is_dead(ms(2_500), NodeId(2)), "this node itself hears nothing");
        assert!(peers.reaches_bus(ms(2_500)));
        assert!(!peers.reaches_bus(ms(3_000)));
        peers.beat(ms(5_000), beat(1, 5_000));
        assert!(!peers.is_dead(ms(5_500), NodeId(2)), "it has just begun to hear again");
    }

    #[test]
    fn a_beat_that_was_long_under_way_does_not_show_that_the_bus_is_reached() {
        let mut peers = Peers::new(ms(0), NodeId(1));
        peers.beat(ms(0), beat(1, 0));
        peers.beat(ms(4_000), beat(1, 250));
        assert!(!peers.reaches_bus(ms(4_000)));
        peers.beat(ms(4_000), beat(1, 9_000));
        assert!(!peers.reaches_bus(ms(4_000)), "none comes from the future");
    }

    #[test]
    fn a_node_that_was_silent_is_told_anew_and_more_than_once() {
        let mut peers = Peers::new(ms(0), NodeId(1));
        let told = |peers: &mut Peers| (0..10).map(|_| peers.take_newcomers().len()).sum::<usize>();
        peers.beat(ms(0), beat(2, 0));
        assert_eq!(told(&mut peers), usize::from(TELLINGS));
        peers.beat(ms(900), beat(2, 900));
        assert_eq!(told(&mut peers), 0);
        peers.beat(ms(2_000), beat(2, 2_000));
        assert_eq!(told(&mut peers), usize::from(TELLINGS));
    }

    #[test]
    fn nodes_without_end_are_not_remembered() {
        let mut peers = Peers::new(ms(0), NodeId(0));
        for node in 1..5_000 {
            peers.beat(ms(node), beat(node, 0));
        }
        assert_eq!(peers.nodes.len(), MOST_NODES);
        peers.tidy(ms(100_000));
        assert!(peers.nodes.is_empty());
    }
}
