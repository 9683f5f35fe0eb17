//! The gate that knows digital silence only.

use crate::{Block, level};

/// A block whose peak is below this is digital silence: a muted or absent microphone, never a quiet room.
const DIGITAL_SILENCE_PEAK: f32 = 1e-4; // −80 dBFS

/// Digital silence of this many blocks (500 ms) closes the gate.
const BLOCKS_TO_CLOSE: u32 = 50;

/// What to do with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It belongs to speech: encode and send it.
    Send,
    /// Nobody speaks: send nothing. The burst that was open, if any, ends.
    Hold,
}

/// Decides block by block whether there is speech to send.
///
/// It opens at the first block that is not digital silence and closes after 500 ms of digital silence; a voice detector
/// replaces that rule without changing this interface.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    state: GateState,
}

#[derive(Clone, Copy, Debug, Default)]
enum GateState {
    #[default]
    Closed,
    Open {
        silent_blocks: u32,
    },
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next block of the microphone.
    pub fn decide(&mut self, block: &Block) -> Decision {
        // A NaN is no sound either: the comparison is false for it.
        let sounds = level::peak(block) >= DIGITAL_SILENCE_PEAK;
        self.state = match self.state {
            _ if sounds => GateState::Open { silent_blocks: 0 },
            GateState::Open { silent_blocks } if silent_blocks + 1 < BLOCKS_TO_CLOSE => {
                GateState::Open { silent_blocks: silent_blocks + 1 }
            }
            GateState::Open { .. } | GateState::Closed => GateState::Closed,
        };
        match self.state {
            GateState::Open { .. } => Decision::Send,
            GateState::Closed => Decision::Hold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK_SAMPLES;

    const QUIET_ROOM: Block = [0.0005; BLOCK_SAMPLES];
    const NOTHING: Block = [0.0; BLOCK_SAMPLES];

    #[test]
    fn a_quiet_room_is_sent_and_digital_silence_closes_after_half_a_second() {
        let mut gate = Gate::new();
        assert_eq!(gate.decide(&NOTHING), Decision::Hold);
        assert_eq!(gate.decide(&QUIET_ROOM), Decision::Send);
        let sent_after = (0..100).take_while(|_| gate.decide(&NOTHING) == Decision::Send).count();
        assert_eq!(sent_after, 49);
        assert_eq!(gate.decide(&NOTHING), Decision::Hold);
        assert_eq!(gate.decide(&QUIET_ROOM), Decision::Send);
    }

    #[test]
    fn a_pause_shorter_than_half_a_second_does_not_close() {
        let mut gate = Gate::new();
        for _ in 0..5 {
            assert_eq!(gate.decide(&QUIET_ROOM), Decision::Send);
            assert!((0..49).all(|_| gate.decide(&NOTHING) == Decision::Send));
        }
    }
}
