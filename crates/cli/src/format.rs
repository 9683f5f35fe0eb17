//! Times and names as people read them.

use std::time::Duration;

/// The group in which everyone begins.
pub(crate) const EVERYONE: &str = "Global";

/// Hours and minutes in the system's time zone.
pub(crate) fn time_of_day() -> String {
    jiff::Zoned::now().strftime("%H:%M").to_string()
}

/// Whether the locale lets a terminal show more than ASCII.
pub(crate) fn is_unicode() -> bool {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"].map(std::env::var_os);
    let locale = variables.into_iter().flatten().find(|value| !value.is_empty());
    cfg!(windows) || locale.is_some_and(|locale| names_utf8(&locale.to_string_lossy()))
}

fn names_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// A length of time as people read it.
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

/// A length of time for people.
pub fn short(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.95 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds if seconds < 119.5 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

/// How long a ban lasts, in whole minutes, or in hours.
pub fn in_minutes(time: Duration) -> String {
    match time.as_secs().div_ceil(60) {
        0 | 1 => "a minute".to_owned(),
        minutes if minutes >= 120 => format!("{} hours", minutes.div_ceil(60)),
        minutes => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_minutes_and_seconds() {
        assert_eq!([0, 754, 3_725].map(clock_of), [" 0:00", "12:34", "1:02:05"]);
    }

    #[test]
    fn a_ban_is_said_in_minutes_or_hours() {
        let said = [1, 60, 61, 3_600, 7_199, 7_201, 86_400]
            .map(|seconds| in_minutes(Duration::from_secs(seconds)));
        assert_eq!(
            said,
            ["a minute", "a minute", "2 minutes", "60 minutes", "2 hours", "3 hours", "24 hours"]
        );
    }

    #[test]
    fn a_locale_names_its_encoding() {
        assert!(names_utf8("de_DE.UTF-8") && names_utf8("C.utf8"));
        assert!(!names_utf8("C") && !names_utf8("de_DE@euro") && !names_utf8("POSIX"));
    }
}
