//! What is said over a WebSocket of one of UnityP2P's clients.

use std::sync::Arc;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use voicemesh_rooms::{Address, AddressKey};
use voicemesh_unityp2p::{EndReason, Input, MESSAGE_BYTES, Next, Path, SocketId};

use super::connection::{Conversation, Unreadable};
use super::hub::Hub;
use super::socket::Socket;
use super::unityp2p::UnityP2P;

/// One client's WebSocket.
pub(super) struct Client {
    id: SocketId,
    hub: Arc<Hub>,
    unityp2p: Arc<UnityP2P>,
    /// Counts among the connections of its address for as long as it is there.
    _address: Option<Arc<Address>>,
    key: Option<AddressKey>,
    waker: Arc<AtomicWaker>,
}

impl Client {
    pub(super) fn new(
        hub: Arc<Hub>,
        unityp2p: Arc<UnityP2P>,
        path: Path,
        address: Option<Arc<Address>>,
        key: Option<AddressKey>,
        socket: &mut Socket,
    ) -> Self {
        let (now, id, waker) = (hub.now(), SocketId(hub.next_id().0), Arc::default());
        socket.set_largest(MESSAGE_BYTES);
        let most = hub.config.max_connections.saturating_sub(hub.members());
        unityp2p.enter(now, id, Arc::clone(&waker), path, key, most);
        Self { id, hub, unityp2p, _address: address, key, waker }
    }

    fn handle(&self, now: Duration, input: Input) {
        self.unityp2p.handle(now, self.id, input);
    }
}

impl Conversation for Client {
    fn now(&self) -> Duration {
        self.hub.now()
    }

    fn waker(&self) -> &AtomicWaker {
        &self.waker
    }

    fn catch_up(&mut self, _: Duration, _: &mut Socket) {}

    fn is_full(&self) -> bool {
        false
    }

    fn heard(&mut self, now: Duration) {
        self.handle(now, Input::Progress);
    }

    fn take_in(&mut self, now: Duration, _: &mut Socket, message: Message) {
        self.hub.metrics.bytes_in.add(message.len() as u64);
        let input = match message {
            Message::Binary(frame) => Input::Message(frame),
            Message::Text(text) => Input::Text(text.len()),
            Message::Ping(_) | Message::Pong(_) => Input::Control,
            Message::Close(_) => Input::Ended(EndReason::Left),
            Message::Frame(_) => return,
        };
        self.handle(now, input);
    }

    fn unreadable(&mut self, now: Duration, _: &mut Socket, why: Unreadable) {
        let reason = match why {
            Unreadable::TooLarge => EndReason::TooLarge,
            Unreadable::Malformed(_) => EndReason::Malformed,
        };
        self.handle(now, Input::Ended(reason));
    }

    fn next(&mut self, now: Duration) -> Option<Message> {
        let message = match self.unityp2p.take(now, self.id) {
            Next::Message(bytes) => Message::Binary(bytes),
            Next::Ping => Message::Ping(Default::default()),
            Next::Nothing => return None,
        };
        self.hub.metrics.bytes_out.add(message.len() as u64);
        Some(message)
    }

    fn wrote(&mut self, now: Duration, took: bool, blocked: bool) {
        self.unityp2p.wrote(now, self.id, took, blocked);
    }

    fn ending(&self) -> Option<CloseCode> {
        self.unityp2p.ending(self.id).map(close_code)
    }

    /// The machine has done what belongs to it.
    fn note_end(&mut self, _: Duration, _: &mut Socket) {}

    fn is_abandoned(&self) -> bool {
        self.unityp2p.is_abandoned(self.id)
    }

    fn lost(&mut self, now: Duration, _: &mut Socket) {
        self.handle(now, Input::Gone);
    }

    fn count_unfinished(&mut self, now: Duration, bytes: usize) {
        if self.unityp2p.count_unfinished(now, self.id, self.key, bytes) {
            self.hub.metrics.unfinished_ended.add(1);
        }
    }

    fn count_unwritten(&mut self, now: Duration, bytes: usize) {
        self.unityp2p.count_unwritten(now, self.id, self.key, bytes);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.unityp2p.exit(self.hub.now(), self.id);
        self.hub.note_exit();
    }
}

fn close_code(reason: EndReason) -> CloseCode {
    match reason {
        EndReason::Left => CloseCode::Normal,
        EndReason::TooLarge => CloseCode::Size,
        EndReason::Malformed => CloseCode::Protocol,
        EndReason::GoingAway => CloseCode::Restart,
        EndReason::Flooding | EndReason::SlowConsumer | EndReason::Silent => CloseCode::Policy,
    }
}
