use super::*;
use crate::{Loss, Path};

const PACKET_BYTES: usize = 100;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rough() -> Conditions {
    Conditions {
        latency: ms(30),
        jitter: ms(20),
        loss: Loss::Random(0.1),
        duplicate: 0.05,
        reorder: 0.05,
        held_back: ms(40),
        bytes_per_second: None,
    }
}

/// Sends numbers 20 ms apart and says what arrived when.
fn trace(mode: Mode, conditions: Conditions, seed: u64, packets: u64) -> Vec<(Duration, u64)> {
    let mut channel = Channel::new(mode, conditions, seed, 0);
    let mut arrivals = Vec::new();
    for number in 0..packets {
        let now = ms(20 * number);
        channel.send(now, PACKET_BYTES, number).unwrap();
        drain(&mut channel, now, &mut arrivals);
    }
    while let Some(at) = channel.next_at() {
        drain(&mut channel, at, &mut arrivals);
    }
    assert_eq!(channel.in_flight(), 0);
    arrivals
}

fn drain(channel: &mut Channel<u64>, now: Duration, arrivals: &mut Vec<(Duration, u64)>) {
    while let Some(at) = channel.next_at().filter(|at| *at <= now) {
        arrivals.push((at, channel.poll(now).unwrap()));
    }
}

/// proves: B-06
#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    for mode in [Mode::Reliable, Mode::Unreliable] {
        assert_eq!(trace(mode, rough(), 1, 2000), trace(mode, rough(), 1, 2000));
        assert_ne!(trace(mode, rough(), 1, 2000), trace(mode, rough(), 2, 2000));
    }
}

#[test]
fn paths_with_one_seed_and_different_numbers_lose_different_packets() {
    let arrivals = |number| {
        let mut path = Path::new(rough(), 7, number);
        (0..100u64).for_each(|n| path.send(ms(n), Mode::Unreliable, PACKET_BYTES, n).unwrap());
        std::iter::from_fn(|| path.poll(ms(10_000))).collect::<Vec<_>>()
    };
    assert_eq!(arrivals(3), arrivals(3));
    assert_ne!(arrivals(3), arrivals(4));
}

#[test]
fn as_many_packets_are_lost_as_configured() {
    let bursts = Loss::Bursts { to_bad: 0.02, to_good: 0.25, while_good: 0.01, while_bad: 0.8 };
    for loss in [Loss::Random(0.05), Loss::Random(0.3), bursts] {
        let packets = 50_000;
        let arrived =
            trace(Mode::Unreliable, Conditions { loss, ..Conditions::default() }, 3, packets).len();
        let lost = 1.0 - arrived as f64 / packets as f64;
        assert!((lost - loss.share()).abs() < 0.01, "{lost} of {loss:?}");
    }
}

#[test]
fn bursts_lose_packets_in_a_row() {
    let lost_after_a_loss = |loss| {
        let arrived =
            trace(Mode::Unreliable, Conditions { loss, ..Conditions::default() }, 5, 20_000);
        let mut came = vec![false; 20_000];
        arrived.iter().for_each(|(_, number)| came[*number as usize] = true);
        let pairs = came.windows(2).filter(|pair| !pair[0]);
        let (lost, all) =
            pairs.fold((0, 0), |(lost, all), pair| (lost + u32::from(!pair[1]), all + 1));
        f64::from(lost) / f64::from(all)
    };
    let bursts = Loss::Bursts { to_bad: 0.05, to_good: 0.2, while_good: 0.0, while_bad: 1.0 };
    assert!((lost_after_a_loss(bursts) - 0.8).abs() < 0.03);
    assert!((lost_after_a_loss(Loss::Random(bursts.share())) - 0.2).abs() < 0.03);
}

#[test]
fn a_reliable_pipe_delivers_everything_once_and_in_order_however_much_is_lost() {
    let conditions = Conditions { loss: Loss::Random(0.5), ..rough() };
    let arrivals = trace(Mode::Reliable, conditions, 9, 3000);
    assert!(arrivals.iter().map(|(_, number)| *number).eq(0..3000));
    assert!(arrivals.is_sorted_by_key(|(at, _)| *at));
    let latest = arrivals.iter().map(|(at, number)| *at - ms(20 * number)).max().unwrap();
    assert!(latest > RETRANSMIT_AFTER, "a loss costs time: {latest:?}");
}

#[test]
fn an_unreliable_pipe_doubles_reorders_and_takes_the_time_that_it_is_told() {
    let arrivals = trace(Mode::Unreliable, rough(), 11, 20_000);
    let mut times = vec![0u32; 20_000];
    arrivals.iter().for_each(|(_, number)| times[*number as usize] += 1);
    let doubled = times.iter().filter(|times| **times == 2).count() as f64 / 18_000.0;
    assert!((doubled - 0.05).abs() < 0.01, "{doubled}");
    assert!(times.iter().all(|times| *times <= 2));
    assert!(!arrivals.is_sorted_by_key(|(_, number)| *number));
    for (at, number) in arrivals {
        let took = at - ms(20 * number);
        assert!(took >= ms(30) && took <= ms(90), "{took:?}");
    }
}

#[test]
fn a_rate_limit_spreads_packets_and_drops_what_would_wait_too_long() {
    let conditions = Conditions { bytes_per_second: Some(10_000), ..Conditions::default() };
    let mut channel = Channel::new(Mode::Unreliable, conditions, 1, 0);
    (0..1000u64).for_each(|number| channel.send(ms(0), PACKET_BYTES, number).unwrap());
    let mut arrivals = Vec::new();
    drain(&mut channel, ms(60_000), &mut arrivals);
    assert_eq!(arrivals[..3], [(ms(10), 0), (ms(20), 1), (ms(30), 2)]);
    assert_eq!(arrivals.len() as u128, 1 + LONGEST_WAIT_TO_LEAVE.as_millis() / 10);
    assert_eq!(channel.counts().overflowed, 1000 - arrivals.len() as u64);
    let mut reliable = Channel::new(Mode::Reliable, conditions, 1, 0);
    let refused = (0..1000u64).find_map(|number| reliable.send(ms(0), PACKET_BYTES, number).err());
    assert_eq!(refused, Some(ChannelSendError::Full));
}

#[test]
fn what_is_on_its_way_is_bounded() {
    for mode in [Mode::Reliable, Mode::Unreliable] {
        let mut channel =
            Channel::new(mode, Conditions { duplicate: 1.0, ..Conditions::default() }, 1, 0);
        let results = (0..2 * IN_FLIGHT).map(|number| channel.send(ms(0), 1, number));
        let refused = results.filter(|result| *result == Err(ChannelSendError::Full)).count();
        assert!(channel.in_flight() <= IN_FLIGHT);
        assert_eq!(refused > 0, mode == Mode::Reliable);
        assert!(channel.counts().overflowed > 0);
    }
}

#[test]
fn a_cut_pipe_loses_what_was_on_its_way_and_starts_anew() {
    for mode in [Mode::Reliable, Mode::Unreliable] {
        let mut channel = Channel::new(mode, Conditions::delay(ms(50)), 1, 0);
        channel.send(ms(0), 1, 'a').unwrap();
        channel.set_state(ms(10), State::Cut);
        assert_eq!(channel.send(ms(20), 1, 'b').is_err(), mode == Mode::Reliable);
        assert_eq!(channel.next_at(), None);
        channel.set_state(ms(30), State::Open);
        channel.send(ms(40), 1, 'c').unwrap();
        assert_eq!(channel.poll(ms(89)), None);
        assert_eq!(channel.poll(ms(90)), Some('c'));
        assert_eq!(channel.poll(ms(1000)), None);
    }
}

#[test]
fn a_stalled_pipe_keeps_what_is_reliable_and_loses_the_rest() {
    let mut path = Path::new(Conditions::delay(ms(50)), 1, 0);
    path.send(ms(0), Mode::Reliable, 1, 'a').unwrap();
    path.send(ms(0), Mode::Unreliable, 1, 'b').unwrap();
    path.set_state(ms(10), State::Stalled);
    path.send(ms(20), Mode::Unreliable, 1, 'c').unwrap();
    path.send(ms(20), Mode::Reliable, 1, 'd').unwrap();
    assert_eq!((path.poll(ms(1000)), path.next_at()), (None, None));
    path.set_state(ms(2000), State::Open);
    assert_eq!(path.poll(ms(2000)), Some((Mode::Reliable, 'a')));
    assert_eq!(path.poll(ms(2000)), Some((Mode::Reliable, 'd')));
    assert_eq!(path.poll(ms(2000)), None);
}

#[test]
fn a_path_gives_out_what_arrived_first() {
    let mut path = Path::new(Conditions::delay(ms(50)), 1, 0);
    path.send(ms(0), Mode::Reliable, 1, 1).unwrap();
    path.send(ms(5), Mode::Unreliable, 1, 2).unwrap();
    path.send(ms(10), Mode::Reliable, 1, 3).unwrap();
    assert_eq!(path.next_at(), Some(ms(50)));
    let order: Vec<_> =
        std::iter::from_fn(|| path.poll(ms(100))).map(|(_, number)| number).collect();
    assert_eq!(order, [1, 2, 3]);
}
