//! Directories of XFS: short ones within the inode, and those of blocks, leaves or nodes, whose names are all in their data blocks.

use std::io;

use super::source::Numbers;
use super::volume::{MOST_ENTRIES, damaged};
use super::xfs::{Extent, Xfs};

/// Bytes of a data block's header, `xfs_dir3_data_hdr`.
const HEADER: usize = 64;

/// Names in a directory that fits into its inode.
pub(super) fn short(bytes: &[u8], ftype: bool) -> Vec<(String, u64)> {
    let read = || {
        let count = usize::from(bytes.byte(0)?);
        let wide = bytes.byte(1)? > 0;
        let number = if wide { 8 } else { 4 };
        let mut at = 2 + number;
        let mut names = Vec::new();
        for _ in 0..count {
            let len = usize::from(bytes.byte(at)?);
            let name = bytes.some(at + 3, len)?;
            at += 3 + len + usize::from(ftype);
            let inode = if wide { bytes.be64(at)? } else { u64::from(bytes.be32(at)?) };
            at += number;
            names.extend(String::from_utf8(name.to_vec()).ok().map(|name| (name, inode)));
        }
        Some(names)
    };
    read().unwrap_or_default()
}

/// Names in a directory of blocks: those before `until`, bytes of the directory.
pub(super) fn blocks(xfs: &Xfs, extents: &[Extent], until: u64) -> io::Result<Vec<(String, u64)>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < until {
        // A hole in a directory is nothing.
        let block = at / xfs.block;
        match extents.iter().find(|e| e.last() > block) {
            None => break,
            Some(extent) if extent.offset > block => {
                let next = extent.offset.saturating_mul(xfs.block) / xfs.dir_block * xfs.dir_block;
                at = next.max(at + xfs.dir_block);
                continue;
            }
            Some(_) => {}
        }
        let mut bytes = vec![0; usize::try_from(xfs.dir_block).unwrap_or_default()];
        xfs.read_extents(extents, at, &mut bytes)?;
        data_block(&bytes, xfs.ftype, &mut names).ok_or_else(|| damaged("a folder contradicts itself"))?;
        if names.len() > MOST_ENTRIES {
            break;
        }
        at += xfs.dir_block;
    }
    Ok(names)
}

fn data_block(bytes: &[u8], ftype: bool, names: &mut Vec<(String, u64)>) -> Option<()> {
    let end = match bytes.get(..4)? {
        b"XDD3" => bytes.len(),
        // A directory of one block has its leaves at that block's end, behind which their count is.
        b"XDB3" => {
            let leaves = usize::try_from(bytes.be32(bytes.len().checked_sub(8)?)?).ok()?;
            bytes.len().checked_sub(8)?.checked_sub(leaves.checked_mul(8)?)?
        }
        _ => return None,
    };
    let mut at = HEADER;
    while at < end {
        if bytes.be16(at)? == 0xffff {
            let len = usize::from(bytes.be16(at + 2)?);
            if len == 0 {
                return None;
            }
            at += len;
            continue;
        }
        let (inode, len) = (bytes.be64(at)?, usize::from(bytes.byte(at + 8)?));
        let name = bytes.some(at + 9, len)?;
        names.extend(String::from_utf8(name.to_vec()).ok().map(|name| (name, inode)));
        at += (9 + len + usize::from(ftype) + 2).next_multiple_of(8);
    }
    Some(())
}
