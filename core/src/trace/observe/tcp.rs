//! Connections of a recording: HTTP's requests with their answers, iSCSI's sessions.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::stream::Stream;
use crate::api::EventKind;
use crate::iscsi::wire::request::Request;
use crate::iscsi::wire::response::Response;
use crate::iscsi::wire::{BHS, be24, text as keys};
use crate::trace::decode::text;
use crate::trace::view::Segment;

/// Connections that are followed.
const MAX: usize = 2048;
/// iSCSI's bytes are told so often.
const PROGRESS: Duration = Duration::from_secs(1);
/// Text of a login that is kept.
const MAX_LOGIN: usize = 16 << 10;

/// An event of a client's.
pub(super) type Told = (IpAddr, EventKind);

#[derive(Debug)]
enum Protocol {
    Unknown,
    Http(Http),
    Iscsi(Iscsi),
}

#[derive(Debug, Default)]
struct Http {
    asked: VecDeque<(String, String, Option<String>)>,
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    path: String,
    /// Bytes of its body, where it says.
    length: Option<u64>,
    began: Duration,
}

#[derive(Debug, Default)]
struct Iscsi {
    login: Vec<u8>,
    initiator: String,
    target: String,
    discovery: bool,
    firmware: bool,
    session: Option<u16>,
    read: u64,
    written: u64,
    told: Duration,
}

#[derive(Debug)]
struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    up: Stream,
    down: Stream,
    protocol: Protocol,
    used: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    by_ends: HashMap<(SocketAddr, SocketAddr), Connection>,
}

/// A head of HTTP or a PDU begins like this.
fn begins(bytes: &[u8]) -> bool {
    const HTTP: [&[u8]; 4] = [b"GET ", b"HEAD ", b"POST ", b"HTTP/1."];
    HTTP.iter().any(|word| bytes.starts_with(word)) || begins_pdu(bytes)
}

fn begins_pdu(bytes: &[u8]) -> bool {
    let Some(bhs) = bytes.first_chunk::<BHS>() else { return false };
    let known = matches!(bhs[0] & 0x3f, 0x00..=0x06 | 0x10 | 0x20..=0x26 | 0x31 | 0x32 | 0x3f) && bhs[0] < 0x80;
    known && bhs[4] == 0 && be24(bhs, 5) <= 1 << 20
}

impl Connections {
    /// A segment passes.
    pub(super) fn segment(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, tcp: &Segment<'_>) -> Vec<Told> {
        let ends = if self.by_ends.contains_key(&(to, from)) { (to, from) } else { (from, to) };
        let fresh = tcp.syn && tcp.ack.is_none();
        let mut told = Vec::new();
        if fresh && let Some(old) = self.by_ends.remove(&ends) {
            told.extend(old.end("the machine began a new connection"));
        }
        if !self.by_ends.contains_key(&ends) {
            if tcp.rst || (tcp.len == 0 && !tcp.syn) {
                return told;
            }
            // Without its SYN: the lower port is the server's.
            let client_first = match (fresh, tcp.syn) {
                (true, _) => true,
                (_, true) => false,
                _ => from.port() > to.port(),
            };
            let (client, server) = if client_first { (from, to) } else { (to, from) };
            self.make_room();
            let (up, down) = (Stream::default(), Stream::default());
            let connection = Connection { client, server, up, down, protocol: Protocol::Unknown, used: now };
            self.by_ends.insert((client, server), connection);
        }
        let key = if self.by_ends.contains_key(&(from, to)) { (from, to) } else { (to, from) };
        let Some(connection) = self.by_ends.get_mut(&key) else { return told };
        connection.used = now;
        let stream = if from == connection.client { &mut connection.up } else { &mut connection.down };
        stream.segment(tcp, begins);
        told.extend(connection.read(now));
        let over = tcp.rst || (connection.up.ended && connection.down.ended);
        if over && let Some(connection) = self.by_ends.remove(&key) {
            let how = if tcp.rst { "connection reset" } else { "connection closed" };
            told.extend(connection.end(how));
        }
        told
    }

    /// The recording is over.
    pub(super) fn finish(&mut self) -> Vec<Told> {
        self.by_ends.drain().flat_map(|(_, connection)| connection.progress()).collect()
    }

    fn make_room(&mut self) {
        if self.by_ends.len() >= MAX
            && let Some(oldest) = self.by_ends.iter().min_by_key(|(_, c)| c.used).map(|(ends, _)| *ends)
        {
            self.by_ends.remove(&oldest);
        }
    }
}

impl Connection {
    fn read(&mut self, now: Duration) -> Vec<Told> {
        if matches!(self.protocol, Protocol::Unknown) {
            let head = if self.up.head().is_empty() { self.down.head() } else { self.up.head() };
            if head.is_empty() {
                return Vec::new();
            }
            let pdu = self.server.port() == 3260 || (begins_pdu(head) && head.first() == Some(&0x43));
            self.protocol = if pdu { Protocol::Iscsi(Iscsi::default()) } else { Protocol::Http(Http::default()) };
        }
        let ip = self.client.ip();
        let mut kinds = Vec::new();
        match &mut self.protocol {
            Protocol::Unknown => {}
            Protocol::Http(http) => {
                http.requests(&mut self.up);
                kinds.extend(http.answers(now, &mut self.down));
            }
            Protocol::Iscsi(iscsi) => {
                iscsi.requests(&mut self.up);
                kinds.extend(iscsi.answers(&mut self.down));
                if now >= iscsi.told + PROGRESS {
                    iscsi.told = now;
                    kinds.extend(iscsi.progress());
                }
            }
        }
        kinds.into_iter().map(|kind| (ip, kind)).collect()
    }

    fn progress(&self) -> Option<Told> {
        match &self.protocol {
            Protocol::Iscsi(iscsi) => iscsi.progress().map(|kind| (self.client.ip(), kind)),
            _ => None,
        }
    }

    fn end(self, how: &str) -> Vec<Told> {
        let ip = self.client.ip();
        match self.protocol {
            Protocol::Iscsi(iscsi) => {
                let progress = iscsi.progress();
                let ended = iscsi.session.filter(|_| !iscsi.discovery).map(|session| EventKind::IscsiEnded {
                    target: iscsi.target,
                    session,
                    reason: how.to_owned(),
                });
                progress.into_iter().chain(ended).map(|kind| (ip, kind)).collect()
            }
            Protocol::Http(http) => {
                let Some(answer) = http.answer else { return Vec::new() };
                let (left, sent) = self.down.data();
                let millis = u64::try_from(self.used.saturating_sub(answer.began).as_millis()).unwrap_or(u64::MAX);
                let path = answer.path;
                vec![(
                    ip,
                    match answer.length {
                        Some(total) if left > 0 => EventKind::HttpAborted { path, sent, total },
                        _ => EventKind::HttpDone { path, bytes: sent, millis },
                    },
                )]
            }
            Protocol::Unknown => Vec::new(),
        }
    }
}

impl Http {
    fn requests(&mut self, up: &mut Stream) {
        const MOST: usize = 64;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut fields);
            match request.parse(up.head()) {
                Ok(httparse::Status::Complete(len)) => {
                    let agent = field(request.headers, "user-agent").map(text);
                    let length = field(request.headers, "content-length").and_then(number).unwrap_or(0);
                    let method = text(request.method.unwrap_or_default().as_bytes());
                    let path = request.path.unwrap_or_default();
                    // What comes after `?` may be anything of a person's.
                    let path = text(path.split('?').next().unwrap_or(path).as_bytes());
                    up.consume(len, length);
                    if self.asked.len() < MOST {
                        self.asked.push_back((method, path, agent));
                    }
                }
                Ok(httparse::Status::Partial) => {
                    if up.is_cut() {
                        up.lose();
                    }
                    return;
                }
                Err(_) => return up.lose(),
            }
        }
    }

    fn answers(&mut self, now: Duration, down: &mut Stream) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        loop {
            if let Some(answer) = &self.answer {
                let (left, bytes) = down.data();
                if answer.length.is_none() || left > 0 {
                    return kinds;
                }
                let millis = u64::try_from(now.saturating_sub(answer.began).as_millis()).unwrap_or(u64::MAX);
                kinds.push(EventKind::HttpDone { path: answer.path.clone(), bytes, millis });
                self.answer = None;
            }
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut fields);
            match response.parse(down.head()) {
                Ok(httparse::Status::Complete(len)) => {
                    let status = response.code.unwrap_or_default();
                    let told = field(response.headers, "content-length").and_then(number);
                    if (100..200).contains(&status) {
                        down.consume(len, 0);
                        continue;
                    }
                    let Some((method, path, agent)) = self.asked.pop_front() else {
                        // The recording does not have its request.
                        down.consume(len, told.unwrap_or(u64::MAX));
                        continue;
                    };
                    let none = method == "HEAD" || matches!(status, 204 | 304);
                    let length = if none { Some(0) } else { told };
                    down.consume(len, length.unwrap_or(u64::MAX));
                    let whole = method == "GET" && (200..300).contains(&status);
                    kinds.push(EventKind::HttpRequest { method, path: path.clone(), status, agent });
                    self.answer = whole.then_some(Answer { path, length, began: now });
                }
                Ok(httparse::Status::Partial) => {
                    if down.is_cut() {
                        down.lose();
                    }
                    return kinds;
                }
                Err(_) => {
                    down.lose();
                    return kinds;
                }
            }
        }
    }
}

fn field<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

impl Iscsi {
    fn requests(&mut self, up: &mut Stream) {
        while let Some((bhs, data)) = pdu(up) {
            match Request::decode(&bhs) {
                Request::Login(login) => {
                    if self.login.len() + data.len() <= MAX_LOGIN {
                        self.login.extend(data);
                    }
                    self.firmware = login.isid.starts_with(&[0x40, 0x00, 0x27, 0x23]);
                    if login.more {
                        continue;
                    }
                    // Each PDU has its own keys, unless it says that it goes on (RFC 7143, section 6.2).
                    for (key, value) in keys::parse(&std::mem::take(&mut self.login)).unwrap_or_default() {
                        match key.as_str() {
                            "InitiatorName" => self.initiator = text(value.as_bytes()),
                            "TargetName" => self.target = text(value.as_bytes()),
                            "SessionType" => self.discovery = value == "Discovery",
                            _ => {}
                        }
                    }
                }
                Request::DataOut(_) | Request::Command(_) => {
                    self.written = self.written.saturating_add(u64::from(be24(&bhs, 5)));
                }
                _ => {}
            }
        }
    }

    fn answers(&mut self, down: &mut Stream) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        while let Some((bhs, data)) = pdu(down) {
            match Response::decode(&bhs) {
                Some(Response::Login { transit, next, tsih, status, .. }) => {
                    kinds.extend(self.login(transit && next == 3, tsih, status, &data));
                }
                Some(Response::DataIn { .. }) => self.read = self.read.saturating_add(u64::from(be24(&bhs, 5))),
                _ => {}
            }
        }
        kinds
    }

    fn login(&mut self, whole: bool, tsih: u16, status: u16, data: &[u8]) -> Option<EventKind> {
        let (initiator, target) = (self.initiator.clone(), self.target.clone());
        match status {
            0 if whole && self.session.is_none() => {
                self.session = Some(tsih);
                let disk = target.clone();
                let firmware = self.firmware;
                (!self.discovery).then_some(EventKind::IscsiLogin { initiator, target, disk, firmware, session: tsih })
            }
            0 => None,
            0x0101 | 0x0102 => {
                let all = keys::parse(data).unwrap_or_default();
                let (_, address) = all.iter().find(|(key, _)| key == "TargetAddress")?;
                let to = address.split(',').next()?.parse().ok()?;
                Some(EventKind::IscsiRedirected { initiator, target, to })
            }
            status => {
                let reason = "as the target answered".to_owned();
                Some(EventKind::IscsiRefused { initiator, target, status, reason })
            }
        }
    }

    fn progress(&self) -> Option<EventKind> {
        let session = self.session.filter(|_| !self.discovery && self.read + self.written > 0)?;
        let (target, read, written) = (self.target.clone(), self.read, self.written);
        Some(EventKind::IscsiProgress { target, session, read, written })
    }
}

/// The next PDU's header, and its text where it is a login's. Data is passed over.
fn pdu(stream: &mut Stream) -> Option<([u8; BHS], Vec<u8>)> {
    let Some((bhs, rest)) = stream.head().split_first_chunk::<BHS>() else {
        if stream.is_cut() {
            stream.lose();
        }
        return None;
    };
    let bhs = *bhs;
    if !begins_pdu(&bhs) {
        stream.lose();
        return None;
    }
    let length = be24(&bhs, 5) as usize;
    let padded = length.next_multiple_of(4);
    if matches!(bhs[0] & 0x3f, 0x03 | 0x23) {
        let Some(data) = rest.get(..padded) else {
            if stream.is_cut() {
                stream.lose();
            }
            return None;
        };
        let data = data.get(..length).unwrap_or_default().to_vec();
        stream.consume(BHS + padded, 0);
        return Some((bhs, data));
    }
    stream.consume(BHS, padded as u64);
    Some((bhs, Vec::new()))
}
