//! The terminal while the view has it: taken, given back whatever happens, and taken again.

use std::io::{self, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
    KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, supports_keyboard_enhancement,
};

#[cfg(not(windows))]
use super::ansi::AnsiBackend as Drawing;
// It also draws on consoles that know no escape sequences.
#[cfg(windows)]
use ratatui::backend::CrosstermBackend as Drawing;

use super::taken;

/// What the view is drawn on.
type Drawn = Terminal<Drawing<io::Stdout>>;

/// Whether the terminal was asked to tell the release of keys.
static ENHANCED: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The terminal. Dropping it gives it back.
pub(crate) struct Console {
    pub terminal: Drawn,
    tells_releases: bool,
}

impl Console {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// When it is none that can be drawn on; it is as before then.
    pub(crate) fn take() -> io::Result<Self> {
        let (terminal, tells_releases) = prepare().inspect_err(|_| give_back())?;
        Ok(Self { terminal, tells_releases })
    }

    /// Whether the terminal tells when a key is released.
    pub(crate) fn tells_releases(&self) -> bool {
        self.tells_releases
    }

    /// Empties the screen, so that everything is drawn anew.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.terminal = blank()?;
        Ok(())
    }

    /// Gives the terminal back, lets the shell go on, and takes it again when the shell lets this
    /// program go on.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        stop_this_process();
        (self.terminal, self.tells_releases) = prepare()?;
        Ok(())
    }
}

/// Fails when the terminal has hung up. Reading keys from it would then never return: the reader
/// takes the end for an empty read and tries again.
#[cfg(unix)]
pub(crate) fn check() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let keyboard = io::stdin();
    let mut polled = [PollFd::new(&keyboard, PollFlags::empty())];
    match poll(&mut polled, Some(&rustix::event::Timespec::default())) {
        // A signal, such as that the window has another size.
        Err(rustix::io::Errno::INTR) => return Ok(()),
        polled => polled?,
    };
    let is_gone = polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
    if is_gone { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

#[cfg(not(unix))]
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

/// The terminal ready to be drawn on, and whether it tells when a key is released.
fn prepare() -> io::Result<(Drawn, bool)> {
    taken::set(true);
    enable_raw_mode()?;
    stop_mouse_reports();
    let tells_releases = supports_keyboard_enhancement().unwrap_or(false);
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
    if tells_releases {
        ENHANCED.store(true, Ordering::SeqCst);
        let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES
            | KeyboardEnhancementFlags::REPORT_EVENT_TYPES;
        execute!(stdout(), PushKeyboardEnhancementFlags(flags))?;
    }
    Ok((blank()?, tells_releases))
}

/// The view takes no mouse, but a program that ended badly may have left its reports on: they would
/// come as text.
fn stop_mouse_reports() {
    // On Windows the mode belongs to the console's input, and raw mode has set that.
    #[cfg(not(windows))]
    let _ = execute!(stdout(), ratatui::crossterm::event::DisableMouseCapture);
}

/// An empty screen. ([`Terminal::clear`] would ask the terminal where its cursor is, and wait for
/// those that do not say.)
fn blank() -> io::Result<Drawn> {
    execute!(stdout(), Clear(ClearType::All))?;
    Terminal::new(Drawing::new(stdout()))
}

impl Drop for Console {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was, if the view has it. Whatever fails, the rest is tried.
pub(crate) fn give_back() {
    if !taken::set(false) {
        return;
    }
    if ENHANCED.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), PopKeyboardEnhancementFlags);
    }
    let _ = execute!(stdout(), DisableFocusChange, DisableBracketedPaste, LeaveAlternateScreen);
    let _ = execute!(stdout(), ratatui::crossterm::cursor::Show);
    let _ = disable_raw_mode();
}

/// Text of a panic on this thread must be readable. One on another thread does not end the view.
pub(crate) fn give_back_on_panic() {
    let view = thread::current().id();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if thread::current().id() == view {
                give_back();
                crate::stderr::restore();
            }
            before(info);
        }));
    });
}

/// As a terminal that is not in raw mode does it for Ctrl-Z.
#[cfg(unix)]
fn stop_this_process() {
    let process = std::process::id().to_string();
    // The system's own command, because a signal to oneself would need code that the compiler
    // cannot check.
    if let Err(error) = std::process::Command::new("kill").args(["-s", "TSTP", &process]).status() {
        tracing::debug!(%error, "this program cannot be paused");
    }
}

#[cfg(not(unix))]
fn stop_this_process() {}
