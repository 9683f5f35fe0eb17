//! A program that mixes and plays sound itself: it writes the microphone and reads each voice, and
//! no device is opened.
//!
//! ```text
//! own_audio_engine SERVER ROOM NAME STATE-DIR SECONDS
//! ```
//!
//! It hums, and prints how loud each voice is that it would play.

use std::collections::BTreeMap;
use std::f32::consts::TAU;
use std::time::{Duration, Instant};

use voicemesh::{Event, InputSpec, JoinOptions, OutputSpec, PeerId, PeerVoice, Room, RoomEvent};

const RATE_HZ: u32 = 48_000;
/// What the engine plays and captures at a time: 10 ms.
const BLOCK: usize = RATE_HZ as usize / 100;

#[expect(clippy::disallowed_methods, reason = "stands for the clock of an audio device")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, name, state, seconds] = &arguments[..] else {
        return Err("usage: own_audio_engine SERVER ROOM NAME STATE-DIR SECONDS".into());
    };
    let options = JoinOptions::new(server, room).name(name).state_dir(state);
    let (room, mut events) =
        Room::join(options.input(InputSpec::Program).output(OutputSpec::Program))?;
    let mut microphone = room.microphone().open_feed(RATE_HZ)?;
    let mut voices: BTreeMap<PeerId, PeerVoice> = BTreeMap::new();
    let blocks = seconds.parse::<u64>()? * 100;
    let began = Instant::now();
    for block in 0..blocks {
        while let Some(event) = events.poll() {
            match event {
                Event::Room(RoomEvent::PeerJoined { peer, .. }) => {
                    voices.insert(peer, room.participant(peer).open_voice_at(RATE_HZ)?);
                }
                Event::Room(RoomEvent::PeerLeft { peer, .. }) => _ = voices.remove(&peer),
                Event::Room(RoomEvent::Refused { message, .. }) => return Err(message.into()),
                Event::Room(RoomEvent::Left) => return Ok(()),
                _ => {}
            }
        }
        // What an audio callback does. A voice and a feed can be moved to its thread.
        let mut samples = [0.0; BLOCK];
        let first = block * BLOCK as u64;
        for (at, sample) in (first..).zip(&mut samples) {
            *sample = 0.1 * (TAU * 220.0 * (at % u64::from(RATE_HZ)) as f32 / RATE_HZ as f32).sin();
        }
        microphone.write(&samples);
        for (peer, voice) in &mut voices {
            voice.read(&mut samples);
            let loudest = samples.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
            if block % 100 == 0 {
                println!("{peer} {loudest:.2}");
            }
        }
        std::thread::sleep(
            (began + Duration::from_millis(10 * (block + 1)))
                .saturating_duration_since(Instant::now()),
        );
    }
    Ok(())
}
