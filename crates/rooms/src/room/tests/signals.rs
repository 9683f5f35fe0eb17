//! Signals: what members send each other so that a link opens.

use super::*;

#[test]
fn a_receiver_of_signals_that_is_behind_is_named_once_a_second() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.sent.busy = Some(B);
    world.received(A);
    world.received(B);
    for second in 1..=3 {
        (0..20).for_each(|_| world.signal(A, peer_of(2)));
        assert!(world.received(B).is_empty());
        let received = world.received(A);
        let [ServerMessage::Error { code: ErrorCode::ReceiverBusy, fatal: false, peer, .. }] =
            &received[..]
        else {
            panic!("{received:?}");
        };
        assert_eq!((*peer, world.sent.hints), (Some(peer_of(2)), second));
        world.now += Duration::from_secs(1);
    }
}

/// Where members go is not the sender's doing.
#[test]
fn what_is_said_of_signals_may_be_left_out() {
    let mut world = World::new();
    world.join(A, 1);
    let capabilities = Capabilities { relay_only: true, ..Capabilities::default() };
    world.join_as(B, Join { capabilities, ..join_of(2) });
    world.received(A);
    world.signal(A, peer_of(9));
    world.signal(A, peer_of(2));
    assert_eq!(world.refusals(A), [ErrorCode::UnknownPeer, ErrorCode::RelayOnly]);
    assert_eq!(world.sent.hints, 2);
}
