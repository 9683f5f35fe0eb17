//! Integrations of the Network trait that need no signaling.
