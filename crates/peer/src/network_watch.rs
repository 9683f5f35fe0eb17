//! Notices when this machine's ways into the network change: its addresses for the server and for
//! the internet, the gateways there, or whether there is a way at all.
//!
//! The system's notices (rtnetlink on Linux) say when to look; where there are none, it is looked
//! at every second. What counts is the source address that the system chooses for the server and
//! for far-away addresses of both families, by which links leave: a UDP socket that is connected,
//! and sends nothing, shows it. On Linux the next hop counts as well: behind another gateway the
//! same address is another one for everyone else.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use voicemesh_common::lock;

use crate::inbox::WorkerSender;
use voicemesh_link::{FAR_AWAY, source_address};
use voicemesh_mesh::{CarrierEvent, PathChange};

#[cfg(target_os = "linux")]
mod notices;
#[cfg(not(target_os = "linux"))]
#[path = "network_watch/no_notices.rs"]
mod notices;

use notices::{NextHop, Notices};

/// Several changes come together: the address goes, the route goes, the next address comes.
const SETTLE: Duration = Duration::from_millis(30);
/// How often it is looked at where the system gives notices …
const POLL_WITH_NOTICES: Duration = Duration::from_secs(5);
/// … and where it does not.
const POLL: Duration = Duration::from_secs(1);

/// Of the far-away addresses; nothing is sent there.
const FAR_AWAY_PORT: u16 = 9;

/// Watches for as long as the runtime lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetworkWatch(Arc<Mutex<Option<Watched>>>);

/// How packets to an address leave this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    source: IpAddr,
    next_hop: Option<NextHop>,
}

impl Way {
    /// None without a route.
    fn towards(to: SocketAddr) -> Option<Self> {
        let source = source_address(to)?;
        Some(Self { source, next_hop: NextHop::towards(to.ip()) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    server: SocketAddr,
    ways: Ways,
}

/// How this machine reaches the server and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ways {
    server: Option<Way>,
    /// One of each family.
    far_away: [Option<Way>; FAR_AWAY.len()],
}

impl Ways {
    fn find(server: SocketAddr, way: impl Fn(SocketAddr) -> Option<Way>) -> Self {
        Self { server: way(server), far_away: FAR_AWAY.map(|to| way((to, FAR_AWAY_PORT).into())) }
    }

    /// What has become of these ways.
    fn change(&self, now: &Self) -> Option<PathChange> {
        if self.server != now.server {
            return Some(match now.server {
                Some(_) => PathChange::Changed,
                None => PathChange::Lost,
            });
        }
        // Without any way left, links have nowhere to go: the way that comes next is the change.
        if now.server.is_none() && now.far_away.iter().all(Option::is_none) {
            return None;
        }
        // A further family that comes beside one that stays breaks no link.
        let had_none = self.far_away.iter().all(Option::is_none);
        let ways = self.far_away.iter().zip(&now.far_away);
        let has_changed = ways.into_iter().any(|(before, now)| match before {
            Some(_) => before != now,
            None => now.is_some() && had_none,
        });
        has_changed.then_some(PathChange::Changed)
    }
}

impl NetworkWatch {
    pub(crate) fn start(runtime: &Handle, inbox: WorkerSender) -> Self {
        let watch = Self::default();
        runtime.spawn(watch.clone().run(inbox));
        watch
    }

    /// The server, or the proxy before it, was reached at this address.
    pub(crate) fn reached(&self, server: SocketAddr) {
        let ways = Ways::find(server, Way::towards);
        let mut watched = self.lock();
        // What has changed for links is still to be told.
        let far_away = watched.map_or(ways.far_away, |known| known.ways.far_away);
        *watched = Some(Watched { server, ways: Ways { far_away, ..ways } });
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
            if let Some(change) = self.look(Way::towards)
                && inbox.put(CarrierEvent::Path(change)).await.is_err()
            {
                return;
            }
        }
    }

    /// What has changed since the last look.
    fn look(&self, way: impl Fn(SocketAddr) -> Option<Way>) -> Option<PathChange> {
        let mut watched = self.lock();
        let watched = watched.as_mut()?;
        let ways = Ways::find(watched.server, way);
        std::mem::replace(&mut watched.ways, ways).change(&ways)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watched>> {
        lock(&self.0)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 80);

    fn way(last: u8) -> Option<Way> {
        Some(Way { source: [192, 0, 2, last].into(), next_hop: None })
    }

    /// A watch that has reached the server by these ways: to the server, and far away.
    fn watch(ways: [Option<Way>; 3]) -> NetworkWatch {
        let watch = NetworkWatch::default();
        assert_eq!(watch.look(choose(ways)), None, "no server was reached yet");
        let ways = Ways::find(SERVER, choose(ways));
        *watch.lock() = Some(Watched { server: SERVER, ways });
        watch
    }

    fn choose([server, v4, v6]: [Option<Way>; 3]) -> impl Fn(SocketAddr) -> Option<Way> {
        move |to| match to {
            to if to == SERVER => server,
            SocketAddr::V4(_) => v4,
            SocketAddr::V6(_) => v6,
        }
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        let way = Way::towards((Ipv4Addr::LOCALHOST, 9).into());
        assert_eq!(way.map(|way| way.source), Some(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn a_change_is_told_once_and_only_against_the_way_by_which_the_server_was_reached() {
        let watch = watch([way(1), None, None]);
        let look = |server| watch.look(choose([server, None, None]));
        assert_eq!(look(way(1)), None);
        assert_eq!(look(way(2)), Some(PathChange::Changed));
        assert_eq!(look(way(2)), None);
        assert_eq!(look(None), Some(PathChange::Lost));
        assert_eq!(look(None), None);
        assert_eq!(look(way(2)), Some(PathChange::Changed), "a way that is back is a change, too");
    }

    #[test]
    fn ways_that_only_links_use_are_watched_as_well() {
        let watch = watch([way(1), way(1), way(6)]);
        let look = |v4, v6| watch.look(choose([way(1), v4, v6]));
        assert_eq!(look(way(1), way(6)), None);
        assert_eq!(look(way(2), way(6)), Some(PathChange::Changed), "another IPv4 address");
        assert_eq!(look(way(2), way(7)), Some(PathChange::Changed), "another IPv6 address");
        assert_eq!(look(way(2), None), Some(PathChange::Changed), "IPv6 is gone");
        assert_eq!(look(way(2), way(7)), None, "it comes beside what carries the links");
        assert_eq!(look(None, None), Some(PathChange::Changed));
        assert_eq!(look(None, None), None);
        assert_eq!(look(way(3), None), Some(PathChange::Changed), "the first way again");
    }

    #[test]
    fn what_goes_while_the_server_is_out_of_reach_is_no_change_until_there_is_a_way_again() {
        let watch = watch([way(1), way(1), way(6)]);
        let look = |server, v4, v6| watch.look(choose([server, v4, v6]));
        assert_eq!(look(None, None, way(6)), Some(PathChange::Lost), "IPv4 goes first");
        assert_eq!(look(None, None, None), None, "then IPv6");
        assert_eq!(look(None, None, way(6)), Some(PathChange::Changed));
        assert_eq!(look(way(1), way(1), way(6)), Some(PathChange::Changed));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_next_hop_is_another_way() {
        let hop = |to: Ipv4Addr| NextHop::towards(to.into());
        let at = |next_hop| Some(Way { source: [192, 0, 2, 1].into(), next_hop });
        let loopback = hop(Ipv4Addr::LOCALHOST);
        let watch = watch([at(loopback), None, None]);
        assert_eq!(watch.look(choose([at(loopback), None, None])), None);
        assert_eq!(watch.look(choose([at(None), None, None])), Some(PathChange::Changed));
    }
}
