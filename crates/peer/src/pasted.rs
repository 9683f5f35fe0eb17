//! What stands where a room's name belongs: a name, a link to a room, or the end of one. The page
//! decides by the same vectors.

use icu_normalizer::DecomposingNormalizerBorrowed;
use percent_encoding::percent_decode_str;

/// What a text is that was given as a room's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pasted<'a> {
    /// A name, as it stands.
    Name,
    /// What `voicemesh join` stands before, where that is a name.
    Argument(&'a str),
    /// `voicemesh join` with options or with nothing.
    Command,
    /// The path of a link, `/r/ROOM`, with its fragment: a room of the server that is given anyway.
    Path { room: &'a str, fragment: &'a str },
    /// A web address, whether it leads to a room or not.
    Link(&'a str),
    /// A web address with other words beside it.
    Words(&'a str),
    /// A web address that was typed, with a slip at its beginning, or a path without a room.
    Slip(&'a str),
}

/// What stands before the `#` of a link, and the rest with it: nothing where there is none.
pub(crate) fn split_fragment(link: &str) -> (&str, &str) {
    link.split_at(link.find('#').unwrap_or(link.len()))
}

/// Looks at a text with the marks around it that mail programs and people who quote write, and the
/// end of a sentence behind it.
pub(crate) fn read(text: &str) -> Pasted<'_> {
    let bare = |text| kind_of(without_end(unquoted(without_end(text, &ENDS)), &CLOSING));
    let text = text.trim();
    match argument(unquoted(text)) {
        None => bare(text),
        Some(argument) if argument.is_empty() || argument.split_whitespace().any(is_option) => {
            Pasted::Command
        }
        Some(argument) => match bare(argument) {
            Pasted::Name => Pasted::Argument(unquoted(argument)),
            kind => kind,
        },
    }
}

/// Where a text may begin to hold what belongs behind the `#` of a link, and no server may see;
/// none where it holds nothing of that. No more than what stands before is fit to be repeated.
///
/// Programs encode the `#`, make a query of it, put blanks or invisible letters beside it, or leave
/// out the beginning of the link. So the text is looked at in its [`simplified`] form, and what
/// stands before the first letter that can have become a mark is all that is known to be none.
pub(crate) fn secret_at(text: &str) -> Option<usize> {
    let mark = text.find(may_be_mark)?;
    has_secret(&simplified(text)).then_some(mark)
}

/// The same for a server's address, which has nothing at all behind a `#`.
pub(crate) fn fragment_at(address: &str) -> Option<usize> {
    let mark = address.find(may_be_mark)?;
    let simple = simplified(address);
    (simple.contains('#') || has_secret(&simple)).then_some(mark)
}

/// Whether a link's fragment has, beside an access token, a key or what is left of one.
pub(crate) fn has_more_than_token(fragment: &str) -> bool {
    let pairs = fragment.strip_prefix('#').unwrap_or(fragment).split('&');
    let others: Vec<_> = pairs.filter(|pair| *pair != "t" && !pair.starts_with("t=")).collect();
    // A name without a value at the end may have lost it.
    secret_at(&format!("#{}=", others.join("&"))).is_some()
}

/// Whether a letter is a mark before a pair of a name and a value, or can be a part of one, or
/// stand for one.
fn may_be_mark(letter: char) -> bool {
    matches!(letter, '#' | '?' | '&' | ';' | '%') || !letter.is_ascii()
}

/// What programs have encoded more than once is decoded so many times.
const PASSES: usize = 4;

/// A text without what programs do to a link: in ASCII and lower case, wide and small forms as
/// ordinary letters, percent-encoding undone, and nothing invisible.
fn simplified(text: &str) -> String {
    let mut simple = text.to_owned();
    for _ in 0..PASSES {
        if !simple.is_ascii() {
            simple = DecomposingNormalizerBorrowed::new_nfkd().normalize(&simple).into_owned();
        }
        simple = percent_decode_str(&simple).decode_utf8_lossy().into_owned();
    }
    simple.retain(|letter| letter.is_ascii());
    simple.make_ascii_lowercase();
    simple
}

/// Whether a simplified text has `#k=…` or the like. What may be a name as well, such as `why?k=2`
/// and `tea#key=x`, is none: there the value must be as long as that of a key or a token. A mark
/// that HTML writes as a name or a number, such as `&num;`, ends with a semicolon.
fn has_secret(simple: &str) -> bool {
    let mut is_fragment = false;
    simple.char_indices().any(|(at, mark)| {
        is_fragment |= mark == '#';
        matches!(mark, '#' | '?' | '&' | ';')
            && pair(&simple[at + 1..]).is_some_and(|(name, sign, value)| {
                is_long(value)
                    || is_fragment && matches!(mark, '#' | '&') && name.len() == 1 && sign == "="
            })
    })
}

/// What may stand between name and value; HTML writes some of them.
const SIGNS: [&str; 5] = ["=", ":", "&#x3d;", "&#61;", "&equals;"];

/// Name, sign and value of a pair that may be a key or a token.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start_matches(|letter: char| letter == '/' || letter.is_whitespace());
    ["key", "k", "token", "t"].iter().find_map(|name| {
        let rest = text.strip_prefix(name)?.trim_start();
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign))?;
        Some((*name, *sign, &rest[sign.len()..]))
    })
}

/// Letters of a value from which on it may be a key or a token.
const LONG: usize = 16;

fn is_long(value: &str) -> bool {
    let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    value.bytes().take_while(is_of_key).take(LONG).count() == LONG
}

/// As `-h` and `--password`; a dash alone is none.
fn is_option(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    name.len() < word.len() && name.starts_with(|letter: char| letter.is_ascii_alphabetic())
}

/// What stands behind `voicemesh join`, as people copy a command, with the prompt or a path before.
fn argument(text: &str) -> Option<&str> {
    let first = |text| match str::split_once(text, char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    };
    let (word, rest) = match first(text) {
        ("$" | ">", rest) => first(rest),
        words => words,
    };
    let program = word.rsplit(['/', '\\']).next().unwrap_or_default();
    let (command, argument) = first(rest);
    (matches!(program, "voicemesh" | "voicemesh.exe") && command == "join").then_some(argument)
}

const ENDS: [char; 7] = ['.', ',', ';', ':', '!', '?', '…'];
const CLOSING: [char; 15] =
    ['.', ',', ';', ':', '!', '?', '…', ')', ']', '}', '>', '"', '\'', '”', '’'];
const SCHEMES: [&str; 4] = ["http://", "https://", "ws://", "wss://"];

fn kind_of(text: &str) -> Pasted<'_> {
    let lower = text.to_ascii_lowercase();
    let has_address = SCHEMES.iter().any(|scheme| lower.contains(scheme));
    let begins = SCHEMES.iter().any(|scheme| lower.starts_with(scheme));
    if text.contains(char::is_whitespace) || has_address && !begins {
        return if has_address { Pasted::Words(text) } else { Pasted::Name };
    }
    if has_address || has_scheme(text) {
        return Pasted::Link(text);
    }
    if is_like_a_scheme(&lower) || matches!(text, "/" | "/r/") {
        return Pasted::Slip(text);
    }
    let (path, fragment) = split_fragment(text);
    let path = path.split('?').next().unwrap_or_default();
    if let Some(room) = room_of_path(path) {
        return Pasted::Path { room, fragment };
    }
    match path.split_once('/') {
        Some((host, rest)) if is_address(host) || is_host(host) && names_room(rest) => {
            Pasted::Link(text)
        }
        _ => Pasted::Name,
    }
}

/// Any scheme: what has one was meant as an address.
fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+.-".contains(letter))
    })
}

/// `https:/host/…` or `https//host/…`.
fn is_like_a_scheme(lower: &str) -> bool {
    let rest = ["https", "http", "wss", "ws"].iter().find_map(|scheme| lower.strip_prefix(scheme));
    rest.is_some_and(|rest| rest.starts_with(":/") || rest.starts_with("//"))
}

/// The room of `r/ROOM` or `/…/r/ROOM`, as it is written there.
fn room_of_path(path: &str) -> Option<&str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (before, room) = path.rsplit_once('/')?;
    let is_path = before == "r" || before.starts_with('/') && before.ends_with("/r");
    (is_path && !path.starts_with("//") && !room.is_empty()).then_some(room)
}

fn names_room(path: &str) -> bool {
    let segments: Vec<_> = path.split('/').collect();
    segments.windows(2).any(|pair| pair[0] == "r" && !pair[1].is_empty())
}

/// Whether what stands before a path with `/r/` in it is a host: with a dot in it, with a port, or
/// this machine.
fn is_host(text: &str) -> bool {
    text.trim_matches('.').contains('.') || is_address(text)
}

/// Whether what stands before any path is a host beyond doubt: it ends as names of hosts do, has a
/// port, is an IPv4 address, or this machine.
fn is_address(text: &str) -> bool {
    let is_number =
        |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let labels: Vec<_> = text.split('.').collect();
    let last = labels[labels.len() - 1];
    let is_named = labels.len() > 1
        && labels.iter().all(|label| !label.is_empty())
        && last.chars().count() > 1
        && last.chars().all(char::is_alphabetic);
    is_named
        || text.rsplit_once(':').is_some_and(|(_, port)| is_number(port))
        || labels.len() == 4 && labels.iter().all(|label| is_number(label))
        || text.eq_ignore_ascii_case("localhost")
}

/// Without the end of a sentence, unless that would leave no name. A bracket that is opened before
/// belongs to the name.
fn without_end<'a>(text: &'a str, ends: &[char]) -> &'a str {
    let count = |letter: char| text.matches(letter).count();
    let excess = |closing, opening| count(closing).saturating_sub(count(opening));
    // Brackets that are closed and were not opened.
    let (mut round, mut square) = (excess(')', '('), excess(']', '['));
    let is_behind = |letter: char| {
        let left = match letter {
            ')' => &mut round,
            ']' => &mut square,
            _ => return ends.contains(&letter),
        };
        let is_left = *left > 0;
        *left = left.saturating_sub(1);
        is_left && ends.contains(&letter)
    };
    let trimmed = text.trim_end_matches(is_behind);
    if trimmed.is_empty() || trimmed.ends_with('/') { text } else { trimmed }
}

/// Without the marks that mail programs and people who quote put around a link.
pub(crate) fn unquoted(text: &str) -> &str {
    let marks =
        [('<', '>'), ('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('(', ')'), ('[', ']')];
    let inner =
        marks.iter().find_map(|(left, right)| text.strip_prefix(*left)?.strip_suffix(*right));
    inner.map_or(text, str::trim)
}
