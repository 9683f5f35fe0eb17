//! Narrow access links: one peer speaks, and either its uplink or the downlink of one listener is
//! limited.
//!
//! The whole matrix runs in the simulator (`tests/sim`); these cases are its corners on real
//! sockets.

use std::time::Duration;

use voicemesh_tests::nets::{Counts, Ended, Exchange, Impairment, Joining, Nat, Speaker, now};

use crate::alone;
use crate::table::{Outcome, Table};
use crate::two_homes::{TwoHomes, server_url, speech};

/// A call begins to count after this.
const SETTLING_S: f64 = 5.0;
const MAX_CONCEALED: f64 = 0.02;
const MAX_GAP_S: f64 = 0.15;
const MAX_DELAY_MS: f64 = 300.0;
/// A delay that the narrow link has anyway, one way.
const LINK_DELAY: Duration = Duration::from_millis(5);
/// The probes of a new link end.
const SETTLED_S: f64 = 4.5;
/// Bucket of a policer.
const POLICER_BURST: u32 = 4_000;

/// One limited link.
pub struct Uplink {
    kbit: u32,
    listeners: u8,
    bottleneck: Bottleneck,
    side: Side,
    /// Length of the call after it has settled.
    seconds: f64,
    direct: Direct,
}

/// When everyone is to be direct.
#[derive(Clone, Copy)]
enum Direct {
    /// That depends.
    AsThereIsRoom,
    /// So long after the last one joined, in seconds.
    Within(f64),
    /// So long after the link became so wide in the middle of the call, in kbit/s and seconds.
    AfterWidening(u32, f64),
}

#[derive(Clone, Copy)]
enum Bottleneck {
    Queue(u64),
    Policer,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// The uplink of the one who speaks.
    Speaker,
    /// The downlink of the first listener.
    Listener,
}

const fn uplink(kbit: u32, listeners: u8, bottleneck: Bottleneck) -> Uplink {
    Uplink {
        kbit,
        listeners,
        bottleneck,
        side: Side::Speaker,
        seconds: 60.0,
        direct: Direct::AsThereIsRoom,
    }
}

const fn downlink(kbit: u32, listeners: u8, bottleneck: Bottleneck) -> Uplink {
    Uplink { side: Side::Listener, ..uplink(kbit, listeners, bottleneck) }
}

/// The one that is run each time.
const SHORT_CASE: &str = "200 kbit/s up, 4 listeners, queue 400 ms, for 20 s";

const CASES: Table<Uplink> = Table {
    title: "Narrow uplinks and downlinks",
    columns: &[
        "routes at the end",
        "all direct after",
        "longest gap",
        "concealed",
        "mouth to ear",
        "as shown",
        "sent by the home",
    ],
    cases: &[
        ("64 kbit/s up, 1 listener, queue 30 ms", uplink(64, 1, Bottleneck::Queue(30))),
        ("64 kbit/s up, 1 listener, queue 400 ms", uplink(64, 1, Bottleneck::Queue(400))),
        ("64 kbit/s up, 1 listener, queue 2 s", uplink(64, 1, Bottleneck::Queue(2_000))),
        ("64 kbit/s up, 1 listener, policer", uplink(64, 1, Bottleneck::Policer)),
        ("64 kbit/s up, 7 listeners, queue 400 ms", uplink(64, 7, Bottleneck::Queue(400))),
        ("100 kbit/s up, 4 listeners, queue 400 ms", uplink(100, 4, Bottleneck::Queue(400))),
        ("128 kbit/s up, 1 listener, queue 2 s", uplink(128, 1, Bottleneck::Queue(2_000))),
        ("200 kbit/s up, 4 listeners, policer", uplink(200, 4, Bottleneck::Policer)),
        ("200 kbit/s up, 4 listeners, queue 400 ms", uplink(200, 4, Bottleneck::Queue(400))),
        (SHORT_CASE, Uplink { seconds: 20.0, ..uplink(200, 4, Bottleneck::Queue(400)) }),
        ("512 kbit/s up, 7 listeners, queue 400 ms", uplink(512, 7, Bottleneck::Queue(400))),
        ("512 kbit/s up, 15 listeners, queue 30 ms", uplink(512, 15, Bottleneck::Queue(30))),
        ("100 kbit/s up, 1 listener, queue 400 ms", uplink(100, 1, Bottleneck::Queue(400))),
        (
            "2 Mbit/s up, 7 listeners, queue 400 ms",
            Uplink {
                seconds: 20.0,
                direct: Direct::Within(10.0),
                ..uplink(2_000, 7, Bottleneck::Queue(400))
            },
        ),
        (
            "100 Mbit/s up, 7 listeners, queue 400 ms",
            Uplink {
                seconds: 10.0,
                direct: Direct::Within(1.0),
                ..uplink(100_000, 7, Bottleneck::Queue(400))
            },
        ),
        (
            "64 kbit/s, then 2 Mbit/s up, 7 listeners, queue 400 ms",
            Uplink {
                seconds: 80.0,
                direct: Direct::AfterWidening(2_000, 30.0),
                ..uplink(64, 7, Bottleneck::Queue(400))
            },
        ),
        (
            "64 kbit/s down at one of 4 listeners, queue 400 ms",
            downlink(64, 4, Bottleneck::Queue(400)),
        ),
        ("100 kbit/s down at one of 4 listeners, policer", downlink(100, 4, Bottleneck::Policer)),
    ],
    run,
};

/// The impaired link itself, seen by a call.
#[test]
fn a_link_of_40_ms_each_way_delays_speech_by_40_ms_and_answers_by_80() {
    let _alone = alone();
    let Some(mut lab) = TwoHomes::with_uplink(
        "a_link_of_40_ms",
        (Nat::PortRestricted, Nat::PortRestricted),
        Some(1),
    ) else {
        return;
    };
    let delay = Impairment::delay(Duration::from_millis(40));
    let link = lab.uplink.as_mut().unwrap_or_else(|| unreachable!("asked for"));
    link.set_up(delay);
    link.set_down(delay);
    lab.serve(&[]);
    let (ada, bob) = lab.call(5.0, &[]);
    let from = ada.joined_at().into_iter().chain(bob.joined_at()).fold(0.0, f64::max) + 1.0;
    // Bob's last status no longer knows Ada, who left first.
    let trip_ms = bob
        .statuses()
        .filter_map(|(_, status)| status["peers"][0]["round_trip_ms"].as_f64())
        .last();
    assert!(trip_ms.is_some_and(|ms| (80.0..140.0).contains(&ms)), "{trip_ms:?}");
    for exchange in [ada.exchange_with(&bob, from), bob.exchange_with(&ada, from)] {
        let delay_ms = exchange.heard.median_delay_after(from);
        assert!(delay_ms.is_some_and(|ms| (60.0..300.0).contains(&ms)), "{delay_ms:?}");
    }
}

/// Bytes on the wire, IP headers included, of one who speaks to one silent listener: direct and
/// relayed.
#[test]
fn a_listener_sends_back_at_most_16_kbit_per_s_and_the_plan_counts_what_the_wire_carries() {
    const COUNTED_S: f64 = 8.0;
    /// A listener reports what it received once a second, in so many bytes.
    const REPORTS_KBIT: f64 = 109.0 * 8.0 / 1e3;
    let _alone = alone();
    for route in ["direct", "relayed"] {
        let test = format!("a_listener_acknowledges_{route}");
        let nats = (Nat::PortRestricted, Nat::PortRestricted);
        let Some(mut lab) = TwoHomes::with_uplink(&test, nats, Some(1)) else { return };
        lab.serve(&[]);
        let url = server_url();
        let joining = |speech| Joining::new(&url, "lab", speech);
        let joining = |speech| {
            if route == "direct" {
                joining(speech)
            } else {
                joining(speech).with(&["--relay-only"])
            }
        };
        let ada = Speaker::join(&lab.ada, "ada", &lab.folder, &joining(Some(speech(1))));
        let mut bob = Speaker::join(&lab.bob, "bob", &lab.folder, &joining(None));
        bob.wait_for_route("ada", route, Duration::from_secs(10));
        bob.go_on_for(SETTLED_S);
        let link = lab.uplink.as_mut().unwrap_or_else(|| unreachable!("asked for"));
        let (began_at, before) = (now(), link.counts());
        bob.go_on_for(COUNTED_S);
        let (ended_at, after) = (now(), link.counts());
        let ada = ada.leave();
        let kbit = |before: Counts, after: Counts| {
            after.ip_bytes_since(before) as f64 * 8.0 / 1e3 / (ended_at - began_at)
        };
        let (speaker, listener) = (kbit(before.0, after.0), kbit(before.1, after.1));
        let planned: Vec<f64> = ada
            .statuses()
            .filter(|(at, _)| (began_at..ended_at).contains(at))
            .filter_map(|(_, status)| status["sending"]["uplink_bps"].as_f64())
            .collect();
        let planned = planned.iter().sum::<f64>() / planned.len() as f64 / 1e3;
        println!(
            "{route}: the speaker sent {speaker:.1} kbit/s, {planned:.1} by its plan; what came back: {listener:.1} kbit/s"
        );
        // What comes back of relayed speech is TCP's.
        assert!(
            route != "direct" || listener - REPORTS_KBIT <= 16.0,
            "a listener sends {listener:.1} kbit/s"
        );
        assert!(
            (speaker / planned - 1.0).abs() <= 0.05,
            "{route}: {speaker:.1} kbit/s, {planned:.1} by the plan"
        );
    }
}

/// Two people who say nothing: everything that they send and receive, the connection to the server
/// included.
#[test]
fn a_link_without_speech_costs_less_than_1_kbit_per_s_each_way() {
    const COUNTED_S: f64 = 30.0;
    let _alone = alone();
    let nats = (Nat::PortRestricted, Nat::PortRestricted);
    let test = "a_link_without_speech";
    let Some(mut lab) = TwoHomes::with_uplink(test, nats, Some(1)) else { return };
    lab.serve(&[]);
    let url = server_url();
    let join =
        |host, name| Speaker::join(host, name, &lab.folder, &Joining::new(&url, "lab", None));
    let (_ada, mut bob) = (join(&lab.ada, "ada"), join(&lab.bob, "bob"));
    bob.wait_for_route("ada", "direct", Duration::from_secs(10));
    bob.go_on_for(SETTLED_S);
    let link = lab.uplink.as_mut().unwrap_or_else(|| unreachable!("asked for"));
    let before = link.counts();
    let began_at = now();
    bob.go_on_for(COUNTED_S);
    let after = link.counts();
    let seconds = now() - began_at;
    for (way, before, after) in [("up", before.0, after.0), ("down", before.1, after.1)] {
        let kbit = |bytes: u64| bytes as f64 * 8.0 / 1e3 / seconds;
        let (all, dtls) =
            (kbit(after.ip_bytes_since(before)), kbit(after.dtls_bytes_since(before)));
        let frames = (after.frames - before.frames, after.dtls_frames - before.dtls_frames);
        println!(
            "{way}: {all:.2} kbit/s in {} packets, {dtls:.2} of it DTLS in {}, in {seconds:.1} s",
            frames.0, frames.1
        );
        // Two to four checks of ICE in 6 s: one that comes as the own one is due is answered by
        // another. And what TCP to the server acknowledges by itself.
        assert!(all <= 1.0, "{way}: {all:.2} kbit/s");
        // Probes beside answered keep-alives would be; so was what opened the link.
        assert!(before.dtls_bytes > 0, "{way}: DTLS is not seen");
        assert!(dtls <= 0.1, "{way}: {dtls:.2} kbit/s");
    }
}

#[test]
fn four_links_that_open_on_200_kilobits_while_speech_is_sent_cost_it_nothing() {
    CASES.run_one(SHORT_CASE);
}

#[test]
#[ignore = "the whole table: make test-long PART=nets-uplinks"]
fn uplinks_table() {
    CASES.run_all();
}

fn run(name: &str, case: &Uplink) -> Option<Outcome> {
    call(name, case).map(|call| call.judge())
}

/// A call that has ended.
struct Call {
    speaker: Ended,
    listeners: Vec<Ended>,
    /// What counts begins here.
    from: f64,
    direct: Direct,
    direct_from: f64,
    /// What the home sent in all.
    rate_kbit: f64,
}

/// The worst of all listeners.
#[derive(Debug)]
struct Worst {
    gap_s: f64,
    concealed: f64,
    delay_ms: f64,
    /// How far what a listener's program shows is from that, where it shows something.
    shown_off_by_ms: Option<f64>,
    /// Share of the time in which it shows nothing.
    unknown: f64,
    /// Listeners that heard nothing.
    silent: usize,
}

fn call(name: &str, case: &Uplink) -> Option<Call> {
    let mut lab = TwoHomes::with_uplink(name, (Nat::PortRestricted, Nat::PortRestricted), Some(1))?;
    lab.serve(&[]);
    let limited = Impairment { delay: LINK_DELAY, ..case.bottleneck.impairment(case.kbit) };
    let free = Impairment::delay(LINK_DELAY);
    let link = lab.uplink.as_mut().unwrap_or_else(|| unreachable!("asked for"));
    // The limited home is Ada's: she speaks into it or listens behind it.
    let (up, down) = if case.side == Side::Speaker { (limited, free) } else { (free, limited) };
    link.set_up(up);
    link.set_down(down);

    let url = server_url();
    let speaking = Joining::new(&url, "lab", Some(speech(1)));
    let listening = Joining::new(&url, "lab", None);
    let (ada_does, bob_does) =
        if case.side == Side::Speaker { (&speaking, &listening) } else { (&listening, &speaking) };
    let ada = Speaker::join(&lab.ada, "ada", &lab.folder, ada_does);
    let bob = Speaker::join(&lab.bob, "bob", &lab.folder, bob_does);
    let office = lab.internet.public_host("office", 60);
    let (speaker, first) = if case.side == Side::Speaker { (ada, bob) } else { (bob, ada) };
    let others = (1..case.listeners)
        .map(|number| Speaker::join(&office, &format!("guest{number}"), &lab.folder, &listening));
    let mut listeners: Vec<Speaker> = std::iter::once(first).chain(others).collect();
    lab.others.push(office);
    let mut joined_at = 0.0;
    for listener in &mut listeners {
        joined_at = listener.wait_for("connected").max(joined_at);
    }
    let direct_from = match case.direct {
        Direct::AfterWidening(kbit, _) => {
            listeners[0].go_on_for(SETTLING_S + case.seconds / 2.0);
            let link = lab.uplink.as_mut().unwrap_or_else(|| unreachable!("asked for"));
            link.set_up(Impairment { delay: LINK_DELAY, ..case.bottleneck.impairment(kbit) });
            let widened_at = now();
            listeners[0].go_on_for(case.seconds / 2.0);
            widened_at
        }
        Direct::AsThereIsRoom | Direct::Within(_) => {
            listeners[0].go_on_for(SETTLING_S + case.seconds);
            joined_at
        }
    };

    let (sent, _) = lab.uplink.as_mut().map(|link| link.counts()).unwrap_or_default();
    let speaker = speaker.leave();
    let listeners: Vec<Ended> = listeners.into_iter().map(Speaker::leave).collect();
    let rate_kbit = sent.bytes as f64 * 8.0 / 1e3 / (SETTLING_S + case.seconds);
    Some(Call {
        speaker,
        listeners,
        from: joined_at + SETTLING_S,
        direct: case.direct,
        direct_from,
        rate_kbit,
    })
}

impl Bottleneck {
    fn impairment(self, kbit: u32) -> Impairment {
        match self {
            Self::Queue(ms) => Impairment::rate(kbit, Duration::from_millis(ms)),
            Self::Policer => Impairment::policed(kbit, POLICER_BURST),
        }
    }
}

impl Call {
    /// To how many listeners speech went this way at the end.
    fn count(&self, route: &str) -> usize {
        self.listeners
            .iter()
            .filter(|listener| self.speaker.route_to(listener.name()) == route)
            .count()
    }

    /// After how long the last one was direct, if all were at the end.
    fn all_direct_after(&self) -> Option<f64> {
        let since = |listener: &Ended| {
            self.speaker.last_route_to(listener.name()).filter(|(_, route)| *route == "direct")
        };
        let since: Option<Vec<f64>> = self
            .listeners
            .iter()
            .map(|listener| since(listener).map(|(at, _)| at - self.direct_from))
            .collect();
        since.map(|since| since.into_iter().fold(0.0, f64::max))
    }

    fn worst(&self) -> Worst {
        let from = self.from;
        let all: Vec<Exchange> = self
            .listeners
            .iter()
            .map(|listener| listener.exchange_with(&self.speaker, from))
            .collect();
        Worst {
            gap_s: all
                .iter()
                .map(|exchange| exchange.heard.longest_gap_after(from))
                .fold(0.0, f64::max),
            concealed: all.iter().filter_map(|exchange| exchange.concealed).fold(0.0, f64::max),
            delay_ms: all
                .iter()
                .filter_map(|exchange| exchange.heard.median_delay_after(from))
                .fold(0.0, f64::max),
            shown_off_by_ms: all
                .iter()
                .filter_map(|exchange| exchange.shown_delay_off_by(from))
                .max_by(f64::total_cmp),
            unknown: all
                .iter()
                .map(|exchange| exchange.delay_unknown_after(from))
                .fold(0.0, f64::max),
            silent: all.iter().filter(|exchange| exchange.heard.delays.is_empty()).count(),
        }
    }

    fn judge(&self) -> Outcome {
        let Worst { gap_s, concealed, delay_ms, shown_off_by_ms, unknown, silent } = self.worst();
        let direct_after = self.all_direct_after();
        let mut outcome = Outcome {
            figures: vec![
                format!("{} direct, {} relayed", self.count("direct"), self.count("relayed")),
                direct_after.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s")),
                format!("{:.0} ms", gap_s * 1e3),
                format!("{:.1} %", concealed * 100.0),
                format!("{delay_ms:.0} ms"),
                format!(
                    "{}, unknown {:.0} %",
                    shown_off_by_ms.map_or("–".to_owned(), |ms| format!("± {ms:.0} ms")),
                    unknown * 100.0
                ),
                format!("{:.0} kbit/s", self.rate_kbit),
            ],
            held_up_ms: std::iter::once(&self.speaker)
                .chain(&self.listeners)
                .map(|peer| peer.held_up_ms)
                .sum(),
            ..Outcome::default()
        };
        outcome.check(silent == 0, || format!("{silent} listeners heard nothing"));
        outcome.check(gap_s <= MAX_GAP_S, || "a gap above 150 ms".to_owned());
        outcome.check(concealed <= MAX_CONCEALED, || "more than 2 % concealed".to_owned());
        outcome.check(delay_ms <= MAX_DELAY_MS, || "mouth to ear above 300 ms".to_owned());
        if let Direct::Within(limit_s) | Direct::AfterWidening(_, limit_s) = self.direct {
            let is_in_time = direct_after.is_some_and(|after_s| after_s <= limit_s);
            outcome.check(is_in_time, || format!("not all direct within {limit_s} s"));
        }
        outcome
    }
}
