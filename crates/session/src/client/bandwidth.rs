//! Trains of padded packets over a link: the time between their arrivals shows how fast the path
//! carries packets, also when speech alone would not fill it (packet trains as in PROTOCOL.md §9).

use std::time::Duration;

use voicemesh_wire::ClientId;
use voicemesh_wire::packet::{BandwidthProbe, BandwidthReport};

/// A train that is not complete is reported this long after its first packet.
const TRAIN_TIMEOUT: Duration = Duration::from_millis(600);
/// Trains of one link that are answered, at most one in this time.
const TRAIN_INTERVAL: Duration = Duration::from_millis(200);

/// What has arrived of the train that is on its way over a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrainReceiver {
    train: Option<Train>,
    reported_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    number: u16,
    packets: u8,
    received: u8,
    first_at: Duration,
    last_at: Duration,
}

impl TrainReceiver {
    pub(super) fn received(&mut self, now: Duration, probe: BandwidthProbe) {
        match &mut self.train {
            Some(train) if train.number == probe.train => {
                train.received = train.received.saturating_add(1).min(BandwidthProbe::MOST_PACKETS);
                train.last_at = now;
            }
            _ => {
                let (number, packets) = (probe.train, probe.packets);
                self.train =
                    Some(Train { number, packets, received: 1, first_at: now, last_at: now });
            }
        }
    }

    /// When the train is late.
    pub(super) fn timer(&self) -> Option<Duration> {
        self.train.map(|train| train.first_at + TRAIN_TIMEOUT)
    }

    /// The answer, when the train is complete or late.
    pub(super) fn report(&mut self, now: Duration, sender: ClientId) -> Option<BandwidthReport> {
        let train = self.train?;
        if train.received < train.packets && now < train.first_at + TRAIN_TIMEOUT {
            return None;
        }
        self.train = None;
        if self.reported_at.is_some_and(|at| now < at + TRAIN_INTERVAL) {
            return None;
        }
        self.reported_at = Some(now);
        let span_us = u32::try_from(train.last_at.saturating_sub(train.first_at).as_micros())
            .unwrap_or(u32::MAX);
        Some(BandwidthReport { sender, train: train.number, received: train.received, span_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(train: u16) -> BandwidthProbe {
        BandwidthProbe { sender: ClientId(1), train, packets: 3, padding: 0 }
    }

    #[test]
    fn a_train_is_reported_when_it_is_complete_or_late_and_not_too_often() {
        let ms = Duration::from_millis;
        let mut receiver = TrainReceiver::default();
        assert_eq!(receiver.report(ms(0), ClientId(2)), None);
        for at in [0, 10, 25] {
            assert_eq!(receiver.report(ms(at), ClientId(2)), None);
            receiver.received(ms(at), probe(7));
        }
        let report = receiver.report(ms(25), ClientId(2)).unwrap();
        assert_eq!((report.train, report.received, report.span_us), (7, 3, 25_000));
        receiver.received(ms(30), probe(8));
        assert_eq!(receiver.report(ms(629), ClientId(2)), None);
        assert_eq!(receiver.report(ms(630), ClientId(2)).map(|report| report.received), Some(1));
        for _ in 0..3 {
            receiver.received(ms(640), probe(9));
        }
        assert_eq!(receiver.report(ms(640), ClientId(2)), None, "too soon");
    }
}
