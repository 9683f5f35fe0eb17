//! Reads WAV files as other programs write them: RIFF and RF64, PCM of 8 to 64 bits and floating
//! point, also with sizes that a program left open because it wrote to a pipe, and files that were
//! cut off.

/// Tag of a format whose real tag is in its extension (`WAVE_FORMAT_EXTENSIBLE`).
const EXTENSIBLE: u16 = 0xfffe;
const PCM: u16 = 1;
const FLOAT: u16 = 3;
/// Size that means "see the ds64 chunk", or was never filled in.
const OPEN_SIZE: u32 = u32::MAX;

/// A WAV file's sound.
#[derive(Debug, PartialEq)]
pub(crate) struct Clip {
    /// Interleaved; what is no number is silence.
    pub(crate) samples: Vec<f32>,
    pub(crate) channels: usize,
    pub(crate) rate_hz: u32,
}

/// How one sample is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Encoding {
    /// 8 bits have an offset, more have a sign.
    Integer {
        bytes: usize,
    },
    Float32,
    Float64,
}

#[derive(Clone, Copy, Debug)]
struct Format {
    encoding: Encoding,
    channels: usize,
    rate_hz: u32,
    /// Bytes from one sample to the next; more than it has where it is stored in a wider number.
    container: usize,
}

/// Decodes a whole file of at most so many seconds.
///
/// # Errors
/// What is wrong with it, and at which byte.
pub(crate) fn decode(file: &[u8], most_seconds: u32) -> Result<Clip, String> {
    let riff = file.get(..12).ok_or("it is too short to be a WAV file")?;
    if !matches!(&riff[..4], b"RIFF" | b"RF64" | b"BW64") || &riff[8..] != b"WAVE" {
        return Err("it is no WAV file: it does not begin with RIFF and WAVE".into());
    }
    let (mut at, mut format, mut data_bytes) = (12, None, None);
    loop {
        let Some(header) = file.get(at..).and_then(|rest| rest.get(..8)) else {
            return Err(format!(
                "it has no sound: it ends at byte {} without a data chunk",
                file.len()
            ));
        };
        let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let body = &file[at + 8..];
        match &header[..4] {
            b"fmt " => format = Some(read_format(body, at)?),
            // Sizes of 64 bits: the file's, then the data's.
            b"ds64" => {
                let size = body
                    .get(8..16)
                    .and_then(|size| Some(u64::from_le_bytes(size.try_into().ok()?)));
                data_bytes = size.and_then(|size| usize::try_from(size).ok());
            }
            b"data" => {
                let Some(format) = format else {
                    return Err(format!("its sound at byte {at} comes before its format"));
                };
                let told = if size == OPEN_SIZE { data_bytes.unwrap_or(0) } else { size as usize };
                // A size of 0 or beyond the end was never filled in, or the file was cut off.
                let is_true = told <= body.len() && (told > 0 || is_chunks(body));
                return format.decode(if is_true { &body[..told] } else { body }, most_seconds);
            }
            _ => {}
        }
        // Chunks begin at even places.
        at = (at + 8).saturating_add(size as usize).saturating_add(size as usize % 2);
    }
}

/// Whether these bytes are chunks and no sound: they end where the last one does.
fn is_chunks(mut bytes: &[u8]) -> bool {
    while let [a, b, c, d, s0, s1, s2, s3, rest @ ..] = bytes {
        let size = u32::from_le_bytes([*s0, *s1, *s2, *s3]) as usize;
        let is_name = [a, b, c, d].iter().all(|letter| matches!(letter, b' '..=b'~'));
        match rest.get(size + size % 2..).or_else(|| rest.get(size..)) {
            Some(next) if is_name => bytes = next,
            _ => return false,
        }
    }
    bytes.is_empty()
}

fn read_format(body: &[u8], at: usize) -> Result<Format, String> {
    let short = || format!("its format at byte {at} is cut off");
    let field = |from: usize| {
        body.get(from..from + 2).map(|two| u16::from_le_bytes([two[0], two[1]])).ok_or_else(short)
    };
    let (mut tag, channels, bits) = (field(0)?, usize::from(field(2)?), field(14)?);
    let rate_hz = u32::from(field(4)?) | u32::from(field(6)?) << 16;
    if tag == EXTENSIBLE {
        tag = field(24)?;
    }
    let encoding = match (tag, bits) {
        (PCM, 1..=64) => Encoding::Integer { bytes: usize::from(bits.div_ceil(8)) },
        (FLOAT, 32) => Encoding::Float32,
        (FLOAT, 64) => Encoding::Float64,
        (PCM | FLOAT, _) => {
            return Err(format!("its format at byte {at} has {bits} bits a sample"));
        }
        (tag, _) => {
            return Err(format!(
                "its sound is compressed (format {tag:#06x} at byte {at}); save it as PCM"
            ));
        }
    };
    if channels == 0 || rate_hz == 0 {
        return Err(format!(
            "its format at byte {at} has {channels} channels and a rate of {rate_hz} Hz"
        ));
    }
    // Some programs leave the size of a frame open.
    let container = usize::from(field(12)?) / channels;
    let container = if matches!(encoding, Encoding::Integer { .. }) && container <= 8 {
        container.max(encoding.bytes())
    } else {
        encoding.bytes()
    };
    Ok(Format { encoding, channels, rate_hz, container })
}

impl Encoding {
    fn bytes(self) -> usize {
        match self {
            Self::Integer { bytes } => bytes,
            Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// One sample of exactly [`Self::bytes`].
    fn sample(self, bytes: &[u8]) -> f32 {
        let sample = match self {
            Self::Integer { bytes: 1 } => f32::from(bytes[0]) / 128.0 - 1.0,
            Self::Integer { .. } => {
                // To the upper end of 64 bits, where the sign is.
                let mut wide = [0; 8];
                wide[8 - bytes.len()..].copy_from_slice(bytes);
                (i64::from_le_bytes(wide) as f64 / 2.0_f64.powi(63)) as f32
            }
            Self::Float32 => bytes.try_into().map_or(0.0, f32::from_le_bytes),
            Self::Float64 => bytes.try_into().map_or(0.0, |bytes| f64::from_le_bytes(bytes) as f32),
        };
        if sample.is_finite() { sample } else { 0.0 }
    }
}

impl Format {
    fn decode(self, data: &[u8], most_seconds: u32) -> Result<Clip, String> {
        let bytes_per_frame = self.channels * self.container;
        let frames = data.len() / bytes_per_frame;
        if frames / self.rate_hz as usize >= most_seconds as usize {
            return Err(format!("it is longer than {} minutes; cut it", most_seconds / 60));
        }
        let whole = &data[..frames * bytes_per_frame];
        let bytes = self.encoding.bytes();
        // At the lower end, as ALSA stores 24 bits in 32, the rest of each number is its sign.
        let is_low = whole.chunks_exact(self.container).all(|number| {
            let sign = if number[bytes - 1] & 0x80 == 0 { 0 } else { 0xff };
            number[bytes..].iter().all(|byte| *byte == sign)
        });
        let from = if is_low { 0 } else { self.container - bytes };
        let samples = whole
            .chunks_exact(self.container)
            .map(|number| self.encoding.sample(&number[from..from + bytes]))
            .collect();
        Ok(Clip { samples, channels: self.channels, rate_hz: self.rate_hz })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this format, size field of its data, and data.
    fn wav(id: &[u8; 4], tag: u16, channels: u16, bits: u16, size: u32, data: &[u8]) -> Vec<u8> {
        let mut file = id.to_vec();
        file.extend([255; 4]);
        file.extend(*b"WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0");
        file.extend(tag.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(48_000_u32.to_le_bytes());
        file.extend([0; 6]);
        file.extend(bits.to_le_bytes());
        file.extend(*b"data");
        file.extend(size.to_le_bytes());
        file.extend(data);
        file
    }

    fn samples(file: &[u8]) -> Vec<f32> {
        decode(file, 60).expect("a WAV file").samples
    }

    #[test]
    fn every_width_of_integers_and_floats_is_read_at_its_scale() {
        for (tag, bits, data) in [
            (PCM, 8, vec![192, 64]),
            (PCM, 12, vec![0, 0x40, 0, 0xc0]),
            (PCM, 16, vec![0, 0x40, 0, 0xc0]),
            (PCM, 24, vec![0, 0, 0x40, 0, 0, 0xc0]),
            (PCM, 32, vec![0, 0, 0, 0x40, 0, 0, 0, 0xc0]),
            (
                PCM,
                64,
                [1_i64 << 62, -(1 << 62)].iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            ),
            (FLOAT, 32, [0.5_f32, -0.5].iter().flat_map(|sample| sample.to_le_bytes()).collect()),
            (FLOAT, 64, [0.5_f64, -0.5].iter().flat_map(|sample| sample.to_le_bytes()).collect()),
        ] {
            let size = data.len() as u32;
            assert_eq!(
                samples(&wav(b"RIFF", tag, 1, bits, size, &data)),
                [0.5, -0.5],
                "{tag} {bits}"
            );
        }
        let numbers: Vec<u8> = [f32::NAN, f32::INFINITY, 0.25]
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        assert_eq!(samples(&wav(b"RIFF", FLOAT, 1, 32, 12, &numbers)), [0.0, 0.0, 0.25]);
    }

    /// `arecord -f S24_LE` writes the first, programs that write to the upper end the second.
    #[test]
    fn samples_of_24_bits_in_numbers_of_32_are_read_at_either_end() {
        for data in [[0, 0, 0x40, 0, 0, 0, 0xc0, 0xff], [0, 0, 0, 0x40, 0, 0, 0, 0xc0]] {
            let mut file = wav(b"RIFF", PCM, 1, 24, 8, &data);
            let format = file.windows(4).position(|four| four == b"fmt ").expect("a format");
            file[format + 8 + 12] = 4;
            assert_eq!(samples(&file), [0.5, -0.5], "{data:?}");
        }
    }

    #[test]
    fn a_file_without_sound_does_not_play_the_chunks_behind_it() {
        let behind = b"LIST\x04\0\0\0INFOid3 \x01\0\0\0a\0";
        assert_eq!(samples(&wav(b"RIFF", PCM, 1, 16, 0, behind)), [0.0; 0]);
        assert_eq!(samples(&wav(b"RIFF", PCM, 1, 16, 0, &behind[..11])).len(), 5);
    }

    /// As ffmpeg, sox and arecord leave the size when they write to a pipe, and as a full disk
    /// leaves it.
    #[test]
    fn a_size_that_was_never_filled_in_or_is_beyond_the_end_means_all_there_is() {
        for size in [u32::MAX, 0, 0x7fff_ffff, 0x8000_0000, 0x7fff_f000, 6] {
            assert_eq!(
                samples(&wav(b"RIFF", PCM, 2, 16, size, &[0, 0x40, 0, 0xc0, 7])),
                [0.5, -0.5],
                "{size:#x}"
            );
        }
        let mut trailing = wav(b"RIFF", PCM, 1, 16, 2, &[0, 0x40]);
        trailing.extend(*b"id3 \x04\0\0\0abcd");
        assert_eq!(samples(&trailing), [0.5], "what follows the sound is not heard");
    }

    #[test]
    fn rf64_has_its_size_apart() {
        let plain = wav(b"RF64", PCM, 1, 16, u32::MAX, &[0, 0x40, 0, 0xc0]);
        let mut file = plain[..12].to_vec();
        file.extend(*b"ds64\x1c\0\0\0");
        file.extend([[0; 8], 2_u64.to_le_bytes(), [0; 8]].concat());
        file.extend([0; 4]);
        file.extend(&plain[12..]);
        assert_eq!(samples(&file), [0.5]);
    }

    #[test]
    fn an_extensible_format_is_that_of_its_extension() {
        let mut file = wav(b"RIFF", PCM, 1, 16, 0, &[]);
        let fmt = file.len() - 8 - 16 - 8;
        file.truncate(fmt);
        file.extend(*b"fmt \x28\0\0\0\xfe\xff\x01\0\x80\xbb\0\0\0\0\0\0\0\0\x20\0\x16\0\x20\0\0\0\0\0\x03\0");
        file.extend([0; 14]);
        file.extend(*b"data\x04\0\0\0");
        file.extend(0.5_f32.to_le_bytes());
        assert_eq!(samples(&file), [0.5]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let why = |file: &[u8]| decode(file, 60).expect_err("no sound");
        assert!(why(b"").contains("too short"));
        assert!(why(b"OggS........").contains("RIFF"));
        assert!(why(&wav(b"RIFF", 0x11, 1, 4, 4, &[0; 4])).contains("format 0x0011 at byte 24"));
        assert!(why(&wav(b"RIFF", FLOAT, 1, 16, 4, &[0; 4])).contains("16 bits"));
        assert!(why(&wav(b"RIFF", PCM, 0, 16, 4, &[0; 4])).contains("0 channels"));
        let whole = wav(b"RIFF", PCM, 1, 16, 4, &[0; 4]);
        assert!(why(&whole[..40]).contains("cut off"));
        assert!(why(&whole[..50]).contains("ends at byte 50"));
        let long = decode(&wav(b"RIFF", PCM, 1, 16, 0, &vec![0; 2 * 48_000]), 1);
        assert!(long.expect_err("1 s is too long").contains("longer"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = wav(b"RF64", PCM, 2, 16, 8, &[1; 8]);
        for length in 0..whole.len() {
            let _ = decode(&whole[..length], 60);
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[length] = value;
                let _ = decode(&damaged, 60);
            }
        }
    }
}
