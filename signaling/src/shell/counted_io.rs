//! The bytes under a connection, with or without TLS; counted while they are heads of requests.

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
    Tls(Box<TlsStream<HandshakeIo>>),
}

/// What TLS reads from; counted during the handshake.
struct HandshakeIo {
    socket: TcpStream,
    handshake: Option<Arc<Head>>,
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
        let io = HandshakeIo { socket, handshake: head.clone() };
        let begun = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let accepting = {
            let _turn = turns.next().await;
            // Key exchange and signature.
            begun.into_stream(Arc::clone(acceptor.config()))
        };
        let mut stream = accepting.await?;
        stream.get_mut().0.handshake = None;
        if let Some(head) = &head {
            head.finish();
        }
        Ok(Self { transport: Transport::Tls(Box::new(stream)), head, _slot: slot })
    }

    /// It has become a WebSocket, which counts what is unfinished by itself.
    pub(super) fn end_heads(&mut self) {
        self.head = None;
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
        let Self { transport, head, .. } = self.get_mut();
        match head {
            Some(head) => poll_counted(Pin::new(transport), head, cx, buf),
            None => Pin::new(transport).poll_read(cx, buf),
        }
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

impl AsyncRead for HandshakeIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, handshake } = self.get_mut();
        match handshake {
            Some(head) => poll_counted(Pin::new(socket), head, cx, buf),
            None => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for HandshakeIo {
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
