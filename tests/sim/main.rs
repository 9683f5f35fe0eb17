//! Whole rooms under a virtual clock and a seeded network: the signaling server's rooms, the peers'
//! meshes, sessions and sound are the real ones; only sockets and links are simulated. The same
//! seed gives the same trace.

mod carrier;
mod line;
mod narrow;
mod opening;
mod permissions;
mod tcp;
mod world;

mod data;
mod encryption;
mod hosts;
mod lobby;
mod lost_and_found;
mod malicious;
mod moderation;
mod moving;
mod rooms;
mod routes;
mod slow;
mod sound;
mod status;
mod tokens;
mod uplink_seeds;
mod uplinks;
