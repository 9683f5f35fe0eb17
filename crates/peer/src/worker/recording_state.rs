//! Whether a recording is kept, and what the others see of it.

use std::collections::BTreeSet;
use std::time::Duration;

use voicemesh_mesh::TransactionId;
use voicemesh_wire::PeerId;

use crate::record::Recorder;

/// The server answers within this, or nothing is recorded.
pub(super) const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);

/// The numbers from here on are for announcements; those of the program begin at 1.
pub(super) const FIRST_ANNOUNCEMENT: u64 = 1 << 63;

/// What is recorded, and what the others see of it.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) state: State,
    /// Members that have not seen the announcement, since the server had lost them.
    pub(super) unaware: BTreeSet<PeerId>,
    /// The recording that was ended last: what waits of it goes to the disk meanwhile.
    pub(super) ended: Option<Recorder>,
    /// Announcements so far.
    pub(super) announcements: u64,
}

#[derive(Debug, Default)]
pub(super) enum State {
    #[default]
    Off,
    /// The others do not surely see it yet, and nothing is recorded.
    Announced {
        recorder: Recorder,
        by: Announcement,
    },
    On(Recorder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// The server lets this peer in, whenever that is.
    Join,
    Transaction {
        id: TransactionId,
        /// Until when the server must answer.
        until: Duration,
    },
}

impl Recording {
    /// What was kept until now; nothing is from here on.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// As the options say, announced by the join.
    pub(super) fn from_the_beginning(recorder: Option<Recorder>) -> Self {
        let announced = |recorder| State::Announced { recorder, by: Announcement::Join };
        Self { state: recorder.map_or(State::Off, announced), ..Self::default() }
    }

    /// Whether the others are to see that a recording is kept.
    pub(super) fn is_announced(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    /// Whether what is heard is recorded.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::On(_))
    }

    /// Lets a recording finish its files without waiting for the disk.
    pub(super) fn end(&mut self, mut recorder: Recorder) {
        recorder.end_all();
        if let Some(earlier) = self.ended.replace(recorder) {
            earlier.end_elsewhere();
        }
    }
}
