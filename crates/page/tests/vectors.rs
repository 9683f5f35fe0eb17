//! The simulated uplinks of `tests/vectors/uplink.json`: what is decided over each.
//! `web/test/uplink.test.js` runs the same with the module that the page loads. `scripts/page.sh`
//! writes the file anew.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use voicemesh_page::{Sender, WORDS};
use voicemesh_uplink::policy::LossReport;

const VECTORS: &str = "../../tests/vectors/uplink.json";
const STEP_MS: u64 = 20;
/// From the end of the uplink to the listener, or to the server, and the same back.
const WAY_MS: u64 = 10;
const PING_BYTES: u64 = 100;
const HEADER_BYTES: u64 = 24;

#[derive(Clone, Copy)]
enum Sent {
    Link { who: u32, sequence: u16 },
    Relay,
    Ping { number: u16 },
    Probe { who: u32, number: u16, packet: u32 },
}

/// A queue of `queue_ms` before a line of `kbps`.
struct Uplink {
    kbps: u64,
    queue_ms: u64,
    free_at_us: u64,
    /// When each packet arrives, in the order in which they were sent.
    on_the_way: VecDeque<(u64, Sent)>,
    dropped: u64,
}

impl Uplink {
    fn send(&mut self, now_ms: u64, bytes: u64, sent: Sent) {
        let now_us = now_ms * 1_000;
        if self.free_at_us > now_us + self.queue_ms * 1_000
            && matches!(sent, Sent::Link { .. } | Sent::Probe { .. })
        {
            self.dropped += 1;
            return;
        }
        self.free_at_us = self.free_at_us.max(now_us) + bytes * 8_000 / self.kbps;
        self.on_the_way.push_back((self.free_at_us + WAY_MS * 1_000, sent));
    }
}

#[derive(Default)]
struct Listener {
    newest: Option<u16>,
    earlier: u32,
    waiting: u64,
    expected: u16,
    lost: u16,
}

/// One speaker without a pause; a row each second, and what decided them.
fn run(case: &Value) -> (Vec<Value>, Sender) {
    let number = |key: &str| case[key].as_u64().unwrap();
    let (listeners, seconds, queue_ms) =
        (number("listeners"), number("seconds"), number("queue_ms"));
    let mut uplink = Uplink {
        kbps: number("kbps"),
        queue_ms,
        free_at_us: 0,
        on_the_way: VecDeque::new(),
        dropped: 0,
    };
    let mut sender = Sender::new(32_000);
    let mut heard: BTreeMap<u32, Listener> =
        (1..=listeners as u32).map(|who| (who, Listener::default())).collect();
    let (mut acks, mut answers, mut reports) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
    let (mut train_packets, mut train_began_us, mut told) = (0, 0, [0; 3]);
    let mut words = [0; WORDS];
    let (mut bitrate_bps, mut state, mut sequence, mut relay_waiting) =
        (32_000, vec![(0, 1); listeners as usize], 0_u16, 0);
    let mut rows = Vec::new();
    for now_ms in (0..seconds * 1_000).step_by(STEP_MS as usize) {
        let now = Duration::from_millis(now_ms);
        if now_ms == number("changes_at_ms") {
            uplink.kbps = number("kbps_then");
        }
        while let Some((at_us, sent)) =
            uplink.on_the_way.pop_front_if(|(at_us, _)| *at_us <= now_ms * 1_000)
        {
            match sent {
                Sent::Link { who, sequence } => {
                    let listener = heard.get_mut(&who).unwrap();
                    let ahead = listener
                        .newest
                        .map_or(0, |newest| u32::from(sequence.wrapping_sub(newest)));
                    listener.earlier = match ahead {
                        0 => 0,
                        1..=31 => listener.earlier << ahead | 1 << (ahead - 1),
                        _ => 0,
                    };
                    listener.newest = Some(sequence);
                    acks.push_back((
                        now_ms + WAY_MS,
                        who,
                        sequence,
                        listener.earlier,
                        at_us / 1_000,
                    ));
                }
                Sent::Relay => {}
                Sent::Ping { number } => answers.push_back((now_ms + WAY_MS, number)),
                Sent::Probe { packet: 1, .. } => train_began_us = at_us,
                Sent::Probe { who, number, packet } => {
                    if packet == train_packets {
                        reports.push_back((
                            now_ms + WAY_MS,
                            who,
                            number,
                            packet as u8,
                            at_us - train_began_us,
                        ));
                    }
                }
            }
        }
        while let Some((_, who, newest, earlier, at_ms)) =
            acks.pop_front_if(|(at, ..)| *at <= now_ms)
        {
            sender.acknowledged(now, who, 1, newest, earlier, Some(at_ms as u32));
        }
        while let Some((_, number)) = answers.pop_front_if(|(at, _)| *at <= now_ms) {
            sender.answered(now, number);
        }
        while let Some((_, who, number, received, span_us)) =
            reports.pop_front_if(|(at, ..)| *at <= now_ms)
        {
            sender.train_arrived(now, who, number, received, Duration::from_micros(span_us));
        }
        for (at, who) in (1..=listeners as u32).enumerate() {
            words[2 * at..2 * at + 2].copy_from_slice(&[who, 3]);
        }
        let asked = listeners as usize;
        let decided = match sender.is_silent(now) {
            true => {
                sender.begin(now, asked, &mut words);
                true
            }
            false => sender.update(now, asked, &mut words),
        };
        if decided {
            bitrate_bps = words[5];
            told = [words[7], words[8], words[9]];
            for (at, state) in state.iter_mut().enumerate() {
                let ways = words[16 + 2 * at + 1];
                *state = (ways & 1, u64::from(ways >> 8));
            }
        }
        if decided && words[1] > 0 {
            train_packets = words[1];
            for packet in 1..=train_packets {
                let sent = Sent::Probe { who: words[2], number: words[3] as u16, packet };
                uplink.send(now_ms, u64::from(words[4]) + 12 + 85, sent);
            }
            sender.train_sent(words[4] + 12);
        }
        // A frame for each.
        let frame_bytes = u64::from(bitrate_bps) / 400;
        sequence = sequence.wrapping_add(1);
        let packet_bytes = |frames: u64| HEADER_BYTES + frames * frame_bytes + (frames - 1) * 3;
        let mut relayed_frames = 0;
        for (who, listener) in &mut heard {
            let (relayed, frames) = state[*who as usize - 1];
            if relayed != 0 {
                relayed_frames = frames.max(relayed_frames);
                continue;
            }
            listener.waiting += 1;
            if listener.waiting >= frames {
                let bytes = packet_bytes(listener.waiting);
                listener.waiting = 0;
                sender.sent(now, *who, 1, sequence, bytes as u32);
                let dropped = uplink.dropped;
                uplink.send(now_ms, bytes + 85, Sent::Link { who: *who, sequence });
                listener.expected += 1;
                listener.lost += (uplink.dropped - dropped) as u16;
            }
        }
        if relayed_frames > 0 {
            relay_waiting += 1;
            if relay_waiting >= relayed_frames {
                let bytes = packet_bytes(relay_waiting) + 10 + 2 * listeners;
                relay_waiting = 0;
                sender.relay_sent(bytes as u32);
                uplink.send(now_ms, bytes + 75, Sent::Relay);
            }
        }
        sender.frame_sent(now);
        if let Some(number) = sender.ping_due(now) {
            uplink.send(now_ms, PING_BYTES, Sent::Ping { number });
        }
        if now_ms % 1_000 == 980 {
            for (who, listener) in &mut heard {
                let (expected, lost) =
                    (std::mem::take(&mut listener.expected), std::mem::take(&mut listener.lost));
                sender.report(
                    now,
                    *who,
                    LossReport {
                        expected,
                        lost,
                        unrepaired: lost,
                        mean_run: 1.0,
                        buffer: Duration::ZERO,
                    },
                );
            }
            let relayed = state.iter().filter(|(relayed, _)| *relayed != 0).count();
            let [copies, estimate, is_too_slow] = told;
            let opening_waits =
                sender.opening_begins(now).map_or_else(|at| at - now, |_| Duration::ZERO);
            rows.push(json!([
                bitrate_bps,
                state[0].1,
                relayed,
                copies,
                estimate,
                is_too_slow,
                uplink.dropped,
                (opening_waits.as_micros() as u64 + 500) / 1_000
            ]));
        }
    }
    (rows, sender)
}

#[test]
fn uplinks_are_followed_as_the_vectors_say() {
    let mut vectors: Value =
        serde_json::from_str(&std::fs::read_to_string(VECTORS).unwrap()).unwrap();
    let write = std::env::var_os("WRITE_VECTORS").is_some();
    for case in vectors["cases"].as_array_mut().unwrap() {
        let (rows, _) = run(case);
        if write {
            case["rows"] = Value::Array(rows);
        } else {
            assert_eq!(
                Value::Array(rows),
                case["rows"],
                "{}: scripts/page.sh writes the rows anew",
                case["name"]
            );
        }
    }
    if write {
        std::fs::write(VECTORS, text(&vectors)).unwrap();
    }
}

#[test]
fn half_a_minute_after_speech_lacked_room_links_open_together_again() {
    let case = json!({"listeners": 1, "kbps": 64, "kbps_then": 64, "changes_at_ms": 0,
        "queue_ms": 400, "seconds": 20});
    let (_, mut sender) = run(&case);
    // What the estimate keeps apart is not what is tested.
    sender.network_changed();
    let seconds = Duration::from_secs;
    assert!(sender.opening_begins(seconds(20)).is_err(), "speech goes on");
    sender.look_for_room(seconds(22));
    assert!(sender.is_silent(seconds(22)));
    assert!(sender.opening_begins(seconds(40)).is_ok());
    assert!(sender.opening_begins(seconds(40)).is_err(), "one after another");
    assert!(sender.opening_begins(seconds(52)).is_ok());
    assert!(sender.opening_begins(seconds(52)).is_ok(), "though nothing asked meanwhile");
}

/// A case on a line and its rows on the next.
fn text(vectors: &Value) -> String {
    let case = |case: &Value| {
        let mut about = case.as_object().unwrap().clone();
        let rows = about.remove("rows").unwrap();
        let about = serde_json::to_string(&about).unwrap();
        format!("  {},\n   \"rows\": {rows}}}", &about[..about.len() - 1])
    };
    let cases: Vec<_> = vectors["cases"].as_array().unwrap().iter().map(case).collect();
    format!("{{\n \"about\": {},\n \"cases\": [\n{}\n ]\n}}\n", vectors["about"], cases.join(",\n"))
}
