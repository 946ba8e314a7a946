//! Takes a kernel, its initramfs and Xen out of an image, for machines that start them over HTTP, and remembers from where they are.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cache::private;
use super::linux::LARGEST_FILE;
use super::troubles::{Trouble, Way, has_ibft, iscsi_args, kernel, prefers_ibft};
use super::unpack::Packing;
use super::{FileSystemKind, Generator, ImageFile, Inspection, Kernel, LinuxSystem, OpenDisk};
use crate::disks::BlockDevice;
use crate::lab::{IscsiArgs, Name, ProfileWords, printable};
use crate::lang;

/// The record's name in a profile's folder.
pub const RECORD: &str = "extracted.json";
/// What taking files out may read.
const MOST_READ: u64 = 16 << 30;
/// Arguments that our own way of starting the kernel gives, or that only its former boot loader meant.
const OURS: [&str; 9] = [
    "boot_image=",
    "initrd=",
    "iscsi_",
    "netroot=",
    "rd.iscsi.",
    "ip=",
    "bootif=",
    "rd.neednet",
    "systemd.machine_id=",
];

/// Why nothing was taken out.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// No system that can be read.
    #[error("no Linux system with a kernel was found in it{0}")]
    NoKernel(String),
    /// Not this version.
    #[error("it has no kernel {wanted}; there are: {there}")]
    NoSuchKernel {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// A kernel alone does not find an iSCSI root.
    #[error("its kernel {0} has no initramfs, and without one it finds no iSCSI disk; make one in the image")]
    NoInitramfs(String),
    /// The disk is another one by now.
    #[error("{0} in the image changed meanwhile; stop what writes to the disk and try again")]
    Changed(String),
    /// Somebody cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The image's or the lab's.
    #[error("{what}: {source}")]
    Io {
        /// Which file.
        what: String,
        /// The error.
        source: io::Error,
    },
}

/// What is wished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The kernel's version; the newest otherwise.
    pub kernel: Option<String>,
}

/// What is taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extraction {
    /// The system's name.
    pub system: String,
    /// The kernel's version.
    pub version: String,
    /// A version was asked for: a newer one in the image is no reason to take it again.
    pub pinned: bool,
    /// The kernel.
    pub kernel: ImageFile,
    /// Its initramfs.
    pub initrd: ImageFile,
    /// Xen, if the image has it.
    pub hypervisor: Option<ImageFile>,
    /// Xen as a program for UEFI, if the image has it.
    pub hypervisor_efi: Option<ImageFile>,
    /// The kernel's arguments, its root included.
    pub args: String,
    /// Xen's.
    pub hypervisor_args: String,
    /// How the initramfs takes its root.
    pub iscsi_args: IscsiArgs,
    /// What would keep it from booting.
    pub troubles: Vec<Trouble>,
}

impl Extraction {
    /// Chooses what to take.
    ///
    /// # Errors
    /// [`ExtractError`]: there is no such kernel, or it has no initramfs.
    pub fn choose(image: &Inspection, choice: &Choice) -> Result<Self, ExtractError> {
        let mut all: Vec<(&LinuxSystem, &Kernel)> = Vec::new();
        for system in &image.linux {
            all.extend(system.kernels.iter().map(|k| (system, k)));
        }
        let (system, found) = match &choice.kernel {
            None => *all.first().ok_or_else(|| ExtractError::NoKernel(unread(image)))?,
            Some(wanted) => *all.iter().find(|(_, k)| k.version == *wanted).ok_or_else(|| {
                let there: Vec<&str> = all.iter().map(|(_, k)| k.version.as_str()).collect();
                match there.is_empty() {
                    true => ExtractError::NoKernel(unread(image)),
                    false => ExtractError::NoSuchKernel { wanted: wanted.clone(), there: there.join(", ") },
                }
            })?,
        };
        let initrd = found.initrd.clone().ok_or_else(|| ExtractError::NoInitramfs(found.version.clone()))?;
        let generator = found.initramfs.as_ref().and_then(|i| i.generator).unwrap_or(Generator::Unknown);
        let xen = system.hypervisors.first();
        let args = way_to_root(found, generator, xen.is_some());
        let way = Way::Direct { args, ibft: args == IscsiArgs::None, hypervisor: xen.is_some() };
        Ok(Self {
            system: system.name.clone(),
            version: found.version.clone(),
            pinned: choice.kernel.is_some(),
            kernel: found.file.clone(),
            initrd,
            hypervisor: xen.map(|x| x.file.clone()),
            hypervisor_efi: xen.and_then(|x| x.efi.clone()),
            args: own_args(&found.args),
            hypervisor_args: xen.map(|x| one_line(&x.args)).unwrap_or_default(),
            iscsi_args: args,
            troubles: kernel(system, found, way),
        })
    }

    fn files(&self) -> impl Iterator<Item = &ImageFile> {
        let xen = [self.hypervisor.as_ref(), self.hypervisor_efi.as_ref()];
        [&self.kernel, &self.initrd].into_iter().chain(xen.into_iter().flatten())
    }

    /// Bytes to be read.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files().map(|f| f.size).sum()
    }
}

/// How the initramfs is told its root. One that takes what an iBFT says before any arguments gets an iBFT, where its kernel can read it:
/// then no secret stands on a command line either.
fn way_to_root(kernel: &Kernel, generator: Generator, xen: bool) -> IscsiArgs {
    let Some(args) = iscsi_args(generator) else { return IscsiArgs::None };
    if xen || args != IscsiArgs::Debian || !prefers_ibft(kernel) || !has_ibft(kernel) { args } else { IscsiArgs::None }
}

/// What could not be read and may hold the system.
fn unread(image: &Inspection) -> String {
    let named = image.partitions.iter().find_map(|p| {
        match p.file_system? {
            FileSystemKind::Lvm => Some("; partition {} holds logical volumes, which are not read"),
            FileSystemKind::Luks => Some("; partition {} is encrypted"),
            FileSystemKind::Btrfs => Some("; partition {} is Btrfs, which is not read"),
            _ => None,
        }
        .map(|text| text.replace("{}", &p.number.to_string()))
    });
    let broken =
        || image.partitions.iter().find_map(|p| Some(format!("; partition {}: {}", p.number, p.problem.as_ref()?)));
    named.or_else(broken).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    // They become a line of a boot script, and the image is anybody's.
    let plain = text.split_whitespace().filter(|w| !w.chars().any(|c| c.is_control() || "${};|&`\\\"'".contains(c)));
    plain.collect::<Vec<_>>().join(" ")
}

fn own_args(args: &str) -> String {
    let ours = |word: &&str| {
        let word = word.to_ascii_lowercase();
        !OURS.iter().any(|start| word.starts_with(start))
    };
    one_line(&args.split_whitespace().filter(ours).collect::<Vec<_>>().join(" "))
}

/// From where a profile's files are: `extracted.json` in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// Form of this.
    pub v: u32,
    /// The disk.
    pub disk: String,
    /// Whose overlay; `None`: the image.
    #[serde(default)]
    pub host: Option<String>,
    /// The system's name.
    pub system: String,
    /// The kernel's version.
    pub version: String,
    /// It was asked for by its version.
    pub pinned: bool,
    /// The image's generation then; 0: not known.
    pub generation: u64,
    /// When.
    pub taken: Timestamp,
    /// The files, the kernel first.
    pub files: Vec<RecordedFile>,
    /// What was written into lab.toml besides the files' names: what is otherwise there by now, a person wrote.
    #[serde(default)]
    pub words: Option<ProfileWords>,
}

/// A file that was taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordedFile {
    /// Its name in the profile's folder.
    pub name: String,
    /// Where it was in the image, and its hash there.
    pub from: ImageFile,
}

/// Why what was taken out is no longer what the image would start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stale", rename_all = "kebab-case")]
pub enum Stale {
    /// The file is another one, or gone.
    Changed {
        /// Its path in the image.
        path: String,
    },
    /// The image has a newer kernel.
    Newer {
        /// Its version.
        version: String,
    },
}

impl Stale {
    /// In words, with what to do.
    #[must_use]
    pub fn said(&self, record: &Record, profile: &Name) -> String {
        let (key, name, value) = match self {
            Self::Changed { path } => ("changed", "path", path),
            Self::Newer { version } => ("newer", "version", version),
        };
        let shown = printable(value);
        let params: [lang::Param<'_>; 3] = [(name, &shown), ("disk", &record.disk), ("profile", profile)];
        let part = |key| lang::fill(lang::sentence("stale", key), &params);
        format!("{} {}", part(key), part("remedy"))
    }
}

impl Record {
    /// Whether the image still has what was taken out of it, and would start it.
    #[must_use]
    pub fn stale(&self, image: &Inspection) -> Option<Stale> {
        let newest = image.linux.iter().find_map(|system| system.kernels.first());
        if !self.pinned
            && let Some(newest) = newest.filter(|k| k.version != self.version)
        {
            return Some(Stale::Newer { version: newest.version.clone() });
        }
        let known: Vec<&ImageFile> = image
            .linux
            .iter()
            .flat_map(|s| {
                let kernels = s.kernels.iter().flat_map(|k| std::iter::once(&k.file).chain(&k.initrd));
                kernels.chain(s.hypervisors.iter().flat_map(|x| std::iter::once(&x.file).chain(&x.efi)))
            })
            .collect();
        let other = self.files.iter().find(|f| !known.contains(&&f.from));
        other.map(|f| Stale::Changed { path: f.from.path.clone() })
    }
}

/// The record of a profile, if it was taken out of an image.
#[must_use]
pub fn record_of(media: &Path, profile: &Name) -> Option<Record> {
    let text = fs::read(media.join(profile.as_str()).join(RECORD)).ok()?;
    serde_json::from_slice(&text).ok().filter(|r: &Record| r.v == 1)
}

/// The folder that is filled; for a job's journal.
#[must_use]
pub fn taken_part(media: &Path, profile: &Name) -> PathBuf {
    media.join(format!(".{profile}.part"))
}

/// Takes the files out, into the new folder `media/.PROFILE.part`, which the caller moves into place. `progress` is given bytes done and
/// in all. One that fails leaves nothing behind.
///
/// # Errors
/// The image's or the folder's; the image changed; it was stopped.
pub fn take(
    disk: Arc<dyn BlockDevice>,
    what: &Extraction,
    part: &Path,
    progress: &dyn Fn(u64, u64),
    stop: &Arc<AtomicBool>,
) -> Result<Vec<RecordedFile>, ExtractError> {
    let taken = fill(disk, what, part, progress, stop);
    if taken.is_err() {
        let _nothing_is_left_behind = fs::remove_dir_all(part);
    }
    taken
}

fn fill(
    disk: Arc<dyn BlockDevice>,
    what: &Extraction,
    part: &Path,
    progress: &dyn Fn(u64, u64),
    stop: &Arc<AtomicBool>,
) -> Result<Vec<RecordedFile>, ExtractError> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |source| ExtractError::Io { what, source }
    };
    let shown = part.display().to_string();
    match fs::remove_dir_all(part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(&shown)(e)),
        _ => {}
    }
    fs::create_dir_all(part).map_err(io(&shown))?;
    let disk = OpenDisk::open(disk, MOST_READ, stop.clone());
    let total = what.size();
    let mut done = 0;
    let mut taken = Vec::new();
    for from in what.files() {
        let files = disk.files(from.partition).ok_or_else(|| ExtractError::Changed(from.path.clone()))?;
        let opened = files.open(&from.path).map_err(io(&from.path))?;
        if opened.size != from.size {
            return Err(ExtractError::Changed(from.path.clone()));
        }
        let leaf = from.path.rsplit('/').next().unwrap_or_default();
        let unpacked = Some(from) == what.hypervisor.as_ref();
        let name = name_for(leaf, unpacked, &taken);
        let target = part.join(&name);
        let mut file = File::create_new(&target).map_err(io(&target.display().to_string()))?;
        let mut source = opened.reader.take(LARGEST_FILE);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let len = source.read(&mut buffer).map_err(|e| {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    ExtractError::Cancelled
                } else {
                    io(&from.path)(e)
                }
            })?;
            let piece = buffer.get(..len).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            hasher.update(piece);
            file.write_all(piece).map_err(io(&target.display().to_string()))?;
            done += len as u64;
            progress(done, total);
        }
        if hasher.finalize().to_hex().as_str() != from.blake3 {
            return Err(ExtractError::Changed(from.path.clone()));
        }
        if unpacked {
            unpack(&target).map_err(io(&from.path))?;
        }
        File::open(&target).and_then(|f| f.sync_all()).map_err(io(&target.display().to_string()))?;
        taken.push(RecordedFile { name, from: from.clone() });
    }
    Ok(taken)
}

/// A name for a file of ours: the image's own name, as far as it is harmless.
fn name_for(leaf: &str, unpacked: bool, taken: &[RecordedFile]) -> String {
    let leaf = if unpacked { leaf.strip_suffix(".gz").unwrap_or(leaf) } else { leaf };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+.~".contains(c);
    let name: String = leaf.chars().map(|c| if plain(c) { c } else { '_' }).take(128).collect();
    let name = name.trim_start_matches('.').to_owned();
    if name.is_empty() || name == RECORD || taken.iter().any(|t| t.name == name) {
        return format!("{name}-{}", taken.len());
    }
    name
}

/// iPXE takes no packed multiboot kernel.
fn unpack(path: &Path) -> io::Result<()> {
    let mut packed = BufReader::new(File::open(path)?);
    let mut head = [0; 8];
    packed.read_exact(&mut head)?;
    let Some(packing) = Packing::of(&head) else { return Ok(()) };
    let bytes = File::open(path)?;
    let mut plain = packing.reader(BufReader::new(bytes))?.take(LARGEST_FILE);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".plain");
    let beside = path.with_file_name(name);
    let copied = File::create_new(&beside).and_then(|mut file| io::copy(&mut plain, &mut file));
    copied.and_then(|_| fs::rename(&beside, path))
}

/// Writes the record into the folder that was filled.
///
/// # Errors
/// The file system's.
pub fn write_record(part: &Path, record: &Record) -> io::Result<()> {
    let mut file = private(&part.join(RECORD))?;
    file.write_all(&serde_json::to_vec_pretty(record)?)?;
    file.sync_all()
}

/// Writes the record of a profile's folder anew, as a whole or not at all.
///
/// # Errors
/// The file system's.
pub fn renew_record(home: &Path, record: &Record) -> io::Result<()> {
    let part = home.join(format!(".{RECORD}.part"));
    let mut file = private(&part)?;
    let written = file.write_all(&serde_json::to_vec_pretty(record)?).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&part, home.join(RECORD))).inspect_err(|_| {
        let _nothing_is_left_behind = fs::remove_file(&part);
    })
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
