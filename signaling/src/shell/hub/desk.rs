//! What a room sends, put into mailboxes and counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::Delivery;
use voicemesh_wire::signaling::ErrorCode;

use super::{Hub, Occupied};
use crate::outbox::{CloseReason, ConnectionId, Outbox, Purpose, Text};
use crate::room::Room;
use crate::shell::mailbox::{Mailbox, Put};
use crate::shell::metrics::Metrics;

impl Occupied {
    pub(super) fn with<T>(&mut self, hub: &Hub, now: Duration, act: impl FnOnce(&mut Room, &mut Desk<'_>) -> T) -> T {
        let mut desk = Desk {
            mailboxes: &self.mailboxes,
            metrics: &hub.metrics,
            now,
            deliveries: 0,
            voice_dropped: 0,
            data_dropped: 0,
            slow_consumers: 0,
            policed: 0,
            busy: 0,
            state: None,
        };
        let result = act(&mut self.room, &mut desk);
        for (counter, count) in [
            (&hub.metrics.deliveries, desk.deliveries),
            (&hub.metrics.voice_dropped, desk.voice_dropped),
            (&hub.metrics.data_dropped, desk.data_dropped),
            (&hub.metrics.slow_consumers, desk.slow_consumers),
            (&hub.metrics.voice_over_rate, desk.policed),
            (&hub.metrics.receiver_busy, desk.busy),
        ] {
            if count > 0 {
                counter.add(count);
            }
        }
        result
    }
}

/// A room's output into mailboxes.
pub(super) struct Desk<'a> {
    mailboxes: &'a BTreeMap<ConnectionId, Arc<Mailbox>>,
    metrics: &'a Metrics,
    now: Duration,
    deliveries: u64,
    voice_dropped: u64,
    data_dropped: u64,
    slow_consumers: u64,
    policed: u64,
    busy: u64,
    /// Who was sent state, and how many bytes of it.
    state: Option<(ConnectionId, usize)>,
}

impl Desk<'_> {
    pub(super) fn state_bytes(&self, of: ConnectionId) -> usize {
        self.state.filter(|(to, _)| *to == of).map_or(0, |(_, bytes)| bytes)
    }

    fn count_state(&mut self, to: ConnectionId, bytes: usize, purpose: Purpose) {
        if purpose == Purpose::Snapshot {
            let sum = self.state_bytes(to) + bytes;
            self.state = Some((to, sum));
        }
    }

    fn count(&mut self, put: Put) {
        match put {
            Put::VoiceDropped(packets) => self.voice_dropped += packets as u64,
            Put::Refused => self.data_dropped += 1,
            Put::Overflow => {
                self.slow_consumers += 1;
                self.metrics.refused(&ErrorCode::SlowConsumer);
            }
            Put::Busy => self.busy += 1,
            Put::Queued | Put::Covered | Put::Ended => {}
        }
    }
}

impl Outbox for Desk<'_> {
    fn text(&mut self, to: ConnectionId, message: &Text, purpose: Purpose) -> bool {
        let Some(mailbox) = self.mailboxes.get(&to) else { return true };
        self.count_state(to, message.bytes().len(), purpose);
        let put = mailbox.text(self.now, message, purpose);
        self.count(put);
        put != Put::Busy
    }

    fn packet(&mut self, to: ConnectionId, packet: Bytes, delivery: Delivery, purpose: Purpose) -> bool {
        let Some(mailbox) = self.mailboxes.get(&to) else { return true };
        self.deliveries += 1;
        self.count_state(to, packet.len(), purpose);
        let put = mailbox.packet(self.now, packet, delivery, purpose);
        self.count(put);
        put != Put::Busy
    }

    fn defer_snapshot(&mut self, to: ConnectionId) -> bool {
        self.mailboxes.get(&to).is_some_and(|mailbox| mailbox.defer_snapshot())
    }

    fn pong(&mut self, to: ConnectionId, message: &Text) {
        if let Some(mailbox) = self.mailboxes.get(&to) {
            let put = mailbox.pong(self.now, message);
            self.count(put);
        }
    }

    fn count_refusal(&mut self, code: &ErrorCode) {
        self.metrics.refused(code);
    }

    fn count_policed(&mut self) {
        self.policed += 1;
    }

    fn hand_over(&mut self, from: ConnectionId, to: ConnectionId) {
        if let (Some(old), Some(new)) = (self.mailboxes.get(&from), self.mailboxes.get(&to)) {
            for (packet, purpose) in old.take_texts() {
                let put = new.packet(self.now, packet, Delivery::Reliable, purpose);
                self.count(put);
            }
        }
    }

    fn close(&mut self, to: ConnectionId, reason: CloseReason) {
        if let Some(mailbox) = self.mailboxes.get(&to) {
            mailbox.end(self.now, reason);
        }
    }
}
