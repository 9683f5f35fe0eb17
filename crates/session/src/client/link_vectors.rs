//! The scripted cases of `tests/vectors/links.json`, which the page's tests run as well.

use std::time::Duration;

use serde_json::{Value, json};
use voicemesh_wire::ClientId;
use voicemesh_wire::packet::{BandwidthProbe, VoiceAck};

use super::bandwidth::TrainReceiver;
use super::health::{AckDue, Health, SpeechPacket};

/// Runs every case of one part: `run` gets what is given at each millisecond and returns what is
/// due then.
fn check<R: FnMut(u64, &[Value]) -> Vec<Value>>(part: &str, mut start: impl FnMut() -> R) {
    let vectors: Value = serde_json::from_str(voicemesh_vectors::LINKS).unwrap();
    for case in vectors[part].as_array().unwrap() {
        let given = case["given"].as_array().unwrap();
        let mut run = start();
        let mut seen = Vec::new();
        for now in 0..=case["until"].as_u64().unwrap() {
            let given: Vec<_> = given.iter().filter(|given| given[0] == now).cloned().collect();
            seen.extend(run(now, &given));
        }
        assert_eq!(Value::Array(seen), case["expected"], "{part}: {}", case["name"]);
    }
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    value.as_u64().and_then(|number| T::try_from(number).ok()).expect("a number within its bounds")
}

#[test]
fn acknowledgements_are_due_as_the_vectors_say() {
    check("acknowledgements", || {
        let mut due = AckDue::default();
        move |now, given| {
            for packet in given {
                due.received(Duration::from_millis(now), number(&packet[1]));
            }
            let received = due.take(Duration::from_millis(now));
            let ack = received
                .map(|ack| json!([now, ack.newest, ack.earlier, ack.at.as_millis() as u64]));
            ack.into_iter().collect()
        }
    });
}

#[test]
fn trains_are_reported_as_the_vectors_say() {
    check("trains", || {
        let mut receiver = TrainReceiver::default();
        move |now, given| {
            for probe in given {
                let (train, packets) = (number(&probe[1]), number(&probe[2]));
                let probe = BandwidthProbe { sender: ClientId(1), train, packets, padding: 0 };
                receiver.received(Duration::from_millis(now), probe);
            }
            let report = receiver.report(Duration::from_millis(now), ClientId(2));
            report
                .map(|report| json!([now, report.train, report.received, report.span_us]))
                .into_iter()
                .collect()
        }
    });
}

#[test]
fn links_are_probed_and_found_stalled_as_the_vectors_say() {
    check("health", || {
        let mut health = Health::new(Duration::ZERO, 0);
        let (mut speaks, mut was_stalled) = (None::<(u64, u16)>, false);
        move |now_ms, given| {
            let now = Duration::from_millis(now_ms);
            for given in given {
                match given[1].as_str().unwrap() {
                    "speaks" => speaks = Some((now_ms, number(&given[2]))),
                    "silent" => speaks = None,
                    "sent" => {
                        health.sent(now, SpeechPacket { sequence: number(&given[2]), frames: 1 });
                    }
                    "acknowledged" => {
                        let newest = number(&given[2]);
                        health.acknowledged(
                            now,
                            VoiceAck { sender: ClientId(1), newest, earlier: 0, received_ms: None },
                        );
                    }
                    "answered" => {
                        health.answered(now, number(&given[2]));
                    }
                    "heard" => health.heard(now),
                    other => panic!("{other}"),
                }
            }
            if let Some((_, next)) =
                speaks.as_mut().filter(|(since, _)| (now_ms - *since).is_multiple_of(20))
            {
                health.sent(now, SpeechPacket { sequence: *next, frames: 1 });
                *next += 1;
            }
            let is_sound = was_stalled && !health.is_stalled();
            let actions = health.update(now);
            was_stalled = health.is_stalled();
            let mut due = Vec::new();
            due.extend(is_sound.then(|| json!([now_ms, "sound", 0])));
            due.extend(actions.stalled_now.then(|| json!([now_ms, "stalled", 0])));
            due.extend(actions.replace.then(|| json!([now_ms, "replace", 0])));
            due.extend(actions.probe.map(|token| json!([now_ms, "probe", token])));
            due
        }
    });
}
