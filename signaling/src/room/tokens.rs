//! What access tokens and tickets let members in with.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, Join, LeaveReason, ServerMessage};

use super::Room;
use crate::outbox::{CloseReason, ConnectionId, Outbox, Purpose, Text};
use crate::refusal::Refusal;
use crate::token::{Grant, TokenError};

/// A member whose token has expired may come back with its ticket for this long, in seconds.
const GRACE: u64 = 600;

impl Room {
    /// What lets a join in; `None` where the server asks for no tokens.
    pub(super) fn grant_of(&self, join: &Join) -> Result<Option<Grant>, Refusal> {
        let Some(rules) = &self.rules.tokens else { return Ok(None) };
        let unix = self.tickets.unix_time();
        let by_ticket = || {
            let grant = self.tickets.open(join)?.grant?;
            (unix <= grant.expires_at.saturating_add(GRACE)).then_some(grant)
        };
        let Some(token) = join.token.as_ref().filter(|token| !token.is_empty()) else {
            return by_ticket().map(Some).ok_or_else(|| Refusal::of(ErrorCode::TokenRequired));
        };
        match rules.check(token, &join.room, unix) {
            Ok(grant) => Ok(Some(grant)),
            Err(TokenError::Expired) => by_ticket().map(Some).ok_or_else(|| TokenError::Expired.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The member of a connection that has taken over brought a newer token.
    pub(super) fn renew_grant(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        grant: Option<Grant>,
        out: &mut impl Outbox,
    ) {
        let Some(grant) = grant else { return };
        let permissions = grant.permissions;
        if self.grants.get(&connection).map(|former| former.permissions) != Some(permissions) {
            self.grants.insert(connection, grant);
            self.renew_permissions(peer, out);
            return;
        }
        self.grants.insert(connection, grant);
    }

    /// A token's subject is one peer at a time: the later one replaces the earlier.
    pub(super) fn put_out_subject(
        &mut self,
        now: Duration,
        than: PeerId,
        grant: Option<&Grant>,
        out: &mut impl Outbox,
    ) {
        let Some(subject) = grant.and_then(|grant| grant.subject.as_ref()) else { return };
        let is_it = |connection: &ConnectionId| self.members.get(connection).is_some_and(|member| member.peer != than);
        let same = self.grants.iter().filter(|(_, other)| other.subject.as_ref() == Some(subject));
        let others: Vec<ConnectionId> = same.map(|(connection, _)| *connection).filter(is_it).collect();
        for connection in others {
            self.leave(now, connection, LeaveReason::Left, out);
            out.text(connection, &Text::from(&ServerMessage::Replaced), Purpose::Answer);
            out.close(connection, CloseReason::Replaced);
        }
    }
}
