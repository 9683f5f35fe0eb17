//! What a [`VoiceEngine`](crate::VoiceEngine) runs: a client, a server, both or neither.

/// What a [`VoiceEngine`](crate::VoiceEngine) is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing runs.
    #[default]
    None,
    /// A member of a session.
    Client,
    /// A session's server, without microphone and speaker.
    DedicatedServer,
    /// A session's server and a member of that session in one process.
    Host,
}

impl Mode {
    /// Whether a session's server runs.
    pub fn is_server(self) -> bool {
        matches!(self, Self::DedicatedServer | Self::Host)
    }

    /// Whether a member of a session runs.
    pub fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::Host)
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Client => "client",
            Self::DedicatedServer => "server",
            Self::Host => "server & client",
        })
    }
}
