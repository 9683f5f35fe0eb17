//! Which checks run: all of them. The tests of this crate switch one off to show that an attack
//! then succeeds; outside of them there is nothing to switch.

/// A check that an attack of the tests is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The authentication tag of a sealed payload.
    Tag,
    /// A counter is accepted once.
    Replay,
    /// A package must not be older than the keys that are known.
    Epoch,
    /// Keys end some time after later ones came.
    Expiry,
    /// Announcements and fingerprints are authenticated by the room's key.
    RoomKey,
    /// A peer keeps its identity key.
    Identity,
    /// A run that is over does not come back.
    Run,
    /// A fresh sender key when a member is gone.
    Rekey,
    /// The sender key moves on when a member joins.
    Ratchet,
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
