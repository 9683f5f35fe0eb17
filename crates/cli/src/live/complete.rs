//! Tab: completes a command, a word that a command takes, or a person's name.

use crate::slash::{COMMANDS, Takes};

/// What Tab does to the text before the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// This replaces so many bytes before the cursor.
    Replace {
        bytes: usize,
        with: String,
    },
    /// Several are possible.
    Choices(Vec<String>),
    None,
}

/// `before` is the text before the cursor.
pub(crate) fn complete(before: &str, names: &[String]) -> Completion {
    let Some(command) = before.strip_prefix('/') else {
        let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        return if word.is_empty() {
            Completion::None
        } else {
            among(word, names.iter().cloned(), "")
        };
    };
    let Some((command, argument)) = command.split_once(char::is_whitespace) else {
        let matching =
            COMMANDS.iter().filter(|(name, _)| name.starts_with(&command.to_lowercase()));
        let blank =
            if matching.clone().all(|(_, takes)| *takes == Takes::Nothing) { "" } else { " " };
        return among(command, COMMANDS.iter().map(|(name, _)| (*name).to_owned()), blank);
    };
    let takes =
        COMMANDS.iter().find(|(name, _)| *name == command.to_lowercase()).map(|(_, takes)| takes);
    match takes {
        Some(Takes::Name) => among(argument, names.iter().cloned(), " "),
        Some(Takes::OneOf(words)) => {
            among(argument, words.iter().map(|word| (*word).to_owned()), "")
        }
        Some(Takes::Nothing | Takes::Text) | None => Completion::None,
    }
}

fn among(typed: &str, all: impl Iterator<Item = String>, after: &str) -> Completion {
    let lower = typed.to_lowercase();
    let matching: Vec<String> = all.filter(|one| one.to_lowercase().starts_with(&lower)).collect();
    match matching.as_slice() {
        [] => Completion::None,
        [one] => Completion::Replace { bytes: typed.len(), with: format!("{one}{after}") },
        [first, rest @ ..] => {
            let common =
                rest.iter().fold(first.as_str(), |common, other| common_start(common, other));
            match common.len() > typed.len() {
                true => Completion::Replace { bytes: typed.len(), with: common.to_owned() },
                false => Completion::Choices(matching),
            }
        }
    }
}

/// What both begin with.
fn common_start<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.char_indices().zip(other.chars()).find(|((_, one), other)| one != other);
    match same {
        Some(((at, _), _)) => &one[..at],
        None => &one[..one.len().min(other.len())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(before: &str) -> Completion {
        complete(
            before,
            &["Ben#0abc".into(), "Ben#0def".into(), "Cleo the Long".into(), "Émile".into()],
        )
    }

    fn replaced(before: &str) -> String {
        match completed(before) {
            Completion::Replace { bytes, with } => {
                format!("{}{with}", &before[..before.len() - bytes])
            }
            other => panic!("{before}: {other:?}"),
        }
    }

    #[test]
    fn commands_names_and_words_are_completed() {
        assert_eq!(replaced("/kic"), "/kick ");
        assert_eq!(replaced("/who"), "/who");
        assert_eq!(replaced("/msg cl"), "/msg Cleo the Long ");
        assert_eq!(replaced("/msg Cleo the l"), "/msg Cleo the Long ");
        assert_eq!(replaced("/noise mod"), "/noise moderate");
        assert_eq!(replaced("hello cle"), "hello Cleo the Long");
        assert_eq!(replaced("/KICK be"), "/KICK Ben#0");
        assert_eq!(replaced("/kick ém"), "/kick Émile ");
    }

    #[test]
    fn several_are_listed_and_unknown_ones_change_nothing() {
        assert_eq!(
            completed("/kick Ben#0"),
            Completion::Choices(vec!["Ben#0abc".into(), "Ben#0def".into()])
        );
        assert_eq!(replaced("/mu"), "/mute");
        assert!(matches!(completed("/mute"), Completion::Choices(_)));
        for unknown in ["", "/dance x", "zoe", "/who x", "hello "] {
            assert_eq!(completed(unknown), Completion::None, "{unknown}");
        }
    }
}
