//! Two of these send each other messages of all sizes and check every byte, while a test takes away
//! routes between them.
//!
//! ```text
//! courier SERVER ROOM NAME MESSAGES STATE-DIR
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh::{
    DataEvent, Event, InputSpec, JoinOptions, OutputSpec, PeerId, Reliability, Room, RoomEvent,
    SendError,
};

const FRAME: Duration = Duration::from_millis(16);
/// As a busy game would.
const MESSAGES_PER_FRAME: u32 = 1;
const LARGEST: usize = 256 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, name, messages, state] = &arguments[..] else {
        return Err("usage: courier SERVER ROOM NAME MESSAGES STATE-DIR".into());
    };
    let messages: u32 = messages.parse()?;
    let options = JoinOptions::new(server, room).name(name).input(InputSpec::Tone { hz: 440.0 });
    let (room, mut events) =
        Room::join(options.output(OutputSpec::Null).state_dir(state).manual_flush(true))?;
    let (mut other, mut sent, mut received) = (None, 0, 0);
    let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
    loop {
        while let Some(event) = events.poll() {
            match event {
                Event::Room(RoomEvent::PeerJoined { peer, .. }) => other = Some(peer),
                Event::Room(RoomEvent::RouteChanged { route, .. }) => {
                    println!("{}", format!("{route:?}").to_lowercase())
                }
                Event::Data(DataEvent::Message { data, .. })
                    if data[..] == message(received)[..] =>
                {
                    received += 1;
                    if received % 100 == 0 {
                        println!("received {received}");
                    }
                }
                Event::Data(DataEvent::Message { data, .. }) => {
                    return Err(format!("{} bytes for {received}", data.len()).into());
                }
                Event::Room(RoomEvent::PeerLeft { .. }) if received < messages => {
                    return Err("the other left too early".into());
                }
                Event::Room(RoomEvent::Refused { message, .. }) => return Err(message.into()),
                _ => {}
            }
        }
        if let Some(other) = other {
            for _ in 0..MESSAGES_PER_FRAME {
                if waiting.is_empty() && sent < messages {
                    waiting.push_back(message(sent));
                    sent += 1;
                }
                send(&room, other, &mut waiting)?;
            }
            if sent == messages
                && waiting.is_empty()
                && received == messages
                && room.participant(other).queued_bytes() == 0
            {
                break;
            }
        }
        room.flush();
        events.wait(FRAME);
    }
    let heard = room.snapshot().peers.first().map_or(0, |peer| peer.frames_received);
    println!("done, {heard} frames of speech beside");
    room.leave_and_wait(Duration::from_secs(2));
    Ok(())
}

fn send(room: &Room, to: PeerId, waiting: &mut VecDeque<Vec<u8>>) -> Result<(), SendError> {
    let Some(message) = waiting.front() else { return Ok(()) };
    match room.participant(to).send(message, Reliability::Reliable) {
        Ok(()) => {
            waiting.pop_front();
            Ok(())
        }
        Err(SendError::WouldBlock { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The message of a number: 1 B to 256 KiB, most of them small, different from all others of its
/// length and more.
fn message(number: u32) -> Vec<u8> {
    let mixed = u64::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let share = ((mixed >> 40) as f64 / f64::from(1 << 24)).powi(4);
    let length = ((18.0 * share).exp2() as usize).clamp(1, LARGEST);
    let first = number.to_le_bytes();
    (0..length).map(|index| first[index % 4] ^ ((index / 4) % 251) as u8).collect()
}
