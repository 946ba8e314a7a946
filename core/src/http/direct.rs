//! A connection without TLS where the kernel sends files by itself: plain requests are read and answered here, and the first that is not
//! plain takes the connection to hyper.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::exchange::{Ends, Exchange};
use super::file::Served;
use super::head::{self, Head, Parsed};
use super::ledger::{Delivery, Sent};
use super::reply::{Content, Reply};
use super::service::{Limits, MAX_HEAD, Shared, over};
use super::stall::Stall;
use super::stream::{Told, Unflushed};
use super::{App, AppReply};
use crate::api::Who;
use crate::net::{send, send_file};
use crate::trace::own;

/// Bytes that are read at once; a request of a boot client is some hundred.
const READ: usize = 4096;
/// Answers up to this many bytes are read and sent in one piece with their head.
const TOGETHER: u64 = 32 * 1024;
/// Bytes that one call of the kernel sends at most: between two others of the runtime's tasks have their turn, and the file is held
/// against its version.
const RUN: usize = 1 << 20;
/// After a last answer so many bytes and so long are read and thrown away: a connection closed over unread bytes is reset, and the
/// answer lost with it.
const LINGER: (usize, Duration) = (256 * 1024, Duration::from_secs(2));

/// How a connection goes on.
pub(super) enum End {
    /// Not at all.
    Over,
    /// With hyper: what was read already, and how many requests were answered.
    Library(Told, Vec<u8>, u32),
}

/// Why it ends.
enum Gone {
    /// In order.
    Closed,
    /// The rest of an answer is missing, and the client must see that: reset.
    Cut,
}

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

/// Serves plain requests until there is one of another kind, or the connection ends.
pub(super) async fn serve<A: App>(shared: &Shared<A>, stream: TcpStream, told: own::Connection, ends: Ends) -> End {
    let mut connection = Connection {
        stall: Stall::new(shared.limits.stalled),
        patience: Patience::new(shared.limits.head_within),
        stream,
        told,
        input: Vec::with_capacity(READ),
        output: Vec::with_capacity(READ),
        unflushed: Unflushed::default(),
        served: 0,
    };
    match connection.run(shared, ends).await {
        Ok(()) => End::Library(Told::new(connection.stream, connection.told), connection.input, connection.served),
        Err(Gone::Closed) => End::Over,
        Err(Gone::Cut) => {
            // What the kernel still has of the answer must not make it look whole.
            let _ = socket2::SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
            connection.told.reset(true);
            End::Over
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// Is told what is read and written.
    told: own::Connection,
    /// Read and not looked at yet.
    input: Vec<u8>,
    /// Kept for its memory.
    output: Vec<u8>,
    /// Answers about empty files.
    unflushed: Unflushed,
    stall: Stall,
    patience: Patience,
    served: u32,
}

impl Connection {
    /// `Ok`: hyper's turn.
    async fn run<A: App>(&mut self, shared: &Shared<A>, ends: Ends) -> Result<(), Gone> {
        let mut stopped = shared.stopped.clone();
        let mut stop = pin!(over(&mut stopped));
        loop {
            let input = std::mem::take(&mut self.input);
            let (head, len, keep) = match head::parse(&input) {
                Parsed::Plain(head, len, keep) => (head, len, keep),
                Parsed::Partial if input.len() < MAX_HEAD => {
                    self.input = input;
                    self.read(stop.as_mut()).await?;
                    continue;
                }
                Parsed::Partial | Parsed::Other => {
                    self.input = input;
                    return Ok(());
                }
            };
            let (reply, who, path, exchange) = {
                let exchange = Exchange::begin(shared, ends, &head);
                match exchange.admit(&head) {
                    Err(reply) => (*reply, Who::default(), head.path.to_owned(), exchange),
                    Ok(path) => {
                        let said = self.held(exchange.ask(&head, &path, Vec::new())).await?;
                        let who = said.who.clone();
                        let reply = exchange.form(&head, &path, said, &self.unflushed).await;
                        (reply, who, path, exchange)
                    }
                }
            };
            exchange.tell(&head, &who, &path, &reply);
            self.served += 1;
            let keep = keep && !reply.close && self.served < shared.limits.requests && !*shared.stopped.borrow();
            self.answer(&head, reply, keep).await?;
            self.keep_rest(input, len);
            self.patience.renew();
            if !keep {
                self.linger().await;
                return Err(Gone::Closed);
            }
        }
    }

    /// What of `input` is behind its first `len` bytes comes first, before what was read since.
    fn keep_rest(&mut self, mut input: Vec<u8>, len: usize) {
        input.drain(..len);
        input.append(&mut self.input);
        self.input = input;
    }

    /// Reads some more of a head.
    async fn read(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<(), Gone> {
        self.input.reserve(READ);
        let before = self.input.len();
        let Self { stream, input, patience, told, .. } = self;
        let mut reading = pin!(stream.read_buf(input));
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                return Poll::Ready(Some(read));
            }
            if patience.poll(cx).is_ready() || stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        heard(told, input, before, read.as_ref());
        // A client that closes, one that dawdles, and a stop end an idle connection alike.
        if matches!(read, Some(Ok(1..))) { Ok(()) } else { Err(Gone::Closed) }
    }

    /// An app's answer, unless its client hangs up while it is held.
    async fn held(&mut self, asked: impl Future<Output = AppReply>) -> Result<AppReply, Gone> {
        let Self { stream, input, told, .. } = self;
        tokio::select! {
            biased;
            said = asked => Ok(said),
            gone = hung_up(stream, input, told) => Err(gone),
        }
    }

    /// Writes an answer.
    async fn answer(&mut self, head: &Head<'_>, reply: Reply, keep: bool) -> Result<(), Gone> {
        let mut out = std::mem::take(&mut self.output);
        out.clear();
        reply.write_head(&mut out, head.one_one, keep);
        match reply.content {
            Content::Small(bytes) => {
                if head.method != "HEAD" {
                    out.extend_from_slice(&bytes);
                }
                self.write(&out, false).await?;
            }
            Content::Short(bytes, mut delivery) => {
                out.extend_from_slice(&bytes);
                match delivery.advance(bytes.len()) {
                    Some(sent) => self.write_whole(&out, sent).await?,
                    None => return Err(Gone::Cut),
                }
            }
            Content::File(file) => {
                let (mut served, mut delivery) = *file;
                match together(&mut served, &mut delivery, &mut out)? {
                    Some(sent) => self.write_whole(&out, sent).await?,
                    None => {
                        self.write(&out, true).await?;
                        self.send(served, delivery).await?.flushed();
                    }
                }
            }
        }
        self.unflushed.flushed();
        self.output = out;
        Ok(())
    }

    /// Writes an answer that ends with the last of a file's bytes.
    async fn write_whole(&mut self, bytes: &[u8], sent: Sent) -> io::Result<()> {
        let written = self.write(bytes, false).await;
        if written.is_ok() {
            sent.flushed();
        } else {
            sent.lost();
        }
        written
    }

    /// Writes all of these bytes; with `more`, others follow at once.
    async fn write(&mut self, mut bytes: &[u8], more: bool) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.stream.try_io(Interest::WRITABLE, || send(&self.stream, bytes, more));
            match sent {
                Ok(sent) => {
                    self.told.sent(bytes.get(..sent).unwrap_or_default(), sent);
                    bytes = bytes.get(sent..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.room().await?,
                Err(error) => return Err(self.lost(error)),
            }
        }
        self.stall.moved();
        Ok(())
    }

    /// Sends a range of a file; the answer when it is with the kernel.
    async fn send(&mut self, mut served: Served, mut delivery: Delivery) -> io::Result<Sent> {
        served.sequential(delivery.left().0);
        loop {
            let (at, left) = delivery.left();
            let want = served.reach(at, usize::try_from(left).unwrap_or(RUN).min(RUN));
            if !served.known(at, want) {
                served = served.read_in(at, want).await?;
            }
            served.unchanged()?;
            let mut sent = 0;
            let result = self.stream.try_io(Interest::WRITABLE, || {
                sent = send_file(&self.stream, &served.file, at, want)?;
                // What does not go whole has filled the buffer: that it is full need not be found out by another call.
                if (1..want).contains(&sent) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if sent > 0 {
                self.told.sent(&[], sent);
                self.stall.moved();
            }
            if let Some(whole) = delivery.advance(sent) {
                // What was read from another version is found here, but for what the kernel still has to send of its own pages: who writes
                // into a file in place while it is served can still change that (THREAT_MODEL.md).
                if let Err(error) = served.unchanged() {
                    whole.lost();
                    return Err(error);
                }
                return Ok(whole);
            }
            match result {
                Ok(()) if sent == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(()) => tokio::task::coop::consume_budget().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A file that became shorter does not fill the buffer.
                    served.unchanged()?;
                    self.room().await?;
                }
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Why no more goes: where the client has cut the connection, that is told of.
    fn lost(&mut self, error: io::Error) -> io::Error {
        if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
            self.told.reset(false);
        }
        error
    }

    /// Waits until the client has taken some of what it was sent.
    async fn room(&mut self) -> io::Result<()> {
        let Self { stream, stall, .. } = self;
        let stream = &*stream;
        let mut writable = pin!(stream.writable());
        poll_fn(|cx| match writable.as_mut().poll(cx) {
            Poll::Pending => stall.poll(cx, stream).map(Err),
            ready => ready,
        })
        .await
    }

    /// Closes in order.
    async fn linger(&mut self) {
        let Self { stream, input, told, .. } = self;
        if stream.shutdown().await.is_err() {
            return;
        }
        told.finish();
        let mut left = LINGER.0;
        let rest = async {
            loop {
                input.clear();
                let read = stream.read_buf(input).await;
                heard(told, input, 0, Some(&read));
                match read {
                    Ok(read) if read > 0 && read < left => left -= read,
                    _ => break,
                }
            }
        };
        let _late = tokio::time::timeout(LINGER.1, rest).await;
    }
}

/// Adds a short range of a file that is in memory to its head. `None` if it is long, or not there.
fn together(served: &mut Served, delivery: &mut Delivery, out: &mut Vec<u8>) -> io::Result<Option<Sent>> {
    let (at, left) = delivery.left();
    let len = match usize::try_from(left) {
        Ok(len) if left <= TOGETHER => len,
        _ => return Ok(None),
    };
    let head = out.len();
    out.resize(head + len, 0);
    let read = served.read_known(out.get_mut(head..).unwrap_or_default(), at);
    served.unchanged()?;
    if read == Some(len) {
        return Ok(delivery.advance(len));
    }
    out.truncate(head);
    Ok(None)
}

/// Returns when the client has closed. What it sends meanwhile is kept, as far as a head may go.
async fn hung_up(stream: &TcpStream, input: &mut Vec<u8>, told: &mut own::Connection) -> Gone {
    loop {
        if stream.readable().await.is_err() {
            return Gone::Closed;
        }
        if input.len() >= MAX_HEAD {
            return std::future::pending().await;
        }
        input.reserve(READ);
        let before = input.len();
        let read = stream.try_read_buf(input);
        heard(told, input, before, Some(&read));
        match read {
            Ok(0) => return Gone::Closed,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Gone::Closed,
            _ => {}
        }
    }
}

/// Tells what was read to the end of `input`, or that it was the end: `None` is no word of the client's.
fn heard(told: &mut own::Connection, input: &[u8], before: usize, read: Option<&io::Result<usize>>) {
    match read {
        Some(Ok(0)) => told.closed(),
        Some(Ok(len)) => told.received(input.get(before..).unwrap_or_default(), *len),
        Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => told.reset(false),
        _ => {}
    }
}

/// A time that is renewed for each request, with a timer that is set again only when it has run out.
#[derive(Debug)]
struct Patience {
    within: Duration,
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(within: Duration) -> Self {
        let until = Instant::now() + within;
        Self { within, until, timer: Box::pin(tokio::time::sleep_until(until)) }
    }

    fn renew(&mut self) {
        self.until = Instant::now() + self.within;
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.until);
        }
        Poll::Pending
    }
}

/// Whether this is how connections are served here.
pub(super) fn applies(limits: &Limits) -> bool {
    crate::net::SENDS_FILES && !limits.library_only
}

/// Serves one, with hyper from where it is needed.
pub(super) async fn or_library<A: App>(shared: Arc<Shared<A>>, stream: TcpStream, told: own::Connection, ends: Ends) {
    match serve(&shared, stream, told, ends).await {
        End::Over => {}
        End::Library(stream, before, served) => super::library::serve(shared, stream, before, ends, served).await,
    }
}
