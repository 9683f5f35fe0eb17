//! An engine together with the network that carries its packets.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use voicemesh_audio::Block;
use voicemesh_e2ee::RoomKey;
use voicemesh_sealing::{Outgoing, Seeds};
use voicemesh_session::Network;
use voicemesh_session::client::Phase;
use voicemesh_session::network::{DisconnectReason, NetworkError, NetworkEvent, Refusal, perform};
use voicemesh_session::output::{LinkPacket, Output};
use voicemesh_wire::packet::Recipient;

use crate::contract::ContractWatch;
use crate::mode::Mode;
use crate::output::EngineOutput;
use crate::status::{EngineError, EngineEvent};
use crate::voice_engine::VoiceEngine;

/// Events of the network handled in one update; what is more waits for the next, so that sound is
/// never kept waiting.
const EVENTS_PER_UPDATE: usize = 1024;

/// An engine and its network: takes the events of the network to the engine, and the engine's
/// outputs to the network.
///
/// What the network reports against the contract of the trait has no effect, and is reported as
/// [`EngineEvent::ContractBroken`].
///
/// What is here sends at once. All else is the engine's ([`Deref`]); what a call to it wants sent
/// leaves with the next [`update`](Self::update).
#[derive(Debug)]
pub struct EngineOnNetwork<N: Network> {
    engine: VoiceEngine<N::Peer>,
    network: N,
    is_initialised: bool,
    /// What the network was asked to carry, and was not asked to end.
    carries: Mode,
    contract: ContractWatch<N::Peer>,
    /// The network was given something since it was flushed.
    is_unflushed: bool,
    /// The network has more events than one update handles.
    has_more: bool,
}

/// An engine did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The network cannot.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The engine cannot.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl<N: Network> EngineOnNetwork<N> {
    /// Both together. Touches neither network nor device.
    pub fn new(engine: VoiceEngine<N::Peer>, network: N) -> Self {
        Self {
            engine,
            network,
            is_initialised: false,
            carries: Mode::None,
            contract: ContractWatch::default(),
            is_unflushed: false,
            has_more: false,
        }
    }

    /// The same, with speech and texts encrypted end to end between members who have this key: the
    /// session's server cannot read them. Others neither hear nor are heard. `seeds`: from
    /// randomness of the system.
    pub fn encrypted(
        mut engine: VoiceEngine<N::Peer>,
        network: N,
        room_key: RoomKey,
        seeds: Seeds,
    ) -> Self {
        engine.encrypt(room_key, seeds);
        Self::new(engine, network)
    }

    /// Begins to join a session. Listens and speaks to
    /// [`GLOBAL_GROUP`](voicemesh_session::GLOBAL_GROUP) until changed.
    ///
    /// # Errors
    ///
    /// When it runs already, or the network cannot begin to connect.
    pub fn run_as_client(
        &mut self,
        now: Duration,
        parameters: N::ClientParameters,
    ) -> Result<(), StartError> {
        self.initialise()?;
        self.network.connect(now, parameters)?;
        self.begins(Mode::Client);
        self.engine.run_as_client(self.network.limits()).map_err(|error| self.give_up(now, error))
    }

    /// Begins to serve a new session, without microphone and speaker.
    ///
    /// # Errors
    ///
    /// When it runs already, or the network cannot begin to serve.
    pub fn run_as_dedicated_server(
        &mut self,
        now: Duration,
        parameters: N::ServerParameters,
    ) -> Result<(), StartError> {
        self.initialise()?;
        self.network.host(now, parameters)?;
        self.begins(Mode::DedicatedServer);
        self.engine
            .run_as_dedicated_server(self.network.limits())
            .map_err(|error| self.give_up(now, error))
    }

    /// Begins to serve a new session, and joins it: server and client in one process. What the two
    /// send each other stays in the process; the network is asked to serve, and not to connect.
    ///
    /// # Errors
    ///
    /// When it runs already, or the network cannot begin to serve.
    pub fn run_as_host(
        &mut self,
        now: Duration,
        parameters: N::ServerParameters,
    ) -> Result<(), StartError> {
        self.initialise()?;
        self.network.host(now, parameters)?;
        self.begins(Mode::Host);
        self.engine.run_as_host(self.network.limits()).map_err(|error| self.give_up(now, error))
    }

    /// Ends whatever runs and frees it. Harmless when nothing does; starting again works.
    pub fn stop(&mut self, now: Duration) {
        self.engine.stop(now);
        self.settle(now);
    }

    /// When [`update`](Self::update) is to be called if nothing arrives before: at once if that has
    /// passed, and `None` if not before something else is called. Said anew after each call.
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        if self.has_more {
            return Some(Duration::ZERO);
        }
        [self.engine.poll_timeout(), self.network.poll_timeout(now)].into_iter().flatten().min()
    }

    /// Handles what has arrived, and runs timers. Call it whenever something may have arrived, and
    /// when [`poll_timeout`](Self::poll_timeout) says so.
    pub fn update(&mut self, now: Duration) {
        self.has_more = true;
        for _ in 0..EVENTS_PER_UPDATE {
            let Some(event) = self.network.poll(now) else {
                self.has_more = false;
                break;
            };
            if let Err(breach) = self.contract.check(&event, self.network.limits()) {
                if let Some(error) = breach {
                    self.engine.push(EngineEvent::ContractBroken(error));
                }
                continue;
            }
            self.engine.set_server_health(self.network.server_health());
            // The session has nothing to say of what never began.
            if let NetworkEvent::Disconnected(reason) = &event
                && self.engine.client().is_some_and(|client| client.phase() == Phase::Offline)
            {
                self.engine.push(EngineEvent::ConnectFailed(reason.clone()));
            }
            if let NetworkEvent::FromClient { peer, .. } = event {
                self.engine.set_origin(peer, || self.network.origin(peer));
            }
            self.engine.handle(now, event);
            self.transmit(now);
            self.settle(now);
        }
        self.engine.set_server_health(self.network.server_health());
        self.engine.update(now);
        self.transmit(now);
        self.engine.set_background_bytes(self.network.background_bytes());
        self.engine.set_server_header_bytes(self.network.server_header_bytes());
        self.engine.follow(now);
        self.transmit(now);
        self.settle(now);
        self.flush(now);
    }

    /// The next 10 ms of the microphone. A frame that is complete leaves at once, to everyone who
    /// listens.
    ///
    /// # Errors
    ///
    /// When the codec cannot encode them.
    pub fn capture(&mut self, now: Duration, block: &Block) -> Result<(), EngineError> {
        self.engine.set_background_bytes(self.network.background_bytes());
        let done = self.engine.capture(now, block);
        self.transmit(now);
        self.flush(now);
        done
    }

    /// Begins to listen to a group.
    ///
    /// # Errors
    ///
    /// Those of [`VoiceEngine::join_group`].
    pub fn join_group(&mut self, now: Duration, name: &str) -> Result<(), EngineError> {
        let done = self.engine.join_group(name);
        self.transmit(now);
        self.flush(now);
        done
    }

    /// Ceases to listen to a group.
    ///
    /// # Errors
    ///
    /// Those of [`VoiceEngine::leave_group`].
    pub fn leave_group(&mut self, now: Duration, name: &str) -> Result<(), EngineError> {
        let done = self.engine.leave_group(name);
        self.transmit(now);
        self.flush(now);
        done
    }

    /// Writes to a group or a client.
    ///
    /// # Errors
    ///
    /// Those of [`VoiceEngine::send_text`].
    pub fn send_text(
        &mut self,
        now: Duration,
        recipient: Recipient,
        text: &str,
    ) -> Result<(), EngineError> {
        let done = self.engine.send_text(recipient, text);
        self.transmit(now);
        self.flush(now);
        done
    }

    /// Writes to a group by its name.
    ///
    /// # Errors
    ///
    /// Those of [`VoiceEngine::send_group_text`].
    pub fn send_group_text(
        &mut self,
        now: Duration,
        group: &str,
        text: &str,
    ) -> Result<(), EngineError> {
        let done = self.engine.send_group_text(group, text);
        self.transmit(now);
        self.flush(now);
        done
    }

    /// Whether a client's connection to its server was lost and there is no other yet.
    pub fn is_lost(&self) -> bool {
        self.contract.is_lost()
    }

    /// How often the network broke its contract, since it was made. [`EngineEvent::ContractBroken`]
    /// names the rules.
    pub fn contract_breaches(&self) -> u64 {
        self.contract.breaches()
    }

    /// The network, for what only this one can do.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The network, for what only this one can do.
    pub fn network_mut(&mut self) -> &mut N {
        &mut self.network
    }

    fn initialise(&mut self) -> Result<(), EngineError> {
        self.engine.check_idle()?;
        if !std::mem::replace(&mut self.is_initialised, true) {
            self.network.initialise();
        }
        Ok(())
    }

    fn begins(&mut self, mode: Mode) {
        self.carries = mode;
        self.contract.started(mode);
    }

    fn give_up(&mut self, now: Duration, error: EngineError) -> StartError {
        self.settle(now);
        error.into()
    }

    /// Ends what the network carries for an engine that has ended.
    fn settle(&mut self, now: Duration) {
        if self.engine.mode() != Mode::None || self.carries == Mode::None {
            return;
        }
        self.flush(now);
        let carried = std::mem::take(&mut self.carries);
        self.contract.ended();
        if carried.is_server() {
            self.network.stop_hosting(now);
        }
        if carried.is_client() {
            self.network.disconnect(now);
        }
    }

    /// Does all that the engine wants of the network, and hands back what that refuses.
    /// [`flush`](Self::flush) must follow.
    fn transmit(&mut self, now: Duration) {
        while let Some(output) = self.engine.poll_output() {
            self.is_unflushed = true;
            match output {
                EngineOutput::Client(Output::ToLinks(packet)) if self.engine.encrypts() => {
                    self.send_sealed(now, packet);
                }
                EngineOutput::Client(output) => match perform(now, output, &mut self.network) {
                    None => {}
                    Some(Refusal::Links(packet)) => self.engine.refused(now, packet),
                    Some(Refusal::Server) => {
                        self.contract.disconnected();
                        let reason = DisconnectReason::ReliabilityBroken;
                        self.engine.handle(now, NetworkEvent::Disconnected(reason));
                    }
                },
                // A connection that cannot take a packet is about to be reported gone.
                EngineOutput::ToClient { to, delivery, packet } => {
                    let _ = self.network.send_to_client(now, to, delivery, packet);
                }
                EngineOutput::EndClient { to } => self.network.end_client(now, to),
            }
        }
    }

    fn send_sealed(&mut self, now: Duration, mut packet: LinkPacket<N::Peer>) {
        let mut outgoing = Outgoing::new(&packet.packet);
        let mut refused = Vec::new();
        for to in &packet.to {
            let Some(sealed) = self.engine.seal_for_link(&mut outgoing, to) else { continue };
            let mut destination = vec![*to];
            self.network.send_to_links(now, &mut destination, packet.reliability, &sealed);
            refused.append(&mut destination);
        }
        if !refused.is_empty() {
            packet.to = refused;
            self.engine.refused(now, packet);
        }
    }

    /// Once for all that a call of the owner has sent: a network that collects packets then fills
    /// its datagrams.
    fn flush(&mut self, now: Duration) {
        if std::mem::take(&mut self.is_unflushed) {
            self.network.flush(now);
        }
    }
}

impl<N: Network> Deref for EngineOnNetwork<N> {
    type Target = VoiceEngine<N::Peer>;

    fn deref(&self) -> &Self::Target {
        &self.engine
    }
}

impl<N: Network> DerefMut for EngineOnNetwork<N> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.engine
    }
}
