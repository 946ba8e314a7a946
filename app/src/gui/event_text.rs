//! An event as one line of the events screen. What a client sent is cleaned here, once.

use bootyard_core::api::{ClientKind, EventKind, ProxyStyle};

use super::say::{self, bytes, clean, span};

fn client(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::PxeRom => "PXE firmware",
        ClientKind::HttpBoot => "HTTP Boot firmware",
        ClientKind::Ipxe => "iPXE",
        ClientKind::Gpxe => "gPXE",
        ClientKind::Os => "Operating system",
        ClientKind::Bootp => "BOOTP client",
    }
}

fn whom(kind: ClientKind) -> &'static str {
    if kind == ClientKind::Os { "the operating system" } else { client(kind) }
}

fn took(n: u64, millis: u64) -> String {
    format!("{} in {}", bytes(n), span(i64::try_from(millis).unwrap_or(i64::MAX)))
}

fn of(done: u64, total: u64) -> String {
    if total > 0 { format!("{} of {}", bytes(done), bytes(total)) } else { bytes(done) }
}

/// The line.
pub(super) fn line(kind: &EventKind) -> String {
    clean_line(kind).unwrap_or_else(|| clean(&kind.name()))
}

fn clean_line(kind: &EventKind) -> Option<String> {
    engine(kind).or_else(|| dhcp(kind)).or_else(|| files(kind)).or_else(|| script(kind)).or_else(|| iscsi(kind))
}

fn engine(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::EngineStarted { interfaces } => format!("Serving on {}", clean(&interfaces.join(", "))),
        EventKind::EngineStopped { error: None } => "Stopped serving".into(),
        EventKind::EngineStopped { error: Some(error) } => format!("Stopped serving: {}", say::clean_to(error, 400)),
        EventKind::ServiceUp { service, address } => format!("{} listens on {address}", say::service(*service)),
        EventKind::ServiceFailed { service, error } => {
            format!("{} does not run: {}", say::service(*service), say::clean_to(error, 400))
        }
        EventKind::ModeChosen { interface, mode, because } => {
            format!("{} on {}: {}", say::mode(mode), clean(interface), clean(because))
        }
        EventKind::ForeignDhcp { interface, server, mac } => {
            let by = mac.map(|m| format!(" ({m})")).unwrap_or_default();
            format!("Another DHCP server answers on {}: {server}{by}", clean(interface))
        }
        EventKind::AddressHeld { interface, address, held } => {
            let verb = if *held { "added to" } else { "taken from" };
            format!("{} {verb} {}", clean(address), clean(interface))
        }
        EventKind::DiskCommitted { disk, of, generation } => {
            format!("What {} changed is generation {generation} of {}", clean(of), clean(disk))
        }
        EventKind::DiskResized { disk, size } => format!("{} has {} now", clean(disk), bytes(*size)),
        EventKind::OverlaysReset { disk, of } => {
            format!("Overlays of {} were dropped: {}", clean(disk), say::clean_to(&of.join(", "), 400))
        }
        EventKind::DiskDeleted { disk } => format!("{} was deleted", clean(disk)),
        EventKind::LabChanged => "lab.toml was read anew".into(),
        EventKind::LabBroken { problems } => {
            format!("lab.toml has problems: {}", say::clean_to(&problems.join(" "), 400))
        }
        EventKind::Assigned { to, by } => format!("Assigned by {}: {}", clean(by), say::boot(to)),
        EventKind::JobStarted { what, .. } => format!("Began: {}", clean(what)),
        EventKind::JobEnded { what, error: None, .. } => format!("Done: {}", clean(what)),
        EventKind::JobEnded { what, error: Some(error), .. } => {
            format!("Failed: {}: {}", clean(what), say::clean_to(error, 400))
        }
        _ => return None,
    })
}

fn dhcp(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::DhcpDiscover { client: who, arch, relay, .. } => {
            let arch = arch.map(|a| format!(", {}", say::arch(a))).unwrap_or_default();
            let relay = relay.map(|r| format!(", through relay {r}")).unwrap_or_default();
            format!("{} asks for an address{arch}{relay}", client(*who))
        }
        EventKind::DhcpOffer { client: who, address, file, .. } => {
            format!("Offered {} to {}", given(address.as_ref(), file.as_deref()), whom(*who))
        }
        EventKind::DhcpAck { client: who, address, file, root_path, .. } => {
            let root = root_path.as_deref().map(|r| format!(" with root {}", clean(r))).unwrap_or_default();
            format!("Gave {} to {}{root}", given(address.as_ref(), file.as_deref()), whom(*who))
        }
        EventKind::DhcpNak { address, reason } => format!("Refused {address}: {}", clean(reason)),
        EventKind::DhcpRelease { address } => format!("Gave {address} back"),
        EventKind::BootFileUnfit { file, made_for, arch } => format!(
            "{file} runs on {}, and this machine is {}: lab.toml names the wrong boot file for it, which it is not given",
            say::arch(*made_for),
            say::arch(*arch)
        ),
        EventKind::ProxyStyle { model, style, taken: false } => {
            format!("Firmware {model} ignores our offer; it gets the other form now ({})", proxy_style(*style))
        }
        EventKind::ProxyStyle { model, style, taken: true } => {
            format!("Firmware {model} takes the other form ({}); that is remembered", proxy_style(*style))
        }
        EventKind::DhcpConflict { address, mac, withheld: true } => {
            format!("{address} is in use by {mac}, which did not get it from here; it is withheld")
        }
        EventKind::DhcpConflict { address, mac, withheld: false } => {
            format!("{address} is used by {mac} too, which did not get it from here; give that machine another address")
        }
        EventKind::DhcpDecline { address } => format!("Found {address} in use; it is withheld"),
        EventKind::DhcpSilent { reason, .. } => format!("Not answered: {}", clean(reason)),
        EventKind::DhcpIgnored { reason, .. } => format!("Ignored: {}", clean(reason)),
        EventKind::RouterSolicitation { answered: true, .. } => "Router solicitation answered".into(),
        EventKind::RouterSolicitation { answered: false, reason } => {
            let why = reason.as_deref().map(|r| format!(": {}", clean(r))).unwrap_or_default();
            format!("Router solicitation left alone{why}")
        }
        _ => return None,
    })
}

fn given(address: Option<&std::net::Ipv4Addr>, file: Option<&str>) -> String {
    match (address, file.filter(|f| !f.is_empty())) {
        (Some(address), Some(file)) => format!("{address} and {}", clean(file)),
        (Some(address), None) => address.to_string(),
        (None, Some(file)) => clean(file),
        (None, None) => "boot information".into(),
    }
}

fn files(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::TftpRequest { file, .. } => format!("TFTP {}", clean(file)),
        EventKind::TftpProgress { file, sent, total } => format!("TFTP {}: {}", clean(file), of(*sent, *total)),
        EventKind::TftpDone { file, bytes, millis } => format!("TFTP {}: {}", clean(file), took(*bytes, *millis)),
        EventKind::TftpAborted { file, probe: true, .. } => format!("TFTP {}: asked for the size", clean(file)),
        EventKind::TftpAborted { file, sent, message, .. } => {
            format!("TFTP {} ended by the client after {}: {}", clean(file), bytes(*sent), clean(message))
        }
        EventKind::TftpFailed { file, code, message } => {
            format!("TFTP {} failed with error {code}: {}", clean(file), clean(message))
        }
        EventKind::HttpRequest { method, path, status, .. } => {
            format!("HTTP {} {}: {status}", clean(method), clean(path))
        }
        EventKind::HttpProgress { path, sent, total } => format!("HTTP {}: {}", clean(path), of(*sent, *total)),
        EventKind::HttpDone { path, bytes, millis } => format!("HTTP {}: {}", clean(path), took(*bytes, *millis)),
        EventKind::HttpAborted { path, sent, total } => {
            format!("HTTP {} ended by the client after {}", clean(path), of(*sent, *total))
        }
        _ => return None,
    })
}

fn script(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::ScriptServed { boot, because, .. } => {
            format!("Script given: {} ({})", say::boot(boot), clean(because))
        }
        EventKind::Inventory { manufacturer, product, serial, .. } => {
            let parts: Vec<String> = [manufacturer, product, serial].into_iter().flatten().map(|s| clean(s)).collect();
            format!("Told of itself: {}", parts.join(", "))
        }
        EventKind::ScriptError { step, code } => format!("iPXE error {code:08x} in step {}", clean(step)),
        EventKind::ScriptStep { step } => format!("Script reached {}", clean(step)),
        EventKind::AnswersServed { profile } => format!("Fetched its answers for {}", clean(profile)),
        EventKind::InstallConsumed { profile, next, .. } => {
            format!("The installer of {} runs; next: {}", clean(profile), say::boot(next))
        }
        _ => return None,
    })
}

fn iscsi(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::IscsiLogin { disk, firmware, .. } => {
            let who = if *firmware { "Firmware" } else { "Operating system" };
            format!("{who} logged in to disk {}", clean(disk))
        }
        EventKind::IscsiRefused { target, status, reason, .. } => {
            format!("Login to {} refused with {status:04x}: {}", clean(target), clean(reason))
        }
        EventKind::IscsiRedirected { target, to, .. } => format!("Login to {} was sent on to {to}", clean(target)),
        EventKind::IscsiEnded { target, reason, .. } => {
            format!("Session with {} ended: {}", clean(target), clean(reason))
        }
        EventKind::IscsiProgress { target, read, written, .. } => {
            format!("{}: read {}, wrote {}", clean(target), bytes(*read), bytes(*written))
        }
        EventKind::IscsiError { target, lba, message } => {
            format!("Error of {} at block {lba}: {}", clean(target), clean(message))
        }
        EventKind::OverlayCreated { disk, fresh } => {
            let kind = if *fresh { "fresh overlay" } else { "overlay" };
            format!("New {kind} on disk {}", clean(disk))
        }
        _ => return None,
    })
}

fn proxy_style(style: ProxyStyle) -> &'static str {
    match style {
        ProxyStyle::File => "the boot file in the offer",
        ProxyStyle::BootServer => "port 4011",
    }
}
