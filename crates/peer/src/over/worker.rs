//! The thread of a voice over a game's network: it owns network, session, sound and devices.
//!
//! It runs when a device or the program wants something, when the network wakes it, when the engine
//! has a timer, and at least every 5 ms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use voicemesh_engine::{EngineEvent, EngineOnNetwork, Mode, ModeMirror};
use voicemesh_mesh::PeerLeftReason;
use voicemesh_session::client::{ClientEvent, Phase};
use voicemesh_session::network::DisconnectReason;
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_session::{GLOBAL_GROUP, Network};
use voicemesh_wire::{ClientId, DisplayName, PeerId, SessionId};

use super::members::{Change, Members};
use super::orders::{Follow, ModeRequest, Orders};
use crate::command::{Command, VoiceCommand};
use crate::event::{ErrorCode, Event, RoomEvent};
use crate::flush::Flush;
use crate::inbox::{Wake, park};
use crate::shared::Shared;
use crate::sleep_watch::SleepWatch;
use crate::voice_loop::VoiceLoop;

/// A dedicated server has no events of who comes and goes: it looks this often.
const MEMBERS_INTERVAL: Duration = Duration::from_millis(100);

/// Everything that the thread owns.
pub(super) struct VoiceWorker<N: Network> {
    started: Instant,
    name: String,
    engine: EngineOnNetwork<N>,
    voice: VoiceLoop,
    members: Members<N::Peer>,
    members_due: Duration,
    /// The groups to listen to, in whatever session.
    groups: BTreeSet<String>,
    /// How the game's network is followed.
    followed: Option<Follow<N>>,
    /// What runs is to end.
    flush: Flush,
    mirror: ModeMirror,
    sleep: SleepWatch,
    ends: Ends<N>,
}

/// The thread's ends of what it shares with the game.
pub(super) struct Ends<N: Network> {
    pub(super) orders: Arc<Orders<N>>,
    pub(super) commands: Receiver<Command>,
    pub(super) shared: Arc<Shared>,
}

impl<N: Network> VoiceWorker<N> {
    pub(super) fn new(
        started: Instant,
        name: String,
        engine: EngineOnNetwork<N>,
        voice: VoiceLoop,
        ends: Ends<N>,
    ) -> Self {
        Self {
            started,
            name,
            engine,
            voice,
            members: Members::default(),
            members_due: Duration::ZERO,
            groups: [GLOBAL_GROUP.to_owned()].into(),
            followed: None,
            flush: Flush::default(),
            mirror: ModeMirror::new(),
            sleep: SleepWatch::start(),
            ends,
        }
    }

    /// Works until the handle is gone.
    pub(super) fn run(mut self, wake: &Wake) {
        wake.is_this_thread();
        let now = self.started.elapsed();
        self.voice.begin(now, &mut self.engine, &self.members);
        loop {
            let now = self.started.elapsed();
            let is_leaving = self.ends.shared.is_leaving();
            if self.sleep.has_woken() {
                // What waited in between is old.
                self.voice.sound.drop_captured();
            }
            self.take_order(now);
            self.take_commands(now);
            if is_leaving {
                self.flush.begin(now);
            } else {
                self.stop_when_flushed(now);
                self.follow(now);
            }
            self.engine.update(now);
            self.voice.run_sound(now, &mut self.engine, &self.members);
            self.take_events(now);
            if is_leaving && self.may_go(now) {
                break;
            }
            self.publish(now);
            let due = self.engine.poll_timeout(now);
            park(self.started.elapsed(), due);
        }
        let now = self.started.elapsed();
        self.engine.stop(now);
        self.take_events(now);
        self.publish(now);
    }

    fn take_order(&mut self, now: Duration) {
        match self.ends.orders.take() {
            None => {}
            Some(ModeRequest::Stop) => {
                self.followed = None;
                self.flush.begin(now);
                // What was written before.
                self.take_commands(now);
            }
            Some(ModeRequest::Run(start)) => {
                self.followed = None;
                self.flush.end();
                match start.start(now, &mut self.engine) {
                    Ok(()) => self.begun(now),
                    Err(error) => self.failed(now, "not-started", error.to_string()),
                }
            }
            Some(ModeRequest::Follow(follow)) => {
                if self.flush.end() {
                    self.engine.stop(now);
                }
                self.followed = Some(follow);
            }
        }
    }

    fn stop_when_flushed(&mut self, now: Duration) {
        if self.flush.is_done(now, &self.engine) {
            self.flush.end();
            self.engine.stop(now);
        }
    }

    /// Whether the thread may end. While the game waits for that, nothing comes by a network that
    /// only the game runs.
    fn may_go(&self, now: Duration) -> bool {
        self.engine.network().needs_its_owner() || self.flush.is_done(now, &self.engine)
    }

    fn take_commands(&mut self, now: Duration) {
        while let Ok(command) = self.ends.commands.try_recv() {
            self.command(now, command);
        }
    }

    /// What was lost, or did not start, is tried again.
    fn follow(&mut self, now: Duration) {
        let Some(follow) = &self.followed else { return };
        match follow(now, &mut self.mirror, &mut self.engine) {
            Ok(true) => self.begun(now),
            Ok(false) => {}
            Err(error) => self.failed(now, "not-started", error.to_string()),
        }
    }

    /// A new client listens and speaks to the one group in which all begin.
    fn begun(&mut self, now: Duration) {
        if self.engine.client().is_none() {
            return;
        }
        let others: Vec<String> = self
            .engine
            .groups()
            .filter(|group| !self.groups.contains(*group))
            .map(str::to_owned)
            .collect();
        for group in others {
            let _ = self.engine.leave_group(now, &group);
        }
        for group in &self.groups {
            if let Err(error) = self.engine.join_group(now, group) {
                self.voice.warn(now, "command", error.to_string());
            }
        }
        let global = VoiceTarget::Group(GLOBAL_GROUP.to_owned());
        let _ = self.engine.close_target(now, &global);
        self.voice.open_all(now, &mut self.engine, &self.members);
    }

    fn command(&mut self, now: Duration, command: Command) {
        // Those of a room have no handle here.
        let Command::Voice(command) = command else { return };
        match &command {
            VoiceCommand::JoinGroup(group) | VoiceCommand::Listen(group) => {
                self.groups.insert(group.clone());
            }
            VoiceCommand::LeaveGroup(group) | VoiceCommand::Unlisten(group) => {
                self.groups.remove(group);
            }
            VoiceCommand::SetGain(peer, gain) => self.members.set_gain(*peer, *gain),
            VoiceCommand::SetPeerMuted(peer, muted) => self.members.set_muted(*peer, *muted),
            _ => {}
        }
        self.voice.command(now, &mut self.engine, &self.members, command);
    }

    fn take_events(&mut self, now: Duration) {
        let mut has_changed = match self.engine.mode() {
            Mode::None => true,
            Mode::DedicatedServer => now >= self.members_due,
            Mode::Client | Mode::Host => false,
        };
        while let Some(event) = self.engine.poll_event() {
            let names = matches!(
                event,
                EngineEvent::Session(_)
                    | EngineEvent::EncryptionChanged { .. }
                    | EngineEvent::MemberNamed { .. }
            );
            if names && !has_changed {
                // Whom an event names is known by then.
                has_changed = true;
                self.follow_members(now);
            }
            self.engine_event(now, event);
        }
        if has_changed {
            self.follow_members(now);
        }
    }

    fn follow_members(&mut self, now: Duration) {
        self.members_due = now + MEMBERS_INTERVAL;
        // All go at once when the session does; none of them has left it.
        let is_over = self.engine.client().is_some_and(|client| client.phase() != Phase::Joined);
        let reason = if is_over { PeerLeftReason::Lost } else { PeerLeftReason::Left };
        for change in self.members.follow(&mut self.engine) {
            let event = match change {
                Change::Came { peer, name } => {
                    RoomEvent::PeerJoined { peer, name, metadata: Default::default() }
                }
                Change::Left { peer, name } => {
                    self.voice.left(peer);
                    RoomEvent::PeerLeft { peer, name, reason }
                }
            };
            self.voice.report(now, event.into());
        }
    }

    fn engine_event(&mut self, now: Duration, event: EngineEvent<N::Peer>) {
        if let EngineEvent::Session(ClientEvent::GroupRefused { group }) = &event {
            self.groups.remove(group);
        }
        let rest = self.voice.engine_event(now, &mut self.engine, &self.members, event);
        match rest {
            Some(EngineEvent::Session(ClientEvent::Joined { session, you })) => {
                self.joined(now, session, you)
            }
            Some(EngineEvent::Session(ClientEvent::SessionEnded(reason)))
                if reason != DisconnectReason::Requested =>
            {
                self.failed(now, "session-ended", words(&reason));
            }
            Some(EngineEvent::EncryptionChanged { session, client, encryption }) => {
                let peer = PeerId::of_client(session, client);
                let event =
                    RoomEvent::EncryptionChanged { peer, encryption, encrypted_before: false };
                self.voice.report(now, event.into());
            }
            Some(EngineEvent::ConnectFailed(reason)) => {
                self.failed(now, "not-connected", words(&reason));
            }
            Some(EngineEvent::HostingFailed(why)) => self.failed(now, "hosting-failed", why),
            Some(EngineEvent::ClientEnded { client, name, reason }) => {
                let Some(session) = self.engine.status().session else { return };
                let name = DisplayName::received(&name, PeerId::of_client(session, client));
                let message = format!("{} was disconnected: {reason}.", name.as_str());
                self.voice.warn(now, "client-ended", message);
            }
            Some(EngineEvent::ContractBroken(error)) => {
                self.voice.warn(now, "network", error.to_string());
            }
            _ => {}
        }
    }

    fn joined(&mut self, now: Duration, session: SessionId, you: ClientId) {
        // Members are others than before.
        self.voice.open_all(now, &mut self.engine, &self.members);
        let joined = RoomEvent::Joined {
            you: PeerId::of_client(session, you),
            name: self.name.clone(),
            room: String::new(),
            session: session.number(),
            // Their names may come a moment later.
            others: self.others(),
            relay_only: false,
        };
        self.voice.report(now, joined.into());
        self.voice.report(now, RoomEvent::Connected.into());
    }

    /// How many others are in the session.
    fn others(&self) -> usize {
        let view = self.engine.client().and_then(|client| client.view());
        view.map_or(0, |view| view.table().members().count().saturating_sub(1))
    }

    /// It did not start, or has ended by itself.
    fn failed(&mut self, now: Duration, code: &str, message: String) {
        let event = if self.followed.is_some() {
            RoomEvent::ServerAway {
                why: message,
                failure: None,
                silent_for: Duration::ZERO,
                retry_in: self.mirror.retry_in(now),
            }
        } else {
            let code = ErrorCode::Other(code.to_owned());
            RoomEvent::Refused { code, message, retry_after: None }
        };
        self.voice.report(now, Event::Room(event));
    }

    fn publish(&mut self, now: Duration) {
        let Self { voice, engine, members, name, .. } = self;
        let (is_talking, is_listening_only) = (voice.is_talking(), voice.is_listening_only());
        voice.publish(now, |known_groups| {
            members.snapshot(engine, name, is_talking, is_listening_only, known_groups)
        });
    }
}

/// For a person.
fn words(reason: &DisconnectReason) -> String {
    match reason {
        DisconnectReason::Refused(why) => why.clone(),
        DisconnectReason::ReliabilityBroken => {
            "the connection lost something that must arrive".to_owned()
        }
        _ => "the connection to the host is gone".to_owned(),
    }
}
