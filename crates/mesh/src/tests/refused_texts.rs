//! Written messages that the server refuses while another connection takes over.

use super::*;

fn write(mesh: &mut Mesh, at_ms: u64, text: &str) {
    let session = SessionId::new(7).expect("not zero");
    let recipient = Recipient::Client(ClientId(2));
    let packet = TextData { sender: ClientId(1), recipient, text }.encode(session);
    mesh.send_to_server(Duration::from_millis(at_ms), Reliability::Reliable, packet.into());
}

fn refusal(number: u32) -> String {
    format!(
        r#"{{"type":"error","code":"not-permitted","message":"No.","fatal":false,"text":{number}}}"#
    )
}

/// The words of those that are reported as refused.
fn refused(mesh: &mut Mesh) -> Vec<Option<String>> {
    let warned = std::iter::from_fn(|| mesh.poll_event()).filter_map(|event| match event {
        MeshEvent::Warned { text, .. } => Some(text),
        _ => None,
    });
    warned.collect()
}

#[test]
fn a_refusal_that_comes_on_the_former_connection_is_told_once_and_with_its_words() {
    let (mut mesh, former) = with_a_lifetime();
    for text in ["one", "two"] {
        write(&mut mesh, 8_000, text);
    }
    let (at_ms, next) = next_opening(&mut mesh, 8_000, former);
    open(&mut mesh, at_ms, next);
    // The server does not read it on that connection: it is sent again.
    write(&mut mesh, at_ms, "three");
    let answer = joined(&mesh, r#","taken_over":{"metadata":{},"texts":2}"#);
    say(&mut mesh, at_ms, next, &answer);
    refused(&mut mesh);
    say(&mut mesh, at_ms, former, &refusal(2));
    assert_eq!(refused(&mut mesh), [Some("two".to_owned())]);
    say(&mut mesh, at_ms, former, &refusal(3));
    assert_eq!(refused(&mut mesh), [], "it is refused again, where it was sent again");
    say(&mut mesh, at_ms, next, &refusal(1));
    assert_eq!(refused(&mut mesh), [Some("three".to_owned())]);
}
