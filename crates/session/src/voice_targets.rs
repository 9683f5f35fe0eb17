//! What a client is saying and to whom: its open voice targets, its frame counter and its
//! talkspurts (PROTOCOL.md, section 8).

use voicemesh_wire::limits::VOICE_TARGETS;
use voicemesh_wire::packet::{Priority, TalkspurtCounter, Target, TargetKind, volume_to_wire};
use voicemesh_wire::{ClientId, GroupId};

/// Whom speech is addressed to. A peer is addressed by what it is outside of sessions, where the
/// network knows that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VoiceTarget<P> {
    /// Everyone who listens to this group.
    Group(String),
    /// One peer, whatever its client id is.
    Peer(P),
    /// One client of the current session, on networks without a roster. Closes when the client
    /// joins another session.
    Client(ClientId),
}

/// How speech to a target is to be heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetOptions {
    /// Against other speech.
    pub priority: Priority,
    /// Whether the listener should place it in space.
    pub positional: bool,
    /// Factor, 0.0 to 2.0.
    pub volume: f32,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self { priority: Priority::Default, positional: false, volume: 1.0 }
    }
}

/// The target cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {VOICE_TARGETS} voice targets can be open")]
pub struct TooManyTargets;

/// The state behind a client's own VoiceData packets.
#[derive(Debug)]
pub struct VoiceTargets<P> {
    targets: Vec<OpenTarget<P>>,
    next_sequence: u16,
    talkspurt: u8,
    /// Whether a frame of this talkspurt has been sent.
    talkspurt_begun: bool,
    openings: u8,
}

#[derive(Clone, Debug)]
struct OpenTarget<P> {
    target: VoiceTarget<P>,
    options: TargetOptions,
    session: u8,
    closing: bool,
}

/// What a frame needs beside its sound.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameAddress<P> {
    /// The frame's number.
    pub sequence: u16,
    /// Its talkspurt.
    pub talkspurt: TalkspurtCounter,
    /// Its targets, as they go into the packet once clients are known.
    pub targets: Vec<(VoiceTarget<P>, Target)>,
}

impl<P: Clone + PartialEq> VoiceTargets<P> {
    /// Counting starts at `first_sequence`, which the caller draws.
    pub fn new(first_sequence: u16) -> Self {
        Self {
            targets: Vec::new(),
            next_sequence: first_sequence,
            talkspurt: 0,
            talkspurt_begun: false,
            openings: 0,
        }
    }

    /// Begins to speak to a target, or changes how. A target that is closing opens again.
    pub fn open(
        &mut self,
        target: VoiceTarget<P>,
        options: TargetOptions,
    ) -> Result<(), TooManyTargets> {
        if let Some(open) = self.targets.iter_mut().find(|open| open.target == target) {
            open.options = options;
            if open.closing {
                open.closing = false;
                self.openings = self.openings.wrapping_add(1);
                open.session = self.openings & 3;
            }
            return Ok(());
        }
        if self.targets.len() >= VOICE_TARGETS {
            return Err(TooManyTargets);
        }
        self.openings = self.openings.wrapping_add(1);
        self.targets.push(OpenTarget {
            target,
            options,
            session: self.openings & 3,
            closing: false,
        });
        Ok(())
    }

    /// Ceases to speak to a target: the next frame is its last. One that never carried a frame goes
    /// at once.
    pub fn close(&mut self, target: &VoiceTarget<P>) {
        if !self.talkspurt_begun {
            self.targets.retain(|open| open.target != *target);
        } else if let Some(open) = self.targets.iter_mut().find(|open| open.target == *target) {
            open.closing = true;
        }
    }

    /// Targets that are open and not closing.
    pub fn open_targets(&self) -> impl Iterator<Item = &VoiceTarget<P>> {
        self.targets.iter().filter(|open| !open.closing).map(|open| &open.target)
    }

    /// Whether a target waits for its last frame.
    pub fn is_closing(&self) -> bool {
        self.targets.iter().any(|open| open.closing)
    }

    /// The number that the next frame gets.
    pub fn next_sequence(&self) -> u16 {
        self.next_sequence
    }

    /// Takes the address of the next frame. `None` when there is no target: the frame is not sent
    /// and takes no number.
    ///
    /// The talkspurt steps when every target has closed, and by
    /// [`end_talkspurt`](Self::end_talkspurt).
    pub fn next_frame(&mut self) -> Option<FrameAddress<P>> {
        if self.targets.is_empty() {
            return None;
        }
        let address = FrameAddress {
            sequence: self.next_sequence,
            talkspurt: TalkspurtCounter::SevenBit(self.talkspurt),
            targets: self.next_targets(),
        };
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.talkspurt_begun = true;
        self.targets.retain(|open| !open.closing);
        self.end_talkspurt_without_targets();
        Some(address)
    }

    /// The targets of a frame that would be sent now; none when there is no target.
    pub fn next_targets(&self) -> Vec<(VoiceTarget<P>, Target)> {
        self.targets.iter().map(|open| (open.target.clone(), open.to_wire())).collect()
    }

    /// Another session: in it, a client's id belongs to another client. Peers and groups go on
    /// being spoken to.
    pub fn forget_clients(&mut self) {
        self.targets.retain(|open| !matches!(open.target, VoiceTarget::Client(_)));
        self.end_talkspurt_without_targets();
    }

    fn end_talkspurt_without_targets(&mut self) {
        if self.targets.is_empty() {
            self.end_talkspurt();
        }
    }

    /// The next frame is the first of a talkspurt: those before it had other listeners, or none.
    pub fn end_talkspurt(&mut self) {
        if self.talkspurt_begun {
            self.talkspurt = (self.talkspurt + 1) & 0x7F;
            self.talkspurt_begun = false;
        }
    }
}

impl<P> OpenTarget<P> {
    /// A peer's client id differs from session to session and is filled in when the packet is made.
    fn to_wire(&self) -> Target {
        let kind = match &self.target {
            VoiceTarget::Group(name) => TargetKind::Group(GroupId::of(name)),
            VoiceTarget::Client(client) => TargetKind::Client(*client),
            VoiceTarget::Peer(_) => TargetKind::Client(ClientId(0)),
        };
        Target {
            kind,
            positional: self.options.positional,
            closing: self.closing,
            priority: self.options.priority,
            session: self.session,
            volume: volume_to_wire(self.options.volume),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> VoiceTarget<u8> {
        VoiceTarget::Group(name.into())
    }

    fn talkspurt(frame: &FrameAddress<u8>) -> u8 {
        frame.talkspurt.value()
    }

    /// proves: D-19
    #[test]
    fn the_talkspurt_steps_only_when_every_target_has_closed() {
        let mut speaker = VoiceTargets::new(0xFFFF);
        assert_eq!(speaker.next_frame(), None);
        speaker.open(group("a"), TargetOptions::default()).unwrap();
        speaker.open(group("b"), TargetOptions::default()).unwrap();
        let first = speaker.next_frame().unwrap();
        assert_eq!((first.sequence, talkspurt(&first)), (0xFFFF, 0));
        speaker.close(&group("a"));
        let last_of_a = speaker.next_frame().unwrap();
        assert_eq!(
            last_of_a.targets.iter().map(|(_, target)| target.closing).collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(last_of_a.sequence, 0, "the counter wraps and never restarts");
        let only_b = speaker.next_frame().unwrap();
        assert_eq!((only_b.targets.len(), talkspurt(&only_b)), (1, 0));
        speaker.close(&group("b"));
        assert_eq!(
            talkspurt(&speaker.next_frame().unwrap()),
            0,
            "the last frame still belongs to the talkspurt"
        );
        assert_eq!(speaker.next_frame(), None);
        speaker.open(group("a"), TargetOptions::default()).unwrap();
        let next = speaker.next_frame().unwrap();
        assert_eq!((next.sequence, talkspurt(&next)), (3, 1));
    }

    #[test]
    fn reopening_a_closing_target_keeps_the_talkspurt() {
        let mut speaker = VoiceTargets::new(0);
        speaker.open(group("a"), TargetOptions::default()).unwrap();
        let before = speaker.next_frame().unwrap();
        speaker.close(&group("a"));
        speaker.open(group("a"), TargetOptions::default()).unwrap();
        let after = speaker.next_frame().unwrap();
        assert_eq!(talkspurt(&after), talkspurt(&before));
        assert_ne!(
            after.targets[0].1.session, before.targets[0].1.session,
            "the target's own opening is a new one"
        );
    }

    #[test]
    fn a_client_of_another_session_is_not_spoken_to() {
        let mut speaker = VoiceTargets::new(0);
        speaker.open(VoiceTarget::Client(ClientId(5)), TargetOptions::default()).unwrap();
        let before = speaker.next_frame().unwrap();
        speaker.forget_clients();
        assert_eq!(speaker.next_frame(), None);
        speaker.open(group("a"), TargetOptions::default()).unwrap();
        assert_ne!(talkspurt(&speaker.next_frame().unwrap()), talkspurt(&before));
    }

    #[test]
    fn the_number_of_targets_is_bounded() {
        let mut speaker = VoiceTargets::new(0);
        for n in 0..VOICE_TARGETS {
            speaker.open(group(&n.to_string()), TargetOptions::default()).unwrap();
        }
        assert_eq!(speaker.open(group("more"), TargetOptions::default()), Err(TooManyTargets));
    }
}
