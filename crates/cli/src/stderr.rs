//! Standard error of the process, read here whatever it is: a terminal, a pipe or a file.
//!
//! Sound libraries write to it what a person cannot use, also over the live view. A pipe takes its
//! place, and a thread reads the other end: known noise becomes a debug log, other text goes where
//! standard error led, or, while there is a live view on that terminal, into the view, a bounded
//! number of lines. Dropping the guard restores it, and so does a panic.

#[cfg(unix)]
mod redirect {
    use std::io::{self, IsTerminal, PipeReader, Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::thread;
    use std::time::Duration;

    use voicemesh_common::lock;

    use super::{Lines, take_line};

    /// The descriptor of standard error while the pipe is in its place.
    static TERMINAL: Mutex<Option<OwnedFd>> = Mutex::new(None);
    /// Text that is still in the pipe at the end is waited for this long. A child process may hold
    /// the pipe open.
    const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

    /// While it lives, standard error goes through [`take_line`].
    pub(crate) struct Redirect {
        drained: Option<Receiver<()>>,
    }

    impl Redirect {
        /// Does nothing if the system refuses.
        pub(crate) fn begin() -> Self {
            Self {
                drained: redirect().inspect_err(|error| tracing::debug!(%error, "no pipe")).ok(),
            }
        }
    }

    impl Drop for Redirect {
        fn drop(&mut self) {
            restore();
            if let Some(drained) = self.drained.take() {
                let _ = drained.recv_timeout(DRAIN_TIMEOUT);
            }
        }
    }

    fn redirect() -> io::Result<Receiver<()>> {
        let terminal = io::stderr().as_fd().try_clone_to_owned()?;
        let (reader, writer) = io::pipe()?;
        let (done, drained) = sync_channel(1);
        thread::Builder::new().name("voicemesh-stderr".to_owned()).spawn(move || {
            follow(reader);
            let _ = done.send(());
        })?;
        *lock(&TERMINAL) = Some(terminal);
        rustix::stdio::dup2_stderr(writer)?;
        Ok(drained)
    }

    fn follow(mut pipe: PipeReader) {
        let mut lines = Lines::default();
        let mut bytes = [0; 1024];
        while let Ok(read) = pipe.read(&mut bytes) {
            if read == 0 {
                break;
            }
            lines.push(&bytes[..read], take_line);
        }
        lines.end(take_line);
    }

    /// Gives standard error back, if the pipe is in its place.
    pub(crate) fn restore() {
        if let Some(terminal) = lock(&TERMINAL).take() {
            let _ = rustix::stdio::dup2_stderr(terminal);
        }
    }

    /// Whether what is written to standard error would reach a terminal.
    pub(crate) fn is_terminal() -> bool {
        let own = lock(&TERMINAL);
        own.as_ref().map_or_else(|| io::stderr().is_terminal(), |own| own.is_terminal())
    }

    /// Writes where standard error led, past the pipe.
    pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
        let terminal = {
            let terminal = lock(&TERMINAL);
            terminal.as_ref().map(|terminal| terminal.try_clone()).transpose()?
        };
        match terminal {
            Some(terminal) => std::fs::File::from(terminal).write_all(bytes),
            None => io::stderr().write_all(bytes),
        }
    }
}

#[cfg(not(unix))]
mod redirect {
    use std::io::{self, IsTerminal, Write};

    /// Standard error stays as it is on this system.
    pub(crate) struct Redirect;

    impl Redirect {
        pub(crate) fn begin() -> Self {
            Self
        }
    }

    pub(crate) fn restore() {}

    pub(crate) fn is_terminal() -> bool {
        io::stderr().is_terminal()
    }

    pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
        io::stderr().write_all(bytes)
    }
}

pub(crate) use redirect::{Redirect, is_terminal, restore, write};

/// The rest of a longer line is dropped.
#[cfg(unix)]
const LONGEST_LINE: usize = 4096;

/// Beginnings of lines that sound libraries write when a device or a sound server is missing.
#[cfg(unix)]
const NOISE: [&str; 8] = [
    "ALSA lib ",
    "Cannot connect to server ",
    "jack server ",
    "JackShm",
    "Cannot lock down ",
    "connect(2) call to ",
    "attempt to connect to server failed",
    "Home directory not accessible",
];

/// What a library has written.
#[cfg(unix)]
fn take_line(line: &str) {
    if line.trim().is_empty() {
        return;
    }
    if NOISE.iter().any(|noise| line.starts_with(noise)) {
        tracing::debug!(text = line, "a sound library");
    } else if crate::live::taken::is_taken() && is_terminal() {
        crate::held_logs::hold_foreign(line);
    } else {
        let _ = write(format!("{line}\n").as_bytes());
    }
}

/// Parts bytes into lines of bounded length.
#[cfg(unix)]
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

#[cfg(unix)]
impl Lines {
    fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    take(&String::from_utf8_lossy(&self.line));
                    self.line.clear();
                }
                byte if self.line.len() < LONGEST_LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end(&mut self, mut take: impl FnMut(&str)) {
        if !self.line.is_empty() {
            take(&String::from_utf8_lossy(&self.line));
            self.line.clear();
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_last_needs_no_end() {
        let (mut lines, mut taken) = (Lines::default(), Vec::new());
        lines.push(b"one\ntw", |line| taken.push(line.to_owned()));
        lines.push(b"o\n\xff\n", |line| taken.push(line.to_owned()));
        lines.push(&[b'x'; 10_000], |line| taken.push(line.to_owned()));
        lines.end(|line| taken.push(line.to_owned()));
        assert_eq!(taken, ["one", "two", "\u{fffd}", &"x".repeat(LONGEST_LINE)]);
    }
}
