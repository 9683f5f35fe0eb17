//! Environment variables as people write them.

use clap::Command;

/// Takes the variables that are set to nothing out of `command`: `NAME=` counts as not set, for
/// every option and in every subcommand. Call it before parsing.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let name = argument.get_env().map(std::ffi::OsStr::to_owned);
            let is_empty = name
                .and_then(std::env::var_os)
                .is_some_and(|value| value.to_string_lossy().trim().is_empty());
            if is_empty { argument.env(None::<&'static str>) } else { argument }
        })
        .mut_subcommands(without_empty_variables)
}

/// Reads a switch: 1/0, true/false, yes/no, on/off, in any case.
///
/// # Errors
///
/// A sentence that lists what is accepted.
pub fn on_off(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write 1 or 0, true or false, yes or no, on or off".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::Config;

    fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
        let command = without_empty_variables(Config::augment_args(Command::new("test")));
        let matches = command.try_get_matches_from(std::iter::once(&"test").chain(arguments))?;
        Config::from_arg_matches(&matches)
    }

    #[test]
    fn a_value_that_is_none_is_answered_with_what_is_expected() {
        for (option, value, expected) in [
            ("--port", "http", "a port from 0 to 65535"),
            ("--port", "99999", "a port from 0 to 65535"),
            ("--listen", "localhost", "an address with its port"),
            ("--admin-listen", "8081", "an address with its port"),
            ("--max-rooms", "-1", "a whole number"),
            ("--max-connections", "many", "a whole number"),
            ("--max-peers-per-room", "2.5", "a whole number"),
            ("--ping-interval", "-1", "between 0.1 and 3600 seconds"),
            ("--ping-interval", "soon", "not a number of seconds"),
            ("--trusted-proxy", "10.0.0.0/33", "at most 32 or 128 bits"),
        ] {
            let error = parse(&[&format!("{option}={value}")]).expect_err(value).to_string();
            assert!(error.contains(expected) && error.contains(option), "{error}");
            assert!(
                !error.contains("invalid digit") && !error.contains("invalid socket"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_switch_takes_what_people_write() {
        for (text, on) in
            [("1", true), ("TRUE", true), ("yes", true), ("on", true), ("0", false), ("No", false)]
        {
            let config = parse(&[&format!("--relay-only={text}")]).expect("a switch");
            assert_eq!(config.relay_only, on, "{text}");
        }
        assert!(parse(&["--relay-only"]).expect("a switch without a value").relay_only);
        assert!(!parse(&[]).expect("nothing is needed").relay_only);
        assert!(parse(&["--relay-only=perhaps"]).is_err());
        let both = parse(&["--no-web", "--port", "1234"])
            .expect("the next option is no value of the switch");
        assert!(both.no_web && both.port == 1234);
    }
}
