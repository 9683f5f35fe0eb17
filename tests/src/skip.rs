//! What a test does on a machine that lacks something it needs: it says so loudly and passes, but
//! fails where `CI=true`.

use std::path::PathBuf;

/// True when every one of `programs` is found and, if `root` is asked for, we are it.
///
/// Otherwise prints `SKIPPED <test>: <why>` and returns false; the caller returns.
///
/// # Panics
/// With `CI=true` in the environment, instead of returning false.
#[must_use]
pub fn can_run(test: &str, root: bool, programs: &[&str]) -> bool {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| find_program(program).is_none()).collect();
    if !missing.is_empty() {
        return refuse(test, &format!("not installed: {}", missing.join(", ")));
    }
    if root && !is_root() {
        return refuse(test, "needs root");
    }
    true
}

/// Says that `test` is skipped and why; always false.
///
/// # Panics
/// With `CI=true` in the environment.
pub fn refuse(test: &str, why: &str) -> bool {
    let continuous_integration = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!continuous_integration, "{test} must run where CI=true, but: {why}");
    eprintln!("SKIPPED {test}: {why}");
    false
}

/// The first executable of that name on `PATH` or in the system directories that are often missing
/// from it.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(unix)]
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}
