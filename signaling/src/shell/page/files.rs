//! The page's files: in the binary, or in a folder while they are being edited.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::plain::is_plain;

/// The one file that is a page; the others are its assets.
pub(super) const INDEX: &str = "index.html";
/// What the index writes in front of the name of every asset.
const ASSETS: &str = "{{assets}}";
/// The version of what is read from a folder.
const UNVERSIONED: &str = "dev";
/// Hexadecimal digits of a version: enough that no two versions that anybody keeps are alike.
const VERSION_DIGITS: usize = 16;

/// Name and contents of everything in `web/src`, sorted by name.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Where the page comes from.
#[derive(Debug)]
pub(super) enum Files {
    /// The binary: made ready once, and never copied.
    Embedded {
        /// Changes when any file does.
        version: String,
        /// As it stands in `/`, `/r/ROOM` and `/r/ROOM/`, by the number of steps up to its assets.
        index: [Bytes; 3],
    },
    /// This folder, read anew for every request.
    Folder(PathBuf),
}

impl Files {
    pub(super) fn embedded() -> Self {
        let version = version(EMBEDDED);
        let index = find(EMBEDDED, INDEX).unwrap_or_default();
        let index = ["", "../", "../../"].map(|up| with_assets(index, up, &version).into());
        Self::Embedded { version, index }
    }

    /// What stands in the path of an asset.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Embedded { version, .. } => version,
            Self::Folder(_) => UNVERSIONED,
        }
    }

    /// Whether the files of one version are always the same.
    pub(super) fn are_fixed(&self) -> bool {
        match self {
            Self::Embedded { .. } => true,
            Self::Folder(_) => false,
        }
    }

    /// The page, for an address from which `up` leads to the lobby.
    pub(super) async fn index(&self, up: Cow<'static, str>) -> Option<Bytes> {
        match self {
            Self::Embedded { index, .. } => index.get(up.len() / "../".len()).cloned(),
            Self::Folder(folder) => {
                let text = read(folder.join(INDEX)).await?;
                Some(with_assets(&text, &up, UNVERSIONED).into())
            }
        }
    }

    /// The contents of an asset and their media type, if there is one of this name.
    pub(super) async fn asset(&self, name: &str) -> Option<(Bytes, &'static str)> {
        let media_type = media_type(name)?;
        if name == INDEX || !name.split('/').all(is_plain) {
            return None;
        }
        let contents = match self {
            Self::Embedded { .. } => Bytes::from_static(find(EMBEDDED, name)?),
            Self::Folder(folder) => read(below(folder, name)).await?,
        };
        Some((contents, media_type))
    }
}

fn find<'a>(files: &[(&str, &'a [u8])], name: &str) -> Option<&'a [u8]> {
    let place = files.binary_search_by_key(&name, |(name, _)| *name).ok()?;
    files.get(place).map(|(_, contents)| *contents)
}

fn below(folder: &Path, name: &str) -> PathBuf {
    let mut path = folder.to_owned();
    path.extend(name.split('/'));
    path
}

async fn read(path: PathBuf) -> Option<Bytes> {
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    read.ok()?.ok().map(Bytes::from)
}

fn with_assets(index: &[u8], up: &str, version: &str) -> String {
    String::from_utf8_lossy(index).replace(ASSETS, &format!("{up}assets/{version}"))
}

/// The media type of a file; a file without one here is not served.
fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "gz" => "application/gzip",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

/// Names and lengths count as well, so that no two sets of files run together into the same bytes.
fn version(files: &[(&str, &[u8])]) -> String {
    let mut hash = Sha256::new();
    for (name, contents) in files {
        for part in [name.as_bytes(), contents] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let mut digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(VERSION_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_changes_with_every_name_and_every_byte() {
        let one = version(&[("a.js", b"x"), ("b.js", b"y")]);
        assert_eq!(one, version(&[("a.js", b"x"), ("b.js", b"y")]));
        assert_eq!(one.len(), VERSION_DIGITS);
        assert!(one.chars().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase()));
        let others: [&[(&str, &[u8])]; 4] = [
            &[("a.js", b"x"), ("b.js", b"z")],
            &[("a.js", b"x"), ("c.js", b"y")],
            &[("a.js", b"x")],
            &[("a.js", b"xb.jsy")],
        ];
        for other in others {
            assert_ne!(one, version(other), "{other:?}");
        }
    }

    #[test]
    fn every_embedded_file_is_found_and_no_other() {
        assert!(EMBEDDED.is_sorted_by_key(|(name, _)| name));
        for (name, contents) in EMBEDDED {
            assert_eq!(find(EMBEDDED, name), Some(*contents));
            assert!(name.split('/').all(is_plain), "{name}");
        }
        assert!(find(EMBEDDED, INDEX).is_some_and(|index| !index.is_empty()));
        assert_eq!(find(EMBEDDED, "nothing.js"), None);
    }

    #[test]
    fn the_index_learns_where_its_assets_are() {
        let index = br#"<link href="{{assets}}/style.css"><script src="{{assets}}/main.js">"#;
        let told = with_assets(index, "../", "0123");
        assert_eq!(told, r#"<link href="../assets/0123/style.css"><script src="../assets/0123/main.js">"#);
    }

    #[test]
    fn a_name_is_plain_or_refused() {
        for name in ["main.js", "capture-worklet.js", "view", "a_b", "9.svg"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", ".", "..", ".git", "a/b", "a\\b", "C:", "%2e%2e", "a b", "a\0", "ä.js", "-x", "~", "a;b"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }

    #[tokio::test]
    async fn nothing_outside_the_folder_is_read() {
        let folder = std::env::temp_dir().join(format!("voicemesh-page-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("src/view")).expect("a folder");
        for name in ["secret.js", "src/.hidden.js", "src/main.js", "src/view/room.js", "src/index.html", "src/notes.md"]
        {
            std::fs::write(folder.join(name), name).expect("a file");
        }
        let files = Files::Folder(folder.join("src"));
        let asset = async |name: &str| files.asset(name).await.map(|(contents, _)| contents);
        assert_eq!(asset("main.js").await.as_deref(), Some(&b"src/main.js"[..]));
        assert_eq!(asset("view/room.js").await.as_deref(), Some(&b"src/view/room.js"[..]));
        let secret = folder.join("secret.js").display().to_string();
        for name in [
            "../secret.js",
            "view/../../secret.js",
            "%2e%2e/secret.js",
            "..\\secret.js",
            &secret,
            "./main.js",
            "/main.js",
        ] {
            assert_eq!(asset(name).await, None, "{name}");
        }
        for name in [".hidden.js", "index.html", "notes.md", "view", "view/", ""] {
            assert_eq!(asset(name).await, None, "{name}");
        }
        std::fs::remove_dir_all(folder).expect("our own folder");
    }
}
