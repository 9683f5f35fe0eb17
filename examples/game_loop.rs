//! A game without an engine and without a picture: everybody walks in circles, says where by
//! messages, and is heard from there.
//!
//! ```text
//! game_loop SERVER ROOM NAME [STATE-DIR [INPUT [OUTPUT]]]
//! ```
//!
//! It plays with `bevy_game`, the same with Bevy; prints what happens, one line of JSON each; and
//! leaves when another peer writes "leave, NAME".

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use voicemesh::{
    DataEvent, Event, Events, JoinOptions, PeerId, Pose, Reliability, Room, RoomEvent, SendError,
    VoiceEvent,
};

/// A game's frame.
const FRAME: Duration = Duration::from_millis(16);

struct Game {
    room: Room,
    events: Events,
    own_name: String,
    players: BTreeMap<PeerId, Player>,
    is_over: bool,
}

/// Another peer.
struct Player {
    name: String,
    place: Option<[f32; 3]>,
}

#[expect(clippy::disallowed_methods, reason = "stands for a game's frame")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, name, rest @ ..] = &arguments[..] else {
        return Err("usage: game_loop SERVER ROOM NAME [STATE-DIR [INPUT [OUTPUT]]]".into());
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
    let (room, events) = Room::join(options)?;
    let mut game =
        Game { room, events, own_name: name.clone(), players: BTreeMap::new(), is_over: false };
    let began = Instant::now();
    while !game.is_over {
        let frame = Instant::now();
        game.play(began.elapsed().as_secs_f32())?;
        std::thread::sleep(FRAME.saturating_sub(frame.elapsed()));
    }
    game.room.leave_and_wait(Duration::from_secs(2));
    println!(r#"{{"event":"done"}}"#);
    Ok(())
}

impl Game {
    fn play(&mut self, seconds: f32) -> Result<(), Box<dyn std::error::Error>> {
        while let Some(event) = self.events.poll() {
            self.happened(event)?;
        }
        self.walk(seconds);
        // Here a game would draw.
        self.room.flush();
        Ok(())
    }

    fn happened(&mut self, event: Event) -> Result<(), Box<dyn std::error::Error>> {
        match event {
            Event::Room(RoomEvent::PeerJoined { peer, name, .. }) => {
                println!(r#"{{"event":"peer-joined","name":{name:?}}}"#);
                match self
                    .room
                    .participant(peer)
                    .send(format!("hello, {name}").as_bytes(), Reliability::Reliable)
                {
                    // A player in a browser takes no messages, and is one to talk with all the
                    // same.
                    Ok(()) | Err(SendError::Unsupported) => {}
                    Err(error) => eprintln!("{name}: {error}"),
                }
                self.players.insert(peer, Player { name, place: None });
            }
            Event::Room(RoomEvent::PeerLeft { peer, name, .. }) => {
                println!(r#"{{"event":"peer-left","name":{name:?}}}"#);
                self.players.remove(&peer);
            }
            Event::Voice(VoiceEvent::FirstHeard { peer }) => self.print("first-heard", peer),
            Event::Data(DataEvent::Message { from, data, reliability: Reliability::Reliable }) => {
                println!(r#"{{"event":"message","text":{:?}}}"#, String::from_utf8_lossy(&data));
                self.print("said-hello", from);
            }
            Event::Data(DataEvent::Message {
                from,
                data,
                reliability: Reliability::Unreliable,
            }) => self.moved(from, &data),
            Event::Room(RoomEvent::Text { text, .. }) => {
                self.is_over = text == format!("leave, {}", self.own_name)
            }
            Event::Room(RoomEvent::Refused { message, .. }) => return Err(message.into()),
            Event::Room(RoomEvent::Replaced | RoomEvent::Left) => self.is_over = true,
            _ => {}
        }
        Ok(())
    }

    /// Anybody can send anything: what is no place is none.
    fn moved(&mut self, from: PeerId, data: &[u8]) {
        let place = data.split_first_chunk().and_then(|(x, z)| {
            Some([f32::from_le_bytes(*x), 0.0, f32::from_le_bytes(z.try_into().ok()?)])
        });
        let (Some(place), Some(player)) = (place, self.players.get_mut(&from)) else { return };
        self.room.participant(from).set_position(place, [0.0; 3]);
        if player.place.replace(place).is_none() {
            self.print("placed", from);
        }
    }

    /// Walks on, and sends the position to everyone. A lost message is replaced by the next
    /// frame's.
    fn walk(&mut self, seconds: f32) {
        let (x, z) = (3.0 * seconds.cos(), 3.0 * seconds.sin());
        self.room.speaker().set_listener(Pose { position: [x, 0.0, z], ..Pose::default() });
        let mut message = [0; 8];
        message[..4].copy_from_slice(&x.to_le_bytes());
        message[4..].copy_from_slice(&z.to_le_bytes());
        // Before this peer has joined, there are no peers to send to.
        let _ = self.room.send_to_all(&message, Reliability::Unreliable);
    }

    fn print(&self, event: &str, peer: PeerId) {
        let name = self.players.get(&peer).map_or("", |player| &player.name);
        println!(r#"{{"event":{event:?},"name":{name:?}}}"#);
    }
}
