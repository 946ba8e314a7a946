//! Network interfaces over netlink: lists them with their addresses, adds and removes an address, sets a link up and down.
//!
//! Everything is of the calling thread's network namespace. The messages are those of rtnetlink(7).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Kind of hardware as in `ARPHRD_…`; 1 is Ethernet.
    pub hardware: u16,
    /// Hardware address of an Ethernet interface.
    pub mac: Option<[u8; 6]>,
    /// `IFF_…` bits.
    pub flags: u32,
}

impl Link {
    /// Whether frames have an Ethernet header, as a machine that boots from the network needs. Loopback has one, but no wire.
    #[must_use]
    pub fn is_ethernet(&self) -> bool {
        self.hardware == libc::ARPHRD_ETHER
    }

    /// Administratively up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Up, and with carrier.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.is_up() && self.flags & libc::IFF_RUNNING as u32 != 0
    }
}

/// One IPv4 address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
}

/// How an address is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Add {
    /// It must not be there yet.
    New,
    /// It is there and its lifetime begins again.
    Renew,
}

const MESSAGE_HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// Every interface.
///
/// # Errors
/// The operating system's.
pub fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    dump(libc::RTM_GETLINK, &[0; LINK_HEADER], |body| links.extend(read_link(body)))?;
    Ok(links)
}

/// Every IPv4 address.
///
/// # Errors
/// The operating system's.
pub fn addresses() -> io::Result<Vec<Address>> {
    let mut addresses = Vec::new();
    let mut request = [0; ADDRESS_HEADER];
    request[0] = libc::AF_INET as u8;
    dump(libc::RTM_GETADDR, &request, |body| addresses.extend(read_address(body)))?;
    Ok(addresses)
}

/// Adds an address that the kernel itself removes when `lifetime_s` seconds pass without a renewal.
///
/// # Errors
/// The operating system's; `EEXIST` for [`Add::New`] when it is there.
pub fn add_address(at: Address, lifetime_s: u32, how: Add) -> io::Result<()> {
    let mut body = address_body(at);
    if at.prefix < 31 {
        let host = u32::MAX.checked_shr(u32::from(at.prefix)).unwrap_or(0);
        attribute(&mut body, libc::IFA_BROADCAST, &(u32::from(at.address) | host).to_be_bytes());
    }
    // struct ifa_cacheinfo: preferred and valid lifetime in seconds, two time stamps that the kernel fills in.
    let mut lifetimes = [0; 16];
    lifetimes[..4].copy_from_slice(&lifetime_s.to_ne_bytes());
    lifetimes[4..8].copy_from_slice(&lifetime_s.to_ne_bytes());
    attribute(&mut body, libc::IFA_CACHEINFO, &lifetimes);
    let flags = match how {
        Add::New => libc::NLM_F_CREATE | libc::NLM_F_EXCL,
        Add::Renew => libc::NLM_F_REPLACE,
    };
    change(libc::RTM_NEWADDR, flags, &body)
}

/// Removes an address.
///
/// # Errors
/// The operating system's; `EADDRNOTAVAIL` when it is not there.
pub fn remove_address(at: Address) -> io::Result<()> {
    change(libc::RTM_DELADDR, 0, &address_body(at))
}

/// Sets a link up or down.
///
/// # Errors
/// The operating system's.
pub fn set_up(index: u32, up: bool) -> io::Result<()> {
    // struct ifinfomsg: family, padding, type, index, flags, which flags to change.
    let mut body = vec![0; LINK_HEADER];
    let bit = libc::IFF_UP as u32;
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&(if up { bit } else { 0 }).to_ne_bytes());
    body[12..16].copy_from_slice(&bit.to_ne_bytes());
    change(libc::RTM_NEWLINK, 0, &body)
}

/// struct ifaddrmsg and the address itself.
fn address_body(at: Address) -> Vec<u8> {
    let mut body = vec![0; ADDRESS_HEADER];
    body[0] = libc::AF_INET as u8;
    body[1] = at.prefix;
    body[4..8].copy_from_slice(&at.index.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &at.address.octets());
    attribute(&mut body, libc::IFA_ADDRESS, &at.address.octets());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&len.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// One request and its answer. A socket a request: these are rare, and no late answer can be taken for another's.
struct Conversation {
    socket: OwnedFd,
}

impl Conversation {
    fn begin(kind: u16, flags: i32, body: &[u8]) -> io::Result<Self> {
        let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
        let len = u32::try_from(MESSAGE_HEADER + body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut message = Vec::with_capacity(MESSAGE_HEADER + body.len());
        message.extend_from_slice(&len.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]); // sequence number, sender chosen by the kernel
        message.extend_from_slice(body);
        sys::send(socket.as_fd(), &message)?;
        Ok(Self { socket })
    }

    /// Reads until the answer is complete.
    fn finish(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buf = vec![0; 64 * 1024];
        loop {
            let len = sys::recv(self.socket.as_fd(), &mut buf)?;
            let mut rest = buf.get(..len).unwrap_or_default();
            while let Some((kind, body, after)) = next_message(rest) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        return match int(body, 0) {
                            Some(0) => Ok(()),
                            Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
                            None => Err(io::ErrorKind::InvalidData.into()),
                        };
                    }
                    _ => each(body),
                }
                rest = after;
            }
        }
    }
}

fn dump(kind: u16, body: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
    Conversation::begin(kind, libc::NLM_F_DUMP, body)?.finish(each)
}

fn change(kind: u16, flags: i32, body: &[u8]) -> io::Result<()> {
    Conversation::begin(kind, flags | libc::NLM_F_ACK, body)?.finish(|_| {})
}

/// Kind, body and what follows.
fn next_message(buf: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(buf.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(buf.get(4..6)?.try_into().ok()?);
    let body = buf.get(MESSAGE_HEADER..len)?;
    Some((kind, body, buf.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes that follow a header of `header` bytes.
fn attributes(body: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(header..).unwrap_or_default();
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn int(body: &[u8], at: usize) -> Option<i32> {
    body.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes)
}

fn read_link(body: &[u8]) -> Option<Link> {
    let hardware = u16::from_ne_bytes(body.get(2..4)?.try_into().ok()?);
    let index = u32::try_from(int(body, 4)?).ok()?;
    let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    let mut name = None;
    let mut mac = None;
    for (kind, value) in attributes(body, LINK_HEADER) {
        match kind {
            libc::IFLA_IFNAME => {
                let text = value.split(|b| *b == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            libc::IFLA_ADDRESS if hardware == libc::ARPHRD_ETHER => mac = value.try_into().ok(),
            _ => {}
        }
    }
    Some(Link { index, name: name?, hardware, mac, flags })
}

fn read_address(body: &[u8]) -> Option<Address> {
    let prefix = *body.get(1)?;
    let index = u32::try_from(int(body, 4)?).ok()?;
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is always ours.
    let (_, local) = attributes(body, ADDRESS_HEADER).find(|(kind, _)| *kind == libc::IFA_LOCAL)?;
    let octets: [u8; 4] = local.try_into().ok()?;
    Some(Address { index, address: octets.into(), prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_listed_with_its_address() {
        let lo = links().unwrap().into_iter().find(|l| l.name == "lo").unwrap();
        assert!(!lo.is_ethernet() && lo.mac.is_none());
        let wanted = Address { index: lo.index, address: Ipv4Addr::LOCALHOST, prefix: 8 };
        assert!(!lo.is_up() || addresses().unwrap().contains(&wanted));
    }

    #[test]
    fn a_message_with_a_lying_length_ends_the_walk() {
        for len in [0u32, 3, 15, 400, u32::MAX] {
            let mut message = vec![0; 32];
            message[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(next_message(&message).is_none(), "{len}");
        }
        assert_eq!(attributes(&[0, 0, 1, 0], 0).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0, 9], 0).count(), 0);
        assert_eq!(attributes(&[5, 0, 1, 0, 9], 0).collect::<Vec<_>>(), [(1, &[9][..])]);
    }
}
