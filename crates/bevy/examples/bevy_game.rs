//! A Bevy game without a picture: everybody walks in circles, says where by messages, and is heard
//! from there.
//!
//! ```text
//! bevy_game SERVER ROOM NAME [STATE-DIR [INPUT [OUTPUT]]]
//! ```
//!
//! It plays with `game_loop`, the same without Bevy; prints what happens, one line of JSON each;
//! and leaves when a player writes "leave, NAME".

use std::time::Duration;

use bevy_app::{App, AppExit, ScheduleRunnerPlugin, Startup, Update};
use bevy_ecs::prelude::*;
use voicemesh::{Reliability, SendError};
use voicemesh_bevy::{
    DataEvent, Event, JoinOptions, Pose, RoomEvent, RoomMessage, Voice, VoiceEvent, VoiceListener,
    VoiceOf, VoicePlaces, VoicePlugin,
};

/// A game's frame.
const FRAME: Duration = Duration::from_millis(16);

/// On the ground, in metres.
#[derive(Clone, Copy, Component, Debug, Default)]
struct Place {
    x: f32,
    z: f32,
}

/// What others call this player.
#[derive(Resource)]
struct OwnName(String);

fn main() -> Result<AppExit, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, name, rest @ ..] = &arguments[..] else {
        return Err("usage: bevy_game SERVER ROOM NAME [STATE-DIR [INPUT [OUTPUT]]]".into());
    };
    let mut options = JoinOptions::new(server, room).name(name).positional(true).manual_flush(true);
    if let Some(folder) = rest.first() {
        options = options.state_dir(folder);
    }
    if let Some(input) = rest.get(1) {
        options = options.input(input.parse()?);
    }
    if let Some(output) = rest.get(2) {
        options = options.output(output.parse()?);
    }
    let exit = App::new()
        .add_plugins((ScheduleRunnerPlugin::run_loop(FRAME), VoicePlugin, VoicePlaces::new(pose)))
        .insert_resource(Voice::join(options)?)
        .insert_resource(OwnName(name.clone()))
        .add_systems(Startup, |mut commands: Commands| {
            commands.spawn((Place::default(), VoiceListener));
        })
        .add_systems(Update, (walk, greet, meet, hear_of, answer).chain())
        .run();
    println!(r#"{{"event":"done"}}"#);
    Ok(exit)
}

fn pose(place: &Place) -> Pose {
    Pose { position: [place.x, 0.0, place.z], ..Pose::default() }
}

/// Walks on, and sends the position to all. What is lost is sent again in the next frame.
fn walk(
    voice: Res<Voice>,
    mut own: Single<&mut Place, With<VoiceListener>>,
    mut angle: Local<f32>,
) {
    *angle += FRAME.as_secs_f32();
    **own = Place { x: 3.0 * angle.cos(), z: 3.0 * angle.sin() };
    let message = [own.x.to_le_bytes(), own.z.to_le_bytes()].concat();
    // Before it has joined, there is no receiver.
    let _ = voice.send_to_all(&message, Reliability::Unreliable);
}

/// Says hello to each player that comes. A player in a browser takes no messages, and is one to
/// talk with all the same.
fn greet(voice: Res<Voice>, mut events: MessageReader<RoomMessage>) {
    for RoomMessage(event) in events.read() {
        if let Event::Room(RoomEvent::PeerJoined { peer, name, .. }) = event {
            match voice
                .participant(*peer)
                .send(format!("hello, {name}").as_bytes(), Reliability::Reliable)
            {
                Ok(()) | Err(SendError::Unsupported) => {}
                Err(error) => eprintln!("{name}: {error}"),
            }
        }
    }
}

/// Each player is an entity.
fn meet(
    mut commands: Commands,
    mut events: MessageReader<RoomMessage>,
    players: Query<(Entity, &VoiceOf)>,
) {
    for RoomMessage(event) in events.read() {
        match event {
            Event::Room(RoomEvent::Joined { .. }) => println!(r#"{{"event":"joined"}}"#),
            Event::Room(RoomEvent::Connected) => println!(r#"{{"event":"connected"}}"#),
            Event::Room(RoomEvent::PeerJoined { peer, name, .. }) => {
                println!(r#"{{"event":"peer-joined","name":{name:?}}}"#);
                commands.spawn(VoiceOf(*peer));
            }
            Event::Room(RoomEvent::PeerLeft { peer, name, .. }) => {
                println!(r#"{{"event":"peer-left","name":{name:?}}}"#);
                players
                    .iter()
                    .filter(|(_, of)| of.0 == *peer)
                    .for_each(|(entity, _)| commands.entity(entity).despawn());
            }
            Event::Voice(VoiceEvent::FirstHeard { .. }) => println!(r#"{{"event":"first-heard"}}"#),
            _ => {}
        }
    }
}

/// Where the others are, and what they say.
fn hear_of(
    mut commands: Commands,
    mut events: MessageReader<RoomMessage>,
    players: Query<(Entity, &VoiceOf, Has<Place>)>,
) {
    for RoomMessage(event) in events.read() {
        let Event::Data(DataEvent::Message { from, data, reliability }) = event else { continue };
        if *reliability == Reliability::Reliable {
            println!(r#"{{"event":"message","text":{:?}}}"#, String::from_utf8_lossy(data));
            continue;
        }
        let player = players.iter().find(|(_, of, _)| of.0 == *from);
        if let (Some((entity, _, has_place)), Some(place)) = (player, read_place(data)) {
            if !has_place {
                println!(r#"{{"event":"placed"}}"#);
            }
            commands.entity(entity).insert(place);
        }
    }
}

/// Anybody can send anything: what is no place is none.
fn read_place(data: &[u8]) -> Option<Place> {
    let (x, z) = data.split_first_chunk()?;
    Some(Place { x: f32::from_le_bytes(*x), z: f32::from_le_bytes(z.try_into().ok()?) })
}

/// Answers texts, and leaves on request.
fn answer(
    voice: Res<Voice>,
    own_name: Res<OwnName>,
    mut events: MessageReader<RoomMessage>,
    mut exits: MessageWriter<AppExit>,
) {
    for RoomMessage(event) in events.read() {
        match event {
            Event::Room(RoomEvent::Text { text, .. })
                if *text == format!("leave, {}", own_name.0) =>
            {
                exits.write(AppExit::Success);
            }
            Event::Room(RoomEvent::Text { from, name, text, .. }) => {
                println!(r#"{{"event":"text","name":{name:?},"text":{text:?}}}"#);
                voice.participant(*from).send_text(&format!("you said: {text}"));
            }
            Event::Room(RoomEvent::StatusChanged { status, .. }) => {
                println!(r#"{{"event":"status-changed","muted":{}}}"#, status.muted);
            }
            Event::Room(RoomEvent::Refused { message, .. }) => {
                eprintln!("{message}");
                exits.write(AppExit::error());
            }
            Event::Room(RoomEvent::Replaced | RoomEvent::Left) => {
                exits.write(AppExit::error());
            }
            _ => {}
        }
    }
}
