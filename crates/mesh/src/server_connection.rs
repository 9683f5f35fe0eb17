//! The connection to the signaling server, as people need to know it.

/// How the connection to the server goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConnection {
    /// Whether it is encrypted on its way (TLS).
    pub encrypted: bool,
    /// Whether the server is on this machine, so that nothing leaves it.
    pub local: bool,
    /// Host and port of the proxy that it goes through, if it does. Direct links to others never
    /// do.
    pub proxy: Option<String>,
}

impl ServerConnection {
    /// For programs that show one.
    pub fn new(encrypted: bool, local: bool, proxy: Option<String>) -> Self {
        Self { encrypted, local, proxy }
    }

    /// Whether others on the network can read what goes to the server.
    pub fn is_exposed(&self) -> bool {
        !self.encrypted && !self.local
    }
}
