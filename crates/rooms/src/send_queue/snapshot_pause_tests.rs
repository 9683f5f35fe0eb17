//! Speech to a receiver that is always behind.

use voicemesh_wire::signaling::ServerMessage;

use super::test_line::{TestLine, content};
use super::*;
use crate::line::Line as _;
use crate::output::Sender;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a receiver of 100 kB/s gets in 20 s, 50 packets of speech in each, while so many bytes of
/// changes come to it each 10 ms: packets of speech, snapshots, and the longest time for which a text
/// waited.
fn received(change: usize) -> (usize, usize, Duration) {
    const BYTES_PER_MS: usize = 100;
    let queue = TestLine::new(ms(0));
    queue.joined();
    let speaker = Purpose::From(Sender { peer: PeerId(uuid::Uuid::from_u128(1)), address: None });
    let (mut voice, mut snapshots, mut longest) = (0, 0, Duration::ZERO);
    let (mut free_at, mut texts) = (0, VecDeque::new());
    for now in 0..20_000 {
        if now % 20 == 0 {
            queue.packet(ms(now), vec![2; 90].into(), Delivery::Voice, speaker);
        }
        if now % 10 == 0 {
            queue.packet(ms(now), vec![3; change].into(), Delivery::Reliable, Purpose::Update);
        }
        if now % 1_000 == 0 {
            queue.packet(ms(now), vec![4; 50].into(), Delivery::Reliable, speaker);
            texts.push_back(now);
        }
        while free_at <= now {
            match queue.next(ms(now)) {
                Next::Nothing => break,
                Next::Snapshot(_) => {
                    snapshots += 1;
                    queue.begin_part();
                    let roster = vec![5; 80_000].into();
                    queue.packet(ms(now), roster, Delivery::Reliable, Purpose::Snapshot);
                    queue.end_part(None);
                }
                Next::Message(message) => {
                    let bytes = content(&message);
                    free_at = now.max(free_at) + (bytes.len() / BYTES_PER_MS) as u64;
                    voice += usize::from(bytes[0] == 2);
                    if bytes[0] == 4 {
                        let put = texts.pop_front().expect("it was put in");
                        longest = longest.max(ms(now - put));
                    }
                }
            }
        }
    }
    (voice, snapshots, longest)
}

#[test]
fn snapshots_one_after_the_other_keep_no_speech_from_a_receiver_that_is_behind() {
    let (voice, snapshots, longest) = received(8_000);
    assert!(
        voice >= 850 && (4..=8).contains(&snapshots),
        "{voice} of 1,000, {snapshots} snapshots"
    );
    assert!(longest <= ms(5_000), "a text waited for {longest:?}");
    let (voice, snapshots, _) = received(100);
    assert!(voice >= 990 && snapshots == 0, "{voice} of 1,000, {snapshots} snapshots");
}

/// The speech that a receiver of 100 kB/s gets in 20 s, of 1,000 packets, and the longest time
/// without any, in milliseconds, while ten members publish 8 kB each as often as they may.
#[test]
fn what_ten_members_publish_keeps_no_speech_from_a_slow_receiver() {
    const BYTES_PER_MS: u64 = 100;
    const PUBLISHED: usize = 8_000;
    let queue = TestLine::new(ms(0));
    queue.joined();
    let speaker = Purpose::From(Sender { peer: PeerId(uuid::Uuid::from_u128(1)), address: None });
    let metadata = [("key".to_owned(), "x".repeat(PUBLISHED))].into();
    let text = Text::from(&ServerMessage::RoomMetadata { metadata });
    let (mut heard, mut heard_at, mut longest, mut free_at) = (0, 0, 0, 0);
    // The room's version, and what the receiver counts.
    let (mut version, mut counted, mut marks) = (0_u32, 0, 0);
    for now in 0..20_000 {
        if now % 20 == 0 {
            queue.packet(ms(now), vec![2; 90].into(), Delivery::Voice, speaker);
        }
        // 32 kB each at once, then 4 kB/s.
        if now % 2_000 == 0 || now < 3 {
            for number in 0..10 {
                let by = Publisher::Member(PeerId(uuid::Uuid::from_u128(number)));
                queue.published(ms(now), by, &text);
                version += 1;
            }
        }
        if now % 5_000 == 2_100 {
            let mark = [&[7], &version.to_be_bytes()[..]].concat();
            queue.packet(ms(now), mark.into(), Delivery::Reliable, Purpose::Notice);
        }
        while free_at <= now {
            match queue.next(ms(now)) {
                Next::Nothing => break,
                Next::Snapshot(Part::Published(_, changes)) => {
                    queue.begin_part();
                    queue.text(ms(now), &text, Purpose::Snapshot);
                    queue.end_part(None);
                    counted += changes - 1;
                }
                Next::Snapshot(part) => panic!("{part:?} at {now}"),
                Next::Message(message) => {
                    let bytes = content(&message);
                    free_at = now.max(free_at) + bytes.len() as u64 / BYTES_PER_MS;
                    match bytes[0] {
                        2 => {
                            heard += 1;
                            longest = longest.max(now - heard_at);
                            heard_at = now;
                        }
                        7 => {
                            assert_eq!(bytes[1..], counted.to_be_bytes(), "a mark at {now}");
                            marks += 1;
                        }
                        _ => counted += 1,
                    }
                }
            }
        }
    }
    println!("{heard} of 1,000 packets, {longest} ms without; {counted} of {version} changes");
    assert!(heard >= 990 && longest <= 150, "{heard} of 1,000, {longest} ms without");
    assert_eq!((counted, marks), (version, 4));
}

#[test]
fn the_next_snapshot_is_due_when_the_pause_is_over_and_many_answers_end_it() {
    let demand = |queue: &TestLine| {
        (0..UPDATES + 1).for_each(|_| {
            queue.packet(ms(0), vec![3; 10].into(), Delivery::Reliable, Purpose::Update);
        });
    };
    let paused = || {
        let queue = TestLine::new(ms(0));
        queue.joined();
        demand(&queue);
        assert_eq!(queue.next(ms(0)), Next::Snapshot(Part::Roster));
        demand(&queue);
        assert_eq!(queue.next(ms(500)), Next::Nothing, "the first took half a second");
        queue
    };
    let queue = paused();
    let is_due = |now| queue.check(ms(now), ms(100_000), ms(100_000)).is_due;
    assert!(!is_due(2_400));
    assert!(is_due(2_500));
    assert_eq!(queue.next(ms(2_500)), Next::Snapshot(Part::Roster));

    let queue = paused();
    for _ in 0..10 {
        queue.packet(ms(500), vec![6; 1_000].into(), Delivery::Reliable, Purpose::Answer);
    }
    assert_eq!(queue.next(ms(600)), Next::Snapshot(Part::Roster));
}
