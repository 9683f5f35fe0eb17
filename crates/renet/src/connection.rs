//! What both sides know of a connection: its channels, its limits, and why it ends.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use renet::{ChannelConfig, ConnectionConfig, SendType};
use voicemesh_session::network::{DisconnectReason, PacketLimits};

use crate::parameters::{RELIABLE, UNRELIABLE};

/// A reliable packet without an acknowledgement is sent again after this. Zero would send it at every flush.
const RESEND_AFTER: Duration = Duration::from_millis(300);
/// Packets of speech and data to one peer that wait for a flush, or from it for a poll. What is more is lost.
const UNRELIABLE_WAITING_BYTES: usize = 1024 * 1024;
/// Reliable packets to one peer that wait for their acknowledgement: the state of some 50,000 clients. What is more ends the
/// connection.
const RELIABLE_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// What one flush sends to one peer at most.
const FLUSH_BYTES: u64 = 256 * 1024;

pub(crate) fn connection() -> ConnectionConfig {
    let channel =
        |channel_id, max_memory_usage_bytes, send_type| ChannelConfig { channel_id, max_memory_usage_bytes, send_type };
    let channels = vec![
        channel(UNRELIABLE, UNRELIABLE_WAITING_BYTES, SendType::Unreliable),
        channel(RELIABLE, RELIABLE_WAITING_BYTES, SendType::ReliableOrdered { resend_time: RESEND_AFTER }),
    ];
    ConnectionConfig {
        available_bytes_per_tick: FLUSH_BYTES,
        server_channels_config: channels.clone(),
        client_channels_config: channels,
    }
}

/// Whether a packet that came is one that this session could have sent.
pub(crate) fn is_within_limits(packet: &Bytes) -> bool {
    packet.len() <= PacketLimits::default().reliable_bytes
}

/// Renet ends a connection on which something reliable is lost.
pub(crate) fn reason_of(renet: renet::DisconnectReason) -> DisconnectReason {
    match renet {
        renet::DisconnectReason::SendChannelError { .. } | renet::DisconnectReason::ReceiveChannelError { .. } => {
            DisconnectReason::ReliabilityBroken
        }
        _ => DisconnectReason::Lost,
    }
}

/// Netcode's tokens are dated.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
