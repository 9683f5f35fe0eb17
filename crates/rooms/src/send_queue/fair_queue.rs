//! Packets that wait for one receiver, shared among their senders: voice, and games' own bytes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::cost::cost;

/// What may wait in a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Packets that wait; one more, and one goes.
    pub(super) packets: usize,
    /// Bytes of these packets and their headers together, with the same rule.
    pub(super) bytes: usize,
    /// Which packet of a sender goes.
    pub(super) goes: Goes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    /// What was said last is worth most.
    Oldest,
    /// What is sent again must arrive in order.
    Newest,
}

/// Of voice.
pub(super) const VOICE: Bounds = Bounds { packets: 32, bytes: 24 * 1024, goes: Goes::Oldest };
/// Of games' own bytes.
pub(super) const DATA: Bounds = Bounds { packets: 128, bytes: 40 * 1024, goes: Goes::Newest };
/// Voice that waited longer than this is not sent.
pub(super) const AGE: Duration = Duration::from_millis(400);
/// Where the sender's client id stands: behind the magic number (2), the type (1) and the session
/// (4).
const SENDER: std::ops::Range<usize> = 7..9;

/// Start-time fair queueing: of the senders with packets waiting, the one that has been sent the
/// fewest bytes is next. Of too many packets one of the sender with the most packets is dropped, of
/// too many bytes one of the sender with the most bytes. So one that sends much
/// takes nothing from others, in whatever packets. Packets of one sender stay in order.
#[derive(Debug)]
pub(super) struct FairQueue {
    bounds: Bounds,
    /// In order of arrival.
    packets: VecDeque<(Duration, Bytes)>,
    bytes: usize,
    /// Of the senders with packets waiting: at most as many as packets.
    shares: Vec<Share>,
    /// Where a sender begins that had nothing waiting.
    served: u64,
    /// Senders with nothing waiting that were sent more than that: where they begin. At most as
    /// many as packets.
    ahead: Vec<([u8; 2], u64)>,
}

#[derive(Debug)]
struct Share {
    sender: [u8; 2],
    packets: usize,
    bytes: usize,
    /// What was sent of it, counted from where others were when it began.
    served: u64,
}

impl FairQueue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            packets: VecDeque::new(),
            bytes: 0,
            shares: Vec::new(),
            served: 0,
            ahead: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Bytes of what waits, headers included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a packet. Gives how many had to go, this one perhaps among them.
    pub(super) fn push(&mut self, now: Duration, packet: Bytes) -> usize {
        let (sender, bytes) = (sender_of(&packet), cost(packet.len()));
        match self.shares.iter_mut().find(|share| share.sender == sender) {
            Some(share) => {
                share.packets += 1;
                share.bytes += bytes;
            }
            None => {
                let known = self.ahead.iter().position(|(ahead, _)| *ahead == sender);
                let served = known.map_or(0, |at| self.ahead.swap_remove(at).1).max(self.served);
                self.shares.push(Share { sender, packets: 1, bytes, served });
            }
        }
        self.bytes += bytes;
        self.packets.push_back((now, packet));
        let mut dropped = 0;
        while self.packets.len() > self.bounds.packets || self.bytes > self.bounds.bytes {
            self.drop_one();
            dropped += 1;
        }
        dropped
    }

    /// Drops what has waited too long. Gives how many.
    pub(super) fn drop_old(&mut self, now: Duration) -> usize {
        let mut dropped = 0;
        while self.packets.front().is_some_and(|(at, _)| now > *at + AGE) {
            self.remove(0);
            dropped += 1;
        }
        dropped
    }

    /// The next packet, and when it was put in.
    pub(super) fn pop(&mut self) -> Option<(Duration, Bytes)> {
        let share = self.shares.iter_mut().min_by_key(|share| share.served)?;
        let sender = share.sender;
        let index = self.packets.iter().position(|(_, packet)| sender_of(packet) == sender)?;
        self.served = share.served;
        let bytes = self.packets.get(index).map_or(0, |(_, packet)| cost(packet.len()));
        share.served += bytes as u64;
        self.remove(index)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.bounds);
    }

    /// Memory that is held although nothing waits.
    pub(super) fn give_memory_back(&mut self, kept: usize) {
        if self.packets.is_empty() && self.packets.capacity().max(self.shares.capacity()) > kept {
            self.packets = VecDeque::new();
            (self.shares, self.ahead) = (Vec::new(), Vec::new());
        }
    }

    fn drop_one(&mut self) {
        let too_many = self.packets.len() > self.bounds.packets;
        let most = self
            .shares
            .iter()
            .max_by_key(|share| if too_many { share.packets } else { share.bytes });
        let Some(most) = most.map(|share| share.sender) else { return };
        let mut packets = self.packets.iter();
        let is_of_most = |(_, packet): &(Duration, Bytes)| sender_of(packet) == most;
        let index = match self.bounds.goes {
            Goes::Oldest => packets.position(is_of_most),
            Goes::Newest => packets.rposition(is_of_most),
        };
        if let Some(index) = index {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) -> Option<(Duration, Bytes)> {
        let removed = self.packets.remove(index)?;
        let (sender, bytes) = (sender_of(&removed.1), cost(removed.1.len()));
        self.bytes -= bytes;
        if let Some(at) = self.shares.iter().position(|share| share.sender == sender) {
            let share = &mut self.shares[at];
            share.packets -= 1;
            share.bytes -= bytes;
            if share.packets == 0 {
                let Share { sender, served, .. } = self.shares.swap_remove(at);
                self.keep(sender, served);
            }
        }
        Some(removed)
    }

    /// A sender whose last packet has left is not behind those that wait when it comes back.
    fn keep(&mut self, sender: [u8; 2], served: u64) {
        if self.shares.is_empty() {
            // Nothing waits: all begin alike.
            self.ahead.clear();
            self.served = self.served.max(served);
            return;
        }
        self.ahead.retain(|(_, ahead)| *ahead > self.served);
        if self.ahead.len() >= self.bounds.packets
            && let Some(least) = (0..self.ahead.len()).min_by_key(|at| self.ahead[*at].1)
        {
            self.ahead.swap_remove(least);
        }
        self.ahead.push((sender, served));
    }
}

fn sender_of(packet: &[u8]) -> [u8; 2] {
    packet.get(SENDER).and_then(|id| id.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sender: u8, number: u8, bytes: usize) -> Bytes {
        let mut packet = vec![0; bytes];
        (packet[8], packet[9]) = (sender, number);
        packet.into()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Of `speakers`, of which the first sends `loud` packets where the others send one, how many
    /// bytes of each pass within 10 s through a receiver that takes one packet each so many
    /// milliseconds.
    fn shares(speakers: u8, loud: usize, one_each_ms: u64, bytes: usize) -> Vec<usize> {
        let mut voice = FairQueue::new(VOICE);
        let mut passed = vec![0; usize::from(speakers)];
        for now in 0..10_000 {
            if now % 20 == 0 {
                for sender in 0..speakers {
                    for _ in 0..if sender == 0 { loud } else { 1 } {
                        voice.push(ms(now), packet(sender, 0, bytes));
                    }
                }
            }
            if now % one_each_ms == 0 {
                voice.drop_old(ms(now));
                if let Some((_, packet)) = voice.pop() {
                    passed[usize::from(packet[8])] += packet.len();
                }
            }
            assert!(
                voice.packets.len() <= VOICE.packets
                    && voice.bytes <= VOICE.bytes
                    && voice.shares.len() <= VOICE.packets
            );
        }
        passed
    }

    #[test]
    fn one_who_sends_much_gets_no_more_of_a_slow_receiver_than_others() {
        for loud in [1, 2, 5, 20] {
            // 160 bytes each 32 ms: 40 kbit/s for five speakers of 64 kbit/s each, and more of the
            // first.
            let passed = shares(5, loud, 32, 160);
            let (least, most) = (passed.iter().min().unwrap(), passed.iter().max().unwrap());
            assert!(least * 10 >= most * 9, "{loud}: {passed:?}");
        }
    }

    #[test]
    fn one_that_sends_large_packets_now_and_then_gets_no_more_than_others() {
        let mut voice = FairQueue::new(VOICE);
        let (mut passed, mut budget) = ([0_usize; 5], 0.0);
        for now in 0..20_000_u64 {
            if now % 130 == 0 {
                voice.push(ms(now), packet(0, 0, 640));
            }
            for sender in 1..5_u8 {
                if (now + 5 * u64::from(sender)) % 20 == 0 {
                    voice.push(ms(now), packet(sender, 0, 70 + usize::from(sender) * 10));
                }
            }
            voice.drop_old(ms(now));
            // 40 kbit/s.
            budget += 5.0;
            while budget > 0.0 {
                let Some((_, packet)) = voice.pop() else { break };
                passed[usize::from(packet[8])] += cost(packet.len());
                budget -= packet.len() as f64;
            }
            assert!(voice.ahead.len() <= VOICE.packets);
        }
        let (least, most) = (passed.iter().min().unwrap(), passed.iter().max().unwrap());
        assert!(least * 10 >= most * 8, "{passed:?}");
    }

    #[test]
    fn what_one_does_not_use_is_for_the_others() {
        // All that the quiet ones send passes, and the loud one has the rest.
        let passed = shares(3, 10, 5, 160);
        assert!(passed[1] >= 499 * 160 && passed[2] >= 499 * 160, "{passed:?}");
        assert!(passed[0] >= 900 * 160, "{passed:?}");
    }

    #[test]
    fn packets_of_one_stay_in_order_and_old_ones_go() {
        let mut voice = FairQueue::new(VOICE);
        for number in 0..40 {
            assert_eq!(
                voice.push(ms(number.into()), packet(1, number, 100)),
                usize::from(number >= 32)
            );
        }
        voice.push(ms(300), packet(2, 0, 100));
        let numbers: Vec<u8> =
            std::iter::from_fn(|| voice.pop()).map(|(_, packet)| packet[9]).collect();
        let mut own = numbers.clone();
        own.remove(numbers.iter().position(|number| *number == 0).expect("the other's"));
        assert_eq!(own, (9..40).collect::<Vec<_>>());
        assert!(numbers[..2].contains(&0), "the other is next, whatever waits: {numbers:?}");
        voice.push(ms(1_000), packet(1, 0, 100));
        voice.push(ms(1_300), packet(1, 1, 100));
        assert_eq!(voice.drop_old(ms(1_401)), 1);
        assert_eq!(voice.pop().map(|(at, _)| at), Some(ms(1_300)));
        assert!(
            voice.pop().is_none()
                && voice.packets.is_empty()
                && voice.shares.is_empty()
                && voice.bytes == 0
        );
    }

    #[test]
    fn large_packets_count_by_their_bytes() {
        let mut voice = FairQueue::new(VOICE);
        for number in 0..40 {
            voice.push(ms(0), packet(1, number, 1_200));
            voice.push(ms(0), packet(2, number, 120));
        }
        let mut bytes = [0; 3];
        for (_, packet) in std::iter::from_fn(|| voice.pop()).take(12) {
            bytes[usize::from(packet[8])] += packet.len();
        }
        assert!(bytes[1].abs_diff(bytes[2]) <= 1_200, "{bytes:?}");
    }

    #[test]
    fn many_small_packets_of_one_take_nothing_from_another() {
        let mut voice = FairQueue::new(VOICE);
        let mut passed = [0; 3];
        // A receiver of 24 kbit/s, that is 3 bytes each millisecond.
        let mut credit = 0;
        for now in 0..20_000 {
            if now % 20 == 0 {
                voice.push(ms(now), packet(1, 0, 24));
            }
            if now % 60 == 0 {
                voice.push(ms(now), packet(2, 0, 600));
            }
            voice.drop_old(ms(now));
            credit = (credit + 3).min(2_000);
            while credit > 0
                && let Some((_, packet)) = voice.pop()
            {
                credit -= cost(packet.len()) as i64;
                passed[usize::from(packet[8])] += cost(packet.len());
            }
        }
        // The first one needs 4,400 bytes a second, more than its half of 3,000.
        assert!(passed[1].abs_diff(passed[2]) < passed[1] / 5, "{passed:?}");
    }

    /// An honest member sends 10 packets a second, another as many as pass: 1,000 bytes each, to a
    /// receiver of 100 kB/s.
    #[test]
    fn a_games_bytes_of_one_arrive_in_order_beside_a_flood_of_another() {
        let mut data = FairQueue::new(DATA);
        let (mut arrived, mut flooded, mut sent) = (Vec::new(), 0, 0);
        for now in 0..10_000 {
            data.push(ms(now), packet(2, 0, 1_000));
            if now % 100 == 0 {
                data.push(ms(now), packet(1, sent, 1_000));
                sent += 1;
            }
            if now % 10 == 0
                && let Some((_, packet)) = data.pop()
            {
                if packet[8] == 1 { arrived.push(packet[9]) } else { flooded += 1 }
            }
            assert!(data.packets.len() <= DATA.packets && data.bytes <= DATA.bytes);
        }
        assert_eq!(arrived, (0..100).collect::<Vec<_>>());
        assert_eq!(flooded, 900, "what one does not use is for the other");
    }

    #[test]
    fn of_too_many_of_a_games_bytes_the_newest_goes() {
        let mut data = FairQueue::new(DATA);
        let dropped: usize = (0..200).map(|number| data.push(ms(0), packet(1, number, 100))).sum();
        assert_eq!(dropped, 200 - 128);
        let numbers: Vec<u8> =
            std::iter::from_fn(|| data.pop()).map(|(_, packet)| packet[9]).collect();
        assert_eq!(numbers, (0..128).collect::<Vec<_>>());
    }
}
