//! A room's password: its hash, and which one it is of those that the room had.

use super::password::{Digest, Salt};
use super::tickets::Tickets;
use crate::ticket::{Epoch, PasswordRecord, TicketRecord};

/// The password of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) digest: Digest,
    epoch: Epoch,
    /// When the ticket was issued, by an earlier run of the server, from which this password was
    /// restored.
    restored_from: Option<u64>,
}

/// What a ticket shows of a room's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// Nothing that counts.
    Nothing,
    /// That its holder knew the room's password.
    Current,
    /// The room's password from now on.
    Restores(Lock),
    /// That the room has no password from now on.
    Ends,
}

impl Lock {
    /// A password that has just been decided.
    pub(super) fn decided(digest: Digest) -> Self {
        let mut lineage = [0; 8];
        lineage.copy_from_slice(&digest.salt().0[..8]);
        let epoch = Epoch { lineage: u64::from_be_bytes(lineage), number: 1 };
        Self { digest, epoch, restored_from: None }
    }

    /// Whether it was decided in this run of the server.
    pub(super) fn is_new(&self) -> bool {
        self.restored_from.is_none()
    }

    /// Shared by the passwords that were set one after the other.
    pub(super) fn lineage(&self) -> u64 {
        self.epoch.lineage
    }

    /// What is restored from a ticket that this server issued in this run.
    pub(super) fn restored(record: &PasswordRecord) -> Self {
        let digest = Digest::from_parts(Salt(record.salt), record.hash);
        Self { digest, epoch: record.epoch, restored_from: None }
    }

    /// Another password after this one.
    pub(super) fn changed(&self, digest: Digest) -> Self {
        Self { digest, epoch: self.epoch.next(), ..*self }
    }

    /// As tickets say it.
    pub(super) fn record(&self) -> PasswordRecord {
        PasswordRecord { salt: self.digest.salt().0, hash: self.digest.hash(), epoch: self.epoch }
    }
}

/// What a valid ticket shows in a room with this lock and so many others in it.
///
/// A ticket restores the password of an empty room; in a room that has begun anew since a restart,
/// also while others are inside. Of two tickets for the same room the higher epoch counts; where
/// the password began anew between them, the ticket that was issued last, because it shows what the
/// room's password was at the end.
pub(super) fn presented(
    lock: Option<&Lock>,
    others: usize,
    ticket: &TicketRecord,
    tickets: &Tickets,
) -> Presented {
    let Some(record) = ticket.password else { return Presented::Nothing };
    let is_earlier = tickets.is_of_earlier_run(ticket);
    let restores = || {
        let digest = Digest::from_parts(Salt(record.salt), record.hash);
        Presented::Restores(Lock {
            digest,
            epoch: record.epoch,
            restored_from: is_earlier.then_some(ticket.issued_at),
        })
    };
    match lock {
        Some(lock) if lock.epoch == record.epoch => Presented::Current,
        Some(lock) if lock.epoch.lineage == record.epoch.lineage => {
            if record.epoch.number > lock.epoch.number { restores() } else { Presented::Nothing }
        }
        _ if others == 0 => restores(),
        Some(Lock { restored_from: Some(at), .. }) if *at >= ticket.issued_at => Presented::Nothing,
        Some(_) | None => {
            if is_earlier {
                restores()
            } else {
                Presented::Nothing
            }
        }
    }
}
