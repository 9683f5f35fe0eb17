//! Files with keys: how they are read, and what is said when they cannot be. Their contents never are in a message.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Reads a file that holds a secret, which only its owner may be able to use.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = std::fs::metadata(path).map_err(|error| named(path, &file_words(&error)))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(named(path, &format_args!("others may use it (mode {mode:o}); run chmod 600 on it")));
        }
    }
    read(path)
}

/// Reads a file that others may read as well.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| named(path, &file_words(&error)))
}

/// A problem with the file that it is about.
pub(crate) fn named(path: &Path, problem: &dyn fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

/// Why a file cannot be read, without the system's number.
pub(crate) fn file_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::NotADirectory => "a part of its path is no folder".to_owned(),
        ErrorKind::PermissionDenied => "this user has no permission for it".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_may_use_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("voicemesh-secret-{}", std::process::id()));
        std::fs::write(&path, "0123456789abcdef").unwrap();
        for (mode, fits) in [(0o644, false), (0o640, false), (0o604, false), (0o600, true), (0o400, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read_secret(&path);
            assert_eq!(read.is_ok(), fits, "{mode:o}");
            assert!(read.err().is_none_or(|problem| problem.contains("chmod 600") && !problem.contains("012345")));
        }
        std::fs::remove_file(&path).unwrap();
        let missing = read_secret(&path).unwrap_err();
        assert!(missing.contains("no such file") && !missing.contains("os error"), "{missing}");
    }
}
