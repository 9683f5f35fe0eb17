//! Why something could not be done, for people and for programs.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// A sentence for people, and the error of the system or of a library from which it follows, if
/// there was one: [`source`](Error::source). Two are equal if they say the same.
#[derive(Clone)]
pub struct Cause {
    words: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cause {
    /// What is said of an error.
    pub fn new(
        words: impl Into<Cow<'static, str>>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self { words: words.into(), source: Some(Arc::new(source)) }
    }

    /// What is wrong with a file.
    pub fn of_file(error: io::Error) -> Self {
        Self::new(file_words(&error), error)
    }

    /// Why the system gives no thread, socket or runtime.
    pub fn of_system(error: io::Error) -> Self {
        Self::new(system_words(&error), error)
    }

    /// The same error, of which something else is said.
    #[must_use]
    pub fn said_as(self, say: impl FnOnce(&str) -> String) -> Self {
        Self { words: say(&self.words).into(), source: self.source }
    }

    /// The sentence.
    pub fn words(&self) -> &str {
        &self.words
    }
}

impl From<&'static str> for Cause {
    fn from(words: &'static str) -> Self {
        Self { words: words.into(), source: None }
    }
}

impl From<String> for Cause {
    fn from(words: String) -> Self {
        Self { words: words.into(), source: None }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{:?} ({source:?})", self.words),
            None => write!(f, "{:?}", self.words),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl Eq for Cause {}

/// Why the system gives this program no thread, socket or runtime. Its own words go to the log.
#[must_use]
pub fn system_words(error: &io::Error) -> String {
    tracing::debug!(%error, "the system refused");
    let words = match error.kind() {
        ErrorKind::WouldBlock => "it allows this user, or this program, no more threads",
        ErrorKind::OutOfMemory => "it has no memory left",
        ErrorKind::PermissionDenied => "it does not allow it",
        ErrorKind::Unsupported => "it is not able to",
        _ => match error.raw_os_error() {
            Some(number) if is_out_of_files(number) => {
                "this program has too many files and connections open"
            }
            Some(_) | None => "the reason is not known here; the log at level debug has it",
        },
    };
    words.to_owned()
}

/// EMFILE and ENFILE, the same on all Unix systems; WSAEMFILE.
const fn is_out_of_files(number: i32) -> bool {
    if cfg!(windows) { number == 10_024 } else { matches!(number, 23 | 24) }
}

/// What is wrong with a file. The system's own words go to the log.
#[must_use]
pub fn file_words(error: &io::Error) -> String {
    tracing::debug!(%error, "a file was refused");
    let words = match error.kind() {
        ErrorKind::NotFound => "there is no such file or folder",
        ErrorKind::PermissionDenied => "this user has no permission for it",
        ErrorKind::IsADirectory => "it is a folder",
        ErrorKind::NotADirectory => "a part of its path is not a folder",
        ErrorKind::DirectoryNotEmpty => "there are files in the folder",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full",
        ErrorKind::FileTooLarge => "no file can be that large there",
        ErrorKind::ReadOnlyFilesystem => "the disk is read-only",
        ErrorKind::ResourceBusy | ErrorKind::ExecutableFileBusy | ErrorKind::WouldBlock => {
            "another program has locked it"
        }
        ErrorKind::AlreadyExists => "it is there already",
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => "no file can have this name",
        ErrorKind::BrokenPipe => "the program that read it has ended",
        ErrorKind::NetworkDown | ErrorKind::StaleNetworkFileHandle | ErrorKind::TimedOut => {
            "the disk is on the network, and does not answer"
        }
        ErrorKind::OutOfMemory => "there is no memory left",
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => "its content is damaged",
        ErrorKind::Unsupported => "this system, or this disk, is not able to",
        _ => match error.raw_os_error() {
            Some(number) if is_out_of_files(number) => {
                "this program has too many files and connections open"
            }
            Some(EIO) if cfg!(unix) => "the disk fails to read or write it",
            Some(ELOOP) if cfg!(target_os = "linux") => "its links lead in a circle",
            // A sentence of this program.
            None if error.get_ref().is_some() => return error.to_string(),
            Some(_) | None => "the system does not say what is wrong with it in words",
        },
    };
    words.to_owned()
}

/// The content of a small file, such as a key. A pipe is refused, because one that has no writer is
/// waited for without end; one that a shell has opened (`<(COMMAND)`) is read.
///
/// # Errors
///
/// As the system says it; what is no file is refused in our words.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let is_opened = path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd");
    let found = std::fs::metadata(path)?;
    if found.is_file() || found.is_dir() || is_opened {
        return std::fs::read(path);
    }
    Err(io::Error::other("it is a pipe or a device, not a file"))
}

/// A disk that fails, on all Unix systems.
const EIO: i32 = 5;
/// Symbolic links that lead in a circle, on Linux.
const ELOOP: i32 = 40;
