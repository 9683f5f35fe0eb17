//! One WebRTC connection per remote peer, behind a small trait.
