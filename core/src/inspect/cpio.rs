//! An initramfs's files, one after the other: cpio archives of the form `newc`, plain ones (microcode) before a compressed one, with
//! zeroes between them, as the kernel takes them (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::io::{self, BufRead, BufReader, Read};

use super::unpack::Packing;
use super::volume::damaged;

/// Bytes of a member's header.
const HEADER: usize = 110;
/// A name is no longer, PATH_MAX.
const LONGEST_NAME: usize = 4096;
/// More members than these, or more bytes, no initramfs has.
const MOST_MEMBERS: u32 = 200_000;
const MOST_BYTES: u64 = 2 << 30;

/// Bounds and a count over all archives of a file.
struct Walk<'a> {
    members: u32,
    bytes: u64,
    each: &'a mut dyn FnMut(&str, u32, &mut dyn Read) -> io::Result<()>,
}

/// Walks through all members: name without a leading `/` or `./`, mode, and the bytes, of which `each` reads what it wants. `pay` is
/// told of unpacked bytes and may end it. Gives how the main archive is packed.
///
/// # Errors
/// The stream's; those of `pay`; `InvalidData` for what is no initramfs; `Unsupported` for a packing that is not read.
pub(super) fn walk(
    packed: impl Read,
    pay: &dyn Fn(u64) -> io::Result<()>,
    each: &mut dyn FnMut(&str, u32, &mut dyn Read) -> io::Result<()>,
) -> io::Result<Option<Packing>> {
    let mut packed = BufReader::with_capacity(64 << 10, packed);
    let mut walk = Walk { members: 0, bytes: 0, each };
    loop {
        skip_zeroes(&mut packed, &mut walk.bytes)?;
        let head = packed.fill_buf()?;
        if head.is_empty() {
            break;
        }
        if let Some(packing) = Packing::of(head) {
            let mut plain = BufReader::with_capacity(64 << 10, Paid { plain: packing.reader(packed)?, pay });
            loop {
                skip_zeroes(&mut plain, &mut walk.bytes)?;
                if plain.fill_buf()?.is_empty() {
                    break;
                }
                walk.archive(&mut plain)?;
            }
            // What a decoder has read ahead is lost, so this is the last one; it is in all initramfs that are made.
            return if walk.members == 0 { Err(damaged("it is empty")) } else { Ok(Some(packing)) };
        }
        walk.archive(&mut packed)?;
    }
    if walk.members == 0 { Err(damaged("it is empty")) } else { Ok(None) }
}

/// Tells of each byte that is read through it.
struct Paid<'a, R> {
    plain: R,
    pay: &'a dyn Fn(u64) -> io::Result<()>,
}

impl<R: Read> Read for Paid<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.plain.read(buf)?;
        (self.pay)(len as u64)?;
        Ok(len)
    }
}

fn skip_zeroes(from: &mut impl BufRead, bytes: &mut u64) -> io::Result<()> {
    loop {
        let have = from.fill_buf()?;
        let zeroes = have.iter().position(|b| *b != 0).unwrap_or(have.len());
        let more = zeroes > 0 && zeroes == have.len();
        from.consume(zeroes);
        *bytes += zeroes as u64;
        if *bytes > MOST_BYTES {
            return Err(damaged("it is far too large"));
        }
        if !more {
            return Ok(());
        }
    }
}

impl Walk<'_> {
    /// One archive, its trailer included.
    fn archive(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        loop {
            let mut header = [0; HEADER];
            from.read_exact(&mut header)?;
            let number = |n: usize| {
                let digits = header.get(6 + 8 * n..14 + 8 * n).and_then(|d| std::str::from_utf8(d).ok());
                digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(|| damaged("this is no cpio archive"))
            };
            if !matches!(header.get(..6), Some(b"070701" | b"070702")) {
                return Err(damaged("this is no cpio archive"));
            }
            let (mode, size, name_len) = (number(1)?, u64::from(number(6)?), number(11)? as usize);
            if name_len == 0 || name_len > LONGEST_NAME {
                return Err(damaged("a name in it is too long"));
            }
            let mut name = vec![0; name_len];
            from.read_exact(&mut name)?;
            pad(from, HEADER + name_len)?;
            name.pop();
            let name = String::from_utf8_lossy(&name).into_owned();
            if name == "TRAILER!!!" {
                return Ok(());
            }
            self.members += 1;
            self.bytes = self.bytes.saturating_add(size + HEADER as u64);
            if self.members > MOST_MEMBERS || self.bytes > MOST_BYTES {
                return Err(damaged("it is far too large"));
            }
            let mut content = from.by_ref().take(size);
            let bare = name.strip_prefix("./").unwrap_or(&name).trim_start_matches('/');
            (self.each)(bare, mode, &mut content)?;
            let rest = content.limit();
            if io::copy(&mut content, &mut io::sink())? != rest {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            pad(from, usize::try_from(size % 4).unwrap_or_default())?;
        }
    }
}

/// Goes on to a multiple of four.
fn pad(from: &mut impl Read, len: usize) -> io::Result<()> {
    let mut padding = [0; 3];
    from.read_exact(padding.get_mut(..len.next_multiple_of(4) - len).unwrap_or_default())
}

/// For fuzzing.
pub(super) fn fuzz(data: &[u8]) {
    let mut members = 0;
    let _damaged_or_not = walk(data, &|_| Ok(()), &mut |name, _, content| {
        members += 1;
        assert!(!name.starts_with('/') && name.len() <= LONGEST_NAME * 3);
        let mut some = Vec::new();
        content.take(64).read_to_end(&mut some).map(drop)
    });
    assert!(members <= MOST_MEMBERS);
}

/// An archive of files, for tests.
#[cfg(test)]
pub(super) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut member = |name: &str, mode: u32, content: &[u8]| {
        let fields = [1, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        out.extend(b"070701");
        out.extend(fields.iter().flat_map(|f| format!("{f:08x}").into_bytes()));
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(content);
        out.resize(out.len().next_multiple_of(4), 0);
    };
    for (name, content) in files {
        member(name, 0o100_644, content);
    }
    member("TRAILER!!!", 0, b"");
    out
}

#[cfg(test)]
#[path = "cpio_tests.rs"]
pub(super) mod tests;
