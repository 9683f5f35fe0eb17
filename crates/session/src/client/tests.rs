use voicemesh_wire::Permissions;
use voicemesh_wire::packet::{self, CodecSettings, HandshakeP2P, Kind, Relay};

use super::*;
use crate::roster::{Abilities, RosterEntry, TextReader};
use crate::server::{Server, ServerConfig, ServerOutput};
use crate::transport::Delivery;

const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
const NOW: Duration = Duration::from_secs(1);
/// When speech no longer goes both ways.
const LATER: Duration = Duration::from_millis(1_500);
const ADA: u16 = 1;
const OTHERS: [u16; 2] = [2, 3];

#[derive(Default)]
struct Sent(Vec<(u16, Bytes)>);

impl ServerOutput<u16> for Sent {
    fn send(&mut self, to: u16, packet: Bytes, _: Delivery) {
        self.0.push((to, packet));
    }
}

/// A session of the server's with these in it.
fn serve(session: u32, others: &[u16]) -> Server<u16> {
    let mut server = Server::new(ServerConfig::default(), SessionId::new(session).unwrap());
    for peer in others {
        let request = HandshakeRequest { codec: CODEC, name: format!("p{peer}") };
        server.receive(NOW, *peer, &request.encode().into(), &mut Sent::default());
    }
    server
}

/// Brings Ada into the server's session, with a roster of these others.
fn join(ada: &mut Client<u16>, server: &mut Server<u16>, others: &[u16]) {
    join_with(ada, server, others, &[]);
}

/// The same; `plain` are sent speech that is not sealed.
fn join_with(ada: &mut Client<u16>, server: &mut Server<u16>, others: &[u16], plain: &[u16]) {
    ada.network_event(NOW, NetworkEvent::Connected);
    while let Some(output) = ada.poll_output() {
        let mut sent = Sent::default();
        if let Output::ToServer { packet, .. } = &output {
            server.receive(NOW, ADA, packet, &mut sent);
            let mut roster = crate::Roster::of_session(Some(server.session()));
            for peer in others.iter().copied() {
                let (client, permissions) = (server.client_of(peer), Permissions::default());
                let entry = RosterEntry {
                    client,
                    abilities: Abilities::ALL,
                    permissions,
                    held_in: Vec::new(),
                    text_reader: TextReader::Ready,
                    hears_plain: plain.contains(&peer),
                };
                roster.insert(peer, entry);
            }
            ada.set_roster(NOW, roster);
        }
        for (_, packet) in sent.0.into_iter().filter(|(to, _)| *to == ADA) {
            ada.network_event(NOW, NetworkEvent::FromServer(packet));
        }
    }
    assert_eq!(ada.phase(), Phase::Joined);
}

#[test]
fn the_audience_says_who_is_relayed_packets_apart_from_the_others() {
    let mut server = serve(77, &OTHERS);
    let mut ada = Client::new(ClientConfig::new("Ada", CODEC, 100));
    join_with(&mut ada, &mut server, &OTHERS, &[3]);
    for peer in OTHERS {
        ada.open_target(VoiceTarget::Peer(peer), TargetOptions::default()).unwrap();
    }
    outputs(&mut ada);
    let spoken = OutgoingFrame::plain(Bytes::from_static(b"frame"));
    assert_eq!(ada.send_spoken(LATER, &spoken).listeners, 2);
    let plain = ada.last_audience().iter().map(|member| (member.who, member.hears_plain));
    let expected = [(2, false), (3, true)].map(|(peer, plain)| (Participant::Peer(peer), plain));
    assert_eq!(plain.collect::<Vec<_>>(), expected);
    let relayed =
        outputs(&mut ada).iter().filter(|output| matches!(output, Output::ToServer { .. })).count();
    assert_eq!(relayed, 2);
}

fn link(peer: u16) -> LinkId<u16> {
    LinkId { peer, generation: 1 }
}

/// Ada in a session with links to the others, which speak that session.
fn linked(others: &[u16]) -> Client<u16> {
    let mut server = serve(77, others);
    let mut ada = Client::new(ClientConfig::new("Ada", CODEC, 100));
    join(&mut ada, &mut server, others);
    for peer in others.iter().copied() {
        ada.network_event(NOW, NetworkEvent::LinkUp(link(peer)));
        let packet =
            HandshakeP2P { client: server.client_of(peer).unwrap() }.encode(server.session());
        ada.network_event(NOW, NetworkEvent::FromLink { link: link(peer), packet: packet.into() });
    }
    ada.update(LATER);
    outputs(&mut ada);
    ada
}

fn outputs(ada: &mut Client<u16>) -> Vec<Output<u16>> {
    std::iter::from_fn(|| ada.poll_output()).collect()
}

/// Two frames of speech in one packet, as it goes to the links.
fn speak(ada: &mut Client<u16>) -> LinkPacket<u16> {
    for peer in OTHERS {
        ada.open_target(VoiceTarget::Peer(peer), TargetOptions::default()).unwrap();
    }
    for frame in [b"one".as_slice(), b"two"] {
        let frames_per_packet = |_| 2;
        let frame = Bytes::copy_from_slice(frame);
        let spoken =
            OutgoingFrame { frames_per_packet: &frames_per_packet, ..OutgoingFrame::plain(frame) };
        assert_eq!(ada.send_spoken(LATER, &spoken).listeners, 2);
    }
    match outputs(ada).as_slice() {
        [Output::ToLinks(packet)] if packet.to.len() == 2 => packet.clone(),
        others => panic!("{others:?}"),
    }
}

#[test]
fn no_listener_is_always_the_last_to_whom_a_packet_is_sent() {
    for frames in 1..=3 {
        let mut ada = linked(&OTHERS);
        for peer in OTHERS {
            ada.open_target(VoiceTarget::Peer(peer), TargetOptions::default()).unwrap();
        }
        let frames_per_packet = |_| frames;
        let mut last = Vec::new();
        for _ in 0..12 {
            let frame = Bytes::from_static(b"frame");
            let spoken = OutgoingFrame {
                frames_per_packet: &frames_per_packet,
                ..OutgoingFrame::plain(frame)
            };
            ada.send_spoken(LATER, &spoken);
            for output in outputs(&mut ada) {
                let Output::ToLinks(packet) = output else { panic!("{output:?}") };
                last.push(packet.to.last().unwrap().link.peer);
            }
        }
        assert_eq!(last.len(), 12 / usize::from(frames), "{frames} frames in a packet");
        // The first packet may be shorter: packets end at multiples of their length.
        assert!(last[1..].windows(2).all(|two| two[0] != two[1]), "{frames}: {last:?}");
    }
}

/// One second of speech to a link that carries nothing from the beginning and a server that does
/// not answer: the packets for the link, and those for the relay.
fn speech_into_a_stall(is_congested: bool) -> (usize, usize) {
    let mut ada = linked(&[2]);
    ada.open_target(VoiceTarget::Peer(2), TargetOptions::default()).unwrap();
    ada.set_server_health(ServerHealth { is_reached: true, answered: None });
    ada.set_congested(is_congested);
    let (mut direct, mut relayed) = (0, 0);
    for frame in 0..50 {
        let now = LATER + Duration::from_millis(20) * frame;
        ada.update(now);
        ada.send_spoken(now, &OutgoingFrame::plain(Bytes::from_static(b"frame")));
        for output in outputs(&mut ada) {
            match output {
                Output::ToLinks(packet) if matches!(packet.fallback, Fallback::Speech { .. }) => {
                    direct += 1;
                }
                Output::ToServer { packet, .. } => {
                    let (header, _) = packet::open(&packet).unwrap();
                    relayed += usize::from(header.kind == Kind::ServerRelayUnreliable);
                }
                _ => {}
            }
        }
    }
    (direct, relayed)
}

#[test]
fn speech_that_a_dead_link_loses_is_sent_again_and_what_follows_on_both_ways() {
    assert_eq!(speech_into_a_stall(false), (50, 50));
}

/// A full uplink would only become fuller.
///
#[test]
fn speech_into_a_link_that_is_full_is_sent_once() {
    let (direct, relayed) = speech_into_a_stall(true);
    assert_eq!(direct + relayed, 50, "{direct} and {relayed}");
    assert!(relayed > 25, "{relayed}");
}

/// The packet inside of the only relay packet, and to how many it goes.
fn relayed(outputs: &[Output<u16>]) -> (Bytes, usize) {
    let [Output::ToServer { reliability: Reliability::Unreliable, packet }] = outputs else {
        panic!("{outputs:?}")
    };
    let (header, body) = packet::open(packet).unwrap();
    assert_eq!(header.kind, Kind::ServerRelayUnreliable);
    let relay = Relay::decode(body).unwrap();
    (packet.slice_ref(relay.packet), relay.destinations.iter().count())
}

#[test]
fn speech_that_links_refuse_is_relayed_to_all_in_the_packet_that_it_was() {
    let mut ada = linked(&OTHERS);
    let refused = speak(&mut ada);
    ada.refused(LATER, refused.clone());
    assert_eq!(relayed(&outputs(&mut ada)), (refused.packet, 2));
}

#[test]
fn speech_that_goes_both_ways_is_not_relayed_again_when_links_refuse_it() {
    let mut ada = linked(&OTHERS);
    ada.relay_speech_to(LATER, [Participant::Peer(2)].into());
    ada.relay_speech_to(LATER, BTreeSet::new());
    ada.open_target(VoiceTarget::Peer(2), TargetOptions::default()).unwrap();
    assert_eq!(ada.send_voice(LATER, Bytes::from_static(b"one")), 1);
    let sent = outputs(&mut ada);
    let [Output::ToLinks(refused), Output::ToServer { .. }] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    ada.refused(LATER, refused.clone());
    assert_eq!(outputs(&mut ada), []);
}

#[test]
fn speech_that_links_of_a_former_session_refuse_is_relayed_in_the_present_one() {
    let mut ada = linked(&OTHERS);
    join(&mut ada, &mut serve(78, &OTHERS), &OTHERS);
    let refused = speak(&mut ada);
    ada.refused(LATER, refused.clone());
    let (packet, listeners) = relayed(&outputs(&mut ada));
    let session = |packet: &Bytes| packet::open(packet).unwrap().0.session_id();
    assert_eq!(
        (session(&refused.packet), session(&packet)),
        (SessionId::new(77), SessionId::new(78))
    );
    assert_eq!(listeners, 2);
    assert_eq!(packet.len(), refused.packet.len(), "both frames are in it");
}

/// proves: D-32
#[test]
fn all_frames_of_a_packet_that_a_link_did_not_deliver_are_relayed() {
    let mut ada = linked(&OTHERS);
    let lost = speak(&mut ada).packet;
    ada.network_event(LATER, NetworkEvent::LinkDown(link(OTHERS[0])));
    assert_eq!(relayed(&outputs(&mut ada)), (lost.clone(), 1), "its link is gone");
    ada.update(LATER + Duration::from_secs(1));
    let outputs = outputs(&mut ada);
    assert!(outputs.contains(&Output::LinkStalled(link(OTHERS[1]))));
    let is_speech = |packet: &Bytes| packet::open(packet).unwrap().0.kind.is_voice();
    let to_server = outputs.iter().filter_map(|output| match output {
        Output::ToServer { packet, .. } => {
            let (_, body) = packet::open(packet).unwrap();
            Some(packet.slice_ref(Relay::decode(body).ok()?.packet)).filter(is_speech)
        }
        _ => None,
    });
    assert_eq!(to_server.collect::<Vec<_>>(), [lost], "its link has stalled");
}

#[test]
fn what_else_links_of_a_former_session_refuse_is_dropped() {
    let mut ada = linked(&OTHERS);
    let report = |session, sender| packet::ClockProbe { sender, asked_us: 1 }.encode(session);
    assert!(ada.send_to(Participant::Peer(2), report));
    let Some(Output::ToLinks(refused)) = ada.poll_output() else {
        panic!("it does not go to the link")
    };
    ada.refused(LATER, refused.clone());
    assert_eq!(relayed(&outputs(&mut ada)).0, refused.packet);
    join(&mut ada, &mut serve(78, &OTHERS), &OTHERS);
    ada.refused(LATER, refused);
    assert_eq!(outputs(&mut ada), []);
}

#[test]
fn outputs_that_are_not_taken_are_counted_when_they_are_dropped_and_gone_after_leaving() {
    let mut ada = linked(&OTHERS);
    for _ in 0..=OUTPUTS {
        ada.core.out.push(Output::PingServer { number: 1, probe: Bytes::new() });
    }
    assert_eq!(ada.outputs_dropped(), 1);
    ada.leave();
    assert_eq!(ada.poll_output(), None);
}

#[test]
fn a_turn_of_as_many_full_pipes_as_there_can_be_loses_no_output() {
    let others: Vec<u16> = (2..2 + data::PIPES as u16).collect();
    let mut ada = linked(&others);
    for peer in &others {
        for _ in 0..data::PACKETS_PER_TURN {
            ada.send_data(*peer, Reliability::Unreliable, Bytes::from_static(b"here")).unwrap();
        }
    }
    ada.update(LATER);
    let sent =
        outputs(&mut ada).into_iter().filter(|output| matches!(output, Output::ToLinks(_))).count();
    assert!(sent >= data::PIPES * data::PACKETS_PER_TURN, "{sent}");
    assert_eq!(ada.outputs_dropped(), 0);
}
