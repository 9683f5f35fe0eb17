//! One Ogg/Opus file (RFC 7845): packets in, pages out.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ogg::{PacketWriteEndInfo, PacketWriter};
use voicemesh_device::{create_beside, rename_finished, unfinished};

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

/// Where the flags of a page stand, and its checksum (RFC 3533 §6).
const FLAGS: usize = 5;
const CHECKSUM: usize = 22;
/// Up to the count of segments, which comes last.
const PAGE_HEADER: usize = 27;
/// The flag of a stream's last page.
const END_OF_STREAM: u8 = 4;

/// Where a stream is written to.
pub(super) trait Sink: Write {
    /// Writes over what stands from this place on, in bytes, and lets the stream end there.
    fn end_with(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Sink for File {
    fn end_with(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.seek(SeekFrom::Start(at)).and_then(|_| self.write_all(bytes));
        let length = at + bytes.len() as u64;
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length))?;
        written
    }
}

/// A stream that is being written.
pub(super) struct OggOpus<W: Sink> {
    /// Whole pages that the sink has not taken.
    pages: PacketWriter<'static, Vec<u8>>,
    sink: W,
    /// Bytes of whole pages in the sink.
    written: u64,
    /// The last of them that holds sound.
    last_page: Vec<u8>,
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

impl<W: Sink> OggOpus<W> {
    /// Begins a stream and writes its two headers.
    pub(super) fn begin(sink: W, serial: u32, name: &str) -> io::Result<Self> {
        let pages = PacketWriter::new(Vec::new());
        let (last_page, held, waits_since) = (Vec::new(), None, None);
        let mut stream = Self {
            pages,
            sink,
            written: 0,
            last_page,
            serial,
            granule: 0,
            in_page: 0,
            held,
            waits_since,
        };
        stream.pages.write_packet(opus::head(), serial, PacketWriteEndInfo::EndPage, 0)?;
        stream.pages.write_packet(opus::tags(name), serial, PacketWriteEndInfo::EndPage, 0)?;
        stream.write_pages()?;
        stream.last_page.clear();
        Ok(stream)
    }

    /// Appends a packet of so many samples.
    pub(super) fn packet(&mut self, now: Instant, packet: Vec<u8>, samples: u64) -> io::Result<()> {
        let end = if self.in_page >= PAGE {
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
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

    /// Ends the stream. A last silence lets decoders give what they hold back, and carries the mark
    /// of the end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.write_held(PacketWriteEndInfo::NormalPacket)?;
        if let Some((packet, samples)) = opus::silence(SILENCE_LONGEST) {
            self.granule += samples;
            let end = PacketWriteEndInfo::EndStream;
            self.pages.write_packet(packet.to_vec(), self.serial, end, self.granule)?;
        }
        self.write_pages()
    }

    /// Ends the stream with the last whole page, where the sink takes no more. False if there is no
    /// sound up to there.
    pub(super) fn end_as_it_is(&mut self) -> bool {
        if self.last_page.is_empty() {
            return false;
        }
        // A full disk takes what replaces as much; without the mark of the end players play the
        // same.
        let marked = marked_as_last(&self.last_page);
        let _ = self.sink.end_with(self.written - marked.len() as u64, &marked);
        true
    }

    fn write_held(&mut self, end: PacketWriteEndInfo) -> io::Result<()> {
        let Some(packet) = self.held.take() else { return Ok(()) };
        let ends_page = end == PacketWriteEndInfo::EndPage;
        self.pages.write_packet(packet, self.serial, end, self.granule)?;
        if ends_page {
            (self.in_page, self.waits_since) = (0, None);
        }
        self.write_pages()
    }

    /// Hands whole pages to the sink. What it does not take is handed over again the next time.
    fn write_pages(&mut self) -> io::Result<()> {
        let pages = self.pages.inner_mut();
        if pages.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.sink.write_all(pages) {
            let _ = self.sink.end_with(self.written, &[]);
            return Err(error);
        }
        self.written += pages.len() as u64;
        std::mem::swap(&mut self.last_page, pages);
        pages.clear();
        Ok(())
    }
}

/// Whole pages, the last of them with the flag of a stream's last page.
fn marked_as_last(pages: &[u8]) -> Vec<u8> {
    let mut marked = pages.to_vec();
    let mut last = 0;
    while let Some(next) =
        page_length(&marked[last..]).map(|length| last + length).filter(|next| *next < marked.len())
    {
        last = next;
    }
    let page = &mut marked[last..];
    if page.len() >= PAGE_HEADER {
        page[FLAGS] |= END_OF_STREAM;
        page[CHECKSUM..CHECKSUM + 4].fill(0);
        let checksum = checksum(page).to_le_bytes();
        page[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum);
    }
    marked
}

/// The length of the page that begins here, in bytes.
fn page_length(page: &[u8]) -> Option<usize> {
    let segments = usize::from(*page.get(PAGE_HEADER - 1)?);
    let sizes = page.get(PAGE_HEADER..PAGE_HEADER + segments)?;
    Some(PAGE_HEADER + segments + sizes.iter().map(|size| usize::from(*size)).sum::<usize>())
}

/// The checksum of a page whose own place for it is zero (RFC 3533 §6).
fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0, |checksum: u32, byte| {
        let shifted =
            |checksum: u32, _| checksum << 1 ^ if checksum >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        (0..8).fold(checksum ^ u32::from(*byte) << 24, shifted)
    })
}

/// A new file in the folder for a speaker, and the name that it gets when it is finished; a file
/// that exists already stays as it is.
pub(super) fn create(folder: &Path, name: &str, key: &str) -> io::Result<(PathBuf, File)> {
    create_beside(names(folder, &stem(name, key)))
}

/// Gives the finished file its name, or the next if a file of that name has come meanwhile.
pub(super) fn rename(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    rename_finished(&unfinished(path), names(folder, &stem))
}

fn names(folder: &Path, stem: &str) -> impl Iterator<Item = PathBuf> {
    (1..=MOST_OF_ONE).map(move |number| match number {
        1 => folder.join(format!("{stem}.opus")),
        more => folder.join(format!("{stem}-{more}.opus")),
    })
}

/// The display name with everything replaced that means something to a file system, and the
/// beginning of the id.
fn stem(name: &str, key: &str) -> String {
    let safe = |letter: char| {
        if letter.is_alphanumeric() || matches!(letter, '-' | '_') { letter } else { '_' }
    };
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

    /// A sink that can be looked into while it is written to, and takes at most so many bytes.
    #[derive(Clone)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>, usize);

    impl Default for Shared {
        fn default() -> Self {
            Self(std::sync::Arc::default(), usize::MAX)
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.0.lock().expect("not poisoned");
            let length = bytes.len().min(self.1 - taken.len());
            taken.extend(&bytes[..length]);
            if length == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(length) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Shared {
        fn end_with(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let mut taken = self.0.lock().expect("not poisoned");
            taken.truncate(at as usize);
            taken.extend(bytes);
            Ok(())
        }
    }

    impl Shared {
        /// The audio packets that a reader finds now, the position of the last page, and whether it
        /// is the last.
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
        assert_eq!(
            sink.read(),
            (120, 120 * 960, false),
            "all of it is there, were the program killed now"
        );
        file.silence(start, 2 * 960 + 480).expect("written");
        file.finish().expect("written");
        assert_eq!(sink.read(), (124, 123 * 960 + 480, true));
    }

    #[test]
    fn an_empty_stream_is_one_too() {
        let sink = Shared::default();
        OggOpus::begin(sink.clone(), 7, "Ada").and_then(|mut file| file.finish()).expect("written");
        assert_eq!(sink.read(), (1, 960, true));
    }

    /// Packets of 100 bytes, until the sink has taken all that it takes.
    fn filled(sink: &Shared) -> io::Result<OggOpus<Shared>> {
        let (start, packet) =
            (Instant::now(), [[0x48; 4].as_slice(), b"OggS", &[0x48; 92]].concat());
        let mut file = OggOpus::begin(sink.clone(), 7, "Ada")?;
        while file.packet(start, packet.clone(), 960).is_ok() {}
        Ok(file)
    }

    #[test]
    fn a_stream_on_a_full_disk_ends_with_its_last_whole_page() {
        for most in [20_000, 20_100, 23_456] {
            let sink = Shared(std::sync::Arc::default(), most);
            let mut file = filled(&sink).expect("there is room for the beginning");
            assert!(file.finish().is_err(), "there is still no room");
            let (whole, ..) = sink.read();
            assert!(file.end_as_it_is(), "there is sound in it");
            let (packets, granule, is_ended) = sink.read();
            assert_eq!((packets, granule, is_ended), (whole, packets as u64 * 960, true), "{most}");
            assert!(packets >= 100, "{packets}");
        }
    }

    #[test]
    fn a_stream_for_which_there_was_no_room_has_no_sound() {
        assert!(filled(&Shared(std::sync::Arc::default(), 50)).is_err());
        let mut file = filled(&Shared(std::sync::Arc::default(), 1_000))
            .expect("there is room for the beginning");
        assert!(!file.end_as_it_is());
    }

    #[test]
    fn a_disk_that_has_room_again_takes_all() {
        let sink = Shared(std::sync::Arc::default(), 20_000);
        let mut file = filled(&sink).expect("there is room for the beginning");
        let samples = file.granule;
        file.sink.1 = usize::MAX;
        file.finish().expect("there is room");
        // The last silence besides.
        assert_eq!(sink.read(), (samples as usize / 960 + 1, samples + 960, true));
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
