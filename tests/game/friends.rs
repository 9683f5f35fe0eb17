//! Players: peers without sound, each with a frame loop that the test turns.

use std::time::{Duration, Instant};

use voicemesh::{
    DataEvent, Event, Events, InputSpec, JoinOptions, OutputSpec, PeerId, Room, RoomEvent,
};
use voicemesh_tests::room::Folder;

/// How long anything may take that should take moments, on a machine that does other things as
/// well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A place in a room, and the events that are not asked for yet.
pub struct Player {
    pub room: Room,
    pub incoming: Events,
    pub you: PeerId,
    pub events: Vec<Event>,
    _folder: Folder,
}

/// Joins a room without microphone and speaker.
pub fn options(server: &str, room: &str, name: &str, folder: &Folder) -> JoinOptions {
    JoinOptions::new(server, room)
        .name(name)
        .input(InputSpec::Null)
        .output(OutputSpec::Null)
        .state_dir(folder.file(name))
}

impl Player {
    pub fn join(server: &str, room: &str, name: &str) -> Self {
        Self::join_with(server, room, name, |options| options)
    }

    pub fn join_with(
        server: &str,
        room: &str,
        name: &str,
        with: impl FnOnce(JoinOptions) -> JoinOptions,
    ) -> Self {
        let folder = Folder::create("game");
        let (room, incoming) = Room::join(with(options(server, room, name, &folder))).unwrap();
        let unknown = PeerId(Default::default());
        let mut player = Self { room, incoming, you: unknown, events: Vec::new(), _folder: folder };
        player.you = player.wait("to join", |event| match event {
            Event::Room(RoomEvent::Joined { you, .. }) => Some(*you),
            _ => None,
        });
        player.wait("the session", |event| {
            matches!(event, Event::Room(RoomEvent::Connected)).then_some(())
        });
        player
    }

    /// Takes what has come.
    pub fn poll(&mut self) {
        while let Some(event) = self.incoming.poll() {
            self.events.push(event);
        }
    }

    /// Waits for the first event that gives something, and takes it out. What came before it stays.
    pub fn wait<T>(&mut self, what: &str, mut find: impl FnMut(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        loop {
            while let Some(event) = self.events.get(seen) {
                if let Some(found) = find(event) {
                    self.events.remove(seen);
                    return found;
                }
                seen += 1;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {:?}", self.events);
            self.incoming.wait(Duration::from_millis(50));
            self.poll();
        }
    }

    /// Waits until a member of this name is there.
    pub fn meets(&mut self, name: &str) -> PeerId {
        self.wait(name, |event| match event {
            Event::Room(RoomEvent::PeerJoined { peer, name: joined, .. }) if joined == name => {
                Some(*peer)
            }
            _ => None,
        })
    }

    /// Waits until this peer is reached directly.
    pub fn reaches_directly(&mut self, peer: PeerId) {
        self.wait("a direct route", |event| {
            (*event
                == Event::Room(RoomEvent::RouteChanged { peer, route: voicemesh::Route::Direct }))
            .then_some(())
        });
    }

    /// The next message outside of channels.
    pub fn message(&mut self) -> (PeerId, Vec<u8>, voicemesh::Reliability) {
        self.wait("a message", |event| match event {
            Event::Data(DataEvent::Message { from, data, reliability }) => {
                Some((*from, data.to_vec(), *reliability))
            }
            _ => None,
        })
    }
}

/// Two who have met.
pub fn two(server: &str, room: &str) -> (Player, Player) {
    let mut ada = Player::join(server, room, "Ada");
    let mut ben = Player::join(server, room, "Ben");
    assert_eq!((ada.meets("Ben"), ben.meets("Ada")), (ben.you, ada.you));
    (ada, ben)
}
