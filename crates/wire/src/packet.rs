//! The binary session packets (PROTOCOL.md, section 6).
//!
//! A packet is read in two steps, because most of them are refused or passed on after the first:
//! [`open`] checks the magic number and gives the [`Header`] and the body; [`ToServer`],
//! [`FromServer`] or [`PeerToPeer`] decodes the body, by the way that the packet came.

mod copies;
mod data;
mod direction;
mod extension;
mod feedback;
mod header;
mod relay;
mod sealed;
mod state;
mod text;
mod voice;

pub use copies::{CopiesMarks, Copy, CopyList, VoiceCopies};
pub use data::{DataAck, DataMessage, DataReset, DataSegment, PipeEnd, Record};
pub use direction::{DataPacket, DirectionError, FromMember, FromServer, PeerToPeer, ToServer};
pub use extension::{BandwidthProbe, BandwidthReport, Probe, VoiceAck};
pub use feedback::{Captured, ClockEcho, ClockProbe, ReceptionReport};
pub use header::{FIRST_EXTENSION, Header, Kind, LAST_EXTENSION, MAGIC, error_wrong_session, open};
pub use relay::{DestinationList, Relay, Routing, is_relayed_data, is_written, is_written_to_one};
pub use sealed::{KeyPackage, KeyRequest, SealedPart, SealedText, SealedWith};
pub use state::{
    ClientInfo, ClientState, CodecSettings, DeltaClientState, GroupListeners, HandshakeP2P,
    HandshakeRequest, HandshakeResponse, RemoveClient,
};
pub use text::{GroupText, Recipient, TextData};
pub use voice::{
    Priority, TalkspurtCounter, Target, TargetKind, TargetList, VoiceData, VoiceHeader,
    volume_to_wire,
};

pub use crate::decode_error::DecodeError;
use header::{begin, write_header};
