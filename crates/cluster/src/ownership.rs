//! Which node owns which room, by the records in the store.
//!
//! Every join is let in by a record that was read, or written, after the join came. So the epochs
//! that one member sees never fall, whichever nodes it joins on, and a node that the store has
//! forgotten takes in no newcomers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use voicemesh_rooms::ConnectionId;

use crate::message::{Epoch, NodeId, OwnedRoom};
use crate::peers::Peers;
use crate::store::{RequestId, StoreAnswer, StoreRequest};

/// A request that was not answered in this time is made again.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The wait after a request that failed, or after a record whose owner is neither alive nor dead.
const RETRY: Duration = Duration::from_millis(100);
/// An owner keeps a room that no connection has entered for this long.
const UNUSED: Duration = Duration::from_secs(5);

/// All rooms that this node owns, or has connections for.
#[derive(Debug)]
pub(crate) struct Ownership {
    own: NodeId,
    rooms: BTreeMap<String, RoomRecord>,
    arrivals: u64,
    requests: u64,
    decisions: Vec<Decision>,
}

#[derive(Debug, Default)]
struct RoomRecord {
    /// The highest epoch that was heard of.
    known: Epoch,
    standing: Standing,
    /// The owner of this epoch has said that it is not.
    disowned: Option<Epoch>,
    /// Joins that wait for the record, with the number of their arrival.
    waiting: BTreeMap<ConnectionId, u64>,
    /// Connections that were let in under the present standing.
    admitted: BTreeSet<ConnectionId>,
    request: Option<Pending>,
    retry_at: Duration,
}

/// What this node is for a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    None,
    Owner {
        epoch: Epoch,
        since: Duration,
    },
    /// Another node owns it.
    Edge {
        epoch: Epoch,
        owner: NodeId,
    },
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    id: RequestId,
    purpose: Asked,
    sent_at: Duration,
    /// Joins that came before it was sent.
    covers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Read,
    /// To own it.
    Take,
    /// To own it no longer.
    Give(Option<NodeId>),
}

/// What the node has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Ask(RequestId, StoreRequest),
    /// From now on this node owns the room in this epoch; whatever it has of it is of an earlier one.
    Begin {
        room: String,
        epoch: Epoch,
    },
    /// This node no longer owns the room. These connections of this node end; those behind other nodes
    /// end as well.
    Stop {
        room: String,
        epoch: Epoch,
        connections: Vec<ConnectionId>,
        successor: Option<OwnedRoom>,
    },
    /// Into a room of this node.
    AdmitHere {
        room: String,
        connection: ConnectionId,
    },
    /// Into a room of another node.
    AdmitAt {
        room: String,
        connection: ConnectionId,
        epoch: Epoch,
        owner: NodeId,
    },
    /// The session of these connections is over: the room has another owner, or none.
    Lose {
        connections: Vec<ConnectionId>,
    },
}

impl Ownership {
    pub(crate) fn new(own: NodeId) -> Self {
        Self { own, rooms: BTreeMap::new(), arrivals: 0, requests: 0, decisions: Vec::new() }
    }

    pub(crate) fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }

    /// A join that waits for the room's record.
    pub(crate) fn wait(&mut self, room: &str, connection: ConnectionId) {
        self.arrivals += 1;
        let record = self.rooms.entry(room.to_owned()).or_default();
        record.admitted.remove(&connection);
        record.waiting.insert(connection, self.arrivals);
    }

    /// A connection is gone.
    pub(crate) fn remove(&mut self, room: &str, connection: ConnectionId) {
        if let Some(record) = self.rooms.get_mut(room) {
            record.waiting.remove(&connection);
            record.admitted.remove(&connection);
        }
    }

    pub(crate) fn owns(&self, room: &str, epoch: Epoch) -> bool {
        self.rooms.get(room).is_some_and(
            |record| matches!(record.standing, Standing::Owner { epoch: own, .. } if own == epoch),
        )
    }

    /// The rooms of this node.
    pub(crate) fn owned(&self) -> impl Iterator<Item = OwnedRoom> + '_ {
        self.rooms.iter().filter_map(|(room, record)| match record.standing {
            Standing::Owner { epoch, .. } => {
                Some(OwnedRoom { room: room.clone(), epoch, owner: self.own })
            }
            Standing::None | Standing::Edge { .. } => None,
        })
    }

    /// The record of a room has, or had, this revision.
    pub(crate) fn learn(&mut self, room: &str, epoch: Epoch) {
        if let Some(record) = self.rooms.get_mut(room)
            && epoch > record.known
        {
            record.known = epoch;
            supersede(room, record, epoch, None, &mut self.decisions);
        }
    }

    /// The owner of a room says that it is not, or not in this epoch.
    pub(crate) fn disowned(&mut self, room: &str, epoch: Epoch) {
        if let Some(record) = self.rooms.get_mut(room)
            && matches!(record.standing, Standing::Edge { epoch: of, .. } if of == epoch)
        {
            record.disowned = Some(epoch);
            lose(record, &mut self.decisions);
        }
    }

    /// The link to a node began anew: what was between this node and that one is lost.
    pub(crate) fn link_lost(&mut self, node: NodeId) {
        for record in self.rooms.values_mut() {
            if matches!(record.standing, Standing::Edge { owner, .. } if owner == node) {
                lose(record, &mut self.decisions);
            }
        }
    }

    /// This node reaches no other: it owns nothing, and what it has of others ends.
    pub(crate) fn cut_off(&mut self) {
        for (room, record) in &mut self.rooms {
            match record.standing {
                Standing::None => {}
                Standing::Owner { epoch, .. } => {
                    stop(room, record, epoch, None, &mut self.decisions);
                }
                Standing::Edge { .. } => lose(record, &mut self.decisions),
            }
        }
    }

    pub(crate) fn answered(
        &mut self,
        now: Duration,
        id: RequestId,
        answer: StoreAnswer,
        peers: &Peers,
        drains: bool,
    ) {
        let asked = self.rooms.iter_mut().find_map(|(room, record)| {
            let pending = record.request.filter(|pending| pending.id == id)?;
            record.request = None;
            Some((room.clone(), record, pending))
        });
        let Some((room, record, pending)) = asked else { return };
        let covered: Vec<ConnectionId> = record
            .waiting
            .iter()
            .filter(|(_, arrival)| **arrival < pending.covers)
            .map(|(connection, _)| *connection)
            .collect();
        match (pending.purpose, answer) {
            (Asked::Take, StoreAnswer::Written { revision }) => {
                let epoch = Epoch(revision);
                record.known = record.known.max(epoch);
                supersede(&room, record, epoch, None, &mut self.decisions);
                if record.known > epoch {
                    return;
                }
                lose(record, &mut self.decisions);
                record.standing = Standing::Owner { epoch, since: now };
                self.decisions.push(Decision::Begin { room: room.clone(), epoch });
                admit_here(&room, record, &covered, &mut self.decisions);
            }
            (Asked::Give(to), StoreAnswer::Written { revision }) => {
                let epoch = Epoch(revision);
                record.known = record.known.max(epoch);
                let successor = to.map(|owner| OwnedRoom { room: room.clone(), epoch, owner });
                supersede(&room, record, epoch, successor, &mut self.decisions);
            }
            (Asked::Read, StoreAnswer::Record { revision, owner }) => {
                let epoch = Epoch(revision);
                if epoch > record.known {
                    record.known = epoch;
                    supersede(&room, record, epoch, None, &mut self.decisions);
                }
                if epoch < record.known {
                    // A copy that is behind.
                    record.retry_at = now + RETRY;
                    return;
                }
                let disowned = record.disowned == Some(epoch);
                match owner {
                    Some(owner) if owner == self.own => match record.standing {
                        Standing::Owner { epoch: own, .. } if own == epoch => {
                            admit_here(&room, record, &covered, &mut self.decisions);
                        }
                        // An answer was lost, or what was owned has ended.
                        _ => self.take(now, &room, epoch),
                    },
                    Some(owner) if peers.is_alive(now, owner) && !disowned => {
                        record.standing = Standing::Edge { epoch, owner };
                        for connection in covered {
                            record.waiting.remove(&connection);
                            record.admitted.insert(connection);
                            let room = room.clone();
                            self.decisions.push(Decision::AdmitAt {
                                room,
                                connection,
                                epoch,
                                owner,
                            });
                        }
                    }
                    Some(owner) if !disowned && !peers.is_dead(now, owner) => {
                        record.retry_at = now + RETRY;
                    }
                    _ if drains => record.retry_at = now + RETRY,
                    _ => self.take(now, &room, epoch),
                }
            }
            (Asked::Take | Asked::Give(_), StoreAnswer::Conflict) => {
                self.read(now, &room);
            }
            // An answer to another question, or none.
            _ => record.retry_at = now + RETRY,
        }
    }

    /// Runs timers, and asks the store what has to be asked. `is_unused` says whether a room of this
    /// node has no members and remembers nothing.
    pub(crate) fn update(
        &mut self,
        now: Duration,
        peers: &Peers,
        drains: bool,
        is_unused: impl Fn(&str) -> bool,
    ) {
        let rooms: Vec<String> = self.rooms.keys().cloned().collect();
        for room in rooms {
            self.update_room(now, &room, peers, drains, &is_unused);
        }
    }

    /// The same for one room.
    pub(crate) fn update_room(
        &mut self,
        now: Duration,
        room: &str,
        peers: &Peers,
        drains: bool,
        is_unused: impl Fn(&str) -> bool,
    ) {
        let Some(record) = self.rooms.get_mut(room) else { return };
        if record.request.is_some_and(|pending| now >= pending.sent_at + REQUEST_TIMEOUT) {
            record.request = None;
            record.retry_at = now;
        }
        if record.request.is_some() || now < record.retry_at {
            return;
        }
        if !record.waiting.is_empty() && peers.reaches_bus(now) {
            self.read(now, room);
            return;
        }
        match record.standing {
            Standing::Edge { epoch, owner }
                if !record.admitted.is_empty() && !drains && peers.is_dead(now, owner) =>
            {
                self.take(now, room, epoch);
            }
            Standing::Owner { epoch, .. } if drains => {
                self.give(now, room, epoch, peers.successor(now));
            }
            Standing::Owner { epoch, since } if now >= since + UNUSED && is_unused(room) => {
                self.give(now, room, epoch, None);
            }
            Standing::Owner { .. } => {}
            Standing::None | Standing::Edge { .. } => {
                if record.waiting.is_empty() && record.admitted.is_empty() {
                    self.rooms.remove(room);
                }
            }
        }
    }

    /// The former owner has written this node into the record of a room.
    pub(crate) fn appointed(&mut self, now: Duration, room: &str, epoch: Epoch) {
        let record = self.rooms.entry(room.to_owned()).or_default();
        if epoch <= record.known {
            return;
        }
        record.known = epoch;
        supersede(room, record, epoch, None, &mut self.decisions);
        lose(record, &mut self.decisions);
        record.standing = Standing::Owner { epoch, since: now };
        self.decisions.push(Decision::Begin { room: room.to_owned(), epoch });
    }

    /// Whether anything is known of a room.
    pub(crate) fn knows(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    /// How many rooms this node owns.
    pub(crate) fn count(&self) -> usize {
        self.owned().count()
    }

    fn read(&mut self, now: Duration, room: &str) {
        let request = StoreRequest::Read { room: room.to_owned() };
        self.ask(now, room, Asked::Read, request);
    }

    fn take(&mut self, now: Duration, room: &str, expected: Epoch) {
        let request = StoreRequest::Write {
            room: room.to_owned(),
            owner: Some(self.own),
            expected: expected.0,
        };
        self.ask(now, room, Asked::Take, request);
    }

    fn give(&mut self, now: Duration, room: &str, expected: Epoch, to: Option<NodeId>) {
        let request =
            StoreRequest::Write { room: room.to_owned(), owner: to, expected: expected.0 };
        self.ask(now, room, Asked::Give(to), request);
    }

    fn ask(&mut self, now: Duration, room: &str, purpose: Asked, request: StoreRequest) {
        let Some(record) = self.rooms.get_mut(room) else { return };
        self.requests += 1;
        let (id, covers) = (RequestId(self.requests), self.arrivals + 1);
        record.request = Some(Pending { id, purpose, sent_at: now, covers });
        self.decisions.push(Decision::Ask(id, request));
    }
}

fn admit_here(
    room: &str,
    record: &mut RoomRecord,
    connections: &[ConnectionId],
    decisions: &mut Vec<Decision>,
) {
    for connection in connections {
        record.waiting.remove(connection);
        record.admitted.insert(*connection);
        let (room, connection) = (room.to_owned(), *connection);
        decisions.push(Decision::AdmitHere { room, connection });
    }
}

/// A higher epoch than that of the present standing ends it.
fn supersede(
    room: &str,
    record: &mut RoomRecord,
    epoch: Epoch,
    successor: Option<OwnedRoom>,
    decisions: &mut Vec<Decision>,
) {
    match record.standing {
        Standing::Owner { epoch: own, .. } if own < epoch => {
            stop(room, record, own, successor, decisions);
        }
        Standing::Edge { epoch: of, .. } if of < epoch => lose(record, decisions),
        Standing::None | Standing::Owner { .. } | Standing::Edge { .. } => {}
    }
}

fn stop(
    room: &str,
    record: &mut RoomRecord,
    epoch: Epoch,
    successor: Option<OwnedRoom>,
    decisions: &mut Vec<Decision>,
) {
    record.standing = Standing::None;
    let connections = std::mem::take(&mut record.admitted).into_iter().collect();
    decisions.push(Decision::Stop { room: room.to_owned(), epoch, connections, successor });
}

fn lose(record: &mut RoomRecord, decisions: &mut Vec<Decision>) {
    record.standing = Standing::None;
    let connections: Vec<_> = std::mem::take(&mut record.admitted).into_iter().collect();
    if !connections.is_empty() {
        decisions.push(Decision::Lose { connections });
    }
}
