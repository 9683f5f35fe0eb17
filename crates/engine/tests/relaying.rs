//! What it costs a host to pass speech on.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_engine::{Connection, EngineConfig, EngineOutput, VoiceEngine};
use voicemesh_session::Server;
use voicemesh_session::network::{NetworkEvent, PacketLimits};
use voicemesh_wire::ClientId;
use voicemesh_wire::limits::RELAY_DESTINATIONS;
use voicemesh_wire::packet::{
    CodecSettings, HandshakeRequest, Kind, Relay, TalkspurtCounter, VoiceHeader,
};

const FRAME: Duration = Duration::from_millis(20);
const SPEAKER: u32 = 0;

/// A host, a speaker and so many listeners, the host's own client not among them.
fn host(listeners: u32) -> VoiceEngine<u32> {
    let mut host = VoiceEngine::new(EngineConfig::new("host", 1)).unwrap();
    host.run_as_host(PacketLimits::default()).unwrap();
    host.handle(Duration::ZERO, NetworkEvent::Hosting);
    let codec =
        CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
    for peer in 0..=listeners {
        let request = HandshakeRequest { codec, name: format!("client {peer}") };
        host.handle(
            Duration::ZERO,
            NetworkEvent::FromClient { peer, packet: request.encode().into() },
        );
        deliveries(&mut host);
    }
    host
}

fn client_of(host: &VoiceEngine<u32>, peer: u32) -> ClientId {
    host.server().unwrap().client_of(Connection::Remote(peer)).unwrap()
}

/// Takes all outputs. How many packets there are for clients.
fn deliveries(host: &mut VoiceEngine<u32>) -> usize {
    std::iter::from_fn(|| host.poll_output())
        .filter(|output| matches!(output, EngineOutput::ToClient { .. }))
        .count()
}

/// A frame of the speaker to all listeners, as the packets in which it comes: they are the
/// network's, as is their memory.
fn relayed(host: &VoiceEngine<u32>, listeners: u32, sequence: u16) -> Vec<Bytes> {
    let session = host.server().map(Server::session).unwrap();
    let header = VoiceHeader {
        sender: client_of(host, SPEAKER),
        talkspurt: TalkspurtCounter::SevenBit(0),
        sequence,
    };
    let mut frame = Vec::new();
    header.encode_packet(session, &[], &[7; 50], &mut frame);
    let listeners: Vec<ClientId> = (1..=listeners).map(|peer| client_of(host, peer)).collect();
    let packet = |some: &[ClientId]| {
        let mut packet = Vec::new();
        Relay::encode_packet(Kind::ServerRelayUnreliable, session, some, &frame, &mut packet);
        // A slice of what the socket read.
        Bytes::from(packet.into_boxed_slice()).slice(..)
    };
    listeners.chunks(RELAY_DESTINATIONS).map(packet).collect()
}

#[test]
fn a_host_passes_speech_on_without_allocating() {
    for listeners in [8, 64, 512] {
        let mut host = host(listeners);
        let frames: Vec<Vec<Bytes>> =
            (0..300).map(|sequence| relayed(&host, listeners, sequence)).collect();
        // Shared already, as slices of a larger buffer are.
        let shared = frames.clone();
        let mut now = Duration::ZERO;
        let mut pass_on = |frames: &[Vec<Bytes>]| {
            let mut passed = 0;
            for packet in frames.iter().flatten() {
                host.handle(
                    now,
                    NetworkEvent::FromClient { peer: SPEAKER, packet: packet.clone() },
                );
                passed += deliveries(&mut host);
                now += FRAME;
            }
            passed
        };
        let (first, rest) = shared.split_at(100);
        assert_eq!(pass_on(first), 100 * listeners as usize);
        let mut passed = 0;
        let used = allocation_counter::measure(|| passed = pass_on(rest));
        assert_eq!(passed, 200 * listeners as usize);
        assert_eq!(
            used.count_total, 0,
            "allocations for {passed} deliveries to {listeners} listeners"
        );
    }
}
