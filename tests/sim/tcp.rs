//! One direction of a TCP connection over a way that drops what does not fit: a window of packets,
//! small writes that share a segment while the window is full, delivery in order, and losses that
//! are found by later acknowledgements, by a probe or by time. As Linux has it with `TCP_NODELAY`,
//! SACK and CUBIC (RFC 5681, 6298, 6937, 8985, 9438), with three simplifications: every segment is
//! acknowledged at once, no acknowledgement is lost, and a time-out that was too early is known as
//! such (RFC 5682), so that it repeats one segment and leaves the window.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_netsim::Bottleneck;

/// From the far end of the narrow way to the receiver and back.
const REST_OF_ROUND_TRIP: Duration = Duration::from_millis(45);
/// IPv4, and TCP with timestamps.
const HEADER_BYTES: usize = 52;
const SEGMENT_BYTES: usize = 1_448;
const FIRST_RTO: Duration = Duration::from_secs(1);
const LEAST_VARIATION: Duration = Duration::from_millis(200);
const LONGEST_RTO: Duration = Duration::from_secs(120);
const FIRST_WINDOW: f64 = 10.0;
const LEAST_WINDOW: f64 = 2.0;
/// What a loss leaves of the window, and what the window grows by in a round trip (RFC 9438 §4.6,
/// §4.3).
const AFTER_LOSS: f64 = 0.7;
const GROWTH: f64 = 0.53;
/// From this window on, so many round trips in a row that show a queue end the slow start (RFC
/// 9406).
const HYSTART_WINDOW: f64 = 16.0;
const HYSTART_SAMPLES: u32 = 8;
/// So many acknowledgements of later segments rule out that they have overtaken an earlier one.
const DUPLICATES: usize = 3;

/// The sender, and what is under way. `T` is a message.
#[derive(Debug)]
pub struct Tcp<T> {
    unsent: VecDeque<Written<T>>,
    flight: VecDeque<Segment<T>>,
    window: f64,
    threshold: f64,
    recovery: Option<Recovery>,
    /// The most packets under way of late: a window that is not used does not grow.
    most_in_flight: usize,
    is_limited: bool,
    smoothed: Option<(Duration, Duration)>,
    least_round_trip: Duration,
    round_trip: Duration,
    slow_samples: u32,
    rto: Duration,
    sent: u64,
    /// The newest sending among what is acknowledged: its number and time.
    newest_acked: (u64, Duration),
    /// When an acknowledgement last took the oldest segment.
    progress_at: Duration,
    has_probed: bool,
    delivered_at: Duration,
}

#[derive(Debug)]
struct Written<T> {
    bytes: usize,
    message: T,
}

#[derive(Debug)]
struct Segment<T> {
    bytes: usize,
    /// The messages that end in it.
    messages: Vec<T>,
    /// Which sending this was.
    number: u64,
    sent_at: Duration,
    /// When it has passed the narrow way; `None` if it was dropped.
    passed_at: Option<Duration>,
    state: State,
    is_repeated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    /// Taken for lost, and not sent again yet.
    Lost,
    Acknowledged,
}

/// Losses until what was sent by then is acknowledged are one event.
#[derive(Debug)]
struct Recovery {
    until: u64,
    /// Proportional rate reduction (RFC 6937); not after a time-out.
    reduction: Option<Reduction>,
}

#[derive(Debug)]
struct Reduction {
    in_flight_before: f64,
    delivered: f64,
    sent: f64,
}

impl<T> Default for Tcp<T> {
    fn default() -> Self {
        Self {
            unsent: VecDeque::new(),
            flight: VecDeque::new(),
            window: FIRST_WINDOW,
            threshold: f64::INFINITY,
            recovery: None,
            most_in_flight: 0,
            is_limited: false,
            smoothed: None,
            least_round_trip: Duration::MAX,
            round_trip: Duration::ZERO,
            slow_samples: 0,
            rto: FIRST_RTO,
            sent: 0,
            newest_acked: (0, Duration::ZERO),
            progress_at: Duration::ZERO,
            has_probed: false,
            delivered_at: Duration::ZERO,
        }
    }
}

impl<T> Tcp<T> {
    /// Bytes that were written and never sent.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.iter().map(|written| written.bytes).sum()
    }

    pub fn write(&mut self, bytes: usize, message: T) {
        self.unsent.push_back(Written { bytes, message });
    }

    /// What came back by now, and what is sent. Gives the messages that arrive in order, and when.
    pub fn poll(&mut self, now: Duration, way: &mut Bottleneck) -> Vec<(Duration, T)> {
        let acked = self.take_acknowledgements(now);
        self.find_losses(now);
        self.reduce(acked);
        self.check_timers(now, way);
        self.send(now, way);
        self.deliver()
    }

    fn in_flight(&self) -> usize {
        self.flight.iter().filter(|segment| segment.state == State::UnderWay).count()
    }

    fn take_acknowledgements(&mut self, now: Duration) -> usize {
        let (mut acked, mut samples) = (0, Vec::new());
        for segment in &mut self.flight {
            let is_back = segment.passed_at.is_some_and(|at| at + REST_OF_ROUND_TRIP <= now);
            if segment.state == State::Acknowledged || !is_back {
                continue;
            }
            segment.state = State::Acknowledged;
            acked += 1;
            let sample = now - segment.sent_at;
            if segment.is_repeated && sample < self.least_round_trip {
                // It was the first sending that arrived.
                continue;
            }
            if segment.number > self.newest_acked.0 {
                (self.newest_acked, self.round_trip) = ((segment.number, segment.sent_at), sample);
            }
            if !segment.is_repeated {
                samples.push(sample);
            }
        }
        for sample in samples {
            self.measure(sample);
        }
        if self.flight.front().is_some_and(|first| first.state == State::Acknowledged) {
            (self.progress_at, self.has_probed) = (now, false);
            if let Some((mean, deviation)) = self.smoothed {
                self.rto = mean + (4 * deviation).max(LEAST_VARIATION);
            }
        }
        if self.recovery.as_ref().is_some_and(|recovery| {
            self.flight.iter().all(|segment| {
                segment.state == State::Acknowledged || segment.number > recovery.until
            })
        }) {
            self.window = self.window.min(self.threshold).max(LEAST_WINDOW);
            self.recovery = None;
        }
        let is_reducing =
            self.recovery.as_ref().is_some_and(|recovery| recovery.reduction.is_some());
        for _ in 0..acked {
            if !is_reducing {
                self.grow();
            }
        }
        acked
    }

    fn measure(&mut self, sample: Duration) {
        let (mean, deviation) = self.smoothed.map_or((sample, sample / 2), |(mean, deviation)| {
            ((mean * 7 + sample) / 8, (deviation * 3 + mean.abs_diff(sample)) / 4)
        });
        self.smoothed = Some((mean, deviation));
        self.least_round_trip = self.least_round_trip.min(sample);
        let queue =
            (self.least_round_trip / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
        self.slow_samples =
            if sample >= self.least_round_trip + queue { self.slow_samples + 1 } else { 0 };
        if self.window >= HYSTART_WINDOW && self.slow_samples >= HYSTART_SAMPLES {
            self.threshold = self.threshold.min(self.window);
        }
    }

    fn grow(&mut self) {
        if self.window < self.threshold {
            self.window += if self.window < 2.0 * self.most_in_flight as f64 { 1.0 } else { 0.0 };
        } else if self.is_limited {
            self.window += GROWTH / self.window;
        }
    }

    /// Those that were sent a round trip before the newest of which is known that it arrived (RFC
    /// 8985 §6.2).
    fn find_losses(&mut self, now: Duration) {
        let newest = self.newest_acked.0;
        let later =
            self.flight.iter().filter(|segment| segment.state == State::Acknowledged).count();
        let is_certain = self.recovery.is_some() || later >= DUPLICATES;
        let reordering = if is_certain { Duration::ZERO } else { self.least_round_trip / 4 };
        let mut found = false;
        for segment in &mut self.flight {
            let is_overdue = segment.sent_at + self.round_trip + reordering <= now;
            if segment.state == State::UnderWay && segment.number < newest && is_overdue {
                segment.state = State::Lost;
                found = true;
            }
        }
        if found && self.recovery.is_none() {
            let unacknowledged =
                self.flight.iter().filter(|segment| segment.state != State::Acknowledged).count();
            let in_flight_before = unacknowledged.max(1) as f64;
            self.threshold = (self.window * AFTER_LOSS).max(LEAST_WINDOW);
            let reduction = Reduction { in_flight_before, delivered: 0.0, sent: 0.0 };
            self.recovery = Some(Recovery { until: self.sent, reduction: Some(reduction) });
            // The first is sent again whatever the window.
            self.window = self.in_flight() as f64 + 1.0;
        }
    }

    fn reduce(&mut self, acked: usize) {
        let in_flight = self.in_flight() as f64;
        let Some(reduction) =
            self.recovery.as_mut().and_then(|recovery| recovery.reduction.as_mut())
        else {
            return;
        };
        if acked == 0 {
            return;
        }
        reduction.delivered += acked as f64;
        let allowed = if in_flight > self.threshold {
            (reduction.delivered * self.threshold / reduction.in_flight_before).ceil()
                - reduction.sent
        } else {
            let limit = (reduction.delivered - reduction.sent).max(acked as f64) + 1.0;
            (self.threshold - in_flight).min(limit)
        };
        let least = if reduction.sent == 0.0 { 1.0 } else { 0.0 };
        self.window = in_flight + allowed.max(least);
    }

    fn check_timers(&mut self, now: Duration, way: &mut Bottleneck) {
        let Some(first) =
            self.flight.iter().position(|segment| segment.state != State::Acknowledged)
        else {
            return;
        };
        if now >= self.progress_at.max(self.flight[first].sent_at) + self.rto {
            return self.time_out(first);
        }
        let Some(last) =
            self.flight.iter().rposition(|segment| segment.state != State::Acknowledged)
        else {
            return;
        };
        let (mean, _) = self.smoothed.unwrap_or((FIRST_RTO / 2, Duration::ZERO));
        let rest = if self.flight.len() == 1 { LEAST_VARIATION } else { Duration::from_millis(2) };
        if self.recovery.is_none()
            && !self.has_probed
            && now >= self.progress_at.max(self.flight[last].sent_at) + 2 * mean + rest
        {
            self.has_probed = true;
            if self.unsent.is_empty() {
                self.repeat(now, last, way)
            } else {
                self.send_new(now, way)
            }
        }
    }

    fn time_out(&mut self, first: usize) {
        self.rto = (self.rto * 2).min(LONGEST_RTO);
        if self.flight[first].passed_at.is_none() {
            if self.recovery.as_ref().is_none_or(|recovery| recovery.reduction.is_some()) {
                self.threshold = (self.window * AFTER_LOSS).max(LEAST_WINDOW);
            }
            for segment in self.flight.iter_mut().filter(|segment| segment.passed_at.is_none()) {
                segment.state = State::Lost;
            }
            self.window = self.in_flight() as f64 + 1.0;
            self.recovery = Some(Recovery { until: self.sent, reduction: None });
        } else {
            self.flight[first].state = State::Lost;
        }
    }

    fn send(&mut self, now: Duration, way: &mut Bottleneck) {
        self.is_limited = false;
        loop {
            let lost = self.flight.iter().position(|segment| segment.state == State::Lost);
            if lost.is_none() && self.unsent.is_empty() {
                break;
            }
            if self.in_flight() as f64 + 1.0 > self.window {
                self.is_limited = true;
                break;
            }
            match lost {
                Some(lost) => self.repeat(now, lost, way),
                None => self.send_new(now, way),
            }
        }
        let in_flight = self.in_flight();
        self.most_in_flight =
            if self.is_limited { in_flight } else { self.most_in_flight.max(in_flight) };
    }

    fn send_new(&mut self, now: Duration, way: &mut Bottleneck) {
        let (mut bytes, mut messages) = (0, Vec::new());
        while let Some(first) = self.unsent.front_mut() {
            let part = first.bytes.min(SEGMENT_BYTES - bytes);
            (bytes, first.bytes) = (bytes + part, first.bytes - part);
            if first.bytes > 0 {
                break;
            }
            messages.extend(self.unsent.pop_front().map(|written| written.message));
        }
        if self.flight.is_empty() {
            (self.progress_at, self.has_probed) = (now, false);
        }
        let passed_at = way.pass(now, bytes + HEADER_BYTES);
        let number = self.count_sending();
        let state = State::UnderWay;
        self.flight.push_back(Segment {
            bytes,
            messages,
            number,
            sent_at: now,
            passed_at,
            state,
            is_repeated: false,
        });
    }

    fn repeat(&mut self, now: Duration, index: usize, way: &mut Bottleneck) {
        let number = self.count_sending();
        let segment = &mut self.flight[index];
        let passed_at = way.pass(now, segment.bytes + HEADER_BYTES);
        (segment.number, segment.sent_at, segment.is_repeated) = (number, now, true);
        segment.state = State::UnderWay;
        // One that is under way still counts, whatever becomes of its copy.
        segment.passed_at = segment.passed_at.or(passed_at);
    }

    fn count_sending(&mut self) -> u64 {
        if let Some(reduction) =
            self.recovery.as_mut().and_then(|recovery| recovery.reduction.as_mut())
        {
            reduction.sent += 1.0;
        }
        self.sent += 1;
        self.sent
    }

    fn deliver(&mut self) -> Vec<(Duration, T)> {
        let mut delivered = Vec::new();
        for segment in &mut self.flight {
            let Some(passed_at) = segment.passed_at else { break };
            self.delivered_at = self.delivered_at.max(passed_at);
            delivered
                .extend(segment.messages.drain(..).map(|message| (self.delivered_at, message)));
        }
        while self.flight.front().is_some_and(|segment| segment.state == State::Acknowledged) {
            self.flight.pop_front();
        }
        delivered
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_netsim::Excess;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Writes a message of so many bytes every 20 ms; gives when each was written and when it
    /// arrived.
    fn run(way: &mut Bottleneck, bytes: usize, messages: u64) -> Vec<(Duration, Duration)> {
        let (mut tcp, mut arrived) = (Tcp::default(), Vec::new());
        for step in 0..=messages * 4 + 8_000 {
            let now = ms(step * 5);
            if step.is_multiple_of(4) && step / 4 < messages {
                tcp.write(bytes, now);
            }
            arrived.extend(tcp.poll(now, way).into_iter().map(|(at, written_at)| (written_at, at)));
        }
        arrived
    }

    #[test]
    fn every_message_arrives_once_and_in_order_whatever_is_dropped() {
        for excess in
            [Excess::Queue(ms(30)), Excess::Queue(ms(400)), Excess::Policer { burst_bytes: 1_600 }]
        {
            let mut way = Bottleneck::new(64_000, excess);
            let arrived = run(&mut way, 150, 500);
            let written: Vec<_> = arrived.iter().map(|(at, _)| *at).collect();
            assert_eq!(
                written,
                (0..500).map(|number| ms(number * 20)).collect::<Vec<_>>(),
                "{excess:?}"
            );
            assert!(arrived.is_sorted_by_key(|(_, at)| *at));
            assert!(way.dropped() > 0, "{excess:?}");
        }
    }

    #[test]
    fn what_a_full_window_holds_back_shares_segments() {
        // Alone in a packet, each message would need 80,800 bit/s, and the last would come 9 s
        // late.
        let mut way = Bottleneck::new(70_000, Excess::Queue(ms(4_000)));
        let arrived = run(&mut way, 150, 3_000);
        let longest = arrived.iter().map(|(written_at, at)| *at - *written_at).max();
        assert!(longest < Some(ms(2_000)), "{longest:?}");
        assert_eq!(way.dropped(), 0);
    }

    #[test]
    fn a_dropped_message_arrives_after_about_two_round_trips_while_others_follow() {
        // The sixth message is dropped: something else has taken all there is room for.
        let mut way = Bottleneck::new(1_000_000, Excess::Policer { burst_bytes: 1_500 });
        let (mut tcp, mut arrived) = (Tcp::default(), Vec::new());
        for step in 0..400 {
            let now = ms(step * 5);
            if step == 20 {
                while way.pass(now, 100).is_some() {}
            }
            if step.is_multiple_of(4) {
                tcp.write(150, now);
            }
            arrived.extend(
                tcp.poll(now, &mut way).into_iter().map(|(at, written_at)| (written_at, at)),
            );
        }
        let (_, at) = arrived.iter().find(|(written_at, _)| *written_at == ms(100)).unwrap();
        assert!((ms(160)..=ms(260)).contains(at), "{at:?}");
    }

    #[test]
    fn the_last_segment_of_all_is_repeated_by_a_probe() {
        let mut way = Bottleneck::new(1_000_000, Excess::Policer { burst_bytes: 1_500 });
        let mut tcp = Tcp::default();
        for step in 0..20 {
            if step == 16 {
                while way.pass(ms(step * 5), 100).is_some() {}
            }
            if step.is_multiple_of(4) {
                tcp.write(150, step);
            }
            tcp.poll(ms(step * 5), &mut way);
        }
        let took = (20..400).find(|step| !tcp.poll(ms(step * 5), &mut way).is_empty());
        // Two round trips and a delayed acknowledgement's 200 ms.
        assert!(took.is_some_and(|step| (30..=80).contains(&step)), "{took:?}");
    }
}
