//! Opus packets as bytes: how long they are, and those that stand for silence and for what was lost
//! (RFC 6716 §3).

/// Samples in a second of an Opus stream, whatever the microphone's rate was.
pub(super) const RATE: u64 = 48_000;
/// What the encoder holds back: 6.5 ms. Players skip so much at the beginning (RFC 7845 §4.2).
pub(super) const PRE_SKIP: u16 = 312;
/// The longest packet that Opus allows: 120 ms.
const LONGEST: u64 = 5_760;
/// Silences are whole multiples of this: 2.5 ms, the shortest frame there is.
pub(super) const SILENCE_STEP: u64 = 120;
/// The longest packet of silence.
pub(super) const SILENCE_LONGEST: u64 = 960;

/// The samples in a packet, or `None` if it is none.
pub(super) fn samples(packet: &[u8]) -> Option<u64> {
    let toc = *packet.first()?;
    let size = u64::from(toc >> 3 & 3);
    let frame = match toc >> 3 {
        // SILK alone: 10, 20, 40, 60 ms.
        0..12 => [480, 960, 1920, 2880][size as usize],
        // SILK and CELT together: 10, 20 ms.
        12..16 => 480 << (size & 1),
        // CELT alone: 2.5, 5, 10, 20 ms.
        _ => SILENCE_STEP << size,
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    Some(frame * frames).filter(|samples| (1..=LONGEST).contains(samples))
}

/// A packet as long as this one in which every frame is empty: a decoder conceals it (RFC 7845
/// §4.1).
pub(super) fn lost_like(packet: &[u8]) -> Vec<u8> {
    match packet {
        [toc, ..] if toc & 3 == 0 => vec![*toc],
        // Two empty frames are of one size, whatever these two were.
        [toc, ..] if toc & 3 != 3 => vec![toc & !3 | 1],
        [toc, count, ..] => vec![*toc, count & 0x3f],
        _ => Vec::new(),
    }
}

/// A packet of silence, the longest that fits into so many samples; none fits into less than 2.5
/// ms.
pub(super) fn silence(at_most: u64) -> Option<([u8; 3], u64)> {
    // CELT alone, full band, mono, with the bit that says "silence".
    let sizes = [(0xf8, SILENCE_LONGEST), (0xf0, 480), (0xe8, 240), (0xe0, SILENCE_STEP)];
    let (toc, samples) = sizes.into_iter().find(|(_, samples)| *samples <= at_most)?;
    Some(([toc, 0xff, 0xfe], samples))
}

/// The stream's first packet (RFC 7845 §5.1).
pub(super) fn head() -> Vec<u8> {
    let mut head = b"OpusHead".to_vec();
    head.extend([1, 1]);
    head.extend(PRE_SKIP.to_le_bytes());
    head.extend((RATE as u32).to_le_bytes());
    // No gain; one stream of one channel.
    head.extend([0, 0, 0]);
    head
}

/// The stream's second packet (RFC 7845 §5.2), with the speaker's name.
pub(super) fn tags(name: &str) -> Vec<u8> {
    let mut tags = b"OpusTags".to_vec();
    let comments = [format!("ARTIST={name}")];
    put_text(&mut tags, concat!("voicemesh ", env!("CARGO_PKG_VERSION")));
    tags.extend((comments.len() as u32).to_le_bytes());
    comments.iter().for_each(|comment| put_text(&mut tags, comment));
    tags
}

fn put_text(tags: &mut Vec<u8>, text: &str) {
    tags.extend((text.len() as u32).to_le_bytes());
    tags.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6716 §3.1, row by row.
    #[test]
    fn lengths_follow_the_first_byte() {
        let of = |config: u8, code: u8| samples(&[config << 3 | code, 0x03]);
        for (config, expected) in
            [(0, 480), (1, 960), (2, 1920), (3, 2880), (11, 2880), (12, 480), (13, 960), (15, 960)]
        {
            assert_eq!(of(config, 0), Some(expected), "{config}");
        }
        for (config, expected) in [(16, 120), (17, 240), (18, 480), (19, 960), (28, 120), (31, 960)]
        {
            assert_eq!(of(config, 0), Some(expected), "{config}");
        }
        assert_eq!(
            [of(1, 1), of(1, 2), of(1, 3), of(3, 3)],
            [Some(1920), Some(1920), Some(2880), None]
        );
        assert_eq!([samples(&[]), samples(&[0x0b]), samples(&[0x0b, 0])], [None, None, None]);
    }

    #[test]
    fn what_stands_for_a_lost_packet_is_as_long_as_it() {
        for packet in
            [&[0x08, 1, 2][..], &[0x09, 1, 2], &[0x0a, 1, 2], &[0x0b, 0x83, 1, 2, 3], &[0xf8, 9]]
        {
            let lost = lost_like(packet);
            assert_eq!(samples(&lost), samples(packet), "{packet:?}");
            assert!(lost.len() <= 2);
        }
    }

    #[test]
    fn silence_fits() {
        for (at_most, expected) in
            [(5000, Some(960)), (960, Some(960)), (959, Some(480)), (130, Some(120)), (119, None)]
        {
            let silence = silence(at_most);
            assert_eq!(silence.map(|(_, samples)| samples), expected);
            assert_eq!(silence.and_then(|(packet, _)| samples(&packet)), expected);
        }
    }
}
