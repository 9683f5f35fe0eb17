//! Joining: everything that a room consists of is made, and the engine thread begins.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use tokio::sync::Notify;
use voicemesh_device::Cause;
use voicemesh_e2ee::KeyRing;
use voicemesh_engine::EngineOnNetwork;
use voicemesh_mesh::{Carried, Mesh, MeshConfig};
use voicemesh_wire::signaling::ErrorCode;

use super::events::Events;
use super::inner::RoomInner;
use super::leaving::Ending;
use super::outbox::Outbox;
use crate::carrier::RealCarrier;
use crate::command::COMMANDS;
use crate::connect::Connector;
use crate::data::{MESSAGES, SendLedger};
use crate::event::{Event, RoomEvent, TimedEvent};
use crate::game::PendingPositions;
use crate::handles::Controls;
use crate::identity::{Identity, state_dir_or_default};
use crate::inbox::{Wake, queues};
use crate::join_error::JoinError;
use crate::options::JoinOptions;
use crate::record::Recorder;
use crate::server_url::ServerUrl;
use crate::shared::Shared;
use crate::sound::Sound;
use crate::tls::Tls;
use crate::voice_loop::EVENTS;
use crate::worker::{Ends, RECORDING, RoomWorker};

/// A join whose address, names, files and options are in order. No device is open yet, and nothing
/// is connected. Made by [`JoinOptions::prepare`].
#[derive(Debug)]
pub struct PreparedJoin {
    options: JoinOptions,
    connector: Connector,
    identity: Identity,
    /// The identity on a server without TLS, if this join may go without it.
    without_tls: Option<Identity>,
    recorder: Option<Recorder>,
    /// What seals and opens, on a server with TLS and on one without.
    rings: Option<(KeyRing, Option<KeyRing>)>,
}

/// Checks everything that can be checked without a device and without the server.
pub(super) fn prepare(options: JoinOptions) -> Result<PreparedJoin, JoinError> {
    let mut options = options.follow_link()?;
    let url = options.checked_server()?;
    let (room, name) = options.checked_names()?;
    (options.room, options.name) = (room.as_str().to_owned(), name.as_str().to_owned());
    let tls = Tls::new(options.extra_root_pem.as_deref())?;
    let proxy = options.chosen_proxy(&url)?;
    let state_dir = state_dir_or_default(options.state_dir.as_deref());
    let connector = Connector::new(url.clone(), tls, proxy, options.has_secret(), state_dir);
    let load = |url: &ServerUrl| {
        Identity::load(options.state_dir.as_deref(), &url.origin(), room.key())
            .map_err(|error| refused("what an identity is made of", error))
    };
    let identity = load(&url)?;
    let without_tls =
        connector.may_go_without_tls().then(|| load(&url.without_tls())).transpose()?;
    let room_key = options.given_room_key()?.cloned();
    let ring = |identity: &Identity, url: &ServerUrl| {
        identity
            .key_ring(&url.origin(), room.key(), room_key.clone())
            .map_err(|error| refused("what keys are made of", error))
    };
    let rings = if options.is_encrypted() {
        let plain = url.without_tls();
        let without_tls =
            without_tls.as_ref().map(|identity| ring(identity, &plain)).transpose()?;
        Some((ring(&identity, &url)?, without_tls))
    } else {
        None
    };
    let recorder =
        options.record.as_deref().map(Recorder::start).transpose().map_err(JoinError::Recording)?;
    Ok(PreparedJoin { options, connector, identity, without_tls, recorder, rings })
}

/// Opens the devices and starts the engine thread.
pub(super) fn begin(prepared: PreparedJoin) -> Result<(Arc<RoomInner>, Events), JoinError> {
    let started = Instant::now();
    let PreparedJoin { options, connector, identity, without_tls, recorder, rings } = prepared;
    let wake = Wake::default();
    let sound = Sound::open(&options.sound, &wake)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("voicemesh-io")
        .enable_all()
        .build()
        .map_err(|error| refused("what connections are run by", error))?;
    let (inbox, arrivals) = queues(wake.clone());
    let (farewell, farewells) = sync_channel(0);
    let carrier = RealCarrier::new(runtime.handle().clone(), Arc::new(connector), inbox, farewell);
    let config = mesh_config(&options, &identity, without_tls.as_ref())?;
    let mesh = match rings {
        Some((ring, without_tls)) => Mesh::encrypted(config, ring, without_tls),
        None => Mesh::new(config),
    };
    let engine = options
        .sound
        .engine(&options.name, sound.is_simulated_input(), random()?)
        .map_err(no_engine)?;
    let mut engine = EngineOnNetwork::new(engine, Carried::new(mesh, carrier));
    engine.run_as_client(started.elapsed(), ()).map_err(no_engine)?;
    let (commands, command_queue) = sync_channel(COMMANDS);
    let (event_queue, events) = sync_channel(EVENTS + 2 * MESSAGES);
    let shared = Arc::new(Shared::default());
    let (ledger, event_wake) = (Arc::new(SendLedger::default()), Arc::new(Notify::new()));
    if let Some((code, message)) = identity.warning() {
        let event = Event::Room(RoomEvent::Warned {
            code: ErrorCode::Other(code.to_owned()),
            message,
            text: None,
        });
        // Both the queue and the ledger are new and have room; what is not counted would be
        // subtracted all the same.
        if ledger.try_reserve(&event, EVENTS) {
            let _ = event_queue.try_send(TimedEvent { at: started.elapsed(), event });
        }
    }
    let positions = Arc::new(PendingPositions::default());
    let ends = Ends {
        arrivals,
        commands: command_queue,
        events: event_queue,
        shared: shared.clone(),
        ledger: ledger.clone(),
        event_wake: event_wake.clone(),
        positions: positions.clone(),
    };
    let files = identity.room_files(options.password.as_ref());
    let recording = Mutex::new(recorder.as_ref().map_or_else(Weak::new, Recorder::lease));
    let worker = RoomWorker::new(started, engine, sound, files, recorder, ends, &options);
    let worker_wake = wake.clone();
    let thread = std::thread::Builder::new()
        .name("voicemesh-engine".to_owned())
        .spawn(move || worker.run(&worker_wake))
        .map_err(|error| refused("a thread for the voices", error))?;
    let inner = Arc::new(RoomInner {
        controls: Controls::new(commands, started, shared, wake.clone(), positions),
        outbox: Outbox::new(ledger, wake, options.manual_flush),
        has_left: AtomicBool::new(false),
        transactions: AtomicU64::new(1),
        recording,
        ending: Mutex::new(Ending::new(thread, runtime, farewells, (identity, without_tls))),
    });
    Ok((inner.clone(), Events::new(inner, events, event_wake)))
}

fn mesh_config(
    options: &JoinOptions,
    identity: &Identity,
    without_tls: Option<&Identity>,
) -> Result<MeshConfig, JoinError> {
    let mut metadata = options.metadata.clone();
    if options.sound.echo {
        metadata.insert("kind".to_owned(), "echo".to_owned());
    }
    if options.record.is_some() {
        metadata.insert(RECORDING.to_owned(), "on".to_owned());
    }
    Ok(MeshConfig {
        room: options.room.clone(),
        name: options.name.clone(),
        proof: identity.proof,
        proof_without_tls: without_tls.map(|identity| identity.proof),
        run: random()? as u32,
        relay_only: options.relay_only,
        presence: options.presence,
        password: options.password.clone(),
        token: options.token.clone(),
        renews_token: options.renews_token,
        ticket: identity.ticket(options.password.as_ref()),
        connections: options.connections,
        metadata,
        frame_ms: voicemesh_audio::FrameDuration::ALL
            .iter()
            .map(|frame| frame.millis() as u8)
            .collect(),
        redundancy: true,
        seed: random()?,
    })
}

pub(crate) fn random() -> Result<u64, JoinError> {
    getrandom::u64().map_err(JoinError::no_random)
}

pub(crate) fn refused(what: &'static str, error: std::io::Error) -> JoinError {
    JoinError::System { what, why: Cause::of_system(error) }
}

/// What the options can ask for is checked before.
pub(crate) fn no_engine(error: impl Error + Send + Sync + 'static) -> JoinError {
    tracing::error!(%error, "the engine does not start");
    JoinError::System {
        what: "what the voices are processed with",
        why: Cause::new("the reason is not known", error),
    }
}
