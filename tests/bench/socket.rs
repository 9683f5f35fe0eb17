//! The least WebSocket that can load a server (RFC 6455 §5.2): no masking work, no allocation per
//! frame, so that the generator costs less than what it measures.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use voicemesh_wire::signaling::{PATH, SUBPROTOCOL};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

const FINAL: u8 = 0x80;
/// Clients must mask; under a key of zero the payload stays as it is.
const MASKED: u8 = 0x80;
const KEY: [u8; 4] = [0; 4];
/// Read at a time.
const READ_BYTES: usize = 4096;
/// The largest answer to an upgrade that is read.
const MOST_ANSWER_BYTES: usize = 8192;

/// Appends one frame. No payload here is longer than 65,535 bytes.
pub fn frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        long => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    out.extend_from_slice(payload);
}

/// What has arrived and was not looked at.
#[derive(Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Incoming {
    /// The next whole frame: opcode and payload.
    pub fn next(&mut self) -> Option<(u8, &[u8])> {
        let rest = &self.bytes[self.taken..];
        let (header, length) = match (*rest.get(1)?, rest) {
            (126, [_, _, a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, [_, _, length @ ..]) => {
                (10, u64::from_be_bytes(*length.first_chunk::<8>()?) as usize)
            }
            (126 | 127, _) => return None,
            (length, _) => (2, usize::from(length & 0x7F)),
        };
        let opcode = rest[0] & 0x0F;
        let end = header + length;
        if rest.len() < end {
            return None;
        }
        let at = self.taken;
        self.taken += end;
        Some((opcode, &self.bytes[at + header..at + end]))
    }

    /// Waits for more.
    pub async fn fill(&mut self, source: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.reserve(READ_BYTES);
        match source.read_buf(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// One connection, upgraded.
pub struct Socket {
    pub reader: OwnedReadHalf,
    pub writer: OwnedWriteHalf,
    pub incoming: Incoming,
}

impl Socket {
    /// Connects and upgrades.
    pub async fn connect(server: SocketAddr) -> io::Result<Self> {
        Self::upgrade(TcpStream::connect(server).await?, server, "").await
    }

    /// Upgrades a connection; `headers` are further lines of the request.
    pub async fn upgrade(stream: TcpStream, server: SocketAddr, headers: &str) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{headers}\r\n"
        );
        writer.write_all(request.as_bytes()).await?;
        let mut socket = Self { reader, writer, incoming: Incoming::default() };
        socket.read_answer().await?;
        Ok(socket)
    }

    async fn read_answer(&mut self) -> io::Result<()> {
        loop {
            self.incoming.fill(&mut self.reader).await?;
            let answer = &self.incoming.bytes;
            if let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
                if !answer.starts_with(b"HTTP/1.1 101 ") {
                    let line = String::from_utf8_lossy(&answer[..end])
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    return Err(io::Error::other(format!("the server does not upgrade: {line}")));
                }
                self.incoming.taken = end + 4;
                return Ok(());
            }
            if answer.len() > MOST_ANSWER_BYTES {
                return Err(io::Error::other("an endless answer"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![FINAL | opcode];
        match payload.len() {
            short @ 0..=125 => frame.push(short as u8),
            medium @ 126..=65_535 => {
                frame.push(126);
                frame.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn frames_of_every_length_are_taken_whole() {
        let payloads = [vec![], vec![1; 125], vec![2; 126], vec![3; 65_535], vec![4; 65_536]];
        let mut incoming = Incoming::default();
        for payload in &payloads {
            for byte in served(BINARY, payload) {
                assert_eq!(incoming.next(), None, "not before its last byte");
                incoming.bytes.push(byte);
            }
            assert_eq!(incoming.next(), Some((BINARY, payload.as_slice())));
        }
        assert_eq!(incoming.next(), None);
    }

    #[test]
    fn what_is_sent_is_masked_with_a_key_that_changes_nothing() {
        let mut out = Vec::new();
        frame(TEXT, b"hi", &mut out);
        assert_eq!(out, [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        out.clear();
        frame(BINARY, &[7; 126], &mut out);
        assert_eq!(out[..8], [0x82, 0xFE, 0, 126, 0, 0, 0, 0]);
        assert_eq!(out.len(), 8 + 126);
    }
}
