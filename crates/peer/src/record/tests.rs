use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use audiopus::coder::Decoder;
use audiopus::{Channels, SampleRate};
use ogg::PacketReader;
use voicemesh_audio::encode::{SpeechConfig, VoiceEncoder};
use voicemesh_audio::{BLOCK_SAMPLES, Block, FrameDuration};

use super::*;

const FRAME_MS: u64 = 20;

/// A folder of a test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("voicemesh-record-{}-{test}", std::process::id())))
    }

    /// Names and contents.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries =
            fs::read_dir(&self.0).expect("the folder").map(|entry| entry.expect("an entry").path());
        let name =
            |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        entries.map(|path| (name(&path), fs::read(&path).expect("readable"))).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn speaker(id: u32, name: &str) -> RecordedSpeaker {
    RecordedSpeaker { key: format!("{id:08x}-0000"), name: name.to_owned() }
}

/// Frames of a steady tone.
fn tone(frames: usize) -> Vec<Vec<u8>> {
    let mut speech =
        VoiceEncoder::new(SpeechConfig { frame: FrameDuration::Ms20, ..SpeechConfig::default() })
            .expect("an encoder");
    let mut encoded = Vec::new();
    let mut at = 0_u32;
    while encoded.len() < frames {
        let block: Block = std::array::from_fn(|index| {
            let seconds = f64::from(at + index as u32) / 48_000.0;
            ((seconds * 400.0 * std::f64::consts::TAU).sin() * 0.4) as f32
        });
        at += BLOCK_SAMPLES as u32;
        encoded.extend(speech.push(&block).expect("encoded").map(<[u8]>::to_vec));
    }
    encoded
}

/// What a player plays of a file: checked as RFC 7845 wants it, decoded, without the pre-skip.
fn played(file: &[u8]) -> Vec<f32> {
    let mut reader = PacketReader::new(Cursor::new(file));
    let head = reader.read_packet().expect("Ogg").expect("a head");
    assert!(
        head.first_in_stream() && head.last_in_page() && head.data.starts_with(b"OpusHead\x01\x01")
    );
    let pre_skip = usize::from(u16::from_le_bytes([head.data[10], head.data[11]]));
    let tags = reader.read_packet().expect("Ogg").expect("tags");
    assert!(tags.last_in_page() && tags.data.starts_with(b"OpusTags"));
    let mut decoder = Decoder::new(SampleRate::Hz48000, Channels::Mono).expect("a decoder");
    let (mut pcm, mut ended) = (Vec::new(), false);
    while let Some(packet) = reader.read_packet().expect("Ogg") {
        let mut samples = [0.0_f32; 5760];
        let input = audiopus::packet::Packet::try_from(&packet.data[..]).expect("a packet");
        let output = audiopus::MutSignals::try_from(&mut samples[..]).expect("a buffer");
        let length = decoder.decode_float(Some(input), output, false).expect("Opus");
        pcm.extend_from_slice(&samples[..length]);
        if packet.last_in_page() {
            assert_eq!(
                packet.absgp_page(),
                pcm.len() as u64,
                "pages tell the samples up to their end"
            );
        }
        ended = packet.last_in_stream();
    }
    assert!(ended, "the last page says that it is the last");
    pcm.split_off(pre_skip)
}

/// When it is loud, in milliseconds to 2.5 ms. What is concealed may be softer; so short a hole is
/// none.
fn loud(pcm: &[f32]) -> Vec<(u64, u64)> {
    let is_loud = |chunk: &[f32]| {
        chunk.iter().map(|sample| sample * sample).sum::<f32>() / chunk.len() as f32 > 0.004
    };
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for (place, chunk) in pcm.chunks(120).enumerate() {
        let ms = place as u64 * 5 / 2;
        match spans.last_mut() {
            _ if !is_loud(chunk) => {}
            Some((_, end)) if *end + 70 >= ms => *end = ms,
            _ => spans.push((ms, ms)),
        }
    }
    spans
}

fn is_near(spans: &[(u64, u64)], expected: &[(u64, u64)]) -> bool {
    let near = |found: u64, expected: u64| found.abs_diff(expected) <= 15;
    let both = spans.iter().zip(expected);
    spans.len() == expected.len()
        && both.clone().all(|(is, should)| near(is.0, should.0) && near(is.1, should.1))
}

/// proves: B-09
#[test]
fn files_begin_together_and_pauses_and_losses_keep_their_length() {
    let folder = Folder::new("aligned");
    let mut recorder = Recorder::start(&folder.0).expect("a folder");
    let (ada, ben) = (tone(150), tone(100));
    let mut arrivals = Vec::new();
    // Ada speaks for a second from 10 s on, pauses for two, speaks for two more; three of her
    // frames are lost at 13.2 s.
    for (number, frame) in ada.iter().enumerate() {
        let number = number as u64;
        let spoken_ms =
            if number < 50 { 10_000 + number * FRAME_MS } else { 12_000 + number * FRAME_MS };
        if !(60..63).contains(&number) {
            arrivals.push((
                spoken_ms + FRAME_MS,
                speaker(1, "Ada"),
                number,
                number == 49 || number == 149,
                frame,
            ));
        }
    }
    // Ben begins at 10.5 s; his frames take 0 to 60 ms and overtake each other.
    for (number, frame) in ben.iter().enumerate() {
        let number = number as u64;
        let late_ms = number * 37 % 61;
        arrivals.push((
            10_500 + (number + 1) * FRAME_MS + late_ms,
            speaker(2, "Ben"),
            number,
            number == 99,
            frame,
        ));
    }
    arrivals.sort_by_key(|(at_ms, ..)| *at_ms);
    for (at_ms, speaker, number, last, frame) in arrivals {
        recorder.frame(Duration::from_millis(at_ms), speaker, number, last, frame);
        assert_eq!(recorder.poll_failure(), None);
    }
    drop(recorder);

    let files = folder.files();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["Ada-00000001.opus", "Ben-00000002.opus"]);
    let ada = loud(&played(&files["Ada-00000001.opus"]));
    // What came after the loss is where it was spoken.
    assert!(is_near(&ada, &[(0, 1_000), (3_000, 5_000)]), "{ada:?}");
    let ben = loud(&played(&files["Ben-00000002.opus"]));
    assert!(is_near(&ben, &[(500, 2_500)]), "{ben:?}");
}

#[test]
fn a_file_gets_its_name_when_it_is_finished() {
    let folder = Folder::new("part");
    let mut recorder = Recorder::start(&folder.0).expect("a folder");
    recorder.frame(Duration::from_secs(1), speaker(1, "Ada"), 0, true, &tone(1)[0]);
    let begun = std::time::Instant::now();
    let names = || folder.files().into_keys().collect::<Vec<String>>();
    while names() != ["Ada-00000001.opus.part"] {
        assert!(begun.elapsed() < LEAVE_TIMEOUT, "{:?}", names());
        std::thread::yield_now();
    }
    // One that comes meanwhile keeps its name and its content.
    fs::write(folder.0.join("Ada-00000001.opus"), "another").expect("written");
    drop(recorder);
    assert_eq!(names(), ["Ada-00000001-2.opus", "Ada-00000001.opus"]);
    assert_eq!(folder.files()["Ada-00000001.opus"], b"another");
    assert!(!played(&folder.files()["Ada-00000001-2.opus"]).is_empty());
}

#[test]
fn what_is_there_already_stays_as_it_is() {
    let folder = Folder::new("again");
    for _ in 0..3 {
        let mut recorder = Recorder::start(&folder.0).expect("a folder");
        recorder.frame(Duration::from_secs(1), speaker(1, "Ada"), 0, true, &tone(1)[0]);
    }
    let files = folder.files();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["Ada-00000001-2.opus", "Ada-00000001-3.opus", "Ada-00000001.opus"]);
    assert!(files.values().all(|file| played(file).len() == 2 * 960 - 312));
}

/// All causes, one after the other: the compiler wants each here.
fn after(error: Option<&RecordError>) -> Option<RecordError> {
    Some(match error {
        None => RecordError::ServerAway,
        Some(RecordError::ServerAway) => RecordError::Folder(
            Recorder::start(std::path::Path::new("/dev/null/x")).expect_err("no folder"),
        ),
        Some(RecordError::Folder(_)) => RecordError::AlreadyRecording,
        Some(RecordError::AlreadyRecording) => RecordError::Busy,
        Some(RecordError::Busy) => RecordError::Left,
        Some(RecordError::Left) => return None,
    })
}

#[test]
fn each_cause_that_keeps_a_recording_from_beginning_says_what_next() {
    for error in std::iter::successors(after(None), |error| after(Some(error))) {
        let step = match &error {
            RecordError::ServerAway => "; try again once it answers",
            RecordError::Folder(_) => "; name another folder",
            RecordError::AlreadyRecording => "; end that one first",
            RecordError::Busy => "; try again in a moment",
            RecordError::Left => "; join it again",
        };
        crate::words::assert_says_what_next(&error, step);
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_at_once() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "a file").expect("written");
    let failure = Recorder::start(&folder.0).expect_err("no folder");
    assert!(failure.words().contains("voicemesh-record-"), "{failure}");
    let _ = fs::remove_file(&folder.0);
}

#[test]
fn a_folder_that_goes_away_ends_the_recording_and_is_told_once() {
    let folder = Folder::new("gone");
    let mut recorder = Recorder::start(&folder.0).expect("a folder");
    fs::remove_dir_all(&folder.0).expect("removed");
    let frame = &tone(1)[0];
    let mut number = 0;
    let failure = loop {
        number += 1;
        recorder.frame(Duration::from_secs(number), speaker(1, "Ada"), number, true, frame);
        if let Some(failure) = recorder.poll_failure() {
            break failure;
        }
        std::thread::yield_now();
    };
    assert!(failure.contains("takes no more"), "{failure}");
    recorder.frame(Duration::from_secs(number), speaker(1, "Ada"), number + 1, true, frame);
    assert_eq!(recorder.poll_failure(), None);
}

#[test]
fn of_very_many_speakers_each_has_a_file_and_few_are_open() {
    let folder = Folder::new("many");
    let mut recorder = Recorder::start(&folder.0).expect("a folder");
    let frame = &tone(1)[0];
    let speakers = MOST_OPEN as u32 + 20;
    for id in 0..speakers {
        recorder.frame(
            Duration::from_millis(u64::from(id) * 20),
            speaker(id, "Guest"),
            0,
            true,
            frame,
        );
        assert!(recorder.tracks.len() <= MOST_OPEN);
    }
    assert_eq!(recorder.poll_failure(), None);
    drop(recorder);
    assert_eq!(folder.files().len(), speakers as usize);
}

#[test]
fn a_disk_that_is_too_slow_ends_the_recording_and_delays_nothing() {
    let (jobs, queue) = sync_channel(8);
    let (failure, failures) = sync_channel(1);
    let (finished, done) = sync_channel(0);
    let mut recorder = Recorder::over(jobs, failures, done);
    let frame = &tone(1)[0];
    let told = (0..20).find_map(|number| {
        recorder.frame(Duration::from_secs(number), speaker(1, "Ada"), number, true, frame);
        recorder.poll_failure().map(|why| (number, why))
    });
    let (number, why) = told.expect("told");
    assert!(number >= 2 && why.contains("as fast as people speak"), "{number}: {why}");
    assert_eq!(
        (recorder.poll_failure(), queue.try_iter().count()),
        (None, 8),
        "told once, and no more than fits"
    );
    drop((finished, failure));
}

#[test]
fn a_recording_that_is_ended_elsewhere_does_not_keep_its_caller_waiting_for_the_disk() {
    let (jobs, _queue) = sync_channel(QUEUE);
    let (_failure, failures) = sync_channel(1);
    let (finished, done) = sync_channel(0);
    let recorder = Recorder::over(jobs, failures, done);
    let lease = recorder.lease();
    let begun = std::time::Instant::now();

    recorder.end_elsewhere();

    assert!(
        begun.elapsed() < LEAVE_TIMEOUT,
        "the writer has not finished, and the caller waited for it"
    );
    assert_eq!(lease.strong_count(), 0, "another recording may begin at once");
    drop(finished);
}
