//! Real sockets on loopback: servers, things that are none, and proxies.

mod proxies;
mod world;

use std::fs;

use rcgen::date_time_ymd;
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use race::race;
use world::{Answer, Certified, World, run};

#[test]
fn an_address_that_swallows_connections_does_not_keep_the_next_one_from_winning() {
    run(async {
        // A listener that accepts nothing, with its queue full: the system drops further
        // connections, as a black hole does.
        let full = TcpSocket::new_v4().expect("a socket");
        full.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let full = full.listen(0).expect("a listener");
        let hole = full.local_addr().expect("its address");
        let mut fillers = Vec::new();
        let quick = Duration::from_millis(100);
        while let Ok(Ok(stream)) = timeout(quick, TcpStream::connect(hole)).await {
            fillers.push(stream);
            assert!(fillers.len() < 16, "this system's queue cannot be filled");
        }
        let world = World::start(Answer::WebSocket).await;
        let began = std::time::Instant::now();
        let (addresses, nothing) = ([hole, world.address], std::future::ready(Vec::new()));
        let raced = race(
            &addresses,
            nothing,
            <[SocketAddr]>::to_vec,
            Duration::from_secs(10),
            TcpStream::connect,
        )
        .await;
        let (winner, _) = raced.expect("one of them");
        assert_eq!(winner, world.address);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

#[test]
fn a_server_is_reached_at_its_path() {
    run(async {
        let world = World::start(Answer::WebSocket).await;
        let connection =
            world.connect(&world.url("ws", "/tea/r/lobby")).await.expect("a connection");
        assert_eq!(connection, ServerConnection::new(false, true, None));
        assert_eq!(world.requests(), ["GET /tea/ws HTTP/1.1"]);
    });
}

#[test]
fn what_answers_instead_of_a_server_is_named() {
    run(async {
        let portal = "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>Sign in!\n";
        let redirecting =
            "HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n";
        let status =
            |status: u16| Answer::Text(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        for (answer, expected) in [
            (Answer::Text(portal.to_owned()), "web-page"),
            (Answer::Text(redirecting.to_owned()), "web-page"),
            (
                Answer::Text("HTTP/1.1 301 X\r\nLocation: https://127.0.0.1/ws\r\n\r\n".to_owned()),
                "redirected",
            ),
            (
                Answer::Text(
                    "HTTP/1.1 400 X\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
                        .to_owned(),
                ),
                "wants-tls",
            ),
            (status(511), "sign-in-required"),
            (status(403), "http-status"),
            (status(404), "http-status"),
            (status(426), "http-status"),
            (status(502), "http-status"),
            (Answer::Text("220 mail.example ESMTP\r\n\r\n".to_owned()), "not-voicemesh"),
            (Answer::Text(String::new()), "ended"),
        ] {
            let world = World::start(answer.clone()).await;
            let failure = world.connect(&world.url("ws", "")).await.expect_err("no server");
            assert_eq!(failure.code(), expected, "{answer:?}: {failure}");
        }
    });
}

#[test]
fn where_nothing_listens_that_is_said() {
    run(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let failure = World::connector(&format!("ws://{address}"), |_| {})
            .connect(WebSocketConfig::default(), &|_| {})
            .await;
        let failure = failure.map(|_| ()).expect_err("the listener is gone");
        assert_eq!(
            failure.to_string(),
            format!(
                "it refuses the connection; nothing seems to listen on port {}",
                address.port()
            )
        );
        let failure = World::connector("ws://[fe80::1]:8080", |_| {})
            .connect(WebSocketConfig::default(), &|_| {})
            .await;
        assert_eq!(failure.map(|_| ()).expect_err("no interface"), ConnectFailure::ZoneMissing);
        let failure = World::connector("ws://[fe80::1%nosuch0]:8080", |_| {})
            .connect(WebSocketConfig::default(), &|_| {})
            .await;
        assert_eq!(
            failure.map(|_| ()).expect_err("no interface"),
            ConnectFailure::UnknownZone("nosuch0".into())
        );
    });
}

#[test]
fn each_fault_of_a_certificate_has_its_name() {
    run(async {
        let good = Certified::new("127.0.0.1", |_| {});
        let expired =
            Certified::new("127.0.0.1", |params| params.not_after = date_time_ymd(2020, 1, 1));
        let early =
            Certified::new("127.0.0.1", |params| params.not_before = date_time_ymd(2190, 1, 1));
        let other_name = Certified::new("other.example", |_| {});
        for (certified, is_named, expected) in [
            (&good, false, None),
            (&good, true, Some(Ok(()))),
            (&expired, true, Some(Err("certificate-expired"))),
            (&early, true, Some(Err("certificate-not-yet-valid"))),
            (&other_name, true, Some(Err("certificate-for-other-name"))),
        ] {
            let world = World::start(Answer::Tls(certified.acceptor())).await;
            let named = is_named.then(|| certified.file());
            let connected = world.connect_trusting(&world.url("wss", ""), named.as_deref()).await;
            let connected =
                connected.map(|connection| assert!(connection.encrypted)).map_err(|failure| {
                    assert!(!failure.to_string().contains("DnsName"), "{failure}");
                    failure.code().to_owned()
                });
            let connected = connected.as_ref().copied().map_err(String::as_str);
            match expected {
                Some(expected) => assert_eq!(connected, expected),
                // Systems without certificates have their own sentence.
                None => {
                    assert!(
                        matches!(connected, Err("certificate-not-trusted" | "no-trusted-roots")),
                        "{connected:?}"
                    )
                }
            }
        }
    });
}

#[test]
fn a_machine_that_trusts_no_one_is_told_apart_from_a_certificate_that_is_not_trusted() {
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let error = io::Error::new(io::ErrorKind::InvalidData, unknown);
    for (trust_is_empty, code) in [(true, "no-trusted-roots"), (false, "certificate-not-trusted")] {
        let failure = not_secured("voice.example", &error, &[22, 3, 3], trust_is_empty);
        assert_eq!(failure.code(), code);
    }
}

/// What is public is the certificate; only the server has its key.
#[test]
fn a_named_certificate_is_not_accepted_from_one_without_its_key() {
    run(async {
        let own = Certified::new("127.0.0.1", |_| {});
        let thief = Certified::new("127.0.0.1", |_| {});
        let world = World::start(Answer::Tls(own.acceptor_with_the_key_of(&thief))).await;
        let url = world.url("wss", "");
        let failure = world.connect_trusting(&url, Some(&own.file())).await;
        let failure = failure.map(|_| ()).expect_err("it cannot sign");
        println!("{failure:?}");
        assert_eq!(world.accepted(), 1);
        assert_eq!(world.requests(), [""; 0], "nothing is asked of it");
        let world = World::start(Answer::Tls(own.acceptor())).await;
        let url = world.url("wss", "");
        world.connect_trusting(&url, Some(&own.file())).await.expect("the same with its key");
    });
}

#[test]
fn a_server_without_tls_is_named_with_the_address_to_write() {
    run(async {
        let world = World::start(Answer::WebSocket).await;
        let failure = world.connect(&world.url("wss", "/tea")).await.expect_err("no TLS");
        let plain = world.url("ws", "/tea");
        assert_eq!(
            failure,
            ConnectFailure::NotTls { plain, plain_not_tried: PlainNotTried::SchemeGiven }
        );
        let certified = Certified::new("127.0.0.1", |_| {});
        let world = World::start(Answer::Tls(certified.acceptor())).await;
        let failure = world.connect(&world.url("ws", "")).await.expect_err("TLS");
        assert_eq!(failure, ConnectFailure::WantsTls { secured: world.url("wss", "") });
    });
}

/// An address of loopback that is not taken for this machine when it is written without a scheme,
/// as one of the local network would not be.
fn bare(world: &World) -> String {
    format!("[::ffff:127.0.0.1]:{}", world.address.port())
}

#[test]
fn a_bare_local_address_falls_back_to_plain_and_keeps_to_it() {
    run(async {
        let world = World::start(Answer::WebSocket).await;
        let folder = world.folder();
        let connector =
            World::connector(&bare(&world), |given| given.state_dir = Some(folder.clone()));
        assert!(connector.may_go_without_tls());
        for _ in 0..2 {
            let (_, connection) =
                connector.connect(WebSocketConfig::default(), &|_| {}).await.expect("a connection");
            assert!(!connection.encrypted);
        }
        assert_eq!(world.requests(), ["GET /ws HTTP/1.1", "GET /ws HTTP/1.1"]);
        assert_eq!(world.accepted(), 3, "TLS was tried once");
        // A token that the program gives later is not to be read on the way.
        connector.keeps_secret();
        let requests = world.requests().len();
        match connector.connect(WebSocketConfig::default(), &|_| {}).await.map(|_| ()) {
            Err(ConnectFailure::NotTls { plain_not_tried, .. }) => {
                assert_eq!(plain_not_tried, PlainNotTried::Secret);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.requests().len(), requests, "nothing more was sent that could be read");
    });
}

#[test]
fn no_secret_and_no_public_name_goes_without_tls_by_itself() {
    run(async {
        let world = World::start(Answer::WebSocket).await;
        let folder = world.folder();
        let why = async |url: &str, change: &dyn Fn(&mut world::Given)| {
            let connector = World::connector(url, |given| {
                given.state_dir = Some(folder.clone());
                change(given);
            });
            assert!(!connector.may_go_without_tls());
            match connector.connect(WebSocketConfig::default(), &|_| {}).await.map(|_| ()) {
                Err(ConnectFailure::NotTls { plain_not_tried, .. }) => plain_not_tried,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            why(&bare(&world), &|given| given.has_secret = true).await,
            PlainNotTried::Secret
        );
        assert_eq!(
            why(&bare(&world), &|given| given.state_dir = None).await,
            PlainNotTried::NotRemembered
        );
        let scheme = format!("wss://{}", bare(&world));
        assert_eq!(why(&scheme, &|_| {}).await, PlainNotTried::SchemeGiven);
        assert_eq!(world.requests(), [""; 0], "nothing was sent that could be read");
    });
}

#[test]
fn a_public_host_is_never_tried_without_tls() {
    let folder = std::env::temp_dir();
    for url in ["voice.example:8080", "voice.example", "203.0.113.5:8080", "[2001:db8::5]:8080"] {
        let connector = World::connector(url, |given| given.state_dir = Some(folder.clone()));
        assert!(!connector.may_go_without_tls(), "{url}");
        assert_eq!(connector.plain_not_tried(), Some(PlainNotTried::PublicHost), "{url}");
    }
}

#[test]
fn a_server_that_spoke_tls_is_never_joined_without_it_again() {
    run(async {
        let certified = Certified::new("127.0.0.1", |_| {});
        let world = World::start(Answer::Tls(certified.acceptor())).await;
        let (folder, url) = (world.folder(), bare(&world));
        let connector = || World::connector(&url, |given| given.state_dir = Some(folder.clone()));
        assert!(connector().may_go_without_tls());
        // That its certificate is not trusted makes no difference: it spoke TLS.
        assert!(connector().connect(WebSocketConfig::default(), &|_| {}).await.is_err());
        let impostor = world.replaced_by(Answer::WebSocket).await;
        let connector = connector();
        assert!(!connector.may_go_without_tls());
        match connector.connect(WebSocketConfig::default(), &|_| {}).await.map(|_| ()) {
            Err(ConnectFailure::NotTls { plain_not_tried, .. }) => {
                assert_eq!(plain_not_tried, PlainNotTried::SpokeTlsBefore);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(impostor.requests(), [""; 0]);
        fs::remove_dir_all(folder).expect("the folder");
    });
}

#[test]
fn an_address_that_falls_silent_is_tried_last_and_forgiven_when_it_answers() {
    let connector = World::connector("ws://127.0.0.1:1", |_| {});
    let address = |last: u8| Some(SocketAddr::from(([127, 0, 0, last], 1)));
    let failed: Result<(), _> = Err(ConnectFailure::Silent);
    for last in 0..40 {
        connector.judge_address(address(last), &failed);
    }
    assert_eq!(connector.learnt().suspects.len(), MAX_SUSPECTS);
    connector.judge_address(address(39), &Ok(()));
    assert_eq!(connector.learnt().suspects.len(), MAX_SUSPECTS - 1);
    connector.judge_address(None, &failed);
    connector.judge_address(address(1), &Err::<(), _>(ConnectFailure::Status(404)));
    assert_eq!(connector.learnt().suspects.len(), MAX_SUSPECTS - 1);
}
