//! What can be wrong, by call.

/// The key in a link is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key in the link is damaged: copy the whole link again")]
pub struct RoomKeyError;

/// A member's announcement was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnouncementError {
    /// Not an announcement.
    #[error("not an announcement")]
    Malformed,
    /// A later version of the format.
    #[error("an announcement of version {0}, which is not known here")]
    UnknownVersion(u8),
    /// It carries this member's own id.
    #[error("an announcement with the own peer id")]
    OwnId,
    /// The identity key is no point of the curve.
    #[error("the identity key is not a key")]
    InvalidKey,
    /// The room's key did not make its tag, or it has none: the member that made it does not have
    /// the link.
    #[error("the announcement is not authenticated by the room's key")]
    NotAuthentic,
    /// The member has the key of a link, and this one joined without.
    #[error("the member joined with a room key, and this one without")]
    RoomKeyMissing,
    /// The peer had another identity key before.
    #[error("the peer has another identity key than before")]
    IdentityChanged,
    /// A run that is over: an old announcement that is sent again.
    #[error("the announcement is of a run that is over")]
    OldRun,
    /// As many members as a room can have are known.
    #[error("the room is full")]
    RoomFull,
    /// The peer's program was started again more often than it may be
    /// ([`RESTARTS_AT_ONCE`](crate::RESTARTS_AT_ONCE)). Try again after
    /// [`RESTART_INTERVAL`](crate::RESTART_INTERVAL).
    #[error("the member was started again a moment ago")]
    TooSoon,
    /// The peer's program was started again more often than can be told apart, or more members came
    /// and went than that; a new ring takes them.
    #[error("the member came back too often, or too many members came and went: join again")]
    TooManyRuns,
}

/// A DTLS fingerprint was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// The room has no key to authenticate it with.
    #[error("the room has no key")]
    NoRoomKey,
    /// Another fingerprint, peer, attempt, session or key.
    #[error("the fingerprint is not authenticated by the room's key")]
    NotAuthentic,
}

/// Nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No announcement of this peer was accepted, or its pair secret is not computed yet.
    #[error("no secret is shared with this peer")]
    UnknownMember,
    /// The room has no key.
    #[error("the room has no key")]
    NoRoomKey,
    /// Every counter of a key was used: new keys are needed.
    #[error("the key is used up")]
    KeyExhausted,
}

/// A sealed payload was not opened. It has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a sealed payload.
    #[error("not a sealed payload")]
    Malformed,
    /// No announcement of this peer was accepted.
    #[error("the sender is not a known member")]
    UnknownMember,
    /// Its key has not come, or is no longer accepted.
    #[error("no key for this payload")]
    UnknownKey,
    /// This counter was accepted before.
    #[error("the payload came before")]
    Replayed,
    /// Too far behind the newest counter to know whether it came before.
    #[error("the payload is too old")]
    TooOld,
    /// Another key, sender, label or authenticated data, or the bytes were changed.
    #[error("the payload is not authentic")]
    NotAuthentic,
    /// The room has no key.
    #[error("the room has no key")]
    NoRoomKey,
}

/// A package with sender keys was refused. It has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is inside is no package.
    #[error("not a package of keys")]
    Malformed,
    /// Older than the keys that are known.
    #[error("the keys are older than those that are known")]
    OldEpoch,
    /// Other keys for an epoch that is known.
    #[error("other keys for an epoch that is known")]
    Conflicting,
}
