//! What a [`Network`](super::Network) says and is asked for.

pub use voicemesh_session::network::{
    ClientLookup, Delivery, Destination, DisconnectReason, LinkId, NetworkError, NetworkEvent,
    PacketLimits, Reliability, Side,
};
