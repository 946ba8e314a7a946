//! The conversation between the engine and the small program: one message a request, one a reply, over a local socket that keeps
//! message boundaries. A descriptor travels beside its reply.
//!
//! A message is one line of words. An interface is always the last word and may be left out where the request allows it; no
//! name of an interface contains a blank.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::Refusal;
use crate::capture::TcpPorts;
use crate::frame::Purpose;

/// Of this conversation; both ends must have the same.
pub const VERSION: u32 = 3;

/// No message is longer.
pub const MAX_MESSAGE: usize = 1024;

/// Longest name of an interface, `IFNAMSIZ` without its end.
const MAX_NAME: usize = 15;

/// What the engine may ask: the closed set of verbs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Asks for [`Reply::Hello`].
    Hello,
    /// A UDP socket.
    Udp { bind: SocketAddrV4, broadcast: bool, packet_info: bool, interface: Option<String> },
    /// A listening TCP socket.
    Tcp { bind: SocketAddr, interface: Option<String> },
    /// A packet socket.
    Packet { purpose: Purpose, interface: String },
    /// An address on a bare interface.
    Hold { address: Ipv4Addr, prefix: u8, interface: String },
    /// Takes the address back.
    Release { id: u32 },
}

/// What the program answers.
#[derive(Debug)]
pub enum Reply {
    /// Who it is.
    Hello {
        /// Its [`VERSION`].
        version: u32,
        /// Whether it has the capabilities that it is there for.
        privileged: bool,
    },
    /// The descriptor comes with this message.
    Opened,
    /// The address is on the interface; the number is for [`Request::Release`].
    Held { id: u32 },
    /// The address is gone.
    Released,
    /// It was not done.
    Refused(Refusal),
}

impl Request {
    /// As a message.
    #[must_use]
    pub fn encode(&self) -> String {
        let last = |interface: &Option<String>| interface.as_ref().map(|n| format!(" {n}")).unwrap_or_default();
        match self {
            Self::Hello => "hello".to_owned(),
            Self::Udp { bind, broadcast, packet_info, interface } => {
                format!("udp {bind} {} {}{}", u8::from(*broadcast), u8::from(*packet_info), last(interface))
            }
            Self::Tcp { bind, interface } => format!("tcp {bind}{}", last(interface)),
            Self::Packet { purpose, interface } => format!("packet {} {interface}", purpose_word(*purpose)),
            Self::Hold { address, prefix, interface } => format!("hold {address} {prefix} {interface}"),
            Self::Release { id } => format!("release {id}"),
        }
    }

    /// From a message; `None` when it is not one.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let mut words = text.split(' ');
        let request = match words.next()? {
            "hello" => Self::Hello,
            "udp" => Self::Udp {
                bind: words.next()?.parse().ok()?,
                broadcast: flag(words.next()?)?,
                packet_info: flag(words.next()?)?,
                interface: optional_name(words.next())?,
            },
            "tcp" => Self::Tcp { bind: words.next()?.parse().ok()?, interface: optional_name(words.next())? },
            "packet" => Self::Packet { purpose: purpose(words.next()?)?, interface: name(words.next()?)? },
            "hold" => Self::Hold {
                address: words.next()?.parse().ok()?,
                prefix: words.next()?.parse().ok()?,
                interface: name(words.next()?)?,
            },
            "release" => Self::Release { id: words.next()?.parse().ok()? },
            _ => return None,
        };
        words.next().is_none().then_some(request)
    }
}

impl Reply {
    /// As a message, never longer than [`MAX_MESSAGE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = match self {
            Self::Hello { version, privileged } => format!("hello {version} {}", u8::from(*privileged)),
            Self::Opened => "opened".to_owned(),
            Self::Held { id } => format!("held {id}"),
            Self::Released => "released".to_owned(),
            Self::Refused(Refusal::Os { what, source }) => {
                format!("os {} {what}", source.raw_os_error().unwrap_or(libc::EIO))
            }
            Self::Refused(Refusal::NoInterface(name)) => format!("no-interface {name}"),
            Self::Refused(Refusal::Rule(text)) => format!("rule {text}"),
        };
        let mut end = text.len().min(MAX_MESSAGE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }

    /// From a message; `None` when it is not one.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        Some(match (verb, rest) {
            ("opened", "") => Self::Opened,
            ("released", "") => Self::Released,
            ("held", id) => Self::Held { id: id.parse().ok()? },
            ("hello", rest) => {
                let (version, privileged) = rest.split_once(' ')?;
                Self::Hello { version: version.parse().ok()?, privileged: flag(privileged)? }
            }
            ("os", rest) => {
                let (code, what) = rest.split_once(' ')?;
                let source = io::Error::from_raw_os_error(code.parse().ok()?);
                Self::Refused(Refusal::Os { what: what.to_owned(), source })
            }
            ("no-interface", name) => Self::Refused(Refusal::NoInterface(name.to_owned())),
            ("rule", text) => Self::Refused(Refusal::Rule(text.to_owned())),
            _ => return None,
        })
    }
}

fn name(word: &str) -> Option<String> {
    let good = !word.is_empty()
        && word.len() <= MAX_NAME
        && word != "."
        && word != ".."
        && word.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    good.then(|| word.to_owned())
}

/// A word that may be missing but not wrong.
fn optional_name(word: Option<&str>) -> Option<Option<String>> {
    word.map_or(Some(None), |word| name(word).map(Some))
}

fn flag(word: &str) -> Option<bool> {
    match word {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn purpose_word(purpose: Purpose) -> String {
    match purpose {
        Purpose::Ipv4Send => "ipv4-send".to_owned(),
        Purpose::RouterDiscovery => "router-discovery".to_owned(),
        Purpose::DhcpListen => "dhcp-listen".to_owned(),
        Purpose::ArpProbe => "arp-probe".to_owned(),
        Purpose::DhcpReplies => "dhcp-replies".to_owned(),
        Purpose::Capture(TcpPorts { http, https, iscsi }) => format!("capture:{http}:{https}:{iscsi}"),
        Purpose::DhcpWatch => "dhcp-watch".to_owned(),
    }
}

fn purpose(word: &str) -> Option<Purpose> {
    use Purpose::{ArpProbe, DhcpListen, DhcpReplies, DhcpWatch, Ipv4Send, RouterDiscovery};
    if let Some(ports) = word.strip_prefix("capture:") {
        let mut numbers = ports.split(':').map(|n| n.parse().ok());
        let (http, https, iscsi) = (numbers.next()??, numbers.next()??, numbers.next()??);
        return numbers.next().is_none().then_some(Purpose::Capture(TcpPorts { http, https, iscsi }));
    }
    [Ipv4Send, RouterDiscovery, DhcpListen, DhcpReplies, DhcpWatch, ArpProbe]
        .into_iter()
        .find(|p| purpose_word(*p) == word)
}

/// For fuzzing: no message may harm either end, and what was understood is written and read again as the same.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Some(request) = Request::decode(data) {
        assert_eq!(Request::decode(request.encode().as_bytes()), Some(request));
    }
    if let Some(reply) = Reply::decode(data) {
        let written = reply.encode();
        assert!(written.len() <= MAX_MESSAGE);
        assert!(Reply::decode(written.as_bytes()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_way() {
        let br0 = || Some("br0".to_owned());
        let all = [
            Request::Hello,
            Request::Udp { bind: "0.0.0.0:67".parse().unwrap(), broadcast: true, packet_info: false, interface: br0() },
            Request::Tcp { bind: "[fe80::1%2]:80".parse().unwrap(), interface: None },
            Request::Packet { purpose: Purpose::DhcpListen, interface: "br0".to_owned() },
            Request::Packet { purpose: Purpose::DhcpReplies, interface: "br0".to_owned() },
            Request::Packet {
                purpose: Purpose::Capture(TcpPorts { http: 80, https: 8443, iscsi: 3260 }),
                interface: "br0".to_owned(),
            },
            Request::Hold { address: Ipv4Addr::new(192, 168, 2, 1), prefix: 24, interface: "br0".to_owned() },
            Request::Release { id: 7 },
        ];
        for request in all {
            assert_eq!(Request::decode(request.encode().as_bytes()), Some(request));
        }
    }

    #[test]
    fn a_refusal_keeps_its_error_number_and_its_words() {
        let refusal = Refusal::Os {
            what: "listen on UDP port 67".to_owned(),
            source: io::Error::from_raw_os_error(libc::EADDRINUSE),
        };
        let text = refusal.to_string();
        let Some(Reply::Refused(arrived)) = Reply::decode(Reply::Refused(refusal).encode().as_bytes()) else {
            panic!()
        };
        assert_eq!(arrived.to_string(), text);
    }

    #[test]
    fn what_is_not_a_request_is_none() {
        let bad: [&[u8]; 13] = [
            b"packet capture:80:443 br0",
            b"packet capture:80:443:3260:22 br0",
            b"packet capture:80:443:70000 br0",
            b"",
            b"udp",
            b"udp 0.0.0.0:67 1 2 br0",
            b"udp 0.0.0.0:70000 1 1 br0",
            b"udp 0.0.0.0:67 1 1 br0 br1",
            b"packet dhcp-listen",
            b"packet everything br0",
            b"packet dhcp-listen ../../etc",
            b"hold 192.168.2.1 24 an-interface-name-too-long",
            b"release -1",
        ];
        for message in bad {
            assert_eq!(Request::decode(message), None, "{}", String::from_utf8_lossy(message));
        }
    }
}
