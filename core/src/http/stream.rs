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
use crate::trace::own::Connection;

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

impl Wire for Told {
    fn tcp(&self) -> &TcpStream {
        &self.stream
    }
}

impl Wire for TlsStream<Told> {
    fn tcp(&self) -> &TcpStream {
        &self.get_ref().0.stream
    }
}

/// A connection of which somebody is told what is read and written, where nobody captures it.
#[derive(Debug)]
pub(super) struct Told {
    stream: TcpStream,
    told: Connection,
}

impl Told {
    pub(super) fn new(stream: TcpStream, told: Connection) -> Self {
        Self { stream, told }
    }

    fn wrote(&mut self, result: &Poll<io::Result<usize>>, bytes: &[io::IoSlice<'_>]) {
        match result {
            Poll::Ready(Ok(written)) if self.told.is_on() => {
                let mut left = *written;
                for part in bytes {
                    let len = part.len().min(left);
                    self.told.sent(part.get(..len).unwrap_or_default(), len);
                    left -= len;
                }
            }
            Poll::Ready(Err(_)) => self.told.reset(false),
            _ => {}
        }
    }
}

impl AsyncRead for Told {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, told } = &mut *self;
        let before = buf.filled().len();
        let result = Pin::new(stream).poll_read(cx, buf);
        match &result {
            Poll::Ready(Ok(())) => match buf.filled().get(before..) {
                Some(read) if !read.is_empty() => told.received(read, read.len()),
                _ if buf.remaining() > 0 => told.closed(),
                _ => {}
            },
            Poll::Ready(Err(_)) => told.reset(false),
            Poll::Pending => {}
        }
        result
    }
}

impl AsyncWrite for Told {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&result, &[io::IoSlice::new(buf)]);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&result, bufs);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
