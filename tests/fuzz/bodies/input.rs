//! Reads a fuzzer's bytes as a script: fields off the front, zero when there are no more.

/// What is left of an input.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether the script goes on.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// So many bytes, or as many as there are.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind their own length.
    pub fn block(&mut self) -> &'a [u8] {
        let count = usize::from(self.u8());
        self.bytes(count)
    }
}

/// A packet with a header that is right, so that a script's bytes reach what lies behind the first
/// check.
pub fn with_header(kind: u8, session: u32, body: &[u8]) -> Vec<u8> {
    const HANDSHAKE_REQUEST: u8 = 4;
    let mut packet = vec![0x8B, 0xC7, kind];
    if kind != HANDSHAKE_REQUEST {
        packet.extend_from_slice(&session.to_be_bytes());
    }
    packet.extend_from_slice(body);
    packet
}
