//! What happened on one path within the last seconds.

use std::collections::VecDeque;
use std::time::Duration;

use crate::path::PathCounts;

/// Readings kept: 4 s of speech, with one each 100 ms.
const READINGS: usize = 40;

/// Readings of a path's counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathHistory {
    readings: VecDeque<(Duration, PathCounts)>,
}

/// A path's traffic over a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub sent_bps: f64,
    pub delivered_bps: f64,
    /// Packets whose fate is known.
    pub settled: u64,
    pub lost: u64,
}

impl Traffic {
    /// The share of packets lost; `None` while fewer than `least` are known.
    pub(crate) fn loss(&self, least: u64) -> Option<f32> {
        (self.settled >= least).then(|| self.lost as f32 / self.settled as f32)
    }
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PacketLoss {
    /// Packets whose fate is known.
    pub settled: u64,
    pub lost: u64,
}

impl PacketLoss {
    /// Of these paths together.
    pub(crate) fn of<'a>(paths: impl Iterator<Item = &'a Traffic>) -> Self {
        paths.fold(Self::default(), |sum, path| Self {
            settled: sum.settled + path.settled,
            lost: sum.lost + path.lost,
        })
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { settled: self.settled + other.settled, lost: self.lost + other.lost }
    }

    /// Three quarters of them, as they count for less after a while.
    pub(crate) fn faded(self) -> Self {
        Self { settled: self.settled * 3 / 4, lost: self.lost * 3 / 4 }
    }

    /// The share that was lost, less what chance may have added: one and a half standard errors.
    pub(crate) fn at_least(self) -> f64 {
        let share = self.share();
        share - 1.5 * (share * (1.0 - share) / self.settled.max(1) as f64).sqrt()
    }

    pub(crate) fn share(self) -> f64 {
        self.lost as f64 / self.settled.max(1) as f64
    }

    /// Whether a larger share was lost than before, by more than chance explains: by so many
    /// standard errors.
    pub(crate) fn is_more_than(self, before: Self, errors: f64) -> bool {
        let both = self.and(before).share();
        let variance = both
            * (1.0 - both)
            * (1.0 / self.settled.max(1) as f64 + 1.0 / before.settled.max(1) as f64);
        self.share() > before.share() * 1.25 + 0.01
            && self.share() - before.share() > errors * variance.sqrt()
    }
}

impl PathHistory {
    pub(crate) fn read(&mut self, now: Duration, counts: PathCounts) -> &Self {
        // Another path counts from the beginning.
        if self.readings.back().is_some_and(|(_, before)| counts.sent_packets < before.sent_packets)
        {
            self.readings.clear();
        }
        // Of a pause the first and the last reading are enough.
        let is_same = |reading: Option<&(Duration, PathCounts)>| {
            reading.is_some_and(|(_, before)| *before == counts)
        };
        let mut newest = self.readings.iter().rev();
        if is_same(newest.next()) && is_same(newest.next()) {
            self.readings.pop_back();
        }
        if self.readings.len() == READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((now, counts));
        self
    }

    pub(crate) fn clear(&mut self) {
        self.readings.clear();
    }

    /// The traffic of at most the last `span`, leaving out the time before anything was sent or
    /// arrived. Each packet is counted with `overhead` bytes of headers below the session.
    pub(crate) fn over(&self, now: Duration, span: Duration, overhead: u32) -> Traffic {
        let recent: Vec<_> = self.readings.iter().filter(|(at, _)| now <= *at + span).collect();
        let Some((ended_at, last)) = recent.last() else { return Traffic::default() };
        // The rate of arrivals: from the first of them, so that a pause before is not counted.
        let rate = |count: &dyn Fn(&PathCounts) -> (u64, u64)| {
            let began =
                recent.windows(2).position(|pair| count(&pair[0].1) != count(&pair[1].1))?;
            let (began_at, first) = recent[began];
            let ((packets, bytes), (packets_before, bytes_before)) = (count(last), count(first));
            let packets = packets.saturating_sub(packets_before);
            let bytes = bytes.saturating_sub(bytes_before) + u64::from(overhead) * packets;
            let seconds = ended_at.saturating_sub(*began_at).as_secs_f64().max(0.05);
            Some(bytes as f64 * 8.0 / seconds)
        };
        let first = &recent[0].1;
        let lost = last.lost_packets.saturating_sub(first.lost_packets);
        Traffic {
            sent_bps: rate(&|counts| (counts.sent_packets, counts.sent_bytes)).unwrap_or(0.0),
            delivered_bps: rate(&|counts| (counts.delivered_packets, counts.delivered_bytes))
                .unwrap_or(0.0),
            settled: last.delivered_packets.saturating_sub(first.delivered_packets) + lost,
            lost,
        }
    }
}

/// Readings of [`Background`] kept: 3 s of one each 100 ms.
const BACKGROUND_READINGS: usize = 30;
/// The rate is that of at least so long.
const LEAST_BACKGROUND_SPAN: Duration = Duration::from_millis(500);
/// After a longer pause between two readings what was sent meanwhile has long arrived.
const READING_PAUSE: Duration = Duration::from_millis(500);

/// What is sent beside speech: it takes a part of the uplink, and shows as well as speech what that
/// carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Background {
    readings: VecDeque<(Duration, u64)>,
}

impl Background {
    /// Takes a reading of all bytes so far.
    pub(crate) fn read(&mut self, now: Duration, bytes: u64) {
        if self
            .readings
            .back()
            .is_some_and(|(at, before)| now > *at + READING_PAUSE || bytes < *before)
        {
            self.readings.clear();
        }
        if self.readings.len() == BACKGROUND_READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back((now, bytes));
    }

    /// Bits per second within the last `span`.
    pub(crate) fn bps(&self, now: Duration, span: Duration) -> f64 {
        let first = self.readings.iter().find(|(at, _)| now <= *at + span);
        let Some(((began_at, before), (_, bytes))) = first.zip(self.readings.back()) else {
            return 0.0;
        };
        let seconds = now.saturating_sub(*began_at).max(LEAST_BACKGROUND_SPAN).as_secs_f64();
        (bytes - before) as f64 * 8.0 / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_makes_no_loss_larger() {
        let of = |lost, settled| PacketLoss { settled, lost };
        for (before, after, grew) in [
            (of(6, 60), of(11, 60), false),
            (of(6, 60), of(16, 60), true),
            (of(42, 420), of(65, 420), true),
            (of(42, 420), of(46, 420), false),
            (of(0, 0), of(1, 3), false),
            (of(0, 60), of(0, 0), false),
        ] {
            assert_eq!(after.is_more_than(before, 2.0), grew, "{before:?} {after:?}");
        }
    }

    #[test]
    fn what_is_sent_beside_speech_has_the_rate_of_the_span_and_none_after_a_pause() {
        let ms = Duration::from_millis;
        let mut background = Background::default();
        for tick in 0..20u64 {
            background.read(ms(tick * 100), tick.min(10) * 1_000);
        }
        assert_eq!(background.bps(ms(1_900), ms(1_000)), 8_000.0);
        assert_eq!(background.bps(ms(1_900), ms(200)), 0.0);
        background.read(ms(5_000), 90_000);
        background.read(ms(5_100), 91_000);
        assert_eq!(background.bps(ms(5_100), ms(1_000)), 16_000.0);
        background.read(ms(5_200), 10);
        assert_eq!(background.bps(ms(5_200), ms(1_000)), 0.0, "another count");
    }

    #[test]
    fn rates_leave_out_the_pause_before_speech_and_count_headers() {
        let ms = Duration::from_millis;
        let mut history = PathHistory::default();
        let mut counts = PathCounts::default();
        for tick in 0..12u64 {
            if tick > 6 {
                counts.sent_packets += 5;
                counts.sent_bytes += 500;
                counts.delivered_packets += 4;
                counts.delivered_bytes += 400;
                counts.lost_packets += 1;
            }
            history.read(ms(tick * 100), counts);
        }
        assert_eq!(history.readings.len(), 7, "two of the pause");
        let traffic = history.over(ms(1_100), ms(800), 100);
        assert_eq!((traffic.sent_bps, traffic.delivered_bps), (80_000.0, 64_000.0));
        assert_eq!((traffic.loss(25), traffic.loss(26)), (Some(0.2), None));
        history.clear();
        assert_eq!(history.over(ms(1_100), ms(800), 100).settled, 0);
    }
}
