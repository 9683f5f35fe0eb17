//! A script of arrivals and blocks against a listener: no panic, every sample finite, and numbers
//! that add up.

use std::time::Duration;

use voicemesh_audio::BLOCK_SAMPLES;
use voicemesh_audio::decode::{Rendered, VoiceDecoder};

use super::input::Input;

/// A table of contents byte for each kind of packet that a script names: SILK, hybrid and CELT, 10
/// to 60 ms, some in several frames.
const CONTENTS: [u8; 8] = [0x08, 0x00, 0x18, 0x48, 0x78, 0x70, 0xF8, 0x09];
/// No script is longer: what a step does is bounded, and a fuzzer is to try many.
const STEPS: usize = 400;

/// One input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut script = Script {
        listener: VoiceDecoder::new().expect("a decoder"),
        now: Duration::from_millis(u64::from(input.u16())),
        // A quarter of the scripts begins just before the numbers end.
        sequence: if input.u8() & 3 == 0 { u64::MAX - 40 } else { 1 << 20 },
        talkspurt: 0,
        blocks: 0,
    };
    for _ in 0..STEPS {
        if input.is_over() {
            break;
        }
        script.step(&mut input);
    }
    script.check();
}

struct Script {
    listener: VoiceDecoder,
    now: Duration,
    sequence: u64,
    talkspurt: u64,
    blocks: u64,
}

impl Script {
    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        match op % 10 {
            // Speech as it should come.
            0..=2 => {
                self.listener.receive(
                    self.now,
                    self.sequence,
                    self.talkspurt,
                    op >= 0xF0,
                    &packet(input),
                );
                self.sequence = self.sequence.wrapping_add(1);
                self.talkspurt += u64::from(op >= 0xF0);
            }
            // As it may come: late, early, twice, of another talkspurt.
            3 => {
                let (sequence, talkspurt) = (
                    self.near(input),
                    self.talkspurt.wrapping_add(u64::from(op >> 5)).wrapping_sub(3),
                );
                self.listener.receive(self.now, sequence, talkspurt, op & 16 != 0, &packet(input));
            }
            4 | 5 => {
                let behind = u16::from(input.u8() % 12);
                let sequence = self.sequence.wrapping_sub(u64::from(behind));
                self.listener.receive_copy(
                    self.now,
                    sequence,
                    self.talkspurt,
                    behind,
                    &packet(input),
                );
            }
            // Lost.
            6 => self.sequence = self.sequence.wrapping_add(u64::from(op >> 4)),
            // As much time as it takes.
            7 | 8 => (0..=op >> 5).for_each(|_| self.render(10)),
            _ => {
                let millis = u64::from(input.u16());
                self.render(millis);
                self.check();
            }
        }
    }

    fn near(&self, input: &mut Input<'_>) -> u64 {
        let by = input.u16();
        self.sequence.wrapping_add(u64::from(by)).wrapping_sub(0x4000)
    }

    fn render(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let mut out = [f32::NAN; BLOCK_SAMPLES];
        let rendered = self.listener.render(self.now, &mut out);
        self.blocks += 1;
        assert!(out.iter().all(|sample| sample.is_finite()));
        match rendered {
            Rendered::Speech | Rendered::Stretched => assert!(self.listener.playing().is_some()),
            Rendered::Concealed | Rendered::Silence => assert_eq!(self.listener.playing(), None),
        }
    }

    fn check(&mut self) {
        let stats = self.listener.stats();
        assert!(stats.concealed_ms <= 10 * self.blocks + 120);
        assert!(stats.frames_heard <= stats.frames_received);
        assert!(stats.frames_from_copies <= stats.frames_received);
        assert!((0.0..=1_000.0).contains(&stats.target_ms));
        assert!(stats.buffer_ms.is_finite());
        if let Some(reception) = self.listener.take_reception() {
            assert!(
                reception.lost <= reception.expected && reception.unrepaired <= reception.expected
            );
            assert!(reception.mean_loss_run.is_finite() && reception.jitter_ms.is_finite());
        }
    }
}

/// A packet that begins like one, or is anything.
fn packet(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.u8();
    let mut packet = match CONTENTS.get(usize::from(kind >> 4)) {
        Some(contents) => vec![*contents],
        None => Vec::new(),
    };
    packet.extend_from_slice(input.bytes(usize::from(kind & 15) * 4));
    packet
}
