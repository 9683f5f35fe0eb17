//! The bytes under a connection, with or without TLS; counted while they are heads of requests, and
//! those of records of TLS that are not whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::connection_slots::ConnectionSlot;
use super::head::{Head, READ_BYTES};
use super::turns::Turns;

/// An accepted connection. Holds its slot among the connections for as long as it lives.
pub(super) struct CountedIo {
    transport: Transport,
    /// While it speaks HTTP.
    head: Option<Arc<Head>>,
    _slot: ConnectionSlot,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TlsSocket>>),
}

/// What TLS reads from.
struct TlsSocket {
    socket: TcpStream,
    /// During the handshake.
    handshake: Option<Arc<Head>>,
    /// Bytes read since the last text came out: of a record that is not whole.
    undecrypted: usize,
}

impl CountedIo {
    pub(super) fn plain(socket: TcpStream, head: Option<Arc<Head>>, slot: ConnectionSlot) -> Self {
        Self { transport: Transport::Plain(socket), head, _slot: slot }
    }

    /// After a handshake.
    pub(super) async fn tls(
        (acceptor, turns): (TlsAcceptor, &Turns),
        socket: TcpStream,
        head: Option<Arc<Head>>,
        slot: ConnectionSlot,
    ) -> io::Result<Self> {
        let io = TlsSocket { socket, handshake: head.clone(), undecrypted: 0 };
        let begun = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let accepting = {
            let _turn = turns.next().await;
            // Key exchange and signature.
            begun.into_stream(Arc::clone(acceptor.config()))
        };
        let mut stream = accepting.await?;
        let io = stream.get_mut().0;
        (io.handshake, io.undecrypted) = (None, 0);
        if let Some(head) = &head {
            head.finish();
        }
        Ok(Self { transport: Transport::Tls(Box::new(stream)), head, _slot: slot })
    }

    /// It has become a WebSocket, which counts what is unfinished by itself.
    pub(super) fn end_heads(&mut self) {
        self.head = None;
    }

    /// Bytes of a record of TLS that is not whole.
    pub(super) fn undecrypted(&self) -> usize {
        match &self.transport {
            Transport::Plain(_) => 0,
            Transport::Tls(stream) => stream.get_ref().0.undecrypted,
        }
    }
}

/// Reads a part, and counts it.
fn poll_counted(
    stream: Pin<&mut (impl AsyncRead + ?Sized)>,
    head: &Head,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let mut bytes = [0; READ_BYTES];
    let most = buf.remaining().min(READ_BYTES);
    let mut part = ReadBuf::new(&mut bytes[..most]);
    ready!(stream.poll_read(cx, &mut part))?;
    buf.put_slice(part.filled());
    head.read(part.filled().len());
    Poll::Ready(Ok(()))
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncRead for CountedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buf.filled().len();
        let read = match &this.head {
            Some(head) => poll_counted(Pin::new(&mut this.transport), head, cx, buf),
            None => Pin::new(&mut this.transport).poll_read(cx, buf),
        };
        if let Transport::Tls(stream) = &mut this.transport
            && buf.filled().len() > filled
        {
            stream.get_mut().0.undecrypted = 0;
        }
        if let Some(head) = &this.head {
            head.hold(this.undecrypted());
        }
        read
    }
}

impl AsyncWrite for CountedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, handshake, undecrypted } = self.get_mut();
        let most = buf.remaining().min(READ_BYTES);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(socket).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        *undecrypted += read;
        if let Some(head) = handshake {
            head.read(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;

    use rustls::crypto::ring;
    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream as ClientStream;

    use super::*;
    use crate::shell::connection_slots::ConnectionSlots;

    /// Both ends of a connection whose handshake is over.
    async fn ends() -> (ClientStream<TcpStream>, CountedIo) {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let certified = certified.expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone()).expect("a certificate");
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.into())
            .expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connecting = async {
            let stream = TcpStream::connect(address).await.expect("it listens");
            let name = ServerName::try_from("localhost").expect("a name");
            TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a handshake")
        };
        let accepting = async {
            let (socket, _) = listener.accept().await.expect("a connection");
            let slot = ConnectionSlots::default().take(None, 1).expect("a slot");
            let acceptor = (TlsAcceptor::from(Arc::new(server)), &Turns::new(1));
            CountedIo::tls(acceptor, socket, None, slot).await.expect("a handshake")
        };
        tokio::join!(connecting, accepting)
    }

    #[tokio::test]
    async fn a_record_of_tls_is_counted_until_it_is_whole() {
        let (mut client, mut server) = ends().await;
        let text = [7; 16_000];
        let mut record = Vec::new();
        {
            let (_, connection) = client.get_mut();
            connection.writer().write_all(&text).expect("there is room");
            while connection.wants_write() {
                connection.write_tls(&mut record).expect("it is memory");
            }
        }
        let last = record.pop().expect("a record");
        assert_eq!(server.undecrypted(), 0);
        client.get_mut().0.write_all(&record).await.expect("it is read");
        let mut bytes = [0; 100];
        poll_fn(|cx| {
            let read = Pin::new(&mut server).poll_read(cx, &mut ReadBuf::new(&mut bytes));
            assert!(read.is_pending(), "nothing comes out of a part");
            if server.undecrypted() == record.len() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        client.get_mut().0.write_all(&[last]).await.expect("it is read");
        let mut read = [0; 16_000];
        server.read_exact(&mut read).await.expect("it is whole");
        assert!(read == text && server.undecrypted() == 0);
    }
}
