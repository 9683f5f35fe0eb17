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
    std::fs::read(path).map_err(|error| named(path, &file_words(&error)))
}

/// A problem with the file that it is about.
pub(crate) fn named(path: &Path, problem: &dyn fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

/// Why the system refused a file, without its error number.
pub(crate) fn file_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::NotADirectory => "a part of its path is not a folder".to_owned(),
        ErrorKind::PermissionDenied => "this user has no permission for it".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => without_number(error),
    }
}

/// An error of the system in its own words, which end with its number.
pub(crate) fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
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
        assert!(missing.contains("no such file") && !missing.contains("os error"), "{missing}");
    }
}
