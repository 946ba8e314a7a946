//! What a DHCP, BOOTP and ProxyDHCP server does, without sockets, clock or disk.
//!
//! `classify` says which program asks, `boot::decide` what it gets, `scope` where it is, `leases` which address is whose. `server`
//! is RFC 2131's server (mode `dhcp`), `proxy` the ProxyDHCP and boot server beside another one; `answer` writes the options of both.

mod answer;
mod classify;
mod leases;
mod limits;
mod proxy;
mod scope;
mod server;
mod styles;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

pub use classify::classify;
pub(super) use limits::OncePerMinute;

use self::leases::{Leases, Undo};
use self::limits::{Answered, Budget};
use self::scope::Layout;
use self::styles::Styles;
use super::wire::{Packet, Request};
use crate::api::{ClientKind, EventKind, Observation, ProxyStyle, Who};
use crate::boot::{Arch, Because, BootFile, ClientFacts, Plan, PlanNetwork, Unfit, decide};
use crate::lab::{LeaseRecord, Mode};
use crate::lang;
use crate::machine::{Machine, Now, Output as MachineOutput, Ticket};
use crate::net::MacAddr;

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// 255.255.255.255, port 68.
    Broadcast,
    /// To an address that answers ARP.
    Unicast(SocketAddrV4),
    /// To a client that cannot answer ARP yet: an IPv4 packet to `ip`, port 68, framed to `mac`.
    Hardware {
        /// Its hardware address.
        mac: MacAddr,
        /// The address that it is being given.
        ip: Ipv4Addr,
    },
}

/// A reply to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Index into [`Plan::networks`].
    pub network: usize,
    /// Source port: 67 or 4011.
    pub from_port: u16,
    /// Where it goes.
    pub destination: Destination,
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// An address of this network that nobody should have: asked for by ARP, before this is sent.
    pub probe: Option<Ipv4Addr>,
}

/// What can happen to a [`DhcpMachine`].
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A UDP packet came.
    Packet {
        /// Index into [`Plan::networks`].
        network: usize,
        /// The port of ours on which it came: 67 or 4011.
        port: u16,
        /// Who sent it.
        source: SocketAddrV4,
        /// The UDP payload.
        bytes: &'a [u8],
    },
    /// A new plan is in force. Its networks are the same; their modes may differ.
    Plan(Arc<Plan>),
    /// What the ticket stands for is on disk (`true`), or could not be written.
    Committed(Ticket, bool),
    /// The deadline is due.
    Tick,
    /// Another DHCP server was seen to give addresses on this network.
    Foreign {
        /// Index into [`Plan::networks`].
        network: usize,
        /// Its identifier.
        server: Ipv4Addr,
    },
    /// A machine answered at an address.
    InUse {
        /// Index into [`Plan::networks`].
        network: usize,
        /// The address.
        address: Ipv4Addr,
        /// The machine.
        mac: MacAddr,
    },
}

/// What the machine wants done.
pub type Output = MachineOutput<Reply, Infallible, Vec<LeaseRecord>>;

/// After a foreign server was last seen, offers are held back for this long.
const FOREIGN_HOLD: Duration = Duration::from_secs(600);
/// Replies that wait for the disk, at most; more requests are dropped, their clients repeat them.
const MAX_PENDING: usize = 4096;
/// How often what has lapsed is cleared away.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Pending {
    reply: Option<Reply>,
    event: Option<Observation>,
    undo: Option<Undo>,
    who: Who,
    client: ClientKind,
}

/// The server for all networks of a plan. See the module's text.
#[derive(Debug)]
pub struct DhcpMachine {
    plan: Arc<Plan>,
    layout: Layout,
    leases: Leases,
    restored: Vec<LeaseRecord>,
    foreign: HashMap<usize, (Ipv4Addr, Duration)>,
    pending: HashMap<Ticket, Pending>,
    next_ticket: u64,
    out: VecDeque<Output>,
    silent: OncePerMinute<MacAddr>,
    budget: Budget,
    /// Addresses at which a machine answered that are others' by our leases and offers.
    answered: Answered,
    styles: Styles,
    housekeeping: Option<Duration>,
}

/// One request with what is known about it.
#[derive(Debug)]
struct Context<'a> {
    now: Now,
    plan: &'a Plan,
    network: &'a PlanNetwork,
    index: usize,
    source: SocketAddrV4,
    request: &'a Request,
    client: ClientKind,
    arch: Option<Arch>,
}

/// What a client gets at this step, and the sentence for a person if that is less than it asked for.
#[derive(Debug)]
struct BootInfo {
    file: BootFile,
    short: Option<String>,
    unfit: Option<Unfit>,
    disk: Option<String>,
}

impl DhcpMachine {
    /// A server that continues with the leases of an earlier run.
    #[must_use]
    pub fn new(plan: Arc<Plan>, leases: Vec<LeaseRecord>) -> Self {
        Self {
            layout: Layout::new(&plan),
            plan,
            leases: Leases::default(),
            restored: leases,
            foreign: HashMap::new(),
            pending: HashMap::new(),
            next_ticket: 0,
            out: VecDeque::new(),
            silent: OncePerMinute::default(),
            budget: Budget::default(),
            answered: Answered::default(),
            styles: Styles::default(),
            housekeeping: None,
        }
    }

    /// Knows which form of ProxyDHCP offer these models of firmware take.
    #[must_use]
    pub fn with_styles(self, models: HashMap<String, ProxyStyle>) -> Self {
        Self { styles: Styles::new(models), ..self }
    }

    fn packet(&mut self, now: Now, index: usize, port: u16, source: SocketAddrV4, bytes: &[u8]) {
        let plan = self.plan.clone();
        let Some(network) = plan.networks.get(index) else { return };
        let Ok(request) = Request::parse(bytes) else { return };
        let (client, arch) = classify(&request);
        let context = Context { now, plan: &plan, network, index, source, request: &request, client, arch };
        match (port, network.mode) {
            (4011, _) => self.boot_server(&context),
            // What this server has given it answers for, whoever gives addresses now.
            (_, Mode::Proxy) if self.is_for_us(&context) => self.serve(&context),
            (_, Mode::Proxy) => self.propose(&context),
            (_, Mode::Dhcp | Mode::Auto) => self.serve(&context),
        }
    }

    fn committed(&mut self, ticket: Ticket, ok: bool) {
        let Some(pending) = self.pending.remove(&ticket) else { return };
        if ok {
            self.out.extend(pending.reply.map(Output::Send));
            self.out.extend(pending.event.map(Box::new).map(Output::Event));
            return;
        }
        if let Some(undo) = pending.undo {
            self.leases.undo(undo);
        }
        let reason = because("not-written", &[]);
        self.event(pending.who, EventKind::DhcpSilent { client: pending.client, reason });
    }

    /// Makes `records` durable, then sends and reports.
    fn persist(&mut self, records: Vec<LeaseRecord>, pending: Pending) {
        if self.pending.len() >= MAX_PENDING {
            if let Some(undo) = pending.undo {
                self.leases.undo(undo);
            }
            return;
        }
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.pending.insert(ticket, pending);
        self.out.push_back(Output::Persist(ticket, records));
    }

    fn event(&mut self, who: Who, kind: EventKind) {
        self.out.push_back(Output::Event(Box::new(Observation::of(who, kind))));
    }

    /// An event that a flood of forged requests could multiply.
    fn frequent_event(&mut self, context: &Context<'_>, who: Who, kind: EventKind) {
        if self.budget.take(context.now) {
            self.event(who, kind);
        }
    }

    fn silent(&mut self, context: &Context<'_>, reason: impl Into<String>) {
        if self.silent.first(context.now, context.request.mac) && self.budget.take(context.now) {
            let (client, reason) = (context.client, reason.into());
            let kind = match context.boot().is_silence() {
                true => EventKind::DhcpIgnored { client, reason },
                false => EventKind::DhcpSilent { client, reason },
            };
            self.event(context.who(), kind);
        }
    }

    /// Tells of a boot file that was not given, once a minute for each machine.
    fn passed_over(&mut self, context: &Context<'_>, boot: &BootInfo) {
        let Some(Unfit { file, made_for, arch }) = boot.unfit.clone() else { return };
        if self.silent.first(context.now, context.request.mac) {
            self.frequent_event(context, context.who(), EventKind::BootFileUnfit { file, made_for, arch });
        }
    }

    fn seen(&mut self, context: &Context<'_>) {
        let packet = &context.request.packet;
        let kind = EventKind::DhcpDiscover {
            client: context.client,
            xid: packet.xid,
            secs: packet.secs,
            arch: context.arch,
            vendor: super::wire::printable(context.request.class()),
            hostname: context.request.host_name(),
            relay: (!packet.giaddr.is_unspecified()).then_some(packet.giaddr),
        };
        self.frequent_event(context, context.who(), kind);
    }

    /// Why this network makes no new offers: another server's.
    fn held_back(&self, context: &Context<'_>) -> Option<String> {
        let interface = &context.network.interface;
        let forced = context.plan.lab.networks.get(context.network.index).is_some_and(|n| n.force);
        let seen = self.foreign.get(&context.index).filter(|(_, at)| context.now.boot < *at + FOREIGN_HOLD);
        match (forced, seen) {
            (true, _) => None,
            (false, Some((server, _))) => Some(because("held-back", &[("server", server), ("interface", interface)])),
            (false, None) => context.network.foreign.then(|| because("perhaps-held-back", &[("interface", interface)])),
        }
    }
}

/// Why something is not given, by its id.
fn because(key: &str, params: &[lang::Param<'_>]) -> String {
    lang::fill(lang::sentence("dhcp-reason", key), params)
}

impl Context<'_> {
    /// By what the packet says of the machine. Its `ciaddr` is a claim that nobody has checked: it must not make the address its own.
    fn who(&self) -> Who {
        Who { mac: Some(self.request.mac), uuid: self.request.uuid, ip: None }
    }

    fn boot(&self) -> BootInfo {
        let firmware = matches!(self.client, ClientKind::PxeRom | ClientKind::HttpBoot);
        let facts =
            ClientFacts { mac: self.request.mac, uuid: self.request.uuid, arch: self.arch, client: self.client };
        let decision = decide(self.plan, self.network, &facts);
        let file = decision.value.file;
        let short = match (&file, self.request.arch_codes.first(), self.arch) {
            (BootFile::Silence, _, _) => Some(match decision.because {
                Because::HostEntry { host } => because("ignored", &[("host", &host)]),
                Because::Unknown { interface } => because("unassigned", &[("interface", &interface)]),
            }),
            (_, Some(code), None) if firmware => {
                let short = because("unknown-architecture", &[("code", code)]);
                return BootInfo { file: BootFile::None, short: Some(short), unfit: None, disk: None };
            }
            (BootFile::NoFirmware { arch }, _, _) => Some(because("no-boot-file", &[("arch", arch)])),
            _ => None,
        };
        let disk = decision.value.boot.any_iscsi().map(|iscsi| iscsi.disk.to_string());
        BootInfo { file, short, unfit: decision.value.unfit, disk }
    }
}

impl BootInfo {
    fn is_silence(&self) -> bool {
        self.file == BootFile::Silence
    }

    /// For events: the file or URL given.
    fn shown(&self) -> Option<String> {
        match &self.file {
            BootFile::Tftp { file } => Some(file.clone()),
            BootFile::Http { url } | BootFile::Script { url } => Some(url.clone()),
            _ => None,
        }
    }

    fn root_path(&self) -> Option<String> {
        match &self.file {
            BootFile::RootPath { root_path, .. } => Some(root_path.clone()),
            _ => None,
        }
    }

    /// For events: the disk that the root-path names.
    fn root_disk(&self) -> Option<String> {
        self.disk.clone().filter(|_| matches!(self.file, BootFile::RootPath { .. }))
    }
}

impl Machine for DhcpMachine {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input<'_>) {
        for record in std::mem::take(&mut self.restored) {
            self.leases.restore(now, record);
        }
        match input {
            Input::Packet { network, port, source, bytes } => self.packet(now, network, port, source, bytes),
            Input::Plan(plan) => {
                self.layout = Layout::new(&plan);
                for (index, (old, new)) in self.plan.networks.iter().zip(&plan.networks).enumerate() {
                    // The other server is gone, or it would not be so.
                    let alone = new.mode != Mode::Proxy && !new.foreign;
                    if alone && (old.mode == Mode::Proxy || old.foreign) {
                        self.foreign.remove(&index);
                    }
                }
                self.plan = plan;
            }
            Input::Committed(ticket, ok) => self.committed(ticket, ok),
            Input::Tick => {}
            Input::Foreign { network, server } => {
                self.foreign.insert(network, (server, now.boot));
            }
            Input::InUse { network, address, mac } => self.in_use(now, network, address, mac),
        }
        if self.housekeeping.is_none_or(|due| now.boot >= due) {
            self.leases.forget_lapsed_offers(now);
            self.silent.forget(now);
            self.housekeeping = self.leases.has_offers().then_some(now.boot + HOUSEKEEPING);
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn deadline(&self) -> Option<Duration> {
        self.housekeeping
    }
}

/// The reply to a client's message, with what every reply copies from it (RFC 2131 table 3).
fn reply_to(request: &Packet) -> Packet {
    Packet {
        op: 2,
        htype: request.htype,
        hlen: request.hlen,
        xid: request.xid,
        flags: request.flags,
        giaddr: request.giaddr,
        chaddr: request.chaddr,
        plain: request.plain,
        ..Packet::default()
    }
}

#[cfg(test)]
mod tests;
