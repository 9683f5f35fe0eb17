//! Counters that `/metrics` shows. No labels, so nothing about rooms or peers leaves by them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) accepted: Counter,
    pub(super) upgrades_refused: Counter,
    pub(super) joins: Counter,
    pub(super) joins_refused: Counter,
    pub(super) password_hashes: Counter,
    pub(super) messages: Counter,
    pub(super) packets: Counter,
    pub(super) packets_dropped: Counter,
    pub(super) deliveries: Counter,
    pub(super) voice_dropped: Counter,
    pub(super) data_dropped: Counter,
    pub(super) refusals: Counter,
    pub(super) over_budget: Counter,
    pub(super) slow_consumers: Counter,
    pub(super) lost: Counter,
    pub(super) receiver_busy: Counter,
    pub(super) snapshots: Counter,
    pub(super) voice_over_rate: Counter,
    pub(super) unfinished_ended: Counter,
    pub(super) turned_away: Counter,
}

impl Metrics {
    /// The text format that Prometheus reads (version 0.0.4).
    pub(super) fn render(&self, connections: usize, rooms: usize) -> String {
        let counters = [
            ("connections_accepted", "Connections accepted.", &self.accepted),
            ("upgrades_refused", "Requests for a WebSocket that did not become one.", &self.upgrades_refused),
            ("joins", "Joins answered.", &self.joins),
            ("joins_refused", "Joins refused.", &self.joins_refused),
            ("password_hashes", "Passwords hashed.", &self.password_hashes),
            ("messages", "Signaling messages received.", &self.messages),
            ("packets", "Session packets received.", &self.packets),
            ("packets_dropped", "Session packets that had no effect.", &self.packets_dropped),
            ("deliveries", "Session packets handed to a receiver's queue.", &self.deliveries),
            ("voice_dropped", "Voice packets too late to be worth sending.", &self.voice_dropped),
            ("data_dropped", "Packets of games' own bytes that a slow receiver had no room for.", &self.data_dropped),
            ("refusals", "Errors answered.", &self.refusals),
            ("over_budget", "Messages and packets dropped because of a budget.", &self.over_budget),
            ("slow_consumers", "Connections ended because they took too little.", &self.slow_consumers),
            ("lost", "Connections ended because they fell silent.", &self.lost),
            (
                "receiver_busy",
                "Messages and packets refused because too much of their sender waited.",
                &self.receiver_busy,
            ),
            ("snapshots", "Snapshots sent in place of updates that waited too long.", &self.snapshots),
            (
                "voice_over_rate",
                "Voice packets not passed on because their speaker sent too many.",
                &self.voice_over_rate,
            ),
            (
                "unfinished_ended",
                "Connections ended because too much of unfinished messages waited.",
                &self.unfinished_ended,
            ),
            (
                "turned_away",
                "Connections beyond the limit that were told over HTTP that the server is full.",
                &self.turned_away,
            ),
        ];
        let mut text = String::new();
        for (name, help, counter) in counters {
            let value = counter.value();
            // Writing to a String does not fail.
            let _ = writeln!(text, "# HELP voicemesh_{name}_total {help}\n# TYPE voicemesh_{name}_total counter");
            let _ = writeln!(text, "voicemesh_{name}_total {value}");
        }
        for (name, help, value) in
            [("connections", "Open connections.", connections), ("rooms", "Rooms, empty ones included.", rooms)]
        {
            let _ = writeln!(text, "# HELP voicemesh_{name} {help}\n# TYPE voicemesh_{name} gauge");
            let _ = writeln!(text, "voicemesh_{name} {value}");
        }
        text
    }
}
