//! The installation's secret on disk, and which instance of it this process is (PROTOCOL.md,
//! section 2).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use voicemesh_device::file_words;
use voicemesh_e2ee::{Configuration, KeyRing, RoomKey, Seed};
use voicemesh_wire::identity::{IdentityProof, InstallationSecret, prove};
use voicemesh_wire::limits::TICKET_BYTES;
use voicemesh_wire::signaling::{Password, Ticket};

use crate::met::MetMembers;

const SECRET_FILE: &str = "identity";
/// Processes of one installation in one room at a time; a further one joins with a new secret.
const INSTANCES: u32 = 64;
const INSTANCES_FOLDER: &str = "instances";
/// Other members whose keys are kept at a time; more than servers let into a room.
const MEMBERS: usize = 4096;

/// The longest content of a file that keeps a ticket.
const TICKET_FILE_BYTES: u64 = TICKET_BYTES as u64 + 64;

/// Who this process is in one room. Holds the instance as long as it lives.
#[derive(Debug)]
pub(crate) struct Identity {
    pub proof: IdentityProof,
    secret: InstallationSecret,
    /// Where a damaged secret was moved to: this peer is a new one.
    pub replaced: Option<PathBuf>,
    /// Why the secret cannot be kept: this peer is a new one each time.
    unkept: Option<String>,
    /// Locked while this process is this peer, and where its ticket for the room is kept.
    instance: Option<(PathBuf, File)>,
    /// As in the proof.
    number: u32,
}

/// What is kept of one room between runs.
#[derive(Debug)]
pub(crate) struct RoomFiles {
    pub tickets: TicketFile,
    pub met: MetMembers,
}

/// Where a peer's newest ticket is kept, so that it counts after the program was started again as
/// well.
#[derive(Debug)]
pub(crate) struct TicketFile {
    /// With the lock of the instance: no other process writes it meanwhile.
    file: Option<(PathBuf, File)>,
    password: String,
}

impl TicketFile {
    pub(crate) fn keep(&mut self, ticket: &Ticket) {
        let Some((path, _)) = &self.file else { return };
        let text = format!("{} {}", self.password, ticket.as_str());
        // Beside the former one, which counts until the new one is whole.
        let new = path.with_extension("ticket.new");
        let written = write_private(&new, text.as_bytes()).and_then(|_| fs::rename(&new, path));
        if let Err(error) = written {
            tracing::debug!(%error, "the ticket cannot be kept");
            self.file = None;
        }
    }
}

impl Identity {
    /// A code and a sentence for the person, if this peer is a new one because its secret was
    /// damaged or cannot be kept.
    pub(crate) fn warning(&self) -> Option<(&'static str, String)> {
        if let Some(why) = &self.unkept {
            let sentence = format!(
                "You are a new person in every room each time: your identity cannot be kept ({why}). Choose a folder in which this program may write."
            );
            return Some(("identity-not-kept", sentence));
        }
        let path = self.replaced.as_ref()?.display();
        let sentence = format!(
            "You are a new person in every room: the file with this installation's identity was damaged. It is kept as {path}."
        );
        Some(("identity-replaced", sentence))
    }

    /// The same installation is the same peer in the same room each time; a second process takes
    /// the next instance. If nothing can be kept on disk, the peer is a new one each time.
    pub(crate) fn load(state_dir: Option<&Path>, origin: &str, room: &str) -> io::Result<Self> {
        let Some(dir) = state_dir_or_default(state_dir) else {
            return Self::ephemeral(origin, room);
        };
        match Self::from_dir(&dir, origin, room) {
            Ok(identity) => Ok(identity),
            Err(error) => {
                let instances = dir.join(INSTANCES_FOLDER);
                let place = if instances.is_file() { &instances } else { &dir };
                let why = match error.kind() {
                    io::ErrorKind::AlreadyExists => {
                        "a file stands where a folder should be".to_owned()
                    }
                    _ => file_words(&error),
                };
                let unkept = Some(format!("{}: {why}", place.display()));
                Ok(Self { unkept, ..Self::ephemeral(origin, room)? })
            }
        }
    }

    /// The ticket that was kept for a join with this password, if there is one.
    pub(crate) fn ticket(&self, password: Option<&Password>) -> Option<Ticket> {
        let (path, _) = self.instance.as_ref()?;
        let mut text = String::new();
        File::open(path).ok()?.take(TICKET_FILE_BYTES).read_to_string(&mut text).ok()?;
        let (kept_for, ticket) = text.split_once(' ')?;
        (kept_for == self.fingerprint(password)).then(|| Ticket::from(ticket.to_owned()))
    }

    /// The key ring of this peer in a room of a server, for one stay.
    pub(crate) fn key_ring(
        &self,
        origin: &str,
        room: &str,
        room_key: Option<RoomKey>,
    ) -> io::Result<KeyRing> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let configuration = Configuration {
            secret: &self.secret,
            origin,
            room,
            instance: self.number,
            peer: self.proof.peer_id(),
            room_key,
            max_members: MEMBERS,
        };
        Ok(KeyRing::new(configuration, Seed::new(seed)))
    }

    /// What further runs in this room find.
    pub(crate) fn room_files(&self, password: Option<&Password>) -> RoomFiles {
        let place = self.instance.as_ref();
        let met = place.and_then(|(ticket, lock)| {
            Some(MetMembers::open(&ticket.with_extension("met"), lock.try_clone().ok()?))
        });
        RoomFiles { tickets: self.ticket_file(password), met: met.unwrap_or_default() }
    }

    fn ticket_file(&self, password: Option<&Password>) -> TicketFile {
        let file = self
            .instance
            .as_ref()
            .and_then(|(path, lock)| Some((path.clone(), lock.try_clone().ok()?)));
        TicketFile { file, password: self.fingerprint(password) }
    }

    /// Tells whether two joins name the same password; without the installation's secret nothing
    /// follows from it.
    fn fingerprint(&self, password: Option<&Password>) -> String {
        let password = password.map_or(&[][..], Password::as_bytes);
        prove(&self.secret, "password", &String::from_utf8_lossy(password), 0).peer_id().to_string()
    }

    fn from_dir(dir: &Path, origin: &str, room: &str) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (secret, replaced) = read_or_make_secret(&dir.join(SECRET_FILE))?;
        let locks = dir.join(INSTANCES_FOLDER);
        fs::create_dir_all(&locks)?;
        let place = prove(&InstallationSecret([0; 32]), origin, room, 0).peer_id();
        for instance in 0..INSTANCES {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let path = locks.join(format!("{place}-{instance}"));
            let lock = options.open(&path)?;
            match lock.try_lock() {
                Ok(()) => {
                    let proof = prove(&secret, origin, room, instance);
                    return Ok(Self {
                        proof,
                        secret,
                        replaced,
                        unkept: None,
                        instance: Some((path.with_extension("ticket"), lock)),
                        number: instance,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Self::ephemeral(origin, room)
    }

    fn ephemeral(origin: &str, room: &str) -> io::Result<Self> {
        let secret = random_secret()?;
        Ok(Self {
            proof: prove(&secret, origin, room, 0),
            secret,
            replaced: None,
            unkept: None,
            instance: None,
            number: 0,
        })
    }
}

/// The secret, and where a damaged one was moved to. Two processes that start at once agree on one
/// secret: the first to link its file wins.
fn read_or_make_secret(path: &Path) -> io::Result<(InstallationSecret, Option<PathBuf>)> {
    let mut replaced = None;
    match read_secret(path)? {
        Stored::Whole(secret) => return Ok((secret, None)),
        Stored::Missing => {}
        Stored::Damaged => {
            let aside = path.with_extension(format!("broken-{}", std::process::id()));
            match fs::rename(path, &aside) {
                Ok(()) => replaced = Some(aside),
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    let secret = random_secret()?;
    let own = path.with_extension(format!("{}.new", std::process::id()));
    write_private(&own, &secret.0)?.sync_all()?;
    let linked = fs::hard_link(&own, path);
    fs::remove_file(&own)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    match read_secret(path)? {
        Stored::Whole(secret) => Ok((secret, replaced)),
        Stored::Missing | Stored::Damaged => {
            Err(io::Error::other("the new identity file is damaged at once"))
        }
    }
}

enum Stored {
    Whole(InstallationSecret),
    /// Not as long as a secret, or one byte over and over (a full disk, or a machine that lost
    /// power), or no file.
    Damaged,
    Missing,
}

fn read_secret(path: &Path) -> io::Result<Stored> {
    // A folder, a pipe that would be waited for, a link to nothing.
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    if !is_file && fs::symlink_metadata(path).is_ok() {
        return Ok(Stored::Damaged);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Missing),
        Err(error) => return Err(error),
    };
    let mut kept = Vec::new();
    file.take(33).read_to_end(&mut kept)?;
    Ok(match <[u8; 32]>::try_from(kept) {
        Ok(secret) if secret.iter().any(|byte| *byte != secret[0]) => {
            Stored::Whole(InstallationSecret(secret))
        }
        Ok(_) | Err(_) => Stored::Damaged,
    })
}

pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn random_secret() -> io::Result<InstallationSecret> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(InstallationSecret(secret))
}

/// The folder for what is kept between runs; `None` if there is none on this machine.
pub(crate) fn state_dir_or_default(state_dir: Option<&Path>) -> Option<PathBuf> {
    state_dir.map(Path::to_path_buf).or_else(default_dir)
}

fn default_dir() -> Option<PathBuf> {
    let folders = choose_native_strategy().ok()?;
    // On macOS preferences are property lists, and other files of a program stand with its data.
    let folder = if cfg!(target_os = "macos") { folders.data_dir() } else { folders.config_dir() };
    Some(folder.join("voicemesh"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("voicemesh-identity-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    /// proves: S-01
    #[test]
    fn an_installation_is_the_same_peer_each_time_and_another_in_another_room() {
        let dir = folder("same");
        let id = |room| Identity::load(Some(&dir), "wss://a:443", room).unwrap().proof.peer_id();
        assert_eq!(id("lobby"), id("lobby"));
        assert_ne!(id("lobby"), id("other"));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_second_process_takes_the_next_instance_and_gives_it_back() {
        let dir = folder("second");
        let load = || Identity::load(Some(&dir), "wss://a:443", "lobby").unwrap();
        let (first, second) = (load(), load());
        let ids = [first.proof.peer_id(), second.proof.peer_id()];
        assert_ne!(ids[0], ids[1]);
        drop(first);
        assert_eq!(load().proof.peer_id(), ids[0]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_ticket_is_kept_for_the_same_peer_and_password() {
        let dir = folder("ticket");
        let load = |room| Identity::load(Some(&dir), "wss://a:443", room).unwrap();
        let (password, other) = (Password::from("sesame"), Password::from("other"));
        let ticket = |text: &str| Ticket::from(text.to_owned());
        let first = load("lobby");
        assert!(first.ticket(Some(&password)).is_none());
        // What a process that was killed while it wrote has left.
        let place = first.instance.as_ref().expect("an instance").0.clone();
        fs::write(place.with_extension("ticket.new"), "hal").unwrap();
        let mut file = first.ticket_file(Some(&password));
        file.keep(&ticket("a longer one"));
        file.keep(&ticket("AAEC"));
        let second = load("lobby");
        assert!(second.ticket(Some(&password)).is_none(), "that of another instance is its own");
        drop((first, file));
        let again = load("lobby");
        assert_eq!(again.ticket(Some(&password)), Some(ticket("AAEC")));
        assert!(place.is_file() && !place.with_extension("ticket.new").exists());
        assert!(again.ticket(Some(&other)).is_none() && again.ticket(None).is_none());
        assert!(load("other").ticket(Some(&password)).is_none());
        drop((again, second));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_secret_is_moved_aside_and_made_anew_once() {
        for length in [0, 3, 31, 32, 33] {
            let dir = folder("damaged");
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(SECRET_FILE), vec![7; length]).unwrap();
            let load = || Identity::load(Some(&dir), "wss://a:443", "lobby").unwrap();
            let renewed = load();
            let aside = renewed.replaced.clone().expect("the damaged file was moved");
            assert_eq!(fs::read(aside).unwrap(), vec![7; length]);
            let id = renewed.proof.peer_id();
            drop(renewed);
            let again = load();
            assert_eq!((again.proof.peer_id(), &again.replaced), (id, &None), "{length} bytes");
            fs::remove_dir_all(dir).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_moved_aside_as_well() {
        type Make = fn(&Path) -> bool;
        let makes: [Make; 3] = [
            |path| fs::create_dir(path).is_ok(),
            |path| std::os::unix::fs::symlink("/nowhere", path).is_ok(),
            |path| std::process::Command::new("mkfifo").arg(path).status().unwrap().success(),
        ];
        for make in makes {
            let dir = folder("no-file");
            fs::create_dir_all(&dir).unwrap();
            assert!(make(&dir.join(SECRET_FILE)));
            let load = || Identity::load(Some(&dir), "wss://a:443", "lobby").unwrap();
            let renewed = load();
            assert!(renewed.replaced.is_some() && renewed.unkept.is_none(), "{renewed:?}");
            let id = renewed.proof.peer_id();
            drop(renewed);
            assert_eq!(load().proof.peer_id(), id);
            fs::remove_dir_all(dir).unwrap();
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_still_gives_an_identity() {
        let dir = folder("file");
        fs::write(&dir, "not a folder").unwrap();
        let identity = Identity::load(Some(&dir), "wss://a:443", "lobby").unwrap();
        let (code, sentence) = identity.warning().expect("it is said");
        assert!(
            code == "identity-not-kept" && sentence.contains(dir.to_str().unwrap()),
            "{sentence}"
        );
        assert!(sentence.contains("a file stands where a folder should be"), "{sentence}");
        assert!(sentence.ends_with("Choose a folder in which this program may write."));
        fs::remove_file(dir).unwrap();
    }
}
