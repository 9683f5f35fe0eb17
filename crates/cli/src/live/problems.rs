//! What does not work now, one line each for as long as it lasts.

use voicemesh::{DeviceRole, Event, Permissions};

use crate::reach::next_step;
use crate::text::harmless;

/// Follows the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    /// Why the server is not reached.
    server: Option<String>,
    has_joined: bool,
    microphone_lost: bool,
    speaker_lost: bool,
}

/// What the snapshot and the permissions add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub permissions: Permissions,
    pub upload_too_slow: bool,
    pub in_no_group: bool,
}

impl Problems {
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Joined { .. } => (self.server, self.has_joined) = (None, true),
            Event::ServerAway { why, failure, .. } => {
                let step = failure.as_ref().and_then(next_step).map(|step| format!(" {step}")).unwrap_or_default();
                let why = harmless(why.trim_end_matches('.')).into_owned();
                let goes_on = if self.has_joined { " Direct connections continue." } else { "" };
                self.server = Some(format!("The server is not reached: {why}.{step}{goes_on}"));
            }
            Event::DeviceLost { which, .. } => *self.lost(*which) = true,
            Event::DeviceRecovered { which } | Event::DeviceChanged { which } => *self.lost(*which) = false,
            _ => {}
        }
    }

    pub(crate) fn microphone_lost(&self) -> bool {
        self.microphone_lost
    }

    pub(crate) fn speaker_lost(&self) -> bool {
        self.speaker_lost
    }

    /// The most important first.
    pub(crate) fn lines(&self, condition: Condition) -> Vec<String> {
        let Condition { permissions, upload_too_slow, in_no_group } = condition;
        let sound = match (self.microphone_lost, self.speaker_lost) {
            (true, true) => Some("No sound card works: you and the others cannot hear each other. Plug one in."),
            (true, false) => Some("No microphone works: the others cannot hear you. Plug one in, or /input NAME."),
            (false, true) => Some("No speaker works: you cannot hear the others. Plug one in, or /output NAME."),
            (false, false) => None,
        };
        let may = match (permissions.speak, permissions.listen) {
            (true, true) => None,
            (false, true) => Some("You may only listen in this room: the others cannot hear you."),
            (true, false) => Some("You may only speak in this room: you cannot hear the others."),
            (false, false) => Some("You may neither speak nor listen in this room."),
        };
        let upload = upload_too_slow.then_some("Your upload is too slow: the others hear you with gaps.");
        let group = in_no_group.then_some("You are in no talk group: the others cannot hear you. /join Global");
        let fixed = [sound, may, group, upload].into_iter().flatten().map(str::to_owned);
        self.server.iter().cloned().chain(fixed).collect()
    }

    fn lost(&mut self, which: DeviceRole) -> &mut bool {
        match which {
            DeviceRole::Input => &mut self.microphone_lost,
            DeviceRole::Output => &mut self.speaker_lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::tests::joined;

    const FINE: Condition = Condition { permissions: Permissions::ALL, upload_too_slow: false, in_no_group: false };

    #[test]
    fn a_problem_is_shown_while_it_lasts() {
        let mut problems = Problems::default();
        assert!(problems.lines(FINE).is_empty());
        problems.event(&Event::DeviceLost { which: DeviceRole::Input, why: "gone".into() });
        assert!(problems.lines(FINE)[0].starts_with("No microphone works"));
        problems.event(&Event::DeviceLost { which: DeviceRole::Output, why: "gone".into() });
        assert!(problems.lines(FINE)[0].starts_with("No sound card works"));
        for which in [DeviceRole::Input, DeviceRole::Output] {
            problems.event(&Event::DeviceRecovered { which });
        }
        let away = Event::ServerAway { why: "refused\u{1b}.".into(), failure: None, retry_in: Duration::ZERO };
        problems.event(&away);
        assert_eq!(problems.lines(FINE), ["The server is not reached: refused␛."]);
        problems.event(&joined());
        problems.event(&away);
        assert!(problems.lines(FINE)[0].ends_with("Direct connections continue."));
        problems.event(&joined());
        assert!(problems.lines(FINE).is_empty());
    }

    #[test]
    fn what_one_may_not_do_is_said() {
        let of = |permissions, in_no_group| Problems::default().lines(Condition { permissions, in_no_group, ..FINE });
        assert!(of(Permissions::ALL.without_speak(), false)[0].contains("only listen"));
        assert!(of(Permissions::NONE, false)[0].contains("neither speak nor listen"));
        assert!(of(Permissions::ALL, true)[0].contains("no talk group"));
    }
}
