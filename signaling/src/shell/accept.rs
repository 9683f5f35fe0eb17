//! From a listening socket to HTTP: bounds, socket options, TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use super::http::{SocketAddress, router};
use super::hub::Hub;
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
/// After an error that is the machine's (no more descriptors), before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The head of a request; hyper's smallest.
const REQUEST_HEAD_BYTES: usize = 8 * 1024;

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
pub(super) async fn accept(hub: Arc<Hub>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let router = router(Arc::clone(&hub));
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
        tokio::spawn(serve(Arc::clone(&hub), router.clone(), tls.clone(), socket, address));
    }
}

fn set_options(socket: &TcpStream) {
    // Neither is needed for correctness, and a connection that is gone already refuses both.
    let _ = socket.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES);
}

async fn serve(hub: Arc<Hub>, router: Router, tls: Option<TlsAcceptor>, socket: TcpStream, address: SocketAddr) {
    let place = hub.place();
    drop(hub);
    let stream = match tls {
        None => Stream::plain(socket, place),
        Some(acceptor) => match tokio::time::timeout(OPENING, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Stream::tls(stream, place),
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let ip: IpAddr = address.ip();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(SocketAddress(ip));
        TowerToHyperService::new(router.clone()).call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(OPENING)
        .max_buf_size(REQUEST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("HTTP: {error}");
    }
}
