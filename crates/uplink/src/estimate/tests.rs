use std::cell::Cell;

use super::*;

const TICK: Duration = Duration::from_millis(100);

/// An uplink of `rate` with a queue; `offered` is sent into it.
struct Link {
    rate_bps: f64,
    queue_bits: f64,
    longest_queue: Duration,
    path_loss: f32,
}

impl Link {
    fn carry(&mut self, offered_bps: f64) -> Observation {
        let seconds = TICK.as_secs_f64();
        let room = self.longest_queue.as_secs_f64() * self.rate_bps;
        let arriving = offered_bps * seconds;
        let leaving = (self.queue_bits + arriving).min(self.rate_bps * seconds);
        let kept = (self.queue_bits + arriving - leaving).min(room);
        let dropped = self.queue_bits + arriving - leaving - kept;
        self.queue_bits = kept;
        let loss = (dropped / arriving.max(1.0)) as f32;
        let loss = loss + (1.0 - loss) * self.path_loss;
        Observation {
            is_sending: true,
            can_send_less: true,
            sent_bps: offered_bps,
            delivered_bps: leaving / seconds * f64::from(1.0 - self.path_loss),
            queueing: Some(Duration::from_secs_f64(self.queue_bits / self.rate_bps)),
            loss: Some(loss),
            packets: PacketLoss { settled: 60, lost: (60.0 * loss) as u64 },
            round_trip: Duration::from_millis(20),
            has_links: true,
            ..Observation::default()
        }
    }
}

/// Sends what may be sent, at most `wanted`, for so long; tests halve it.
fn run(
    estimate: &mut UplinkEstimate,
    link: &mut Link,
    from: Duration,
    seconds: u64,
    wanted: f64,
) -> (f64, f32) {
    let (mut sent, mut loss) = (0.0, 0.0);
    let ticks = seconds * 10;
    for tick in 0..ticks {
        let budget =
            f64::from(estimate.budget_bps()) * if estimate.is_testing() { 0.5 } else { 1.0 };
        let seen = link.carry(budget.min(wanted));
        estimate.update(from + TICK * tick as u32, seen);
        if tick >= ticks / 2 {
            sent += seen.sent_bps / (ticks - ticks / 2) as f64;
            loss += seen.loss.unwrap() / (ticks - ticks / 2) as f32;
        }
    }
    (sent, loss)
}

#[test]
fn a_wide_uplink_is_found_within_a_second_and_a_narrow_one_is_not_overfilled() {
    let wide = Link { rate_bps: 1e8, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.0 };
    let mut estimate = UplinkEstimate::new();
    run(&mut estimate, &mut { wide }, Duration::ZERO, 1, 1_200_000.0);
    assert!(estimate.bps() > 1_200_000 && estimate.is_starting());
    for rate_bps in [64_000.0, 100_000.0, 200_000.0, 512_000.0] {
        for queue_ms in [0, 30, 400, 2_000] {
            let longest_queue = Duration::from_millis(queue_ms);
            let mut link = Link { rate_bps, queue_bits: 0.0, longest_queue, path_loss: 0.0 };
            let mut estimate = UplinkEstimate::new();
            run(&mut estimate, &mut link, Duration::ZERO, 5, 1_200_000.0);
            let (sent, loss) =
                run(&mut estimate, &mut link, Duration::from_secs(5), 20, 1_200_000.0);
            let case = format!("{rate_bps} bit/s, {queue_ms} ms: {sent} bit/s, loss {loss}");
            assert!((0.55 * rate_bps..1.05 * rate_bps).contains(&sent) && loss < 0.02, "{case}");
        }
    }
}

#[test]
fn a_stall_in_the_first_moments_halves_the_estimate_once() {
    let stalled = Observation {
        sent_bps: 70_000.0,
        round_trip: Duration::from_millis(20),
        overdue: Duration::from_millis(300),
        ..Observation::default()
    };
    let mut estimate = UplinkEstimate::new();
    for tick in 0..20 {
        estimate.update(TICK * tick, stalled);
    }
    assert_eq!(estimate.bps(), FIRST_ESTIMATE_BPS as u32 / 2);
    assert!(!estimate.is_full(), "the path may as well be dead");
    let mut wide = Link { rate_bps: 1e8, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.0 };
    let mut estimate = UplinkEstimate::new();
    run(&mut estimate, &mut wide, Duration::ZERO, 10, 1_200_000.0);
    let before = estimate.bps();
    for tick in 0..20 {
        estimate.update(Duration::from_secs(10) + TICK * tick, stalled);
    }
    assert_eq!(estimate.bps(), before, "later a stall is the path's");
}

#[test]
fn when_all_of_several_paths_stall_in_slow_start_the_uplink_is_full_until_one_answers() {
    let answered = Observation {
        is_sending: true,
        sent_bps: 70_000.0,
        delivered_bps: 70_000.0,
        queueing: Some(Duration::from_millis(5)),
        are_several: true,
        ..Observation::default()
    };
    let stalled = Observation { overdue: Duration::from_millis(300), ..answered };
    let stall = |answer: Option<Observation>| {
        let mut estimate = UplinkEstimate::new();
        let full = (0..40).map(|tick| {
            let seen = match tick {
                0..5 => answered,
                5..10 => stalled,
                // Nothing is known of a path that has not answered for a second.
                _ => answer.unwrap_or(Observation { queueing: None, ..stalled }),
            };
            estimate.update(TICK * tick, seen);
            (estimate.is_full(), estimate.is_congested(TICK * tick))
        });
        let full: Vec<_> = full.collect();
        assert!(full.iter().all(|(is_full, is_congested)| is_full == is_congested));
        full.into_iter().filter(|(is_full, _)| *is_full).count()
    };
    assert_eq!(stall(Some(answered)), 5, "until it answers");
    let longest = UNPROVED.as_millis() / TICK.as_millis();
    assert_eq!(stall(None), longest as usize, "all may be dead");
}

#[test]
fn loss_of_the_path_itself_is_told_from_congestion() {
    let mut link = Link { rate_bps: 2e6, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.1 };
    let mut estimate = UplinkEstimate::new();
    run(&mut estimate, &mut link, Duration::ZERO, 4, 100_000.0);
    assert!(estimate.bps() >= 200_000, "{}", estimate.bps());
    assert!(!estimate.is_congested(Duration::from_secs(4)));
}

#[test]
fn a_test_whose_links_are_all_gone_says_nothing() {
    let mut link = Link { rate_bps: 2e6, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.1 };
    let mut estimate = UplinkEstimate::new();
    let mut tests = 0;
    for tick in 0..80 {
        let seen = link.carry(100_000.0);
        let gone = Observation { loss: None, packets: PacketLoss::default(), ..seen };
        estimate.update(TICK * tick, if estimate.is_testing() { gone } else { seen });
        tests += u32::from(estimate.test.is_some_and(|test| test.spoken.is_zero()));
    }
    assert_eq!(
        (tests, estimate.path_loss.is_none(), estimate.is_starting()),
        (3, true, true),
        "each ended at once"
    );
}

#[test]
fn a_test_that_decides_nothing_takes_nothing_back() {
    for (lost_in_test, is_decided) in [(0, false), (6, true)] {
        let mut link = Link { rate_bps: 2e6, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.0 };
        let mut estimate = UplinkEstimate::new();
        estimate.lower(Duration::ZERO, link.carry(100_000.0));
        let ceiling = estimate.ceiling_bps;
        for tick in 20..80 {
            let mut seen = link.carry(if estimate.is_testing() { 50_000.0 } else { 80_000.0 });
            let (settled, lost) = if estimate.is_testing() { (50, lost_in_test) } else { (24, 1) };
            (seen.packets, seen.loss) =
                (PacketLoss { settled, lost }, Some(lost as f32 / settled as f32));
            estimate.update(TICK * tick, seen);
        }
        assert!(estimate.path_loss.is_some(), "it was tested, and is not tested again soon");
        assert_eq!(
            (estimate.bps() > 100_000, estimate.ceiling_bps.is_none()),
            (is_decided, is_decided),
            "{ceiling:?}"
        );
    }
}

#[test]
fn loss_is_not_tested_where_less_cannot_be_sent() {
    for can_send_less in [true, false] {
        let mut link =
            Link { rate_bps: 2e6, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.13 };
        let mut estimate = UplinkEstimate::new();
        let mut was_tested = false;
        for tick in 0..60 {
            estimate.update(TICK * tick, Observation { can_send_less, ..link.carry(40_000.0) });
            was_tested |= estimate.is_testing();
        }
        assert_eq!(was_tested, can_send_less);
        let packets = PacketLoss { settled: 60, lost: 24 };
        let all = Observation { loss: Some(0.4), packets, can_send_less, ..link.carry(40_000.0) };
        for tick in 60..70 {
            estimate.update(TICK * tick, all);
        }
        assert!(!estimate.is_starting(), "overwhelming loss needs no test");
    }
}

#[test]
fn loss_that_grows_with_what_is_sent_is_congestion_without_a_test() {
    for (sent_bps, is_tested) in [(120_000.0, true), (300_000.0, false)] {
        let mut estimate = UplinkEstimate::new();
        estimate.estimate_bps = 400_000.0;
        let packets = PacketLoss { settled: 60, lost: 3 };
        estimate.path_loss = Some(PathLoss {
            share: 0.05,
            sent_bps: 100_000.0,
            packets,
            counted_at: Duration::ZERO,
            until: 600 * TICK,
        });
        let loss = Some(0.2);
        let seen = Observation {
            is_sending: true,
            can_send_less: true,
            sent_bps,
            delivered_bps: 0.8 * sent_bps,
            loss,
            packets: PacketLoss { settled: 60, lost: 12 },
            ..Observation::default()
        };
        for tick in 1..=8 {
            estimate.update(TICK * tick, seen);
        }
        assert_eq!((estimate.is_testing(), estimate.is_starting()), (is_tested, is_tested));
        assert!(is_tested || (170_000..=178_000).contains(&estimate.bps()), "{}", estimate.bps());
    }
}

/// A policer lets pass for a moment what is too much, and then takes it from all.
#[test]
fn links_that_begin_to_lose_together_when_more_is_sent_are_congested_without_a_test() {
    for (sent_bps, is_of_several, lost, is_tested) in [
        (240_000.0, true, 10, false),
        (160_000.0, true, 10, true),
        (240_000.0, false, 10, true),
        (240_000.0, true, 3, true),
    ] {
        let mut estimate = UplinkEstimate::new();
        estimate.estimate_bps = 400_000.0;
        let seen = |sent_bps: f64, lost: u64, settled: u64| Observation {
            is_sending: true,
            can_send_less: true,
            is_of_several,
            sent_bps,
            delivered_bps: sent_bps,
            loss: Some(lost as f32 / settled as f32),
            packets: PacketLoss { settled, lost },
            ..Observation::default()
        };
        for tick in 0..40 {
            estimate.update(TICK * tick, seen(140_000.0, 6, 300));
        }
        assert!(estimate.is_starting() && !estimate.is_testing());
        for tick in 40..48 {
            estimate.update(TICK * tick, seen(sent_bps, lost, 80));
        }
        assert_eq!(
            (estimate.is_testing(), estimate.is_starting()),
            (is_tested, is_tested),
            "{sent_bps} {is_of_several} {lost}"
        );
    }
}

/// Of what is sent, 0.6 would be taken to arrive, and a queue of a few packets would stay full for
/// seconds.
#[test]
fn the_first_lowering_goes_by_what_is_lost() {
    for (lost, expected) in [(5, 170_000..=212_000), (45, 80_000..=94_000)] {
        let mut estimate = UplinkEstimate::new();
        estimate.estimate_bps = 400_000.0;
        let packets = PacketLoss { settled: 60, lost };
        // Acknowledgements lag behind.
        estimate.lower(
            Duration::from_secs(1),
            Observation {
                is_sending: true,
                sent_bps: 400_000.0,
                delivered_bps: 90_000.0,
                packets,
                loss: Some(lost as f32 / 60.0),
                ..Observation::default()
            },
        );
        assert!(expected.contains(&estimate.bps()), "{lost}: {}", estimate.bps());
    }
}

#[test]
fn what_opening_links_send_is_not_taken_for_a_narrow_uplink() {
    let mut estimate = UplinkEstimate::new();
    for tick in 0..30 {
        // 200 kbit/s, of which speech gets a fifth while links open.
        let seen = Observation {
            sent_bps: 70_000.0,
            delivered_bps: 40_000.0,
            background_bps: 160_000.0,
            queueing: Some(Duration::from_millis(400)),
            ..Observation::default()
        };
        estimate.update(TICK * tick, seen);
    }
    assert!(
        !estimate.is_starting() && estimate.bps() == FIRST_ESTIMATE_BPS as u32,
        "{}",
        estimate.bps()
    );
}

#[test]
fn a_wrong_estimate_recovers_while_only_the_relay_is_used() {
    for (rate_bps, expected) in [(200_000.0, 45_000..=60_000), (40_000.0, 22_000..=44_000)] {
        let mut link = Link { rate_bps, queue_bits: 0.0, longest_queue: 4 * TICK, path_loss: 0.0 };
        let mut estimate = UplinkEstimate::new();
        estimate
            .lower(Duration::ZERO, Observation { sent_bps: 20_000.0, ..Observation::default() });
        assert_eq!(estimate.bps(), LOWEST_ESTIMATE_BPS as u32);
        let mut most_queue_bits: f64 = 0.0;
        for tick in 1..250 {
            let sent_bps = f64::from(estimate.budget_bps()).clamp(28_000.0, 70_000.0);
            let seen = Observation { has_links: false, ..link.carry(sent_bps) };
            estimate.update(TICK * tick, seen);
            most_queue_bits = most_queue_bits.max(link.queue_bits);
        }
        assert!(expected.contains(&estimate.bps()), "{rate_bps}: {}", estimate.bps());
        assert!(most_queue_bits / rate_bps < 0.25, "{rate_bps}: {most_queue_bits}");
    }
}

#[test]
fn silence_does_not_count_as_time_without_a_queue() {
    let mut estimate = UplinkEstimate::new();
    estimate.lower(Duration::ZERO, Observation { sent_bps: 20_000.0, ..Observation::default() });
    let mut speak = |from: u32, looks: u32| {
        let before = f64::from(estimate.bps());
        for tick in from..from + looks {
            let mut wide =
                Link { rate_bps: 1e6, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.0 };
            estimate.update(TICK * tick, Observation { has_links: false, ..wide.carry(28_000.0) });
        }
        f64::from(estimate.bps()) / before
    };
    assert!((1.01..1.06).contains(&speak(50, 10)));
    // Five percent in each of the first two seconds of speech, however long the pause between them
    // is.
    let growth = speak(150, 10);
    assert!((1.04..1.07).contains(&growth), "{growth}");
}

#[test]
fn a_train_finds_an_uplink_that_became_wider() {
    let mut link = Link {
        rate_bps: 64_000.0,
        queue_bits: 0.0,
        longest_queue: Duration::from_millis(400),
        path_loss: 0.0,
    };
    let mut estimate = UplinkEstimate::new();
    run(&mut estimate, &mut link, Duration::ZERO, 5, 600_000.0);
    assert!(estimate.bps() < 64_000);
    let mut found_at = None;
    for second in 10..30 {
        let now = Duration::from_secs(second);
        let Some(train) = estimate.train(now, 900_000) else { continue };
        assert!(
            f64::from(train.padding) * 3.0 * 8.0 <= f64::from(estimate.bps()) * 0.11
                || train.padding <= 120
        );
        estimate.train_sent(train, u32::from(train.padding) + 100);
        let span = Duration::from_secs_f64(3.0 * f64::from(train.padding + 100) * 8.0 / 2e6);
        estimate.train_arrived(now, train.number, train.packets, span);
        if estimate.bps() > 900_000 {
            found_at.get_or_insert(second);
        }
    }
    assert!(found_at.is_some_and(|at| at < 20), "{found_at:?}");
    estimate.train_arrived(Duration::from_secs(31), 9_999, 4, Duration::ZERO);
}

#[test]
fn a_train_that_a_busy_machine_received_at_once_is_believed_when_the_next_one_confirms_it() {
    let mut estimate = UplinkEstimate::new();
    let known =
        Observation { sent_bps: 100_000.0, delivered_bps: 100_000.0, ..Observation::default() };
    estimate.lower(Duration::ZERO, Observation { queueing: Some(TICK), ..known });
    estimate.update(8 * TICK, Observation { queueing: Some(Duration::ZERO), ..known });
    let mut arrives = |second: u64, rate_bps: f64| {
        let (now, before) = (Duration::from_secs(second), f64::from(estimate.bps()));
        let train = estimate.train(now, 900_000).unwrap();
        estimate.train_sent(train, 500);
        estimate.train_arrived(
            now,
            train.number,
            train.packets,
            Duration::from_secs_f64(3.0 * 500.0 * 8.0 / rate_bps),
        );
        f64::from(estimate.bps()) / before
    };
    let by = |share: f64| share - 0.001..share + 0.001;
    assert!(by(1.3).contains(&arrives(20, 1e7)));
    assert!(by(1.0).contains(&arrives(21, 100_000.0)), "the uplink is as wide as it was");
    assert!(by(1.3).contains(&arrives(26, 1e7)));
    assert!(by(2.0).contains(&arrives(27, 1e7)), "confirmed");
    let now_bps = 85_000.0 * 1.3 * 1.3 * 2.0;
    assert!(by(0.9 * 320_000.0 / now_bps).contains(&arrives(28, 320_000.0)), "the smaller of two");
    assert!(by(1.0).contains(&arrives(29, 310_000.0)));
    assert!(by(1.3).contains(&arrives(35, 1e7)), "the last ones are too old");
}

#[test]
fn trains_that_pass_a_policer_are_disbelieved_for_longer_each_time() {
    let mut link = Link {
        rate_bps: 200_000.0,
        queue_bits: 0.0,
        longest_queue: Duration::ZERO,
        path_loss: 0.0,
    };
    let mut estimate = UplinkEstimate::new();
    let (mut lossy_ticks, mut first_half) = (0, 0);
    for tick in 0..4_800_u32 {
        let now = TICK * tick;
        let budget =
            f64::from(estimate.budget_bps()) * if estimate.is_testing() { 0.5 } else { 1.0 };
        let seen = link.carry(budget.min(400_000.0));
        estimate.update(now, seen);
        lossy_ticks +=
            u32::from(seen.loss.unwrap() >= LOSS_TESTED && now > Duration::from_secs(10));
        if let Some(train) = estimate.train(now, 400_000) {
            let bytes = u32::from(train.padding) + 90;
            estimate.train_sent(train, bytes);
            // Its bucket holds four such packets.
            let span = Duration::from_millis(u64::from(bytes) * 3 * 8 / 2_000);
            estimate.train_arrived(now, train.number, train.packets, span);
        }
        if tick == 2_400 {
            first_half = lossy_ticks;
        }
    }
    assert!(lossy_ticks < 60, "{lossy_ticks} of 4,700");
    assert!(lossy_ticks - first_half < 15, "{first_half}, then {}", lossy_ticks - first_half);
    assert!((120_000..210_000).contains(&estimate.bps()), "{}", estimate.bps());
}

/// What goes over a policer's limit by much takes several packets of TCP at once, and relayed
/// speech is silent for more than a second.
#[test]
fn where_packets_were_lost_without_a_queue_a_train_raises_the_estimate_by_a_small_step() {
    for (lowered_with, most) in [(Duration::ZERO, 1.03), (Duration::from_millis(300), 1.3)] {
        let mut estimate = UplinkEstimate::new();
        let is_relaying = true;
        let known = Observation {
            sent_bps: 200_000.0,
            delivered_bps: 200_000.0,
            is_relaying,
            ..Observation::default()
        };
        estimate.lower(Duration::ZERO, Observation { queueing: Some(lowered_with), ..known });
        let lowered_bps = f64::from(estimate.bps());
        for tick in 5..600_u32 {
            let now = TICK * tick;
            estimate.update(now, Observation { queueing: Some(Duration::ZERO), ..known });
            let Some(train) = estimate.train(now, 900_000) else { continue };
            estimate.train_sent(train, 500);
            estimate.train_arrived(now, train.number, train.packets, Duration::from_millis(1));
            if lowered_with.is_zero() {
                assert!(f64::from(estimate.bps()) <= 200_000.0 * most + 1.0, "{}", estimate.bps());
            }
        }
        let grew = f64::from(estimate.bps()) / lowered_bps;
        assert!(if lowered_with.is_zero() { grew > 1.2 } else { grew > most }, "{grew}");
    }
}

/// TCP hands over at once what had waited for a lost segment.
#[test]
fn more_than_is_sent_does_not_arrive_without_a_queue() {
    let lowered_to = |queueing: Duration| {
        let mut estimate = UplinkEstimate::known(800_000);
        let seen =
            Observation { sent_bps: 200_000.0, delivered_bps: 290_000.0, ..Observation::default() };
        estimate.lower(Duration::ZERO, Observation { queueing: Some(queueing), ..seen });
        estimate.bps()
    };
    assert_eq!(lowered_to(Duration::ZERO), 170_000);
    assert_eq!(lowered_to(Duration::from_millis(300)), 246_500, "the queue drains");
}

/// While links lose packets, the relay's delay may be that of TCP behind a policer.
#[test]
fn trains_count_by_small_steps_where_only_the_relay_shows_a_queue_and_links_lose() {
    let links_queue = Cell::new(None);
    let after_a_train = |loss: f32, relay_waits: u64, span: Duration| {
        let mut estimate = UplinkEstimate::known(200_000);
        let queue = Duration::from_millis(300);
        let seen = Observation {
            sent_bps: 200_000.0,
            delivered_bps: 200_000.0,
            is_relaying: true,
            ..Observation::default()
        };
        estimate.lower(
            Duration::ZERO,
            Observation {
                queueing: Some(queue),
                links_queueing: links_queue.get(),
                relay_waits: Duration::from_millis(relay_waits),
                loss: Some(loss),
                ..seen
            },
        );
        let now = Duration::from_secs(10);
        estimate.update(now, Observation { queueing: Some(Duration::ZERO), ..seen });
        let lowered_bps = f64::from(estimate.bps());
        let train = estimate.train(now, 900_000).expect("it is time");
        estimate.train_sent(train, 900);
        estimate.train_arrived(now, train.number, train.packets, span);
        f64::from(estimate.bps()) / lowered_bps
    };
    let wire = Duration::from_micros(500);
    assert!(after_a_train(0.07, 300, wire) < 1.081);
    assert!(after_a_train(0.07, 300, 10 * wire) > 1.29, "it became wide");
    assert!(after_a_train(0.0, 300, wire) > 1.29, "nothing is lost");
    links_queue.set(Some(Duration::from_millis(350)));
    assert!(after_a_train(0.07, 300, wire) > 1.29, "links show a queue as well");
    links_queue.set(None);
    assert!(after_a_train(0.07, 400, wire) > 1.29, "another path has the shorter queue");
}

/// Each train empties the policer's bucket, and TCP loses what comes after it.
#[test]
fn no_train_is_sent_while_a_step_beyond_a_policer_is_not_proved() {
    let mut estimate = UplinkEstimate::known(200_000);
    let seen = Observation {
        is_sending: true,
        queueing: Some(Duration::ZERO),
        loss: Some(0.0),
        sent_bps: 170_000.0,
        delivered_bps: 170_000.0,
        is_relaying: true,
        has_links: true,
        ..Observation::default()
    };
    estimate.lower(Duration::ZERO, seen);
    let (mut trains, mut raised) = (0, 0);
    for tick in 5..550_u32 {
        let now = TICK * tick;
        // Speech does not fill the step, so it is not proved.
        estimate.update(now, Observation { sent_bps: 140_000.0, delivered_bps: 140_000.0, ..seen });
        let before_bps = estimate.bps();
        if let Some(train) = estimate.train(now, 900_000) {
            trains += 1;
            estimate.train_sent(train, 500);
            estimate.train_arrived(now, train.number, train.packets, Duration::from_millis(1));
        }
        raised += u32::from(estimate.bps() > before_bps + 5_000);
    }
    assert_eq!((trains, raised), (1, 1));
}

/// A policer with a bucket lets too much pass for a moment, and then TCP waits for what was lost,
/// and hands it over in lumps.
#[test]
fn the_first_limit_is_met_where_relayed_speech_begins_to_wait_when_more_is_sent() {
    for (relay_waits_ms, links_queue_ms, sent_bps, is_met) in [
        (200, 0, 230_000.0, true),
        (100, 0, 230_000.0, false),
        (200, 0, 130_000.0, false),
        (200, 50, 230_000.0, false),
    ] {
        let mut estimate = UplinkEstimate { estimate_bps: 800_000.0, ..UplinkEstimate::new() };
        let clear = Observation {
            is_sending: true,
            is_relaying: true,
            has_links: true,
            queueing: Some(Duration::ZERO),
            links_queueing: Some(Duration::ZERO),
            sent_bps: 118_000.0,
            delivered_bps: 118_000.0,
            ..Observation::default()
        };
        for tick in 0..25 {
            estimate.update(TICK * tick, clear);
        }
        assert!(estimate.is_starting());
        let waits = Observation {
            relay_waits: Duration::from_millis(relay_waits_ms),
            links_queueing: Some(Duration::from_millis(links_queue_ms)),
            sent_bps,
            delivered_bps: 330_000.0,
            ..clear
        };
        for tick in 25..35 {
            estimate.update(TICK * tick, waits);
        }
        assert_eq!(!estimate.is_starting(), is_met, "{relay_waits_ms} {links_queue_ms} {sent_bps}");
        let with_a_margin = 160_000..=170_000;
        assert!(!is_met || with_a_margin.contains(&estimate.bps()), "{}", estimate.bps());
    }
}

#[test]
fn what_a_policer_let_pass_is_not_forgotten_after_a_minute_while_speech_is_relayed() {
    for is_relaying in [true, false] {
        let mut estimate = UplinkEstimate::new();
        let seen = Observation {
            is_sending: true,
            queueing: Some(Duration::ZERO),
            loss: Some(0.0),
            sent_bps: 200_000.0,
            delivered_bps: 200_000.0,
            is_relaying,
            has_links: true,
            ..Observation::default()
        };
        estimate.lower(Duration::ZERO, seen);
        let mut grown_at = None;
        for tick in 5..2_000_u32 {
            estimate.update(TICK * tick, seen);
            if estimate.bps() > 200_000 {
                grown_at.get_or_insert(tick / 10);
            }
        }
        let expected = if is_relaying { 180..190 } else { 60..70 };
        assert!(grown_at.is_some_and(|at| expected.contains(&at)), "{is_relaying}: {grown_at:?}");
    }
}

/// An uplink that only links use is used almost up to its limit.
#[test]
fn beside_relayed_speech_what_a_policer_may_carry_is_not_used_up() {
    for is_relaying in [true, false] {
        let mut estimate = UplinkEstimate::new();
        let seen = Observation {
            is_sending: true,
            queueing: Some(Duration::ZERO),
            loss: Some(0.0),
            sent_bps: 200_000.0,
            delivered_bps: 200_000.0,
            is_relaying,
            has_links: true,
            ..Observation::default()
        };
        estimate.lower(Duration::ZERO, seen);
        for tick in 5..590_u32 {
            estimate.update(TICK * tick, seen);
        }
        let carried = estimate.ceiling_bps.map(|ceiling| f64::from(estimate.bps()) / ceiling);
        let expected = if is_relaying { 0.8..0.86 } else { 0.9..0.93 };
        assert!(
            carried.is_some_and(|share| expected.contains(&share)),
            "{is_relaying}: {carried:?}"
        );
    }
}

/// Speech proves a step by filling it, and a step is so small that little more proves nothing.
#[test]
fn a_small_step_beyond_a_policer_is_proved_by_speech_that_fills_it_and_then_the_next_follows() {
    let after = |most_bps: f64| {
        let mut estimate = UplinkEstimate::known(250_000);
        let known = Observation {
            is_sending: true,
            queueing: Some(Duration::ZERO),
            loss: Some(0.0),
            is_relaying: true,
            has_links: true,
            ..Observation::default()
        };
        let sends = |sent_bps: f64| Observation { sent_bps, delivered_bps: sent_bps, ..known };
        estimate.lower(Duration::ZERO, sends(200_000.0));
        let mut steps: Vec<Duration> = Vec::new();
        // Within a minute: without a limit for so long, it is forgotten.
        for tick in 5..590_u32 {
            let now = TICK * tick;
            estimate.update(now, sends(f64::from(estimate.budget_bps()).min(most_bps)));
            let Some(train) = estimate.train(now, 900_000) else { continue };
            let before_bps = estimate.bps();
            estimate.train_sent(train, 500);
            estimate.train_arrived(now, train.number, train.packets, Duration::from_millis(1));
            if estimate.bps() > before_bps {
                assert!(estimate.bps() <= 200_000.max(before_bps) * 103 / 100 + 1, "{before_bps}");
                if before_bps >= 200_000 {
                    steps.push(now);
                }
            }
        }
        let are_apart = |steps: &[Duration]| steps[1] - steps[0] >= PROVED_AFTER;
        assert!(steps.windows(2).all(are_apart), "{steps:?}");
        f64::from(estimate.bps()) / 200_000.0
    };
    let filled = after(f64::INFINITY);
    assert!(filled > 1.029_f64.powi(4), "{filled}");
    // The first step goes to 206 kbit/s.
    let one_percent_more = after(208_000.0);
    assert!((1.03..1.07).contains(&one_percent_more), "{one_percent_more}");
}

#[test]
fn an_uplink_that_was_policed_and_became_wide_is_found() {
    let mut link =
        Link { rate_bps: 64_000.0, queue_bits: 0.0, longest_queue: Duration::ZERO, path_loss: 0.0 };
    let mut estimate = UplinkEstimate::new();
    let mut found_at = None;
    for tick in 0..6_000_u32 {
        let now = TICK * tick;
        if tick == 600 {
            link.rate_bps = 2e6;
        }
        // In the end all listeners are relayed, and there is one copy of speech to send, whatever
        // is estimated.
        let most_bps = if tick < 100 { 300_000.0 } else { 69_600.0 };
        let seen = link.carry(f64::from(estimate.budget_bps()).min(most_bps));
        estimate.update(now, seen);
        if let Some(train) = estimate.train(now, 600_000) {
            let bytes = u32::from(train.padding) + 90;
            estimate.train_sent(train, bytes);
            estimate.train_arrived(
                now,
                train.number,
                train.packets,
                Duration::from_millis(u64::from(bytes) * 3 * 8 / 2_000),
            );
        }
        if tick > 600 && estimate.bps() > 300_000 {
            found_at.get_or_insert(tick / 10);
        }
    }
    assert!(found_at.is_some_and(|at| at < 60 + 240), "{found_at:?}");
}

#[test]
fn relayed_speech_that_starves_is_spared_and_a_server_that_pauses_costs_nothing() {
    for (waits_for, is_lowered) in [(4, false), (10, true)] {
        let mut link = Link { rate_bps: 1e7, queue_bits: 0.0, longest_queue: TICK, path_loss: 0.0 };
        let mut estimate = UplinkEstimate::new();
        run(&mut estimate, &mut link, Duration::ZERO, 5, 300_000.0);
        let before_bps = estimate.bps();
        assert!(estimate.is_starting());
        for tick in 0..waits_for {
            let seen =
                Observation { relay_waits: Duration::from_millis(600), ..link.carry(300_000.0) };
            estimate.update(Duration::from_secs(5) + TICK * tick, seen);
        }
        assert_eq!(estimate.bps() < before_bps, is_lowered, "{waits_for}");
    }
}
