//! What a handle stands for: a room, or a voice over a game's own network. What both have, the
//! functions reach here.

use voicemesh::over::{Polled, Voice};
use voicemesh::{
    Events, Group, Member, Microphone, PeerId, ProximityGrid, Room, Snapshot, Speaker, TimedEvent,
    Transmission, TransmitOptions, VoiceAudience,
};

use crate::guard::Fault;
use crate::network::{ProgramNetwork, no_network};
use crate::vmesh_result;

pub(crate) type VoiceOver = Voice<Polled<ProgramNetwork>>;

pub(crate) enum Backend {
    Room(Room, Events),
    Over(Box<VoiceOver>),
}

impl Backend {
    pub(crate) fn room(&self) -> Result<&Room, Fault> {
        match self {
            Self::Room(room, _) => Ok(room),
            Self::Over(_) => Err(Fault::new(
                vmesh_result::VMESH_ERROR_NO_ROOM,
                "the handle is a voice over the game's own network, which has no room; join one with vmesh_room_join for that",
            )),
        }
    }

    pub(crate) fn over(&mut self) -> Result<&mut VoiceOver, Fault> {
        match self {
            Self::Over(voice) => Ok(voice),
            Self::Room(..) => Err(no_network()),
        }
    }

    pub(crate) fn poll_timed(&mut self) -> Option<TimedEvent> {
        match self {
            Self::Room(_, events) => events.poll_timed(),
            Self::Over(voice) => voice.poll_timed(),
        }
    }

    pub(crate) fn microphone(&self) -> Microphone<'_> {
        match self {
            Self::Room(room, _) => room.microphone(),
            Self::Over(voice) => voice.microphone(),
        }
    }

    pub(crate) fn speaker(&self) -> Speaker<'_> {
        match self {
            Self::Room(room, _) => room.speaker(),
            Self::Over(voice) => voice.speaker(),
        }
    }

    pub(crate) fn member(&self, peer: PeerId) -> Member<'_> {
        match self {
            Self::Room(room, _) => *room.participant(peer),
            Self::Over(voice) => voice.member(peer),
        }
    }

    pub(crate) fn group<'a>(&'a self, name: &'a str) -> Group<'a> {
        match self {
            Self::Room(room, _) => room.group(name),
            Self::Over(voice) => voice.group(name),
        }
    }

    pub(crate) fn transmit_to(
        &self,
        audience: VoiceAudience,
        options: TransmitOptions,
    ) -> Transmission {
        match self {
            Self::Room(room, _) => room.transmit_to(audience, options),
            Self::Over(voice) => voice.transmit_to(audience, options),
        }
    }

    pub(crate) fn move_in(&self, grid: &mut ProximityGrid, position: [f32; 3]) {
        match self {
            Self::Room(room, _) => room.move_in(grid, position),
            Self::Over(voice) => voice.move_in(grid, position),
        }
    }

    pub(crate) fn leave_grid(&self, grid: &mut ProximityGrid) {
        match self {
            Self::Room(room, _) => room.leave_grid(grid),
            Self::Over(voice) => voice.leave_grid(grid),
        }
    }

    pub(crate) fn send_text(&self, text: &str) {
        match self {
            Self::Room(room, _) => room.send_text(text),
            Self::Over(voice) => voice.send_text(text),
        }
    }

    pub(crate) fn read_snapshot<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> R {
        match self {
            Self::Room(room, _) => room.read_snapshot(read),
            Self::Over(voice) => read(voice.snapshot()),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.read_snapshot(Snapshot::clone)
    }
}
