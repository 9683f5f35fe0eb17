//! What a mesh gives: outputs for what carries its bytes, events for the program, and events for
//! the session.

use std::collections::VecDeque;

use voicemesh_session::network::NetworkEvent;
use voicemesh_wire::PeerId;

use crate::event::MeshEvent;
use crate::output::Outputs;

/// Events of either kind that have not been taken yet. When there are more, new ones are dropped
/// and counted: the engine takes them after every packet, so that only a fault can fill the queue.
const EVENTS: usize = 8192;

/// All that waits to be taken.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) out: Outputs,
    network_events: VecDeque<NetworkEvent<PeerId>>,
    events: VecDeque<MeshEvent>,
    events_dropped: u64,
    /// Of either kind, in all.
    told: u64,
}

impl Queues {
    /// Tells the program.
    pub(super) fn tell(&mut self, event: MeshEvent) {
        self.told += 1;
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        } else {
            self.events_dropped += 1;
        }
    }

    /// Tells the session.
    pub(super) fn tell_network(&mut self, event: NetworkEvent<PeerId>) {
        self.told += 1;
        if self.network_events.len() < EVENTS {
            self.network_events.push_back(event);
        } else {
            self.events_dropped += 1;
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<MeshEvent> {
        self.events.pop_front()
    }

    pub(super) fn poll_network_event(&mut self) -> Option<NetworkEvent<PeerId>> {
        self.network_events.pop_front()
    }

    /// How much was put in so far: outputs, and events of either kind.
    pub(super) fn put(&self) -> u64 {
        self.told + self.out.put()
    }

    pub(super) fn events_dropped(&self) -> u64 {
        self.events_dropped
    }

    /// The room is left: the session gets nothing more, and what makes no sense any more is not
    /// done.
    pub(super) fn withdraw(&mut self) {
        self.network_events.clear();
        self.out.withdraw_openings();
    }
}
