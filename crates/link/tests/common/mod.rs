//! Two links in one process, each handing its signals to the other.
#![allow(dead_code, reason = "the program that measures memory uses a part")]

pub mod wire;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, mpsc};
use tokio::time::MissedTickBehavior;
use voicemesh_link::{
    CloseReason, Link, LinkConfig, LinkEvent, LinkSink, LinkStack, Role, Stream, WebRtc,
};
use voicemesh_wire::signaling::{IceServer, Signal};

/// Longer than anything here may take; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// Held by a test that measures times or takes all of the processor: one of them runs at a time.
pub async fn undisturbed() -> AsyncMutexGuard<'static, ()> {
    static ONE_AT_A_TIME: AsyncMutex<()> = AsyncMutex::const_new(());
    ONE_AT_A_TIME.lock().await
}

/// One link and what it told.
pub struct End {
    pub link: Option<Arc<dyn Link>>,
    pub events: Events,
}

/// What a link tells, but for signals that are handed on and keep-alives that were answered.
pub struct Events(mpsc::UnboundedReceiver<LinkEvent>);

/// Hands signals to the other link, or keeps them as events where there is none.
pub struct Forward {
    remote: Mutex<Remote>,
    events: mpsc::UnboundedSender<LinkEvent>,
}

enum Remote {
    Absent,
    NotYet(Vec<Signal>),
    Known(Weak<dyn Link>),
}

impl LinkSink for Forward {
    fn event(&self, event: LinkEvent) {
        match (event, &mut *self.remote.lock().unwrap()) {
            (LinkEvent::Signal(signal), Remote::NotYet(waiting)) => waiting.push(signal),
            (LinkEvent::Signal(signal), Remote::Known(link)) => {
                if let Some(link) = link.upgrade() {
                    link.signal(signal);
                }
            }
            (event, _) => {
                let _ = self.events.send(event);
            }
        }
    }
}

impl Forward {
    fn meet(&self, link: &Arc<dyn Link>) {
        let mut remote = self.remote.lock().unwrap();
        if let Remote::NotYet(waiting) = &mut *remote {
            waiting.drain(..).for_each(|signal| link.signal(signal));
        }
        *remote = Remote::Known(Arc::downgrade(link));
    }
}

pub fn stack() -> WebRtc {
    WebRtc::new(Handle::current()).on_addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
}

fn open(stack: &dyn LinkStack, config: LinkConfig, remote: Remote) -> (End, Arc<Forward>) {
    let (sender, events) = mpsc::unbounded_channel();
    let sink = Arc::new(Forward { remote: Mutex::new(remote), events: sender });
    let link: Arc<dyn Link> = Arc::from(stack.open(config, Arc::clone(&sink) as Arc<dyn LinkSink>));
    (End { link: Some(link), events: Events(events) }, sink)
}

/// A link whose signals stay with it as events.
pub fn alone(role: Role) -> End {
    alone_on(&stack(), role)
}

/// A link on this stack, whose signals stay with it as events.
pub fn alone_on(stack: &dyn LinkStack, role: Role) -> End {
    alone_with(stack, role, 0)
}

/// The same, to this remote.
pub fn alone_with(stack: &dyn LinkStack, role: Role, remote: u128) -> End {
    open(stack, LinkConfig { role, remote, ice_servers: Vec::new() }, Remote::Absent).0
}

/// A link on this stack that uses these servers, and whose signals stay with it as events.
pub fn alone_by(stack: &dyn LinkStack, role: Role, ice_servers: Vec<IceServer>) -> End {
    open(stack, LinkConfig { role, remote: 0, ice_servers }, Remote::Absent).0
}

/// The offering and the answering end, still opening.
pub fn pair() -> (End, End) {
    pair_with(&[])
}

/// The offering and the answering end, still opening, both told of these servers.
pub fn pair_with(ice_servers: &[IceServer]) -> (End, End) {
    pair_on([&stack(), &stack()], ice_servers)
}

/// The same, each on its stack.
pub fn pair_on(stacks: [&WebRtc; 2], ice_servers: &[IceServer]) -> (End, End) {
    let config = |role| LinkConfig { role, remote: 0, ice_servers: ice_servers.to_vec() };
    let (answering, answering_sink) =
        open(stacks[1], config(Role::Answer), Remote::NotYet(Vec::new()));
    let (offering, offering_sink) =
        open(stacks[0], config(Role::Offer), Remote::NotYet(Vec::new()));
    answering_sink.meet(offering.link());
    offering_sink.meet(answering.link());
    (offering, answering)
}

/// The offering and the answering end, open.
pub async fn open_pair() -> (End, End) {
    let (mut offering, mut answering) = pair();
    assert_eq!(offering.events.next().await, LinkEvent::Open);
    assert_eq!(answering.events.next().await, LinkEvent::Open);
    (offering, answering)
}

impl End {
    pub fn link(&self) -> &Arc<dyn Link> {
        self.link.as_ref().expect("the link was dropped")
    }

    pub async fn received(&mut self) -> (Stream, Vec<u8>) {
        match self.events.next().await {
            LinkEvent::Received { stream, packet } => (stream, packet.to_vec()),
            other => panic!("expected a packet, got {other:?}"),
        }
    }

    pub async fn signal(&mut self) -> Signal {
        match self.events.next().await {
            LinkEvent::Signal(signal) => signal,
            other => panic!("expected a signal, got {other:?}"),
        }
    }
}

impl Events {
    pub async fn next(&mut self) -> LinkEvent {
        self.last_or_next().await.expect("the link has told everything")
    }

    /// Passes over everything until the link is closed, and makes sure that this is the last event.
    pub async fn closed(&mut self) -> CloseReason {
        loop {
            if let LinkEvent::Closed(reason) = self.next().await {
                assert_eq!(self.last_or_next().await, None, "an event came after Closed");
                return reason;
            }
        }
    }

    async fn last_or_next(&mut self) -> Option<LinkEvent> {
        let next = async {
            loop {
                match self.0.recv().await {
                    Some(LinkEvent::Answered { .. }) => {}
                    event => return event,
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("nothing happened")
    }

    /// The round trips of keep-alives that were answered; what else was told is passed over.
    pub fn keep_alives(&mut self) -> Vec<Duration> {
        let told = std::iter::from_fn(|| self.0.try_recv().ok());
        told.filter_map(|event| match event {
            LinkEvent::Answered { round_trip, .. } => Some(round_trip),
            _ => None,
        })
        .collect()
    }
}

/// Speaks one packet of `bytes` in each interval.
pub async fn speak(end: &End, packets: usize, interval: Duration, bytes: usize) {
    let mut frames = tokio::time::interval(interval);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..packets {
        frames.tick().await;
        let _ = end.link().send(Stream::Voice, Bytes::from(vec![number as u8; bytes]));
    }
}
