//! What a disk must hold: for each block what was acknowledged, and what may be there instead because a write of it was cut short.
//!
//! A block is filled with one number, never used twice, so that whatever is found tells where it comes from: the golden image, a write
//! of this machine, or somewhere it must not come from. Zero is a block of zeroes.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Result, bail, ensure};

use crate::client::SECTOR;

/// A block that is filled with a number.
#[must_use]
pub fn block(number: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    for word in bytes.as_chunks_mut().0 {
        *word = number.to_le_bytes();
    }
    bytes
}

/// Blocks that are filled with these numbers.
#[must_use]
pub fn blocks(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(numbers.len() * SECTOR);
    for number in numbers {
        bytes.extend_from_slice(&block(*number));
    }
    bytes
}

/// The number of a golden image's block.
#[must_use]
pub fn golden(lba: u64) -> u64 {
    0x601d << 48 | lba
}

/// The number with which a block is filled; `None` where it is filled with more than one.
fn number(block: &[u8]) -> Option<u64> {
    let (words, _) = block.as_chunks::<8>();
    let (first, rest) = words.split_first()?;
    rest.iter().all(|word| word == first).then(|| u64::from_le_bytes(*first))
}

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    known: Vec<u64>,
    maybe: HashMap<u64, Vec<u64>>,
}

impl Ledger {
    /// A disk that holds this now.
    #[must_use]
    pub fn new(known: Vec<u64>) -> Self {
        Self { known, maybe: HashMap::new() }
    }

    /// Its blocks.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.known.len() as u64
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What it holds, where that is certain.
    #[must_use]
    pub fn known(&self) -> &[u64] {
        &self.known
    }

    fn slots(&mut self, lba: u64, count: usize) -> Result<&mut [u64]> {
        let range = range(lba, count)?;
        let Some(slots) = self.known.get_mut(range) else { bail!("block {lba} is beyond the disk") };
        Ok(slots)
    }

    /// Numbers were written and acknowledged.
    ///
    /// # Errors
    /// The disk has no such blocks.
    pub fn written(&mut self, lba: u64, numbers: &[u64]) -> Result<()> {
        self.slots(lba, numbers.len())?.copy_from_slice(numbers);
        if !self.maybe.is_empty() {
            for lba in lba..lba + numbers.len() as u64 {
                self.maybe.remove(&lba);
            }
        }
        Ok(())
    }

    /// Numbers may have been written: nobody said so.
    pub fn unsure(&mut self, lba: u64, numbers: &[u64]) {
        for (lba, number) in (lba..).zip(numbers) {
            self.maybe.entry(lba).or_default().push(*number);
        }
    }

    /// Compares what was read with what must be there.
    ///
    /// # Errors
    /// A block holds something else: which, and what.
    pub fn check(&self, lba: u64, data: &[u8]) -> Result<()> {
        self.found(lba, data).map(|_| ())
    }

    /// The same; what was found is certain from now on.
    ///
    /// # Errors
    /// As of [`Ledger::check`].
    pub fn settle(&mut self, lba: u64, data: &[u8]) -> Result<()> {
        let found = self.found(lba, data)?;
        self.written(lba, &found)
    }

    fn found(&self, lba: u64, data: &[u8]) -> Result<Vec<u64>> {
        let blocks = data.chunks(SECTOR);
        let known = self.known.get(range(lba, blocks.len())?).unwrap_or_default();
        ensure!(known.len() == blocks.len(), "more was read than there is at block {lba}");
        let mut all = Vec::with_capacity(known.len());
        for ((lba, known), block) in (lba..).zip(known).zip(blocks) {
            let maybe = self.maybe.get(&lba).map(Vec::as_slice).unwrap_or_default();
            match number(block) {
                Some(found) if found == *known || maybe.contains(&found) => all.push(found),
                Some(found) => bail!("block {lba} holds {found:#x} and not {known:#x}, nor one of {maybe:x?}"),
                None => bail!(
                    "block {lba} is torn between {known:#x} and one of {maybe:x?}: {:x?} … {:x?}",
                    block.get(..8).unwrap_or_default(),
                    block.get(SECTOR - 8..).unwrap_or_default()
                ),
            }
        }
        Ok(all)
    }
}

fn range(lba: u64, count: usize) -> Result<Range<usize>> {
    let lba = usize::try_from(lba)?;
    Ok(lba..lba + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_pass_and_a_third_thing_does_not() -> Result<()> {
        let mut ledger = Ledger::new((0..8).map(golden).collect());
        ledger.written(2, &[77, 78])?;
        ledger.unsure(3, &[90, 91]);
        let seen = |numbers: &[u64]| ledger.check(2, &blocks(numbers)).map_err(|e| e.to_string());
        assert_eq!(seen(&[77, 78, golden(4)]), Ok(()));
        assert_eq!(seen(&[77, 90, 91]), Ok(()));
        assert!(seen(&[77, 91]).is_err_and(|e| e.contains("block 3 holds 0x5b")), "its neighbour's");
        assert!(seen(&[golden(2), 78]).is_err_and(|e| e.contains("block 2")), "an acknowledged write is lost");
        let mut torn = blocks(&[77, 78]);
        torn.truncate(700);
        torn.extend(&block(90)[..324]);
        assert!(ledger.check(2, &torn).is_err_and(|e| e.to_string().contains("torn")));

        ledger.settle(2, &blocks(&[77, 90]))?;
        assert!(ledger.check(3, &block(78)).is_err(), "once seen, it stays");
        assert!(ledger.check(7, &blocks(&[golden(7), golden(8)])).is_err(), "beyond its end");
        Ok(())
    }
}
