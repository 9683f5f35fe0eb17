//! Why joining a room cannot even begin.

use voicemesh_common::shortened;
use voicemesh_device::{Cause, DeviceError};
use voicemesh_e2ee::RoomKeyError;
use voicemesh_wire::limits::{NAME_BYTES, PASSWORD_BYTES, ROOM_NAME_BYTES, TOKEN_BYTES};
use voicemesh_wire::names::NameError;

/// Joining cannot even begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The address is not one of a server.
    #[error(
        "“{url}” is not a server's address: {why}. Use wss://host (or ws://host:port on your own machine)."
    )]
    BadServer {
        /// What was given: of a long text the beginning, and nothing that may be secret.
        url: String,
        /// What is wrong with it.
        #[source]
        why: Cause,
    },
    /// The proxy's address makes no sense. The address itself is not repeated: it may hold a
    /// password.
    #[error("{} is not usable: {why}. Use http://host:port, socks5h://host:port, or none", proxy_setting(*.variable))]
    BadProxy {
        /// The environment variable that holds it; `None` for
        /// [`JoinOptions::proxy`](crate::JoinOptions::proxy).
        variable: Option<&'static str>,
        /// What is wrong with it.
        #[source]
        why: Cause,
    },
    /// The link names no room.
    #[error("“{0}” is not a link to a room: it has no /r/ROOM at its end; copy the link again")]
    NoRoomInLink(String),
    /// What the link has after `/r/` is no room's name.
    #[error("“{link}” is not a link to a room: {why}; copy the link again")]
    BadRoomInLink {
        /// What was given: of a long text the beginning, and nothing that may be secret.
        link: String,
        /// What is wrong with it.
        #[source]
        why: Cause,
    },
    /// The room's name is too long.
    #[error("a room's name can have at most {ROOM_NAME_BYTES} bytes; choose a shorter one")]
    RoomTooLong,
    /// The room's name is `.` or `..`, which no link can name.
    #[error(
        "a room cannot be called . or .., because no web address can name it; choose another name"
    )]
    RoomUnlinkable,
    /// Nothing of the room's name can be seen.
    #[error("a room's name cannot be blank; choose one that can be seen")]
    RoomBlank,
    /// The display name is too long, blank, or has control characters.
    #[error(
        "a name can have at most {NAME_BYTES} bytes and no control characters, and cannot be blank; choose another"
    )]
    BadName(#[source] NameError),
    /// The room's key in the link is damaged. It is not repeated.
    #[error(transparent)]
    BadRoomKey(#[from] RoomKeyError),
    /// The access token is too long.
    #[error(
        "an access token can have at most {TOKEN_BYTES} bytes; copy the link or the token again, whole and alone"
    )]
    TokenTooLong,
    /// The password is too long.
    #[error(
        "a password can have at most {PASSWORD_BYTES} bytes; choose a shorter one, or ask for the right one"
    )]
    PasswordTooLong,
    /// The microphone cannot be opened.
    #[error("{0}")]
    Input(#[source] DeviceError),
    /// The speaker cannot be opened.
    #[error("{0}")]
    Output(#[source] DeviceError),
    /// A recording cannot be begun.
    #[error(transparent)]
    Recording(Cause),
    /// A certificate that was named cannot be read.
    #[error("the certificate cannot be used: {0}; name a PEM file that can be read")]
    Certificate(#[source] Cause),
    /// The operating system refuses a thread, a socket or randomness.
    #[error(
        "this machine does not give {what}: {why}; end other programs, or raise the limits of this user"
    )]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why, without the system's own words, which are in the cause behind it.
        #[source]
        why: Cause,
    },
}

fn proxy_setting(variable: Option<&'static str>) -> String {
    match variable {
        Some(variable) => format!("the proxy in the variable {variable}"),
        None => "the proxy that was named".to_owned(),
    }
}

impl JoinError {
    pub(crate) fn bad_server(url: &str, why: impl Into<Cause>) -> Self {
        Self::BadServer { url: shortened(url).into_owned(), why: why.into() }
    }

    pub(crate) fn bad_room_in_link(link: &str, why: impl Into<Cause>) -> Self {
        Self::BadRoomInLink { link: shortened(link).into_owned(), why: why.into() }
    }

    pub(crate) fn no_random(error: getrandom::Error) -> Self {
        tracing::debug!(%error, "no random number");
        let why = Cause::new("their source does not answer", error);
        Self::System { what: "random numbers", why }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::path::Path;
    use std::sync::Arc;

    use tokio_rustls::rustls::pki_types::pem;
    use voicemesh_device::{Capture, InputSpec};

    use super::*;
    use crate::JoinOptions;
    use crate::words::assert_says_what_next;

    /// Whether an error of this type is among the causes.
    fn comes_of<E: Error + 'static>(error: &JoinError) -> bool {
        let mut cause = error.source();
        while let Some(error) = cause.filter(|error| !error.is::<E>()) {
            cause = error.source();
        }
        cause.is_some()
    }

    #[test]
    fn what_a_library_or_the_system_has_said_stays_behind_the_sentence() {
        let options = |server: &str| JoinOptions::new(server, "room").name("Ada");
        let refused = |options: JoinOptions| options.prepare().expect_err("it is refused");
        let no_address = refused(options("ws://[1::2::3]"));
        assert!(comes_of::<url::ParseError>(&no_address), "{no_address:?}");
        let no_name = refused(options("ws://127.0.0.1:1").name("a\u{7}b"));
        assert!(comes_of::<NameError>(&no_name), "{no_name:?}");
        let no_proxy = refused(options("wss://voicemesh.example").proxy("http://[x"));
        assert!(comes_of::<url::ParseError>(&no_proxy), "{no_proxy:?}");
        let with_certificate =
            |file: &Path| refused(options("wss://127.0.0.1:1").extra_root_pem(file));
        assert!(comes_of::<std::io::Error>(&with_certificate(Path::new("/nowhere/a.pem"))));
        let this = std::env::current_exe().expect("this program's file");
        let file = std::env::temp_dir().join(format!("voicemesh-{}-half.pem", std::process::id()));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA").expect("written");
        let half_pem = with_certificate(&file);
        std::fs::remove_file(&file).expect("removed");
        assert!(comes_of::<pem::Error>(&half_pem), "{half_pem:?}");
        let beneath_a_file =
            crate::record::Recorder::start(&this.join("x")).expect_err("no folder");
        assert!(comes_of::<std::io::Error>(&JoinError::Recording(beneath_a_file)));
        let spec: InputSpec = "/nowhere/none.wav".parse().expect("a file");
        let no_file = Capture::open(&spec, None, Arc::new(|| {})).err().expect("no file");
        assert!(comes_of::<std::io::Error>(&JoinError::Input(no_file)));
        let system = JoinError::System {
            what: "a thread",
            why: Cause::of_system(std::io::ErrorKind::WouldBlock.into()),
        };
        assert!(comes_of::<std::io::Error>(&system) && system == system.clone());
    }

    /// All causes, one after the other: the compiler wants each here.
    fn after(error: Option<&JoinError>) -> Option<JoinError> {
        let device = || DeviceError::NoMicrophone;
        Some(match error {
            None => {
                JoinError::BadServer { url: "ftp://x".into(), why: "it must begin with ws".into() }
            }
            Some(JoinError::BadServer { .. }) => {
                JoinError::BadProxy { variable: Some("all_proxy"), why: "it has no host".into() }
            }
            Some(JoinError::BadProxy { .. }) => JoinError::NoRoomInLink("https://a".into()),
            Some(JoinError::NoRoomInLink(_)) => {
                JoinError::BadRoomInLink { link: "https://a/r/ ".into(), why: "it is blank".into() }
            }
            Some(JoinError::BadRoomInLink { .. }) => JoinError::RoomTooLong,
            Some(JoinError::RoomTooLong) => JoinError::RoomUnlinkable,
            Some(JoinError::RoomUnlinkable) => JoinError::RoomBlank,
            Some(JoinError::RoomBlank) => JoinError::BadName(NameError::Blank),
            Some(JoinError::BadName(_)) => JoinError::TokenTooLong,
            Some(JoinError::TokenTooLong) => JoinError::PasswordTooLong,
            Some(JoinError::PasswordTooLong) => JoinError::BadRoomKey(RoomKeyError),
            Some(JoinError::BadRoomKey(_)) => JoinError::Input(device()),
            Some(JoinError::Input(_)) => JoinError::Output(device()),
            Some(JoinError::Output(_)) => {
                let folder = std::env::current_exe().expect("this program's file");
                JoinError::Recording(
                    crate::record::Recorder::start(&folder).expect_err("it is a file"),
                )
            }
            Some(JoinError::Recording(_)) => {
                JoinError::Certificate("a.pem: there is no such file or folder".into())
            }
            Some(JoinError::Certificate(_)) => {
                JoinError::System { what: "a socket", why: "it has no memory left".into() }
            }
            Some(JoinError::System { .. }) => return None,
        })
    }

    #[test]
    fn each_cause_has_a_sentence_with_the_next_step() {
        let all = std::iter::successors(after(None), |error| after(Some(error)));
        for error in all {
            let step = match &error {
                JoinError::BadServer { .. } => "Use wss://host",
                JoinError::BadProxy { .. } => "Use http://host:port",
                JoinError::NoRoomInLink(_) | JoinError::BadRoomInLink { .. } => {
                    "; copy the link again"
                }
                JoinError::RoomTooLong => "; choose a shorter one",
                JoinError::RoomUnlinkable => "; choose another name",
                JoinError::RoomBlank => "; choose one that can be seen",
                JoinError::BadName(_) => "; choose another",
                JoinError::TokenTooLong => "; copy the link or the token again",
                JoinError::PasswordTooLong => "; choose a shorter one",
                JoinError::BadRoomKey(_) => ": copy the whole link again",
                JoinError::Input(_) | JoinError::Output(_) => "; plug one in",
                JoinError::Recording(_) => "; name a folder",
                JoinError::Certificate(_) => "; name a PEM file",
                JoinError::System { .. } => "; end other programs",
            };
            assert_says_what_next(&error, step);
        }
    }
}
