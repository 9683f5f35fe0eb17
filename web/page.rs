//! The page's files as a server sends them: made ready by the build script from `src`, which holds
//! the browser client.

/// The one file that is a page; the others are its assets.
pub const INDEX: &str = "index.html";
/// What the index writes in front of the name of every asset, in the place of the path to them.
pub const ASSETS_MARK: &str = "{{assets}}";

/// A file as the build script made it ready. A compressed form is there where it is smaller.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// As it is, without comments.
    pub plain: &'static [u8],
    /// Compressed by Brotli (RFC 7932).
    pub brotli: Option<&'static [u8]>,
    /// Compressed by gzip (RFC 1952).
    pub gzip: Option<&'static [u8]>,
}

/// The page as it stands in `/`, `/r/ROOM` and `/r/ROOM/`, by the number of steps up to its assets.
pub static INDEX_PAGES: [Stored; 3] = include!(concat!(env!("OUT_DIR"), "/page/index.rs"));
/// Everything else in `src` by its name, sorted by it.
pub static ASSETS: &[(&str, Stored)] = include!(concat!(env!("OUT_DIR"), "/page/assets.rs"));
/// Changes when any of these files does: 16 hexadecimal digits.
pub const VERSION: &str = include_str!(concat!(env!("OUT_DIR"), "/page/version.txt"));
/// Where the files that were made ready stand on the machine that built this, for tests.
#[doc(hidden)]
pub const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
