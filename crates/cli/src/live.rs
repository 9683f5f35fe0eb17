//! The live view on a terminal: who is here, who speaks, how well each is heard, what was said, and
//! oneself.
//!
//! What is shown is a plain value ([`screen`]), what a key does to it a function ([`keys`]), and
//! the drawing another ([`draw`]); only this file and [`console`] touch the terminal. It is drawn
//! when something has changed, and at most [`FRAMES_PER_SECOND`] times a second.

#[cfg(not(windows))]
mod ansi;
pub(crate) mod cells;
mod complete;
pub(crate) mod console;
mod draw;
mod editor;
mod escape;
mod held_key;
pub(crate) mod keys;
mod log;
mod overlay;
mod overlay_state;
pub(crate) mod problems;
pub(crate) mod screen;
pub(crate) mod taken;

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Told, KeyCode};
use voicemesh::{DeviceEvent, Event, RoomEvent, Snapshot, TimedEvent};

use crate::format::{is_unicode, time_of_day};
use crate::held_logs;
use crate::human::{Line, plain, trouble};
use crate::people::People;
use crate::served_by::ServedBy;
use crate::text::harmless;
use console::Console;
use draw::Palette;
pub(crate) use draw::meter;
use escape::Escapes;
use keys::Action;
use overlay_state::Content;
use problems::Problems;
use screen::{LinkWatch, Screen, TalkKey};

/// Meters move smoothly enough, and a terminal over a slow line still keeps up.
const FRAMES_PER_SECOND: u32 = 15;
/// Keys taken in one turn; a pasted text comes as one.
const KEYS_PER_TURN: usize = 64;

/// The view.
pub(crate) struct Live {
    console: Console,
    screen: Screen,
    watch: LinkWatch,
    problems: Problems,
    escapes: Escapes,
    palette: Palette,
    /// Whether what is on the terminal is not what should be.
    stale: bool,
    drawn_at: Option<Instant>,
}

impl Live {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// When it cannot be drawn on.
    pub(crate) fn open(room: &str, server: &str, name: &str, coloured: bool) -> io::Result<Self> {
        let console = Console::take()?;
        let screen = Screen::new(room, server, name, TalkKey::None);
        let palette = Palette { coloured, unicode: is_unicode() };
        let (watch, escapes, problems) =
            (LinkWatch::default(), Escapes::default(), Problems::default());
        Ok(Self { console, screen, watch, problems, escapes, palette, stale: true, drawn_at: None })
    }

    /// Who passes on what is said.
    pub(crate) fn set_served_by(&mut self, served_by: ServedBy) {
        self.screen.served_by = served_by;
        self.problems.set_served_by(served_by);
        self.stale = true;
    }

    /// What the header says of the room and of its server.
    pub(crate) fn set_place(&mut self, room: &str, server: &str) {
        self.screen.room = harmless(room).into_owned();
        self.screen.server = harmless(server).into_owned();
        self.stale = true;
    }

    /// The talk groups in which the user listens and speaks.
    pub(crate) fn set_groups(&mut self, groups: &[String]) {
        self.screen.set_groups(groups);
        self.stale = true;
    }

    /// The talk groups in which a moderator holds the user; none if held nowhere.
    pub(crate) fn set_held_in(&mut self, groups: &[String]) {
        self.problems.held_in(groups);
        self.stale = true;
    }

    /// Whether a key must be held to be heard.
    pub(crate) fn set_push_to_talk(&mut self, push_to_talk: bool) {
        self.screen.talk_key = match (push_to_talk, self.console.tells_releases()) {
            (false, _) => TalkKey::None,
            (true, true) => TalkKey::Hold,
            (true, false) => TalkKey::HoldByRepeats,
        };
        self.stale = true;
    }

    /// Whether the microphone is open to talk.
    pub(crate) fn set_talking(&mut self, talking: bool) {
        self.screen.set_talking(talking);
        self.stale = true;
    }

    /// A line for the messages, or for the events.
    pub(crate) fn say(&mut self, line: &Line) {
        self.screen.say(&time_of_day(), line);
        self.stale = true;
    }

    /// A line that was not taken stands where it was typed, unless another has been begun.
    pub(crate) fn put_back(&mut self, line: &str) {
        if self.screen.editor.is_empty() {
            self.screen.editor.insert(line);
            self.stale = true;
        }
    }

    /// What the user should know after the call as well.
    pub(crate) fn warning(&self) -> Option<Line> {
        self.problems.warning().map(trouble)
    }

    /// The list of commands, over the rest.
    pub(crate) fn show_help(&mut self) {
        self.screen.open(Content::Help);
        self.stale = true;
    }

    /// Lines that would push the messages out, over the rest.
    pub(crate) fn show_lines(&mut self, title: &str, lines: Vec<String>) {
        self.screen.open(Content::Answer { title: title.to_owned(), lines });
        self.stale = true;
    }

    pub(crate) fn event(&mut self, stamped: &TimedEvent) {
        self.watch.event(stamped);
        self.problems.event(&stamped.event);
        match &stamped.event {
            Event::Room(RoomEvent::Joined { name, .. }) => {
                self.screen.locked = false;
                self.screen.name = harmless(name).into_owned();
            }
            Event::Room(RoomEvent::RoomLocked { locked }) => self.screen.locked = *locked,
            _ => {}
        }
        self.stale = true;
        if let Event::Device(
            DeviceEvent::Lost { .. }
            | DeviceEvent::Recovered { .. }
            | DeviceEvent::Changed { .. }
            | DeviceEvent::Refused { .. },
        ) = stamped.event
        {
            // Where standard error cannot be read, sound systems write over the view when a device
            // comes or goes.
            self.redraw();
        }
    }

    pub(crate) fn observe(&mut self, snapshot: &Snapshot, people: &People) {
        let shown = |Screen { own, chosen, exposed, encryption, problems, .. }: &Screen| {
            (own.clone(), *chosen, *exposed, encryption.clone(), problems.clone())
        };
        let before = (std::mem::take(&mut self.screen.people), shown(&self.screen));
        self.screen.observe(snapshot, people);
        self.screen.judge(&self.problems, snapshot);
        self.stale |= before != (self.screen.people.clone(), shown(&self.screen));
    }

    /// Actions of the keys that were pressed.
    pub(crate) fn wishes(&mut self, now: Duration) -> Vec<Action> {
        let mut wishes = Vec::new();
        for _ in 0..KEYS_PER_TURN {
            match self.next_told() {
                Ok(Some(told)) => {
                    for event in self.escapes.take(now, told) {
                        self.take_event(now, event, &mut wishes);
                    }
                }
                Ok(None) => break,
                // The terminal is gone.
                Err(_) => {
                    wishes.push(Action::Leave);
                    break;
                }
            }
        }
        for event in self.escapes.flush(now) {
            self.take_event(now, event, &mut wishes);
        }
        let polled = keys::poll(&mut self.screen, now);
        self.stale |= polled.is_some();
        wishes.extend(polled);
        wishes
    }

    fn take_event(&mut self, now: Duration, event: Told, wishes: &mut Vec<Action>) {
        self.stale = true;
        if event.as_key_press_event().is_some_and(|key| key.code == KeyCode::Esc) {
            let seen = self.problems.dismiss().map(plain);
            seen.iter().for_each(|line| self.say(line));
        }
        let size = self.console.terminal.size().unwrap_or_default();
        match keys::take(&mut self.screen, now, event, size) {
            Some(Action::Redraw) => self.redraw(),
            Some(Action::Suspend) => self.suspend(wishes),
            wish => wishes.extend(wish),
        }
    }

    /// Draws, if something has changed and it is time.
    pub(crate) fn tick(&mut self, now: Duration) -> io::Result<()> {
        for text in held_logs::take() {
            self.say(&trouble(harmless(text.trim_end())));
        }
        let passed = self.problems.pass(now).map(plain);
        passed.iter().for_each(|line| self.say(line));
        let shown = (self.screen.link, self.screen.seconds);
        (self.screen.link, self.screen.seconds) = (self.watch.link(now), self.watch.seconds(now));
        self.stale |= shown != (self.screen.link, self.screen.seconds);
        let is_time = self
            .drawn_at
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(1) / FRAMES_PER_SECOND);
        if self.stale && is_time {
            let (screen, palette) = (&self.screen, self.palette);
            self.console.terminal.draw(|frame| draw::draw(frame, screen, palette))?;
            (self.stale, self.drawn_at) = (false, Some(Instant::now()));
        }
        Ok(())
    }

    fn next_told(&self) -> io::Result<Option<Told>> {
        console::check()?;
        if event::poll(Duration::ZERO)? { event::read().map(Some) } else { Ok(None) }
    }

    /// From an empty screen, because something else has written on it.
    fn redraw(&mut self) {
        // What fails here fails in the next drawing, too, which tells.
        let _ = self.console.clear();
        self.stale = true;
    }

    fn suspend(&mut self, wishes: &mut Vec<Action>) {
        // The shell would get the release of the key.
        wishes.extend(keys::let_go(&mut self.screen));
        if self.console.suspend().is_err() {
            wishes.push(Action::Leave);
        }
        self.stale = true;
    }
}
