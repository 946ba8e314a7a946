//! RFC 2131's server: mode `dhcp`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use super::leases::{Asking, Claim, Client};
use super::scope::Scope;
use super::{BootInfo, Context, Destination, DhcpMachine, Output, Pending, Reply, because};
use crate::api::{ClientKind, EventKind, Observation, Who};
use crate::dhcp::wire::{BROADCAST_FLAG, MessageType, Packet, code};
use crate::lab::Mode;
use crate::machine::Now;
use crate::net::MacAddr;

impl DhcpMachine {
    pub(super) fn serve(&mut self, context: &Context<'_>) {
        match context.request.message {
            None => self.bootp(context),
            Some(MessageType::Discover) => self.discover(context),
            Some(MessageType::Request) => self.request(context),
            Some(MessageType::Decline) => self.decline(context),
            Some(MessageType::Release) => self.release(context),
            Some(MessageType::Inform) => self.inform(context),
            Some(MessageType::Offer | MessageType::Ack | MessageType::Nak) => {}
        }
    }

    /// RFC 2131 4.3.1.
    fn discover(&mut self, context: &Context<'_>) {
        self.seen(context);
        let boot = context.boot();
        self.passed_over(context, &boot);
        if let Some(reason) = &boot.short {
            self.silent(context, reason.clone());
        }
        if boot.is_silence() {
            return;
        }
        if let Some(reason) = self.held_back(context) {
            return self.silent(context, reason);
        }
        let Some((scope, address, anew)) = self.choose(context) else { return };
        let mut reply = context.reply(Some(MessageType::Offer));
        reply.yiaddr = address;
        context.put_lease(&mut reply, context.lease_seconds(&scope));
        context.put_network(&mut reply, &scope);
        context.put_boot(&mut reply, &boot.file);
        let kind = EventKind::DhcpOffer {
            client: context.client,
            address: Some(address),
            file: boot.shown(),
            next_server: reply.siaddr,
        };
        // A ciaddr in a DISCOVER is a client's mistake: it has no address.
        let destination = context.destination(address, Ipv4Addr::UNSPECIFIED);
        // The client never waits for the answer: whoever has the address gives it before the client's REQUEST comes (RFC 2131 3.1.2).
        let probe = (anew && context.relay().is_none()).then_some(address);
        self.out.push_back(Output::Send(Reply { probe, ..context.send(destination, &reply) }));
        self.frequent_event(context, context.who(), kind);
    }

    /// A machine answered at an address: it is not offered to others.
    pub(super) fn in_use(&mut self, now: Now, network: usize, address: Ipv4Addr, mac: MacAddr) {
        if self.plan.networks.get(network).is_none_or(|n| n.mac == mac) || !self.answered.believes(now, mac) {
            return;
        }
        let who = Who { mac: Some(mac), ..Who::default() };
        match self.leases.conflict(now, address, mac) {
            Ok(record) => {
                self.answered.note(mac, address);
                self.event(who.clone(), EventKind::DhcpConflict { address, used_by: mac, withheld: true });
                let client = ClientKind::Os;
                self.persist(vec![record], Pending { reply: None, event: None, undo: None, who, client });
            }
            Err(true) if self.answered.note(mac, address) => {
                self.event(who, EventKind::DhcpConflict { address, used_by: mac, withheld: false });
            }
            Err(_) => {}
        }
    }

    /// Beside another server: what a client sends that has an address from here, or took the offer of one before that server came.
    pub(super) fn is_for_us(&self, context: &Context<'_>) -> bool {
        let request = context.request;
        let address = request.packet.ciaddr;
        match (request.message, request.server_id) {
            (Some(MessageType::Request), None) => {
                !address.is_unspecified() && self.leases.holds(self.client(context), address)
            }
            (Some(MessageType::Request), Some(_)) => {
                let wanted = request.requested.unwrap_or(address);
                self.for_us(context) && self.leases.knows(self.client(context), wanted)
            }
            (Some(MessageType::Decline | MessageType::Release), _) => self.for_us(context),
            _ => false,
        }
    }

    /// RFC 2131 4.3.2: the four states of a client that sends a REQUEST, told apart by 54, 50 and ciaddr.
    pub(super) fn request(&mut self, context: &Context<'_>) {
        let request = context.request;
        let ciaddr = Some(request.packet.ciaddr).filter(|a| !a.is_unspecified());
        let (asking, address) = match (request.server_id, request.requested, ciaddr) {
            (Some(id), _, _) if id != context.network.address.address && id != context.server_id() => {
                let client = self.client(context);
                self.elsewhere(context, id);
                return self.leases.withdraw(client);
            }
            (Some(_), Some(address), _) | (Some(_), None, Some(address)) => (Asking::Selecting, address),
            (None, _, Some(address)) => (Asking::Extending, address),
            (None, Some(address), None) => (Asking::Rebooting, address),
            (_, None, None) => return,
        };
        let boot = context.boot();
        // Beside another server only those come here that hold a lease of ours; new machines are ignored there.
        if boot.is_silence() && context.network.mode != Mode::Proxy {
            return self.silent(context, boot.short.unwrap_or_default());
        }
        let held_back = self.held_back(context).is_some();
        let link = if asking == Asking::Extending { address } else { context.link() };
        let Some(scope) = self.layout.scope(context.index, link) else {
            return self.silent(context, because("no-subnet", &[("address", &link)]));
        };
        let client = self.client(context);
        let how = (self.fixed(context), asking);
        match self.leases.claim(context.now, &self.layout, &scope, client, address, how) {
            Claim::Good if held_back && !self.leases.knows(client, address) => {}
            Claim::Good => self.acknowledge(context, &scope, client, address, &boot),
            // Beside another server the address may well be that one's to give.
            Claim::Wrong(_) if held_back || context.network.mode == Mode::Proxy => {}
            Claim::Wrong(reason) => self.refuse(context, address, reason),
            Claim::Unknown => {
                let reason = because("not-from-here", &[("address", &address)]);
                self.silent(context, reason);
            }
        }
    }

    /// It took the offer of another server.
    pub(super) fn elsewhere(&mut self, context: &Context<'_>, server: Ipv4Addr) {
        let kind = EventKind::DhcpElsewhere { client: context.client, server };
        self.frequent_event(context, context.who(), kind);
    }

    fn acknowledge(
        &mut self,
        context: &Context<'_>,
        scope: &Scope,
        client: Client,
        address: Ipv4Addr,
        boot: &BootInfo,
    ) {
        let seconds = context.lease_seconds(scope);
        let mut reply = context.reply(Some(MessageType::Ack));
        let extends = context.request.server_id.is_none();
        let ciaddr = if extends { context.request.packet.ciaddr } else { Ipv4Addr::UNSPECIFIED };
        reply.ciaddr = ciaddr;
        reply.yiaddr = address;
        context.put_lease(&mut reply, seconds);
        context.put_network(&mut reply, scope);
        context.put_boot(&mut reply, &boot.file);
        let destination = context.destination(address, ciaddr);
        self.give(context, scope, client, address, (seconds, boot), context.send(destination, &reply));
    }

    /// Persists the lease; reply and event follow when it is on disk.
    fn give(
        &mut self,
        context: &Context<'_>,
        scope: &Scope,
        client: Client,
        address: Ipv4Addr,
        (seconds, boot): (u32, &BootInfo),
        reply: Reply,
    ) {
        let name = context.request.host_name();
        let (records, undo) = self.leases.bind(context.now, scope, client, address, (seconds, name));
        let who = Who { ip: Some(address.into()), ..context.who() };
        let kind = EventKind::DhcpAck {
            client: context.client,
            address: Some(address),
            file: boot.shown(),
            root_path: boot.root_path(),
            disk: boot.root_disk(),
            lease_seconds: seconds,
        };
        let event = Some(Observation::of(who.clone(), kind));
        self.persist(records, Pending { reply: Some(reply), event, undo: Some(undo), who, client: context.client });
    }

    fn refuse(&mut self, context: &Context<'_>, address: Ipv4Addr, reason: String) {
        let mut reply = context.reply(Some(MessageType::Nak));
        reply.set(code::MESSAGE, reason.as_bytes());
        let relay = context.relay();
        if relay.is_some() {
            // RFC 2131 4.3.2: the client may have no address by which the relay could reach it.
            reply.flags |= BROADCAST_FLAG;
        }
        let destination = relay.map_or(Destination::Broadcast, Destination::Unicast);
        self.out.push_back(Output::Send(context.send(destination, &reply)));
        self.frequent_event(context, context.who(), EventKind::DhcpNak { address, reason });
    }

    /// RFC 2131 4.3.3.
    fn decline(&mut self, context: &Context<'_>) {
        let Some(address) = context.request.requested else { return };
        if !self.for_us(context) {
            return;
        }
        let client = self.client(context);
        if let Some(record) = self.leases.decline(context.now, client, address) {
            let event = EventKind::DhcpDecline { address };
            self.note(context, record, event);
        }
    }

    /// RFC 2131 4.3.4.
    fn release(&mut self, context: &Context<'_>) {
        if !self.for_us(context) {
            return;
        }
        let address = context.request.packet.ciaddr;
        let client = self.client(context);
        if let Some(record) = self.leases.release(context.now, client, address) {
            self.note(context, record, EventKind::DhcpRelease { address });
        }
    }

    fn note(&mut self, context: &Context<'_>, record: crate::lab::LeaseRecord, event: EventKind) {
        let who = context.who();
        self.event(who.clone(), event);
        self.persist(vec![record], Pending { reply: None, event: None, undo: None, who, client: context.client });
    }

    /// RFC 2131 4.3.5: no address, no lease time.
    fn inform(&mut self, context: &Context<'_>) {
        let packet = &context.request.packet;
        // Some clients leave ciaddr out; the packet's source is their address.
        let address = if packet.ciaddr.is_unspecified() { *context.source.ip() } else { packet.ciaddr };
        let boot = context.boot();
        // Only to addresses of our subnets: nobody far away can have answers sent to a third.
        let Some(scope) = self.layout.scope(context.index, address).filter(|_| !boot.is_silence()) else { return };
        let mut reply = context.reply(Some(MessageType::Ack));
        reply.ciaddr = packet.ciaddr;
        context.put_network(&mut reply, &scope);
        context.put_boot(&mut reply, &boot.file);
        let destination = context.destination(Ipv4Addr::UNSPECIFIED, address);
        self.out.push_back(Output::Send(context.send(destination, &reply)));
        let kind = EventKind::DhcpAck {
            client: context.client,
            address: None,
            file: boot.shown(),
            root_path: boot.root_path(),
            disk: boot.root_disk(),
            lease_seconds: 0,
        };
        self.frequent_event(context, context.who(), kind);
    }

    /// RFC 951 and RFC 1534: one request, one reply, and no way to give the address back.
    fn bootp(&mut self, context: &Context<'_>) {
        self.seen(context);
        let boot = context.boot();
        if boot.is_silence() {
            return self.silent(context, boot.short.unwrap_or_default());
        }
        if self.held_back(context).is_some() {
            return;
        }
        let Some((scope, address, _)) = self.choose(context) else { return };
        let seconds = u32::try_from(scope.lease.max.as_secs()).unwrap_or(u32::MAX);
        let ciaddr = context.request.packet.ciaddr;
        let mut reply = context.reply(None);
        reply.ciaddr = ciaddr;
        reply.yiaddr = address;
        context.put_network(&mut reply, &scope);
        context.put_boot(&mut reply, &boot.file);
        let client = self.client(context);
        let destination = context.destination(address, Ipv4Addr::UNSPECIFIED);
        self.give(context, &scope, client, address, (seconds, &boot), context.send(destination, &reply));
    }

    /// An address for a client that has none, held for it; whether somebody else could use it by now.
    fn choose(&mut self, context: &Context<'_>) -> Option<(Arc<Scope>, Ipv4Addr, bool)> {
        let link = context.link();
        let Some(scope) = self.layout.scope(context.index, link) else {
            self.silent(context, because("relay-no-subnet", &[("address", &link)]));
            return None;
        };
        let client = self.client(context);
        let fixed = self.fixed(context);
        let wanted = context.request.requested;
        let address = self.leases.offer(context.now, &self.layout, &scope, client, wanted, fixed);
        if address.is_none() {
            let subnet = format!("{}/{}", scope.subnet.network(), scope.subnet.prefix);
            self.silent(context, because("all-taken", &[("subnet", &subnet)]));
        }
        address.map(|(address, anew)| (scope, address, anew))
    }

    fn client(&self, context: &Context<'_>) -> Client {
        let request = context.request;
        let named = request.requested.or(Some(request.packet.ciaddr).filter(|a| !a.is_unspecified()));
        self.leases.client(&self.layout, request.mac, request.uuid, named)
    }

    /// The address that lab.toml reserves for it.
    fn fixed(&self, context: &Context<'_>) -> Option<Ipv4Addr> {
        let client = self.client(context);
        context.plan.host(client.mac, client.uuid.or(context.request.uuid)).and_then(|h| h.address)
    }

    fn for_us(&self, context: &Context<'_>) -> bool {
        context.request.server_id.is_none_or(|id| id == context.network.address.address || id == context.server_id())
    }
}

impl Context<'_> {
    /// Where the client is: RFC 3527 and RFC 3011 before the relay's own address, and our network without a relay.
    fn link(&self) -> Ipv4Addr {
        let packet = &self.request.packet;
        let relay = Some(packet.giaddr).filter(|a| !a.is_unspecified());
        let selected = packet.address(code::SUBNET_SELECTION).filter(|a| !a.is_unspecified());
        match relay {
            Some(relay) => self.request.relay.link.or(selected).unwrap_or(relay),
            None => self.network.address.address,
        }
    }

    /// Where replies through a relay go: its port 67, or the one from which it sent (RFC 8357).
    pub(super) fn relay(&self) -> Option<SocketAddrV4> {
        let giaddr = self.request.packet.giaddr;
        let port = if self.request.relay.source_port { self.source.port() } else { 67 };
        (!giaddr.is_unspecified()).then(|| SocketAddrV4::new(giaddr, port))
    }

    /// RFC 2131 4.1: relay, else the address in use, else broadcast where wanted, else the frame of the client.
    fn destination(&self, yiaddr: Ipv4Addr, ciaddr: Ipv4Addr) -> Destination {
        if let Some(relay) = self.relay() {
            return Destination::Unicast(relay);
        }
        if !ciaddr.is_unspecified() {
            return Destination::Unicast(SocketAddrV4::new(ciaddr, 68));
        }
        if self.request.packet.wants_broadcast() || yiaddr.is_unspecified() {
            return Destination::Broadcast;
        }
        Destination::Hardware { mac: self.request.mac, ip: yiaddr }
    }

    fn send(&self, destination: Destination, reply: &Packet) -> Reply {
        Reply { network: self.index, from_port: 67, destination, bytes: self.encode(reply), probe: None }
    }
}
