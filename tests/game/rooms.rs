//! The room as a handle: from several threads, awaited without a runtime, and left.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use voicemesh::{DataEvent, Event, Events, Reliability, Room, RoomEvent, SendError};

use voicemesh_tests::room::Folder;

use crate::friends::{PATIENCE, Player, two};
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
