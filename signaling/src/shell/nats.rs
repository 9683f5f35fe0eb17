//! The bus and the store of a cluster over NATS.
//!
//! Messages of the bus are core NATS, which needs no leader of JetStream. Records of rooms are a
//! key-value bucket; they never expire, because a higher revision is what ends an ownership. They
//! are read from the leader of the bucket's stream, not by a direct get, which a replica that is
//! behind may answer.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{self, UpdateErrorKind};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{Client, ConnectOptions, jetstream};
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;
use voicemesh_cluster::{
    NodeId, Output, RequestId, StoreAnswer, StoreRequest, Topic, decode_record, encode_record,
};

use super::cluster::Cluster;
use super::hub::Hub;

/// The subjects of the bus.
const ALL: &str = "voicemesh.all";
const NODE: &str = "voicemesh.node";
/// The bucket of the records.
const BUCKET: &str = "voicemesh-rooms";
/// Requests to the store at a time. Others are answered as if it were not there.
const REQUESTS: usize = 256;
/// The store answers within this time, or counts as not there.
const STORE_TIMEOUT: Duration = Duration::from_millis(1_400);
/// After a failure the connection is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Messages that wait for this node, in the client.
const WAITING: usize = 65_536;

/// Connects the node to its bus, again and again.
pub(super) async fn run(hub: Arc<Hub>, url: String) {
    let Some(cluster) = &hub.cluster else { return };
    let Some(mut outputs) = cluster.take_outputs() else { return };
    let mut attempts = tokio::time::interval(RETRY);
    attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        attempts.tick().await;
        if let Err(error) = serve(&hub, cluster, &url, &mut outputs).await {
            tracing::warn!(%error, "the bus is not reached");
        }
        // What would have gone there meanwhile is lost.
        while outputs.try_recv().is_ok() {}
    }
}

/// Ends when the bus ends.
async fn serve(
    hub: &Arc<Hub>,
    cluster: &Cluster,
    url: &str,
    outputs: &mut mpsc::Receiver<Output>,
) -> Result<(), async_nats::Error> {
    let options = ConnectOptions::new()
        .name("voicemesh")
        .subscription_capacity(WAITING)
        .ping_interval(Duration::from_secs(1))
        .connection_timeout(Duration::from_secs(2))
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(50).min(RETRY) * attempts.min(10) as u32
        });
    let client = options.connect(url).await?;
    let own = cluster.with(|node| node.id());
    let mut all = client.subscribe(ALL).await?;
    let mut to_node = client.subscribe(subject_of(own)).await?;
    let store = Store { client: client.clone(), requests: Arc::new(Semaphore::new(REQUESTS)) };
    tracing::info!("the bus is connected");
    loop {
        tokio::select! {
            output = outputs.recv() => match output {
                Some(Output::Publish { topic: Topic::All, message }) => {
                    client.publish(ALL, message).await?;
                }
                Some(Output::Publish { topic: Topic::Node(node), message }) => {
                    client.publish(subject_of(node), message).await?;
                }
                Some(Output::Store { id, request }) => store.ask(hub, id, request),
                None => return Ok(()),
            },
            message = all.next() => match message {
                Some(message) => {
                    cluster.with(|node| node.handle_bus(hub.now(), &message.payload));
                }
                None => return Ok(()),
            },
            message = to_node.next() => match message {
                Some(message) => {
                    cluster.with(|node| node.handle_bus(hub.now(), &message.payload));
                }
                None => return Ok(()),
            },
        }
    }
}

fn subject_of(node: NodeId) -> String {
    format!("{NODE}.{:016x}", node.0)
}

/// The key of a room's record: its letters may be any.
fn key_of(room: &str) -> String {
    room.bytes().fold(String::with_capacity(2 * room.len()), |mut key, byte| {
        use std::fmt::Write as _;
        // Writing to a String does not fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}

/// The records.
struct Store {
    client: Client,
    requests: Arc<Semaphore>,
}

impl Store {
    fn ask(&self, hub: &Arc<Hub>, id: RequestId, request: StoreRequest) {
        let (hub, client) = (Arc::clone(hub), self.client.clone());
        let permit = Arc::clone(&self.requests).try_acquire_owned();
        tokio::spawn(async move {
            let answer = match permit {
                Ok(_permit) => tokio::time::timeout(STORE_TIMEOUT, answer(client, request))
                    .await
                    .unwrap_or(Ok(StoreAnswer::Unavailable)),
                Err(_) => Ok(StoreAnswer::Unavailable),
            };
            let answer = answer.unwrap_or_else(|error| {
                tracing::debug!(%error, "the store did not answer");
                StoreAnswer::Unavailable
            });
            if let Some(cluster) = &hub.cluster {
                cluster.with(|node| node.handle_store(hub.now(), id, answer));
            }
        });
    }
}

async fn answer(client: Client, request: StoreRequest) -> Result<StoreAnswer, async_nats::Error> {
    let bucket = bucket(client).await?;
    Ok(match request {
        StoreRequest::Read { room } => {
            let subject = format!("{}{}", bucket.prefix, key_of(&room));
            match bucket.stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => StoreAnswer::Record {
                    revision: message.sequence,
                    owner: decode_record(&message.payload),
                },
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                    StoreAnswer::Record { revision: 0, owner: None }
                }
                Err(error) => return Err(error.into()),
            }
        }
        StoreRequest::Write { room, owner, expected } => {
            match bucket.update(key_of(&room), encode_record(owner), expected).await {
                Ok(revision) => StoreAnswer::Written { revision },
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    StoreAnswer::Conflict
                }
                Err(error) => return Err(error.into()),
            }
        }
    })
}

/// The bucket, which is made if it must be. Who has several NATS servers makes it before, with
/// replicas.
async fn bucket(client: Client) -> Result<kv::Store, async_nats::Error> {
    let context = jetstream::new(client);
    if let Ok(bucket) = context.get_key_value(BUCKET).await {
        return Ok(bucket);
    }
    let config = kv::Config { bucket: BUCKET.to_owned(), history: 1, ..kv::Config::default() };
    Ok(context.create_key_value(config).await?)
}
