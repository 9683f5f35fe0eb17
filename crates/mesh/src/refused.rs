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
