//! What listeners and speakers tell each other beside speech: reports, and what time it is.

use std::fmt::Debug;
use std::time::Duration;

use voicemesh_audio::decode::Reception;
use voicemesh_session::client::Participant;
use voicemesh_wire::packet::{Captured, ClockEcho, ClockProbe, ReceptionReport};

use crate::VoiceEngine;

/// A clock answers everyone together at most so often in a second, in bursts of as many: enough for
/// a full room, and no help to a flood.
const ANSWERS_PER_SECOND: u32 = 200;
/// A frame older than this is not told of: its number may have wrapped.
const CAPTURED_LIFE: Duration = Duration::from_secs(60);

/// Answers take at most this share of an uplink that is known to be narrow.
const ANSWERS_SHARE: u32 = 25;
/// An answer on the wire, with its acknowledgement.
const ANSWER_BITS: u32 = 1_600;

impl<P: Copy + Ord + Debug> VoiceEngine<P> {
    /// Sends reception reports to speakers, and clock probes.
    pub(crate) fn send_reception_reports(&mut self, now: Duration) {
        let Some(client) = self.role.client_mut() else { return };
        for (who, reception) in self.playout.reports(now) {
            if client.roster().abilities(who.peer()).takes_reports {
                client.send_to(who, |session, sender| report(&reception, sender).encode(session));
            }
        }
        for (who, asked_us) in self.playout.poll_probes(now) {
            if client.roster().abilities(who.peer()).takes_reports {
                client.send_to(who, |session, sender| {
                    ClockProbe { sender, asked_us }.encode(session)
                });
            }
        }
    }

    /// Answers a clock probe.
    pub(crate) fn answer_clock_probe(&mut self, now: Duration, who: Participant<P>, asked_us: u64) {
        let listeners = self.client().map_or(0, |client| client.last_audience().len());
        let narrow = self.feedback.uplink().estimate_bps;
        let most =
            narrow.map_or(ANSWERS_PER_SECOND, |bps| (bps / ANSWERS_SHARE / ANSWER_BITS).max(1));
        let takes_reports =
            self.client().is_some_and(|client| client.roster().abilities(who.peer()).takes_reports);
        if !takes_reports || !self.answers.allow(now, who, most.min(ANSWERS_PER_SECOND), listeners)
        {
            return;
        }
        let Some(client) = self.role.client_mut() else { return };
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let captured = self.captured.map(|(sequence, at)| (sequence, now.saturating_sub(at)));
        let captured = captured.filter(|(_, ago)| *ago < CAPTURED_LIFE);
        let captured =
            captured.map(|(sequence, ago)| Captured { sequence, ago_us: micros(ago) as u32 });
        let (received_us, sent_us) = (micros(now), micros(now));
        client.send_to(who, |session, sender| {
            ClockEcho { sender, asked_us, received_us, sent_us, captured }.encode(session)
        });
    }
}

fn report(reception: &Reception, sender: voicemesh_wire::ClientId) -> ReceptionReport {
    let count = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    let expected = count(reception.expected);
    let lost = count(reception.lost).min(expected);
    ReceptionReport {
        sender,
        expected,
        lost,
        unrepaired: count(reception.unrepaired).min(lost),
        loss_run_sixteenths: (reception.mean_loss_run * 16.0).clamp(0.0, 65_535.0) as u16,
        jitter_ms: reception.jitter_ms.clamp(0.0, 65_535.0) as u16,
        buffer_ms: reception.buffer_ms.clamp(0.0, 65_535.0) as u16,
    }
}
