//! The room as a handle: from several threads, awaited without a runtime, and left.

use std::net::TcpListener;
use std::pin::pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use voicemesh::{DataEvent, Event, Events, Reliability, Room, RoomEvent, SendError};

use voicemesh_tests::room::Folder;

use crate::friends::{PATIENCE, Player, options, two};
use crate::server;

const THREADS: u8 = 4;
const MESSAGES: u8 = 50;

#[test]
fn a_room_is_used_from_several_threads_at_once() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let (ada, mut ben) = two(server(), "threads");
    shared(&ada.room);
    let to = ben.you;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let room = ada.room.clone();
            std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    room.participant(to).send(&[thread, number], Reliability::Reliable).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut next = [0; THREADS as usize];
    while next != [MESSAGES; THREADS as usize] {
        let (_, data, _) = ben.message();
        assert_eq!(data[1], next[data[0] as usize], "each thread's messages arrive in their order");
        next[data[0] as usize] += 1;
    }
}

#[test]
fn events_are_awaited_on_a_plain_thread_until_the_room_is_left() {
    let (ada, mut ben) = two(server(), "awaited");
    let to = ada.you;
    ben.room.participant(to).send(b"to be awaited", Reliability::Reliable).unwrap();
    let mut incoming: Events = ada.incoming;
    let data = block_on(async {
        loop {
            match incoming.next().await {
                Some(Event::Data(DataEvent::Message { data, .. })) => break data,
                Some(_) => {}
                None => panic!("it has left"),
            }
        }
    });
    assert_eq!(&data[..], b"to be awaited");
    ada.room.leave();
    assert_eq!(
        ada.room.participant(ben.you).send(b"late", Reliability::Reliable),
        Err(SendError::Left)
    );
    let last = block_on(async {
        let mut last = None;
        while let Some(event) = incoming.next().await {
            last = Some(event);
        }
        last
    });
    assert_eq!(last, Some(Event::Room(RoomEvent::Left)));
    ben.wait("Ada's leaving", |event| {
        matches!(event, Event::Room(RoomEvent::PeerLeft { .. })).then_some(())
    });
}

#[test]
fn a_room_goes_on_without_its_events_and_ends_with_its_last_clone() {
    let (ada, mut ben) = two(server(), "clones");
    let (ada_id, ada, events) = (ada.you, ada.room, ada.incoming);
    drop(events);
    let clone: Room = ada.clone();
    drop(ada);
    // More than a program that takes events would be given at a time.
    for _ in 0..2_000 {
        loop {
            match ben.room.participant(ada_id).send(&[0; 1_000], Reliability::Reliable) {
                Ok(()) => break,
                Err(SendError::WouldBlock { .. }) => {
                    ben.incoming.wait(std::time::Duration::from_millis(5))
                }
                Err(error) => panic!("{error}"),
            }
            ben.poll();
        }
    }
    clone.participant(ben.you).send(b"still here", Reliability::Reliable).unwrap();
    assert_eq!(ben.message().1, b"still here");
    let begun = Instant::now();
    drop(clone);
    assert!(begun.elapsed() < PATIENCE);
    ben.wait("Ada's leaving", |event| {
        matches!(event, Event::Room(RoomEvent::PeerLeft { .. })).then_some(())
    });
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// As small as an executor can be.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        assert!(Instant::now() < deadline, "never woken");
        std::thread::park_timeout(PATIENCE);
    }
}

/// Before, the warning that comes first was counted only when it was taken, and every event after
/// it was dropped.
#[test]
fn a_peer_whose_identity_cannot_be_kept_joins_as_a_new_person() {
    let folder = Folder::create("game-identity");
    let no_folder = folder.file("a-file");
    std::fs::write(&no_folder, "").unwrap();
    let mut ada =
        Player::join_with(server(), "no-identity", "Ada", |options| options.state_dir(&no_folder));
    let warned = ada.wait("the warning", |event| match event {
        Event::Room(RoomEvent::Warned { code, .. }) => Some(code.as_str().to_owned()),
        _ => None,
    });
    assert_eq!(warned, "identity-not-kept");
    let _ben = Player::join(server(), "no-identity", "Ben");
    ada.wait("the other", |event| {
        matches!(event, Event::Room(RoomEvent::PeerJoined { .. })).then_some(())
    });
}

/// Holds the thread that wakes it until the test lets go: the engine's thread, at its next event.
struct Hold {
    held: SyncSender<()>,
    let_go: Mutex<Receiver<()>>,
}

impl Wake for Hold {
    fn wake(self: Arc<Self>) {
        self.held.send(()).unwrap();
        let _ = self.let_go.lock().unwrap().recv();
    }
}

/// The server takes connections and neither answers nor closes them, and the engine's thread stands
/// still: leaving waits for neither.
#[test]
fn leaving_returns_while_the_engine_stands_and_the_server_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("ws://{}", silent.local_addr().unwrap());
    let folder = Folder::create("game-leaving");
    let (room, mut incoming) = Room::join(options(&server, "silent", "Ada", &folder)).unwrap();
    let (held_sender, held) = sync_channel(1);
    let (let_go, wait) = sync_channel(1);
    {
        let hold = Waker::from(Arc::new(Hold { held: held_sender, let_go: Mutex::new(wait) }));
        let mut next = pin!(incoming.next());
        assert_eq!(next.as_mut().poll(&mut Context::from_waker(&hold)), Poll::Pending);
        // The engine says that it is too long.
        room.group(&"x".repeat(300)).join();
        held.recv_timeout(PATIENCE).expect("the engine has an event");
        let (returns, returned) = sync_channel(1);
        let leaving = room.clone();
        std::thread::spawn(move || {
            leaving.leave();
            returns.send(()).unwrap();
        });
        returned.recv_timeout(PATIENCE).expect("leaving returns although the engine is held");
    }
    let is_left = |event: &Event| *event == Event::Room(RoomEvent::Left);
    let events: Vec<_> = std::iter::from_fn(|| incoming.poll()).collect();
    assert!(!events.is_empty() && !events.iter().any(is_left), "{events:?}");
    let_go.send(()).unwrap();
    let last = block_on(async {
        let mut last = None;
        while let Some(event) = incoming.next().await {
            last = Some(event);
        }
        last
    });
    assert!(last.as_ref().is_some_and(is_left), "{last:?}");
}
