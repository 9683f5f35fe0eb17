//! How fast messages are between two peers in this process, and what a frame costs in a full room.
//!
//! ```text
//! message_speed SERVER direct|relayed [--quick]
//! message_speed SERVER frames PEERS SECONDS
//! ```

#[path = "messages/measure.rs"]
mod measure;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use voicemesh::{
    DataEvent, Event, Events, InputSpec, JoinError, JoinOptions, OutputSpec, PeerId, Reliability,
    Room, RoomEvent, Route,
};

const FRAME: Duration = Duration::from_millis(16);

/// A place in a room, and its events.
struct Member {
    room: Room,
    events: Events,
}

struct Side {
    peer: Member,
    other: PeerId,
}

impl measure::Side for Side {
    fn send(&mut self, message: &[u8]) -> bool {
        self.peer.room.participant(self.other).send(message, Reliability::Reliable).is_ok()
    }

    fn receive(&mut self, within: Duration) -> Option<usize> {
        let deadline = Instant::now() + within;
        loop {
            while let Some(event) = self.peer.events.poll() {
                if let Event::Data(DataEvent::Message { data, .. }) = event {
                    return Some(data.len());
                }
            }
            self.peer.events.wait(deadline.checked_duration_since(Instant::now())?);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    match arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| *argument != "--quick")
        .collect::<Vec<_>>()[..]
    {
        [server, way @ ("direct" | "relayed")] => speed(server, way, quick)?,
        [server, "frames", peers, seconds] => frames(server, peers.parse()?, seconds.parse()?)?,
        _ => return Err(
            "usage: message_speed SERVER direct|relayed [--quick] | SERVER frames PEERS SECONDS"
                .into(),
        ),
    }
    Ok(())
}

fn speed(server: &str, way: &str, quick: bool) -> Result<(), JoinError> {
    let relay_only = way == "relayed";
    let room = format!("speed {}", std::process::id());
    let mut a = join(server, &room, "a", InputSpec::Null, relay_only)?;
    let mut b = join(server, &room, "b", InputSpec::Null, relay_only)?;
    let wanted = if relay_only { Route::Relayed } else { Route::Direct };
    let (other_of_a, other_of_b) = (reached(&mut a, wanted), reached(&mut b, wanted));
    let (mut a, mut b) = (Side { peer: a, other: other_of_a }, Side { peer: b, other: other_of_b });
    measure::run("voicemesh", &format!("{way}, reliable"), quick, &mut a, &mut b);
    Ok(())
}

/// One peer's frames among many: all of them speak a tone, and send each other a short message in
/// each frame.
#[expect(clippy::disallowed_methods, reason = "stands for a game's frame")]
fn frames(server: &str, peers: usize, seconds: u64) -> Result<(), JoinError> {
    let room = format!("frames {}", std::process::id());
    let mut others: Vec<Member> = Vec::new();
    for number in 1..peers {
        others.push(join(
            server,
            &room,
            &format!("peer {number}"),
            InputSpec::Tone { hz: 440.0 },
            true,
        )?);
    }
    let mut peer = join(server, &room, "the measured one", InputSpec::Tone { hz: 300.0 }, true)?;
    let mut met = 0;
    while met < peers - 1 {
        peer.events.wait(Duration::from_millis(50));
        while let Some(event) = peer.events.poll() {
            met += usize::from(matches!(event, Event::Room(RoomEvent::PeerJoined { .. })));
        }
    }
    let (mut costs, mut messages) = (Vec::new(), 0);
    let ends = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < ends {
        for other in &mut others {
            while other.events.poll().is_some() {}
            let _ = other.room.send_to_all(b"here I am", Reliability::Unreliable);
        }
        let begun = Instant::now();
        while let Some(event) = peer.events.poll() {
            messages += usize::from(matches!(event, Event::Data(DataEvent::Message { .. })));
        }
        let polled = begun.elapsed();
        let _ = peer.room.send_to_all(b"so am I", Reliability::Unreliable);
        let flushing = Instant::now();
        peer.room.flush();
        costs.push((polled + flushing.elapsed()).as_secs_f64() * 1e6);
        std::thread::sleep(FRAME);
    }
    costs.sort_by(f64::total_cmp);
    let at = |share: f64| costs[((costs.len() - 1) as f64 * share) as usize];
    println!(
        "{{\"peers\":{peers},\"frames\":{},\"messages\":{messages},\"median_us\":{:.1},\"p99_us\":{:.1}}}",
        costs.len(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}

fn join(
    server: &str,
    room: &str,
    name: &str,
    input: InputSpec,
    relay_only: bool,
) -> Result<Member, JoinError> {
    let state: PathBuf =
        std::env::temp_dir().join(format!("voicemesh-speed-{}-{name}", std::process::id()));
    let options = JoinOptions::new(server, room)
        .name(name)
        .input(input)
        .output(OutputSpec::Null)
        .state_dir(&state);
    let joined =
        Room::join(options.relay_only(relay_only).manual_flush(name == "the measured one"));
    // The identity has been read, and this peer does not come back.
    let _ = std::fs::remove_dir_all(state);
    joined.map(|(room, events)| Member { room, events })
}

/// Waits until a peer is reached by this route.
fn reached(peer: &mut Member, wanted: Route) -> PeerId {
    loop {
        peer.events.wait(Duration::from_millis(50));
        while let Some(event) = peer.events.poll() {
            if let Event::Room(RoomEvent::RouteChanged { peer, route }) = event
                && route == wanted
            {
                return peer;
            }
        }
    }
}
