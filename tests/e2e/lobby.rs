//! The room as a lobby, through the library: real peers at a real server in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use voicemesh::{
    ErrorCode, Event, Events, InputSpec, JoinOptions, MetadataTransaction, OutputSpec, Presence,
    REACHABILITY_KEY, Room, RoomEvent, TokenError, TransactionId,
};
use voicemesh_signaling::{Config, serve};
use voicemesh_tests::room::{Folder, PATIENCE};

use crate::alone;

/// Serves until it is dropped.
struct Server {
    runtime: Option<tokio::runtime::Runtime>,
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(serve(Config::default(), listener, async {
            let _ = stopped.await;
        }));
        Self { runtime: Some(runtime), address, _stop: stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn options(server: &Server, folder: &Path, name: &str) -> JoinOptions {
    JoinOptions::new(format!("ws://{}", server.address), "lobby")
        .name(name)
        .input(InputSpec::Silence)
        .output(OutputSpec::Null)
        .relay_only(true)
        .state_dir(folder.join(name))
}

/// The first event that `pick` takes; what comes before is passed over.
fn event<T>(events: &mut Events, what: &str, pick: impl Fn(Event) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        while let Some(event) = events.poll() {
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
        assert!(Instant::now() < deadline, "waited too long: {what}");
        events.wait(Duration::from_millis(50));
    }
}

fn owner(events: &mut Events) -> voicemesh::PeerId {
    event(events, "an owner", |event| match event {
        Event::Room(RoomEvent::OwnerChanged { owner }) => Some(owner),
        _ => None,
    })
}

fn refusal(options: JoinOptions) -> (ErrorCode, Option<Duration>) {
    let (_room, mut events) = Room::join(options).unwrap();
    event(&mut events, "a refusal", |event| match event {
        Event::Room(RoomEvent::Refused { code, retry_after, .. }) => Some((code, retry_after)),
        _ => None,
    })
}

fn result(events: &mut Events, id: TransactionId) -> Result<(), ErrorCode> {
    event(events, "a result", |event| match event {
        Event::Room(RoomEvent::TransactionDone { transaction, result }) if transaction == id => {
            Some(result.map_err(|error| error.code))
        }
        _ => None,
    })
}

/// proves: U-03, S-16, S-17
#[test]
fn a_lobby_is_claimed_guarded_and_described() {
    let _alone = alone();
    let folder = Folder::create("lobby");
    let folder = folder.file("");
    let server = Server::start();
    let missing = options(&server, &folder, "ada").presence(Presence::MustExist);
    assert_eq!(refusal(missing), (ErrorCode::RoomMissing, Some(Duration::from_secs(2))));
    let claim =
        |name| options(&server, &folder, name).presence(Presence::MustNotExist).password("sesame");
    let (ada, mut ada_events) = Room::join(claim("ada")).unwrap();
    let ada_id = owner(&mut ada_events);
    assert_eq!(refusal(claim("bob")).0, ErrorCode::RoomExists);
    assert_eq!(refusal(options(&server, &folder, "bob")).0, ErrorCode::PasswordRequired);
    let (bob, mut bob_events) =
        Room::join(options(&server, &folder, "bob").password("sesame")).unwrap();
    assert_eq!(owner(&mut bob_events), ada_id);
    let wrong = refusal(options(&server, &folder, "cyd").password("guess"));
    assert_eq!(wrong, (ErrorCode::PasswordWrong, Some(Duration::from_secs(1))));

    let seat = ada.lobby().set_metadata(MetadataTransaction::new().set("seat", "3")).unwrap();
    assert_eq!(result(&mut ada_events, seat), Ok(()));
    let metadata = event(&mut bob_events, "ada's seat", |event| match event {
        Event::Room(RoomEvent::MetadataChanged { peer, metadata }) if peer == ada_id => {
            Some(metadata)
        }
        _ => None,
    });
    assert_eq!(metadata["seat"], "3");
    let map =
        bob.lobby().set_room_metadata(MetadataTransaction::new().set("map", "castle")).unwrap();
    assert_eq!(result(&mut bob_events, map), Err(ErrorCode::NotOwner));
    let map =
        ada.lobby().set_room_metadata(MetadataTransaction::new().set("map", "harbour")).unwrap();
    assert_eq!(result(&mut ada_events, map), Ok(()));
    let room = event(&mut bob_events, "the map", |event| match event {
        Event::Room(RoomEvent::RoomMetadataChanged { metadata }) => Some(metadata),
        _ => None,
    });
    assert_eq!(room["map"], "harbour");

    let deadline = Instant::now() + PATIENCE;
    let seen = loop {
        let snapshot = bob.snapshot();
        if snapshot.room_metadata == room && snapshot.metadata.contains_key(REACHABILITY_KEY) {
            break snapshot;
        }
        assert!(Instant::now() < deadline, "{snapshot:?}");
        bob_events.wait(Duration::from_millis(20));
    };
    assert_eq!((seen.name.as_str(), seen.owner), ("bob", Some(ada_id)));
    assert_eq!((seen.peers.len(), seen.peers[0].peer, seen.peers[0].order), (1, ada_id, 1));
    let token = &seen.peers[0].metadata[REACHABILITY_KEY];
    assert_eq!(bob.participant(ada_id).connect(token), Ok(()));
    assert_eq!(bob.participant(seen.you.unwrap()).connect(token), Err(TokenError::Foreign.into()));

    ada.leave_and_wait(PATIENCE);
    assert_eq!(Some(owner(&mut bob_events)), seen.you);
    assert!(ada.lobby().set_metadata(MetadataTransaction::new()).is_err(), "safe after leaving");
}
