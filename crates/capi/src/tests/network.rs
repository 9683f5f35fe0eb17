//! A game's own network as careless programs hand it over and use it.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::size_of;
use std::ptr::{null, null_mut};

use crate::network::{vmesh_network, vmesh_network_event};
use crate::options::{vmesh_options, vmesh_options_init};
use crate::over::{
    vmesh_over_follow, vmesh_over_mode, vmesh_over_new, vmesh_over_run, vmesh_over_update,
};
use crate::room::{
    vmesh_microphone_set_muted, vmesh_room, vmesh_room_close, vmesh_room_stop_recording,
};
use crate::vmesh_result::*;
use crate::{
    VMESH_NUL_TERMINATED, vmesh_mode, vmesh_network_event_type, vmesh_result, vmesh_string,
};

/// What a network's functions were called with, and what they do.
#[derive(Default)]
struct Calls {
    peer: Cell<vmesh_room>,
    hosts: Cell<u32>,
    stops: Cell<u32>,
    /// What calls from inside the network gave.
    within: Cell<Option<(vmesh_result, vmesh_result)>>,
    closes: Cell<bool>,
}

fn calls(context: *mut c_void) -> &'static Calls {
    // SAFETY: each test hands over calls that live as long as the program.
    unsafe { &*context.cast::<Calls>() }
}

unsafe extern "C" fn begin(_: *mut c_void) -> i32 {
    -1
}

unsafe extern "C" fn end(_: *mut c_void) {}

unsafe extern "C" fn host(context: *mut c_void) -> i32 {
    let calls = calls(context);
    calls.hosts.set(calls.hosts.get() + 1);
    let peer = calls.peer.get();
    calls.within.set(Some((vmesh_over_update(peer), vmesh_microphone_set_muted(peer, 1))));
    if calls.closes.get() {
        assert_eq!(vmesh_room_close(peer), VMESH_OK);
    }
    0
}

unsafe extern "C" fn stop_hosting(context: *mut c_void) {
    let calls = calls(context);
    calls.stops.set(calls.stops.get() + 1);
}

unsafe extern "C" fn send(_: *mut c_void, _: i32, _: *const u8, _: usize) -> i32 {
    0
}

unsafe extern "C" fn send_to(_: *mut c_void, _: u64, _: i32, _: *const u8, _: usize) -> i32 {
    0
}

unsafe extern "C" fn receive(context: *mut c_void, event: *mut vmesh_network_event) -> i32 {
    let calls = calls(context);
    if calls.hosts.get() == 1 && calls.stops.get() == 0 {
        calls.hosts.set(2);
        // SAFETY: the library gives a place for the event.
        unsafe { (*event).r#type = vmesh_network_event_type::VMESH_NETWORK_HOSTING as i32 };
        return 0;
    }
    1
}

fn table(calls: &'static Calls) -> vmesh_network {
    vmesh_network {
        size: size_of::<vmesh_network>() as u32,
        unreliable_bytes: 0,
        reliable_bytes: 0,
        reserved: 0,
        context: std::ptr::from_ref(calls).cast_mut().cast(),
        connect: Some(begin),
        disconnect: Some(end),
        host: Some(host),
        stop_hosting: Some(stop_hosting),
        send_to_server: Some(send),
        send_to_client: Some(send_to),
        receive: Some(receive),
        flush: None,
        end_client: None,
        send_to_link: None,
        release_link: None,
    }
}

fn options() -> vmesh_options {
    let mut options = std::mem::MaybeUninit::<vmesh_options>::uninit();
    let text = |text: &'static std::ffi::CStr| vmesh_string {
        data: text.as_ptr(),
        length: VMESH_NUL_TERMINATED,
    };
    // SAFETY: room for so many bytes, all of which are written.
    let options = unsafe {
        let size = size_of::<vmesh_options>() as u32;
        assert_eq!(vmesh_options_init(options.as_mut_ptr(), size), VMESH_OK);
        options.assume_init()
    };
    vmesh_options { input: text(c"silence"), output: text(c"null"), ..options }
}

fn open(network: &vmesh_network) -> (vmesh_result, vmesh_room) {
    let mut peer = 1;
    // SAFETY: structures with their sizes, and a place for the handle.
    let result = unsafe { vmesh_over_new(&options(), network, &raw mut peer) };
    (result, peer)
}

fn leak() -> &'static Calls {
    Box::leak(Box::default())
}

#[test]
fn a_network_that_lacks_something_is_refused() {
    let whole = table(leak());
    for lacking in [
        vmesh_network { connect: None, ..whole },
        vmesh_network { stop_hosting: None, ..whole },
        vmesh_network { send_to_client: None, ..whole },
        vmesh_network { receive: None, ..whole },
    ] {
        assert_eq!(open(&lacking), (VMESH_ERROR_NULL, 0));
    }
    assert_eq!(open(&vmesh_network { size: 8, ..whole }), (VMESH_ERROR_BAD_SIZE, 0));
    assert_eq!(open(&vmesh_network { unreliable_bytes: 100, ..whole }), (VMESH_ERROR_BAD_VALUE, 0));
    let mut peer = 1;
    // SAFETY: null where a pointer is asked for.
    unsafe {
        assert_eq!(vmesh_over_new(null(), &whole, &raw mut peer), VMESH_ERROR_NULL);
        assert_eq!(vmesh_over_new(&options(), null(), &raw mut peer), VMESH_ERROR_NULL);
        assert_eq!(vmesh_over_new(&options(), &whole, null_mut()), VMESH_ERROR_NULL);
    }
    assert_eq!((vmesh_over_update(peer), peer), (VMESH_ERROR_BAD_HANDLE, 0));
}

#[test]
fn functions_of_a_network_may_call_the_library_but_not_update_in_themselves() {
    let calls = leak();
    let (result, peer) = open(&table(calls));
    assert_eq!(result, VMESH_OK);
    calls.peer.set(peer);
    assert_eq!(vmesh_over_follow(peer, 7), VMESH_ERROR_BAD_VALUE);
    assert_eq!(vmesh_room_stop_recording(peer), VMESH_ERROR_NO_ROOM);
    assert_eq!(vmesh_over_follow(peer, vmesh_mode::VMESH_MODE_HOST as i32), VMESH_OK);
    let mut mode = 0;
    while mode != vmesh_mode::VMESH_MODE_HOST as i32 {
        assert_eq!(vmesh_over_update(peer), VMESH_OK);
        // SAFETY: a place for the mode.
        assert_eq!(unsafe { vmesh_over_mode(peer, &raw mut mode) }, VMESH_OK);
    }
    while calls.within.get().is_none() {
        assert_eq!(vmesh_over_update(peer), VMESH_OK);
    }
    assert_eq!(calls.within.get(), Some((VMESH_ERROR_WOULD_BLOCK, VMESH_OK)));
    assert_eq!(calls.stops.get(), 0);
    assert_eq!((vmesh_room_close(peer), vmesh_room_close(peer)), (VMESH_OK, VMESH_OK));
    assert_eq!(calls.stops.get(), 1, "the network is stopped as the handle is closed");
    assert_eq!(vmesh_over_update(peer), VMESH_ERROR_CLOSED);
}

#[test]
fn a_handle_may_be_closed_by_a_function_of_its_network() {
    let calls = leak();
    calls.closes.set(true);
    let (result, peer) = open(&table(calls));
    assert_eq!(result, VMESH_OK);
    calls.peer.set(peer);
    assert_eq!(vmesh_over_run(peer, vmesh_mode::VMESH_MODE_HOST as i32), VMESH_OK);
    let mut result = VMESH_OK;
    while calls.within.get().is_none() {
        result = vmesh_over_update(peer);
    }
    assert_eq!(result, VMESH_ERROR_CLOSED);
    assert_eq!(calls.stops.get(), 1, "and its server is ended");
    assert_eq!(vmesh_over_update(peer), VMESH_ERROR_CLOSED);
}

#[test]
fn a_key_has_sixteen_bytes_or_is_refused() {
    let calls = leak();
    let network = table(calls);
    let key = [7_u8; 17];
    for (bytes, length, result) in [
        (key.as_ptr(), 16, VMESH_OK),
        (null(), 0, VMESH_OK),
        (key.as_ptr(), 15, VMESH_ERROR_BAD_VALUE),
        (key.as_ptr(), 17, VMESH_ERROR_BAD_VALUE),
        // Who forgets the length does not mean to go without.
        (key.as_ptr(), 0, VMESH_ERROR_BAD_VALUE),
        (null(), 16, VMESH_ERROR_NULL),
    ] {
        let options = vmesh_options { room_key: bytes, room_key_length: length, ..options() };
        let mut peer = 1;
        // SAFETY: structures with their sizes, a key of so many bytes, and a place for the handle.
        let opened = unsafe { vmesh_over_new(&options, &network, &raw mut peer) };
        assert_eq!(opened, result, "{length} bytes");
        if opened == VMESH_OK {
            assert_eq!(has_room_key(peer), !bytes.is_null());
            assert_eq!(vmesh_room_close(peer), VMESH_OK);
        }
    }
}

/// As the voice's situation says it, which is there from its thread's first turn on.
fn has_room_key(peer: vmesh_room) -> bool {
    loop {
        assert_eq!(vmesh_over_update(peer), VMESH_OK);
        let found = crate::room::with(peer, |backend| {
            Ok(backend.read_snapshot(|now| (!now.name.is_empty()).then_some(now.has_room_key)))
        });
        if let Ok(Some(has_room_key)) = found {
            return has_room_key;
        }
        std::thread::yield_now();
    }
}
