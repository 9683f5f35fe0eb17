//! Files with keys: how they are read, and what is said when they cannot be. Their contents never
//! are in a message.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Reads a file that holds a secret, and refuses one that others than its owner may use.
pub(crate) fn read_private(path: &Path) -> Result<Vec<u8>, String> {
    match open_to_others(path) {
        Some(mode) => Err(named(
            path,
            &format_args!("others may use it (mode {mode:o}); run chmod 600 on it"),
        )),
        None => read(path),
    }
}

/// The permissions of a file that others than its owner may use. Only Unix has such a mode.
pub(crate) fn open_to_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Reads a file that others may read as well.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    content(path).map_err(|problem| named(path, &problem))
}

/// The content of a file, or what is wrong with it. A pipe without a writer would be waited for
/// without end; one that a shell has opened (`<(COMMAND)`) is read.
pub(crate) fn content(path: &Path) -> Result<Vec<u8>, String> {
    let is_opened = path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd");
    let found = std::fs::metadata(path).map_err(|error| file_words(&error))?;
    if !found.is_file() && !found.is_dir() && !is_opened {
        return Err("it is a pipe or a device; name a file".to_owned());
    }
    std::fs::read(path).map_err(|error| file_words(&error))
}

/// A problem with the file that it is about.
pub(crate) fn named(path: &Path, problem: &dyn fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

/// What is wrong with a file, and what to do about it. The system's own words go to the log.
pub(crate) fn file_words(error: &io::Error) -> String {
    let (why, next) = file_problem(error);
    format!("{why}; {next}")
}

/// What is wrong with a file, for a sentence that goes on with what to do about it.
pub(crate) fn file_fault(error: &io::Error) -> &'static str {
    file_problem(error).0
}

fn file_problem(error: &io::Error) -> (&'static str, &'static str) {
    tracing::debug!(%error, "a file was refused");
    match error.kind() {
        ErrorKind::NotFound => ("there is no such file", "check the path"),
        ErrorKind::NotADirectory => ("a part of its path is not a folder", "check the path"),
        ErrorKind::IsADirectory => ("it is a folder", "name the file in it"),
        ErrorKind::PermissionDenied => {
            ("this user has no permission for it", "let the server's user read it")
        }
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            ("no file can have this name", "name another")
        }
        ErrorKind::OutOfMemory | ErrorKind::FileTooLarge => {
            ("there is no memory for it", "name another file, or end other programs")
        }
        ErrorKind::NetworkDown | ErrorKind::StaleNetworkFileHandle | ErrorKind::TimedOut => {
            ("its disk is on the network, and does not answer", "copy it to a disk of this machine")
        }
        _ if is_out_of_files(error) => (
            "this program has too many files and connections open",
            "raise the limit (systemd: LimitNOFILE, Docker: --ulimit nofile)",
        ),
        _ if is_circle(error) => ("its links lead in a circle", "name the file itself"),
        _ => ("it cannot be read", "copy it to another place, or look at what the disk reports"),
    }
}

/// Symbolic links that lead in a circle.
fn is_circle(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        error.raw_os_error().map(nix::errno::Errno::from_raw) == Some(nix::errno::Errno::ELOOP)
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Whether an error means that no more files can be opened.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        let code = error.raw_os_error().map(nix::errno::Errno::from_raw);
        matches!(code, Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nothing_is_written_to_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("voicemesh-pipe-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&path).status();
        assert!(made.unwrap().success());
        let (private, other) = (read_private(&path), read(&path));
        std::fs::remove_file(&path).unwrap();
        assert!(private.unwrap_err().contains("it is a pipe"));
        assert!(other.unwrap_err().contains("it is a pipe"));
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_may_use_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("voicemesh-secret-{}", std::process::id()));
        std::fs::write(&path, "0123456789abcdef").unwrap();
        for (mode, fits) in
            [(0o644, false), (0o640, false), (0o604, false), (0o600, true), (0o400, true)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read_private(&path);
            assert_eq!(read.is_ok(), fits, "{mode:o}");
            assert!(
                read.err().is_none_or(
                    |problem| problem.contains("chmod 600") && !problem.contains("012345")
                )
            );
        }
        std::fs::remove_file(&path).unwrap();
        let missing = read_private(&path).unwrap_err();
        let expected = format!("{}: there is no such file; check the path", path.display());
        assert_eq!(missing, expected);
    }

    /// Some errors have a kind of their own, others only a number.
    #[test]
    fn whatever_is_wrong_with_a_file_is_said_in_our_words_with_the_next_step() {
        let mut said = std::collections::BTreeSet::new();
        for number in 1..200 {
            let error = io::Error::from_raw_os_error(number);
            let words = file_words(&error);
            let of_system = error.to_string();
            let of_system = of_system.split(" (os error").next().unwrap();
            assert!(!words.to_lowercase().contains(&of_system.to_lowercase()), "{words}");
            assert!(!words.contains(&number.to_string()), "{words}");
            let (why, next) = words.split_once("; ").expect("a next step");
            assert!(!why.is_empty() && !next.is_empty());
            said.insert(words);
        }
        assert!(cfg!(windows) || said.len() >= 8, "{said:#?}");
    }
}
