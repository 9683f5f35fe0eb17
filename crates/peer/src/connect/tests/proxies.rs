//! Proxies, written here: CONNECT and SOCKS 5.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::world::{Answer, Certified, World, run};
use super::*;

/// What a proxy asks for.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Nothing,
    /// The user "ann" with the password "p:w".
    Password,
    /// Something that this program cannot do.
    Ntlm,
}

/// A proxy on loopback; it ends when it is dropped. It connects every name to `target`.
struct ProxyWorld {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ProxyWorld {
    async fn start(asks: Asks, target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = asked.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let told = told.clone();
                tokio::spawn(async move {
                    let mut first = [0];
                    let _ = stream.peek(&mut first).await;
                    let wanted = match first {
                        [5] => socks5(&mut stream, asks).await,
                        _ => connect(&mut stream, asks).await,
                    };
                    let Some(wanted) = wanted else { return };
                    told.lock().expect("no panic").push(wanted);
                    let mut server = TcpStream::connect(target).await.expect("the server");
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                });
            }
        });
        Self { address, asked, task }
    }

    fn proxy(&self, scheme: &str, user: &str) -> Proxy {
        Proxy::parse(&format!("{scheme}://{user}{}", self.address)).expect("a proxy")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl Drop for ProxyWorld {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the client wants to be connected to, if it may.
async fn connect(stream: &mut TcpStream, asks: Asks) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("text");
    let may = match asks {
        Asks::Nothing => true,
        // "ann:p:w"
        Asks::Password => head.contains("Proxy-Authorization: Basic YW5uOnA6dw==\r\n"),
        Asks::Ntlm => false,
    };
    let scheme = if asks == Asks::Ntlm { "NTLM" } else { "Basic realm=\"x\"" };
    let answer = match may {
        true => "HTTP/1.1 200 Connection established\r\n\r\n".to_owned(),
        false => format!(
            "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: {scheme}\r\nContent-Length: 0\r\n\r\n"
        ),
    };
    stream.write_all(answer.as_bytes()).await.expect("written");
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    may.then(|| target.expect("a CONNECT").to_owned())
}

async fn socks5(stream: &mut TcpStream, asks: Asks) -> Option<String> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await.ok()?;
    let mut methods = vec![0; greeting[1].into()];
    stream.read_exact(&mut methods).await.ok()?;
    let wanted = if asks == Asks::Nothing { 0 } else { 2 };
    if !methods.contains(&wanted) {
        stream.write_all(&[5, 0xFF]).await.ok()?;
        return None;
    }
    stream.write_all(&[5, wanted]).await.ok()?;
    if wanted == 2 {
        let mut words = Vec::new();
        let _version = stream.read_u8().await.ok()?;
        for _ in 0..2 {
            let mut word = vec![0; stream.read_u8().await.ok()?.into()];
            stream.read_exact(&mut word).await.ok()?;
            words.push(word);
        }
        let may = words == [b"ann".to_vec(), b"p:w".to_vec()];
        stream.write_all(&[1, u8::from(!may)]).await.ok()?;
        if !may {
            return None;
        }
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.ok()?;
    let length = match request[3] {
        1 => 4,
        4 => 16,
        _ => stream.read_u8().await.ok()?.into(),
    };
    let mut host = vec![0; length];
    stream.read_exact(&mut host).await.ok()?;
    let port = stream.read_u16().await.ok()?;
    let host = match request[3] {
        3 => String::from_utf8(host).expect("a name"),
        _ => format!("{host:?}"),
    };
    let code = if host == "blocked.example" { 2 } else { 0 };
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    (code == 0).then(|| format!("{host}:{port}"))
}

async fn through(url: &str, proxy: Proxy) -> Result<ServerConnection, ConnectFailure> {
    let connector = World::connector(url, |given| given.proxy = Some(proxy));
    connector.connect(WebSocketConfig::default(), &|_| {}).await.map(|(_, connection)| connection)
}

fn failed(result: Result<ServerConnection, ConnectFailure>) -> ProxyFailure {
    match result {
        Err(ConnectFailure::Proxy { failure, .. }) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_kinds_of_proxy_lead_to_the_server_and_look_its_name_up() {
    run(async {
        let server = World::start(Answer::WebSocket).await;
        let proxy = ProxyWorld::start(Asks::Nothing, server.address).await;
        for scheme in ["http", "socks5h"] {
            let connection = through("ws://voice.example:81/tea", proxy.proxy(scheme, ""))
                .await
                .expect("a connection");
            assert_eq!(
                connection,
                ServerConnection::new(false, false, Some(proxy.address.to_string()))
            );
        }
        assert_eq!(proxy.asked(), ["voice.example:81", "voice.example:81"]);
        assert_eq!(server.requests(), ["GET /tea/ws HTTP/1.1", "GET /tea/ws HTTP/1.1"]);
        through("ws://127.0.0.1:81", proxy.proxy("socks5", "")).await.expect("a connection");
        assert_eq!(proxy.asked()[2], "[127, 0, 0, 1]:81", "looked up here");
    });
}

#[test]
fn tls_through_a_proxy_is_between_this_peer_and_the_server() {
    run(async {
        let certified = Certified::new("voice.example", |_| {});
        let server = World::start(Answer::Tls(certified.acceptor())).await;
        let proxy = ProxyWorld::start(Asks::Nothing, server.address).await;
        let connector = World::connector("wss://voice.example", |given| {
            given.ca = Some(certified.file());
            given.proxy = Some(proxy.proxy("http", ""));
        });
        let (_, connection) =
            connector.connect(WebSocketConfig::default(), &|_| {}).await.expect("a connection");
        assert!(connection.encrypted);
        assert_eq!(proxy.asked(), ["voice.example:443"]);
    });
}

#[test]
fn a_user_and_a_password_are_given_to_a_proxy_that_asks() {
    run(async {
        let server = World::start(Answer::WebSocket).await;
        let proxy = ProxyWorld::start(Asks::Password, server.address).await;
        for scheme in ["http", "socks5h"] {
            let to = |user: &str| through("ws://voice.example", proxy.proxy(scheme, user));
            to("ann:p%3Aw@").await.expect("a connection");
            assert_eq!(failed(to("").await), ProxyFailure::AuthenticationRequired, "{scheme}");
            assert_eq!(
                failed(to("ann:wrong@").await),
                ProxyFailure::AuthenticationRefused,
                "{scheme}"
            );
        }
        let proxy = ProxyWorld::start(Asks::Ntlm, server.address).await;
        let refused = failed(through("ws://voice.example", proxy.proxy("http", "ann:x@")).await);
        assert_eq!(refused, ProxyFailure::AuthenticationUnsupported("NTLM".into()));
    });
}

#[test]
fn what_is_wrong_with_a_proxy_is_said_of_the_proxy() {
    run(async {
        let server = World::start(Answer::WebSocket).await;
        let proxy = ProxyWorld::start(Asks::Nothing, server.address).await;
        let blocked = failed(through("ws://blocked.example", proxy.proxy("socks5h", "")).await);
        assert_eq!(blocked, ProxyFailure::NotAllowed("blocked.example:80".into()));
        let gone = proxy.proxy("http", "");
        drop(proxy);
        let web_server = Proxy::parse(&format!("socks5h://{}", server.address)).expect("a proxy");
        assert!(matches!(
            failed(through("ws://voice.example", web_server).await),
            ProxyFailure::NotAProxy(_)
        ));
        while TcpStream::connect(("127.0.0.1", gone.port)).await.is_ok() {}
        let failure = through("ws://voice.example", gone).await.expect_err("no proxy");
        let text = failure.to_string();
        assert!(
            text.starts_with("the proxy 127.0.0.1:")
                && text.contains("cannot be reached: it refuses"),
            "{text}"
        );
    });
}

#[test]
fn a_bare_address_never_goes_without_tls_through_a_proxy() {
    run(async {
        let server = World::start(Answer::WebSocket).await;
        let proxy = ProxyWorld::start(Asks::Nothing, server.address).await;
        let connector = World::connector("192.168.77.5:8080", |given| {
            given.state_dir = Some(server.folder());
            given.proxy = Some(proxy.proxy("http", ""));
        });
        match connector.connect(WebSocketConfig::default(), &|_| {}).await.map(|_| ()) {
            Err(ConnectFailure::NotTls { plain_not_tried, .. }) => {
                assert_eq!(plain_not_tried, PlainNotTried::Proxy)
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(server.requests(), [""; 0]);
    });
}
