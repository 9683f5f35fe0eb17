//! Whether a network keeps the contract of the [`Network`](voicemesh_session::Network) trait, as
//! far as it shows.

use std::collections::BTreeSet;
use std::fmt::Debug;

use voicemesh_session::network::{LinkId, NetworkEvent, PacketLimits};

use crate::mode::Mode;

/// Links at one time. A network that reports more never reports that one is gone.
const LINKS: usize = 1 << 16;

/// A rule of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// Between `connect` and [`NetworkEvent::Connected`] there is no connection that a packet could
    /// come by.
    #[error("nothing comes from the server before Connected")]
    SilentUntilConnected,
    /// Neither packets nor links nor news of a connection come after it was ended or lost.
    #[error("a client side that was disconnected or lost reports nothing more")]
    SilentAfterDisconnect,
    /// [`NetworkEvent::Connected`] again before a [`NetworkEvent::Disconnected`].
    #[error("Connected is reported once")]
    ConnectedOnce,
    /// Between `host` and [`NetworkEvent::Hosting`] there are no clients.
    #[error("nothing comes from clients before Hosting")]
    SilentUntilHosting,
    /// After `stop_hosting` or [`NetworkEvent::HostingFailed`] there are no clients.
    #[error("a server side that was stopped reports nothing more")]
    SilentAfterStop,
    /// [`NetworkEvent::Hosting`] again.
    #[error("Hosting is reported once")]
    HostingOnce,
    /// What peers send to a host is [`NetworkEvent::FromClient`]: its own client is no client of
    /// the network.
    #[error("a host has no connection to a server: what its peers send is FromClient")]
    HostIsNoClient,
    /// A packet is larger than `limits` says.
    #[error("no packet is larger than the network's limits")]
    WithinLimits,
    /// A packet or an end of a link that was not reported, or was reported gone.
    #[error("a link is reported with LinkUp before anything comes by it, and with LinkDown last")]
    LinksAreAnnounced,
    /// [`NetworkEvent::LinkUp`] for a link that is there.
    #[error("LinkUp is reported once for each link")]
    LinkUpOnce,
    /// Links whose end was never reported.
    #[error("LinkDown is reported for each link that is gone")]
    LinkDownIsReported,
}

/// A network broke a rule of the contract. What it reported had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network breaks its contract ({seen}): {rule}")]
pub struct ContractError {
    /// The rule.
    pub rule: Rule,
    /// What it reported.
    pub seen: String,
}

/// What a network has reported so far.
#[derive(Debug)]
pub(crate) struct ContractWatch<P> {
    client: ClientSide,
    server: ServerSide,
    links: BTreeSet<LinkId<P>>,
    reported: BTreeSet<Rule>,
    breaches: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientSide {
    Idle,
    Connecting,
    Connected,
    /// It was reported disconnected. It may connect again by itself.
    Lost,
    /// The client of a host: it has links, and no connection.
    OfHost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerSide {
    Idle,
    Starting,
    Hosting,
}

impl<P> Default for ContractWatch<P> {
    fn default() -> Self {
        Self {
            client: ClientSide::Idle,
            server: ServerSide::Idle,
            links: BTreeSet::new(),
            reported: BTreeSet::new(),
            breaches: 0,
        }
    }
}

impl<P: Copy + Ord + Debug> ContractWatch<P> {
    /// The network was asked to carry this.
    pub(crate) fn started(&mut self, mode: Mode) {
        (self.client, self.server) = match mode {
            Mode::None => (ClientSide::Idle, ServerSide::Idle),
            Mode::Client => (ClientSide::Connecting, ServerSide::Idle),
            Mode::DedicatedServer => (ClientSide::Idle, ServerSide::Starting),
            Mode::Host => (ClientSide::OfHost, ServerSide::Starting),
        };
        self.links.clear();
        self.reported.clear();
    }

    /// The network was asked to end the client side.
    pub(crate) fn disconnected(&mut self) {
        self.client = ClientSide::Idle;
        self.links.clear();
    }

    /// The network was asked to end everything.
    pub(crate) fn ended(&mut self) {
        self.disconnected();
        self.server = ServerSide::Idle;
    }

    /// The connection to the server is gone, and there is no other yet.
    pub(crate) fn is_lost(&self) -> bool {
        self.client == ClientSide::Lost
    }

    /// How often a rule was broken.
    pub(crate) fn breaches(&self) -> u64 {
        self.breaches
    }

    /// Whether an event may be. The error is what is to be reported: of each rule the first breach
    /// after a start.
    pub(crate) fn check(
        &mut self,
        event: &NetworkEvent<P>,
        limits: PacketLimits,
    ) -> Result<(), Option<ContractError>> {
        self.follow(event, limits).map_err(|rule| {
            self.breaches += 1;
            self.reported.insert(rule).then(|| ContractError { rule, seen: short(event) })
        })
    }

    fn follow(&mut self, event: &NetworkEvent<P>, limits: PacketLimits) -> Result<(), Rule> {
        match event {
            NetworkEvent::Connected => match self.client {
                ClientSide::Connecting | ClientSide::Lost => self.client = ClientSide::Connected,
                ClientSide::Connected => return Err(Rule::ConnectedOnce),
                ClientSide::Idle => return Err(Rule::SilentAfterDisconnect),
                ClientSide::OfHost => return Err(Rule::HostIsNoClient),
            },
            NetworkEvent::Disconnected(_) => match self.client {
                ClientSide::Connecting | ClientSide::Connected | ClientSide::Lost => {
                    self.client = ClientSide::Lost
                }
                ClientSide::Idle => return Err(Rule::SilentAfterDisconnect),
                ClientSide::OfHost => return Err(Rule::HostIsNoClient),
            },
            NetworkEvent::FromServer(packet) => {
                self.check_connected()?;
                check_size(packet.len(), limits)?;
            }
            NetworkEvent::Resumed | NetworkEvent::ServerPong(_) => self.check_connected()?,
            NetworkEvent::Hosting => match self.server {
                ServerSide::Starting => self.server = ServerSide::Hosting,
                ServerSide::Hosting => return Err(Rule::HostingOnce),
                ServerSide::Idle => return Err(Rule::SilentAfterStop),
            },
            NetworkEvent::HostingFailed(_) => match self.server {
                ServerSide::Starting | ServerSide::Hosting => self.server = ServerSide::Idle,
                ServerSide::Idle => return Err(Rule::SilentAfterStop),
            },
            NetworkEvent::FromClient { packet, .. } => {
                self.check_hosting()?;
                check_size(packet.len(), limits)?;
            }
            NetworkEvent::ClientGone { .. } => self.check_hosting()?,
            NetworkEvent::LinkUp(link) => {
                if self.client == ClientSide::Idle {
                    return Err(Rule::SilentAfterDisconnect);
                }
                if self.links.len() >= LINKS {
                    return Err(Rule::LinkDownIsReported);
                }
                if !self.links.insert(*link) {
                    return Err(Rule::LinkUpOnce);
                }
            }
            NetworkEvent::LinkDown(link) => {
                if !self.links.remove(link) {
                    return Err(self.unknown_link());
                }
            }
            NetworkEvent::LinkAnswered { link, .. } => {
                if !self.links.contains(link) {
                    return Err(self.unknown_link());
                }
            }
            NetworkEvent::FromLink { link, packet } => {
                if !self.links.contains(link) {
                    return Err(self.unknown_link());
                }
                check_size(packet.len(), limits)?;
            }
            NetworkEvent::PathChanged
            | NetworkEvent::RosterChanged(_)
            | NetworkEvent::PeerRestarted(_) => {}
        }
        Ok(())
    }

    fn check_connected(&self) -> Result<(), Rule> {
        match self.client {
            ClientSide::Connected => Ok(()),
            ClientSide::Connecting => Err(Rule::SilentUntilConnected),
            ClientSide::Idle | ClientSide::Lost => Err(Rule::SilentAfterDisconnect),
            ClientSide::OfHost => Err(Rule::HostIsNoClient),
        }
    }

    fn check_hosting(&self) -> Result<(), Rule> {
        match self.server {
            ServerSide::Hosting => Ok(()),
            ServerSide::Starting => Err(Rule::SilentUntilHosting),
            ServerSide::Idle => Err(Rule::SilentAfterStop),
        }
    }

    fn unknown_link(&self) -> Rule {
        match self.client {
            ClientSide::Idle => Rule::SilentAfterDisconnect,
            ClientSide::Connecting
            | ClientSide::Connected
            | ClientSide::Lost
            | ClientSide::OfHost => Rule::LinksAreAnnounced,
        }
    }
}

fn check_size(bytes: usize, limits: PacketLimits) -> Result<(), Rule> {
    if bytes <= limits.reliable_bytes.max(limits.unreliable_bytes) {
        Ok(())
    } else {
        Err(Rule::WithinLimits)
    }
}

/// An event without its packet.
fn short<P: Debug>(event: &NetworkEvent<P>) -> String {
    match event {
        NetworkEvent::FromServer(packet) => format!("FromServer, {} bytes", packet.len()),
        NetworkEvent::FromClient { peer, packet } => {
            format!("FromClient {peer:?}, {} bytes", packet.len())
        }
        NetworkEvent::FromLink { link, packet } => {
            format!("FromLink {link:?}, {} bytes", packet.len())
        }
        event => format!("{event:?}"),
    }
}
