//! One peer connection of the webrtc crate, set up the way links need it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use rtc::dtls::cipher_suite::CipherSuiteId;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use voicemesh_wire::signaling::{IceServer, Signal};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
    SettingEngine, SettingEngineBuilder, StatsSelector,
};

use crate::LinkConfig;
use crate::addresses::Addresses;
use crate::check_budget::CheckBudget;
use crate::limits::{
    CHECK_INTERVAL, CHECKS_PER_PAIR, DISCONNECTED_AFTER, FAILED_AFTER, FLUSH_NUDGE_INTERVAL,
    FLUSH_PATIENCE, KEEP_ALIVE_INTERVAL, LOCAL_CANDIDATE_QUEUE, MESSAGE_BYTES,
    RECEIVE_WINDOW_BYTES, SCTP_MTU_BYTES,
};
use crate::openings::Openings;
use crate::runtime::{LinkRuntime, Lookups};
use crate::socket::{LinkSockets, WireCounters};
use crate::{CloseReason, Stream};

/// ChaCha20-Poly1305 first: 8 bytes less in every packet than AES-GCM in DTLS 1.2. The rest is what
/// browsers speak.
const CIPHER_SUITES: [CipherSuiteId; 4] = [
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_ChaCha20_Poly1305_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
];

/// After so many rounds of the driver everything handed to it before has been sent.
pub(crate) const ROUNDS_TO_FLUSH: u64 = 2;

/// The one media section's name.
const MID: &str = "0";

/// A peer connection with its three channels. Must be closed: its driver does not end by itself.
pub(crate) struct Connection {
    pub(crate) peer: Box<dyn PeerConnection>,
    pub(crate) voice: Arc<dyn DataChannel>,
    pub(crate) reliable: Arc<dyn DataChannel>,
    pub(crate) unreliable: Arc<dyn DataChannel>,
    sockets: Arc<LinkSockets>,
    /// Turns true when the connection's driver has ended.
    driver_ended: watch::Receiver<bool>,
}

/// What a connection tells its task. It holds nothing of the connection, so that neither keeps the
/// other alive.
pub(crate) struct Reports {
    /// Local candidates and their end, for the remote.
    pub(crate) signals: mpsc::Receiver<Signal>,
    /// Turns into a reason when the connection is beyond repair.
    pub(crate) fate: watch::Receiver<Option<CloseReason>>,
    /// Whether one of the TURN servers has given an address.
    pub(crate) turn: watch::Receiver<TurnServers>,
    /// Turns true when the connection's driver has ended.
    pub(crate) driver_ended: watch::Receiver<bool>,
}

/// What a channel tells its task; nothing more once it has ended.
pub(crate) type ChannelEvents = BoxStream<'static, (Stream, Option<DataChannelEvent>)>;

impl Connection {
    pub(crate) async fn new(
        config: &LinkConfig,
        addresses: &Addresses,
        lookups: &Arc<Lookups>,
        checks: &Arc<CheckBudget>,
        counters: &Arc<WireCounters>,
        openings: &Arc<Openings>,
    ) -> Result<(Self, Reports), Error> {
        let addresses = addresses.to_bind();
        // Browsers hide their addresses behind mDNS names. Where there is no multicast, as on a
        // machine with nothing but loopback, asking for such names fails as a whole: then do
        // without.
        let sockets =
            LinkSockets::new(Arc::clone(counters), checks, Arc::clone(openings), config.remote);
        let setup = |mdns| {
            let (runtime, driver_ended) =
                LinkRuntime::new(Arc::clone(lookups), Arc::clone(&sockets));
            build(&config.ice_servers, &addresses, runtime, driver_ended, mdns)
        };
        let (peer, reports) = match setup(MulticastDnsMode::QueryOnly).await {
            Ok(built) => built,
            Err(error) => {
                tracing::debug!(%error, "no connection that can ask for mDNS names; doing without");
                setup(MulticastDnsMode::Disabled).await?
            }
        };
        match channels(peer.as_ref()).await {
            Ok([voice, reliable, unreliable]) => {
                let driver_ended = reports.driver_ended.clone();
                Ok((Self { peer, voice, reliable, unreliable, sockets, driver_ended }, reports))
            }
            Err(error) => {
                let _ = peer.close().await;
                Err(error)
            }
        }
    }

    pub(crate) fn channel(&self, stream: Stream) -> &Arc<dyn DataChannel> {
        match stream {
            Stream::Voice => &self.voice,
            Stream::Reliable => &self.reliable,
            Stream::Unreliable => &self.unreliable,
        }
    }

    /// The channels are set up: nothing can come too early any more.
    pub(crate) fn is_set_up(&self) {
        self.sockets.throttle().lift();
    }

    /// What all three channels tell, together.
    pub(crate) fn events(&self) -> stream::SelectAll<ChannelEvents> {
        stream::select_all(
            [Stream::Voice, Stream::Reliable, Stream::Unreliable]
                .map(|stream| channel_events(stream, Arc::clone(self.channel(stream)))),
        )
    }

    /// The last round trip of the pair of addresses in use.
    pub(crate) async fn round_trip(&self) -> Option<Duration> {
        let report = self.peer.get_stats(Instant::now().into_std(), StatsSelector::None).await;
        let pair = report
            .candidate_pairs()
            .filter(|pair| pair.nominated)
            .max_by_key(|pair| pair.responses_received)?;
        Duration::try_from_secs_f64(pair.current_round_trip_time)
            .ok()
            .filter(|round_trip| !round_trip.is_zero())
    }

    /// Everything the stack wants to send goes out at once from now on.
    pub(crate) fn is_closing(&self) {
        self.sockets.close();
    }

    /// How often the driver has done all its work.
    pub(crate) fn rounds(&self) -> u64 {
        self.sockets.rounds()
    }

    /// Waits until the driver has sent what it was handed: it may be behind that in its present
    /// round, not in the next.
    pub(crate) async fn flushed(&self) {
        let sent_after = self.sockets.rounds() + ROUNDS_TO_FLUSH;
        let rounds = async {
            while self.sockets.rounds() < sent_after && !*self.driver_ended.borrow() {
                self.nudge().await;
                let _ = tokio::time::timeout(FLUSH_NUDGE_INTERVAL, self.sockets.round()).await;
            }
        };
        let _ = tokio::time::timeout(FLUSH_PATIENCE, rounds).await;
    }

    /// Has the driver look at what it may have slept through.
    pub(crate) async fn nudge(&self) {
        // Any change of a channel wakes it; this one changes nothing.
        let _ = self.voice.set_buffered_amount_low_threshold(0).await;
    }
}

async fn build(
    ice_servers: &[IceServer],
    addresses: &[SocketAddr],
    runtime: LinkRuntime,
    driver_ended: watch::Receiver<bool>,
    mdns: MulticastDnsMode,
) -> Result<(Box<dyn PeerConnection>, Reports), Error> {
    let (signal_sender, signals) = mpsc::channel(LOCAL_CANDIDATE_QUEUE);
    let (fate_sender, fate) = watch::channel(None);
    let servers: Vec<_> = ice_servers.iter().filter_map(usable_server).collect();
    let has_turn = servers.iter().any(|server| server.urls.iter().any(|url| is_turn_over_udp(url)));
    let (turn_sender, turn) =
        watch::channel(if has_turn { TurnServers::Asked } else { TurnServers::None });
    let configuration = RTCConfigurationBuilder::default().with_ice_servers(servers).build();
    let peer = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(settings(mdns))
        .with_runtime(Arc::new(runtime))
        .with_handler(Arc::new(Handler {
            signals: signal_sender,
            fate: fate_sender,
            turn: turn_sender,
        }))
        .with_udp_addrs(addresses.to_vec())
        .build()
        .await?;
    Ok((Box::new(peer), Reports { signals, fate, turn, driver_ended }))
}

fn settings(mdns: MulticastDnsMode) -> SettingEngine {
    SettingEngineBuilder::new()
        .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEP_ALIVE_INTERVAL))
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_PER_PAIR))
        // The first pair that works is good: every route beats the relay, and waiting for a better
        // one costs a second.
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(Duration::ZERO))
        .with_include_loopback_candidate(true)
        .with_multicast_dns_mode(mdns)
        .with_dtls_cipher_suites(CIPHER_SUITES.to_vec())
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MESSAGE_BYTES))
        .with_sctp_max_receive_buffer_size(RECEIVE_WINDOW_BYTES)
        .with_sctp_mtu(SCTP_MTU_BYTES)
        .build()
}

async fn channels(peer: &dyn PeerConnection) -> Result<[Arc<dyn DataChannel>; 3], Error> {
    let lossy = |id| RTCDataChannelInit {
        ordered: false,
        max_retransmits: Some(0),
        negotiated: Some(id),
        ..RTCDataChannelInit::default()
    };
    let reliable = RTCDataChannelInit { negotiated: Some(1), ..RTCDataChannelInit::default() };
    Ok([
        peer.create_data_channel("voice", Some(lossy(0))).await?,
        peer.create_data_channel("reliable", Some(reliable)).await?,
        peer.create_data_channel("unreliable", Some(lossy(2))).await?,
    ])
}

fn channel_events(stream: Stream, channel: Arc<dyn DataChannel>) -> ChannelEvents {
    stream::unfold(Some(channel), move |channel| async move {
        let channel = channel?;
        match channel.poll().await {
            Some(event) => Some(((stream, Some(event)), Some(channel))),
            None => Some(((stream, None), None)),
        }
    })
    .boxed()
}

/// The crate refuses a whole configuration for one server it cannot use; pass over such servers
/// instead.
fn usable_server(server: &IceServer) -> Option<RTCIceServer> {
    let username = server.username.clone().unwrap_or_default();
    let credential = server.credential.clone().unwrap_or_default();
    let one = |url: &String| RTCIceServer {
        urls: vec![url.clone()],
        username: username.clone(),
        credential: credential.clone(),
    };
    let urls: Vec<_> = server.urls.iter().filter(|url| one(url).urls().is_ok()).cloned().collect();
    (!urls.is_empty()).then_some(RTCIceServer { urls, username, credential })
}

/// The only kind of TURN that the crate speaks.
fn is_turn_over_udp(url: &str) -> bool {
    let url = url.trim().to_ascii_lowercase();
    url.starts_with("turn:") && !url.contains("transport=tcp")
}

/// Runs on the connection's driver: must not wait.
struct Handler {
    signals: mpsc::Sender<Signal>,
    fate: watch::Sender<Option<CloseReason>>,
    turn: watch::Sender<TurnServers>,
}

/// What has become of the TURN servers. The crate reports no `icecandidateerror`, only candidates
/// and the end of the gathering; and that does not come while a server is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnServers {
    /// There are none.
    None,
    /// None has answered.
    Asked,
    /// One has given an address.
    Works,
    /// All have refused.
    Failed,
}

impl Handler {
    fn fail(&self, reason: CloseReason) {
        self.fate.send_if_modified(|fate| {
            let is_first = fate.is_none();
            fate.get_or_insert(reason);
            is_first
        });
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(json) if !json.candidate.is_empty() => {
                if json.candidate.contains(" typ relay") {
                    self.turn.send_replace(TurnServers::Works);
                }
                let signal = Signal::Candidate {
                    candidate: json.candidate,
                    // The crate leaves it empty, which browsers refuse.
                    sdp_mid: Some(MID.to_owned()),
                    sdp_m_line_index: Some(0),
                };
                let _ = self.signals.try_send(signal);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a local candidate cannot be described"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.turn.send_if_modified(|turn| {
                let has_failed = *turn == TurnServers::Asked;
                if has_failed {
                    *turn = TurnServers::Failed;
                }
                has_failed
            });
            let _ = self.signals.try_send(Signal::EndOfCandidates);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "connection");
        match state {
            RTCPeerConnectionState::Failed => self.fail(CloseReason::Lost),
            RTCPeerConnectionState::Closed => self.fail(CloseReason::Remote),
            _ => {}
        }
    }

    async fn on_data_channel(&self, _: Arc<dyn DataChannel>) {
        self.fail(CloseReason::Misbehaved("opened a data channel"));
    }
}
