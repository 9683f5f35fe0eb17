//! What the module of keys exports: [`Keys`], over two areas in the module's memory. Times are in
//! ms, as f64. A call writes its result to the area for output and returns its length; below zero,
//! there is none. Before `create`, every call fails.

#![allow(unsafe_code)] // Only for the attribute that gives an export its name.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::{Keys, KeysError};

/// The largest packet, a peer id before it, and what sealing adds.
const AREA_BYTES: usize = 20_480;

/// The page writes it from outside.
static INPUT: [AtomicU8; AREA_BYTES] = [const { AtomicU8::new(0) }; AREA_BYTES];
/// The page reads it.
static OUTPUT: [AtomicU8; AREA_BYTES] = [const { AtomicU8::new(0) }; AREA_BYTES];

#[derive(Default)]
struct Module {
    keys: Option<Keys>,
    input: Vec<u8>,
    output: Vec<u8>,
}

thread_local! {
    static MODULE: RefCell<Module> = RefCell::default();
}

/// Acts on the ring with what the page has written.
fn with<R>(
    input_bytes: usize,
    failed: R,
    act: impl FnOnce(&mut Keys, &[u8], &mut Vec<u8>) -> R,
) -> R {
    MODULE.with_borrow_mut(|Module { keys, input, output }| {
        let Some(keys) = keys else { return failed };
        read(input_bytes, input);
        output.clear();
        let result = act(keys, input, output);
        for (byte, shared) in output.iter().zip(&OUTPUT) {
            shared.store(*byte, Relaxed);
        }
        result
    })
}

/// The same, for what gives bytes.
fn gives(
    input_bytes: usize,
    act: impl FnOnce(&mut Keys, &[u8], &mut Vec<u8>) -> Result<(), KeysError>,
) -> i32 {
    with(input_bytes, -1, |keys, input, output| match act(keys, input, output) {
        Ok(()) => output.len() as i32,
        Err(KeysError::Refused) => -1,
        Err(KeysError::NoKey) => -2,
    })
}

fn read(input_bytes: usize, input: &mut Vec<u8>) {
    input.clear();
    input.extend(INPUT.iter().take(input_bytes).map(|byte| byte.load(Relaxed)));
}

fn time(ms: f64) -> Duration {
    Duration::from_micros((ms * 1_000.0) as u64)
}

#[unsafe(no_mangle)]
extern "C" fn input() -> usize {
    INPUT.as_ptr() as usize
}

#[unsafe(no_mangle)]
extern "C" fn output() -> usize {
    OUTPUT.as_ptr() as usize
}

/// Begins anew, and clears what was written for it.
#[unsafe(no_mangle)]
extern "C" fn create(
    input_bytes: usize,
    origin_bytes: usize,
    instance: u32,
    has_room_key: bool,
    max_members: usize,
) -> bool {
    let mut input = Zeroizing::new(Vec::with_capacity(input_bytes.min(AREA_BYTES)));
    read(input_bytes, &mut input);
    for byte in INPUT.iter().take(input_bytes) {
        byte.store(0, Relaxed);
    }
    let keys = Keys::create(&input, origin_bytes, instance, has_room_key, max_members).ok();
    MODULE.with_borrow_mut(|module| {
        module.keys = keys;
        module.keys.is_some()
    })
}

#[unsafe(no_mangle)]
extern "C" fn announcement(session: u32) -> i32 {
    gives(0, |keys, _, output| {
        output.extend(keys.announcement(session)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn set_member(now: f64, session: u32, input_bytes: usize) -> i32 {
    with(input_bytes, -1, |keys, input, _| keys.set_member(time(now), session, input))
}

#[unsafe(no_mangle)]
extern "C" fn remove_member(now: f64, input_bytes: usize) {
    with(input_bytes, (), |keys, input, _| keys.remove_member(time(now), input));
}

#[unsafe(no_mangle)]
extern "C" fn identity(input_bytes: usize, own: bool) -> i32 {
    gives(input_bytes, |keys, input, output| {
        output.extend(keys.identity(input, own)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn standing(input_bytes: usize) -> u32 {
    with(input_bytes, 0, |keys, input, _| keys.standing(input))
}

#[unsafe(no_mangle)]
extern "C" fn agree_next() -> bool {
    with(0, false, |keys, _, _| keys.agree_next())
}

#[unsafe(no_mangle)]
extern "C" fn poll_package() -> i32 {
    gives(0, |keys, _, output| {
        output.extend(keys.poll_package().ok_or(KeysError::Refused)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn send_keys_again(input_bytes: usize) {
    with(input_bytes, (), |keys, input, _| keys.send_keys_again(input));
}

#[unsafe(no_mangle)]
extern "C" fn accept_package(now: f64, input_bytes: usize) -> bool {
    with(input_bytes, false, |keys, input, _| keys.accept_package(time(now), input).is_ok())
}

#[unsafe(no_mangle)]
extern "C" fn seal(
    now: f64,
    label: u32,
    for_one: bool,
    clear_bytes: usize,
    input_bytes: usize,
) -> i32 {
    gives(input_bytes, |keys, input, output| {
        keys.seal(time(now), label, for_one, clear_bytes, input, output)
    })
}

#[unsafe(no_mangle)]
extern "C" fn open(
    now: f64,
    label: u32,
    for_one: bool,
    clear_bytes: usize,
    input_bytes: usize,
) -> i32 {
    gives(input_bytes, |keys, input, output| {
        keys.open(time(now), label, for_one, clear_bytes, input, output)
    })
}

#[unsafe(no_mangle)]
extern "C" fn seal_value(key_bytes: usize, input_bytes: usize) -> i32 {
    gives(input_bytes, |keys, input, output| keys.seal_value(key_bytes, input, output))
}

#[unsafe(no_mangle)]
extern "C" fn open_value(key_bytes: usize, input_bytes: usize) -> i32 {
    gives(input_bytes, |keys, input, output| keys.open_value(key_bytes, input, output))
}

#[unsafe(no_mangle)]
extern "C" fn tag_fingerprint(session: u32, attempt: u32, input_bytes: usize) -> i32 {
    gives(input_bytes, |keys, input, output| {
        output.extend(keys.tag_fingerprint(session, attempt, input)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn verify_fingerprint(session: u32, attempt: u32, input_bytes: usize) -> bool {
    with(input_bytes, false, |keys, input, _| keys.verify_fingerprint(session, attempt, input))
}

/// Six groups of five digits, as ASCII.
#[unsafe(no_mangle)]
extern "C" fn safety_code() -> i32 {
    gives(0, |keys, _, output| {
        output.extend(keys.safety_code().into_bytes());
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn run_timers(now: f64) {
    with(0, (), |keys, _, _| keys.update(time(now)));
}

/// When `run_timers` has something to do next; infinite if it has not.
#[unsafe(no_mangle)]
extern "C" fn next_timer() -> f64 {
    with(0, f64::INFINITY, |keys, _, _| {
        keys.poll_timeout().map_or(f64::INFINITY, |at| at.as_secs_f64() * 1_000.0)
    })
}
