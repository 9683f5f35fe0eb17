//! A bot without a microphone: it says back what others write to it or send to it, and leaves on
//! request.
//!
//! ```text
//! bot SERVER ROOM NAME STATE-DIR
//! ```
//!
//! It leaves when a member writes "leave, NAME".

use voicemesh::{DataEvent, Event, InputSpec, JoinOptions, OutputSpec, Room, RoomEvent};

// Any executor will do; the library needs none.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, name, state] = &arguments[..] else {
        return Err("usage: bot SERVER ROOM NAME STATE-DIR".into());
    };
    let options = JoinOptions::new(server, room).name(name).state_dir(state);
    let (room, mut events) = Room::join(options.input(InputSpec::Null).output(OutputSpec::Null))?;
    while let Some(event) = events.next().await {
        match event {
            Event::Room(RoomEvent::PeerJoined { name, .. }) => println!("{name} is here"),
            Event::Room(RoomEvent::Text { text, .. }) if text == format!("leave, {name}") => {
                room.leave()
            }
            Event::Room(RoomEvent::Text { from, text, .. }) => {
                room.participant(from).send_text(&format!("you said: {text}"));
            }
            Event::Data(DataEvent::Message { from, data, reliability }) => {
                if let Err(error) = room.participant(from).send(&data, reliability) {
                    eprintln!("not said back: {error}");
                }
            }
            Event::Room(RoomEvent::Refused { message, .. }) => return Err(message.into()),
            _ => {}
        }
    }
    println!("left");
    Ok(())
}
