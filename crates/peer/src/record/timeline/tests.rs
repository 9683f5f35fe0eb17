use super::*;

/// 20 ms, SILK, one frame, and a byte to tell it by.
fn frame(mark: u8) -> Vec<u8> {
    vec![0x48, mark]
}

const LOST: [u8; 1] = [0x48];
const MS: u64 = RATE / 1000;

struct Room {
    timeline: Timeline,
    out: Vec<Piece>,
}

impl Room {
    fn new() -> Self {
        Self { timeline: Timeline::new(Duration::ZERO), out: Vec::new() }
    }

    fn push(&mut self, at_ms: u64, sequence: u64) {
        self.timeline.push(
            Duration::from_millis(at_ms),
            sequence,
            false,
            &frame(sequence as u8),
            &mut self.out,
        );
    }

    fn push_last(&mut self, at_ms: u64, sequence: u64) {
        self.timeline.push(
            Duration::from_millis(at_ms),
            sequence,
            true,
            &frame(sequence as u8),
            &mut self.out,
        );
    }

    /// What was written: the marks of frames, `x` for a lost one, `_N` for N milliseconds of
    /// silence.
    fn written(&mut self) -> String {
        self.timeline.finish(&mut self.out);
        let words = self.out.iter().map(|piece| match piece {
            Piece::Silence(samples) => format!("_{}", samples / MS),
            Piece::Packet { packet, .. } if packet[..] == LOST => "x".to_owned(),
            Piece::Packet { packet, samples } => {
                assert_eq!(*samples, 20 * MS);
                packet[1].to_string()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_talkspurt_begins_when_its_first_frame_was_spoken() {
    let mut room = Room::new();
    (0..4).for_each(|number| room.push(1_020 + 20 * number, number));
    assert_eq!(room.written(), "_1000 0 1 2 3");
}

#[test]
fn frames_of_a_running_talkspurt_are_written_at_once() {
    let mut room = Room::new();
    (0..20).for_each(|number| room.push(20 + 20 * number, number));
    assert_eq!(
        room.out.len(),
        20,
        "the first ones waited for the window, the last one for nothing"
    );
}

#[test]
fn of_the_first_frames_the_one_least_delayed_tells_the_place() {
    let mut room = Room::new();
    for (at_ms, number) in [(1_100, 0), (1_101, 1), (1_102, 2), (1_080 + 10, 3)] {
        room.push(at_ms, number);
    }
    assert_eq!(
        room.written(),
        "_1010 0 1 2 3",
        "the fourth frame came 10 ms after it was spoken, the first 80 ms"
    );
}

#[test]
fn jitter_inside_a_talkspurt_is_not_heard() {
    let mut room = Room::new();
    for (number, late_ms) in [0, 30, 5, 170, 150, 130, 3, 0].into_iter().enumerate() {
        room.push(20 + 20 * number as u64 + late_ms, number as u64);
    }
    assert_eq!(room.written(), "0 1 2 3 4 5 6 7");
}

#[test]
fn frames_that_overtook_each_other_are_put_in_order_and_doubles_are_written_once() {
    let mut room = Room::new();
    for (at_ms, number) in
        [(20, 0), (42, 2), (43, 1), (80, 3), (80, 3), (100, 5), (130, 4), (131, 5), (140, 6)]
    {
        room.push(at_ms, number);
    }
    assert_eq!(room.written(), "0 1 2 3 4 5 6");
}

#[test]
fn the_copy_of_a_lost_frame_takes_its_place_within_the_window_and_not_after() {
    let mut room = Room::new();
    (0..3).for_each(|number| room.push(20 + 20 * number, number));
    (4..8).for_each(|number| room.push(20 + 20 * number, number));
    room.push(175, 3);
    (8..30).filter(|number| *number != 10).for_each(|number| room.push(20 + 20 * number, number));
    room.push(640, 10);
    let expected =
        (0..30).map(|number| if number == 10 { "x".to_owned() } else { number.to_string() });
    assert_eq!(room.written(), expected.collect::<Vec<_>>().join(" "));
}

#[test]
fn lost_frames_are_concealed_and_long_losses_end_in_silence_of_the_same_length() {
    let mut room = Room::new();
    room.push(20, 0);
    (3..20).for_each(|number| room.push(20 + 20 * number, number));
    (60..62).for_each(|number| room.push(20 + 20 * number, number));
    let concealed = ["x"; 10].join(" ");
    let middle = (3..20).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(room.written(), format!("0 x x {middle} {concealed} _600 60 61"));
}

#[test]
fn a_pause_is_as_long_as_it_was_and_numbers_go_on() {
    let mut room = Room::new();
    room.push(20, 0);
    room.push_last(40, 1);
    room.push(5_000, 2);
    room.push_last(5_020, 3);
    assert_eq!(room.written(), "0 1 _4940 2 3");
}

#[test]
fn a_whole_talkspurt_is_written_without_waiting() {
    let mut room = Room::new();
    room.push(20, 0);
    room.push_last(40, 1);
    assert_eq!(room.out.len(), 2);
}

#[test]
fn a_pause_whose_beginning_was_lost_is_one_all_the_same() {
    let mut room = Room::new();
    (0..20).for_each(|number| room.push(20 + 20 * number, number));
    (25..27).for_each(|number| room.push(5_020 + 20 * number, number));
    let spoken = (0..20).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    // 5 frames are missing, 5.1 s have passed.
    assert_eq!(room.written(), format!("{spoken} x x x _5040 25 26"));
}

#[test]
fn a_clock_that_is_too_fast_is_set_right_in_the_pause_and_only_there() {
    let mut room = Room::new();
    // 2 % too fast: 50 frames take 980 ms. The next talkspurt begins a second after this one ended.
    (0..49).for_each(|number| room.push(20 + number * 98 / 5, number));
    room.push_last(980, 49);
    room.push(2_000, 50);
    let written = room.written();
    assert!(
        written.ends_with("48 49 _980 50"),
        "the talkspurt ended at 1000 by its own clock: {written}"
    );
    assert_eq!(written.matches('_').count(), 1);
}

#[test]
fn a_clock_that_is_too_slow_makes_no_holes_in_speech_however_long_it_lasts() {
    let mut room = Room::new();
    // 1 % too slow for two minutes, which makes 1.2 s; every hundredth frame is lost.
    let spoken = (0..6_000).filter(|number| number % 100 != 50);
    spoken.for_each(|number| room.push(20 + number * 101 / 5, number));
    let written = room.written();
    assert!(!written.contains('_'), "{written}");
    assert_eq!((room.out.len(), written.matches('x').count()), (6_000, 60));
}

#[test]
fn what_came_in_a_heap_after_a_stall_is_no_pause() {
    let mut room = Room::new();
    (0..10).for_each(|number| room.push(20 + 20 * number, number));
    (10..60).for_each(|number| room.push(1_220, number));
    (60..64).for_each(|number| room.push(20 + 20 * number, number));
    let expected = (0..64).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(room.written(), expected);
}

#[test]
fn a_speaker_that_slept_without_saying_so_has_a_pause() {
    let mut room = Room::new();
    (0..10).for_each(|number| room.push(20 + 20 * number, number));
    (10..40).for_each(|number| room.push(10_020 + 20 * number, number));
    let written = room.written();
    assert!(written.starts_with("0 1 2 3 4 5 6 7 8 9 _10000 10 11"), "{written}");
}

#[test]
fn a_jump_of_the_numbering_takes_no_time() {
    let mut room = Room::new();
    (0..10).for_each(|number| room.push(20 + 20 * number, number));
    (0..20).for_each(|number| room.push(220 + 20 * number, number + 1_000_000));
    let written = room.written();
    assert!(!written.contains('x') && !written.contains('_'), "{written}");
    assert_eq!(room.out.len(), 30);
}

#[test]
fn a_speaker_that_counts_anew_is_recorded_again() {
    let mut room = Room::new();
    (1000..1010).for_each(|number| room.push(20 + 20 * (number - 1000), number));
    (0..30).for_each(|number| room.push(5_000 + 20 * number, number));
    assert!(room.written().ends_with("27 28 29"), "{}", room.written());
    assert_eq!(
        room.out.iter().filter(|piece| matches!(piece, Piece::Packet { .. })).count(),
        10 + 30 - 9
    );
}

#[test]
fn what_is_no_opus_is_not_there_and_memory_is_bounded() {
    let mut room = Room::new();
    room.timeline.push(Duration::ZERO, 0, false, &[], &mut room.out);
    room.timeline.push(Duration::ZERO, 1, false, &[0x4b], &mut room.out);
    assert_eq!(room.written(), "");
    // All at one moment, each leaving a gap: nothing ripens by time.
    (0..10_000).for_each(|number| room.push(1_000, number * 3));
    assert!(room.timeline.waiting.len() <= MOST_WAITING + 1);
}

#[test]
fn any_arrivals_give_a_stream_as_long_as_its_pieces() {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..200 {
        let mut room = Room::new();
        let mut at_ms = 0;
        for _ in 0..200 {
            at_ms += random(60);
            let sequence = match random(20) {
                0 => random(u64::MAX / 2),
                _ => at_ms / 20 + random(6),
            };
            let packet: Vec<u8> = (0..random(4)).map(|_| random(256) as u8).collect();
            room.timeline.push(
                Duration::from_millis(at_ms),
                sequence,
                random(9) == 0,
                &packet,
                &mut room.out,
            );
        }
        room.timeline.finish(&mut room.out);
        let length = room.out.iter().map(|piece| match piece {
            Piece::Silence(samples) => *samples,
            Piece::Packet { packet, samples } => {
                assert_eq!(opus::samples(packet), Some(*samples));
                *samples
            }
        });
        assert_eq!(length.sum::<u64>(), room.timeline.position);
    }
}
