//! A network of functions that closes the voice it belongs to, or whose voice is closed meanwhile.

use std::ffi::c_void;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;

use super::*;
use crate::network::{NO_NETWORK, vmesh_network, vmesh_network_event};
use crate::over::{vmesh_over_new, vmesh_over_run, vmesh_over_update};

/// What the functions of a network are given.
#[derive(Default)]
struct Game {
    voice: AtomicU64,
    calls: AtomicU32,
    disconnects: AtomicU32,
    /// The first `receive` closes the voice.
    closes: bool,
    /// The first `receive` waits for another thread, twice.
    gate: Option<Barrier>,
    has_received: AtomicBool,
    is_inside: AtomicBool,
}

/// The context of each call is a game that lives on.
fn game<'a>(context: *mut c_void) -> &'a Game {
    // SAFETY: each test hands over a game that is dropped last.
    let game = unsafe { &*context.cast::<Game>() };
    game.calls.fetch_add(1, SeqCst);
    game
}

unsafe extern "C" fn begin(context: *mut c_void) -> i32 {
    game(context);
    VMESH_OK as i32
}

unsafe extern "C" fn end(context: *mut c_void) {
    game(context).disconnects.fetch_add(1, SeqCst);
}

unsafe extern "C" fn to_server(context: *mut c_void, _: i32, _: *const u8, _: usize) -> i32 {
    game(context);
    VMESH_OK as i32
}

unsafe extern "C" fn to_client(
    context: *mut c_void,
    _: u64,
    _: i32,
    _: *const u8,
    _: usize,
) -> i32 {
    game(context);
    VMESH_OK as i32
}

unsafe extern "C" fn receive(context: *mut c_void, _: *mut vmesh_network_event) -> i32 {
    let game = game(context);
    game.is_inside.store(true, SeqCst);
    let is_first = !game.has_received.swap(true, SeqCst);
    if let Some(gate) = game.gate.as_ref().filter(|_| is_first) {
        gate.wait();
        gate.wait();
    }
    if game.closes && is_first {
        let before = game.calls.load(SeqCst);
        assert_eq!(vmesh_room_close(game.voice.load(SeqCst)), VMESH_OK);
        assert_eq!(game.calls.load(SeqCst), before, "no function is called within another");
        game.disconnects.store(0, SeqCst);
    }
    game.is_inside.store(false, SeqCst);
    VMESH_EMPTY as i32
}

fn open(game: &Game) -> vmesh_room {
    let network = vmesh_network {
        size: size_of::<vmesh_network>() as u32,
        context: std::ptr::from_ref(game).cast_mut().cast(),
        connect: Some(begin),
        disconnect: Some(end),
        host: Some(begin),
        stop_hosting: Some(end),
        send_to_server: Some(to_server),
        send_to_client: Some(to_client),
        receive: Some(receive),
        ..NO_NETWORK
    };
    let (options, mut voice) = (filled(), 0);
    // SAFETY: structures with their sizes, and a place for the handle.
    let opened = unsafe { vmesh_over_new(&raw const options, &raw const network, &raw mut voice) };
    assert_eq!(opened, VMESH_OK, "{}", last_error());
    game.voice.store(voice, SeqCst);
    assert_eq!(vmesh_over_run(voice, vmesh_mode::VMESH_MODE_CLIENT as i32), VMESH_OK);
    voice
}

/// Calls update until `is_so`.
fn update_until(voice: vmesh_room, is_so: impl Fn() -> bool) -> vmesh_result {
    let mut last = VMESH_OK;
    while last == VMESH_OK && !is_so() {
        last = vmesh_over_update(voice);
        thread::yield_now();
    }
    last
}

#[test]
fn a_voice_that_a_function_of_its_network_closes_takes_its_leave_within_that_update() {
    let game = Game { closes: true, ..Game::default() };
    let voice = open(&game);
    assert_eq!(update_until(voice, || false), VMESH_ERROR_CLOSED);
    assert_eq!(game.disconnects.load(SeqCst), 1, "the network was ended");
    let calls = game.calls.load(SeqCst);
    assert_eq!(vmesh_over_update(voice), VMESH_ERROR_CLOSED);
    assert_eq!(vmesh_room_close(voice), VMESH_OK);
    assert_eq!(game.calls.load(SeqCst), calls, "no function is called any more");
}

#[test]
fn closing_waits_for_an_update_on_another_thread() {
    let game = Game { gate: Some(Barrier::new(2)), ..Game::default() };
    let voice = open(&game);
    let gate = game.gate.as_ref().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| update_until(voice, || false));
        gate.wait();
        let closing = scope.spawn(|| {
            assert_eq!(vmesh_room_close(voice), VMESH_OK);
            assert!(!game.is_inside.load(SeqCst), "no function is under way after it");
            game.calls.load(SeqCst)
        });
        // The handle is closed for others before the network's functions have returned.
        while with(voice, |_| Ok(())).is_ok() {
            thread::yield_now();
        }
        assert!(game.is_inside.load(SeqCst));
        game.disconnects.store(0, SeqCst);
        gate.wait();
        let calls = closing.join().unwrap();
        assert_eq!(game.calls.load(SeqCst), calls, "no function is called after it");
    });
    assert_eq!(game.disconnects.load(SeqCst), 1);
}
