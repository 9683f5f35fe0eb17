use uuid::Uuid;
use voicemesh_wire::ClientId;
use voicemesh_wire::signaling::ServerMessage;

use super::cost::OVERHEAD_BYTES;
use super::test_line::{TestLine, content, packet_of};
use super::*;
use crate::line::Line as _;
use crate::output::Sender;

const PING: Duration = Duration::from_secs(15);
const JOIN: Duration = Duration::from_secs(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const SENDER: Purpose = sent_by(1);
const OTHER: Purpose = sent_by(2);

const fn sent_by(number: u128) -> Purpose {
    Purpose::From(Sender { peer: PeerId(Uuid::from_u128(number)), address: None })
}

fn voice(queue: &TestLine, now: Duration, number: u8) -> Enqueue {
    queue.packet(now, Bytes::from(vec![number]), Delivery::Voice, SENDER)
}

fn reliable(queue: &TestLine, packet: Vec<u8>, purpose: Purpose) -> Enqueue {
    queue.packet(ms(0), packet.into(), Delivery::Reliable, purpose)
}

fn next(queue: &TestLine, now: Duration) -> Option<OutgoingMessage> {
    match queue.next(now) {
        Next::Message(message) => Some(message),
        Next::Nothing => None,
        Next::Snapshot(_) => panic!("no snapshot is due"),
    }
}

fn drain(queue: &TestLine, now: Duration) -> Vec<OutgoingMessage> {
    std::iter::from_fn(|| next(queue, now)).collect()
}

fn says(text: &Text, what: &str) -> bool {
    String::from_utf8_lossy(text.bytes()).contains(what)
}

/// proves: D-24
#[test]
fn late_voice_is_dropped_oldest_first() {
    let queue = TestLine::new(ms(0));
    for number in 0..VOICE.packets as u8 {
        assert_eq!(voice(&queue, ms(0), number), Enqueue::Queued);
    }
    assert_eq!(voice(&queue, ms(0), 99), Enqueue::VoiceDropped(1));
    let taken = drain(&queue, ms(0));
    assert_eq!(taken.len(), VOICE.packets);
    assert_eq!(taken[0], packet_of(vec![1]));
    assert_eq!(taken[VOICE.packets - 1], packet_of(vec![99]));
}

#[test]
fn data_for_a_slow_receiver_is_refused_and_waits_behind_nothing() {
    let queue = TestLine::new(ms(0));
    let put = |number: u8| queue.packet(ms(0), Bytes::from(vec![number]), Delivery::Data, SENDER);
    assert_eq!(
        (0..DATA.packets).map(|_| put(1)).filter(|put| *put == Enqueue::Queued).count(),
        DATA.packets
    );
    assert_eq!(put(1), Enqueue::Refused);
    voice(&queue, ms(0), 2);
    reliable(&queue, vec![3], SENDER);
    let first: Vec<_> = drain(&queue, ms(0)).into_iter().take(4).collect();
    for number in 1..=3 {
        assert!(first.contains(&packet_of(vec![number])), "{first:?}");
    }
}

/// proves: D-24
#[test]
fn voice_that_waited_too_long_is_not_sent() {
    let queue = TestLine::new(ms(0));
    voice(&queue, ms(0), 1);
    voice(&queue, ms(300), 2);
    let next = Next::Message(packet_of(vec![2]));
    let taken = Taken { next, voice_dropped: 1, voice_age: Some(ms(101)) };
    assert_eq!(queue.take(ms(401)), taken);
}

/// proves: D-24
#[test]
fn voice_and_reliable_messages_take_turns() {
    let queue = TestLine::new(ms(0));
    for number in 0..3 {
        reliable(&queue, vec![100 + number], SENDER);
        voice(&queue, ms(0), number);
    }
    let mut order: Vec<u8> =
        drain(&queue, ms(0)).into_iter().map(|message| content(&message)[0]).collect();
    assert!(order.windows(2).all(|pair| (pair[0] < 100) != (pair[1] < 100)), "{order:?}");
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2, 100, 101, 102]);
}

#[test]
fn large_voice_and_data_packets_are_bounded_by_their_bytes() {
    let queue = TestLine::new(ms(0));
    let puts =
        (0..100).map(|_| queue.packet(ms(0), vec![0; 16_000].into(), Delivery::Voice, SENDER));
    assert_eq!(puts.filter(|put| *put == Enqueue::VoiceDropped(1)).count(), 99);
    let puts =
        (0..100).map(|_| queue.packet(ms(0), vec![0; 16_000].into(), Delivery::Data, SENDER));
    assert_eq!(puts.filter(|put| *put == Enqueue::Queued).count(), 2);
    assert_eq!(drain(&queue, ms(0)).len(), 1 + 2);
    assert_eq!(
        queue.packet(ms(0), vec![0; 16_000].into(), Delivery::Data, SENDER),
        Enqueue::Queued,
        "there is room again"
    );
}

#[test]
fn a_large_message_is_followed_by_as_many_bytes_of_speech() {
    let queue = TestLine::new(ms(0));
    (0..2).for_each(|_| assert_eq!(reliable(&queue, vec![7; 20_000], SENDER), Enqueue::Queued));
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![7; 20_000])));
    for number in 0..30 {
        assert_eq!(voice(&queue, ms(0), number), Enqueue::Queued);
    }
    for number in 0..30 {
        assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![number])));
    }
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![7; 20_000])));
}

#[test]
fn one_sender_has_its_share_and_ends_no_other() {
    let queue = TestLine::new(ms(0));
    let puts: Vec<Enqueue> = (0..1_000).map(|_| reliable(&queue, vec![0; 1_000], SENDER)).collect();
    let queued = puts.iter().filter(|put| **put == Enqueue::Queued).count();
    assert_eq!(queued, 64 * 1024 / (1_000 + OVERHEAD_BYTES));
    assert_eq!(puts.iter().filter(|put| **put == Enqueue::Busy).count(), 1_000 - queued);
    assert_eq!(
        reliable(&queue, vec![0; 4_000], OTHER),
        Enqueue::Queued,
        "another sender is not affected"
    );
    assert_eq!(queue.ending(), None);
    (0..4).for_each(|_| drop(next(&queue, ms(0))));
    assert_eq!(
        reliable(&queue, vec![0; 1_000], SENDER),
        Enqueue::Queued,
        "what was written makes room"
    );
}

#[test]
fn too_many_updates_become_one_snapshot_when_it_is_their_turn() {
    let queue = TestLine::new(ms(0));
    let update = || reliable(&queue, vec![1; 1_000], Purpose::Update);
    reliable(&queue, vec![9], SENDER);
    let puts: Vec<Enqueue> = (0..1_000).map(|_| update()).collect();
    assert!(puts.iter().filter(|put| **put == Enqueue::Queued).count() <= UPDATE_BYTES / 1_000);
    reliable(&queue, vec![8], SENDER);
    assert_eq!(reliable(&queue, vec![2], Purpose::Notice), Enqueue::Covered);
    assert!(queue.defer_snapshot(), "one is due already");
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![9])));
    assert_eq!(queue.next(ms(0)), Next::Snapshot(Part::Roster));
    part(&queue, 5, Some(Part::Room));
    assert_eq!(update(), Enqueue::Queued, "what changes from now on is sent");
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![5])));
    assert!(queue.defer_snapshot(), "it is not complete");
    let rest = Part::Members(vec![ClientId(7)]);
    assert_eq!(queue.next(ms(0)), Next::Snapshot(Part::Room));
    part(&queue, 6, Some(rest.clone()));
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![6])));
    assert_eq!(queue.next(ms(0)), Next::Snapshot(rest));
    part(&queue, 7, None);
    assert_eq!(update(), Enqueue::Covered, "one more was asked for");
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![7])));
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![8])));
    assert_eq!(queue.next(ms(0)), Next::Snapshot(Part::Roster));
    part(&queue, 9, None);
    assert_eq!(first_bytes(&queue), [9]);
    assert!(!queue.defer_snapshot(), "nothing waits");
}

/// A moderator who decides about the password again and again ends no one who reads slowly.
#[test]
fn of_tickets_that_wait_only_the_newest_is_sent() {
    let queue = TestLine::new(ms(0));
    reliable(&queue, vec![9], SENDER);
    for number in 0..200 {
        let ticket = [vec![number], vec![0; 800]].concat();
        assert_eq!(reliable(&queue, ticket, Purpose::Renewal), Enqueue::Queued);
    }
    // A snapshot in place of updates leaves it.
    (0..100).for_each(|_| _ = reliable(&queue, vec![1; 1_000], Purpose::Update));
    assert_eq!(reliable(&queue, vec![8], Purpose::Answer), Enqueue::Queued);
    assert_eq!(queue.ending(), None);
    let mut sent = Vec::new();
    while let Next::Message(message) = queue.next(ms(0)) {
        sent.push(content(&message)[0]);
    }
    assert_eq!(sent, [9, 199]);
}

#[test]
fn of_what_is_published_to_a_receiver_that_is_behind_the_last_state_is_sent() {
    let queue = TestLine::new(ms(0));
    let (ana, ben) = (Publisher::Member(PeerId(Uuid::from_u128(1))), Publisher::Room);
    let text = |bytes: usize| {
        Text::from(&ServerMessage::Move { groups: vec!["x".repeat(bytes)], number: None })
    };
    let publish = |by, bytes| queue.published(ms(0), by, &text(bytes));
    let asked = || queue.next(ms(0));
    assert_eq!(publish(ana, 16_000), Enqueue::Queued, "nothing waits");
    assert!(next(&queue, ms(0)).is_some());
    // Small ones wait themselves.
    reliable(&queue, vec![9], SENDER);
    assert_eq!(publish(ana, 100), Enqueue::Queued);
    assert_eq!(publish(ana, 8_000), Enqueue::Covered);
    assert_eq!(publish(ben, 8_000), Enqueue::Covered);
    assert_eq!(publish(ana, 100), Enqueue::Covered, "behind the large one of the same");
    // Another update changes nothing of that, the roster's mark does: it counts what came before.
    reliable(&queue, vec![1], Purpose::Update);
    assert_eq!(publish(ana, 8_000), Enqueue::Covered);
    reliable(&queue, vec![7], Purpose::Notice);
    assert_eq!(publish(ana, 100), Enqueue::Covered, "what is noted is not followed by a message");
    assert_eq!(publish(ana, 100), Enqueue::Covered);
    reliable(&queue, vec![8], SENDER);
    let pong = Text::from(&ServerMessage::Pong { token: 1 });
    assert_eq!(queue.pong(ms(0), &pong), Enqueue::Queued);
    assert_eq!(next(&queue, ms(0)).map(|pong| content(&pong)[0]), Some(b'{'));
    assert_eq!(asked(), Next::Message(packet_of(vec![9])));
    assert!(matches!(asked(), Next::Message(OutgoingMessage::Text(_))), "the small one");
    assert_eq!(asked(), Next::Snapshot(Part::Published(ana, 3)));
    part(&queue, 5, None);
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![5])));
    assert_eq!(asked(), Next::Snapshot(Part::Published(ben, 1)));
    part(&queue, 6, None);
    let binary = |byte| Some(packet_of(vec![byte]));
    assert_eq!([next(&queue, ms(0)), next(&queue, ms(0))], [binary(6), binary(1)]);
    assert_eq!(next(&queue, ms(0)), binary(7));
    assert_eq!(asked(), Next::Snapshot(Part::Published(ana, 2)));
    assert_eq!([next(&queue, ms(0)), next(&queue, ms(0))], [binary(8), None]);
    let queue = queue.0.borrow();
    assert_eq!((queue.notes, queue.updates), (0, 0));
}

#[test]
fn a_new_mark_joins_what_the_former_one_parted_and_who_came_again_is_another() {
    let queue = TestLine::new(ms(0));
    let person = |number| PeerId(Uuid::from_u128(number));
    let text = Text::from(&ServerMessage::Move { groups: vec!["x".repeat(8_000)], number: None });
    let publish = |number| queue.published(ms(0), Publisher::Member(person(number)), &text);
    let mark = || reliable(&queue, vec![7], Purpose::Notice);
    reliable(&queue, vec![9], SENDER);
    for _ in 0..20 {
        publish(1);
        publish(2);
        mark();
    }
    assert_eq!(queue.0.borrow().notes, 2, "one of each, before the mark");
    publish(1);
    queue.arrives(person(1));
    reliable(&queue, vec![1], Purpose::Update);
    publish(1);
    let asked = || queue.next(ms(0));
    let of = |number, changes| {
        Next::Snapshot(Part::Published(Publisher::Member(person(number)), changes))
    };
    assert_eq!(asked(), Next::Message(packet_of(vec![9])));
    assert_eq!([asked(), asked()], [Next::Snapshot(Part::Missed(20)), of(2, 20)]);
    assert_eq!(asked(), Next::Message(packet_of(vec![7])));
    assert_eq!(asked(), Next::Snapshot(Part::Missed(1)));
    assert_eq!(asked(), Next::Message(packet_of(vec![1])));
    assert_eq!([asked(), asked()], [of(1, 1), Next::Nothing]);
}

#[test]
fn a_snapshot_covers_what_was_published_before_it() {
    let queue = TestLine::new(ms(0));
    let text = Text::from(&ServerMessage::Move { groups: vec!["x".repeat(8_000)], number: None });
    reliable(&queue, vec![9], SENDER);
    for number in 0..UPDATES as u128 {
        let by = Publisher::Member(PeerId(Uuid::from_u128(number)));
        assert_eq!(queue.published(ms(0), by, &text), Enqueue::Covered);
    }
    assert!(!queue.0.borrow().snapshot_due);
    queue.published(ms(0), Publisher::Room, &text);
    queue.published(ms(0), Publisher::Room, &text);
    reliable(&queue, vec![8], SENDER);
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![9])));
    assert_eq!(queue.next(ms(0)), Next::Snapshot(Part::Roster));
    part(&queue, 5, None);
    assert_eq!(first_bytes(&queue), [5, 8]);
}

/// What a room does when it is asked for a part.
fn part(queue: &TestLine, byte: u8, next: Option<Part>) {
    queue.begin_part();
    assert_eq!(reliable(queue, vec![byte], Purpose::Snapshot), Enqueue::Queued);
    queue.end_part(next);
}

fn first_bytes(queue: &TestLine) -> Vec<u8> {
    drain(queue, ms(0)).into_iter().map(|message| content(&message)[0]).collect()
}

#[test]
fn what_a_member_sends_does_not_come_before_the_state_that_announces_it() {
    let queue = TestLine::new(ms(0));
    reliable(&queue, vec![9], SENDER);
    // The sender's arrival, then what it sends, then more changes than may wait.
    reliable(&queue, vec![1], Purpose::Update);
    reliable(&queue, vec![8], OTHER);
    reliable(&queue, vec![7], Purpose::Answer);
    let puts: Vec<Enqueue> =
        (0..UPDATES).map(|_| reliable(&queue, vec![1], Purpose::Update)).collect();
    assert_eq!(puts.last(), Some(&Enqueue::Covered));
    assert_eq!(next(&queue, ms(0)), Some(packet_of(vec![9])));
    assert_eq!(queue.next(ms(0)), Next::Snapshot(Part::Roster));
    part(&queue, 5, None);
    assert_eq!(first_bytes(&queue), [5, 8, 7]);
}

#[test]
fn a_pong_waits_behind_little_and_pongs_that_are_not_read_are_bounded() {
    let queue = TestLine::new(ms(0));
    let pong = || queue.pong(ms(0), &Text::from(&ServerMessage::Pong { token: 1 }));
    let brace = b'{';
    reliable(&queue, vec![1; 1_000], SENDER);
    assert_eq!(pong(), Enqueue::Queued);
    assert_eq!(first_bytes(&queue), [1, brace], "in order while little waits");
    assert!((0..50).all(|_| reliable(&queue, vec![1; 1_000], SENDER) == Enqueue::Queued));
    assert_eq!(pong(), Enqueue::Queued);
    voice(&queue, ms(0), 2);
    assert_eq!(first_bytes(&queue)[0], brace, "before everything else");
    let answered = (0..10_000).take_while(|_| pong() == Enqueue::Queued).count();
    assert!(answered * 64 <= ANSWER_BYTES && answered > 100, "{answered}");
    assert_eq!(queue.ending(), Some(CloseReason::SlowConsumer));
}

#[test]
fn a_pong_in_order_waits_behind_neither_voice_nor_data() {
    let queue = TestLine::new(ms(0));
    let small = BEFORE_PONG_BYTES / cost(1);
    (0..small).for_each(|_| assert_eq!(reliable(&queue, vec![1], SENDER), Enqueue::Queued));
    for _ in 0..20 {
        queue.packet(ms(0), Bytes::from(vec![2; 1_000]), Delivery::Voice, SENDER);
        queue.packet(ms(0), Bytes::from(vec![3; 1_000]), Delivery::Data, OTHER);
    }
    assert_eq!(queue.pong(ms(0), &Text::from(&ServerMessage::Pong { token: 1 })), Enqueue::Queued);
    let taken = first_bytes(&queue);
    assert_eq!(
        taken.iter().position(|first| *first == b'{'),
        Some(small),
        "behind what was there, and only that"
    );
    assert_eq!(taken.len(), small + 1 + 40);
}

#[test]
fn a_pong_in_order_does_not_wait_for_a_snapshot_that_comes_in_between() {
    let queue = TestLine::new(ms(0));
    reliable(&queue, vec![1], Purpose::Update);
    assert_eq!(queue.pong(ms(0), &Text::from(&ServerMessage::Pong { token: 1 })), Enqueue::Queued);
    assert!(queue.defer_snapshot());
    assert!(matches!(queue.next(ms(0)), Next::Message(OutgoingMessage::Text(_))));
    assert_eq!(queue.next(ms(0)), Next::Snapshot(Part::Roster));
}

#[test]
fn a_joiner_of_a_large_room_gets_what_is_left_as_a_snapshot() {
    let queue = TestLine::new(ms(0));
    let puts: Vec<Enqueue> =
        (0..100).map(|_| reliable(&queue, vec![1; 16_000], Purpose::Snapshot)).collect();
    assert_eq!(
        puts.iter().filter(|put| **put == Enqueue::Queued).count(),
        1 + senders::SHARED / cost(16_000)
    );
    assert_eq!(queue.ending(), None);
    while queue.next(ms(0)) != Next::Snapshot(Part::Roster) {}
    assert_eq!(queue.next(ms(0)), Next::Nothing);
}

#[test]
fn of_notices_only_the_newest_waits() {
    let queue = TestLine::new(ms(0));
    (0..100).for_each(|number| {
        assert_eq!(reliable(&queue, vec![number], Purpose::Notice), Enqueue::Queued)
    });
    assert_eq!(drain(&queue, ms(0)), [packet_of(vec![99])]);
}

#[test]
fn who_asks_and_does_not_read_the_answers_is_told_so_and_ends() {
    let queue = TestLine::new(ms(0));
    let puts: Vec<Enqueue> =
        (0..1_000).map(|_| reliable(&queue, vec![0; 36], Purpose::Answer)).collect();
    assert_eq!(puts.iter().filter(|put| **put == Enqueue::Queued).count(), ANSWER_BYTES / 100);
    assert_eq!(puts.iter().filter(|put| **put == Enqueue::Overflow).count(), 1);
    assert_eq!(queue.ending(), Some(CloseReason::SlowConsumer));
    let words = drain(&queue, ms(0));
    assert!(
        matches!(&words[..], [OutgoingMessage::Text(text)] if says(text, "slow-consumer")),
        "{words:?}"
    );
}

#[test]
fn who_takes_not_one_byte_for_ten_seconds_is_lost() {
    let queue = TestLine::new(ms(0));
    queue.joined();
    let check = |now: u64| {
        queue.heard(ms(now));
        queue.check(ms(now), PING, JOIN).liveness
    };
    queue.wrote(ms(1_000), true, true);
    queue.wrote(ms(6_000), false, true);
    assert_eq!(check(10_999), Liveness::Well);
    queue.wrote(ms(10_999), true, true);
    assert_eq!(check(20_998), Liveness::Well, "a byte was taken");
    queue.wrote(ms(20_998), true, false);
    assert_eq!(check(60_000), Liveness::Well, "nothing waits");
    queue.wrote(ms(60_000), false, true);
    assert_eq!(check(70_000), Liveness::Stuck);
    assert_eq!(queue.ending(), Some(CloseReason::SlowConsumer));
    assert!(queue.is_abandoned());
}

#[test]
fn who_takes_a_large_message_slowly_is_not_silent() {
    let queue = TestLine::new(ms(0));
    queue.joined();
    // It sees no ping before it has all of the message, and sends nothing by itself.
    for second in 0..300 {
        queue.wrote(ms(second * 1_000), true, true);
        assert_eq!(
            queue.check(ms(second * 1_000), PING, JOIN).liveness,
            Liveness::Well,
            "after {second} s"
        );
    }
    queue.wrote(ms(300_000), true, false);
    assert_eq!(queue.check(ms(329_999), PING, JOIN).liveness, Liveness::Well);
    assert_eq!(
        queue.check(ms(330_000), PING, JOIN).liveness,
        Liveness::Lost,
        "what a socket takes at once says nothing"
    );
}

#[test]
fn who_does_not_join_in_time_is_told_so() {
    let queue = TestLine::new(ms(0));
    queue.check(ms(9_999), PING, JOIN);
    assert_eq!(queue.ending(), None);
    queue.check(ms(10_000), PING, JOIN);
    assert_eq!(queue.ending(), Some(CloseReason::Refused));
    assert!(
        matches!(&drain(&queue, ms(10_000))[..], [OutgoingMessage::Text(text)] if says(text, "join-timeout"))
    );
}

#[test]
fn a_silent_peer_is_pinged_once_and_then_lost() {
    let queue = TestLine::new(ms(0));
    queue.joined();
    assert_eq!(queue.check(ms(15_000), PING, JOIN).liveness, Liveness::Well);
    queue.check(ms(15_250), PING, JOIN);
    assert!(matches!(&drain(&queue, ms(15_250))[..], [OutgoingMessage::Ping]));
    assert_eq!(queue.check(ms(29_999), PING, JOIN).liveness, Liveness::Well);
    assert_eq!(queue.check(ms(30_000), PING, JOIN).liveness, Liveness::Lost);
    assert!(queue.is_abandoned());
}

#[test]
fn a_peer_that_answers_stays() {
    let queue = TestLine::new(ms(0));
    queue.joined();
    let mut pings = 0;
    for second in 1..600 {
        queue.heard(ms(second * 1_000));
        assert_eq!(queue.check(ms(second * 1_000), PING, JOIN).liveness, Liveness::Well);
        pings += drain(&queue, ms(second * 1_000)).len();
    }
    assert_eq!(pings, 39, "one every 15 s");
}

#[test]
fn who_does_not_say_goodbye_is_not_waited_for() {
    let queue = TestLine::new(ms(0));
    queue.end(ms(0), CloseReason::GoingAway);
    queue.check(ms(1_999), PING, JOIN);
    assert!(!queue.is_abandoned());
    queue.check(ms(2_000), PING, JOIN);
    assert!(queue.is_abandoned());
    assert_eq!(queue.ending(), Some(CloseReason::GoingAway));
}

/// Everything is put in that can be, by all others of a full room, to a receiver that takes
/// nothing.
#[test]
fn all_that_waits_is_bounded_whatever_is_sent() {
    let queue = TestLine::new(ms(0));
    assert_eq!(
        reliable(&queue, vec![0; 1_000_000], Purpose::Snapshot),
        Enqueue::Queued,
        "the answer to the join"
    );
    for size in [16_000, 1_000, 36] {
        for number in 0..10_000_u128 {
            let sender = sent_by(number);
            for _ in 0..4 {
                reliable(&queue, vec![0; size], Purpose::Snapshot);
                reliable(&queue, vec![0; size], sender);
                queue.packet(ms(0), vec![number as u8; size].into(), Delivery::Voice, sender);
                queue.packet(ms(0), vec![0; size].into(), Delivery::Data, sender);
            }
            reliable(&queue, vec![0; size / 4], Purpose::Update);
            let by = Publisher::Member(PeerId(Uuid::from_u128(number)));
            queue.published(ms(0), by, &Text::from(&ServerMessage::Pong { token: 1 }));
            reliable(&queue, vec![0; 36], Purpose::Notice);
        }
    }
    while queue.0.borrow().answer_bytes + cost(1_000) <= ANSWER_BYTES {
        reliable(&queue, vec![0; 1_000], Purpose::Answer);
    }
    assert_eq!(queue.ending(), None);
    assert_eq!(next(&queue, ms(0)).map(|message| message.len()), Some(1_000_000));
    let mut waiting = 0;
    loop {
        match queue.next(ms(0)) {
            Next::Message(message) => waiting += cost(message.len()),
            Next::Snapshot(_) => {}
            Next::Nothing => break,
        }
    }
    assert!((BYTES / 2..=BYTES).contains(&waiting), "{waiting}");
}

/// What others bring about ends no connection: its owner did not ask for it.
#[test]
fn answers_that_a_connection_can_do_without_are_left_out_where_many_wait() {
    let queue = TestLine::new(ms(0));
    let put = |purpose| reliable(&queue, vec![1; 300], purpose);
    let taken = (0..1_000).filter(|_| put(Purpose::Hint) == Enqueue::Queued).count();
    assert_eq!(taken, HINT_BYTES / (300 + OVERHEAD_BYTES));
    assert_eq!(put(Purpose::Hint), Enqueue::Omitted);
    assert_eq!(put(Purpose::Answer), Enqueue::Queued, "what it asked for is another matter");
    assert_eq!(drain(&queue, ms(0)).len(), taken + 1);
    assert_eq!(put(Purpose::Hint), Enqueue::Queued);
}
