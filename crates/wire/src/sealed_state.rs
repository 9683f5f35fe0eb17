//! Sealed display names and metadata, as far as a server knows them that cannot open them
//! (PROTOCOL.md, section 18, "Names and metadata").

/// Begins a sealed value of metadata; base64url follows.
pub const SEALED_VALUE_PREFIX: &str = "e2ee1:";
/// The metadata key under which a member publishes its display name, sealed.
pub const NAME_KEY: &str = "e2ee-name";
/// What a server calls a member whose display name is sealed.
pub const PLACEHOLDER_NAME: &str = "Member";
/// The longest text of a sealed display name: 106 bytes as base64url behind the prefix.
const SEALED_NAME_BYTES: usize = 148;
/// What sealing adds to a value: run, header and tag, where the header has its usual length or more.
const OVERHEAD_BYTES: usize = 16 + 4 + 16;

/// Whether a value of metadata is a sealed one.
pub fn is_sealed(value: &str) -> bool {
    value.starts_with(SEALED_VALUE_PREFIX)
}

/// The length of a value of metadata for the limits, in bytes: of a sealed one, that of its plain
/// text, or up to three bytes less.
pub fn value_bytes(value: &str) -> usize {
    match value.strip_prefix(SEALED_VALUE_PREFIX) {
        Some(sealed) => (sealed.len() * 3 / 4).saturating_sub(OVERHEAD_BYTES),
        None => value.len(),
    }
}

/// Whether this is a sealed display name, which does not count as metadata.
pub(crate) fn is_name(key: &str, value: &str) -> bool {
    key == NAME_KEY && is_sealed(value) && value.len() <= SEALED_NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn the_longest_name_is_still_a_name() {
        // How it is named, the name, and what sealing adds with the longest header.
        let bytes: usize = 1 + limits::NAME_BYTES + 16 + 9 + 16;
        let text = |length| format!("{SEALED_VALUE_PREFIX}{}", "A".repeat(length));
        let longest = text((bytes * 8).div_ceil(6));
        assert!(is_name(NAME_KEY, &longest) && !is_name("name", &longest));
        assert!(!is_name(NAME_KEY, &(longest + "A")) && !is_name(NAME_KEY, "Ada"));
    }
}
