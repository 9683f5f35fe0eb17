//! What a stay in a room came to: the moments that matter, and of every peer the last known state.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh::{Event, PeerId, PeerState, RoomEvent, Route, Snapshot, TimedEvent, VoiceEvent};

/// Peers that have left and are still in the summary. When there are more, the one that left first
/// is forgotten.
const MOST_GONE: usize = 256;

/// Fed with events and snapshots; all moments count from the call that joined.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The first time that the server let this peer in.
    pub joined_at: Option<Duration>,
    /// The first time that speech could flow.
    pub connected_at: Option<Duration>,
    /// How often the server let this peer in.
    pub joins: u32,
    /// Since when the server has been out of reach, if it is: the last time that anything came from
    /// it, or the beginning.
    pub away_since: Option<Duration>,
    /// Whether the session is complete now; texts need that.
    pub in_session: bool,
    /// Newcomers are not let into the room.
    pub locked: bool,
    /// The last snapshot.
    pub snapshot: Snapshot,
    peers: BTreeMap<PeerId, Seen>,
}

/// One peer, also after it has left.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its last known state.
    pub state: Option<PeerState>,
    /// When it was first heard.
    pub first_heard_at: Option<Duration>,
    /// When it was first reached directly.
    pub direct_at: Option<Duration>,
    /// When it left, if it did.
    pub left_at: Option<Duration>,
}

impl Summary {
    /// Nothing has happened; the server counts as out of reach from the start.
    pub fn new() -> Self {
        Self { away_since: Some(Duration::ZERO), ..Self::default() }
    }

    /// Something happened.
    pub fn event(&mut self, stamped: &TimedEvent) {
        let at = stamped.at;
        match &stamped.event {
            Event::Room(RoomEvent::Joined { .. }) => {
                self.joined_at.get_or_insert(at);
                self.joins += 1;
                self.locked = false;
                self.away_since = None;
            }
            Event::Room(RoomEvent::Connected) => {
                self.connected_at.get_or_insert(at);
                self.in_session = true;
            }
            Event::Room(RoomEvent::ServerAway { silent_for, .. }) => {
                self.away_since.get_or_insert(at.saturating_sub(*silent_for));
                self.in_session = false;
            }
            Event::Room(RoomEvent::PeerJoined { peer, name, .. }) => {
                let seen = self.peers.entry(*peer).or_default();
                seen.name.clone_from(name);
                seen.left_at = None;
            }
            Event::Room(RoomEvent::PeerLeft { peer, name, .. }) => {
                let seen = self.peers.entry(*peer).or_default();
                seen.name.clone_from(name);
                seen.left_at = Some(at);
                self.forget_the_first_to_leave();
            }
            Event::Voice(VoiceEvent::FirstHeard { peer }) => {
                self.peers.entry(*peer).or_default().first_heard_at.get_or_insert(at);
            }
            Event::Room(RoomEvent::RouteChanged { peer, route: Route::Direct }) => {
                self.peers.entry(*peer).or_default().direct_at.get_or_insert(at);
            }
            Event::Room(RoomEvent::RoomLocked { locked }) => self.locked = *locked,
            Event::Room(RoomEvent::Left) => self.in_session = false,
            _ => {}
        }
    }

    /// The situation now.
    pub fn observe(&mut self, snapshot: Snapshot) {
        for state in &snapshot.peers {
            // Who is not known from an event is about to be, or has just left.
            if let Some(seen) = self.peers.get_mut(&state.peer) {
                seen.state = Some(state.clone());
            }
        }
        self.snapshot = snapshot;
    }

    /// Everyone, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Seen)> {
        self.peers.iter().map(|(peer, seen)| (*peer, seen))
    }

    fn forget_the_first_to_leave(&mut self) {
        let gone = self.peers.iter().filter_map(|(peer, seen)| Some((seen.left_at?, *peer)));
        if gone.clone().count() > MOST_GONE
            && let Some((_, first)) = gone.min()
        {
            self.peers.remove(&first);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use voicemesh::{Metadata, PeerLeftReason};

    use super::*;
    use crate::people::tests::{arrival, peer};

    pub(crate) fn at(ms: u64, event: Event) -> TimedEvent {
        TimedEvent { at: Duration::from_millis(ms), event }
    }

    pub(crate) fn joined() -> Event {
        Event::Room(RoomEvent::Joined {
            you: peer(0xaaaa),
            name: "Ada".into(),
            room: "lobby".into(),
            session: 7,
            others: 1,
            relay_only: false,
        })
    }

    pub(crate) fn state(id: u16, name: &str) -> PeerState {
        PeerState {
            groups: ["Global".to_owned()].into(),
            status: voicemesh::MemberStatus::default(),
            permissions: voicemesh::Permissions::default(),
            held_in: [].into(),
            peer: peer(id),
            name: name.to_owned(),
            label: name.to_owned(),
            metadata: Metadata::new(),
            order: 1,
            route: Route::Direct,
            round_trip: Some(Duration::from_micros(12_345)),
            speaking: true,
            level_dbfs: Some(-20.04),
            frames_received: 500,
            frames_heard: 495,
            frames_concealed: 5,
            frames_from_copies: 2,
            frames_repaired: 1,
            buffer: Duration::from_millis(40),
            loss: 0.0,
            delay: None,
            recording: false,
            gain: 1.0,
            muted: false,
            encryption: None,
        }
    }

    fn left(id: u16) -> Event {
        Event::Room(RoomEvent::PeerLeft {
            peer: peer(id),
            name: "Ben".into(),
            reason: PeerLeftReason::Left,
        })
    }

    #[test]
    fn the_first_time_counts() {
        let mut summary = Summary::new();
        for stamped in [
            at(10, joined()),
            at(12, Event::Room(RoomEvent::Connected)),
            at(20, arrival(1, "Ben")),
            at(50, Event::Voice(VoiceEvent::FirstHeard { peer: peer(1) })),
            at(90, Event::Room(RoomEvent::RouteChanged { peer: peer(1), route: Route::Direct })),
            at(
                500,
                Event::Room(RoomEvent::ServerAway {
                    why: "gone".into(),
                    failure: None,
                    silent_for: Duration::ZERO,
                    retry_in: Duration::ZERO,
                }),
            ),
            at(600, joined()),
            at(700, Event::Room(RoomEvent::RouteChanged { peer: peer(1), route: Route::Direct })),
            at(800, Event::Voice(VoiceEvent::FirstHeard { peer: peer(1) })),
        ] {
            summary.event(&stamped);
        }
        assert_eq!((summary.joined_at, summary.joins), (Some(Duration::from_millis(10)), 2));
        assert_eq!(summary.connected_at, Some(Duration::from_millis(12)));
        let (_, seen) = summary.peers().next().expect("Ben");
        assert_eq!(seen.first_heard_at, Some(Duration::from_millis(50)));
        assert_eq!(seen.direct_at, Some(Duration::from_millis(90)));
        assert!(!summary.in_session, "joined again, but the session is not complete yet");
    }

    #[test]
    fn the_server_is_out_of_reach_from_the_first_failure_to_the_next_join() {
        let mut summary = Summary::new();
        let away = |silent_ms| {
            Event::Room(RoomEvent::ServerAway {
                why: "refused".into(),
                failure: None,
                silent_for: Duration::from_millis(silent_ms),
                retry_in: Duration::from_secs(1),
            })
        };
        summary.event(&at(5, away(0)));
        assert_eq!(summary.away_since, Some(Duration::ZERO));
        summary.event(&at(10, joined()));
        assert_eq!(summary.away_since, None);
        summary.event(&at(100, away(0)));
        summary.event(&at(200, away(0)));
        assert_eq!(summary.away_since, Some(Duration::from_millis(100)));
        summary.event(&at(300, joined()));
        summary.event(&at(20_000, away(16_000)));
        summary.event(&at(21_000, away(0)));
        assert_eq!(summary.away_since, Some(Duration::from_secs(4)), "since the last sign of life");
    }

    #[test]
    fn who_has_left_stays_in_the_summary_as_last_seen() {
        let mut summary = Summary::new();
        summary.event(&at(20, arrival(1, "Ben")));
        summary.observe(Snapshot { peers: vec![state(1, "Ben")], ..Snapshot::default() });
        summary.event(&at(900, left(1)));
        summary.observe(Snapshot::default());
        let (_, seen) = summary.peers().next().expect("Ben");
        assert_eq!(seen.left_at, Some(Duration::from_millis(900)));
        assert_eq!(seen.state.as_ref().map(|state| state.frames_heard), Some(495));
    }

    #[test]
    fn of_many_who_left_the_first_are_forgotten() {
        let mut summary = Summary::new();
        for id in 1..=(MOST_GONE as u16 + 10) {
            summary.event(&at(u64::from(id), arrival(id, "Ben")));
            summary.event(&at(u64::from(id), left(id)));
        }
        assert_eq!(summary.peers().count(), MOST_GONE);
        assert!(summary.peers().all(|(id, _)| id > peer(10)));
    }
}
