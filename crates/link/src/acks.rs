//! Sends fewer SCTP acknowledgements than the stack makes.
//!
//! The stack acknowledges every second packet (RFC 9260 §6.2), each acknowledgement in a separate
//! datagram: with one voice packet every 20 ms a listener that says nothing sends 25 of them a
//! second. They are cumulative, so a later one makes an earlier one superfluous; a network may lose
//! them at any time. A socket therefore holds an acknowledgement back for up to [`HOLD`], and sends
//! only the latest. Not held back is an acknowledgement that reports missing packets, nor one of
//! much or large data, whose sender waits for it.
//!
//! The same goes for FORWARD TSN (RFC 3758), 20 bytes: the stack answers every acknowledgement with
//! one while a lost packet is given up, and every outdated one with an acknowledgement, so that on
//! a long lossy way they would beget each other by the hundred a second. One each [`FORWARD_HOLD`]
//! is sent.
//!
//! Datagrams are encrypted, so an acknowledgement is recognized by its size: an SCTP packet of 28
//! bytes is a SACK without gaps. (A HEARTBEAT ACK or the response to a stream reset can be as
//! large; holding one back does no harm, and both are asked for again if lost.) What the cipher
//! adds to it is read from the DTLS ServerHello.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long after an acknowledgement the next one may be held back.
pub(crate) const HOLD: Duration = Duration::from_millis(240);
/// How long after a FORWARD TSN the next one is held back.
pub(crate) const FORWARD_HOLD: Duration = Duration::from_millis(60);
/// UDP payload received after which an acknowledgement is not held back …
const MUCH_BYTES: usize = 3_000;
/// … or a datagram larger than those of voice.
const LARGE_BYTES: usize = 500;

/// SCTP common header and a SACK chunk without gap blocks and duplicates.
const SACK_BYTES: usize = 12 + 16;
/// SCTP common header and a FORWARD TSN chunk without ordered streams.
const FORWARD_TSN_BYTES: usize = 12 + 8;
const RECORD_HEADER_BYTES: usize = 13;
const HANDSHAKE_HEADER_BYTES: usize = 12;
const CONTENT_HANDSHAKE: u8 = 22;
const CONTENT_APPLICATION_DATA: u8 = 23;
const SERVER_HELLO: u8 = 2;

/// How many bytes the negotiated cipher adds to a DTLS 1.2 record's plaintext; 0 while unknown.
#[derive(Debug, Default)]
pub(crate) struct RecordExpansion(AtomicUsize);

impl RecordExpansion {
    /// Looks for a ServerHello, which names the cipher suite.
    pub(crate) fn observe(&self, datagram: &[u8]) {
        if self.0.load(Ordering::Relaxed) == 0
            && let Some(bytes) = expansion(datagram)
        {
            self.0.store(bytes, Ordering::Relaxed);
        }
    }

    fn bytes(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&bytes| bytes > 0)
    }
}

/// RFC 6347 §4.2.2 and RFC 5246 §7.4.1.3. `None` for anything but a whole ServerHello with an AEAD
/// cipher.
fn expansion(datagram: &[u8]) -> Option<usize> {
    let is_handshake = *datagram.first()? == CONTENT_HANDSHAKE
        && *datagram.get(RECORD_HEADER_BYTES)? == SERVER_HELLO;
    if !is_handshake {
        return None;
    }
    let body = datagram.get(RECORD_HEADER_BYTES + HANDSHAKE_HEADER_BYTES..)?;
    // Version and random come before the session id.
    let session_id_bytes = usize::from(*body.get(34)?);
    let suite = body.get(35 + session_id_bytes..)?.first_chunk::<2>()?;
    match u16::from_be_bytes(*suite) {
        // ChaCha20-Poly1305 and AES-CCM-8 (with its explicit nonce).
        0xcca8 | 0xcca9 | 0xc0ae => Some(16),
        // AES-GCM and AES-CCM, with an explicit nonce of 8 bytes.
        0xc02b | 0xc02c | 0xc02f | 0xc030 | 0xc0ac => Some(24),
        _ => None,
    }
}

fn carries(datagram: &[u8], packet_bytes: usize, expansion: usize) -> bool {
    let record_bytes = packet_bytes + expansion;
    datagram.len() == RECORD_HEADER_BYTES + record_bytes
        && datagram[0] == CONTENT_APPLICATION_DATA
        && usize::from(u16::from_be_bytes([datagram[11], datagram[12]])) == record_bytes
}

/// What to do with an outgoing datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Send,
    /// It was kept; ask [`AckThinner::due`] for it at the given time.
    Held(Instant),
    /// It was kept in place of an earlier one.
    Replaced,
}

/// The acknowledgements of one socket.
#[derive(Debug)]
pub(crate) struct AckThinner {
    sacks: Latest,
    forwards: Latest,
    received_bytes: usize,
}

/// Datagrams of which the latest makes all before it superfluous.
#[derive(Debug)]
struct Latest {
    hold: Duration,
    sent_at: Option<Instant>,
    held: Option<(Vec<u8>, SocketAddr)>,
}

impl Default for AckThinner {
    fn default() -> Self {
        let latest = |hold| Latest { hold, sent_at: None, held: None };
        Self { sacks: latest(HOLD), forwards: latest(FORWARD_HOLD), received_bytes: 0 }
    }
}

impl AckThinner {
    /// A datagram arrived.
    pub(crate) fn received(&mut self, bytes: usize) {
        let counted = if bytes > LARGE_BYTES { MUCH_BYTES } else { bytes };
        self.received_bytes = self.received_bytes.saturating_add(counted);
    }

    /// Decides about a datagram that the stack wants to send.
    pub(crate) fn outgoing(
        &mut self,
        now: Instant,
        datagram: &[u8],
        to: SocketAddr,
        expansion: &RecordExpansion,
    ) -> Outgoing {
        let Some(expansion) = expansion.bytes() else { return Outgoing::Send };
        if carries(datagram, FORWARD_TSN_BYTES, expansion) {
            self.forwards.outgoing(now, datagram, to)
        } else if carries(datagram, SACK_BYTES, expansion) {
            let outgoing = if self.received_bytes >= MUCH_BYTES {
                self.sacks.sent(now);
                Outgoing::Send
            } else {
                self.sacks.outgoing(now, datagram, to)
            };
            if outgoing == Outgoing::Send {
                self.received_bytes = 0;
            }
            outgoing
        } else {
            Outgoing::Send
        }
    }

    /// A held datagram whose time has come; or when to ask again; or nothing if none is held.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Result<(Vec<u8>, SocketAddr), Instant>> {
        match (self.forwards.due(now), self.sacks.due(now)) {
            (Some(Err(forward)), Some(Err(sack))) => Some(Err(forward.min(sack))),
            (Some(Ok(forward)), _) => Some(Ok(forward)),
            (_, Some(Ok(sack))) => {
                self.received_bytes = 0;
                Some(Ok(sack))
            }
            (forward, sack) => forward.or(sack),
        }
    }
}

impl Latest {
    fn outgoing(&mut self, now: Instant, datagram: &[u8], to: SocketAddr) -> Outgoing {
        match self.sent_at.map(|sent_at| sent_at + self.hold) {
            Some(due) if now < due => match self.held.replace((datagram.to_vec(), to)) {
                None => Outgoing::Held(due),
                Some(_) => Outgoing::Replaced,
            },
            _ => {
                self.sent(now);
                Outgoing::Send
            }
        }
    }

    /// Takes the held datagram only if its time has come.
    fn due(&mut self, now: Instant) -> Option<Result<(Vec<u8>, SocketAddr), Instant>> {
        let due = self.sent_at? + self.hold;
        if self.held.is_some() && now < due {
            return Some(Err(due));
        }
        let held = self.held.take()?;
        self.sent(now);
        Some(Ok(held))
    }

    fn sent(&mut self, now: Instant) {
        self.sent_at = Some(now);
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn server_hello(suite: u16) -> Vec<u8> {
        let mut datagram = vec![CONTENT_HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        datagram.extend([SERVER_HELLO, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        datagram.extend([0xfe, 0xfd]);
        datagram.extend([7; 32]);
        datagram.extend([2, 1, 1]);
        datagram.extend(suite.to_be_bytes());
        datagram
    }

    fn record(plaintext_bytes: usize, expansion: usize) -> Vec<u8> {
        let bytes = plaintext_bytes + expansion;
        let mut datagram =
            vec![CONTENT_APPLICATION_DATA, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, bytes as u8];
        datagram.resize(RECORD_HEADER_BYTES + bytes, 0);
        datagram
    }

    fn negotiated(suite: u16) -> RecordExpansion {
        let expansion = RecordExpansion::default();
        expansion.observe(&server_hello(suite));
        expansion
    }

    #[test]
    fn only_the_latest_of_several_acknowledgements_is_sent() {
        for (suite, bytes) in [(0xcca9, 16), (0xc02b, 24)] {
            let expansion = negotiated(suite);
            let (mut acks, start) = (AckThinner::default(), Instant::now());
            let mut ack = record(SACK_BYTES, bytes);
            assert_eq!(acks.outgoing(start, &ack, TO, &expansion), Outgoing::Send);
            for after in [40, 80] {
                ack[10] = after;
                let now = start + Duration::from_millis(after.into());
                let expected =
                    if after == 40 { Outgoing::Held(start + HOLD) } else { Outgoing::Replaced };
                assert_eq!(acks.outgoing(now, &ack, TO, &expansion), expected);
                assert_eq!(acks.due(now), Some(Err(start + HOLD)));
            }
            assert_eq!(acks.due(start + HOLD), Some(Ok((ack.clone(), TO))));
            assert_eq!(acks.due(start + 2 * HOLD), None);
        }
    }

    #[test]
    fn bulk_data_is_acknowledged_at_once() {
        let expansion = negotiated(0xcca9);
        let (mut acks, now) = (AckThinner::default(), Instant::now());
        let ack = record(SACK_BYTES, 16);
        assert_eq!(acks.outgoing(now, &ack, TO, &expansion), Outgoing::Send);
        for received in [vec![600, 600], vec![1_100], vec![100; 30]] {
            received.into_iter().for_each(|bytes| acks.received(bytes));
            assert_eq!(acks.outgoing(now, &ack, TO, &expansion), Outgoing::Send);
        }
        (0..6).for_each(|_| acks.received(180));
        assert_eq!(acks.outgoing(now, &ack, TO, &expansion), Outgoing::Held(now + HOLD));
    }

    #[test]
    fn only_plain_acknowledgements_of_a_known_cipher_are_held_back() {
        let now = Instant::now();
        let mut acks = AckThinner::default();
        let unknown = RecordExpansion::default();
        let known = negotiated(0xcca9);
        acks.sacks.sent(now);
        acks.forwards.sent(now);
        assert_eq!(acks.outgoing(now, &record(SACK_BYTES, 16), TO, &unknown), Outgoing::Send);
        assert!(matches!(
            acks.outgoing(now, &record(FORWARD_TSN_BYTES, 16), TO, &known),
            Outgoing::Held(_)
        ));
        for plaintext in [16, 24, 32, 36, 100] {
            assert_eq!(
                acks.outgoing(now, &record(plaintext, 16), TO, &known),
                Outgoing::Send,
                "{plaintext}"
            );
        }
        // AES-CBC pads: sizes say nothing. And a ServerHello that is cut off names no cipher.
        let hello = server_hello(0xc02b);
        for unusable in [
            &server_hello(0xc00a)[..],
            &[],
            &hello[..30],
            &hello[..hello.len() - 1],
            &[CONTENT_HANDSHAKE],
        ] {
            let expansion = RecordExpansion::default();
            expansion.observe(unusable);
            assert_eq!(expansion.bytes(), None);
        }
    }
}
