//! What members say of how they take part.

use voicemesh_wire::signaling::MemberStatus;

use super::*;

const D: ConnectionId = ConnectionId(4);

fn muted(muted: bool) -> MemberStatus {
    MemberStatus { muted, ..MemberStatus::default() }
}

impl World {
    fn run_timers(&mut self) {
        self.room.tick(self.now, &mut self.sent);
    }

    /// The statuses of a member that a connection was sent since the last time.
    fn statuses(&mut self, to: ConnectionId, of: u8) -> Vec<MemberStatus> {
        let received = self.received(to).into_iter().filter_map(|message| match message {
            ServerMessage::Status { peer, status } if peer == peer_of(of) => Some(status),
            _ => None,
        });
        received.collect()
    }
}

#[test]
fn a_status_is_sent_to_everyone_once_and_a_later_joiner_finds_it() {
    let mut world = World::new();
    world.join(A, 1);
    let second = world.join(B, 2);
    assert!(second.status, "the server says that it takes one");
    assert_eq!(second.peers[0].status, MemberStatus::default());
    world.received(A);
    world.say(A, ClientMessage::Status(muted(true)));
    let received = ServerMessage::Status { peer: peer_of(1), status: muted(true) };
    assert_eq!(world.received(B), std::slice::from_ref(&received));
    assert_eq!(world.received(A), [received], "the member counts the version with the others");
    assert_eq!(world.room.mark().version, second.roster.version + 1);
    world.now += Duration::from_secs(1);
    world.say(A, ClientMessage::Status(muted(true)));
    assert!(world.received(B).is_empty(), "nothing has changed");
    let third = world.join_as(C, Join { status: muted(true), ..join_of(3) });
    assert_eq!(third.peers.iter().map(|peer| peer.status.muted).collect::<Vec<_>>(), [true, false]);
    let newcomer = world.received(B).into_iter().find_map(|message| match message {
        ServerMessage::PeerJoined { peer } => Some(peer.status),
        _ => None,
    });
    assert_eq!(newcomer, Some(muted(true)), "as its join says");
}

#[test]
fn a_status_is_sent_at_most_four_times_a_second_and_the_newest_counts() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    let recording = MemberStatus { recording: true, ..MemberStatus::default() };
    let mut received = Vec::new();
    // A thousand changes in two seconds.
    for change in 0..1000 {
        world.now += Duration::from_millis(2);
        world.say(A, ClientMessage::Status(muted(change % 2 == 0)));
        if change % 125 == 0 {
            world.run_timers();
        }
        received.extend(world.statuses(B, 1));
    }
    world.say(A, ClientMessage::Status(recording));
    for _ in 0..2 {
        world.now += Duration::from_millis(250);
        world.run_timers();
    }
    received.extend(world.statuses(B, 1));
    assert!((4..=10).contains(&received.len()), "{} in 2.5 s", received.len());
    assert_eq!(received.last(), Some(&recording));
    world.now += Duration::from_secs(1);
    world.run_timers();
    assert!(world.statuses(B, 1).is_empty(), "it is sent once");
}

#[test]
fn a_status_that_waits_is_not_sent_after_a_newer_one() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.say(A, ClientMessage::Status(muted(true)));
    world.now += Duration::from_millis(100);
    world.say(A, ClientMessage::Status(muted(false)));
    // The interval is over, and the timer has not run yet.
    world.now += Duration::from_millis(160);
    world.say(A, ClientMessage::Status(muted(true)));
    world.now += Duration::from_secs(1);
    world.run_timers();
    assert_eq!(world.statuses(B, 1), [muted(true)]);
}

#[test]
fn a_status_that_waits_outlasts_a_change_of_connection_and_ends_with_the_member() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.say(A, ClientMessage::Status(muted(true)));
    world.say(A, ClientMessage::Status(muted(false)));
    let again = world.join_as(C, Join { status: muted(false), ..join_of(1) });
    assert!(again.taken_over.is_some());
    assert_eq!(world.statuses(B, 1), [muted(true)]);
    world.now += Duration::from_millis(250);
    world.run_timers();
    assert_eq!(world.statuses(B, 1), [muted(false)], "what its join says counts, and what waited");
    // What was on its way on the first one is older than the second one's join.
    world.now += Duration::from_millis(250);
    world.say(A, ClientMessage::Status(muted(true)));
    assert!(world.statuses(B, 1).is_empty());

    world.say(C, ClientMessage::Status(muted(true)));
    assert_eq!(world.statuses(B, 1), [muted(true)]);
    world.say(C, ClientMessage::Status(muted(false)));
    world.leave(C, LeaveReason::Lost);
    assert_eq!(world.room.statuses.len(), 0, "nothing is kept of a member that is gone");
    world.now += Duration::from_secs(1);
    world.run_timers();
    assert!(world.statuses(B, 1).is_empty());
    let back = world.join(D, 1);
    assert_eq!(back.order, 3);
    let newcomer = world.join(A, 3);
    assert_eq!(newcomer.peers.last().map(|peer| peer.status), Some(MemberStatus::default()));
}

#[test]
fn a_status_says_nothing_of_what_a_moderator_has_decided() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    let silenced = Permissions::default().without_speak();
    world.room.set_permissions(peer_of(1), silenced, &mut world.sent);
    world.say(A, ClientMessage::Status(muted(true)));
    world.now += Duration::from_secs(1);
    world.say(A, ClientMessage::Status(muted(false)));
    let joined = world.join(C, 3);
    assert_eq!((joined.peers[0].permissions, joined.peers[0].status), (silenced, muted(false)));
}
