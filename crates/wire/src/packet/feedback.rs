//! What listeners tell a speaker: how well it is heard, and what its clock says.

use super::{DecodeError, Kind, begin};
use crate::cursor::{Reader, Writer};
use crate::{ClientId, SessionId};

/// How a listener received one speaker since its last report. It goes to that speaker alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptionReport {
    /// Who listens.
    pub sender: ClientId,
    /// Frames that should have come.
    pub expected: u16,
    /// Of them, those whose own packet did not come.
    pub lost: u16,
    /// Of them, those that could not be repaired either.
    pub unrepaired: u16,
    /// Frames lost in a row, on average, in sixteenths of a frame.
    pub loss_run_sixteenths: u16,
    /// How much the arrival times vary, in milliseconds.
    pub jitter_ms: u16,
    /// How long frames wait to be heard, in milliseconds.
    pub buffer_ms: u16,
}

impl ReceptionReport {
    /// Reads a ReceptionReport body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let report = Self {
            sender: ClientId(reader.u16()?),
            expected: reader.u16()?,
            lost: reader.u16()?,
            unrepaired: reader.u16()?,
            loss_run_sixteenths: reader.u16()?,
            jitter_ms: reader.u16()?,
            buffer_ms: reader.u16()?,
        };
        reader.end()?;
        if report.lost > report.expected || report.unrepaired > report.lost {
            return Err(DecodeError::BadValue);
        }
        Ok(report)
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::ReceptionReport, Some(session), 14);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        for field in [
            self.expected,
            self.lost,
            self.unrepaired,
            self.loss_run_sixteenths,
            self.jitter_ms,
            self.buffer_ms,
        ] {
            writer.u16(field);
        }
        packet
    }
}

/// "What time is it where you are?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockProbe {
    /// Who asks.
    pub sender: ClientId,
    /// When, by the asker's clock, in microseconds since any moment of its choice.
    pub asked_us: u64,
}

impl ClockProbe {
    /// Reads a ClockProbe body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let probe = Self { sender: ClientId(reader.u16()?), asked_us: reader.u64()? };
        reader.end()?;
        Ok(probe)
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::ClockProbe, Some(session), 10);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u64(self.asked_us);
        packet
    }
}

/// The answer to a [`ClockProbe`] (RFC 5905 §8's four times, the last of which the asker has
/// itself), and when one of the answerer's frames was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEcho {
    /// Who answers.
    pub sender: ClientId,
    /// As asked.
    pub asked_us: u64,
    /// When the probe arrived, by the answerer's clock.
    pub received_us: u64,
    /// When this leaves, by the answerer's clock.
    pub sent_us: u64,
    /// A frame that the answerer has sent lately, if any.
    pub captured: Option<Captured>,
}

/// When a frame was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The frame.
    pub sequence: u16,
    /// How long before [`ClockEcho::sent_us`] its first sample was, in microseconds.
    pub ago_us: u32,
}

/// In place of [`Captured::ago_us`]: nothing was sent lately.
const NOTHING_CAPTURED: u32 = u32::MAX;

impl ClockEcho {
    /// Reads a ClockEcho body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (sender, asked_us) = (ClientId(reader.u16()?), reader.u64()?);
        let (received_us, sent_us) = (reader.u64()?, reader.u64()?);
        let (sequence, ago_us) = (reader.u16()?, reader.u32()?);
        reader.end()?;
        if sent_us < received_us {
            return Err(DecodeError::BadValue);
        }
        let captured = (ago_us != NOTHING_CAPTURED).then_some(Captured { sequence, ago_us });
        Ok(Self { sender, asked_us, received_us, sent_us, captured })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::ClockEcho, Some(session), 32);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        for time in [self.asked_us, self.received_us, self.sent_us] {
            writer.u64(time);
        }
        let captured = self.captured.unwrap_or(Captured { sequence: 0, ago_us: NOTHING_CAPTURED });
        writer.u16(captured.sequence);
        writer.u32(captured.ago_us);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_counts_more_than_it_expected_is_refused() {
        let report = |lost, unrepaired| {
            let sender = ClientId(1);
            let (expected, loss_run_sixteenths, jitter_ms, buffer_ms) = (10, 0, 0, 0);
            let report = ReceptionReport {
                sender,
                expected,
                lost,
                unrepaired,
                loss_run_sixteenths,
                jitter_ms,
                buffer_ms,
            };
            ReceptionReport::decode(&report.encode(SessionId::new(1).unwrap())[7..])
        };
        assert_eq!(report(11, 0), Err(DecodeError::BadValue));
        assert_eq!(report(2, 3), Err(DecodeError::BadValue));
        assert!(report(10, 10).is_ok());
    }

    #[test]
    fn an_answer_that_left_before_the_question_came_is_refused() {
        let echo = ClockEcho {
            sender: ClientId(1),
            asked_us: 5,
            received_us: 8,
            sent_us: 7,
            captured: None,
        };
        assert_eq!(
            ClockEcho::decode(&echo.encode(SessionId::new(1).unwrap())[7..]),
            Err(DecodeError::BadValue)
        );
    }
}
