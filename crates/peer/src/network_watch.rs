//! Notices when this machine's way to the server changes: its address for the server's, or whether
//! there is one at all.
//!
//! The system's notices (rtnetlink on Linux) say when to look; where there are none, it is looked
//! at every second. What counts is the source address that the system chooses for the server's
//! address: a UDP socket that is connected, and sends nothing, shows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::inbox::WorkerSender;
use voicemesh_mesh::{CarrierEvent, PathChange};

#[cfg(target_os = "linux")]
mod notices;
#[cfg(not(target_os = "linux"))]
#[path = "network_watch/no_notices.rs"]
mod notices;

use notices::Notices;

/// Several changes come together: the address goes, the route goes, the next address comes.
const SETTLE: Duration = Duration::from_millis(30);
/// How often it is looked at where the system gives notices …
const POLL_WITH_NOTICES: Duration = Duration::from_secs(5);
/// … and where it does not.
const POLL: Duration = Duration::from_secs(1);

/// Watches for as long as the runtime lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetworkWatch(Arc<Mutex<Option<Watched>>>);

/// The way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    server: SocketAddr,
    source: Option<IpAddr>,
}

impl NetworkWatch {
    pub(crate) fn start(runtime: &Handle, inbox: WorkerSender) -> Self {
        let watch = Self::default();
        runtime.spawn(watch.clone().run(inbox));
        watch
    }

    /// The server, or the proxy before it, was reached at this address.
    pub(crate) fn reached(&self, server: SocketAddr) {
        *self.lock() = Some(Watched { server, source: source_address(server) });
    }

    /// The address of the server that was reached last.
    pub(crate) fn server(&self) -> Option<IpAddr> {
        self.lock().as_ref().map(|watched| watched.server.ip())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "systems without notices are polled, and notices come in groups"
    )]
    async fn run(self, inbox: WorkerSender) {
        let mut notices = Notices::open();
        let poll = if notices.is_some() { POLL_WITH_NOTICES } else { POLL };
        loop {
            tokio::select! {
                () = next(&mut notices) => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(poll) => {}
            }
            if let Some(change) = self.look(source_address)
                && inbox.put(CarrierEvent::Path(change)).await.is_err()
            {
                return;
            }
        }
    }

    /// What has changed since the last look.
    fn look(
        &self,
        source_address: impl FnOnce(SocketAddr) -> Option<IpAddr>,
    ) -> Option<PathChange> {
        let mut watched = self.lock();
        let watched = watched.as_mut()?;
        let source = source_address(watched.server);
        if source == std::mem::replace(&mut watched.source, source) {
            return None;
        }
        Some(if source.is_some() { PathChange::Changed } else { PathChange::Lost })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next notice; never, where the system gives none.
async fn next(notices: &mut Option<Notices>) {
    match notices {
        Some(open) => {
            if open.next().await.is_err() {
                *notices = None;
            }
        }
        None => std::future::pending().await,
    }
}

/// The address from which this machine would send to `server` now.
fn source_address(server: SocketAddr) -> Option<IpAddr> {
    let unspecified: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect(server).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert_eq!(source_address(server), Some(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn a_change_is_told_once_and_only_against_the_way_by_which_the_server_was_reached() {
        let watch = NetworkWatch::default();
        let from = |last: u8| move |_| Some(IpAddr::from([192, 0, 2, last]));
        assert_eq!(watch.look(from(1)), None, "no server was reached yet");
        *watch.lock() = Some(Watched {
            server: ([203, 0, 113, 1], 80).into(),
            source: Some([192, 0, 2, 1].into()),
        });
        assert_eq!(watch.look(from(1)), None);
        assert_eq!(watch.look(from(2)), Some(PathChange::Changed));
        assert_eq!(watch.look(from(2)), None);
        assert_eq!(watch.look(|_| None), Some(PathChange::Lost));
        assert_eq!(watch.look(|_| None), None);
        assert_eq!(
            watch.look(from(2)),
            Some(PathChange::Changed),
            "a way that is back is a change, too"
        );
    }
}
