//! What a recording is given, and how it begins and ends.

use std::time::Duration;

use voicemesh_session::client::Who;

use super::{Engine, RECORDING};
use crate::event::Event;
use crate::record::{RecordedSpeaker, Recorder};

impl Engine {
    /// Hands what was sent and received to the recording. A failure is reported once, to the program and to everyone in
    /// the room.
    pub(super) fn record(&mut self, now: Duration) {
        let Some(recorder) = &mut self.recorder else { return };
        while let Some(frame) = self.comms.poll_frame() {
            let mesh = self.comms.network();
            let (key, name) = match frame.from {
                None => (mesh.you().to_string(), self.name.clone()),
                Some(Who::Peer(peer)) => {
                    (peer.to_string(), mesh.member(peer).map(|member| member.name.clone()).unwrap_or_default())
                }
                // The application does not know clients that are not in the roster.
                Some(Who::Client(..)) => continue,
            };
            let speaker = RecordedSpeaker { key, name };
            recorder.frame(now, speaker, frame.sequence, frame.pause_follows, &frame.frame);
        }
        if let Some(why) = recorder.poll_failure() {
            self.set_recorder(now, None);
            self.tell(now, Event::RecordingFailed { why });
        }
    }

    /// Begins or ends a recording. Everyone in the room sees it, by the status and, where that is not understood, the metadata.
    pub(super) fn set_recorder(&mut self, now: Duration, recorder: Option<Recorder>) {
        self.comms.set_tapped(recorder.is_some());
        let metadata = recorder.is_some().then(|| "on".to_owned());
        self.comms.network_mut().publish(now, [(RECORDING.to_owned(), metadata)].into());
        if let Some(mut ended) = std::mem::replace(&mut self.recorder, recorder) {
            ended.end_all();
            if let Some(earlier) = self.ended_recorder.replace(ended) {
                // It may wait for a disk, which this thread must not.
                let _ = std::thread::Builder::new().spawn(move || drop(earlier));
            }
        }
    }
}
