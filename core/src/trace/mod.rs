//! What was on the wire: kept, shown, written to files, read from files, and told as events.
//!
//! * [`view`] reads a frame's headers, whatever is cut off or lies in it.
//! * [`clip`] cuts a frame to what may be kept: bulk data to its headers, secrets away. [`ring`] keeps the frames of each machine
//!   within bounds.
//! * [`decode`] makes a line and a tree of fields of a frame.
//! * [`file`](mod@file) writes pcapng with our findings as comments, and reads pcapng and pcap from anywhere.
//! * [`observe`] makes events of frames: all of a boot's from a recording; live only what the servers cannot know.
//! * [`service`] is the thread with the packet sockets. Where there are none, [`own`] makes frames of what our servers' sockets saw.
//!
//! # Bounds
//!
//! A machine's frames take at most [`ring::HOST_BYTES`] of talk (DHCP, requests, heads of HTTP, logins, the beginnings and ends of
//! connections) and half of it of bulk (blocks, segments of data, acknowledgements), so that an ISO does not push the DHCP of its boot
//! out; the oldest go first. All machines together take at most [`ring::ALL_BYTES`]; the machine that was quiet longest goes first,
//! and before those that boot all that do not. Of data the headers are kept, so that a boot from an iSCSI disk costs what its requests
//! cost: about 60 bytes a segment. What the kernel has no room for is counted and told.

pub mod clip;
pub mod decode;
pub mod file;
pub mod observe;
pub mod own;
pub mod ring;
#[cfg(unix)]
pub mod service;
pub mod view;

#[cfg(test)]
pub(crate) mod testing;

use jiff::Timestamp;

use crate::api::Event;

/// How much nicer than the servers those who write down what is on the wire are.
#[cfg(unix)]
const NICE: i32 = 5;

/// A frame as it is kept: an Ethernet frame, maybe cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Wall time.
    pub time: Timestamp,
    /// This computer sent it; `None` where that is not known.
    pub outgoing: Option<bool>,
    /// Its length on the wire in bytes.
    pub original: u32,
    /// The bytes that are left of it, from the Ethernet header on.
    pub data: Vec<u8>,
    /// What is said of it.
    pub comments: Vec<String>,
}

impl Packet {
    /// What it takes of a ring's bound.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.data.len() + size_of::<Self>()
    }
}

/// An event as a comment: its name and its fields.
#[must_use]
pub fn said(event: &Event) -> String {
    let fields = serde_json::to_value(&event.kind).unwrap_or_default();
    let mut text = event.kind.name();
    for (name, value) in fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "kind") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!(" {name}={}", decode::text(value.as_bytes())));
    }
    text
}

/// For fuzzing: no file and no frame makes any of this panic, and what is read is written and read again as the same.
#[doc(hidden)]
pub fn fuzz_file(data: &[u8]) {
    let Ok(recording) = file::read(data) else { return };
    for packet in &recording.packets {
        let _ = decode::decode(packet);
    }
    let written = file::write(&recording.packets, &recording.comments);
    let again = file::read(&written).map(|r| r.packets);
    assert_eq!(again.ok(), Some(recording.packets.clone()), "a recording changed on its way through a file");
    let _ = observe::record(&recording.packets);
}

/// For fuzzing: a frame, alone.
#[doc(hidden)]
pub fn fuzz_frame(data: &[u8]) {
    let original = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let packet =
        Packet { time: Timestamp::UNIX_EPOCH, outgoing: None, original, data: data.to_vec(), comments: Vec::new() };
    let decoded = decode::decode(&packet);
    assert!(!decoded.line.chars().any(char::is_control), "{:?}", decoded.line);
    // Both ends may be ours, so that all of it is read.
    let ends = match view::read(data, data.len()).map(|view| view.body) {
        Some(view::Body::Ip { from, to, .. }) => vec![from, to],
        _ => Vec::new(),
    };
    let mut clipper = clip::Clipper::new(crate::lab::Ports::default(), ends);
    if let Some(kept) = clipper.clip(data, data.len()) {
        assert!(kept.data.len() <= data.len());
    }
    let _ = observe::record(&[packet]);
}
