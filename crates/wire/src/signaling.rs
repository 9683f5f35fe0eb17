//! The JSON messages between a peer and the signaling server (DESIGN §4).

use serde::{Deserialize, Serialize};

/// A STUN or TURN server, in the shape that WebRTC stacks take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` addresses.
    pub urls: Vec<String>,
    /// Only for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Only for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// What two peers say to each other, through the server, to open a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Signal {
    /// The offerer's session description.
    Offer {
        /// RFC 8866 text.
        sdp: String,
    },
    /// The answerer's session description.
    Answer {
        /// RFC 8866 text.
        sdp: String,
    },
    /// One trickled ICE candidate (RFC 8838).
    Candidate {
        /// `candidate:…` as in RFC 8839 §5.1.
        candidate: String,
        /// The media section by name; always "0" here.
        #[serde(default, rename = "sdpMid")]
        sdp_mid: Option<String>,
        /// The media section by position.
        #[serde(default, rename = "sdpMLineIndex")]
        sdp_m_line_index: Option<u16>,
    },
    /// No more candidates will come.
    EndOfCandidates,
    /// The answerer asks the offerer for a new attempt.
    RequestOffer,
}
