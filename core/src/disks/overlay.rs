//! A private layer over an image that many share: what its host wrote is its own, all else is the image's.
//!
//! An overlay is a folder with four files: `data`, as long as the disk and sparse, in which a block is at the place that it has on
//! the disk; `map` and `live`, which say which blocks are the overlay's own ([`super::map`]); and `atomic`, the journal of writes that
//! must not be torn ([`super::atomic`]). A block becomes its own when it is
//! first written: all of it goes to `data`, what the host did not write copied from the image, and only then the map says so. So an
//! interrupted or failed write leaves the block as it was.
//!
//! Whatever was acknowledged survives the end of the process, `kill -9` included; whatever was flushed survives a cut of power.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags, FlockOperation, fadvise, fallocate, flock};
use rustix::io::Errno;

use super::atomic::Journal;
use super::extended::Extended;
use super::map::{BLOCK, Header, Map, MapError, State, file_sizes};
use super::size;
use super::storage::{Storage, open_quietly};
use super::{Allocation, BlockDevice, DiskError, Extent, Medium, check_range};

/// Blocks of one stripe: 1 MiB.
const STRIPE: u64 = 256;
const STRIPES: usize = 64;
/// How long the lock of an overlay that is being closed is waited for.
const CLOSING: Duration = Duration::from_secs(20);

/// An open overlay. Dropping it flushes it.
pub struct Overlay {
    base: Arc<dyn BlockDevice>,
    data: Box<dyn Storage>,
    map_file: Box<dyn Storage>,
    live: Box<dyn Storage>,
    journal: Journal,
    size: AtomicU64,
    attachment: String,
    map: RwLock<Map>,
    /// Writers of one region of the disk, one after the other; readers never wait for them.
    stripes: [Mutex<()>; STRIPES],
    /// One flush at a time. True after one failed: what the kernel still had may be lost, so that none may succeed any more.
    lost: Mutex<bool>,
    written: AtomicBool,
    folder: Option<PathBuf>,
    /// [`BlockDevice::medium`].
    medium: Option<Medium>,
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("folder", &self.folder).field("size", &self.len()).finish_non_exhaustive()
    }
}

/// The files of an overlay's folder.
struct Files {
    data: Arc<File>,
    map: Arc<File>,
    live: Arc<File>,
}

impl Overlay {
    /// Makes an overlay in `folder`, which must not exist. It is durable when this returns, under this name; the caller moves it.
    pub(super) fn create(folder: &Path, header: &Header) -> Result<(), DiskError> {
        fs::create_dir_all(folder).map_err(DiskError::io("create", folder))?;
        let made = || -> io::Result<()> {
            let make = |name, len| -> io::Result<Arc<File>> {
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(folder.join(name))?;
                file.set_len(len)?;
                Ok(Arc::new(file))
            };
            let (map_len, live_len) = file_sizes(header.size);
            let data = make("data", header.size)?;
            let map = make("map", map_len)?;
            let live = make("live", live_len)?;
            let _reserves_its_space = Journal::new(Box::new(make("atomic", 0)?));
            for (file, len) in [(&map, map_len), (&live, live_len)] {
                // Reserved, so that a full file system stops a write of data and never the note of one.
                match fallocate(&**file, FallocateFlags::empty(), 0, len) {
                    Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Map::create(&map, &live, header, "")?;
            for file in [&data, &map, &live] {
                file.sync_all()?;
            }
            File::open(folder)?.sync_all()
        };
        made().map_err(DiskError::io("create", folder))
    }

    /// The header of the overlay in `folder`.
    pub(super) fn header(folder: &Path) -> Result<Header, DiskError> {
        let path = folder.join("map");
        let file = Arc::new(File::open(&path).map_err(damaged_if_missing(&path))?);
        read_header(&file, &path)
    }

    /// Opens the overlay in `folder` over `base`, which must be the image of its header, and lets it grow to `wanted` bytes if it is
    /// smaller.
    pub(super) fn open(folder: &Path, base: Arc<dyn BlockDevice>, wanted: u64) -> Result<Self, DiskError> {
        let open = |name| -> Result<Arc<File>, DiskError> {
            let path = folder.join(name);
            let file = open_quietly(OpenOptions::new().read(true).write(true), &path);
            Ok(Arc::new(file.map_err(damaged_if_missing(&path))?))
        };
        let files = Files { data: open("data")?, map: open("map")?, live: open("live")? };
        let map_path = folder.join("map");
        lock(&files.map, &map_path)?;
        let journal = open_journal(folder).map_err(DiskError::io("read", &folder.join("atomic")))?;
        let made = read_header(&files.map, &map_path)?;
        let header = Header { size: size::read(folder)?.max(made.size), ..made.clone() };
        let len =
            |file: &File, name| file.metadata().map(|m| m.len()).map_err(DiskError::io("read", &folder.join(name)));
        let (map_len, live_len) = file_sizes(header.size);
        for (file, name, want) in
            [(&files.data, "data", header.size), (&files.map, "map", map_len), (&files.live, "live", live_len)]
        {
            let is = len(file, name)?;
            // Longer: it was about to grow when its process ended, and what was added reads as nothing.
            if is < want {
                let why = format!("it is {is} bytes long and should be {want}");
                return Err(DiskError::Damaged { path: folder.join(name), why });
            }
        }
        if base.size() > made.size {
            let why = format!("it is for a disk of {} bytes, and the image has {}", made.size, base.size());
            return Err(DiskError::Damaged { path: map_path, why });
        }
        // Readahead of 4 KiB overwrites costs ten times the write where the file system uses large folios.
        let _ = fadvise(&*files.data, 0, None, Advice::Random);
        let attachment = attachment(&files.data);
        let inode = files.data.metadata().map_err(DiskError::io("read", &folder.join("data")))?.ino();
        let name = format!("{} {inode}", folder.file_name().unwrap_or_default().display());
        let (data, map, live) = (Box::new(files.data), Box::new(files.map), Box::new(files.live));
        let mut overlay = Self::over(base, data, map, live, journal, &header, attachment).map_err(|e| match e {
            MapError::Io(source) => DiskError::Io { what: "read", path: map_path.clone(), source },
            MapError::Damaged(why) => DiskError::Damaged { path: map_path.clone(), why },
        })?;
        overlay.folder = Some(folder.to_owned());
        // A fresh one is gone with its boot, and whatever was to be done to it.
        overlay.medium = Some(Medium { name, lasts: header.epoch.is_none() });
        overlay.finish_atomic().map_err(DiskError::io("finish the atomic write that was under way in", folder))?;
        if wanted > overlay.len() {
            overlay.grow(wanted).map_err(DiskError::io("enlarge", folder))?;
        }
        Ok(overlay)
    }

    fn over(
        base: Arc<dyn BlockDevice>,
        data: Box<dyn Storage>,
        map_file: Box<dyn Storage>,
        live: Box<dyn Storage>,
        journal: Journal,
        header: &Header,
        attachment: String,
    ) -> Result<Self, MapError> {
        let map = Map::open(&*map_file, &*live, header, &attachment)?;
        Ok(Self {
            base: Arc::new(Extended(base)),
            data,
            map_file,
            live,
            journal,
            size: AtomicU64::new(header.size),
            attachment,
            map: RwLock::new(map),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            lost: Mutex::new(false),
            written: AtomicBool::new(true),
            folder: None,
            medium: None,
        })
    }

    /// Does once more what the journal says was being done. Before anything else is read or written.
    fn finish_atomic(&self) -> io::Result<()> {
        let Some((offset, data)) = self.journal.entry()? else { return Ok(()) };
        self.write_at(&data, offset)?;
        self.flush()?;
        self.journal.done()
    }

    /// The second half of an atomic write: to its place, or, where that fails, back to what was there.
    fn write_or_restore(&self, buf: &[u8], offset: u64, blocks: &Range<u64>) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        // Only what is the overlay's own is overwritten; a block that becomes its own has its former content until the map says so.
        let mut former = Vec::new();
        let mut at = offset;
        while at < end {
            let (state, stop) = self.run(at, end);
            if state == State::Own {
                let mut bytes = vec![0; usize::try_from(stop - at).unwrap_or(usize::MAX)];
                self.data.read_at(&mut bytes, at)?;
                former.push((at, bytes));
            }
            at = stop;
        }
        let entry = self.journal.enter(offset, buf)?;
        let done = self.write_locked(buf, offset, blocks);
        let restored = match &done {
            Ok(()) => Ok(()),
            Err(_) => former.iter().try_for_each(|(at, bytes)| self.data.write_at(bytes, *at)),
        };
        // Last: a flush that began before must not count for any of it.
        self.written.store(true, Ordering::Release);
        restored?;
        self.flush()?;
        entry.make_void()?;
        done
    }

    /// Bytes that its host sees.
    fn len(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Lets it grow to `size` bytes, open or not: what is added reads as zeroes. It is durable when this returns. A smaller size
    /// changes nothing.
    ///
    /// # Errors
    /// The storage's; it is as large as before then.
    pub(super) fn grow(&self, size: u64) -> io::Result<()> {
        // No flush meanwhile: it would not know what pages there are.
        let _alone = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if size <= self.len() {
            return Ok(());
        }
        let (map_len, live_len) = file_sizes(size);
        for (file, len) in [(&self.data, size), (&self.map_file, map_len), (&self.live, live_len)] {
            file.set_len(len)?;
            file.sync()?;
        }
        // A full file system stops a write of data and never the note of one.
        self.map_file.reserve(map_len)?;
        self.live.reserve(live_len)?;
        if let Some(folder) = &self.folder {
            size::write(folder, size)?;
        }
        self.map.write().unwrap_or_else(PoisonError::into_inner).grow(size);
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    /// Takes blocks back that say what the image says, or nothing: the map says so first, durably, and then their space is freed. Gives
    /// the bytes freed. Nobody else may use the overlay.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn compact(&self, progress: &dyn Fn(u64, u64), cancel: &AtomicBool) -> io::Result<u64> {
        const PIECE: u64 = 256;
        let mut freed: Vec<Range<u64>> = Vec::new();
        let blocks = self.len().div_ceil(BLOCK);
        let (mut own, mut base) = (vec![0; (PIECE * BLOCK) as usize], vec![0; (PIECE * BLOCK) as usize]);
        let mut at = 0;
        while at < blocks && !cancel.load(Ordering::Relaxed) {
            let (state, next) = self.map.read().unwrap_or_else(PoisonError::into_inner).run(at, blocks);
            if state != State::Own {
                at = next;
                continue;
            }
            let until = next.min(at + PIECE);
            let bytes = (until * BLOCK).min(self.len()) - at * BLOCK;
            let len = usize::try_from(bytes).unwrap_or(usize::MAX);
            let (own, base) = (own.get_mut(..len).unwrap_or_default(), base.get_mut(..len).unwrap_or_default());
            self.data.read_at(own, at * BLOCK)?;
            self.base.read_at(base, at * BLOCK)?;
            for (block, (own, base)) in (at..).zip(own.chunks(BLOCK as usize).zip(base.chunks(BLOCK as usize))) {
                let state = match (own == base, own.iter().all(|byte| *byte == 0)) {
                    (true, _) => State::Base,
                    (false, true) => State::Zero,
                    (false, false) => continue,
                };
                self.set(block..block + 1, state)?;
                let bytes = block * BLOCK..block * BLOCK + own.len() as u64;
                match freed.last_mut() {
                    Some(last) if last.end == bytes.start => last.end = bytes.end,
                    _ => freed.push(bytes),
                }
            }
            at = until;
            progress(at * BLOCK, self.len());
        }
        self.written.store(true, Ordering::Release);
        self.flush()?;
        let mut bytes = 0;
        for range in freed {
            self.data.discard(range.start, range.end - range.start)?;
            bytes += range.end - range.start;
        }
        Ok(bytes)
    }

    /// Whether the byte at `offset` is the overlay's own, zeroes included, and for how many bytes from there that is the same.
    pub(super) fn own(&self, offset: u64) -> (bool, u64) {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let (state, next) = map.run(offset / BLOCK, self.len().div_ceil(BLOCK));
        (state != State::Base, (next * BLOCK).min(self.len()).saturating_sub(offset))
    }

    /// Where the byte at `at` is, and the first one after it, below `end`, that is elsewhere. The map is not locked while the disk is
    /// read: what is the overlay's own stays at its place.
    fn run(&self, at: u64, end: u64) -> (State, u64) {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let (state, next) = map.run(at / BLOCK, end.div_ceil(BLOCK));
        (state, (next * BLOCK).min(end))
    }

    fn state(&self, block: u64) -> State {
        self.map.read().unwrap_or_else(PoisonError::into_inner).state(block)
    }

    fn set(&self, blocks: Range<u64>, state: State) -> io::Result<()> {
        self.map.write().unwrap_or_else(PoisonError::into_inner).set(&*self.live, blocks, state)
    }

    /// Locks the stripes of some blocks, always in the same order.
    fn lock_stripes(&self, blocks: &Range<u64>) -> Vec<MutexGuard<'_, ()>> {
        let (first, last) = (blocks.start / STRIPE, blocks.end.saturating_sub(1) / STRIPE);
        let all = last - first >= STRIPES as u64 - 1;
        let wanted = |index: usize| {
            let index = index as u64;
            let after = (index + STRIPES as u64 - first % STRIPES as u64) % STRIPES as u64;
            all || after <= last - first
        };
        self.stripes
            .iter()
            .enumerate()
            .filter(|(index, _)| wanted(*index))
            // A guard protects no data of its own: a panic of another writer left nothing half done in memory.
            .map(|(_, stripe)| stripe.lock().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    /// What a block reads as that is not the overlay's own yet, from `range` (bytes of the disk), goes to `data`.
    fn copy_up(&self, state: State, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut buf = [0; BLOCK as usize];
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let buf = buf.get_mut(..len).ok_or(io::ErrorKind::InvalidInput)?;
        if state == State::Base {
            self.base.read_at(buf, range.start)?;
        }
        self.data.write_at(buf, range.start)
    }

    /// Writes under the stripes' locks.
    fn write_locked(&self, buf: &[u8], offset: u64, blocks: &Range<u64>) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        let (head, tail) = (self.state(blocks.start), self.state(blocks.end - 1));
        if head != State::Own {
            self.copy_up(head, blocks.start * BLOCK..offset)?;
        }
        self.data.write_at(buf, offset)?;
        if tail != State::Own {
            self.copy_up(tail, end..(blocks.end * BLOCK).min(self.len()))?;
        }
        self.set(blocks.clone(), State::Own)
    }

    /// Zeroes under the stripes' locks: whole blocks by the map alone, parts by writing.
    fn zero_locked(&self, offset: u64, end: u64) -> io::Result<()> {
        // The last block of the disk may be a short one; the end of the disk ends it too.
        let whole = offset.div_ceil(BLOCK)..if end == self.len() { end.div_ceil(BLOCK) } else { end / BLOCK };
        if whole.is_empty() {
            let boundary = (offset / BLOCK + 1) * BLOCK;
            self.zero_part(offset..end.min(boundary))?;
            return self.zero_part(boundary.min(end)..end);
        }
        self.zero_part(offset..whole.start * BLOCK)?;
        self.zero_part((whole.end * BLOCK).min(end)..end)?;
        self.set(whole.clone(), State::Zero)?;
        // The map already says zero; that the space cannot be freed harms nobody.
        let bytes = whole.start * BLOCK..(whole.end * BLOCK).min(self.len());
        let _ = self.data.discard(bytes.start, bytes.end - bytes.start);
        Ok(())
    }

    /// Writes zeroes into a part of one block.
    fn zero_part(&self, range: Range<u64>) -> io::Result<()> {
        let block = range.start / BLOCK;
        if range.is_empty() || self.state(block) == State::Zero {
            return Ok(());
        }
        let zeroes = [0; BLOCK as usize];
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let zeroes = zeroes.get(..len).ok_or(io::ErrorKind::InvalidInput)?;
        self.write_locked(zeroes, range.start, &(block..block + 1))
    }
}

impl BlockDevice for Overlay {
    fn size(&self) -> u64 {
        self.len()
    }

    fn readonly(&self) -> bool {
        false
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(self.len(), offset, buf.len() as u64)?;
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let (state, stop) = self.run(at, at + rest.len() as u64);
            let len = usize::try_from(stop - at).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at_mut_checked(len).ok_or(io::ErrorKind::InvalidInput)?;
            match state {
                State::Base => self.base.read_at(part, at)?,
                State::Own => self.data.read_at(part, at)?,
                State::Zero => part.fill(0),
            }
            (rest, at) = (after, stop);
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        check_range(self.len(), offset, buf.len() as u64)?;
        if buf.is_empty() {
            return Ok(());
        }
        let blocks = offset / BLOCK..(offset + buf.len() as u64).div_ceil(BLOCK);
        let _stripes = self.lock_stripes(&blocks);
        self.journal.check()?;
        let done = self.write_locked(buf, offset, &blocks);
        // Last: a flush that began before this write ended must not count for it.
        self.written.store(true, Ordering::Release);
        done
    }

    fn medium(&self) -> Option<Medium> {
        self.medium.clone()
    }

    fn atomic(&self) -> u32 {
        self.journal.most()
    }

    fn write_atomic(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        check_range(self.len(), offset, buf.len() as u64)?;
        if buf.is_empty() {
            return Ok(());
        }
        let _turn = self.journal.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = offset / BLOCK..(offset + buf.len() as u64).div_ceil(BLOCK);
        // Until the entry is void: who writes there next flushes its being void, too.
        let _stripes = self.lock_stripes(&blocks);
        self.write_or_restore(buf, offset, &blocks)
    }

    fn flush(&self) -> io::Result<()> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if *lost {
            return Err(io::Error::other(
                "an earlier flush of this overlay failed; what was written since may be lost",
            ));
        }
        let has_lost = |lost: &mut bool| {
            *lost = true;
            let _whoever_opens_it_next_believes_what_is_there = Map::distrust(&*self.live);
        };
        let settled = self.journal.settle();
        if settled.is_err() {
            has_lost(&mut lost);
            return settled;
        }
        if !self.written.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // Every block of which these pages speak is in `data` already, so that the sync below makes it durable before them.
        let pages = self.map.write().unwrap_or_else(PoisonError::into_inner).take_dirty();
        let done =
            self.data.sync().and_then(|()| if pages.is_empty() { Ok(()) } else { Map::write(&*self.map_file, &pages) });
        done.inspect_err(|_| {
            has_lost(&mut lost);
            self.map.write().unwrap_or_else(PoisonError::into_inner).again(&pages);
        })
    }

    fn zero(&self, offset: u64, len: u64, _unmap: bool) -> io::Result<()> {
        check_range(self.len(), offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let _stripes = self.lock_stripes(&(offset / BLOCK..(offset + len).div_ceil(BLOCK)));
        self.journal.check()?;
        let done = self.zero_locked(offset, offset + len);
        self.written.store(true, Ordering::Release);
        done
    }

    /// The image's part only: what is the overlay's own can be written, atomically too.
    fn extent(&self, offset: u64, len: u64) -> Option<Extent> {
        check_range(self.len(), offset, len).ok()?;
        let end = offset + len;
        (self.run(offset, end) == (State::Base, end)).then(|| self.base.extent(offset, len))?
    }

    fn allocation(&self, offset: u64) -> io::Result<(Allocation, u64)> {
        check_range(self.len(), offset, super::SECTOR)?;
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let (state, next) = map.run(offset / BLOCK, self.len().div_ceil(BLOCK));
        drop(map);
        let len = (next * BLOCK).min(self.len()) - offset;
        match state {
            State::Own => Ok((Allocation::Mapped, len)),
            State::Zero => Ok((Allocation::Deallocated, len)),
            State::Base => self.base.allocation(offset).map(|(what, run)| (what, run.min(len))),
        }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // What cannot be flushed was never promised to be durable, and `live` keeps it for this boot.
        if self.flush().is_ok() {
            let _ = Map::close(&*self.live, &self.attachment);
        }
    }
}

/// The journal in an overlay's folder; one that is not there yet is made.
fn open_journal(folder: &Path) -> io::Result<Journal> {
    let path = folder.join("atomic");
    let open = |create| OpenOptions::new().read(true).write(true).create_new(create).open(&path);
    let file = match open(false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = open(true)?;
            File::open(folder)?.sync_all()?;
            file
        }
        opened => opened?,
    };
    Ok(Journal::new(Box::new(Arc::new(file))))
}

fn damaged_if_missing(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => DiskError::Damaged { path, why: "the file is missing".into() },
        _ => DiskError::Io { what: "open", path, source },
    }
}

fn read_header(file: &Arc<File>, path: &Path) -> Result<Header, DiskError> {
    let mut page = [0; 4096];
    let damaged = |why: String| DiskError::Damaged { path: path.to_owned(), why };
    file.read_at(&mut page, 0).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut short".into()),
        _ => DiskError::io("read", path)(e),
    })?;
    Header::decode(&page).map_err(damaged)
}

/// The lock of an open overlay. One that is just being closed is waited for.
fn lock(file: &File, path: &Path) -> Result<(), DiskError> {
    let until = Instant::now() + CLOSING;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP) => return Ok(()),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            Err(Errno::WOULDBLOCK) => {
                return Err(DiskError::InUse { path: path.to_owned(), by: "another Bootyard".into() });
            }
            Err(e) => return Err(DiskError::io("lock", path)(e.into())),
        }
    }
}

/// Names the boot of the kernel and the attachment of the disk below a file: while it stays the same, nothing that was written to
/// the file can have been lost, durable or not. A stick that was pulled and came back within one boot has a new disk sequence.
fn attachment(file: &File) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let device = file.metadata().map_or(0, |m| m.dev());
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let sequence = ["diskseq", "../diskseq"]
        .iter()
        .find_map(|name| fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{name}")).ok())
        .unwrap_or_default();
    let boot = boot.trim();
    if boot.is_empty() {
        // Nothing can be told apart: never the same again.
        return uuid::Uuid::new_v4().to_string();
    }
    format!("{boot} {}", sequence.trim())
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
