//! An image under an overlay that may be longer than it: past the image's end there are zeroes.

use std::io;
use std::sync::Arc;

use super::{Allocation, BlockDevice, Extent};

/// The image, without an end.
#[derive(Debug)]
pub(super) struct Extended(pub(super) Arc<dyn BlockDevice>);

impl Extended {
    /// How much of a range is the image's.
    fn within(&self, offset: u64, len: u64) -> u64 {
        self.0.size().saturating_sub(offset).min(len)
    }
}

impl BlockDevice for Extended {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn readonly(&self) -> bool {
        true
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let within = usize::try_from(self.within(offset, buf.len() as u64)).unwrap_or(usize::MAX);
        let (image, past) = buf.split_at_mut_checked(within).ok_or(io::ErrorKind::InvalidInput)?;
        past.fill(0);
        if image.is_empty() { Ok(()) } else { self.0.read_at(image, offset) }
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn extent(&self, offset: u64, len: u64) -> Option<Extent> {
        (self.within(offset, len) == len).then(|| self.0.extent(offset, len))?
    }

    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)> {
        if offset < self.0.size() {
            return self.0.allocation(offset);
        }
        Ok((Allocation::Deallocated, u64::MAX - offset))
    }
}
