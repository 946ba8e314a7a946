//! The port set of a process without privileges: it asks `bootyard-ports`, a small program that has them.
//!
//! The program gets one end of a socket pair as its standard input and lives as long as the other end, which is closed on exec
//! and so belongs to this process alone. However this process ends, the program sees it and takes back what it added; should it
//! be killed as well, the kernel takes the address back within a minute.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bootyard_ports::sys;
use bootyard_ports::wire::{MAX_MESSAGE, Reply, Request, VERSION};

use super::linux::ports::{self, Wanted, explain};
use super::{AddressHold, Direct, Ipv4Cidr, NetError, PacketSocket, PacketUse, PortSet, TcpSpec, UdpSpec};

/// It only calls the kernel, so an answer takes no longer than the processor is busy.
const PATIENCE: Duration = Duration::from_secs(10);

const NAME: &str = "bootyard-ports";
const INSTALLED: &str = "/usr/libexec/bootyard";

/// Asks `bootyard-ports`.
#[derive(Debug)]
pub struct Helper {
    program: Arc<Program>,
}

impl Helper {
    /// Starts the program at this path. Blocks until it has answered for the first time.
    ///
    /// # Errors
    /// [`NetError::NoPrivilege`] with what to run when it may not be started or has not the capabilities.
    pub fn spawn(program: &Path) -> Result<Self, NetError> {
        let what = || format!("start {}", program.display());
        let failed = |source| NetError::Io { what: format!("cannot {}", what()), source };
        let (line, theirs) = sys::message_pair().map_err(failed)?;
        let child =
            Command::new(program).env_clear().stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn().map_err(
                |source| match source.kind() {
                    io::ErrorKind::PermissionDenied => NetError::NoPrivilege {
                        what: what(),
                        remedy: "run `sudo usermod -aG bootyard $USER` and log in again".to_owned(),
                    },
                    _ => failed(source),
                },
            )?;
        let conversation = Mutex::new(Conversation { line: Some(line), child });
        let program = Arc::new(Program { path: program.to_owned(), conversation });
        match program.ask(&Request::Hello, Wanted::Other)? {
            (Reply::Hello { version: VERSION, privileged: true }, _) => Ok(Self { program }),
            (Reply::Hello { version: VERSION, .. }, _) => {
                Err(NetError::NoPrivilege { what: "open ports for Bootyard".to_owned(), remedy: program.remedy() })
            }
            _ => Err(NetError::Refused(format!(
                "{} is of another version of Bootyard; install both from the same package",
                program.path.display()
            ))),
        }
    }

    /// Where the program is on this computer, nearest first.
    pub(super) fn programs() -> Vec<PathBuf> {
        let named = if cfg!(debug_assertions) { std::env::var_os("BOOTYARD_PORTS").map(PathBuf::from) } else { None };
        let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(NAME)));
        let installed = Path::new(INSTALLED).join(NAME);
        [named, beside, Some(installed)].into_iter().flatten().filter(|path| path.exists()).collect()
    }

    fn open(&self, request: &Request, wanted: Wanted<'_>) -> Result<OwnedFd, NetError> {
        match self.program.ask(request, wanted)? {
            (Reply::Opened, Some(fd)) => Ok(fd),
            _ => Err(self.program.confused()),
        }
    }
}

impl PortSet for Helper {
    fn udp(&self, spec: &UdpSpec) -> Result<UdpSocket, NetError> {
        match Direct.udp(spec) {
            Err(NetError::NoPrivilege { .. }) => {}
            done => return done,
        }
        let request = Request::Udp {
            bind: spec.bind,
            broadcast: spec.broadcast,
            packet_info: spec.packet_info,
            interface: spec.interface.clone(),
        };
        self.open(&request, Wanted::Udp(spec)).map(UdpSocket::from)
    }

    fn tcp(&self, spec: &TcpSpec) -> Result<TcpListener, NetError> {
        match Direct.tcp(spec) {
            Err(NetError::NoPrivilege { .. }) => {}
            done => return done,
        }
        let request = Request::Tcp { bind: spec.bind, interface: spec.interface.clone() };
        self.open(&request, Wanted::Tcp(spec)).map(TcpListener::from)
    }

    fn packet(&self, interface: &str, purpose: PacketUse) -> Result<Box<dyn PacketSocket>, NetError> {
        let purpose = ports::purpose_of(purpose);
        let fd = self.open(&Request::Packet { purpose, interface: interface.to_owned() }, Wanted::Other)?;
        ports::frames(fd, interface, purpose)
    }

    fn hold_address(&self, interface: &str, address: Ipv4Cidr) -> Result<Box<dyn AddressHold>, NetError> {
        let request =
            Request::Hold { address: address.address, prefix: address.prefix, interface: interface.to_owned() };
        match self.program.ask(&request, Wanted::Other)? {
            (Reply::Held { id }, _) => Ok(Box::new(HelperHold {
                program: Arc::clone(&self.program),
                id,
                text: format!("{address} on {interface}"),
            })),
            _ => Err(self.program.confused()),
        }
    }
}

/// The running program.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    conversation: Mutex<Conversation>,
}

#[derive(Debug)]
struct Conversation {
    /// `None` only while it is dropped.
    line: Option<OwnedFd>,
    child: Child,
}

impl Program {
    fn ask(&self, request: &Request, wanted: Wanted<'_>) -> Result<(Reply, Option<OwnedFd>), NetError> {
        let failed = |source| NetError::Io {
            what: format!("{} does not answer; stop and start the bench", self.path.display()),
            source,
        };
        let mut conversation = self.conversation.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buf = [0; MAX_MESSAGE];
        let (len, fd) = conversation.exchange(request, &mut buf).map_err(failed)?;
        match Reply::decode(buf.get(..len).unwrap_or_default()) {
            Some(Reply::Refused(refusal)) => match explain(refusal, wanted) {
                NetError::NoPrivilege { what, .. } => Err(NetError::NoPrivilege { what, remedy: self.remedy() }),
                error => Err(error),
            },
            Some(reply) => Ok((reply, fd)),
            None => Err(self.confused()),
        }
    }

    fn confused(&self) -> NetError {
        NetError::Refused(format!(
            "{} gave an answer that makes no sense here; install it and Bootyard from the same package",
            self.path.display()
        ))
    }

    fn remedy(&self) -> String {
        format!("run `sudo setcap cap_net_bind_service,cap_net_raw,cap_net_admin+ep {}`", self.path.display())
    }
}

impl Conversation {
    fn exchange(&mut self, request: &Request, buf: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the program has ended");
        let line = self.line.as_ref().ok_or_else(ended)?;
        sys::send_with(line.as_fd(), request.encode().as_bytes(), None)?;
        if !sys::wait_readable(line.as_fd(), Some(PATIENCE))? {
            // Its late answer must not be taken for the next request's.
            self.line = None;
            return Err(io::ErrorKind::TimedOut.into());
        }
        match sys::recv_with(line.as_fd(), buf)? {
            (0, _) => Err(ended()),
            got => Ok(got),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It ends when the line does.
        drop(self.line.take());
        let _ = self.child.wait();
    }
}

/// An address that the program holds.
#[derive(Debug)]
struct HelperHold {
    program: Arc<Program>,
    id: u32,
    text: String,
}

impl AddressHold for HelperHold {
    fn describe(&self) -> String {
        self.text.clone()
    }
}

impl Drop for HelperHold {
    fn drop(&mut self) {
        // When it does not answer it has ended, and the address with it.
        let _ = self.program.ask(&Request::Release { id: self.id }, Wanted::Other);
    }
}
