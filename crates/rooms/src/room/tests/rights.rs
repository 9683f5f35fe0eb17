//! Which of several rights to moderate a room counts after restarts of the server.

use voicemesh_wire::signaling::Moderation;

use super::moderation::{MINUTE, back, kick};
use super::tickets::UNIX;
use super::*;

/// The room was made anew in the run in which its former moderator had left it empty, at once or so
/// much later that the server had forgotten it.
#[test]
fn after_a_restart_who_left_a_room_empty_takes_nothing_from_who_made_it_anew_in_the_same_run() {
    for is_forgotten in [false, true] {
        for former_comes_first in [false, true] {
            let mut before = World::of_server(1, true, 10 * MINUTE);
            let former = before.join(A, 1);
            before.leave(A, LeaveReason::Left);
            if is_forgotten {
                before = World::of_server(1, true, 60 * MINUTE);
            }
            before.room.set_unix_time(UNIX + 1_000 + 10);
            let holder = before.join(B, 2);
            assert!(holder.permissions.moderate);

            let mut after = World::of_server(2, true, Duration::ZERO);
            if former_comes_first {
                assert!(after.join_as(A, back(1, &former)).permissions.moderate);
                after.join(C, 2);
                let ban = Moderation::Ban { peer: peer_of(2), seconds: 86_400 };
                assert_eq!(after.decide(A, ban), None);
                assert!(after.room.check_ban(after.now, &back(2, &holder), None).is_ok());
            }
            assert!(after.join_as(B, back(2, &holder)).permissions.moderate);
            assert!(after.room.bans(after.now).is_empty());
            if !former_comes_first {
                assert!(!after.join_as(A, back(1, &former)).permissions.moderate);
            }
            assert!(after.may_moderate(2) && !after.may_moderate(1));
            assert_eq!(after.decide(A, kick(2)), Some(ErrorCode::NotModerator));
        }
    }
}

/// Two restarts: strangers had the room while its moderator of before was away.
#[test]
fn strangers_who_make_the_room_anew_after_a_restart_keep_nothing_beyond_the_next_one() {
    let mut first = World::of_server(1, true, 10 * MINUTE);
    let owner = first.join(A, 1);
    let mut second = World::of_server(2, true, 10 * MINUTE);
    second.join(B, 8);
    second.leave(B, LeaveReason::Left);
    second.room.set_unix_time(UNIX + 2_000 + 10);
    let stranger = second.join(C, 9);
    assert!(stranger.permissions.moderate);
    for owner_comes_first in [false, true] {
        let mut third = World::of_server(3, true, Duration::ZERO);
        let mut joins = [(C, back(9, &stranger)), (A, back(1, &owner))];
        if owner_comes_first {
            joins.reverse();
        }
        for (connection, join) in joins {
            third.join_as(connection, join);
        }
        assert!(third.may_moderate(1) && !third.may_moderate(9), "{owner_comes_first}");
    }
}
