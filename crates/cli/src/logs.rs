//! Logs, on standard error, as much as `VOICEMESH_LOG` asks for (`debug`, or
//! `voicemesh=trace,warn`). While a view has the terminal to which standard error goes, they are
//! held for it to show.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::held_logs::hold;
use crate::live::taken;
use crate::stderr;

const VARIABLE: &str = "VOICEMESH_LOG";

/// Begins to log; `default` holds where the variable says nothing.
pub(crate) fn init(default: &str) {
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    let filter = match asked.trim() {
        "" => EnvFilter::new(default),
        asked => EnvFilter::try_new(asked).unwrap_or_else(|_| {
            let _ = writeln!(
                io::stderr(),
                "voicemesh: {VARIABLE} is not understood, so the log is at {default}; write debug, or voicemesh=trace,warn"
            );
            EnvFilter::new(default)
        }),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Sink).log_internal_errors(false);
    let log = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(|about| may_log(about.target())));
    // Only a program that logs already could refuse.
    let _ = log.with(lines).try_init();
}

/// Where a line goes, decided anew for each.
struct Sink;

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !taken::is_taken() || !stderr::is_terminal() {
            return stderr::write(line).map(|()| line.len());
        }
        hold(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The WebRTC stack names addresses even in its warnings; nothing of it is kept, whatever is asked
/// for.
fn may_log(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    root != "webrtc" && root != "rtc" && !root.starts_with("rtc_") && !root.starts_with("webrtc_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_that_names_addresses_is_left_out() {
        for target in [
            "webrtc",
            "webrtc::peer_connection",
            "rtc",
            "rtc::ice",
            "rtc_ice::agent",
            "webrtc_util",
        ] {
            assert!(!may_log(target), "{target}");
        }
        for target in ["voicemesh", "voicemesh_link::task", "voicemesh_signaling::shell", "rtcp"] {
            assert!(may_log(target), "{target}");
        }
    }
}
