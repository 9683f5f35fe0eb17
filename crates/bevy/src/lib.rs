//! Voice in a Bevy game.
//!
//! ```no_run
//! use bevy_app::{App, Startup, Update};
//! use bevy_ecs::prelude::*;
//! use voicemesh_bevy::{Event, JoinOptions, RoomEvent, RoomMessage, Voice, VoicePlugin};
//!
//! fn join(mut commands: Commands) -> Result {
//!     let options = JoinOptions::new("wss://voice.example.org", "lobby").name("Ada");
//!     commands.insert_resource(Voice::join(options)?);
//!     Ok(())
//! }
//!
//! fn greet(mut events: MessageReader<RoomMessage>) {
//!     for RoomMessage(event) in events.read() {
//!         if let Event::Room(RoomEvent::PeerJoined { name, .. }) = event {
//!             println!("{name} is here");
//!         }
//!     }
//! }
//!
//! App::new().add_plugins(VoicePlugin).add_systems(Startup, join).add_systems(Update, greet).run();
//! ```
//!
//! [`Voice`] is a resource: a game inserts it when it joins a room, and removes it to leave. With
//! it come all calls of [`Room`]. For positions see [`VoicePlaces`].
//!
//! **Does.** Polls in `First`, flushes in `Last`, and tells what happened as messages of the world.
//!
//! **Never does.** Draw, play or record through Bevy: voice has its own devices, unless
//! [`JoinOptions`] says otherwise.

use std::marker::PhantomData;
use std::ops::Deref;

use bevy_app::{App, First, Last, Plugin};
use bevy_ecs::lifecycle::Discard;
use bevy_ecs::message::MessageUpdateSystems;
use bevy_ecs::prelude::*;

pub use voicemesh::{
    DataEvent, DeviceEvent, Event, Events, JoinError, JoinOptions, PeerId, Pose, Room, RoomEvent,
    VoiceEvent,
};

/// This game's own place in a room. As long as the resource is there, the game is in the room;
/// replacing or removing it leaves, which waits until the others know, at most a second and a half.
#[derive(Debug, Resource)]
pub struct Voice {
    room: Room,
    events: Events,
}

impl Voice {
    /// Begins to join, as [`Room::join`] does.
    ///
    /// # Errors
    ///
    /// When it cannot even begin: no such device, no such address.
    pub fn join(options: JoinOptions) -> Result<Self, JoinError> {
        Room::join(options).map(Self::from)
    }
}

impl From<(Room, Events)> for Voice {
    fn from((room, events): (Room, Events)) -> Self {
        Self { room, events }
    }
}

impl Deref for Voice {
    type Target = Room;

    fn deref(&self) -> &Room {
        &self.room
    }
}

/// Something happened in the room. Read it in any system from `PreUpdate` on; after two frames it
/// is gone.
#[derive(Clone, Debug, Message, PartialEq)]
pub struct RoomMessage(pub Event);

/// Where the plugin works, to order other systems by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, SystemSet)]
pub enum VoiceSystems {
    /// In `First`: what happened becomes [`RoomMessage`]s.
    Poll,
    /// In `Last`: positions are sent.
    Place,
    /// In `Last`, after that: what the frame has sent leaves, if the game joined with
    /// [`JoinOptions::manual_flush`].
    Flush,
}

/// Voice in a room, for as long as there is the resource [`Voice`].
#[derive(Clone, Copy, Debug, Default)]
pub struct VoicePlugin;

impl Plugin for VoicePlugin {
    fn build(&self, app: &mut App) {
        app.add_message::<RoomMessage>()
            .configure_sets(Last, (VoiceSystems::Place, VoiceSystems::Flush).chain())
            .configure_sets(First, VoiceSystems::Poll.after(MessageUpdateSystems))
            .add_systems(First, poll.in_set(VoiceSystems::Poll).run_if(resource_exists::<Voice>))
            .add_systems(Last, flush.in_set(VoiceSystems::Flush).run_if(resource_exists::<Voice>))
            .add_observer(unplace);
    }
}

/// Whose voice comes from this entity.
#[derive(Clone, Copy, Component, Debug, Eq, PartialEq)]
pub struct VoiceOf(pub PeerId);

/// The entity with the ears: the camera, or the player. One at a time.
#[derive(Clone, Copy, Component, Debug, Default)]
pub struct VoiceListener;

/// Voices come from where entities stand, as their component `C` says; a game that joins with
/// [`JoinOptions::positional`] hears and is heard so.
///
/// ```no_run
/// use bevy_app::App;
/// use bevy_ecs::prelude::*;
/// use voicemesh_bevy::{Pose, VoicePlaces, VoicePlugin};
///
/// #[derive(Component)]
/// struct Place([f32; 3]);
///
/// let places = VoicePlaces::new(|place: &Place| Pose { position: place.0, ..Pose::default() });
/// App::new().add_plugins((VoicePlugin, places));
/// ```
///
/// Of Bevy's own `GlobalTransform`, which has moved on by then, take `translation()`, `forward()`
/// and `up()`, each with `to_array()`.
///
/// An entity with [`VoiceOf`] and `C` is a mouth, one with [`VoiceListener`] and `C` the ears. A
/// mouth that is despawned, or has no [`VoiceOf`] any more, stands nowhere: its peer is heard as it
/// is.
#[derive(Debug)]
pub struct VoicePlaces<C> {
    pose: fn(&C) -> Pose,
    component: PhantomData<fn(&C)>,
}

impl<C: Component> VoicePlaces<C> {
    /// Says where an entity stands and looks. Of a mouth only the position counts.
    pub fn new(pose: fn(&C) -> Pose) -> Self {
        Self { pose, component: PhantomData }
    }
}

impl<C: Component> Plugin for VoicePlaces<C> {
    fn build(&self, app: &mut App) {
        let pose = self.pose;
        let place = move |voice: Res<Voice>,
                          ears: Query<&C, With<VoiceListener>>,
                          mouths: Query<(&VoiceOf, &C)>| {
            if let Some(listener) = ears.iter().next() {
                voice.speaker().set_listener(pose(listener));
            }
            for (VoiceOf(peer), at) in &mouths {
                // Told every frame, it needs no velocity to go on by.
                voice.participant(*peer).set_position(pose(at).position, [0.0; 3]);
            }
        };
        app.add_systems(Last, place.in_set(VoiceSystems::Place).run_if(resource_exists::<Voice>));
    }
}

fn poll(mut voice: ResMut<Voice>, mut events: MessageWriter<RoomMessage>) {
    while let Some(event) = voice.events.poll() {
        events.write(RoomMessage(event));
    }
}

fn flush(voice: Res<Voice>) {
    voice.flush();
}

fn unplace(gone: On<Discard<VoiceOf>>, mouths: Query<&VoiceOf>, voice: Option<Res<Voice>>) {
    if let (Ok(VoiceOf(peer)), Some(voice)) = (mouths.get(gone.entity), voice) {
        voice.participant(*peer).clear_position();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use voicemesh::{InputSpec, OutputSpec};

    use super::*;

    #[derive(Component)]
    struct Place([f32; 3]);

    #[derive(Default, Resource)]
    struct Seen(Vec<Event>);

    fn see(mut events: MessageReader<RoomMessage>, mut seen: ResMut<Seen>) {
        seen.0.extend(events.read().map(|RoomMessage(event)| event.clone()));
    }

    /// Without a room there is nothing to do; without a server an event says so.
    #[test]
    fn what_happens_is_told_for_as_long_as_there_is_a_voice() {
        let folder = std::env::temp_dir().join(format!("voicemesh-bevy-{}", std::process::id()));
        let mut app = App::new();
        let places =
            VoicePlaces::new(|place: &Place| Pose { position: place.0, ..Pose::default() });
        app.add_plugins((VoicePlugin, places)).init_resource::<Seen>().add_systems(Last, see);
        let mouth =
            app.world_mut().spawn((VoiceOf(PeerId(Default::default())), Place([1.0; 3]))).id();
        app.update();
        assert_eq!(app.world().resource::<Seen>().0, []);

        let unreachable = JoinOptions::new("ws://127.0.0.1:1", "room").state_dir(&folder);
        let voice =
            Voice::join(unreachable.input(InputSpec::Null).output(OutputSpec::Null)).unwrap();
        app.insert_resource(voice);
        let deadline = Instant::now() + Duration::from_secs(30);
        let is_away = |event: &Event| matches!(event, Event::Room(RoomEvent::ServerAway { .. }));
        while !app.world().resource::<Seen>().0.iter().any(is_away) {
            assert!(Instant::now() < deadline, "{:?}", app.world().resource::<Seen>().0);
            app.world_mut().resource_mut::<Voice>().events.wait(Duration::from_millis(50));
            app.update();
        }
        app.world_mut().despawn(mouth);
        app.world_mut().remove_resource::<Voice>();
        app.world_mut().resource_mut::<Seen>().0.clear();
        app.update();
        assert_eq!(app.world().resource::<Seen>().0, []);
        let _ = std::fs::remove_dir_all(folder);
    }
}
