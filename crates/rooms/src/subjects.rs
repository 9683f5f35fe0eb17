//! Which accounts are here: the subject of an access token is one peer at a time, in all rooms of a
//! server together.
//!
//! Pure, given the time. A subject is known as long as one of its connections is in a room, so that
//! there are never more of them than connections. For a while after that it is known where a
//! connection of it was lost: over its links it may still be heard there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use voicemesh_wire::{PeerId, RoomName};

use crate::output::ConnectionId;

/// As long as a room knows who has left it.
const LOST_KNOWN: Duration = Duration::from_secs(300);
/// Losses that are known at a time. The oldest is forgotten first.
const LOSSES: usize = 4096;

/// All subjects with members in rooms.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    accounts: BTreeMap<String, Account>,
    /// The oldest first.
    losses: VecDeque<Loss>,
}

#[derive(Debug)]
struct Loss {
    at: Duration,
    subject: String,
    room: RoomName,
}

/// What has to be done when a subject enters a room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Displaced {
    /// Connections of the peer that the subject was until now: they have to go.
    pub(crate) connections: BTreeMap<ConnectionId, RoomName>,
    /// Rooms that lost a connection of the subject: if it was another peer, its links have to be
    /// closed there.
    pub(crate) lost_in: Vec<RoomName>,
}

#[derive(Debug)]
struct Account {
    peer: PeerId,
    connections: BTreeMap<ConnectionId, RoomName>,
}

impl Subjects {
    /// A connection has entered a room.
    pub(crate) fn entered(
        &mut self,
        now: Duration,
        subject: &str,
        peer: PeerId,
        connection: ConnectionId,
        room: RoomName,
    ) -> Displaced {
        let account = self
            .accounts
            .entry(subject.to_owned())
            .or_insert_with(|| Account { peer, connections: BTreeMap::new() });
        let mut connections = BTreeMap::new();
        if account.peer != peer {
            account.peer = peer;
            connections = std::mem::take(&mut account.connections);
        }
        account.connections.insert(connection, room);
        let of_subject =
            self.losses.iter().filter(|loss| loss.subject == subject && loss.is_known(now));
        Displaced { connections, lost_in: of_subject.map(|loss| loss.room.clone()).collect() }
    }

    /// A connection has left its room.
    pub(crate) fn left(&mut self, subject: &str, connection: ConnectionId) {
        let Some(account) = self.accounts.get_mut(subject) else { return };
        account.connections.remove(&connection);
        if account.connections.is_empty() {
            self.accounts.remove(subject);
        }
    }

    /// The connection that has left this room was lost.
    pub(crate) fn lost(&mut self, now: Duration, subject: &str, room: &RoomName) {
        self.losses
            .retain(|loss| loss.is_known(now) && (loss.subject != subject || loss.room != *room));
        if self.losses.len() >= LOSSES {
            self.losses.pop_front();
        }
        self.losses.push_back(Loss { at: now, subject: subject.to_owned(), room: room.clone() });
    }
}

impl Loss {
    fn is_known(&self, now: Duration) -> bool {
        now < self.at + LOST_KNOWN
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_subject_is_one_peer_in_any_number_of_rooms_and_forgotten_with_its_last_connection() {
        let mut subjects = Subjects::default();
        let room = |name: &str| RoomName::parse(name).expect("a name");
        let peer = |number| PeerId(Uuid::from_u128(number));
        let mut enter = |person, connection, name: &str| {
            let connection = ConnectionId(connection);
            let displaced =
                subjects.entered(Duration::ZERO, "ada", peer(person), connection, room(name));
            assert_eq!(displaced.lost_in, []);
            let gone = displaced.connections.into_keys();
            gone.map(|connection| connection.0).collect::<Vec<_>>()
        };
        assert_eq!(enter(1, 1, "red"), [0; 0]);
        assert_eq!(enter(1, 2, "blue"), [0; 0], "the same peer in another room");
        assert_eq!(enter(2, 3, "blue"), [1, 2], "another peer");
        assert_eq!(enter(2, 4, "red"), [0; 0]);
        for connection in 1..=4 {
            assert_eq!(subjects.accounts.len(), 1);
            subjects.left("ada", ConnectionId(connection));
        }
        assert!(subjects.accounts.is_empty());
    }

    #[test]
    fn where_a_subject_was_lost_is_known_for_a_while_and_of_a_bounded_number() {
        let mut subjects = Subjects::default();
        let room = |name: &str| RoomName::parse(name).expect("a name");
        let second = Duration::from_secs;
        subjects.lost(second(1), "ada", &room("red"));
        subjects.lost(second(2), "ben", &room("red"));
        subjects.lost(second(3), "ada", &room("blue"));
        subjects.lost(second(4), "ada", &room("red"));
        let lost_in = |subjects: &mut Subjects, at, subject: &str| {
            let peer = PeerId(Uuid::from_u128(1));
            subjects.entered(at, subject, peer, ConnectionId(1), room("green")).lost_in
        };
        assert_eq!(lost_in(&mut subjects, second(5), "ada"), [room("blue"), room("red")]);
        assert_eq!(lost_in(&mut subjects, second(303), "ada"), [room("red")]);
        assert_eq!(lost_in(&mut subjects, second(304), "ada"), []);
        assert_eq!(lost_in(&mut subjects, second(5), "eve"), []);
        for number in 0..2 * LOSSES {
            subjects.lost(second(400), &number.to_string(), &room("red"));
        }
        assert_eq!(subjects.losses.len(), LOSSES);
    }
}
