//! One link in use, which loses: its own loss, or the uplink's?
//!
//! It is taken for its own at first. Its listener's speech then goes through the relay, with that
//! of the others, and another link, which comes into use, shows whether it loses as well.

use std::time::Duration;

use crate::listener_path::OWN_LOSS;

/// Of two links that were the only one in use within this time, both lost: that is the uplink's
/// loss.
const SUSPECTED_FOR: Duration = Duration::from_secs(20);

/// With an uplink this many times as wide, the loss is to be judged anew: it may have been the
/// uplink's.
const WIDER: u32 = 4;

/// The listener whose loss was last ascribed to its own path, when, and the estimate of the uplink
/// then, in bits per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect<P>(Option<(P, Duration, u32)>);

impl<P> Default for Suspect<P> {
    fn default() -> Self {
        Self(None)
    }
}

/// Whose loss it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict<P> {
    /// The loss of the uplink.
    pub uplink: Option<f32>,
    /// Whose own path loses.
    pub own: Option<P>,
    /// The listener whose loss was wrongly ascribed to its own path.
    pub cleared: Option<P>,
}

impl<P: Copy + Eq> Suspect<P> {
    /// From the losses of the links in use, least first. `linked`: how many listeners have links.
    pub(crate) fn judge(
        &mut self,
        now: Duration,
        losses: &[(f32, P)],
        linked: usize,
        estimate_bps: u32,
    ) -> Verdict<P> {
        let wider =
            self.0.take_if(|(_, _, then_bps)| estimate_bps >= then_bps.saturating_mul(WIDER));
        let cleared = wider.map(|(suspected, ..)| suspected);
        let Some((loss, who)) = losses.get(losses.len().saturating_sub(1) / 2).copied() else {
            return Verdict { uplink: None, own: None, cleared };
        };
        let of_uplink = Verdict { uplink: Some(loss), own: None, cleared };
        if losses.len() > 1 || linked < 2 || loss < OWN_LOSS || cleared == Some(who) {
            return of_uplink;
        }
        match self.0 {
            Some((suspected, at, _)) if now < at + SUSPECTED_FOR => match suspected == who {
                true => Verdict { uplink: None, own: Some(who), cleared: None },
                false => of_uplink,
            },
            _ => {
                self.0 = Some((who, now, estimate_bps));
                Verdict { uplink: None, own: Some(who), cleared }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_link_in_use_is_suspected_until_another_one_loses_as_well() {
        let second = Duration::from_secs(1);
        let mut suspect = Suspect::default();
        let mut judge = |seconds: u32, losses: &[(f32, char)], linked, estimate_bps| {
            let verdict = suspect.judge(seconds * second, losses, linked, estimate_bps);
            (verdict.uplink, verdict.own, verdict.cleared)
        };
        assert_eq!(
            judge(1, &[(0.2, 'a')], 1, 100),
            (Some(0.2), None, None),
            "there is no other link to compare with"
        );
        assert_eq!(judge(1, &[(0.05, 'a')], 4, 100), (Some(0.05), None, None));
        assert_eq!(judge(1, &[(0.2, 'a')], 4, 100), (None, Some('a'), None));
        assert_eq!(judge(2, &[(0.3, 'a')], 4, 100), (None, Some('a'), None));
        assert_eq!(judge(3, &[(0.0, 'b'), (0.3, 'a')], 4, 100), (Some(0.0), None, None));
        assert_eq!(judge(4, &[(0.2, 'b')], 4, 100), (Some(0.2), None, None), "both lose");
        assert_eq!(
            judge(5, &[], 4, 400),
            (None, None, Some('a')),
            "the uplink is wider than it was"
        );
        assert_eq!(judge(40, &[(0.2, 'b')], 4, 100), (None, Some('b'), None));
    }
}
