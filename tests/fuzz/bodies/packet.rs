//! Any bytes as a session packet: no panic, and what can be read is written so that it reads the
//! same.

use voicemesh_wire::packet::{
    self, BandwidthProbe, BandwidthReport, ClientState, ClockEcho, ClockProbe, CopiesMarks,
    DataAck, DataMessage, DataReset, DataSegment, DeltaClientState, GroupText, HandshakeP2P,
    HandshakeRequest, HandshakeResponse, Header, KeyPackage, KeyRequest, Kind, Probe,
    ReceptionReport, Relay, RemoveClient, Routing, SealedText, TextData, VoiceAck, VoiceCopies,
    VoiceData,
};
use voicemesh_wire::{DecodeError, SessionId};

/// One input.
pub fn run(data: &[u8]) {
    let routing = Routing::read(data);
    let Ok((header, body)) = packet::open(data) else {
        assert!(routing.is_err());
        return;
    };
    if !header.kind.names_its_sender() {
        assert!(routing.is_err(), "only what names its sender may be relayed");
    }
    // Session zero cannot be written; it stands for any other.
    let session = header.session_id().unwrap_or(SessionId::new(1).expect("not zero"));
    match rewrite(header, body, session) {
        Err(_) => {}
        Ok(None) => {}
        Ok(Some(again)) => {
            let (header_again, body_again) =
                packet::open(&again).expect("what was written can be opened");
            assert_eq!(header_again.kind, header.kind);
            assert!(again.len() <= data.len() + data.len() / 2, "an absent text grows by nothing");
            let twice =
                rewrite(header_again, body_again, session).expect("what was written can be read");
            assert_eq!(twice.as_deref(), Some(&again[..]), "writing is stable");
            check_same(header.kind, body, body_again);
        }
    }
}

/// The packet, read and written again. `None` for types without a body of their own.
fn rewrite(
    header: Header,
    body: &[u8],
    session: SessionId,
) -> Result<Option<Vec<u8>>, DecodeError> {
    Ok(Some(match header.kind {
        Kind::ClientState => ClientState::decode(body)?.encode(session),
        Kind::VoiceData => {
            let voice = VoiceData::decode(body)?;
            let targets: Vec<_> = voice.targets.iter().collect();
            for target in &targets {
                assert!((0.0..=2.0).contains(&target.volume_factor()));
            }
            let mut packet = Vec::new();
            voice.header.encode_packet(session, &targets, voice.frame, &mut packet);
            packet
        }
        Kind::TextData => TextData::decode(body)?.encode(session),
        Kind::GroupText => GroupText::decode(body)?.encode(session),
        Kind::HandshakeRequest => HandshakeRequest::decode(body)?.encode(),
        Kind::HandshakeResponse => HandshakeResponse::decode(body)?.encode(session),
        Kind::ServerRelayReliable | Kind::ServerRelayUnreliable => {
            let relay = Relay::decode(body)?;
            let destinations: Vec<_> = relay.destinations.iter().collect();
            let mut packet = Vec::new();
            Relay::encode_packet(header.kind, session, &destinations, relay.packet, &mut packet);
            assert_eq!(packet.len(), Relay::overhead(destinations.len()) + relay.packet.len());
            packet
        }
        Kind::DeltaClientState => DeltaClientState::decode(body)?.encode(session),
        Kind::RemoveClient => RemoveClient::decode(body)?.encode(session),
        Kind::HandshakeP2P => HandshakeP2P::decode(body)?.encode(session),
        Kind::VoiceAck => {
            let ack = VoiceAck::decode(body)?;
            assert!(ack.covers(ack.newest));
            ack.encode(session)
        }
        Kind::Probe => Probe::decode(body)?.encode(session),
        Kind::ProbeEcho => Probe::decode(body)?.encode_echo(session),
        Kind::VoiceCopies => {
            let voice = VoiceCopies::decode(body)?;
            let (targets, copies): (Vec<_>, Vec<_>) =
                (voice.targets.iter().collect(), voice.copies.iter().collect());
            let mut packet = Vec::new();
            let marks = CopiesMarks { pause_follows: voice.pause_follows, bundled: voice.bundled };
            voice.header.encode_copies_packet(
                session,
                &targets,
                marks,
                &copies,
                voice.frame,
                &mut packet,
            );
            packet
        }
        Kind::ReceptionReport => ReceptionReport::decode(body)?.encode(session),
        Kind::ClockProbe => ClockProbe::decode(body)?.encode(session),
        Kind::ClockEcho => ClockEcho::decode(body)?.encode(session),
        Kind::DataSegment => DataSegment::decode(body)?.encode(session),
        Kind::DataAck => DataAck::decode(body)?.encode(session),
        Kind::DataMessage => DataMessage::decode(body)?.encode(session),
        Kind::DataReset => DataReset::decode(body)?.encode(session),
        Kind::BandwidthProbe => BandwidthProbe::decode(body)?.encode(session),
        Kind::BandwidthReport => BandwidthReport::decode(body)?.encode(session),
        Kind::KeyPackage => KeyPackage::decode(body)?.encode(session),
        Kind::KeyRequest => KeyRequest::decode(body)?.encode(session),
        Kind::SealedText => SealedText::decode(body)?.encode(session),
        Kind::ErrorWrongSession | Kind::Unassigned(_) => return Ok(None),
    }))
}

/// What was read first and what is read of the rewritten packet mean the same.
fn check_same(kind: Kind, body: &[u8], again: &[u8]) {
    match kind {
        Kind::ClientState => assert_eq!(ClientState::decode(body), ClientState::decode(again)),
        Kind::VoiceData => {
            let (first, second) =
                (VoiceData::decode(body).unwrap(), VoiceData::decode(again).unwrap());
            assert_eq!(first.header, second.header);
            assert!(first.targets.iter().eq(second.targets.iter()));
            assert_eq!(first.frame, second.frame);
        }
        Kind::VoiceCopies => {
            let (first, second) =
                (VoiceCopies::decode(body).unwrap(), VoiceCopies::decode(again).unwrap());
            let marks =
                |voice: &VoiceCopies<'_>| (voice.header, voice.pause_follows, voice.bundled);
            assert_eq!(marks(&first), marks(&second));
            assert!(first.targets.iter().eq(second.targets.iter()));
            assert!(first.copies.iter().eq(second.copies.iter()));
            assert_eq!(first.frame, second.frame);
        }
        Kind::ClockEcho => assert_eq!(ClockEcho::decode(body), ClockEcho::decode(again)),
        Kind::BandwidthProbe => {
            assert_eq!(BandwidthProbe::decode(body), BandwidthProbe::decode(again))
        }
        Kind::TextData => assert_eq!(TextData::decode(body), TextData::decode(again)),
        Kind::GroupText => assert_eq!(GroupText::decode(body), GroupText::decode(again)),
        Kind::HandshakeRequest => {
            assert_eq!(HandshakeRequest::decode(body), HandshakeRequest::decode(again))
        }
        Kind::HandshakeResponse => {
            assert_eq!(HandshakeResponse::decode(body), HandshakeResponse::decode(again))
        }
        Kind::DeltaClientState => {
            assert_eq!(DeltaClientState::decode(body), DeltaClientState::decode(again))
        }
        // Every bit of these means something.
        Kind::ServerRelayReliable
        | Kind::ServerRelayUnreliable
        | Kind::RemoveClient
        | Kind::HandshakeP2P
        | Kind::VoiceAck
        | Kind::Probe
        | Kind::ProbeEcho
        | Kind::ReceptionReport
        | Kind::ClockProbe
        | Kind::DataSegment
        | Kind::DataAck
        | Kind::DataMessage
        | Kind::DataReset
        | Kind::BandwidthReport
        | Kind::KeyPackage
        | Kind::KeyRequest
        | Kind::SealedText => assert_eq!(body, again),
        Kind::ErrorWrongSession | Kind::Unassigned(_) => {}
    }
}
