//! What becomes of a host that is not there, and who takes its place. The clock is not asked.

use voicemesh::PeerState;

use super::*;
use crate::summary::tests::state;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| address(text)).collect()
}

/// A member of a session, by the order in which they came.
fn member(order: u16) -> PeerId {
    let id = format!("766d6573-683a-8000-8000-01020304{order:04x}");
    let mut bytes = [0; 16];
    let digits: Vec<char> = id.chars().filter(|letter| *letter != '-').collect();
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let pair: String = pair.iter().collect();
        *byte = u8::from_str_radix(&pair, 16).expect("hexadecimal");
    }
    let peer = PeerId(uuid::Uuid::from_bytes(bytes));
    assert!(peer.as_client().is_some());
    peer
}

/// The others, of whom the first hosts the call.
fn snapshot(you: u16, others: &[u16]) -> Snapshot {
    let peers = others.iter().map(|order| PeerState {
        peer: member(*order),
        name: format!("member {order}"),
        ..state(1, "")
    });
    Snapshot {
        connected: true,
        you: Some(member(you)),
        peers: peers.collect(),
        ..Snapshot::default()
    }
}

fn roster(you: u16, others: &[u16]) -> Roster {
    let mut roster = Roster::default();
    roster.observe(&snapshot(you, others));
    roster
}

#[test]
fn one_who_was_not_answered_asks_once_more_and_one_who_was_refused_does_not() {
    let mut attempts = Attempts::default();
    assert_eq!(attempts.failed(true), Some(Duration::ZERO));
    assert_eq!(attempts.failed(true), None);
    assert_eq!(Attempts::default().failed(false), None);
}

#[test]
fn a_host_that_is_gone_is_tried_without_end_and_ever_more_seldom() {
    let mut attempts = Attempts::default();
    attempts.joined();
    let waits: Vec<u64> =
        (0..6).filter_map(|_| attempts.failed(false)).map(|wait| wait.as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    attempts.failed = u32::MAX;
    assert_eq!(attempts.failed(false), Some(LAST_RETRY));
    attempts.joined();
    assert_eq!(attempts.failed(false), Some(FIRST_RETRY));
}

#[test]
fn addresses_of_both_families_take_turns() {
    let (four, six) = (address("192.0.2.1:7"), address("[2001:db8::1]:7"));
    let mut servers = Servers::of_link(vec![six, four]);
    assert_eq!([servers.next(), servers.next(), servers.next()], [[four], [six], [four]]);
    let mut one = Servers::of_link(vec![six]);
    assert_eq!([one.next(), one.next()], [[six], [six]]);
    assert!(servers.has_both_families() && !one.has_both_families());
}

/// A member names its own address: it must not come before the host whose link this is.
#[test]
fn the_addresses_of_the_link_are_asked_first_however_often_members_name_theirs() {
    let mut servers = Servers::of_link(addresses(&["192.0.2.1:7", "192.0.2.2:7"]));
    for last in 3..100 {
        let named = address(&format!("192.0.2.{last}:7"));
        servers.add_successors(&[named, address("192.0.2.1:7")]);
        let asked = servers.next();
        assert_eq!(asked[..3], [address("192.0.2.1:7"), address("192.0.2.2:7"), named]);
        assert!(asked.len() <= 2 + MOST_SUCCESSORS);
    }
    let many: Vec<String> = (1..100).map(|last| format!("192.0.2.{last}:7")).collect();
    let many = many.iter().map(|one| address(one)).collect();
    assert_eq!(Servers::of_link(many).next().len(), MOST_OF_LINK);
}

#[test]
fn who_has_taken_over_is_found_again_after_a_further_outage() {
    let mut servers = Servers::of_link(addresses(&["192.0.2.1:7"]));
    servers.add_successors(&addresses(&["192.0.2.3:7"]));
    servers.add_successors(&addresses(&["192.0.2.4:7"]));
    assert_eq!(servers.next(), addresses(&["192.0.2.1:7", "192.0.2.4:7", "192.0.2.3:7"]));
}

#[test]
fn who_has_been_there_longest_after_the_host_can_take_over() {
    let advice = |you, others: &[u16]| roster(you, others).advice().expect("it was in the call");
    assert!(advice(2, &[1, 3]).starts_with("You have been here longest: /host"));
    assert!(advice(3, &[1, 2]).starts_with("member 2 has been here longest"));
    assert!(advice(3, &[1]).starts_with("You are the only one left"));
    assert_eq!(Roster::default().advice(), None);
}

/// Names that are sealed come a moment later.
#[test]
fn who_came_first_is_known_in_whatever_order_members_become_known() {
    let mut roster = roster(3, &[]);
    for others in [&[4_u16] as &[u16], &[2, 4], &[1, 2, 4]] {
        roster.observe(&snapshot(3, others));
    }
    let order: Vec<u16> =
        roster.successors().into_iter().map(|(peer, _)| id_in_session(peer)).collect();
    assert_eq!(order, [2, 3, 4]);
    assert_eq!(roster.host_name(), Some("member 1"));
}

/// Ids begin anew behind the last one, 65535.
#[test]
fn who_came_first_is_known_where_ids_have_begun_anew() {
    let mut roster = roster(3, &[1, 2, 65_530, 65_535]);
    let order = |roster: &Roster| -> Vec<u16> {
        roster.successors().into_iter().map(|(peer, _)| id_in_session(peer)).collect()
    };
    assert_eq!(order(&roster), [65_530, 65_535, 2, 3]);
    assert_eq!(roster.host_name(), Some("member 1"));
    // Who comes later comes last, and one who goes changes nothing for the others.
    roster.observe(&snapshot(3, &[1, 2, 4, 65_535]));
    assert_eq!(order(&roster), [65_535, 2, 3, 4]);
    assert!(roster.advice().expect("it is in").starts_with("member 65535 has been here longest"));
}

#[test]
fn before_a_guest_takes_over_each_family_of_addresses_is_asked_within_a_bounded_time() {
    let (now, late) = (Duration::from_secs(100), Duration::from_secs(100) + ASKED_ONCE_MORE);
    let mut one = TakeOver::begin(now, 0);
    assert!(!one.asks_again(now));
    let mut both = TakeOver::begin(now, 1);
    assert!(both.asks_again(now) && !both.asks_again(now));
    assert!(!TakeOver::begin(now, 1).asks_again(late));
}

/// The program keeps a bounded number of events, so that the one that says it may be missing.
#[test]
fn a_connection_that_is_gone_without_a_word_is_tried_again() {
    let mut guest = Guest {
        place: String::new(),
        port: 7,
        servers: Servers::default(),
        attempts: Attempts::default(),
        retry_at: None,
        take_over: None,
        idle_since: None,
        session: None,
    };
    let ms = Duration::from_millis;
    assert!(!guest.is_untold(ms(0), true) && !guest.is_untold(ms(1_999), true));
    assert!(!guest.is_untold(ms(2_000), false), "it runs");
    assert!(!guest.is_untold(ms(3_000), true) && guest.is_untold(ms(5_000), true));
    guest.retry_at = Some(ms(6_000));
    assert!(!guest.is_untold(ms(9_000), true), "it is tried again as it is");
}

#[test]
fn what_was_known_stays_while_the_host_is_away() {
    let mut roster = roster(2, &[1, 3]);
    roster.would_serve(member(3), "192.0.2.3:7");
    roster.observe(&Snapshot { connected: false, ..snapshot(2, &[]) });
    assert_eq!(roster.successors().len(), 2);
    assert_eq!(roster.successors_addresses(), addresses(&["192.0.2.3:7"]));
    // Another session has other members.
    roster.observe(&snapshot(9, &[8]));
    assert_eq!(roster.successors_addresses(), addresses(&[]));
}

#[test]
fn only_addresses_of_the_three_longest_present_are_tried_and_only_of_one_machine_each() {
    let mut roster = roster(9, &[1, 2, 3, 4, 5]);
    for (order, address) in [
        (1, "192.0.2.1:7"),
        (2, "192.0.2.2:7"),
        (3, "255.255.255.255:7"),
        (4, "192.0.2.4:7"),
        (5, "192.0.2.5:7"),
    ] {
        roster.would_serve(member(order), address);
    }
    assert_eq!(roster.successors_addresses(), addresses(&["192.0.2.2:7", "192.0.2.4:7"]));
    for nonsense in
        ["", "192.0.2.2", "192.0.2.2:0", "224.0.0.1:7", "[ff02::1]:7", "0.0.0.0:7", "x:7"]
    {
        roster.would_serve(member(3), nonsense);
    }
    assert_eq!(roster.addresses.len(), 4);
    for order in 0..=255 {
        roster.would_serve(member(order), "192.0.2.9:7");
    }
    assert!(roster.addresses.len() <= 64, "{} are kept", roster.addresses.len());
}

#[test]
fn each_way_not_to_get_in_has_its_sentence_and_a_next_step() {
    let listens = "no program listens at 192.0.2.1:7788";
    for (why, end, said) in [
        (HOST_IS_FULL, End::Refused, "The host at 192.0.2.1:7788 is full."),
        (
            NO_ANSWER,
            End::GaveUp,
            "The host at 192.0.2.1:7788 gives no answer: the link may be old, the host gone, or a firewall between.",
        ),
        (listens, End::GaveUp, "No program listens at 192.0.2.1:7788."),
    ] {
        let ended = not_joined(why, "192.0.2.1:7788");
        let step = ended.next_step.as_deref().expect("a step");
        assert_eq!((ended.end, ended.message.as_str()), (end, format!("{said} {step}").as_str()));
    }
}

#[test]
fn a_damaged_link_is_refused_without_its_key() {
    let refused = Plan::guest("voicemesh://192.0.2.1:7788#k=AAECAwQFBgcICQoLDA0O");
    let failure = refused.err().expect("it is damaged");
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.message.contains("its key is damaged. Copy the whole link again."),
        "{failure:?}"
    );
    assert!(!failure.message.contains("AAEC"), "{failure:?}");
}
