//! Programs as child processes: their lines are events to wait for, and they end with the test.
//!
//! Every line of standard output and standard error goes into a bounded transcript; a line of
//! standard output that is JSON is also an event. Waiting takes the first matching event that no
//! wait has taken before, so the order of two waits does not matter; [`Program::forget`] drops what
//! has come so far, for "from now on". A wait that fails shows the whole transcript.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Lines of one program that are kept; the oldest go first.
const MOST_LINES: usize = 20_000;
/// Lines on their way from the reading threads; when full, the program waits at its pipe.
const MOST_IN_FLIGHT: usize = 1_024;
/// How long a program may take to end after it was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How long the last lines of a program that has ended are waited for.
const LAST_LINES_PATIENCE: Duration = Duration::from_secs(1);

/// A line of JSON that a program printed.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it was read.
    pub at: Instant,
    /// What it said.
    pub json: Value,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

enum Message {
    Line { at: Instant, stream: Stream, text: String },
    Exited(ExitStatus),
}

/// A line that no wait has taken yet.
struct Line {
    at: Instant,
    text: String,
    json: Option<Value>,
}

/// A running program; killed when dropped.
pub struct Program {
    name: String,
    id: u32,
    started: Instant,
    messages: Receiver<Message>,
    waiting: VecDeque<Line>,
    history: VecDeque<Event>,
    transcript: VecDeque<String>,
    status: Option<ExitStatus>,
    input: Option<ChildStdin>,
}

/// Path of one of our own programs, built beforehand.
///
/// Tests of this package find them beside their own executable, where Cargo puts the programs of
/// all packages.
///
/// # Panics
/// If it has not been built, saying how to.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("own executable: {error}"));
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    // A test lies in target/<profile>/deps, a program in target/<profile>.
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(&file))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{file} is not built beside {}: run `cargo build --workspace` first", own.display())
    })
}

impl Program {
    /// Starts `command`; `name` stands in messages.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let (sender, messages) = sync_channel(MOST_IN_FLIGHT);
        let readers = [
            child.stdout.take().map(|pipe| read_lines(pipe, Stream::Out, sender.clone())),
            child.stderr.take().map(|pipe| read_lines(pipe, Stream::Err, sender.clone())),
        ];
        let (id, input) = (child.id(), child.stdin.take());
        thread::spawn(move || {
            let status = wait(&mut child);
            // The readers end when the last process that holds the pipe does, which may be a child
            // of the program's own.
            drop(readers);
            let _ = sender.send(Message::Exited(status));
        });
        let (waiting, history, transcript) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (name, started) = (name.to_owned(), Instant::now());
        Self { name, id, started, messages, waiting, history, transcript, status: None, input }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The first event not yet taken for which `wanted` is true.
    ///
    /// # Panics
    /// With the transcript, if none comes within `patience` or the program ends without it.
    pub fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Event {
        self.take_line(what, patience, |line| {
            let json = line.json.as_ref().filter(|json| wanted(json))?;
            Some(Event { at: line.at, json: json.clone() })
        })
    }

    /// The first line of either output not yet taken that contains `part`.
    ///
    /// # Panics
    /// As [`Program::wait_for`].
    pub fn wait_for_line(&mut self, part: &str, patience: Duration) -> String {
        self.take_line(part, patience, |line| line.text.contains(part).then(|| line.text.clone()))
    }

    /// What `pick` makes of the first line of either output not yet taken for which it makes
    /// something: a port from `listening on 127.0.0.1:40123`, say.
    ///
    /// # Panics
    /// As [`Program::wait_for`].
    pub fn wait_for_text<T>(
        &mut self,
        what: &str,
        patience: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.take_line(what, patience, |line| pick(&line.text))
    }

    /// The events that have come and were not taken, without waiting for more; they stay.
    pub fn events(&mut self) -> Vec<Event> {
        while let Ok(message) = self.messages.try_recv() {
            self.note(message);
        }
        self.waiting
            .iter()
            .filter_map(|line| line.json.clone().map(|json| Event { at: line.at, json }))
            .collect()
    }

    /// All events that have come, taken or not.
    pub fn history(&mut self) -> impl Iterator<Item = &Event> {
        let _ = self.events();
        self.history.iter()
    }

    /// Drops what has come so far, so that waits see only what comes from now on.
    pub fn forget(&mut self) {
        let _ = self.events();
        self.waiting.clear();
    }

    /// Types a line into its standard input.
    ///
    /// # Panics
    /// If it no longer reads.
    pub fn type_line(&mut self, line: &str) {
        let input =
            self.input.as_mut().unwrap_or_else(|| panic!("the input of {} was closed", self.name));
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        written.unwrap_or_else(|error| {
            panic!("typing to {}: {error}\n{}", self.name, self.transcript())
        });
    }

    /// Ends its standard input, as Ctrl-D does.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Panics
    /// With the transcript, if it has not within `patience`.
    pub fn wait_for_exit(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.status {
                // Its last lines are in the pipe still; they end with it unless one of its children
                // lives on.
                let last = Instant::now() + LAST_LINES_PATIENCE;
                while self.receive_until(last) {}
                return status;
            }
            if !self.receive_until(deadline) {
                panic!("{} has not ended within {patience:?}\n{}", self.name, self.transcript());
            }
        }
    }

    /// Whether it runs, as far as is known now.
    pub fn is_running(&mut self) -> bool {
        let _ = self.events();
        self.status.is_none()
    }

    /// All lines so far, with seconds since the start.
    #[must_use]
    pub fn transcript(&self) -> String {
        let mut text = format!("--- {} (process {}) printed:\n", self.name, self.id);
        for line in &self.transcript {
            text.push_str(line);
            text.push('\n');
        }
        let ending =
            self.status.map_or_else(|| "still running".to_owned(), |status| status.to_string());
        text + "--- " + &ending
    }

    fn take_line<T>(
        &mut self,
        what: &str,
        patience: Duration,
        pick: impl Fn(&Line) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        let mut looked_at = 0;
        loop {
            while let Some(line) = self.waiting.get(looked_at) {
                if let Some(found) = pick(line) {
                    self.waiting.remove(looked_at);
                    return found;
                }
                looked_at += 1;
            }
            let full = self.waiting.len() == MOST_LINES;
            if !self.receive_until(deadline) {
                panic!("waited {patience:?} for {what} of {}\n{}", self.name, self.transcript());
            }
            // A full queue has dropped its oldest line for the new one.
            looked_at -= usize::from(full && looked_at > 0);
        }
    }

    /// Takes one message; false if none can come any more or the deadline has passed.
    fn receive_until(&mut self, deadline: Instant) -> bool {
        match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(message) => {
                self.note(message);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    fn note(&mut self, message: Message) {
        match message {
            Message::Exited(status) => self.status = Some(status),
            Message::Line { at, stream, text } => {
                let mark = if stream == Stream::Err { "!" } else { " " };
                let seconds = at.saturating_duration_since(self.started).as_secs_f64();
                push_bounded(&mut self.transcript, format!("{seconds:8.3}{mark} {text}"));
                let json: Option<Value> =
                    if stream == Stream::Out { serde_json::from_str(&text).ok() } else { None };
                if let Some(json) = &json {
                    push_bounded(&mut self.history, Event { at, json: json.clone() });
                }
                push_bounded(&mut self.waiting, Line { at, text, json });
            }
        }
    }

    fn end(&mut self) {
        if self.status.is_some() {
            return;
        }
        kill(self.id);
        let deadline = Instant::now() + KILL_PATIENCE;
        while self.status.is_none() && self.receive_until(deadline) {}
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            eprintln!("{}", self.transcript());
        }
    }
}

#[cfg(unix)]
impl Program {
    /// Stops it in mid-work (SIGSTOP): it neither works nor ends, and its sockets stay open.
    pub fn pause(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGSTOP);
    }

    /// Lets a paused program go on (SIGCONT).
    pub fn resume(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGCONT);
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
    }

    /// As the end of its terminal does (SIGHUP).
    pub fn hang_up(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGHUP);
    }

    /// As Ctrl-C does (SIGINT).
    pub fn interrupt(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGINT);
    }

    fn signal(&mut self, signal: nix::sys::signal::Signal) {
        if self.is_running() {
            let id = nix::unistd::Pid::from_raw(self.id.cast_signed());
            nix::sys::signal::kill(id, signal)
                .unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
        }
    }
}

impl Program {
    /// Ends it without warning (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> ExitStatus {
        let _ = self.events();
        self.end();
        self.status
            .unwrap_or_else(|| panic!("{} survived being killed\n{}", self.name, self.transcript()))
    }
}

#[cfg(unix)]
fn kill(id: u32) {
    let id = nix::unistd::Pid::from_raw(id.cast_signed());
    // Gone already is as good.
    let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL);
}

#[cfg(not(unix))]
fn kill(id: u32) {
    let _ = Command::new("taskkill").args(["/F", "/PID", &id.to_string()]).output();
}

fn wait(child: &mut Child) -> ExitStatus {
    child.wait().unwrap_or_else(|error| panic!("waiting for process {}: {error}", child.id()))
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    stream: Stream,
    sender: SyncSender<Message>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(Message::Line { at: Instant::now(), stream, text }).is_err() {
                return;
            }
        }
    })
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == MOST_LINES {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(all(test, unix))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn script(text: &str) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        Program::start("script", command)
    }

    #[test]
    fn events_are_taken_once_in_any_order_of_waiting() {
        let mut program =
            script(r#"echo '{"type":"first"}'; echo plain; echo '{"type":"second"}'; read answer"#);
        program.wait_for("second", PATIENCE, |event| event["type"] == "second");
        program.wait_for("first", PATIENCE, |event| event["type"] == "first");
        assert!(program.events().is_empty());
        assert_eq!(program.wait_for_line("plain", PATIENCE), "plain");
    }

    #[test]
    fn a_wait_that_fails_shows_the_transcript_at_once_when_the_program_has_ended() {
        let mut program = script("echo one; echo two >&2; exit 3");
        assert_eq!(program.wait_for_exit(PATIENCE).code(), Some(3));
        let before = Instant::now();
        let failure =
            catch_unwind(AssertUnwindSafe(|| program.wait_for("three", PATIENCE, |_| true)))
                .unwrap_err();
        assert!(before.elapsed() < PATIENCE);
        let text = failure.downcast_ref::<String>().unwrap();
        assert!(
            text.contains("three") && text.contains("  one") && text.contains("! two"),
            "{text}"
        );
    }

    #[test]
    fn what_is_typed_is_read() {
        let mut program = script("while read line; do echo got $line; done; echo end");
        program.type_line("a word");
        program.wait_for_line("got a word", PATIENCE);
        program.close_input();
        program.wait_for_line("end", PATIENCE);
        assert!(program.wait_for_exit(PATIENCE).success());
    }

    #[test]
    fn forgetting_hides_what_came_before() {
        let mut program = script("echo ready; read go; echo ready");
        program.wait_for_text("ready", PATIENCE, |line| (line == "ready").then_some(()));
        program.forget();
        program.type_line("go");
        program.wait_for_line("ready", PATIENCE);
    }

    #[test]
    fn a_paused_program_does_nothing_until_it_is_resumed() {
        let mut program = script("echo ready; while read line; do echo got $line; done");
        program.wait_for_line("ready", PATIENCE);
        program.pause();
        program.type_line("word");
        let silence = catch_unwind(AssertUnwindSafe(|| {
            program.wait_for_line("got", Duration::from_millis(200))
        }));
        assert!(silence.is_err());
        program.resume();
        program.wait_for_line("got word", PATIENCE);
    }

    #[test]
    fn killing_and_terminating_end_it() {
        use std::os::unix::process::ExitStatusExt as _;
        let mut stubborn =
            script("trap '' TERM; echo ready; while read line; do echo still here; done");
        stubborn.wait_for_line("ready", PATIENCE);
        stubborn.terminate();
        stubborn.type_line("there?");
        stubborn.wait_for_line("still here", PATIENCE);
        assert_eq!(stubborn.kill().signal(), Some(9));
        assert!(!stubborn.is_running());
        let mut polite =
            script("trap 'echo bye; exit 0' TERM; echo ready; while true; do read line; done");
        polite.wait_for_line("ready", PATIENCE);
        polite.terminate();
        polite.wait_for_line("bye", PATIENCE);
        assert!(polite.wait_for_exit(PATIENCE).success());
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let mut program = script("echo ready; read line");
        program.wait_for_line("ready", PATIENCE);
        let id = nix::unistd::Pid::from_raw(program.id().cast_signed());
        drop(program);
        assert!(nix::sys::signal::kill(id, None).is_err());
    }

    #[test]
    fn a_program_that_is_not_built_is_named() {
        let failure = catch_unwind(|| binary("voicemesh-nonexistent")).unwrap_err();
        assert!(failure.downcast_ref::<String>().unwrap().contains("run `cargo build"));
    }
}
