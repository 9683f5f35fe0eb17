//! What listeners report of this peer's speech, and how it is sent because of that.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_audio::adapt::{Allowance, Audience, ListenerLoss, Plan};
use voicemesh_session::client::{Reached, Who};
use voicemesh_wire::packet::ReceptionReport;

/// A report that was not renewed for this long says nothing any more. Reports come only while this peer speaks.
const REPORT_LIFE: Duration = Duration::from_secs(60);
/// Listeners of whom reports are kept. When there are more, new ones are not.
const LISTENERS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Feedback<P> {
    listeners: BTreeMap<Who<P>, Listener>,
    allowance: Allowance,
    reached: Reached,
    plan: Plan,
}

#[derive(Clone, Copy, Debug)]
struct Listener {
    loss: ListenerLoss,
    reported_at: Duration,
}

impl<P: Copy + Ord> Feedback<P> {
    pub fn new(allowance: Allowance) -> Self {
        let plan = Plan::choose(allowance, Audience::default());
        Self { listeners: BTreeMap::new(), allowance, reached: Reached::default(), plan }
    }

    /// Takes a report. It counts for the plan from the next frame on.
    pub fn report(&mut self, now: Duration, from: Who<P>, report: &ReceptionReport) {
        if self.listeners.len() >= LISTENERS && !self.listeners.contains_key(&from) {
            return;
        }
        let fresh = Listener { loss: ListenerLoss::default(), reported_at: now };
        let listener = self.listeners.entry(from).or_insert(fresh);
        listener.reported_at = now;
        let mean_run = f32::from(report.loss_run_sixteenths) / 16.0;
        listener.loss.report(report.expected.into(), report.lost.into(), mean_run);
    }

    pub fn allow(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Learns whom the last frame reached, and chooses how the next goes.
    pub fn sent(&mut self, now: Duration, reached: Reached) -> Plan {
        self.listeners.retain(|_, listener| now < listener.reported_at + REPORT_LIFE);
        self.reached = reached;
        let with_copies = self.listeners.values().filter(|listener| listener.loss.wants_copies()).count();
        let worst = self.worst();
        let audience = Audience {
            direct: reached.links as u32,
            relayed: reached.relay_packets > 0,
            worst_loss: worst.and_then(|loss| loss.loss()),
            loss_run: worst.map_or(0.0, |loss| loss.run()),
            with_copies: with_copies.min(reached.links + reached.relay_packets) as u32,
        };
        self.plan = Plan::choose(self.allowance, audience);
        self.plan
    }

    pub fn plan(&self) -> Plan {
        self.plan
    }

    pub fn wants_copies(&self, who: Who<P>) -> bool {
        self.listeners.get(&who).is_some_and(|listener| listener.loss.wants_copies())
    }

    pub fn loss(&self, who: Who<P>) -> Option<f32> {
        self.listeners.get(&who).and_then(|listener| listener.loss.loss())
    }

    pub fn worst_loss(&self) -> Option<f32> {
        self.worst().and_then(|loss| loss.loss())
    }

    fn worst(&self) -> Option<ListenerLoss> {
        let known = self.listeners.values().map(|listener| listener.loss).filter(|loss| loss.loss().is_some());
        known.max_by(|a, b| f32::total_cmp(&a.loss().unwrap_or(0.0), &b.loss().unwrap_or(0.0)))
    }

    pub fn forget(&mut self) {
        self.listeners.clear();
    }
}
