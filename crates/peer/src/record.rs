//! Recordings of a room: one Ogg/Opus file for each who speaks, of the very frames that came, and
//! all on one time.
//!
//! The files begin together, with the first frame of any speaker, so that the same moment of all
//! files is the same moment of the room. [`timeline`] decides where each frame stands, and does no
//! I/O; a separate thread writes the files, so that speech never waits for a disk. Lost frames are
//! not repaired: a redundant copy in a later packet arrives as a separate frame, and Opus' own
//! repair would mean to encode again.

mod file;
mod opus;
mod timeline;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use voicemesh_device::{Cause, DeviceError};

use timeline::{Piece, Timeline};
use writer::{Job, Writer};

/// Speakers whose files are open. When there are more, the file of the one silent longest is
/// closed; it gets a new file when it speaks again.
const MOST_OPEN: usize = 128;
/// Pieces that the disk has not taken: about a minute of four who speak at once. When there are
/// more, the recording ends.
const QUEUE: usize = 12_000;
/// Frames that wait for others are looked at this often.
const RIPEN_EVERY: Duration = Duration::from_millis(100);
/// How long the end waits for the disk.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSpeaker {
    /// By which it is known; its first characters stand in the file's name.
    pub key: String,
    /// The display name, which stands there, too.
    pub name: String,
}

/// Why a recording does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The server is out of reach, and the others could not see that they are recorded. Try again
    /// once it answers.
    #[error(
        "the server is out of reach, and the others could not see that they are recorded; try again once it answers"
    )]
    ServerAway,
    /// Nothing can be written to the folder; the sentence says why. Name another.
    #[error(transparent)]
    Folder(Cause),
    /// A recording is kept already. End that one first.
    #[error("a recording is kept already; end that one first")]
    AlreadyRecording,
    /// The engine has more to do than it manages; try again in the next frame.
    #[error("too many commands wait; try again in a moment")]
    Busy,
    /// This peer has left.
    #[error("this peer has left the room; join it again")]
    Left,
}

/// A recording. Dropping it finishes all files.
#[derive(Debug)]
pub struct Recorder {
    /// Held until it ends: another recording cannot begin before.
    lease: Option<Arc<()>>,
    state: State,
    failures: Receiver<String>,
    /// Disconnected when the writer has finished.
    done: Receiver<()>,
    began: Option<Duration>,
    tracks: BTreeMap<String, Track>,
    next_file: u32,
    ripen_at: Duration,
    /// Reused from frame to frame.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum State {
    Running(SyncSender<Job>),
    /// With what is to be told, until it has been.
    Failed(Option<String>),
}

#[derive(Debug)]
struct Track {
    file: u32,
    timeline: Timeline,
    heard_at: Duration,
}

impl Recorder {
    /// Begins a recording in a folder, which is made if it is not there. Files that are in it stay
    /// as they are; new ones of the same name get a number.
    ///
    /// # Errors
    ///
    /// A sentence, when nothing can be written there.
    pub fn start(folder: &Path) -> Result<Self, Cause> {
        let sentence = |error: std::io::Error| {
            Cause::of_file(error).said_as(|why| {
                format!(
                    "nothing can be written to {}: {why}; name another folder",
                    folder.display()
                )
            })
        };
        if folder.is_file() {
            let why = format!(
                "{} is a file, and a recording needs a folder; name a folder",
                folder.display()
            );
            return Err(why.into());
        }
        std::fs::create_dir_all(folder).map_err(sentence)?;
        writer::try_out(folder).map_err(sentence)?;
        let (jobs, queue) = sync_channel(QUEUE);
        let (failure, failures) = sync_channel(1);
        let (finished, done) = sync_channel(0);
        let writer = Writer::new(folder);
        let thread = move || {
            writer.run(&queue, &failure);
            drop(finished);
        };
        std::thread::Builder::new().name("voicemesh-recorder".to_owned()).spawn(thread).map_err(
            |error| {
                let no_thread = DeviceError::NoThread(Cause::of_system(error));
                Cause::new(no_thread.to_string(), no_thread)
            },
        )?;
        Ok(Self::over(jobs, failures, done))
    }

    fn over(jobs: SyncSender<Job>, failures: Receiver<String>, done: Receiver<()>) -> Self {
        Self {
            lease: Some(Arc::default()),
            state: State::Running(jobs),
            failures,
            done,
            began: None,
            tracks: BTreeMap::new(),
            next_file: 0,
            ripen_at: Duration::ZERO,
            pieces: Vec::new(),
        }
    }

    /// Takes a frame as it arrives, or as the own microphone gives it: each once, in any order,
    /// copies of lost ones included. `sequence` goes on through pauses; `pause_follows` marks the
    /// last one before a pause.
    pub fn frame(
        &mut self,
        now: Duration,
        speaker: RecordedSpeaker,
        sequence: u64,
        pause_follows: bool,
        frame: &[u8],
    ) {
        let State::Running(_) = self.state else { return };
        let Some(samples) = opus::samples(frame) else { return };
        let length = Duration::from_nanos(samples * 1_000_000_000 / opus::RATE);
        let began = *self.began.get_or_insert(now.saturating_sub(length));
        let mut pieces = std::mem::take(&mut self.pieces);
        let track = self.track(now, began, speaker);
        track.heard_at = now;
        track.timeline.push(now, sequence, pause_follows, frame, &mut pieces);
        let file = track.file;
        self.write(file, &mut pieces);
        self.pieces = pieces;
        self.ripen(now);
    }

    /// Why the recording has ended early, told once. Nothing is recorded from then on.
    pub fn poll_failure(&mut self) -> Option<String> {
        if let Ok(failure) = self.failures.try_recv() {
            self.state = State::Failed(Some(failure));
            self.tracks.clear();
        }
        match &mut self.state {
            State::Running(_) => None,
            State::Failed(why) => why.take(),
        }
    }

    fn track(&mut self, now: Duration, began: Duration, speaker: RecordedSpeaker) -> &mut Track {
        let RecordedSpeaker { key, name } = speaker;
        if !self.tracks.contains_key(&key) {
            if self.tracks.len() >= MOST_OPEN {
                self.end_the_most_silent();
            }
            self.next_file += 1;
            self.send(Job::Begin { file: self.next_file, key: key.clone(), name });
        }
        let file = self.next_file;
        self.tracks.entry(key).or_insert_with(|| Track {
            file,
            timeline: Timeline::new(began),
            heard_at: now,
        })
    }

    fn end_the_most_silent(&mut self) {
        let Some(key) =
            self.tracks.iter().min_by_key(|(_, track)| track.heard_at).map(|(key, _)| key.clone())
        else {
            return;
        };
        if let Some(track) = self.tracks.remove(&key) {
            self.end(track);
        }
    }

    fn end(&mut self, mut track: Track) {
        let mut pieces = Vec::new();
        track.timeline.finish(&mut pieces);
        self.write(track.file, &mut pieces);
        self.send(Job::End { file: track.file });
    }

    /// Frames of those from whom nothing has come lately.
    fn ripen(&mut self, now: Duration) {
        if now < self.ripen_at {
            return;
        }
        self.ripen_at = now + RIPEN_EVERY;
        let mut tracks = std::mem::take(&mut self.tracks);
        let mut pieces = std::mem::take(&mut self.pieces);
        for track in tracks.values_mut() {
            track.timeline.ripen(now, &mut pieces);
            self.write(track.file, &mut pieces);
        }
        (self.tracks, self.pieces) = (tracks, pieces);
    }

    fn write(&mut self, file: u32, pieces: &mut Vec<Piece>) {
        for piece in pieces.drain(..) {
            self.send(Job::Piece { file, piece });
        }
    }

    fn send(&mut self, job: Job) {
        let State::Running(jobs) = &self.state else { return };
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let why = "the disk does not take it as fast as people speak".to_owned();
                self.state = State::Failed(Some(why));
            }
            // The writer has told why it ended, or is about to.
            Err(TrySendError::Disconnected(_)) => {
                let why = self
                    .failures
                    .recv_timeout(LEAVE_TIMEOUT)
                    .unwrap_or_else(|_| "its writer has ended".to_owned());
                self.state = State::Failed(Some(why));
            }
        }
    }
}

impl Recorder {
    /// Alive until the recording ends, for whatever reason.
    pub(crate) fn lease(&self) -> Weak<()> {
        self.lease.as_ref().map_or_else(Weak::new, Arc::downgrade)
    }

    /// Ends all files, and does not wait for the disk. Nothing is recorded from then on.
    pub fn end_all(&mut self) {
        self.lease = None;
        for track in std::mem::take(&mut self.tracks).into_values() {
            self.end(track);
        }
        // What went wrong before is still to be told.
        if let State::Running(_) = self.state {
            self.state = State::Failed(None);
        }
    }

    /// Ends all files on a thread that waits for the disk, and returns at once.
    pub(crate) fn end_elsewhere(mut self) {
        self.end_all();
        let _ = std::thread::Builder::new()
            .name("voicemesh-recorder-end".to_owned())
            .spawn(move || drop(self));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end_all();
        // Nothing is ever sent: the writer lets go of its end when all is on the disk.
        let _ = self.done.recv_timeout(LEAVE_TIMEOUT);
    }
}

#[cfg(test)]
mod tests;
