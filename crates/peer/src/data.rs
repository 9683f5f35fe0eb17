//! The game's own bytes between the handle and the engine: commands go down, messages come up, and
//! both are bounded.
//!
//! The handle answers at once whether a message is taken; for that it keeps, under a lock that is
//! held for moments, what the engine last said of each peer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use voicemesh_common::lock;
use voicemesh_session::Reliability;
use voicemesh_session::data::{MESSAGE_COST, QUEUE_BYTES, message_limit};
use voicemesh_wire::PeerId;

use crate::event::{DataEvent, Event};

/// Lossy messages to one peer that the engine has not taken yet; the next is refused.
const LOSSY_COMMANDS: usize = 128;
/// Messages, and events of channels, that the program has not polled; what is more stays with its
/// sender, if it must arrive.
pub(crate) const MESSAGES: usize = 1024;
/// Their bytes; one message may go beyond.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// A message is not taken, or a channel cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// So much waits to be sent to that peer that no more is taken. Try again in a later frame.
    #[error("{queued_bytes} bytes wait to be sent already; try again later")]
    WouldBlock {
        /// What waits.
        queued_bytes: usize,
    },
    /// A message of this kind cannot be that large.
    #[error("a message of this kind can have at most {limit} bytes; send it in parts")]
    TooLarge {
        /// The largest, in bytes.
        limit: usize,
    },
    /// No peer with that id is in the room.
    #[error("no peer of that id is in the room; it may have left: look who is there")]
    UnknownPeer,
    /// That peer takes no messages: a browser, or a program of an older version.
    #[error("that peer takes no messages; write it a text instead")]
    Unsupported,
    /// The channel is not open on this side; open it first.
    #[error("the channel is not open; open it first")]
    ChannelClosed,
    /// The two sides have opened the channel in different ways. One of them has to close it and
    /// open it like the other.
    #[error(
        "the other side opened the channel as {theirs:?}; close it, and open it in the same way"
    )]
    ChannelMismatch {
        /// How the other side did.
        theirs: Reliability,
    },
    /// This peer has left the room.
    #[error("this peer has left the room; join it again")]
    Left,
}

/// What the engine is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataCommand {
    Send { to: PeerId, how: Reliability, bytes: Bytes },
    SendOn { to: PeerId, channel: u8, how: Reliability, bytes: Bytes },
    Open { to: PeerId, channel: u8, how: Reliability },
    Close { to: PeerId, channel: u8 },
    Disconnect { peer: PeerId },
}

impl DataCommand {
    /// Whom it concerns, and what it costs of that peer's queue.
    fn cost(&self) -> (PeerId, usize, usize) {
        match self {
            Self::Send { to, how, bytes } | Self::SendOn { to, how, bytes, .. } => match how {
                Reliability::Reliable => (*to, bytes.len() + MESSAGE_COST, 0),
                Reliability::Unreliable => (*to, 0, 1),
            },
            Self::Open { to, .. } | Self::Close { to, .. } => (*to, MESSAGE_COST, 0),
            Self::Disconnect { peer } => (*peer, 0, 0),
        }
    }
}

/// Shared by the handle and the engine.
#[derive(Debug, Default)]
pub(crate) struct SendLedger {
    inner: Mutex<Inner>,
    /// Queued for the program and not polled yet.
    messages: AtomicUsize,
    message_bytes: AtomicUsize,
    /// All other events that are queued and not polled yet.
    others: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    commands: VecDeque<DataCommand>,
    peers: BTreeMap<PeerId, PeerQuota>,
}

/// What is known of one peer.
#[derive(Debug, Default)]
struct PeerQuota {
    takes_data: bool,
    /// In the engine, as it last said.
    queued_bytes: usize,
    /// In commands that the engine has not taken, those that the program holds back included.
    pending_bytes: usize,
    pending_lossy: usize,
    channels: BTreeMap<u8, Opened>,
}

/// A channel that this side has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opened {
    how: Reliability,
    mismatch: Option<Reliability>,
}

impl PeerQuota {
    fn queued(&self) -> usize {
        self.queued_bytes + self.pending_bytes
    }

    fn check(&self, how: Reliability, bytes: usize) -> Result<(), SendError> {
        let limit = message_limit(how);
        if bytes > limit {
            return Err(SendError::TooLarge { limit });
        }
        let queued_bytes = self.queued();
        let is_full = match how {
            Reliability::Reliable => queued_bytes + bytes + MESSAGE_COST > QUEUE_BYTES,
            Reliability::Unreliable => self.pending_lossy >= LOSSY_COMMANDS,
        };
        if is_full { Err(SendError::WouldBlock { queued_bytes }) } else { Ok(()) }
    }
}

/// The program's side. A command is charged at once, and takes effect when it is given to the
/// engine.
impl SendLedger {
    pub(crate) fn send(
        &self,
        to: PeerId,
        how: Reliability,
        data: &[u8],
    ) -> Result<DataCommand, SendError> {
        let mut inner = self.lock();
        let quota = inner.quota(to)?;
        quota.check(how, data.len())?;
        Ok(quota.charge(DataCommand::Send { to, how, bytes: Bytes::copy_from_slice(data) }))
    }

    /// To every peer that takes messages, or, on an error, to none. The bytes are held once.
    pub(crate) fn send_to_all(
        &self,
        how: Reliability,
        data: &[u8],
        into: &mut VecDeque<DataCommand>,
    ) -> Result<(), SendError> {
        let mut inner = self.lock();
        let bytes = Bytes::copy_from_slice(data);
        let limit = message_limit(how);
        if data.len() > limit {
            return Err(SendError::TooLarge { limit });
        }
        for quota in inner.peers.values().filter(|quota| quota.takes_data) {
            quota.check(how, data.len())?;
        }
        for (to, quota) in inner.peers.iter_mut().filter(|(_, quota)| quota.takes_data) {
            into.push_back(quota.charge(DataCommand::Send { to: *to, how, bytes: bytes.clone() }));
        }
        Ok(())
    }

    pub(crate) fn send_on(
        &self,
        to: PeerId,
        channel: u8,
        data: &[u8],
    ) -> Result<DataCommand, SendError> {
        let mut inner = self.lock();
        let quota = inner.quota(to)?;
        let opened = *quota.channels.get(&channel).ok_or(SendError::ChannelClosed)?;
        if let Some(theirs) = opened.mismatch {
            return Err(SendError::ChannelMismatch { theirs });
        }
        quota.check(opened.how, data.len())?;
        let bytes = Bytes::copy_from_slice(data);
        Ok(quota.charge(DataCommand::SendOn { to, channel, how: opened.how, bytes }))
    }

    pub(crate) fn open(
        &self,
        to: PeerId,
        channel: u8,
        how: Reliability,
    ) -> Result<DataCommand, SendError> {
        let mut inner = self.lock();
        let quota = inner.quota(to)?;
        quota.check(Reliability::Reliable, 0)?;
        quota.channels.insert(channel, Opened { how, mismatch: None });
        Ok(quota.charge(DataCommand::Open { to, channel, how }))
    }

    pub(crate) fn close(&self, to: PeerId, channel: u8) -> Result<DataCommand, SendError> {
        let mut inner = self.lock();
        let quota = inner.quota(to)?;
        quota.channels.remove(&channel);
        Ok(quota.charge(DataCommand::Close { to, channel }))
    }

    pub(crate) fn disconnect(&self, peer: PeerId) -> Option<DataCommand> {
        let mut inner = self.lock();
        let quota = inner.peers.get_mut(&peer)?;
        quota.channels.clear();
        Some(quota.charge(DataCommand::Disconnect { peer }))
    }

    pub(crate) fn queued_bytes(&self, peer: PeerId) -> usize {
        self.lock().peers.get(&peer).map_or(0, PeerQuota::queued)
    }

    /// Passes commands on to the engine, which is to be woken then.
    pub(crate) fn push_commands(&self, commands: impl IntoIterator<Item = DataCommand>) {
        self.lock().commands.extend(commands);
    }

    /// The program has polled an event, or never will.
    pub(crate) fn polled(&self, event: &Event) {
        match data_bytes(event) {
            Some(bytes) => {
                self.messages.fetch_sub(1, Ordering::Relaxed);
                self.message_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            None => {
                let before = self.others.fetch_sub(1, Ordering::Relaxed);
                debug_assert!(before > 0, "an event that was not counted: {event:?}");
            }
        }
    }
}

/// The engine's side.
impl SendLedger {
    /// A peer is in the room.
    pub(crate) fn joined(&self, peer: PeerId, takes_data: bool) {
        self.lock().peers.entry(peer).or_default().takes_data = takes_data;
    }

    /// A peer is no longer in the room.
    pub(crate) fn left(&self, peer: PeerId) {
        self.lock().peers.remove(&peer);
    }

    /// The commands of the program since the last time, into an empty queue.
    pub(crate) fn take_commands(&self, into: &mut VecDeque<DataCommand>) {
        std::mem::swap(&mut self.lock().commands, into);
    }

    /// So much waits in the engine for each peer now; `done` are the commands that were carried
    /// out.
    pub(crate) fn reconcile(
        &self,
        done: &VecDeque<DataCommand>,
        queued: impl Iterator<Item = (PeerId, usize)>,
    ) {
        let mut inner = self.lock();
        for command in done {
            let (peer, bytes, lossy) = command.cost();
            if let Some(quota) = inner.peers.get_mut(&peer) {
                quota.pending_bytes = quota.pending_bytes.saturating_sub(bytes);
                quota.pending_lossy = quota.pending_lossy.saturating_sub(lossy);
            }
        }
        for (peer, queued_bytes) in queued {
            if let Some(quota) = inner.peers.get_mut(&peer) {
                quota.queued_bytes = queued_bytes;
            }
        }
    }

    /// A channel that both have open is not open alike, or is now.
    pub(crate) fn set_mismatch(&self, peer: PeerId, channel: u8, theirs: Option<Reliability>) {
        let mut inner = self.lock();
        let quota = inner.peers.get_mut(&peer);
        if let Some(opened) = quota.and_then(|quota| quota.channels.get_mut(&channel)) {
            opened.mismatch = theirs;
        }
    }

    /// The other side has ended everything.
    pub(crate) fn disconnected(&self, peer: PeerId) {
        if let Some(quota) = self.lock().peers.get_mut(&peer) {
            quota.channels.clear();
            quota.queued_bytes = 0;
        }
    }

    /// Whether one more message may be queued for the program.
    pub(crate) fn has_room(&self) -> bool {
        self.messages.load(Ordering::Relaxed) < MESSAGES
            && self.message_bytes.load(Ordering::Relaxed) < MESSAGE_BYTES
    }

    /// Counts an event that is to be queued for the program; false if too many wait. For what
    /// others sent, [`has_room`](Self::has_room) was asked before.
    pub(crate) fn try_reserve(&self, event: &Event, most_others: usize) -> bool {
        match data_bytes(event) {
            Some(bytes) => {
                self.messages.fetch_add(1, Ordering::Relaxed);
                self.message_bytes.fetch_add(bytes, Ordering::Relaxed);
                true
            }
            None if self.others.load(Ordering::Relaxed) >= most_others => false,
            None => {
                self.others.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

/// How many bytes of others' an event holds, if it is one that comes with them.
fn data_bytes(event: &Event) -> Option<usize> {
    match event {
        Event::Data(DataEvent::Message { data, .. } | DataEvent::ChannelMessage { data, .. }) => {
            Some(data.len())
        }
        Event::Data(
            DataEvent::ChannelOpened { .. }
            | DataEvent::ChannelMismatch { .. }
            | DataEvent::ChannelClosed { .. }
            | DataEvent::Disconnected { .. },
        ) => Some(0),
        Event::Room(_) | Event::Voice(_) | Event::Device(_) => None,
    }
}

impl PeerQuota {
    fn charge(&mut self, command: DataCommand) -> DataCommand {
        let (_, bytes, lossy) = command.cost();
        self.pending_bytes += bytes;
        self.pending_lossy += lossy;
        command
    }
}

impl Inner {
    fn quota(&mut self, peer: PeerId) -> Result<&mut PeerQuota, SendError> {
        let quota = self.peers.get_mut(&peer).ok_or(SendError::UnknownPeer)?;
        if quota.takes_data { Ok(quota) } else { Err(SendError::Unsupported) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::assert_says_what_next;

    #[test]
    fn each_cause_has_a_sentence_with_the_next_step() {
        let after = |error: Option<SendError>| {
            Some(match error {
                None => SendError::WouldBlock { queued_bytes: 70_000 },
                Some(SendError::WouldBlock { .. }) => SendError::TooLarge { limit: 1_100 },
                Some(SendError::TooLarge { .. }) => SendError::UnknownPeer,
                Some(SendError::UnknownPeer) => SendError::Unsupported,
                Some(SendError::Unsupported) => SendError::ChannelClosed,
                Some(SendError::ChannelClosed) => {
                    SendError::ChannelMismatch { theirs: Reliability::Reliable }
                }
                Some(SendError::ChannelMismatch { .. }) => SendError::Left,
                Some(SendError::Left) => return None,
            })
        };
        for error in std::iter::successors(after(None), |error| after(Some(*error))) {
            let step = match error {
                SendError::WouldBlock { .. } => "; try again later",
                SendError::TooLarge { .. } => "; send it in parts",
                SendError::UnknownPeer => ": look who is there",
                SendError::Unsupported => "; write it a text instead",
                SendError::ChannelClosed => "; open it first",
                SendError::ChannelMismatch { .. } => "; close it",
                SendError::Left => "; join it again",
            };
            assert_says_what_next(&error, step);
        }
    }
}
