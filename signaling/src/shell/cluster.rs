//! This server as a node of a cluster: the pure node behind a lock, and what it wants of the bus and
//! the store on its way there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use voicemesh_cluster::{Node, NodeId, NodeLine, Output};
use voicemesh_rooms::{Signaling, lock};

use super::mailbox::Mailbox;

/// Outputs on their way to the bus. Beyond that they are lost, as the bus may lose them: what was
/// for another node is asked for again.
const OUTPUTS: usize = 8192;
/// How long a node that stops waits until others have its rooms.
const HAND_OVER: Duration = Duration::from_secs(2);

/// One node.
pub(super) struct Cluster {
    node: Mutex<Node<Mailbox>>,
    outputs: mpsc::Sender<Output>,
    receiver: Mutex<Option<mpsc::Receiver<Output>>>,
    drained: Notify,
    /// A password waits for its hash.
    hash_wanted: Arc<Notify>,
}

impl Cluster {
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub(super) fn new(
        now: Duration,
        signaling: Arc<Signaling<NodeLine<Mailbox>>>,
        hash_wanted: Arc<Notify>,
    ) -> Result<Self, getrandom::Error> {
        let mut run = [0; 8];
        getrandom::fill(&mut run)?;
        let node = Node::new(now, NodeId(u64::from_be_bytes(run)), signaling);
        let (outputs, receiver) = mpsc::channel(OUTPUTS);
        let receiver = Mutex::new(Some(receiver));
        Ok(Self { node: Mutex::new(node), outputs, receiver, drained: Notify::new(), hash_wanted })
    }

    /// Calls the node, and passes on what it wants.
    pub(super) fn with<T>(&self, call: impl FnOnce(&mut Node<Mailbox>) -> T) -> T {
        let mut node = lock(&self.node);
        let result = call(&mut node);
        while let Some(output) = node.poll_output() {
            if self.outputs.try_send(output).is_err() {
                tracing::debug!("the bus is behind: a message of this node is dropped");
            }
        }
        if node.take_asks_hash() {
            self.hash_wanted.notify_one();
        }
        if node.is_drained() {
            self.drained.notify_one();
        }
        result
    }

    /// What the node wants, for the one who carries it out; `None` the second time.
    #[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "only a bus takes it"))]
    pub(super) fn take_outputs(&self) -> Option<mpsc::Receiver<Output>> {
        lock(&self.receiver).take()
    }

    /// Gives the rooms of this node to others, and waits until they have them, but not for long.
    pub(super) async fn hand_over(&self, now: Duration) {
        self.with(|node| node.drain(now));
        if tokio::time::timeout(HAND_OVER, self.drained.notified()).await.is_err() {
            tracing::info!("stopping without having handed over all rooms");
        }
    }
}
