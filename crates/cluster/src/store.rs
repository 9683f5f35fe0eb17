//! The records of rooms in a key-value store that compares and sets: who owns which room.

use bytes::Bytes;

use crate::message::NodeId;

/// One request of a node to the store, never given twice by one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What is asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// The record of a room as it is now: the store's leader answers, not a copy that may be behind.
    Read {
        /// The room's [key](voicemesh_wire::RoomName::key).
        room: String,
    },
    /// Writes the record of a room, if its revision is still this one.
    Write {
        /// The room's [key](voicemesh_wire::RoomName::key).
        room: String,
        /// Who owns the room from then on; `None`: no node does.
        owner: Option<NodeId>,
        /// The revision that the record must have; 0: there is none.
        expected: u64,
    },
}

/// What the store says. No answer at all counts as [`Unavailable`](Self::Unavailable) after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// The record.
    Record {
        /// How often it was written; 0: there is none. A later one is higher, also after the record
        /// was removed.
        revision: u64,
        /// Who owns the room.
        owner: Option<NodeId>,
    },
    /// It is written, and has this revision now.
    Written {
        /// Its revision.
        revision: u64,
    },
    /// Its revision was another one; nothing was written.
    Conflict,
    /// The store does not answer now. A write may have happened all the same.
    Unavailable,
}

/// The bytes of a record.
pub fn encode_record(owner: Option<NodeId>) -> Bytes {
    owner.map_or_else(Bytes::new, |owner| Bytes::copy_from_slice(&owner.0.to_be_bytes()))
}

/// Who owns a room, by the bytes of its record. Bytes that are no record name no owner, so that the
/// room can be taken.
pub fn decode_record(bytes: &[u8]) -> Option<NodeId> {
    bytes.try_into().ok().map(|bytes| NodeId(u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_and_others_name_no_owner() {
        for owner in [None, Some(NodeId(0)), Some(NodeId(u64::MAX))] {
            assert_eq!(decode_record(&encode_record(owner)), owner);
        }
        assert_eq!(decode_record(&[1; 7]), None);
        assert_eq!(decode_record(&[1; 9]), None);
    }
}
