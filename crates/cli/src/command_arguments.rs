//! What people type where no shell stands between: paths with `~`, quotes, and the names of talk
//! groups.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use voicemesh::RoomName;

use crate::format::EVERYONE;

/// Other names by which people mean the group of everyone, in any case.
const NAMES_OF_EVERYONE: [&str; 3] = ["global", "everyone", "all"];
/// Letters of a name that are looked at to see whether any can be seen.
const LOOKED_AT: usize = 60;

/// The text without the quotes around it, if they are around all of it.
pub(crate) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner =
        ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.map_or(text, str::trim)
}

/// A path, or what may contain one, with the home folder in place of `~`.
pub(crate) fn at_home(text: &str) -> Cow<'_, str> {
    at(std::env::home_dir().as_deref(), unquoted(text))
}

fn at<'t>(home: Option<&Path>, text: &'t str) -> Cow<'t, str> {
    let below = text
        .strip_prefix('~')
        .filter(|rest| rest.is_empty() || rest.starts_with(std::path::is_separator));
    match (home.and_then(Path::to_str), below) {
        (Some(home), Some(below)) => format!("{home}{below}").into(),
        _ => text.into(),
    }
}

/// A folder from the root on, as people find it from anywhere.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The talk group that is meant, in the form in which names of rooms are shown.
///
/// # Errors
///
/// A sentence, when nothing of the name can be seen.
pub(crate) fn group(typed: &str) -> Result<String, String> {
    let name = unquoted(typed);
    if NAMES_OF_EVERYONE.contains(&name.to_lowercase().as_str()) {
        return Ok(EVERYONE.to_owned());
    }
    if name.contains("://") {
        return Err("That is a link to a room. /quit, then `voicemesh join LINK`.".to_owned());
    }
    if let Ok(shown) = RoomName::parse(name) {
        return Ok(shown.as_str().to_owned());
    }
    let beginning: String = name.chars().take(LOOKED_AT).collect();
    match RoomName::parse(&beginning) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err("A talk group needs a name; “everyone” is the group of everyone.".to_owned()),
    }
}

/// How the group that is meant is written: as one of those that are there, if one is called that
/// but for case and the like, as with rooms. To programs these are two groups.
pub(crate) fn as_written<'g>(
    group: String,
    mut known: impl Iterator<Item = &'g String> + Clone,
) -> String {
    if known.clone().any(|one| *one == group) {
        return group;
    }
    let key = RoomName::key_of(&group);
    known.find(|one| RoomName::key_of(one) == key).cloned().unwrap_or(group)
}

/// What more is to be said of a group whose name looks like a list of several.
pub(crate) fn is_like_a_list(group: &str) -> bool {
    group.contains([',', ';', '+', '&']) || group.split_whitespace().nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_stands_in_place_of_its_sign_and_quotes_are_left_out() {
        let home = Some(Path::new("/home/ada"));
        for (typed, meant) in [
            ("~", "/home/ada"),
            ("~/calls", "/home/ada/calls"),
            ("~/my calls", "/home/ada/my calls"),
            ("~/speech.wav:loop", "/home/ada/speech.wav:loop"),
            ("~ben/calls", "~ben/calls"),
            ("calls/~", "calls/~"),
            ("/tmp/calls", "/tmp/calls"),
        ] {
            assert_eq!(at(home, typed), meant);
        }
        assert_eq!(at(None, "~/calls"), "~/calls");
        assert_eq!(
            ["\"my calls\"", "'a b'", "it's", "\"", " x "].map(unquoted),
            ["my calls", "a b", "it's", "\"", "x"]
        );
        assert!(absolute(Path::new("calls")).is_absolute());
    }

    #[test]
    fn a_group_is_the_one_that_is_there_under_another_case_or_normal_form() {
        let there = ["Red", "RED", "Cafe\u{301}", "blue"].map(str::to_owned);
        for (typed, meant) in [
            ("red", "Red"),
            ("RED", "RED"),
            ("café", "Cafe\u{301}"),
            ("Blue", "blue"),
            ("re", "re"),
            ("bl\u{202e}ue", "blue"),
        ] {
            assert_eq!(as_written(typed.to_owned(), there.iter()), meant, "{typed}");
        }
    }

    #[test]
    fn everyone_has_several_names_and_no_group_has_none() {
        for typed in ["Global", "global", "everyone", "EVERYONE", "All", "\"all\""] {
            assert_eq!(group(typed).as_deref(), Ok(EVERYONE), "{typed}");
        }
        assert_eq!(group("'Red Team'").as_deref(), Ok("Red Team"));
        assert_eq!(
            group("Re\u{202e}d  Te\u{200b}am").as_deref(),
            Ok("Red Team"),
            "neither direction nor what cannot be seen is part of it"
        );
        assert!(group("https://example.org/r/lobby").unwrap_err().contains("a link to a room"));
        assert_eq!(
            group(&"x".repeat(300)).map(|name| name.len()),
            Ok(300),
            "the length is judged elsewhere"
        );
        for typed in ["", "\"\"", "  ", "\u{200b}"] {
            assert!(group(typed).is_err_and(|why| why.contains("needs a name")), "{typed:?}");
        }
        assert!(is_like_a_list("red,blue") && is_like_a_list("red blue") && !is_like_a_list("red"));
    }
}
