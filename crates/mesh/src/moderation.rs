//! Decisions about other members: sent once, answered once.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::NextTimer;
use voicemesh_wire::signaling::Moderation;

use crate::transaction::{ANSWER_LIMIT, TransactionId};

/// Decisions that are not answered yet. One more is refused at once.
const WAITING: usize = 64;

/// Decisions on their way, by the number of the request.
#[derive(Debug, Default)]
pub(super) struct Decisions(BTreeMap<u32, Decision>);

/// A decision on its way.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) id: TransactionId,
    pub(super) action: Moderation,
    sent_at: Duration,
}

impl Decisions {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= WAITING
    }

    /// A decision was sent.
    pub(super) fn sent(
        &mut self,
        sent_at: Duration,
        request: u32,
        id: TransactionId,
        action: Moderation,
    ) {
        self.0.insert(request, Decision { id, action, sent_at });
    }

    /// The decision of this number is answered or given up.
    pub(super) fn take(&mut self, request: u32) -> Option<Decision> {
        self.0.remove(&request)
    }

    pub(super) fn timers(&self, next: &mut NextTimer) {
        self.0.values().for_each(|decision| next.at(decision.sent_at + ANSWER_LIMIT));
    }

    /// Those that were not answered in time; all of them if the connection has ended.
    pub(super) fn late(&self, now: Duration, is_joined: bool) -> Vec<u32> {
        let is_late = |sent_at: Duration| !is_joined || now >= sent_at + ANSWER_LIMIT;
        let late = self.0.iter().filter(|(_, decision)| is_late(decision.sent_at));
        late.map(|(request, _)| *request).collect()
    }
}
