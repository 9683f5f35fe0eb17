//! What a joining client receives: a HandshakeResponse, and ClientState messages for all that does
//! not fit into it (PROTOCOL.md, section 7).

use std::collections::{BTreeMap, BTreeSet};

use voicemesh_wire::limits::LISTENERS_PER_LIST;
use voicemesh_wire::packet::{GroupListeners, HandshakeResponse, Header};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use crate::table::{Member, Table};

/// Own id and the three counts.
const FIXED_BYTES: usize = Header::BYTES + 8;

/// The response for `you`, at most `most_bytes` long, and the members whose ClientState follows it.
pub(super) fn first(
    table: &Table,
    you: ClientId,
    session: SessionId,
    most_bytes: usize,
) -> (Vec<u8>, Vec<ClientId>) {
    let mut inside = Inside::default();
    let mut outside = Vec::new();
    for member in table.members().filter(|member| member.info.id != you) {
        if !inside.add(member, most_bytes) {
            outside.push(member.info.id);
        }
    }
    (inside.into_response(you).encode(session), outside)
}

#[derive(Default)]
struct Inside<'a> {
    bytes: usize,
    members: Vec<&'a Member>,
    names: BTreeSet<&'a str>,
    listeners: BTreeMap<GroupId, Vec<ClientId>>,
}

impl<'a> Inside<'a> {
    fn add(&mut self, member: &'a Member, most_bytes: usize) -> bool {
        let mut bytes = member.info.encoded_bytes();
        for (group, name) in &member.groups {
            match self.listeners.get(group) {
                // The list of an id is of one name.
                Some(_) if !self.names.contains(name.as_str()) => return false,
                Some(clients) if clients.len() >= LISTENERS_PER_LIST => return false,
                Some(_) => bytes += 2,
                None => bytes += 2 + name.len() + 3 + 2,
            }
        }
        if FIXED_BYTES + self.bytes + bytes > most_bytes {
            return false;
        }
        self.bytes += bytes;
        self.members.push(member);
        for (group, name) in &member.groups {
            self.names.insert(name);
            self.listeners.entry(*group).or_default().push(member.info.id);
        }
        true
    }

    fn into_response(self, you: ClientId) -> HandshakeResponse {
        HandshakeResponse {
            you,
            clients: self.members.iter().map(|member| member.info.clone()).collect(),
            groups: self.names.into_iter().map(str::to_owned).collect(),
            listeners: self
                .listeners
                .into_iter()
                .map(|(group, clients)| GroupListeners { group, clients })
                .collect(),
        }
    }
}
