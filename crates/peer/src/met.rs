//! Who encrypted in a room in earlier runs of this program: a member that cannot now, as the server
//! says, is another than one that never could (SECURITY.md).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use voicemesh_wire::PeerId;

use crate::identity::write_private;

/// Members that are remembered in one room; those met longest ago are forgotten first.
const MOST: usize = 500;
/// Members that are added in one stay. Who may join can come as someone else again and again.
const MOST_NEW: usize = 64;
/// A peer id as text.
const ID_BYTES: usize = 36;
/// More than a stay leaves behind.
const FILE_BYTES: u64 = ((2 * MOST + MOST_NEW) * (ID_BYTES + 1)) as u64;

/// The members that encrypted, one line each, the latest last.
#[derive(Debug, Default)]
pub(crate) struct MetMembers {
    before: BTreeSet<String>,
    /// Written in this stay.
    now: BTreeSet<PeerId>,
    new: usize,
    /// With the lock of the instance: no other process writes it meanwhile.
    file: Option<(File, File)>,
}

impl MetMembers {
    /// Reads what is kept, and makes the file as short as it can be.
    pub(crate) fn open(path: &Path, lock: File) -> Self {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(path) {
            // What cannot be read is as good as missing.
            let _ = file.take(FILE_BYTES).read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut before = BTreeSet::new();
        let mut lines: Vec<&str> = text
            .lines()
            .rev()
            .filter(|line| line.len() == ID_BYTES && before.insert((*line).to_owned()))
            .take(MOST)
            .collect();
        lines.reverse();
        let kept: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
        let is_short = kept == text;
        let shortened = if is_short { Ok(()) } else { replace(path, &kept) };
        let file = shortened.and_then(|()| append_to(path));
        if let Err(error) = &file {
            tracing::debug!(%error, "who encrypts cannot be kept");
        }
        Self { before, file: file.ok().map(|file| (file, lock)), ..Self::default() }
    }

    /// Whether a member encrypted in an earlier run.
    pub(crate) fn encrypted_before(&self, peer: PeerId) -> bool {
        !self.before.is_empty() && self.before.contains(&peer.to_string())
    }

    /// A member encrypts: it is remembered from the next run on.
    pub(crate) fn encrypts(&mut self, peer: PeerId) {
        let is_new = !self.encrypted_before(peer);
        if self.now.contains(&peer) || (is_new && self.new == MOST_NEW) {
            return;
        }
        self.new += usize::from(is_new);
        self.now.insert(peer);
        if let Some((file, _)) = &mut self.file
            && let Err(error) = file.write_all(format!("{peer}\n").as_bytes())
        {
            tracing::debug!(%error, "who encrypts cannot be kept");
            self.file = None;
        }
    }
}

/// Beside the former file, which counts until the new one is whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("met.new");
    write_private(&new, text.as_bytes()).and_then(|_| fs::rename(&new, path))
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use voicemesh_wire::{ClientId, SessionId};

    use super::*;

    fn peer(number: u16) -> PeerId {
        PeerId::of_client(SessionId::new(1).unwrap(), ClientId(number))
    }

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("voicemesh-met-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn open(&self) -> MetMembers {
            MetMembers::open(&self.file(), File::create(self.0.join("lock")).unwrap())
        }

        fn file(&self) -> PathBuf {
            self.0.join("room-0.met")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn who_encrypted_is_known_from_the_next_run_on() {
        let folder = Folder::new("next");
        let mut first = folder.open();
        first.encrypts(peer(1));
        assert!(!first.encrypted_before(peer(1)), "in this run it is only seen");
        let mut second = folder.open();
        assert!(second.encrypted_before(peer(1)) && !second.encrypted_before(peer(2)));
        second.encrypts(peer(2));
        second.encrypts(peer(1));
        second.encrypts(peer(1));
        let third = folder.open();
        assert!([1, 2].map(peer).iter().all(|peer| third.encrypted_before(*peer)));
        let lines = fs::read_to_string(folder.file()).unwrap();
        assert_eq!(lines, format!("{}\n{}\n", peer(2), peer(1)), "each once, the latest last");
    }

    #[test]
    fn what_is_damaged_is_left_out_and_the_file_stays_short() {
        let folder = Folder::new("damaged");
        let whole = format!("{}\n", peer(7));
        for (damaged, kept) in [
            (format!("{}\n{whole}", &whole[..20]), whole.as_str()),
            (format!("{whole}{}", &whole[..20]), &whole),
            (whole.repeat(2_000), &whole),
            ("\u{0}".repeat(100_000), ""),
        ] {
            fs::write(folder.file(), damaged).unwrap();
            assert_eq!(folder.open().encrypted_before(peer(7)), !kept.is_empty());
            assert_eq!(fs::read_to_string(folder.file()).unwrap(), kept);
        }
        fs::write(folder.file(), [0xff; 80]).unwrap();
        folder.open().encrypts(peer(8));
        assert!(folder.open().encrypted_before(peer(8)));
    }

    #[test]
    fn strangers_without_end_push_only_some_of_those_out_who_are_known() {
        let folder = Folder::new("many");
        for stay in 0..10 {
            let mut met = folder.open();
            (0..1_000).for_each(|number| met.encrypts(peer(stay * 1_000 + number)));
        }
        let met = folder.open();
        assert_eq!(met.before.len(), MOST);
        assert!(met.encrypted_before(peer(9_063)) && !met.encrypted_before(peer(9_064)));
        assert!(!met.encrypted_before(peer(0)) && met.encrypted_before(peer(3_000)));
    }

    #[test]
    fn without_a_file_no_one_is_known_and_nothing_fails() {
        let folder = Folder::new("none");
        fs::create_dir(folder.file()).unwrap();
        let mut met = folder.open();
        met.encrypts(peer(1));
        assert!(!folder.open().encrypted_before(peer(1)));
    }
}
