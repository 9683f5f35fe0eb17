//! Every bound of a link, with what happens beyond it.

use std::time::Duration;

use voicemesh_wire::limits::{RELIABLE_PACKET_BYTES, UNRELIABLE_PACKET_BYTES};

/// The largest packet for [`Stream::Voice`](crate::Stream::Voice) and
/// [`Stream::Unreliable`](crate::Stream::Unreliable). Larger ones are refused when sent and dropped
/// when received.
pub const LOSSY_PACKET_BYTES: usize = UNRELIABLE_PACKET_BYTES + 256;

/// The largest packet for [`Stream::Reliable`](crate::Stream::Reliable). Larger ones are refused
/// when sent and dropped when received.
pub const RELIABLE_STREAM_PACKET_BYTES: usize = RELIABLE_PACKET_BYTES;

/// Reliable packets waiting to be sent, in bytes; beyond it `send` says
/// [`LinkSendError::Full`](crate::LinkSendError::Full).
pub const RELIABLE_QUEUE_BYTES: usize = 256 * 1024;

/// Voice packets waiting to be sent; beyond it the oldest is dropped and counted. As many as come
/// at once when speech begins, because the first syllable is sent with what follows.
pub const VOICE_QUEUE_PACKETS: usize = 8;

/// Unreliable packets waiting to be sent; beyond it the oldest is dropped and counted.
pub const UNRELIABLE_QUEUE_PACKETS: usize = 128;

/// SCTP's idea of the path MTU, which is the only handle the crate gives on the congestion window:
/// after a retransmission time-out the window is one MTU, and after a fast retransmission four.
/// With a true MTU that is less than voice with redundancy has in flight on a round trip of 300 ms,
/// and speech would wait or be dropped for seconds. No datagram becomes as large: what is handed to
/// SCTP at once fits [`DATAGRAM_CHUNK_BYTES`].
pub(crate) const SCTP_MTU_BYTES: u32 = 32_000;

/// Bytes of all channels handed to SCTP and not yet acknowledged. Never more than its smallest
/// window, so that SCTP sends at once what it is given and nothing grows old in it. Enough for 240
/// kB/s of game data on a round trip of 100 ms.
pub(crate) const IN_FLIGHT_BYTES: usize = SCTP_MTU_BYTES as usize;

/// Of [`IN_FLIGHT_BYTES`], what is kept free for voice.
pub(crate) const IN_FLIGHT_FOR_VOICE_BYTES: usize = 8_000;

/// DATA chunks handed to SCTP between two rounds of its driver, which it may bundle in one
/// datagram: 1,280 bytes with the headers of SCTP (12), DTLS (37), TURN (4), UDP (8) and IPv6 (40).
pub(crate) const DATAGRAM_CHUNK_BYTES: usize = 1_179;

/// Header of a DATA chunk.
pub(crate) const CHUNK_HEADER_BYTES: usize = 16;

/// How long the driver may take to send what it was handed; after that the next packet is handed
/// over in any case. Longer than a busy machine keeps a thread waiting: what is handed over too
/// early makes a datagram too large.
pub(crate) const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// While the driver has not sent what it was handed, how often it is woken.
pub(crate) const FLUSH_NUDGE_INTERVAL: Duration = Duration::from_millis(10);

/// One message on the reliable data channel, its flag byte included. Two fit in a datagram, because
/// the receiver acknowledges every second packet at once and a single one after 200 ms.
pub(crate) const FRAGMENT_BYTES: usize = 568;

/// The largest data channel message this side accepts (`a=max-message-size`); SCTP drops larger
/// ones.
pub(crate) const MESSAGE_BYTES: u32 = 2048;

/// SCTP's receive window: what a remote can make us hold in reassembly.
pub(crate) const RECEIVE_WINDOW_BYTES: u32 = 256 * 1024;

/// Voice or unreliable packets handed to SCTP and not yet acknowledged; beyond it packets wait in
/// the queue.
pub(crate) const LOSSY_IN_FLIGHT_PACKETS: usize = 1024;

/// Signals waiting for the link's task; beyond it they are dropped and counted.
pub(crate) const SIGNAL_QUEUE: usize = 64;

/// Of [`SIGNAL_QUEUE`], what is kept free for descriptions, so that a flood of candidates cannot
/// push them out.
pub(crate) const SIGNAL_QUEUE_FOR_DESCRIPTIONS: usize = 4;

/// A remote session description; a larger one ends the link.
pub(crate) const DESCRIPTION_BYTES: usize = 16 * 1024;

/// One remote candidate line; larger ones are dropped and counted.
pub(crate) const CANDIDATE_BYTES: usize = 512;

/// Remote candidates of one link, described and trickled together; further ones are dropped and
/// counted. Peers send their best first.
pub(crate) const REMOTE_CANDIDATES: usize = 10;

/// Local addresses of each family that get a socket, best first; the rest go without.
pub(crate) const LOCAL_ADDRESSES_PER_FAMILY: usize = 8;

/// Local candidates on their way to the link's task; beyond it they are lost, and the pair has
/// fewer ways to meet.
pub(crate) const LOCAL_CANDIDATE_QUEUE: usize = 64;

/// A link that is not open by then is closed.
pub(crate) const OPEN_LIMIT: Duration = Duration::from_secs(15);

/// An answering link that has not had its turn to open by then is closed: its offerer would give up
/// while it opens.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Between two rounds of connectivity checks while a link opens. The crate's own 200 ms is most of
/// its opening time.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Checks of one candidate pair before it counts as failed: 3 s of them, because the other side may
/// only begin a signaling round trip later. The crate's own 7 would end after 140 ms at
/// [`CHECK_INTERVAL`].
pub(crate) const CHECKS_PER_PAIR: u16 = 150;

/// The crate's driver sleeps through some of its work while a link opens; this wakes it.
pub(crate) const NUDGE_INTERVAL: Duration = Duration::from_millis(5);

/// Between two keep-alives of an open link: consent to send (RFC 7675) and NAT bindings, of which
/// the shortest last 15 s or more. Both ends send them, 0.3 kbit/s each way. Each also measures the
/// round trip; while speech flows, acknowledgements do that more often.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(6);

/// Without any packet for so long a link is *disconnected*, which closes nothing.
pub(crate) const DISCONNECTED_AFTER: Duration = Duration::from_secs(8);

/// Disconnected for so long, a link has failed and closes.
pub(crate) const FAILED_AFTER: Duration = Duration::from_secs(7);

/// While packets wait for room, how often that is looked for, if nothing else happens.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// While packets are unacknowledged, how often that is looked at. Longer than a frame, so that
/// speech itself does it.
pub(crate) const SETTLE_INTERVAL: Duration = Duration::from_millis(30);

/// Between two readings of the round trip.
pub(crate) const ROUND_TRIP_INTERVAL: Duration = Duration::from_secs(1);

/// By how much the fastest acknowledgement of a second may exceed the round trip:
/// [`SETTLE_INTERVAL`] and the receiver's own work. More than that is a longer round trip.
pub(crate) const ACKNOWLEDGEMENT_DELAY: Duration = Duration::from_millis(60);

/// How long a looked-up name is believed; a failed lookup for a tenth of it.
pub(crate) const LOOKUP_LIFETIME: Duration = Duration::from_secs(300);

/// Names kept looked up; when full, all are forgotten.
pub(crate) const LOOKUP_ENTRIES: usize = 64;
