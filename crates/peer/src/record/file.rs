//! One Ogg/Opus file (RFC 7845): packets in, pages out.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ogg::{PacketWriteEndInfo, PacketWriter};

use super::opus::{self, RATE, SILENCE_LONGEST};

/// A page holds at most so much: what a program that is killed has not written yet.
const PAGE: u64 = RATE;
/// What waits for its page to fill is written after so long all the same.
const PATIENCE: Duration = Duration::from_secs(1);
/// Letters of a display name in a file's name, in bytes.
const NAME_BYTES: usize = 40;
/// Letters of a peer's id in a file's name.
const KEY_LETTERS: usize = 8;
/// Files of one speaker in one folder.
const MOST_OF_ONE: u32 = 10_000;

/// A stream that is being written.
pub(super) struct OggOpus<W: Write> {
    pages: PacketWriter<'static, BufWriter<W>>,
    serial: u32,
    /// Samples in all packets so far, the one that is held included.
    granule: u64,
    /// Samples in the page that is being filled.
    in_page: u64,
    /// The last packet: only with it a page can be ended.
    held: Option<Vec<u8>>,
    /// When the first packet came that is not written yet.
    waits_since: Option<Instant>,
}

impl<W: Write> OggOpus<W> {
    /// Begins a stream and writes its two headers.
    pub(super) fn begin(sink: W, serial: u32, name: &str) -> io::Result<Self> {
        let mut pages = PacketWriter::new(BufWriter::new(sink));
        pages.write_packet(opus::head(), serial, PacketWriteEndInfo::EndPage, 0)?;
        pages.write_packet(opus::tags(name), serial, PacketWriteEndInfo::EndPage, 0)?;
        pages.inner_mut().flush()?;
        Ok(Self { pages, serial, granule: 0, in_page: 0, held: None, waits_since: None })
    }

    /// Appends a packet of so many samples.
    pub(super) fn packet(&mut self, now: Instant, packet: Vec<u8>, samples: u64) -> io::Result<()> {
        let end = if self.in_page >= PAGE { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
        self.write_held(end)?;
        self.granule += samples;
        self.in_page += samples;
        self.held = Some(packet);
        self.waits_since.get_or_insert(now);
        Ok(())
    }

    /// Appends silence.
    pub(super) fn silence(&mut self, now: Instant, mut samples: u64) -> io::Result<()> {
        while let Some((packet, length)) = opus::silence(samples) {
            self.packet(now, packet.to_vec(), length)?;
            samples -= length;
        }
        Ok(())
    }

    /// Writes what has waited long enough.
    pub(super) fn flush(&mut self, now: Instant) -> io::Result<()> {
        match self.waits_since {
            Some(since) if now.saturating_duration_since(since) >= PATIENCE => {
                self.write_held(PacketWriteEndInfo::EndPage)
            }
            _ => Ok(()),
        }
    }

    /// Ends the stream. A last silence lets decoders give what they hold back, and carries the mark of the end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write_held(PacketWriteEndInfo::NormalPacket)?;
        if let Some((packet, samples)) = opus::silence(SILENCE_LONGEST) {
            self.granule += samples;
            let end = PacketWriteEndInfo::EndStream;
            self.pages.write_packet(packet.to_vec(), self.serial, end, self.granule)?;
        }
        self.pages.inner_mut().flush()
    }

    fn write_held(&mut self, end: PacketWriteEndInfo) -> io::Result<()> {
        let Some(packet) = self.held.take() else { return Ok(()) };
        let ends_page = end == PacketWriteEndInfo::EndPage;
        self.pages.write_packet(packet, self.serial, end, self.granule)?;
        if ends_page {
            (self.in_page, self.waits_since) = (0, None);
            self.pages.inner_mut().flush()?;
        }
        Ok(())
    }
}

/// A new file in the folder for a speaker; a file that exists already stays as it is.
pub(super) fn create(folder: &Path, name: &str, key: &str) -> io::Result<(PathBuf, File)> {
    let stem = stem(name, key);
    for number in 1..=MOST_OF_ONE {
        let path = match number {
            1 => folder.join(format!("{stem}.opus")),
            more => folder.join(format!("{stem}-{more}.opus")),
        };
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "there are too many recordings of one speaker"))
}

/// The display name with everything replaced that means something to a file system, and the beginning of the id.
fn stem(name: &str, key: &str) -> String {
    let safe = |letter: char| if letter.is_alphanumeric() || matches!(letter, '-' | '_') { letter } else { '_' };
    let mut stem = String::new();
    for letter in name.trim().chars().map(safe) {
        if stem.len() + letter.len_utf8() > NAME_BYTES {
            break;
        }
        stem.push(letter);
    }
    let id: String = key.chars().filter(char::is_ascii_alphanumeric).take(KEY_LETTERS).collect();
    let name = if stem.trim_matches('_').is_empty() { "nameless" } else { stem.as_str() };
    format!("{name}-{id}")
}

#[cfg(test)]
mod tests {
    use ogg::PacketReader;

    use super::*;

    /// A sink that can be looked into while it is written to.
    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        /// The audio packets that a reader finds now, the position of the last page, and whether it is the last.
        fn read(&self) -> (usize, u64, bool) {
            let bytes = self.0.lock().expect("not poisoned").clone();
            let mut reader = PacketReader::new(io::Cursor::new(bytes));
            let (mut packets, mut granule, mut ended) = (0, 0, false);
            while let Ok(Some(packet)) = reader.read_packet() {
                packets += 1;
                (granule, ended) = (packet.absgp_page(), packet.last_in_stream());
            }
            (packets - 2, granule, ended)
        }
    }

    #[test]
    fn pages_end_every_second_of_speech_and_every_second_of_time() {
        let (sink, start) = (Shared::default(), Instant::now());
        let mut file = OggOpus::begin(sink.clone(), 7, "Ada").expect("written");
        for _ in 0..120 {
            file.packet(start, vec![0x48, 1], 960).expect("written");
        }
        let (packets, granule, _) = sink.read();
        assert!(packets >= 100 && granule == packets as u64 * 960, "{packets} {granule}");
        file.flush(start + PATIENCE / 2).expect("nothing to do");
        assert!(sink.read().0 < 120, "not yet");
        file.flush(start + PATIENCE).expect("written");
        assert_eq!(sink.read(), (120, 120 * 960, false), "all of it is there, were the program killed now");
        file.silence(start, 2 * 960 + 480).expect("written");
        file.finish().expect("written");
        assert_eq!(sink.read(), (124, 123 * 960 + 480, true));
    }

    #[test]
    fn an_empty_stream_is_one_too() {
        let sink = Shared::default();
        OggOpus::begin(sink.clone(), 7, "Ada").and_then(OggOpus::finish).expect("written");
        assert_eq!(sink.read(), (1, 960, true));
    }

    #[test]
    fn names_of_files_are_made_of_harmless_letters() {
        for (name, expected) in [
            ("Ada", "Ada-3f2a4711"),
            ("../../etc/passwd", "______etc_passwd-3f2a4711"),
            ("Zoë Müller", "Zoë_Müller-3f2a4711"),
            ("con", "con-3f2a4711"),
            ("\u{1b}[2J\0", "__2J_-3f2a4711"),
            ("…", "nameless-3f2a4711"),
            ("", "nameless-3f2a4711"),
        ] {
            assert_eq!(stem(name, "3f2a4711-0000-0000"), expected);
        }
        assert!(stem(&"日".repeat(64), "3f2a").len() <= NAME_BYTES + 5);
    }
}
