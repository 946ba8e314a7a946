//! The HTTP server's sockets and tasks: one listener for each address, one task for each connection, all on a thread of their own. One
//! thread sends more than any network of a bench takes, without the wakings and the locks that several need between them; and a scan of
//! an image on the engine's threads holds no transfer up.

use std::collections::HashMap;
use std::io;
use std::net::{self, IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::exchange::Ends;
use super::ledger::Ledger;
use super::shelf::Shelf;
use super::stream::Told;
use super::tls::{self, Tls};
use super::{App, direct, library};
use crate::api::{EventKind, Reporter, Who};
use crate::net::{NetError, PortSet, TcpSpec};
use crate::trace::own::{Speech, Tap};

/// Bytes of a request's line and headers.
pub(super) const MAX_HEAD: usize = 32 * 1024;
/// Bytes of a request's body.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// What a client may take of the server. The one that is served with is [`Limits::default`]; tests have shorter ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    connections: usize,
    /// Connections at once from one address.
    per_client: usize,
    /// Requests of one connection: it ends with the last one's answer.
    pub(super) requests: u32,
    /// From a connection's begin, or the end of its last answer, to the end of the next request's headers: ends idle connections
    /// and slow senders alike, and leaves a firmware time to think between its HEAD and its GET.
    pub(super) head_within: Duration,
    /// From the end of the headers to the end of the body.
    pub(super) body_within: Duration,
    /// A client that takes nothing worth its place for this long is gone.
    pub(super) stalled: Duration,
    /// How long answers that are being sent may go on when the server is stopped.
    stop_within: Duration,
    /// Every connection is hyper's, as where the kernel does not send files.
    pub(super) library_only: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            per_client: 64,
            requests: 10_000,
            head_within: Duration::from_secs(30),
            body_within: Duration::from_secs(10),
            stalled: Duration::from_secs(60),
            stop_within: Duration::from_secs(2),
            library_only: false,
        }
    }
}

/// What the server needs.
#[derive(Debug)]
pub struct Config<A> {
    /// Addresses to listen on, each with the interface whose connections it takes.
    pub binds: Vec<(SocketAddrV4, Option<String>)>,
    /// The same for HTTPS.
    pub secure: Option<Secure>,
    /// Opens the ports.
    pub ports: Arc<dyn PortSet>,
    /// Says what paths mean.
    pub app: Arc<A>,
    /// Takes the events.
    pub reporter: Reporter,
    /// Takes what is received and sent, where nobody captures it.
    pub tap: Tap,
}

/// Where and how HTTPS is served.
#[derive(Debug)]
pub struct Secure {
    /// Addresses to listen on, each with the interface whose connections it takes.
    pub binds: Vec<(SocketAddrV4, Option<String>)>,
    /// What it shows for itself.
    pub tls: Tls,
}

/// A running server. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Service {
    addresses: Vec<SocketAddr>,
    secure_addresses: Vec<SocketAddr>,
    secure_failure: Option<NetError>,
    stop: watch::Sender<bool>,
    /// Closed by the end of the thread.
    ended: oneshot::Receiver<()>,
}

impl Service {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Where it listens for HTTPS.
    #[must_use]
    pub fn secure_addresses(&self) -> Vec<SocketAddr> {
        self.secure_addresses.clone()
    }

    /// Why HTTPS, which was wanted, is not served.
    #[must_use]
    pub fn secure_failure(&self) -> Option<&NetError> {
        self.secure_failure.as_ref()
    }

    /// Takes no more connections, gives answers under way two seconds, and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _closed = self.ended.await;
    }
}

/// Starts listening. Without its ports HTTPS alone is not served: see [`Service::secure_failure`].
///
/// # Errors
/// [`NetError`] when a port for HTTP can't be had, or the thread; nothing is kept then.
pub async fn start<A: App>(config: Config<A>) -> Result<Service, NetError> {
    start_with(config, Limits::default()).await
}

/// The same without the kernel's own way of sending files, as it is where there is none: to compare the two.
///
/// # Errors
/// As [`start`].
#[doc(hidden)]
pub async fn start_portable<A: App>(config: Config<A>) -> Result<Service, NetError> {
    start_with(config, Limits { library_only: true, ..Limits::default() }).await
}

type Binds = [(SocketAddrV4, Option<String>)];

fn open(ports: &dyn PortSet, binds: &Binds, what: &str) -> Result<Vec<net::TcpListener>, NetError> {
    let mut sockets = Vec::new();
    for (bind, interface) in binds {
        let spec = TcpSpec { bind: SocketAddr::V4(*bind), interface: interface.clone() };
        let socket = ports.tcp(&spec)?;
        crate::net::suit_a_lan(&socket);
        let io = |source| NetError::Io { what: format!("listen for {what} on {bind}"), source };
        socket.set_nonblocking(true).map_err(io)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

async fn start_with<A: App>(config: Config<A>, limits: Limits) -> Result<Service, NetError> {
    let plain = open(&*config.ports, &config.binds, "HTTP")?;
    let (mut secure, mut tls, mut secure_failure) = (Vec::new(), None, None);
    if let Some(wanted) = config.secure {
        tls = Some(wanted.tls);
        match open(&*config.ports, &wanted.binds, "HTTPS") {
            Ok(sockets) => secure = sockets,
            Err(error) => secure_failure = Some(error),
        }
    }
    let listens = |sockets: &[net::TcpListener]| sockets.iter().filter_map(|s| s.local_addr().ok()).collect();
    let (addresses, secure_addresses) = (listens(&plain), listens(&secure));
    let (stop, stopped) = watch::channel(false);
    let told = config.app.clone();
    let ledger = Ledger::new(config.reporter, Box::new(move |who, path| told.delivered(who, path)));
    let shared = Arc::new(Shared {
        app: config.app,
        ledger: Arc::new(ledger),
        shelf: Shelf::default(),
        open: Arc::default(),
        limits,
        stopped,
        tap: config.tap,
    });
    let sockets = plain.into_iter().map(|socket| (socket, None));
    let sockets = sockets.chain(secure.into_iter().map(|socket| (socket, tls.clone()))).collect();
    let ((began, begins), (end, ended)) = (oneshot::channel(), oneshot::channel());
    let thread = thread::Builder::new().name("http".into()).spawn(move || {
        let _closed_at_the_end: oneshot::Sender<()> = end;
        serve(&shared, sockets, began);
    });
    let io = |source| NetError::Io { what: "start the HTTP server's thread".into(), source };
    thread.map_err(io)?;
    begins.await.unwrap_or_else(|_| Err(io::Error::other("it ended at once"))).map_err(io)?;
    Ok(Service { addresses, secure_addresses, secure_failure, stop, ended })
}

/// A socket to listen on, and what HTTPS shows for itself there.
type Listening = (net::TcpListener, Option<Tls>);

/// The thread: listens until the server is stopped or dropped. Says in `began` whether it can.
fn serve<A: App>(shared: &Arc<Shared<A>>, sockets: Vec<Listening>, began: oneshot::Sender<io::Result<()>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(began.send(Err(error))),
    };
    runtime.block_on(async {
        let mut listeners = JoinSet::new();
        for (socket, tls) in sockets {
            match TcpListener::from_std(socket) {
                Ok(socket) => drop(listeners.spawn(listen(shared.clone(), socket, tls))),
                Err(error) => return drop(began.send(Err(error))),
            }
        }
        let _ = began.send(Ok(()));
        while listeners.join_next().await.is_some() {}
    });
    // A read that hangs on a disk must not hold the end up.
    runtime.shutdown_background();
}

/// What every connection has in common.
pub(super) struct Shared<A> {
    pub(super) app: Arc<A>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) shelf: Shelf,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    pub(super) limits: Limits,
    pub(super) stopped: watch::Receiver<bool>,
    tap: Tap,
}

/// A place among the connections; given back when dropped.
struct Place {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Place {
    fn take(open: &Arc<Mutex<HashMap<IpAddr, usize>>>, limits: &Limits, client: IpAddr) -> Option<Self> {
        let mut table = open.lock().unwrap_or_else(PoisonError::into_inner);
        if table.values().sum::<usize>() >= limits.connections {
            return None;
        }
        let count = table.entry(client).or_default();
        if *count >= limits.per_client {
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
pub(super) async fn over(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server's handle is gone, which ends it too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn listen<A: App>(shared: Arc<Shared<A>>, socket: TcpListener, tls: Option<Tls>) {
    let mut stopped = shared.stopped.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = over(&mut stopped) => break,
            // A connection's panic ends that connection alone.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(place) = Place::take(&shared.open, &shared.limits, peer.ip()) {
                        connections.spawn(connection(shared.clone(), stream, peer, place, tls.clone()));
                    }
                }
                // Out of descriptors, or a client that left at once; neither must become a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(socket);
    // Where the server was dropped, nobody waits.
    let within = if *stopped.borrow() { shared.limits.stop_within } else { Duration::ZERO };
    let _ = tokio::time::timeout(within, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn connection<A: App>(
    shared: Arc<Shared<A>>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    tls: Option<Tls>,
) {
    let _place = place;
    // Each of these makes a connection better and none is needed for it.
    let _ = stream.set_nodelay(true);
    // A machine that is switched off while its request is held must not be held for ever.
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let bound = stream.local_addr().unwrap_or(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));
    let local = match bound {
        SocketAddr::V4(local) => *local.ip(),
        SocketAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let ends = Ends { peer, local };
    let told = shared.tap.connection(bound, peer, if tls.is_some() { Speech::Secure } else { Speech::Http });
    match tls {
        Some(tls) => {
            let agreed = tokio::time::timeout(shared.limits.head_within, tls.accept(Told::new(stream, told))).await;
            match agreed {
                Ok(Ok(stream)) => library::serve(shared, stream, Vec::new(), ends, 0).await,
                Ok(Err(error)) => disagreed(&shared.ledger, peer.ip(), &error),
                Err(_too_late) => {}
            }
        }
        None if direct::applies(&shared.limits) => direct::or_library(shared, stream, told, ends).await,
        None => library::serve(shared, Told::new(stream, told), Vec::new(), ends, 0).await,
    }
}

/// Tells why a client cannot have HTTPS, where a person can mend that: firmware shows no reason, or none that can be read.
fn disagreed(ledger: &Ledger, client: IpAddr, error: &io::Error) {
    let why = error.get_ref().and_then(|inner| inner.downcast_ref()).and_then(tls::refusal);
    if let Some(why) = why
        && ledger.refuses(client, 0, "")
    {
        ledger.report(&Who::ip(client), EventKind::HttpsRefused { why, message: error.to_string() });
    }
}

/// Every test of the server on the wire where the kernel sends files, if it does here.
#[cfg(test)]
#[path = "service_tests.rs"]
mod direct_wire;

/// And on hyper's.
#[cfg(test)]
#[path = "service_tests.rs"]
#[allow(clippy::duplicate_mod, reason = "the same clauses hold on both wires")]
mod library_wire;

#[cfg(test)]
#[path = "secure_tests.rs"]
mod secure;
