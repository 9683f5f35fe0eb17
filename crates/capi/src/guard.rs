//! The frame of every function: a panic becomes a result, and the last error of a thread keeps its
//! sentence.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
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
        Self::new(
            vmesh_result::VMESH_ERROR_NULL,
            format!("{what} is a null pointer; hand in what it is to point to"),
        )
    }

    pub(crate) fn unknown_peer() -> Self {
        Self::new(
            vmesh_result::VMESH_ERROR_UNKNOWN_PEER,
            "there is no such peer in the room; take the id from vmesh_room_peers",
        )
    }

    pub(crate) fn value(what: &str, value: impl std::fmt::Display) -> Self {
        Self::new(
            vmesh_result::VMESH_ERROR_BAD_VALUE,
            format!("{what} cannot be {value}; the header says what it can be"),
        )
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
            remember(format!(
                "a fault of voicemesh: {text}; close the handle, and report this sentence"
            ));
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
    let known = ALL.into_iter().find(|one| *one as i32 == result).map_or(
        c"an unknown result; the library is newer than the program, or the number is none of its",
        meaning,
    );
    known.as_ptr()
}

/// Every result.
const ALL: [vmesh_result; 30] = {
    use vmesh_result::*;
    [
        VMESH_OK,
        VMESH_EMPTY,
        VMESH_ERROR_NULL,
        VMESH_ERROR_BAD_HANDLE,
        VMESH_ERROR_CLOSED,
        VMESH_ERROR_BAD_SIZE,
        VMESH_ERROR_BAD_TEXT,
        VMESH_ERROR_BAD_VALUE,
        VMESH_ERROR_BAD_SERVER,
        VMESH_ERROR_BAD_NAME,
        VMESH_ERROR_DEVICE,
        VMESH_ERROR_RECORDING,
        VMESH_ERROR_CERTIFICATE,
        VMESH_ERROR_SYSTEM,
        VMESH_ERROR_TOO_MANY,
        VMESH_ERROR_UNKNOWN_PEER,
        VMESH_ERROR_BUFFER,
        VMESH_ERROR_WOULD_BLOCK,
        VMESH_ERROR_TOO_LARGE,
        VMESH_ERROR_UNSUPPORTED,
        VMESH_ERROR_CHANNEL_CLOSED,
        VMESH_ERROR_CHANNEL_MISMATCH,
        VMESH_ERROR_LEFT,
        VMESH_ERROR_BAD_TOKEN,
        VMESH_ERROR_BAD_PASSWORD,
        VMESH_ERROR_ALREADY_RECORDING,
        VMESH_ERROR_SERVER_AWAY,
        VMESH_ERROR_NO_ROOM,
        VMESH_ERROR_NO_NETWORK,
        VMESH_ERROR_INTERNAL,
    ]
};

/// What happened and, if it is an error, what to do.
const fn meaning(result: vmesh_result) -> &'static CStr {
    use vmesh_result::*;
    match result {
        VMESH_OK => c"it worked",
        VMESH_EMPTY => c"there is nothing more",
        VMESH_ERROR_NULL => c"a pointer is null that must not be; hand in what it is to point to",
        VMESH_ERROR_BAD_HANDLE => {
            c"the handle was never given out, or is of another kind; use one that a call gave"
        }
        VMESH_ERROR_CLOSED => c"the handle was closed; open a new one",
        VMESH_ERROR_BAD_SIZE => c"a structure's size is none that is known; set it to sizeof first",
        VMESH_ERROR_BAD_TEXT => c"a text is not UTF-8; convert it",
        VMESH_ERROR_BAD_VALUE => {
            c"a number stands for no choice, or is out of bounds; the header says what it can be"
        }
        VMESH_ERROR_BAD_SERVER => {
            c"the address is not one of a server; use wss://host, or ws://host:port on your own machine"
        }
        VMESH_ERROR_BAD_NAME => {
            c"a name is too long or blank, or has control characters; choose another"
        }
        VMESH_ERROR_DEVICE => {
            c"a microphone or speaker cannot be opened; choose one that vmesh_devices lists"
        }
        VMESH_ERROR_RECORDING => c"a recording cannot be begun; name another folder",
        VMESH_ERROR_CERTIFICATE => c"a certificate cannot be read; name a PEM file",
        VMESH_ERROR_SYSTEM => {
            c"the operating system refuses what is needed; end other programs, or raise the limits"
        }
        VMESH_ERROR_TOO_MANY => c"too many handles are open; close those that are not used",
        VMESH_ERROR_UNKNOWN_PEER => {
            c"there is no such peer in the room; take the id from vmesh_room_peers"
        }
        VMESH_ERROR_BUFFER => c"a buffer is too small; make it as large as the call says",
        VMESH_ERROR_WOULD_BLOCK => {
            c"so much waits to be sent that no more is taken; try again in a later frame"
        }
        VMESH_ERROR_TOO_LARGE => {
            c"a message of this kind cannot be that large; send it in parts"
        }
        VMESH_ERROR_UNSUPPORTED => c"that peer takes no messages; write it a text instead",
        VMESH_ERROR_CHANNEL_CLOSED => c"the channel is not open; open it first",
        VMESH_ERROR_CHANNEL_MISMATCH => {
            c"the other side opened the channel as another kind; close it, and open it in the same way"
        }
        VMESH_ERROR_LEFT => c"this peer has left the room; join it again",
        VMESH_ERROR_BAD_TOKEN => {
            c"the reachability token is none of that peer's; take its newest one"
        }
        VMESH_ERROR_BAD_PASSWORD => c"the password, or the access token, is too long; shorten it",
        VMESH_ERROR_ALREADY_RECORDING => c"a recording is kept already; end that one first",
        VMESH_ERROR_SERVER_AWAY => {
            c"the server is out of reach, so that the others cannot see it; try again once it answers"
        }
        VMESH_ERROR_NO_ROOM => {
            c"a voice over the game's own network has no room; join one with vmesh_room_join for that"
        }
        VMESH_ERROR_NO_NETWORK => {
            c"a place in a room has no network of the game's; open a voice with vmesh_over_new for that"
        }
        VMESH_ERROR_INTERNAL => {
            c"a fault of voicemesh; close the handle, and report what vmesh_last_error says"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, meaning};
    use crate::vmesh_result;

    #[test]
    fn each_result_has_a_sentence_and_each_error_its_next_step() {
        let written = include_str!("values.rs").lines().filter_map(|line| {
            let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
            name.starts_with("VMESH_").then(|| number.parse::<i32>().ok())?
        });
        // The results come first; an enum that begins again at 0 is another one.
        let mut numbers: Vec<i32> = Vec::new();
        for number in written {
            if number == 0 && !numbers.is_empty() {
                break;
            }
            numbers.push(number);
        }
        assert_eq!(numbers, ALL.map(|result| result as i32), "each result is listed");
        for result in ALL {
            let text = meaning(result).to_str().expect("UTF-8");
            let is_error = !matches!(result, vmesh_result::VMESH_OK | vmesh_result::VMESH_EMPTY);
            assert_eq!(text.contains("; "), is_error, "{result:?}: {text}");
            assert!(!text.contains("os error"), "{text}");
        }
    }
}
