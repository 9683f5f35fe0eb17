//! Standard output, for people or for programs.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use voicemesh::{DeviceEvent, Event, RoomEvent, Snapshot, TimedEvent, VoiceEvent};
use voicemesh_device::file_words;

use crate::encryption::EndToEnd;
use crate::end::End;
use crate::exit::Failure;
use crate::format::{is_unicode, time_of_day};
use crate::host_links::HostLinks;
use crate::human::{Line, Mood, SessionInfo, TextOutput, plain};
use crate::json;
use crate::live::Live;
use crate::live::keys::Action;
use crate::live::problems::is_about_identity;
use crate::people::People;
use crate::served_by::ServedBy;
use crate::slash::HELP;
use crate::summary::Summary;
use crate::text::ascii;

/// Where all output goes.
pub(crate) struct Output {
    form: OutputFormat,
    /// The reader is gone: a pipe was closed.
    closed: bool,
    /// Why nothing more can be printed, if it is not that.
    fault: Option<String>,
    sink: Box<dyn Write>,
    /// Lines that were not taken, where no view has them.
    #[cfg(test)]
    pub(crate) put_back: Vec<String>,
}

enum OutputFormat {
    TextOutput {
        view: TextOutput,
        coloured: bool,
    },
    /// The whole screen of a terminal.
    Live {
        view: TextOutput,
        live: Box<Live>,
    },
    Json,
}

impl Output {
    pub(crate) fn for_people(view: TextOutput) -> Self {
        Self::new(
            OutputFormat::TextOutput { view, coloured: takes_colours() },
            Box::new(io::stdout()),
        )
    }

    pub(crate) fn for_programs() -> Self {
        Self::new(OutputFormat::Json, Box::new(io::stdout()))
    }

    fn new(form: OutputFormat, sink: Box<dyn Write>) -> Self {
        Self {
            form,
            closed: false,
            fault: None,
            sink,
            #[cfg(test)]
            put_back: Vec::new(),
        }
    }

    /// What programs would read goes to `sink`.
    #[cfg(test)]
    pub(crate) fn for_tests(sink: Box<dyn Write>) -> Self {
        Self::new(OutputFormat::Json, sink)
    }

    /// What people would read goes to `sink`.
    #[cfg(test)]
    pub(crate) fn text_for_tests(view: TextOutput, sink: Box<dyn Write>) -> Self {
        Self::new(OutputFormat::TextOutput { view, coloured: false }, sink)
    }

    /// What keeps from printing, other than a reader that has gone.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes the whole screen for the view, if that can be; lines go on otherwise.
    pub(crate) fn go_live(&mut self, server: &str, room: &str, name: &str, served_by: ServedBy) {
        let OutputFormat::TextOutput { view, coloured } = &self.form else { return };
        match Live::open(room, server, name, *coloured) {
            Ok(mut live) => {
                live.set_served_by(served_by);
                view.opening().iter().for_each(|line| live.say(line));
                self.form = OutputFormat::Live { view: view.clone(), live: Box::new(live) };
            }
            Err(error) => tracing::warn!(
                "no live view on this terminal: {}",
                voicemesh_device::file_words(&error)
            ),
        }
    }

    /// Gives the screen back; what follows is lines again.
    pub(crate) fn end_live(&mut self) {
        if let OutputFormat::Live { view, live } = &self.form {
            let warning = live.warning();
            self.form = OutputFormat::TextOutput { view: view.clone(), coloured: takes_colours() };
            warning.iter().for_each(|line| self.say(line));
        }
    }

    /// The view, while there is one.
    pub(crate) fn live(&mut self) -> Option<&mut Live> {
        match &mut self.form {
            OutputFormat::Live { live, .. } => Some(live),
            OutputFormat::TextOutput { .. } | OutputFormat::Json => None,
        }
    }

    /// The talk groups in which the user listens and speaks.
    pub(crate) fn set_groups(&mut self, groups: &[String]) {
        if let Some(live) = self.live() {
            live.set_groups(groups);
        }
    }

    /// The talk groups in which a moderator holds the user; none if held nowhere.
    pub(crate) fn set_held_in(&mut self, groups: &[String]) {
        if let Some(live) = self.live() {
            live.set_held_in(groups);
        }
    }

    /// Whether a key must be held to be heard.
    pub(crate) fn set_push_to_talk(&mut self, push_to_talk: bool) {
        if let Some(live) = self.live() {
            live.set_push_to_talk(push_to_talk);
        }
    }

    /// Whether the microphone is open to talk, by a command instead of a key.
    pub(crate) fn set_talking(&mut self, talking: bool) {
        if let Some(live) = self.live() {
            live.set_talking(talking);
        }
    }

    /// What the keys ask for, where there is a view.
    pub(crate) fn wishes(&mut self, now: Duration) -> Vec<Action> {
        self.live().map(|live| live.wishes(now)).unwrap_or_default()
    }

    /// Once a turn.
    pub(crate) fn tick(&mut self, now: Duration, people: &People) {
        match &mut self.form {
            OutputFormat::TextOutput { view, .. } => {
                view.due(now, people).iter().for_each(|line| self.say(line));
            }
            // Its rows show that all the time.
            OutputFormat::Live { view, .. } => drop(view.due(now, people)),
            OutputFormat::Json => {}
        }
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

    pub(crate) fn opening(&mut self, stay: &SessionInfo) {
        match &self.form {
            OutputFormat::TextOutput { view, .. } | OutputFormat::Live { view, .. } => {
                view.opening().into_iter().for_each(|line| self.say(&line));
            }
            OutputFormat::Json => {
                let SessionInfo { server, room, name, relay_only, end_to_end, .. } = stay;
                let end_to_end = *end_to_end != EndToEnd::Off;
                self.write(&json::joining(server, room, name, *relay_only, end_to_end));
            }
        }
    }

    pub(crate) fn is_for_programs(&self) -> bool {
        matches!(self.form, OutputFormat::Json)
    }

    pub(crate) fn invitation(&mut self) {
        if let OutputFormat::TextOutput { view, .. } = &self.form
            && let Some(line) = view.invitation()
        {
            self.say(&line);
        }
    }

    /// `is_said`: people need no line about it.
    pub(crate) fn event(&mut self, stamped: &TimedEvent, people: &People, is_said: bool) {
        match &mut self.form {
            OutputFormat::TextOutput { view, .. } | OutputFormat::Live { view, .. } => {
                let renamed = view.renamed(&stamped.event);
                let line = view.event(stamped, people).filter(|_| !is_said);
                if let Some(line) =
                    line.filter(|_| self.live().is_none() || !is_shown_all_the_time(&stamped.event))
                {
                    self.say(&line);
                }
                if let Some(line) = renamed {
                    self.say(&line);
                }
            }
            OutputFormat::Json => self.write(&json::event(stamped, people)),
        }
        if let Some(live) = self.live() {
            live.event(stamped);
        }
    }

    /// The answer to something typed.
    pub(crate) fn notice(&mut self, at: Duration, line: &Line) {
        match self.form {
            OutputFormat::TextOutput { .. } | OutputFormat::Live { .. } => self.say(line),
            OutputFormat::Json => self.write(&json::notice(at, &line.text)),
        }
    }

    /// A line that was not taken stands where it was typed, unless another has been begun.
    pub(crate) fn put_back(&mut self, line: &str) {
        #[cfg(test)]
        self.put_back.push(line.to_owned());
        if let Some(live) = self.live() {
            live.put_back(line);
        }
    }

    /// The answer to `/who`: a table, or a status.
    pub(crate) fn who(
        &mut self,
        at: Duration,
        summary: &Summary,
        table: impl FnOnce() -> Vec<String>,
    ) {
        match self.form {
            OutputFormat::TextOutput { .. } => {
                table().into_iter().for_each(|line| self.say(&plain(line)))
            }
            OutputFormat::Live { ref mut live, .. } => live.show_lines("Who is here", table()),
            OutputFormat::Json => self.write(&json::status(at, summary)),
        }
    }

    /// The answer to `/help`.
    pub(crate) fn help(&mut self, at: Duration) {
        match self.live() {
            Some(live) => live.show_help(),
            None => HELP.into_iter().for_each(|line| self.notice(at, &plain(line))),
        }
    }

    /// The links to this program, which hosts the call.
    pub(crate) fn links(&mut self, at: Duration, links: &HostLinks) {
        match self.form {
            OutputFormat::Live { ref mut live, .. } => {
                live.show_lines("Links to this call", links.lines());
            }
            OutputFormat::TextOutput { .. } => {
                links.lines().into_iter().for_each(|line| self.say(&plain(line)));
            }
            OutputFormat::Json => self.write(&json::own_line("hosting", at, links.json())),
        }
    }

    /// What stands in the header from now on.
    pub(crate) fn set_place(&mut self, room: &str, server: &str) {
        if let Some(live) = self.live() {
            live.set_place(room, server);
        }
    }

    pub(crate) fn status(&mut self, at: Duration, summary: &Summary) {
        if let OutputFormat::Json = self.form {
            self.write(&json::status(at, summary));
        }
    }

    pub(crate) fn leaving(&mut self) {
        if let OutputFormat::TextOutput { view, .. } | OutputFormat::Live { view, .. } =
            &mut self.form
        {
            view.leaving();
        }
    }

    /// People get the sentence on standard error.
    pub(crate) fn failure(&mut self, at: Duration, failure: &Failure) {
        if let OutputFormat::Json = self.form {
            self.write(&json::error(at, failure));
        }
    }

    pub(crate) fn summary(&mut self, at: Duration, summary: &Summary, end: End) {
        if let OutputFormat::Json = self.form {
            self.write(&json::summary(at, summary, end));
        }
    }

    /// Whether what is typed can be read there already.
    pub(crate) fn shows_what_is_typed(&self) -> bool {
        matches!(self.form, OutputFormat::TextOutput { .. } | OutputFormat::Json)
            && io::stdin().is_terminal()
            && io::stdout().is_terminal()
    }

    fn say(&mut self, line: &Line) {
        if let Some(live) = self.live() {
            live.say(line);
            return;
        }
        let coloured = matches!(self.form, OutputFormat::TextOutput { coloured: true, .. });
        let text = rendered(&time_of_day(), line, coloured);
        match is_unicode() || !io::stdout().is_terminal() {
            true => self.write(&text),
            false => self.write(&text.chars().map(ascii).collect::<String>()),
        }
    }

    fn write(&mut self, line: &str) {
        if let Err(error) = writeln!(self.sink, "{line}").and_then(|()| self.sink.flush()) {
            self.closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.fault.get_or_insert_with(|| file_words(&error));
            }
        }
    }
}

/// Whether the view shows it as a state, so that a line about it would only push others out.
fn is_shown_all_the_time(event: &Event) -> bool {
    matches!(
        event,
        Event::Room(RoomEvent::RouteChanged { .. })
            | Event::Voice(VoiceEvent::FirstHeard { .. } | VoiceEvent::Speaking { .. })
            | Event::Room(RoomEvent::ServerAway { .. })
            | Event::Device(DeviceEvent::Lost { .. })
    ) || matches!(event, Event::Room(RoomEvent::Warned { code, .. }) if is_about_identity(code.as_str()))
}

/// Whether standard input and output are one terminal that a view can be drawn on.
pub(crate) fn can_be_live() -> bool {
    let dumb =
        std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty()) && cfg!(unix);
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The time of day, then the text.
fn rendered(clock: &str, line: &Line, coloured: bool) -> String {
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

/// NO_COLOR and TERM=dumb are what terminals and people set. Old Windows consoles would show the
/// codes themselves.
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
    fn a_line_begins_with_the_time_of_day() {
        assert_eq!(rendered("14:05", &plain("Ben left."), false), "14:05  Ben left.");
        let now = time_of_day();
        assert!(now.len() == 5 && now.as_bytes()[2] == b':', "{now}");
    }

    #[test]
    fn colours_end_with_their_line() {
        let line = Line { mood: Mood::Trouble, text: "Oh.".to_owned() };
        let coloured = rendered("14:05", &line, true);
        assert!(coloured.contains("\u{1b}[33mOh.") && coloured.ends_with("\u{1b}[0m"));
    }
}
