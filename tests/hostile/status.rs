//! A member that changes how it takes part all the time.

use std::time::{Duration, Instant};

use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, LeaveReason, MemberStatus, ServerMessage,
};

use crate::client::{Client, Member, Received, run};
use crate::memory::WatchedServer as Server;

/// As many as the budget of messages has at once, but for what the join took.
const BURST: usize = 150;
/// As a thousand a second would be.
const PACE: Duration = Duration::from_millis(1);

async fn flood(member: &mut Client, statuses: usize) {
    let mut pace = tokio::time::interval(PACE);
    for number in 0..statuses {
        pace.tick().await;
        let status = MemberStatus { muted: number % 2 == 0, ..MemberStatus::default() };
        if !member.say_if_there(&ClientMessage::Status(status)).await {
            return;
        }
    }
}

#[test]
fn the_others_get_four_statuses_a_second_of_a_thousand_and_the_last_of_them() {
    run(async {
        // Connections of the server's own machine have no budget of their address, but their own.
        let server = Server::start(&[]);
        let mut noisy = Member::join(&server, "stage", "eve").await;
        let mut other = Member::join(&server, "stage", "bo").await;
        let last = MemberStatus { recording: true, ..MemberStatus::default() };
        let begun = Instant::now();
        flood(&mut noisy.client, BURST).await;
        noisy.client.say(&ClientMessage::Status(last)).await;
        let mut told = 0_u32;
        let id = noisy.joined.you;
        let until_last = other.client.until("the last status", |received| match received {
            Received::Message(ServerMessage::Status { peer, status }) if *peer == id => {
                told += 1;
                (*status == last).then_some(())
            }
            _ => None,
        });
        until_last.await;
        // One at once, and one for each quarter of a second.
        let most = 1 + (begun.elapsed().as_millis() / 250) as u32;
        println!("{told} of {} statuses, {:.1?}", BURST + 1, begun.elapsed());
        assert!(told <= most, "{told} in {:?}", begun.elapsed());
        noisy.client.handled(1).await;
    });
}

#[test]
fn a_member_that_goes_on_is_put_out_and_the_others_get_no_more_of_it() {
    run(async {
        let server = Server::start(&[]);
        let mut noisy = Member::join(&server, "stage", "eve").await;
        let mut other = Member::join(&server, "stage", "bo").await;
        let id = noisy.joined.you;
        let begun = Instant::now();
        flood(&mut noisy.client, 2_000).await;
        assert_eq!(noisy.client.end().await.0, Some(ErrorCode::TooManyMessages));
        let mut told = 0_u32;
        let left = other.client.until("its end", |received| match received {
            Received::Message(ServerMessage::Status { peer, .. }) if *peer == id => {
                told += 1;
                None
            }
            Received::Message(ServerMessage::PeerLeft { peer, reason }) if *peer == id => {
                Some(*reason)
            }
            _ => None,
        });
        assert_eq!(left.await, LeaveReason::Kicked);
        assert!(
            told <= 1 + (begun.elapsed().as_millis() / 250) as u32,
            "{told} in {:?}",
            begun.elapsed()
        );
        other.client.handled(1).await;
    });
}
