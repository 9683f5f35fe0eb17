//! Rooms over several nodes, without sockets, clocks and randomness.
//!
//! Several nodes serve one name behind any load balancer. They share a bus (messages to one node or
//! to all, which may be lost) and a store (a record for each room, written by compare-and-set). A
//! [`Node`] wraps the signaling server of `voicemesh-rooms`: it takes what came on sockets, what the
//! bus delivered and what the store answered, and gives what is to be published and asked
//! ([`Node::poll_output`]). What is for a socket goes into its [`SocketLine`].
//!
//! # Who owns a room
//!
//! A room has one owner: the node in its record. The record's revision when the owner wrote it is
//! the [`Epoch`]: a fence that needs no clocks. Other nodes are edges of the room. They hold the
//! sockets, and forward what comes to the owner, where it is handled as if the socket were there;
//! what the owner sends to several connections behind one edge travels once and is copied by the
//! edge. All of it carries the epoch, and an edge drops what is older than the epoch of the
//! connection.
//!
//! - A join waits until the room's record was read after the join came, from the store's leader. So
//!   the epochs that one member sees never fall, whichever nodes it comes to, and a former owner takes
//!   in no newcomers. While the store has no leader, joins wait; members that are in a room are served
//!   as before.
//! - An edge that has not heard the owner's beat for a second writes itself into the record, if it
//!   still has the revision that the edge knows.
//! - An owner whose own beats do not come back from the bus stops within two seconds. One that learns of
//!   a higher epoch stops at once: by a message of the new owner, which repeats it to nodes that
//!   appear again; by the store, where that tells of changes; or by the next join.
//! - A node that drains writes a successor into the records of its rooms.
//!
//! # What members notice
//!
//! A new owner begins a new session of the room. Members are sent `going-away`, as when a server
//! restarts, and their connection ends with the close code 1012; clients of every version come back
//! at once, to any node, and links between them stay open meanwhile. A join that was answered nothing
//! yet goes to the new owner on the same socket.
//!
//! # Between two nodes
//!
//! Batches between two nodes are numbered, and one that is missing is sent again. If it is no longer
//! there, what depended on the link ends as after a broken connection. For each connection behind an edge the owner has the same queue as for one of its
//! sockets, with the same bounds; the edge reports what its socket has written, so that little is
//! under way.
//!
//! A configuration without a bus needs none of this crate.

#![forbid(unsafe_code)]

mod guests;
mod line;
mod link;
mod message;
mod node;
mod ownership;
mod peers;
mod sockets;
mod store;

pub use line::{NodeLine, RemoteLine, SocketLine};
pub use message::{BusError, Epoch, MAX_MESSAGE_BYTES, NodeId, Topic};
pub use node::{Counts, Node, Output};
pub use sockets::Progress;
pub use store::{RequestId, StoreAnswer, StoreRequest, decode_record, encode_record};
