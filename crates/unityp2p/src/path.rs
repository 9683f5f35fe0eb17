//! The applications of the original's configuration.

/// What a client's URL names, behind the prefix that the caller has taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// `/`
    Root,
    /// `/chatapp`
    ChatApp,
    /// `/callapp`
    CallApp,
    /// `/conferenceapp`: several may listen on one address, and are connected to each other.
    ConferenceApp,
    /// `/test`
    Test,
    /// `/testshared`: as `/conferenceapp`.
    TestShared,
}

impl Path {
    /// All, with their text.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Root, "/"),
        (Self::ChatApp, "/chatapp"),
        (Self::CallApp, "/callapp"),
        (Self::ConferenceApp, "/conferenceapp"),
        (Self::Test, "/test"),
        (Self::TestShared, "/testshared"),
    ];

    /// The path of this text; nothing at all is the root.
    pub fn of(text: &str) -> Option<Self> {
        let text = if text.is_empty() { "/" } else { text };
        Self::ALL.into_iter().find(|(_, known)| *known == text).map(|(path, _)| path)
    }

    /// Whether several may listen on one address.
    pub fn is_shared(self) -> bool {
        match self {
            Self::ConferenceApp | Self::TestShared => true,
            Self::Root | Self::ChatApp | Self::CallApp | Self::Test => false,
        }
    }
}
