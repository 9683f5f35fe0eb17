//! A stream that keeps the first bytes that arrive on it, to say what they were if they are not
//! what was expected, and counts all of them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use voicemesh_common::lock;

/// More is never kept.
const MAX_BYTES: usize = 8 * 1024;

/// Wraps a stream.
#[derive(Debug)]
pub(crate) struct FirstBytes<S> {
    stream: S,
    kept: Kept,
    is_keeping: bool,
    received: Received,
}

/// How many bytes have arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received(Arc<AtomicU64>);

impl Received {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What arrived first.
#[derive(Clone, Debug)]
pub(super) struct Kept(Arc<Mutex<Option<Vec<u8>>>>);

impl<S> FirstBytes<S> {
    pub(super) fn new(stream: S) -> (Self, Kept) {
        let kept = Kept(Arc::new(Mutex::new(Some(Vec::new()))));
        (Self { stream, kept: kept.clone(), is_keeping: true, received: Received::default() }, kept)
    }

    /// Goes on counting after this.
    pub(crate) fn received(&self) -> Received {
        self.received.clone()
    }
}

impl Kept {
    /// What arrived so far. From here on nothing more is kept.
    pub(super) fn take(&self) -> Vec<u8> {
        lock(&self.0).take().unwrap_or_default()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.received.0.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        if self.is_keeping {
            let mut kept = lock(&self.kept.0);
            let is_keeping = kept.as_mut().is_some_and(|kept| {
                let new = &buffer.filled()[before..];
                let room = MAX_BYTES.saturating_sub(kept.len()).min(new.len());
                kept.extend_from_slice(&new[..room]);
                kept.len() < MAX_BYTES
            });
            drop(kept);
            self.is_keeping = is_keeping;
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
