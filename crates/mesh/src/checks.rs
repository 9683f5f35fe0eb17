//! Which checks run: all of them. The tests of this crate switch one off to show that what the
//! server says of a member then does harm; outside of them there is nothing to switch.
//!
//! `e2ee` has the same for its own checks: `cfg(test)` holds only in the crate under test, so that a
//! switch that both share would be compiled into what ships, or be a public macro of `e2ee`.

/// A check that an attack of the tests is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing is sealed for, and nothing sent to, a member whose announcement was not accepted.
    Accepted,
    /// What a member says unsealed is taken only if it has not encrypted before.
    EncryptedBefore,
}

#[cfg(not(test))]
pub(crate) const fn runs(_: Check) -> bool {
    true
}

#[cfg(test)]
std::thread_local! {
    static OFF: std::cell::Cell<Option<Check>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(crate) fn runs(check: Check) -> bool {
    OFF.get() != Some(check)
}

/// Runs `attack` in this thread without one check.
#[cfg(test)]
pub(crate) fn without<T>(check: Option<Check>, attack: impl FnOnce() -> T) -> T {
    OFF.set(check);
    let result = attack();
    OFF.set(None);
    result
}
