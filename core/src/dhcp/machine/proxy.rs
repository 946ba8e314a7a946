//! ProxyDHCP (PXE 2.1): boot information beside another server's addresses, and the boot server on port 4011.

use std::net::SocketAddrV4;

use super::{BootInfo, Context, Destination, DhcpMachine, Output, Reply};
use crate::api::{ClientKind, EventKind, ProxyStyle, Who};
use crate::boot::BootFile;
use crate::dhcp::wire::{BROADCAST_FLAG, MessageType};
use crate::lab::Mode;

impl DhcpMachine {
    /// What firmware or iPXE is told to boot; `None` where there is nothing to tell, which is then reported if a person may wonder.
    fn boots(&mut self, context: &Context<'_>) -> Option<BootInfo> {
        if matches!(context.client, ClientKind::Os | ClientKind::Bootp) {
            return None;
        }
        let boot = context.boot();
        self.passed_over(context, &boot);
        if let Some(reason) = boot.short.clone() {
            self.silent(context, reason);
        }
        let nothing = matches!(boot.file, BootFile::None | BootFile::Silence | BootFile::NoFirmware { .. });
        (!nothing).then_some(boot)
    }

    /// Port 67 in mode `proxy`: answers DISCOVERs of firmware and iPXE, never with an address. REQUESTs are the other server's.
    pub(super) fn propose(&mut self, context: &Context<'_>) {
        if context.request.message == Some(MessageType::Request) {
            // It took the other server's address, and what it takes of us comes next.
            self.goes_on(context);
            // A system's address is none of our concern here.
            if let Some(server) = context.request.server_id.filter(|_| context.client != ClientKind::Os) {
                self.elsewhere(context, server);
            }
        }
        if context.request.message != Some(MessageType::Discover) {
            return;
        }
        self.seen(context);
        let Some(boot) = self.boots(context) else { return };
        let style = self.style(context);
        let mut reply = context.reply(Some(MessageType::Offer));
        reply.flags |= BROADCAST_FLAG;
        context.put_proxy(&mut reply, &boot.file, style);
        let destination = context.relay().map_or(Destination::Broadcast, Destination::Unicast);
        let bytes = context.encode(&reply);
        self.out.push_back(Output::Send(Reply {
            network: context.index,
            from_port: 67,
            destination,
            bytes,
            probe: None,
        }));
        let kind = EventKind::DhcpOffer {
            client: context.client,
            address: None,
            file: boot.shown(),
            next_server: reply.siaddr,
        };
        self.frequent_event(context, context.who(), kind);
    }

    /// The form of the offer for this client.
    fn style(&mut self, context: &Context<'_>) -> ProxyStyle {
        if context.client != ClientKind::PxeRom {
            return ProxyStyle::File;
        }
        let model = context.model();
        let (style, turned) = self.styles.choose(context.now, context.request.mac, &model, context.arch);
        if turned {
            self.frequent_event(context, context.who(), EventKind::ProxyStyle { model, style, taken: false });
        }
        style
    }

    fn goes_on(&mut self, context: &Context<'_>) {
        if context.client != ClientKind::PxeRom {
            return;
        }
        let model = context.model();
        if let Some(style) = self.styles.goes_on(context.request.mac, &model, context.arch) {
            self.frequent_event(context, context.who(), EventKind::ProxyStyle { model, style, taken: true });
        }
    }

    /// Port 4011 in either mode: the boot file for a client that has its address already. The answer leaves from port 4011 to the
    /// port from which the client asked.
    pub(super) fn boot_server(&mut self, context: &Context<'_>) {
        let request = context.request;
        if !matches!(request.message, Some(MessageType::Request | MessageType::Inform)) {
            return;
        }
        self.goes_on(context);
        let Some(boot) = self.boots(context) else { return };
        let mut reply = context.reply(Some(MessageType::Ack));
        reply.ciaddr = request.packet.ciaddr;
        context.put_boot_server(&mut reply, &boot.file);
        let source = context.source;
        let destination = match (source.ip().is_unspecified(), request.packet.ciaddr.is_unspecified()) {
            (false, _) => Destination::Unicast(source),
            (true, false) => Destination::Unicast(SocketAddrV4::new(request.packet.ciaddr, source.port())),
            (true, true) => Destination::Broadcast,
        };
        let bytes = context.encode(&reply);
        self.out.push_back(Output::Send(Reply {
            network: context.index,
            from_port: 4011,
            destination,
            bytes,
            probe: None,
        }));
        let kind = EventKind::DhcpAck {
            client: context.client,
            address: None,
            file: boot.shown(),
            root_path: boot.root_path(),
            disk: boot.root_disk(),
            lease_seconds: 0,
        };
        // Where we give the addresses, our lease says whose it is.
        let theirs = context.network.mode == Mode::Proxy && !source.ip().is_unspecified();
        let ip = theirs.then(|| (*source.ip()).into());
        self.frequent_event(context, Who { ip, ..context.who() }, kind);
    }
}
