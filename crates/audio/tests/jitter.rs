//! The jitter buffer under arrivals of every kind, with a virtual clock.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use voicemesh_audio::jitter::{CAPACITY, Frame, Inserted, JitterBuffer, Playout, Surplus};

const BLOCK: Duration = Duration::from_millis(10);
const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: u32 = 960;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn frame(sequence: u64) -> Frame<'static> {
    Frame { sequence, burst: 0, last_of_burst: false, samples: FRAME_SAMPLES, payload: &[1, 2, 3] }
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

/// Plays a buffer block by block, as a device would.
struct Playback {
    buffer: JitterBuffer,
    /// Samples of the last answer that are still to be played.
    pending: u32,
    skip_when: fn(Surplus) -> bool,
    last_real: Option<Duration>,
    heard: Heard,
}

impl Playback {
    fn new() -> Self {
        Self { buffer: JitterBuffer::new(), pending: 0, skip_when: |_| false, last_real: None, heard: Heard::default() }
    }

    fn block(&mut self, now: Duration, arrivals: &BTreeMap<u64, Duration>) {
        while self.pending == 0 {
            match self.buffer.next(now) {
                Playout::Frame { frame, surplus } => {
                    let (sequence, samples) = (frame.sequence, frame.samples);
                    if (self.skip_when)(surplus) {
                        self.buffer.skipped(now, samples);
                        continue;
                    }
                    self.heard.frames.push((sequence, now - arrivals[&sequence]));
                    if let Some(last) = self.last_real {
                        self.heard.longest_gap = self.heard.longest_gap.max(now - last);
                    }
                    self.pending = samples;
                    self.last_real = Some(now + FRAME);
                }
                Playout::Conceal { samples, fec } => {
                    self.heard.concealed += Duration::from_micros(u64::from(samples) * 1_000 / 48);
                    self.heard.repaired += u64::from(fec.is_some());
                    self.pending = samples;
                }
                Playout::Silence => return,
            }
        }
        self.pending -= 480;
    }

    /// Delivers each frame at its time and plays until `until`. The playback's blocks lie 7 ms off the arrivals' grid.
    fn run(&mut self, deliveries: &[(Duration, Frame<'static>)], until: Duration) {
        let mut deliveries = deliveries.to_vec();
        deliveries.sort_by_key(|(at, _)| *at);
        let mut deliveries = deliveries.into_iter().peekable();
        let mut arrivals = BTreeMap::new();
        let mut now = ms(7);
        while now < until {
            while let Some((at, frame)) = deliveries.next_if(|(at, _)| *at <= now) {
                if self.buffer.insert(at, frame) == Inserted::Accepted {
                    arrivals.insert(frame.sequence, at);
                }
            }
            self.block(now, &arrivals);
            now += BLOCK;
        }
    }
}

/// Frames sent every 20 ms; `delay` says how long each travels, `None` that it is lost.
fn deliveries(count: u64, delay: impl Fn(u64) -> Option<Duration>) -> Vec<(Duration, Frame<'static>)> {
    (0..count)
        .filter_map(|sequence| {
            let mut frame = frame(sequence);
            frame.last_of_burst = sequence == count - 1;
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
    assert!(!playback.buffer.is_active(), "the last of the burst ends it");
}

#[test]
fn a_later_burst_starts_with_10_to_20_ms_on_a_perfect_network() {
    let mut playback = Playback::new();
    let mut second = deliveries(100, |_| Some(ms(33)));
    for (at, frame) in &mut second {
        *at += ms(4_000);
        frame.sequence += 100;
        frame.burst = 1;
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
    let mut frames = deliveries(300, |sequence| Some(if sequence % 3 == 0 { ms(65) } else { ms(30) }));
    frames.extend(deliveries(300, |sequence| Some(ms(40 + sequence % 90))));
    playback.run(&frames, ms(7_000));
    let sequences = sequences(&playback.heard);
    assert!(sequences.is_sorted_by(|a, b| a < b), "in order and once");
    assert!(sequences.len() >= 295, "heard {}", sequences.len());
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
fn a_late_burst_after_a_stall_of_300_ms_is_played_and_the_delay_shrinks_again() {
    let mut playback = Playback::new();
    playback.skip_when = |surplus| surplus == Surplus::Skip;
    // Frames 100 to 114 all come with frame 115.
    let stalled =
        |sequence| Some(ms(30) + FRAME * if (100..115).contains(&sequence) { 115 - sequence as u32 } else { 0 });
    playback.run(&deliveries(1_000, stalled), ms(21_000));
    let heard = sequences(&playback.heard);
    assert_eq!(&heard[..115], (0..115).collect::<Vec<_>>(), "nothing that came late is thrown away");
    assert!(playback.heard.longest_gap <= ms(320), "{:?}", playback.heard.longest_gap);
    let stats = playback.buffer.stats();
    assert_eq!((stats.late, stats.given_up, stats.overflow), (0, 0, 0));
    assert!((10..=16).contains(&stats.skipped), "skipped {}", stats.skipped);
    let at_the_end = mean_wait_ms(&playback.heard.frames[heard.len() - 100..]);
    assert!(at_the_end <= 60.0, "still {at_the_end} ms deep");
}

#[test]
fn a_stall_is_made_up_for_by_the_next_burst_without_skipping() {
    let mut playback = Playback::new();
    let stalled = |sequence| Some(ms(30) + FRAME * if (50..65).contains(&sequence) { 65 - sequence as u32 } else { 0 });
    let mut second = deliveries(100, |_| Some(ms(30)));
    for (at, frame) in &mut second {
        *at += ms(4_000);
        frame.sequence += 100;
        frame.burst = 1;
    }
    playback.run(&[deliveries(100, stalled), second].concat(), ms(8_000));
    assert_eq!(sequences(&playback.heard), (0..200).collect::<Vec<_>>());
    assert!(playback.heard.frames[90].1 >= ms(200), "the stall made it deep");
    assert!(mean_wait_ms(&playback.heard.frames[100..]) <= 60.0, "and the pause shallow");
}

#[test]
fn a_route_200_ms_longer_costs_a_pause_and_no_words() {
    let mut playback = Playback::new();
    playback.run(&deliveries(400, |sequence| Some(ms(if sequence < 200 { 20 } else { 220 }))), ms(9_000));
    assert_eq!(sequences(&playback.heard), (0..400).collect::<Vec<_>>());
    assert!(playback.heard.longest_gap <= ms(240), "{:?}", playback.heard.longest_gap);
    assert!(playback.heard.concealed <= ms(160), "{:?}", playback.heard.concealed);
    let at_the_end = mean_wait_ms(&playback.heard.frames[300..]);
    assert!(at_the_end <= 40.0, "the longer route is the new normal: {at_the_end} ms");
}

#[test]
fn a_route_200_ms_shorter_loses_nothing() {
    let mut playback = Playback::new();
    playback.run(&deliveries(400, |sequence| Some(ms(if sequence < 200 { 220 } else { 20 }))), ms(9_000));
    assert_eq!(sequences(&playback.heard), (0..400).collect::<Vec<_>>());
    assert_eq!(playback.heard.concealed, Duration::ZERO);
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
fn with_steady_loss_the_delay_grows_until_losses_are_repaired() {
    let mut playback = Playback::new();
    playback.run(&deliveries(1_000, |sequence| (sequence % 10 != 5).then_some(ms(30))), ms(21_000));
    let stats = *playback.buffer.stats();
    assert_eq!((stats.played, stats.given_up), (900, 100));
    assert!(stats.repaired >= 80, "repaired {}", stats.repaired);
    assert!(playback.heard.repaired == stats.repaired);
    assert!(mean_wait_ms(&playback.heard.frames) <= 50.0);
}

#[test]
fn jitter_of_60_ms_is_waited_for_after_a_few_seconds() {
    let mut playback = Playback::new();
    let jittery = |sequence: u64| Some(ms(30 + sequence.wrapping_mul(2_654_435_761) % 61));
    playback.run(&deliveries(2_000, jittery), ms(42_000));
    let heard = &playback.heard.frames;
    let lost = 2_000 - heard.len();
    assert!(lost <= 30, "lost {lost}");
    let late = heard.iter().filter(|(sequence, _)| *sequence >= 500).count();
    assert!(late >= 1_495, "heard {late} of the last 1500");
    assert!(mean_wait_ms(heard) <= 110.0, "{}", mean_wait_ms(heard));
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
fn what_is_left_of_an_older_burst_is_dropped_for_two_seconds() {
    let mut buffer = JitterBuffer::new();
    let of_burst = |sequence, burst| Frame { burst, ..frame(sequence) };
    assert_eq!(buffer.insert(ms(0), of_burst(10, 5)), Inserted::Accepted);
    assert_eq!(buffer.insert(ms(1), of_burst(9, 4)), Inserted::Late);
    assert_eq!(buffer.insert(ms(2_000), of_burst(11, 4)), Inserted::Late);
    assert_eq!(buffer.insert(ms(2_001), of_burst(12, 4)), Inserted::Accepted);
}

#[test]
fn a_full_buffer_drops_its_oldest_frames() {
    let mut buffer = JitterBuffer::new();
    for sequence in 0..100 {
        buffer.insert(ms(0), frame(sequence));
    }
    assert_eq!(buffer.len(), CAPACITY);
    assert_eq!(buffer.stats().overflow, 36);
    let Playout::Frame { frame, .. } = buffer.next(ms(100)) else { panic!("plays") };
    assert_eq!(frame.sequence, 36);
}

/// Anything a hostile or broken speaker and its network may do.
#[derive(Clone, Debug)]
enum Step {
    Arrive { sequence: u64, burst: u64, last: bool, blocks: u32 },
    Play,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let sequence = prop_oneof![
        8 => 0..200u64,
        2 => 65_500..65_700u64,
        1 => any::<u64>(),
        1 => (u64::MAX - 80)..=u64::MAX,
    ];
    let burst = prop_oneof![6 => Just(0), 2 => 0..4u64, 1 => any::<u64>()];
    prop_oneof![
        5 => (sequence, burst, any::<bool>(), 1..=12u32)
            .prop_map(|(sequence, burst, last, blocks)| Step::Arrive { sequence, burst, last, blocks }),
        4 => Just(Step::Play),
        1 => (0..3_000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// proves: D-20
    #[test]
    fn whatever_arrives_each_frame_plays_at_most_once_and_in_order(steps in prop::collection::vec(step(), 1..400)) {
        let mut buffer = JitterBuffer::new();
        let mut now = Duration::ZERO;
        let mut last_played = None;
        for step in steps {
            match step {
                Step::Arrive { sequence, burst, last, blocks } => {
                    let payload = sequence.to_be_bytes();
                    let samples = blocks * 480;
                    buffer.insert(now, Frame { sequence, burst, last_of_burst: last, samples, payload: &payload });
                }
                Step::Play => {
                    now += BLOCK;
                    match buffer.next(now) {
                        Playout::Frame { frame, surplus } => {
                            prop_assert!(last_played < Some(frame.sequence), "{last_played:?} then {}", frame.sequence);
                            prop_assert_eq!(frame.payload, frame.sequence.to_be_bytes());
                            last_played = Some(frame.sequence);
                            let samples = frame.samples;
                            if surplus != Surplus::None {
                                buffer.skipped(now, samples);
                            }
                        }
                        Playout::Conceal { samples, .. } => {
                            prop_assert!(samples > 0 && samples % 480 == 0 && samples <= 5_760);
                        }
                        Playout::Silence => {}
                    }
                }
                Step::Wait(millis) => now += ms(millis),
            }
            prop_assert!(buffer.len() <= CAPACITY);
        }
        let stats = *buffer.stats();
        prop_assert_eq!(stats.accepted, stats.played + stats.overflow + buffer.len() as u64);
    }

    #[test]
    fn any_order_within_the_delay_is_undone(shuffle in prop::collection::vec(0..12u64, 200)) {
        let mut playback = Playback::new();
        // A first burst teaches the buffer how late frames come; the second must then be complete.
        let mut frames = deliveries(200, |sequence| Some(ms(30 + 10 * shuffle[sequence as usize])));
        frames.iter_mut().for_each(|(_, frame)| frame.last_of_burst = false);
        playback.run(&frames, ms(9_000));
        let heard = sequences(&playback.heard);
        prop_assert!(heard.is_sorted_by(|a, b| a < b));
        let late = playback.buffer.stats().late as usize;
        prop_assert_eq!(heard.len() + late, 200, "played or late, nothing vanishes");
    }
}
