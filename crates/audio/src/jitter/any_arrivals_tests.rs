//! The jitter buffer under anything that a hostile or broken speaker and its network may do.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const BLOCK: Duration = Duration::from_millis(10);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Anything a hostile or broken speaker and its network may do.
#[derive(Clone, Debug)]
enum Step {
    Arrive { sequence: u64, talkspurt: u64, last: bool, is_copy: bool, blocks: u32 },
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
    let talkspurt = prop_oneof![6 => Just(0), 2 => 0..4u64, 1 => any::<u64>()];
    prop_oneof![
        5 => (sequence, talkspurt, any::<bool>(), any::<bool>(), 1..=12u32)
            .prop_map(|(sequence, talkspurt, last, is_copy, blocks)| Step::Arrive { sequence, talkspurt, last, is_copy, blocks }),
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
                Step::Arrive { sequence, talkspurt, last, is_copy, blocks } => {
                    let payload = sequence.to_be_bytes();
                    let samples = blocks * 480;
                    let repairs = sequence % 2 == 0;
                    let last_of_talkspurt = last;
                    buffer.insert(now, Frame { sequence, talkspurt, last_of_talkspurt, samples, is_copy, repairs, payload: &payload });
                }
                Step::Play => {
                    now += BLOCK;
                    match buffer.next(now, 0) {
                        PlayoutAction::Frame(frame) => {
                            prop_assert!(last_played < Some(frame.sequence), "{last_played:?} then {}", frame.sequence);
                            prop_assert_eq!(frame.payload, frame.sequence.to_be_bytes());
                            last_played = Some(frame.sequence);
                        }
                        PlayoutAction::Repair { sequence, next, samples, .. } => {
                            prop_assert!(last_played < Some(sequence), "{last_played:?} then {sequence}, repaired");
                            prop_assert_eq!(next, (sequence + 1).to_be_bytes());
                            prop_assert!(samples > 0 && samples % 480 == 0);
                            last_played = Some(sequence);
                        }
                        PlayoutAction::Conceal { samples } => prop_assert_eq!(samples, 480),
                        PlayoutAction::Silence => {}
                    }
                    match buffer.pace(now, 480) {
                        Pace::Keep => {}
                        Pace::Shorten { most, .. } | Pace::Lengthen { most, .. } => prop_assert!(most > 0),
                    }
                }
                Step::Wait(millis) => now += ms(millis),
            }
            prop_assert!(buffer.len() <= CAPACITY);
        }
        let stats = *buffer.stats();
        let losses = buffer.take_losses();
        prop_assert!(losses.lost <= losses.expected && losses.runs <= losses.lost && losses.unrepaired <= losses.expected);
        prop_assert_eq!(stats.accepted, stats.played + stats.overflow + buffer.len() as u64);
    }
}
