//! The limit of open files: raised as far as the system allows, and the number of connections held
//! against it.

use crate::config::Config;

/// Files that the server has open besides its connections.
const OWN: usize = 24;

/// Raises the limit, and lowers `--max-connections` to what fits; says both.
pub(super) fn fit(config: Config) -> Config {
    match raised() {
        Some(limit) => fit_into(config, limit),
        None => config,
    }
}

fn fit_into(config: Config, limit: usize) -> Config {
    let rest = limit.saturating_sub(OWN).max(2);
    let spare_connections = config.spare_connections.min(rest / 8).max(1);
    // Those that are turned away need as many again.
    let fits = rest.saturating_sub(2 * spare_connections).max(1);
    if fits >= config.max_connections {
        return Config { spare_connections, ..config };
    }
    tracing::warn!(
        "{limit} open files are allowed, too few for --max-connections {}: {fits} connections are taken; raise the limit \
         (systemd: LimitNOFILE, Docker: --ulimit nofile)",
        config.max_connections
    );
    Config { max_connections: fits, spare_connections, ..config }
}

/// The limit after it was raised; `None` where there is none to raise.
#[cfg(unix)]
fn raised() -> Option<usize> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let limit = if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        tracing::info!("the limit of open files was raised from {soft} to {hard}");
        hard
    } else {
        soft
    };
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn raised() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_limit_with_those_that_are_turned_away() {
        for limit in [40, 64, 256, 1_024, 4_096, 65_536] {
            let config = fit_into(Config::default(), limit);
            let needed = config.max_connections + 2 * config.spare_connections + OWN;
            assert!(needed <= limit, "{needed} of {limit}");
            assert!(
                config.max_connections * 3 > limit - OWN || config.max_connections == 4_096,
                "{limit}"
            );
        }
        assert_eq!(fit_into(Config::default(), 65_536).max_connections, 4_096);
        assert_eq!(fit_into(Config::default(), 0).max_connections, 1);
    }
}
