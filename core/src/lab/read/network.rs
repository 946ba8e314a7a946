//! `[network]` and `[[network.subnet]]`.

use std::time::Duration;

use super::fields::{Fields, Reader};
use super::text::parse_duration;
use super::{Lines, boot};
use crate::lab::problem::Problem;
use crate::lab::schema::{Boot, Lease, Mode, Network, Subnet, Unknown};
use crate::net::{Ipv4Cidr, Ipv4Range};

const MODES: &[(&str, Mode)] = &[("dhcp", Mode::Dhcp), ("proxy", Mode::Proxy), ("auto", Mode::Auto)];

/// The network with the lines of its subnets; `None` without an interface.
pub(super) fn network(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<(Network, Vec<Lines>)> {
    let known = [
        "interface",
        "address",
        "mode",
        "force",
        "range",
        "router",
        "dns",
        "domain",
        "lease",
        "unknown",
        "unknown-erases-disks",
        "wait-timeout",
        "subnet",
    ];
    reader.only(fields, "[network]", &known);
    reader.required(fields, "[network]", "interface", "\"eth0\"");

    let mut network = Network::on(String::new());
    network.address = address(reader, fields);
    network.mode = reader.word(fields, "mode", MODES).unwrap_or_default();
    network.force = reader.boolean(fields, "force");
    network.ranges = ranges(reader, fields);
    network.router = reader.address(fields, "router");
    network.dns = dns(reader, fields);
    network.domain = domain(reader, fields);
    network.lease = lease(reader, fields).unwrap_or_default();
    network.unknown = unknown(reader, fields);
    network.wait_timeout = duration(reader, fields, "wait-timeout").unwrap_or_default();
    let mut lines = Vec::new();
    for (sub, _) in reader.entries(fields, "subnet", true) {
        if let Some(subnet) = subnet(reader, &sub) {
            network.subnets.push(subnet);
            lines.push(sub.lines(reader));
        }
    }
    if network.mode == Mode::Proxy && fields.has("range") {
        let line = fields.line(reader, "range");
        reader.warning(line, "`range` has no effect in proxy mode: the other server gives the addresses");
    }
    if network.mode == Mode::Proxy && network.force {
        let line = fields.line(reader, "force");
        reader.warning(line, "`force` has no effect in proxy mode");
    }
    network.interface = interface(reader, fields)?;
    Some((network, lines))
}

fn interface(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<String> {
    let name = reader.string(fields, "interface")?;
    // Linux's IFNAMSIZ is 16 with the end mark.
    let ok = (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if !ok || name == "." || name == ".." {
        let line = fields.line(reader, "interface");
        reader.problem(
            Problem::error(line, format!("`{name}` cannot be an interface's name")).suggest("`ip link` lists them"),
        );
        return None;
    }
    Some(name.to_owned())
}

fn address(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Ipv4Cidr> {
    let cidr: Ipv4Cidr = reader.parsed(fields, "address")?;
    let line = fields.line(reader, "address");
    let ip = cidr.address;
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || ip.is_broadcast() || cidr.prefix == 0 {
        reader.error(line, format!("`address`: {cidr} cannot be an interface's address"));
        return None;
    }
    if cidr.prefix < 31 && (ip == cidr.network() || ip == cidr.broadcast()) {
        let what = if ip == cidr.network() { "the network itself" } else { "the network's broadcast address" };
        let first = std::net::Ipv4Addr::from(u32::from(cidr.network()).saturating_add(1));
        reader.problem(
            Problem::error(line, format!("`address`: {ip} is {what}"))
                .suggest(format!("take an address inside it such as {first}/{}", cidr.prefix)),
        );
        return None;
    }
    Some(cidr)
}

fn ranges(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<Ipv4Range> {
    let texts = reader.strings(fields, "range");
    let mut out: Vec<Ipv4Range> = Vec::new();
    for (text, line) in texts {
        let Some(range) = reader.typed::<Ipv4Range>(text, line, "range") else { continue };
        if let Some(other) = out.iter().find(|o| o.first() <= range.last() && range.first() <= o.last()) {
            reader.error(line, format!("the ranges {other} and {range} overlap"));
        }
        out.push(range);
    }
    out
}

fn dns(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<std::net::Ipv4Addr> {
    let texts = reader.strings(fields, "dns");
    let mut out = Vec::new();
    for (text, line) in texts {
        out.extend(reader.address_text(text, line, "dns"));
    }
    // Option 6 is one option of at most 255 bytes.
    if out.len() > 63 {
        let line = fields.line(reader, "dns");
        reader.error(line, format!("`dns` has {} servers; a DHCP option holds 63", out.len()));
        out.truncate(63);
    }
    out
}

fn domain(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<String> {
    let text = reader.string(fields, "domain")?;
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if text.len() > 253 || !text.trim_end_matches('.').split('.').all(label) {
        let line = fields.line(reader, "domain");
        reader.error(line, format!("`{text}` is not a domain; expected a name such as lab.example.org"));
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn duration(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<Duration> {
    let item = fields.item(key)?;
    let line = fields.line(reader, key);
    if let Some(number) = item.as_integer() {
        let problem = Problem::error(line, format!("`{key}` needs a unit"));
        reader.problem(problem.suggest(format!("write {key} = \"{number}s\", or with m, h or d")));
        return None;
    }
    let text = reader.string(fields, key)?;
    match parse_duration(text) {
        Ok(duration) => Some(duration),
        Err(error) => {
            reader.error(line, format!("`{key}`: {error}"));
            None
        }
    }
}

/// `lease = "30m"` or `{ default = "30m", max = "24h" }`.
fn lease(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Lease> {
    let item = fields.item("lease")?;
    let line = fields.line(reader, "lease");
    let standard = Lease::default();
    let lease = if item.is_table_like() {
        let inner = reader.table(fields, "lease")?;
        reader.only(&inner, "`lease`", &["default", "max"]);
        let default = duration(reader, &inner, "default");
        let max = duration(reader, &inner, "max");
        // A side that is absent follows the other, where the standard would contradict it.
        Lease {
            default: default.unwrap_or_else(|| standard.default.min(max.unwrap_or(standard.default))),
            max: max.unwrap_or_else(|| standard.max.max(default.unwrap_or_default())),
        }
    } else {
        let default = duration(reader, fields, "lease")?;
        Lease { default, max: standard.max.max(default) }
    };
    if lease.default > lease.max {
        reader.problem(
            Problem::error(line, "the default lease is longer than the longest (`max`)")
                .suggest("swap them, or raise `max`"),
        );
        return None;
    }
    if lease.default < Duration::from_secs(60) {
        reader.problem(
            Problem::error(line, format!("a lease of {} s runs out while a machine boots", lease.default.as_secs()))
                .suggest("take at least 1m"),
        );
        return None;
    }
    Some(lease)
}

fn unknown(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Unknown {
    let allowed = reader.boolean(fields, "unknown-erases-disks");
    let Some(boot) = boot::boot(reader, fields, "unknown") else { return Unknown::ByMode };
    if matches!(boot, Boot::Install(_)) && !allowed {
        let line = fields.line(reader, "unknown");
        reader.problem(
            Problem::error(line, "`unknown` would install on every machine that boots here, erasing its disks")
                .suggest("if that is meant, add unknown-erases-disks = true"),
        );
        return Unknown::ByMode;
    }
    if allowed && !matches!(boot, Boot::Install(_)) {
        let line = fields.line(reader, "unknown-erases-disks");
        reader.warning(line, "`unknown-erases-disks` has no effect: `unknown` does not install");
    }
    Unknown::Boot(boot)
}

fn subnet(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Subnet> {
    reader.only(fields, "[[network.subnet]]", &["subnet", "range", "router", "dns", "domain", "lease"]);
    reader.required(fields, "[[network.subnet]]", "subnet", "\"10.1.0.0/24\"");
    reader.required(fields, "[[network.subnet]]", "range", "\"10.1.0.20-10.1.0.200\"");
    let (ranges, router, dns) = (ranges(reader, fields), reader.address(fields, "router"), dns(reader, fields));
    let (domain, lease) = (domain(reader, fields), lease(reader, fields));
    let cidr: Ipv4Cidr = reader.parsed(fields, "subnet")?;
    let line = fields.line(reader, "subnet");
    if cidr.prefix == 0 || cidr.network().is_multicast() || cidr.network().is_loopback() {
        reader.error(line, format!("`subnet`: machines cannot be in {cidr}"));
        return None;
    }
    if cidr.address != cidr.network() {
        let plain = Ipv4Cidr { address: cidr.network(), prefix: cidr.prefix };
        reader.problem(
            Problem::error(line, format!("`subnet`: {cidr} is an address in a subnet"))
                .suggest(format!("write subnet = \"{plain}\"")),
        );
    }
    Some(Subnet { subnet: cidr, ranges, router, dns, domain, lease })
}
