//! A room as one of its members sees it.

use std::collections::BTreeMap;

use voicemesh_wire::PeerId;
use voicemesh_wire::packet::{Header, Kind, open};
use voicemesh_wire::signaling::{
    Join, Joined, LeaveReason, PeerInfo, RosterMark, ServerMessage, decode_server, roster_hash,
};

use crate::findings::{Findings, Room};

/// Where a frame of speech begins in VoiceData with one target.
pub const FRAME_AT: usize = 7 + 2 + 1 + 2 + 2 + 4 + 2;

/// What one member knows.
pub struct View {
    pub you: PeerId,
    pub roster: BTreeMap<PeerId, PeerInfo>,
    version: u64,
    /// The first packet of speech that it heard, and how many of those before `until`.
    first: Option<u64>,
    heard: u64,
    until: Option<u64>,
}

impl View {
    pub fn new(join: &Join, joined: &Joined) -> Self {
        let own = PeerInfo {
            peer: joined.you,
            client: joined.client,
            run: join.run,
            name: join.name.clone(),
            metadata: join.metadata.clone(),
            status: join.status,
            capabilities: join.capabilities.clone(),
            order: joined.order,
            permissions: joined.permissions,
            held_in: joined.held_in.clone(),
        };
        let roster =
            joined.peers.iter().chain([&own]).map(|info| (info.peer, info.clone())).collect();
        Self {
            you: joined.you,
            roster,
            version: joined.roster.version,
            first: None,
            heard: 0,
            until: None,
        }
    }

    /// A message of the server. An error is the end of the connection, against its will.
    pub fn text(&mut self, room: &Room, text: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        match decode_server(text).map_err(|error| error.to_string())? {
            ServerMessage::PeerJoined { peer } => {
                self.version += 1;
                self.roster.insert(peer.peer, peer);
            }
            ServerMessage::PeerLeft { peer, reason } => {
                self.version += 1;
                self.roster.remove(&peer);
                self.judge_leave(room, peer, &reason);
            }
            ServerMessage::Metadata { changes, .. } => self.version += u64::from(changes),
            ServerMessage::Permissions { .. } | ServerMessage::Status { .. } => self.version += 1,
            ServerMessage::Roster { mark, peers } => {
                self.version = mark.version;
                self.roster = peers.into_iter().map(|info| (info.peer, info)).collect();
                self.compare(room, &mark);
            }
            ServerMessage::RosterMark(mark) => self.compare(room, &mark),
            ServerMessage::Error { code, message, .. } => return Err(format!("{code}: {message}")),
            message @ (ServerMessage::Replaced | ServerMessage::GoingAway { .. }) => {
                return Err(format!("{message:?}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn judge_leave(&self, room: &Room, peer: PeerId, reason: &LeaveReason) {
        let went = room.parted.borrow().contains(&peer);
        let is_honest = went || room.present.borrow().contains(&peer);
        if is_honest
            && (*reason == LeaveReason::Kicked || (*reason != LeaveReason::Replaced && !went))
        {
            room.note(format!("an honest member left: {reason:?}"));
        }
    }

    fn compare(&self, room: &Room, mark: &RosterMark) {
        Findings::count(&room.findings.rosters);
        let hash = roster_hash(self.roster.values());
        if (mark.version, &mark.hash) != (self.version, &hash) {
            room.note(format!(
                "a roster differs: version {} and not {}, hash {hash:?}",
                self.version, mark.version
            ));
        }
    }

    pub fn packet(&mut self, room: &Room, packet: &[u8]) {
        let Ok((Header { kind: Kind::VoiceData, .. }, [high, low, ..])) = open(packet) else {
            return;
        };
        let is_speaker = room
            .speaker
            .get()
            .is_some_and(|speaker| speaker.0 == u16::from_be_bytes([*high, *low]));
        let number = packet.get(FRAME_AT..FRAME_AT + 8).and_then(|bytes| bytes.first_chunk::<8>());
        let number = number.map(|number| u64::from_be_bytes(*number));
        if let (true, Some(number)) =
            (is_speaker, number.filter(|number| self.until.is_none_or(|until| *number < until)))
        {
            self.first.get_or_insert(number);
            self.heard += 1;
        }
    }

    /// What is said from now on does not count.
    pub fn hear_until(&mut self, said: u64) {
        self.until = Some(said);
    }

    /// Counts what was heard of all that was said until `said`.
    pub fn count_speech(&self, room: &Room, said: u64) {
        match self.first {
            Some(first) => room.findings.heard(room.number, said - first, self.heard),
            None => room.note("a member heard nothing".to_owned()),
        }
    }

    /// At the end, when all honest members are in.
    pub fn check_everyone(&self, room: &Room) {
        let missing =
            room.present.borrow().iter().filter(|peer| !self.roster.contains_key(peer)).count();
        if missing > 0 {
            room.note(format!("a roster lacks {missing} members in the end"));
        }
    }
}
