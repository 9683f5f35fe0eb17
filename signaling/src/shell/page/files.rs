//! The page's files: in the binary, or in a folder while they are being edited.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
pub(super) use voicemesh_web::INDEX;
use voicemesh_web::{ASSETS, ASSETS_MARK, INDEX_PAGES, Stored, VERSION};

use super::encoding::{Accepted, Encoding};

/// The version of what is read from a folder.
const UNVERSIONED: &str = "dev";

/// What is sent of a file.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) bytes: Bytes,
    pub(super) encoding: Encoding,
}

/// Where the page comes from.
#[derive(Debug)]
pub(super) enum Files {
    /// The binary: made ready when it was built, and never copied.
    Embedded,
    /// This folder, read anew for every request.
    Folder(PathBuf),
}

/// The smallest form of a file that the client takes.
fn smallest(stored: &Stored, accepted: Accepted) -> Contents {
    let forms = [(Encoding::Brotli, stored.brotli), (Encoding::Gzip, stored.gzip)];
    let compressed = forms.into_iter().filter(|(encoding, _)| accepted.has(*encoding));
    let smallest = compressed
        .filter_map(|(encoding, bytes)| Some((encoding, bytes?)))
        .min_by_key(|(_, bytes)| bytes.len());
    let (encoding, bytes) = smallest.unwrap_or((Encoding::Identity, stored.plain));
    Contents { bytes: Bytes::from_static(bytes), encoding }
}

impl Files {
    /// What stands in the path of an asset.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Embedded => VERSION,
            Self::Folder(_) => UNVERSIONED,
        }
    }

    /// Whether the files of one version are always the same.
    pub(super) fn are_fixed(&self) -> bool {
        match self {
            Self::Embedded => true,
            Self::Folder(_) => false,
        }
    }

    /// The page, for an address from which `up` leads to the lobby.
    pub(super) async fn index(
        &self,
        up: Cow<'static, str>,
        accepted: Accepted,
    ) -> Option<Contents> {
        match self {
            Self::Embedded => Some(smallest(INDEX_PAGES.get(up.len() / "../".len())?, accepted)),
            Self::Folder(folder) => {
                let text = read(folder.join(INDEX)).await?;
                let page = String::from_utf8_lossy(&text)
                    .replace(ASSETS_MARK, &format!("{up}assets/{UNVERSIONED}"));
                Some(Contents { bytes: page.into(), encoding: Encoding::Identity })
            }
        }
    }

    /// The contents of an asset and their media type, if there is one of this name.
    pub(super) async fn asset(
        &self,
        name: &str,
        accepted: Accepted,
    ) -> Option<(Contents, &'static str)> {
        let media_type = media_type(name)?;
        let contents = match self {
            Self::Embedded => smallest(find(name)?, accepted),
            Self::Folder(_) if name == INDEX => return None,
            Self::Folder(folder) => {
                Contents { bytes: read(below(folder, name)?).await?, encoding: Encoding::Identity }
            }
        };
        Some((contents, media_type))
    }
}

fn find(name: &str) -> Option<&'static Stored> {
    let at = ASSETS.binary_search_by_key(&name, |(name, _)| *name).ok()?;
    ASSETS.get(at).map(|(_, stored)| stored)
}

/// The path of a file below `folder`; none for a name that leads elsewhere, or to what is hidden.
fn below(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for part in name.split('/') {
        let mut components = Path::new(part).components();
        let one = components.next().filter(|one| *one == Component::Normal(part.as_ref()));
        if part.starts_with('.') || one.is_none() || components.next().is_some() {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

async fn read(path: PathBuf) -> Option<Bytes> {
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    read.ok()?.ok().map(Bytes::from)
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
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_is_found_and_no_other() {
        assert!(ASSETS.is_sorted_by_key(|(name, _)| name));
        for (name, stored) in ASSETS {
            assert!(find(name).is_some_and(|found| std::ptr::eq(found, stored)), "{name}");
            assert!(media_type(name).is_some(), "{name} is carried, and not served");
        }
        assert!(find(INDEX).is_none() && find("nothing.js").is_none());
        assert!(VERSION.len() == 16 && VERSION.chars().all(|digit| digit.is_ascii_hexdigit()));
    }

    #[test]
    fn the_index_knows_where_its_assets_are() {
        for (up, stored) in ["", "../", "../../"].iter().zip(&INDEX_PAGES) {
            let page = std::str::from_utf8(stored.plain).expect("text");
            assert!(page.contains(&format!("\"{up}assets/{VERSION}/main.js\"")), "{page}");
        }
    }

    #[test]
    fn the_smallest_form_that_is_taken_is_sent() {
        let stored = Stored { plain: b"plain", brotli: Some(b"b"), gzip: Some(b"gz") };
        let sent =
            |accepted: &str, stored: &Stored| smallest(stored, Accepted::of([accepted])).encoding;
        assert_eq!(sent("gzip, deflate, br, zstd", &stored), Encoding::Brotli);
        assert_eq!(sent("gzip", &stored), Encoding::Gzip);
        assert_eq!(sent("zstd", &stored), Encoding::Identity);
        let incompressible = Stored { plain: b"plain", brotli: None, gzip: None };
        assert_eq!(sent("gzip, br", &incompressible), Encoding::Identity);
    }

    #[tokio::test]
    async fn nothing_outside_the_folder_is_read() {
        let folder = std::env::temp_dir().join(format!("voicemesh-page-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("src/view")).expect("a folder");
        for name in [
            "secret.js",
            "src/.hidden.js",
            "src/main.js",
            "src/view/room.js",
            "src/index.html",
            "src/notes.md",
        ] {
            std::fs::write(folder.join(name), name).expect("a file");
        }
        let files = Files::Folder(folder.join("src"));
        let any = Accepted::of(["br"]);
        let asset =
            async |name: &str| files.asset(name, any).await.map(|(contents, _)| contents.bytes);
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
            "view//room.js",
            "main.js/.",
        ] {
            assert_eq!(asset(name).await, None, "{name}");
        }
        for name in [".hidden.js", "index.html", "notes.md", "view", "view/", "", "a\0.js"] {
            assert_eq!(asset(name).await, None, "{name}");
        }
        std::fs::remove_dir_all(folder).expect("our own folder");
    }
}
