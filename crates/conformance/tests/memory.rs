//! The network inside one process keeps the contract.

mod testbed;

use testbed::Memory;
use voicemesh_conformance::conformance_tests;

conformance_tests!(Memory::default());
