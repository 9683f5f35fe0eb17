//! Which accounts are here: the subject of an access token is one peer at a time, in all rooms of a
//! server together.
//!
//! Pure. A subject is known as long as one of its connections is in a room, so that there are never
//! more of them than connections.

use std::collections::BTreeMap;

use voicemesh_wire::{PeerId, RoomName};

use crate::output::ConnectionId;

/// All subjects with members in rooms.
#[derive(Debug, Default)]
pub(crate) struct Subjects(BTreeMap<String, Account>);

#[derive(Debug)]
struct Account {
    peer: PeerId,
    connections: BTreeMap<ConnectionId, RoomName>,
}

impl Subjects {
    /// A connection has entered a room. Gives those of the peer that the subject was until now, if
    /// that was another one: they have to go.
    pub(crate) fn entered(
        &mut self,
        subject: &str,
        peer: PeerId,
        connection: ConnectionId,
        room: RoomName,
    ) -> BTreeMap<ConnectionId, RoomName> {
        let account = self
            .0
            .entry(subject.to_owned())
            .or_insert_with(|| Account { peer, connections: BTreeMap::new() });
        let mut gone = BTreeMap::new();
        if account.peer != peer {
            account.peer = peer;
            gone = std::mem::take(&mut account.connections);
        }
        account.connections.insert(connection, room);
        gone
    }

    /// A connection has left its room.
    pub(crate) fn left(&mut self, subject: &str, connection: ConnectionId) {
        let Some(account) = self.0.get_mut(subject) else { return };
        account.connections.remove(&connection);
        if account.connections.is_empty() {
            self.0.remove(subject);
        }
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
            let gone = subjects.entered("ada", peer(person), ConnectionId(connection), room(name));
            gone.into_keys().map(|connection| connection.0).collect::<Vec<_>>()
        };
        assert_eq!(enter(1, 1, "red"), [0; 0]);
        assert_eq!(enter(1, 2, "blue"), [0; 0], "the same peer in another room");
        assert_eq!(enter(2, 3, "blue"), [1, 2], "another peer");
        assert_eq!(enter(2, 4, "red"), [0; 0]);
        for connection in 1..=4 {
            assert_eq!(subjects.0.len(), 1);
            subjects.left("ada", ConnectionId(connection));
        }
        assert!(subjects.0.is_empty());
    }
}
