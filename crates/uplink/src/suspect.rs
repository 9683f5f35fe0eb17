//! One link in use, which loses: its own loss, or the uplink's?
//!
//! It is taken for its own at first. Its listener's speech then goes through the relay, with that of the others, and another
//! link, which comes into use, shows whether it loses as well.

use std::time::Duration;

use crate::listener_path::OWN_LOSS;

/// Of two links that were the only one in use within this time, both lost: that is the uplink's loss.
const SUSPECTED_FOR: Duration = Duration::from_secs(20);

/// Whose loss was last taken for that of its own path, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect<P>(Option<(P, Duration)>);

impl<P> Default for Suspect<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P: Copy + Eq> Suspect<P> {
    /// From the losses of the links in use, least first: the loss that is the uplink's, or else whose own it is. `linked`: how
    /// many listeners have links.
    pub(crate) fn judge(&mut self, now: Duration, losses: &[(f32, P)], linked: usize) -> (Option<f32>, Option<P>) {
        let Some((loss, who)) = losses.get(losses.len().saturating_sub(1) / 2).copied() else { return (None, None) };
        let is_only_one = losses.len() == 1 && linked > 1;
        if is_only_one && loss >= OWN_LOSS && self.is_own(now, who) { (None, Some(who)) } else { (Some(loss), None) }
    }

    fn is_own(&mut self, now: Duration, who: P) -> bool {
        match self.0 {
            Some((suspected, at)) if now < at + SUSPECTED_FOR => suspected == who,
            _ => {
                self.0 = Some((who, now));
                true
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
        let mut judge = |seconds: u32, losses: &[(f32, char)], linked| suspect.judge(seconds * second, losses, linked);
        assert_eq!(judge(1, &[(0.2, 'a')], 1), (Some(0.2), None), "there is no other link to compare with");
        assert_eq!(judge(1, &[(0.05, 'a')], 4), (Some(0.05), None));
        assert_eq!(judge(1, &[(0.2, 'a')], 4), (None, Some('a')));
        assert_eq!(judge(2, &[(0.3, 'a')], 4), (None, Some('a')));
        assert_eq!(judge(3, &[(0.0, 'b'), (0.3, 'a')], 4), (Some(0.0), None));
        assert_eq!(judge(4, &[(0.2, 'b')], 4), (Some(0.2), None), "both lose");
        assert_eq!(judge(40, &[(0.2, 'b')], 4), (None, Some('b')));
    }
}
