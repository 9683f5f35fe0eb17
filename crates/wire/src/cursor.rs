//! Reading and writing big-endian fields. Every read is checked; a write can only grow its own
//! buffer.

use crate::decode_error::DecodeError;

/// Reads fields off the front of a packet.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Text as u16 length + 1, then UTF-8; 0 means there is none, which reads as empty.
    pub(crate) fn text(&mut self, most_bytes: usize) -> Result<&'a str, DecodeError> {
        let Some(length) = self.u16()?.checked_sub(1).map(usize::from) else {
            return Ok("");
        };
        if length > most_bytes {
            return Err(DecodeError::TooLong);
        }
        std::str::from_utf8(self.bytes(length)?).map_err(|_| DecodeError::NotText)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// A packet ends where its last field ends.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Appends fields to a packet.
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Text longer than `most_bytes` is cut at a character, so that what we send is always what
    /// others accept.
    pub(crate) fn text(&mut self, text: &str, most_bytes: usize) {
        let cut = &text[..text.floor_char_boundary(most_bytes)];
        self.u16(cut.len() as u16 + 1);
        self.bytes(cut.as_bytes());
    }

    /// A u16 count. Callers bound their lists far below it.
    pub(crate) fn count(&mut self, count: usize) {
        debug_assert!(count <= usize::from(u16::MAX), "a list of {count} does not fit its count");
        self.u16(count.min(usize::from(u16::MAX)) as u16);
    }
}
