//! Networks of renet, over sockets on loopback.

mod conformance;
mod flood;
mod hostile_payloads;
mod lan_party;
mod promises;
mod refusals;
mod silence;
