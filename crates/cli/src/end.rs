//! Why a stay in a room ended.

use crate::exit::Exit;

/// Why a stay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `/quit`.
    Quit,
    /// A signal, or the reader of the output is gone.
    Interrupted,
    /// `--duration` is over.
    Duration,
    /// Ctrl-D.
    InputEnded,
    /// The server does not let this peer in.
    Refused,
    /// The same identity joined from somewhere else.
    Replaced,
    /// The server was out of reach for `--give-up-after`.
    GaveUp,
    /// The peer ended by itself, which it should not.
    Failed,
}

impl End {
    /// As the summary says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Interrupted => "interrupted",
            Self::Duration => "duration",
            Self::InputEnded => "input-ended",
            Self::Refused => "refused",
            Self::Replaced => "replaced",
            Self::GaveUp => "gave-up",
            Self::Failed => "failed",
        }
    }

    /// As the exit code says it.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Quit | Self::Interrupted | Self::Duration | Self::InputEnded => Exit::Done,
            Self::Refused => Exit::Refused,
            Self::Replaced => Exit::Replaced,
            Self::GaveUp => Exit::Unreachable,
            Self::Failed => Exit::Other,
        }
    }
}
