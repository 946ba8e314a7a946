//! A connection's bytes as hyper has them: a client that takes nothing is ended, and what was handed to the network is known.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::ledger::Sent;
use super::stall::Stall;

/// File answers whose last byte hyper has, but perhaps not the network yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Unflushed(Arc<Mutex<Vec<Sent>>>);

impl Unflushed {
    /// The body has come to its end.
    pub(super) fn push(&self, sent: Sent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
    }

    fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All that was pushed is with the network.
    pub(super) fn flushed(&self) {
        for sent in self.take() {
            sent.flushed();
        }
    }

    /// The connection ended before.
    pub(super) fn lost(&self) {
        for sent in self.take() {
            sent.lost();
        }
    }
}

/// What hyper may read from and write to.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Stream<W> {
    inner: W,
    /// Was read already; comes first.
    before: Vec<u8>,
    unflushed: Unflushed,
    stall: Stall,
}

impl<W: Wire> Stream<W> {
    pub(super) fn new(inner: W, before: Vec<u8>, unflushed: Unflushed, within: Duration) -> Self {
        Self { inner, before, unflushed, stall: Stall::new(within) }
    }
}

impl<W> Drop for Stream<W> {
    fn drop(&mut self) {
        self.unflushed.lost();
    }
}

impl<W: Wire> Stream<W> {
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall.moved();
            return result;
        }
        self.stall.poll(cx, self.inner.tcp()).map(Err)
    }
}

impl<W: Wire> AsyncRead for Stream<W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let len = self.before.len().min(buf.remaining());
        let first: Vec<u8> = self.before.drain(..len).collect();
        buf.put_slice(&first);
        Poll::Ready(Ok(()))
    }
}

impl<W: Wire> AsyncWrite for Stream<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    // hyper flushes the connection only when its own buffer is empty: all that bodies gave is with the kernel.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.unflushed.flushed();
            return result;
        }
        self.watch(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, result)
    }
}
