//! What the handle asks of the engine thread.

use std::sync::Arc;

use voicemesh_audio::process::{Activation, Processing};
use voicemesh_device::{Capture, InputSpec, OutputSpec};
use voicemesh_mesh::{MetadataScope, Reachability, TransactionId};
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{AccessToken, MetadataChanges, Moderation};

use crate::game::{SharedOptions, Source};
use crate::record::Recorder;

/// Commands that the engine has not taken. When there are more, the caller's newest is dropped.
pub(crate) const COMMANDS: usize = 1024;

/// What a program wants of its peer.
#[derive(Debug)]
pub(crate) enum Command {
    Voice(VoiceCommand),
    SetToken(AccessToken),
    /// A new recording, or none.
    Record(Option<Box<Recorder>>),
    Lobby(LobbyCommand),
}

/// What a program wants of its sound and its talk groups, over whatever network.
pub(crate) enum VoiceCommand {
    SetMuted(bool),
    SetDeafened(bool),
    SetGain(PeerId, f32),
    SetPeerMuted(PeerId, bool),
    SendText(TextTo, String),
    JoinGroup(String),
    LeaveGroup(String),
    /// Without speaking to it.
    Listen(String),
    Unlisten(String),
    SetTalking(bool),
    SetProcessing(Processing),
    SetActivation(Activation),
    SetInput(InputSpec),
    SetOutput(OutputSpec),
    UseMicrophone(Box<Capture>),
    /// The options are in the token.
    Speak(u64, VoiceTarget<PeerId>, Arc<SharedOptions>),
    /// A handle was dropped.
    SweepHandles,
    OpenVoice(PeerId, Box<Source>),
    OpenMix(Box<Source>),
}

impl std::fmt::Debug for VoiceCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VoiceCommand")
    }
}

/// Whom a text is for.
#[derive(Debug)]
pub(crate) enum TextTo {
    Group(String),
    Peer(PeerId),
}

/// What the engine does for a lobby.
#[derive(Clone, Debug)]
pub(crate) enum LobbyCommand {
    Transact(TransactionId, MetadataScope, MetadataChanges),
    Moderate(TransactionId, Moderation),
    Connect(Reachability),
    Update(Reachability),
    Disconnect(PeerId),
    /// Under this name; without one, no more.
    AllowUnencrypted(PeerId, Option<String>),
    NetworkChanged,
}
