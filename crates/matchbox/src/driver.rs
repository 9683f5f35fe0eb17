//! The task that runs matchbox_socket's loop and empties its queues, which have no bound, into the
//! [`Room`], which has.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, FutureExt};
use futures::stream::StreamExt;
use matchbox_socket::{Error, PeerState, RtcIceServerConfig, WebRtcSocket};
use smol::{Task, Timer};
use voicemesh_session::network::Reliability;

use crate::error::RoomError;
use crate::room::Room;
use crate::shared::{Senders, Shared};
use crate::signaller::Signaling;

/// How long the others have to take a goodbye, those included that are still connecting. A socket
/// that is dropped before loses it.
const GOODBYE: Duration = Duration::from_secs(5);

/// A room that was entered, or is about to be.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) shared: Arc<Shared>,
    close: oneshot::Sender<()>,
    task: Task<()>,
}

impl Joined {
    /// Begins to enter a room, once the one before has been left: its peers then have seen the end
    /// of the former connection before they see the new one.
    pub(crate) fn begin(
        room: Room,
        url: String,
        ice: RtcIceServerConfig,
        before: Option<Task<()>>,
    ) -> Self {
        let shared = Arc::new(Shared::new(room));
        let (close, closes) = oneshot::channel();
        let task = smol::spawn(run(Arc::clone(&shared), url, ice, closes, before));
        Self { shared, close, task }
    }

    /// Says goodbye. The task ends when all know, or after [`GOODBYE`].
    pub(crate) fn leave(self) -> Task<()> {
        self.shared.call(Room::close);
        // It may have ended already.
        let _ = self.close.send(());
        self.task
    }
}

async fn run(
    shared: Arc<Shared>,
    url: String,
    ice: RtcIceServerConfig,
    closes: oneshot::Receiver<()>,
    before: Option<Task<()>>,
) {
    if let Some(before) = before {
        before.await;
    }
    let signaling = Arc::new(Signaling(Arc::clone(&shared)));
    let builder = WebRtcSocket::builder(url).ice_server(ice).signaller_builder(signaling);
    let (mut socket, socket_loop) = builder.add_reliable_channel().add_unreliable_channel().build();
    let (Ok(reliable), Ok(unreliable)) = (socket.take_channel(0), socket.take_channel(1)) else {
        return shared.happened(|room| room.failed(RoomError::Failed("no channels".to_owned())));
    };
    let (reliable, mut from_reliable) = reliable.split();
    let (unreliable, mut from_unreliable) = unreliable.split();
    shared.set_senders(Senders { reliable, unreliable });
    let mut socket_loop = AssertUnwindSafe(socket_loop).catch_unwind().fuse();
    let mut closes = closes.fuse();
    let mut deadline = Either::Left(std::future::pending::<()>()).fuse();
    while !shared.call(|room| room.is_closed()) {
        futures::select! {
            ended = socket_loop => {
                return shared.happened(|room| room.failed(why(ended)));
            }
            _ = closes => {
                shared.call(Room::close);
                deadline = Either::Right(FutureExt::map(Timer::after(GOODBYE), drop)).fuse();
            }
            () = deadline => return,
            // It has no end before the loop has.
            state = FutureExt::fuse(socket.next()) => if let Some((peer, state)) = state {
                shared.happened(|room| match state {
                    PeerState::Connected => room.peer_opened(peer),
                    PeerState::Disconnected => room.peer_closed(peer),
                });
            },
            message = from_reliable.next() => if let Some((peer, bytes)) = message {
                shared.happened(|room| room.received(peer, Reliability::Reliable, &bytes));
            },
            message = from_unreliable.next() => if let Some((peer, bytes)) = message {
                shared.happened(|room| room.received(peer, Reliability::Unreliable, &bytes));
            },
        }
    }
}

/// Why matchbox_socket's loop has ended.
fn why(ended: Result<Result<(), Error>, Box<dyn Any + Send>>) -> RoomError {
    match ended {
        Ok(Ok(())) => RoomError::Signaling("it has ended the connection".to_owned()),
        Ok(Err(Error::ConnectionFailed(error) | Error::Disconnected(error))) => {
            RoomError::Signaling(error.to_string())
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            RoomError::Failed(text.unwrap_or_else(|| "without a reason".to_owned()))
        }
    }
}
