//! The signaling server: rooms, introductions, relay.
