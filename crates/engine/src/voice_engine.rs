//! [`VoiceEngine`]: a session and its sound.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_audio::mix::Width;
use voicemesh_audio::space::StereoBlock;
use voicemesh_audio::{Block, SAMPLE_RATE_HZ};
use voicemesh_common::NextTimer;
use voicemesh_e2ee::{RoomKey, SafetyCode};
use voicemesh_sealing::{MemberEncryption, OVERHEAD_BYTES, Outgoing, Seeds};
use voicemesh_session::client::{
    AudienceMember, ClientEvent, DropCounts, Dropped, OutgoingFrame, Participant, Phase, View,
};
use voicemesh_session::network::{
    ClientLookup, Destination, DisconnectReason, NetworkEvent, PacketLimits, Side,
};
use voicemesh_session::output::LinkPacket;
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_session::{Client, ClientConfig, GLOBAL_GROUP, Server, ServerHealth};
use voicemesh_uplink::Train;
use voicemesh_uplink::path::PathState;
use voicemesh_uplink::plan::RateLimits;
use voicemesh_uplink::policy::{Feedback, LossReport, Paths};
use voicemesh_wire::packet::{CodecSettings, ReceptionReport, Recipient};
use voicemesh_wire::{ClientId, SessionId};

use crate::answers::Answers;
use crate::capture::CapturePipeline;
use crate::encryption::{Encryption, EncryptionEvent};
use crate::mode::Mode;
use crate::output::EngineOutput;
use crate::playout::{Heard, Mixing, Playout, PlayoutStats};
use crate::recording_tap::{Frames, RecordedFrame};
use crate::role::{Connection, EndedClient, Host, Role, Serving, client_event, poll_client};
use crate::status::{EngineConfig, EngineError, EngineEvent, PeerStatus, Status};

/// Events that are not taken yet. When there are more, the oldest are dropped and counted.
const EVENTS: usize = 4096;

/// One peer: a session and its sound.
///
/// Without I/O: inputs and the time go in, [`poll_output`](Self::poll_output) gives what is to be
/// sent and done, and [`poll_event`](Self::poll_event) what happened. Take the outputs after every
/// call, then the events. [`EngineOnNetwork`](crate::EngineOnNetwork) does so over a network.
#[derive(Debug)]
pub struct VoiceEngine<P> {
    config: EngineConfig,
    random: fastrand::Rng,
    pub(crate) role: Role<P>,
    background_bytes: u64,
    pub(crate) capture: CapturePipeline,
    pub(crate) playout: Playout<P>,
    pub(crate) feedback: Feedback<Participant<P>>,
    /// There was a connection to the server, and none since.
    was_disconnected: bool,
    pub(crate) device_delays: DeviceDelays,
    /// The newest frame that was sent, and when its first sample was captured.
    pub(crate) captured: Option<(u16, Duration)>,
    pub(crate) answers: Answers<P>,
    pub(crate) frames: Frames<P>,
    found: Vec<Heard<P>>,
    events: VecDeque<EngineEvent<P>>,
    events_dropped: u64,
    /// When timers were last run to the end.
    followed_at: Duration,
    links_wait: bool,
    encryption: Option<Box<Encryption>>,
    /// Who wrote the newest texts, by the names that they had then.
    authors: VecDeque<(ClientId, String)>,
}

/// Authors of texts whose names are kept until the owner has taken the texts: those of one update.
const AUTHORS: usize = 64;

/// What the devices add to the delay.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceDelays {
    /// How old the newest sample of a captured block is when it is handed over.
    pub capture_age: Duration,
    /// How long after being asked for a rendered block's first sample is heard.
    pub playout_delay: Duration,
}

impl<P: Copy + Ord + Debug> VoiceEngine<P> {
    /// A peer that does nothing yet.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        Ok(Self {
            random: fastrand::Rng::with_seed(config.seed),
            capture: CapturePipeline::new(config.speech, config.microphone)?,
            feedback: Feedback::new(RateLimits {
                bitrate_bps: config.speech.bitrate_bps,
                frame: config.speech.frame,
                uplink_bps: config.uplink_bps,
                redundancy: true,
            }),
            device_delays: DeviceDelays::default(),
            captured: None,
            answers: Answers::default(),
            frames: Frames::default(),
            config,
            role: Role::None,
            background_bytes: 0,
            was_disconnected: false,
            playout: Playout::new(),
            found: Vec::new(),
            events: VecDeque::new(),
            events_dropped: 0,
            followed_at: Duration::ZERO,
            links_wait: false,
            encryption: None,
            authors: VecDeque::new(),
        })
    }

    /// From the next start on: what is said and written is sealed, and only what is sealed is taken.
    /// What goes over links its owner seals ([`seal_for_link`](Self::seal_for_link)).
    pub(crate) fn encrypt(&mut self, room_key: RoomKey, seeds: Seeds) {
        self.encryption =
            Some(Box::new(Encryption::new(room_key, seeds, self.config.name.clone())));
    }

    /// Becomes a client, which joins a session once its network is connected
    /// ([`NetworkEvent::Connected`]). Listens and speaks to [`GLOBAL_GROUP`] until changed.
    /// `limits`: the largest packets that its network carries.
    ///
    /// # Errors
    ///
    /// When it runs already.
    pub fn run_as_client(&mut self, limits: PacketLimits) -> Result<(), EngineError> {
        self.check_idle()?;
        self.role = Role::Client(Box::new(self.make_client(limits)?));
        Ok(())
    }

    /// Becomes the server of a new session, without microphone and speaker. `limits`: the largest
    /// packets that its network carries.
    ///
    /// # Errors
    ///
    /// When it runs already.
    pub fn run_as_dedicated_server(&mut self, limits: PacketLimits) -> Result<(), EngineError> {
        self.check_idle()?;
        self.role = Role::DedicatedServer(Box::new(Serving::new(limits, self.draw_session())));
        Ok(())
    }

    /// Becomes the server of a new session and a client of it. The client joins once the network
    /// serves ([`NetworkEvent::Hosting`]); what the two send each other never passes the network.
    /// Listens and speaks to [`GLOBAL_GROUP`] until changed. `limits`: the largest packets that the
    /// network carries.
    ///
    /// # Errors
    ///
    /// When it runs already.
    pub fn run_as_host(&mut self, limits: PacketLimits) -> Result<(), EngineError> {
        self.check_idle()?;
        let serving = Serving::new(limits, self.draw_session());
        let client = self.make_client(limits)?;
        self.role = Role::Host(Box::new(Host::new(serving, client)));
        Ok(())
    }

    fn draw_session(&mut self) -> SessionId {
        loop {
            if let Some(session) = SessionId::new(self.random.u32(..)) {
                return session;
            }
        }
    }

    fn make_client(&mut self, limits: PacketLimits) -> Result<Client<P>, EngineError> {
        let samples = self.config.speech.frame.samples() as u32;
        let codec = CodecSettings {
            codec: CodecSettings::OPUS,
            frame_samples: samples,
            sample_rate_hz: SAMPLE_RATE_HZ,
        };
        let first_sequence = self.random.u16(..);
        let data_seed = self.random.u64(..);
        let limits = if self.encrypts() { Encryption::limits(limits) } else { limits };
        let config = ClientConfig {
            data_seed,
            limits,
            ..ClientConfig::new(self.config.name.clone(), codec, first_sequence)
        };
        let mut client = Client::new(config);
        client.join_group(GLOBAL_GROUP)?;
        client
            .open_target(VoiceTarget::Group(GLOBAL_GROUP.to_owned()), TargetOptions::default())?;
        Ok(client)
    }

    /// Ends whatever runs and frees it, and drops the outputs that wait. Harmless when nothing
    /// does; starting again works.
    pub fn stop(&mut self, now: Duration) {
        let mut role = std::mem::replace(&mut self.role, Role::None);
        if let Some(client) = role.client_mut() {
            client.leave();
            while let Some(event) = client.poll_event() {
                self.take_client_event(now, event);
            }
        }
        if let Some(encryption) = &mut self.encryption {
            encryption.reset();
        }
        self.playout.clear(now);
        self.feedback.forget();
    }

    /// When [`update`](Self::update) and [`follow`](Self::follow) are to be called, in the time of
    /// their argument: at once if that has passed, and `None` if not before something else is
    /// called. Calls before that moment have no effect; it is said anew after each call.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let client = self.client()?;
        if self.role.has_waiting() {
            return Some(Duration::ZERO);
        }
        let mut adapts = NextTimer::after(self.followed_at);
        adapts.at(self.feedback.poll_timeout());
        if let Some(encryption) = &self.encryption {
            encryption.timers(&mut adapts);
        }
        let timers = [client.poll_timeout(), adapts.earliest(), self.playout.poll_timeout()];
        timers.into_iter().flatten().min()
    }

    /// Runs timers, and hands a host's own client what its server has sent it. Call it when
    /// [`poll_timeout`](Self::poll_timeout) says so; [`follow`](Self::follow) comes after it.
    pub fn update(&mut self, now: Duration) {
        if let Role::Host(host) = &mut self.role {
            host.set_now(now);
            // What the client answers waits among its outputs.
            for _ in 0..host.waiting() {
                let Role::Host(host) = &mut self.role else { break };
                host.deliver_to_client(now, self.encryption.as_deref_mut());
                self.drain_client(now);
            }
        }
        if let Some(client) = self.role.client_mut()
            && client.poll_timeout().is_some_and(|at| at <= now)
        {
            client.update(now);
        }
        self.follow_encryption(now);
    }

    /// Follows what became of the outputs since [`update`](Self::update): reads the client's
    /// events, adapts to what the paths carry, and reports to the speakers. Call it after these
    /// outputs were carried out, and carry out the further ones.
    pub fn follow(&mut self, now: Duration) {
        self.drain_client(now);
        self.follow_encryption(now);
        self.adapt(now);
        self.send_reception_reports(now);
        self.playout.settle(now);
        self.links_wait = self.playout.links_wait() || self.feedback.links_wait(now);
        self.followed_at = now;
    }

    /// The next thing to do with the network.
    pub fn poll_output(&mut self) -> Option<EngineOutput<P>> {
        match &mut self.role {
            Role::None => None,
            Role::Client(client) => {
                poll_client(client, self.encryption.as_deref_mut()).map(EngineOutput::Client)
            }
            Role::DedicatedServer(serving) => serving.poll_output(),
            Role::Host(host) => host.poll_output(self.encryption.as_deref_mut()),
        }
    }

    /// Whether the server passes on what it is sent. Owners say so whenever it may have changed. Of
    /// no effect on a host, whose server is its own.
    pub fn set_server_health(&mut self, server: ServerHealth) {
        if let Role::Client(client) = &mut self.role {
            client.set_server_health(server);
        }
    }

    /// What this side put on the wire so far for other things than packets, in bytes. Owners say so
    /// before [`follow`](Self::follow) and [`capture`](Self::capture), where it is counted.
    pub fn set_background_bytes(&mut self, bytes: u64) {
        self.background_bytes = bytes;
    }

    /// What the headers of a packet to the server take beyond those of a WebSocket on IPv4 without
    /// TLS, in bytes. Owners say so before [`follow`](Self::follow).
    pub fn set_server_header_bytes(&mut self, further: u32) {
        let sealing_bytes = if self.encrypts() { OVERHEAD_BYTES } else { 0 };
        if let Some(client) = self.role.client_mut() {
            client.set_server_header_bytes(further + sealing_bytes);
        }
    }

    /// These links did not take a packet: see [`Client::refused`].
    pub fn refused(&mut self, now: Duration, refused: LinkPacket<P>) {
        if let Some(client) = self.role.client_mut() {
            client.refused(now, refused);
        }
    }

    /// Follows what the paths carry: how the next frames are sent, and by which routes.
    fn adapt(&mut self, now: Duration) {
        let Some(client) = self.role.client_mut() else { return };
        let Some(decision) = self.feedback.update(now, &ClientPaths(client, self.background_bytes))
        else {
            return;
        };
        client.set_congested(decision.is_full);
        client.relay_speech_to(now, decision.relayed);
        if let Some((Participant::Peer(peer), train)) = decision.train {
            let Train { number, packets, padding } = train;
            if client.probe_bandwidth(peer, number, packets, padding) {
                self.feedback.train_sent(train, PROBE_HEADER_BYTES + u32::from(padding));
            }
        }
        self.capture.follow(self.feedback.plan());
    }

    /// The next 10 ms of the microphone. A frame that is complete leaves at once, to everyone who
    /// listens.
    pub fn capture(&mut self, now: Duration, block: &Block) -> Result<(), EngineError> {
        if let Role::Host(host) = &mut self.role {
            host.set_now(now);
        }
        if let Some(encryption) = &mut self.encryption {
            encryption.set_now(now);
        }
        let Some(client) = self.role.client_mut() else { return Ok(()) };
        let (background_bytes, feedback, frames) =
            (self.background_bytes, &mut self.feedback, &mut self.frames);
        let mut sent = None;
        self.capture.push(block, |spoken| {
            let sequence = client.next_sequence();
            frames.put(|| RecordedFrame {
                from: None,
                sequence: sequence.into(),
                pause_follows: spoken.pause_follows,
                frame: Bytes::copy_from_slice(spoken.frame),
            });
            if feedback.is_silent(now) {
                client.look_at_audience();
                let relayed = feedback.begin(now, &ClientPaths(client, background_bytes));
                client.relay_speech_to(now, relayed);
            }
            let plan = feedback.plan();
            client.send_spoken(
                now,
                &OutgoingFrame {
                    frame: Bytes::copy_from_slice(spoken.frame),
                    pause_follows: spoken.pause_follows,
                    copies: plan.copies,
                    wants_copies: &|who| feedback.wants_copies(who),
                    frames_per_packet: &|who| feedback.frames_per_packet(who),
                },
            );
            sent = Some(sequence);
        })?;
        if let Some(sequence) = sent {
            let age = self.capture.newest_frame_age(self.device_delays.capture_age);
            self.captured = Some((sequence, now.saturating_sub(age)));
            self.feedback.sent(now);
        }
        Ok(())
    }

    /// The next 10 ms for the speaker.
    pub fn render(&mut self, now: Duration, out: &mut Block) {
        self.render_apart(now, out, |_, _| Mixing::In);
    }

    /// The same, with each speaker's own 10 ms (volume and mute included) shown first, so that a
    /// game can place it in space; what is not to be mixed into `out` as well is answered with
    /// [`Mixing::Out`]. The echo canceller knows only of what is mixed.
    pub fn render_apart(
        &mut self,
        now: Duration,
        out: &mut Block,
        each: impl FnMut(Participant<P>, &Block) -> Mixing,
    ) {
        self.render_speakers(now, each);
        self.playout.mix(out);
        self.capture.played(out);
    }

    /// The same for two ears; says whether they differ. The echo canceller is shown their mean.
    pub fn render_stereo_apart(
        &mut self,
        now: Duration,
        out: &mut StereoBlock,
        each: impl FnMut(Participant<P>, &Block) -> Mixing,
    ) -> Width {
        self.render_speakers(now, each);
        let width = self.playout.mix_stereo(out);
        match width {
            Width::Mono => self.capture.played(&out.left),
            Width::Stereo => self.capture.played(&out.mean()),
        }
        width
    }

    fn render_speakers(
        &mut self,
        now: Duration,
        each: impl FnMut(Participant<P>, &Block) -> Mixing,
    ) {
        let plays_at = now + self.device_delays.playout_delay;
        self.playout.render(now, plays_at, &mut self.found, each);
        for found in std::mem::take(&mut self.found) {
            self.push(match found {
                Heard::First(who) => EngineEvent::FirstHeard { who },
                Heard::Speaking(who, speaking) => EngineEvent::Speaking { who, speaking },
            });
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<EngineEvent<P>> {
        self.events.pop_front()
    }

    /// What runs.
    pub fn mode(&self) -> Mode {
        self.role.mode()
    }

    /// A client: whether it is in a session. A server: whether it serves. A host: whether both are
    /// so.
    pub fn is_connected(&self) -> bool {
        let serves = self.role.serving().map(|serving| serving.is_hosting);
        let is_joined = self.client().map(|client| client.phase() == Phase::Joined);
        self.mode() != Mode::None && serves.unwrap_or(true) && is_joined.unwrap_or(true)
    }

    /// Mode, connection and members.
    pub fn status(&self) -> Status {
        let connected = self.is_connected();
        let (session, table) = match self.role.serving() {
            Some(serving) => (Some(serving.server.session()), Some(serving.server.table())),
            None => {
                let view = self.client().filter(|_| connected).and_then(Client::view);
                (view.map(View::session), view.map(View::table))
            }
        };
        let members = table
            .into_iter()
            .flat_map(|table| {
                table.members().map(|member| (member.info.id, member.info.name.clone()))
            })
            .collect();
        Status { mode: self.mode(), connected, session, members }
    }

    /// Every other peer to whom there is, or was a moment ago, a way.
    pub fn peers(&self) -> Vec<PeerStatus<P>> {
        let Some(client) = self.client() else { return Vec::new() };
        client
            .routes()
            .map(|(who, route)| {
                let peer = match who {
                    Participant::Peer(peer) => Some(peer),
                    Participant::Client(..) => None,
                };
                PeerStatus {
                    who,
                    route,
                    round_trip: peer.and_then(|peer| client.round_trip(peer)),
                    link_heard_at: peer.and_then(|peer| client.heard_at(peer)),
                    speaking: self.playout.is_speaking(who),
                    level_dbfs: self.playout.level_dbfs(who),
                    heard: self.playout.listener_stats(who),
                    loss: self.playout.loss(who),
                    delay: self.playout.delay(who),
                    reported_loss: self.feedback.loss(who),
                    gain: self.playout.setting(who).0,
                    muted: self.playout.setting(who).1,
                }
            })
            .collect()
    }

    /// What was heard, of all speakers together.
    pub fn playout_stats(&self) -> PlayoutStats {
        self.playout.stats()
    }

    /// Whether links that are not open yet should stay so for now, for want of room on the uplink
    /// or on the way here. Changes with [`follow`](Self::follow) only.
    pub fn links_wait(&self) -> bool {
        self.links_wait
    }

    /// Whether relayed speech comes late, or did a moment ago: the way here is full. Changes with
    /// [`follow`](Self::follow) only.
    pub fn relayed_speech_is_late(&self) -> bool {
        self.playout.is_late()
    }

    /// Frames that the microphone has made.
    pub fn frames_spoken(&self) -> u64 {
        self.capture.frames()
    }

    /// What a client received without effect, and why.
    pub fn dropped(&self) -> Option<&DropCounts> {
        self.client().map(Client::dropped)
    }

    /// The session's client.
    pub fn client(&self) -> Option<&Client<P>> {
        self.role.client()
    }

    /// The session's client. What it wants sent is among the outputs.
    pub fn client_mut(&mut self) -> Option<&mut Client<P>> {
        self.role.client_mut()
    }

    /// The session's server.
    pub fn server(&self) -> Option<&Server<Connection<P>>> {
        self.role.serving().map(|serving| &serving.server)
    }

    /// The groups that are listened to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.client().into_iter().flat_map(Client::groups)
    }

    /// The groups that another peer listens to, as far as they are known.
    pub fn groups_of(&self, peer: P) -> impl Iterator<Item = &str> {
        let client = self.client();
        let member = client.and_then(|client| {
            let view = client.view()?;
            match client.roster().client_of(view.session(), peer) {
                ClientLookup::Client(client) => view.table().member(client),
                ClientLookup::NotYet | ClientLookup::NoRoster => None,
            }
        });
        member.into_iter().flat_map(|member| member.groups.values()).map(String::as_str)
    }

    /// Begins to listen to a group.
    pub fn join_group(&mut self, name: &str) -> Result<(), EngineError> {
        Ok(self.as_client()?.join_group(name)?)
    }

    /// Ceases to listen to a group.
    pub fn leave_group(&mut self, name: &str) -> Result<(), EngineError> {
        self.as_client()?.leave_group(name);
        Ok(())
    }

    /// Begins to speak to a target, or changes how.
    pub fn open_target(
        &mut self,
        target: VoiceTarget<P>,
        options: TargetOptions,
    ) -> Result<(), EngineError> {
        Ok(self.as_client()?.open_target(target, options)?)
    }

    /// Ceases to speak to a target.
    pub fn close_target(
        &mut self,
        now: Duration,
        target: &VoiceTarget<P>,
    ) -> Result<(), EngineError> {
        self.as_client()?.close_target(now, target);
        Ok(())
    }

    /// Writes to a group or a client.
    pub fn send_text(&mut self, recipient: Recipient, text: &str) -> Result<(), EngineError> {
        Ok(self.as_client()?.send_text(recipient, text)?)
    }

    /// Writes to a group by its name.
    pub fn send_group_text(&mut self, group: &str, text: &str) -> Result<(), EngineError> {
        Ok(self.as_client()?.send_group_text(group, text)?)
    }

    /// What the author of one of the newest texts was called when it came: it may have left since.
    pub fn author_name(&self, client: ClientId) -> Option<&str> {
        let mut authors = self.authors.iter();
        authors.find(|(author, _)| *author == client).map(|(_, name)| name.as_str())
    }

    /// Whether others have yet to be sent texts that wait for keys, or to take data that must arrive:
    /// what a program that leaves may wait for.
    pub fn has_unsent(&self) -> bool {
        let encryption = self.encryption.as_ref();
        encryption.is_some_and(|encryption| encryption.has_waiting_texts())
            || self.client().is_some_and(|client| {
                client.has_waiting_texts()
                    || client.data_pipes().any(|(_, pipe)| pipe.queued_bytes() > 0)
            })
    }

    fn as_client(&mut self) -> Result<&mut Client<P>, EngineError> {
        self.role.client_mut().ok_or(EngineError::NotAClient)
    }

    /// # Errors
    ///
    /// When it runs already.
    pub(crate) fn check_idle(&self) -> Result<(), EngineError> {
        match self.mode() {
            Mode::None => Ok(()),
            mode => Err(EngineError::AlreadyRunning(mode)),
        }
    }

    /// Something that the network reported. It goes to the client or the server, whichever runs and
    /// it is for; otherwise it has no effect.
    pub fn handle(&mut self, now: Duration, event: NetworkEvent<P>) {
        if let NetworkEvent::PeerRestarted(peer) = event
            && self.playout.forget(now, Participant::Peer(peer))
        {
            self.push(EngineEvent::Speaking { who: Participant::Peer(peer), speaking: false });
        }
        if let Role::Host(host) = &mut self.role {
            host.set_now(now);
        }
        match event.side() {
            Side::Server => self.handle_server(now, event),
            Side::Client | Side::Links => self.handle_client(now, event),
        }
    }

    /// Relayed speech goes over another connection to the server.
    fn relay_renewed(&mut self, now: Duration) {
        self.playout.relay_renewed(now);
        self.feedback.relay_renewed(now);
    }

    fn handle_client(&mut self, now: Duration, event: NetworkEvent<P>) {
        match event {
            NetworkEvent::PathChanged => self.feedback.network_changed(),
            NetworkEvent::Disconnected(_) => self.was_disconnected = true,
            NetworkEvent::Connected if std::mem::take(&mut self.was_disconnected) => {
                self.relay_renewed(now);
            }
            NetworkEvent::Resumed => self.relay_renewed(now),
            _ => {}
        }
        match &mut self.role {
            Role::None | Role::DedicatedServer(_) => {}
            Role::Client(client) => {
                client_event(now, event, client, self.encryption.as_deref_mut());
                self.drain_client(now);
            }
            Role::Host(host) => match event {
                // Its server is in this process: what a network reports of another is not for it,
                // nor what it says comes from one.
                NetworkEvent::Connected
                | NetworkEvent::Disconnected(_)
                | NetworkEvent::Resumed
                | NetworkEvent::FromServer(_)
                | NetworkEvent::ServerPong(_) => {}
                event => {
                    client_event(now, event, &mut host.client, self.encryption.as_deref_mut());
                    self.drain_client(now);
                }
            },
        }
    }

    /// A connection of the own server comes from where `origin` says, which is asked of one that the
    /// server does not know.
    pub(crate) fn set_origin(&mut self, peer: P, origin: impl FnOnce() -> Option<u64>) {
        if let Some(serving) = self.role.serving_mut()
            && !serving.knows(peer)
        {
            serving.set_origin(peer, origin());
        }
    }

    fn handle_server(&mut self, now: Duration, event: NetworkEvent<P>) {
        let Some(serving) = self.role.serving_mut() else { return };
        match event {
            NetworkEvent::FromClient { peer, packet } => {
                if let Some(ended) = serving.receive(now, peer, &packet) {
                    let EndedClient { client, name, reason } = ended;
                    let told = self.encryption.as_ref().and_then(|it| it.name_of(client));
                    let name = told.map_or(name, str::to_owned);
                    self.push(EngineEvent::ClientEnded { client, name, reason });
                }
            }
            NetworkEvent::ClientGone { peer } => serving.client_gone(now, peer),
            NetworkEvent::Hosting => {
                let session = serving.server.session();
                match &mut self.role {
                    Role::DedicatedServer(serving) => serving.is_hosting = true,
                    Role::Host(host) => host.hosting(),
                    Role::None | Role::Client(_) => {}
                }
                self.push(EngineEvent::Hosting(session));
            }
            NetworkEvent::HostingFailed(why) => {
                self.stop(now);
                self.push(EngineEvent::HostingFailed(why));
            }
            // `side` says that these are not a server's.
            NetworkEvent::Connected
            | NetworkEvent::Disconnected(_)
            | NetworkEvent::Resumed
            | NetworkEvent::PathChanged
            | NetworkEvent::FromServer(_)
            | NetworkEvent::LinkUp(_)
            | NetworkEvent::LinkDown(_)
            | NetworkEvent::LinkAnswered { .. }
            | NetworkEvent::FromLink { .. }
            | NetworkEvent::RosterChanged(_)
            | NetworkEvent::ServerPong(_)
            | NetworkEvent::PeerRestarted(_) => {}
        }
    }

    /// Whether what is said and written is sealed for the other members.
    pub fn encrypts(&self) -> bool {
        self.encryption.is_some()
    }

    /// Whether what passes between this peer and a member of the current session is encrypted;
    /// `None` where this peer does not encrypt, or there is no such member.
    pub fn encryption_of(&self, client: ClientId) -> Option<MemberEncryption> {
        self.encryption.as_ref()?.state_of(client)
    }

    /// What a member of the current session is called: as the server says or, where this peer
    /// encrypts, as the member does. `None` while that may still come.
    pub fn name_of(&self, client: ClientId) -> Option<&str> {
        match &self.encryption {
            Some(encryption) => encryption.name_of(client),
            None => {
                let member = self.client()?.view()?.table().member(client)?;
                Some(&member.info.name)
            }
        }
    }

    /// A code that all members have alike with whom this one encrypts, in a session.
    pub fn safety_code(&self) -> Option<SafetyCode> {
        self.encryption.as_ref()?.safety_code()
    }

    /// What goes over a link to one member in place of a packet; `None` if nothing does.
    pub(crate) fn seal_for_link(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        to: &Destination<P>,
    ) -> Option<Bytes> {
        match &mut self.encryption {
            Some(encryption) => encryption.seal_for_link(outgoing, to),
            None => Some(outgoing.plain()),
        }
    }

    /// Keys that are due, and what has become of those of the others.
    fn follow_encryption(&mut self, now: Duration) {
        let Some(encryption) = &mut self.encryption else { return };
        if let Some(client) = self.role.client() {
            encryption.follow(now, client);
        }
        while let Some(event) = self.encryption.as_mut().and_then(|it| it.poll_event()) {
            self.push(match event {
                EncryptionEvent::Changed { session, client, encryption } => {
                    EngineEvent::EncryptionChanged { session, client, encryption }
                }
                EncryptionEvent::Named { session, client } => {
                    EngineEvent::MemberNamed { session, client }
                }
                EncryptionEvent::Unread { text, why } => {
                    EngineEvent::Session(ClientEvent::TextUnread { text, why })
                }
            });
        }
    }

    fn drain_client(&mut self, now: Duration) {
        while let Some(client) = self.role.client_mut() {
            let Some(event) = client.poll_event() else { return };
            if let ClientEvent::Text { client, .. } = &event
                && let Some(name) = self.name_of(*client).map(str::to_owned)
            {
                self.authors.truncate(AUTHORS - 1);
                self.authors.push_front((*client, name));
            }
            self.take_client_event(now, event);
        }
    }

    fn take_client_event(&mut self, now: Duration, event: ClientEvent<P>) {
        match event {
            ClientEvent::Voice(voice) => {
                self.frames.put(|| RecordedFrame {
                    from: Some(voice.from),
                    sequence: voice.sequence,
                    pause_follows: voice.pause_follows || voice.last_of_talkspurt,
                    frame: voice.frame.clone(),
                });
                // A decoder that cannot be made is the machine's fault: this speaker is not heard,
                // the others are.
                let _ = self.playout.receive(now, &voice);
            }
            ClientEvent::Report { from, report } => {
                self.feedback.report(now, from, loss_of(&report))
            }
            ClientEvent::Bandwidth { from, report } => {
                let span = Duration::from_micros(report.span_us.into());
                self.feedback.train_arrived(now, from, report.train, report.received, span);
            }
            ClientEvent::ClockAsked { from, asked_us } => {
                self.answer_clock_probe(now, from, asked_us)
            }
            ClientEvent::ClockTold { from, echo } => self.playout.handle_echo(now, from, &echo),
            ClientEvent::SessionEnded(DisconnectReason::ReliabilityBroken) => {
                self.push(EngineEvent::Session(event));
                self.role = Role::None;
                self.playout.clear(now);
            }
            other => self.push(EngineEvent::Session(other)),
        }
    }

    pub(crate) fn push(&mut self, event: EngineEvent<P>) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
            self.events_dropped += 1;
        }
        self.events.push_back(event);
    }

    /// Events and outputs, the session's included, that were dropped because they were not taken.
    pub fn events_dropped(&self) -> u64 {
        let of_client = self.client().map_or(0, |client| {
            let events = client.dropped().get(&Dropped::EventOverflow).copied().unwrap_or(0);
            events + client.outputs_dropped()
        });
        let of_session = of_client + self.role.serving().map_or(0, Serving::dropped);
        self.events_dropped + of_session
    }
}

/// Session bytes of a probe beside its padding.
const PROBE_HEADER_BYTES: u32 = 12;

fn loss_of(report: &ReceptionReport) -> LossReport {
    let mean_run = f32::from(report.loss_run_sixteenths) / 16.0;
    let buffer = Duration::from_millis(report.buffer_ms.into());
    LossReport {
        expected: report.expected,
        lost: report.lost,
        unrepaired: report.unrepaired,
        mean_run,
        buffer,
    }
}

/// What the session knows of its paths, and what its network sent beside packets, in bytes.
struct ClientPaths<'a, P>(&'a Client<P>, u64);

impl<P: Copy + Ord + Debug> Paths<Participant<P>> for ClientPaths<'_, P> {
    fn audience(&self) -> &[AudienceMember<P>] {
        self.0.last_audience()
    }

    fn link(&self, now: Duration, who: Participant<P>) -> Option<PathState> {
        self.0.link_traffic(now, who.peer()?)
    }

    fn relay(&self, now: Duration) -> PathState {
        self.0.relay_traffic(now)
    }

    fn background_bytes(&self) -> u64 {
        self.1
    }
}
