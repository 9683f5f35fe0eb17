//! Access tokens that the server refuses, and when another one is tried (PROTOCOL.md, section 4).

use std::time::Duration;

use voicemesh_wire::signaling::AccessToken;

/// After the second refusal in a row the next join waits this long from the refusal; after each
/// further one twice as long, …
const WAIT: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Which access token was refused, and for what the program was asked for another.
#[derive(Debug, Default)]
pub(super) struct TokenRenewal {
    asked: Option<Asked>,
    /// The token of the latest join.
    joined_with: Option<AccessToken>,
    /// The latest that the server refused.
    refused: Option<AccessToken>,
    refusals: u32,
    refused_at: Duration,
}

/// For what the program was asked for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing is tried before there is one.
    ToJoin,
    /// The next connection needs it, while one is in use.
    ToRenew,
}

/// What follows when the program has given a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextJoin {
    /// The next join shows it, whenever that is.
    AsPlanned,
    /// A connection is opened at this time.
    Reconnects(Duration),
    /// The next connection is opened at this time, beside the one in use.
    Renews(Duration),
}

impl TokenRenewal {
    /// Whether no connection is opened before the program gives another token.
    pub(super) fn holds_back(&self) -> bool {
        self.asked == Some(Asked::ToJoin)
    }

    /// A join is sent with this token.
    pub(super) fn joins(&mut self, token: Option<AccessToken>) {
        self.joined_with = token;
    }

    /// The server let this peer in.
    pub(super) fn joined(&mut self) {
        *self = Self::default();
    }

    /// The server refused the join because of its token, and no connection is in use.
    pub(super) fn refused(&mut self, now: Duration) {
        self.count(now);
        self.asked = Some(Asked::ToJoin);
    }

    /// The server refused the join beside the connection in use because of its token. True if the
    /// program is to be asked for another one, and was not yet.
    pub(super) fn refused_beside(&mut self, now: Duration) -> bool {
        self.count(now);
        self.asked.replace(Asked::ToRenew) != Some(Asked::ToRenew)
    }

    fn count(&mut self, now: Duration) {
        // The same one again is no further answer of the program.
        if self.refusals == 0 || self.joined_with != self.refused {
            self.refusals = self.refusals.saturating_add(1);
            self.refused_at = now;
        }
        self.refused = self.joined_with.take();
    }

    /// The program gives a token. `None` if it was asked for another one than this.
    pub(super) fn given(&mut self, now: Duration, token: &AccessToken) -> Option<NextJoin> {
        if self.asked.is_some() && self.refused.as_ref() == Some(token) {
            return None;
        }
        let at = match self.refusals {
            0 | 1 => now,
            more => {
                let wait = WAIT.saturating_mul(1 << (more - 2).min(8)).min(LONGEST_WAIT);
                now.max(self.refused_at + wait)
            }
        };
        Some(match self.asked.take() {
            None => NextJoin::AsPlanned,
            Some(Asked::ToJoin) => NextJoin::Reconnects(at),
            Some(Asked::ToRenew) => NextJoin::Renews(at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_token_is_tried_at_once_and_after_further_refusals_ever_later() {
        let second = Duration::from_secs;
        let mut renewal = TokenRenewal::default();
        let token = |number: u32| AccessToken::from(number.to_string().as_str());
        assert_eq!(renewal.given(second(1), &token(0)), Some(NextJoin::AsPlanned));
        let waits: Vec<u64> = (0..9)
            .map(|number| {
                renewal.joins(Some(token(number)));
                renewal.refused(second(100));
                assert!(renewal.holds_back());
                assert_eq!(renewal.given(second(100), &token(number)), None, "it was refused");
                assert!(renewal.holds_back());
                match renewal.given(second(100), &token(number + 1)) {
                    Some(NextJoin::Reconnects(at)) => (at - second(100)).as_secs(),
                    other => panic!("{other:?}"),
                }
            })
            .collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        renewal.joined();
        renewal.joins(Some(token(0)));
        assert!(renewal.refused_beside(second(200)) && !renewal.refused_beside(second(200)));
        assert!(!renewal.holds_back(), "the connection in use goes on");
    }
}
