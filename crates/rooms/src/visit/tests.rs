//! Joins of one address, as connections bring them.

mod guessers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use voicemesh_session::Delivery;
use voicemesh_wire::identity::IdentityProof;
use voicemesh_wire::signaling::{
    Capabilities, MemberStatus, Metadata, PROTOCOL_VERSION, Presence, decode_server,
};

use super::*;
use crate::Rate;
use crate::output::Publisher;
use crate::signaling::Settings;
use voicemesh_session::budget::Budgets;

const NOW: Duration = Duration::from_secs(1);
const JOINS: u32 = 5;
/// What a member has for itself besides.
const RETURNS: u32 = 4;
const HERE: AddressKey = AddressKey::V4(7);

/// Keeps the errors that were sent, when trying again may work, and why the connection ends.
#[derive(Clone, Default)]
struct TestLine {
    errors: Rc<RefCell<Vec<ErrorCode>>>,
    retry_after: Rc<RefCell<Option<Duration>>>,
    hashed: Rc<RefCell<Option<Result<Digest, Refusal>>>>,
    ending: Rc<RefCell<Option<CloseReason>>>,
    /// Something waits, so that a snapshot does too.
    is_behind: Rc<Cell<bool>>,
}

impl Line for TestLine {
    fn text(&self, _: Duration, message: &Text, _: Purpose) -> Enqueue {
        let text = std::str::from_utf8(message.bytes()).expect("messages are UTF-8");
        if let Ok(ServerMessage::Error { code, retry_after_ms, .. }) = decode_server(text) {
            self.errors.borrow_mut().push(code);
            self.retry_after.replace(retry_after_ms.map(Duration::from_millis));
        }
        Enqueue::Queued
    }

    fn packet(&self, _: Duration, _: Bytes, _: Delivery, _: Purpose) -> Enqueue {
        Enqueue::Queued
    }

    fn pong(&self, _: Duration, _: &Text) -> Enqueue {
        Enqueue::Queued
    }

    fn defer_snapshot(&self) -> bool {
        self.is_behind.get()
    }

    fn begin_part(&self) {}

    fn end_part(&self, _: Option<Part>) {}

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        Vec::new()
    }

    fn joined(&self) {}

    fn hashed(&self, answer: Result<Digest, Refusal>) {
        self.hashed.replace(Some(answer));
    }

    fn end(&self, _: Duration, reason: CloseReason) {
        self.ending.replace(Some(reason));
    }

    fn ending(&self) -> Option<CloseReason> {
        *self.ending.borrow()
    }
}

fn server() -> Signaling<TestLine> {
    let address_joins = Rate { burst: JOINS.into(), per_second: 0.0 };
    let settings = Settings {
        budgets: Budgets { address_joins, ..Budgets::default() },
        ..Settings::default()
    };
    Signaling::new(
        settings,
        Box::new(|bytes| {
            bytes.fill(7);
            true
        }),
    )
}

/// The first error that a join gets.
fn refusal(
    signaling: &Signaling<TestLine>,
    visits: &mut Vec<Visit<TestLine>>,
    join: Join,
) -> Option<ErrorCode> {
    let id = ConnectionId(visits.len() as u64 + 1);
    let address = (HERE, signaling.enter_address(NOW, HERE));
    let mut visit = Visit::new(NOW, id, TestLine::default(), Some(address), signaling);
    signaling.handle(NOW, &mut visit, Input::Text(&ClientMessage::Join(join).to_json()));
    let first = visit.line().errors.borrow().first().cloned();
    visits.push(visit);
    first
}

fn join_of(person: u8, room: &str, password: Option<&str>) -> Join {
    Join {
        protocol: PROTOCOL_VERSION,
        room: room.to_owned(),
        name: format!("person {person}"),
        proof: IdentityProof([person; 32]),
        run: 1,
        capabilities: Capabilities::default(),
        metadata: Metadata::new(),
        status: MemberStatus::default(),
        presence: Presence::Either,
        password: password.map(Password::from),
        room_metadata: Metadata::new(),
        token: None,
        ticket: None,
    }
}

#[test]
fn to_name_a_password_that_is_not_looked_at_is_no_way_round_the_budget_of_joins() {
    let signaling = server();
    let mut visits = Vec::new();
    assert_eq!(refusal(&signaling, &mut visits, join_of(1, "lobby", None)), None);
    for number in 1..=2 * JOINS {
        let again = refusal(&signaling, &mut visits, join_of(1, "lobby", Some("any")));
        let expected = (number > JOINS + RETURNS).then_some(ErrorCode::TooManyJoins);
        assert_eq!(again, expected, "it takes over for the {number}th time");
    }
    assert_eq!(
        refusal(&signaling, &mut visits, join_of(2, "lobby", None)),
        None,
        "strangers are counted apart"
    );
}

#[test]
fn rooms_that_are_made_with_a_password_are_counted_and_those_who_wait_for_a_hash_are_not() {
    let signaling = server();
    let mut visits = Vec::new();
    for number in 1..=2 * JOINS {
        let made =
            refusal(&signaling, &mut visits, join_of(1, &format!("room {number}"), Some("any")));
        assert_eq!(made, (number > JOINS).then_some(ErrorCode::TooManyJoins), "room {number}");
    }
    assert_eq!(signaling.sizes().0, JOINS as usize);
    for person in 2..2 + 2 * JOINS as u8 {
        assert_eq!(refusal(&signaling, &mut visits, join_of(person, "room 1", Some("any"))), None);
    }
}

#[test]
fn who_asked_for_a_roster_pays_for_that_and_not_for_what_others_publish() {
    let answers = Rate { burst: 20_000.0, per_second: 0.0 };
    let settings =
        Settings { budgets: Budgets { answers, ..Budgets::default() }, ..Settings::default() };
    let signaling = Signaling::new(
        settings,
        Box::new(|bytes| {
            bytes.fill(7);
            true
        }),
    );
    let mut visits = Vec::new();
    let publisher = join_of(2, "lobby", None);
    let by = Publisher::Member(publisher.proof.peer_id());
    let metadata = [("key".to_owned(), "x".repeat(8_000))].into();
    assert_eq!(refusal(&signaling, &mut visits, Join { metadata, ..publisher }), None);
    assert_eq!(refusal(&signaling, &mut visits, join_of(1, "lobby", None)), None);
    let asker = &mut visits[1];
    asker.line().is_behind.set(true);
    let roster = ClientMessage::Roster.to_json();
    let mut asks = |parts: &[Part]| {
        signaling.handle(NOW, asker, Input::Text(&roster));
        parts.iter().for_each(|part| asker.refresh(NOW, part.clone()));
        asker.line().errors.borrow_mut().pop()
    };
    let published = vec![Part::Published(by, 1); 20];
    assert_eq!(asks(&[&[Part::Roster], &published[..]].concat()), None);
    assert_eq!(asks(&[Part::Roster, Part::Roster]), None, "160 kB that it did not ask for");
    assert_eq!(asks(&[Part::Roster]), None, "and one roster that it did not ask for");
    assert_eq!(asks(&[]), Some(ErrorCode::TooManyMessages), "three rosters that it asked for");
}
