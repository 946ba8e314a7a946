//! An overlay's memory of which blocks are its own, and how it survives a killed process and a cut of power.
//!
//! Two files beside the data:
//!
//! * `map` is the truth after a cut of power. A page of it is written only when the data that it speaks of has been made durable, so
//!   that it never runs ahead of the data, and always into the older of its two slots, so that a torn page leaves the one before.
//! * `live` is the truth as long as the kernel that took the writes lives: it is written at once, after the data and before the
//!   write is acknowledged, and is believed only in the same boot of the kernel, on the same attachment of the disk. There the page
//!   cache has kept all that a killed process had written, unless a flush failed.
//!
//! ```text
//! map:   header (4096) | page 0 slot 0 | page 0 slot 1 | page 1 slot 0 | …     a slot is 4096 bytes:
//!                        CRC-32C of the rest (4) | page number (4) | sequence (8) | states, two bits a block (4080)
//! live:  header (4096) | states of all blocks
//! ```
//! Numbers are little endian. A slot of zeroes was never written.

use std::io;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::states::{PAYLOAD, States};
use super::storage::Storage;

/// Bytes of a block: what is copied from the image when a part of it is first written.
pub(super) const BLOCK: u64 = 4096;
const PAGE: usize = 4096;
const MAP_MAGIC: &[u8; 8] = b"BYOVLMAP";
const LIVE_MAGIC: &[u8; 8] = b"BYOVLIVE";
const VERSION: u32 = 1;
/// No attachment is called so.
const LOST: &str = "lost";

/// Where a block's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In the image.
    Base,
    /// In the overlay's data, all of it.
    Own,
    /// Nowhere: it reads as zeroes.
    Zero,
}

impl State {
    pub(super) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Base,
            2 => Self::Zero,
            // 3 is never written; a page with it has a wrong CRC.
            _ => Self::Own,
        }
    }

    pub(super) fn bits(self) -> u8 {
        match self {
            Self::Base => 0,
            Self::Own => 1,
            Self::Zero => 2,
        }
    }
}

/// What an overlay is of. Never changes; the first 4096 bytes of `map`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Header {
    /// The image's UUID.
    pub image: uuid::Uuid,
    /// Its generation.
    pub generation: u64,
    /// Its BLAKE3 hash in hexadecimal.
    pub blake3: String,
    /// The disk's bytes.
    pub size: u64,
    /// Bytes of a block.
    pub block: u64,
    /// The boot epoch; `None` for a kept overlay.
    pub epoch: Option<u64>,
    /// Whose.
    pub key: super::OverlayKey,
    /// The name shown for it.
    pub label: String,
}

impl Header {
    /// As the first page of `map`.
    pub(super) fn encode(&self) -> io::Result<[u8; PAGE]> {
        head_page(MAP_MAGIC, &serde_json::to_vec(self)?)
    }

    /// From the first page of `map`; the error says in what way it is damaged.
    pub(super) fn decode(page: &[u8; PAGE]) -> Result<Self, String> {
        let header: Self = read_head(MAP_MAGIC, page)
            .and_then(|json| serde_json::from_slice(json).map_err(|e| format!("its header is not understood: {e}")))?;
        if header.block != BLOCK || header.size == 0 || !header.size.is_multiple_of(super::SECTOR) {
            return Err(format!("its header names blocks of {} and a size of {} bytes", header.block, header.size));
        }
        Ok(header)
    }
}

/// The first page of `live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LiveHeader {
    /// Boot of the kernel and attachment of the disk in which it may be believed.
    attachment: String,
    /// Closed in order: both files say the same and no page may be torn.
    clean: bool,
}

fn head_page(magic: &[u8; 8], json: &[u8]) -> io::Result<[u8; PAGE]> {
    let mut page = [0; PAGE];
    let mut body = Vec::with_capacity(PAGE);
    body.extend_from_slice(magic);
    body.extend_from_slice(&VERSION.to_le_bytes());
    body.extend_from_slice(&u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes());
    body.extend_from_slice(json);
    let (head, crc) = page.split_at_mut(PAGE - 4);
    head.get_mut(..body.len())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the overlay's header is too long"))?
        .copy_from_slice(&body);
    crc.copy_from_slice(&crc32c::crc32c(head).to_le_bytes());
    Ok(page)
}

fn read_head<'a>(magic: &[u8; 8], page: &'a [u8; PAGE]) -> Result<&'a [u8], String> {
    let (head, crc) = page.split_at(PAGE - 4);
    if !head.starts_with(magic) {
        return Err("it does not begin as an overlay's map does".into());
    }
    if crc32c::crc32c(head).to_le_bytes() != *crc {
        return Err("its header has a wrong checksum".into());
    }
    let version = u32_at(head, 8);
    if version != VERSION {
        return Err(format!("it is of version {version}, and this Bootyard knows {VERSION}"));
    }
    let len = u32_at(head, 12) as usize;
    head.get(16..).and_then(|rest| rest.get(..len)).ok_or_else(|| "its header lies about its length".into())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Why a map was not opened.
#[derive(Debug)]
pub(super) enum MapError {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for MapError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Bytes that `map` and `live` of a disk have.
pub(super) fn file_sizes(size: u64) -> (u64, u64) {
    let bytes = size.div_ceil(BLOCK).div_ceil(4);
    let page = PAGE as u64;
    (page + bytes.div_ceil(PAYLOAD as u64) * 2 * page, page + bytes)
}

/// The states of all blocks, in memory and in both files.
#[derive(Debug)]
pub(super) struct Map {
    blocks: u64,
    states: States,
    /// Pages that differ from what `map` has.
    dirty: Vec<bool>,
    /// Sequence of the newest slot of each page; its low bit is the slot.
    sequence: Vec<u64>,
    /// Bytes of the states that `live` may have otherwise, because a write of it failed half way.
    stale: Option<Range<usize>>,
}

/// A page as it was when a flush began.
#[derive(Debug)]
pub(super) struct PageCopy {
    index: usize,
    sequence: u64,
    slot: [u8; PAGE],
}

impl Map {
    /// Of a new overlay: all is the image's. Writes `live`'s header; the files must be new, of the right size and all zeroes.
    pub(super) fn create(map: &dyn Storage, live: &dyn Storage, header: &Header, attachment: &str) -> io::Result<Self> {
        map.write_at(&header.encode()?, 0)?;
        write_live_header(live, attachment, false)?;
        map.sync()?;
        live.sync()?;
        Ok(Self::empty(header.size))
    }

    fn empty(size: u64) -> Self {
        let blocks = size.div_ceil(BLOCK);
        let states = States::new(blocks);
        let pages = states.pages();
        Self { blocks, states, dirty: vec![false; pages], sequence: vec![0; pages], stale: None }
    }

    /// Of an overlay that exists. `live` decides in the boot that wrote it, `map` in any other.
    pub(super) fn open(
        map: &dyn Storage,
        live: &dyn Storage,
        header: &Header,
        attachment: &str,
    ) -> Result<Self, MapError> {
        let mut page = [0; PAGE];
        live.read_at(&mut page, 0)?;
        // Torn by a cut of power it is as good as none.
        let said: Option<LiveHeader> =
            read_head(LIVE_MAGIC, &page).ok().and_then(|json| serde_json::from_slice(json).ok());
        let trusted = said.as_ref().is_some_and(|l| l.attachment == attachment);
        let clean = said.is_some_and(|l| l.clean);

        let mut this = Self::empty(header.size);
        let bad = this.load(map, !trusted && clean)?;
        if let (false, Some(page)) = (trusted, bad.first()) {
            return Err(MapError::Damaged(format!("page {page} of its map has a wrong checksum")));
        }
        for page in bad {
            // `live` has all, so the page is only one to be written again.
            map.write_at(&[0; PAGE], (PAGE + page * 2 * PAGE) as u64)?;
            mark(&mut this.dirty, page);
        }
        if trusted {
            // A killed process may have written pages and not synced them; from here on they count as written.
            map.sync()?;
        }
        let mut buffer = [0; PAYLOAD];
        for index in 0..this.states.pages() {
            let known = this.states.page(index);
            let lived = buffer.get_mut(..known.len()).unwrap_or_default();
            let at = index * PAYLOAD;
            live.read_at(lived, (PAGE + at) as u64)?;
            if lived == known {
                continue;
            }
            if trusted {
                mark(&mut this.dirty, index);
                let _within = this.states.put(at, lived);
            } else {
                live.write_at(known, (PAGE + at) as u64)?;
            }
        }
        write_live_header(live, attachment, false)?;
        live.sync()?;
        Ok(this)
    }

    /// The kernel has lost something of what it was given: from the next opening on `map` decides, in the same boot, too.
    pub(super) fn distrust(live: &dyn Storage) -> io::Result<()> {
        write_live_header(live, LOST, false)
    }

    /// Reads every page's newer slot and gives the pages that have none. `whole`: no slot may be torn.
    fn load(&mut self, map: &dyn Storage, whole: bool) -> io::Result<Vec<usize>> {
        let mut bad = Vec::new();
        let mut both = [0; 2 * PAGE];
        for (index, sequence) in self.sequence.iter_mut().enumerate() {
            map.read_at(&mut both, (PAGE + index * 2 * PAGE) as u64)?;
            let (first, second) = both.split_at(PAGE);
            let slots = [read_slot(first, index, 0), read_slot(second, index, 1)];
            let torn = slots.contains(&None);
            let newest = slots.into_iter().flatten().max_by_key(|(sequence, _)| *sequence);
            match newest {
                Some((seq, payload)) if !(whole && torn) => {
                    *sequence = seq;
                    if let Some(payload) = payload.get(..self.states.page(index).len()) {
                        let _within = self.states.put(index * PAYLOAD, payload);
                    }
                    if torn {
                        // Its next sequence goes into the torn slot.
                        mark(&mut self.dirty, index);
                    }
                }
                _ => bad.push(index),
            }
        }
        Ok(bad)
    }

    /// The disk has now `size` bytes; both files are long enough.
    pub(super) fn grow(&mut self, size: u64) {
        self.blocks = size.div_ceil(BLOCK);
        self.states.grow(self.blocks);
        self.dirty.resize(self.states.pages(), false);
        self.sequence.resize(self.states.pages(), 0);
    }

    /// Where `block` is.
    pub(super) fn state(&self, block: u64) -> State {
        self.states.state(block)
    }

    /// Where `block` is and the first block after it, below `end`, that is elsewhere.
    pub(super) fn run(&self, block: u64, end: u64) -> (State, u64) {
        self.states.run(block, end.min(self.blocks))
    }

    /// The blocks of `range` are now in `state`: in `live`, then here. An error leaves them as they were.
    pub(super) fn set(&mut self, live: &dyn Storage, range: Range<u64>, state: State) -> io::Result<()> {
        if let Some(stale) = self.stale.clone() {
            let states = self.states.copy(stale.clone()).unwrap_or_default();
            live.write_at(&states, (PAGE + stale.start) as u64)?;
            self.stale = None;
        }
        if range.is_empty() || self.run(range.start, range.end) == (state, range.end) {
            return Ok(());
        }
        let from = usize::try_from(range.start / 4).unwrap_or(usize::MAX);
        let to = usize::try_from(range.end.div_ceil(4)).unwrap_or(usize::MAX);
        let out_of_range = || io::Error::new(io::ErrorKind::InvalidInput, "blocks past the end of the map");
        let mut bytes = self.states.copy(from..to).ok_or_else(out_of_range)?;
        let last = bytes.len() - 1;
        for (at, byte) in bytes.iter_mut().enumerate() {
            if at > 0 && at < last {
                *byte = state.bits() * 0b0101_0101;
                continue;
            }
            for shift in 0..4 {
                if range.contains(&((from + at) as u64 * 4 + shift)) {
                    *byte = *byte & !(3 << (shift * 2)) | state.bits() << (shift * 2);
                }
            }
        }
        live.write_at(&bytes, (PAGE + from) as u64).inspect_err(|_| self.stale = Some(from..to))?;
        let _within = self.states.put(from, &bytes);
        for page in from / PAYLOAD..=(to - 1) / PAYLOAD {
            mark(&mut self.dirty, page);
        }
        Ok(())
    }

    /// Copies of the pages that `map` does not have yet; they count as written from now on, or are given back to [`Map::again`].
    pub(super) fn take_dirty(&mut self) -> Vec<PageCopy> {
        let mut copies = Vec::new();
        for (index, (dirty, sequence)) in self.dirty.iter_mut().zip(&mut self.sequence).enumerate() {
            if std::mem::take(dirty) {
                *sequence += 1;
                let slot = slot(index, *sequence, self.states.page(index));
                copies.push(PageCopy { index, sequence: *sequence, slot });
            }
        }
        copies
    }

    /// These were not written after all. Their slot is used again, so that the last good one is never overwritten.
    pub(super) fn again(&mut self, copies: &[PageCopy]) {
        for copy in copies {
            mark(&mut self.dirty, copy.index);
            if let Some(sequence) = self.sequence.get_mut(copy.index) {
                *sequence = copy.sequence - 1;
            }
        }
    }

    /// Writes pages into `map`, each into the older of its slots. Only after the data of which they speak is durable.
    pub(super) fn write(map: &dyn Storage, copies: &[PageCopy]) -> io::Result<()> {
        for copy in copies {
            let slot = copy.index * 2 + usize::from(!copy.sequence.is_multiple_of(2));
            map.write_at(&copy.slot, (PAGE + slot * PAGE) as u64)?;
        }
        map.sync()
    }

    /// Both files say the same, durably.
    pub(super) fn close(live: &dyn Storage, attachment: &str) -> io::Result<()> {
        write_live_header(live, attachment, true)?;
        live.sync()
    }
}

fn mark(dirty: &mut [bool], page: usize) {
    if let Some(dirty) = dirty.get_mut(page) {
        *dirty = true;
    }
}

fn write_live_header(live: &dyn Storage, attachment: &str, clean: bool) -> io::Result<()> {
    let json = serde_json::to_vec(&LiveHeader { attachment: attachment.to_owned(), clean })?;
    live.write_at(&head_page(LIVE_MAGIC, &json)?, 0)
}

fn slot(index: usize, sequence: u64, states: &[u8]) -> [u8; PAGE] {
    let mut slot = [0; PAGE];
    let (crc, rest) = slot.split_at_mut(4);
    let mut body = Vec::with_capacity(PAGE - 4);
    body.extend_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_le_bytes());
    body.extend_from_slice(&sequence.to_le_bytes());
    body.extend_from_slice(states);
    body.resize(PAGE - 4, 0);
    rest.copy_from_slice(&body);
    crc.copy_from_slice(&crc32c::crc32c(rest).to_le_bytes());
    slot
}

/// A slot's sequence and states; sequence 0 for one that was never written; `None` for a torn one.
fn read_slot(slot: &[u8], index: usize, which: u64) -> Option<(u64, &[u8])> {
    let (crc, rest) = slot.split_at_checked(4)?;
    let payload = rest.get(12..)?;
    if slot.iter().all(|b| *b == 0) {
        return Some((0, payload));
    }
    let sequence = u64_at(rest, 4);
    let right = crc32c::crc32c(rest).to_le_bytes() == *crc
        && u32_at(rest, 0) as usize == index
        && sequence > 0
        && sequence % 2 == which;
    right.then_some((sequence, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::OverlayKey;

    fn header() -> Header {
        Header {
            image: uuid::Uuid::nil(),
            generation: 1,
            blake3: "00".repeat(32),
            size: 1 << 20,
            block: BLOCK,
            epoch: Some(3),
            key: OverlayKey::Initiator("iqn.2001-04.com.example:a".into()),
            label: "a".into(),
        }
    }

    #[test]
    fn a_header_survives_the_way_to_the_disk_and_damage_is_seen() {
        let page = header().encode().unwrap();
        assert_eq!(Header::decode(&page).unwrap(), header());
        for at in [0, 9, 13, 40, 4095] {
            let mut broken = page;
            broken[at] ^= 0x10;
            assert!(Header::decode(&broken).is_err(), "{at}");
        }
    }

    #[test]
    fn a_slot_knows_its_page_its_place_and_its_sequence() {
        let states = [0x15; PAYLOAD];
        let bytes = slot(7, 3, &states);
        assert_eq!(read_slot(&bytes, 7, 1).unwrap().0, 3);
        assert_eq!(read_slot(&bytes, 7, 1).unwrap().1, states);
        assert!(read_slot(&bytes, 8, 1).is_none());
        assert!(read_slot(&bytes, 7, 0).is_none());
        assert_eq!(read_slot(&[0; PAGE], 7, 0).unwrap().0, 0);
        let mut torn = bytes;
        torn[2048..].fill(0);
        assert!(read_slot(&torn, 7, 1).is_none());
    }
}
