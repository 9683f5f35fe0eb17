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
    SetMuted(bool),
    SetDeafened(bool),
    SetGain(PeerId, f32),
    SetPeerMuted(PeerId, bool),
    SendText(TextTo, String),
    JoinGroup(String),
    LeaveGroup(String),
    SetTalking(bool),
    SetToken(AccessToken),
    SetProcessing(Processing),
    SetActivation(Activation),
    SetInput(InputSpec),
    SetOutput(OutputSpec),
    /// A new recording, or none.
    Record(Option<Box<Recorder>>),
    Lobby(LobbyCommand),
    Game(GameCommand),
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
    NetworkChanged,
}

/// What a game wants of its peer, and what changes too seldom for the shared table.
pub(crate) enum GameCommand {
    /// The options are in the token.
    Speak(u64, VoiceTarget<PeerId>, Arc<SharedOptions>),
    Listen(String),
    Unlisten(String),
    OpenVoice(PeerId, Box<Source>),
    OpenMix(Box<Source>),
    UseMicrophone(Box<Capture>),
    /// A handle was dropped.
    SweepHandles,
}

impl std::fmt::Debug for GameCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GameCommand")
    }
}
