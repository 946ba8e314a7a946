//! The open file of one transfer: reads a range of it as the client's mode represents it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::netascii;
use super::wire::Mode;
use crate::net::Stamp;

/// Raw bytes between two marks of a text's index.
const STRIDE: usize = 64 * 1024;

/// An open file, which must stay what it was when it was opened.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    stamp: Stamp,
    raw: u64,
    total: u64,
    /// Netascii: where each stride of the raw file begins in the converted one.
    marks: Option<Vec<u64>>,
}

impl Source {
    /// Opens `path`; reads the whole of it once if it is to be converted.
    pub(super) fn open(path: &Path, mode: Mode) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        // Advice only: without it the file is just read ahead less.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        let stamp = Stamp::of(&meta);
        let mut source = Self { file, stamp, raw: meta.len(), total: meta.len(), marks: None };
        if mode == Mode::Netascii {
            source.index()?;
        }
        Ok(source)
    }

    fn index(&mut self) -> io::Result<()> {
        let mut marks = Vec::new();
        let mut buf = vec![0; STRIDE];
        let (mut at, mut total) = (0, 0);
        while at < self.raw {
            let take = usize::try_from(self.raw - at).unwrap_or(STRIDE).min(STRIDE);
            let part = buf.get_mut(..take).unwrap_or_default();
            self.file.read_exact_at(part, at)?;
            marks.push(total);
            total += netascii::encoded_len(part);
            at += take as u64;
        }
        self.total = total;
        self.marks = Some(marks);
        Ok(())
    }

    /// Bytes as the client gets them.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Makes `buf` the `len` bytes from `offset`, both in bytes as the client gets them.
    ///
    /// # Errors
    /// The disk's; or the file was written into since it was opened: bytes of two boot files must not become one.
    pub(super) fn read(&self, offset: u64, len: usize, buf: &mut Vec<u8>) -> io::Result<()> {
        self.fetch(offset, len, buf)?;
        if self.stamp.rewritten(&Stamp::of(&self.file.metadata()?)) {
            return Err(io::Error::other("it was changed while it was sent"));
        }
        Ok(())
    }

    fn fetch(&self, offset: u64, len: usize, buf: &mut Vec<u8>) -> io::Result<()> {
        let Some(marks) = &self.marks else {
            buf.resize(len, 0);
            return self.file.read_exact_at(buf, offset);
        };
        buf.clear();
        if len == 0 {
            return Ok(());
        }
        let stride = marks.partition_point(|mark| *mark <= offset).saturating_sub(1);
        let skip = usize::try_from(offset - marks.get(stride).copied().unwrap_or_default()).unwrap_or(usize::MAX);
        let mut at = stride as u64 * STRIDE as u64;
        let mut raw = vec![0; STRIDE];
        while buf.len() < skip.saturating_add(len) && at < self.raw {
            let take = usize::try_from(self.raw - at).unwrap_or(STRIDE).min(STRIDE);
            let part = raw.get_mut(..take).unwrap_or_default();
            self.file.read_exact_at(part, at)?;
            netascii::encode(part, buf);
            at += take as u64;
        }
        if buf.len() < skip.saturating_add(len) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has become shorter"));
        }
        buf.drain(..skip);
        buf.truncate(len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_anywhere_and_stays_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        let raw: Vec<u8> = (0..200_000u32)
            .map(|i| {
                if i % 7 == 0 {
                    b'\n'
                } else if i % 11 == 0 {
                    b'\r'
                } else {
                    b'x'
                }
            })
            .collect();
        std::fs::write(&path, &raw).unwrap();
        let source = Source::open(&path, Mode::Netascii).unwrap();
        let mut whole = Vec::new();
        netascii::encode(&raw, &mut whole);
        assert_eq!(source.total(), whole.len() as u64);
        let (mut got, mut buf) = (Vec::new(), Vec::new());
        while got.len() < whole.len() {
            let len = 1468.min(whole.len() - got.len());
            source.read(got.len() as u64, len, &mut buf).unwrap();
            got.extend_from_slice(&buf);
        }
        assert_eq!(got, whole);
    }

    #[test]
    fn a_file_that_is_written_into_is_not_sent_on_and_one_that_is_replaced_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nbp");
        std::fs::write(&path, [1; 4096]).unwrap();
        let source = Source::open(&path, Mode::Octet).unwrap();
        let mut buf = Vec::new();
        source.read(0, 1024, &mut buf).unwrap();
        std::fs::write(dir.path().join("new"), [2; 4096]).unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        source.read(1024, 1024, &mut buf).unwrap();
        assert_eq!(buf, [1; 1024], "the old file as long as it is read");
        let source = Source::open(&path, Mode::Octet).unwrap();
        // Older kernels count times in ticks.
        std::thread::sleep(std::time::Duration::from_millis(20));
        File::options().write(true).open(&path).unwrap().write_all_at(&[3], 4000).unwrap();
        assert!(source.read(0, 1024, &mut buf).unwrap_err().to_string().contains("changed"));
    }

    #[test]
    fn a_directory_is_no_file() {
        assert!(Source::open(&std::env::temp_dir(), Mode::Octet).is_err());
    }
}
