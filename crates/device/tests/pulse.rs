//! A real sound server, with a virtual speaker whose sound is recorded again: what is played is
//! heard, and the server may die and come back. The devices are used by a child process (this
//! test's own program, see [`child`]), because which server is used is a matter of the environment.
#![cfg(target_os = "linux")]

use std::f32::consts::TAU;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hound::{SampleFormat, WavSpec, WavWriter};
use voicemesh_device::{
    Capture, DeviceEvent, Direction, InputSpec, OutputSpec, Playback, SAMPLE_RATE, devices,
};
use voicemesh_tests::process::Program;
use voicemesh_tests::pulse::{Pulse, SPEAKER, SPEAKER_MONITOR};

const PATIENCE: Duration = Duration::from_secs(30);
const IS_CHILD: &str = "VOICEMESH_DEVICE_TEST_CHILD";
/// The microphone that the child uses.
const MICROPHONE: &str = "VOICEMESH_DEVICE_TEST_MICROPHONE";
const TONE_HZ: f32 = 1_000.0;
const TONE_LEVEL: f32 = 0.25;
/// What the child keeps written ahead.
const AHEAD: usize = 1_920;

fn start_child(pulse: &Pulse) -> Program {
    start_child_with(pulse, SPEAKER_MONITOR)
}

fn start_child_with(pulse: &Pulse, microphone: &str) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "pulse::child", "--ignored", "--nocapture"])
        .env(IS_CHILD, "1")
        .env(MICROPHONE, microphone);
    pulse.use_in(&mut command);
    Program::start("child", command)
}

/// Whether a line of the child tells of that tone at about the level at which it was played.
fn tells_of_the_tone(line: &str) -> Option<f32> {
    let level: f32 = line.strip_prefix("level ")?.parse().ok()?;
    ((level / TONE_LEVEL - 1.0).abs() < 0.1).then_some(level)
}

#[test]
fn what_is_played_to_a_sound_server_is_captured_from_it() {
    let Some(pulse) = Pulse::start("what_is_played_to_a_sound_server_is_captured_from_it") else {
        return;
    };
    let mut child = start_child(&pulse);
    for listed in ["default Output", "default Input", "other Input"] {
        child.wait_for_line(listed, PATIENCE);
    }
    child.wait_for_text("the tone", PATIENCE, tells_of_the_tone);
    child.wait_for_text("the tone, a second later", PATIENCE, tells_of_the_tone);
}

#[test]
fn a_voice_on_one_of_eight_inputs_is_as_loud_as_it_is() {
    let Some(pulse) = Pulse::start("a_voice_on_one_of_eight_inputs_is_as_loud_as_it_is") else {
        return;
    };
    pulse.control(&[
        "load-module",
        "module-null-sink",
        "sink_name=interface",
        "rate=48000",
        "channels=8",
    ]);
    let file = std::env::temp_dir().join(format!("voicemesh-eight-{}.wav", std::process::id()));
    let format = WavSpec {
        channels: 8,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(&file, format).unwrap();
    for at in 0..20 * SAMPLE_RATE {
        let cycle = (at as f32 * TONE_HZ / SAMPLE_RATE as f32).fract();
        for channel in 0..8 {
            let level = if channel == 2 { TONE_LEVEL * f32::from(i16::MAX) } else { 0.0 };
            writer.write_sample(((TAU * cycle).sin() * level) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
    let playing = pulse.play_into(&file, "interface");
    let mut child = start_child_with(&pulse, "interface.monitor");
    child.wait_for_text("the tone at its level, not 18 dB below", PATIENCE, tells_of_the_tone);
    drop(playing);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_sound_server_that_dies_is_told_once_and_used_again_when_it_is_back() {
    let name = "a_sound_server_that_dies_is_told_once_and_used_again_when_it_is_back";
    let Some(mut pulse) = Pulse::start(name) else { return };
    let mut child = start_child(&pulse);
    child.wait_for_text("the tone", PATIENCE, tells_of_the_tone);
    for _ in 0..2 {
        child.forget();
        pulse.daemon().kill();
        child.wait_for_line("capture lost", PATIENCE);
        child.wait_for_line("playback lost", PATIENCE);
        child.forget();
        child.wait_for_line("consumed ", PATIENCE);
        let consumed = child.wait_for_text("consumed", PATIENCE, |line| {
            line.strip_prefix("consumed ")?.parse::<u32>().ok()
        });
        assert!(
            (30_000..=60_000).contains(&consumed),
            "a lost speaker takes sound at pace, not {consumed} in a second"
        );
        pulse.restart();
        child.wait_for_line("capture recovered", PATIENCE);
        child.wait_for_line("playback recovered", PATIENCE);
        child.forget();
        child.wait_for_text("the tone", PATIENCE, tells_of_the_tone);
    }
    let transcript = child.transcript();
    for told in ["capture lost", "playback lost", "capture recovered", "playback recovered"] {
        assert_eq!(transcript.matches(told).count(), 2, "{told}, once per death:\n{transcript}");
    }
}

#[test]
fn a_named_device_that_is_unplugged_is_told_once_and_used_again_when_it_is_back() {
    let name = "a_named_device_that_is_unplugged_is_told_once_and_used_again_when_it_is_back";
    let Some(pulse) = Pulse::start(name) else { return };
    let mut child = start_child(&pulse);
    child.wait_for_text("the tone", PATIENCE, tells_of_the_tone);
    for _ in 0..2 {
        child.forget();
        pulse.control(&["unload-module", "module-null-sink"]);
        child.wait_for_line("capture lost", PATIENCE);
        child.wait_for_line("playback lost", PATIENCE);
        child.forget();
        // It is looked for in vain meanwhile, and told no more.
        child.wait_for_line("consumed ", PATIENCE);
        child.wait_for_line("consumed ", PATIENCE);
        let sink = format!("sink_name={SPEAKER}");
        pulse.control(&["load-module", "module-null-sink", &sink, "rate=48000", "channels=1"]);
        child.wait_for_line("capture recovered", PATIENCE);
        child.wait_for_line("playback recovered", PATIENCE);
        child.forget();
        child.wait_for_text("the tone", PATIENCE, tells_of_the_tone);
    }
    let transcript = child.transcript();
    for told in ["capture lost", "playback lost", "capture recovered", "playback recovered"] {
        assert_eq!(
            transcript.matches(told).count(),
            2,
            "{told}, once per unplugging:\n{transcript}"
        );
    }
}

#[test]
fn a_sound_server_that_hangs_does_not_hold_up_who_closes_its_devices() {
    let name = "a_sound_server_that_hangs_does_not_hold_up_who_closes_its_devices";
    let Some(mut pulse) = Pulse::start(name) else { return };
    let mut child = start_child(&pulse);
    child.wait_for_text("the tone", PATIENCE, tells_of_the_tone);
    pulse.daemon().pause();
    child.type_line("close");
    let status = child.wait_for_exit(PATIENCE);
    pulse.daemon().resume();
    assert!(status.success(), "{}", child.transcript());
}

/// Plays a tone and tells, a line each, which devices there are, what happens to them, and every
/// second how loud it hears the tone and how much was consumed. A line on its standard input ends
/// it.
#[test]
#[ignore = "the other tests start it"]
fn child() {
    if std::env::var_os(IS_CHILD).is_none() {
        return;
    }
    for device in devices().unwrap() {
        let rank = if device.is_default { "default" } else { "other" };
        println!("{rank} {:?}: {} ({})", device.direction, device.name, device.description);
        assert!(device.direction == Direction::Input || !device.description.contains("monitor"));
    }
    let me = thread::current();
    let waker = Arc::new(move || me.unpark());
    let microphone = std::env::var(MICROPHONE).expect("the parent names it");
    let capture = Capture::open(&InputSpec::Device(Some(microphone)), None, waker.clone()).unwrap();
    let playback = Playback::open(&OutputSpec::Device(Some(SPEAKER.into())), waker).unwrap();
    let asked_to_close = thread::spawn(|| std::io::stdin().read_line(&mut String::new()).map(drop));
    let mut child = Child { capture, playback, written: 0, consumed: 0, heard: Vec::new() };
    let mut told_at = Instant::now();
    while !asked_to_close.is_finished() {
        thread::park_timeout(Duration::from_millis(100));
        child.move_sound();
        child.tell_events();
        if told_at.elapsed() >= Duration::from_secs(1) {
            child.tell_second(told_at.elapsed());
            told_at = Instant::now();
        }
    }
    let closing = Instant::now();
    drop(child);
    assert!(closing.elapsed() < Duration::from_secs(5), "closing took {:?}", closing.elapsed());
}

struct Child {
    capture: Capture,
    playback: Playback,
    written: usize,
    consumed: usize,
    heard: Vec<f32>,
}

impl Child {
    fn move_sound(&mut self) {
        let mut block = [0.0; 480];
        while self.capture.available() >= block.len() {
            assert_eq!(self.capture.read(&mut block), block.len());
            self.heard.extend(block);
        }
        while self.playback.queued() < AHEAD {
            for (at, sample) in block.iter_mut().enumerate() {
                let cycle = (self.written + at) as f32 * TONE_HZ / SAMPLE_RATE as f32;
                *sample = (TAU * cycle.fract()).sin() * TONE_LEVEL;
            }
            let taken = self.playback.write(&block);
            // The tone goes on over the whole seconds after which this would lose precision.
            self.written = (self.written + taken) % SAMPLE_RATE as usize;
            self.consumed += taken;
        }
    }

    fn tell_events(&mut self) {
        for (device, event) in
            [("capture", self.capture.poll_event()), ("playback", self.playback.poll_event())]
        {
            match event {
                Some(DeviceEvent::Lost { why }) => println!("{device} lost: {why}"),
                Some(DeviceEvent::Recovered) => println!("{device} recovered"),
                Some(other) => println!("{device}: {other:?}"),
                None => {}
            }
        }
    }

    fn tell_second(&mut self, length: Duration) {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (at, sample) in self.heard.iter().enumerate() {
            let angle = TAU * (TONE_HZ * at as f32 / SAMPLE_RATE as f32).fract();
            sine += sample * angle.sin();
            cosine += sample * angle.cos();
        }
        println!("heard {} samples, {} underruns", self.heard.len(), self.playback.underruns());
        println!(
            "level {:.3}",
            2.0 * (sine * sine + cosine * cosine).sqrt() / self.heard.len().max(1) as f32
        );
        println!("consumed {:.0}", self.consumed as f64 / length.as_secs_f64());
        self.consumed = 0;
        self.heard.clear();
    }
}
