//! What each line of dnsmasq.conf is here.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::lines::{Line, lines};
use super::tags::{Holds, Tags};
use crate::exchange::OWN_INITIATORS;
use crate::exchange::client::When;
use crate::exchange::dhcpd_cidr as cidr;
use crate::exchange::ledger::{Id, Ledger, Said};
use crate::exchange::model::{Give, HostEntry, Model, Net, Params, Rule};
use crate::exchange::source::{Source, Sources};
use crate::exchange::words::lost_of_ipxe;
use crate::net::{Ipv4Cidr, Ipv4Range, MacAddr};

/// Reads a dnsmasq.conf into the model.
pub(in crate::exchange) fn read(source: &Source, sources: &mut Sources, ledger: &mut Ledger, model: &mut Model) {
    let all = lines(source, sources, ledger);
    let masks = Masks::of(&all, model);
    let mut reader = Reader {
        ledger,
        model,
        masks,
        tags: Tags::default(),
        plain: Vec::new(),
        tagged: Vec::new(),
        nets: BTreeSet::new(),
        said: BTreeSet::new(),
    };
    // Tags are used before they are set, as often as not.
    let mut rest: Vec<&Line> = Vec::new();
    for line in &all {
        if line.key == "dhcp-range" {
            reader.range(line);
        } else if line.key == "dhcp-host" {
            reader.host(line);
        } else if line.key == "tag-if" || !reader.tags.learn(line, reader.ledger) {
            rest.push(line);
        }
    }
    let (ifs, rest): (Vec<&Line>, Vec<&Line>) = rest.into_iter().partition(|l| l.key == "tag-if");
    for line in ifs {
        reader.tags.learn(line, reader.ledger);
    }
    for line in rest {
        reader.line(line);
    }
    // A line with tags outweighs one without, wherever it stands.
    let rules = std::mem::take(&mut reader.plain).into_iter().chain(std::mem::take(&mut reader.tagged));
    for (holds, rule) in rules {
        reader.place(&holds, rule);
    }
    // Only on its usual port is it the DNS server of its machines.
    let port = all.iter().rev().find(|l| l.key == "port").map_or("53", |l| l.value.as_str());
    reader.itself(port == "53");
}

struct Reader<'a> {
    ledger: &'a mut Ledger,
    model: &'a mut Model,
    masks: Masks,
    tags: Tags,
    plain: Vec<(Holds, Rule)>,
    tagged: Vec<(Holds, Rule)>,
    /// The subnets of its ranges.
    nets: BTreeSet<usize>,
    /// Options that were said, with the subnet for which, be it that there is none.
    said: BTreeSet<(u16, Option<usize>)>,
}

const DNS: &str = "Bootyard is no DNS server";

/// What tells the netmask of a range that says none, best first. dnsmasq takes it from the interface on which it serves.
struct Masks {
    interfaces: Vec<(String, Ipv4Cidr)>,
    /// `dhcp-option=option:netmask,…` for everybody.
    option: Option<Ipv4Addr>,
}

impl Masks {
    fn of(all: &[Line], model: &Model) -> Self {
        let named: Vec<&str> = all.iter().filter(|l| l.key == "interface").map(|l| l.value.as_str()).collect();
        let mut interfaces = model.around.clone();
        interfaces.sort_by_key(|(name, _)| !named.contains(&name.as_str()));
        let options = all.iter().filter(|l| l.key == "dhcp-option" || l.key == "dhcp-option-force");
        let option = options.map(Line::parts).find_map(|parts| match parts.as_slice() {
            [name, mask] if code(name) == Some(1) => mask.parse().ok(),
            _ => None,
        });
        Self { interfaces, option }
    }

    /// The subnet of addresses, and how it is known.
    fn subnet(&self, first: Ipv4Addr, last: Ipv4Addr, nets: &[Net]) -> Option<(Ipv4Cidr, Option<String>)> {
        let both = |net: Ipv4Cidr| net.contains(first) && net.contains(last);
        let whole = |prefix| Ipv4Cidr { address: Ipv4Cidr { address: first, prefix }.network(), prefix };
        if let Some((name, net)) = self.interfaces.iter().find(|(_, net)| both(*net)) {
            return Some((whole(net.prefix), Some(format!("is that of {name} on this computer, as dnsmasq takes it"))));
        }
        if let Some(net) = self.option.and_then(|mask| cidr(first, mask)).filter(|net| both(*net)) {
            return Some((net, Some("is the one that `dhcp-option` tells machines".to_owned())));
        }
        if let Some(net) = nets.iter().map(|n| n.subnet).find(|net| both(*net)) {
            return Some((net, None));
        }
        // Else the usual one, and for a range that is larger that of its class, as dnsmasq itself guesses behind a relay.
        let class = match first.octets() {
            [0..=127, ..] => 8,
            [128..=191, ..] => 16,
            _ => 24,
        };
        let net = [24, class].map(whole).into_iter().find(|net| both(*net))?;
        let remark = "is a guess: dnsmasq takes that of its interface, which no file tells; write it behind the range's last address, or \
                      import on that computer";
        Some((net, Some(remark.to_owned())))
    }
}

impl Reader<'_> {
    fn line(&mut self, line: &Line) {
        let id = line.id;
        let parts = line.parts();
        match line.key.as_str() {
            "dhcp-boot" => self.boot(id, &parts),
            "dhcp-option" | "dhcp-option-force" | "dhcp-option-pxe" => self.option(id, &parts),
            "pxe-service" => self.service(id, &parts),
            "pxe-prompt" => self.ledger.lost(id, "machines are not asked; boot = \"menu\" shows a menu"),
            "interface" => self.interface(id, &line.value),
            "listen-address" => {
                self.model
                    .own
                    .extend(parts.iter().filter_map(|p| p.parse::<Ipv4Addr>().ok()).filter(|a| !a.is_loopback()));
                self.ledger.implied(id, "Bootyard answers on its interface only");
            }
            "domain" => match parts.as_slice() {
                [domain] if !domain.is_empty() && domain != "#" => {
                    self.model.params.domain = Some(Said { value: domain.clone(), id });
                }
                _ => self.ledger.lost(id, "a domain by address ranges; a subnet has one here"),
            },
            "dhcp-ignore" if line.value == "tag:!known" || line.value == "#known" => {
                self.model.strangers_ignored.push(id);
            }
            "dhcp-ignore" => self.ignore(id, &parts),
            "enable-tftp" | "tftp-no-blocksize" | "tftp-single-port" | "tftp-lowercase" | "tftp-secure"
            | "tftp-max" | "tftp-mtu" | "tftp-port-range" => {
                self.ledger.implied(id, "Bootyard's own TFTP server serves the boot files");
            }
            "tftp-root" | "tftp-unique-root" | "tftp-no-fail" => {
                let what = format!("Bootyard serves its own boot files; others of {} go into firmware/", line.value);
                self.ledger.implied(id, what);
            }
            "port" if line.value == "0" => self.ledger.implied(id, DNS),
            "dhcp-authoritative" => {
                self.ledger.implied(id, "in dhcp mode Bootyard refuses addresses that are not from here");
            }
            "bind-interfaces" | "bind-dynamic" | "except-interface" | "no-dhcp-interface" | "no-dhcpv4-interface" => {
                self.ledger.implied(id, "Bootyard answers on the interfaces of lab.toml only");
            }
            "log-dhcp" | "log-queries" | "log-facility" | "log-async" | "log-debug" | "quiet-dhcp" | "quiet-tftp"
            | "dhcp-leasefile" | "dhcp-lease-file" | "leasefile-ro" | "pid-file" | "keep-in-foreground"
            | "no-daemon" | "user" | "group" => self.ledger.implied(id, "Bootyard keeps its own"),
            "dhcp-no-override" => {
                self.ledger.implied(id, "Bootyard gives names in the header and as an option, as each client asks");
            }
            "dhcp-script" | "dhcp-luascript" | "dhcp-scriptuser" => {
                self.ledger.lost(id, "Bootyard runs no commands at events; `bootyard events --json` tells them");
            }
            "dhcp-mac" | "dhcp-name-match" | "dhcp-circuitid" | "dhcp-remoteid" | "dhcp-subscrid" => {
                self.ledger.lost(id, "there are no tags here; each machine has a [[host]]");
            }
            "dhcp-relay" | "dhcp-proxy" | "bridge-interface" | "shared-network" => {
                self.ledger.lost(id, "no equal here");
            }
            "enable-ra" | "ra-param" | "dhcp-duid" | "slaac" => self.ledger.lost(id, "Bootyard serves IPv4 only"),
            key if is_dns(key) => self.ledger.lost(id, DNS),
            key => self.ledger.lost(id, format!("`{key}` has no equal here")),
        }
    }

    fn holds(&mut self, id: Id, parts: &[String]) -> Option<(Holds, Vec<String>)> {
        let words = parts.iter().filter(|p| !p.starts_with("tag:") && !p.starts_with("net:")).cloned().collect();
        match self.tags.holds(parts) {
            Ok(holds) => Some((holds, words)),
            Err(why) => {
                self.ledger.lost(id, why);
                None
            }
        }
    }

    fn push(&mut self, holds: Holds, tagged: bool, rule: Rule) {
        if tagged { self.tagged.push((holds, rule)) } else { self.plain.push((holds, rule)) }
    }

    fn place(&mut self, holds: &Holds, rule: Rule) {
        let id = rule.id;
        // For them it is as if nothing had been said.
        for host in &holds.but {
            if let Some(host) = self.model.hosts.get_mut(*host) {
                host.rules.insert(0, Rule { give: Give::File(String::new()), ..rule.clone() });
            }
        }
        match (&holds.hosts, &holds.nets) {
            (Some(hosts), _) => {
                for host in hosts {
                    if let Some(host) = self.model.hosts.get_mut(*host) {
                        host.rules.push(rule.clone());
                    }
                }
            }
            (None, Some(nets)) => {
                for net in nets {
                    match self.model.nets.get_mut(*net) {
                        Some(net) => net.rules.push(rule.clone()),
                        None => self.ledger.lost(id, "its subnet is not understood"),
                    }
                }
            }
            (None, None) => self.model.rules.push(rule),
        }
    }

    /// `dhcp-ignore=tag:x[,tag:y]` of machines with entries.
    fn ignore(&mut self, id: Id, parts: &[String]) {
        match self.tags.holds(parts) {
            Ok(Holds { when, nets: None, hosts: Some(hosts), but }) if when.is_always() && but.is_empty() => {
                self.ledger.implied(id, "its machines are ignored already, or there are none");
                for host in hosts {
                    if let Some(host) = self.model.hosts.get_mut(host).filter(|h| !h.ignored) {
                        host.ignored = true;
                        host.said.push((id, "boot = \"ignore\""));
                    }
                }
            }
            _ => self.ledger.lost(id, "only machines without an entry can be ignored as a whole"),
        }
    }

    /// `dhcp-boot=[tag:x,]FILE[,SERVER[,ADDRESS]]`
    fn boot(&mut self, id: Id, parts: &[String]) {
        let Some((holds, words)) = self.holds(id, parts) else { return };
        let file = words.first().cloned().unwrap_or_default();
        if let Some(address) = words.get(2).and_then(|t| t.parse::<Ipv4Addr>().ok()) {
            self.model.own.push(address);
        }
        let rule = Rule { when: holds.when, give: Give::File(file), id };
        let tagged = words.len() < parts.len();
        self.push(holds, tagged, rule);
    }

    /// `dhcp-option=[tag:x,]NUMBER|option:NAME,VALUE…`
    fn option(&mut self, id: Id, parts: &[String]) {
        let Some((holds, words)) = self.holds(id, parts) else { return };
        let tagged = words.len() < parts.len();
        if words.iter().any(|w| w.starts_with("encap:") || w.starts_with("vendor:") || w.starts_with("vi-encap:")) {
            let ipxe = words.iter().position(|w| w == "encap:175");
            return if let Some(at) = ipxe {
                match lost_of_ipxe(words.get(at + 1).and_then(|w| w.parse().ok())) {
                    Some(why) => self.ledger.lost(id, why),
                    None => self.ledger.implied(id, "Bootyard gives iPXE what it needs"),
                }
            } else if words.iter().any(|w| w == "vendor:PXEClient") {
                self.ledger.implied(id, "Bootyard answers ROMs as they expect");
            } else {
                self.ledger.lost(id, "Bootyard gives no options of one's own");
            };
        }
        let name = words.first().map(String::as_str).unwrap_or_default();
        let values: Vec<String> = words.iter().skip(1).cloned().collect();
        let first = values.first().cloned().unwrap_or_default();
        let addresses: Vec<Ipv4Addr> = values.iter().filter_map(|t| t.parse().ok()).collect();
        let Some(code) = code(name) else { return self.ledger.lost(id, format!("Bootyard gives no option `{name}`")) };
        match code {
            17 | 67 => {
                let give = if code == 17 { Give::RootPath(first) } else { Give::File(first) };
                let rule = Rule { when: holds.when, give, id };
                self.push(holds, tagged, rule);
            }
            66 | 150 => {
                self.model.own.extend(addresses);
                self.ledger.implied(id, "Bootyard itself serves the boot files");
            }
            1 | 28 | 51 | 54 | 58 | 59 => self.ledger.implied(id, "it follows from the subnet and its leases"),
            203 if first.starts_with(OWN_INITIATORS) => {
                self.ledger.implied(id, "Bootyard gives each machine this name");
            }
            203 => self.ledger.lost(id, "Bootyard gives each machine an initiator name of its own"),
            60 | 43 => self.ledger.implied(id, "Bootyard answers ROMs as they expect"),
            3 | 6 | 15 => {
                if holds.hosts.is_some() || !holds.but.is_empty() || !holds.when.is_always() {
                    return self.ledger.lost(id, "the same for all machines of a subnet here");
                }
                match holds.nets {
                    None => self.general(id, code, None, &first, &addresses),
                    Some(nets) => {
                        nets.into_iter().for_each(|net| self.general(id, code, Some(net), &first, &addresses));
                    }
                }
            }
            _ => self.ledger.lost(id, format!("Bootyard gives no option `{name}`")),
        }
    }

    /// Where nothing is said of a router or a DNS server, dnsmasq names itself.
    fn itself(&mut self, resolves: bool) {
        for net in std::mem::take(&mut self.nets) {
            if self.model.nets.get(net).is_none_or(|n| n.proxy) {
                continue;
            }
            let silent = |code| !self.said.contains(&(code, None)) && !self.said.contains(&(code, Some(net)));
            if silent(3) {
                self.model.routes_itself.insert(net);
            }
            if silent(6) && resolves {
                self.model.resolves_itself.insert(net);
            }
        }
    }

    fn general(&mut self, id: Id, code: u16, net: Option<usize>, first: &str, addresses: &[Ipv4Addr]) {
        // dnsmasq's word for its own address.
        let itself = addresses.iter().any(Ipv4Addr::is_unspecified);
        if code == 3 && itself {
            return self.ledger.implied(id, "dnsmasq names itself, as it does where nothing is said");
        }
        self.said.insert((code, net));
        let params = match net.filter(|n| *n < self.model.nets.len()) {
            Some(net) => &mut self.model.nets[net].params,
            None => &mut self.model.params,
        };
        match (code, addresses) {
            (15, _) => params.domain = Some(Said { value: first.to_owned(), id }),
            (3, []) => self.ledger.implied(id, "no router, as here without `router`"),
            (3, [router, more @ ..]) => {
                params.router = Some(Said { value: *router, id });
                if !more.is_empty() {
                    self.ledger.lost(id, "the first router is taken; Bootyard gives one");
                }
            }
            (_, []) => self.ledger.implied(id, "no DNS server, as here without `dns`"),
            _ if itself => self.ledger.lost(id, DNS),
            (_, addresses) => params.dns = Some(Said { value: addresses.to_vec(), id }),
        }
    }

    /// `pxe-service=[tag:x,]ARCHITECTURE,TEXT[,FILE|TYPE][,SERVER]`
    fn service(&mut self, id: Id, parts: &[String]) {
        let Some((holds, words)) = self.holds(id, parts) else { return };
        let arch: &[u16] = match words.first().map(|w| w.to_ascii_lowercase()).as_deref() {
            Some("x86pc" | "0") => &[0],
            Some("ia32_efi" | "6") => &[6],
            // dnsmasq's words since 2.76, which follow what firmware sends.
            Some("x86-64_efi" | "7") => &[7],
            Some("bc_efi" | "9") => &[9],
            Some("arm32_efi" | "10") => &[10],
            Some("arm64_efi" | "11") => &[11],
            _ => return self.ledger.lost(id, "an architecture for which there is no boot file here"),
        };
        let file = words.get(2).cloned().unwrap_or_default();
        if file.is_empty() || file == "0" {
            return self.ledger.implied(id, "the local disk is in Bootyard's menu");
        }
        if file.bytes().all(|b| b.is_ascii_digit()) {
            return self.ledger.lost(id, "a boot server type; Bootyard's offer names the file");
        }
        // dnsmasq's rule for names without a suffix.
        let file = if file.contains('.') || arch != [0] || file.contains("://") { file } else { format!("{file}.0") };
        let when = holds.when.and(When::of(|c| Some(c.arch.is_some_and(|a| arch.contains(&a)))));
        let tagged = words.len() < parts.len();
        self.push(holds, tagged, Rule { when, give: Give::File(file), id });
    }

    fn interface(&mut self, id: Id, name: &str) {
        if name == "lo" {
            self.ledger.implied(id, "Bootyard answers on the interfaces of lab.toml only");
        } else if self.model.interface.is_none() && !name.contains('*') {
            self.model.interface = Some(Said { value: name.to_owned(), id });
        } else {
            self.ledger.lost(id, "nothing says which subnet is on which interface; the first interface is taken");
        }
    }

    /// `dhcp-range=[set:x,]FIRST[,LAST|proxy|static][,MASK[,BROADCAST]][,LEASE]`
    fn range(&mut self, line: &Line) {
        let (id, parts) = (line.id, line.parts());
        if parts.iter().any(|p| p.contains("::") || p.starts_with("constructor:")) {
            return self.ledger.lost(id, "Bootyard serves IPv4 only");
        }
        if parts.iter().any(|p| p.starts_with("tag:")) {
            return self.ledger.lost(id, "a range for some machines only; every machine may have every address here");
        }
        let words: Vec<&String> = parts.iter().filter(|p| !p.starts_with("set:") && !p.starts_with("net:")).collect();
        let addresses: Vec<Ipv4Addr> = words.iter().map_while(|w| w.parse().ok()).collect();
        let Some(first) = addresses.first().copied() else { return self.ledger.lost(id, "not a range of addresses") };
        let mode = words.get(1).map(|w| w.as_str());
        let (proxy, fixed) = (mode == Some("proxy"), mode == Some("static"));
        let after = words.get(if proxy || fixed { 2 } else { addresses.len().min(2) }..).unwrap_or_default();
        let mask = if proxy || fixed { after.first().and_then(|w| w.parse().ok()) } else { addresses.get(2).copied() };
        let last = addresses.get(1).copied().filter(|_| !proxy && !fixed);
        let known = match mask {
            Some(mask) => cidr(first, mask).map(|net| (net, None)),
            None => self.masks.subnet(first, last.unwrap_or(first), &self.model.nets),
        };
        let Some((subnet, how)) = known else {
            return self.ledger.lost(id, "the range says no netmask; add it behind the last address");
        };
        let index = match self.model.nets.iter().position(|n| n.subnet == subnet) {
            Some(index) => index,
            None => {
                let (ranges, params) = (Vec::new(), Params::default());
                let remark = how.map(|how| {
                    let place = self.ledger.place(id);
                    format!("{place}: the range says no netmask; the one of {subnet} {how}")
                });
                let rules = Vec::new();
                self.model.nets.push(Net { subnet, id, ranges, params, rules, proxy, relayed: false, remark });
                self.model.nets.len() - 1
            }
        };
        self.nets.insert(index);
        for set in parts.iter().filter_map(|p| p.strip_prefix("set:").or_else(|| p.strip_prefix("net:"))) {
            self.tags.of_net(set, index);
        }
        let Some(net) = self.model.nets.get_mut(index) else { return };
        if let Some(value) = last.and_then(|last| Ipv4Range::new(first, last).ok()) {
            net.ranges.push(Said { value, id });
        } else if !proxy && !fixed {
            self.ledger.lost(id, "not a range of addresses");
        }
        if let Some(seconds) = words.last().and_then(|w| seconds(w)) {
            net.params.lease = Some(Said { value: seconds, id });
            // dnsmasq gives a client that asks for more no more than this.
            net.params.lease_max = Some(Said { value: seconds, id });
        }
    }

    /// `dhcp-host=MAC…,[set:x,]ADDRESS,NAME,LEASE,ignore` in any order.
    fn host(&mut self, line: &Line) {
        let id = line.id;
        let mut entry = HostEntry {
            id,
            name: None,
            macs: Vec::new(),
            address: None,
            rules: Vec::new(),
            ignored: false,
            said: Vec::new(),
            net: None,
        };
        let index = self.model.hosts.len();
        let mut lost = Vec::new();
        for part in line.parts() {
            if let Some(tag) = part.strip_prefix("set:").or_else(|| part.strip_prefix("net:")) {
                self.tags.of_host(tag, index);
            } else if part.starts_with("id:") {
                lost.push("a machine is known by its MAC address here, not by a client identifier".to_owned());
            } else if part.starts_with("tag:") {
                lost.push("an entry holds for its machine at all times here".to_owned());
            } else if part == "ignore" {
                entry.ignored = true;
            } else if let Ok(value) = part.parse::<MacAddr>() {
                entry.macs.push(Said { value, id });
            } else if let Ok(value) = part.parse::<Ipv4Addr>() {
                entry.address = Some(Said { value, id });
            } else if part.starts_with('[') {
                lost.push("Bootyard serves IPv4 only".to_owned());
            } else if part.contains('*') {
                lost.push("a pattern of MAC addresses; each machine has its own [[host]]".to_owned());
            } else if seconds(&part).is_some() {
                lost.push("lease times are the subnet's here".to_owned());
            } else if !part.is_empty() {
                entry.name = Some(part);
            }
        }
        for why in lost {
            self.ledger.lost(id, why);
        }
        self.model.hosts.push(entry);
    }
}

fn code(name: &str) -> Option<u16> {
    let name = name.strip_prefix("option:").unwrap_or(name);
    Some(match name {
        "netmask" => 1,
        "router" => 3,
        "dns-server" => 6,
        "domain-name" => 15,
        "root-path" => 17,
        "broadcast" => 28,
        "lease-time" => 51,
        "server-identifier" => 54,
        "T1" => 58,
        "T2" => 59,
        "vendor-class" => 60,
        "tftp-server" => 66,
        "bootfile-name" => 67,
        "tftp-server-address" => 150,
        other => other.parse().ok()?,
    })
}

/// `45m`, `12h`, `3600`, `infinite`; at least two digits or a unit, so that no name is taken for one.
fn seconds(text: &str) -> Option<u64> {
    if text == "infinite" {
        return Some(u64::from(u32::MAX));
    }
    let (digits, unit) = match text.char_indices().last()? {
        (at, 's') => (text.get(..at)?, 1),
        (at, 'm') => (text.get(..at)?, 60),
        (at, 'h') => (text.get(..at)?, 3600),
        (at, 'd') => (text.get(..at)?, 86_400),
        (at, 'w') => (text.get(..at)?, 604_800),
        _ => (text, 1),
    };
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| digits.parse::<u64>().ok()?.checked_mul(unit)).flatten()
}

fn is_dns(key: &str) -> bool {
    const KEYS: [&str; 34] = [
        "port",
        "server",
        "local",
        "address",
        "alias",
        "addn-hosts",
        "hostsdir",
        "no-hosts",
        "expand-hosts",
        "resolv-file",
        "no-resolv",
        "no-poll",
        "strict-order",
        "all-servers",
        "domain-needed",
        "bogus-priv",
        "bogus-nxdomain",
        "filterwin2k",
        "cache-size",
        "neg-ttl",
        "local-ttl",
        "no-negcache",
        "host-record",
        "cname",
        "srv-host",
        "mx-host",
        "mx-target",
        "localmx",
        "selfmx",
        "txt-record",
        "ptr-record",
        "rebind-localhost-ok",
        "stop-dns-rebind",
        "localise-queries",
    ];
    KEYS.contains(&key) || key.starts_with("dnssec") || key.starts_with("auth-") || key.starts_with("rebind-")
}
