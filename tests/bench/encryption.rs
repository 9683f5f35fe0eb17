//! What end-to-end encryption costs: sealing and opening a frame of speech, what it adds to the
//! frame, and the keys of a join to a room of 50. All in this process, on one thread, with nothing
//! sent.

use std::hint::black_box;
use std::time::Duration;

use voicemesh_e2ee::{Configuration, KeyRing, Label, RoomKey, Seed};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::{PeerId, SessionId};

use crate::machine::cpu_time;
use crate::report::Row;
use crate::run::Scale;

const ORIGIN: &str = "wss://voice.example";
const ROOM: &str = "lobby";
/// Of one figure; in a tenth of them the kernel's steps of 10 ms are still small.
const FRAMES: usize = 1_000_000;
/// 20 ms at 24 kbit/s.
const FRAME_BYTES: usize = 60;
/// What of a packet of speech to one group is in the clear.
const CLEAR_BYTES: usize = 18;
const MEMBERS: u8 = 50;
/// Of one figure: one join takes some ten milliseconds, the kernel's step.
const JOINS: usize = 100;
const MOST_FRAME_US: f64 = 2.0;
const MOST_BYTES: f64 = 22.0;
const MOST_JOIN_MS: f64 = 20.0;

/// Microseconds of CPU to seal and to open a frame, bytes that are added to it, and milliseconds of
/// CPU for what a member computes when it joins 49 others.
pub fn measure(scale: Scale) -> Vec<Row> {
    let frames = scale.count(FRAMES);
    let runs: Vec<(f64, f64, f64)> = (0..scale.runs()).map(|_| frame(frames)).collect();
    let joins = (0..scale.runs()).map(|_| join_ms(scale.count(JOINS))).collect();
    let row = |name, unit, target, values| Row {
        name,
        unit,
        target: Some(target),
        values,
        note: String::new(),
    };
    let each = |figure: fn(&(f64, f64, f64)) -> f64| runs.iter().map(figure).collect();
    vec![
        row("a frame of speech is sealed", "µs", MOST_FRAME_US, each(|run| run.0)),
        row("it is opened", "µs", MOST_FRAME_US, each(|run| run.1)),
        row("what sealing adds to it, at most", "bytes", MOST_BYTES, each(|run| run.2)),
        row("keys of a join to a room of 50", "ms", MOST_JOIN_MS, joins),
    ]
}

fn session() -> SessionId {
    SessionId::new(7).unwrap_or_else(|| unreachable!("it is not zero"))
}

fn member(number: u8) -> (PeerId, KeyRing) {
    let secret = InstallationSecret([number; 32]);
    let peer = prove(&secret, ORIGIN, ROOM, 0).peer_id();
    let configuration = Configuration {
        secret: &secret,
        origin: ORIGIN,
        room: ROOM,
        instance: 0,
        peer,
        room_key: Some(RoomKey::new([0x5A; 16])),
        max_members: usize::from(MEMBERS),
    };
    (peer, KeyRing::new(configuration, Seed::new([number; 32])))
}

fn works<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The keys of one go to another.
fn introduce((from, sender): &mut (PeerId, KeyRing), (to, receiver): &mut (PeerId, KeyRing)) {
    let now = Duration::ZERO;
    works(receiver.set_member(now, session(), *from, &sender.announcement(session())));
    works(sender.set_member(now, session(), *to, &receiver.announcement(session())));
    while sender.agree_next() {}
    while let Some((peer, package)) = sender.poll_package() {
        assert_eq!(peer, *to);
        works(receiver.accept_package(now, *from, &package));
    }
}

fn frame(frames: usize) -> (f64, f64, f64) {
    let (mut ada, mut bo) = (member(1), member(2));
    introduce(&mut ada, &mut bo);
    let (clear, plain, now) = ([1; CLEAR_BYTES], [7; FRAME_BYTES], Duration::ZERO);
    let own = || cpu_time(std::process::id());
    let before = own();
    let mut sealed = Vec::with_capacity(frames);
    for _ in 0..frames {
        let mut packet = Vec::with_capacity(FRAME_BYTES + 22);
        works(ada.1.seal(now, Label::Voice, &clear, black_box(&plain), &mut packet));
        sealed.push(packet);
    }
    let sealing = own() - before;
    let most = sealed.iter().map(|packet| packet.len() - FRAME_BYTES).max().unwrap_or_default();
    let before = own();
    let mut output = Vec::with_capacity(FRAME_BYTES);
    for packet in &sealed {
        output.clear();
        works(bo.1.open(now, ada.0, Label::Voice, &clear, black_box(packet), &mut output));
    }
    let opening = own() - before;
    assert_eq!(output, plain);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / frames as f64;
    (each(sealing), each(opening), most as f64)
}

/// 49 announcements, agreements and packages, and the code to compare: what the newcomer computes,
/// beside what the others do.
fn join_ms(joins: usize) -> f64 {
    let others: Vec<(PeerId, Vec<u8>)> = (2..=MEMBERS)
        .map(member)
        .map(|(peer, ring)| (peer, ring.announcement(session())))
        .collect();
    let before = cpu_time(std::process::id());
    for _ in 0..joins {
        let (_, mut ring) = member(1);
        for (peer, announcement) in &others {
            works(ring.set_member(Duration::ZERO, session(), *peer, announcement));
        }
        while ring.agree_next() {}
        let packages = std::iter::from_fn(|| ring.poll_package()).count();
        assert_eq!(packages, others.len());
        black_box(ring.safety_code());
    }
    let spent = cpu_time(std::process::id()) - before;
    spent.as_secs_f64() * 1e3 / joins as f64
}
