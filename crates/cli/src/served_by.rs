//! Who passes on what is said, in the words of views and sentences.

/// What a stay hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServedBy {
    /// A room's server.
    #[default]
    Server,
    /// Another member, who hosts the call.
    Host,
    /// This program, which hosts the call.
    ThisProgram,
}

impl ServedBy {
    /// In a sentence, behind an article.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Host | Self::ThisProgram => "host",
        }
    }

    /// Whether it is a room of a server.
    pub const fn is_room(self) -> bool {
        matches!(self, Self::Server)
    }
}
