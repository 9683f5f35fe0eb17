use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{GroupText, Recipient, TextData};
use voicemesh_wire::signaling::{Capabilities, PeerInfo, RosterMark, ServerMessage, roster_hash};
use voicemesh_wire::{ClientId, SessionId};

use super::*;

pub(crate) mod encryption;
mod refused_texts;

fn proof(origin: &str) -> IdentityProof {
    prove(&InstallationSecret([7; 32]), origin, "room", 0)
}

/// A mesh that may go without TLS, connected in this way.
fn connected(connection: &ServerConnection) -> (Mesh, u32) {
    connected_as(config(), connection)
}

fn config() -> MeshConfig {
    MeshConfig {
        room: "room".to_owned(),
        name: "Ada".to_owned(),
        proof: proof("wss://192.168.1.5:8080"),
        proof_without_tls: Some(proof("ws://192.168.1.5:8080")),
        run: 1,
        relay_only: false,
        presence: Presence::Either,
        password: None,
        token: None,
        renews_token: false,
        ticket: None,
        connections: Connections::default(),
        metadata: Metadata::new(),
        frame_ms: vec![20],
        redundancy: true,
        seed: 1,
    }
}

fn connected_as(config: MeshConfig, connection: &ServerConnection) -> (Mesh, u32) {
    let mut mesh = Mesh::new(config);
    mesh.connect(Duration::ZERO);
    let Some(MeshOutput::OpenSocket { generation }) = mesh.poll_output() else {
        panic!("it does not connect")
    };
    for event in [SocketEvent::Connected(connection.clone()), SocketEvent::Open] {
        mesh.handle(Duration::ZERO, CarrierEvent::Socket { generation, event });
    }
    (mesh, generation)
}

#[test]
fn the_identity_is_that_of_the_scheme_in_use() {
    for (encrypted, scheme) in [(true, "wss"), (false, "ws")] {
        let connection = ServerConnection::new(encrypted, false, None);
        let (mut mesh, _) = connected(&connection);
        let expected = proof(&format!("{scheme}://192.168.1.5:8080"));
        assert_eq!(mesh.you(), expected.peer_id());
        let texts = std::iter::from_fn(|| mesh.poll_output()).filter_map(|output| match output {
            MeshOutput::SendText { text, .. } => Some(text),
            _ => None,
        });
        let written = texts.collect::<Vec<_>>().join("\n");
        let hex: String = expected.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(written.contains(&hex), "{written}");
        assert_eq!(mesh.server_connection(), Some(&connection));
        assert_eq!(mesh.poll_event(), Some(MeshEvent::ServerConnected(connection)));
    }
}

#[test]
fn a_refusal_that_may_pass_is_told_with_its_code() {
    for code in ["password-wait", "too-many-joins", "a-later-code"] {
        let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
        let text = format!(
            r#"{{"type":"error","code":"{code}","message":"Not now.","fatal":true,"retry_after_ms":500}}"#
        );
        let event = SocketEvent::Text(text);
        mesh.handle(Duration::ZERO, CarrierEvent::Socket { generation, event });
        let told = std::iter::from_fn(|| mesh.poll_event()).last();
        let Some(MeshEvent::ServerAway { why, failure: Some(failure), .. }) = told else {
            panic!("{told:?}")
        };
        assert_eq!((why.as_str(), failure.code()), ("Not now.", code));
    }
}

#[test]
fn that_a_link_was_offered_to_a_member_that_has_left_is_no_warning() {
    let told = |code: &str| {
        let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
        let text =
            format!(r#"{{"type":"error","code":"{code}","message":"It is gone.","fatal":false}}"#);
        mesh.handle(
            Duration::ZERO,
            CarrierEvent::Socket { generation, event: SocketEvent::Text(text) },
        );
        std::iter::from_fn(|| mesh.poll_event())
            .filter(|event| matches!(event, MeshEvent::Warned { .. }))
            .count()
    };
    assert_eq!((told("unknown-peer"), told("over-budget")), (0, 1));
}

#[test]
fn what_became_of_the_rooms_password_is_told_once_and_also_after_a_lost_connection() {
    let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
    let mut said = |generation, text: &str| {
        let event = SocketEvent::Text(text.to_owned());
        mesh.handle(Duration::ZERO, CarrierEvent::Socket { generation, event });
        std::iter::from_fn(|| mesh.poll_event())
            .filter_map(|event| match event {
                MeshEvent::RoomPassword { change } => Some(change.name()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let joined = |session: u32, password: &str| {
        let you = proof("wss://192.168.1.5:8080").peer_id();
        format!(
            r#"{{"type":"joined","you":"{you}","client":1,"session":{session},"room":"room","peers":[],"order":1,"roster":{{"version":1,"hash":"cbf29ce484222325"}},"password":{password}}}"#
        )
    };
    let password =
        |set: bool, number: u32| format!(r#"{{"type":"password","set":{set},"number":{number}}}"#);
    assert_eq!(said(generation, &joined(5, r#"{"set":true,"number":1}"#)), ["present"]);
    assert_eq!(said(generation, &password(true, 1)), [""; 0], "repeated");
    assert_eq!(said(generation, &password(true, 2)), ["changed"]);
    assert_eq!(said(generation, &password(false, 3)), ["removed"]);
    assert_eq!(said(generation, &password(true, 4)), ["set"]);
}

#[test]
fn the_next_join_has_the_password_that_this_member_has_set() {
    let config = MeshConfig { password: Some("before".into()), ..config() };
    let (mut mesh, mut generation) =
        connected_as(config, &ServerConnection::new(true, false, None));
    let you = proof("wss://192.168.1.5:8080").peer_id();
    let joined = format!(
        r#"{{"type":"joined","you":"{you}","client":1,"session":5,"room":"room","peers":[],"order":1,"roster":{{"version":1,"hash":"cbf29ce484222325"}}}}"#
    );
    let refused =
        r##"{"type":"error","code":"not-permitted","message":"No.","fatal":false,"request":#}"##;
    let mut at = Duration::ZERO;
    let mut next_join = |password: Option<&str>, answer: &str| {
        let say = |mesh: &mut Mesh, event| {
            mesh.handle(at, CarrierEvent::Socket { generation, event });
        };
        say(&mut mesh, SocketEvent::Text(joined.clone()));
        let password = password.map(Into::into);
        mesh.moderate(at, TransactionId(1), Moderation::SetPassword { password });
        let sent: Vec<_> = std::iter::from_fn(|| mesh.poll_output()).collect();
        let request = sent.iter().find_map(|output| match output {
            MeshOutput::SendText { text, .. } => {
                let number = text.split_once(r#""type":"moderate","request":"#)?.1;
                number.split(',').next()?.parse::<u32>().ok()
            }
            _ => None,
        });
        let request = request.unwrap_or_else(|| panic!("no decision: {sent:?}"));
        say(&mut mesh, SocketEvent::Text(answer.replace('#', &request.to_string())));
        say(&mut mesh, SocketEvent::Closed("gone".to_owned()));
        at += Duration::from_secs(60);
        mesh.tick(at);
        let mut join = None;
        while let Some(output) = mesh.poll_output() {
            match output {
                MeshOutput::OpenSocket { generation: next } => {
                    generation = next;
                    for event in [
                        SocketEvent::Connected(ServerConnection::new(true, false, None)),
                        SocketEvent::Open,
                    ] {
                        mesh.handle(at, CarrierEvent::Socket { generation, event });
                    }
                }
                MeshOutput::SendText { text, .. } if text.contains(r#""type":"join""#) => {
                    join = Some(text);
                }
                _ => {}
            }
        }
        join.expect("it joins again")
    };
    let join = next_join(Some("set"), r##"{"type":"moderated","request":#}"##);
    assert!(join.contains(r#""password":"set""#), "{join}");
    let join = next_join(Some("refused"), refused);
    assert!(join.contains(r#""password":"set""#), "{join}");
    let join = next_join(None, r##"{"type":"moderated","request":#}"##);
    assert!(!join.contains(r#""password""#), "{join}");
}

#[test]
fn a_failure_to_connect_is_told_with_its_kind() {
    let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
    let failure = ConnectFailure::CertificateNotTrusted;
    let event = SocketEvent::Failed(failure.clone());
    mesh.handle(Duration::ZERO, CarrierEvent::Socket { generation, event });
    let told = std::iter::from_fn(|| mesh.poll_event()).last();
    assert!(
        matches!(&told, Some(MeshEvent::ServerAway { failure: Some(kind), .. }) if *kind == failure),
        "{told:?}"
    );
}

#[test]
fn what_was_to_be_opened_is_not_opened_once_the_room_is_left() {
    let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
    mesh.handle(
        Duration::ZERO,
        CarrierEvent::Socket { generation, event: SocketEvent::Closed("gone".to_owned()) },
    );
    while mesh.poll_output().is_some() {}
    mesh.tick(Duration::from_secs(10));
    mesh.leave(Duration::from_secs(10));
    assert_eq!(mesh.poll_output(), None);
    assert_eq!(mesh.outputs_dropped(), 0);
}

#[test]
fn what_was_to_be_said_before_leaving_is_said() {
    let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
    mesh.ping_server(1);
    mesh.leave(Duration::ZERO);
    let outputs: Vec<_> = std::iter::from_fn(|| mesh.poll_output()).collect();
    let [
        MeshOutput::SendText { .. },
        MeshOutput::SendText { text, .. },
        MeshOutput::CloseSocket { generation: closed },
    ] = outputs.as_slice()
    else {
        panic!("{outputs:?}")
    };
    assert!(text.contains("leave"), "{text}");
    assert_eq!(*closed, generation);
}

#[test]
fn a_join_is_given_up_when_nothing_comes_and_not_while_its_answer_is_on_its_way() {
    let ended_at = |until: u64| {
        let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
        let mut second = 0;
        loop {
            second += 1;
            let now = Duration::from_secs(second);
            if second <= until {
                mesh.handle(
                    now,
                    CarrierEvent::Socket { generation, event: SocketEvent::Receiving },
                );
            }
            mesh.update(now);
            while mesh.poll_network_event().is_some() {}
            let told = std::iter::from_fn(|| mesh.poll_event());
            if told.into_iter().any(|event| matches!(event, MeshEvent::ServerAway { .. })) {
                return second;
            }
        }
    };
    assert_eq!(ended_at(0), 15);
    assert_eq!(ended_at(100), 115);
    assert_eq!(ended_at(u64::MAX), 300, "in the end it is given up all the same");
}

fn texts_sent(mesh: &mut Mesh) -> Vec<String> {
    let outputs = std::iter::from_fn(|| mesh.poll_output());
    let texts = outputs.filter_map(|output| match output {
        MeshOutput::SendText { text, .. } => Some(text),
        _ => None,
    });
    texts.collect()
}

/// The server lets it in, alone in the room.
fn join(mesh: &mut Mesh, generation: u32) {
    let roster = r#"{"version":1,"hash":"0000000000000000"}"#;
    let joined = format!(
        r#"{{"type":"joined","you":"{}","client":1,"session":7,"room":"room","peers":[],"order":1,"roster":{roster}}}"#,
        mesh.you(),
    );
    mesh.handle(
        Duration::ZERO,
        CarrierEvent::Socket { generation, event: SocketEvent::Text(joined) },
    );
    assert!(mesh.connection.has_joined());
}

#[test]
fn a_refused_text_is_told_with_its_words_where_the_server_says_which() {
    let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
    join(&mut mesh, generation);
    let sender = ClientId(1);
    let session = SessionId::new(7).expect("not zero");
    let group = GroupText { sender, group: "Blue", text: "to a group" }.encode(session);
    let private = TextData { sender, recipient: Recipient::Client(ClientId(2)), text: "to one" }
        .encode(session);
    for packet in [group, private] {
        mesh.connection.send_packet(
            Duration::ZERO,
            Reliability::Reliable,
            packet.into(),
            &mut mesh.queues,
        );
    }
    while mesh.poll_event().is_some() {}
    let mut refused = |which: &str| {
        let text = format!(
            r#"{{"type":"error","code":"too-many-messages","message":"Slower.","fatal":false{which}}}"#
        );
        mesh.handle(
            Duration::ZERO,
            CarrierEvent::Socket { generation, event: SocketEvent::Text(text) },
        );
        let Some(MeshEvent::Warned { text, .. }) = mesh.poll_event() else {
            panic!("it is not told")
        };
        text
    };
    assert_eq!(refused(r#","text":1"#).as_deref(), Some("to a group"));
    assert_eq!(refused(r#","text":2"#).as_deref(), Some("to one"));
    assert_eq!(refused(r#","text":3"#), None);
    assert_eq!(refused(""), None);
}

#[test]
fn what_was_to_be_published_and_was_not_answered_is_said_by_the_next_join() {
    let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
    join(&mut mesh, generation);
    let _ = texts_sent(&mut mesh);
    mesh.publish(Duration::ZERO, [("recording".to_owned(), Some("on".to_owned()))].into());
    let asked = texts_sent(&mut mesh).join(" ");
    let request = asked
        .split_once(r#""request":"#)
        .and_then(|(_, rest)| rest.split_once(','))
        .expect("a request")
        .0;
    let own =
        format!(r#"{{"type":"metadata","peer":"{}","metadata":{{"recording":"on"}}}}"#, mesh.you());
    let set = format!(r#"{{"type":"metadata-set","request":{request}}}"#);
    for text in [own, set] {
        mesh.handle(
            Duration::ZERO,
            CarrierEvent::Socket { generation, event: SocketEvent::Text(text) },
        );
    }
    assert_eq!(mesh.lobby.own().get("recording").map(String::as_str), Some("on"));
    mesh.publish(Duration::ZERO, [("recording".to_owned(), None)].into());
    let is_asked = |texts: &[String]| texts.iter().any(|text| text.contains("set-metadata"));
    assert!(is_asked(&texts_sent(&mut mesh)));
    // Something comes all the time, but no answer.
    for second in 1..=12 {
        mesh.handle(
            Duration::from_secs(second),
            CarrierEvent::Socket { generation, event: SocketEvent::Receiving },
        );
        mesh.tick(Duration::from_secs(second));
    }
    let gone = SocketEvent::Closed("gone".to_owned());
    mesh.handle(Duration::from_secs(12), CarrierEvent::Socket { generation, event: gone });
    let mut second = 12;
    let generation = loop {
        second += 1;
        assert!(second < 60, "it does not come back");
        mesh.tick(Duration::from_secs(second));
        let opened = std::iter::from_fn(|| mesh.poll_output()).find_map(|output| match output {
            MeshOutput::OpenSocket { generation } => Some(generation),
            _ => None,
        });
        if let Some(generation) = opened {
            break generation;
        }
    };
    mesh.handle(
        Duration::from_secs(second),
        CarrierEvent::Socket { generation, event: SocketEvent::Open },
    );
    let texts = texts_sent(&mut mesh);
    let join = texts.iter().find(|text| text.contains(r#""type":"join""#)).expect("a join");
    assert!(!join.contains("recording"), "{join}");
}

#[test]
fn a_change_that_waits_can_be_taken_back() {
    let (mut mesh, _) = connected(&ServerConnection::new(true, false, None));
    let change = [("seat".to_owned(), Some("3".to_owned()))];
    mesh.transact(Duration::ZERO, TransactionId(1), MetadataScope::Own, change.into());
    assert!(mesh.withdraw(TransactionId(1)));
    assert!(!mesh.withdraw(TransactionId(1)));
    mesh.tick(Duration::from_secs(100));
    let is_done = |event| matches!(event, MeshEvent::TransactionDone { .. });
    assert!(!std::iter::from_fn(|| mesh.poll_event()).any(is_done));
}

/// Its connection lives for 20 s, of which 8 have passed when the server lets it in.
fn with_a_lifetime() -> (Mesh, u32) {
    let config = MeshConfig { renews_token: true, relay_only: true, ..config() };
    let (mut mesh, generation) = connected_as(config, &ServerConnection::new(true, false, None));
    let answer = joined(&mesh, "");
    say(&mut mesh, 8_000, generation, &answer);
    assert!(mesh.connection.has_joined());
    (mesh, generation)
}

#[test]
fn changes_that_come_as_one_count_as_so_many_also_of_a_member_that_is_not_known() {
    let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
    let answer = joined(&mesh, "");
    say(&mut mesh, 0, generation, &answer);
    let own = PeerInfo {
        peer: mesh.you(),
        client: ClientId(1),
        run: 1,
        name: "Ada".to_owned(),
        metadata: Metadata::new(),
        capabilities: Capabilities::default(),
        order: 1,
        status: MemberStatus::default(),
        permissions: Permissions::default(),
        held_in: Vec::new(),
    };
    let stranger = proof("wss://elsewhere.example").peer_id();
    let asks = |mesh: &mut Mesh, version| {
        while mesh.poll_output().is_some() {}
        let mark = RosterMark { version, hash: roster_hash([&own]) };
        say(mesh, 0, generation, &ServerMessage::RosterMark(mark).to_json());
        let said = std::iter::from_fn(|| mesh.poll_output());
        said.filter(
            |output| matches!(output, MeshOutput::SendText { text, .. } if text.contains("roster")),
        )
        .count()
    };
    assert_eq!(asks(&mut mesh, 1), 0, "as it was told");
    for (peer, changes) in [(mesh.you(), 3), (stranger, 2), (mesh.you(), 1)] {
        let message = ServerMessage::Metadata { peer, metadata: Metadata::new(), changes };
        say(&mut mesh, 0, generation, &message.to_json());
    }
    assert_eq!(asks(&mut mesh, 7), 0, "nothing was missed");
    assert_eq!(asks(&mut mesh, 8), 1);
    assert!(std::iter::from_fn(|| mesh.poll_event()).all(
        |event| !matches!(event, MeshEvent::MetadataChanged { peer, .. } if peer == stranger)
    ));
}

fn joined(mesh: &Mesh, more: &str) -> String {
    let roster = r#"{"version":1,"hash":"0000000000000000"}"#;
    let limits = r#"{"connection_lifetime_ms":20000}"#;
    format!(
        r#"{{"type":"joined","you":"{}","client":1,"session":7,"room":"room","peers":[],"order":1,"roster":{roster},"limits":{limits}{more}}}"#,
        mesh.you(),
    )
}

fn say(mesh: &mut Mesh, at_ms: u64, generation: u32, text: &str) {
    let event = SocketEvent::Text(text.to_owned());
    let now = Duration::from_millis(at_ms);
    mesh.handle(now, CarrierEvent::Socket { generation, event });
}

/// Moves on until another connection is opened, with something from the server all the time. Gives
/// when, and its number.
fn next_opening(mesh: &mut Mesh, from_ms: u64, in_use: u32) -> (u64, u32) {
    while mesh.poll_output().is_some() {}
    for at_ms in (from_ms..from_ms + 60_000).step_by(100) {
        let now = Duration::from_millis(at_ms);
        let event = SocketEvent::Receiving;
        mesh.handle(now, CarrierEvent::Socket { generation: in_use, event });
        mesh.tick(now);
        while let Some(output) = mesh.poll_output() {
            match output {
                MeshOutput::OpenSocket { generation } => return (at_ms, generation),
                // What it asks is answered.
                MeshOutput::SendText { generation, text } if text.contains("ping") => {
                    say(mesh, at_ms, generation, &text.replace("ping", "pong"));
                }
                _ => {}
            }
        }
    }
    panic!("no other connection is opened");
}

fn open(mesh: &mut Mesh, at_ms: u64, generation: u32) {
    let now = Duration::from_millis(at_ms);
    mesh.handle(now, CarrierEvent::Socket { generation, event: SocketEvent::Open });
}

#[test]
fn the_life_of_a_connection_counts_from_when_it_was_begun_and_not_from_the_join() {
    let (mut mesh, generation) = with_a_lifetime();
    let (at_ms, _) = next_opening(&mut mesh, 8_000, generation);
    assert!((15_000..=18_000).contains(&at_ms), "after {at_ms} ms");
}

#[test]
fn a_token_that_the_next_connection_needs_is_asked_for_at_once_and_once() {
    let (mut mesh, generation) = with_a_lifetime();
    let expired =
        r#"{"type":"error","code":"token-expired","message":"It has expired.","fatal":true}"#;
    let mut from_ms = 8_000;
    for asked in [1, 0] {
        let (at_ms, next) = next_opening(&mut mesh, from_ms, generation);
        open(&mut mesh, at_ms, next);
        while mesh.poll_event().is_some() {}
        say(&mut mesh, at_ms, next, expired);
        let events: Vec<_> = std::iter::from_fn(|| mesh.poll_event()).collect();
        let is_question = |event: &&MeshEvent| matches!(event, MeshEvent::TokenNeeded { .. });
        assert_eq!(events.iter().filter(is_question).count(), asked, "{events:?}");
        assert_eq!(events.len(), asked, "the connection in use goes on: {events:?}");
        from_ms = at_ms;
    }
    while mesh.poll_output().is_some() {}
    mesh.set_token(Duration::from_millis(from_ms), "another".into());
    let opened = std::iter::from_fn(|| mesh.poll_output()).find_map(|output| match output {
        MeshOutput::OpenSocket { generation } => Some(generation),
        _ => None,
    });
    open(&mut mesh, from_ms, opened.expect("another attempt"));
    let said = texts_sent(&mut mesh).join(" ");
    assert!(said.contains(r#""token":"another""#), "{said}");
}

#[test]
fn what_members_sent_on_the_former_connection_is_still_taken_for_a_while() {
    let (mut mesh, former) = with_a_lifetime();
    let (at_ms, next) = next_opening(&mut mesh, 8_000, former);
    open(&mut mesh, at_ms, next);
    let taken_over = joined(&mesh, r#","taken_over":{"metadata":{}}"#);
    say(&mut mesh, at_ms, next, &taken_over);
    let session = SessionId::new(7).expect("not zero");
    let text =
        TextData { sender: ClientId(2), recipient: Recipient::Client(ClientId(1)), text: "hi" };
    let removed = voicemesh_wire::packet::RemoveClient { client: ClientId(2) }.encode(session);
    let text: Vec<u8> = text.encode(session);
    let voice = [&[0x8b, 0xc7, 2][..], &7u32.to_be_bytes(), &[0, 2]].concat();
    let mut takes = |after_ms: u64, packet: &[u8]| {
        let now = Duration::from_millis(at_ms + after_ms);
        mesh.update(now);
        while mesh.poll_network_event().is_some() {}
        let event = SocketEvent::Packet(packet.to_vec().into());
        mesh.handle(now, CarrierEvent::Socket { generation: former, event });
        std::iter::from_fn(|| mesh.poll_network_event())
            .any(|event| matches!(event, NetworkEvent::FromServer(_)))
    };
    assert!(takes(100, &text) && takes(100, &voice));
    assert!(!takes(100, &removed), "what the server says of the session is older");
    assert!(takes(600, &text) && !takes(600, &voice), "it has waited");
    assert!(!takes(2_000, &text));
    let closed = std::iter::from_fn(|| mesh.poll_output())
        .filter(|output| *output == MeshOutput::CloseSocket { generation: former });
    assert_eq!(closed.count(), 1);
}

/// Something comes on a connection in use until then, so that nothing but time changes.
fn stay(mesh: &mut Mesh, from_ms: u64, until_ms: u64, in_use: u32) {
    for at_ms in (from_ms..until_ms).step_by(100) {
        let now = Duration::from_millis(at_ms);
        let event = SocketEvent::Receiving;
        mesh.handle(now, CarrierEvent::Socket { generation: in_use, event });
        mesh.tick(now);
        while let Some(output) = mesh.poll_output() {
            if let MeshOutput::SendText { generation, text } = output
                && text.contains("ping")
            {
                say(mesh, at_ms, generation, &text.replace("ping", "pong"));
            }
        }
    }
}

/// Lets the next connection take over; gives when, and both numbers.
fn taken_over(mesh: &mut Mesh, from_ms: u64, former: u32) -> (u64, u32) {
    let (at_ms, next) = next_opening(mesh, from_ms, former);
    open(mesh, at_ms, next);
    let answer = joined(mesh, r#","taken_over":{"metadata":{}}"#);
    say(mesh, at_ms, next, &answer);
    (at_ms, next)
}

#[test]
fn the_life_of_a_renewed_connection_counts_from_when_that_one_was_begun() {
    let (mut mesh, first) = with_a_lifetime();
    let (begun_ms, second) = next_opening(&mut mesh, 8_000, first);
    open(&mut mesh, begun_ms + 500, second);
    let at_ms = begun_ms + 3_900;
    stay(&mut mesh, begun_ms + 500, at_ms, first);
    let answer = joined(&mesh, r#","taken_over":{"metadata":{}}"#);
    say(&mut mesh, at_ms, second, &answer);
    let (next_ms, _) = next_opening(&mut mesh, at_ms, second);
    let after_ms = next_ms - begun_ms;
    assert!((14_000..=18_100).contains(&after_ms), "after {after_ms} ms");
}

#[test]
fn after_a_sleep_no_speech_is_taken_from_the_former_connection() {
    for slept in [false, true] {
        let (mut mesh, former) = with_a_lifetime();
        let change = if slept { PathChange::Woke } else { PathChange::Changed };
        mesh.handle(Duration::from_millis(8_000), CarrierEvent::Path(change));
        let opened = std::iter::from_fn(|| mesh.poll_output()).find_map(|output| match output {
            MeshOutput::OpenSocket { generation } => Some(generation),
            _ => None,
        });
        let next = opened.expect("another connection at once");
        open(&mut mesh, 8_000, next);
        let answer = joined(&mesh, r#","taken_over":{"metadata":{}}"#);
        say(&mut mesh, 8_000, next, &answer);
        let now = Duration::from_millis(8_100);
        mesh.update(now);
        while mesh.poll_network_event().is_some() {}
        let voice = [&[0x8b, 0xc7, 2][..], &7u32.to_be_bytes(), &[0, 2]].concat();
        let event = SocketEvent::Packet(voice.into());
        mesh.handle(now, CarrierEvent::Socket { generation: former, event });
        let is_taken = std::iter::from_fn(|| mesh.poll_network_event())
            .any(|event| matches!(event, NetworkEvent::FromServer(_)));
        assert_eq!(is_taken, !slept);
    }
}

#[test]
fn answers_to_requests_are_taken_from_the_former_connection() {
    let (mut mesh, former) = with_a_lifetime();
    let now = Duration::from_millis(8_000);
    for id in [1, 2] {
        mesh.moderate(now, TransactionId(id), Moderation::Lock);
    }
    let (at_ms, _) = taken_over(&mut mesh, 8_000, former);
    while mesh.poll_event().is_some() {}
    say(&mut mesh, at_ms, former, r#"{"type":"moderated","request":1}"#);
    let refused =
        r#"{"type":"error","code":"not-moderator","message":"No.","fatal":false,"request":2}"#;
    say(&mut mesh, at_ms, former, refused);
    say(&mut mesh, at_ms, former, r#"{"type":"locked","locked":true}"#);
    let events: Vec<_> = std::iter::from_fn(|| mesh.poll_event()).collect();
    let results: Vec<_> = events
        .iter()
        .map(|event| match event {
            MeshEvent::TransactionDone { transaction, result } => (transaction.0, result.is_ok()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(results, [(1, true), (2, false)]);
}

#[test]
fn a_refused_token_is_not_tried_again_and_others_wait_longer_with_each_refusal() {
    let config = MeshConfig { renews_token: true, token: Some("0".into()), ..config() };
    let (mut mesh, mut generation) =
        connected_as(config, &ServerConnection::new(true, false, None));
    let refused = r#"{"type":"error","code":"token-invalid","message":"No.","fatal":true}"#;
    let mut at_ms = 0;
    let mut waits = Vec::new();
    for number in 0..5 {
        say(&mut mesh, at_ms, generation, refused);
        mesh.set_token(Duration::from_millis(at_ms), number.to_string().as_str().into());
        mesh.set_token(Duration::from_millis(at_ms), (number + 1).to_string().as_str().into());
        let from_ms = at_ms;
        generation = loop {
            mesh.tick(Duration::from_millis(at_ms));
            let opened =
                std::iter::from_fn(|| mesh.poll_output()).find_map(|output| match output {
                    MeshOutput::OpenSocket { generation } => Some(generation),
                    _ => None,
                });
            if let Some(generation) = opened {
                break generation;
            }
            at_ms += 100;
            assert!(at_ms < from_ms + 60_000);
        };
        waits.push((at_ms - from_ms) / 1000);
        open(&mut mesh, at_ms, generation);
    }
    assert_eq!(waits, [0, 1, 2, 4, 8]);
}

#[test]
fn a_token_that_is_needed_again_after_a_join_with_the_one_in_use_is_asked_for_again() {
    let (mut mesh, mut in_use) = with_a_lifetime();
    let expired =
        r#"{"type":"error","code":"token-expired","message":"It has expired.","fatal":true}"#;
    let mut at_ms = 8_000;
    for _ in 0..2 {
        let (refused_ms, next) = next_opening(&mut mesh, at_ms, in_use);
        open(&mut mesh, refused_ms, next);
        while mesh.poll_event().is_some() {}
        say(&mut mesh, refused_ms, next, expired);
        let asks = std::iter::from_fn(|| mesh.poll_event())
            .any(|event| matches!(event, MeshEvent::TokenNeeded { .. }));
        assert!(asks);
        (at_ms, in_use) = taken_over(&mut mesh, refused_ms, in_use);
    }
}

#[test]
fn a_machine_that_slept_counts_the_silence_of_the_server_from_its_waking() {
    let lost_after = |sleeps: bool| {
        let (mut mesh, generation) = connected(&ServerConnection::new(true, false, None));
        join(&mut mesh, generation);
        while mesh.poll_event().is_some() {}
        let woke = Duration::from_secs(600);
        if sleeps {
            mesh.handle(woke, CarrierEvent::Path(PathChange::Woke));
        }
        // Timers run: nothing has come for too long.
        mesh.update(woke);
        while mesh.poll_network_event().is_some() {}
        let away = std::iter::from_fn(|| mesh.poll_event()).find_map(|event| match event {
            MeshEvent::ServerAway { silent_for, .. } => Some(silent_for),
            _ => None,
        });
        away.expect("it is told")
    };
    assert_eq!(lost_after(false), Duration::from_secs(600));
    assert_eq!(lost_after(true), Duration::ZERO);
}
