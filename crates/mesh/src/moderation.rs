//! Decisions about other members: sent once, answered once.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::NextTimer;

use crate::transaction::{ANSWER_LIMIT, TransactionId};

/// Decisions that are not answered yet. One more is refused at once.
const WAITING: usize = 64;

/// Decisions on their way, by the number of the request.
#[derive(Debug, Default)]
pub(super) struct Decisions(BTreeMap<u32, (TransactionId, Duration)>);

impl Decisions {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= WAITING
    }

    /// A decision was sent.
    pub(super) fn sent(&mut self, now: Duration, request: u32, id: TransactionId) {
        self.0.insert(request, (id, now));
    }

    /// The decision of this number is answered or given up.
    pub(super) fn take(&mut self, request: u32) -> Option<TransactionId> {
        self.0.remove(&request).map(|(id, _)| id)
    }

    pub(super) fn timers(&self, next: &mut NextTimer) {
        self.0.values().for_each(|(_, at)| next.at(*at + ANSWER_LIMIT));
    }

    /// Those that were not answered in time; all of them if the connection has ended.
    pub(super) fn late(&self, now: Duration, is_joined: bool) -> Vec<u32> {
        let late = self.0.iter().filter(|(_, (_, at))| !is_joined || now >= *at + ANSWER_LIMIT);
        late.map(|(request, _)| *request).collect()
    }
}
