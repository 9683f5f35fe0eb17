//! The operator's own requests, by the token of a variable, and their lines in the log.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use voicemesh_tests::process::binary;
use voicemesh_tests::room::PATIENCE;

use crate::client::{Member, patiently, run};
use crate::memory::WatchedServer as Server;

const TOKEN: &str = "a-token-of-the-operators-tests";

async fn ask(admin: SocketAddr, token: &str, line: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.expect("it listens");
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    patiently("an answer", stream.read_to_string(&mut answer)).await.expect("a text");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn every_request_of_the_operator_is_one_line_in_the_log_and_none_has_a_name_or_the_token() {
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let mut command = Command::new(binary("voicemesh-signaling"));
    command.env("VOICEMESH_ADMIN_TOKEN", TOKEN).env("VOICEMESH_ADMIN_LISTEN", free.to_string());
    let mut server = Server::start_by(command, Ipv4Addr::LOCALHOST, 0, &[]);
    run(async {
        let member = Member::join(&server, "secret-room", "secret-name").await;
        let body = format!(r#"{{"peer":"{}"}}"#, member.joined.you);
        for (token, line, body, status, said) in [
            (TOKEN, "GET /rooms", "", "200", "admin: listed 1 rooms"),
            (
                TOKEN,
                "GET /rooms/secret-room/members",
                "",
                "200",
                "admin: listed 1 members of a room",
            ),
            (TOKEN, "GET /rooms/secret-room/bans", "", "200", "admin: listed 0 bans of a room"),
            (
                TOKEN,
                "GET /rooms/no-secret-room/members",
                "",
                "404",
                "admin: members of a room that is not there",
            ),
            (
                TOKEN,
                "GET /rooms/no-secret-room/bans",
                "",
                "404",
                "admin: bans of a room that is not there",
            ),
            (TOKEN, "POST /rooms/secret-room/unban", &body, "404", "admin: unban"),
            (TOKEN, "POST /rooms/secret-room/kick", &body, "200", "admin: kick"),
            (
                "a-wrong-token-of-the-tests",
                "GET /rooms",
                "",
                "401",
                "admin: a request without the token",
            ),
            (TOKEN, "POST /drain", "", "200", "admin: drain"),
        ] {
            assert_eq!(ask(free, token, line, body).await, status, "{line}");
            let logged = server.program.wait_for_line("voicemesh_signaling::audit", PATIENCE);
            assert!(logged.contains(said), "{line}: {logged}");
        }
        let transcript = server.program.transcript();
        assert!(
            !transcript.contains("secret-") && !transcript.contains("-token-of"),
            "{transcript}"
        );
    });
}
