//! The recording of the room that this peer keeps: the others see it first, then it begins.
//!
//! It is announced by the status and by a transaction that the server answers (PROTOCOL.md, section
//! 4). Nothing is recorded before that answer; the announcement of a recording from the beginning
//! is the join itself. Members whom the server had lost then are left out until they are back: a
//! link may carry their speech, but not the announcement. While the server is away a recording that
//! has begun goes on: those who are linked have seen it, and those who come later are introduced by
//! the server, which has it from the next join.

use std::time::Duration;

use voicemesh_mesh::{Member, MetadataScope, TransactionError, TransactionId};
use voicemesh_session::client::Participant;
use voicemesh_wire::signaling::ErrorCode;

use super::recording_state::{ANNOUNCED_WITHIN, Announcement, FIRST_ANNOUNCEMENT, State};
use super::{RECORDING, RoomWorker};
use crate::event::{Event, RoomEvent, VoiceEvent};
use crate::record::{RecordedSpeaker, Recorder};

impl RoomWorker {
    /// Hands what was sent and received to the recording. A failure is reported once, to the
    /// program and to everyone in the room.
    pub(super) fn record(&mut self, now: Duration) {
        if let Some(why) = self.recording.ended.as_mut().and_then(Recorder::poll_failure) {
            // Another may be running: that one goes on.
            self.report(
                now,
                Event::Room(RoomEvent::Warned {
                    code: ErrorCode::Other("recording".to_owned()),
                    message: why,
                    text: None,
                }),
            );
        }
        match &mut self.recording.state {
            State::Off => {}
            State::Announced { recorder, by } => {
                let by = *by;
                let why = recorder.poll_failure().or_else(|| self.not_announced(now, by));
                self.end_recording_because(now, why);
            }
            State::On(recorder) => {
                while let Some(frame) = self.engine.poll_frame() {
                    let mesh = &self.engine.network().mesh;
                    let (key, name) = match frame.from {
                        None => (mesh.you().to_string(), self.name.clone()),
                        Some(Participant::Peer(peer)) => {
                            let member = mesh.member(peer);
                            if self.recording.unaware.contains(&peer) {
                                if member.is_none_or(Member::is_lost) {
                                    continue;
                                }
                                self.recording.unaware.remove(&peer);
                            }
                            (
                                peer.to_string(),
                                member.map(|member| member.name.clone()).unwrap_or_default(),
                            )
                        }
                        // The application does not know clients that are not in the roster.
                        Some(Participant::Client(..)) => continue,
                    };
                    let speaker = RecordedSpeaker { key, name };
                    recorder.frame(now, speaker, frame.sequence, frame.pause_follows, &frame.frame);
                }
                let why = recorder.poll_failure();
                self.end_recording_because(now, why);
            }
        }
    }

    /// Begins a recording once the others see it. The handle lets none begin while another is kept.
    pub(super) fn start_recording(&mut self, now: Duration, recorder: Recorder) {
        if !self.server_answers() {
            recorder.end_elsewhere();
            let why = crate::RecordError::ServerAway.to_string();
            return self.report(now, Event::Voice(VoiceEvent::RecordingFailed { why }));
        }
        self.stop_recording(now);
        let id = self.announce_by_transaction(now, true);
        let by = Announcement::Transaction { id, until: now + ANNOUNCED_WITHIN };
        self.recording.state = State::Announced { recorder, by };
    }

    /// Ends the recording, if there is one. The others see that as soon as the server passes it on.
    pub(super) fn stop_recording(&mut self, now: Duration) {
        let recorder = match std::mem::take(&mut self.recording.state) {
            State::Off => return,
            State::On(recorder) => {
                self.report(now, Event::Voice(VoiceEvent::Recording { recording: false }));
                recorder
            }
            State::Announced { recorder, by: Announcement::Join } => recorder,
            State::Announced { recorder, by: Announcement::Transaction { id, .. } } => {
                // What announces must not be the last word: neither if it waits still, nor if it
                // was sent.
                if !self.engine.network_mut().mesh.withdraw(id) {
                    self.announce_by_transaction(now, false);
                }
                recorder
            }
        };
        self.engine.set_tapped(false);
        self.engine.network_mut().mesh.publish(now, [(RECORDING.to_owned(), None)].into());
        self.recording.end(recorder);
    }

    /// The server has let this peer in, and the others see what the join said.
    pub(super) fn joined_with_recording(&mut self, now: Duration) {
        if let State::Announced { by: Announcement::Join, .. } = self.recording.state {
            self.recording_is_seen(now);
        }
    }

    /// The answer to a transaction. False if it is none of an announcement, and so the program's.
    pub(super) fn announced(
        &mut self,
        now: Duration,
        transaction: TransactionId,
        result: &Result<(), TransactionError>,
    ) -> bool {
        if let State::Announced { by: Announcement::Transaction { id, .. }, .. } =
            self.recording.state
            && id == transaction
        {
            match result {
                Ok(()) => self.recording_is_seen(now),
                Err(error) => {
                    let why = format!("the others cannot see it: {}", error.message);
                    self.end_recording_because(now, Some(why));
                }
            }
        }
        transaction.0 >= FIRST_ANNOUNCEMENT
    }

    fn recording_is_seen(&mut self, now: Duration) {
        let members = self.engine.network().mesh.members();
        self.recording.unaware =
            members.filter(|member| member.is_lost()).map(|member| member.peer).collect();
        self.recording.state = match std::mem::take(&mut self.recording.state) {
            State::Announced { recorder, .. } | State::On(recorder) => {
                self.engine.set_tapped(true);
                State::On(recorder)
            }
            State::Off => return,
        };
        self.report(now, Event::Voice(VoiceEvent::Recording { recording: true }));
    }

    /// Why what was announced does not begin.
    fn not_announced(&self, now: Duration, by: Announcement) -> Option<String> {
        match by {
            Announcement::Transaction { until, .. } if now >= until || !self.server_answers() => {
                Some(crate::RecordError::ServerAway.to_string())
            }
            Announcement::Join | Announcement::Transaction { .. } => None,
        }
    }

    fn end_recording_because(&mut self, now: Duration, why: Option<String>) {
        if let Some(why) = why {
            self.stop_recording(now);
            // Who leaves knows that nothing more is recorded.
            if !self.flush.is_begun() {
                self.report(now, Event::Voice(VoiceEvent::RecordingFailed { why }));
            }
        }
    }

    /// By the metadata, for those who do not read the status. Transactions keep their order, over
    /// reconnections as well.
    fn announce_by_transaction(&mut self, now: Duration, is_on: bool) -> TransactionId {
        let id = TransactionId(FIRST_ANNOUNCEMENT + self.recording.announcements);
        self.recording.announcements += 1;
        let value = is_on.then(|| "on".to_owned());
        self.engine.network_mut().mesh.transact(
            now,
            id,
            MetadataScope::Own,
            [(RECORDING.to_owned(), value)].into(),
        );
        id
    }

    fn server_answers(&self) -> bool {
        self.engine.status().connected && self.engine.network().mesh.server_is_reached()
    }
}
