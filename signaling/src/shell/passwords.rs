//! Slow hashes of passwords: one at a time in one work area, beside rooms and sockets that go on.
//! Which is next is decided by [`Signaling::next_hash`](voicemesh_rooms::Signaling::next_hash).

use std::time::Duration;

use tokio::time::Instant;

use super::hub::Hub;
use super::mailbox::Mailbox;
use voicemesh_cluster::NodeLine;
use voicemesh_rooms::{HashJob, WorkArea};

/// The work area (19 MiB) is given back when no password has been hashed for this long.
const KEPT: Duration = Duration::from_secs(2);

/// Hashes without end.
pub(super) async fn work(hub: &Hub) {
    let mut area: Option<WorkArea> = None;
    let mut used_at = Instant::now();
    loop {
        let now = hub.now();
        let (job, next_at) = hub.signaling.next_hash(now);
        if let Some(job) = job {
            area = hash(hub, job, area.take()).await;
            used_at = Instant::now();
            continue;
        }
        let wakes_at = next_at.map(|at| Instant::now() + at.saturating_sub(now));
        let kept_until = area.as_ref().map(|_| used_at + KEPT);
        let earliest = [wakes_at, kept_until].into_iter().flatten().min();
        let alarm = async {
            match earliest {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hub.hash_wanted.notified() => {}
            () = alarm => {
                if kept_until.is_some_and(|at| Instant::now() >= at) {
                    area = None;
                }
            }
        }
    }
}

async fn hash(
    hub: &Hub,
    job: HashJob<NodeLine<Mailbox>>,
    area: Option<WorkArea>,
) -> Option<WorkArea> {
    let (password, salt) = (job.password().clone(), job.salt());
    let hashed = tokio::task::spawn_blocking(move || {
        let mut area = area.or_else(WorkArea::new)?;
        let digest = area.digest(&password, salt);
        Some((area, digest))
    });
    let (area, digest) =
        hashed.await.ok().flatten().map_or((None, None), |(area, digest)| (Some(area), digest));
    hub.signaling.hashed(hub.now(), job, digest);
    if let Some(cluster) = &hub.cluster {
        cluster.with(|node| node.update(hub.now()));
    }
    area
}
