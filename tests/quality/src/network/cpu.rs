//! What hearing costs: processor time of one listener, network and encoding not counted.

use std::time::Duration;

use voicemesh_audio::{BLOCK_SAMPLES, FrameDuration};

use super::hearers::{Hearer, Ours};
use super::path::{Packet, Path, PathConditions};
use super::speaker::Sending;
use super::{PLAIN_BPS, repeated};
use crate::report::Row;

/// How much sound is heard.
const SECONDS: usize = 120;

/// What of a core's time one heard speaker takes.
#[must_use]
pub fn figures() -> Vec<Row> {
    [
        ("perfect network", PathConditions::Perfect),
        ("jitter, mean 15 ms, stretched all the time", PathConditions::Jitter(15.0)),
    ]
    .into_iter()
    .map(|(name, conditions)| {
        Row::new("one heard speaker", name, percent_of_a_core(conditions), "% of a core")
            .at_most(0.5)
    })
    .collect()
}

fn percent_of_a_core(conditions: PathConditions) -> f64 {
    let (once, _) = repeated("reader", 1);
    let (_, spoken) = repeated("reader", (SECONDS * 48_000).div_ceil(once));
    let sending =
        Sending { offsets: vec![2], ..Sending::plain(FrameDuration::Ms20, PLAIN_BPS / 2, 10) };
    let arrivals = arrivals(&sending.packets(&spoken), conditions);
    let mut ours = Ours::new(&sending);
    let mut out = [0.0; BLOCK_SAMPLES];
    let before = processor_time();
    for (tick, packets) in arrivals.iter().enumerate() {
        let now = Duration::from_millis(10 * tick as u64);
        for (at, packet) in packets {
            ours.receive(*at, packet);
        }
        ours.render(now, &mut out);
    }
    let spent = processor_time() - before;
    100.0 * spent.as_secs_f64() / (arrivals.len() as f64 * 0.01)
}

/// What arrives before each block.
fn arrivals(packets: &[Packet], conditions: PathConditions) -> Vec<Vec<(Duration, Packet)>> {
    let mut path = Path::new(conditions, 1);
    let mut packets = packets.iter();
    (0..SECONDS as u64 * 100)
        .map(|tick| {
            let now = Duration::from_millis(10 * tick);
            if tick % 2 == 0
                && let Some(packet) = packets.next()
            {
                path.send(now, packet.clone());
            }
            std::iter::from_fn(|| path.poll(now)).collect()
        })
        .collect()
}

/// The processor time of this process, in the kernel's steps of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .unwrap_or_else(|error| panic!("/proc/self/stat: {error}"));
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
