//! A terminal for a test: programs in tmux, what they show, and bytes typed to them.
//!
//! tmux takes a program's escape sequences apart as a terminal does and answers its questions; a
//! capture is what a person would see. Each test starts its own tmux server, which ends with the
//! test and with all that runs in it.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::room::{Folder, PATIENCE};
use crate::skip;

/// How often a window is looked at.
const LOOK: Duration = Duration::from_millis(30);
/// Runs the program given as arguments, with its process id in the file given first. Says how it
/// leaves the terminal, and stays.
const SCRIPT: &str = r#"
before=$(stty -a)
sh -c 'echo $$ >"$0"; exec "$@"' "$@"
code=$?
if [ "$(stty -a)" = "$before" ]; then after=same; else after=changed; fi
echo "ended with $code, terminal $after"
exec cat
"#;

/// A tmux server; ended when dropped.
pub struct Tmux {
    socket: String,
    /// Holds the socket, and a file with the process id of each window's program.
    folder: Folder,
}

/// A terminal in which a program runs.
pub struct Window<'a> {
    tmux: &'a Tmux,
    name: String,
}

/// What a terminal is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    /// Columns and rows.
    pub size: (u16, u16),
    /// The variable TERM.
    pub term: &'a str,
    /// The variable LANG; nothing else names a locale.
    pub lang: &'a str,
}

impl Tmux {
    /// None (said loudly) where there is no tmux.
    ///
    /// # Panics
    /// With `CI=true` where there is no tmux.
    #[must_use]
    pub fn start(test: &str) -> Option<Self> {
        if !skip::can_run(test, false, &["tmux"]) {
            return None;
        }
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let socket = format!("voicemesh-{}-{number}", std::process::id());
        Some(Self { socket, folder: Folder::create("tmux") })
    }

    /// Opens a terminal and runs `command` in it, with the arguments and the environment of
    /// `command`.
    ///
    /// # Panics
    /// If tmux does not.
    #[must_use]
    pub fn open<'a>(&'a self, name: &str, kind: Kind<'_>, command: &Command) -> Window<'a> {
        let window = Window { tmux: self, name: name.to_owned() };
        let (columns, rows) = kind.size;
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut tmux =
            self.command(&["new-session", "-d", "-s", name, "-x", &columns, "-y", &rows]);
        tmux.args(["env", "-u", "LC_ALL", "-u", "LC_CTYPE", "-u", "NO_COLOR", "-u", "COLORTERM"]);
        tmux.arg(format!("TERM={}", kind.term)).arg(format!("LANG={}", kind.lang));
        for (variable, value) in command.get_envs() {
            tmux.arg(format!("{}={}", variable.display(), value.unwrap_or_default().display()));
        }
        tmux.args(["sh", "-c", SCRIPT, "sh"])
            .arg(window.id_file())
            .arg(command.get_program())
            .args(command.get_args());
        run(tmux, b"");
        window
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        // tmux itself needs a locale with UTF-8; TMUX would name another server.
        command
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .env("TMUX_TMPDIR", self.folder.file(""));
        command.args(["-u", "-L", &self.socket, "-f", "/dev/null"]).args(arguments);
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}

impl Window<'_> {
    /// What it shows, without attributes: a line for each row, without the blanks at their ends.
    #[must_use]
    pub fn text(&self) -> String {
        self.tell(&["capture-pane", "-p", "-t", &self.target()])
    }

    /// The same with the escape sequences for colours and other attributes.
    #[must_use]
    pub fn coloured(&self) -> String {
        self.tell(&["capture-pane", "-e", "-p", "-t", &self.target()])
    }

    /// Waits until what it shows is as wanted, and gives that.
    ///
    /// # Panics
    /// With what it shows, if that does not become so within [`PATIENCE`].
    #[expect(
        clippy::disallowed_methods,
        reason = "tmux gives no event when a terminal shows something else"
    )]
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{} does not show {what}:\n{text}", self.name);
            thread::sleep(LOOK);
        }
    }

    /// Types these bytes, in one piece.
    pub fn write(&self, bytes: &[u8]) {
        let mut command = self.tmux.command(&["send-keys", "-t", &self.target(), "-H"]);
        command.args(bytes.iter().map(|byte| format!("{byte:02x}")));
        run(command, b"");
    }

    /// Pastes a text as a terminal does: in brackets, if the program asked for them.
    pub fn paste(&self, text: &str) {
        run(self.tmux.command(&["load-buffer", "-"]), text.as_bytes());
        self.tell(&["paste-buffer", "-d", "-p", "-t", &self.target()]);
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tell(&["resize-window", "-t", &self.target(), "-x", &columns, "-y", &rows]);
    }

    /// Whether it shows the alternate screen.
    #[must_use]
    pub fn is_alternate(&self) -> bool {
        self.flag("alternate_on")
    }

    /// Whether it shows the cursor.
    #[must_use]
    pub fn has_cursor(&self) -> bool {
        self.flag("cursor_flag")
    }

    /// Whether a program has asked it to report the mouse.
    #[must_use]
    pub fn reports_mouse(&self) -> bool {
        self.flag("mouse_any_flag")
    }

    /// Asks the program in it to end (SIGTERM).
    ///
    /// # Panics
    /// If there is none.
    pub fn terminate(&self) {
        let file = self.id_file();
        let id =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let id = id.trim().parse().unwrap_or_else(|error| panic!("{id}: {error}"));
        let signal = nix::sys::signal::Signal::SIGTERM;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal)
            .unwrap_or_else(|error| panic!("{signal} to {id}: {error}"));
    }

    fn flag(&self, name: &str) -> bool {
        self.tell(&["display-message", "-p", "-t", &self.target(), &format!("#{{{name}}}")]).trim()
            == "1"
    }

    fn tell(&self, arguments: &[&str]) -> String {
        let output = run(self.tmux.command(arguments), b"");
        String::from_utf8(output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    fn target(&self) -> String {
        format!("={}:", self.name)
    }

    fn id_file(&self) -> PathBuf {
        self.tmux.folder.file(&self.name)
    }
}

/// Runs it with this input; it must succeed.
fn run(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input)?;
        }
        child.wait_with_output()
    });
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
