//! The speaking end: a voice encoded, and packed with copies of earlier frames.

use voicemesh_audio::{
    BLOCK_SAMPLES, FrameDuration,
    encode::{SpeechConfig, VoiceEncoder},
};

use super::path::{Carried, Packet};

/// Bytes of a voice packet besides its frames: header, sender, options, sequence, one target,
/// length.
const HEADER_BYTES: usize = 20;

/// Bytes that copies cost besides themselves: their number, and of each how far behind it is and
/// its length.
const COPIES_BYTES: usize = 1;
const COPY_BYTES: usize = 3;

/// How speech is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    /// Speech per packet.
    pub frame: FrameDuration,
    /// Payload of one frame, in bits per second.
    pub bitrate_bps: u32,
    /// The loss that in-band repair is made for, in percent; 0 is none.
    pub fec_percent: u8,
    /// Each packet also carries the frames so far behind its own.
    pub offsets: Vec<u16>,
}

impl Sending {
    /// One frame in a packet, repaired in band.
    #[must_use]
    pub fn plain(frame: FrameDuration, bitrate_bps: u32, fec_percent: u8) -> Self {
        Self { frame, bitrate_bps, fec_percent, offsets: Vec::new() }
    }

    /// The same layout with so many bits that it costs `wire_bps` on the wire.
    #[must_use]
    pub fn at_wire_rate(&self, voice: &[f32], wire_bps: f64) -> Self {
        let mut sending = self.clone();
        for _ in 0..4 {
            let ratio = wire_bps / sending.wire_bps(voice);
            let bitrate_bps = (f64::from(sending.bitrate_bps) * ratio.powf(1.3)) as u32;
            sending.bitrate_bps = bitrate_bps.clamp(6_000, 90_000);
        }
        sending
    }

    /// What it costs on the wire, headers included.
    #[must_use]
    pub fn wire_bps(&self, voice: &[f32]) -> f64 {
        let packets = self.packets(voice);
        let bytes: usize = packets.iter().map(packet_bytes).sum();
        8.0 * bytes as f64 / (packets.len() as f64 * self.frame.millis() as f64 / 1_000.0)
    }

    /// A voice as packets: the first is complete after one frame's time, and so on.
    ///
    /// # Panics
    /// If the settings are outside the codec's.
    #[must_use]
    pub fn packets(&self, voice: &[f32]) -> Vec<Packet> {
        let config = SpeechConfig {
            frame: self.frame,
            bitrate_bps: self.bitrate_bps,
            fec: self.fec_percent > 0,
            expected_loss_percent: self.fec_percent,
            ..SpeechConfig::default()
        };
        let mut speech = VoiceEncoder::new(config).expect("settings of the table are valid");
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for block in voice.as_chunks::<BLOCK_SAMPLES>().0 {
            frames.extend(speech.push(block).expect("blocks encode").map(<[u8]>::to_vec));
        }
        let carried = |sequence: usize, behind: u16| {
            let copied = sequence.checked_sub(behind.into())?;
            Some(Carried { sequence: copied as u64, behind, payload: frames[copied].clone() })
        };
        (0..frames.len())
            .map(|sequence| {
                std::iter::once(0)
                    .chain(self.offsets.iter().copied())
                    .filter_map(|behind| carried(sequence, behind))
                    .collect()
            })
            .collect()
    }
}

fn packet_bytes(packet: &Packet) -> usize {
    let frames: usize = packet.iter().map(|carried| carried.payload.len()).sum();
    let copies = packet.len() - 1;
    HEADER_BYTES + frames + copies * COPY_BYTES + if copies > 0 { COPIES_BYTES } else { 0 }
}
