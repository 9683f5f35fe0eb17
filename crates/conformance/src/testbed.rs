//! What an integration gives to be tested, and what a case gives back.

use std::time::Duration;

use voicemesh_session::network::Network;

/// Makes peers of an integration and lets time pass for them.
pub trait Testbed {
    /// The integration.
    type Network: Network;

    /// One more peer, which is neither a client nor a server yet. [`Network::initialise`] is called
    /// by the cases.
    fn peer(&mut self) -> Self::Network;

    /// What makes a peer serve. Each number is another address; cases use 0 to 2.
    fn server_parameters(&mut self, server: usize) -> <Self::Network as Network>::ServerParameters;

    /// What makes a peer join the server of this number.
    fn client_parameters(&mut self, server: usize) -> <Self::Network as Network>::ClientParameters;

    /// Lets some time pass, a frame of a game or so. A network of real sockets sleeps here for some
    /// milliseconds.
    fn pass(&mut self) -> Duration {
        Duration::from_millis(10)
    }

    /// For how many frames a case waits for what must come.
    fn patience(&self) -> usize {
        500
    }

    /// For how many frames a case looks whether what must not come stays away.
    fn vigil(&self) -> usize {
        20
    }

    /// The part of the unreliable packets that arrive at least, 0 to 1.
    fn arrives(&self) -> f64 {
        0.8
    }

    /// Cuts a client's connection to its server, as a failing network would: neither asked for it.
    /// False if this testbed cannot.
    fn cut(&mut self, _client: &mut Self::Network) -> bool {
        false
    }

    /// Makes a client's connection lose a reliable packet for good, in a way that its integration can
    /// notice: by more than it keeps, for example. False if this testbed cannot.
    fn break_reliability(&mut self, _client: &mut Self::Network) -> bool {
        false
    }

    /// Opens a direct link between two peers that are connected to one server. False if this
    /// integration has none.
    fn link(&mut self, _a: &mut Self::Network, _b: &mut Self::Network) -> bool {
        false
    }
}

/// A rule of the contract that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {seen}")]
pub struct Violation {
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// What was seen instead.
    pub seen: String,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rule holds.
    Passed,
    /// The testbed does not have what it takes.
    Skipped(&'static str),
}

/// What a case gives back.
pub type Verdict = Result<Outcome, Violation>;
