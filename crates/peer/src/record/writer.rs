//! The thread that writes the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use voicemesh_device::{file_words, unfinished};

use super::file::{OggOpus, create, rename};
use super::timeline::Piece;

/// Files are looked at this often for what has waited long enough.
const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// What is written and removed again to see whether there is room: about a second of speech.
const TRIAL_BYTES: usize = 4096;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Job {
    /// A file for a speaker.
    Begin {
        /// The number by which it is known from here on.
        file: u32,
        key: String,
        name: String,
    },
    /// The next part of its stream.
    Piece { file: u32, piece: Piece },
    /// Nothing more comes.
    End { file: u32 },
}

/// The open files.
pub(super) struct Writer {
    folder: PathBuf,
    open: BTreeMap<u32, Open>,
}

struct Open {
    /// What it is called when it is finished.
    path: PathBuf,
    stream: OggOpus<File>,
}

impl Writer {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: BTreeMap::new() }
    }

    /// Works until nothing more can come, or the disk takes no more; says why in a sentence then.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, failure: &SyncSender<String>) {
        if let Err(error) = self.work(jobs) {
            let why = format!("{} takes no more: {}", self.folder.display(), file_words(&error));
            // There is room for one, and this is the only one.
            let _ = failure.try_send(why);
            self.end_as_it_is();
        }
    }

    fn work(&mut self, jobs: &Receiver<Job>) -> io::Result<()> {
        let mut flush_at = Instant::now() + FLUSH_EVERY;
        loop {
            match jobs.recv_timeout(flush_at.saturating_duration_since(Instant::now())) {
                Ok(job) => self.job(job)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if now >= flush_at {
                flush_at = now + FLUSH_EVERY;
                self.open.values_mut().try_for_each(|file| file.stream.flush(now))?;
            }
        }
        while let Some(file) = self.open.keys().next().copied() {
            self.end(file)?;
        }
        Ok(())
    }

    fn job(&mut self, job: Job) -> io::Result<()> {
        let now = Instant::now();
        match job {
            Job::Begin { file, key, name } => {
                let (path, sink) = create(&self.folder, &name, &key)?;
                tracing::debug!(?path, "a recording begins");
                match OggOpus::begin(sink, file, &name) {
                    Ok(stream) => drop(self.open.insert(file, Open { path, stream })),
                    Err(error) => {
                        remove(&unfinished(&path));
                        return Err(error);
                    }
                }
            }
            Job::Piece { file, piece } => {
                if let Some(Open { stream, .. }) = self.open.get_mut(&file) {
                    match piece {
                        Piece::Silence(samples) => stream.silence(now, samples)?,
                        Piece::Packet { packet, samples } => stream.packet(now, packet, samples)?,
                    }
                }
            }
            Job::End { file } => self.end(file)?,
        }
        Ok(())
    }

    fn end(&mut self, file: u32) -> io::Result<()> {
        let Some(open) = self.open.get_mut(&file) else { return Ok(()) };
        open.stream.finish()?;
        // Closed before it is renamed.
        let Some(Open { path, stream }) = self.open.remove(&file) else { return Ok(()) };
        drop(stream);
        rename(&path)
    }

    /// Leaves files that players can play to the end, and none without sound.
    fn end_as_it_is(&mut self) {
        for Open { path, mut stream } in std::mem::take(&mut self.open).into_values() {
            let is_playable = stream.finish().is_ok() || stream.end_as_it_is();
            drop(stream);
            if !is_playable {
                remove(&unfinished(&path));
            } else if let Err(error) = rename(&path) {
                tracing::debug!(?path, %error, "a recording keeps the name of one that is written");
            }
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(?path, %error, "an empty recording stays");
    }
}

/// Whether the folder can be written to at all, better known before anybody speaks. A full disk
/// takes an empty file.
pub(super) fn try_out(folder: &Path) -> io::Result<()> {
    let (path, mut file) = create(folder, "voicemesh", "writable")?;
    let written = file.write_all(&[0; TRIAL_BYTES]);
    drop(file);
    std::fs::remove_file(unfinished(&path)).and(written)
}
