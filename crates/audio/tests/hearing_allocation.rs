//! The steady state of hearing allocates nothing, whatever the network does.

use std::time::Duration;

use voicemesh_audio::{
    BLOCK_SAMPLES, Block,
    decode::VoiceDecoder,
    encode::{SpeechConfig, VoiceEncoder},
};

fn voice(block: usize) -> Block {
    std::array::from_fn(|index| {
        let seconds = (block * BLOCK_SAMPLES + index) as f32 / 48_000.0;
        let syllable = (std::f32::consts::TAU * 2.0 * seconds).sin().max(0.0);
        0.3 * syllable * ((140.0 * seconds).fract() - 0.5)
    })
}

/// Sequence, talkspurt, how far behind its packet's own frame, payload.
type Arrival = (u64, u64, u16, Vec<u8>);

/// The packets that arrive at each block: own frame and its copy two packets later, with loss,
/// jitter, pauses and a stall.
fn arrivals(blocks: usize) -> Vec<Vec<Arrival>> {
    let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("valid settings");
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut arrivals = vec![Vec::new(); blocks + 60];
    for block in 0..blocks {
        let Some(frame) = speech.push(&voice(block)).expect("encodes").map(<[u8]>::to_vec) else {
            continue;
        };
        let sequence = frames.len() as u64;
        frames.push(frame);
        let dice = sequence.wrapping_mul(2_654_435_761) >> 7;
        let stall = if (400..430).contains(&block) { 430 - block } else { 0 };
        let at = block + (dice % 5) as usize + stall;
        if dice.is_multiple_of(9) {
            continue;
        }
        let talkspurt = sequence / 200;
        arrivals[at].push((sequence, talkspurt, 0, frames[sequence as usize].clone()));
        if let Some(copied) = sequence.checked_sub(2) {
            arrivals[at].push((copied, copied / 200, 2, frames[copied as usize].clone()));
        }
    }
    arrivals
}

#[test]
fn receiving_and_rendering_allocate_nothing_in_the_steady_state() {
    let arrivals = arrivals(3_000);
    let mut listener = VoiceDecoder::new().expect("a decoder");
    let mut out = [0.0; BLOCK_SAMPLES];
    let mut hear = |ticks: std::ops::Range<usize>| {
        for tick in ticks {
            let now = Duration::from_millis(10 * tick as u64);
            for (sequence, talkspurt, behind, payload) in &arrivals[tick] {
                match behind {
                    0 => {
                        listener.receive(now, *sequence, *talkspurt, sequence % 200 == 199, payload)
                    }
                    behind => listener.receive_copy(now, *sequence, *talkspurt, *behind, payload),
                }
            }
            listener.render(now, &mut out);
        }
        (listener.stats(), listener.take_reception())
    };
    hear(0..100);
    let mut result = Default::default();
    let allocations = allocation_counter::measure(|| result = hear(100..3_000));
    assert_eq!(allocations.count_total, 0, "{allocations:?}");
    // Everything that could have allocated has happened.
    let (stats, reception) = result;
    assert!(stats.frames_from_copies > 20 && stats.concealed_ms > 0, "{stats:?}");
    assert!(stats.accelerated_ms > 0 && stats.decelerated_ms > 0, "{stats:?}");
    assert!(reception.is_some_and(|reception| reception.lost > 50), "{reception:?}");
}
