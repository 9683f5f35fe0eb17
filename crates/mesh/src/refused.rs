//! What the server does not want: which refusals are final, and which another access token changes.

use std::time::Duration;

use voicemesh_session::network::DisconnectReason;
use voicemesh_wire::signaling::{AccessToken, ErrorCode};

use super::{Mesh, MeshEvent};

impl Mesh {
    pub(super) fn refused(
        &mut self,
        now: Duration,
        code: ErrorCode,
        message: String,
        fatal: bool,
        retry_after_ms: Option<u64>,
    ) {
        let retry_after = Duration::from_millis(retry_after_ms.unwrap_or(0).min(60_000));
        let has_joined = self.socket.memory().is_some_and(|memory| memory.has_joined);
        if !fatal {
            self.tell(MeshEvent::Warned { code, message });
        } else if self.config.renews_token && asks_for_token(&code) {
            self.awaits_token = true;
            self.refused_for_now(now, code.clone(), message.clone(), Duration::ZERO);
            self.tell(MeshEvent::TokenNeeded { code, message });
        } else if code == ErrorCode::PasswordWait {
            self.come_back(now, code, message, retry_after);
        } else if is_final(&code, has_joined, self.config.password.is_some()) {
            self.end_connection(DisconnectReason::Refused(message.clone()));
            self.drop_all_links();
            self.stop();
            let retry_after = retry_after_ms.map(Duration::from_millis);
            self.tell(MeshEvent::Refused { code, message, retry_after });
        } else {
            self.refused_for_now(now, code, message, retry_after);
        }
    }

    /// The access token from now on. A server that asked for another one is joined at once.
    pub fn set_token(&mut self, now: Duration, token: AccessToken) {
        self.config.token = Some(token);
        if std::mem::take(&mut self.awaits_token) {
            self.socket.hurry(now);
            self.tick_socket(now);
        }
    }
}

fn asks_for_token(code: &ErrorCode) -> bool {
    matches!(code, ErrorCode::TokenRequired | ErrorCode::TokenInvalid | ErrorCode::TokenExpired)
}

/// Refusals that trying again does not change. Who has been in the room before keeps trying where room may come free.
fn is_final(code: &ErrorCode, has_joined: bool, has_password: bool) -> bool {
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
