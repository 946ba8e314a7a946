//! An event as one line of the events screen. What a client sent is cleaned here, once.

use bootyard_core::api::{ClientKind, EventKind, HttpsRefusal, ProxyStyle};
use bootyard_core::lang::said;

use super::lang::t;
use super::say::{self, CLIENT_TEXT, bytes, clean, span};

fn client(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::PxeRom => t!("PXE firmware"),
        ClientKind::HttpBoot => t!("HTTP Boot firmware"),
        ClientKind::Ipxe => "iPXE",
        ClientKind::Gpxe => "gPXE",
        ClientKind::Os => t!("Operating system"),
        ClientKind::Bootp => t!("BOOTP client"),
    }
}

fn whom(kind: ClientKind) -> &'static str {
    if kind == ClientKind::Os { t!("the operating system") } else { client(kind) }
}

fn took(n: u64, millis: u64) -> String {
    t!("{size} in {time}", size = bytes(n), time = span(i64::try_from(millis).unwrap_or(i64::MAX)))
}

fn of(done: u64, total: u64) -> String {
    if total > 0 { t!("{done} of {total}", done = bytes(done), total = bytes(total)) } else { bytes(done) }
}

/// Several sentences of the engine in a row.
fn quoted_all(list: &[String]) -> String {
    let said: Vec<_> = list.iter().map(|text| said(text)).collect();
    say::clean_to(&said.join(" "), 400)
}

/// The line.
pub(super) fn line(kind: &EventKind) -> String {
    clean_line(kind).unwrap_or_else(|| clean(&kind.name()))
}

fn clean_line(kind: &EventKind) -> Option<String> {
    engine(kind)
        .or_else(|| dhcp(kind))
        .or_else(|| wire(kind))
        .or_else(|| files(kind))
        .or_else(|| script(kind))
        .or_else(|| iscsi(kind))
}

fn engine(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::EngineStarted { interfaces } => {
            t!("Serving on {interfaces}", interfaces = clean(&interfaces.join(", ")))
        }
        EventKind::EngineStopped { error: None } => t!("Stopped serving").into(),
        EventKind::EngineStopped { error: Some(error) } => {
            t!("Stopped serving: {error}", error = say::quoted(error, 400))
        }
        EventKind::ServiceUp { service, address } => {
            t!("{service} listens on {address}", service = say::service(*service), address = address)
        }
        EventKind::ServiceFailed { service, error } => {
            t!("{service} does not run: {error}", service = say::service(*service), error = say::quoted(error, 400))
        }
        EventKind::ModeChosen { interface, mode, because } => {
            t!(
                "{mode} on {interface}: {because}",
                mode = say::mode(mode),
                interface = clean(interface),
                because = clean(because)
            )
        }
        EventKind::ForeignDhcp { interface, server, mac } => {
            let server = mac.map_or_else(|| server.to_string(), |mac| format!("{server} ({mac})"));
            t!("Another DHCP server answers on {interface}: {server}", interface = clean(interface), server = server)
        }
        EventKind::ForeignDhcpGone { interface, servers } => {
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            t!(
                "No other DHCP server answers on {interface} any more: {servers}",
                interface = clean(interface),
                servers = servers.join(", ")
            )
        }
        EventKind::AddressHeld { interface, address, held: true } => {
            t!("{address} added to {interface}", address = clean(address), interface = clean(interface))
        }
        EventKind::AddressHeld { interface, address, held: false } => {
            t!("{address} taken from {interface}", address = clean(address), interface = clean(interface))
        }
        EventKind::DiskCommitted { disk, of, generation } => {
            t!(
                "What {of} changed is generation {generation} of {disk}",
                of = clean(of),
                generation = generation,
                disk = clean(disk)
            )
        }
        EventKind::DiskResized { disk, size } => t!("{disk} has {size} now", disk = clean(disk), size = bytes(*size)),
        EventKind::OverlaysReset { disk, of } => {
            t!("Overlays of {disk} were dropped: {of}", disk = clean(disk), of = say::clean_to(&of.join(", "), 400))
        }
        EventKind::DiskDeleted { disk } => t!("{disk} was deleted", disk = clean(disk)),
        EventKind::LabChanged => t!("lab.toml was read anew").into(),
        EventKind::LabBroken { problems } => {
            t!("lab.toml has problems: {problems}", problems = quoted_all(problems))
        }
        EventKind::Assigned { to, by } => {
            let boot = say::boot(to);
            match by.as_str() {
                "window" => t!("Assigned in the window: {boot}", boot = boot),
                "command" => t!("Assigned on the command line: {boot}", boot = boot),
                "install-finished" => t!("Assigned because its installer runs: {boot}", boot = boot),
                by => t!("Assigned by {by}: {boot}", by = clean(by), boot = boot),
            }
        }
        EventKind::WakeSent { interfaces } => {
            t!("Wake-on-LAN packet sent on {interfaces}", interfaces = clean(&interfaces.join(", ")))
        }
        EventKind::JobStarted { what, .. } => t!("Began: {what}", what = clean(what)),
        EventKind::JobEnded { what, error: None, .. } => t!("Done: {what}", what = clean(what)),
        EventKind::JobEnded { what, error: Some(error), .. } => {
            t!("Failed: {what}: {error}", what = clean(what), error = say::quoted(error, 400))
        }
        _ => return None,
    })
}

fn dhcp(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::DhcpDiscover { client: who, arch, relay, .. } => {
            let asks = t!("{client} asks for an address", client = client(*who));
            let asks = arch.map(|a| format!("{asks}, {}", say::arch(a))).unwrap_or(asks);
            relay.map(|r| t!("{asks}, through relay {relay}", asks = asks, relay = r)).unwrap_or(asks)
        }
        EventKind::DhcpOffer { client: who, address, file, .. } => {
            t!("Offered {what} to {whom}", what = given(address.as_ref(), file.as_deref()), whom = whom(*who))
        }
        EventKind::DhcpAck { client: who, address, file, root_path, .. } => {
            let (what, whom) = (given(address.as_ref(), file.as_deref()), whom(*who));
            match root_path.as_deref() {
                Some(root) => {
                    t!("Gave {what} to {whom} with root {root}", what = what, whom = whom, root = clean(root))
                }
                None => t!("Gave {what} to {whom}", what = what, whom = whom),
            }
        }
        EventKind::DhcpNak { address, reason } => {
            t!("Refused {address}: {reason}", address = address, reason = say::quoted(reason, CLIENT_TEXT))
        }
        EventKind::DhcpRelease { address } => t!("Gave {address} back", address = address),
        EventKind::BootFileUnfit { file, made_for, arch } => t!(
            "{file} runs on {made_for}, and this machine is {arch}: lab.toml names the wrong boot file for it, which it is not given",
            file = file,
            made_for = say::arch(*made_for),
            arch = say::arch(*arch)
        ),
        EventKind::ProxyStyle { model, style, taken: false } => {
            t!(
                "Firmware {model} ignores our offer; it gets the other form now ({style})",
                model = model,
                style = proxy_style(*style)
            )
        }
        EventKind::ProxyStyle { model, style, taken: true } => {
            t!(
                "Firmware {model} takes the other form ({style}); that is remembered",
                model = model,
                style = proxy_style(*style)
            )
        }
        EventKind::DhcpConflict { address, used_by, withheld: true } => {
            t!(
                "{address} is in use by {used_by}, which did not get it from here; it is withheld",
                address = address,
                used_by = used_by
            )
        }
        EventKind::DhcpConflict { address, used_by, withheld: false } => {
            t!(
                "{address} is used by {used_by} too, which did not get it from here; give that machine another address",
                address = address,
                used_by = used_by
            )
        }
        EventKind::DhcpDecline { address } => t!("Found {address} in use; it is withheld", address = address),
        EventKind::DhcpSilent { reason, .. } => t!("Not answered: {reason}", reason = say::quoted(reason, CLIENT_TEXT)),
        EventKind::DhcpIgnored { reason, .. } => t!("Ignored: {reason}", reason = say::quoted(reason, CLIENT_TEXT)),
        EventKind::RouterSolicitation { answered: true, .. } => t!("Router solicitation answered").into(),
        EventKind::RouterSolicitation { answered: false, reason: Some(why) } => {
            t!("Router solicitation left alone: {why}", why = say::quoted(why, CLIENT_TEXT))
        }
        EventKind::RouterSolicitation { answered: false, reason: None } => t!("Router solicitation left alone").into(),
        _ => return None,
    })
}

/// What was seen in traffic that is not ours, or did not reach us.
fn wire(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::ForeignOffer { server, ack, address, file, .. } => {
            let what = given(address.as_ref(), file.as_deref());
            if *ack {
                t!("The server {server} gave {what}", server = server, what = what)
            } else {
                t!("The server {server} offered {what}", server = server, what = what)
            }
        }
        EventKind::DhcpElsewhere { server, .. } => t!("Took the offer of the server {server}", server = server),
        EventKind::Unheard { service, port, packets, refused: true } => t!(
            "{packets} packets for {service} on port {port} were refused by this computer",
            packets = packets,
            service = say::service(*service),
            port = port
        ),
        EventKind::Unheard { service, port, packets, refused: false } => t!(
            "{packets} packets for {service} on port {port} came and did not reach it",
            packets = packets,
            service = say::service(*service),
            port = port
        ),
        EventKind::TcpRetransmits { service, port, packets, by_us: true } => t!(
            "This computer repeated {packets} segments without an answer ({service}, port {port})",
            packets = packets,
            service = say::service(*service),
            port = port
        ),
        EventKind::TcpRetransmits { service, port, packets, by_us: false } => t!(
            "The machine repeated {packets} segments without an answer ({service}, port {port})",
            packets = packets,
            service = say::service(*service),
            port = port
        ),
        EventKind::ViaGateway { address, gateway } => {
            t!(
                "Frames of {address} come through the router {gateway}, though it is on this network",
                address = address,
                gateway = gateway
            )
        }
        EventKind::SpanningTree { interface, bridge, delay_seconds } => {
            t!(
                "The switch {bridge} on {interface} speaks the spanning tree protocol ({delay_seconds} s of delay, twice)",
                bridge = bridge,
                interface = interface,
                delay_seconds = delay_seconds
            )
        }
        _ => return None,
    })
}

fn given(address: Option<&std::net::Ipv4Addr>, file: Option<&str>) -> String {
    match (address, file.filter(|f| !f.is_empty())) {
        (Some(address), Some(file)) => t!("{address} and {file}", address = address, file = clean(file)),
        (Some(address), None) => address.to_string(),
        (None, Some(file)) => clean(file),
        (None, None) => t!("boot information").into(),
    }
}

fn files(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::TftpRequest { file, .. } => format!("TFTP {}", clean(file)),
        EventKind::TftpProgress { file, sent, total } => format!("TFTP {}: {}", clean(file), of(*sent, *total)),
        EventKind::HttpsRefused { why: HttpsRefusal::NoCommonMethod, .. } => {
            t!("HTTPS: its TLS has no method in common with this computer's").into()
        }
        EventKind::HttpsRefused { why: HttpsRefusal::UnknownAuthority, .. } => {
            t!("HTTPS: it does not know the lab's authority").into()
        }
        EventKind::TftpDone { file, bytes, millis } => format!("TFTP {}: {}", clean(file), took(*bytes, *millis)),
        EventKind::TftpAborted { file, probe: true, .. } => t!("TFTP {file}: asked for the size", file = clean(file)),
        EventKind::TftpAborted { file, sent, message, .. } => {
            t!(
                "TFTP {file} ended by the client after {size}: {message}",
                file = clean(file),
                size = bytes(*sent),
                message = clean(message)
            )
        }
        EventKind::TftpFailed { file, code, message } => {
            t!(
                "TFTP {file} failed with error {code}: {message}",
                file = clean(file),
                code = code,
                message = say::quoted(message, CLIENT_TEXT)
            )
        }
        EventKind::TftpUnanswered { file, block_size, tries, next, .. } => {
            let said = t!(
                "TFTP {file}: {tries} repetitions unanswered, blocks of {size} bytes",
                file = clean(file),
                tries = tries,
                size = block_size
            );
            next.map(|n| t!("{said}; blocks of {size} bytes from now on", said = said, size = n)).unwrap_or(said)
        }
        EventKind::TftpNameTail { file } => t!("TFTP {file}: asked for with bytes behind the name", file = clean(file)),
        EventKind::HttpRequest { method, path, status, .. } => {
            format!("HTTP {} {}: {status}", clean(method), clean(path))
        }
        EventKind::HttpProgress { path, sent, total } => format!("HTTP {}: {}", clean(path), of(*sent, *total)),
        EventKind::HttpDone { path, bytes, millis } => format!("HTTP {}: {}", clean(path), took(*bytes, *millis)),
        EventKind::HttpAborted { path, sent, total } => {
            t!("HTTP {path} ended by the client after {far}", path = clean(path), far = of(*sent, *total))
        }
        _ => return None,
    })
}

fn script(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::ScriptServed { boot, because, .. } => {
            t!("Script given: {boot} ({because})", boot = say::boot(boot), because = clean(because))
        }
        EventKind::Inventory { manufacturer, product, serial, .. } => {
            let parts: Vec<String> = [manufacturer, product, serial].into_iter().flatten().map(|s| clean(s)).collect();
            t!("Told of itself: {parts}", parts = parts.join(", "))
        }
        EventKind::ScriptError { step, code } => {
            t!("iPXE error {code} in step {step}", code = format!("{code:08x}"), step = clean(step))
        }
        EventKind::ScriptFlaw { flaw, detail } => {
            t!("What it is given cannot work: {flaw} ({detail})", flaw = clean(flaw), detail = clean(detail))
        }
        EventKind::ScriptStep { step } => t!("Script reached {step}", step = clean(step)),
        EventKind::AnswersServed { profile } => t!("Fetched its answers for {profile}", profile = clean(profile)),
        EventKind::InstallConsumed { profile, next, .. } => {
            t!("The installer of {profile} runs; next: {boot}", profile = clean(profile), boot = say::boot(next))
        }
        _ => return None,
    })
}

fn iscsi(kind: &EventKind) -> Option<String> {
    Some(match kind {
        EventKind::IscsiLogin { disk, firmware, .. } => {
            let disk = clean(disk);
            if *firmware {
                t!("Firmware logged in to disk {disk}", disk = disk)
            } else {
                t!("Operating system logged in to disk {disk}", disk = disk)
            }
        }
        EventKind::IscsiRefused { target, status, reason, .. } => {
            let status = format!("{status:04x}");
            let (target, reason) = (clean(target), say::quoted(reason, CLIENT_TEXT));
            t!("Login to {target} refused with {status}: {reason}", target = target, status = status, reason = reason)
        }
        EventKind::IscsiRedirected { target, to, .. } => {
            t!("Login to {target} was sent on to {to}", target = clean(target), to = to)
        }
        EventKind::IscsiEnded { target, reason, .. } => {
            t!(
                "Session with {target} ended: {reason}",
                target = clean(target),
                reason = say::quoted(reason, CLIENT_TEXT)
            )
        }
        EventKind::IscsiProgress { target, read, written, .. } => {
            t!(
                "{target}: read {read}, wrote {written}",
                target = clean(target),
                read = bytes(*read),
                written = bytes(*written)
            )
        }
        EventKind::IscsiError { target, lba, message } => {
            t!(
                "Error of {target} at block {lba}: {message}",
                target = clean(target),
                lba = lba,
                message = say::quoted(message, CLIENT_TEXT)
            )
        }
        // What system it has is told to diagnosis, and is no trouble.
        EventKind::ImageTrouble { disk, troubles } => {
            match &troubles.iter().filter(|t| *t != "windows").cloned().collect::<Vec<_>>()[..] {
                [] => t!("Nothing known keeps machines from booting disk {disk}", disk = clean(disk)),
                troubles => t!(
                    "Disk {disk} will not boot everywhere: {troubles}",
                    disk = clean(disk),
                    troubles = clean(&troubles.join(", "))
                ),
            }
        }
        EventKind::OtherUuid { known, seen } => {
            t!("Another machine behind the same MAC: {seen}, not {known}", seen = seen, known = known)
        }
        EventKind::OverlayCreated { disk, fresh } => {
            let disk = clean(disk);
            if *fresh {
                t!("New fresh overlay on disk {disk}", disk = disk)
            } else {
                t!("New overlay on disk {disk}", disk = disk)
            }
        }
        _ => return None,
    })
}

fn proxy_style(style: ProxyStyle) -> &'static str {
    match style {
        ProxyStyle::File => t!("the boot file in the offer"),
        ProxyStyle::BootServer => t!("port 4011"),
    }
}

#[cfg(test)]
mod tests {
    use bootyard_core::lab::Boot;
    use bootyard_core::lang::{Language, speak_here};

    use super::*;

    #[test]
    fn reasons_of_the_engine_are_said_in_the_language_that_is_spoken() {
        let (interface, mode) = ("br0".to_owned(), "dhcp".to_owned());
        let because = "no other DHCP server answered the probe".to_owned();
        let chosen = EventKind::ModeChosen { interface, mode, because };
        let because = "chosen in the machine's menu".to_owned();
        let script = EventKind::ScriptServed { boot: Boot::Local, dialect: "ipxe".into(), because };
        let assigned = |by: &str| EventKind::Assigned { to: Boot::Local, by: by.into() };
        let begun = EventKind::JobStarted {
            job: 1,
            job_kind: bootyard_core::api::JobKind::SelfTest,
            what: "the self-test on br0".into(),
        };
        assert_eq!(line(&assigned("window")), "Assigned in the window: Local disk");
        assert_eq!(line(&assigned("command")), "Assigned on the command line: Local disk");
        assert_eq!(line(&assigned("a script")), "Assigned by a script: Local disk");
        speak_here(Language::German);
        let german = [&chosen, &script, &assigned("install-finished"), &begun].map(line);
        speak_here(Language::English);
        assert!(german[0].ends_with("kein anderer DHCP-Server hat auf die Probe geantwortet"), "{german:#?}");
        assert!(german[1].ends_with("(im Menü des Rechners gewählt)"), "{german:#?}");
        assert!(german[2].starts_with("Zugewiesen, weil sein Installer läuft: "), "{german:#?}");
        assert_eq!(german[3], "Begonnen: der Selbsttest auf br0");
        assert!(line(&chosen).ends_with("no other DHCP server answered the probe"));
    }
}
