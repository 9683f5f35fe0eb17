//! What the policy is given and what it decides.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::estimate::Train;
use crate::path::PathState;

/// What the uplink is worth, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkStatus {
    /// What it carries, in bits per second; `None` while no limit was met.
    pub estimate_bps: Option<u32>,
    /// Not even one copy of speech at the lowest setting fits.
    pub is_too_slow: bool,
}

/// A listener of the last frame, and the ways to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudienceMember<P> {
    /// Who listens.
    pub who: P,
    /// There is a bound link to it that is not stalled.
    pub has_link: bool,
    /// The server can relay to it.
    pub has_relay: bool,
    /// It cannot encrypt, and is sent speech as it is: not in the relayed packet of those that can.
    pub hears_plain: bool,
}

/// What a listener reports of the packets of about a second (PROTOCOL.md, section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossReport {
    /// Frames that it should have received.
    pub expected: u16,
    /// Frames whose own packets did not come.
    pub lost: u16,
    /// Frames that could not be repaired either.
    pub unrepaired: u16,
    /// How many frames were lost in a row, on average.
    pub mean_run: f32,
    /// How long frames waited at the listener until they were played: it waits as long as most of
    /// them are late.
    pub buffer: Duration,
}

/// What the session is asked for.
#[derive(Debug)]
pub struct Decision<P> {
    /// Speech to these goes through the relay.
    pub relayed: BTreeSet<P>,
    /// Packets queue on the uplink.
    pub is_full: bool,
    /// A train of probes to one of them.
    pub train: Option<(P, Train)>,
}

/// What the session knows of the paths.
pub trait Paths<P> {
    /// The listeners of the last frame.
    fn audience(&self) -> &[AudienceMember<P>];
    /// The link in use to a listener.
    fn link(&self, now: Duration, who: P) -> Option<PathState>;
    /// The way to the server.
    fn relay(&self, now: Duration) -> PathState;
    /// What was put on the wire so far for other things than speech, in bytes, headers included:
    /// above all by links that open. Zero if that is not counted.
    fn background_bytes(&self) -> u64 {
        0
    }
}
