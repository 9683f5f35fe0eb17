//! What Opus packets say of themselves, and decoding that never fails.

use audiopus::{MutSignals, SampleRate, coder::Decoder, packet::Packet};

use crate::{BLOCK_SAMPLES, MAX_FRAME_BYTES};

/// The longest packet Opus knows: 120 ms.
pub(super) const LONGEST_PACKET_SAMPLES: usize = 5_760;

/// How many samples a packet decodes to, if it is one we take: whole blocks of 10 ms, up to 120 ms.
pub(super) fn packet_samples(payload: &[u8]) -> Option<u32> {
    if payload.len() > MAX_FRAME_BYTES {
        return None;
    }
    let packet = Packet::try_from(payload).ok()?;
    let samples = audiopus::packet::nb_samples(packet, SampleRate::Hz48000).ok()?;
    let whole_blocks =
        samples > 0 && samples <= LONGEST_PACKET_SAMPLES && samples % BLOCK_SAMPLES == 0;
    whole_blocks.then_some(samples as u32)
}

/// Whether a packet carries a coarse copy of the frame before it (RFC 6716 §4.2.3 and §4.2.4: the
/// first bits of a SILK frame are one voice activity flag for each 20 ms begun, then the flag of
/// the copy). Told only for packets of one mono frame, which are the ones that speakers of ours
/// send.
pub(super) fn repairs_the_one_before(payload: &[u8]) -> bool {
    let &[contents, first, ..] = payload else { return false };
    let is_stereo = contents & 0b100 != 0;
    let is_one_frame = contents & 0b11 == 0;
    let silk_frames = match contents >> 3 {
        // SILK alone: 10, 20, 40 and 60 ms in three bandwidths.
        config @ 0..=11 => [1, 1, 2, 3][usize::from(config % 4)],
        // Hybrid: 10 and 20 ms in two bandwidths.
        12..=15 => 1,
        // CELT alone has none.
        _ => return false,
    };
    is_one_frame && !is_stereo && (first >> (7 - silk_frames)) & 1 != 0
}

/// Decodes a packet that fills `pcm` exactly; false if it is broken.
pub(super) fn decode(decoder: &mut Decoder, payload: &[u8], pcm: &mut [f32]) -> bool {
    let expected = pcm.len();
    let (Ok(packet), Ok(signals)) = (Packet::try_from(payload), MutSignals::try_from(pcm)) else {
        return false;
    };
    decoder.decode_float(Some(packet), signals, false).is_ok_and(|samples| samples == expected)
}

/// Fills `pcm` with the copy that `next` carries of the lost frame, else with Opus' own
/// concealment, else with zeros.
pub(super) fn conceal(decoder: &mut Decoder, next: Option<&[u8]>, pcm: &mut [f32]) {
    let expected = pcm.len();
    let packet = next.and_then(|payload| Packet::try_from(payload).ok());
    let fec = packet.is_some();
    let concealed = MutSignals::try_from(&mut *pcm)
        .and_then(|signals| decoder.decode_float(packet, signals, fec))
        .is_ok_and(|samples| samples == expected);
    if !concealed {
        pcm.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{SpeechConfig, VoiceEncoder};

    #[test]
    fn a_speaker_that_prepares_for_loss_sends_coarse_copies_and_another_none() {
        for (expected_loss_percent, wanted) in [(0, false), (20, true)] {
            let config = SpeechConfig {
                expected_loss_percent,
                bitrate_bps: 24_000,
                ..SpeechConfig::default()
            };
            let mut speech = VoiceEncoder::new(config).expect("valid settings");
            let mut found = 0;
            for tick in 0..100 {
                let block = std::array::from_fn(|index| {
                    let phase = (tick * BLOCK_SAMPLES + index) as f32 * 150.0 / 48_000.0;
                    0.3 * (phase.fract() - 0.5)
                });
                if let Some(packet) = speech.push(&block).expect("encodes") {
                    found += u32::from(repairs_the_one_before(packet));
                }
            }
            // How many depends on what the codec takes for speech; without preparation there is
            // none.
            assert_eq!(found > 0, wanted, "{found} of 50 at {expected_loss_percent} %");
        }
    }

    #[test]
    fn what_is_too_short_for_a_frame_repairs_nothing() {
        assert!(!repairs_the_one_before(&[]));
        assert!(!repairs_the_one_before(&[0]));
        assert!(!repairs_the_one_before(&[0b1111_1000, 0xFF]), "CELT");
        assert!(repairs_the_one_before(&[0b0000_1000, 0b0100_0000]), "SILK, 20 ms");
    }
}
