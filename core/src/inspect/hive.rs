//! A file of the Windows registry, read-only and in memory (the format as documented in `libregf` and by Maxim Suhanov). Our own: the
//! crates for it are under licences that this program cannot take, or far larger than the few keys that are asked for.

use super::source::Numbers;

/// Offsets count from here.
const BASE: usize = 4096;
/// A list of keys is a list of lists at most.
const DEEPEST: u8 = 2;
/// More keys below one than these are not looked at, nor more values.
const MOST_KEYS: u32 = 5_000;
const MOST_VALUES: usize = 256;

/// A hive.
#[derive(Debug)]
pub(super) struct Hive<'a>(&'a [u8]);

/// A key: its cell's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    hive: &'a [u8],
    cell: &'a [u8],
}

impl<'a> Hive<'a> {
    /// `None`: this is none.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.get(..4)? == b"regf" && bytes.len() > BASE).then_some(Self(bytes))
    }

    pub(super) fn root(&self) -> Option<Key<'a>> {
        Key::at(self.0, self.0.le32(36)?)
    }

    /// The key at a path of names with `\` between them.
    pub(super) fn key(&self, path: &str) -> Option<Key<'a>> {
        path.split('\\').try_fold(self.root()?, |key, name| key.child(name))
    }
}

/// What is in a cell.
fn cell(hive: &[u8], offset: u32) -> Option<&[u8]> {
    let at = BASE.checked_add(usize::try_from(offset).ok()?)?;
    // In use: its size is negative.
    let size = i32::from_le_bytes(hive.some(at, 4)?.try_into().ok()?).checked_neg()?;
    let size = usize::try_from(size).ok()?.checked_sub(4)?;
    hive.some(at + 4, size)
}

fn name(bytes: &[u8], narrow: bool) -> String {
    if narrow {
        return bytes.iter().map(|b| char::from(*b)).collect();
    }
    String::from_utf16_lossy(&bytes.chunks_exact(2).filter_map(|b| b.le16(0)).collect::<Vec<_>>())
}

impl<'a> Key<'a> {
    fn at(hive: &'a [u8], offset: u32) -> Option<Self> {
        let cell = cell(hive, offset)?;
        (cell.get(..2)? == b"nk").then_some(Self { hive, cell })
    }

    pub(super) fn name(&self) -> Option<String> {
        let len = usize::from(self.cell.le16(72)?);
        Some(name(self.cell.some(76, len)?, self.cell.le16(2)? & 0x20 != 0))
    }

    /// The keys below it.
    pub(super) fn children(&self) -> Vec<Self> {
        let mut keys = Vec::new();
        if self.cell.le32(20).is_some_and(|count| count > 0)
            && let Some(list) = self.cell.le32(28)
        {
            self.list(list, DEEPEST, &mut { MOST_KEYS }, &mut keys);
        }
        keys
    }

    fn list(&self, offset: u32, depth: u8, left: &mut u32, keys: &mut Vec<Self>) -> Option<()> {
        let list = cell(self.hive, offset)?;
        let (kind, count) = (list.get(..2)?, usize::from(list.le16(2)?));
        let step = if matches!(kind, b"lf" | b"lh") { 8 } else { 4 };
        for n in 0..count {
            let offset = list.le32(4 + n * step)?;
            // Lists of lists of the same lists end, too.
            *left = left.checked_sub(1)?;
            match kind {
                b"ri" if depth > 0 => drop(self.list(offset, depth - 1, left, keys)),
                b"lf" | b"lh" | b"li" => keys.extend(Self::at(self.hive, offset)),
                _ => return None,
            }
        }
        Some(())
    }

    pub(super) fn child(&self, wanted: &str) -> Option<Self> {
        self.children().into_iter().find(|key| key.name().is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
    }

    /// A value's type and bytes. Those of many kilobytes, which are in pieces, are not read.
    fn value(&self, wanted: &str) -> Option<(u32, Vec<u8>)> {
        let count = usize::try_from(self.cell.le32(36)?).ok()?.min(MOST_VALUES);
        let list = cell(self.hive, self.cell.le32(40)?)?;
        (0..count).find_map(|n| {
            let value = cell(self.hive, list.le32(n * 4)?)?;
            if value.get(..2)? != b"vk" {
                return None;
            }
            let named = name(value.some(20, usize::from(value.le16(2)?))?, value.le16(16)? & 1 != 0);
            if !named.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let (len, kind) = (value.le32(4)?, value.le32(12)?);
            let within = len & 0x8000_0000 != 0;
            let len = usize::try_from(len & 0x7fff_ffff).ok()?;
            let bytes =
                if within { value.some(8, len.min(4))? } else { cell(self.hive, value.le32(8)?)?.get(..len)? };
            Some((kind, bytes.to_vec()))
        })
    }

    /// A REG_DWORD.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.value(name).filter(|(kind, _)| *kind == 4)?.1.le32(0)
    }

    /// A REG_SZ or REG_EXPAND_SZ.
    pub(super) fn text(&self, wanted: &str) -> Option<String> {
        let (_, bytes) = self.value(wanted).filter(|(kind, _)| matches!(kind, 1 | 2))?;
        Some(name(&bytes, false).trim_end_matches('\0').to_owned())
    }
}

/// For fuzzing.
pub(super) fn fuzz(data: &[u8]) {
    let _whatever_it_is = super::windows::read_system(data);
    let Some(hive) = Hive::new(data) else { return };
    for key in hive.root().map(|root| root.children()).unwrap_or_default() {
        let _named = (key.name(), key.number("Start"), key.text("Group"));
    }
}

/// A hive out of keys and values, for tests.
#[cfg(test)]
#[path = "hive_maker.rs"]
pub(super) mod maker;

#[cfg(test)]
#[path = "hive_tests.rs"]
pub(super) mod tests;
