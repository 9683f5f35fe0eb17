//! What stands where a room's name belongs: a name, a link to a room, or the end of one. The page
//! decides by the same vectors.

/// What a text is that was given as a room's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pasted<'a> {
    /// A name, as it stands.
    Name,
    /// What `voicemesh join` stands before, where that is a name.
    Argument(&'a str),
    /// `voicemesh join` with options or with nothing.
    Command,
    /// The path of a link, `/r/ROOM`, with what follows its `#`: a room of the server that is given
    /// anyway.
    Path { room: &'a str, fragment: &'a str },
    /// A web address, whether it leads to a room or not.
    Link(&'a str),
    /// A web address with other words beside it.
    Words(&'a str),
    /// A web address that was typed, with a slip at its beginning, or a path without a room.
    Slip(&'a str),
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

/// Where in a text begins what belongs behind the `#` of a link, and no server may see: a program
/// has written the `#` as `%23`, once or more, or as a full-width letter, has made a query of it, or
/// the beginning of the link is missing.
pub(crate) fn secret_at(text: &str) -> Option<usize> {
    let is_pair = |pair| is_named(pair, 'k') || is_named(pair, 't');
    let mut fragment = None;
    for (at, letter) in text.char_indices() {
        let rest = &text[at..];
        let after = rest.strip_prefix(['#', '＃']).or_else(|| after_encoded(rest, "23"));
        if let Some(pair) = after {
            fragment.get_or_insert(at);
            if is_pair(pair) {
                return fragment;
            }
        } else if let Some(pair) = rest.strip_prefix(['?', '&']) {
            if letter == '&' && fragment.is_some() && is_pair(pair) {
                return fragment;
            }
            if is_long_value(pair) {
                return Some(at);
            }
        }
    }
    None
}

/// `?t=5` may be a name; what is as long as a key is none.
fn is_long_value(pair: &str) -> bool {
    let value = pair.strip_prefix(['k', 'K', 't', 'T']).and_then(|rest| rest.strip_prefix('='));
    value.is_some_and(|value| value.bytes().take_while(is_of_key).take(LONG).count() == LONG)
}

/// What follows a byte that is percent-encoded once or more: `%23`, `%2523`.
fn after_encoded<'a>(text: &'a str, byte: &str) -> Option<&'a str> {
    text.strip_prefix('%')?.trim_start_matches("25").strip_prefix(byte)
}

/// Bytes of a value in a query from which on it may be a key or a token.
const LONG: usize = 16;

/// Whether a byte is one of base64url.
fn is_of_key(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether a fragment has a room's key, or what is left of one.
pub(crate) fn names_key(fragment: &str) -> bool {
    fragment.trim_start_matches('#').split('&').any(|pair| is_named(pair, 'k'))
}

/// `k=…`, also in capitals or percent-encoded, once or more, as some programs change links.
fn is_named(pair: &str, name: char) -> bool {
    let is_equals = |rest: &str| {
        rest.starts_with('=') || ["3d", "3D"].iter().any(|hex| after_encoded(rest, hex).is_some())
    };
    pair.strip_prefix([name, name.to_ascii_uppercase()]).is_some_and(is_equals)
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
    let (path, fragment) = text.split_once('#').unwrap_or((text, ""));
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
    let mut trimmed = text;
    while let Some(last) = trimmed.chars().next_back().filter(|last| ends.contains(last)) {
        let count = |letter: char| trimmed.matches(letter).count();
        let is_opened = match last {
            ')' => count(')') <= count('('),
            ']' => count(']') <= count('['),
            _ => false,
        };
        if is_opened {
            break;
        }
        trimmed = &trimmed[..trimmed.len() - last.len_utf8()];
    }
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
