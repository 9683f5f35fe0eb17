//! The shortest program that talks: `minimal SERVER ROOM [INPUT OUTPUT]`
use voicemesh::{Event, JoinOptions, Room, RoomEvent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match &arguments[..] {
        [server, room] => JoinOptions::new(server, room),
        [server, room, input, output] => {
            JoinOptions::new(server, room).input(input.parse()?).output(output.parse()?)
        }
        _ => return Err("usage: minimal SERVER ROOM [INPUT OUTPUT]".into()),
    };
    let (_room, mut events) = Room::join(options.name("Ada"))?;
    loop {
        events.wait(std::time::Duration::from_secs(1));
        match events.poll() {
            Some(Event::Room(RoomEvent::PeerJoined { name, .. })) => println!("{name} is here"),
            Some(Event::Room(RoomEvent::Left | RoomEvent::Refused { .. })) => return Ok(()),
            _ => {}
        }
    }
}
