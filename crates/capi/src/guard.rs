//! The frame of every function: a panic becomes a result, and the last error of a thread keeps its
//! sentence.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::vmesh_result;

/// Why a call failed: for programs, and for people.
#[derive(Debug)]
pub struct Fault {
    pub(crate) result: vmesh_result,
    pub(crate) why: String,
}

impl Fault {
    pub(crate) fn new(result: vmesh_result, why: impl Into<String>) -> Self {
        Self { result, why: why.into() }
    }

    pub(crate) fn null(what: &str) -> Self {
        Self::new(vmesh_result::VMESH_ERROR_NULL, format!("{what} is a null pointer"))
    }

    pub(crate) fn unknown_peer() -> Self {
        Self::new(vmesh_result::VMESH_ERROR_UNKNOWN_PEER, "there is no such peer in the room")
    }

    pub(crate) fn value(what: &str, value: impl std::fmt::Display) -> Self {
        Self::new(vmesh_result::VMESH_ERROR_BAD_VALUE, format!("{what} cannot be {value}"))
    }
}

/// What a function's body gives.
pub(crate) type Outcome = Result<vmesh_result, Fault>;

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Runs the body of a function. State that a panic leaves incomplete is behind locks whose
/// poisoning is ignored, and belongs to a handle that the caller is advised to close.
pub(crate) fn guarded(body: impl FnOnce() -> Outcome) -> vmesh_result {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(result)) => result,
        Ok(Err(fault)) => {
            remember(fault.why);
            fault.result
        }
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text =
                text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            // Whatever else it is could panic again as it is dropped.
            std::mem::forget(payload);
            remember(format!("a fault of voicemesh: {text}"));
            vmesh_result::VMESH_ERROR_INTERNAL
        }
    }
}

/// The same for audio threads: what fails leaves no sentence, which would take memory.
pub(crate) fn guarded_quietly(body: impl FnOnce() -> vmesh_result) -> vmesh_result {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        vmesh_result::VMESH_ERROR_INTERNAL
    })
}

fn remember(why: String) {
    let why = CString::new(why.replace('\0', " ")).unwrap_or_default();
    // A thread that is ending has no place for it any more.
    let _ = LAST.try_with(|last| last.replace(Some(why)));
}

/// The last error of a call on this thread, as a sentence for people that ends in a NUL; the empty
/// text if there was none.
///
/// It is the library's, and stays as it is until the next call of this thread fails, or the thread
/// ends. A call that succeeds does not change it.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_last_error() -> *const c_char {
    let last = LAST.try_with(|last| last.borrow().as_ref().map(|why| why.as_ptr()));
    last.ok().flatten().unwrap_or(c"".as_ptr())
}

/// What a result means, as a sentence for people that ends in a NUL. It is the library's, and
/// constant.
///
/// Takes any number; one that is no vmesh_result is said to be unknown.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_result_text(result: i32) -> *const c_char {
    let text = match result {
        0 => c"it worked",
        1 => c"there is nothing more",
        -1 => c"a pointer is null that must not be",
        -2 => c"the handle was never given out, or is of another kind",
        -3 => c"the handle was closed",
        -4 => c"a structure's size is none that is known",
        -5 => c"a text is not UTF-8",
        -6 => c"a number stands for no choice, or is out of bounds",
        -7 => c"the address is not one of a server",
        -8 => c"a name is too long or blank, or has control characters",
        -9 => c"a microphone or speaker cannot be opened",
        -10 => c"a recording cannot be begun",
        -11 => c"a certificate cannot be read",
        -12 => c"the operating system refuses what is needed",
        -13 => c"too many handles are open",
        -14 => c"there is no such peer in the room",
        -15 => c"a buffer is too small",
        -16 => c"so much waits to be sent that no more is taken",
        -17 => c"a message of this kind cannot be that large",
        -18 => c"that peer takes no messages",
        -19 => c"the channel is not open",
        -20 => c"the other side opened the channel as another kind",
        -21 => c"this peer has left the room",
        -22 => c"the reachability token is none of that peer's",
        -23 => c"the password is too long",
        -24 => c"a recording is kept already",
        -25 => c"the server is out of reach, so that the others cannot see it",
        -100 => c"a fault of voicemesh",
        _ => c"an unknown result",
    };
    text.as_ptr()
}
