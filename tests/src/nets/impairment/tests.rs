use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Offers a frame of this many bytes every `every`, and returns when each that passed came out.
fn run(
    impairment: Impairment,
    frames: usize,
    bytes: usize,
    every: Duration,
) -> (Vec<Duration>, Counts) {
    let mut way = OneWay::new(7, 0);
    way.set(Duration::ZERO, impairment);
    for number in 0..frames {
        way.offer(every * number as u32, vec![0; bytes]);
    }
    let mut arrivals = Vec::new();
    while let Some(at) = way.next_at() {
        arrivals.extend(way.poll(at).map(|_| at));
    }
    (arrivals, way.counts())
}

#[test]
fn every_frame_is_delayed_by_the_delay_and_at_most_the_jitter() {
    let (arrivals, counts) =
        run(Impairment { jitter: ms(5), ..Impairment::delay(ms(40)) }, 200, 100, ms(20));
    assert_eq!((arrivals.len(), counts.lost, counts.dropped), (200, 0, 0));
    let delays = arrivals.iter().zip(0_u32..).map(|(at, number)| *at - ms(20) * number);
    assert!(delays.clone().all(|delay| (ms(40)..=ms(45)).contains(&delay)));
    assert!(delays.max() > Some(ms(44)));
}

#[test]
fn a_rate_limit_sends_at_its_rate_and_drops_what_waits_too_long() {
    // 100 kbit/s are offered to 50 kbit/s with a queue of 200 ms.
    let (arrivals, counts) = run(Impairment::rate(50, ms(200)), 500, 125, ms(10));
    let seconds = arrivals.last().unwrap().as_secs_f64();
    let rate = arrivals.len() as f64 * 125.0 * 8.0 / seconds;
    assert!((49_000.0..51_000.0).contains(&rate), "{rate} bit/s");
    assert_eq!(counts.dropped + arrivals.len() as u64, 500);
    assert!(*arrivals.last().unwrap() <= ms(4990 + 200 + 20));
    // The same limit in bytes: 200 ms at 50 kbit/s.
    let limit = Limit::QueueBytes { rate_bps: 50_000, bytes: 1_250 };
    assert_eq!(run(Impairment { limit, ..Impairment::default() }, 500, 125, ms(10)).0, arrivals);
}

#[test]
fn a_policer_drops_without_delaying() {
    let (arrivals, counts) = run(Impairment::policed(50, 1_000), 500, 125, ms(10));
    assert!(arrivals.iter().all(|at| at.subsec_millis() % 10 == 0), "nothing waits");
    // The bucket of eight frames, then every second frame.
    assert!((250..=260).contains(&arrivals.len()), "{} passed", arrivals.len());
    assert_eq!(counts.dropped + arrivals.len() as u64, 500);
}

#[test]
fn burst_loss_loses_the_share_in_bursts_of_the_mean_length() {
    let (arrivals, counts) =
        run(Impairment::default().with_burst_loss(0.05, 3.0), 8_000, 100, ms(1));
    assert!((0.04..0.06).contains(&(counts.lost as f64 / 8_000.0)), "{counts:?}");
    let bursts = arrivals.windows(2).filter(|pair| pair[1] - pair[0] > ms(1)).count();
    let mean = counts.lost as f64 / bursts as f64;
    assert!((2.5..3.5).contains(&mean), "bursts of {mean}");
}

#[test]
fn a_change_applies_to_later_frames() {
    let mut way = OneWay::new(1, 0);
    way.offer(ms(0), vec![0; 60]);
    way.set(ms(1), Impairment::delay(ms(30)));
    way.offer(ms(1), vec![0; 60]);
    assert_eq!(way.next_at(), Some(ms(0)));
    assert!(way.poll(ms(0)).is_some());
    assert_eq!(way.next_at(), Some(ms(31)));
    assert!(way.poll(ms(30)).is_none());
}

#[test]
fn settings_survive_the_way_to_the_program() {
    let limits = [
        Limit::None,
        Limit::Queue { rate_bps: 64_000, queue: ms(400) },
        Limit::QueueBytes { rate_bps: 64_000, bytes: 8_000 },
        Limit::Policer { rate_bps: 64_000, burst_bytes: 3_000 },
    ];
    for limit in limits {
        let impairment = Impairment { limit, jitter: ms(3), ..Impairment::delay(ms(20)) }
            .with_burst_loss(0.05, 3.0);
        assert_eq!(Impairment::from_json(&impairment.to_json()), Ok(impairment));
    }
    assert_eq!(Impairment::from_json(&json!({})), Ok(Impairment::default()));
    for wrong in [
        json!({ "loss": 2 }),
        json!({ "loss": [0, 1] }),
        json!({ "delay_ms": -1 }),
        json!({ "limit": {} }),
    ] {
        assert!(Impairment::from_json(&wrong).is_err(), "{wrong}");
    }
}
