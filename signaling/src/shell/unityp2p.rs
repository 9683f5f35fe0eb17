//! UnityP2P's clients: the machine that serves them, and who waits for what it says.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use voicemesh_rooms::{AddressKey, Unfinished, lock};
use voicemesh_unityp2p::{Counts, EndReason, Input, Limits, Next, Path, Server, SocketId};

/// Where its paths begin.
pub(super) const PREFIX: &str = "/unityp2p";

/// The path of a request's path, if it is one of UnityP2P's.
pub(super) fn path_of(path: &str) -> Option<Path> {
    Path::of(path.strip_prefix(PREFIX)?)
}

/// Nothing waits while it holds one of the locks, and none is held while another one of them is
/// taken.
pub(super) struct UnityP2P {
    state: Mutex<State>,
    /// Messages that are being read.
    unfinished: Mutex<Unfinished<SocketId, AddressKey>>,
    /// Large messages that are being written.
    unwritten: Mutex<Unfinished<SocketId, AddressKey>>,
}

struct State {
    server: Server,
    wakers: HashMap<SocketId, Arc<AtomicWaker>>,
}

impl UnityP2P {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State { server: Server::new(limits), wakers: HashMap::new() }),
            unfinished: Mutex::new(Unfinished::new(limits.waiting)),
            unwritten: Mutex::new(Unfinished::new(limits.waiting)),
        }
    }

    /// Open sockets.
    pub(super) fn sockets(&self) -> usize {
        lock(&self.state).wakers.len()
    }

    /// Everything that happens by itself.
    pub(super) fn tick(&self, now: Duration) {
        self.with(|server| server.tick(now));
    }

    /// Ends all sockets, once what waits has gone out.
    pub(super) fn shut_down(&self, now: Duration) {
        self.with(|server| server.shut_down(now));
    }

    /// A new socket, which is woken by `waker`. If there are `most` already, it ends at once: others
    /// came while its upgrade was under way.
    pub(super) fn enter(
        &self,
        now: Duration,
        id: SocketId,
        waker: Arc<AtomicWaker>,
        path: Path,
        address: Option<AddressKey>,
        most: usize,
    ) {
        let is_full = {
            let mut state = lock(&self.state);
            let is_full = state.wakers.len() >= most;
            state.wakers.insert(id, waker);
            state.server.open(now, id, path, address);
            is_full
        };
        if is_full {
            self.handle(now, id, Input::Ended(EndReason::GoingAway));
        }
    }

    /// A socket that is gone.
    pub(super) fn exit(&self, now: Duration, id: SocketId) {
        self.handle(now, id, Input::Gone);
        lock(&self.unfinished).set(now, id, None, 0);
        lock(&self.unwritten).set(now, id, None, 0);
        lock(&self.state).wakers.remove(&id);
    }

    pub(super) fn handle(&self, now: Duration, id: SocketId, input: Input) {
        self.with(|server| server.handle(now, id, input));
    }

    pub(super) fn take(&self, now: Duration, id: SocketId) -> Next {
        self.with(|server| server.take(now, id))
    }

    pub(super) fn wrote(&self, now: Duration, id: SocketId, took: bool, blocked: bool) {
        lock(&self.state).server.wrote(now, id, took, blocked);
    }

    pub(super) fn ending(&self, id: SocketId) -> Option<EndReason> {
        lock(&self.state).server.ending(id)
    }

    pub(super) fn is_abandoned(&self, id: SocketId) -> bool {
        lock(&self.state).server.is_abandoned(id)
    }

    /// What a message takes that is being read. If there is too much of them, the socket that has had
    /// one longest ends; true then.
    pub(super) fn count_unfinished(
        &self,
        now: Duration,
        id: SocketId,
        address: Option<AddressKey>,
        bytes: usize,
    ) -> bool {
        // One that ended for this is not counted again: it would end another one.
        let is_over = self.is_abandoned(id) || self.ending(id) == Some(EndReason::TooLarge);
        let bytes = if is_over { 0 } else { bytes };
        let longest = lock(&self.unfinished).set(now, id, address, bytes);
        if let Some(id) = longest {
            self.with(|server| server.evict(now, id, EndReason::TooLarge));
        }
        longest.is_some()
    }

    /// What waits of a large message that is being written; with the same rule.
    pub(super) fn count_unwritten(
        &self,
        now: Duration,
        id: SocketId,
        address: Option<AddressKey>,
        bytes: usize,
    ) {
        let longest = lock(&self.unwritten).set(now, id, address, bytes);
        if let Some(id) = longest {
            self.with(|server| server.evict(now, id, EndReason::SlowConsumer));
        }
    }

    /// Acts, and wakes those for whom there is something afterwards.
    fn with<T>(&self, act: impl FnOnce(&mut Server) -> T) -> T {
        let mut state = lock(&self.state);
        let State { server, wakers } = &mut *state;
        let answer = act(server);
        while let Some(id) = server.poll_woken() {
            if let Some(waker) = wakers.get(&id) {
                waker.wake();
            }
        }
        answer
    }

    /// What [`Metrics::render`](voicemesh_rooms::Metrics::render) does for the rest.
    pub(super) fn render(&self, text: &mut String) {
        let Counts {
            sockets,
            addresses,
            connections,
            connected,
            failed,
            passed_on,
            over_budget,
            overflowed,
            slow_consumers,
            lost,
        } = lock(&self.state).server.counts();
        for (name, help, value) in [
            ("sockets", "WebSockets of UnityP2P's clients.", sockets),
            ("addresses", "Addresses on which UnityP2P's clients listen.", addresses),
            ("connections", "Connections between UnityP2P's clients.", connections),
        ] {
            let name = format!("voicemesh_unityp2p_{name}");
            // Writing to a String does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        for (name, help, value) in [
            ("connected", "Connections made between UnityP2P's clients.", connected),
            ("failed", "Listens and connects of UnityP2P's clients answered as failed.", failed),
            ("passed_on", "Messages passed on between UnityP2P's clients.", passed_on),
            ("over_budget", "Messages of UnityP2P's clients over a budget.", over_budget),
            (
                "overflowed",
                "Connections of UnityP2P's clients ended because too much waited for the receiver.",
                overflowed,
            ),
            (
                "slow_consumers",
                "UnityP2P's clients whose WebSocket ended because they took too little.",
                slow_consumers,
            ),
            ("lost", "UnityP2P's clients whose WebSocket ended because they fell silent.", lost),
        ] {
            let name = format!("voicemesh_unityp2p_{name}_total");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_rooms::Most;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn sockets(waiting: usize, count: u64) -> (UnityP2P, Vec<SocketId>) {
        let limits =
            Limits { waiting: Most { of_address: waiting, of_all: waiting }, ..Limits::default() };
        let unityp2p = UnityP2P::new(limits);
        let ids: Vec<_> = (1..=count).map(SocketId).collect();
        for id in &ids {
            unityp2p.enter(NOW, *id, Arc::default(), Path::Root, None, usize::MAX);
        }
        (unityp2p, ids)
    }

    #[test]
    fn one_that_ended_for_its_message_ends_no_other_one() {
        let (unityp2p, ids) = sockets(100, 4);
        for (id, ends) in ids.iter().zip([false, false, true, false]) {
            assert_eq!(unityp2p.count_unfinished(NOW, *id, None, 50), ends, "{id:?}");
            if ends {
                assert_eq!(unityp2p.ending(ids[0]), Some(EndReason::TooLarge));
                assert!(!unityp2p.count_unfinished(NOW, ids[0], None, 60), "it is ending already");
                assert_eq!(unityp2p.ending(ids[1]), None);
                unityp2p.exit(NOW, ids[1]);
            }
        }
        assert_eq!(unityp2p.ending(ids[2]), None);
    }

    #[test]
    fn one_that_ends_already_goes_at_once_if_it_holds_too_much() {
        let (unityp2p, ids) = sockets(100, 2);
        unityp2p.handle(NOW, ids[0], Input::Ended(EndReason::Flooding));
        assert!(!unityp2p.count_unfinished(NOW, ids[0], None, 90));
        assert!(!unityp2p.is_abandoned(ids[0]));
        assert!(unityp2p.count_unfinished(NOW, ids[1], None, 50));
        assert!(unityp2p.is_abandoned(ids[0]));
        assert!(!unityp2p.count_unfinished(NOW, ids[0], None, 90));
        assert_eq!(unityp2p.ending(ids[1]), None);
    }

    #[test]
    fn a_socket_that_comes_to_a_full_or_a_drained_server_ends_at_once() {
        let (unityp2p, ids) = sockets(100, 2);
        unityp2p.enter(NOW, SocketId(3), Arc::default(), Path::Root, None, 2);
        assert_eq!(unityp2p.ending(SocketId(3)), Some(EndReason::GoingAway));
        assert_eq!(unityp2p.ending(ids[0]), None);
        unityp2p.shut_down(NOW);
        unityp2p.enter(NOW, SocketId(4), Arc::default(), Path::Root, None, usize::MAX);
        assert_eq!(unityp2p.ending(SocketId(4)), Some(EndReason::GoingAway));
    }
}
