//! What the module exports. Times are in ms, as f64; a time that is none counts as zero. No call
//! can fail.

#![allow(unsafe_code)] // Only for the attribute that gives an export its name.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use voicemesh_uplink::policy::LossReport;

use crate::{Sender, WORDS};

/// The page reads and writes it from outside.
static BUFFER: [AtomicU32; WORDS] = [const { AtomicU32::new(0) }; WORDS];

thread_local! {
    static SENDER: RefCell<Sender> = RefCell::new(Sender::new(32_000));
}

fn with<R>(act: impl FnOnce(&mut Sender) -> R) -> R {
    SENDER.with_borrow_mut(act)
}

fn with_buffer<R>(act: impl FnOnce(&mut Sender, &mut [u32; WORDS]) -> R) -> R {
    let mut words = [0; WORDS];
    for (word, shared) in words.iter_mut().zip(&BUFFER) {
        *word = shared.load(Relaxed);
    }
    let result = with(|sender| act(sender, &mut words));
    for (word, shared) in words.iter().zip(&BUFFER) {
        shared.store(*word, Relaxed);
    }
    result
}

fn time(ms: f64) -> Duration {
    Duration::from_micros((ms * 1_000.0) as u64)
}

/// Where the buffer is in the module's memory.
#[unsafe(no_mangle)]
extern "C" fn buffer() -> usize {
    BUFFER.as_ptr() as usize
}

/// Begins anew.
#[unsafe(no_mangle)]
extern "C" fn start(bitrate_bps: u32) {
    with(|sender| *sender = Sender::new(bitrate_bps));
}

#[unsafe(no_mangle)]
extern "C" fn sent(now: f64, who: u32, generation: u32, sequence: u32, bytes: u32) {
    with(|sender| sender.sent(time(now), who, generation, sequence as u16, bytes));
}

/// `received_ms` below zero: the acknowledgement does not say.
#[unsafe(no_mangle)]
extern "C" fn acknowledged(
    now: f64,
    who: u32,
    generation: u32,
    newest: u32,
    earlier: u32,
    received_ms: f64,
) {
    let received_ms = (received_ms >= 0.0).then_some(received_ms as u32);
    with(|sender| {
        sender.acknowledged(time(now), who, generation, newest as u16, earlier, received_ms)
    });
}

#[unsafe(no_mangle)]
extern "C" fn probed(now: f64, who: u32, generation: u32, round_trip_ms: f64) {
    with(|sender| sender.probed(time(now), who, generation, time(round_trip_ms)));
}

#[unsafe(no_mangle)]
extern "C" fn background_sent(bytes: f64) {
    with(|sender| sender.background_sent(bytes as u64));
}

#[unsafe(no_mangle)]
extern "C" fn relay_headers(further: u32) {
    with(|sender| sender.relay_headers(further));
}

#[unsafe(no_mangle)]
extern "C" fn relay_sent(bytes: u32) {
    with(|sender| sender.relay_sent(bytes));
}

/// The number of a ping that is due, or -1.
#[unsafe(no_mangle)]
extern "C" fn ping_due(now: f64) -> i32 {
    with(|sender| sender.ping_due(time(now))).map_or(-1, i32::from)
}

#[unsafe(no_mangle)]
extern "C" fn answered(now: f64, number: u32) {
    with(|sender| sender.answered(time(now), number as u16));
}

#[unsafe(no_mangle)]
extern "C" fn relay_changed() {
    with(Sender::relay_changed);
}

#[unsafe(no_mangle)]
extern "C" fn shook_hands(now: f64, asked_at: f64) {
    with(|sender| sender.shook_hands(time(now), time(asked_at)));
}

#[unsafe(no_mangle)]
extern "C" fn report(
    now: f64,
    who: u32,
    expected: u32,
    lost: u32,
    unrepaired: u32,
    run_sixteenths: u32,
    buffer_ms: u32,
) {
    let (expected, lost, unrepaired) = (expected as u16, lost as u16, unrepaired as u16);
    let (mean_run, buffer) =
        (run_sixteenths as f32 / 16.0, Duration::from_millis(buffer_ms.into()));
    with(|sender| {
        sender.report(time(now), who, LossReport { expected, lost, unrepaired, mean_run, buffer })
    });
}

#[unsafe(no_mangle)]
extern "C" fn train_arrived(now: f64, who: u32, number: u32, received: u32, span_us: u32) {
    with(|sender| {
        sender.train_arrived(
            time(now),
            who,
            number as u16,
            received as u8,
            Duration::from_micros(span_us.into()),
        );
    });
}

#[unsafe(no_mangle)]
extern "C" fn link_stalled(who: u32, generation: u32) {
    with(|sender| sender.link_stalled(who, generation));
}

#[unsafe(no_mangle)]
extern "C" fn train_sent(packet_bytes: u32) {
    with(|sender| sender.train_sent(packet_bytes));
}

#[unsafe(no_mangle)]
extern "C" fn frame_sent(now: f64) {
    with(|sender| sender.frame_sent(time(now)));
}

#[unsafe(no_mangle)]
extern "C" fn is_silent(now: f64) -> bool {
    with(|sender| {
        sender.look_for_room(time(now));
        sender.is_silent(time(now))
    })
}

/// The number of a link that begins to open, or less than zero: none may for so many ms.
#[unsafe(no_mangle)]
extern "C" fn opening_begins(now: f64) -> f64 {
    match with(|sender| sender.opening_begins(time(now))) {
        Ok(number) => number as f64,
        Err(at) => now - at.as_micros() as u64 as f64 / 1_000.0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn opening_ended(now: f64, number: f64) {
    with(|sender| sender.opening_ended(time(now), number as u64));
}

#[unsafe(no_mangle)]
extern "C" fn network_changed() {
    with(Sender::network_changed);
}

#[unsafe(no_mangle)]
extern "C" fn forget(who: u32) {
    with(|sender| sender.forget(who));
}

/// Reads `listeners` pairs of words from the buffer, and writes the decision there.
#[unsafe(no_mangle)]
extern "C" fn begin(now: f64, listeners: u32) {
    with_buffer(|sender, words| sender.begin(time(now), listeners as usize, words));
}

/// The same; false, and nothing is written, while it is not time to decide.
#[unsafe(no_mangle)]
extern "C" fn update(now: f64, listeners: u32) -> bool {
    with_buffer(|sender, words| sender.update(time(now), listeners as usize, words))
}
