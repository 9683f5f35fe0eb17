//! The golden packets of `tests/vectors/packets.json`, read and written.

use serde_json::{Value, json};
use voicemesh_wire::packet::{
    self, BandwidthProbe, BandwidthReport, Captured, ClientInfo, ClientState, ClockEcho,
    ClockProbe, CodecSettings, CopiesMarks, Copy, DataAck, DataMessage, DataReset, DataSegment,
    DeltaClientState, GroupListeners, GroupText, HandshakeP2P, HandshakeRequest, HandshakeResponse,
    KeyPackage, KeyRequest, Kind, PipeEnd, Priority, Probe, ReceptionReport, Recipient, Record,
    Relay, RemoveClient, SealedText, SealedWith, TalkspurtCounter, Target, TargetKind, TargetList,
    TextData, VoiceAck, VoiceCopies, VoiceData, VoiceHeader,
};
use voicemesh_wire::{ClientId, DecodeError, GroupId, SessionId};

fn vectors() -> Value {
    serde_json::from_str(voicemesh_vectors::PACKETS).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is a list"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is text"))
}

fn number<T: TryFrom<u64>>(value: &Value, key: &str) -> T {
    let number = value[key].as_u64().unwrap_or_else(|| panic!("{key} is a number"));
    T::try_from(number).unwrap_or_else(|_| panic!("{key} is out of bounds"))
}

fn flag(value: &Value, key: &str) -> bool {
    value[key].as_bool().unwrap_or_else(|| panic!("{key} is true or false"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> =
        hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ids(value: &Value, key: &str) -> Vec<ClientId> {
    list(value, key).iter().map(|id| ClientId(id.as_u64().unwrap().try_into().unwrap())).collect()
}

fn names(value: &Value, key: &str) -> Vec<String> {
    list(value, key).iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// proves: D-07, D-08, D-18
#[test]
fn every_packet_is_read_as_its_fields_and_written_as_its_bytes() {
    let vectors = vectors();
    let mut kinds = std::collections::BTreeSet::new();
    for vector in list(&vectors, "packets") {
        let bytes = bytes(text(vector, "hex"));
        assert_eq!(read(&bytes).unwrap(), expected(vector), "{}", vector["name"]);
        assert_eq!(hex(&write(vector)), hex(&bytes), "{}", vector["name"]);
        kinds.insert(packet::open(&bytes).unwrap().0.kind);
    }
    let known: std::collections::BTreeSet<_> = (0..=255)
        .filter_map(Kind::from_number)
        .filter(|kind| !matches!(kind, Kind::Unassigned(_)))
        .collect();
    assert_eq!(kinds, known, "every type has a vector");
}

#[test]
fn what_may_be_written_in_another_way_is_read_all_the_same() {
    for vector in list(&vectors(), "lenient") {
        let bytes = bytes(text(vector, "hex"));
        assert_eq!(read(&bytes).unwrap(), expected(vector), "{}", vector["name"]);
        let written = write(vector);
        assert_ne!(written, bytes, "{}", vector["name"]);
        assert_eq!(read(&written).unwrap(), expected(vector), "{}", vector["name"]);
    }
}

/// proves: D-01, D-02
#[test]
fn what_is_no_packet_is_refused_for_the_reason_that_the_vectors_name() {
    for vector in list(&vectors(), "refused") {
        let error = read(&bytes(text(vector, "hex"))).expect_err(text(vector, "name"));
        let name = format!("{error:?}");
        assert_eq!(name.split('(').next(), vector["error"].as_str(), "{}", vector["name"]);
    }
}

/// proves: D-17
#[test]
fn group_names_have_the_ids_of_the_vectors() {
    for vector in list(&vectors(), "group_ids") {
        assert_eq!(
            GroupId::of(text(vector, "name")),
            GroupId(number(vector, "id")),
            "{}",
            vector["name"]
        );
    }
}

fn expected(vector: &Value) -> Value {
    json!({ "kind": vector["kind"], "session": vector["session"], "fields": vector["fields"] })
}

/// A packet as the vectors write it.
fn read(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (header, body) = packet::open(bytes)?;
    let fields = match header.kind {
        Kind::ClientState => {
            let state = ClientState::decode(body)?;
            json!({ "client": client_json(&state.client), "groups": state.groups })
        }
        Kind::VoiceData => voice_json(VoiceData::decode(body)?),
        Kind::TextData => {
            let TextData { sender, recipient, text } = TextData::decode(body)?;
            let (kind, id) = match recipient {
                Recipient::Group(GroupId(id)) => ("group", id),
                Recipient::Client(ClientId(id)) => ("client", id),
            };
            json!({ "sender": sender.0, "recipient": { "kind": kind, "id": id }, "text": text })
        }
        Kind::GroupText => {
            let GroupText { sender, group, text } = GroupText::decode(body)?;
            json!({ "sender": sender.0, "group": group, "text": text })
        }
        Kind::HandshakeRequest => {
            let request = HandshakeRequest::decode(body)?;
            json!({ "codec": codec_json(request.codec), "name": request.name })
        }
        Kind::HandshakeResponse => response_json(HandshakeResponse::decode(body)?),
        Kind::ErrorWrongSession => json!({}),
        Kind::ServerRelayReliable | Kind::ServerRelayUnreliable => {
            let relay = Relay::decode(body)?;
            let to: Vec<_> = relay.destinations.iter().map(|client| client.0).collect();
            json!({ "destinations": to, "packet": hex(relay.packet) })
        }
        Kind::DeltaClientState => {
            let delta = DeltaClientState::decode(body)?;
            json!({ "joins": delta.joins, "client": delta.client.0, "group": delta.group })
        }
        Kind::RemoveClient => json!({ "client": RemoveClient::decode(body)?.client.0 }),
        Kind::HandshakeP2P => json!({ "client": HandshakeP2P::decode(body)?.client.0 }),
        Kind::VoiceAck => {
            let ack = VoiceAck::decode(body)?;
            let mut fields =
                json!({ "sender": ack.sender.0, "newest": ack.newest, "earlier": ack.earlier });
            if let Some(received_ms) = ack.received_ms {
                fields["received_ms"] = received_ms.into();
            }
            fields
        }
        Kind::BandwidthProbe => {
            let probe = BandwidthProbe::decode(body)?;
            json!({
                "sender": probe.sender.0, "train": probe.train, "packets": probe.packets, "padding": probe.padding,
            })
        }
        Kind::BandwidthReport => {
            let report = BandwidthReport::decode(body)?;
            json!({
                "sender": report.sender.0, "train": report.train, "received": report.received,
                "span_us": report.span_us,
            })
        }
        Kind::Probe | Kind::ProbeEcho => {
            let probe = Probe::decode(body)?;
            json!({ "sender": probe.sender.0, "token": probe.token })
        }
        Kind::VoiceCopies => copies_json(VoiceCopies::decode(body)?),
        Kind::ReceptionReport => {
            let report = ReceptionReport::decode(body)?;
            json!({
                "sender": report.sender.0,
                "expected": report.expected,
                "lost": report.lost,
                "unrepaired": report.unrepaired,
                "loss_run_sixteenths": report.loss_run_sixteenths,
                "jitter_ms": report.jitter_ms,
                "buffer_ms": report.buffer_ms,
            })
        }
        Kind::ClockProbe => {
            let probe = ClockProbe::decode(body)?;
            json!({ "sender": probe.sender.0, "asked_us": probe.asked_us })
        }
        Kind::ClockEcho => {
            let echo = ClockEcho::decode(body)?;
            let captured = echo.captured.map(
                |Captured { sequence, ago_us }| json!({ "sequence": sequence, "ago_us": ago_us }),
            );
            json!({
                "sender": echo.sender.0,
                "asked_us": echo.asked_us,
                "received_us": echo.received_us,
                "sent_us": echo.sent_us,
                "captured": captured,
            })
        }
        Kind::DataSegment => {
            let segment = DataSegment::decode(body)?;
            let (record, channel) = match segment.record {
                Record::Message => ("message", Value::Null),
                Record::OnChannel(channel) => ("on-channel", channel.into()),
                Record::OpenReliable(channel) => ("open-reliable", channel.into()),
                Record::OpenUnreliable(channel) => ("open-unreliable", channel.into()),
                Record::Close(channel) => ("close", channel.into()),
            };
            json!({
                "sender": segment.sender.0,
                "from": segment.from,
                "to": segment.to,
                "number": segment.number,
                "record": record,
                "channel": channel,
                "first": segment.is_first,
                "last": segment.is_last,
                "payload": hex(segment.payload),
            })
        }
        Kind::DataAck => {
            let ack = DataAck::decode(body)?;
            json!({
                "sender": ack.sender.0, "from": ack.from, "to": ack.to, "next": ack.next, "later": ack.later,
                "window": ack.window,
            })
        }
        Kind::DataMessage => {
            let message = DataMessage::decode(body)?;
            json!({
                "sender": message.sender.0,
                "to": message.on.map(|(to, _)| to),
                "channel": message.on.map(|(_, channel)| channel),
                "payload": hex(message.payload),
            })
        }
        Kind::DataReset => {
            let reset = DataReset::decode(body)?;
            json!({ "sender": reset.sender.0, "to": reset.to })
        }
        Kind::KeyPackage => {
            let KeyPackage { sender, announcement, package } = KeyPackage::decode(body)?;
            json!({ "sender": sender.0, "announcement": hex(announcement), "package": hex(package) })
        }
        Kind::KeyRequest => json!({ "sender": KeyRequest::decode(body)?.sender.0 }),
        Kind::SealedText => {
            let SealedText { sender, key, sealed } = SealedText::decode(body)?;
            let key = match key {
                SealedWith::SenderKey => "sender",
                SealedWith::PairKey => "pair",
            };
            json!({ "sender": sender.0, "key": key, "sealed": hex(sealed) })
        }
        Kind::Unassigned(number) => panic!("type {number} has no layout"),
    };
    Ok(json!({ "kind": format!("{:?}", header.kind), "session": header.session, "fields": fields }))
}

/// The packet that a vector's fields make.
fn write(vector: &Value) -> Vec<u8> {
    let fields = &vector["fields"];
    let session = || SessionId::new(number(vector, "session")).unwrap();
    match text(vector, "kind") {
        "ClientState" => {
            ClientState { client: client(&fields["client"]), groups: names(fields, "groups") }
                .encode(session())
        }
        "VoiceData" => write_voice(fields, session()),
        "TextData" => {
            let to = &fields["recipient"];
            let recipient = match text(to, "kind") {
                "group" => Recipient::Group(GroupId(number(to, "id"))),
                _ => Recipient::Client(ClientId(number(to, "id"))),
            };
            TextData {
                sender: ClientId(number(fields, "sender")),
                recipient,
                text: text(fields, "text"),
            }
            .encode(session())
        }
        "GroupText" => GroupText {
            sender: ClientId(number(fields, "sender")),
            group: text(fields, "group"),
            text: text(fields, "text"),
        }
        .encode(session()),
        "HandshakeRequest" => {
            HandshakeRequest { codec: codec(&fields["codec"]), name: text(fields, "name").into() }
                .encode()
        }
        "HandshakeResponse" => response(fields).encode(session()),
        "ErrorWrongSession" => packet::error_wrong_session(session()),
        kind @ ("ServerRelayReliable" | "ServerRelayUnreliable") => {
            let kind = if kind == "ServerRelayReliable" {
                Kind::ServerRelayReliable
            } else {
                Kind::ServerRelayUnreliable
            };
            let mut packet = Vec::new();
            let inside = bytes(text(fields, "packet"));
            Relay::encode_packet(
                kind,
                session(),
                &ids(fields, "destinations"),
                &inside,
                &mut packet,
            );
            packet
        }
        "DeltaClientState" => {
            let (client, group) =
                (ClientId(number(fields, "client")), text(fields, "group").into());
            DeltaClientState { joins: flag(fields, "joins"), client, group }.encode(session())
        }
        "RemoveClient" => {
            RemoveClient { client: ClientId(number(fields, "client")) }.encode(session())
        }
        "HandshakeP2P" => {
            HandshakeP2P { client: ClientId(number(fields, "client")) }.encode(session())
        }
        "VoiceAck" => {
            let (newest, earlier) = (number(fields, "newest"), number(fields, "earlier"));
            let received_ms = fields.get("received_ms").and_then(Value::as_u64).map(|ms| ms as u32);
            VoiceAck { sender: ClientId(number(fields, "sender")), newest, earlier, received_ms }
                .encode(session())
        }
        "BandwidthProbe" => BandwidthProbe {
            sender: ClientId(number(fields, "sender")),
            train: number(fields, "train"),
            packets: number(fields, "packets"),
            padding: number(fields, "padding"),
        }
        .encode(session()),
        "BandwidthReport" => BandwidthReport {
            sender: ClientId(number(fields, "sender")),
            train: number(fields, "train"),
            received: number(fields, "received"),
            span_us: number(fields, "span_us"),
        }
        .encode(session()),
        kind @ ("Probe" | "ProbeEcho") => {
            let probe = Probe {
                sender: ClientId(number(fields, "sender")),
                token: number(fields, "token"),
            };
            if kind == "Probe" { probe.encode(session()) } else { probe.encode_echo(session()) }
        }
        "VoiceCopies" => write_copies(fields, session()),
        "ReceptionReport" => ReceptionReport {
            sender: ClientId(number(fields, "sender")),
            expected: number(fields, "expected"),
            lost: number(fields, "lost"),
            unrepaired: number(fields, "unrepaired"),
            loss_run_sixteenths: number(fields, "loss_run_sixteenths"),
            jitter_ms: number(fields, "jitter_ms"),
            buffer_ms: number(fields, "buffer_ms"),
        }
        .encode(session()),
        "ClockProbe" => ClockProbe {
            sender: ClientId(number(fields, "sender")),
            asked_us: number(fields, "asked_us"),
        }
        .encode(session()),
        "ClockEcho" => {
            let captured = Some(&fields["captured"]).filter(|captured| !captured.is_null());
            ClockEcho {
                sender: ClientId(number(fields, "sender")),
                asked_us: number(fields, "asked_us"),
                received_us: number(fields, "received_us"),
                sent_us: number(fields, "sent_us"),
                captured: captured.map(|captured| Captured {
                    sequence: number(captured, "sequence"),
                    ago_us: number(captured, "ago_us"),
                }),
            }
            .encode(session())
        }
        "DataSegment" => {
            let channel = || number(fields, "channel");
            let record = match text(fields, "record") {
                "message" => Record::Message,
                "on-channel" => Record::OnChannel(channel()),
                "open-reliable" => Record::OpenReliable(channel()),
                "open-unreliable" => Record::OpenUnreliable(channel()),
                _ => Record::Close(channel()),
            };
            DataSegment {
                sender: ClientId(number(fields, "sender")),
                from: PipeEnd::new(number(fields, "from")).unwrap(),
                to: fields["to"].as_u64().and_then(|to| PipeEnd::new(to as u32)),
                number: number(fields, "number"),
                record,
                is_first: flag(fields, "first"),
                is_last: flag(fields, "last"),
                payload: &bytes(text(fields, "payload")),
            }
            .encode(session())
        }
        "DataAck" => DataAck {
            sender: ClientId(number(fields, "sender")),
            from: PipeEnd::new(number(fields, "from")).unwrap(),
            to: PipeEnd::new(number(fields, "to")).unwrap(),
            next: number(fields, "next"),
            later: number(fields, "later"),
            window: number(fields, "window"),
        }
        .encode(session()),
        "DataMessage" => {
            let to = fields["to"].as_u64().and_then(|to| PipeEnd::new(to as u32));
            DataMessage {
                sender: ClientId(number(fields, "sender")),
                on: to.map(|to| (to, number(fields, "channel"))),
                payload: &bytes(text(fields, "payload")),
            }
            .encode(session())
        }
        "DataReset" => {
            let to = PipeEnd::new(number(fields, "to")).unwrap();
            DataReset { sender: ClientId(number(fields, "sender")), to }.encode(session())
        }
        "KeyPackage" => KeyPackage {
            sender: ClientId(number(fields, "sender")),
            announcement: &bytes(text(fields, "announcement")),
            package: &bytes(text(fields, "package")),
        }
        .encode(session()),
        "KeyRequest" => KeyRequest { sender: ClientId(number(fields, "sender")) }.encode(session()),
        "SealedText" => SealedText {
            sender: ClientId(number(fields, "sender")),
            key: match text(fields, "key") {
                "pair" => SealedWith::PairKey,
                _ => SealedWith::SenderKey,
            },
            sealed: &bytes(text(fields, "sealed")),
        }
        .encode(session()),
        kind => panic!("no such type: {kind}"),
    }
}

fn codec_json(codec: CodecSettings) -> Value {
    json!({ "codec": codec.codec, "frame_samples": codec.frame_samples, "sample_rate_hz": codec.sample_rate_hz })
}

fn codec(value: &Value) -> CodecSettings {
    CodecSettings {
        codec: number(value, "codec"),
        frame_samples: number(value, "frame_samples"),
        sample_rate_hz: number(value, "sample_rate_hz"),
    }
}

fn client_json(client: &ClientInfo) -> Value {
    json!({ "name": client.name, "id": client.id.0, "codec": codec_json(client.codec) })
}

fn client(value: &Value) -> ClientInfo {
    let name = text(value, "name").to_owned();
    ClientInfo { name, id: ClientId(number(value, "id")), codec: codec(&value["codec"]) }
}

fn response_json(response: HandshakeResponse) -> Value {
    let clients: Vec<_> = response.clients.iter().map(client_json).collect();
    let listeners: Vec<_> = response
        .listeners
        .iter()
        .map(|GroupListeners { group, clients }| {
            let clients: Vec<_> = clients.iter().map(|client| client.0).collect();
            json!({ "group": group.0, "clients": clients })
        })
        .collect();
    json!({ "you": response.you.0, "clients": clients, "groups": response.groups, "listeners": listeners })
}

fn response(fields: &Value) -> HandshakeResponse {
    let listeners = list(fields, "listeners").iter().map(|entry| GroupListeners {
        group: GroupId(number(entry, "group")),
        clients: ids(entry, "clients"),
    });
    HandshakeResponse {
        you: ClientId(number(fields, "you")),
        clients: list(fields, "clients").iter().map(client).collect(),
        groups: names(fields, "groups"),
        listeners: listeners.collect(),
    }
}

fn voice_json(voice: VoiceData<'_>) -> Value {
    let mut fields = header_json(voice.header, voice.targets);
    fields["frame"] = hex(voice.frame).into();
    fields
}

fn copies_json(voice: VoiceCopies<'_>) -> Value {
    let mut fields = header_json(voice.header, voice.targets);
    let copies =
        voice.copies.iter().map(|copy| json!({ "behind": copy.behind, "frame": hex(copy.frame) }));
    fields["pause_follows"] = voice.pause_follows.into();
    if voice.bundled > 0 {
        fields["bundled"] = voice.bundled.into();
    }
    fields["copies"] = copies.collect();
    fields["frame"] = hex(voice.frame).into();
    fields
}

fn header_json(header: VoiceHeader, targets: TargetList<'_>) -> Value {
    let target_json = |target: Target| {
        let (kind, id) = match target.kind {
            TargetKind::Group(GroupId(id)) => ("group", id),
            TargetKind::Client(ClientId(id)) => ("client", id),
        };
        let priority = format!("{:?}", target.priority).to_lowercase();
        json!({
            "kind": kind, "id": id, "positional": target.positional, "closing": target.closing, "priority": priority,
            "session": target.session, "volume": target.volume,
        })
    };
    let bits = if header.talkspurt.modulus() == 128 { 7 } else { 2 };
    json!({
        "sender": header.sender.0,
        "talkspurt": { "bits": bits, "value": header.talkspurt.value() },
        "sequence": header.sequence,
        "targets": targets.iter().map(target_json).collect::<Vec<_>>(),
    })
}

fn write_voice(fields: &Value, session: SessionId) -> Vec<u8> {
    let (header, targets) = voice_header(fields);
    let mut packet = Vec::new();
    header.encode_packet(session, &targets, &bytes(text(fields, "frame")), &mut packet);
    packet
}

fn write_copies(fields: &Value, session: SessionId) -> Vec<u8> {
    let (header, targets) = voice_header(fields);
    let frames: Vec<_> =
        list(fields, "copies").iter().map(|copy| bytes(text(copy, "frame"))).collect();
    let copies = list(fields, "copies").iter().zip(&frames);
    let copies: Vec<_> =
        copies.map(|(copy, frame)| Copy { behind: number(copy, "behind"), frame }).collect();
    let (pause_follows, frame) = (flag(fields, "pause_follows"), bytes(text(fields, "frame")));
    let bundled = fields.get("bundled").and_then(Value::as_u64).unwrap_or(0) as u8;
    let marks = CopiesMarks { pause_follows, bundled };
    let mut packet = Vec::new();
    header.encode_copies_packet(session, &targets, marks, &copies, &frame, &mut packet);
    packet
}

fn voice_header(fields: &Value) -> (VoiceHeader, Vec<Target>) {
    let value = number(&fields["talkspurt"], "value");
    let talkspurt = match fields["talkspurt"]["bits"].as_u64() {
        Some(7) => TalkspurtCounter::SevenBit(value),
        _ => TalkspurtCounter::TwoBit(value),
    };
    let targets = list(fields, "targets").iter().map(target).collect();
    (
        VoiceHeader {
            sender: ClientId(number(fields, "sender")),
            talkspurt,
            sequence: number(fields, "sequence"),
        },
        targets,
    )
}

fn target(value: &Value) -> Target {
    Target {
        kind: match text(value, "kind") {
            "group" => TargetKind::Group(GroupId(number(value, "id"))),
            _ => TargetKind::Client(ClientId(number(value, "id"))),
        },
        positional: flag(value, "positional"),
        closing: flag(value, "closing"),
        priority: match text(value, "priority") {
            "low" => Priority::Low,
            "medium" => Priority::Medium,
            "high" => Priority::High,
            _ => Priority::Default,
        },
        session: number(value, "session"),
        volume: number(value, "volume"),
    }
}
