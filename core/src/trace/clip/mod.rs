//! What may be kept of a frame: headers of bulk data, no secret. A frame is only ever cut at its end, and a secret is written over, so
//! that lengths and numbers stay true.
//!
//! Of HTTP only heads are kept, without what opens something (authorisation, cookies, the token in an answer file's path); of iSCSI
//! only headers, and a login's text without its CHAP values; of TFTP no data; of DHCP no passwords of iPXE's. What cannot be told apart
//! from data, because segments were lost, is taken for data. Of connections that are not with a server of ours, such as those that this
//! computer only routes, nothing is kept but the headers of their packets.

mod iscsi;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use self::iscsi::{Session, hide_chap, is_plausible};
use super::observe::Watched;
use super::view::{self, Body, Datagram, Segment, Transport, View};
use crate::dhcp::wire::code;
use crate::iscsi::wire::BHS;
use crate::lab::Ports;

/// What is kept of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its bytes.
    pub data: Vec<u8>,
    /// Data and its acknowledgements: much of it, and each says little.
    pub bulk: bool,
}

/// Connections that are followed; the one that was quiet longest makes room.
const MAX_FLOWS: usize = 2048;
/// Transfers of TFTP whose packets are told from other UDP.
const MAX_TRANSFERS: usize = 1024;
/// TFTP's header of a block.
const BLOCK_HEADER: usize = 4;
const MASK: u8 = b'x';

/// One direction of a connection.
#[derive(Debug, Clone, Copy)]
struct Half {
    /// The next byte's number.
    next: u32,
    /// Bytes of data until the next head or header.
    left: u64,
    /// Where heads begin is not known any more.
    lost: bool,
    /// Of iSCSI: what both directions agreed on.
    session: Session,
    used: u64,
}

type Flow = (SocketAddr, SocketAddr);

/// See the module's text.
#[derive(Debug)]
pub struct Clipper {
    ports: Ports,
    ours: Vec<IpAddr>,
    flows: HashMap<Flow, Half>,
    /// Clients that sent a request to port 69, with their port.
    transfers: HashMap<(IpAddr, u16), u64>,
    /// The last request of a connection was HEAD: its answer has no body.
    heads: HashMap<Flow, bool>,
    clock: u64,
}

impl Clipper {
    /// For a computer that serves on these ports of these networks.
    #[must_use]
    pub fn watching(networks: &[Watched], ports: Ports) -> Self {
        Self::new(ports, networks.iter().map(|network| network.address.address.into()).collect())
    }

    /// For a computer that serves on these ports of these addresses.
    #[must_use]
    pub fn new(ports: Ports, ours: Vec<IpAddr>) -> Self {
        Self { ports, ours, flows: HashMap::new(), transfers: HashMap::new(), heads: HashMap::new(), clock: 0 }
    }

    /// What of a frame, of which `original` bytes were on the wire, is kept. `None`: it has nothing to do with a boot.
    pub fn clip(&mut self, frame: &[u8], original: usize) -> Option<Kept> {
        self.clock += 1;
        let View { body, .. } = view::read(frame, original)?;
        let Body::Ip { from, to, transport, .. } = body else {
            return match body {
                Body::Arp { .. } | Body::Bpdu(_) => Some(Kept { data: frame.to_vec(), bulk: false }),
                _ => None,
            };
        };
        match transport {
            Transport::Udp(udp) => self.datagram(frame, (from, to), udp),
            Transport::Tcp(tcp) => Some(self.segment(frame, (from, to), tcp)),
            Transport::Icmp(_) | Transport::Icmp6(_) => {
                // An error quotes the beginning of what it is about.
                Some(Kept { data: frame.get(..frame.len().min(128)).unwrap_or(frame).to_vec(), bulk: false })
            }
            Transport::Other(_) => None,
        }
    }

    fn datagram(&mut self, frame: &[u8], (from, to): (IpAddr, IpAddr), udp: Datagram<'_>) -> Option<Kept> {
        const DHCP: [u16; 3] = [67, 68, 4011];
        if DHCP.contains(&udp.from) || DHCP.contains(&udp.to) {
            let mut data = frame.to_vec();
            hide_passwords(&mut data, offset_of(frame, udp.payload));
            return Some(Kept { data, bulk: false });
        }
        if udp.to == 69 {
            if self.transfers.len() >= MAX_TRANSFERS {
                remove_oldest(&mut self.transfers, |used| *used);
            }
            self.transfers.insert((from, udp.from), self.clock);
            return Some(Kept { data: frame.to_vec(), bulk: false });
        }
        let client = [(from, udp.from), (to, udp.to)].into_iter().find(|end| self.transfers.contains_key(end))?;
        self.transfers.insert(client, self.clock);
        let operation = view::half(udp.payload, 0)?;
        let keep = if operation == 3 { BLOCK_HEADER } else { udp.payload.len() };
        let end = offset_of(frame, udp.payload) + keep.min(udp.payload.len());
        // The first block and its acknowledgement show that a transfer began.
        let bulk = matches!(operation, 3 | 4) && view::half(udp.payload, 2).is_some_and(|block| block > 1);
        Some(Kept { data: frame.get(..end).unwrap_or(frame).to_vec(), bulk })
    }

    fn segment(&mut self, frame: &[u8], (from, to): (IpAddr, IpAddr), tcp: Segment<'_>) -> Kept {
        let start = offset_of(frame, tcp.payload);
        let mut data = frame.get(..start).unwrap_or(frame).to_vec();
        let flow = (SocketAddr::new(from, tcp.from), SocketAddr::new(to, tcp.to));
        if !self.is_ours(flow.0) && !self.is_ours(flow.1) {
            return Kept { data, bulk: true };
        }
        let keep = if tcp.syn {
            self.begin(flow, tcp.seq.wrapping_add(1));
            Vec::new()
        } else if [tcp.from, tcp.to].contains(&self.ports.http) {
            self.http(flow, tcp)
        } else if [tcp.from, tcp.to].contains(&self.ports.iscsi) {
            self.iscsi(flow, tcp)
        } else {
            Vec::new()
        };
        if tcp.rst || tcp.fin {
            self.heads.remove(&flow);
        }
        let bulk = keep.is_empty() && !tcp.syn && !tcp.fin && !tcp.rst;
        // A header of a data PDU is bulk, a login or a head is not.
        let bulk = bulk || (keep.len() == BHS && [tcp.from, tcp.to].contains(&self.ports.iscsi));
        data.extend(keep);
        Kept { data, bulk }
    }

    /// Whether a server of ours is at this end.
    fn is_ours(&self, end: SocketAddr) -> bool {
        let Ports { http, https, iscsi } = self.ports;
        [http, https, iscsi].contains(&end.port()) && self.ours.contains(&end.ip())
    }

    fn begin(&mut self, flow: Flow, next: u32) {
        if self.flows.len() >= MAX_FLOWS {
            remove_oldest(&mut self.flows, |half| half.used);
        }
        if self.heads.len() >= MAX_FLOWS {
            self.heads.clear();
        }
        self.flows.insert(flow, Half { next, left: 0, lost: false, session: Session::default(), used: self.clock });
    }

    /// Takes a segment's place in its direction: `Some` when it is the next, with the bytes of data that it begins with.
    fn place(&mut self, flow: Flow, tcp: &Segment<'_>) -> Option<u64> {
        let clock = self.clock;
        let half = self.flows.get_mut(&flow)?;
        half.used = clock;
        if tcp.len == 0 || half.lost {
            return None;
        }
        match tcp.seq.wrapping_sub(half.next) {
            0 => {}
            // What was there already, once more.
            ahead if ahead >= 1 << 31 => return None,
            _ => {
                half.lost = true;
                return None;
            }
        }
        half.next = half.next.wrapping_add(u32::try_from(tcp.len).unwrap_or(u32::MAX));
        let skip = half.left.min(tcp.len as u64);
        half.left -= skip;
        Some(skip)
    }

    fn http(&mut self, flow: Flow, tcp: Segment<'_>) -> Vec<u8> {
        let Some(skip) = self.place(flow, &tcp) else { return Vec::new() };
        if skip == tcp.len as u64 {
            return Vec::new();
        }
        let to_server = tcp.to == self.ports.http;
        let other = (flow.1, flow.0);
        let head_asked = self.heads.get(&other).copied().unwrap_or(false);
        let Some(half) = self.flows.get_mut(&flow) else { return Vec::new() };
        // A head behind data in one segment is not looked for.
        let Some(head) = (skip == 0).then(|| head_of(tcp.payload)).flatten() else {
            half.lost = true;
            return Vec::new();
        };
        let body = if to_server { head.length.unwrap_or(0) } else { head.body(head_asked) };
        let inside = (tcp.len - head.len) as u64;
        half.left = body.saturating_sub(inside);
        half.lost = inside > body;
        if to_server {
            self.heads.insert(flow, head.is_head);
        }
        let mut kept = tcp.payload.get(..head.len).unwrap_or_default().to_vec();
        hide_in_head(&mut kept);
        kept
    }

    fn iscsi(&mut self, flow: Flow, tcp: Segment<'_>) -> Vec<u8> {
        let Some(skip) = self.place(flow, &tcp) else { return self.resume(flow, &tcp) };
        let mut kept = Vec::new();
        let mut whole = skip == 0;
        let mut at = usize::try_from(skip).unwrap_or(tcp.len);
        while at < tcp.len {
            let Some(half) = self.flows.get_mut(&flow) else { break };
            let header = tcp.payload.get(at..at + BHS);
            let Some((bhs, pdu)) = header.and_then(|bhs| Some((bhs, half.session.pdu(bhs)?))) else {
                half.lost = true;
                break;
            };
            let end = at + pdu.len;
            half.left = end.saturating_sub(tcp.len) as u64;
            let text = tcp.payload.get(at + BHS..end.min(tcp.payload.len())).unwrap_or_default();
            if pdu.text {
                let seen = end <= tcp.payload.len();
                self.agree(flow, |session| session.login(bhs, text, seen));
            }
            if whole {
                let from = kept.len() + BHS;
                kept.extend_from_slice(bhs);
                if pdu.text {
                    kept.extend_from_slice(text);
                    hide_chap(kept.get_mut(from..).unwrap_or_default(), MASK);
                }
                whole = kept.len() == end;
            }
            at = end;
        }
        kept
    }

    /// Notes something of a connection for both of its directions.
    fn agree(&mut self, flow: Flow, note: impl Fn(&mut Session)) {
        for flow in [flow, (flow.1, flow.0)] {
            if let Some(half) = self.flows.get_mut(&flow) {
                note(&mut half.session);
            }
        }
    }

    /// After a gap the header of a command or of data is known by its look, and only that is kept.
    fn resume(&mut self, flow: Flow, tcp: &Segment<'_>) -> Vec<u8> {
        if !self.flows.get(&flow).is_some_and(|half| half.lost) {
            return Vec::new();
        }
        let Some(bhs) = tcp.payload.get(..BHS).filter(|bhs| is_plausible(bhs)) else { return Vec::new() };
        self.agree(flow, Session::missed_login);
        if let Some(half) = self.flows.get_mut(&flow)
            && let Some(left) = half.session.pdu(bhs).and_then(|pdu| pdu.len.checked_sub(tcp.len))
        {
            let next = tcp.seq.wrapping_add(u32::try_from(tcp.len).unwrap_or(u32::MAX));
            (half.next, half.left, half.lost) = (next, left as u64, false);
        }
        bhs.to_vec()
    }
}

/// Where a part of a frame begins in it.
fn offset_of(frame: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(frame.as_ptr() as usize).min(frame.len())
}

fn remove_oldest<K: Clone + Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, used: impl Fn(&V) -> u64) {
    if let Some(oldest) = map.iter().min_by_key(|(_, value)| used(value)).map(|(key, _)| key.clone()) {
        map.remove(&oldest);
    }
}

/// A head of HTTP at the start of a segment.
struct HttpHead {
    len: usize,
    /// Content-Length.
    length: Option<u64>,
    status: u16,
    is_head: bool,
}

impl HttpHead {
    /// Bytes that follow an answer's head (RFC 9112, section 6.3).
    fn body(&self, head_asked: bool) -> u64 {
        match self.status {
            100..200 | 204 | 304 => 0,
            _ if head_asked => 0,
            _ => self.length.unwrap_or(u64::MAX),
        }
    }
}

fn head_of(bytes: &[u8]) -> Option<HttpHead> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let length = |fields: &[httparse::Header<'_>]| {
        let field = fields.iter().find(|f| f.name.eq_ignore_ascii_case("content-length"))?;
        std::str::from_utf8(field.value).ok()?.trim().parse().ok()
    };
    if bytes.starts_with(b"HTTP/") {
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(len) = response.parse(bytes).ok()? else { return None };
        let status = response.code?;
        return Some(HttpHead { len, length: length(response.headers), status, is_head: false });
    }
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(len) = request.parse(bytes).ok()? else { return None };
    let is_head = request.method == Some("HEAD");
    Some(HttpHead { len, length: length(request.headers), status: 0, is_head })
}

/// Writes over what opens something. An answer file's path is `/answers/MAC/TOKEN/FILE`.
fn hide_in_head(head: &mut [u8]) {
    const PATH: &[u8] = b"/answers/";
    const FIELDS: [&[u8]; 5] =
        [b"authorization:", b"proxy-authorization:", b"cookie:", b"set-cookie:", b"x-auth-token:"];
    let mut at = 0;
    while let Some(found) = find(head.get(at..).unwrap_or_default(), PATH) {
        let mac = at + found + PATH.len();
        let ends = |b: &u8| *b == b'/' || b.is_ascii_whitespace();
        let rest = head.get(mac..).unwrap_or_default();
        let Some(slash) = rest.iter().position(ends).filter(|n| rest.get(*n) == Some(&b'/')) else { break };
        let token = mac + slash + 1;
        let len = head.get(token..).unwrap_or_default().iter().position(ends).unwrap_or(0);
        head.get_mut(token..token + len).unwrap_or_default().fill(MASK);
        at = token + len;
    }
    for line in head.split_mut(|b| *b == b'\n') {
        let lower = line.to_ascii_lowercase();
        if let Some(name) = FIELDS.iter().find(|name| lower.starts_with(name)) {
            for byte in line.iter_mut().skip(name.len()).filter(|b| !b.is_ascii_whitespace()) {
                *byte = MASK;
            }
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

/// iPXE's passwords in option 175 (numbers 191 and 193), and its private keys (0x5c).
const SECRET_OPTIONS: [u8; 3] = [191, 193, 0x5c];

/// Options that name a place, in which a name and a password may stand: root path, servers, boot and configuration files.
const PLACES: [u8; 5] = [code::ROOT_PATH, code::TFTP_SERVER, code::BOOT_FILE, 209, 210];

/// Writes over the passwords in a DHCP message that begins at `at`.
fn hide_passwords(frame: &mut [u8], at: usize) {
    /// Where the server's name, the file's name and the options are (RFC 2131, section 2).
    const FIELDS: [usize; 4] = [44, 108, 236, 240];
    let [names, file, cookie, options] = FIELDS.map(|offset| (at + offset).min(frame.len()));
    let end = frame.len();
    let (mut hidden, overload) = hide_in_options(frame.get_mut(options..end).unwrap_or_default());
    // RFC 2132, section 9.3: the options go on where names would be.
    for (bit, from, to) in [(1, file, cookie), (2, names, file)] {
        let field = frame.get_mut(from..to).unwrap_or_default();
        hidden |= if overload & bit != 0 { hide_in_options(field).0 } else { hide_login(field) };
    }
    if hidden {
        // No sum (RFC 768) is better than a wrong one.
        frame.get_mut(at.saturating_sub(2)..at).unwrap_or_default().fill(0);
    }
}

/// Writes over the passwords in options; whether there were any, and what option 52 says.
fn hide_in_options(options: &mut [u8]) -> (bool, u8) {
    let (mut place, mut hidden, mut overload) = (0, false, 0);
    while let Some((&number, &length)) = options.get(place).zip(options.get(place + 1)) {
        match number {
            code::PAD => {
                place += 1;
                continue;
            }
            code::END => break,
            _ => {}
        }
        let end = (place + 2 + usize::from(length)).min(options.len());
        let value = options.get_mut(place + 2..end).unwrap_or_default();
        match number {
            code::IPXE => hidden |= hide_in_parts(value),
            191 | 193 => {
                value.fill(MASK);
                hidden = true;
            }
            code::OVERLOAD => overload = value.first().copied().unwrap_or(0),
            other if PLACES.contains(&other) => hidden |= hide_login(value),
            _ => {}
        }
        place = end;
    }
    (hidden, overload)
}

/// The same of the options within option 175.
fn hide_in_parts(parts: &mut [u8]) -> bool {
    let (mut place, mut hidden) = (0, false);
    while let Some((&number, &length)) = parts.get(place).zip(parts.get(place + 1)) {
        if number == code::PAD {
            place += 1;
            continue;
        }
        let end = (place + 2 + usize::from(length)).min(parts.len());
        if SECRET_OPTIONS.contains(&number) {
            parts.get_mut(place + 2..end).unwrap_or_default().fill(MASK);
            hidden = true;
        }
        place = end;
    }
    hidden
}

/// Writes over what stands before the `@` of a URL's server, or of dracut's `iscsi:NAME:PASSWORD@SERVER:…`.
fn hide_login(place: &mut [u8]) -> bool {
    let (from, end) = match find(place, b"://") {
        Some(at) => {
            let server = place.get(at + 3..).unwrap_or_default();
            let end = server.iter().position(|b| matches!(b, b'/' | b'?' | b'#' | 0)).unwrap_or(server.len());
            (at + 3, at + 3 + end)
        }
        None if place.starts_with(b"iscsi:") => (6, place.len()),
        None => return false,
    };
    let login = place.get_mut(from..end).unwrap_or_default();
    let Some(at) = login.iter().rposition(|b| *b == b'@') else { return false };
    login.get_mut(..at).unwrap_or_default().fill(MASK);
    true
}

#[cfg(test)]
#[path = "../clip_tests.rs"]
mod tests;
