//! What `/metrics` shows. The only labels are bounds of histograms and the server's own error
//! codes, so nothing about rooms or peers leaves by them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use voicemesh_common::lock;
use voicemesh_wire::signaling::ErrorCode;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts so many more.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of each length there were. Each value counts in the first bucket whose bound it does
/// not exceed.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    /// In milliseconds, rising.
    bounds: [u64; N],
    counts: [AtomicU64; N],
    /// Beyond the last bound.
    more: AtomicU64,
    sum_us: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; N],
            more: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
        }
    }

    /// One more of this length.
    pub fn observe(&self, length: Duration) {
        let fits = self.bounds.iter().position(|bound| length <= Duration::from_millis(*bound));
        let count = fits.map_or(&self.more, |index| &self.counts[index]);
        count.fetch_add(1, Ordering::Relaxed);
        self.sum_us
            .fetch_add(u64::try_from(length.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn render(&self, name: &str, help: &str, text: &mut String) {
        let _ = writeln!(
            text,
            "# HELP voicemesh_{name}_seconds {help}\n# TYPE voicemesh_{name}_seconds histogram"
        );
        let mut sum = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            sum += count.load(Ordering::Relaxed);
            let bound = *bound as f64 / 1000.0;
            let _ = writeln!(text, "voicemesh_{name}_seconds_bucket{{le=\"{bound}\"}} {sum}");
        }
        sum += self.more.load(Ordering::Relaxed);
        let seconds = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "voicemesh_{name}_seconds_bucket{{le=\"+Inf\"}} {sum}");
        let _ = writeln!(
            text,
            "voicemesh_{name}_seconds_sum {seconds}\nvoicemesh_{name}_seconds_count {sum}"
        );
    }
}

/// What is true at the moment of asking.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Open connections.
    pub connections: usize,
    /// Rooms, empty ones included.
    pub rooms: usize,
    /// Members of all rooms.
    pub members: usize,
    /// Passwords that wait to be hashed.
    pub hashes_waiting: usize,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    /// How long relayed voice waited for its receiver's socket. What waits longer than the last
    /// bound is dropped.
    pub relay_queue_age: Histogram<9>,
    /// From the upgrade to the answer to the join.
    pub join_time: Histogram<9>,
    /// By error code, which the server itself chooses.
    refusals_by_code: Mutex<BTreeMap<String, u64>>,
    /// Bytes received in WebSocket messages.
    pub bytes_in: Counter,
    /// Bytes sent in WebSocket messages.
    pub bytes_out: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Requests for a WebSocket that did not become one.
    pub upgrades_refused: Counter,
    /// Joins answered.
    pub joins: Counter,
    /// Joins refused.
    pub joins_refused: Counter,
    /// Passwords hashed.
    pub password_hashes: Counter,
    /// Signaling messages received.
    pub messages: Counter,
    /// Session packets received.
    pub packets: Counter,
    /// Session packets that had no effect.
    pub packets_dropped: Counter,
    /// Session packets handed to a receiver's queue.
    pub deliveries: Counter,
    /// Voice packets too late to be worth sending.
    pub voice_dropped: Counter,
    /// Packets of games' own bytes that a slow receiver had no room for.
    pub data_dropped: Counter,
    /// Errors answered.
    pub refusals: Counter,
    /// Messages and packets dropped because of a budget.
    pub over_budget: Counter,
    /// Connections ended because they took too little.
    pub slow_consumers: Counter,
    /// Connections ended because they fell silent.
    pub lost: Counter,
    /// Messages and packets refused because too much of their sender waited.
    pub receiver_busy: Counter,
    /// Snapshots sent in place of updates that waited too long.
    pub snapshots: Counter,
    /// Voice packets, data, signals and texts not passed on because their sender sent too many.
    pub voice_over_rate: Counter,
    /// Connections ended because too much of unfinished messages waited.
    pub unfinished_ended: Counter,
    /// Connections beyond the limit that were answered over HTTP: the server is full.
    pub turned_away: Counter,
    /// Requests over HTTP that were refused because their connection or address makes too many.
    pub requests_over_budget: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            relay_queue_age: Histogram::new([1, 5, 10, 20, 50, 100, 200, 300, 400]),
            join_time: Histogram::new([10, 25, 50, 100, 250, 500, 1000, 5000, 30_000]),
            refusals_by_code: Mutex::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            accepted: Counter::default(),
            upgrades_refused: Counter::default(),
            joins: Counter::default(),
            joins_refused: Counter::default(),
            password_hashes: Counter::default(),
            messages: Counter::default(),
            packets: Counter::default(),
            packets_dropped: Counter::default(),
            deliveries: Counter::default(),
            voice_dropped: Counter::default(),
            data_dropped: Counter::default(),
            refusals: Counter::default(),
            over_budget: Counter::default(),
            slow_consumers: Counter::default(),
            lost: Counter::default(),
            receiver_busy: Counter::default(),
            snapshots: Counter::default(),
            voice_over_rate: Counter::default(),
            unfinished_ended: Counter::default(),
            turned_away: Counter::default(),
            requests_over_budget: Counter::default(),
        }
    }
}

impl Metrics {
    /// An error that was answered.
    pub fn refused(&self, code: &ErrorCode) {
        self.refusals.add(1);
        *lock(&self.refusals_by_code).entry(code.as_str().to_owned()).or_default() += 1;
    }

    /// The text format that Prometheus reads (version 0.0.4).
    pub fn render(&self, gauges: Gauges) -> String {
        let Gauges { connections, rooms, members, hashes_waiting } = gauges;
        let counters = [
            ("connections_accepted", "Connections accepted.", &self.accepted),
            (
                "upgrades_refused",
                "Requests for a WebSocket that did not become one.",
                &self.upgrades_refused,
            ),
            ("joins", "Joins answered.", &self.joins),
            ("joins_refused", "Joins refused.", &self.joins_refused),
            ("password_hashes", "Passwords hashed.", &self.password_hashes),
            ("bytes_in", "Bytes received in WebSocket messages.", &self.bytes_in),
            ("bytes_out", "Bytes sent in WebSocket messages.", &self.bytes_out),
            ("messages", "Signaling messages received.", &self.messages),
            ("packets", "Session packets received.", &self.packets),
            ("packets_dropped", "Session packets that had no effect.", &self.packets_dropped),
            ("deliveries", "Session packets handed to a receiver's queue.", &self.deliveries),
            ("voice_dropped", "Voice packets too late to be worth sending.", &self.voice_dropped),
            (
                "data_dropped",
                "Packets of games' own bytes that a slow receiver had no room for.",
                &self.data_dropped,
            ),
            ("refusals", "Errors answered.", &self.refusals),
            ("over_budget", "Messages and packets dropped because of a budget.", &self.over_budget),
            (
                "slow_consumers",
                "Connections ended because they took too little.",
                &self.slow_consumers,
            ),
            ("lost", "Connections ended because they fell silent.", &self.lost),
            (
                "receiver_busy",
                "Messages and packets refused because too much of their sender waited.",
                &self.receiver_busy,
            ),
            (
                "snapshots",
                "Snapshots sent in place of updates that waited too long.",
                &self.snapshots,
            ),
            (
                "voice_over_rate",
                "Voice packets, data, signals and texts not passed on because their sender sent too many.",
                &self.voice_over_rate,
            ),
            (
                "unfinished_ended",
                "Connections ended because too much of unfinished messages waited.",
                &self.unfinished_ended,
            ),
            (
                "turned_away",
                "Connections beyond the limit that were answered over HTTP: the server is full.",
                &self.turned_away,
            ),
            (
                "requests_over_budget",
                "Requests over HTTP refused because their connection or address makes too many.",
                &self.requests_over_budget,
            ),
        ];
        let mut text = String::new();
        for (name, help, counter) in counters {
            let value = counter.value();
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "# HELP voicemesh_{name}_total {help}\n# TYPE voicemesh_{name}_total counter"
            );
            let _ = writeln!(text, "voicemesh_{name}_total {value}");
        }
        let _ = writeln!(
            text,
            "# HELP voicemesh_refusals_by_code_total Errors answered, by code.\n# TYPE voicemesh_refusals_by_code_total counter"
        );
        for (code, count) in &*lock(&self.refusals_by_code) {
            let _ = writeln!(text, "voicemesh_refusals_by_code_total{{code=\"{code}\"}} {count}");
        }
        let waited = "Time that relayed voice waited in the queue of its receiver.";
        self.relay_queue_age.render("relay_queue_age", waited, &mut text);
        self.join_time.render(
            "join_time",
            "Time from an upgrade to the answer to its join.",
            &mut text,
        );
        for (name, help, value) in [
            ("connections", "Open connections.", connections),
            ("rooms", "Rooms, empty ones included.", rooms),
            ("members", "Members of all rooms.", members),
            ("hashes_waiting", "Passwords that wait to be hashed.", hashes_waiting),
        ] {
            let _ = writeln!(text, "# HELP voicemesh_{name} {help}\n# TYPE voicemesh_{name} gauge");
            let _ = writeln!(text, "voicemesh_{name} {value}");
        }
        text
    }
}
