//! Voice inside a game in C: the example's audio thread and its lobby, with a peer of ours in this
//! process.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use voicemesh::{
    DataEvent, Event, Events, InputSpec, JoinOptions, Metadata, MetadataTransaction, OutputSpec,
    PeerId, Reliability, Room, RoomEvent, VoiceEvent,
};
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, PATIENCE, Server, wait_for};

const PASSWORD: &str = "sésame";
const CHANNEL: u8 = 7;

/// Our side, "ada", who is in the room first and hums.
struct Ada {
    room: Room,
    incoming: Events,
    happened: Vec<Event>,
}

impl Ada {
    fn join(server: &Server, folder: &Folder) -> Self {
        let options = JoinOptions::new(server.url(), "engines")
            .name("ada")
            .password(PASSWORD)
            .input(InputSpec::Tone { hz: 500.0 })
            .output(OutputSpec::Null)
            .positional(true)
            .metadata(Metadata::from([("team".to_owned(), "blue".to_owned())]))
            .state_dir(folder.file("ada"));
        let (room, incoming) = Room::join(options).unwrap_or_else(|error| panic!("{error}"));
        let mut ada = Self { room, incoming, happened: Vec::new() };
        ada.until("she is in", |event| {
            matches!(event, Event::Room(RoomEvent::Connected)).then_some(())
        });
        ada
    }

    /// Waits for an event, also an earlier one.
    fn until<T>(&mut self, what: &str, is: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.happened.iter().find_map(&is) {
                return found;
            }
            assert!(Instant::now() < deadline, "never: {what}\n{:?}", self.happened);
            self.incoming.wait(std::time::Duration::from_millis(20));
            while let Some(event) = self.incoming.poll() {
                self.happened.push(event);
            }
        }
    }

    fn bob(&mut self) -> PeerId {
        self.until("bob", |event| match event {
            Event::Room(RoomEvent::PeerJoined { peer, name, .. }) if name == "bob" => Some(*peer),
            _ => None,
        })
    }
}

/// Lets the example, as `command` runs it, play with ada.
pub fn play(mut command: Command) -> Program {
    let folder = Folder::create("places");
    let server = Server::start(&[]);
    let mut ada = Ada::join(&server, &folder);
    // By a link: a password given without a server goes to the link's.
    let link = format!("http://{}/r/engines", server.address);
    command.args(["", &link, "bob", PASSWORD]).arg(folder.file("bob"));
    let mut program = Program::start("bob", command);
    let bob = ada.bob();

    // The lobby.
    let json = |program: &mut Program, event: &str| {
        program.wait_for(event, PATIENCE, |json| json["event"] == event).json
    };
    let text = |program: &mut Program, event: &str| {
        json(program, event)["text"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(
        (text(&mut program, "team"), text(&mut program, "owner")),
        ("blue".to_owned(), "the other".to_owned())
    );
    let asked = json(&mut program, "asked");
    let mut done = |which: &Value, on: i32| {
        program.wait_for("its end", PATIENCE, |json| {
            json["event"] == "transaction" && json["transaction"] == *which && json["on"] == on
        })
    };
    done(&asked["own"], 1);
    assert_eq!(done(&asked["room"], 0).json["code"], "not-owner");
    assert_eq!(text(&mut program, "seat"), "3");
    ada.until("bob's metadata", |event| match event {
        Event::Room(RoomEvent::MetadataChanged { peer, metadata }) if *peer == bob => {
            (metadata["team"] == "red" && metadata.get("seat")? == "3").then_some(())
        }
        _ => None,
    });
    ada.room.lobby().set_room_metadata(MetadataTransaction::new().set("map", "ice")).unwrap();
    assert_eq!(text(&mut program, "room"), "map");

    // A channel and messages, both ways.
    ada.room.channel(bob, CHANNEL).open(Reliability::Reliable).unwrap();
    ada.until("the channel", |event| match event {
        Event::Data(DataEvent::ChannelOpened {
            peer,
            channel: CHANNEL,
            reliability: Reliability::Reliable,
        }) => (*peer == bob).then_some(()),
        _ => None,
    });
    let long: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    ada.room.channel(bob, CHANNEL).send(&long).unwrap();
    ada.room.participant(bob).send(b"", Reliability::Reliable).unwrap();
    ada.until("it comes back", |event| match event {
        Event::Data(DataEvent::ChannelMessage { from, channel: CHANNEL, data, .. }) => {
            (*from == bob && data[..] == long).then_some(())
        }
        _ => None,
    });
    ada.until("the empty one as well", |event| match event {
        Event::Data(DataEvent::Message { from, data, reliability: Reliability::Reliable }) => {
            (*from == bob && data.is_empty()).then_some(())
        }
        _ => None,
    });
    assert_eq!(json(&mut program, "channel-message")["length"], long.len());

    // Voice: she stands to his right, and he speaks to her alone by a microphone of his own.
    let mix = json(&mut program, "mix");
    let side = |side: &str| mix[side].as_f64().unwrap_or_default();
    assert!(side("right") > 2.0 * side("left") && side("left") > 0.0, "{mix}");
    assert!(json(&mut program, "voice")["mono"].as_f64() > Some(0.05));
    ada.until("he is heard", |event| {
        matches!(event, Event::Voice(VoiceEvent::FirstHeard { peer }) if *peer == bob).then_some(())
    });

    ada.room.participant(bob).send_text("leave, bob");
    let group = ada.until("he says goodbye", |event| match event {
        Event::Room(RoomEvent::Text { from, group, text, .. }) if *from == bob && text == "bye" => {
            Some(group.clone())
        }
        _ => None,
    });
    assert_eq!(group.as_deref(), Some("Global"));
    assert_eq!(json(&mut program, "knocked")["code"], "password-wrong");
    wait_for(&mut program, "done");
    let status = program.wait_for_exit(PATIENCE);
    assert!(status.success(), "{status}\n{}", program.transcript());
    ada.until("he is gone", |event| {
        matches!(event, Event::Room(RoomEvent::PeerLeft { peer, .. }) if *peer == bob).then_some(())
    });
    program
}
