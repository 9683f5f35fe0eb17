//! The caller's memory: the only place that follows the caller's pointers.

use std::ffi::{CStr, c_char};
use std::mem::size_of;

use voicemesh::Metadata;

use crate::guard::Fault;
use crate::{VMESH_NUL_TERMINATED, vmesh_pair, vmesh_result, vmesh_string};

/// The longest text or list that is read; what is longer is no honest length.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A structure without a reference, a bool or an enum in it: every pattern of bits is one.
///
/// # Safety
///
/// That must be so.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: an array of bytes.
unsafe impl Plain for crate::vmesh_peer_id {}
// SAFETY: numbers.
unsafe impl Plain for u64 {}
// SAFETY: a number.
unsafe impl Plain for usize {}
// SAFETY: a number.
unsafe impl Plain for u8 {}
// SAFETY: a number.
unsafe impl Plain for i32 {}
// SAFETY: a number.
unsafe impl Plain for f32 {}
// SAFETY: numbers.
unsafe impl Plain for crate::vmesh_vector {}
// SAFETY: numbers and raw pointers.
unsafe impl Plain for vmesh_pair {}

/// A plain structure whose first field is its size, as a `u32`.
///
/// # Safety
///
/// That must be so (`repr(C)`).
pub(crate) unsafe trait Sized32: Plain {
    /// The size in the first version that had it.
    const FIRST: usize;
}

/// Reads what must not be null.
///
/// # Safety
///
/// `pointer` is null or points to a `T`.
pub(crate) unsafe fn read<T: Plain>(pointer: *const T, what: &str) -> Result<T, Fault> {
    if pointer.is_null() {
        return Err(Fault::null(what));
    }
    // SAFETY: not null, so it points to a T, by our caller's promise; it need not be aligned.
    Ok(unsafe { pointer.read_unaligned() })
}

/// Writes to where the caller wants it.
///
/// # Safety
///
/// `pointer` is null or points to memory for a `T`.
pub(crate) unsafe fn write<T: Plain>(pointer: *mut T, value: T, what: &str) -> Result<(), Fault> {
    if pointer.is_null() {
        return Err(Fault::null(what));
    }
    // SAFETY: not null, so there is room for a T, by our caller's promise.
    unsafe { pointer.write_unaligned(value) };
    Ok(())
}

/// The size that a caller's structure says it has.
///
/// # Safety
///
/// `pointer` is null or points to a structure that begins with its size.
unsafe fn size_of_theirs<T: Sized32>(pointer: *const T, what: &str) -> Result<usize, Fault> {
    if pointer.is_null() {
        return Err(Fault::null(what));
    }
    // SAFETY: not null, and every such structure begins with a u32.
    let size = unsafe { pointer.cast::<u32>().read_unaligned() } as usize;
    check_size::<T>(size, what)?;
    Ok(size)
}

pub(crate) fn check_size<T: Sized32>(size: usize, what: &str) -> Result<(), Fault> {
    if !(T::FIRST..=size_of::<T>() + 4096).contains(&size) {
        return Err(Fault::new(
            vmesh_result::VMESH_ERROR_BAD_SIZE,
            format!("the size of {what} cannot be {size}; set it to sizeof first"),
        ));
    }
    Ok(())
}

/// Reads a structure of any version: what an older caller does not have stays as in `value`; what a
/// newer one has, and this library does not know, must be zero.
///
/// # Safety
///
/// `pointer` is null or points to a structure that begins with its size.
pub(crate) unsafe fn read_sized<T: Sized32>(
    pointer: *const T,
    mut value: T,
    what: &str,
) -> Result<T, Fault> {
    // SAFETY: our caller's promise.
    let size = unsafe { size_of_theirs(pointer, what)? };
    let known = size.min(size_of::<T>());
    // SAFETY: theirs has `size` bytes, and ours at least `known`; T is plain, so any bytes are one.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), known)
    };
    for at in known..size {
        // SAFETY: within the `size` bytes of theirs.
        if unsafe { pointer.cast::<u8>().add(at).read() } != 0 {
            return Err(Fault::new(
                vmesh_result::VMESH_ERROR_BAD_SIZE,
                format!(
                    "{what} asks for something that this version of the library does not have; leave it zero, or use a newer library"
                ),
            ));
        }
    }
    Ok(value)
}

/// Writes as much of a structure as the caller's version has; the size stays the caller's.
///
/// # Safety
///
/// As [`read_sized`], and it may be written.
pub(crate) unsafe fn write_sized<T: Sized32>(
    pointer: *mut T,
    value: T,
    what: &str,
) -> Result<(), Fault> {
    // SAFETY: our caller's promise.
    let size = unsafe { size_of_theirs(pointer.cast_const(), what)? };
    // SAFETY: just read.
    unsafe { write_part(pointer.cast::<u8>(), value, size) };
    Ok(())
}

/// Writes the first `size` bytes of a structure, but for its size, which becomes `size`.
///
/// # Safety
///
/// `to` has room for `size` bytes, which are at least four.
pub(crate) unsafe fn write_part<T: Sized32>(to: *mut u8, value: T, size: usize) {
    let known = size.min(size_of::<T>());
    // SAFETY: there is room for `size` bytes, and ours has at least `known`.
    unsafe { std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), to, known) };
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    // SAFETY: the first four of those bytes.
    unsafe { to.cast::<u32>().write_unaligned(size) };
}

/// A caller's text.
///
/// # Safety
///
/// `data` is null or points to `length` bytes, or to bytes with a NUL among them if `length` says
/// so, which stay as they are for `'a`.
pub(crate) unsafe fn text<'a>(
    data: *const c_char,
    length: usize,
    what: &str,
) -> Result<&'a str, Fault> {
    let bytes = if data.is_null() {
        match length {
            0 | VMESH_NUL_TERMINATED => &[],
            _ => return Err(Fault::null(what)),
        }
    } else if length == VMESH_NUL_TERMINATED {
        // SAFETY: it ends in a NUL, by our caller's promise.
        unsafe { CStr::from_ptr(data) }.to_bytes()
    } else {
        // SAFETY: our caller's promise.
        unsafe { bytes(data.cast(), length, what)? }
    };
    std::str::from_utf8(bytes).map_err(|_| {
        Fault::new(vmesh_result::VMESH_ERROR_BAD_TEXT, format!("{what} is not UTF-8; convert it"))
    })
}

/// A caller's bytes, or other plain things one after the other.
///
/// # Safety
///
/// `data` is null or points to `count` aligned items, which stay as they are for `'a`.
pub(crate) unsafe fn bytes<'a, T: Plain>(
    data: *const T,
    count: usize,
    what: &str,
) -> Result<&'a [T], Fault> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Fault::null(what));
    }
    if count > MOST_BYTES / size_of::<T>().max(1) {
        return Err(Fault::value(&format!("the length of {what}"), count));
    }
    if !data.is_aligned() {
        return Err(Fault::value(what, "unaligned"));
    }
    // SAFETY: not null, aligned, and of that many items, by our caller's promise; bounded far below
    // isize::MAX.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// Where the caller wants samples, silent at first.
///
/// # Safety
///
/// `data` is null or points to memory for `count` samples, which nothing else accesses for `'a`.
pub(crate) unsafe fn samples<'a>(
    data: *mut f32,
    count: usize,
) -> Result<&'a mut [f32], vmesh_result> {
    if count == 0 {
        return Ok(&mut []);
    }
    check_samples(data, count)?;
    // SAFETY: not null, aligned, of that many samples, and bounded; zeros are samples, so that all
    // of it is initialised.
    unsafe {
        data.write_bytes(0, count);
        Ok(std::slice::from_raw_parts_mut(data, count))
    }
}

/// Samples that the caller hands over.
///
/// # Safety
///
/// `data` is null or points to `count` samples, which stay as they are for `'a`.
pub(crate) unsafe fn heard<'a>(data: *const f32, count: usize) -> Result<&'a [f32], vmesh_result> {
    if count == 0 {
        return Ok(&[]);
    }
    check_samples(data, count)?;
    // SAFETY: not null, aligned, of that many samples, and bounded.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// Without a sentence: [`guarded_quietly`](crate::guard::guarded_quietly).
fn check_samples(data: *const f32, count: usize) -> Result<(), vmesh_result> {
    if data.is_null() {
        Err(vmesh_result::VMESH_ERROR_NULL)
    } else if !data.is_aligned() || count > MOST_BYTES / size_of::<f32>() {
        Err(vmesh_result::VMESH_ERROR_BAD_VALUE)
    } else {
        Ok(())
    }
}

/// A text within a structure.
///
/// # Safety
///
/// As [`text`].
pub(crate) unsafe fn string<'a>(string: vmesh_string, what: &str) -> Result<&'a str, Fault> {
    // SAFETY: our caller's promise.
    unsafe { text(string.data, string.length, what) }
}

/// A caller's pairs.
///
/// # Safety
///
/// `pairs` is null or points to `count` pairs of texts, each as for [`text`].
pub(crate) unsafe fn metadata(pairs: *const vmesh_pair, count: usize) -> Result<Metadata, Fault> {
    // SAFETY: our caller's promise.
    let pairs = unsafe { bytes(pairs, count, "metadata")? };
    let mut metadata = Metadata::new();
    for pair in pairs {
        // SAFETY: our caller's promise, for both.
        let (key, value) = unsafe {
            (string(pair.key, "a metadata key")?, string(pair.value, "a metadata value")?)
        };
        metadata.insert(key.to_owned(), value.to_owned());
    }
    Ok(metadata)
}

/// Copies a text with its NUL into a caller's buffer, and tells how many bytes that takes.
///
/// # Safety
///
/// `buffer` is null, or has room for `capacity` bytes; `needed` is null or points to a number.
pub(crate) unsafe fn copy_out(
    text: &str,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> Result<vmesh_result, Fault> {
    let size = text.len() + 1;
    if !needed.is_null() {
        // SAFETY: our caller's promise.
        unsafe { write(needed, size, "needed")? };
    }
    if buffer.is_null() || capacity < size {
        return Err(Fault::new(
            vmesh_result::VMESH_ERROR_BUFFER,
            format!("the buffer is too small; make it {size} bytes"),
        ));
    }
    // SAFETY: the buffer has room for the text and one byte more.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast::<u8>(), text.len());
        buffer.add(text.len()).write(0);
    }
    Ok(vmesh_result::VMESH_OK)
}

/// A text in an array of `N` bytes with a NUL behind it; what does not fit is cut off between two
/// characters.
pub(crate) fn array<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    let end = text.floor_char_boundary(N - 1);
    for (to, from) in array.iter_mut().zip(&text.as_bytes()[..end]) {
        *to = from.cast_signed() as c_char;
    }
    array
}
