//! The HTTP server's sockets and tasks: one listener for each address, one task for each connection.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version as Http};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::body::{Answer, FileBody, Ledger, Sent};
use super::machine::{self, Conditions, Verdict, Version};
use super::stream::{Stream, Unflushed};
use super::{App, AppBody, AppReply, AppRequest};
use crate::api::{EventKind, Reporter, Who};
use crate::machine::Now;
use crate::net::{NetError, PortSet, TcpSpec};

/// Connections at once.
const MAX_CONNECTIONS: usize = 1024;
/// Connections at once from one address.
const MAX_PER_CLIENT: usize = 64;
/// Bytes of a request's line and headers.
const MAX_HEAD: usize = 32 * 1024;
/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// From a connection's begin, or the end of its last answer, to the end of the next request's headers: ends idle connections and
/// slow senders alike, and leaves a firmware time to think between its HEAD and its GET.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// From the end of the headers to the end of the body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How long answers that are being sent may go on when the server is stopped.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What the server needs.
#[derive(Debug)]
pub struct Config<A> {
    /// Addresses to listen on, each with the interface whose connections it takes.
    pub binds: Vec<(SocketAddrV4, Option<String>)>,
    /// Opens the ports.
    pub ports: Arc<dyn PortSet>,
    /// Says what paths mean.
    pub app: Arc<A>,
    /// Takes the events.
    pub reporter: Reporter,
}

/// A running server. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Service {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

impl Service {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Takes no more connections, gives answers under way two seconds, and ends.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

/// Starts listening.
///
/// # Errors
/// [`NetError`] when a port can't be had; none is kept then.
pub async fn start<A: App>(config: Config<A>) -> Result<Service, NetError> {
    let mut sockets = Vec::new();
    let mut addresses = Vec::new();
    for (bind, interface) in &config.binds {
        let spec = TcpSpec { bind: SocketAddr::V4(*bind), interface: interface.clone() };
        let socket = config.ports.tcp(&spec)?;
        let io = |source| NetError::Io { what: format!("listen for HTTP on {bind}"), source };
        socket.set_nonblocking(true).map_err(io)?;
        let socket = TcpListener::from_std(socket).map_err(io)?;
        addresses.push(socket.local_addr().map_err(io)?);
        sockets.push(socket);
    }
    let (stop, stopped) = watch::channel(false);
    let told = config.app.clone();
    let ledger = Ledger::new(config.reporter, Box::new(move |who, path| told.delivered(who, path)));
    let shared = Arc::new(Shared { app: config.app, ledger: Arc::new(ledger), open: Arc::default(), stopped });
    let mut listeners = JoinSet::new();
    for socket in sockets {
        listeners.spawn(listen(shared.clone(), socket));
    }
    Ok(Service { addresses, stop, listeners })
}

struct Shared<A> {
    app: Arc<A>,
    ledger: Arc<Ledger>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    stopped: watch::Receiver<bool>,
}

/// A place among the connections; given back when dropped.
struct Place {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Place {
    fn take(open: &Arc<Mutex<HashMap<IpAddr, usize>>>, client: IpAddr) -> Option<Self> {
        let mut table = open.lock().unwrap_or_else(PoisonError::into_inner);
        if table.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        let count = table.entry(client).or_default();
        if *count >= MAX_PER_CLIENT {
            return None;
        }
        *count += 1;
        Some(Self { open: open.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.client);
            }
        }
    }
}

/// Waits until the server is stopped or dropped.
async fn over(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server's handle is gone, which ends it too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn listen<A: App>(shared: Arc<Shared<A>>, socket: TcpListener) {
    let mut stopped = shared.stopped.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = over(&mut stopped) => break,
            // A connection's panic ends that connection alone.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(place) = Place::take(&shared.open, peer.ip()) {
                        connections.spawn(connection(shared.clone(), stream, peer, place));
                    }
                }
                // Out of descriptors, or a client that left at once; neither must become a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(socket);
    let _ = tokio::time::timeout(STOP_WITHIN, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn connection<A: App>(shared: Arc<Shared<A>>, stream: TcpStream, peer: SocketAddr, place: Place) {
    let _place = place;
    // Each of these makes a connection better and none is needed for it.
    let _ = stream.set_nodelay(true);
    // A machine that is switched off while its request is held must not be held for ever.
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let local = match stream.local_addr() {
        Ok(SocketAddr::V4(local)) => *local.ip(),
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let unflushed = Unflushed::default();
    let io = TokioIo::new(Stream::new(stream, unflushed.clone()));
    let mut stopped = shared.stopped.clone();
    let service = service_fn(move |request| {
        let exchange = Exchange { shared: shared.clone(), unflushed: unflushed.clone(), peer, local };
        async move { Ok::<_, Infallible>(exchange.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // What a client's connection ends with is told by its answers' events; there is nobody to hand the error to.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = over(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// One request and its answer.
struct Exchange<A> {
    shared: Arc<Shared<A>>,
    unflushed: Unflushed,
    peer: SocketAddr,
    local: Ipv4Addr,
}

type Reply = Response<Answer>;

fn reply(status: StatusCode, kind: &str, bytes: impl Into<Bytes>) -> Reply {
    let bytes = bytes.into();
    let length = bytes.len() as u64;
    let mut reply = Response::new(Answer::Small(bytes));
    *reply.status_mut() = status;
    put(&mut reply, header::CONTENT_TYPE, kind);
    reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    put(&mut reply, header::CACHE_CONTROL, "no-store");
    reply
}

/// A sentence for whoever reads the answer.
fn sentence(status: StatusCode, text: &str) -> Reply {
    reply(status, "text/plain", format!("{text}\n"))
}

/// Adds a header, but never an empty one: it has locked up firmware.
fn put(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value)
        && !value.is_empty()
    {
        reply.headers_mut().insert(name, value);
    }
}

fn not_allowed(methods: &str) -> Reply {
    let mut reply = sentence(StatusCode::METHOD_NOT_ALLOWED, &format!("use {methods}"));
    put(&mut reply, header::ALLOW, methods);
    reply
}

fn text<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// As it may be shown: no control characters, not endless.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(512).collect()
}

impl<A: App> Exchange<A> {
    async fn answer(self, request: Request<Incoming>) -> Reply {
        let method = request.method().clone();
        let agent = text(&request, &header::USER_AGENT).map(shown);
        let raw = shown(request.uri().path());
        let (who, path, reply) = match self.admit(&request) {
            Err(reply) => (Who::default(), raw, *reply),
            Ok(path) => self.respond(request, path, agent.clone()).await,
        };
        let who = Who { ip: Some(self.peer.ip()), ..who };
        let status = reply.status().as_u16();
        let method = shown(method.as_str());
        self.shared.ledger.report(&who, EventKind::HttpRequest { method, path, status, agent });
        reply
    }

    /// The path, or why there is no answer.
    fn admit(&self, request: &Request<Incoming>) -> Result<String, Box<Reply>> {
        if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
            return Err(Box::new(not_allowed("GET, HEAD, POST")));
        }
        let hosts = request.headers().get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Http::HTTP_11) {
            return Err(Box::new(sentence(StatusCode::BAD_REQUEST, "an HTTP/1.1 request has one Host header")));
        }
        machine::normalise(request.uri().path())
            .map_err(|e| Box::new(sentence(StatusCode::BAD_REQUEST, &e.to_string())))
    }

    async fn respond(&self, request: Request<Incoming>, path: String, agent: Option<String>) -> (Who, String, Reply) {
        let (head, incoming) = request.into_parts();
        let mut body = Vec::new();
        if head.method == Method::POST {
            match tokio::time::timeout(BODY_WITHIN, Limited::new(incoming, MAX_BODY).collect()).await {
                Ok(Ok(collected)) => body = collected.to_bytes().to_vec(),
                Ok(Err(error)) => {
                    let (status, text) = if error.is::<LengthLimitError>() {
                        (StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 64 KiB")
                    } else {
                        (StatusCode::BAD_REQUEST, "the body is cut off or malformed")
                    };
                    return (Who::default(), path, closing(sentence(status, text)));
                }
                Err(_) => {
                    let late = sentence(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
                    return (Who::default(), path, closing(late));
                }
            }
        }
        let app_request = AppRequest {
            method: head.method.as_str().to_owned(),
            path: path.clone(),
            query: machine::query(head.uri.query().unwrap_or_default()),
            body,
            peer: self.peer,
            local: self.local,
            agent,
        };
        let AppReply { who, body } = self.shared.app.respond(app_request).await;
        let who = Who { ip: Some(self.peer.ip()), ..who };
        let shown_path = shown(&path);
        let reply = match body {
            AppBody::Bytes(status, kind, bytes) => {
                reply(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), kind, bytes)
            }
            AppBody::NotFound(text) => sentence(StatusCode::NOT_FOUND, &text),
            AppBody::Forbidden(text) => sentence(StatusCode::FORBIDDEN, &text),
            AppBody::File(_) if head.method == Method::POST => not_allowed("GET, HEAD"),
            AppBody::File(file) => self.file(&Request::from_parts(head, ()), file, &who, path).await,
        };
        (who, shown_path, reply)
    }

    async fn file(&self, request: &Request<()>, file: PathBuf, who: &Who, path: String) -> Reply {
        let opened = tokio::task::spawn_blocking(move || open(&file)).await;
        let (file, version) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                let status = match error.kind() {
                    std::io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
                    std::io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                return sentence(status, &format!("{path} can't be opened: {error}"));
            }
            Err(_) => return sentence(StatusCode::INTERNAL_SERVER_ERROR, "the server failed to open the file"),
        };
        let conditions = Conditions {
            range: text(request, &header::RANGE),
            if_range: text(request, &header::IF_RANGE),
            if_match: text(request, &header::IF_MATCH),
            if_none_match: text(request, &header::IF_NONE_MATCH),
            if_modified_since: text(request, &header::IF_MODIFIED_SINCE),
            if_unmodified_since: text(request, &header::IF_UNMODIFIED_SINCE),
        };
        let get = request.method() == Method::GET;
        let verdict = machine::evaluate(&conditions, &version, get);
        let (status, first, end) = match verdict {
            Verdict::Whole => (StatusCode::OK, 0, version.size),
            Verdict::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last + 1),
            Verdict::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
            Verdict::PreconditionFailed => {
                return sentence(StatusCode::PRECONDITION_FAILED, "the file is another one than the client knows");
            }
            Verdict::Unsatisfiable => {
                let mut reply = sentence(StatusCode::RANGE_NOT_SATISFIABLE, "the range is behind the file's end");
                put(&mut reply, header::CONTENT_RANGE, &format!("bytes */{}", version.size));
                return reply;
            }
        };
        let mut reply = Response::new(Answer::Small(Bytes::new()));
        *reply.status_mut() = status;
        put(&mut reply, header::ETAG, &version.etag);
        put(&mut reply, header::LAST_MODIFIED, &version.last_modified().unwrap_or_default());
        put(&mut reply, header::ACCEPT_RANGES, "bytes");
        if status == StatusCode::NOT_MODIFIED {
            return reply;
        }
        put(&mut reply, header::CONTENT_TYPE, machine::content_type(&path));
        reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(end - first));
        if let Verdict::Part { first, last } = verdict {
            put(&mut reply, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{}", version.size));
        }
        if get {
            let began = Now::read().boot;
            let (ledger, who, client) = (self.shared.ledger.clone(), who.clone(), self.peer.ip());
            let sent = Sent { ledger, who, client, path, version, first, end, began };
            if first == end {
                self.unflushed.push(sent);
            } else {
                *reply.body_mut() = Answer::File(FileBody::new(file, sent, self.unflushed.clone()));
            }
        }
        reply
    }
}

/// The connection ends with this answer: what is left of the request's body is not read.
fn closing(mut reply: Reply) -> Reply {
    put(&mut reply, header::CONNECTION, "close");
    reply
}

fn open(path: &Path) -> std::io::Result<(File, Version)> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "it is no regular file"));
    }
    let version = Version::new(meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino());
    Ok((file, version))
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
