//! What both sides know of a connection: its channels, its limits, and why it ends.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use renet::{ChannelConfig, ConnectionConfig, SendType};
use voicemesh_session::network::{DisconnectReason, PacketLimits};

use crate::parameters::{RELIABLE, UNRELIABLE};
use crate::payload::PayloadCheck;

/// A reliable packet without an acknowledgement is sent again after this. Zero would send it at
/// every flush.
const RESEND_AFTER: Duration = Duration::from_millis(300);
/// Packets of speech and data that wait at one end of a connection, for a flush or for a poll. What
/// is more is lost. Of those that wait for a poll, what surrounds each packet in memory counts too
/// ([`PayloadCheck`]).
const UNRELIABLE_WAITING_BYTES: Waiting =
    Waiting { to_clients: WAITING_OF_SERVER, to_servers: WAITING_OF_CLIENTS };
/// Those of a server that wait at its client, …
pub(crate) const WAITING_OF_SERVER: usize = 1024 * 1024;
/// … and those of each client at the server.
pub(crate) const WAITING_OF_CLIENTS: usize = 256 * 1024;
/// Reliable packets that wait for their acknowledgement, or for a poll. To a client: the state of
/// some 50,000 others. What is more ends the connection.
const RELIABLE_WAITING_BYTES: Waiting =
    Waiting { to_clients: 8 * 1024 * 1024, to_servers: 2 * 1024 * 1024 };
/// The header that each packet of a session begins with: magic number and type.
pub(crate) const SHORTEST_PACKET_BYTES: usize = 3;
/// Between two flushes in which nothing new is sent: for acknowledgements, and for what is sent
/// again. Each peer answers an acknowledgement with one of its own, so that this is what two silent
/// peers send. Well below [`RESEND_AFTER`].
pub(crate) const IDLE_FLUSH: Duration = Duration::from_millis(50);
/// What one flush sends to one peer at most.
const FLUSH_BYTES: u64 = 256 * 1024;

/// Why a client does not get in, in [`DisconnectReason::Refused`]: no place is free.
pub const HOST_IS_FULL: &str = "the host is full";
/// The same where nothing comes back. Netcode does not answer a token that it cannot decrypt.
pub const NO_ANSWER: &str = "no answer: the link may be old, the host gone, or a firewall between";

/// What may wait, by direction: a server has many clients, and any of them may be hostile.
struct Waiting {
    to_clients: usize,
    to_servers: usize,
}

pub(crate) fn connection() -> ConnectionConfig {
    let channel = |channel_id, max_memory_usage_bytes, send_type| ChannelConfig {
        channel_id,
        max_memory_usage_bytes,
        send_type,
    };
    let channels = |bytes: fn(Waiting) -> usize| {
        vec![
            channel(UNRELIABLE, bytes(UNRELIABLE_WAITING_BYTES), SendType::Unreliable),
            channel(
                RELIABLE,
                bytes(RELIABLE_WAITING_BYTES),
                SendType::ReliableOrdered { resend_time: RESEND_AFTER },
            ),
        ]
    };
    ConnectionConfig {
        available_bytes_per_tick: FLUSH_BYTES,
        server_channels_config: channels(|waiting| waiting.to_clients),
        client_channels_config: channels(|waiting| waiting.to_servers),
    }
}

/// Netcode's tokens are dated.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn is_too_large(packet: &Bytes) -> bool {
    packet.len() > PacketLimits::default().reliable_bytes
}

/// The next message that `receive` gives for a channel, reliable ones first.
pub(crate) fn next_packet(
    check: &mut PayloadCheck,
    mut receive: impl FnMut(u8) -> Option<Bytes>,
) -> Option<Bytes> {
    let reliable = receive(RELIABLE).inspect(|_| check.delivered());
    reliable.or_else(|| receive(UNRELIABLE).inspect(|packet| check.taken(packet.len())))
}

/// Renet ends a connection on which something reliable is lost.
pub(crate) fn reason_of(renet: renet::DisconnectReason) -> DisconnectReason {
    match renet {
        renet::DisconnectReason::SendChannelError { .. }
        | renet::DisconnectReason::ReceiveChannelError { .. } => {
            DisconnectReason::ReliabilityBroken
        }
        _ => DisconnectReason::Lost,
    }
}
