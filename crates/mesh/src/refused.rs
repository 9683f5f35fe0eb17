//! What the server does not want: which refusals are final, and which another access token changes.

use voicemesh_wire::signaling::ErrorCode;

/// Whether another access token changes this refusal.
pub(super) fn asks_for_token(code: &ErrorCode) -> bool {
    matches!(code, ErrorCode::TokenRequired | ErrorCode::TokenInvalid | ErrorCode::TokenExpired)
}

/// Refusals that trying again does not change. Who has been in the room before keeps trying where
/// room may come free.
pub(super) fn is_final(code: &ErrorCode, has_joined: bool, has_password: bool) -> bool {
    match code {
        ErrorCode::PasswordRequired if !has_password => true,
        ErrorCode::RoomFull
        | ErrorCode::ServerFull
        | ErrorCode::RoomMissing
        | ErrorCode::RoomExists
        | ErrorCode::PasswordRequired
        | ErrorCode::PasswordWrong => !has_joined,
        ErrorCode::Kicked
        | ErrorCode::Banned
        | ErrorCode::RoomLocked
        | ErrorCode::BadName
        | ErrorCode::BadRoom
        | ErrorCode::BadMetadata
        | ErrorCode::BadField
        | ErrorCode::BadJson
        | ErrorCode::TokenRequired
        | ErrorCode::TokenInvalid
        | ErrorCode::TokenExpired
        | ErrorCode::UnsupportedProtocol => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        error_codes: Vec<ErrorCode>,
        refusals: Refusals,
    }

    #[derive(Deserialize)]
    struct Refusals {
        always: Vec<ErrorCode>,
        first_join: Vec<ErrorCode>,
        never: Vec<ErrorCode>,
    }

    /// The page reads the same file. A code that is new must be put somewhere.
    #[test]
    fn of_each_code_it_is_known_whether_a_peer_joins_again() {
        let Vectors { error_codes, refusals: Refusals { always, first_join, never } } =
            serde_json::from_str(voicemesh_vectors::SIGNALING).expect("the vectors");
        let known = [always.as_slice(), &first_join, &never].concat();
        assert_eq!(known.len(), error_codes.len());
        for code in error_codes {
            assert!(known.contains(&code), "{code:?} is nowhere");
            let is_in = |codes: &[ErrorCode]| codes.contains(&code);
            assert_eq!(is_final(&code, true, true), is_in(&always), "{code:?}, a member");
            let at_first = is_in(&always) || is_in(&first_join);
            assert_eq!(is_final(&code, false, true), at_first, "{code:?}, a newcomer");
        }
        assert!(is_final(&ErrorCode::PasswordRequired, true, false), "it has none to name");
    }
}
