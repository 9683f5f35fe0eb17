//! One thread per real device: it notices the loss, tells it once, and opens the device again as
//! soon as it can.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use cpal::HostId;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::device_thread::{DeviceThread, Stop};
use crate::host::words;
use crate::pace::{Pace, Pacer};
use crate::stream::Running;
use crate::system_log::with_messages_logged;
use crate::{Cause, DeviceError, DeviceEvent, Waker};

/// A sound system that has not opened a device by then does not answer.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// A sound system that hangs delays the closing of a device by no more than this.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// From a loss to the first attempt to open again; doubled with each that fails.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// The same for a device that has never been there: some sound systems write a page of complaints
/// at each attempt.
const LAST_RETRY_OF_NOTHING: Duration = Duration::from_secs(15);
/// Without a callback for so long a device is lost, though it did not say so. Virtual speakers take
/// 2 s of sound at once.
const STALLED: Duration = Duration::from_secs(6);
const WATCH: Duration = Duration::from_millis(500);
/// New ends of streams that the caller has not taken up yet; the supervisor waits when there are
/// more.
const MOST_FEEDS: usize = 4;
/// Events that were not polled yet, at most; a newer one is dropped. A loss and a return are two,
/// at least 0.5 s apart.
const MOST_EVENTS: usize = 64;

/// A real device of either direction.
pub(crate) trait Kind: Send + Sync + 'static {
    /// The caller's end of a stream.
    type Feed: Send + 'static;

    /// Opens it. May take long.
    fn open(&self, earlier: Option<HostId>) -> Result<(Running, Self::Feed), DeviceError>;

    /// What stands in for it while it is lost: the caller's end, and what to do every 10 ms.
    fn stand_in(&self) -> (Self::Feed, Box<dyn FnMut() + Send>);
}

/// The caller's end of the newest stream of a device.
pub(crate) struct Newest<F> {
    taken_up: F,
    newer: Consumer<F>,
}

impl<F> Newest<F> {
    /// Of a device that is never opened again.
    pub(crate) fn only(feed: F) -> Self {
        Self { taken_up: feed, newer: RingBuffer::new(0).1 }
    }

    pub(crate) fn get(&mut self) -> &mut F {
        while let Ok(newer) = self.newer.pop() {
            self.taken_up = newer;
        }
        &mut self.taken_up
    }
}

/// A device that is opened again after a loss, as its caller holds it.
pub(crate) struct Supervised<F> {
    pub(crate) feed: Newest<F>,
    pub(crate) events: Consumer<DeviceEvent>,
    pub(crate) supervisor: DeviceThread,
}

/// Opens a device and watches it from then on. One that is not there is an error, or, if `waits`
/// says so of it, lost from the beginning.
pub(crate) fn open<K: Kind>(
    kind: K,
    waker: Waker,
    waits: impl Fn(&DeviceError) -> bool,
) -> Result<Supervised<K::Feed>, DeviceError> {
    let kind = Arc::new(kind);
    let opener = Arc::clone(&kind);
    let (beginning, feed) = match patiently(move || opener.open(None)) {
        Ok((running, feed)) => (Beginning::Running(running), feed),
        Err(error) if waits(&error) => {
            let (feed, step) = kind.stand_in();
            (Beginning::Lost { why: error.to_string(), step: StandIn(step) }, feed)
        }
        Err(error) => return Err(error),
    };
    let (feeds, newer) = RingBuffer::new(MOST_FEEDS);
    let (events, news) = RingBuffer::new(MOST_EVENTS);
    let supervisor = Supervisor { kind, waker, feeds, events };
    let supervisor =
        DeviceThread::spawn("device supervisor", move |stop| supervisor.run(&stop, beginning))?;
    Ok(Supervised { feed: Newest { taken_up: feed, newer }, events: news, supervisor })
}

/// How a device is when its supervisor takes over.
enum Beginning {
    Running(Running),
    Lost { why: String, step: StandIn },
}

/// What to do every 10 ms in place of a device.
struct StandIn(Box<dyn FnMut() + Send>);

/// Asks the sound system something in a separate thread, because it may hang.
pub(crate) fn patiently<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, DeviceError> + Send + 'static,
) -> Result<T, DeviceError> {
    in_thread(ask)?.recv_timeout(OPEN_PATIENCE).unwrap_or_else(|error| Err(no_answer(error)))
}

struct Supervisor<K: Kind> {
    kind: Arc<K>,
    waker: Waker,
    feeds: Producer<K::Feed>,
    events: Producer<DeviceEvent>,
}

/// What an attempt to open gives.
type Opened<K> = Result<(Running, <K as Kind>::Feed), DeviceError>;

impl<K: Kind> Supervisor<K> {
    fn run(mut self, stop: &Stop, beginning: Beginning) {
        let mut running = match beginning {
            Beginning::Running(running) => running,
            Beginning::Lost { why, step } => {
                tracing::info!("a sound device is not there: {why}");
                self.tell(DeviceEvent::Lost { why });
                let Some((first, feed)) = self.open_again(stop, None, step.0) else { return };
                self.hand_over(stop, feed);
                self.tell(DeviceEvent::Recovered);
                first
            }
        };
        loop {
            let Some(why) = watch(stop, &mut running) else { return close(running) };
            tracing::info!("a sound device was lost: {why}");
            let (feed, step) = self.kind.stand_in();
            self.hand_over(stop, feed);
            self.tell(DeviceEvent::Lost { why });
            let Some((again, feed)) = self.open_again(stop, Some(running), step) else { return };
            tracing::info!("the sound device is back");
            running = again;
            self.hand_over(stop, feed);
            self.tell(DeviceEvent::Recovered);
        }
    }

    /// Lets go of the lost stream, if there was one, and tries until it is open again; `None` if it
    /// shall end.
    #[expect(
        clippy::disallowed_methods,
        reason = "systems of sound do not report that a device has come back"
    )]
    fn open_again(
        &self,
        stop: &Stop,
        mut lost: Option<Running>,
        mut step: Box<dyn FnMut() + Send>,
    ) -> Option<(Running, K::Feed)> {
        let host = lost.as_ref().map(|lost| lost.host);
        let last_retry = if lost.is_some() { LAST_RETRY } else { LAST_RETRY_OF_NOTHING };
        let mut delay = FIRST_RETRY;
        loop {
            // All that may hang is done in the attempt's own thread, so that the stand-in keeps its
            // pace.
            let (kind, lost) = (Arc::clone(&self.kind), lost.take());
            let attempted = in_thread(move || {
                // A stream whose device was unplugged may never end by itself.
                if let Some(lost) = lost {
                    close(lost);
                }
                thread::sleep(delay);
                kind.open(host)
            });
            match attempted {
                Err(error) => {
                    tracing::debug!(%error, "no attempt to open the device again");
                    stop.doze(delay);
                }
                Ok(attempted) => match self.stand_in_until(stop, &attempted, &mut step)? {
                    Ok(opened) => return Some(opened),
                    Err(error) => tracing::debug!(%error, "not back yet"),
                },
            }
            delay = (delay * 2).min(last_retry);
        }
    }

    /// `None` if it shall end.
    fn stand_in_until(
        &self,
        stop: &Stop,
        attempted: &Receiver<Opened<K>>,
        step: &mut Box<dyn FnMut() + Send>,
    ) -> Option<Opened<K>> {
        let epoch = Instant::now();
        let mut pacer = Pacer::new(epoch.elapsed());
        while !stop.is_set() {
            match pacer.next(epoch.elapsed()) {
                Pace::Step { .. } => {
                    step();
                    (self.waker)();
                }
                Pace::Wait(length) => match attempted.recv_timeout(length) {
                    Ok(opened) => return Some(opened),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(error @ RecvTimeoutError::Disconnected) => {
                        return Some(Err(no_answer(error)));
                    }
                },
            }
        }
        None
    }

    fn hand_over(&mut self, stop: &Stop, mut feed: K::Feed) {
        while let Err(PushError::Full(refused)) = self.feeds.push(feed) {
            if stop.is_set() {
                return;
            }
            stop.doze(WATCH);
            feed = refused;
        }
    }

    fn tell(&mut self, event: DeviceEvent) {
        // A caller that never asks does not hold up the device.
        let _ = self.events.push(event);
        (self.waker)();
    }
}

/// Returns why the stream is over, or `None` if it shall end.
fn watch(stop: &Stop, running: &mut Running) -> Option<String> {
    // An error before this line wakes no thread and is found below.
    let _ = running.supervisor.set(thread::current());
    let mut callbacks = running.callbacks.load(Ordering::Relaxed);
    let mut alive_at = Instant::now();
    while !stop.is_set() {
        if let Ok(error) = running.errors.pop() {
            return Some(words(&error).to_owned());
        }
        let now_callbacks = running.callbacks.load(Ordering::Relaxed);
        if now_callbacks != callbacks {
            callbacks = now_callbacks;
            alive_at = Instant::now();
        } else if alive_at.elapsed() > STALLED {
            return Some(format!("it has not moved for {} s", STALLED.as_secs()));
        }
        stop.doze(WATCH);
    }
    None
}

/// The answer to a caller that has gone is dropped, and a stream that was opened with it.
fn in_thread<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, DeviceError> + Send + 'static,
) -> Result<Receiver<Result<T, DeviceError>>, DeviceError> {
    let (answer, answered) = sync_channel(1);
    let work = move || {
        let _ = answer.send(with_messages_logged(ask));
    };
    thread::Builder::new()
        .name("device opener".into())
        .spawn(work)
        .map_err(|error| DeviceError::NoThread(Cause::of_system(error)))?;
    Ok(answered)
}

fn no_answer(error: RecvTimeoutError) -> DeviceError {
    let why = match error {
        RecvTimeoutError::Timeout => format!("no answer for {} s", OPEN_PATIENCE.as_secs()).into(),
        RecvTimeoutError::Disconnected => "the request failed without a reason".into(),
    };
    DeviceError::NoSoundSystem { why }
}

/// Ends a stream, but leaves it to itself if its sound system hangs.
fn close(running: Running) {
    let (done, ended) = sync_channel::<()>(1);
    let work = move || {
        drop(running);
        drop(done);
    };
    if thread::Builder::new().name("device closer".into()).spawn(work).is_ok() {
        let _ = ended.recv_timeout(CLOSE_PATIENCE);
    }
}
