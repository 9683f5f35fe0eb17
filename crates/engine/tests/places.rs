//! Speakers in space, over a network inside this process.

use std::time::Duration;

use voicemesh_audio::mix::Width;
use voicemesh_audio::space::{Placement, Pose, StereoBlock};
use voicemesh_audio::{BLOCK_SAMPLES, Block, level};
use voicemesh_engine::{EngineConfig, EngineOnNetwork, Mixing, VoiceEngine};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, PeerKey, ServerParameters};
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::client::Participant;
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};

const TICK: Duration = Duration::from_millis(10);

/// Two speakers and one who listens.
struct Square {
    now: Duration,
    server: EngineOnNetwork<Endpoint>,
    speakers: [EngineOnNetwork<Endpoint>; 2],
    listener: EngineOnNetwork<Endpoint>,
    left: Vec<f32>,
    right: Vec<f32>,
    /// What each said, as it is before it is mixed.
    apart: Vec<f32>,
    widths: Vec<Width>,
    mixing: Mixing,
}

impl Square {
    fn new(positional: bool) -> Self {
        let hub = Hub::new();
        let comms = |name: &str, seed| {
            let engine = VoiceEngine::new(EngineConfig::new(name, seed)).unwrap();
            EngineOnNetwork::new(engine, hub.endpoint())
        };
        let address = || "here".to_owned();
        let mut server = comms("server", 1);
        server
            .run_as_dedicated_server(Duration::ZERO, ServerParameters { address: address() })
            .unwrap();
        let join = |name, seed| {
            let mut client = comms(name, seed);
            client.run_as_client(Duration::ZERO, ClientParameters { address: address() }).unwrap();
            let everyone = VoiceTarget::Group(GLOBAL_GROUP.to_owned());
            client
                .open_target(everyone, TargetOptions { positional, ..TargetOptions::default() })
                .unwrap();
            client
        };
        let mut square = Self {
            now: Duration::ZERO,
            server,
            speakers: [join("ada", 2), join("bob", 3)],
            listener: join("cyd", 4),
            left: Vec::new(),
            right: Vec::new(),
            apart: Vec::new(),
            widths: Vec::new(),
            mixing: Mixing::In,
        };
        square.run(50, &[]);
        square
    }

    /// So many times 10 ms, in which these hum.
    fn run(&mut self, ticks: usize, humming: &[usize]) {
        for _ in 0..ticks {
            self.now += TICK;
            self.server.update(self.now);
            for (number, speaker) in self.speakers.iter_mut().enumerate() {
                speaker.update(self.now);
                if humming.contains(&number) {
                    speaker.capture(self.now, &hum(self.now)).unwrap();
                }
            }
            self.listener.update(self.now);
            let mut out = StereoBlock::SILENCE;
            let (apart, mixing) = (&mut self.apart, self.mixing);
            let width = self.listener.render_stereo_apart(self.now, &mut out, |_, block| {
                apart.extend_from_slice(block);
                mixing
            });
            self.widths.push(width);
            self.left.extend_from_slice(&out.left);
            self.right.extend_from_slice(&out.right);
        }
    }

    fn who(&self, speaker: usize) -> Participant<PeerKey> {
        let view = self.speakers[speaker].client().unwrap().view().unwrap();
        Participant::Client(view.session(), view.you())
    }

    fn place(&mut self, speaker: usize, position: [f32; 3]) {
        let placement = Placement::new(self.now, position, [0.0; 3]);
        let who = self.who(speaker);
        self.listener.set_placement(who, placement);
    }

    /// How loud the next half second is in each ear.
    fn ears(&mut self, humming: &[usize]) -> (f32, f32) {
        self.run(100, &[]);
        self.run(30, humming);
        self.left.clear();
        self.right.clear();
        self.apart.clear();
        self.widths.clear();
        self.run(50, humming);
        (level::rms_dbfs(&self.left), level::rms_dbfs(&self.right))
    }
}

fn hum(now: Duration) -> Block {
    let begin = now.as_secs_f32() * 48_000.0;
    std::array::from_fn(|i| {
        0.3 * ((begin + i as f32) * 200.0 * std::f32::consts::TAU / 48_000.0).sin()
    })
}

/// proves: B-11
#[test]
fn who_stands_on_the_left_is_heard_on_the_left_and_who_is_far_is_softer() {
    let mut square = Square::new(true);
    let (left, right) = square.ears(&[0]);
    assert_eq!(left, right, "no speaker has a position yet");
    assert!(square.widths.iter().all(|width| *width == Width::Mono));
    let plain = left;
    square.place(0, [-1.0, 0.0, 0.0]);
    square.place(1, [1.0, 0.0, 0.0]);
    let side = 10.0 * (2.0_f32 / 1.04).log10();
    for (speaker, expected) in [(0, (side, side - 13.98)), (1, (side - 13.98, side))] {
        let (left, right) = square.ears(&[speaker]);
        let close = |found: f32, more: f32| (found - plain - more).abs() < 0.3;
        assert!(
            close(left, expected.0) && close(right, expected.1),
            "{speaker}: {left} and {right}, not {expected:?}"
        );
    }
    let both = square.ears(&[0, 1]);
    assert!((both.0 - both.1).abs() < 0.3, "{both:?}");
    // The listener turns round, and walks away.
    square.listener.set_listener(Pose { forward: [0.0, 0.0, 1.0], ..Pose::default() });
    let (left, right) = square.ears(&[0]);
    assert!(right > left + 12.0, "{left} and {right}");
    square.listener.set_listener(Pose { position: [-1.0, 0.0, 10.0], ..Pose::default() });
    let (left, right) = square.ears(&[0]);
    assert!(
        (left - right).abs() < 0.3 && (plain - left - 20.0).abs() < 0.3,
        "a tenth at ten metres: {left}"
    );
    square.listener.set_listener(Pose { position: [0.0, 60.0, 0.0], ..Pose::default() });
    assert_eq!(
        square.ears(&[0]),
        (-120.0, -120.0),
        "beyond the last distance there is nothing at all"
    );
    assert!(square.apart.iter().any(|sample| sample.abs() > 0.1), "though it was said");
    let who = square.who(0);
    square.listener.set_placement(who, None);
    let (left, right) = square.ears(&[0]);
    assert!((left - plain).abs() < 0.3 && left == right, "{left} and {right}");
}

/// proves: B-11
#[test]
fn what_is_not_said_to_those_around_is_heard_as_it_is() {
    let mut square = Square::new(false);
    square.place(0, [-40.0, 0.0, 0.0]);
    let (left, right) = square.ears(&[0]);
    assert!(left == right && left > -25.0, "{left} and {right}");
}

/// proves: B-11
#[test]
fn one_speakers_own_samples_are_what_the_mix_would_have_had() {
    let mut square = Square::new(true);
    square.ears(&[0]);
    assert!(level::rms_dbfs(&square.left) > -25.0);
    assert_eq!(square.apart.len(), square.left.len(), "one speaker has been heard so far");
    assert!(square.apart == square.left && square.apart == square.right);
    square.mixing = Mixing::Out;
    square.ears(&[0]);
    assert!(level::rms_dbfs(&square.apart) > -25.0);
    assert!(square.left.iter().all(|sample| *sample == 0.0), "and then it is in no mix");
    assert_eq!(square.left.len(), 50 * BLOCK_SAMPLES);
}
