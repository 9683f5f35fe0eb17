//! The recording that this program keeps of the room.

use std::path::Path;
use std::sync::Weak;
use std::sync::mpsc::TrySendError;

use voicemesh_common::lock;

use super::Room;
use crate::command::Command;
use crate::record::{RecordError, Recorder};

/// # Recording
impl Room {
    /// Begins a recording of the room in this folder, one file per speaker, as
    /// [`JoinOptions::record`] does at the join. Nothing is recorded before everyone in the room
    /// can see that it is on, which is when [`Snapshot::recording`] says so, a round trip to the
    /// server later; [`VoiceEvent::RecordingFailed`] says that it comes to nothing. Members whom
    /// the server has lost are left out until they are back. A recording that has begun goes on
    /// while the server is away: those who hear each other have seen it.
    ///
    /// Makes the folder and tries it out, which blocks for as long as the file system takes.
    ///
    /// # Errors
    ///
    /// See [`RecordError`].
    ///
    /// [`JoinOptions::record`]: crate::JoinOptions::record
    /// [`Snapshot::recording`]: crate::Snapshot::recording
    /// [`VoiceEvent::RecordingFailed`]: crate::VoiceEvent::RecordingFailed
    pub fn start_recording(&self, folder: impl AsRef<Path>) -> Result<(), RecordError> {
        let snapshot = self.inner.controls.shared.snapshot();
        if self.inner.is_gone() {
            return Err(RecordError::Left);
        }
        let mut recording = lock(&self.inner.recording);
        if recording.strong_count() > 0 {
            return Err(RecordError::AlreadyRecording);
        }
        if !(snapshot.connected && snapshot.server_answers) {
            return Err(RecordError::ServerAway);
        }
        let recorder = Recorder::start(folder.as_ref()).map_err(RecordError::Folder)?;
        let lease = recorder.lease();
        let sent = self.inner.controls.commands.try_send(Command::Record(Some(Box::new(recorder))));
        self.inner.controls.wake.wake();
        let (error, refused) = match sent {
            Ok(()) => {
                *recording = lease;
                return Ok(());
            }
            Err(TrySendError::Full(refused)) => (RecordError::Busy, refused),
            Err(TrySendError::Disconnected(refused)) => (RecordError::Left, refused),
        };
        if let Command::Record(Some(recorder)) = refused {
            // Dropped here, it would wait for the disk, up to three seconds.
            recorder.end_elsewhere();
        }
        Err(error)
    }

    /// Ends the recording, if one is kept. Another may begin at once. Waits a few milliseconds if
    /// 1024 commands wait for the engine: a recording must not go on unseen by this program.
    pub fn stop_recording(&self) {
        let mut recording = lock(&self.inner.recording);
        // The engine empties the queue every few milliseconds, or has ended.
        let _ = self.inner.controls.commands.send(Command::Record(None));
        *recording = Weak::new();
        self.inner.controls.wake.wake();
    }
}
