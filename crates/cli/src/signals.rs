//! Ctrl-C, SIGTERM and a terminal that closes: once is a request to leave, twice ends the program
//! where it stands, and so does a request that is not met: no microphone stays open for want of a
//! turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::exit::INTERRUPTED_TWICE;

/// Signals that follow each other faster are one request: `timeout` and some shells send to the
/// process and to its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Leaving takes at most this; longer than the farewell and the end of a recording.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Set when the program is asked to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Begins to listen.
    pub(crate) fn listen() -> Self {
        let stop = Self::default();
        let flag = stop.clone();
        let spawned =
            thread::Builder::new().name("voicemesh-signals".to_owned()).spawn(move || {
                if let Err(error) = flag.follow() {
                    let why = voicemesh_device::file_words(&error);
                    tracing::warn!(
                        "signals cannot be heard ({why}); Ctrl-C ends without a farewell"
                    );
                }
            });
        if let Err(error) = spawned {
            let why = voicemesh_device::file_words(&error);
            tracing::warn!("signals cannot be heard ({why}); Ctrl-C ends without a farewell");
        }
        stop
    }

    /// Whether it was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn follow(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut requests = Requests::new()?;
            requests.next().await?;
            self.0.store(true, Ordering::Relaxed);
            let first = Instant::now();
            let insisted = async {
                loop {
                    requests.next().await?;
                    if first.elapsed() > ONE_REQUEST {
                        return Ok::<(), io::Error>(());
                    }
                }
            };
            if let Ok(insisted) = tokio::time::timeout(LEAVE_TIMEOUT, insisted).await {
                insisted?;
            }
            crate::live::console::give_back();
            crate::stderr::restore();
            std::process::exit(INTERRUPTED_TWICE)
        })
    }
}

#[cfg(unix)]
struct Requests {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Requests {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> io::Result<()> {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
        Ok(())
    }
}

#[cfg(not(unix))]
struct Requests;

#[cfg(not(unix))]
impl Requests {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}
