//! Why joining a room cannot even begin.

use voicemesh_device::DeviceError;
use voicemesh_wire::limits::{NAME_BYTES, PASSWORD_BYTES, ROOM_NAME_BYTES, TOKEN_BYTES};

/// Joining cannot even begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The address is not one of a server.
    #[error(
        "“{url}” is not a server's address: {why}. Use wss://host (or ws://host:port on your own machine)."
    )]
    BadServer {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The proxy's address makes no sense. The address itself is not repeated: it may hold a
    /// password.
    #[error("{} is not usable: {why}. Use http://host:port, socks5h://host:port, or none", proxy_setting(*.variable))]
    BadProxy {
        /// The environment variable that holds it; `None` for
        /// [`JoinOptions::proxy`](crate::JoinOptions::proxy).
        variable: Option<&'static str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The link names no room.
    #[error("“{0}” is not a link to a room: it has no /r/ROOM at its end")]
    NoRoomInLink(String),
    /// What the link has after `/r/` is no room's name.
    #[error("“{link}” is not a link to a room: {why}")]
    BadRoomInLink {
        /// What was given.
        link: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The room's name is too long.
    #[error("a room's name can have at most {ROOM_NAME_BYTES} bytes")]
    RoomTooLong,
    /// The room's name is `.` or `..`, which no link can name.
    #[error("a room cannot be called . or .., because no web address can name it")]
    RoomUnlinkable,
    /// Nothing of the room's name can be seen.
    #[error("a room's name cannot be blank")]
    RoomBlank,
    /// The display name is too long, blank, or has control characters.
    #[error(
        "a name can have at most {NAME_BYTES} bytes and no control characters, and cannot be blank"
    )]
    BadName,
    /// The access token is too long.
    #[error("an access token can have at most {TOKEN_BYTES} bytes")]
    TokenTooLong,
    /// The password is too long.
    #[error("a password can have at most {PASSWORD_BYTES} bytes")]
    PasswordTooLong,
    /// The microphone cannot be opened.
    #[error("{0}")]
    Input(#[source] DeviceError),
    /// The speaker cannot be opened.
    #[error("{0}")]
    Output(#[source] DeviceError),
    /// A recording cannot be begun.
    #[error("{0}")]
    Recording(String),
    /// A certificate that was named cannot be read.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    /// The operating system refuses a thread, a socket or randomness.
    #[error(
        "this machine does not give {what}: {why}; end other programs, or raise the limits of this user"
    )]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why, without the system's own words.
        why: String,
    },
}

fn proxy_setting(variable: Option<&'static str>) -> String {
    match variable {
        Some(variable) => format!("the proxy in the variable {variable}"),
        None => "the proxy that was named".to_owned(),
    }
}
