//! One WebRTC connection per remote peer, behind a small trait.
//!
//! Does: opens a connection from the signals that two peers hand each other, and carries packets of
//! three kinds over it. Never: knows who the remote is, what a packet means, or when a link should
//! be replaced. The owner of the links decides that. Only this crate names the WebRTC stack;
//! [`LinkStack`], [`Link`] and [`LinkSink`] are all that another stack would have to offer.
//!
//! ```text
//!  holder ── signal, send, close ──▶ queues ──▶ task ──▶ WebRTC ◀─── UDP ───▶ the remote
//!         ◀───────────── LinkEvent ── sink ◀───┘
//! ```
//!
//! Nothing here blocks its caller: a handle only puts things in a bounded box, and one task per
//! link takes them out, owns the connection, and is the only caller of the sink. So events come in
//! order, and [`LinkEvent::Closed`] is always the last, exactly once, also when the stack itself
//! fails.
//!
//! # Protocol
//!
//! What a peer with another WebRTC stack must do to be the other end of a link.
//!
//! **Negotiation.** One offer and one answer, each with a single `m=application` section and mid
//! `0`; then candidates one by one, an empty candidate or an end-of-candidates mark meaning the
//! last. Candidates may come before the description they belong to. Only UDP candidates are
//! checked, and of those at most 10. There is no renegotiation and no ICE restart: a link that
//! fails is replaced by a new one.
//!
//! **Channels.** Three data channels on one SCTP association, created as *negotiated* on both sides
//! before the description, so that no side ever opens one in band; doing so ends the link.
//!
//! | id | stream | ordered | retransmissions |
//! |---|---|---|---|
//! | 0 | voice | no | none |
//! | 1 | reliable | yes | until acknowledged |
//! | 2 | unreliable | no | none |
//!
//! All messages are binary. On 0 and 2 a message is a packet, at most 1,456 bytes long. On 1 a
//! packet of at most 16,384 bytes is cut into messages: one flag byte, then up to 1,023 bytes of
//! the packet. The flag is 1 if more of this packet follows in the next message and 0 if this is
//! its last (or only) one. A receiver joins the bytes after the flags. It drops a message without a
//! flag or with another one, and drops a packet that grows beyond the limit as a whole. A sender
//! keeps few of them unacknowledged (at most 16 KiB; this one two of 568 bytes), so that voice
//! never waits behind them. A message of more than 2,048 bytes is never delivered; the descriptions
//! say so (`a=max-message-size`).
//!
//! **Ready.** As soon as its channels are open, the answerer sends the single byte 2 on channel 1.
//! The offerer, whose side of the association opens first, sends nothing before it has received
//! that or anything else: on some stacks data that comes before the channels are set up is lost,
//! and spoils the channel it came on.
//!
//! **Datagrams.** DTLS 1.2 with AEAD ciphers, ChaCha20-Poly1305 preferred. This side sends no
//! datagram of more than 1,280 bytes, IP headers included, unless a packet alone is larger. A voice
//! packet costs 57 bytes of SCTP and DTLS beside 28 of UDP and IPv4 (48 with IPv6), 65 with
//! AES-GCM; see [`LinkStats`] for what was really sent. SCTP acknowledgements without gaps are sent
//! every 240 ms at most while only small packets arrive, which RFC 9260 §6.2 permits (500 ms).
//! Keep-alives are the connectivity checks of ICE, every 6 s.
//!
//! # Logs
//!
//! This crate names addresses at DEBUG and below only. The WebRTC crates log through the `log`
//! facade and name addresses at WARN: a program that collects `log` records must leave the targets
//! `webrtc` and `rtc*` out of what it keeps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::signaling::{IceServer, Signal};

mod acks;
mod addresses;
mod check_budget;
mod checks;
mod connection;
mod fragment;
mod in_flight;
mod limits;
mod openings;
mod pace;
mod queues;
mod relayed;
mod remote;
mod runtime;
mod socket;
mod stack;
mod stand_in;
mod task;

pub use addresses::{FAR_AWAY, local_addresses, source_address};
pub use limits::{LOSSY_PACKET_BYTES, RELIABLE_STREAM_PACKET_BYTES, VOICE_QUEUE_PACKETS};
pub use stack::WebRtc;
pub use voicemesh_mesh::link::{CloseReason, LinkEvent, LinkSendError, Role, Stream};

/// How a link is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Who offers.
    pub role: Role,
    /// Tells remotes apart, so that one remote's links share what is limited.
    pub remote: u128,
    /// STUN and TURN servers to ask; with none, only the remote is contacted. TURN over TCP and
    /// `turns:` are passed over.
    pub ice_servers: Vec<IceServer>,
}

/// What a link has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// From the making of the link to [`LinkEvent::Open`].
    pub opened_after: Option<Duration>,
    /// Smoothed round trip to the remote: measured by keep-alives every few seconds, and while
    /// voice flows by its acknowledgements within a second or two (then up to 60 ms too long).
    pub round_trip: Option<Duration>,
    /// How long the oldest voice packet that SCTP was given has been neither acknowledged nor given
    /// up. A receiver may hold an acknowledgement back for 200 ms.
    pub voice_unacknowledged_for: Option<Duration>,
    /// Packets handed to the network.
    pub voice_sent: u64,
    /// Voice packets that gave way to newer ones before they were sent.
    pub voice_dropped: u64,
    /// Packets that arrived.
    pub voice_received: u64,
    /// Packets handed to the network.
    pub unreliable_sent: u64,
    /// Unreliable packets that gave way to newer ones before they were sent.
    pub unreliable_dropped: u64,
    /// Packets that arrived.
    pub unreliable_received: u64,
    /// Packets handed to the network, whole.
    pub reliable_sent: u64,
    /// Packets that arrived, whole.
    pub reliable_received: u64,
    /// Bytes of packets handed to the network, all streams together.
    pub sent_bytes: u64,
    /// Bytes of packets that arrived, all streams together.
    pub received_bytes: u64,
    /// UDP datagrams that the link's sockets sent: voice and data, acknowledgements, keep-alives,
    /// opening the link.
    pub wire_sent_packets: u64,
    /// Bytes of these, IP and UDP headers included.
    pub wire_sent_bytes: u64,
    /// UDP datagrams that the link's sockets received.
    pub wire_received_packets: u64,
    /// Bytes of these, IP and UDP headers included.
    pub wire_received_bytes: u64,
    /// What IP, UDP and TURN add to each datagram of the link, in bytes: 28 on IPv4, 48 on IPv6, 4
    /// to 7 more through a channel of a TURN server, and about 40 more before there is one.
    pub header_bytes: u32,
    /// Messages of the remote that were too large or malformed: dropped.
    pub messages_refused: u64,
    /// Signals of the remote that were too many, too large, malformed or out of place: dropped.
    pub signals_refused: u64,
}

/// Takes a link's events.
pub trait LinkSink: Send + Sync + 'static {
    /// Called by the link's task, on the runtime: must not block.
    fn event(&self, event: LinkEvent);
}

/// One connection to one remote. Dropping it closes it.
pub trait Link: Send + Sync {
    /// Applies what the remote's link said. What is wrong with it is counted or ends the link, and
    /// said by an event.
    fn signal(&self, signal: Signal);

    /// Sends a packet.
    ///
    /// # Errors
    ///
    /// When the packet was not taken. A taken voice or unreliable packet may still be dropped; that
    /// is counted.
    fn send(&self, stream: Stream, packet: Bytes) -> Result<(), LinkSendError>;

    /// Sends a packet that measures the way: as [`Stream::Unreliable`], in a datagram that holds no
    /// other message.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    fn send_probe(&self, packet: Bytes) -> Result<(), LinkSendError> {
        self.send(Stream::Unreliable, packet)
    }

    /// What the link has done so far.
    fn stats(&self) -> LinkStats;

    /// Closes the link; [`LinkEvent::Closed`] follows. Any number of times.
    fn close(&self);
}

/// Makes links.
pub trait LinkStack: Send + Sync {
    /// Begins to open a link. Its events go to the sink from now on.
    fn open(&self, config: LinkConfig, sink: Arc<dyn LinkSink>) -> Box<dyn Link>;
}
