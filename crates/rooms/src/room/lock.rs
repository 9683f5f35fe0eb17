//! A room's password: its hash, or that there is none, and which decision that is of those that
//! were made about the room.

use super::password::{Digest, Salt};
use super::tickets::Tickets;
use crate::ticket::{Epoch, PasswordRecord, SaltedHash, TicketRecord};

/// What was decided about the password of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    /// The password; `None` if the room has none.
    pub(super) digest: Option<Digest>,
    epoch: Epoch,
    /// The password was decided in this run of the server.
    is_new: bool,
    /// Decisions of which tickets are not younger count no longer, unless they are the same
    /// lineage's: when the ticket was issued from which this was restored, or when a member decided
    /// that has the right to moderate since before this run.
    counts_since: Option<u64>,
}

/// What a ticket shows of a room's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// Nothing that counts.
    Nothing,
    /// That its holder knew the room's password.
    Current,
    /// The room's password from now on. Who has not shown it leaves.
    Restores(Lock),
    /// That the room has no password from now on. Who is in stays.
    Opens(Lock),
    /// That the room has no password from now on. Who was behind the former one leaves.
    Ends(Lock),
}

impl Lock {
    /// What the first member of an empty room has decided. `random` tells rooms of one name apart.
    pub(super) fn decided(digest: Option<Digest>, random: u64) -> Self {
        let mut lineage = random.to_be_bytes();
        if let Some(digest) = digest {
            lineage.copy_from_slice(&digest.salt().0[..8]);
        }
        let epoch = Epoch { lineage: u64::from_be_bytes(lineage), number: 1 };
        Self { digest, epoch, is_new: true, counts_since: None }
    }

    /// Whether it is a password of this run of the server.
    pub(super) fn is_new_password(&self) -> bool {
        self.digest.is_some() && self.is_new
    }

    /// Shared by the decisions that were made one after the other.
    pub(super) fn lineage(&self) -> u64 {
        self.epoch.lineage
    }

    /// What is restored from a ticket that this server issued in this run.
    pub(super) fn restored(record: &PasswordRecord) -> Self {
        let digest = record.hash.map(|of| Digest::from_parts(Salt(of.salt), of.hash));
        let PasswordRecord { epoch, counts_since, .. } = *record;
        Self { digest, epoch, is_new: true, counts_since }
    }

    /// The next decision. `counts_since` is the time of day if it is that of a member whose right
    /// to moderate is older than this run of the server.
    pub(super) fn changed(&self, digest: Option<Digest>, counts_since: Option<u64>) -> Self {
        Self {
            digest,
            epoch: self.epoch.next(),
            is_new: true,
            counts_since: counts_since.or(self.counts_since),
        }
    }

    /// What the ticket of the member says to whom the room belongs, in place of what another one
    /// decided.
    pub(super) fn superseded(&self, ticket: &TicketRecord, counts_since: Option<u64>) -> Presented {
        let lock = match &ticket.password {
            Some(record) if record.epoch.lineage != self.epoch.lineage => {
                Self { counts_since, ..Self::restored(record) }
            }
            Some(record) => self.changed(Self::restored(record).digest, counts_since),
            None => self.changed(None, counts_since),
        };
        match lock.digest {
            Some(_) => Presented::Restores(lock),
            None => Presented::Ends(lock),
        }
    }

    /// A ticket of an earlier run of the server shows that this was decided by then.
    pub(super) fn held_until(&mut self, ticket: &TicketRecord) {
        let is_shown = match &ticket.password {
            Some(record) => record.epoch.lineage == self.epoch.lineage,
            None => self.digest.is_none(),
        };
        if is_shown {
            self.counts_since = self.counts_since.max(Some(ticket.issued_at));
        }
    }

    /// As tickets say it.
    pub(super) fn record(&self) -> PasswordRecord {
        let hash =
            self.digest.map(|digest| SaltedHash { salt: digest.salt().0, hash: digest.hash() });
        PasswordRecord { hash, epoch: self.epoch, counts_since: self.counts_since }
    }
}

/// What a valid ticket shows in a room with this lock and so many others in it. `names_password`:
/// its holder names a password.
///
/// A ticket restores what was decided about an empty room; in a room that has begun anew since a
/// restart, also while others are inside. Of two tickets for the same room the higher epoch counts,
/// which a removed password raises as well; where the room began anew between them, the ticket that
/// was issued last, because it shows what held at the end.
pub(super) fn presented(
    lock: Option<&Lock>,
    others: usize,
    ticket: &TicketRecord,
    names_password: bool,
    tickets: &Tickets,
) -> Presented {
    let Some(record) = ticket.password else { return Presented::Nothing };
    let is_earlier = tickets.is_of_earlier_run(ticket);
    let restored = if is_earlier {
        let counts_since = Some(ticket.issued_at);
        Lock { is_new: false, counts_since, ..Lock::restored(&record) }
    } else {
        Lock::restored(&record)
    };
    let has_password = lock.is_some_and(|lock| lock.digest.is_some());
    let restores = match (record.hash, has_password) {
        (Some(_), _) => Presented::Restores(restored),
        (None, true) => Presented::Opens(restored),
        // A named password is decided, or refused, as without a ticket.
        (None, false) if names_password => Presented::Nothing,
        (None, false) => Presented::Opens(restored),
    };
    match lock {
        Some(lock) if lock.epoch == record.epoch => match record.hash {
            None if names_password => Presented::Nothing,
            _ => Presented::Current,
        },
        Some(lock) if lock.epoch.lineage == record.epoch.lineage => {
            if record.epoch.number > lock.epoch.number { restores } else { Presented::Nothing }
        }
        _ if others == 0 => restores,
        Some(Lock { counts_since: Some(at), .. }) if *at >= ticket.issued_at => Presented::Nothing,
        // That a room had no password before does not end one that was decided since.
        Some(_) if has_password && record.hash.is_none() => Presented::Nothing,
        Some(_) | None if is_earlier => restores,
        Some(_) | None => Presented::Nothing,
    }
}
