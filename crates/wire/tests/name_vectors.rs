//! The golden vectors of `tests/vectors/names.json`, and the tables of `web/src/name-tables.js` and
//! `web/src/look-alikes.js`, which are made here: `WRITE_VECTORS=1 cargo test --workspace --test name_vectors`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use icu_casemap::CaseMapper;
use icu_properties::CodePointMapData;
use icu_properties::props::{CanonicalCombiningClass, GeneralCategory, JoiningType};
use proptest::prelude::*;
use serde::Deserialize;
use voicemesh_wire::limits::{NAME_BYTES, ROOM_NAME_BYTES};
use voicemesh_wire::names::{NameError, short_ids};
use voicemesh_wire::{DisplayName, PeerId, RoomName};

#[derive(Deserialize)]
struct Vectors {
    rooms: Vec<Room>,
    same_rooms: Vec<Vec<String>>,
    names: Vec<Name>,
    received: Vec<Received>,
    alike: Vec<Vec<String>>,
    unlike: Vec<Vec<String>>,
    short_ids: Vec<ShortIds>,
}

#[derive(Deserialize)]
struct Room {
    text: String,
    shown: Option<String>,
    key: Option<String>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Name {
    text: String,
    shown: Option<String>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Received {
    text: String,
    peer: PeerId,
    shown: String,
}

#[derive(Deserialize)]
struct ShortIds {
    names: Vec<(PeerId, String)>,
    ids: BTreeMap<PeerId, String>,
}

#[expect(clippy::disallowed_methods, reason = "the vectors are files of the repository")]
fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_default()
}

fn vectors() -> Vectors {
    serde_json::from_str(voicemesh_vectors::NAMES).expect("the vectors are what this test expects")
}

fn code(error: NameError) -> String {
    match error {
        NameError::TooLong => "too-long",
        NameError::Blank => "blank",
        NameError::Control => "control",
        _ => panic!("{error}"),
    }
    .to_owned()
}

/// proves: U-02
#[test]
fn room_names_match_the_vectors() {
    for Room { text, shown, key, refused } in vectors().rooms {
        let parsed = RoomName::parse(&text);
        let found =
            parsed.as_ref().ok().map(|name| (name.as_str().to_owned(), name.key().to_owned()));
        assert_eq!(found, shown.zip(key), "{text:?}");
        assert_eq!(parsed.err().map(code), refused, "{text:?}");
    }
    for spellings in vectors().same_rooms {
        let names: Vec<RoomName> =
            spellings.iter().map(|text| RoomName::parse(text).expect(text)).collect();
        assert!(names.windows(2).all(|pair| pair[0] == pair[1]), "{spellings:?}");
    }
}

#[test]
fn display_names_match_the_vectors() {
    for Name { text, shown, refused } in vectors().names {
        let parsed = DisplayName::parse(&text);
        assert_eq!(parsed.as_ref().ok().map(|name| name.as_str().to_owned()), shown, "{text:?}");
        assert_eq!(parsed.err().map(code), refused, "{text:?}");
    }
    for Received { text, peer, shown } in vectors().received {
        assert_eq!(DisplayName::received(&text, peer).as_str(), shown, "{text:?}");
    }
}

#[test]
fn names_that_look_alike_match_the_vectors() {
    let skeleton = |text: &String| DisplayName::parse(text).expect(text).skeleton();
    for names in vectors().alike {
        assert!(names.windows(2).all(|pair| skeleton(&pair[0]) == skeleton(&pair[1])), "{names:?}");
    }
    for names in vectors().unlike {
        assert!(names.windows(2).all(|pair| skeleton(&pair[0]) != skeleton(&pair[1])), "{names:?}");
    }
    for ShortIds { names, ids } in vectors().short_ids {
        let parsed: Vec<_> = names
            .iter()
            .map(|(peer, name)| (*peer, DisplayName::parse(name).expect(name)))
            .collect();
        assert_eq!(short_ids(parsed.iter().map(|(peer, name)| (*peer, name))), ids, "{names:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Letters, marks, joiners, emoji and what is not seen, in any order.
    #[test]
    fn a_name_is_its_own_normal_form(text in "[a-zA-Zé\u{301}\u{323}\u{345}ßİς\u{200c}\u{200d}\u{fe0f}\u{94d}\u{915}\u{628}\u{64e}❤👩🏽🚀\u{ad}\u{202e}\u{2800}\u{13441}\u{3164}\u{1f3f3}\u{1d160}\u{1100}\u{1161}\t 1#]{0,12}") {
        if let Ok(name) = RoomName::parse(&text) {
            let again = RoomName::parse(name.as_str()).expect("it is a name");
            prop_assert_eq!((again.as_str(), again.key()), (name.as_str(), name.key()));
            let key = RoomName::parse(name.key()).expect("it is a name");
            prop_assert_eq!((key.as_str(), key.key()), (name.key(), name.key()));
            let has_unseen = name.as_str().contains(['\u{ad}', '\u{202e}', '\u{3164}', '\t']);
            prop_assert!(!has_unseen);
        }
        if let Ok(name) = DisplayName::parse(&text) {
            prop_assert_eq!(DisplayName::parse(name.as_str()), Ok(name.clone()));
            prop_assert_eq!(&DisplayName::received(name.as_str(), PeerId(uuid::Uuid::nil())), &name);
        }
    }

    /// proves: U-02
    #[test]
    fn any_text_is_a_room_or_blank_or_too_long(text in any::<String>()) {
        match RoomName::parse(&text) {
            Ok(name) => prop_assert!(text.len() <= ROOM_NAME_BYTES && !name.as_str().trim().is_empty()),
            Err(NameError::TooLong) => prop_assert!(text.len() > ROOM_NAME_BYTES),
            Err(error) => prop_assert_eq!(error, NameError::Blank),
        }
        let received = DisplayName::received(&text, PeerId(uuid::Uuid::nil()));
        prop_assert!((1..=NAME_BYTES).contains(&received.as_str().len()));
        prop_assert_eq!(DisplayName::parse(received.as_str()), Ok(received));
    }
}

fn all() -> impl Iterator<Item = char> {
    '\0'..=char::MAX
}

/// Ranges of code points, each as the distance from the last one's end and its length, in base 36.
fn ranges(belongs: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    let (mut end, mut from) = (0, None);
    for point in 0..=u32::from(char::MAX) + 1 {
        let is_in = char::from_u32(point).is_some_and(&belongs);
        match (from, is_in) {
            (None, true) => from = Some(point),
            (Some(begin), false) => {
                let separator = if text.is_empty() { "" } else { " " };
                let length = point - begin;
                let tail = if length == 1 { String::new() } else { format!(".{}", base36(length)) };
                write!(text, "{separator}{}{tail}", base36(begin - end)).expect("it is text");
                (end, from) = (point, None);
            }
            _ => {}
        }
    }
    text
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).expect("a digit"));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

/// Letters that look like others (UTS 39, section 4): each as its distance from the one before in
/// base 36, which is left out if it is 1, `%`, and what it looks like. `|` stands between two. Both
/// are letters that look like others, and so no part of what any looks like.
fn look_alikes(belongs: impl Fn(char) -> bool) -> String {
    let canonical = icu_normalizer::DecomposingNormalizer::new_nfd();
    let mut entries = Vec::new();
    let mut last = 0;
    for letter in all().filter(|letter| belongs(*letter)) {
        let one = letter.to_string();
        let prototype: String = unicode_security::skeleton(&one).collect();
        // A skeleton is made of decomposed letters, and without those that are not seen.
        if prototype.is_empty() || prototype == one || *canonical.normalize(&one) != *one {
            continue;
        }
        assert!(!prototype.contains(['%', '|']), "{one:?}");
        let distance = match u32::from(letter) - last {
            1 => String::new(),
            distance => base36(distance),
        };
        entries.push(format!("{distance}%{prototype}"));
        last = letter.into();
    }
    entries.join("|")
}

/// Where simple case folding gives something else than the lower-case letter.
fn foldings() -> String {
    let mapper = CaseMapper::new();
    let pairs = all().filter_map(|letter| {
        let folded = mapper.simple_fold(letter);
        let lower: String = letter.to_lowercase().collect();
        (lower != folded.to_string()).then(|| format!("{letter}{folded}"))
    });
    pairs.collect()
}

#[test]
fn the_tables_of_the_page_are_of_this_version_of_unicode() {
    let joining = CodePointMapData::<JoiningType>::new();
    let class = CodePointMapData::<CanonicalCombiningClass>::new();
    // There, transparent letters are known by their category, with exceptions.
    let category = CodePointMapData::<GeneralCategory>::new();
    let marks =
        [GeneralCategory::NonspacingMark, GeneralCategory::EnclosingMark, GeneralCategory::Format];
    let by_category = |letter| marks.contains(&category.get(letter));
    // One of them folds to a letter.
    let is_transparent =
        |letter| letter != '\u{345}' && joining.get(letter) == JoiningType::Transparent;
    let is = |kinds: &'static [JoiningType]| move |letter| kinds.contains(&joining.get(letter));
    let tables = [
        ("VIRAMA", ranges(|letter| class.get(letter) == CanonicalCombiningClass::Virama)),
        ("DUAL", ranges(is(&[JoiningType::DualJoining]))),
        ("RIGHT", ranges(is(&[JoiningType::RightJoining]))),
        ("LEFT", ranges(is(&[JoiningType::LeftJoining]))),
        ("EXCEPTION", ranges(|letter| by_category(letter) != is_transparent(letter))),
        ("FOLDINGS", foldings()),
        ("ASCII_LOOK_ALIKES", look_alikes(|letter| letter.is_ascii())),
    ];
    check_file("name-tables.js", "What names.js knows of Unicode.", &tables);
    let table = look_alikes(|letter| !letter.is_ascii());
    check_file(
        "look-alikes.js",
        "What letters look like by UTS 39, for names.js.",
        &[("LOOK_ALIKES", table)],
    );
}

#[expect(clippy::disallowed_methods, reason = "the vectors are files of the repository")]
fn check_file(name: &str, about: &str, tables: &[(&str, String)]) {
    let mut text = format!("/** {about} Written by crates/wire/tests/name_vectors.rs. */\n");
    for (name, table) in tables {
        let table = table.replace('\\', "\\u005c").replace('\'', "\\u0027");
        assert!(!table.contains(['\n', '\r', '\u{2028}', '\u{2029}']), "{name}");
        write!(text, "\nexport const {name} = '{table}';\n").expect("it is text");
    }
    let path = format!("web/src/{name}");
    if std::env::var_os("WRITE_VECTORS").is_some() {
        let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, &text).expect("it can be written");
    }
    assert!(read(&path) == text, "{path}: WRITE_VECTORS=1 writes it anew");
}
