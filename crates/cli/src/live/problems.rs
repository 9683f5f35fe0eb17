//! What does not work now, one line each for as long as it lasts.

use std::time::Duration;

use voicemesh::{DeviceEvent, DeviceRole, Event, Permissions, RoomEvent};

use crate::human::Heard;
use crate::reach::next_step;
use crate::served_by::ServedBy;
use crate::text::harmless;
use crate::who::group_names;

/// Follows the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    served_by: ServedBy,
    /// Why the server, or the host, is not reached.
    server: Option<String>,
    has_joined: bool,
    /// The talk groups in which a moderator holds the user.
    held_in: Vec<String>,
    microphone_lost: bool,
    speaker_lost: bool,
    /// That the user is a new person.
    identity: Option<String>,
    /// Whether it is shown, and since when.
    identity_shown: Option<Option<Duration>>,
}

/// What became of the identity is shown this long, unless the user takes it away before.
const IDENTITY_SHOWN: Duration = Duration::from_secs(60);

/// What the snapshot and the permissions add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub permissions: Permissions,
    pub upload_too_slow: bool,
    pub in_no_group: bool,
    pub heard: Heard,
}

impl Problems {
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Room(RoomEvent::Joined { .. }) => (self.server, self.has_joined) = (None, true),
            Event::Room(RoomEvent::ServerAway { why, failure, .. }) => {
                let step = failure
                    .as_ref()
                    .and_then(next_step)
                    .map(|step| format!(" {step}"))
                    .unwrap_or_default();
                let why = harmless(why.trim_end_matches('.')).into_owned();
                let what = self.served_by.word();
                self.server = Some(format!("The {what} is not reached: {why}.{step}"));
            }
            Event::Device(DeviceEvent::Lost { which, .. }) => *self.lost(*which) = true,
            Event::Device(DeviceEvent::Recovered { which } | DeviceEvent::Changed { which }) => {
                *self.lost(*which) = false
            }
            Event::Room(RoomEvent::Warned { code, message, .. })
                if is_about_identity(code.as_str()) =>
            {
                self.identity = Some(harmless(message).into_owned());
                self.identity_shown = Some(None);
            }
            _ => {}
        }
    }

    pub(crate) fn set_served_by(&mut self, served_by: ServedBy) {
        self.served_by = served_by;
    }

    /// What was shown long enough, and is no longer.
    pub(crate) fn pass(&mut self, now: Duration) -> Option<&str> {
        let since = self.identity_shown.as_mut()?.get_or_insert(now);
        if now.saturating_sub(*since) < IDENTITY_SHOWN {
            return None;
        }
        self.dismiss()
    }

    /// What is shown only until the user has seen it, and is no longer.
    pub(crate) fn dismiss(&mut self) -> Option<&str> {
        self.identity_shown.take()?;
        self.warning()
    }

    /// What the user should know after the call as well.
    pub(crate) fn warning(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// The talk groups in which a moderator holds the user; none if held nowhere.
    pub(crate) fn held_in(&mut self, groups: &[String]) {
        self.held_in = groups.to_vec();
    }

    pub(crate) fn microphone_lost(&self) -> bool {
        self.microphone_lost
    }

    pub(crate) fn speaker_lost(&self) -> bool {
        self.speaker_lost
    }

    /// The most important first.
    pub(crate) fn lines(&self, condition: Condition) -> Vec<String> {
        let Condition { permissions, upload_too_slow, in_no_group, heard } = condition;
        let sound = match (self.microphone_lost, self.speaker_lost) {
            (true, true) => {
                Some("No sound card works: you and the others cannot hear each other. Plug one in.")
            }
            (true, false) => Some(
                "No microphone works: the others cannot hear you. Plug one in, or /input NAME.",
            ),
            (false, true) => {
                Some("No speaker works: you cannot hear the others. Plug one in, or /output NAME.")
            }
            (false, false) => None,
        };
        let may = match (permissions.speak, permissions.listen) {
            (true, true) => None,
            (false, true) => Some("You may only listen in this room: the others cannot hear you."),
            (true, false) => Some("You may only speak in this room: you cannot hear the others."),
            (false, false) => Some("You may neither speak nor listen in this room."),
        };
        let upload =
            upload_too_slow.then_some("Your upload is too slow: the others hear you with gaps.");
        let goes_on =
            Some(heard.without_server()).filter(|words| self.has_joined && !words.is_empty());
        let server = self.server.iter().map(|server| {
            [server.as_str()].into_iter().chain(goes_on).collect::<Vec<_>>().join(" ")
        });
        let fixed = |text: Option<&str>| text.map(str::to_owned);
        let group = if in_no_group { Some(self.in_no_group()) } else { self.held() };
        server
            .chain([fixed(sound), fixed(may), group, fixed(upload)].into_iter().flatten())
            .chain(self.identity.clone().filter(|_| self.identity_shown.is_some()))
            .collect()
    }

    fn held(&self) -> Option<String> {
        let held = (!self.held_in.is_empty()).then(|| group_names(&self.held_in))?;
        Some(format!("A moderator holds you in “{held}”: you can be in no other talk group."))
    }

    fn in_no_group(&self) -> String {
        let silent = "You are in no talk group: the others cannot hear you.";
        match self.held_in.as_slice() {
            [] => format!("{silent} /join everyone"),
            held @ [one, ..] => {
                format!(
                    "{silent} A moderator holds you in “{}”: /join {}",
                    group_names(held),
                    harmless(one)
                )
            }
        }
    }

    fn lost(&mut self, which: DeviceRole) -> &mut bool {
        match which {
            DeviceRole::Input => &mut self.microphone_lost,
            DeviceRole::Output => &mut self.speaker_lost,
        }
    }
}

/// Whether it says that the user is a new person in every room.
pub(crate) fn is_about_identity(code: &str) -> bool {
    matches!(code, "identity-replaced" | "identity-not-kept")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::joined;
    use voicemesh::ErrorCode;

    const FINE: Condition = Condition {
        permissions: Permissions::ALL,
        upload_too_slow: false,
        in_no_group: false,
        heard: Heard { others: 1, direct: 1 },
    };

    #[test]
    fn a_problem_is_shown_while_it_lasts() {
        let mut problems = Problems::default();
        assert!(problems.lines(FINE).is_empty());
        problems.event(&Event::Device(DeviceEvent::Lost {
            which: DeviceRole::Input,
            why: "gone".into(),
        }));
        assert!(problems.lines(FINE)[0].starts_with("No microphone works"));
        problems.event(&Event::Device(DeviceEvent::Lost {
            which: DeviceRole::Output,
            why: "gone".into(),
        }));
        assert!(problems.lines(FINE)[0].starts_with("No sound card works"));
        for which in [DeviceRole::Input, DeviceRole::Output] {
            problems.event(&Event::Device(DeviceEvent::Recovered { which }));
        }
        let away = Event::Room(RoomEvent::ServerAway {
            why: "refused\u{1b}.".into(),
            failure: None,
            silent_for: Duration::ZERO,
            retry_in: Duration::ZERO,
        });
        problems.event(&away);
        assert_eq!(problems.lines(FINE), ["The server is not reached: refused␛."]);
        problems.event(&joined());
        problems.event(&away);
        assert!(problems.lines(FINE)[0].ends_with("Direct connections continue."));
        let relayed = Condition { heard: Heard { others: 1, direct: 0 }, ..FINE };
        assert!(problems.lines(relayed)[0].ends_with("you and the others cannot hear each other."));
        problems.event(&joined());
        assert!(problems.lines(FINE).is_empty());
    }

    #[test]
    fn that_the_user_is_a_new_person_is_shown_for_a_minute_or_until_it_was_read() {
        let seconds = Duration::from_secs;
        let mut problems = Problems::default();
        let warned = Event::Room(RoomEvent::Warned {
            code: ErrorCode::Other("identity-replaced".into()),
            message: "You are a new person. It is kept as /a.".into(),
            text: None,
        });
        problems.event(&warned);
        assert_eq!(problems.lines(FINE), ["You are a new person. It is kept as /a."]);
        assert!(problems.pass(seconds(5)).is_none() && problems.pass(seconds(64)).is_none());
        assert_eq!(problems.lines(FINE).len(), 1);
        assert!(problems.pass(seconds(65)).is_some() && problems.lines(FINE).is_empty());
        problems.event(&warned);
        assert!(problems.dismiss().is_some() && problems.lines(FINE).is_empty());
        assert!(problems.dismiss().is_none() && problems.warning().is_some());
    }

    #[test]
    fn what_one_may_not_do_is_said() {
        let of = |permissions, in_no_group| {
            Problems::default().lines(Condition { permissions, in_no_group, ..FINE })
        };
        assert!(of(Permissions::ALL.without_speak(), false)[0].contains("only listen"));
        assert!(of(Permissions::NONE, false)[0].contains("neither speak nor listen"));
        assert!(of(Permissions::ALL, true)[0].ends_with("/join everyone"));
        let mut held = Problems::default();
        held.held_in(&["Red".to_owned()]);
        assert!(
            held.lines(FINE)[0]
                .starts_with("A moderator holds you in “Red”: you can be in no other")
        );
        let muted = Condition { permissions: Permissions::ALL.without_speak(), ..FINE };
        assert_eq!(held.lines(muted).len(), 2, "that it may not speak hides nothing");
        let line = &held.lines(Condition { in_no_group: true, ..FINE })[0];
        assert!(line.ends_with("A moderator holds you in “Red”: /join Red"), "{line}");
    }
}
