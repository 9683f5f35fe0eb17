//! Whether an integration of the [`Network`](voicemesh_session::Network) trait keeps its contract.
//!
//! Each case is one public function of [`cases`] with a name that says what must hold. A
//! [`Testbed`] makes peers of the integration and lets time pass for them; [`conformance_tests!`]
//! makes a `#[test]` of every case:
//!
//! ```no_run
//! # mod my_network {
//! #     pub use voicemesh_networks::memory::*;
//! # }
//! use voicemesh_conformance::{Testbed, conformance_tests};
//! use my_network::{ClientParameters, Endpoint, Hub, ServerParameters};
//!
//! #[derive(Default)]
//! struct MyTestbed(Hub);
//!
//! impl Testbed for MyTestbed {
//!     type Network = Endpoint;
//!
//!     fn peer(&mut self) -> Endpoint {
//!         self.0.endpoint()
//!     }
//!
//!     fn server_parameters(&mut self, server: usize) -> ServerParameters {
//!         ServerParameters { address: format!("server {server}") }
//!     }
//!
//!     fn client_parameters(&mut self, server: usize) -> ClientParameters {
//!         ClientParameters { address: format!("server {server}") }
//!     }
//! }
//!
//! conformance_tests!(MyTestbed::default());
//! ```
//!
//! A case fails with a [`Violation`] that names the rule and says what was seen. A case whose means
//! the testbed does not have (links, a connection that it can cut) is skipped, and says so.

pub mod cases;
mod rig;
mod testbed;

pub use rig::Rig;
pub use testbed::{Outcome, Testbed, Verdict, Violation};

/// Makes a `#[test]` of each case. Takes an expression that makes a new [`Testbed`].
#[macro_export]
macro_rules! conformance_tests {
    ($testbed:expr) => {
        $crate::for_each_case!([$crate::conformance_test], $testbed);
    };
}

/// Makes one `#[test]`.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test {
    ($testbed:expr, $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                match $crate::cases::$case(&mut $crate::Rig::new($testbed)) {
                    Ok($crate::Outcome::Passed) => {}
                    Ok($crate::Outcome::Skipped(why)) => println!("skipped: {why}"),
                    Err(violation) => panic!("{violation}"),
                }
            }
        )*
    };
}

/// The guide's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/your-network.md")]
struct Guide;
