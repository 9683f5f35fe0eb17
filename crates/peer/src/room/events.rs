//! The events of a room, for a program that polls, awaits or waits.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use voicemesh_common::get_mut;

use super::inner::RoomInner;
use crate::event::{Event, RoomEvent, TimedEvent};

/// The events of a room, in the order in which things happened.
///
/// A program takes them: of more than 4096 that wait, the newest are dropped
/// ([`QueueDrops`](crate::QueueDrops)), and messages that must arrive stay with their senders. The
/// room goes on without its events; it is left when the last [`Room`](super::Room) and its events
/// are dropped.
#[derive(Debug)]
pub struct Events {
    inner: Arc<RoomInner>,
    /// `Mutex` only to make the type `Sync`; always reached through `get_mut`.
    queue: Mutex<Receiver<TimedEvent>>,
    /// Taken by `wait`, not yet by `poll`.
    next: Option<TimedEvent>,
    has_left: bool,
    told: Arc<Notify>,
}

impl Events {
    pub(super) fn new(
        inner: Arc<RoomInner>,
        queue: Receiver<TimedEvent>,
        told: Arc<Notify>,
    ) -> Self {
        Self { inner, queue: Mutex::new(queue), next: None, has_left: false, told }
    }

    /// The next event, if there is one. Never blocks.
    pub fn poll(&mut self) -> Option<Event> {
        self.poll_timed().map(|timed| timed.event)
    }

    /// The next event, if there is one, with the time at which it happened. Never blocks.
    pub fn poll_timed(&mut self) -> Option<TimedEvent> {
        let next = self.next.take().map_or_else(|| self.queue().try_recv(), Ok);
        match next {
            Ok(timed) => {
                self.inner.outbox.ledger().polled(&timed.event);
                if timed.event == Event::Room(RoomEvent::Left) {
                    self.end();
                }
                Some(timed)
            }
            // The engine ended without saying so, which it does only by a fault of ours: the caller
            // must not wait for it.
            Err(TryRecvError::Disconnected) if !self.has_left => {
                self.end();
                Some(TimedEvent {
                    at: self.inner.controls.started.elapsed(),
                    event: Event::Room(RoomEvent::Left),
                })
            }
            Err(TryRecvError::Disconnected | TryRecvError::Empty) => None,
        }
    }

    /// The next event, as soon as there is one; `None` after [`RoomEvent::Left`]. For servers and
    /// bots, on any executor: it uses the caller's waker and needs no runtime. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let told = self.told.clone();
            let told = told.notified();
            if let Some(event) = self.poll() {
                return Some(event);
            }
            if self.has_left {
                return None;
            }
            told.await;
        }
    }

    /// Blocks until there is an event to poll, at most for this long. For programs without a loop
    /// of their own.
    #[expect(
        clippy::disallowed_methods,
        reason = "the worker has left: no event can come any more"
    )]
    pub fn wait(&mut self, at_most: Duration) {
        if self.next.is_none() {
            match self.queue().recv_timeout(at_most) {
                Ok(event) => self.next = Some(event),
                Err(RecvTimeoutError::Timeout) => {}
                // It has left: a caller that waits in a loop must not spin.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(at_most),
            }
        }
    }

    fn end(&mut self) {
        self.has_left = true;
        self.inner.has_left.store(true, Ordering::Release);
    }

    fn queue(&mut self) -> &mut Receiver<TimedEvent> {
        get_mut(&mut self.queue)
    }
}
