//! What the thread of the game and the task at matchbox_socket's queues share.

use std::sync::Mutex;
use std::thread::Thread;

use futures::channel::mpsc::UnboundedSender;
use matchbox_socket::{Packet, PeerId};
use voicemesh_common::lock;
use voicemesh_session::network::Reliability;

use crate::room::Room;

/// Where packets go. What may be on its way to each peer is bounded before
/// ([`SendLedger`](crate::ledger::SendLedger)).
#[derive(Debug)]
pub(crate) struct Senders {
    pub(crate) reliable: UnboundedSender<(PeerId, Packet)>,
    pub(crate) unreliable: UnboundedSender<(PeerId, Packet)>,
}

#[derive(Debug)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    room: Room,
    /// None before the socket is built: then there are no peers.
    senders: Option<Senders>,
    /// The thread that polls, to be woken.
    poller: Option<Thread>,
}

impl Shared {
    pub(crate) fn new(room: Room) -> Self {
        Self(Mutex::new(State { room, senders: None, poller: None }))
    }

    /// A call of the game. What it wants sent is handed on before another call.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut Room) -> T) -> T {
        let mut state = lock(&self.0);
        let State { room, senders, .. } = &mut *state;
        let result = call(room);
        while let Some(transmit) = room.poll_transmit() {
            let Some(senders) = &*senders else { continue };
            let sender = match transmit.how {
                Reliability::Reliable => &senders.reliable,
                Reliability::Unreliable => &senders.unreliable,
            };
            // That the loop has ended is reported by the task that runs it.
            let _ = sender.unbounded_send((transmit.to, transmit.bytes));
        }
        result
    }

    /// Something has happened: the thread that polls is woken.
    pub(crate) fn happened<T>(&self, happened: impl FnOnce(&mut Room) -> T) -> T {
        let result = self.call(happened);
        if let Some(poller) = &lock(&self.0).poller {
            poller.unpark();
        }
        result
    }

    pub(crate) fn set_senders(&self, senders: Senders) {
        lock(&self.0).senders = Some(senders);
    }

    /// The thread that calls polls from now on.
    pub(crate) fn polled_here(&self) {
        let mut state = lock(&self.0);
        let here = std::thread::current();
        if state.poller.as_ref().is_none_or(|poller| poller.id() != here.id()) {
            state.poller = Some(here);
        }
    }
}
