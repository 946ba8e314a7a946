//! The client: RFC 1350, 2347, 2348 and 7440 as firmware does them, and every byte compared.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::rows::Row;
use crate::{Fallible, lab};

/// How long it waits for a packet before it says again what it has: EDK2's.
const TIMER: Duration = Duration::from_secs(4);
/// A transfer that takes longer has failed, and counts as this long.
const LONGEST: Duration = Duration::from_secs(60);

/// A run of a row against a server.
pub(crate) struct Load<'a> {
    pub(crate) row: &'a Row,
    pub(crate) address: Ipv4Addr,
    /// What the server must deliver.
    pub(crate) content: &'a [u8],
}

/// How long a run took.
#[derive(Debug)]
pub(crate) struct Times {
    /// From the first request to the last acknowledgement.
    pub(crate) wall: Duration,
    /// Each transfer.
    pub(crate) each: Vec<Duration>,
}

fn request(file: &str, options: &[(&str, u16)]) -> Vec<u8> {
    let mut packet = vec![0, 1];
    let mut text = |text: &str| {
        packet.extend_from_slice(text.as_bytes());
        packet.push(0);
    };
    text(file);
    text("octet");
    for (name, value) in options {
        text(name);
        text(&value.to_string());
    }
    packet
}

fn is_silence(error: &io::Error) -> bool {
    // A server that has just been started refuses.
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused)
}

/// Waits for a server that has just been started.
pub(crate) fn until_it_answers(address: Ipv4Addr) -> Fallible<()> {
    let until = Instant::now() + Duration::from_secs(10);
    let mut buf = [0; 1500];
    while Instant::now() < until {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        // The way may have to be found first.
        let _ = socket.send_to(&request("nothing-of-this-name", &[]), SocketAddrV4::new(address, 69));
        match socket.recv_from(&mut buf) {
            Ok(_) => return Ok(()),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err("it does not answer".into())
}

impl Load<'_> {
    /// All transfers of the row, from the calling thread's namespace, which new threads inherit.
    pub(crate) fn run(&self) -> Fallible<Times> {
        let begin = Barrier::new(self.row.clients);
        let one = |own: Ipv4Addr| {
            begin.wait();
            let from = Instant::now();
            self.transfer(own).map(|()| (from, Instant::now()))
        };
        let ran: Vec<Fallible<(Instant, Instant)>> = std::thread::scope(|scope| {
            let one = &one;
            let clients = lab::clients(self.address).take(self.row.clients);
            let threads: Vec<_> = clients.map(|own| scope.spawn(move || one(own))).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("the client broke".into()))).collect()
        });
        let ran: Vec<(Instant, Instant)> = ran.into_iter().collect::<Fallible<_>>()?;
        let first = ran.iter().map(|(from, _)| *from).min().ok_or("no client")?;
        let last = ran.iter().map(|(_, to)| *to).max().ok_or("no client")?;
        Ok(Times { wall: last - first, each: ran.iter().map(|(from, to)| *to - *from).collect() })
    }

    fn transfer(&self, own: Ipv4Addr) -> Fallible<()> {
        let until = Instant::now() + LONGEST;
        let socket = UdpSocket::bind((own, 0))?;
        socket.set_read_timeout(Some(TIMER))?;
        let mut options = vec![("blksize", self.row.block)];
        if self.row.window > 1 {
            options.push(("windowsize", self.row.window));
        }
        let request = request(&self.row.file(), &options);
        let mut buf = vec![0; 65_536];
        let len = loop {
            socket.send_to(&request, SocketAddrV4::new(self.address, 69))?;
            match socket.recv_from(&mut buf) {
                Ok((len, from)) => {
                    socket.connect(from)?;
                    break len;
                }
                Err(error) if is_silence(&error) && Instant::now() < until => {}
                Err(error) => return Err(format!("no answer: {error}").into()),
            }
        };
        let mut taker = Taker::granted(buf.get(..len).unwrap_or_default(), self.content)?;
        if taker.options {
            socket.send(&ack(0))?;
        } else if let Some(answer) = taker.take(buf.get(..len).unwrap_or_default())? {
            socket.send(&answer)?;
        }
        while !taker.complete {
            match socket.recv(&mut buf) {
                Ok(len) => {
                    if let Some(answer) = taker.take(buf.get(..len).unwrap_or_default())? {
                        socket.send(&answer)?;
                    }
                }
                Err(error) if is_silence(&error) => {
                    if Instant::now() > until {
                        // It stays in the table as the longest that was waited for.
                        return Ok(());
                    }
                    let _ = socket.send(&taker.again());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn ack(block: u64) -> [u8; 4] {
    let [high, low] = ((block & 0xffff) as u16).to_be_bytes();
    [0, 4, high, low]
}

/// Takes blocks in.
struct Taker<'a> {
    content: &'a [u8],
    /// The server answered options first.
    options: bool,
    block: usize,
    window: u64,
    /// Blocks that arrived.
    got: u64,
    /// Of these, acknowledged.
    acked: u64,
    /// A gap in this window has been told.
    told: bool,
    complete: bool,
}

impl<'a> Taker<'a> {
    /// From the server's first packet.
    fn granted(packet: &[u8], content: &'a [u8]) -> Fallible<Self> {
        let mut taker =
            Self { content, options: false, block: 512, window: 1, got: 0, acked: 0, told: false, complete: false };
        match packet {
            [0, 6, options @ ..] => {
                taker.options = true;
                let texts: Vec<String> =
                    options.split(|b| *b == 0).map(|text| String::from_utf8_lossy(text).to_lowercase()).collect();
                for pair in texts.chunks_exact(2) {
                    match pair {
                        [name, value] if name == "blksize" => taker.block = value.parse()?,
                        [name, value] if name == "windowsize" => taker.window = value.parse()?,
                        _ => return Err(format!("the option {pair:?} was not asked for").into()),
                    }
                }
            }
            [0, 3, ..] => {}
            other => {
                return Err(format!("refused: {}", String::from_utf8_lossy(other.get(4..).unwrap_or(other))).into());
            }
        }
        Ok(taker)
    }

    /// What it has.
    fn again(&mut self) -> [u8; 4] {
        self.acked = self.got;
        ack(self.got)
    }

    fn take(&mut self, packet: &[u8]) -> Fallible<Option<[u8; 4]>> {
        let (number, data) = match packet {
            [0, 3, high, low, data @ ..] => (u16::from_be_bytes([*high, *low]), data),
            // The answer to the options again: nothing of the data can have been asked for.
            [0, 6, ..] if self.got == 0 => return Ok(Some(ack(0))),
            [0, 6, ..] => return Ok(None),
            other => return Err(format!("ended: {}", String::from_utf8_lossy(other.get(4..).unwrap_or(other))).into()),
        };
        let ahead = number.wrapping_sub((self.got & 0xffff) as u16);
        if ahead == 1 {
            let from = usize::try_from(self.got)? * self.block;
            let to = (from + self.block).min(self.content.len());
            if self.content.get(from..to) != Some(data) {
                return Err(format!("block {} is not what the file has there", self.got + 1).into());
            }
            self.got += 1;
            self.told = false;
            self.complete = data.len() < self.block;
            if self.complete || self.got - self.acked == self.window {
                return Ok(Some(self.again()));
            }
            return Ok(None);
        }
        // A block that it has had last comes again: its acknowledgement was lost. One from further ahead: a gap, told once.
        let gap = ahead < 0x8000 && ahead > 1;
        if ahead == 0 || (gap && !self.told) {
            self.told = gap;
            return Ok(Some(self.again()));
        }
        Ok(None)
    }
}
