//! How long speech takes from a microphone to this speaker, measured (PROTOCOL.md, section 9).
//!
//! Two machines' clocks have nothing in common. A question and its answer carry four times (RFC
//! 5905 §8), from which follows how far the clocks are apart, wrong by at most half of what the two
//! ways differ; those of several probes with the shortest round trips are believed. The answer also
//! tells when one frame was captured, and from there every frame of the same talkspurt is known.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_wire::packet::ClockEcho;

/// Questions remembered; the oldest is forgotten first.
const SAMPLES: usize = 40;
/// A question older than this says nothing any more: clocks drift by up to 0.1 ms a second.
const SAMPLE_LIFE: Duration = Duration::from_secs(30);
/// A clock that is not known well is asked this often, half as often after each question that is
/// not answered …
const FIRST_PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// … until it has answered so many times; …
const ENOUGH_SAMPLES: usize = 4;
/// … and then this often, while its owner speaks.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Probes without an answer; the oldest is forgotten first.
const UNANSWERED: usize = 5;
/// Of a newly measured delay, how much is believed with each block of 10 ms.
const SMOOTHING: f32 = 0.05;
/// A delay beyond this is a clock that jumped.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// A position in a speaker's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePosition {
    /// The frame.
    pub sequence: u64,
    /// The talkspurt, in which frames follow each other in time as in number.
    pub talkspurt: u64,
}

/// Another participant's clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    samples: VecDeque<Sample>,
    /// Their clock minus ours, as believed.
    offset_us: Option<i64>,
    /// When probes were sent that have no answer yet: answers may take longer than the next probe.
    unanswered: VecDeque<Duration>,
    asked_at: Option<Duration>,
    captured: Option<Captured>,
    delay_ms: Option<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    /// Their clock minus ours.
    offset_us: i64,
    round_trip_us: i64,
}

#[derive(Clone, Copy, Debug)]
struct Captured {
    place: FramePosition,
    /// By their clock.
    at_us: i64,
    reported_at: Duration,
}

impl Clock {
    /// When to ask next while they are heard at `place`: at once if that has passed.
    pub fn probe_due(&self, place: FramePosition) -> Duration {
        let interval = FIRST_PROBE_INTERVAL * (1 << self.unanswered.len().min(UNANSWERED));
        let due = self.asked_at.map_or(Duration::ZERO, |at| at + interval);
        let knows = |captured: &Captured| {
            captured.place.talkspurt == place.talkspurt && self.samples.len() >= ENOUGH_SAMPLES
        };
        let known = self.captured.filter(knows).map(|captured| captured.reported_at);
        known.map_or(due, |at| due.max(at + PROBE_INTERVAL))
    }

    /// Whether to ask now; `place` is where they are heard at the moment. Counts as sent.
    pub fn poll_probe(&mut self, now: Duration, place: FramePosition) -> Option<u64> {
        if now < self.probe_due(place) {
            return None;
        }
        if self.unanswered.len() == UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(now);
        self.asked_at = Some(now);
        Some(micros(now).unsigned_abs())
    }

    /// Takes an answer; `place` gives the place of one of their frames by the low bits of its
    /// number.
    pub fn handle_echo(
        &mut self,
        now: Duration,
        echo: &ClockEcho,
        place: impl Fn(u16) -> Option<FramePosition>,
    ) {
        let is_asked = |at: &Duration| micros(*at).unsigned_abs() == echo.asked_us;
        let Some(index) = self.unanswered.iter().position(is_asked) else { return };
        let asked_at = self.unanswered[index];
        self.unanswered.drain(..=index);
        let (received, sent) = (signed(echo.received_us), signed(echo.sent_us));
        let (asked_us, now_us) = (micros(asked_at), micros(now));
        let round_trip_us = (now_us - asked_us) - (sent - received);
        if round_trip_us < 0 {
            return;
        }
        let offset_us = ((received - asked_us) + (sent - now_us)) / 2;
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at: now, offset_us, round_trip_us });
        self.samples.retain(|sample| now < sample.at + SAMPLE_LIFE);
        self.offset_us = self.estimate();
        self.captured = echo.captured.and_then(|captured| {
            let place = place(captured.sequence)?;
            Some(Captured { place, at_us: sent - i64::from(captured.ago_us), reported_at: now })
        });
    }

    /// The mean of the quarter with the shortest round trips: what delayed those least is most
    /// alike there and back.
    fn estimate(&self) -> Option<i64> {
        let mut samples: Vec<_> =
            self.samples.iter().map(|sample| (sample.round_trip_us, sample.offset_us)).collect();
        samples.sort_unstable();
        samples.truncate(samples.len().div_ceil(4));
        let count = i64::try_from(samples.len()).ok().filter(|count| *count > 0)?;
        let first = samples[0].1;
        // Around the first, so that clocks far apart do not overflow the sum.
        Some(first + samples.iter().map(|(_, offset)| (offset - first) / count).sum::<i64>())
    }

    /// Learns that what lies `into` the frame at `place` is heard at `plays_at`; frames last
    /// `frame`.
    pub fn observe_playout(
        &mut self,
        plays_at: Duration,
        place: FramePosition,
        into: Duration,
        frame: Duration,
    ) {
        let Some(captured) =
            self.captured.filter(|captured| captured.place.talkspurt == place.talkspurt)
        else {
            return;
        };
        let Some(offset_us) = self.offset_us else { return };
        let frames = place.sequence.wrapping_sub(captured.place.sequence) as i64;
        let Some(since) = frames.checked_mul(micros(frame)) else { return };
        let spoken_at = captured.at_us - offset_us + since + micros(into);
        let delay = micros(plays_at) - spoken_at;
        if !(0..micros(LONGEST_DELAY)).contains(&delay) {
            return;
        }
        let delay_ms = delay as f32 / 1_000.0;
        self.delay_ms = Some(match self.delay_ms {
            Some(before) => before + (delay_ms - before) * SMOOTHING,
            None => delay_ms,
        });
    }

    /// From their microphone to this speaker, once measured.
    pub fn delay(&self) -> Option<Duration> {
        self.delay_ms.map(|delay| Duration::from_micros((delay.max(0.0) * 1_000.0).round() as u64))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A clock beyond 292,000 years is cut; it then measures nothing.
fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use voicemesh_wire::ClientId;
    use voicemesh_wire::packet::Captured as WireCaptured;

    const FRAME: Duration = Duration::from_millis(20);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn place(sequence: u64) -> FramePosition {
        FramePosition { sequence, talkspurt: 1 }
    }

    /// Asks at `now` a clock that is 1,000 s ahead over ways of these lengths; frame 100 was
    /// captured at 5 s of ours.
    fn exchange(clock: &mut Clock, now: Duration, there: Duration, back: Duration) {
        let asked_us = clock.poll_probe(now, place(100)).expect("it is time");
        let received_us = (now + there + ms(1_000_000)).as_micros() as u64;
        let sent_us = received_us + 2_000;
        let ago_us = (now + there + ms(2) - ms(5_000)).as_micros() as u32;
        let captured = Some(WireCaptured { sequence: 100, ago_us });
        let echo = ClockEcho { sender: ClientId(1), asked_us, received_us, sent_us, captured };
        clock.handle_echo(now + there + ms(2) + back, &echo, |low| Some(place(low.into())));
    }

    #[test]
    fn the_delay_is_what_lies_between_capture_and_playing() {
        let mut clock = Clock::default();
        exchange(&mut clock, ms(6_000), ms(40), ms(40));
        clock.observe_playout(ms(5_090), place(100), Duration::ZERO, FRAME);
        assert_eq!(clock.delay().map(|delay| delay.as_millis()), Some(90));
        let mut clock = Clock::default();
        exchange(&mut clock, ms(6_000), ms(40), ms(40));
        clock.observe_playout(ms(6_087), place(150), ms(7), FRAME);
        assert_eq!(
            clock.delay().map(|delay| delay.as_millis()),
            Some(80),
            "50 frames and 7 ms later"
        );
    }

    #[test]
    fn the_probes_with_the_shortest_round_trips_are_believed() {
        let mut clock = Clock::default();
        exchange(&mut clock, ms(6_000), ms(240), ms(40));
        exchange(&mut clock, ms(6_500), ms(41), ms(40));
        exchange(&mut clock, ms(7_000), ms(40), ms(400));
        clock.observe_playout(ms(5_090), place(100), Duration::ZERO, FRAME);
        let delay = clock.delay().unwrap();
        assert!((ms(89)..=ms(91)).contains(&delay), "{delay:?}");
    }

    #[test]
    fn another_stretch_of_speech_is_not_reckoned_from_the_last() {
        let mut clock = Clock::default();
        exchange(&mut clock, ms(6_000), ms(40), ms(40));
        clock.observe_playout(
            ms(9_000),
            FramePosition { sequence: 200, talkspurt: 2 },
            Duration::ZERO,
            FRAME,
        );
        assert_eq!(clock.delay(), None);
        assert!(
            clock.poll_probe(ms(6_500), FramePosition { sequence: 200, talkspurt: 2 }).is_some()
        );
    }

    #[test]
    fn unsolicited_and_repeated_answers_change_nothing() {
        let mut clock = Clock::default();
        let echo = ClockEcho {
            sender: ClientId(1),
            asked_us: 0,
            received_us: 1,
            sent_us: 1,
            captured: Some(WireCaptured { sequence: 1, ago_us: 0 }),
        };
        clock.handle_echo(ms(10), &echo, |_| Some(place(1)));
        clock.observe_playout(ms(5), place(1), Duration::ZERO, FRAME);
        assert_eq!(clock.delay(), None);
        exchange(&mut clock, ms(6_000), ms(1), ms(1));
        let again =
            ClockEcho { asked_us: 6_000_000, received_us: u64::MAX, sent_us: u64::MAX, ..echo };
        clock.handle_echo(ms(6_100), &again, |_| Some(place(1)));
        clock.observe_playout(ms(5_090), place(100), Duration::ZERO, FRAME);
        assert_eq!(clock.delay().map(|delay| delay.as_millis()), Some(90));
    }

    #[test]
    fn a_clock_that_is_known_is_asked_again_only_now_and_then() {
        let mut clock = Clock::default();
        let mut probes = 0;
        for step in 0..1_000 {
            let now = ms(10_000 + step * 10);
            if let Some(asked_us) = clock.poll_probe(now, place(1)) {
                probes += 1;
                let received_us = now.as_micros() as u64;
                let captured = Some(WireCaptured { sequence: 1, ago_us: 0 });
                let echo = ClockEcho {
                    sender: ClientId(1),
                    asked_us,
                    received_us,
                    sent_us: received_us,
                    captured,
                };
                clock.handle_echo(now, &echo, |_| Some(place(1)));
            }
        }
        assert!((10..=15).contains(&probes), "{probes} in ten seconds");
    }

    #[test]
    fn an_answer_that_takes_longer_than_the_next_question_counts_and_silence_is_asked_less() {
        let mut clock = Clock::default();
        let mut asked = Vec::new();
        for step in 0..400 {
            asked.extend(clock.poll_probe(ms(step * 10), place(1)).map(|_| ms(step * 10)));
        }
        assert!(asked.len() <= 5, "{asked:?}");
        let asked_us = asked[1].as_micros() as u64;
        let captured = Some(WireCaptured { sequence: 1, ago_us: 0 });
        let echo = ClockEcho {
            sender: ClientId(1),
            asked_us,
            received_us: asked_us,
            sent_us: asked_us,
            captured,
        };
        clock.handle_echo(asked[1] + ms(700), &echo, |_| Some(place(1)));
        clock.observe_playout(ms(1_000), place(1), Duration::ZERO, FRAME);
        assert!(clock.delay().is_some());
    }
}
