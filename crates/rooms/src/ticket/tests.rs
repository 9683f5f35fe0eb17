//! Tickets: what is sealed, and what is read again.

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of the operator";

fn issuer() -> TicketIssuer {
    TicketIssuer::new(TestCipher::key(SECRET, 7), [9; 32])
}

fn peer(number: u8) -> PeerId {
    PeerId(Uuid::from_bytes([number; 16]))
}

fn record() -> TicketRecord {
    let epoch = Epoch { lineage: 0x0102_0304_0506_0708, number: 3 };
    TicketRecord {
        room: "tea room é".to_owned(),
        peer: peer(1),
        issued_at: NOW,
        member_since: MemberSince::second(NOW - 5_000).next(),
        server_run: 7,
        password: Some(PasswordRecord {
            hash: Some(SaltedHash { salt: [4; 16], hash: [5; 32] }),
            epoch,
            counts_since: Some(NOW - 1),
        }),
        owner: Some(OwnerRight { epoch: epoch.next(), begun_in: Some(6) }),
        grant: Some(Grant {
            name: Some("Ana".to_owned()),
            permissions: Permissions { listen: true, moderate: true, ..Permissions::NONE },
            subject: None,
            expires_at: NOW + 60,
        }),
    }
}

#[test]
fn a_ticket_says_what_was_sealed() {
    let longest = "x".repeat(FOLDED_ROOM_NAME_BYTES);
    let open = |counts_since| {
        record().password.map(|of| PasswordRecord { hash: None, counts_since, ..of })
    };
    for record in [
        record(),
        TicketRecord { password: None, ..record() },
        TicketRecord { password: open(None), ..record() },
        TicketRecord { password: open(Some(NOW)), owner: None, ..record() },
        TicketRecord { grant: None, ..record() },
        TicketRecord {
            owner: record().owner.map(|right| OwnerRight { begun_in: None, ..right }),
            ..record()
        },
        TicketRecord { owner: None, room: String::new(), ..record() },
        TicketRecord { password: None, owner: None, grant: None, room: longest, ..record() },
    ] {
        let ticket = issuer().seal(&record).expect("a ticket");
        assert!(ticket.len() <= TICKET_BYTES * 3 / 4, "{}", ticket.len());
        let again = TestCipher::key(SECRET, 8);
        assert!(
            again.open(&ticket, &record.room, record.peer, NOW.into()) == Some(record),
            "after a restart as well"
        );
    }
}

#[test]
fn a_ticket_is_for_one_member_of_one_room_for_a_day() {
    let mut issuer = issuer();
    let ticket = issuer.seal(&record()).expect("a ticket");
    let opens =
        |room: &str, peer, unix: u64| issuer.key().open(&ticket, room, peer, unix.into()).is_some();
    assert!(opens("tea room é", peer(1), NOW) && opens("tea room é", peer(1), NOW + LIFETIME));
    assert!(opens("tea room é", peer(1), NOW - CLOCK_SKEW));
    assert!(!opens("tea room", peer(1), NOW));
    assert!(!opens("tea room é", peer(2), NOW));
    assert!(!opens("tea room é", peer(1), NOW + LIFETIME + 1));
    assert!(!opens("tea room é", peer(1), NOW - CLOCK_SKEW - 1));
    // Of a clock that was set back since: as long as the server knows that it was ahead.
    let later = TimeOfDay { seconds: NOW - 2 * CLOCK_SKEW, latest: NOW };
    assert!(issuer.key().open(&ticket, "tea room é", peer(1), later).is_some());
    assert!(
        TestCipher::key(b"another secret", 7)
            .open(&ticket, "tea room é", peer(1), NOW.into())
            .is_none()
    );
}

#[test]
fn a_ticket_that_was_changed_anywhere_is_none() {
    let mut issuer = issuer();
    let ticket = issuer.seal(&record()).expect("a ticket");
    let bytes = URL_SAFE_NO_PAD.decode(ticket.as_str()).expect("base64url");
    let opens = |bytes: &[u8]| {
        let ticket = Ticket::from(URL_SAFE_NO_PAD.encode(bytes));
        issuer.key().open(&ticket, "tea room é", peer(1), NOW.into()).is_some()
    };
    assert!(opens(&bytes));
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        assert!(!opens(&changed), "byte {index}");
        assert!(!opens(&bytes[..index]), "cut at {index}");
    }
    for text in ["", "A", "####", "AAAA"] {
        assert!(
            issuer.key().open(&Ticket::from(text.to_owned()), "", peer(1), NOW.into()).is_none(),
            "{text}"
        );
    }
}

#[test]
fn a_record_of_another_version_or_with_more_than_is_known_is_none() {
    let bytes = record().write();
    assert!(TicketRecord::read(&bytes) == Some(record()));
    for (index, value) in
        [(0, VERSION + 1), (1, 4), (1, bytes[1] | IS_OPEN), (1, 16), (1, 32), (1, 64)]
    {
        let mut changed = bytes.clone();
        changed[index] = value;
        assert!(TicketRecord::read(&changed).is_none());
    }
    assert!(TicketRecord::read(&[&bytes[..], &[0]].concat()).is_none());
    assert!((0..bytes.len()).all(|end| TicketRecord::read(&bytes[..end]).is_none()));
}

/// After an upgrade of the server members come back with what the former version gave them.
#[test]
fn a_record_that_does_not_say_since_when_counts_from_when_it_was_issued() {
    let mut bytes = record().write();
    bytes[0] = WITHOUT_SINCE;
    bytes.drain(10..18);
    let member_since = MemberSince::second(NOW);
    assert!(TicketRecord::read(&bytes) == Some(TicketRecord { member_since, ..record() }));
}

#[test]
fn who_came_first_within_a_second_is_known_and_all_came_before_the_next_second() {
    let first = MemberSince::second(NOW);
    let last = (0..(1 << NUMBER_BITS) - 1).fold(first, |since, _| since.next());
    assert!(first < first.next() && last < MemberSince::second(NOW + 1));
    assert!(MemberSince::second(u64::MAX).next() >= MemberSince::second(u64::MAX));
}

#[test]
fn no_two_tickets_share_a_nonce_and_none_prints_itself() {
    let mut first = issuer();
    let mut second = TicketIssuer::new(first.key().clone(), [10; 32]);
    let tickets: Vec<Ticket> =
        (0..50).flat_map(|_| [first.seal(&record()), second.seal(&record())]).flatten().collect();
    let nonces: std::collections::BTreeSet<&str> =
        tickets.iter().map(|ticket| &ticket.as_str()[..16]).collect();
    assert_eq!(nonces.len(), 100);
    let printed = format!("{:?} {first:?} {:?} {:?}", first.key(), record(), record().password);
    assert_eq!(printed, "TicketKey TicketIssuer TicketRecord Some(PasswordRecord)");
}
