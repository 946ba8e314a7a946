//! Buffers used again and again, so that moving data neither allocates nor clears memory.

use std::ops::Deref;
use std::sync::Arc;

/// Buffers that are free.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Vec<u8>>,
    /// Bytes of them all.
    bytes: usize,
    /// The counted places of buffers that were shared.
    places: Vec<Arc<Vec<u8>>>,
}

impl Buffers {
    /// Buffers that are kept for later.
    const KEPT: usize = 64;
    /// Bytes that are kept in all.
    const MOST: usize = 8 << 20;

    /// A buffer of at least `len` bytes, of any content.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        // The last one given back is the warmest.
        let last = self.free.last().filter(|b| b.len() >= len && b.len() / 4 <= len).map(|_| self.free.len() - 1);
        let fitting = last.or_else(|| {
            let fitting = self.free.iter().enumerate().filter(|(_, b)| b.len() >= len);
            fitting.min_by_key(|(_, b)| b.len()).map(|(at, _)| at)
        });
        match fitting {
            Some(at) => {
                let buffer = self.free.swap_remove(at);
                self.bytes -= buffer.len();
                buffer
            }
            // Fresh memory is zero already, and costs nothing before it is used.
            None => vec![0; len],
        }
    }

    /// Gives a buffer back.
    pub fn give(&mut self, buffer: Vec<u8>) {
        if buffer.is_empty() || self.bytes + buffer.len() > Self::MOST {
            return;
        }
        self.bytes += buffer.len();
        self.free.push(buffer);
        if self.free.len() > Self::KEPT
            && let Some((at, _)) = self.free.iter().enumerate().min_by_key(|(_, b)| b.len())
        {
            self.bytes -= self.free.swap_remove(at).len();
        }
    }

    /// A buffer that several PDUs are to share.
    pub fn share(&mut self, buffer: Vec<u8>) -> Arc<Vec<u8>> {
        let Some(mut place) = self.places.pop() else { return Arc::new(buffer) };
        match Arc::get_mut(&mut place) {
            Some(empty) => {
                *empty = buffer;
                place
            }
            None => Arc::new(buffer),
        }
    }

    /// Gives a shared buffer back, if this is its last owner.
    pub fn give_shared(&mut self, mut buffer: Arc<Vec<u8>>) {
        if let Some(unshared) = Arc::get_mut(&mut buffer) {
            let unshared = std::mem::take(unshared);
            self.give(unshared);
            if self.places.len() < Self::KEPT {
                self.places.push(buffer);
            }
        }
    }

    /// Bytes that are free.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Bytes at the beginning of a buffer that may be longer.
#[derive(Debug, Default)]
pub struct Data {
    buffer: Vec<u8>,
    len: usize,
}

impl Data {
    /// The first `len` bytes of `buffer`, or all if it has fewer.
    #[must_use]
    pub fn new(buffer: Vec<u8>, len: usize) -> Self {
        Self { len: len.min(buffer.len()), buffer }
    }

    /// The buffer, to be used again.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_fits_is_used_again_and_not_more_is_kept_than_allowed() {
        let mut buffers = Buffers::default();
        buffers.give(vec![1; 4096]);
        buffers.give(vec![2; 1 << 20]);
        assert_eq!(buffers.take(512).len(), 4096, "the small one fits as well");
        assert_eq!(buffers.take(4097)[0], 2);
        assert_eq!((buffers.take(100).len(), buffers.bytes()), (100, 0));
        for _ in 0..3 * Buffers::KEPT {
            buffers.give(vec![0; 4096]);
        }
        assert_eq!(buffers.bytes(), Buffers::KEPT * 4096);
        buffers.give(vec![3; 1 << 20]);
        assert_eq!(buffers.take(1 << 20)[0], 3, "a large one takes the place of a small one");
        buffers.give(vec![0; Buffers::MOST]);
        assert!(buffers.bytes() < Buffers::MOST);
        buffers.clear();
        assert_eq!(buffers.bytes(), 0);
    }

    #[test]
    fn a_shared_buffer_comes_back_with_its_last_owner() {
        let mut buffers = Buffers::default();
        for _ in 0..3 {
            let buffer = buffers.take(4096);
            let shared = buffers.share(buffer);
            assert_eq!(shared.len(), 4096);
            let other = shared.clone();
            buffers.give_shared(shared);
            assert_eq!(buffers.bytes(), 0, "the other one still reads it");
            buffers.give_shared(other);
            assert_eq!((buffers.bytes(), buffers.places.len()), (4096, 1));
        }
    }

    #[test]
    fn data_are_the_beginning_of_their_buffer() {
        assert_eq!(&*Data::new(vec![1, 2, 3], 2), &[1, 2]);
        assert_eq!(&*Data::new(vec![1, 2, 3], 9), &[1, 2, 3]);
    }
}
