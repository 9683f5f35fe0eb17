//! What stands before one connection: budgets, what may come when, and the words of a refusal.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket, lock};
use voicemesh_session::budget::{Budget, Budgets, Cost};
use voicemesh_wire::limits::BINARY_MESSAGE_BYTES;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, Join, PROTOCOL_VERSION, Presence, ServerMessage, decode_client,
    request_of,
};

use crate::output::CloseReason;
use crate::refusal::Refusal;

/// A connection that is over its budget gets at most one error in this time.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// What is checked of everything that comes on one connection.
#[derive(Debug)]
pub struct ConnectionGuard {
    own: Allowance,
    address: Option<Arc<Mutex<Budget>>>,
    violation_rate: Rate,
    joined: bool,
    complained_at: Option<Duration>,
}

/// What is left of one connection's budgets. Connections of the same peer share one.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<Mutex<Remaining>>);

#[derive(Debug)]
struct Remaining {
    budget: Budget,
    violations: TokenBucket,
}

impl Allowance {
    /// A connection uses it.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn with<T>(&self, act: impl FnOnce(&mut Remaining) -> T) -> T {
        act(&mut lock(&self.0))
    }
}

/// What becomes of something that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum GuardVerdict {
    /// The connection wants into a room.
    Join(Box<Join>),
    /// For the room.
    Message(ClientMessage),
    /// A packet for the room.
    Packet,
    /// Not for the room; this is the answer.
    Answer(ServerMessage),
    /// Not for the room, and these are the connection's last words.
    End(ServerMessage, CloseReason),
    /// Over the budget; the connection got an error a moment ago.
    Dropped,
}

impl GuardVerdict {
    /// An error about a written message names it by its number on its connection.
    #[must_use]
    pub fn of_text(mut self, number: Option<u32>) -> Self {
        if let Self::Answer(ServerMessage::Error { text, .. })
        | Self::End(ServerMessage::Error { text, .. }, _) = &mut self
        {
            *text = number;
        }
        self
    }
}

impl ConnectionGuard {
    /// A connection that has just been opened. `address` is what it shares with others of its
    /// address, if that is limited.
    pub fn new(now: Duration, budgets: &Budgets, address: Option<Arc<Mutex<Budget>>>) -> Self {
        Self {
            own: Allowance(Arc::new(Mutex::new(Remaining {
                budget: Budget::of_connection(now, budgets),
                violations: TokenBucket::full(now, budgets.violations),
            }))),
            address,
            violation_rate: budgets.violations,
            joined: false,
            complained_at: None,
        }
    }

    /// What is left may be less: the peer has sent on another connection.
    pub fn take_allowance(&mut self, choose: impl FnOnce(Allowance) -> Allowance) {
        self.own = choose(self.own.clone());
    }

    /// A text frame.
    pub fn text(&mut self, now: Duration, text: &str) -> GuardVerdict {
        let message = decode_client(text);
        let cost = match &message {
            Ok(ClientMessage::Signal { .. }) => Cost::Signal { bytes: text.len() },
            Ok(
                ClientMessage::SetMetadata { .. }
                | ClientMessage::SetRoomMetadata { .. }
                | ClientMessage::Moderate { .. },
            ) => Cost::MetadataUpdate,
            Ok(ClientMessage::Roster) => Cost::RosterRequest,
            Ok(_) | Err(_) => Cost::Message,
        };
        if !self.spend(now, cost) {
            let request = message.as_ref().ok().and_then(ClientMessage::request);
            return self.over_budget(now, request, false);
        }
        match message {
            Ok(message) => self.in_its_turn(message),
            Err(error) => self.undecodable(now, Refusal::from(error).of_request(request_of(text))),
        }
    }

    /// A binary frame.
    pub fn packet(&mut self, now: Duration, packet: &[u8]) -> GuardVerdict {
        if !self.joined {
            return GuardVerdict::End(
                Refusal::of(ErrorCode::NotJoined).farewell(),
                CloseReason::Refused,
            );
        }
        if packet.len() > BINARY_MESSAGE_BYTES {
            return Self::too_large();
        }
        if !self.spend(now, Cost::of_packet(packet)) {
            return self.over_budget(now, None, packet::is_written(packet));
        }
        GuardVerdict::Packet
    }

    /// A WebSocket ping or pong.
    pub fn control(&mut self, now: Duration) -> GuardVerdict {
        if self.spend(now, Cost::Message) {
            GuardVerdict::Packet
        } else {
            self.over_budget(now, None, false)
        }
    }

    /// Something that was sent had no effect: forged, malformed, or not for the server. `Some` if
    /// it was once too often.
    pub fn violation(&mut self, now: Duration) -> Option<GuardVerdict> {
        let takes_violation = self.takes_violation(now);
        (!takes_violation).then(|| {
            GuardVerdict::End(
                Refusal::of(ErrorCode::TooManyMessages).farewell(),
                CloseReason::Flooding,
            )
        })
    }

    /// State of this size was sent in answer to a request.
    pub fn charge_answer(&mut self, bytes: usize) {
        self.own.with(|remaining| remaining.budget.charge_answer(bytes));
        if let Some(address) = &self.address {
            lock(address).charge_answer(bytes);
        }
    }

    /// A frame so large that it was not even read.
    pub fn too_large() -> GuardVerdict {
        GuardVerdict::End(Refusal::of(ErrorCode::TooLarge).farewell(), CloseReason::TooLarge)
    }

    fn spend(&mut self, now: Duration, cost: Cost) -> bool {
        let shared = |budget: &Arc<Mutex<Budget>>| lock(budget).spend(now, cost);
        self.own.with(|remaining| remaining.budget.spend(now, cost))
            && self.address.as_ref().is_none_or(shared)
    }

    fn takes_violation(&self, now: Duration) -> bool {
        self.own.with(|remaining| remaining.violations.take(now, self.violation_rate, 1.0))
    }

    /// A request gets an error each time, because its sender waits for the answer, and so does a
    /// written message, which is lost otherwise; the violation budget bounds that as well.
    fn over_budget(&mut self, now: Duration, request: Option<u32>, is_text: bool) -> GuardVerdict {
        let refusal = Refusal::of(ErrorCode::TooManyMessages).of_request(request);
        // Before a join every error is the last.
        if !self.takes_violation(now) || !self.joined {
            return GuardVerdict::End(refusal.farewell(), CloseReason::Flooding);
        }
        if request.is_none()
            && !is_text
            && self.complained_at.is_some_and(|at| now < at + COMPLAINT_INTERVAL)
        {
            return GuardVerdict::Dropped;
        }
        self.complained_at = Some(now);
        GuardVerdict::Answer(refusal.answer())
    }

    /// Nonsense is answered, and is a violation: it costs more than it looks.
    fn undecodable(&mut self, now: Duration, refusal: Refusal) -> GuardVerdict {
        if refusal.code == ErrorCode::TooLarge {
            return GuardVerdict::End(refusal.farewell(), CloseReason::TooLarge);
        }
        let takes_violation = self.takes_violation(now);
        match (self.joined, takes_violation) {
            (true, true) => GuardVerdict::Answer(refusal.answer()),
            (true, false) => GuardVerdict::End(
                Refusal::of(ErrorCode::TooManyMessages).farewell(),
                CloseReason::Flooding,
            ),
            (false, _) => GuardVerdict::End(refusal.farewell(), CloseReason::Refused),
        }
    }

    fn in_its_turn(&mut self, message: ClientMessage) -> GuardVerdict {
        match (message, self.joined) {
            (ClientMessage::Join(_), true) => {
                GuardVerdict::Answer(Refusal::of(ErrorCode::AlreadyJoined).answer())
            }
            (ClientMessage::Join(join), false) if join.protocol != PROTOCOL_VERSION => {
                GuardVerdict::End(
                    Refusal::of(ErrorCode::UnsupportedProtocol).farewell(),
                    CloseReason::Refused,
                )
            }
            (ClientMessage::Join(join), false) => {
                self.joined = true;
                GuardVerdict::Join(Box::new(join))
            }
            (message, true) => GuardVerdict::Message(message),
            (_, false) => GuardVerdict::End(
                Refusal::of(ErrorCode::NotJoined).farewell(),
                CloseReason::Refused,
            ),
        }
    }
}

/// Whether a room with `others` in it, the joiner itself not counted, is what a join asks for.
pub(crate) fn check_presence(presence: Presence, others: usize) -> Result<(), Refusal> {
    match presence {
        Presence::MustExist if others == 0 => Err(Refusal::of(ErrorCode::RoomMissing)),
        Presence::MustNotExist if others > 0 => Err(Refusal::of(ErrorCode::RoomExists)),
        Presence::Either | Presence::MustExist | Presence::MustNotExist => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_wire::identity::IdentityProof;
    use voicemesh_wire::packet::{Kind, Recipient, Relay, SealedText, SealedWith, TextData};
    use voicemesh_wire::signaling::{Capabilities, MemberStatus, Metadata};
    use voicemesh_wire::{ClientId, GroupId, SessionId};

    use super::*;

    const START: Duration = Duration::ZERO;

    fn join() -> String {
        let join = Join {
            protocol: PROTOCOL_VERSION,
            room: "r".to_owned(),
            name: "n".to_owned(),
            proof: IdentityProof([1; 32]),
            run: 1,
            capabilities: Capabilities::default(),
            metadata: Metadata::new(),
            status: MemberStatus::default(),
            presence: Presence::Either,
            password: None,
            room_metadata: Metadata::new(),
            token: None,
            ticket: None,
        };
        ClientMessage::Join(join).to_json()
    }

    fn joined(address: Option<Arc<Mutex<Budget>>>) -> ConnectionGuard {
        let mut guard = ConnectionGuard::new(START, &Budgets::default(), address);
        assert!(matches!(guard.text(START, &join()), GuardVerdict::Join(_)));
        guard
    }

    fn code(verdict: GuardVerdict) -> Option<ErrorCode> {
        match verdict {
            GuardVerdict::Answer(ServerMessage::Error { code, .. })
            | GuardVerdict::End(ServerMessage::Error { code, .. }, _) => Some(code),
            _ => None,
        }
    }

    fn relay(destinations: u16, bytes: usize) -> Vec<u8> {
        let destinations: Vec<ClientId> = (0..destinations).map(ClientId).collect();
        let session = SessionId::new(7).expect("not zero");
        let mut packet = Vec::new();
        Relay::encode_packet(
            Kind::ServerRelayUnreliable,
            session,
            &destinations,
            &vec![0; bytes],
            &mut packet,
        );
        packet
    }

    #[test]
    fn over_the_budget_one_is_told_once_a_second_and_then_ended() {
        let mut guard = joined(None);
        let roster = ClientMessage::Roster.to_json();
        let mut answers = 0;
        let mut passed = 0;
        let ended = (0..10_000).find(|_| match guard.text(START, &roster) {
            GuardVerdict::Message(_) => {
                passed += 1;
                false
            }
            GuardVerdict::Answer(_) => {
                answers += 1;
                false
            }
            GuardVerdict::Dropped => false,
            GuardVerdict::End(_, reason) => reason == CloseReason::Flooding,
            other => panic!("{other:?}"),
        });
        assert_eq!((passed, answers), (199, 1), "the join was paid for as well");
        assert!(ended.is_some());

        let mut guard = joined(None);
        for _ in 0..300 {
            guard.text(START, &roster);
        }
        let later = START + Duration::from_secs(5);
        assert!(
            matches!(guard.text(later, &roster), GuardVerdict::Message(_)),
            "who stops is served again"
        );
    }

    #[test]
    fn who_waits_for_an_answer_gets_one_even_over_the_budget() {
        let mut guard = joined(None);
        let request = |request| {
            ClientMessage::SetMetadata { request: Some(request), set: [].into() }.to_json()
        };
        let answers = (0..60).filter(|number| match guard.text(START, &request(*number)) {
            GuardVerdict::Answer(ServerMessage::Error { code, request, .. }) => {
                assert_eq!((code, request), (ErrorCode::TooManyMessages, Some(*number)));
                true
            }
            verdict => {
                assert!(matches!(verdict, GuardVerdict::Message(_)), "{verdict:?}");
                false
            }
        });
        assert_eq!(answers.count(), 60 - 199 / 8);

        let mut guard = joined(None);
        let many: Vec<String> = (0..65).map(|key| format!("\"{key}\":null")).collect();
        let text = format!(r#"{{"type":"set-metadata","request":9,"set":{{{}}}}}"#, many.join(","));
        let GuardVerdict::Answer(ServerMessage::Error { code, request, .. }) =
            guard.text(START, &text)
        else {
            panic!()
        };
        assert_eq!((code, request), (ErrorCode::BadMetadata, Some(9)));
    }

    #[test]
    fn pings_are_counted_before_and_after_a_join() {
        let taken = |mut guard: ConnectionGuard| {
            let passed =
                (0..10_000).take_while(|_| guard.control(START) == GuardVerdict::Packet).count();
            let ends = (0..1_000).any(|_| {
                matches!(guard.control(START), GuardVerdict::End(_, CloseReason::Flooding))
            });
            (passed, ends)
        };
        assert_eq!(taken(ConnectionGuard::new(START, &Budgets::default(), None)), (200, true));
        assert_eq!(taken(joined(None)), (199, true));
        let mut slow = joined(None);
        for second in 0..3_600 {
            assert_eq!(slow.control(START + Duration::from_secs(second)), GuardVerdict::Packet);
        }
    }

    #[test]
    fn what_has_no_effect_draws_on_the_violation_budget() {
        let mut guard = joined(None);
        assert_eq!((0..1_000).take_while(|_| guard.violation(START).is_none()).count(), 200);
        assert!(
            guard.violation(START + Duration::from_secs(1)).is_none(),
            "who stops is served again"
        );
    }

    #[test]
    fn state_that_is_asked_for_is_paid_by_its_bytes() {
        let mut guard = joined(None);
        let roster = ClientMessage::Roster.to_json();
        let answered = |guard: &mut ConnectionGuard, from: u64, to: u64| {
            let times = (from * 20..to * 20).map(|tick| Duration::from_millis(50 * tick));
            times
                .filter(|now| {
                    let passed = matches!(guard.text(*now, &roster), GuardVerdict::Message(_));
                    if passed {
                        guard.charge_answer(500_000);
                    }
                    passed
                })
                .count()
        };
        answered(&mut guard, 0, 20);
        let rosters = answered(&mut guard, 20, 120);
        assert!((24..=28).contains(&rosters), "{rosters} in 100 s");
    }

    #[test]
    fn nonsense_without_end_ends_the_connection() {
        let mut guard = joined(None);
        let mut now = START;
        let ended = (0..2_000).find(|_| {
            now += Duration::from_millis(20);
            matches!(guard.text(now, "nonsense"), GuardVerdict::End(_, CloseReason::Flooding))
        });
        assert!(ended.is_some());
    }

    #[test]
    fn a_relayed_packet_costs_what_it_makes_the_server_send() {
        let taken = |packet: &[u8]| {
            let mut guard = joined(None);
            (0..100_000).take_while(|_| guard.packet(START, packet) == GuardVerdict::Packet).count()
        };
        let few = taken(&relay(1, 100));
        let many = taken(&relay(250, 100));
        assert!(few >= 250 * many && many > 0, "{few} {many}");
        assert!(taken(&relay(1, 10_000)) * 5 < few, "bytes count as well");
    }

    #[test]
    fn what_everyone_is_told_is_scarce_and_long_texts_are_scarcer() {
        let session = SessionId::new(7).expect("not zero");
        let taken = |bytes: usize| {
            let recipient = Recipient::Group(GroupId(1));
            let text = TextData { sender: ClientId(1), recipient, text: &"x".repeat(bytes) }
                .encode(session);
            let mut guard = joined(None);
            (0..1_000).take_while(|_| guard.packet(START, &text) == GuardVerdict::Packet).count()
        };
        assert_eq!(taken(100), 199);
        assert_eq!(taken(4_096), 22);
    }

    #[test]
    fn each_written_message_over_the_budget_is_answered() {
        let session = SessionId::new(7).expect("not zero");
        let text =
            TextData { sender: ClientId(1), recipient: Recipient::Client(ClientId(2)), text: "x" }
                .encode(session);
        assert_texts_are_scarce_and_answered(&text);
    }

    #[test]
    fn a_sealed_text_in_a_relay_packet_costs_what_a_text_costs() {
        let session = SessionId::new(7).expect("not zero");
        for kind in [Kind::ServerRelayReliable, Kind::ServerRelayUnreliable] {
            let text =
                SealedText { sender: ClientId(1), key: SealedWith::PairKey, sealed: &[0; 20] }
                    .encode(session);
            let mut packet = Vec::new();
            Relay::encode_packet(kind, session, &[ClientId(2)], &text, &mut packet);
            assert_texts_are_scarce_and_answered(&packet);
        }
    }

    fn assert_texts_are_scarce_and_answered(text: &[u8]) {
        let mut guard = joined(None);
        let passed =
            (0..1_000).take_while(|_| guard.packet(START, text) == GuardVerdict::Packet).count();
        assert_eq!(passed, 199);
        for number in 1..100 {
            let answer = guard.packet(START, text).of_text(Some(number));
            let named = matches!(&answer, GuardVerdict::Answer(ServerMessage::Error { text, .. }) if *text == Some(number));
            assert!(named, "{answer:?}");
        }
        assert!((0..200).any(|_| matches!(
            guard.packet(START, text),
            GuardVerdict::End(_, CloseReason::Flooding)
        )));
    }

    #[test]
    fn connections_of_one_address_share_a_budget() {
        let budgets = Budgets { address_factor: 1.5, ..Budgets::default() };
        let shared = Arc::new(Mutex::new(Budget::of_address(START, &budgets)));
        let roster = ClientMessage::Roster.to_json();
        let served = |guard: &mut ConnectionGuard| {
            (0..300)
                .take_while(|_| matches!(guard.text(START, &roster), GuardVerdict::Message(_)))
                .count()
        };
        let mut first = joined(Some(Arc::clone(&shared)));
        let mut second = joined(Some(Arc::clone(&shared)));
        let mut elsewhere = joined(None);
        assert_eq!((served(&mut first), served(&mut second)), (199, 99));
        assert_eq!(served(&mut elsewhere), 199);
    }

    #[test]
    fn before_a_join_nothing_else_passes_and_after_it_no_second_one() {
        let mut guard = ConnectionGuard::new(START, &Budgets::default(), None);
        assert_eq!(code(guard.text(START, r#"{"type":"leave"}"#)), Some(ErrorCode::NotJoined));
        assert_eq!(code(guard.packet(START, &[])), Some(ErrorCode::NotJoined));
        assert!(matches!(guard.text(START, "{"), GuardVerdict::End(_, CloseReason::Refused)));
        let mut guard = joined(None);
        assert_eq!(code(guard.text(START, &join())), Some(ErrorCode::AlreadyJoined));
        assert_eq!(
            code(guard.packet(START, &[0; BINARY_MESSAGE_BYTES + 1])),
            Some(ErrorCode::TooLarge)
        );
    }
}
