//! The network inside one process keeps the contract.

use crate::testbed::Memory;
use voicemesh_conformance::conformance_tests;

conformance_tests!(Memory::default());
