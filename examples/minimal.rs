//! The shortest program that talks: `minimal SERVER ROOM [INPUT OUTPUT]`
use voicemesh::{Event, JoinOptions, Room, RoomEvent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, sound @ ..] = &arguments[..] else { return Err("SERVER ROOM".into()) };
    let mut options = JoinOptions::new(server, room).name("Ada");
    if let [input, output] = sound {
        options = options.input(input.parse()?).output(output.parse()?);
    }
    let (_room, mut events) = Room::join(options)?;
    loop {
        events.wait(std::time::Duration::from_secs(1));
        match events.poll() {
            Some(Event::Room(RoomEvent::PeerJoined { name, .. })) => println!("{name} is here"),
            Some(Event::Room(RoomEvent::Left | RoomEvent::Refused { .. })) => return Ok(()),
            _ => {}
        }
    }
}
