//! What rooms and people are called: one normal form that every end computes by itself
//! (PROTOCOL.md, section 2, "Names").

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;
use icu_properties::props::{
    CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, EmojiModifier, ExtendedPictographic,
    GeneralCategory, JoiningType,
};
use icu_properties::{CodePointMapData, CodePointSetData};
use thiserror::Error;

use crate::PeerId;
use crate::limits::{NAME_BYTES, ROOM_NAME_BYTES};

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// More than [`ROOM_NAME_BYTES`] or [`NAME_BYTES`].
    #[error("the name is too long")]
    TooLong,
    /// Nothing of it can be seen.
    #[error("the name is blank")]
    Blank,
    /// A control character or line break inside a display name.
    #[error("the name has control characters")]
    Control,
}

/// The name of a room. Two names are equal if their [keys](Self::key) are: case, normal form, outer
/// white space and invisible characters make no difference.
///
/// ```
/// use voicemesh_wire::RoomName;
/// let name = RoomName::parse(" Cafe\u{301} ").unwrap();
/// assert_eq!((name.as_str(), name.key()), ("Café", "café"));
/// ```
#[derive(Clone)]
pub struct RoomName {
    shown: String,
    key: String,
}

impl RoomName {
    /// Takes any text of at most [`ROOM_NAME_BYTES`] that is not blank, and no longer in the form
    /// in which it is shown.
    ///
    /// # Errors
    ///
    /// [`NameError::TooLong`] or [`NameError::Blank`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > ROOM_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let shown = clean(text);
        if is_blank(&shown) {
            return Err(NameError::Blank);
        }
        // NFC makes a few characters longer, and a link has the shown form.
        if shown.len() > ROOM_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let key = fold(&shown);
        Ok(Self { shown, key })
    }

    /// The name as it is shown, and as it stands in links.
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The name that is compared and computed with: [`as_str`](Self::as_str) in simple case
    /// folding.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The [key](Self::key) of a text that may be no room's name: then the text itself, which no
    /// server takes.
    pub fn key_of(text: &str) -> String {
        Self::parse(text).map_or_else(|_| text.to_owned(), |name| name.key)
    }
}

impl PartialEq for RoomName {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RoomName {}

impl PartialOrd for RoomName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RoomName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for RoomName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

/// The name of a person, in the form that every receiver makes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayName(String);

impl DisplayName {
    /// Takes a text of at most [`NAME_BYTES`] that is not blank and has no control characters or
    /// line breaks inside.
    ///
    /// # Errors
    ///
    /// Any [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter.is_control());
        if text.chars().any(is_control) {
            return Err(NameError::Control);
        }
        // Before it is looked at more closely, which takes a time that grows faster than the
        // length.
        if text.len() > NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let name = clean(text);
        if name.len() > NAME_BYTES {
            return Err(NameError::TooLong);
        }
        if is_blank(&name) { Err(NameError::Blank) } else { Ok(Self(name)) }
    }

    /// The name of another peer, as it was received. What is no name becomes one: it is cut,
    /// control characters are removed, and in place of a blank one stands the peer's [short
    /// id](short_id).
    pub fn received(text: &str, peer: PeerId) -> Self {
        let mut name = clean(cut(text));
        let length = cut(&name).trim_end().len();
        name.truncate(length);
        if is_blank(&name) { Self(short_id(peer)) } else { Self(name) }
    }

    /// The name as it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for names that look alike, by UTS 39, section 4. Not to be shown.
    pub fn skeleton(&self) -> String {
        unicode_security::skeleton(&self.0).collect()
    }
}

/// Letters of a peer id that stand beside a name that looks like another's, if they tell the two
/// apart.
const SHORT_ID: usize = 4;

/// The beginning of a peer id, as it stands in place of a name.
pub fn short_id(peer: PeerId) -> String {
    beginning(peer, SHORT_ID)
}

/// Of the peers whose names look like another's of these, the beginning of the peer id that
/// distinguishes them. What is shown of them is `Ben#3f2a`.
pub fn short_ids<'a>(
    names: impl IntoIterator<Item = (PeerId, &'a DisplayName)>,
) -> BTreeMap<PeerId, String> {
    let mut by_skeleton: BTreeMap<String, BTreeSet<PeerId>> = BTreeMap::new();
    for (peer, name) in names {
        by_skeleton.entry(name.skeleton()).or_default().insert(peer);
    }
    let alike = by_skeleton.into_values().filter(|peers| peers.len() > 1);
    alike.flat_map(|peers| different_beginnings(&peers)).collect()
}

fn different_beginnings(peers: &BTreeSet<PeerId>) -> Vec<(PeerId, String)> {
    // Ids stand in order, so that two with the same beginning are neighbours.
    let ids: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let same =
        |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    let letters = ids.windows(2).map(|pair| same(pair) + 1).max().unwrap_or(0).max(SHORT_ID);
    peers.iter().map(|peer| (*peer, beginning(*peer, letters))).collect()
}

fn beginning(peer: PeerId, letters: usize) -> String {
    let mut text = peer.to_string();
    text.truncate(letters);
    text
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(NAME_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Control characters and line breaks.
fn is_control(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// So often a name is made shorter until nothing changes: what goes may have kept marks from
/// changing places.
const PASSES: usize = 3;

const NON_JOINER: char = '\u{200C}';
const JOINER: char = '\u{200D}';
const YPOGEGRAMMENI: char = '\u{345}';
const EMOJI_STYLE: char = '\u{FE0F}';

fn clean(text: &str) -> String {
    let mut name = cleaned_once(text);
    for _ in 0..PASSES {
        let again = cleaned_once(&name);
        if again == name {
            return name;
        }
        name = again;
    }
    name.retain(|letter| !matches!(letter, NON_JOINER | JOINER | EMOJI_STYLE));
    cleaned_once(&name)
}

fn cleaned_once(text: &str) -> String {
    let normalizer = ComposingNormalizer::new_nfc();
    let spaced: String = text.chars().filter_map(without_controls).collect();
    let visible = without_ignorables(&normalizer.normalize(&spaced));
    normalizer.normalize(with_single_spaces(&visible).trim()).into_owned()
}

/// Characters that look like a space become one, and several White_Space characters in a row too.
fn with_single_spaces(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    let letters = text.chars().map(|letter| if looks_blank(letter) { ' ' } else { letter });
    for letter in letters {
        if letter.is_whitespace() && spaced.ends_with(char::is_whitespace) {
            spaced.pop();
            spaced.push(' ');
        } else {
            spaced.push(letter);
        }
    }
    spaced
}

/// Letters and symbols that fonts draw as nothing: the Braille pattern without dots, the null
/// notehead, and the blanks among hieroglyphs.
fn looks_blank(letter: char) -> bool {
    matches!(letter, '\u{2800}' | '\u{1D159}' | '\u{13441}' | '\u{13442}')
}

fn without_controls(letter: char) -> Option<char> {
    match letter {
        _ if !is_control(letter) => Some(letter),
        _ if letter.is_whitespace() => Some(' '),
        _ => None,
    }
}

/// Without the characters that are not seen, except those that change how their neighbours look.
fn without_ignorables(text: &str) -> String {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let mut kept = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        let after = &text[at + letter.len_utf8()..];
        let keeps = match letter {
            NON_JOINER => follows_virama(&kept) || joins(&kept, after),
            JOINER => follows_virama(&kept) || is_in_emoji(&kept, after),
            EMOJI_STYLE => kept.chars().next_back().is_some_and(has::<Emoji>),
            // Interlinear annotation and the place of an object; what arranges hieroglyphs; the
            // filler of Khitan letters; noncharacters.
            '\u{FFF9}'..='\u{FFFC}'
            | '\u{13430}'..='\u{13440}'
            | '\u{16FE4}'
            | '\u{FDD0}'..='\u{FDEF}' => false,
            _ => !ignorable.contains(letter) && u32::from(letter) & 0xFFFE != 0xFFFE,
        };
        if keeps {
            kept.push(letter);
        }
    }
    kept
}

fn has<P: icu_properties::props::BinaryProperty>(letter: char) -> bool {
    CodePointSetData::new::<P>().contains(letter)
}

/// RFC 5892, appendices A.1 and A.2.
fn follows_virama(before: &str) -> bool {
    let class = CodePointMapData::<CanonicalCombiningClass>::new();
    before
        .chars()
        .next_back()
        .is_some_and(|last| class.get(last) == CanonicalCombiningClass::Virama)
}

/// RFC 5892, appendix A.1: between two letters that would otherwise be joined.
fn joins(before: &str, after: &str) -> bool {
    let joining = CodePointMapData::<JoiningType>::new();
    // The one mark that folds to a letter: in the key nothing joins across it.
    let joining = |letter| match letter {
        YPOGEGRAMMENI => JoiningType::NonJoining,
        letter => joining.get(letter),
    };
    let is_seen = |kind: &JoiningType| *kind != JoiningType::Transparent;
    let left = before.chars().rev().map(joining).find(is_seen);
    let right = after.chars().map(joining).find(is_seen);
    matches!(left, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(right, Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

/// UAX 29, rule GB11: between two pictures, of which the first may be modified.
fn is_in_emoji(before: &str, after: &str) -> bool {
    let is_modifier = |letter: &char| *letter == '\u{FE0F}' || has::<EmojiModifier>(*letter);
    let first = before.chars().rev().find(|letter| !is_modifier(letter));
    first.is_some_and(has::<ExtendedPictographic>)
        && after.chars().next().is_some_and(has::<ExtendedPictographic>)
}

/// Nothing but white space, joiners, and marks without a letter.
fn is_blank(cleaned: &str) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new();
    cleaned.chars().all(|letter| {
        let is_mark = || {
            matches!(
                category.get(letter),
                GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
            )
        };
        letter.is_whitespace() || matches!(letter, NON_JOINER | JOINER) || is_mark()
    })
}

fn fold(text: &str) -> String {
    let mapper = CaseMapper::new();
    let folded: String = text.chars().map(|letter| mapper.simple_fold(letter)).collect();
    ComposingNormalizer::new_nfc().normalize(&folded).into_owned()
}
