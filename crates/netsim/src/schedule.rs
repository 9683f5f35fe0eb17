use std::collections::BTreeMap;
use std::time::Duration;

/// What happens later, in the order of its time; of things at one time, what was added first comes
/// first.
///
/// ```
/// use std::time::Duration;
/// use voicemesh_netsim::Schedule;
/// let mut arrivals = Schedule::default();
/// arrivals.add(Duration::from_millis(40), "late");
/// arrivals.add(Duration::from_millis(20), "soon");
/// assert_eq!(arrivals.next_at(), Some(Duration::from_millis(20)));
/// assert_eq!(arrivals.pop(Duration::from_millis(30)), Some("soon"));
/// assert_eq!(arrivals.pop(Duration::from_millis(30)), None);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule<T> {
    waiting: BTreeMap<(Duration, u64), T>,
    added: u64,
}

impl<T> Schedule<T> {
    /// Adds what happens at a time.
    pub fn add(&mut self, at: Duration, what: T) {
        self.added += 1;
        self.waiting.insert((at, self.added), what);
    }

    /// The next that is due.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// When the next is due.
    pub fn next_at(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// How much has not happened yet.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all has happened.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), added: 0 }
    }
}
