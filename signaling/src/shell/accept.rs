//! From a listening socket to HTTP: bounds, socket options, TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use super::http::{Site, SocketAddress};
use super::hub::Hub;
use super::page::Page;
use super::stream::Stream;
use crate::config::Config;

/// Connections beyond the configured limit that are still accepted, to be told that the server is full, or for health
/// checks. Beyond these, a connection is closed unheard.
const SPARE_CONNECTIONS: usize = 64;
/// For a TLS handshake, and for the head of a request.
const OPENING: Duration = Duration::from_secs(10);
/// What the kernel may hold unsent of one connection: voice that waits longer belongs into our own queue, where its age
/// is looked at.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 16 * 1024;
/// What a peer's machine has not acknowledged after this ends the connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(15);
/// How long one connection may speak HTTP, and then as long again for the answer that is under way, so that nobody keeps
/// its place by reading the page slowly or not at all. Who is not done by then connects again.
const HTTP: Duration = Duration::from_secs(30);
/// After an error that is the machine's (no more descriptors), before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The head of a request: browsers send the cookies of every application on the same host, which can be 16 KiB and
/// more. A longer one is answered with 431.
const REQUEST_HEAD_BYTES: usize = 48 * 1024;

/// What TLS needs, if the configuration wants it.
pub(super) fn tls(config: &Config) -> Result<Option<TlsAcceptor>, ServeError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain = chain.map_err(|error| certificate(cert, error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| certificate(key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| certificate(cert, error))?;
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

fn certificate(path: &Path, error: impl std::fmt::Display) -> ServeError {
    ServeError::Certificate { path: path.to_owned(), message: error.to_string() }
}

/// Accepts until it is dropped.
pub(super) async fn accept(hub: Arc<Hub>, page: Option<Page>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let site = Site::new(Arc::clone(&hub), page);
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        hub.metrics.accepted.add(1);
        if hub.places_taken() >= hub.config.max_connections.saturating_add(SPARE_CONNECTIONS) {
            continue;
        }
        set_options(&socket);
        tokio::spawn(serve(Arc::clone(&hub), site.clone(), tls.clone(), socket, address));
    }
}

fn set_options(socket: &TcpStream) {
    // Neither is needed for correctness, and a connection that is gone already refuses both.
    let _ = socket.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket = socket2::SockRef::from(socket);
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
    }
}

async fn serve(hub: Arc<Hub>, site: Site, tls: Option<TlsAcceptor>, socket: TcpStream, address: SocketAddr) {
    let place = hub.place();
    drop(hub);
    let stream = match tls {
        None => Stream::plain(socket, place),
        Some(acceptor) => match tokio::time::timeout(OPENING, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Stream::tls(stream, place),
            Ok(Err(_)) | Err(_) => return,
        },
    };
    speak_http(stream, site, address.ip(), HTTP).await;
}

/// Until the client is done, the connection has become a WebSocket, or `limit` is over twice.
async fn speak_http(stream: Stream, site: Site, client: IpAddr, limit: Duration) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(SocketAddress(client));
        let site = site.clone();
        async move { site.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(OPENING)
        .max_buf_size(REQUEST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut served = tokio::time::timeout(limit, connection.as_mut()).await;
    if served.is_err() {
        connection.as_mut().graceful_shutdown();
        served = tokio::time::timeout(limit, connection).await;
    }
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("HTTP: {error}"),
        Err(_) => tracing::debug!("HTTP: an answer was not read in time"),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use bytes::Bytes;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn who_does_not_read_an_answer_loses_the_place() {
        // More than the system keeps between the two ends.
        let large = Bytes::from(vec![0; 64 << 20]);
        let site = Site::of(Router::new().route("/", get(async move || large)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let (socket, address) = listener.accept().await.expect("a connection");
        let place = Arc::new(());
        let stream = Stream::plain(socket, Arc::clone(&place));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it fits");
        let served = speak_http(stream, site, address.ip(), Duration::from_millis(100));
        tokio::time::timeout(OPENING, served).await.expect("it ends by itself");
        assert_eq!(Arc::strong_count(&place), 1);
        drop(client);
    }
}
