//! What the server holds in memory while it is attacked.

use std::fmt;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use voicemesh_tests::room::Server;

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// Looks at a server's memory again and again, on a thread.
pub struct Watch {
    process: u32,
    name: String,
    before: u64,
    peak: Arc<AtomicU64>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    reported: AtomicBool,
}

/// A server whose memory is watched; at its end it is printed under the test's name.
pub struct WatchedServer {
    // Dropped first, while the server runs.
    _watch: Watch,
    server: Server,
}

impl WatchedServer {
    pub fn start(arguments: &[&str]) -> Self {
        Self::of(Server::start(arguments))
    }

    pub fn start_by(command: Command, host: Ipv4Addr, port: u16, arguments: &[&str]) -> Self {
        Self::of(Server::start_by(command, host, port, arguments))
    }

    pub fn of(server: Server) -> Self {
        let thread = std::thread::current();
        Self { _watch: Watch::start(thread.name().unwrap_or("a server"), &server), server }
    }
}

impl Deref for WatchedServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for WatchedServer {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// KiB.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub before: u64,
    pub peak: u64,
    pub after: u64,
}

impl Held {
    pub fn growth(&self) -> u64 {
        self.peak.saturating_sub(self.before)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "memory before {} KiB, peak {} KiB, after {} KiB",
            self.before, self.peak, self.after
        )
    }
}

impl Watch {
    pub fn start(name: &str, server: &Server) -> Self {
        let process = server.program.id();
        let before = resident_kib(process);
        let peak = Arc::new(AtomicU64::new(before));
        let (stop, stopped) = channel();
        let highest = Arc::clone(&peak);
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
                highest.fetch_max(resident_kib(process), Ordering::Relaxed);
            }
        });
        let reported = AtomicBool::new(false);
        Self {
            process,
            name: name.to_owned(),
            before,
            peak,
            stop: Some(stop),
            thread: Some(thread),
            reported,
        }
    }

    /// What was held until now; printed.
    pub fn held(&self) -> Held {
        let after = resident_kib(self.process);
        self.peak.fetch_max(after, Ordering::Relaxed);
        let held = Held { before: self.before, peak: self.peak.load(Ordering::Relaxed), after };
        self.reported.store(true, Ordering::Relaxed);
        // Not `eprintln`, which tests that succeed keep to themselves.
        let _ = writeln!(std::io::stderr(), "{}: {held}", self.name);
        held
    }

    /// Waits until the server holds no more than this; gives what it holds in the end.
    pub fn wait_until_at_most(&self, kib: u64, patience: Duration) -> u64 {
        let deadline = Instant::now() + patience;
        loop {
            let held = resident_kib(self.process);
            if held <= kib || Instant::now() > deadline {
                return held;
            }
            std::thread::park_timeout(STEP);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if !self.reported.load(Ordering::Relaxed) {
            self.held();
        }
    }
}

/// KiB.
pub fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
