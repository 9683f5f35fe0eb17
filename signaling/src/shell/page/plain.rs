//! Which names the page's files may have; the build script goes by it too.

/// Whether `name` is one plain component: no way up, nothing hidden, and the same on every system and in every URL.
pub(crate) fn is_plain(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
}
