//! The jitter buffer under arrivals of every kind, with a virtual clock.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;

const BLOCK: Duration = Duration::from_millis(10);
const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: u32 = 960;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn frame(sequence: u64) -> Frame<'static> {
    Frame {
        sequence,
        talkspurt: 0,
        last_of_talkspurt: false,
        samples: FRAME_SAMPLES,
        is_copy: false,
        repairs: true,
        payload: &[1, 2, 3],
    }
}

/// What playback heard of one speaker.
#[derive(Debug, Default)]
struct Heard {
    /// Sequence and how long the frame had waited.
    frames: Vec<(u64, Duration)>,
    concealed: Duration,
    repaired: u64,
    /// The longest time without a real frame between the first and the last.
    longest_gap: Duration,
}

/// Plays a buffer block by block, as a device would, and stretches as it asks.
struct Playback {
    buffer: JitterBuffer,
    /// Samples of the last answers that are still to be played.
    pending: u32,
    stretches: bool,
    stretched: u32,
    last_real: Option<Duration>,
    now: Duration,
    arrivals: BTreeMap<u64, Duration>,
    heard: Heard,
}

impl Playback {
    fn new() -> Self {
        let buffer = JitterBuffer::new();
        let (arrivals, heard) = (BTreeMap::new(), Heard::default());
        Self {
            buffer,
            pending: 0,
            stretches: false,
            stretched: 0,
            last_real: None,
            now: ms(7),
            arrivals,
            heard,
        }
    }

    fn stretching() -> Self {
        Self { stretches: true, ..Self::new() }
    }

    fn block(&mut self, now: Duration, arrivals: &BTreeMap<u64, Duration>) {
        while self.pending < 480 {
            let played_at = now + Duration::from_micros(u64::from(self.pending) * 1_000 / 48);
            match self.buffer.next(now, self.pending) {
                PlayoutAction::Frame(Frame { sequence, samples, .. }) => {
                    self.heard.frames.push((sequence, played_at - arrivals[&sequence]));
                    if let Some(last) = self.last_real {
                        self.heard.longest_gap =
                            self.heard.longest_gap.max(played_at.saturating_sub(last));
                    }
                    self.pending += samples;
                    self.last_real = Some(played_at + FRAME);
                }
                PlayoutAction::Repair { samples, .. } => {
                    self.heard.repaired += 1;
                    self.pending += samples;
                }
                PlayoutAction::Conceal { samples } => {
                    self.heard.concealed += Duration::from_micros(u64::from(samples) * 1_000 / 48);
                    self.pending += samples;
                }
                PlayoutAction::Silence => {
                    self.pending = 0;
                    return;
                }
            }
        }
        if self.stretches {
            self.stretch(now);
        }
        self.pending -= 480;
    }

    /// Stretches by at most 5 ms a block, as far as what waits allows.
    fn stretch(&mut self, now: Duration) {
        let before = self.pending;
        match self.buffer.pace(now, self.pending) {
            Pace::Keep => {}
            Pace::Shorten { most, .. } => self.pending -= most.min(240).min(self.pending - 480),
            Pace::Lengthen { most, .. } => self.pending += most.min(240),
        }
        self.stretched += self.pending.abs_diff(before);
    }

    /// Delivers each frame at its time and plays until `until`. The playback's blocks lie 7 ms off
    /// the arrivals' grid.
    fn run(&mut self, deliveries: &[(Duration, Frame<'static>)], until: Duration) {
        let mut deliveries = deliveries.to_vec();
        deliveries.sort_by_key(|(at, _)| *at);
        self.run_from(&deliveries, until);
    }

    /// The same with sorted deliveries, from where the last such call ended.
    fn run_from(&mut self, deliveries: &[(Duration, Frame<'static>)], until: Duration) {
        let mut deliveries = deliveries.iter().peekable();
        let mut arrivals = std::mem::take(&mut self.arrivals);
        while self.now < until {
            while let Some((at, frame)) = deliveries.next_if(|(at, _)| *at <= self.now) {
                if self.buffer.insert(*at, *frame) == Inserted::Accepted {
                    arrivals.insert(frame.sequence, *at);
                }
            }
            self.block(self.now, &arrivals);
            self.now += BLOCK;
        }
        self.arrivals = arrivals;
    }
}

/// Frames sent every 20 ms; `delay` says how long each travels, `None` that it is lost.
fn deliveries(
    count: u64,
    delay: impl Fn(u64) -> Option<Duration>,
) -> Vec<(Duration, Frame<'static>)> {
    (0..count)
        .filter_map(|sequence| {
            let mut frame = frame(sequence);
            frame.last_of_talkspurt = sequence == count - 1;
            Some((FRAME * sequence as u32 + delay(sequence)?, frame))
        })
        .collect()
}

fn sequences(heard: &Heard) -> Vec<u64> {
    heard.frames.iter().map(|(sequence, _)| *sequence).collect()
}

fn mean_wait_ms(frames: &[(u64, Duration)]) -> f64 {
    frames.iter().map(|(_, wait)| wait.as_secs_f64() * 1_000.0).sum::<f64>() / frames.len() as f64
}

#[test]
fn a_perfect_network_costs_no_concealment_and_at_most_25_ms() {
    let mut playback = Playback::new();
    playback.run(&deliveries(500, |_| Some(ms(30))), ms(11_000));
    let heard = &playback.heard;
    assert_eq!(sequences(heard), (0..500).collect::<Vec<_>>());
    assert_eq!(heard.concealed, Duration::ZERO);
    assert!(mean_wait_ms(&heard.frames) <= 25.0, "mean wait {} ms", mean_wait_ms(&heard.frames));
    assert!(playback.buffer.buffer_ms() <= 25.0);
    assert!(!playback.buffer.is_active(), "the last of the talkspurt ends it");
}

#[test]
fn a_later_talkspurt_starts_with_10_to_20_ms_on_a_perfect_network() {
    let mut playback = Playback::new();
    let mut second = deliveries(100, |_| Some(ms(33)));
    for (at, frame) in &mut second {
        *at += ms(4_000);
        frame.sequence += 100;
        frame.talkspurt = 1;
    }
    playback.run(&[deliveries(100, |_| Some(ms(30))), second].concat(), ms(8_000));
    assert_eq!(playback.heard.frames.len(), 200);
    let later = mean_wait_ms(&playback.heard.frames[100..]);
    assert!((10.0..=20.0).contains(&later), "mean wait {later} ms");
    assert_eq!(playback.heard.concealed, Duration::ZERO);
}

/// proves: D-20
#[test]
fn reordered_frames_play_in_order_and_duplicates_once() {
    let mut playback = Playback::new();
    // Every third frame is overtaken by the next; each comes a second time later.
    let mut frames =
        deliveries(300, |sequence| Some(if sequence % 3 == 0 { ms(65) } else { ms(30) }));
    frames.extend(deliveries(300, |sequence| Some(ms(40 + sequence % 90))));
    playback.run(&frames, ms(7_000));
    let sequences = sequences(&playback.heard);
    assert!(sequences.is_sorted_by(|a, b| a < b), "in order and once");
    let heard = sequences.len() + playback.heard.repaired as usize;
    assert!(heard >= 295, "heard {heard}");
    assert!(playback.buffer.stats().duplicate >= 290);
}

/// proves: D-20
#[test]
fn the_wrap_of_the_senders_16_bits_is_an_ordinary_step() {
    let mut playback = Playback::new();
    let mut frames = deliveries(100, |_| Some(ms(30)));
    for (_, frame) in &mut frames {
        frame.sequence += 65_500;
    }
    playback.run(&frames, ms(3_000));
    assert_eq!(sequences(&playback.heard), (65_500..65_600).collect::<Vec<_>>());
}

#[test]
fn a_late_talkspurt_after_a_stall_of_300_ms_is_played_and_the_delay_shrinks_again() {
    let mut playback = Playback::stretching();
    // Frames 100 to 114 all come with frame 115.
    let stalled = |sequence| {
        Some(
            ms(30) + FRAME * if (100..115).contains(&sequence) { 115 - sequence as u32 } else { 0 },
        )
    };
    playback.run(&deliveries(1_000, stalled), ms(21_000));
    let heard = sequences(&playback.heard);
    assert_eq!(heard, (0..1_000).collect::<Vec<_>>(), "nothing that came late is thrown away");
    assert!(playback.heard.longest_gap <= ms(320), "{:?}", playback.heard.longest_gap);
    let stats = playback.buffer.stats();
    assert_eq!((stats.late, stats.given_up, stats.overflow), (0, 0, 0));
    let at_the_end = mean_wait_ms(&playback.heard.frames[heard.len() - 100..]);
    assert!(at_the_end <= 30.0, "still {at_the_end} ms deep");
}

#[test]
fn a_stall_is_made_up_for_by_the_next_talkspurt_without_skipping() {
    let mut playback = Playback::new();
    let stalled = |sequence| {
        Some(ms(30) + FRAME * if (50..65).contains(&sequence) { 65 - sequence as u32 } else { 0 })
    };
    let mut second = deliveries(100, |_| Some(ms(30)));
    for (at, frame) in &mut second {
        *at += ms(4_000);
        frame.sequence += 100;
        frame.talkspurt = 1;
    }
    playback.run(&[deliveries(100, stalled), second].concat(), ms(8_000));
    assert_eq!(sequences(&playback.heard), (0..200).collect::<Vec<_>>());
    assert!(playback.heard.frames[90].1 >= ms(200), "the stall made it deep");
    assert!(mean_wait_ms(&playback.heard.frames[100..]) <= 60.0, "and the pause shallow");
}

#[test]
fn a_route_200_ms_longer_costs_a_pause_and_no_words() {
    let mut playback = Playback::stretching();
    playback.run(
        &deliveries(400, |sequence| Some(ms(if sequence < 200 { 20 } else { 220 }))),
        ms(9_000),
    );
    assert_eq!(sequences(&playback.heard), (0..400).collect::<Vec<_>>());
    assert!(playback.heard.longest_gap <= ms(240), "{:?}", playback.heard.longest_gap);
    assert!(playback.heard.concealed <= ms(160), "{:?}", playback.heard.concealed);
    assert!(playback.stretched <= 48 * 40, "{} samples", playback.stretched);
    let at_the_end = mean_wait_ms(&playback.heard.frames[300..]);
    assert!(at_the_end <= 25.0, "the longer route is the new normal: {at_the_end} ms");
}

#[test]
fn a_route_200_ms_shorter_loses_nothing_and_is_caught_up_with_by_stretching() {
    let mut playback = Playback::stretching();
    playback.run(
        &deliveries(400, |sequence| Some(ms(if sequence < 200 { 220 } else { 20 }))),
        ms(9_000),
    );
    assert_eq!(sequences(&playback.heard), (0..400).collect::<Vec<_>>());
    assert_eq!(playback.heard.concealed, Duration::ZERO);
    let stretched_ms = playback.stretched / 48;
    assert!((180..=230).contains(&stretched_ms), "{stretched_ms} ms");
    let at_the_end = mean_wait_ms(&playback.heard.frames[300..]);
    assert!(at_the_end <= 25.0, "the shorter route is the new normal: {at_the_end} ms");
}

#[test]
fn a_single_loss_is_concealed_for_its_own_time_and_adds_no_delay() {
    let mut playback = Playback::new();
    playback.run(&deliveries(200, |sequence| (sequence != 100).then_some(ms(30))), ms(5_000));
    assert_eq!(playback.heard.frames.len(), 199);
    assert_eq!(playback.heard.concealed, FRAME);
    assert_eq!(playback.buffer.stats().given_up, 1);
    let (before, after) = (playback.heard.frames[99].1, playback.heard.frames[100].1);
    assert_eq!(before, after);
}

#[test]
fn with_steady_loss_the_delay_grows_until_losses_are_repaired_and_shrinks_when_they_end() {
    let mut playback = Playback::stretching();
    let lossy = |sequence: u64| (sequence > 1_000 || sequence % 10 != 5).then_some(ms(30));
    playback.run(&deliveries(2_000, lossy), ms(41_000));
    let stats = *playback.buffer.stats();
    assert_eq!(stats.played, 1_900);
    assert_eq!(stats.given_up + stats.repaired, 100);
    assert!(stats.repaired >= 80, "repaired {}", stats.repaired);
    assert_eq!(playback.heard.repaired, stats.repaired);
    assert!(
        mean_wait_ms(&playback.heard.frames[..900]) <= 35.0,
        "{}",
        mean_wait_ms(&playback.heard.frames[..900])
    );
    let at_the_end = mean_wait_ms(&playback.heard.frames[1_800..]);
    assert!(at_the_end <= 20.0, "without loss nothing is waited for: {at_the_end} ms");
}

#[test]
fn rare_losses_are_not_waited_for() {
    let mut playback = Playback::stretching();
    playback
        .run(&deliveries(3_000, |sequence| (sequence % 200 != 5).then_some(ms(30))), ms(61_000));
    assert!(
        mean_wait_ms(&playback.heard.frames) <= 20.0,
        "{} ms",
        mean_wait_ms(&playback.heard.frames)
    );
}

/// Every 10th frame is lost; its copy comes in the packet `behind` frames later.
fn with_copies(count: u64, behind: u64) -> Vec<(Duration, Frame<'static>)> {
    let mut frames = deliveries(count, |sequence| (sequence % 10 != 5).then_some(ms(30)));
    let plain = |frame: &mut Frame<'static>| frame.repairs = false;
    frames.iter_mut().for_each(|(_, frame)| plain(frame));
    for (at, original) in frames.clone().into_iter().filter(|(_, frame)| frame.sequence >= behind) {
        let copy = Frame {
            sequence: original.sequence - behind,
            is_copy: true,
            last_of_talkspurt: false,
            ..original
        };
        frames.push((at, copy));
    }
    frames
}

#[test]
fn copies_are_waited_for_as_far_behind_as_they_come() {
    for behind in [1, 2, 4] {
        let mut playback = Playback::stretching();
        playback.run(&with_copies(2_000, behind), ms(41_000));
        let stats = playback.buffer.stats();
        assert!(stats.given_up <= 10, "{behind} behind: {stats:?}");
        assert_eq!(stats.from_copies + stats.given_up, 200, "{behind} behind: {stats:?}");
        let at_the_end = mean_wait_ms(&playback.heard.frames[1_500..]);
        let behind_ms = 20.0 * behind as f64;
        assert!(
            (behind_ms - 20.0..behind_ms + 15.0).contains(&at_the_end),
            "{behind} behind: {at_the_end} ms"
        );
        assert_eq!(
            (stats.late, stats.duplicate),
            (0, 0),
            "copies are meant to come after what they copy"
        );
    }
}

#[test]
fn copies_are_not_waited_for_when_nothing_is_lost() {
    let mut playback = Playback::stretching();
    let mut frames = deliveries(1_000, |_| Some(ms(30)));
    for (at, original) in frames.clone().into_iter().filter(|(_, frame)| frame.sequence >= 4) {
        frames.push((at, Frame { sequence: original.sequence - 4, is_copy: true, ..original }));
    }
    playback.run(&frames, ms(21_000));
    assert!(
        mean_wait_ms(&playback.heard.frames) <= 20.0,
        "{} ms",
        mean_wait_ms(&playback.heard.frames)
    );
    assert_eq!(playback.buffer.stats().from_copies, 0);
}

#[test]
fn losses_are_judged_by_originals_with_patience_for_those_overtaken() {
    let mut playback = Playback::stretching();
    // Two in a row of every twenty are lost, and repaired by copies; every seventh is overtaken by
    // two others.
    let lost = |sequence: u64| sequence % 20 == 5 || sequence % 20 == 6;
    let mut frames = deliveries(1_000, |sequence| {
        (!lost(sequence)).then_some(ms(if sequence % 7 == 3 { 75 } else { 30 }))
    });
    for (at, original) in frames.clone().into_iter().filter(|(_, frame)| frame.sequence >= 3) {
        frames.push((
            at,
            Frame {
                sequence: original.sequence - 3,
                is_copy: true,
                last_of_talkspurt: false,
                ..original
            },
        ));
    }
    playback.run(&frames, ms(22_000));
    let report = playback.buffer.take_losses();
    assert_eq!((report.expected, report.lost, report.runs), (1_000, 100, 50));
    assert!(report.unrepaired <= 10, "{report:?}");
    assert!(report.jitter_ms > 5.0, "{report:?}");
    assert_eq!(playback.buffer.take_losses().expected, 0, "what was taken is not told again");
}

#[test]
fn jitter_of_60_ms_is_waited_for_after_a_few_seconds() {
    let mut playback = Playback::stretching();
    let jittery = |sequence: u64| Some(ms(30 + sequence.wrapping_mul(2_654_435_761) % 61));
    playback.run(&deliveries(2_000, jittery), ms(42_000));
    let heard = &playback.heard.frames;
    let unheard = playback.buffer.stats().given_up;
    assert!(unheard <= 30, "{unheard} never heard");
    assert!(mean_wait_ms(heard) <= 60.0, "{}", mean_wait_ms(heard));
}

#[test]
fn a_senders_clock_may_drift_for_hours() {
    for drift_ppm in [-300_i64, 200] {
        let mut playback = Playback::stretching();
        let mut last = Duration::ZERO;
        let (mut stretched, mut waits) = (0, Vec::new());
        for hour in 0..2_u64 {
            let frames: Vec<_> = (0..180_000)
                .map(|index| {
                    let sequence = hour * 180_000 + index;
                    let nominal_us = 20_000 * sequence as i64;
                    let at_us = 30_000
                        + nominal_us
                        + nominal_us / 1_000_000 * drift_ppm
                        + (sequence % 3) as i64 * 1_000;
                    last = Duration::from_micros(at_us as u64);
                    (last, frame(sequence))
                })
                .collect();
            playback.run_from(&frames, last + BLOCK);
            stretched = playback.stretched;
            waits.extend(playback.heard.frames.drain(..).map(|(_, wait)| wait));
        }
        let stats = *playback.buffer.stats();
        assert_eq!(
            (stats.given_up, stats.late, stats.overflow),
            (0, 0, 0),
            "{drift_ppm} ppm: {stats:?}"
        );
        assert!(
            playback.heard.concealed < ms(50),
            "{drift_ppm} ppm: {:?}",
            playback.heard.concealed
        );
        let longest = waits.iter().max().expect("frames were heard");
        assert!(*longest <= ms(40), "{drift_ppm} ppm: waited {longest:?}");
        let drifted_ms = 2 * 3_600 * drift_ppm.unsigned_abs() / 1_000;
        assert!(
            u64::from(stretched / 48) <= 3 * drifted_ms,
            "{drift_ppm} ppm: stretched {} ms",
            stretched / 48
        );
    }
}

#[test]
fn a_speaker_that_vanishes_is_concealed_for_120_ms_and_then_silent() {
    let mut playback = Playback::new();
    let mut frames = deliveries(50, |_| Some(ms(30)));
    frames.pop();
    playback.run(&frames, ms(3_000));
    assert_eq!(playback.heard.concealed, ms(120));
    assert!(!playback.buffer.is_active());
}

#[test]
fn what_is_left_of_an_older_talkspurt_is_dropped_for_two_seconds() {
    let mut buffer = JitterBuffer::new();
    let of_talkspurt = |sequence, talkspurt| Frame { talkspurt, ..frame(sequence) };
    assert_eq!(buffer.insert(ms(0), of_talkspurt(10, 5)), Inserted::Accepted);
    assert_eq!(buffer.insert(ms(1), of_talkspurt(9, 4)), Inserted::Late);
    assert_eq!(buffer.insert(ms(2_000), of_talkspurt(11, 4)), Inserted::Late);
    assert_eq!(buffer.insert(ms(2_001), of_talkspurt(12, 4)), Inserted::Accepted);
}

#[test]
fn a_full_buffer_drops_its_oldest_frames() {
    let mut buffer = JitterBuffer::new();
    for sequence in 0..100 {
        buffer.insert(ms(0), frame(sequence));
    }
    assert_eq!(buffer.len(), CAPACITY);
    assert_eq!(buffer.stats().overflow, 36);
    let PlayoutAction::Frame(frame) = buffer.next(ms(100), 0) else { panic!("plays") };
    assert_eq!(frame.sequence, 36);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_within_the_delay_is_undone(shuffle in prop::collection::vec(0..12u64, 200)) {
        let mut playback = Playback::new();
        // A first talkspurt teaches the buffer how late frames come; the second must then be
        // complete.
        let mut frames = deliveries(200, |sequence| Some(ms(30 + 10 * shuffle[sequence as usize])));
        frames.iter_mut().for_each(|(_, frame)| frame.last_of_talkspurt = false);
        playback.run(&frames, ms(9_000));
        let heard = sequences(&playback.heard);
        prop_assert!(heard.is_sorted_by(|a, b| a < b));
        let late = playback.buffer.stats().late as usize;
        prop_assert_eq!(heard.len() + late, 200, "played or late, nothing vanishes");
    }
}
