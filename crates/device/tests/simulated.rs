//! Microphones and speakers without hardware, in real time: every wait is for the waker.

use std::f32::consts::TAU;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use voicemesh_device::{
    Capture, Channels, DeviceError, InputSpec, OutputSpec, Playback, SAMPLE_RATE, STEP_SAMPLES,
    Waker,
};

const PATIENCE: Duration = Duration::from_secs(20);
const MONO: WavSpec = WavSpec {
    channels: 1,
    sample_rate: SAMPLE_RATE,
    bits_per_sample: 16,
    sample_format: SampleFormat::Int,
};

/// Counts what the waker says.
#[derive(Default)]
struct Wakes {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Wakes {
    fn waker(self: &Arc<Self>) -> Waker {
        let wakes = Arc::clone(self);
        Arc::new(move || {
            *wakes.count.lock().unwrap() += 1;
            wakes.changed.notify_all();
        })
    }

    /// Calls `done` at first and after each wake, until it is true.
    fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut count = self.count.lock().unwrap();
        loop {
            let before = *count;
            drop(count);
            if done() {
                return;
            }
            count = self.count.lock().unwrap();
            while *count == before {
                let rest = deadline.saturating_duration_since(Instant::now());
                assert!(!rest.is_zero(), "{what} did not happen");
                count = self.changed.wait_timeout(count, rest).unwrap().0;
            }
        }
    }
}

/// A file of this test, deleted at its end.
struct File(PathBuf);

impl File {
    fn named(name: &str) -> Self {
        static FILES: AtomicU64 = AtomicU64::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        Self(
            std::env::temp_dir()
                .join(format!("voicemesh-device-{}-{number}-{name}.wav", std::process::id())),
        )
    }

    fn write(name: &str, spec: WavSpec, samples: impl IntoIterator<Item = i32>) -> Self {
        let file = Self::named(name);
        let mut writer = WavWriter::create(&file.0, spec).unwrap();
        for sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        file
    }

    fn as_microphone(&self, looped: bool) -> InputSpec {
        InputSpec::Wav { path: self.0.clone(), looped }
    }

    fn as_speaker(&self) -> OutputSpec {
        OutputSpec::Wav(self.0.clone())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_file_that_is_there_already_stays_as_it_is() {
    let earlier = File::write("kept", MONO, [1, 2, 3]);
    let before = std::fs::read(&earlier.0).unwrap();
    let (second, third) = (numbered(&earlier, 2), numbered(&earlier, 3));
    for expected in [&second, &third] {
        assert_eq!(voicemesh_device::unused_wav(&earlier.0), expected.0);
        drop(Playback::open(&earlier.as_speaker(), std::sync::Arc::new(|| ())).unwrap());
        assert!(WavReader::open(&expected.0).is_ok(), "{}", expected.0.display());
        assert!(!unfinished(expected).exists(), "{}", expected.0.display());
    }
    assert!(std::fs::read(&earlier.0).unwrap() == before);
}

/// The file that is written when `file` is there.
fn numbered(file: &File, number: u32) -> File {
    let stem = file.0.file_stem().unwrap().to_str().unwrap();
    File(file.0.with_file_name(format!("{stem}-{number}.wav")))
}

fn heard(spec: &InputSpec, length: usize) -> Vec<f32> {
    let wakes = Arc::new(Wakes::default());
    let mut microphone = Capture::open(spec, None, wakes.waker()).unwrap();
    let mut heard = vec![0.0; length];
    let mut filled = 0;
    wakes.wait_until("enough sound", || {
        filled += microphone.read(&mut heard[filled..]);
        filled == length
    });
    heard
}

fn spoken(path: &Path) -> Vec<i16> {
    let reader = WavReader::open(path).unwrap();
    assert_eq!(reader.spec(), MONO);
    reader.into_samples().map(Result::unwrap).collect()
}

/// The amplitude of one frequency: half a cycle more or less than the window makes no difference in
/// these lengths.
fn level(samples: &[f32], hz: f32) -> f32 {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let angle = TAU * (hz * at as f32 / SAMPLE_RATE as f32).fract();
        sine += sample * angle.sin();
        cosine += sample * angle.cos();
    }
    2.0 * (sine * sine + cosine * cosine).sqrt() / samples.len() as f32
}

fn ramp(length: i32) -> impl Iterator<Item = i32> {
    (0..length).map(|at| (at * 7_919) % 65_536 - 32_768)
}

fn to_f32(samples: impl Iterator<Item = i32>) -> Vec<f32> {
    samples.map(|sample| sample as f32 / 32_768.0).collect()
}

#[test]
fn a_wav_microphone_gives_its_file_exactly_and_then_silence() {
    let file = File::write("exact", MONO, ramp(2_000));
    let heard = heard(&file.as_microphone(false), 3_000);
    assert_eq!(heard[..2_000], to_f32(ramp(2_000)));
    assert!(heard[2_000..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn a_looped_wav_microphone_begins_again_without_a_gap() {
    let file = File::write("looped", MONO, ramp(1_100));
    let twice = to_f32(ramp(1_100).chain(ramp(1_100)));
    assert_eq!(heard(&file.as_microphone(true), 2_200), twice);
}

#[test]
fn an_empty_looped_file_is_silence() {
    let file = File::write("empty", MONO, []);
    assert_eq!(heard(&file.as_microphone(true), 960), vec![0.0; 960]);
}

#[test]
fn another_rate_and_stereo_keep_frequency_and_level_and_length() {
    let spec = WavSpec { channels: 2, sample_rate: 44_100, ..MONO };
    let tone = (0..44_100)
        .map(|at| ((TAU * (1_000.0 * at as f32 / 44_100.0).fract()).sin() * 16_384.0) as i32);
    let file = File::write("stereo", spec, tone.flat_map(|sample| [sample, sample]));
    let heard = heard(&file.as_microphone(false), 48_480);
    let middle = &heard[4_800..43_200];
    let found = level(middle, 1_000.0);
    assert!((found / 0.5 - 1.0).abs() < 0.01, "level {found} where 0.5 was spoken");
    let power = middle.iter().map(|sample| sample * sample).sum::<f32>() / middle.len() as f32;
    assert!((power / 0.125 - 1.0).abs() < 0.02, "other frequencies beside: power {power}");
    assert!(
        heard[48_000 + 48..].iter().all(|sample| *sample == 0.0),
        "one second stays one second"
    );
    assert!(level(&heard[..480], 1_000.0) > 0.45, "and it begins at once");
}

#[test]
fn channels_that_agree_are_mixed_to_their_mean_and_of_others_the_loudest_is_heard() {
    let spec = WavSpec { channels: 2, bits_per_sample: 24, ..MONO };
    for (right, heard_level) in [(3_145_728, 0.4375), (-2_097_152, 0.5)] {
        let file = File::write("mixed", spec, (0..480).flat_map(|_| [4_194_304, right]));
        assert_eq!(heard(&file.as_microphone(false), 480), vec![heard_level; 480]);
    }
}

#[test]
fn a_tone_has_its_frequency_and_silence_is_silent() {
    let tone = heard(&InputSpec::Tone { hz: 1_000.0 }, 9_600);
    assert!((level(&tone, 1_000.0) - 0.25).abs() < 0.001);
    assert!(level(&tone, 2_000.0) < 0.001);
    assert_eq!(heard(&InputSpec::Silence, 960), vec![0.0; 960]);
}

#[test]
fn a_simulated_microphone_keeps_the_time_of_the_clock() {
    let began = Instant::now();
    heard(&InputSpec::Silence, 50 * STEP_SAMPLES);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "50 steps of 10 ms came in {took:?}");
    // The other side of the bound is the machine's: a held-up process may take longer.
}

#[test]
fn no_microphone_gives_no_samples() {
    let mut none =
        Capture::open(&InputSpec::Null, None, Arc::new(|| panic!("nothing was captured"))).unwrap();
    heard(&InputSpec::Silence, 960);
    assert_eq!(none.available(), 0);
    assert_eq!(none.read(&mut [0.0; 480]), 0);
}

#[test]
fn a_reader_that_stays_away_finds_the_oldest_second() {
    let wakes = Arc::new(Wakes::default());
    let second = SAMPLE_RATE as i32;
    let file = File::write("late", MONO, ramp(second + 4_800));
    let mut microphone = Capture::open(&file.as_microphone(false), None, wakes.waker()).unwrap();
    let mut steps = 0;
    wakes.wait_until("more than a second", || {
        steps += 1;
        steps > 115
    });
    assert_eq!(microphone.available(), SAMPLE_RATE as usize);
    let mut found = vec![0.0; SAMPLE_RATE as usize];
    assert_eq!(microphone.read(&mut found), found.len());
    assert_eq!(found, to_f32(ramp(second)));
}

#[test]
fn a_wav_speaker_holds_what_was_played() {
    let file = File::named("played");
    let wakes = Arc::new(Wakes::default());
    let mut speaker = Playback::open(&file.as_speaker(), wakes.waker()).unwrap();
    let sound = to_f32(ramp(4_800));
    assert_eq!(speaker.write(&sound), 4_800);
    wakes.wait_until("all played", || speaker.queued() == 0);
    drop(speaker);
    let written: Vec<i32> = spoken(&file.0).into_iter().map(i32::from).collect();
    let begin = written.iter().position(|sample| *sample != 0).expect("sound");
    assert_eq!(begin % STEP_SAMPLES, 0, "silence came in whole steps");
    assert_eq!(written[begin..begin + 4_800], ramp(4_800).collect::<Vec<_>>());
    assert!(
        written[begin + 4_800..].iter().all(|sample| *sample == 0),
        "silence when there is nothing to play"
    );
}

#[test]
fn a_wav_speaker_s_file_is_readable_before_it_is_finished_and_has_its_name_afterwards() {
    let file = File::named("unfinished");
    let part = unfinished(&file);
    let wakes = Arc::new(Wakes::default());
    let speaker = Playback::open(&file.as_speaker(), wakes.waker()).unwrap();
    assert_eq!(spoken(&part).len(), 0);
    wakes.wait_until("half a second in the file", || !spoken(&part).is_empty());
    assert_eq!(spoken(&part).len() % STEP_SAMPLES, 0);
    assert!(!file.0.exists(), "what has the name is whole");
    drop(speaker);
    assert!(!part.exists() && !spoken(&file.0).is_empty());
}

/// As it is called while it is written.
fn unfinished(file: &File) -> PathBuf {
    file.0.with_extension("wav.part")
}

#[test]
fn what_a_killed_program_left_behind_stays_and_a_file_that_came_meanwhile_too() {
    let left = File(unfinished(&File::write("killed", MONO, [])));
    let file = File(left.0.with_extension(""));
    std::fs::write(&left.0, "left behind").unwrap();
    let second = numbered(&file, 2);
    assert_eq!(voicemesh_device::unused_wav(&file.0), second.0);
    let speaker = Playback::open(&file.as_speaker(), Arc::new(|| ())).unwrap();
    std::fs::write(&second.0, "meanwhile").unwrap();
    drop(speaker);
    assert_eq!(std::fs::read(&left.0).unwrap(), b"left behind");
    assert_eq!(std::fs::read(&second.0).unwrap(), b"meanwhile");
    let third = numbered(&second, 2);
    assert!(WavReader::open(&third.0).is_ok(), "{}", third.0.display());
}

/// To open a pipe waits for a writer, who may never come.
#[cfg(unix)]
#[test]
fn a_pipe_is_refused_as_a_microphone_and_nothing_waits_for_who_writes_to_it() {
    let pipe = File::named("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe.0).status().unwrap();
    assert!(made.success());
    let heard = File::named("heard-beside-a-pipe");
    voicemesh_device::refuse_same_file(&pipe.as_microphone(false), &heard.as_speaker()).unwrap();
    let itself = voicemesh_device::refuse_same_file(&pipe.as_microphone(false), &pipe.as_speaker());
    assert!(itself.is_err());
    let refused = Capture::open(&pipe.as_microphone(false), None, Arc::new(|| ()));
    assert!(refused.err().unwrap().to_string().contains("pipe"));
}

#[test]
fn a_full_speaker_takes_no_more_and_says_so() {
    let wakes = Arc::new(Wakes::default());
    let mut speaker = Playback::open(&OutputSpec::Null, wakes.waker()).unwrap();
    let taken = speaker.write(&vec![0.5; 48_000]);
    assert!(
        (9_600..=9_600 + 2 * STEP_SAMPLES).contains(&taken),
        "200 ms, and what was consumed meanwhile: {taken}"
    );
    let queued = speaker.queued();
    assert!(queued <= 9_600);
    wakes.wait_until("a step", || speaker.queued() < queued);
}

#[test]
fn running_dry_is_counted_once_until_there_is_sound_again() {
    let wakes = Arc::new(Wakes::default());
    let mut speaker = Playback::open(&OutputSpec::Null, wakes.waker()).unwrap();
    let mut steps = 0;
    wakes.wait_until("steps without sound", || {
        steps += 1;
        steps > 5
    });
    assert_eq!(speaker.underruns(), 0, "nothing was ever to be played");
    for times in 1..=2 {
        assert_eq!(speaker.write(&[0.5; 2 * STEP_SAMPLES + 7]), 2 * STEP_SAMPLES + 7);
        wakes.wait_until("an underrun", || speaker.underruns() == times);
        let mut steps = 0;
        wakes.wait_until("more steps", || {
            steps += 1;
            steps > 5
        });
        assert_eq!(speaker.underruns(), times);
    }
}

#[test]
fn what_cannot_be_opened_is_told_in_a_sentence() {
    let nothing = || -> Waker { Arc::new(|| {}) };
    let missing = InputSpec::Wav { path: "/nowhere/at/all.wav".into(), looped: false };
    let error = Capture::open(&missing, None, nothing()).err().unwrap();
    assert!(matches!(error, DeviceError::BadWav { .. }), "{error:?}");
    assert!(error.to_string().contains("/nowhere/at/all.wav"), "{error}");

    let file = File::named("text");
    std::fs::write(&file.0, "this is no sound").unwrap();
    let error = Capture::open(&file.as_microphone(false), None, nothing()).err().unwrap();
    assert!(error.to_string().contains("no WAV file"), "{error}");

    let error =
        Playback::open(&OutputSpec::Wav("/nowhere/at/all.wav".into()), nothing()).err().unwrap();
    assert!(matches!(error, DeviceError::CannotWriteWav { .. }), "{error:?}");
}

#[test]
fn simulated_devices_count_what_they_move_and_a_corrected_one_gives_what_it_says() {
    let wakes = Arc::new(Wakes::default());
    let mut microphone =
        Capture::open(&InputSpec::Tone { hz: 440.0 }, None, wakes.waker()).unwrap();
    let speaker = Playback::open(&OutputSpec::Null, wakes.waker()).unwrap();
    let mut read = vec![0.0; SAMPLE_RATE as usize];
    let mut total = 0;
    wakes.wait_until("300 ms of both", || {
        total += microphone.read(&mut read) as u64;
        assert!(total <= microphone.samples_captured());
        microphone.samples_captured() >= 14_400 && speaker.samples_played() >= 14_400
    });
    assert_eq!(microphone.samples_captured() % STEP_SAMPLES as u64, 0);
    assert_eq!(speaker.samples_played() % STEP_SAMPLES as u64, 0);
    assert_eq!(microphone.conversion_delay(), Duration::ZERO);
    microphone.set_rate_correction(300.0);
    assert!(microphone.conversion_delay() > Duration::ZERO);
    assert!(microphone.conversion_delay() < Duration::from_millis(1));
    wakes.wait_until("300 ms at another pace", || {
        // More may come between the two calls, never less.
        let available = microphone.available();
        let given = microphone.read(&mut read);
        assert!(given >= available, "{given} of {available}");
        microphone.samples_captured() >= 28_800
    });
}

/// proves: B-11
#[test]
fn a_stereo_file_has_both_sides() {
    let file = File::named("stereo");
    let wakes = Arc::new(Wakes::default());
    let mut speaker =
        Playback::open_with(&file.as_speaker(), Channels::Stereo, wakes.waker()).unwrap();
    let (left, right) = ([0.5; STEP_SAMPLES], [-0.25; STEP_SAMPLES]);
    assert_eq!(speaker.write_stereo(&left, &right), STEP_SAMPLES);
    assert_eq!(speaker.write(&left), STEP_SAMPLES);
    wakes.wait_until("both blocks", || speaker.queued() == 0);
    drop(speaker);
    let reader = WavReader::open(&file.0).unwrap();
    assert_eq!(reader.spec().channels, 2);
    let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
    let played: Vec<(i16, i16)> =
        samples.chunks_exact(2).map(|frame| (frame[0], frame[1])).collect();
    let begin = played.iter().position(|frame| *frame != (0, 0)).unwrap();
    assert!(played[begin..begin + STEP_SAMPLES].iter().all(|frame| *frame == (16_384, -8_192)));
    assert!(
        played[begin + STEP_SAMPLES..begin + 2 * STEP_SAMPLES]
            .iter()
            .all(|frame| *frame == (16_384, 16_384))
    );
}

/// proves: B-11
#[test]
fn what_a_program_captured_itself_comes_out_at_48_khz_and_no_more_than_fits() {
    let wakes = Arc::new(Wakes::default());
    let (mut microphone, mut feed) = Capture::of_program(44_100, wakes.waker()).unwrap();
    let tone: Vec<f32> =
        (0..22_050).map(|at| 0.5 * (TAU * 441.0 * at as f32 / 44_100.0).sin()).collect();
    assert!(tone.chunks(100).all(|piece| feed.write(piece) == piece.len()));
    assert_eq!(*wakes.count.lock().unwrap(), 50, "once for each 10 ms");
    let mut heard = vec![0.0; microphone.available()];
    assert!((23_000..=24_000).contains(&heard.len()), "{}", heard.len());
    microphone.read(&mut heard);
    assert!((level(&heard[4_800..19_200], 441.0) - 0.5).abs() < 0.01);
    assert_eq!(feed.write(&[f32::NAN; 100_000]), 44_100, "a second waits, and no more");
    let mut silence = vec![1.0; 24_000];
    microphone.read(&mut silence);
    assert!(silence[4_800..].iter().all(|sample| sample.abs() < 1e-3), "no number is silence");
    assert!(
        Capture::of_program(7_999, wakes.waker()).is_err()
            && Capture::of_program(0, wakes.waker()).is_err()
    );
}
