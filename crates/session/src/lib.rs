//! Pure state machines of a voice session: server, client, who listens to what, addressing, route choice.
