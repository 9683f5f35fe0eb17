//! Voice between the people in a room, to embed: signaling client, links, engine and devices on a background thread.
