//! Players on a line who hear each other only when they are near, and from where they stand.
//!
//! ```text
//! proximity SERVER ROOM NAME STATE-DIR [INPUT OUTPUT]
//! ```
//!
//! Each walks to and fro along 100 m, each at another speed. Players within 20 m hear each other;
//! nothing is sent to those further away than 45 m. A game sends positions itself, here as
//! unreliable messages.

use std::time::{Duration, Instant};

use voicemesh::{
    DataEvent, Event, Events, GridAxes, JoinOptions, Pose, ProximityGrid, Reliability, Room,
    RoomEvent, VoiceEvent,
};

/// A game's frame.
const FRAME: Duration = Duration::from_millis(16);
/// Within it, in metres, players hear each other.
const RANGE: f32 = 20.0;
const LENGTH: f32 = 100.0;

#[expect(clippy::disallowed_methods, reason = "stands for a game's frame")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, name, state, devices @ ..] = &arguments[..] else {
        return Err("usage: proximity SERVER ROOM NAME STATE-DIR [INPUT OUTPUT]".into());
    };
    let mut options = JoinOptions::new(server, room).name(name).state_dir(state).positional(true);
    if let [input, output] = devices {
        options = options.input(input.parse()?).output(output.parse()?);
    }
    let (room, mut events) = Room::join(options)?;
    // All begin in this group; who stays in it hears everyone.
    room.group("Global").leave();
    let mut grid = ProximityGrid::new("line", RANGE, GridAxes::Ground).ok_or("not a range")?;
    let speed = 1.0 + name.len() as f32 / 2.0;
    let began = Instant::now();
    while take(&room, &mut events)? {
        let way = (began.elapsed().as_secs_f32() * speed) % (2.0 * LENGTH);
        let position = [way.min(2.0 * LENGTH - way), 0.0, 0.0];
        room.move_in(&mut grid, position);
        room.speaker().set_listener(Pose { position, ..Pose::default() });
        // Before this player has joined, there is no receiver.
        let _ = room.send_to_all(&position[0].to_le_bytes(), Reliability::Unreliable);
        std::thread::sleep(FRAME);
    }
    Ok(())
}

/// Takes what has happened. False once the room is left.
fn take(room: &Room, events: &mut Events) -> Result<bool, String> {
    while let Some(event) = events.poll() {
        match event {
            Event::Data(DataEvent::Message { from, data, .. }) => {
                // Any member can send anything.
                if let Ok(x) = <[u8; 4]>::try_from(&data[..]) {
                    room.participant(from)
                        .set_position([f32::from_le_bytes(x), 0.0, 0.0], [0.0; 3]);
                }
            }
            Event::Voice(VoiceEvent::Speaking { peer, speaking }) => {
                println!("{peer} {}", if speaking { "is heard" } else { "is silent" });
            }
            Event::Room(RoomEvent::Refused { message, .. }) => return Err(message),
            Event::Room(RoomEvent::Left) => return Ok(false),
            _ => {}
        }
    }
    Ok(true)
}
