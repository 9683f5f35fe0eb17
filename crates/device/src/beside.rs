//! Files that are written beside their place, under a name that ends in `.part`, and get their own
//! name when they are finished: what is there stays as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The name of a file while it is written.
#[must_use]
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Neither a file of that name is there, nor one that is to get it.
pub(crate) fn is_unused(path: &Path) -> bool {
    [path, &unfinished(path)].iter().all(|name| fs::symlink_metadata(name).is_err())
}

/// Begins a file under the [`unfinished`] form of the first of these names that is not used.
/// Returns that name.
///
/// # Errors
///
/// When the folder takes no file, or all names are used.
pub fn create_beside(mut names: impl Iterator<Item = PathBuf>) -> io::Result<(PathBuf, File)> {
    while let Some(name) = names.find(|name| is_unused(name)) {
        match OpenOptions::new().write(true).create_new(true).open(unfinished(&name)) {
            Ok(file) => return Ok((name, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(too_many())
}

/// Gives a finished file the first of these names that is not used; never that of a file that has
/// come meanwhile.
///
/// # Errors
///
/// When it cannot be renamed, or all names are used. It keeps its name then.
pub fn rename_finished(unfinished: &Path, names: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    for name in names {
        match fs::hard_link(unfinished, &name) {
            Ok(()) => return fs::remove_file(unfinished),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Not every file system has links.
            Err(_) if fs::symlink_metadata(&name).is_err() => {
                return fs::rename(unfinished, &name);
            }
            Err(_) => {}
        }
    }
    Err(too_many())
}

fn too_many() -> io::Error {
    io::Error::other("too many files of this name are there already")
}
