//! What a boot asked of its iSCSI disk: taken from a capture of the initiator's side, kept as text, replayed by a load generator.
//!
//! One line a step, `KIND LBA BLOCKS MILLISECONDS`, the last being the time since the step before: `L` a login (`1` in the place of the
//! address for one of the firmware), `R` a read, `W` a write, `F` a flush. Lines that begin with `#` are for people.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use bootyard_core::iscsi::wire::request::Request;
use bootyard_core::iscsi::wire::{Framing, Parsed};

/// What an initiator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A new session.
    Login {
        /// The firmware's, not the system's.
        firmware: bool,
    },
    /// So many blocks from this one.
    Read {
        /// First block.
        lba: u64,
        /// Blocks.
        blocks: u32,
    },
    /// So many blocks from this one.
    Write {
        /// First block.
        lba: u64,
        /// Blocks.
        blocks: u32,
    },
    /// SYNCHRONIZE CACHE.
    Flush,
}

/// A step, and milliseconds since the one before.
pub type Timed = (Step, u64);

/// Reads the text.
///
/// # Errors
/// A line means nothing: which one.
pub fn parse(text: &str) -> Result<Vec<Timed>> {
    let steps = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    steps.map(|(n, line)| step(line).with_context(|| format!("line {}: {line}", n + 1))).collect()
}

fn step(line: &str) -> Result<Timed> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [kind, lba, blocks, gap] = fields[..] else { bail!("four fields are expected") };
    let (lba, blocks) = (lba.parse()?, blocks.parse()?);
    let step = match kind {
        "L" => Step::Login { firmware: lba == 1 },
        "R" => Step::Read { lba, blocks },
        "W" => Step::Write { lba, blocks },
        "F" => Step::Flush,
        other => bail!("`{other}` is no kind of step"),
    };
    Ok((step, gap.parse()?))
}

/// Writes the text, `about` as a comment before it.
///
/// # Errors
/// None that can happen to a string.
pub fn format(about: &str, steps: &[Timed]) -> Result<String> {
    let mut text = String::new();
    for line in about.lines() {
        writeln!(text, "# {line}")?;
    }
    for (step, gap) in steps {
        match step {
            Step::Login { firmware } => writeln!(text, "L {} 0 {gap}", u8::from(*firmware))?,
            Step::Read { lba, blocks } => writeln!(text, "R {lba} {blocks} {gap}")?,
            Step::Write { lba, blocks } => writeln!(text, "W {lba} {blocks} {gap}")?,
            Step::Flush => writeln!(text, "F 0 0 {gap}")?,
        }
    }
    Ok(text)
}

/// The steps in a capture (pcap, Ethernet, IPv4) of what goes to port 3260.
///
/// # Errors
/// It is no such capture, or segments are missing in it.
pub fn of_capture(pcap: &[u8]) -> Result<Vec<Timed>> {
    let mut found: Vec<(u64, Step)> = Vec::new();
    let mut streams: HashMap<Vec<u8>, Stream> = HashMap::new();
    for (micros, frame) in frames(pcap)? {
        let Some(segment) = Segment::of(frame) else { continue };
        let stream = streams.entry(segment.from.to_vec()).or_default();
        if segment.syn {
            *stream = Stream { next: segment.seq.wrapping_add(1), ..Stream::default() };
        }
        for step in stream.take(&segment)? {
            found.push((micros, step));
        }
    }
    for stream in streams.values() {
        ensure!(stream.later.is_empty(), "the capture lost segments");
    }
    let mut before = found.first().map_or(0, |(micros, _)| *micros);
    Ok(found
        .into_iter()
        .map(|(micros, step)| (step, micros.saturating_sub(std::mem::replace(&mut before, micros)) / 1000))
        .collect())
}

/// Frames of a pcap file with their times in microseconds.
fn frames(pcap: &[u8]) -> Result<Vec<(u64, &[u8])>> {
    const HEADER: usize = 24;
    let word = |at: usize| -> Option<u32> { Some(u32::from_le_bytes(pcap.get(at..at + 4)?.try_into().ok()?)) };
    ensure!(word(0) == Some(0xa1b2_c3d4) && word(20) == Some(1), "no pcap file of Ethernet in this machine's order");
    let mut frames = Vec::new();
    let mut at = HEADER;
    while at < pcap.len() {
        let field = |n: usize| word(at + 4 * n).context("the capture ends within a header");
        let (seconds, micros, len, whole) = (field(0)?, field(1)?, field(2)?, field(3)?);
        ensure!(len == whole, "the capture cuts frames short");
        at += 16;
        let end = at + usize::try_from(len)?;
        let frame = pcap.get(at..end).context("the capture ends within a frame")?;
        frames.push((u64::from(seconds) * 1_000_000 + u64::from(micros), frame));
        at = end;
    }
    Ok(frames)
}

/// A TCP segment to the target.
struct Segment<'a> {
    /// Source address and port.
    from: [u8; 6],
    seq: u32,
    syn: bool,
    data: &'a [u8],
}

impl<'a> Segment<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        if frame.get(12..14)? != [8, 0] || *ip.get(9)? != 6 {
            return None;
        }
        let len = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let tcp = ip.get(usize::from(ip.first()? & 15) * 4..len)?;
        if tcp.get(2..4)? != 3260_u16.to_be_bytes() {
            return None;
        }
        let mut from = [0; 6];
        from[..4].copy_from_slice(ip.get(12..16)?);
        from[4..].copy_from_slice(tcp.get(..2)?);
        let seq = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
        let data = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?;
        Some(Self { from, seq, syn: tcp.get(13)? & 2 != 0, data })
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Stream {
    next: u32,
    later: BTreeMap<u32, Vec<u8>>,
    bytes: Vec<u8>,
}

impl Stream {
    /// Takes a segment in and gives the steps that are complete with it.
    fn take(&mut self, segment: &Segment<'_>) -> Result<Vec<Step>> {
        if !segment.data.is_empty() {
            self.later.insert(segment.seq, segment.data.to_vec());
        }
        // Segments may come twice or out of order.
        while let Some((&seq, data)) = self.later.iter().find(|(seq, _)| self.next.wrapping_sub(**seq) < 1 << 31) {
            let known = usize::try_from(self.next.wrapping_sub(seq))?;
            if let Some(new) = data.get(known..) {
                self.bytes.extend_from_slice(new);
                self.next = self.next.wrapping_add(u32::try_from(new.len())?);
            }
            self.later.remove(&seq);
        }
        let mut steps = Vec::new();
        let mut start = 0;
        while let Parsed::Pdu { raw, used } =
            Framing::login(u32::MAX).parse(self.bytes.get(start..).unwrap_or_default())?
        {
            steps.extend(of_request(&Request::decode(raw.bhs)));
            start += used;
        }
        self.bytes.drain(..start);
        Ok(steps)
    }
}

fn of_request(request: &Request) -> Option<Step> {
    match request {
        // The one that asks for the full-feature phase.
        Request::Login(login) if login.transit && login.next == 3 => {
            Some(Step::Login { firmware: login.isid.starts_with(&[0x40, 0, 0x27, 0x23]) })
        }
        Request::Command(command) => of_cdb(&command.cdb),
        _ => None,
    }
}

fn of_cdb(cdb: &[u8; 16]) -> Option<Step> {
    let long = |at: usize| cdb.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    let (lba, blocks) = match cdb[0] {
        0x08 | 0x0a => {
            let lba = long(0) & 0x1f_ffff;
            (u64::from(lba), if cdb[4] == 0 { 256 } else { u32::from(cdb[4]) })
        }
        0x28 | 0x2a => (u64::from(long(2)), u32::from(u16::from_be_bytes([cdb[7], cdb[8]]))),
        0xa8 | 0xaa => (u64::from(long(2)), long(6)),
        0x88 | 0x8a => (u64::from(long(2)) << 32 | u64::from(long(6)), long(10)),
        0x35 | 0x91 => return Some(Step::Flush),
        _ => return None,
    };
    match cdb[0] {
        _ if blocks == 0 => None,
        0x08 | 0x28 | 0xa8 | 0x88 => Some(Step::Read { lba, blocks }),
        _ => Some(Step::Write { lba, blocks }),
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
