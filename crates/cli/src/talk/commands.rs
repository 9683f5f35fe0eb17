//! What is typed and what keys ask for, done.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use voicemesh::{
    DeviceRole, GROUP_NAME_BYTES, MemberEncryption, Moderation, PeerId, PeerState, TEXT_BYTES,
};

use super::new_link::{self, Invitations, Invited};
use super::pending::Request;
use super::{End, Kept, LONGEST_UNOBSERVED, SNAPSHOT_AGE, Talk, beside_earlier, header_server};
use crate::call::NO_MODERATORS;
use crate::command_arguments;
use crate::decisions::Change as Decided;
use crate::encryption::{self, EndToEnd};
use crate::format::{EVERYONE, in_minutes};
use crate::hosted::YOUR_CALL;
use crate::human::{Line, Mood, plain, trouble};
use crate::input::Input;
use crate::live::keys::Action;
use crate::microphone::ActivationChoice;
use crate::served_by::ServedBy;
use crate::slash::{Change, Decision, SlashCommand, ban, parse};
use crate::text::{group_shown, harmless};
use crate::who::{self, group_names};

impl Talk {
    /// Everything that has been typed, by lines or by keys.
    pub(super) fn take_typed(&mut self) -> Option<End> {
        while let Some(input) = self.next_input() {
            let end = match input {
                Input::Ended => Some(End::InputEnded),
                Input::TooLong => {
                    let why = format!(
                        "Not sent: a line can have at most {TEXT_BYTES} bytes. Send it in parts."
                    );
                    self.output.notice(self.started.elapsed(), &trouble(why));
                    None
                }
                Input::Line(line) => self.take_line(&line),
            };
            if end.is_some() {
                return end;
            }
        }
        let now = self.started.elapsed();
        self.output.wishes(now).into_iter().find_map(|wish| self.grant(wish))
    }

    /// The next line, if its turn has come. A pipe is quicker than a join, so its lines wait for
    /// the room; of them, only a first `/quit` is not held back. A person at a terminal is answered
    /// at once.
    fn next_input(&mut self) -> Option<Input> {
        if self.early.is_none() {
            self.early = self.typed.as_ref().and_then(|typed| typed.try_recv().ok());
        }
        let quits = matches!(&self.early, Some(Input::Line(line)) if matches!(parse(line), Ok(SlashCommand::Quit)));
        let is_its_turn = self.types_at_terminal || self.summary.connected_at.is_some() || quits;
        self.early.take_if(|_| is_its_turn)
    }

    pub(super) fn take_line(&mut self, line: &str) -> Option<End> {
        let done = match parse(line) {
            Ok(SlashCommand::Quit) => return Some(End::Quit),
            Ok(typed) => {
                line.clone_into(&mut self.line);
                self.execute(typed)
            }
            Err(why) => Err(why),
        };
        // Whatever was the matter with it, the line stays to be corrected.
        if let Err(why) = done {
            self.output.notice(self.started.elapsed(), &trouble(why));
            self.output.put_back(line);
        }
        None
    }

    /// What a key asks for is seen in the view itself, and needs no answer.
    fn grant(&mut self, wish: Action) -> Option<End> {
        match wish {
            Action::Line(line) => return self.take_line(&line),
            Action::Leave => return Some(End::Interrupted),
            Action::Mute(muted) => self.voice.microphone().set_muted(muted),
            Action::Deafen(deafened) => self.voice.speaker().set_deafened(deafened),
            Action::Talk(held) => self.voice.microphone().set_talking(held),
            Action::MutePeer(peer, muted) => self.voice.member(peer).set_muted(muted),
            Action::Gain(peer, factor) => self.voice.member(peer).set_gain(factor),
            // The view does these itself.
            Action::Redraw | Action::Suspend => return None,
        }
        // The view shows it already: an older snapshot would take it back, and the next key would
        // start from that. A key that repeats holds up the view for a while only.
        let now = self.started.elapsed();
        let later = (now + SNAPSHOT_AGE).min(self.observed_at + LONGEST_UNOBSERVED);
        self.observe_at = self.observe_at.max(later);
        None
    }

    fn execute(&mut self, typed: SlashCommand) -> Result<(), String> {
        match typed {
            SlashCommand::Nothing | SlashCommand::Quit => {}
            SlashCommand::Text(text) => self.send_text(&text)?,
            SlashCommand::Message { name_and_text } => self.send_private_text(&name_and_text)?,
            SlashCommand::Mute(None) => {
                self.voice.microphone().set_muted(true);
                self.answer("Muted: the others do not hear you. /unmute ends that.");
            }
            SlashCommand::Unmute(None) => {
                self.voice.microphone().set_muted(false);
                self.answer(match self.summary.snapshot.permissions.speak {
                    true => "Your microphone is on again.",
                    false => "Your microphone is on again, but you may not speak here: the others do not hear you.",
                });
            }
            SlashCommand::Mute(Some(name)) => self.mute_peer(&name, true)?,
            SlashCommand::Unmute(Some(name)) => self.mute_peer(&name, false)?,
            SlashCommand::Deafen => {
                self.voice.speaker().set_deafened(true);
                self.answer("You do not hear the others any more; they still hear you. /undeafen ends that.");
            }
            SlashCommand::Undeafen => {
                self.voice.speaker().set_deafened(false);
                self.answer("You hear the others again.");
            }
            SlashCommand::Participant => self.who_at = Some(self.started.elapsed() + SNAPSHOT_AGE),
            SlashCommand::Code => {
                let lines = if self.served_by.is_room() {
                    encryption::lines
                } else {
                    encryption::lines_over_host
                };
                for line in lines(&self.summary.snapshot, &self.people) {
                    self.answer(line);
                }
            }
            SlashCommand::AllowUnencrypted { name, is_allowed } => {
                self.allow_unencrypted(&name, is_allowed)?;
            }
            SlashCommand::Gain { name, factor } => {
                let peer = self.people.find(&name)?;
                self.voice.member(peer).set_gain(factor);
                self.answer(format!(
                    "You hear {} at {:.0} %.",
                    self.people.label(peer),
                    factor * 100.0
                ));
            }
            SlashCommand::JoinGroup(group) => self.join_group(group)?,
            SlashCommand::LeaveGroup(group) => {
                let group = command_arguments::as_written(group, self.groups.iter());
                if !self.groups.contains(&group) {
                    return Err(format!("You are not in {}.", group_label(&group)));
                }
                self.voice.group(&group).leave();
                let left = self.groups.iter().filter(|one| **one != group).cloned().collect();
                self.set_groups(left);
                self.answer(format!("You no longer listen or speak to {}.", group_label(&group)));
            }
            SlashCommand::Change(change) => self.change(change),
            SlashCommand::Record(folder) => self.record(folder.as_deref())?,
            SlashCommand::Moderate(decision) => self.moderate(decision)?,
            SlashCommand::NewLink { is_sent } => self.new_link(is_sent)?,
            SlashCommand::Host => self.host()?,
            SlashCommand::Help => self.output.help(self.started.elapsed()),
        }
        Ok(())
    }

    /// Shows the links of the call that this program hosts, or hosts it in place of one who is gone.
    fn host(&mut self) -> Result<(), String> {
        let now = self.started.elapsed();
        let call = self
            .voice
            .hosted_mut()
            .ok_or("This is a room of a server. `voicemesh host` begins a call over a host.")?;
        if let Some(links) = call.links() {
            self.output.links(now, links);
            return Ok(());
        }
        let said = call.take_over()?;
        self.answer(said);
        Ok(())
    }

    /// This program has taken over.
    pub(super) fn has_taken_over(&mut self) {
        self.served_by = ServedBy::ThisProgram;
        self.room = YOUR_CALL.to_owned();
        let server = header_server(self.served_by, "");
        self.output.set_place(&self.room, server);
        self.answer("You are the host from now on.");
    }

    /// Asks the server; its answer arrives later as an event.
    fn moderate(&mut self, decision: Decision) -> Result<(), String> {
        if !self.served_by.is_room() {
            return Err(NO_MODERATORS.to_owned());
        }
        let now = self.started.elapsed();
        self.decisions.expire(now);
        let label = |peer| self.people.label(peer);
        let find = |name: &str| self.people.find(name);
        let has_key = self.arguments.room_key.is_some();
        let mut change = None;
        let (action, done) = match decision {
            Decision::MuteForAll(name, true) => {
                let peer = find(&name)?;
                change = Some(Decided::MutedForAll(peer, true));
                (Moderation::Mute { peer }, format!("{} is muted for all.", label(peer)))
            }
            Decision::MuteForAll(name, false) => {
                let peer = find(&name)?;
                change = Some(Decided::MutedForAll(peer, false));
                (Moderation::Unmute { peer }, format!("{} can be heard again.", label(peer)))
            }
            Decision::Kick(name) => {
                let peer = find(&name)?;
                change = Some(Decided::PutOut(peer));
                (
                    Moderation::Kick { peer },
                    with_link_warning(
                        format!("{} was put out of the room, and may come back.", label(peer)),
                        has_key,
                    ),
                )
            }
            Decision::Unban(None) => {
                self.answer(self.decisions.listed(now));
                return Ok(());
            }
            Decision::Unban(Some(name)) => {
                let peer = self.decisions.find(now, &name)?;
                change = Some(Decided::Lifted(peer));
                (
                    Moderation::Unban { peer },
                    format!("{} may come back.", self.decisions.label(peer)),
                )
            }
            Decision::Ban(name_and_minutes) => {
                let is_name = |name: &str| {
                    find(name).is_ok() || self.decisions.find_left(now, name).is_some()
                };
                let (name, minutes) = ban(&name_and_minutes, is_name)?;
                let lasts = Duration::from_secs(60 * u64::from(minutes));
                let (peer, label, and) = match find(name) {
                    Ok(peer) => (peer, label(peer), "was put out of the room, and"),
                    // Leaving in time is no way round a ban.
                    Err(why) => {
                        let (peer, label) = self.decisions.find_left(now, name).ok_or(why)?;
                        (peer, label, "has left, and")
                    }
                };
                let done = with_link_warning(
                    format!("{label} {and} is kept out for {}.", in_minutes(lasts)),
                    has_key,
                );
                change = Some(Decided::Banned { peer, label, until: now + lasts });
                (Moderation::Ban { peer, seconds: 60 * minutes }, done)
            }
            Decision::Move { name_and_group } => {
                let (peer, group) = self.people.addressee(&name_and_group, "/move NAME GROUP")?;
                let group = self.known_as(command_arguments::group(group)?);
                must_fit("A group's name", &group, GROUP_NAME_BYTES)?;
                let others = self.summary.snapshot.peers.iter().filter(|other| other.peer != peer);
                let is_alone = !self.groups.contains(&group)
                    && !others.flat_map(|other| &*other.groups).any(|one| *one == group);
                let done = moved(&label(peer), &group, is_alone);
                (Moderation::Move { peer, groups: vec![group] }, done)
            }
            Decision::Lock(true) => {
                change = Some(Decided::Locked(true));
                (Moderation::Lock, "The room is closed to newcomers.".to_owned())
            }
            Decision::Lock(false) => {
                change = Some(Decided::Locked(false));
                (Moderation::Unlock, "Newcomers are let in again.".to_owned())
            }
            Decision::SetPassword(text) => {
                change = Some(Decided::Password(!text.is_empty()));
                // Should there have been none to take away.
                let done = match text.as_str() {
                    "" => "The room has no password.",
                    _ => "Newcomers need the password from now on.",
                };
                let password = Some(text.as_str().into());
                (Moderation::SetPassword { password }, done.to_owned())
            }
            Decision::MakeOwner(name) => {
                let peer = find(&name)?;
                (
                    Moderation::MakeOwner { peer },
                    format!("{} moderates this room now.", label(peer)),
                )
            }
        };
        let transaction = self.voice.moderate(action)?;
        self.pending.asked(now, Request::Decision(transaction), &self.line);
        self.decisions.asked(transaction, Some(done), change);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Noise(choice) => {
                self.processing.noise_suppression = choice.setting();
                self.voice.microphone().set_processing(self.processing);
                self.answer(format!("Noise removal: {}.", word(choice)));
            }
            Change::Activation(choice) => {
                // The key, or /talk, was for the former activation.
                self.set_talking(false);
                self.voice.microphone().set_activation(choice.setting());
                self.activation = choice;
                self.output.set_push_to_talk(choice == ActivationChoice::PushToTalk);
                self.answer(activated(choice));
            }
            Change::Talk(held) => {
                if self.activation == ActivationChoice::PushToTalk {
                    self.set_talking(held);
                }
                let has_keys = self.output.live().is_some();
                self.answer(talking(held, self.activation, has_keys));
            }
            Change::Input(input) => {
                self.answer(format!(
                    "Changing the microphone to {} …",
                    harmless(&input.to_string())
                ));
                self.asked_for_device(DeviceRole::Input);
                self.voice.microphone().set_input(input);
            }
            Change::Output(output) => {
                let (output, is_beside) = beside_earlier(output);
                let beside =
                    if is_beside.is_some() { " The file that is there already stays." } else { "" };
                self.answer(format!(
                    "Changing the speaker to {} …{beside}",
                    harmless(&output.to_string())
                ));
                self.asked_for_device(DeviceRole::Output);
                self.voice.speaker().set_output(output);
            }
        }
    }

    /// What the key to talk does, done by a command.
    fn set_talking(&mut self, held: bool) {
        self.voice.microphone().set_talking(held);
        self.output.set_talking(held);
    }

    /// Of a device that was asked for before, no answer comes any more.
    fn asked_for_device(&mut self, which: DeviceRole) {
        let request = Request::Device(which);
        self.pending.done(&request);
        self.pending.asked(self.started.elapsed(), request, &self.line);
    }

    /// The group as others in the room write it.
    fn known_as(&self, group: String) -> String {
        let others = self.summary.snapshot.peers.iter().flat_map(|peer| &*peer.groups);
        command_arguments::as_written(group, self.held_in.iter().chain(&self.groups).chain(others))
    }

    fn join_group(&mut self, group: String) -> Result<(), String> {
        let group = self.known_as(group);
        must_fit("A group's name", &group, GROUP_NAME_BYTES)?;
        if !self.held_in.is_empty() && !self.held_in.contains(&group) {
            // The server decides, and says so; but a program that joins anew asks for everyone by
            // itself.
            if group != EVERYONE && self.server_answers() {
                self.voice.group(&group).join();
                self.pending.asked(self.started.elapsed(), Request::Group(group), &self.line);
                return Ok(());
            }
            let held = group_names(&self.held_in);
            return Err(format!(
                "A moderator holds you in “{held}”: you cannot join {}.",
                group_label(&group)
            ));
        }
        self.voice.group(&group).join();
        self.pending.asked(self.started.elapsed(), Request::Group(group.clone()), &self.line);
        let joined = self
            .groups
            .iter()
            .filter(|one| **one != group)
            .cloned()
            .chain([group.clone()])
            .collect();
        self.set_groups(joined);
        let later = if self.server_answers() {
            String::new()
        } else {
            format!(" The others learn of it when the {} is back.", self.served_by.word())
        };
        self.answer(format!("You listen and speak to {}.{later}", group_label(&group)));
        Ok(())
    }

    /// What is said of a recording that begins is said once it has.
    fn record(&mut self, folder: Option<&Path>) -> Result<(), String> {
        match (folder, &self.kept) {
            (None, Kept::Nothing) => return Err("Nothing is being recorded.".to_owned()),
            (None, Kept::Soon { .. } | Kept::Recording) => {
                self.voice.stop_recording();
                self.kept = Kept::Nothing;
                let later = if self.server_answers() {
                    ""
                } else {
                    " The others see that when the server is back."
                };
                self.answer(format!("Nothing is recorded any more.{later}"));
            }
            (Some(_), Kept::Soon { .. } | Kept::Recording) => {
                return Err("You are recording already. /record stop ends that.".to_owned());
            }
            (Some(folder), Kept::Nothing) => {
                let folder = command_arguments::absolute(folder);
                self.voice.start_recording(&folder)?;
                let since = self.started.elapsed();
                self.pending.asked(since, Request::Recording, &self.line);
                self.kept = Kept::Soon { folder, since, is_late: false };
            }
        }
        Ok(())
    }

    fn server_answers(&self) -> bool {
        let now = self.voice.snapshot();
        now.connected && now.server_answers
    }

    fn send_text(&mut self, text: &str) -> Result<(), String> {
        self.must_be_in_session()?;
        must_fit("A text", text, TEXT_BYTES)?;
        let groups = written_to(&self.groups)?;
        self.must_be_read_by_one()?;
        self.written.sent(self.started.elapsed(), &self.line, text, false);
        for group in groups {
            self.voice.group(group).send_text(text);
        }
        match groups {
            [group] if group == EVERYONE => {
                if !self.output.shows_what_is_typed() {
                    self.own_text(format!("You: {}", harmless(text)));
                }
            }
            groups => {
                self.own_text(format!("You (to {}): {}", group_names(groups), harmless(text)))
            }
        }
        Ok(())
    }

    fn send_private_text(&mut self, name_and_text: &str) -> Result<(), String> {
        self.must_be_in_session()?;
        let (peer, text) = self.people.addressee(name_and_text, "/msg NAME TEXT")?;
        must_fit("A text", text, TEXT_BYTES)?;
        self.must_read(peer)?;
        self.written.sent(self.started.elapsed(), &self.line, text, true);
        self.voice.member(peer).send_text(text);
        self.own_text(format!("You (to {} alone): {}", self.people.label(peer), harmless(text)));
        Ok(())
    }

    /// A new room and key, on the same server, of which those who have this room's key learn.
    fn new_link(&mut self, is_sent: bool) -> Result<(), String> {
        if !self.served_by.is_room() {
            return Err(
                "A call over a host keeps its link. For another, end it and begin a new one with `voicemesh host`."
                    .to_owned(),
            );
        }
        if self.arguments.room_key.is_none() {
            return Err(
                "This room has no key to replace: only links of `voicemesh link` have one."
                    .to_owned(),
            );
        }
        if self.output.is_for_programs() {
            return Err("A link's key is not printed as JSON: `voicemesh link` makes a link, and /msg sends it."
                .to_owned());
        }
        self.must_be_in_session()?;
        let invited = Invited::of(&self.summary.snapshot, &self.people);
        // Nothing is sent that was not asked about.
        let Some(asked) = self.asked_new_link.take().filter(|_| is_sent) else {
            self.asked_new_link = Some(invited.staying.iter().map(|(peer, _)| *peer).collect());
            self.answer(invited.question());
            return Ok(());
        };
        let invited = invited.among(&asked);
        let link = new_link::make(self.arguments.server())?;
        let now = self.started.elapsed();
        for (_, label) in &invited.staying {
            must_fit("The text with the link", &new_link::text(label, &link), TEXT_BYTES)?;
        }
        for (peer, label) in &invited.staying {
            let text = new_link::text(label, &link);
            // What the server refuses is written again to that one alone.
            self.written.sent(now, &format!("/msg {label} {text}"), &text, true);
            self.voice.member(*peer).send_text(&text);
        }
        self.invitations = Invitations::new(&invited, &link);
        self.answer(invited.answer(&link));
        Ok(())
    }

    /// A text that no one present can read is not sent. Where someone has just come, the session
    /// knows; and over a host others are shown once they have told their names, a moment after the
    /// session knows of them.
    fn must_be_read_by_one(&self) -> Result<(), String> {
        if self.people.others() == 0 && self.served_by.is_room() {
            return Err("Not sent: no one else is here.".to_owned());
        }
        let peers = &self.summary.snapshot.peers;
        let reads = |state: &PeerState| state.encryption.is_none_or(MemberEncryption::reads);
        if peers.len() < self.people.others() || peers.iter().any(reads) {
            return Ok(());
        }
        match peers.as_slice() {
            [] => Ok(()),
            [one] => self.must_read(one.peer),
            _ => Err("Not sent: no one here can read it. /code says why.".to_owned()),
        }
    }

    /// What is sealed for others only does not reach a member without the key.
    fn must_read(&self, peer: PeerId) -> Result<(), String> {
        let state = self.summary.snapshot.peers.iter().find(|state| state.peer == peer);
        match state.and_then(|state| state.encryption).filter(|encryption| !encryption.reads()) {
            None => Ok(()),
            Some(encryption) => Err(encryption::unread(encryption, &self.people.label(peer))),
        }
    }

    /// Texts go through the server.
    fn must_be_in_session(&self) -> Result<(), String> {
        if self.summary.in_session && !self.summary.snapshot.permissions.data {
            return Err("Not sent: you may not write in this room.".to_owned());
        }
        if self.summary.in_session {
            return Ok(());
        }
        let word = self.served_by.word();
        Err(format!("Not sent: the {word} is out of reach. Send it again when you are back."))
    }

    fn allow_unencrypted(&mut self, name: &str, is_allowed: bool) -> Result<(), String> {
        let peer = self.people.find(name)?;
        let who = self.people.label(peer);
        let snapshot = self.voice.snapshot();
        let found = snapshot.peers.iter().find(|state| state.peer == peer);
        let encryption = found.and_then(|state| state.encryption);
        match encryption {
            Some(MemberEncryption::Unable | MemberEncryption::Unencrypted)
                if self.arguments.end_to_end() == EndToEnd::WithoutKey =>
            {
                self.voice.allow_unencrypted(peer, is_allowed)?;
                self.answer(match is_allowed {
                    true => encryption::allowed(&who),
                    false => format!("{who} does not hear you any more."),
                });
                Ok(())
            }
            _ => Err(encryption::not_to_be_allowed(encryption, self.arguments.end_to_end(), &who)),
        }
    }

    fn mute_peer(&mut self, name: &str, muted: bool) -> Result<(), String> {
        let peer: PeerId = self.people.find(name)?;
        self.voice.member(peer).set_muted(muted);
        let label = self.people.label(peer);
        self.answer(if muted {
            format!("You hear {label} no more.")
        } else {
            format!("You hear {label} again.")
        });
        Ok(())
    }

    pub(super) fn show_who(&mut self) {
        let snapshot = self.voice.snapshot();
        self.summary.observe(snapshot.clone());
        let (people, name, room) = (&self.people, &self.name, (self.room.as_str(), self.served_by));
        let locked = self.summary.locked;
        let table = || who::lines(&snapshot, people, name, room, locked);
        self.output.who(self.started.elapsed(), &self.summary, table);
    }

    pub(super) fn set_groups(&mut self, groups: Vec<String>) {
        self.output.set_groups(&groups);
        self.groups = groups;
    }

    fn own_text(&mut self, text: String) {
        self.output.notice(self.started.elapsed(), &Line { mood: Mood::Text, text });
    }

    fn answer(&mut self, text: impl Into<String>) {
        self.output.notice(self.started.elapsed(), &plain(text));
    }
}

/// A talk group in a sentence.
fn group_label(group: &str) -> String {
    if group == EVERYONE {
        "everyone".to_owned()
    } else {
        format!("the group “{}”", group_shown(group))
    }
}

/// What was decided, and what of it may surprise.
fn moved(label: &str, group: &str, is_alone: bool) -> String {
    if group == EVERYONE {
        return format!("{label} was moved to everyone, and may choose talk groups again.");
    }
    let one = if command_arguments::is_like_a_list(group) { ", which is one group" } else { "" };
    let alone = if is_alone { " No one else is in it." } else { "" };
    format!("{label} was moved to “{}”{one}.{alone}", group_shown(group))
}

/// Which of the groups that one speaks to a text goes to: to everyone, if one speaks to everyone;
/// who is in several groups would get it several times.
fn written_to(groups: &[String]) -> Result<&[String], String> {
    match groups.iter().position(|group| group == EVERYONE) {
        Some(at) => Ok(&groups[at..=at]),
        None if groups.is_empty() => {
            Err("Not sent: you are in no talk group. /join NAME enters one; /msg NAME TEXT writes to one person."
                .to_owned())
        }
        None => Ok(groups),
    }
}

fn must_fit(what: &str, text: &str, most: usize) -> Result<(), String> {
    let bytes = text.len();
    if bytes <= most {
        Ok(())
    } else {
        Err(format!("{what} can have at most {most} bytes, not {bytes}. Shorten it."))
    }
}

/// As it is typed.
fn word(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
}

/// Of a member who was put out: in a room whose link has a key, that the link stays known.
fn with_link_warning(done: String, has_key: bool) -> String {
    if has_key {
        format!(
            "{done} They still have the link with the room's key: /new-link makes a new room with a new key, for those who stay."
        )
    } else {
        done
    }
}

fn talking(held: bool, activation: ActivationChoice, has_keys: bool) -> &'static str {
    match (activation, held) {
        (ActivationChoice::PushToTalk, true) if has_keys => {
            "Your microphone is open until /talk off. Releasing F4 closes it as well."
        }
        (ActivationChoice::PushToTalk, true) => "Your microphone is open until /talk off.",
        (ActivationChoice::PushToTalk, false) => "Your microphone is closed.",
        (ActivationChoice::Voice | ActivationChoice::Always, _) => {
            "No change: /talk counts only with push-to-talk. /activation push-to-talk turns that on."
        }
    }
}

fn activated(choice: ActivationChoice) -> &'static str {
    match choice {
        ActivationChoice::Voice => "You are heard when you speak.",
        ActivationChoice::Always => "You are heard all the time.",
        ActivationChoice::PushToTalk => {
            "You are heard while you hold F4 in the live view, or after /talk on."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_key_to_talk_does_follows_when_one_is_heard() {
        use ActivationChoice::{Always, PushToTalk, Voice};
        assert_eq!(talking(true, PushToTalk, false), "Your microphone is open until /talk off.");
        assert!(talking(true, PushToTalk, true).ends_with("Releasing F4 closes it as well."));
        assert_eq!(talking(false, PushToTalk, true), "Your microphone is closed.");
        for choice in [Voice, Always] {
            assert!(talking(true, choice, true).starts_with("No change: "));
            assert!(!activated(choice).contains("F4"));
        }
        assert!(activated(PushToTalk).contains("while you hold F4"));
    }

    #[test]
    fn of_who_was_put_out_of_a_room_with_a_key_it_is_said_that_the_link_stays_known() {
        let done = || "Bob was put out of the room, and may come back.".to_owned();
        assert_eq!(with_link_warning(done(), false), done());
        assert!(with_link_warning(done(), true).contains("/new-link makes a new room"));
    }
}
