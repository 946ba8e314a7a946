//! Who listens on a port: the socket tables below `/proc` give the socket's inode, the processes' descriptors its holder.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::net::Owner;

/// State of a listening TCP socket in the tables.
const LISTEN: &str = "0A";

/// One line of a socket table.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    address: IpAddr,
    port: u16,
    state: String,
    uid: u32,
    inode: u64,
}

/// The holders of a port that a bind to `address` collides with, as in "dnsmasq (pid 123)".
pub(in crate::net) fn of_port(protocol: &str, address: IpAddr, port: u16) -> String {
    let names: BTreeSet<String> = entries(protocol, address, port).iter().map(|e| owner(e).in_short()).collect();
    if names.is_empty() {
        return "another program".to_owned();
    }
    names.into_iter().collect::<Vec<_>>().join(" and ")
}

/// The same, with all that can be known of them.
pub(in crate::net) fn owners(protocol: &str, address: IpAddr, port: u16) -> Vec<Owner> {
    let mut owners: Vec<Owner> = entries(protocol, address, port).iter().map(owner).collect();
    owners.sort();
    owners.dedup();
    for owner in &mut owners {
        let Some(pid) = owner.pid else { continue };
        owner.unit = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok().and_then(|text| unit(&text));
        owner.package = fs::read_link(format!("/proc/{pid}/exe")).ok().and_then(|exe| package(&exe));
    }
    owners
}

fn entries(protocol: &str, address: IpAddr, port: u16) -> Vec<Entry> {
    let tables = if protocol == "UDP" { ["udp", "udp6"] } else { ["tcp", "tcp6"] };
    tables
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(entry).collect::<Vec<_>>())
        .filter(|e| e.port == port && (protocol == "UDP" || e.state == LISTEN) && collides(e.address, address))
        .collect()
}

fn owner(entry: &Entry) -> Owner {
    match holder(entry.inode) {
        Some((pid, name)) => Owner { pid: Some(pid), name: Some(name), ..Owner::default() },
        None => Owner { user: user(entry.uid), ..Owner::default() },
    }
}

/// The service of systemd that a process belongs to, by its control group (cgroups(7)).
fn unit(cgroup: &str) -> Option<String> {
    let leaf = cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| path.rsplit('/').next())?;
    (leaf.ends_with(".service") && !leaf.starts_with("user@")).then(|| leaf.to_owned())
}

/// The package that a program is from, where dpkg knows it: the lists of its files are plain text.
fn package(exe: &Path) -> Option<String> {
    // A program below /usr is listed where it was before `/usr` took in `/sbin` and its like.
    let old = Path::new("/").join(exe.strip_prefix("/usr").unwrap_or(exe));
    let (exe, old) = (exe.to_str()?, old.to_str()?);
    for list in fs::read_dir("/var/lib/dpkg/info").ok()?.flatten() {
        let path = list.path();
        if path.extension().is_some_and(|e| e == "list")
            && fs::read_to_string(&path).is_ok_and(|files| files.lines().any(|f| f == exe || f == old))
        {
            return path.file_stem()?.to_str()?.split(':').next().map(str::to_owned);
        }
    }
    None
}

fn collides(held: IpAddr, wanted: IpAddr) -> bool {
    held.is_unspecified() || wanted.is_unspecified() || held.to_canonical() == wanted.to_canonical()
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?.to_owned();
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Entry { address: hex_address(address)?, port: u16::from_str_radix(port, 16).ok()?, state, uid, inode })
}

/// The tables print each 32-bit word of the address as the processor reads it.
fn hex_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|b| Ipv4Addr::from(b).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|b| Ipv6Addr::from(b).into()),
        _ => None,
    }
}

/// Number and name of a process that has this socket open, if its descriptors can be read.
fn holder(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|d| fs::read_link(d.path()).is_ok_and(|to| to == Path::new(&wanted)));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}

fn user(uid: u32) -> Option<String> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_line_gives_address_port_and_inode() {
        let line =
            "  12: 0100007F:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 4242 2 0 0";
        let wanted = Entry { address: Ipv4Addr::LOCALHOST.into(), port: 67, state: "07".into(), uid: 101, inode: 4242 };
        // The table is in the byte order of the computer; every one that we build for is little-endian.
        assert_eq!(entry(line), Some(wanted));
        for bad in ["", "1:", "1: zz:0043 0:0 07 0 0 0 0 0 1", "1: 0100007F:0043 0:0"] {
            assert_eq!(entry(bad), None, "{bad}");
        }
    }

    #[test]
    fn our_own_socket_is_found_by_name_and_number() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let owner = of_port("UDP", Ipv4Addr::UNSPECIFIED.into(), port);
        assert!(owner.ends_with(&format!("(pid {})", std::process::id())), "{owner}");
        assert_eq!(of_port("UDP", Ipv4Addr::new(127, 0, 0, 2).into(), port), "another program");
        let owners = owners("UDP", Ipv4Addr::LOCALHOST.into(), port);
        assert!(owners.len() == 1 && owners[0].pid == Some(std::process::id()), "{owners:?}");
    }

    #[test]
    fn a_service_is_known_by_its_control_group() {
        assert_eq!(unit("0::/system.slice/dnsmasq.service\n").as_deref(), Some("dnsmasq.service"));
        assert_eq!(unit("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        assert_eq!(unit("0::/user.slice/user@1000.service\n"), None);
        assert_eq!(unit(""), None);
    }
}
