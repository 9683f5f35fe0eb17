//! Sockets around the pure half: accepts, upgrades, moves bytes, keeps time, stops.

mod accept;
mod address;
mod admin;
mod boundaries;
mod certificate;
mod cluster;
mod connection;
mod connection_slots;
mod counted_io;
mod descriptors;
mod error;
mod head;
mod host;
mod http;
mod hub;
mod listen;
mod mailbox;
mod member;
#[cfg(feature = "nats")]
mod nats;
mod origin;
mod page;
mod passwords;
mod refused;
mod request_limits;
mod socket;
mod turns;
mod unityp2p;
mod unityp2p_client;

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::config::{AdminToken, Config, ConfigError};
use crate::token::TokenRules;
use certificate::Certificate;
use error::listen_words;
use hub::Hub;
use page::Page;

/// How long connections have to say goodbye when the server stops. Hosts kill a process 10 to 30 s
/// after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(5);

pub use error::ServeError;

/// The whole program: binds, prints the [`banner`], serves until SIGTERM or Ctrl-C. SIGHUP loads
/// the certificate again; without one it stops the server too, as the end of a terminal does.
pub async fn run(config: Config) -> Result<(), ServeError> {
    let config = descriptors::fit(config);
    config.check()?;
    // Whatever could keep the server from starting comes before the line that says it listens.
    let prepared = Prepared::of(&config).await?;
    let listener = bind(&config).await?;
    let reload = Arc::new(Notify::new());
    let signals = stop_signals(config.tls_cert.is_some().then(|| Arc::clone(&reload)))?;
    // A server that is read by no one goes on serving.
    let _ = writeln!(std::io::stdout(), "{}", banner(&config, listener.local_addr()?));
    serve_prepared(config, prepared, listener, signals, reload).await
}

/// What is read, and bound besides the listener, before anything is served.
struct Prepared {
    certificate: Option<Arc<Certificate>>,
    page: Option<Page>,
    tokens: Option<TokenRules>,
    admin: Option<(AdminToken, TcpListener)>,
}

impl Prepared {
    async fn of(config: &Config) -> Result<Self, ServeError> {
        let certificate = Certificate::load(config)?;
        let page = Page::of(config)?;
        let tokens = config.token_rules()?;
        let admin = match (config.admin_token()?, config.admin_listen) {
            (Some(token), Some(address)) => Some((token, bind_admin(address).await?)),
            _ => None,
        };
        Ok(Self { certificate, page, tokens, admin })
    }
}

/// Checks the configuration and listens where it says: at the address of `--listen`, else on IPv6
/// and IPv4 where the system has both.
///
/// # Errors
///
/// A setting that cannot be meant, or an address that cannot be bound.
pub async fn bind(config: &Config) -> Result<TcpListener, ServeError> {
    config.check()?;
    listen::bind(config)
}

/// One line for people: where the server listens, and which STUN and TURN servers it names to
/// peers.
pub fn banner(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.tls_cert.is_some() { "wss" } else { "ws" };
    let families = if listen::is_every_address(address) { "IPv6 and IPv4; " } else { "" };
    let base = config.base();
    let below = if base.is_empty() { String::new() } else { format!("also below {base}/; ") };
    format!(
        "voicemesh signaling server listening on {scheme}://{address} ({families}{below}{})",
        ice(config)
    )
}

fn ice(config: &Config) -> String {
    if config.relay_only {
        return "relay only, no direct links".to_owned();
    }
    let list = |urls: &[String]| match urls {
        [] => "none".to_owned(),
        urls => urls
            .iter()
            .map(|url| url.trim())
            .filter(|url| !url.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
    };
    let credentials = match (config.turn_servers(), &config.turn_secret) {
        ([], _) => String::new(),
        (_, None) => " with one password for all".to_owned(),
        (_, Some(_)) => format!(" with credentials for {} s each", config.turn_lifetime.as_secs()),
    };
    format!(
        "STUN: {}; TURN: {}{credentials}",
        list(config.stun_servers()),
        list(config.turn_servers())
    )
}

/// Serves on `listener` until `shutdown` is ready; then says so to everyone, and returns within ten
/// seconds.
///
/// # Errors
///
/// A setting that cannot be meant, or that names a file which cannot be used.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    config.check()?;
    let prepared = Prepared::of(&config).await?;
    serve_prepared(config, prepared, listener, shutdown, Arc::default()).await
}

async fn serve_prepared(
    config: Config,
    prepared: Prepared,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    reload: Arc<Notify>,
) -> Result<(), ServeError> {
    for remark in config.remarks() {
        tracing::warn!("{remark}");
    }
    if config.secret.is_none() {
        tracing::info!(
            "no --secret (VOICEMESH_SECRET) is set: passwords of rooms, and who may moderate them, do not survive a restart"
        );
    }
    let Prepared { certificate, page, tokens, admin } = prepared;
    let hub = Arc::new(Hub::new(config, tokens).map_err(std::io::Error::from)?);
    let ticker = tokio::spawn(hub::tick(Arc::clone(&hub)));
    let in_cluster = tokio::spawn(hub::tick_node(Arc::clone(&hub)));
    #[cfg(feature = "nats")]
    let bus = hub.config.bus().map(|url| tokio::spawn(nats::run(Arc::clone(&hub), url.to_owned())));
    let hashing = {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move { passwords::work(&hub).await })
    };
    let fresh = certificate
        .clone()
        .map(|certificate| tokio::spawn(certificate::keep_fresh(certificate, reload)));
    let admin = admin
        .map(|(token, listener)| tokio::spawn(admin::serve(Arc::clone(&hub), token, listener)));
    let accepting = tokio::spawn(accept::accept(Arc::clone(&hub), page, listener, certificate));
    shutdown.await;
    accepting.abort();
    if let Some(admin) = admin {
        admin.abort();
    }
    if let Some(fresh) = fresh {
        fresh.abort();
    }
    tracing::info!("stopping: asking {} connections to come back", hub.connections());
    if let Some(cluster) = &hub.cluster {
        cluster.hand_over(hub.now()).await;
    }
    hub.say_goodbye();
    let farewell = tokio::time::timeout(FAREWELL, hub.wait_until_empty()).await;
    if farewell.is_err() {
        tracing::info!("stopping without {} connections that did not close", hub.connections());
    }
    ticker.abort();
    hashing.abort();
    in_cluster.abort();
    #[cfg(feature = "nats")]
    if let Some(bus) = bus {
        bus.abort();
    }
    Ok(())
}

async fn bind_admin(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let failed = |error: std::io::Error| ConfigError {
        option: "--admin-listen",
        variable: "VOICEMESH_ADMIN_LISTEN",
        problem: format!(
            "cannot listen on {address}: {}; choose another address or port",
            listen_words(&error)
        ),
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr()?;
    let host = if bound.ip().is_unspecified() {
        "; their Host must be the address at which they arrive"
    } else {
        ""
    };
    tracing::info!("the operator's own requests are answered on {bound}{host}");
    Ok(listener)
}

/// Ready when the process is asked to stop. SIGHUP asks for `reload` where there is something to
/// load.
fn stop_signals(reload: Option<Arc<Notify>>) -> Result<impl Future<Output = ()>, ServeError> {
    #[cfg(unix)]
    let (mut terminate, mut hang_up) = {
        use tokio::signal::unix::{SignalKind, signal};
        (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    Ok(async move {
        #[cfg(unix)]
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = tokio::signal::ctrl_c() => break,
                _ = hang_up.recv() => match &reload {
                    Some(reload) => reload.notify_one(),
                    None => break,
                },
            }
        }
        #[cfg(not(unix))]
        {
            let _ = reload;
            let _ = tokio::signal::ctrl_c().await;
        }
    })
}
