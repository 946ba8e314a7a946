//! The packets of one machine as the window holds them: read and decoded beside the frame loop, filtered when something changed.

use std::sync::Arc;

use bootyard_core::api::{HandleError, Packets, Reply, Stage, Step, StepPart};
use bootyard_core::trace::decode::{Decoded, decode};
use bootyard_core::trace::{Packet, file};
use jiff::{SignedDuration, Timestamp};

use super::asking::{Told, read};
use crate::told;

/// A packet comes before the event that begins a step, by as much as its way to the server takes.
const BEFORE: SignedDuration = SignedDuration::from_millis(100);

/// A packet and what it says.
#[derive(Debug)]
pub(super) struct Line {
    /// As it was captured.
    pub(super) packet: Packet,
    /// In words.
    pub(super) decoded: Decoded,
    /// All that the filter looks at, in lower case.
    searched: String,
}

/// What the engine gave.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The packets, oldest first.
    pub(super) lines: Vec<Line>,
    /// What the recording says of the whole.
    pub(super) about: Vec<String>,
    /// What is missing in it.
    pub(super) missing: Vec<String>,
}

impl Kept {
    /// Reads the answer to [`bootyard_core::api::Command::Packets`]. Takes milliseconds for thousands of packets: not for a frame.
    pub(super) fn of(reply: Result<Reply, HandleError>) -> Told<Self> {
        let packets = read(reply, |reply| match reply {
            Reply::Packets(packets) => Some(packets),
            _ => None,
        });
        packets.and_then(|packets| Self::read(&packets))
    }

    fn read(packets: &Packets) -> Told<Self> {
        let missing = told::missing(packets);
        let recording = file::read(&packets.file()).map_err(|error| error.to_string())?;
        let lines = recording.packets.into_iter().map(Line::of).collect();
        Ok(Self { lines, about: recording.comments, missing })
    }

    /// The protocols in it with their counts, the most frequent first.
    pub(super) fn protocols(&self) -> Vec<(&'static str, usize)> {
        let mut counts: Vec<(&'static str, usize)> = Vec::new();
        for line in &self.lines {
            match counts.iter_mut().find(|(name, _)| *name == line.decoded.protocol) {
                Some((_, count)) => *count += 1,
                None => counts.push((line.decoded.protocol, 1)),
            }
        }
        counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        counts
    }
}

impl Line {
    fn of(packet: Packet) -> Self {
        let decoded = decode(&packet);
        let mut searched = format!("{} {} {} {}", decoded.protocol, decoded.from, decoded.to, decoded.line);
        packet.comments.iter().for_each(|comment| searched.extend([" ", comment]));
        searched.make_ascii_lowercase();
        Self { packet, decoded, searched }
    }
}

/// A step of the timeline whose packets are wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OfStep {
    /// When it began; tells it from the others.
    pub(super) start: Timestamp,
    end: Option<Timestamp>,
    /// What it is called.
    pub(super) text: String,
}

impl OfStep {
    /// Of this one. `text` is its name.
    pub(super) fn of(step: &Step, text: String) -> Self {
        Self { start: step.start, end: step.end, text }
    }

    fn has(&self, time: Timestamp) -> bool {
        let from = self.start.saturating_sub(BEFORE).unwrap_or(self.start);
        time >= from && self.end.is_none_or(|end| time <= end)
    }
}

/// The protocols in which a step happens.
fn protocols(step: &Step) -> &'static [&'static str] {
    match (step.stage, step.part) {
        (Stage::Seen | Stage::Addressed | Stage::Ipxe, _) | (_, Some(StepPart::SystemAddress)) => &["DHCP"],
        (Stage::Firmware, _) => &["TFTP", "HTTP"],
        (Stage::Script | Stage::Waiting | Stage::Loading, _) => &["HTTP"],
        (Stage::SanLogin | Stage::OsLogin, _) => &["iSCSI"],
        _ => &[],
    }
}

/// The protocol of a step's packets, where there are some of it among those of its time.
pub(super) fn protocol_of(step: &Step, kept: &Kept) -> Option<&'static str> {
    let of = OfStep::of(step, String::new());
    let spoken =
        |protocol: &&&str| kept.lines.iter().any(|l| l.decoded.protocol == **protocol && of.has(l.packet.time));
    protocols(step).iter().find(spoken).copied()
}

/// Which of them are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Choice {
    /// Of this protocol.
    pub(super) protocol: Option<&'static str>,
    /// With this text, as it was typed.
    pub(super) text: String,
    /// Of this step.
    pub(super) step: Option<OfStep>,
}

impl Choice {
    /// The places of those that are shown.
    pub(super) fn shown(&self, kept: &Kept) -> Vec<usize> {
        let text = self.text.trim().to_ascii_lowercase();
        let wanted = |line: &Line| {
            self.protocol.is_none_or(|protocol| line.decoded.protocol == protocol)
                && self.step.as_ref().is_none_or(|step| step.has(line.packet.time))
                && (text.is_empty() || line.searched.contains(&text))
        };
        kept.lines.iter().enumerate().filter(|(_, line)| wanted(line)).map(|(at, _)| at).collect()
    }
}

/// Packets for a file.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// All of them.
    pub(super) kept: Arc<Kept>,
    /// The places of those that are meant.
    pub(super) which: Vec<usize>,
}

impl Chosen {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.which.iter().filter_map(|at| self.kept.lines.get(*at))
    }

    /// One line a packet, what is said of it below.
    pub(super) fn text(&self) -> String {
        let lines = self.lines().flat_map(|line| told::packet_lines(&line.packet, &line.decoded, false));
        lines.map(|line| line + "\n").collect()
    }

    /// One array, with every field.
    pub(super) fn json(&self) -> Result<String, String> {
        let all: Vec<_> = self.lines().map(|line| told::packet_json(&line.packet, &line.decoded)).collect();
        serde_json::to_string_pretty(&all).map(|text| text + "\n").map_err(|error| error.to_string())
    }

    /// For Wireshark.
    pub(super) fn pcapng(&self) -> Vec<u8> {
        let packets: Vec<Packet> = self.lines().map(|line| line.packet.clone()).collect();
        file::write(&packets, &self.kept.about)
    }
}
