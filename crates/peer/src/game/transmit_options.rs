//! Whom to speak to, and how that is to be heard.

use std::sync::atomic::{AtomicU32, Ordering};

use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::PeerId;
use voicemesh_wire::packet::Priority;

/// Whom to speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoiceAudience {
    /// Everyone who listens to this group.
    Group(String),
    /// One peer.
    Peer(PeerId),
}

impl From<VoiceAudience> for VoiceTarget<PeerId> {
    fn from(audience: VoiceAudience) -> Self {
        match audience {
            VoiceAudience::Group(name) => Self::Group(name),
            VoiceAudience::Peer(peer) => Self::Peer(peer),
        }
    }
}

/// How speech to an audience is to be heard. Where several handles speak to one audience, the
/// highest volume and the highest priority count, and it is positional only if all are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransmitOptions {
    /// A factor of 0.0 to 2.0.
    pub volume: f32,
    /// Against other speech: what is less urgent is lowered by 12 dB meanwhile.
    pub priority: Priority,
    /// Whether those who know where this peer stands hear it from there.
    pub positional: bool,
}

impl Default for TransmitOptions {
    /// As loud as spoken, as urgent as all speech, and without a place.
    fn default() -> Self {
        Self { volume: 1.0, priority: Priority::Default, positional: false }
    }
}

/// What a handle and the engine share: the options in one word. Held by the handle alone; the
/// engine sees it go.
#[derive(Debug)]
pub(crate) struct SharedOptions(AtomicU32);

impl SharedOptions {
    pub(crate) fn new(options: TransmitOptions) -> Self {
        let token = Self(AtomicU32::new(0));
        token.set(options);
        token
    }

    /// Volume in thousandths, then priority, then whether it has a place.
    pub(crate) fn set(&self, TransmitOptions { volume, priority, positional }: TransmitOptions) {
        let volume = if volume.is_nan() { 1.0 } else { volume.clamp(0.0, 2.0) };
        let word = (volume * 1_000.0).round() as u32
            | (priority as u32) << 16
            | u32::from(positional) << 24;
        self.0.store(word, Ordering::Release);
    }

    pub(super) fn get(&self) -> TransmitOptions {
        let word = self.0.load(Ordering::Acquire);
        let ranks = [Priority::Low, Priority::Default, Priority::Medium, Priority::High];
        let rank = |priority: &Priority| *priority as u32 == word >> 16 & 0xFF;
        TransmitOptions {
            volume: (word & 0xFFFF) as f32 / 1_000.0,
            priority: ranks.into_iter().find(rank).unwrap_or_default(),
            positional: word >> 24 != 0,
        }
    }
}
