//! What links leave behind: nothing. Alone in its process, because it measures the process.

mod common;

use common::{PATIENCE, open_pair};
use tokio::runtime::Handle;
use voicemesh_link::{CloseReason, Stream};

const CYCLES: usize = 50;
/// The allocator keeps some of what it got. A leaked connection is 280 KiB, and there are two in a
/// cycle.
const GROWTH_BYTES: usize = 6 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_links_opened_and_closed_leave_no_task_and_no_memory_behind() {
    let tasks_before = Handle::current().metrics().num_alive_tasks();
    for _ in 0..CYCLES / 5 {
        cycle().await;
    }
    assert_tasks(tasks_before).await;
    let memory_before = resident_bytes();
    for _ in 0..CYCLES {
        cycle().await;
    }
    assert_tasks(tasks_before).await;
    if let (Some(before), Some(after)) = (memory_before, resident_bytes()) {
        println!("grew by {} KiB in {CYCLES} cycles", after.saturating_sub(before) / 1024);
        assert!(after.saturating_sub(before) < GROWTH_BYTES, "grew from {before} to {after} bytes");
    }
}

async fn cycle() {
    let (mut a, mut b) = open_pair().await;
    a.link().send(Stream::Reliable, vec![1; 16 * 1024].into()).unwrap();
    b.received().await;
    drop(a.link.take());
    assert_eq!(a.events.closed().await, CloseReason::Local);
    assert_eq!(b.events.closed().await, CloseReason::Remote);
}

async fn assert_tasks(expected: usize) {
    let all_gone = async {
        while Handle::current().metrics().num_alive_tasks() > expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_gone).await.expect("tasks are left");
}

/// Only Linux tells in a file.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}
