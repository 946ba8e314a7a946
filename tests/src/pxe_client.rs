//! A PXE ROM in software: real packets on a real (virtual) wire, for the clients that no emulator brings, such as a ROM without any
//! sign of iPXE, or gPXE with nothing but its bus-id.
//!
//! [`Client::boot`] is called by tests; it runs the program `pxe-rom` in a namespace, which does [`exchange`] there. Like a ROM it sends
//! from 0.0.0.0 and reads whole frames, because a server may answer to an address that the client does not have yet.

use std::io::Read;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;
use crate::run;

/// Which program the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A PXE ROM by RFC 4578: options 60, 93, 94 and 97, neither user class nor option 175.
    Rom,
    /// UEFI's PXE client for x86-64: the same options with another architecture.
    Uefi,
    /// gPXE, known by option 175 with its bus-id (177) and by nothing else.
    Gpxe,
    /// iPXE, known by its user class and its option 175.
    Ipxe,
    /// An operating system: no option 60 at all.
    Os,
}

impl Kind {
    /// The word for the command line of `pxe-rom`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rom => "rom",
            Self::Uefi => "uefi",
            Self::Gpxe => "gpxe",
            Self::Ipxe => "ipxe",
            Self::Os => "os",
        }
    }

    /// The reverse of [`Kind::word`].
    ///
    /// # Errors
    /// No such word.
    pub fn of_word(word: &str) -> Result<Self> {
        [Self::Rom, Self::Uefi, Self::Gpxe, Self::Ipxe, Self::Os]
            .into_iter()
            .find(|k| k.word() == word)
            .with_context(|| format!("`{word}` is no kind of client"))
    }
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The OFFER, with the fields of [`exchange`].
    pub offer: Value,
    /// The ACK, likewise.
    pub ack: Value,
}

/// A client plugged into a bench; its `eth0` is in its own namespace.
#[derive(Debug)]
pub struct Client {
    /// Its namespace, for tools that it runs after it got its address.
    pub ns: Netns,
}

impl Client {
    /// Plugs it in.
    ///
    /// # Errors
    /// See [`Netns::plug`].
    pub fn plug(bench: &Netns, tag: &str, mac: &str) -> Result<Self> {
        let ns = bench.plug(tag, mac)?;
        // A way out for 255.255.255.255, which the kernel otherwise does not send without an address.
        ns.ip(&["route", "add", "default", "dev", "eth0"])?;
        Ok(Self { ns })
    }

    /// One DISCOVER to ACK. `broadcast` asks for broadcast answers; without it they come by unicast to an address not held yet.
    ///
    /// # Errors
    /// No answer, or one that is no DHCP.
    pub fn boot(&self, kind: Kind, broadcast: bool) -> Result<Told> {
        let how = if broadcast { "broadcast" } else { "unicast" };
        let text = self.run(&[kind.word(), how])?;
        let value: Value = serde_json::from_str(&text).with_context(|| format!("pxe-rom printed {text}"))?;
        Ok(Told { offer: value["offer"].clone(), ack: value["ack"].clone() })
    }

    /// Asks so many times, a pause apart, and takes nothing.
    ///
    /// # Errors
    /// It could not send.
    pub fn ask(&self, kind: Kind, times: u32, pause: Duration) -> Result<()> {
        self.run(&[kind.word(), "ask", &times.to_string(), &pause.as_millis().to_string()]).map(drop)
    }

    /// Asks, and takes the offer of this server, whether it made one or not.
    ///
    /// # Errors
    /// It could not send.
    pub fn take_from(&self, kind: Kind, server: &str) -> Result<()> {
        self.run(&[kind.word(), "take", server]).map(drop)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let exe = std::env::current_exe()?;
        let program = run::profile_dir(&exe).context("a test runs from a target folder")?.join("pxe-rom");
        run::stdout(self.command(&program.to_string_lossy()).args(args))
    }

    /// Takes the address of an ACK.
    ///
    /// # Errors
    /// The ACK names none.
    pub fn take(&self, told: &Told) -> Result<String> {
        let address = told.ack["yiaddr"].as_str().context("an ACK without an address")?;
        self.ns.ip(&["address", "replace", &format!("{address}/24"), "dev", "eth0"])?;
        Ok(address.to_owned())
    }

    fn command(&self, program: &str) -> Command {
        self.ns.command(program)
    }
}

/// DISCOVER, OFFER, REQUEST, ACK on `eth0` of the namespace that this process is in. Each answer is an object with `yiaddr`, `siaddr`,
/// `file` (the header's, or option 67), `type`, `server`, `to` (destination address) and `options` (number to hex).
///
/// # Errors
/// No answer within 10 s.
pub fn exchange(kind: Kind, broadcast: bool) -> Result<Value> {
    let mac = std::fs::read_to_string("/sys/class/net/eth0/address").context("eth0")?;
    let mac: Vec<u8> = mac.trim().split(':').map(|b| u8::from_str_radix(b, 16)).collect::<Result<_, _>>()?;
    let xid = std::process::id() ^ 0x5058_4500;
    // ETH_P_ALL in network order: whole frames, whatever their destination.
    let wire = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(3_u16.to_be()))))?;
    wire.set_read_timeout(Some(Duration::from_millis(200)))?;
    let out = UdpSocket::bind("0.0.0.0:68")?;
    out.set_broadcast(true)?;

    let send = |kind_of_message: u8, extra: &[u8]| -> Result<()> {
        let packet = request(kind, kind_of_message, xid, &mac, broadcast, extra);
        out.send_to(&packet, "255.255.255.255:67").context("could not send")?;
        Ok(())
    };
    send(1, &[])?;
    let offer = receive(&wire, xid, 2, || send(1, &[]))?;
    let mut extra = vec![50, 4];
    extra.extend(address(&offer, "yiaddr")?);
    extra.extend([54, 4]);
    extra.extend(address(&offer, "server")?);
    send(3, &extra)?;
    let ack = receive(&wire, xid, 5, || send(3, &extra))?;
    Ok(json!({ "offer": offer, "ack": ack }))
}

/// What [`Client::ask`] and [`Client::take_from`] do, in the namespace that this process is in: DISCOVERs, and a REQUEST that names
/// `server`.
///
/// # Errors
/// It could not send.
pub fn only_send(kind: Kind, discovers: u32, pause: Duration, server: Option<std::net::Ipv4Addr>) -> Result<()> {
    let mac = std::fs::read_to_string("/sys/class/net/eth0/address").context("eth0")?;
    let mac: Vec<u8> = mac.trim().split(':').map(|b| u8::from_str_radix(b, 16)).collect::<Result<_, _>>()?;
    let xid = std::process::id() ^ 0x5058_4500;
    let out = UdpSocket::bind("0.0.0.0:68")?;
    out.set_broadcast(true)?;
    for n in 0..discovers {
        if n > 0 {
            std::thread::sleep(pause);
        }
        out.send_to(&request(kind, 1, xid, &mac, true, &[]), "255.255.255.255:67").context("could not send")?;
    }
    if let Some(server) = server {
        std::thread::sleep(pause);
        let mut extra = vec![50, 4, 192, 168, 77, 55, 54, 4];
        extra.extend(server.octets());
        out.send_to(&request(kind, 3, xid, &mac, true, &extra), "255.255.255.255:67").context("could not send")?;
    }
    Ok(())
}

fn request(kind: Kind, message: u8, xid: u32, mac: &[u8], broadcast: bool, extra: &[u8]) -> Vec<u8> {
    let mut p = vec![1, 1, 6, 0];
    p.extend(xid.to_be_bytes());
    p.extend([0, 4, if broadcast { 0x80 } else { 0 }, 0]); // secs 4, as ROMs send
    p.extend([0; 16]);
    p.extend(mac);
    p.resize(236, 0);
    p.extend([99, 130, 83, 99, 53, 1, message]);
    p.extend([57, 2, 0x05, 0xc0]); // 1472 bytes at most
    p.extend([55, 10, 1, 3, 6, 15, 43, 54, 60, 66, 67, 175]);
    if kind != Kind::Os {
        p.extend([60, 32]);
        let arch: u8 = if kind == Kind::Uefi { 7 } else { 0 };
        p.extend(format!("PXEClient:Arch:{arch:05}:UNDI:002001").as_bytes());
        p.extend([93, 2, 0, arch, 94, 3, 1, 2, 1, 97, 17, 0]);
        p.extend([0x42; 10]);
        p.extend(mac);
    }
    if kind == Kind::Gpxe {
        p.extend([175, 7, 177, 5, 1, 0x80, 0x86, 0x10, 0x0e]);
    }
    if kind == Kind::Ipxe {
        p.extend([77, 4]);
        p.extend(b"iPXE");
        // Its version, then HTTP and iSCSI.
        p.extend([175, 18, 177, 5, 1, 0x80, 0x86, 0x10, 0x0e, 235, 3, 1, 21, 1, 19, 1, 1, 17, 1, 1]);
    }
    p.extend(extra);
    p.push(255);
    p.resize(p.len().max(548), 0);
    p
}

fn receive(wire: &Socket, xid: u32, message: u8, again: impl Fn() -> Result<()>) -> Result<Value> {
    let start = Instant::now();
    let mut repeated = Duration::ZERO;
    let mut buf = [0; 2048];
    while start.elapsed() < Duration::from_secs(10) {
        if let Ok(n) = (&*wire).read(&mut buf)
            && let Some(answer) = reply(buf.get(..n).unwrap_or_default(), xid)
            && answer["type"] == message
        {
            return Ok(answer);
        }
        if start.elapsed() - repeated > Duration::from_secs(3) {
            repeated = start.elapsed();
            again()?;
        }
    }
    bail!("no DHCP answer of type {message} within 10 s")
}

/// A frame's DHCP reply to `xid`, if it is one.
fn reply(frame: &[u8], xid: u32) -> Option<Value> {
    if frame.get(12..14)? != [8, 0] || *frame.get(23)? != 17 {
        return None;
    }
    let ip = frame.get(14..)?;
    let header = usize::from(ip.first()? & 15) * 4;
    let udp = ip.get(header..)?;
    if udp.get(2..4)? != [0, 68] {
        return None;
    }
    let p = udp.get(8..)?;
    if *p.first()? != 2 || p.get(4..8)? != xid.to_be_bytes() || p.get(236..240)? != [99, 130, 83, 99] {
        return None;
    }
    let mut options = serde_json::Map::new();
    let mut values = std::collections::BTreeMap::new();
    let mut rest = p.get(240..)?;
    while let [code, tail @ ..] = rest {
        match code {
            0 => rest = tail,
            255 => break,
            code => {
                let len = usize::from(*tail.first()?);
                let value = tail.get(1..=len)?;
                values.insert(*code, value.to_vec());
                let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
                options.insert(code.to_string(), hex.into());
                rest = tail.get(len + 1..)?;
            }
        }
    }
    let quad = |b: &[u8]| b.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
    let text = |b: &[u8]| String::from_utf8_lossy(b).trim_end_matches('\0').to_owned();
    let file = text(p.get(108..236)?);
    let file = if file.is_empty() { values.get(&67).map(|v| text(v)).unwrap_or_default() } else { file };
    Some(json!({
        "type": values.get(&53)?.first()?,
        "server": values.get(&54).map(|v| quad(v)),
        "yiaddr": quad(p.get(16..20)?),
        "siaddr": quad(p.get(20..24)?),
        "to": quad(ip.get(16..20)?),
        "file": file,
        "options": options,
    }))
}

fn address(answer: &Value, field: &str) -> Result<[u8; 4]> {
    let text = answer[field].as_str().with_context(|| format!("the answer has no {field}: {answer}"))?;
    Ok(text.parse::<std::net::Ipv4Addr>()?.octets())
}
