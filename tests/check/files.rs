//! The project's own files.

use std::path::{Path, PathBuf};

/// One file, its path relative to the project's root with `/` on every system.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// Folders of what is built, fetched or found.
const NOT_OURS: [&str; 6] = ["target", "out", "node_modules", "dist", "corpus", "artifacts"];

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of ours with one of these endings.
pub fn files(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for top in ["crates", "signaling", "tests", "web"] {
        collect(&root().join(top), top, endings, &mut found);
    }
    assert!(found.len() > 10, "the project's files were not found");
    found
}

/// The path of every file of ours, but for what is built, fetched or hidden.
pub fn names() -> Vec<String> {
    let mut found = Vec::new();
    collect_names(&root(), "", &mut found);
    assert!(found.len() > 100, "the project's files were not found");
    found
}

fn collect_names(directory: &Path, prefix: &str, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if !entry.path().is_dir() {
            found.push(path);
        } else if !NOT_OURS.contains(&name.as_str()) && !name.starts_with('.') {
            collect_names(&entry.path(), &format!("{path}/"), found);
        }
    }
}

fn collect(directory: &Path, name: &str, endings: &[&str], found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{name}/{file_name}");
        if entry.path().is_dir() {
            if !NOT_OURS.contains(&file_name.as_str()) {
                collect(&entry.path(), &path, endings, found);
            }
        } else if endings.iter().any(|ending| file_name.ends_with(ending)) {
            let text = std::fs::read_to_string(entry.path())
                .unwrap_or_else(|error| panic!("{path}: {error}"));
            found.push(Source { path, text });
        }
    }
}
