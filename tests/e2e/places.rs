//! Voice inside a game, as the game has it: the library in this process, a server, real links.

use std::f32::consts::TAU;
use std::ops::Deref;
use std::time::{Duration, Instant};

use voicemesh::{
    Activation, Event, Events, GridAxes, InputSpec, JoinOptions, OutputSpec, PeerId, Pose,
    Processing, ProximityGrid, Room, RoomEvent, TransmitOptions, VoiceAudience, VoiceEvent,
};
use voicemesh_tests::room::{Folder, PATIENCE, Server};
use voicemesh_tests::wav;

use crate::alone;

const FRAME: Duration = Duration::from_millis(10);

fn options(server: &Server, folder: &Folder, name: &str) -> JoinOptions {
    JoinOptions::new(server.url(), "game")
        .name(name)
        .input(InputSpec::Silence)
        .output(OutputSpec::Null)
        .positional(true)
        .state_dir(folder.file(name))
}

/// A place in a room, and its events.
struct Member {
    room: Room,
    events: Events,
}

impl Deref for Member {
    type Target = Room;

    fn deref(&self) -> &Room {
        &self.room
    }
}

fn join(options: JoinOptions) -> Member {
    let (room, events) = Room::join(options).unwrap_or_else(|error| panic!("{error}"));
    let mut peer = Member { room, events };
    until(&mut peer, "it is connected", |peer| peer.snapshot().connected);
    peer
}

/// Calls `done` each frame until it is true.
fn until(peer: &mut Member, what: &str, mut done: impl FnMut(&mut Member) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(peer) {
        assert!(Instant::now() < deadline, "never: {what}\n{:?}", peer.snapshot());
        peer.events.wait(FRAME);
        while let Some(event) = peer.events.poll() {
            assert!(
                !matches!(
                    event,
                    Event::Room(RoomEvent::Warned { .. } | RoomEvent::Left)
                        | Event::Voice(VoiceEvent::GroupRefused { .. })
                ),
                "{event:?}"
            );
        }
    }
}

fn id(peer: &mut Member, name: &str) -> PeerId {
    let of = |peer: &Room| {
        peer.read_snapshot(|now| now.peers.iter().find(|state| state.name == name).map(|s| s.peer))
    };
    until(peer, name, |peer| of(peer).is_some());
    of(peer).unwrap()
}

fn frames_heard(peer: &Room, of: PeerId) -> u64 {
    peer.read_snapshot(|now| {
        now.peers.iter().find(|state| state.peer == of).map_or(0, |state| state.frames_heard)
    })
}

/// The amplitude of one frequency.
fn amplitude(samples: &[f32], hz: f32, rate_hz: f32) -> f32 {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let angle = TAU * (hz * at as f32 / rate_hz).fract();
        sine += sample * angle.sin();
        cosine += sample * angle.cos();
    }
    2.0 * (sine * sine + cosine * cosine).sqrt() / samples.len() as f32
}

/// proves: B-11
#[test]
fn two_who_stand_left_and_right_are_heard_left_and_right() {
    let _alone = alone();
    let folder = Folder::create("places");
    let server = Server::start(&[]);
    let file = folder.file("cyd.wav");
    let mut cyd = join(options(&server, &folder, "cyd").output(OutputSpec::Wav(file.clone())));
    let tone = |name: &str, hz| join(options(&server, &folder, name).input(InputSpec::Tone { hz }));
    let (_ada, _bob) = (tone("ada", 440.0), tone("bob", 1_000.0));
    let (ada, bob) = (id(&mut cyd, "ada"), id(&mut cyd, "bob"));
    let place = |cyd: &Room| {
        cyd.speaker().set_listener(Pose { position: [100.0, 0.0, 0.0], ..Pose::default() });
        cyd.participant(ada).set_position([99.0, 0.0, 0.0], [0.0; 3]);
        cyd.participant(bob).set_position([102.0, 0.0, 0.0], [0.0; 3]);
    };
    until(&mut cyd, "a second of both", |cyd| {
        place(cyd);
        frames_heard(cyd, ada).min(frames_heard(cyd, bob)) > 100
    });
    let (a, b) = (frames_heard(&cyd, ada) + 60, frames_heard(&cyd, bob) + 60);
    until(&mut cyd, "another second of both", |cyd| {
        frames_heard(cyd, ada) > a && frames_heard(cyd, bob) > b
    });
    assert!(
        cyd.participant(ada).level().is_some_and(|level| level > -30.0)
            && cyd.participant(ada).is_speaking(),
        "{:?}",
        cyd.participant(ada).level()
    );
    cyd.leave_and_wait(PATIENCE);
    let sides = [0, 1].map(|channel| wav::read_channel(&file, channel).unwrap());
    let last = sides.each_ref().map(|side| &side[side.len() - 48_000..side.len() - 9_600]);
    // Of pieces of 50 ms the middle one: on a busy machine a piece is concealed or missing now and
    // then.
    let db = |hz| {
        last.map(|side| {
            let mut pieces: Vec<f32> =
                side.chunks_exact(2_400).map(|piece| amplitude(piece, hz, 48_000.0)).collect();
            pieces.sort_by(f32::total_cmp);
            20.0 * pieces[pieces.len() / 2].log10()
        })
    };
    let ([ada_left, ada_right], [bob_left, bob_right]) = (db(440.0), db(1_000.0));
    println!("ada {ada_left:.1} and {ada_right:.1} dB, bob {bob_left:.1} and {bob_right:.1} dB");
    assert!((ada_left - ada_right - 14.0).abs() < 1.5, "{ada_left} and {ada_right}");
    assert!((bob_right - bob_left - 14.0).abs() < 1.5, "{bob_left} and {bob_right}");
    assert!(
        (ada_left - bob_right - 6.0).abs() < 2.0,
        "twice as far is half as loud: {ada_left} and {bob_right}"
    );
}

/// proves: B-11
#[test]
fn a_game_without_devices_writes_its_microphone_and_reads_each_voice() {
    let _alone = alone();
    let folder = Folder::create("program");
    let server = Server::start(&[]);
    let program = |name| {
        options(&server, &folder, name)
            .input(InputSpec::Program)
            .output(OutputSpec::Program)
            .processing(Processing::OFF)
            .activation(Activation::Always)
    };
    let (mut ada, mut bob, mut cyd) =
        (join(program("ada")), join(program("bob")), join(program("cyd")));
    let mut microphones = [&ada, &cyd].map(|peer| peer.microphone().open_feed(44_100).unwrap());
    let (a, c) = (id(&mut bob, "ada"), id(&mut bob, "cyd"));
    id(&mut ada, "bob");
    id(&mut cyd, "bob");
    let mut voice = bob.participant(a).open_voice_at(16_000).unwrap();
    let mut mix = bob.speaker().open_mix(48_000).unwrap();
    // What the game's audio thread does: as much as time has passed, at each device's rate.
    let begun = Instant::now();
    let (mut steps, mut apart, mut together) = (0_usize, Vec::new(), Vec::new());
    let (mut speech, mut sound) = ([[0.0; 441]; 2], [0.0; 960]);
    until(&mut bob, "two seconds of sound", |bob| {
        while begun.elapsed() >= FRAME * steps as u32 {
            for (hz, speech) in [500.0, 1_200.0].into_iter().zip(&mut speech) {
                for (at, sample) in speech.iter_mut().enumerate() {
                    *sample =
                        0.25 * (TAU * hz * ((steps * 441 + at) % 44_100) as f32 / 44_100.0).sin();
                }
            }
            for (microphone, speech) in microphones.iter_mut().zip(&speech) {
                assert_eq!(microphone.write(speech), speech.len());
            }
            let samples = voice.read(&mut sound[..160]);
            apart.extend_from_slice(&sound[..samples]);
            let frames = mix.read(&mut sound);
            together.extend(sound[..2 * frames].chunks_exact(2).map(|frame| frame[0]));
            steps += 1;
        }
        frames_heard(bob, a).min(frames_heard(bob, c)) > 200
    });
    let apart = &apart[apart.len() - 16_000..];
    let together = &together[together.len() - 48_000..];
    let (ada_apart, cyd_apart) =
        (amplitude(apart, 500.0, 16_000.0), amplitude(apart, 1_200.0, 16_000.0));
    let (ada_mixed, cyd_mixed) =
        (amplitude(together, 500.0, 48_000.0), amplitude(together, 1_200.0, 48_000.0));
    println!(
        "ada {ada_apart:.3} apart, {ada_mixed:.4} mixed; cyd {cyd_apart:.4} apart, {cyd_mixed:.3} mixed"
    );
    assert!((0.15..0.35).contains(&ada_apart) && cyd_apart < 0.01, "the voice is Ada's alone");
    assert!(
        (0.15..0.35).contains(&cyd_mixed) && ada_mixed < 0.01,
        "who is read apart is in no mix"
    );
    bob.leave_and_wait(PATIENCE);
    voice.read(&mut [0.0; 20_000]);
    assert_eq!(voice.read(&mut sound), 0, "what was left has been read");
    assert!(ada.microphone().level() > -30.0, "{}", ada.microphone().level());
}

/// proves: B-11
#[test]
fn who_holds_a_handle_speaks_and_who_walks_away_is_not_heard() {
    let _alone = alone();
    let folder = Folder::create("near");
    let server = Server::start(&[]);
    let mut ada = join(options(&server, &folder, "ada").input(InputSpec::Tone { hz: 440.0 }));
    let mut bob = join(options(&server, &folder, "bob"));
    let (a, b) = (id(&mut bob, "ada"), id(&mut ada, "bob"));
    [&ada, &bob].into_iter().for_each(|peer| peer.group("Global").leave());
    until(&mut bob, "silence", |bob| !bob.participant(a).is_speaking());
    let mut grids = [0, 1].map(|_| ProximityGrid::new("field", 20.0, GridAxes::Ground).unwrap());
    let [ada_grid, bob_grid] = &mut grids;
    ada.move_in(ada_grid, [0.0; 3]);
    bob.move_in(bob_grid, [15.0, 0.0, 15.0]);
    until(&mut bob, "Ada, who is near", |bob| bob.participant(a).is_speaking());
    bob.move_in(bob_grid, [15.0, 0.0, 80.0]);
    until(&mut bob, "silence, because she is far", |bob| !bob.participant(a).is_speaking());
    let mut radio = ada.transmit_to(VoiceAudience::Peer(b), TransmitOptions::default());
    until(&mut bob, "Ada by radio", |bob| bob.participant(a).is_speaking());
    radio.set_volume(0.0);
    drop(radio);
    until(&mut bob, "silence, because the handle is gone", |bob| !bob.participant(a).is_speaking());
    let team = ada.transmit_to(VoiceAudience::Group("team".to_owned()), TransmitOptions::default());
    bob.group("team").listen();
    until(&mut bob, "Ada to her team", |bob| bob.participant(a).is_speaking());
    bob.group("team").stop_listening();
    until(&mut bob, "silence, because he does not listen", |bob| !bob.participant(a).is_speaking());
    ada.leave_and_wait(PATIENCE);
    drop(team);
    bob.leave_grid(bob_grid);
}
