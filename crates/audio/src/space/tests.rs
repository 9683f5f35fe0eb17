use super::*;

const AT_ONCE: Duration = Duration::ZERO;

fn close(one: f32, other: f32) -> bool {
    (one - other).abs() < 1e-5
}

/// proves: B-11
#[test]
fn the_distance_models_are_those_of_openal_up_to_the_edge() {
    let (reference, max) = (2.0, 100.0);
    for rolloff in [0.25_f32, 1.0, 3.0] {
        let inverse = Attenuation::Inverse { reference, max, rolloff };
        let linear = Attenuation::Linear { reference, max, rolloff };
        let exponential = Attenuation::Exponential { reference, max, rolloff };
        for d in [0.0_f32, 1.0, 2.0, 3.0, 10.0, 50.0, 89.0] {
            let clamped = d.max(reference);
            assert!(close(inverse.gain(d), 2.0 / (2.0 + rolloff * (clamped - 2.0))), "{d}");
            assert!(
                close(linear.gain(d), (1.0 - rolloff * (clamped - 2.0) / 98.0).max(0.0)),
                "{d}"
            );
            assert!(close(exponential.gain(d), (clamped / 2.0).powf(-rolloff)), "{d}");
        }
        for model in [inverse, linear, exponential] {
            let mut before = 1.0;
            for centimetres in 0..=10_100 {
                let gain = model.gain(centimetres as f32 / 100.0);
                assert!(
                    gain <= before + 1e-6 && before - gain < 0.02,
                    "{model:?} at {centimetres} cm"
                );
                before = gain;
            }
            assert_eq!([model.gain(100.0), model.gain(f32::INFINITY)], [0.0; 2]);
        }
    }
    let whole = Attenuation::Linear { reference, max, rolloff: 1.0 };
    assert!(close(whole.gain(95.0), 5.0 / 98.0), "what reaches zero by itself needs no fading");
    assert_eq!(Attenuation::None.gain(1e9), 1.0);
}

/// proves: B-11
#[test]
fn points_of_ones_own_are_joined_by_lines() {
    let curve = Attenuation::Points(Curve::new(&[(1.0, 1.0), (3.0, 0.5), (10.0, 0.0)]).unwrap());
    for (distance, gain) in
        [(0.0, 1.0), (1.0, 1.0), (2.0, 0.75), (3.0, 0.5), (6.5, 0.25), (10.0, 0.0), (99.0, 0.0)]
    {
        assert!(close(curve.gain(distance), gain), "{distance}");
    }
    let many = [(0.0, 1.0); CURVE_POINTS + 1];
    let bad: [&[(f32, f32)]; 5] =
        [&[], &many, &[(1.0, 1.0), (1.0, 0.0)], &[(f32::NAN, 1.0)], &[(0.0, -1.0)]];
    assert!(bad.into_iter().all(|points| Curve::new(points).is_none()));
}

/// proves: B-11
#[test]
fn a_voice_all_around_keeps_its_power_and_is_heard_in_both_ears() {
    let mut space = Space::default();
    space.set_attenuation(Attenuation::None);
    for degrees in 0..360 {
        let angle = (degrees as f32).to_radians();
        let Gains { left, right } = space.gains([5.0 * angle.sin(), 0.0, -5.0 * angle.cos()]);
        let power_db = 10.0 * ((left * left + right * right) / 2.0).log10();
        assert!(power_db.abs() < 0.1, "{degrees}°: {power_db} dB");
        let (near, far) = (left.max(right), left.min(right));
        assert!(far >= 0.199 * near, "{degrees}°: {left} and {right}");
        let side = angle.sin();
        assert!(side.abs() < 1e-3 || (right > left) == (side > 0.0), "{degrees}°");
    }
    for ahead in [[0.0, 0.0, -5.0], [0.0, 0.0, 5.0], [0.0, 7.0, 0.0], [0.0; 3]] {
        let Gains { left, right } = space.gains(ahead);
        assert!(
            close(left, 1.0) && close(right, 1.0),
            "{ahead:?} is as loud as if it were not placed"
        );
    }
}

/// proves: B-11
#[test]
fn the_right_hand_is_on_the_right_in_either_kind_of_world() {
    let mut space = Space::default();
    let is_right = |space: &Space, position| {
        let Gains { left, right } = space.gains(position);
        right > left
    };
    assert!(is_right(&space, [1.0, 0.0, 0.0]) && !is_right(&space, [-1.0, 0.0, 0.0]));
    // A quarter to the left: what was behind is on the left now, and what was ahead on the right.
    space.set_listener(Pose { position: [0.0; 3], forward: [-1.0, 0.0, 0.0], up: [0.0, 1.0, 0.0] });
    assert!(is_right(&space, [0.0, 0.0, -1.0]) && !is_right(&space, [0.0, 0.0, 1.0]));
    let mut unity = Space::default();
    unity.set_handedness(Handedness::Left);
    unity.set_listener(Pose {
        position: [10.0, 0.0, 0.0],
        forward: [0.0, 0.0, 9.0],
        up: [0.0, 0.1, 0.0],
    });
    assert!(is_right(&unity, [11.0, 0.0, 0.0]) && !is_right(&unity, [9.0, 0.0, 0.0]));
}

/// proves: B-11
#[test]
fn a_velocity_is_believed_for_a_quarter_of_a_second() {
    let placed =
        Placement::new(Duration::from_secs(5), [1.0, 2.0, 3.0], [10.0, 0.0, -2.0]).unwrap();
    assert_eq!(placed.at(Duration::from_millis(5_100)), [2.0, 2.0, 2.8]);
    let last = [3.5, 2.0, 2.5];
    assert_eq!(
        [placed.at(Duration::from_millis(5_250)), placed.at(Duration::from_secs(60))],
        [last; 2]
    );
    assert_eq!(placed.at(Duration::from_secs(1)), [1.0, 2.0, 3.0], "never backwards");
}

/// proves: B-11
#[test]
fn no_number_makes_a_gain_that_is_none() {
    let odd = [
        0.0,
        -0.0,
        1.0,
        -3.0,
        1e-30,
        1e9,
        1e30,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    let mut space = Space::default();
    for (a, b) in odd.iter().flat_map(|a| odd.map(|b| (*a, b))) {
        for c in odd {
            for attenuation in [
                Attenuation::Inverse { reference: a, max: b, rolloff: c },
                Attenuation::Linear { reference: a, max: b, rolloff: c },
                Attenuation::Exponential { reference: a, max: b, rolloff: c },
            ] {
                space.set_attenuation(attenuation);
                for distance in odd {
                    let gain = attenuation.gain(distance);
                    assert!((0.0..=1.0).contains(&gain), "{attenuation:?} at {distance}: {gain}");
                }
            }
            space.set_listener(Pose { position: [a, b, c], forward: [b, c, a], up: [c, a, b] });
            let Some(placed) = Placement::new(AT_ONCE, [b, a, c], [c, b, a]) else {
                assert!(a.is_nan() || b.is_nan() || c.is_nan());
                continue;
            };
            let Gains { left, right } = space.gains(placed.at(Duration::from_secs(1)));
            assert!(
                (0.0..1.5).contains(&left) && (0.0..1.5).contains(&right),
                "{a} {b} {c}: {left} {right}"
            );
        }
    }
}

/// proves: B-11
#[test]
fn wherever_a_speaker_jumps_no_gain_steps_by_more_than_60_decibels_below_full() {
    let mut space = Space::default();
    let mut panner = Panner::default();
    let mut last: Option<Gains> = None;
    let full = [1.0; BLOCK_SAMPLES];
    for jump in 0..200_u32 {
        let wild = |salt: u32| {
            (jump.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 20) as f32 / 40.0 - 50.0
        };
        space.set_listener(Pose { position: [wild(1), 0.0, 0.0], ..Pose::default() });
        let target =
            if jump % 5 == 0 { Gains::UNPLACED } else { space.gains([wild(2), wild(3), wild(4)]) };
        for _ in 0..1 + jump % 4 {
            let mut sides = StereoBlock::SILENCE;
            match panner.next(target, false) {
                Panning::Unplaced => sides.add(&full, Gains::UNPLACED, Gains::UNPLACED),
                Panning::Silent => {}
                Panning::Between(from, to) => sides.add(&full, from, to),
            }
            for (left, right) in sides.left.into_iter().zip(sides.right) {
                if let Some(before) = last.replace(Gains { left, right }) {
                    assert!(
                        (left - before.left).abs() < 0.001 && (right - before.right).abs() < 0.001
                    );
                }
            }
        }
    }
}

/// proves: B-11
#[test]
fn beyond_the_last_distance_nothing_is_mixed_and_silence_is_left_at_once() {
    let space = Space::default();
    let (near, far) = (space.gains([1.0, 0.0, 0.0]), space.gains([51.0, 0.0, 0.0]));
    let mut panner = Panner::default();
    assert_eq!(panner.next(far, true), Panning::Silent);
    assert_eq!(
        panner.next(near, true),
        Panning::Between(near, near),
        "who begins to speak is there already"
    );
    let blocks = (0..10).take_while(|_| panner.next(far, false) != Panning::Silent).count();
    assert!((2..5).contains(&blocks), "it fades over {blocks} blocks");
    assert_eq!(panner.next(Gains::UNPLACED, true), Panning::Unplaced);
}
