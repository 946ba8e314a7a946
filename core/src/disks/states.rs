//! Where each block of an overlay is, two bits a block, in memory: pages come into being where something was written, so that an
//! overlay costs what its changed regions need and not what the disk is long.

use std::ops::Range;

use super::map::State;

/// Bytes of a page; 16320 blocks.
pub(super) const PAYLOAD: usize = 4080;
/// Blocks of a page.
const PAGE_BLOCKS: u64 = PAYLOAD as u64 * 4;
const EMPTY: [u8; PAYLOAD] = [0; PAYLOAD];

/// The states of all blocks.
#[derive(Debug)]
pub(super) struct States {
    /// Bytes, were they all there.
    len: usize,
    /// A page that is absent is zeroes: all its blocks are the image's.
    pages: Vec<Option<Box<[u8; PAYLOAD]>>>,
}

impl States {
    /// Of so many blocks, all the image's.
    pub(super) fn new(blocks: u64) -> Self {
        let len = usize::try_from(blocks.div_ceil(4)).unwrap_or(usize::MAX);
        Self { len, pages: vec![None; len.div_ceil(PAYLOAD)] }
    }

    /// Pages, present or not.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// The bytes of a page; the last one may be short.
    pub(super) fn page(&self, index: usize) -> &[u8] {
        let page = self.pages.get(index).and_then(Option::as_deref).unwrap_or(&EMPTY);
        let len = self.len.saturating_sub(index * PAYLOAD).min(PAYLOAD);
        page.get(..len).unwrap_or_default()
    }

    /// Replaces bytes; `false`, and nothing is done, where there are none.
    #[must_use]
    pub(super) fn put(&mut self, at: usize, mut bytes: &[u8]) -> bool {
        if at.checked_add(bytes.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        let (mut index, mut within) = (at / PAYLOAD, at % PAYLOAD);
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(PAYLOAD - within));
            if let Some(page) = self.pages.get_mut(index)
                && (page.is_some() || part.iter().any(|byte| *byte != 0))
            {
                let page = page.get_or_insert_with(|| Box::new(EMPTY));
                if let Some(to) = page.get_mut(within..within + part.len()) {
                    to.copy_from_slice(part);
                }
            }
            (bytes, index, within) = (rest, index + 1, 0);
        }
        true
    }

    /// A copy of some bytes; `None` where there are none.
    pub(super) fn copy(&self, range: Range<usize>) -> Option<Vec<u8>> {
        if range.end > self.len {
            return None;
        }
        let mut bytes = Vec::with_capacity(range.len());
        let mut at = range.start;
        while at < range.end {
            let within = at % PAYLOAD;
            let part = self.page(at / PAYLOAD).get(within..(within + range.end - at).min(PAYLOAD))?;
            bytes.extend_from_slice(part);
            at += part.len();
        }
        Some(bytes)
    }

    fn byte(&self, at: usize) -> u8 {
        let page = self.pages.get(at / PAYLOAD).and_then(Option::as_deref);
        page.and_then(|page| page.get(at % PAYLOAD)).copied().unwrap_or(0)
    }

    /// Where `block` is.
    pub(super) fn state(&self, block: u64) -> State {
        let byte = usize::try_from(block / 4).map_or(0, |at| self.byte(at));
        State::from_bits(byte >> (block % 4 * 2))
    }

    /// Where `block` is and the first block after it, below `end`, that is elsewhere.
    pub(super) fn run(&self, block: u64, end: u64) -> (State, u64) {
        let state = self.state(block);
        let same = state.bits() * 0b0101_0101;
        let absent = |block: u64| {
            let index = usize::try_from(block / PAGE_BLOCKS).ok();
            index.and_then(|index| self.pages.get(index)).is_none_or(Option::is_none)
        };
        let mut next = block + 1;
        while next < end {
            if state == State::Base && absent(next) {
                next = (next / PAGE_BLOCKS + 1) * PAGE_BLOCKS;
            } else if next.is_multiple_of(4) && next + 4 <= end && self.byte((next / 4) as usize) == same {
                // Four blocks at once where a whole byte is the same.
                next += 4;
            } else if self.state(next) == state {
                next += 1;
            } else {
                break;
            }
        }
        (state, next.min(end).max(block + 1))
    }

    /// Bytes of memory.
    #[cfg(test)]
    fn memory(&self) -> usize {
        self.pages.len() * size_of::<Option<Box<[u8; PAYLOAD]>>>() + self.pages.iter().flatten().count() * PAYLOAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_of_a_large_disk_needs_memory_only_where_it_was_written() {
        let blocks = (64_u64 << 30) / 4096;
        let mut states = States::new(blocks);
        assert!(states.memory() < 16 << 10, "{}", states.memory());
        assert_eq!(states.run(5, blocks), (State::Base, blocks));
        assert!(states.put(0, &[0; 3 * PAYLOAD]), "what is the image's already needs none");
        assert!(states.put(2 * PAYLOAD - 1, &[0b01_01_01_01, 0b10_01_01_01]));
        assert!(states.memory() < 32 << 10, "{}", states.memory());
        let first = (2 * PAYLOAD as u64 - 1) * 4;
        assert_eq!(states.run(0, blocks), (State::Base, first));
        assert_eq!(states.run(first, blocks), (State::Own, first + 7), "a run goes on in the next page");
        assert_eq!(states.run(first, first + 2), (State::Own, first + 2));
        assert_eq!(states.run(first + 7, blocks), (State::Zero, first + 8));
        assert_eq!(states.run(first + 8, blocks), (State::Base, blocks));
        assert_eq!(states.copy(2 * PAYLOAD - 2..2 * PAYLOAD + 2), Some(vec![0, 0x55, 0x95, 0]));
    }

    #[test]
    fn there_is_nothing_past_the_end() {
        let mut states = States::new(10);
        assert_eq!((states.pages(), states.page(0).len(), states.page(1).len()), (1, 3, 0));
        assert!(!states.put(2, &[1, 1]) && !states.put(usize::MAX, &[1]));
        assert_eq!(states.copy(2..4), None);
        assert_eq!(states.run(9, 10), (State::Base, 10));
        assert_eq!(states.state(u64::MAX), State::Base);
    }
}
