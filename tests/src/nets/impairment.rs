//! One direction of an impaired link, without I/O: frames and the time go in, frames come out when
//! they are due.

use std::time::Duration;

use serde_json::{Value, json};
use voicemesh_netsim::{Channel, Conditions, Loss, Mode};

/// Longest that a frame may wait for a limited rate, whatever the queue allows.
const MAX_QUEUE: Duration = Duration::from_secs(10);

/// What happens to frames of one direction. The default is a perfect link.
///
/// The order is that of an access link: first the rate limit with its queue, then loss, delay and
/// jitter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Impairment {
    /// Added to every frame.
    pub delay: Duration,
    /// Up to this much more, uniformly distributed; frames overtake each other.
    pub jitter: Duration,
    /// Random loss, or bursts after Gilbert and Elliott.
    pub loss: Loss,
    /// Rate limit.
    pub limit: Limit,
}

/// A rate limit. Rates are in bits per second and count whole Ethernet frames without preamble and
/// checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limit {
    /// No limit.
    #[default]
    None,
    /// Frames wait in a first-in-first-out queue; a frame that would wait longer than `queue` is
    /// dropped.
    Queue {
        /// Bits per second.
        rate_bps: u32,
        /// Longest wait.
        queue: Duration,
    },
    /// The same with a queue of this many bytes.
    QueueBytes {
        /// Bits per second.
        rate_bps: u32,
        /// Most bytes that wait.
        bytes: u32,
    },
    /// A token bucket without a queue: a frame that finds too few tokens is dropped.
    Policer {
        /// Bits per second.
        rate_bps: u32,
        /// Size of the bucket.
        burst_bytes: u32,
    },
}

/// What has happened to the IP frames of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames that arrived at the link.
    pub frames: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Those of them that carry DTLS over IPv4: what a direct link carries, without what ICE keeps
    /// it open with.
    pub dtls_frames: u64,
    /// Bytes of these.
    pub dtls_bytes: u64,
    /// Frames lost at random.
    pub lost: u64,
    /// Frames dropped by the rate limit.
    pub dropped: u64,
}

impl Counts {
    /// Bytes of the IP packets that arrived since: the link counts Ethernet's header, too.
    #[must_use]
    pub fn ip_bytes_since(&self, before: Self) -> u64 {
        (self.bytes - before.bytes) - ETHERNET_BYTES * (self.frames - before.frames)
    }

    /// The same of DTLS alone.
    #[must_use]
    pub fn dtls_bytes_since(&self, before: Self) -> u64 {
        (self.dtls_bytes - before.dtls_bytes)
            - ETHERNET_BYTES * (self.dtls_frames - before.dtls_frames)
    }
}

const ETHERNET_BYTES: u64 = 14;

/// Whether an Ethernet frame carries DTLS over UDP (RFC 894, RFC 791 §3.1, RFC 7983 §7).
fn is_dtls(frame: &[u8]) -> bool {
    let is_udp = frame.get(12..14) == Some(&[0x08, 0x00]) && frame.get(23) == Some(&17);
    let Some(first) = frame.get(14).filter(|_| is_udp) else { return false };
    let payload = 14 + 4 * usize::from(first & 0x0f) + 8;
    frame.get(payload).is_some_and(|byte| (20..=63).contains(byte))
}

/// One direction of a link.
pub struct OneWay {
    limit: Limit,
    /// When the rate limit has sent all that waits.
    free_at: Duration,
    tokens: f64,
    tokens_at: Duration,
    pipe: Channel<Vec<u8>>,
    counts: Counts,
}

impl Impairment {
    /// A link that only takes time.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// A link with this rate and a queue that holds this long.
    #[must_use]
    pub fn rate(kbit_per_second: u32, queue: Duration) -> Self {
        Self { limit: Limit::Queue { rate_bps: kbit_per_second * 1_000, queue }, ..Self::default() }
    }

    /// A policed link with this rate.
    #[must_use]
    pub fn policed(kbit_per_second: u32, burst_bytes: u32) -> Self {
        Self {
            limit: Limit::Policer { rate_bps: kbit_per_second * 1_000, burst_bytes },
            ..Self::default()
        }
    }

    /// With bursts of loss: this share of all frames, in bursts of this mean length.
    #[must_use]
    pub fn with_burst_loss(self, share: f64, mean_burst: f64) -> Self {
        let to_good = 1.0 / mean_burst.max(1.0);
        let to_bad = (to_good * share / (1.0 - share)).min(1.0);
        Self { loss: Loss::Bursts { to_bad, to_good, while_good: 0.0, while_bad: 1.0 }, ..self }
    }

    /// As the line that `voicemesh-impair` reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let loss = match self.loss {
            Loss::None => json!(0.0),
            Loss::Random(share) => json!(share),
            Loss::Bursts { to_bad, to_good, while_good, while_bad } => {
                json!([to_bad, to_good, while_good, while_bad])
            }
        };
        let limit = match self.limit {
            Limit::None => Value::Null,
            Limit::Queue { rate_bps, queue } => {
                json!({ "rate_bps": rate_bps, "queue_ms": queue.as_secs_f64() * 1e3 })
            }
            Limit::QueueBytes { rate_bps, bytes } => {
                json!({ "rate_bps": rate_bps, "queue_bytes": bytes })
            }
            Limit::Policer { rate_bps, burst_bytes } => {
                json!({ "rate_bps": rate_bps, "burst_bytes": burst_bytes })
            }
        };
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        json!({ "delay_ms": millis(self.delay), "jitter_ms": millis(self.jitter), "loss": loss, "limit": limit })
    }

    /// The reverse of [`Impairment::to_json`]; missing keys mean a perfect link.
    ///
    /// # Errors
    /// A sentence about the key that has no valid value.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let millis = |key: &str| match &value[key] {
            Value::Null => Ok(Duration::ZERO),
            found => duration_from_ms(found)
                .ok_or_else(|| format!("{key} is not a number of milliseconds: {found}")),
        };
        let loss = match &value["loss"] {
            Value::Null => Loss::None,
            Value::Array(shares) => {
                match shares.iter().map(share).collect::<Option<Vec<f64>>>().as_deref() {
                    Some(&[to_bad, to_good, while_good, while_bad]) => {
                        Loss::Bursts { to_bad, to_good, while_good, while_bad }
                    }
                    _ => return Err(format!("loss takes one share or four: {}", value["loss"])),
                }
            }
            found => Loss::Random(
                share(found).ok_or_else(|| format!("loss is not a share from 0 to 1: {found}"))?,
            ),
        };
        Ok(Self {
            delay: millis("delay_ms")?,
            jitter: millis("jitter_ms")?,
            loss,
            limit: limit(&value["limit"])?,
        })
    }
}

fn limit(value: &Value) -> Result<Limit, String> {
    if value.is_null() {
        return Ok(Limit::None);
    }
    let number = |key: &str| value[key].as_u64().and_then(|number| u32::try_from(number).ok());
    let rate_bps = number("rate_bps")
        .filter(|rate| *rate > 0)
        .ok_or_else(|| format!("no rate_bps in {value}"))?;
    if let Some(queue) = duration_from_ms(&value["queue_ms"]) {
        Ok(Limit::Queue { rate_bps, queue })
    } else if let Some(bytes) = number("queue_bytes") {
        Ok(Limit::QueueBytes { rate_bps, bytes })
    } else if let Some(burst_bytes) = number("burst_bytes") {
        Ok(Limit::Policer { rate_bps, burst_bytes })
    } else {
        Err(format!("neither queue_ms, queue_bytes nor burst_bytes in {value}"))
    }
}

fn duration_from_ms(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()? / 1e3).ok()
}

fn share(value: &Value) -> Option<f64> {
    value.as_f64().filter(|share| (0.0..=1.0).contains(share))
}

impl OneWay {
    /// A perfect link. The two directions of one link share its seed and differ in `stream`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self {
            limit: Limit::None,
            free_at: Duration::ZERO,
            tokens: 0.0,
            tokens_at: Duration::ZERO,
            pipe: Channel::new(Mode::Unreliable, Conditions::default(), seed, stream),
            counts: Counts::default(),
        }
    }

    /// Changes what happens to frames from now on. What waits in the queue leaves at the times
    /// already decided.
    pub fn set(&mut self, now: Duration, impairment: Impairment) {
        if let (Limit::Policer { burst_bytes, .. }, false) =
            (impairment.limit, self.limit == impairment.limit)
        {
            (self.tokens, self.tokens_at) = (f64::from(burst_bytes), now);
        }
        self.limit = impairment.limit;
        let Impairment { delay, jitter, loss, .. } = impairment;
        self.pipe.set_conditions(Conditions { jitter, loss, ..Conditions::delay(delay) });
    }

    /// Takes an IP frame.
    pub fn offer(&mut self, now: Duration, frame: Vec<u8>) {
        self.counts.frames += 1;
        self.counts.bytes += frame.len() as u64;
        if is_dtls(&frame) {
            self.counts.dtls_frames += 1;
            self.counts.dtls_bytes += frame.len() as u64;
        }
        let Some(leaves_at) = self.pass_limit(now, frame.len()) else {
            self.counts.dropped += 1;
            return;
        };
        let before = self.pipe.counts();
        // Unreliable packets are never refused.
        let _ = self.pipe.send(leaves_at, frame.len(), frame);
        let after = self.pipe.counts();
        self.counts.lost += after.lost - before.lost;
        self.counts.dropped += after.overflowed - before.overflowed;
    }

    /// The next frame that is due.
    pub fn poll(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.pipe.poll(now)
    }

    /// When the next frame is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.pipe.next_at()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When a frame has left through the rate limit; `None` if it is dropped there.
    fn pass_limit(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let time_of = |bytes: u64, rate_bps: u32| {
            Duration::from_nanos(bytes * 8 * 1_000_000_000 / u64::from(rate_bps))
        };
        let (rate_bps, queue) = match self.limit {
            Limit::None => return Some(now),
            Limit::Policer { rate_bps, burst_bytes } => {
                let earned =
                    now.saturating_sub(self.tokens_at).as_secs_f64() * f64::from(rate_bps) / 8.0;
                (self.tokens, self.tokens_at) =
                    ((self.tokens + earned).min(f64::from(burst_bytes)), now);
                let passes = self.tokens >= bytes as f64;
                self.tokens -= if passes { bytes as f64 } else { 0.0 };
                return passes.then_some(now);
            }
            Limit::Queue { rate_bps, queue } => (rate_bps, queue),
            Limit::QueueBytes { rate_bps, bytes } => {
                (rate_bps, time_of(u64::from(bytes), rate_bps))
            }
        };
        let begins_at = self.free_at.max(now);
        if begins_at - now > queue.min(MAX_QUEUE) {
            return None;
        }
        self.free_at = begins_at + time_of(bytes as u64, rate_bps);
        Some(self.free_at)
    }
}

#[cfg(test)]
mod tests;
