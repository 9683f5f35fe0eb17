//! Everything that connections share besides rooms: mailboxes, unfinished messages, connection
//! slots, the clock, and the ticker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use voicemesh_cluster::NodeLine;
use voicemesh_wire::signaling::ErrorCode;

use super::cluster::Cluster;
use super::connection_slots::ConnectionSlots;
use super::head::Head;
use super::mailbox::Mailbox;
use super::refused::Upgrades;
use super::unityp2p::UnityP2P;
use crate::config::Config;
use crate::ticket_cipher;
use crate::token::TokenRules;
use voicemesh_rooms::grant::TokenVerifier;
use voicemesh_rooms::ticket::TicketKey;
use voicemesh_rooms::{
    AddressKey, CloseReason, ConnectionId, Gauges, Line as _, Liveness, Metrics, Most, Purpose,
    Refusal, RoomRules, Settings, Signaling, Text, Unfinished, lock, send_away,
};

/// The ticker's step; shorter if pings come very often.
const TICK: Duration = Duration::from_millis(250);
/// The step of a node of a cluster.
const NODE_TICK: Duration = Duration::from_millis(50);
/// When the peers of a server that stops should come back at the earliest.
const RETRY_AFTER_STOP_MS: u64 = 1_000;

/// Nothing waits while it holds one of the locks, and none is held while another one of them is
/// taken.
pub(super) struct Hub {
    pub(super) config: Config,
    pub(super) signaling: Arc<Signaling<NodeLine<Mailbox>>>,
    /// Where several nodes have one bus.
    pub(super) cluster: Option<Cluster>,
    /// The clients of UnityP2P, where they are served.
    pub(super) unityp2p: Option<Arc<UnityP2P>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) upgrades: Upgrades,
    /// A password waits for its hash.
    pub(super) hash_wanted: Arc<Notify>,
    started: Instant,
    mailboxes: Mutex<HashMap<ConnectionId, Mailbox>>,
    unfinished: Mutex<Unfinished<ConnectionId, AddressKey>>,
    /// Large messages that are being written.
    unwritten: Mutex<Unfinished<ConnectionId, AddressKey>>,
    heads: Mutex<HashMap<ConnectionId, Weak<Head>>>,
    next_connection: AtomicU64,
    stopping: AtomicBool,
    emptied: Notify,
    pub(super) connection_slots: ConnectionSlots,
}

impl Hub {
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub(super) fn new(
        config: Config,
        tokens: Option<TokenRules>,
    ) -> Result<Self, getrandom::Error> {
        let settings = Settings {
            rules: RoomRules {
                tokens: tokens.map(|rules| Arc::new(rules) as Arc<dyn TokenVerifier>),
                ..config.room_rules()
            },
            budgets: config.budgets,
            max_rooms: config.max_rooms,
            tickets: Some(key_of_tickets(&config)?),
        };
        let signaling = Arc::new(Signaling::new(settings, Box::new(draw)));
        let hash_wanted = Arc::new(Notify::new());
        let cluster = match config.bus() {
            Some(_) => {
                let hash_wanted = Arc::clone(&hash_wanted);
                Some(Cluster::new(Duration::ZERO, Arc::clone(&signaling), hash_wanted)?)
            }
            None => None,
        };
        let unityp2p = config.serves_unityp2p().then(|| Arc::new(UnityP2P::new(config.unityp2p)));
        Ok(Self {
            config,
            unityp2p,
            metrics: Arc::clone(signaling.metrics()),
            signaling,
            cluster,
            upgrades: Upgrades::default(),
            hash_wanted,
            started: Instant::now(),
            mailboxes: Mutex::default(),
            unfinished: Mutex::new(Unfinished::new(Most::ARRIVING)),
            unwritten: Mutex::new(Unfinished::new(Most::WRITTEN)),
            heads: Mutex::default(),
            next_connection: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            emptied: Notify::new(),
            connection_slots: ConnectionSlots::default(),
        })
    }

    /// The time since the server started: the only clock that rooms know.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Open WebSockets.
    pub(super) fn connections(&self) -> usize {
        let unityp2p = self.unityp2p.as_ref().map_or(0, |unityp2p| unityp2p.sockets());
        self.members() + unityp2p
    }

    /// Those of them that speak the protocol of rooms.
    pub(super) fn members(&self) -> usize {
        lock(&self.mailboxes).len()
    }

    /// What the metrics show beside counters.
    pub(super) fn gauges(&self) -> Gauges {
        let (rooms, members) = self.signaling.sizes();
        let hashes_waiting = self.signaling.hashes_waiting();
        Gauges { connections: self.connections(), rooms, members, hashes_waiting }
    }

    /// For a connection, or for what comes before its first request.
    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// A connection that has been accepted and may send the heads of requests.
    pub(super) fn begin_head(&self, id: ConnectionId, head: &Arc<Head>) {
        lock(&self.heads).insert(id, Arc::downgrade(head));
    }

    /// It does no longer.
    pub(super) fn end_head(&self, id: ConnectionId) {
        lock(&self.heads).remove(&id);
    }

    /// A new WebSocket.
    pub(super) fn enter(&self, now: Duration) -> (ConnectionId, Mailbox) {
        let id = self.next_id();
        let mailbox = Mailbox::new(now);
        lock(&self.mailboxes).insert(id, mailbox.clone());
        // Looked at after the insertion: either we see the flag, or `say_goodbye` sees the mailbox.
        if self.is_stopping() {
            send_away(now, &mailbox, RETRY_AFTER_STOP_MS);
        }
        (id, mailbox)
    }

    /// A WebSocket that is gone.
    pub(super) fn exit(&self, id: ConnectionId) {
        lock(&self.mailboxes).remove(&id);
        self.note_exit();
    }

    /// A WebSocket of any kind is gone.
    pub(super) fn note_exit(&self) {
        if self.connections() == 0 {
            self.emptied.notify_one();
        }
    }

    /// Every WebSocket that is there is asked to go, or has been.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// How much of an unfinished message, or of an unfinished head, a connection holds. If there is
    /// too much of them, the oldest one's connection ends.
    pub(super) fn count_unfinished(
        &self,
        now: Duration,
        id: ConnectionId,
        address: Option<AddressKey>,
        bytes: usize,
    ) {
        let Some(ended) = lock(&self.unfinished).set(now, id, address, bytes) else { return };
        self.metrics.unfinished_ended.add(1);
        let head = lock(&self.heads).get(&ended).and_then(Weak::upgrade);
        if let Some(head) = head {
            return head.give_up();
        }
        let mailbox = lock(&self.mailboxes).get(&ended).cloned();
        if let Some(mailbox) = mailbox {
            let refusal = Refusal::unfinished();
            self.metrics.refused(&refusal.code);
            mailbox.text(now, &Text::from(&refusal.farewell()), Purpose::Answer);
            mailbox.end(now, CloseReason::TooLarge);
        }
    }

    /// How much of a large message waits for a connection's socket; 0 for none. If there is too
    /// much of them, the one that has waited longest ends its connection.
    pub(super) fn count_unwritten(
        &self,
        now: Duration,
        id: ConnectionId,
        address: Option<AddressKey>,
        bytes: usize,
    ) {
        let Some(ended) = lock(&self.unwritten).set(now, id, address, bytes) else { return };
        let mailbox = lock(&self.mailboxes).get(&ended).cloned();
        if let Some(mailbox) = mailbox {
            self.metrics.slow_consumers.add(1);
            mailbox.abandon(CloseReason::SlowConsumer);
        }
    }

    /// Says to everyone that the server stops, and ends their connections.
    pub(super) fn say_goodbye(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let now = self.now();
        for mailbox in lock(&self.mailboxes).values() {
            send_away(now, mailbox, RETRY_AFTER_STOP_MS);
        }
        if let Some(unityp2p) = &self.unityp2p {
            unityp2p.shut_down(now);
        }
        self.note_exit();
    }

    pub(super) async fn wait_until_empty(&self) {
        while self.connections() > 0 {
            self.emptied.notified().await;
        }
    }

    /// No more joins; everyone is asked to go, and to come back at times spread evenly over
    /// `within`. Gives how many. UnityP2P's clients know no such time, and go at once.
    pub(super) fn drain(&self, within: Duration) -> usize {
        match &self.cluster {
            Some(cluster) => cluster.with(|node| node.drain(self.now())),
            None => self.signaling.drain(),
        }
        let now = self.now();
        let unityp2p = self.unityp2p.as_ref().map_or(0, |unityp2p| {
            let sockets = unityp2p.sockets();
            unityp2p.shut_down(now);
            sockets
        });
        let mailboxes = lock(&self.mailboxes);
        let count = mailboxes.len();
        for (number, mailbox) in (0_u32..).zip(mailboxes.values()) {
            let retry_after = within * number / u32::try_from(count).unwrap_or(u32::MAX);
            send_away(now, mailbox, u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX));
        }
        count + unityp2p
    }

    fn check_connections(&self, now: Duration) {
        for mailbox in lock(&self.mailboxes).values() {
            let liveness = mailbox.check(now, self.config.ping_interval, self.config.join_timeout);
            match liveness {
                Liveness::Well => {}
                Liveness::Late => self.metrics.refused(&ErrorCode::JoinTimeout),
                Liveness::Lost => self.metrics.lost.add(1),
                Liveness::Stuck => self.metrics.slow_consumers.add(1),
            }
        }
    }
}

/// Seconds since 1970. Read anew each time, because the server's own clock stands still while the
/// machine sleeps.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The key of the operator's secret; without one, of a secret that ends with this process.
fn key_of_tickets(config: &Config) -> Result<TicketKey, getrandom::Error> {
    let (mut server_run, mut secret) = ([0; 8], [0; 32]);
    getrandom::fill(&mut server_run)?;
    getrandom::fill(&mut secret)?;
    let secret = config.secret.as_ref().map_or(&secret[..], |secret| secret.as_bytes());
    Ok(ticket_cipher::ticket_key(secret, u64::from_be_bytes(server_run)))
}

fn draw(bytes: &mut [u8]) -> bool {
    let drawn = getrandom::fill(bytes);
    if let Err(error) = &drawn {
        tracing::debug!(%error, "no random numbers");
        tracing::error!(
            "the system has no random numbers, so no peer can join; start the machine anew"
        );
    }
    drawn.is_ok()
}

/// The timers of the node, where this server is one of several.
pub(super) async fn tick_node(hub: Arc<Hub>) {
    let Some(cluster) = &hub.cluster else { return };
    let mut interval = tokio::time::interval(NODE_TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        cluster.with(|node| node.tick(hub.now()));
    }
}

/// Everything that happens by itself.
pub(super) async fn tick(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(TICK.min(hub.config.ping_interval / 4));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = hub.now();
        hub.check_connections(now);
        if let Some(unityp2p) = &hub.unityp2p {
            unityp2p.tick(now);
        }
        hub.signaling.set_unix_time(unix_time());
        if hub.cluster.is_none() {
            hub.signaling.tick(now);
        }
        hub.connection_slots.tidy();
    }
}
