//! A program with a frame loop that talks: what a game does, without the game.
//!
//! ```text
//! frame_loop SERVER ROOM NAME INPUT.wav OUTPUT.wav SECONDS
//! ```

use std::time::{Duration, Instant};

use voicemesh::{Event, InputSpec, JoinOptions, OutputSpec, Room, RoomEvent};

/// A game's frame.
const FRAME: Duration = Duration::from_millis(16);

#[expect(clippy::disallowed_methods, reason = "stands for a game's frame")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, name, input, output, seconds] = &arguments[..] else {
        return Err("usage: frame_loop SERVER ROOM NAME INPUT.wav OUTPUT.wav SECONDS".into());
    };
    let options = JoinOptions::new(server, room)
        .name(name)
        .input(InputSpec::Wav { path: input.into(), looped: false })
        .output(OutputSpec::Wav(output.into()))
        .state_dir(format!("{output}.state"));
    let (room, mut events) = Room::join(options)?;
    let ends = Instant::now() + Duration::from_secs_f64(seconds.parse()?);
    while Instant::now() < ends {
        while let Some(event) = events.poll() {
            match event {
                Event::Room(RoomEvent::Joined { .. }) => println!("joined"),
                Event::Room(RoomEvent::PeerJoined { name, .. }) => println!("{name} is here"),
                Event::Room(RoomEvent::Refused { message, .. }) => return Err(message.into()),
                Event::Room(RoomEvent::Left) => return Ok(()),
                _ => {}
            }
        }
        // Here a game would move and draw.
        std::thread::sleep(FRAME);
    }
    room.leave_and_wait(Duration::from_secs(2));
    Ok(())
}
