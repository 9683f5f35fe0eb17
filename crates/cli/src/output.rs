//! Standard output, for people or for programs.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use voicemesh::{Snapshot, Stamped};

use crate::exit::Failure;
use crate::human::{Human, Line, Mood, plain};
use crate::json;
use crate::live::Live;
use crate::live::keys::Wish;
use crate::people::People;
use crate::talk::End;
use crate::tally::Tally;

/// Where everything goes that is said.
pub(crate) struct Output {
    form: Form,
    /// Nobody reads any more: a pipe was closed.
    closed: bool,
}

enum Form {
    Human {
        view: Human,
        coloured: bool,
    },
    /// The whole screen of a terminal.
    Live {
        view: Human,
        live: Box<Live>,
    },
    Json,
}

impl Output {
    pub(crate) fn for_people(view: Human) -> Self {
        Self { form: Form::Human { view, coloured: takes_colours() }, closed: false }
    }

    pub(crate) fn for_programs() -> Self {
        Self { form: Form::Json, closed: false }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes the whole screen for the view, if that can be; lines go on otherwise.
    pub(crate) fn go_live(&mut self, at: Duration, server: &str, room: &str, name: &str) {
        let Form::Human { view, coloured } = &self.form else { return };
        match Live::open(room, server, name, *coloured) {
            Ok(mut live) => {
                view.opening().iter().for_each(|line| live.say(at, line));
                self.form = Form::Live { view: view.clone(), live: Box::new(live) };
            }
            Err(error) => tracing::warn!(%error, "no live view on this terminal"),
        }
    }

    /// Gives the screen back; what follows is lines again.
    pub(crate) fn end_live(&mut self) {
        if let Form::Live { view, .. } = &self.form {
            self.form = Form::Human { view: view.clone(), coloured: takes_colours() };
        }
    }

    /// The view, while there is one.
    pub(crate) fn live(&mut self) -> Option<&mut Live> {
        match &mut self.form {
            Form::Live { live, .. } => Some(live),
            Form::Human { .. } | Form::Json => None,
        }
    }

    /// Whether a key must be held to be heard.
    pub(crate) fn set_push_to_talk(&mut self, push_to_talk: bool) {
        if let Some(live) = self.live() {
            live.set_push_to_talk(push_to_talk);
        }
    }

    /// What the keys ask for, where there is a view.
    pub(crate) fn wishes(&mut self, now: Duration) -> Vec<Wish> {
        self.live().map(|live| live.wishes(now)).unwrap_or_default()
    }

    /// Once a turn.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.live().is_some_and(|live| live.tick(now).is_err()) {
            self.closed = true;
        }
    }

    /// The situation, for what shows it all the time.
    pub(crate) fn observe(&mut self, snapshot: &Snapshot, people: &People) {
        if let Some(live) = self.live() {
            live.observe(snapshot, people);
        }
    }

    pub(crate) fn opening(&mut self, server: &str, room: &str, name: &str, relay_only: bool) {
        match &self.form {
            Form::Human { view, .. } | Form::Live { view, .. } => {
                view.opening().into_iter().for_each(|line| self.say(Duration::ZERO, &line));
            }
            Form::Json => self.write(&json::joining(server, room, name, relay_only)),
        }
    }

    pub(crate) fn invitation(&mut self, at: Duration) {
        if let Form::Human { view, .. } = &self.form
            && let Some(line) = view.invitation()
        {
            self.say(at, &line);
        }
    }

    pub(crate) fn event(&mut self, stamped: &Stamped, people: &People) {
        match &mut self.form {
            Form::Human { view, .. } | Form::Live { view, .. } => {
                if let Some(line) = view.event(stamped, people) {
                    self.say(stamped.at, &line);
                }
            }
            Form::Json => self.write(&json::event(stamped, people)),
        }
        if let Some(live) = self.live() {
            live.event(stamped);
        }
    }

    /// The answer to something typed.
    pub(crate) fn notice(&mut self, at: Duration, line: &Line) {
        match self.form {
            Form::Human { .. } | Form::Live { .. } => self.say(at, line),
            Form::Json => self.write(&json::notice(at, &line.text)),
        }
    }

    /// The answer to `/who`: a table, or a status.
    pub(crate) fn who(&mut self, at: Duration, tally: &Tally, table: impl FnOnce() -> Vec<String>) {
        match self.form {
            Form::Human { .. } | Form::Live { .. } => table().into_iter().for_each(|line| self.say(at, &plain(line))),
            Form::Json => self.write(&json::status(at, tally)),
        }
    }

    pub(crate) fn status(&mut self, at: Duration, tally: &Tally) {
        if let Form::Json = self.form {
            self.write(&json::status(at, tally));
        }
    }

    pub(crate) fn leaving(&mut self) {
        if let Form::Human { view, .. } | Form::Live { view, .. } = &mut self.form {
            view.leaving();
        }
    }

    /// People get the sentence on standard error.
    pub(crate) fn failure(&mut self, at: Duration, failure: &Failure) {
        if let Form::Json = self.form {
            self.write(&json::error(at, failure));
        }
    }

    pub(crate) fn summary(&mut self, at: Duration, tally: &Tally, end: End) {
        if let Form::Json = self.form {
            self.write(&json::summary(at, tally, end));
        }
    }

    /// Whether what is typed can be read there already.
    pub(crate) fn shows_what_is_typed(&self) -> bool {
        matches!(self.form, Form::Human { .. } | Form::Json) && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    fn say(&mut self, at: Duration, line: &Line) {
        if let Some(live) = self.live() {
            live.say(at, line);
            return;
        }
        let coloured = matches!(self.form, Form::Human { coloured: true, .. });
        self.write(&rendered(at, line, coloured));
    }

    fn write(&mut self, line: &str) {
        let mut stdout = io::stdout().lock();
        if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
            self.closed = true;
        }
    }
}

/// A moment as people read it.
pub(crate) fn clock(at: Duration) -> String {
    clock_of(at.as_secs())
}

/// The same, of whole seconds.
pub(crate) fn clock_of(seconds: u64) -> String {
    match seconds / 3600 {
        0 => format!("{:>2}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// Whether standard input and output are one terminal that a view can be drawn on.
pub(crate) fn can_be_live() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty()) && cfg!(unix);
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The moment, then the text.
fn rendered(at: Duration, line: &Line, coloured: bool) -> String {
    let clock = clock(at);
    if !coloured {
        return format!("{clock}  {}", line.text);
    }
    let colour = match line.mood {
        Mood::Came => "32",
        Mood::Went => "2",
        Mood::Voice => "36",
        Mood::Text => "1",
        Mood::Trouble => "33",
        Mood::Plain => "0",
    };
    format!("\u{1b}[2m{clock}\u{1b}[0m  \u{1b}[{colour}m{}\u{1b}[0m", line.text)
}

/// NO_COLOR and TERM=dumb are what terminals and people set. Old Windows consoles would show the codes themselves.
fn takes_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let windows_console = cfg!(windows) && !is_set("WT_SESSION");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb && !windows_console
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_the_time_since_joining() {
        let of = |seconds| rendered(Duration::from_secs(seconds), &plain("Ben left."), false);
        assert_eq!(of(0), " 0:00  Ben left.");
        assert_eq!(of(754), "12:34  Ben left.");
        assert_eq!(of(3_725), "1:02:05  Ben left.");
    }

    #[test]
    fn colours_end_with_their_line() {
        let line = Line { mood: Mood::Trouble, text: "Oh.".to_owned() };
        let coloured = rendered(Duration::ZERO, &line, true);
        assert!(coloured.contains("\u{1b}[33mOh.") && coloured.ends_with("\u{1b}[0m"));
    }
}
