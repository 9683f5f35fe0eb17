//! What a session's server costs the program that runs it: passing a frame on, by the number of
//! listeners, and one client of a thousand. All in this process, on one thread, with nothing sent.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_engine::{Connection, EngineConfig, EngineOutput, VoiceEngine};
use voicemesh_session::Server;
use voicemesh_session::network::{NetworkEvent, PacketLimits};
use voicemesh_wire::limits::RELAY_DESTINATIONS;
use voicemesh_wire::packet::{
    CodecSettings, HandshakeRequest, Kind, Relay, TalkspurtCounter, VoiceHeader,
};
use voicemesh_wire::{ClientId, SessionId};

use crate::lan;
use crate::machine::{cpu_time, resident_kib};
use crate::report::{Row, Spread};
use crate::run::Scale;

const SPEAKER: u32 = 0;
/// Deliveries of one figure; in a tenth of them the kernel's steps of 10 ms are still small.
const DELIVERIES: usize = 40_000_000;
const FRAME_BYTES: usize = 50;
/// A delivery to one of many may cost this much of a delivery to one of few.
const FLAT_WITHIN: f64 = 1.2;
const CROWD: u32 = 1_000;
/// Sessions of that size at one time, so that what the process had before does not count.
const CROWDS: usize = 10;
const JOINS: usize = 1_000;

/// Nanoseconds of a host's CPU for each delivery to 8, 64 and 512 listeners; memory and time of one
/// client of a thousand.
pub fn measure(scale: Scale) -> Vec<Row> {
    let relaying = |listeners| {
        (0..scale.runs()).map(|_| delivery_ns(listeners, scale.count(DELIVERIES))).collect()
    };
    let few: Vec<f64> = relaying(8);
    let most = Spread::of(&few).map(|spread| FLAT_WITHIN * spread.median);
    let row = |name, target, values| Row { name, unit: "ns", target, values, note: String::new() };
    let mut rows = vec![
        row("a host passes a frame on: each delivery to 8", None, few),
        row("to 64 listeners", most, relaying(64)),
        row("to 512 listeners", most, relaying(512)),
    ];
    let crowds: Vec<(f64, f64)> = (0..scale.runs()).map(|_| crowd(scale.count(JOINS))).collect();
    let row = |name, unit, values| Row { name, unit, target: None, values, note: String::new() };
    rows.push(row(
        "one of 1,000 clients: memory at its server",
        "KiB",
        // Later ones take what the first has freed.
        crowds.iter().take(1).map(|crowd| crowd.0).collect(),
    ));
    rows.push(row(
        "its join and its leave: the server's CPU",
        "ms",
        crowds.iter().map(|crowd| crowd.1).collect(),
    ));
    rows.extend(lan::measure(scale));
    rows
}

fn own_cpu() -> Duration {
    cpu_time(std::process::id())
}

/// A session's server with so many clients. As a host it has one more, in this process, which is
/// not spoken to.
fn server(as_host: bool, clients: u32) -> VoiceEngine<u32> {
    let mut server =
        VoiceEngine::new(EngineConfig::new("server", 1)).unwrap_or_else(|error| panic!("{error}"));
    let limits = PacketLimits::default();
    let started =
        if as_host { server.run_as_host(limits) } else { server.run_as_dedicated_server(limits) };
    started.unwrap_or_else(|error| panic!("{error}"));
    server.handle(Duration::ZERO, NetworkEvent::Hosting);
    (0..clients).for_each(|peer| {
        join(&mut server, peer);
    });
    server
}

/// One more client. How many packets that makes.
fn join(server: &mut VoiceEngine<u32>, peer: u32) -> usize {
    let codec =
        CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
    let packet = HandshakeRequest { codec, name: format!("client {peer}") }.encode().into();
    server.handle(Duration::ZERO, NetworkEvent::FromClient { peer, packet });
    deliveries(server)
}

/// Takes all outputs. How many packets there are for clients.
fn deliveries(server: &mut VoiceEngine<u32>) -> usize {
    std::iter::from_fn(|| server.poll_output())
        .filter(|output| matches!(output, EngineOutput::ToClient { .. }))
        .count()
}

fn session_and_ids(server: &VoiceEngine<u32>, clients: u32) -> (SessionId, Vec<ClientId>) {
    let server = server.server().unwrap_or_else(|| panic!("it serves"));
    let ids = (0..clients).filter_map(|peer| server.client_of(Connection::Remote(peer)));
    (Server::session(server), ids.collect())
}

fn delivery_ns(listeners: u32, at_least: usize) -> f64 {
    let mut host = server(true, listeners + 1);
    let (session, ids) = session_and_ids(&host, listeners + 1);
    let header = VoiceHeader {
        sender: ids[SPEAKER as usize],
        talkspurt: TalkspurtCounter::SevenBit(0),
        sequence: 0,
    };
    let mut frame = Vec::new();
    header.encode_packet(session, &[], &[7; FRAME_BYTES], &mut frame);
    let packets = ids[1..].chunks(RELAY_DESTINATIONS).map(|some| {
        let mut packet = Vec::new();
        Relay::encode_packet(Kind::ServerRelayUnreliable, session, some, &frame, &mut packet);
        Bytes::from(packet)
    });
    let packets: Vec<Bytes> = packets.collect();
    let mut done = 0;
    let before = own_cpu();
    while done < at_least {
        for packet in &packets {
            host.handle(
                Duration::ZERO,
                NetworkEvent::FromClient { peer: SPEAKER, packet: packet.clone() },
            );
            done += deliveries(&mut host);
        }
    }
    (own_cpu() - before).as_secs_f64() * 1e9 / done as f64
}

/// KiB of one client of a thousand at its server, and milliseconds of the server's CPU when one of
/// them leaves and joins again.
fn crowd(joins: usize) -> (f64, f64) {
    let before = resident_kib(std::process::id());
    let mut crowds: Vec<_> = (0..CROWDS).map(|_| server(false, CROWD)).collect();
    let grown = resident_kib(std::process::id()).saturating_sub(before);
    let one = &mut crowds[0];
    let before = own_cpu();
    for _ in 0..joins {
        one.handle(Duration::ZERO, NetworkEvent::ClientGone { peer: CROWD - 1 });
        deliveries(one);
        let packets = join(one, CROWD - 1);
        assert!(packets >= CROWD as usize, "{packets} packets");
    }
    let spent = own_cpu() - before;
    (grown as f64 / (CROWDS as f64 * f64::from(CROWD)), spent.as_secs_f64() * 1e3 / joins as f64)
}
