//! A Linux system: its release, its kernels with their initramfs and arguments, Xen, and what it mounts as `/`.

use std::cmp::Ordering;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::initramfs::{Initramfs, setting};
use super::network::{self, NetworkTrouble};
use super::source::{Numbers, Window};
use super::volume::FileSystem;
use crate::lab::printable;

/// Kernels of a system that are looked at, the newest.
const MOST_KERNELS: usize = 16;
/// An initramfs or kernel that is larger is none.
pub(super) const LARGEST_FILE: u64 = 1 << 30;

/// A Linux system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinuxSystem {
    /// The partition of `/`; 0 without partitions.
    pub partition: u32,
    /// The partition of `/boot`, where it has one.
    pub boot_partition: Option<u32>,
    /// `PRETTY_NAME` of os-release.
    pub name: String,
    /// `ID` of os-release: `debian`.
    pub id: String,
    /// What fstab mounts as `/`: `LABEL=root`.
    pub root: Option<String>,
    /// Its kernels, the newest first.
    pub kernels: Vec<Kernel>,
    /// Xen, the newest first.
    pub hypervisors: Vec<Hypervisor>,
    /// What would take the network away from under the disk.
    pub network: Vec<NetworkTrouble>,
    /// The initiator's programs are installed in the system itself.
    pub has_open_iscsi: bool,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kernel {
    /// As its file's name has it: `6.1.0-18-amd64`.
    pub version: String,
    /// Its path on the disk of `/boot`.
    pub file: ImageFile,
    /// Its initramfs.
    pub initrd: Option<ImageFile>,
    /// What that has.
    pub initramfs: Option<Initramfs>,
    /// Why that could not be read.
    pub initramfs_problem: Option<String>,
    /// The arguments that the boot loader gives it.
    pub args: String,
    /// Of the drivers that matter here, those that are part of the kernel.
    pub built_in: Vec<String>,
}

/// Xen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hypervisor {
    /// `4.17-amd64`.
    pub version: String,
    /// Where it is, as a multiboot kernel.
    pub file: ImageFile,
    /// The same as a program for UEFI, beside it.
    pub efi: Option<ImageFile>,
    /// The arguments that the boot loader gives it.
    pub args: String,
}

/// A file of the image, known again by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageFile {
    /// The partition that it is on; 0 without partitions.
    pub partition: u32,
    /// Its path there.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub blake3: String,
}

/// A volume and its number.
#[derive(Clone, Copy)]
pub(super) struct On<'a> {
    pub(super) partition: u32,
    pub(super) files: &'a dyn FileSystem,
    /// The disk, which counts what is unpacked, too.
    pub(super) disk: Option<&'a Window>,
}

/// Looks for a Linux system on a volume. `volume_of` gives the volume that a word of fstab means, and `boots` are volumes that may be
/// `/boot` where fstab does not say.
pub(super) fn find<'a>(
    root: On<'a>,
    volume_of: &dyn Fn(&str) -> Option<On<'a>>,
    boots: &[On<'a>],
) -> Option<LinuxSystem> {
    let release = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| root.files.text(path))?;
    let fstab = root.files.text("/etc/fstab").unwrap_or_default();
    let mounted = |at: &str| {
        let mut lines = fstab.lines().map(str::split_whitespace);
        lines.find_map(|mut words| {
            Some((words.next()?, words.next()?)).filter(|(what, to)| *to == at && !what.starts_with('#'))
        })
    };
    // Where the kernels are, and the path of /boot there.
    let (boot, home) = match mounted("/boot").and_then(|(what, _)| volume_of(what)) {
        Some(boot) => (boot, ""),
        None if has_kernels(root.files, "/boot") => (root, "/boot"),
        None => (boots.iter().copied().find(|b| has_kernels(b.files, "/")).unwrap_or(root), ""),
    };
    let home = if boot.partition == root.partition { "/boot" } else { home };
    let entries = Entries::read(boot.files, home, root.files);
    let built_in = |version: &str| built_in(root.files, version);
    let mut kernels = kernels(boot, home, &entries, &built_in);
    let root_arg = mounted("/").map(|(what, _)| printable(what));
    for kernel in &mut kernels {
        if !kernel.args.split_whitespace().any(|a| a.starts_with("root="))
            && let Some(root) = &root_arg
        {
            kernel.args = format!("root={root} {}", kernel.args).trim_end().to_owned();
        }
    }
    let generator = kernels.iter().find_map(|k| k.initramfs.as_ref()?.generator);
    Some(LinuxSystem {
        partition: root.partition,
        boot_partition: (boot.partition != root.partition).then_some(boot.partition),
        name: printable(&setting(&release, "PRETTY_NAME").or_else(|| setting(&release, "NAME")).unwrap_or_default()),
        id: printable(&setting(&release, "ID").unwrap_or_default()),
        root: root_arg,
        hypervisors: hypervisors(boot, home, &entries),
        kernels,
        network: network::troubles(root.files, generator),
        has_open_iscsi: ["/usr/sbin/iscsid", "/sbin/iscsid", "/usr/bin/iscsid"].iter().any(|p| root.files.has(p)),
    })
}

/// The version in a kernel's name.
fn kernel_version(name: &str) -> Option<&str> {
    let version = ["vmlinuz-", "vmlinux-", "kernel-", "Image-"].iter().find_map(|start| name.strip_prefix(start))?;
    let rescue = version.starts_with("0-rescue") || version.ends_with(".old") || version.ends_with(".sig");
    (!rescue && !version.is_empty()).then_some(version)
}

fn has_kernels(files: &dyn FileSystem, home: &str) -> bool {
    !files.names(home, |e| !e.folder && kernel_version(&e.name).is_some()).is_empty()
}

fn kernels(boot: On<'_>, home: &str, entries: &Entries, built_in: &dyn Fn(&str) -> Vec<String>) -> Vec<Kernel> {
    let all = boot.files.names(if home.is_empty() { "/" } else { home }, |e| !e.folder);
    let mut found: Vec<(String, String, Option<String>)> = all
        .iter()
        .filter_map(|name| {
            let version = kernel_version(name)?;
            let initrd = all.iter().find(|n| is_initrd(n, version));
            Some((version.to_owned(), format!("{home}/{name}"), initrd.map(|n| format!("{home}/{n}"))))
        })
        .collect();
    // kernel-install's layout: a folder for each kernel below the machine's.
    for entry in &entries.by_path {
        let path = boot_path(home, &entry.kernel);
        let known = found.iter().any(|(_, known, _)| *known == path);
        if !known && !entry.version.is_empty() && boot.files.has(&path) {
            found.push((entry.version.clone(), path, entry.initrd.as_ref().map(|i| boot_path(home, i))));
        }
    }
    found.sort_by(|a, b| compare(&b.0, &a.0));
    found.dedup_by(|a, b| a.1 == b.1);
    let mut kernels = Vec::new();
    for (version, path, initrd) in found.into_iter().take(MOST_KERNELS) {
        let Ok((file, head)) = hashed(boot, &path) else { continue };
        let (mut initramfs, mut initramfs_problem, mut initrd_file) = (None, None, None);
        if let Some(initrd) = initrd {
            match read_initramfs(boot, &initrd) {
                Ok((file, read)) => {
                    initrd_file = Some(file);
                    match read {
                        Ok(read) => initramfs = Some(read),
                        Err(error) => initramfs_problem = Some(error.to_string()),
                    }
                }
                Err(error) => initramfs_problem = Some(error.to_string()),
            }
        }
        let release = release(&head).unwrap_or_else(|| version.clone());
        kernels.push(Kernel {
            args: entries.args(&path).unwrap_or_default(),
            built_in: built_in(&release),
            version,
            file,
            initrd: initrd_file,
            initramfs,
            initramfs_problem,
        });
    }
    kernels
}

fn is_initrd(name: &str, version: &str) -> bool {
    let forms = [
        format!("initrd.img-{version}"),
        format!("initramfs-{version}.img"),
        format!("initrd-{version}"),
        format!("initrd-{version}.img"),
        format!("initramfs-{version}"),
    ];
    forms.iter().any(|form| form == name)
}

/// A path of a boot loader's file, as seen on the volume on which `/boot` is at `home`.
fn boot_path(home: &str, path: &str) -> String {
    let path = path.strip_prefix("/boot/").map_or_else(|| path.to_owned(), |rest| format!("/{rest}"));
    format!("{home}{path}")
}

/// What is part of a kernel, of what matters here.
fn built_in(root: &dyn FileSystem, release: &str) -> Vec<String> {
    let list =
        ["/usr/lib/modules", "/lib/modules"].iter().find_map(|m| root.text(&format!("{m}/{release}/modules.builtin")));
    let wanted =
        ["iscsi_tcp", "iscsi_ibft", "virtio_net", "e1000", "e1000e", "igb", "r8169", "tg3", "ixgbe", "mlx5_core"];
    let list = list.unwrap_or_default();
    let names = list.lines().filter_map(|line| super::initramfs::module(line.rsplit('/').next()?));
    names.filter(|name| wanted.contains(&name.as_str())).collect()
}

/// What a kernel for x86 calls itself: the word before its build's place (Linux, `Documentation/arch/x86/boot.rst`, `kernel_version`).
fn release(head: &[u8]) -> Option<String> {
    if head.some(0x202, 4)? != b"HdrS" {
        return None;
    }
    let at = usize::from(head.le16(0x20e)?).checked_add(0x200)?;
    let text = head.get(at..)?.split(|b| *b == 0).next()?;
    let word = std::str::from_utf8(text).ok()?.split(' ').next()?;
    (!word.is_empty() && word.len() < 128).then(|| word.to_owned())
}

/// A file's hash, and its first bytes.
fn hashed(on: On<'_>, path: &str) -> io::Result<(ImageFile, Vec<u8>)> {
    let opened = on.files.open(path)?;
    if opened.size > LARGEST_FILE {
        return Err(super::volume::damaged("a kernel is far larger than any is"));
    }
    let mut tee = Tee::of(opened.reader, on.disk);
    let mut head = Vec::new();
    tee.by_ref().take(64 << 10).read_to_end(&mut head)?;
    Ok((tee.finish(on.partition, path)?, head))
}

type InitramfsRead = io::Result<Initramfs>;

fn read_initramfs(on: On<'_>, path: &str) -> io::Result<(ImageFile, InitramfsRead)> {
    let opened = on.files.open(path)?;
    if opened.size > LARGEST_FILE {
        return Err(super::volume::damaged("an initramfs is far larger than any is"));
    }
    let mut tee = Tee::of(opened.reader, on.disk);
    let read = Initramfs::read(&mut tee, &|bytes| on.disk.map_or(Ok(()), |disk| disk.pay(bytes)));
    Ok((tee.finish(on.partition, path)?, read))
}

/// Hashes what is read through it, and has the disk count it: a file that is all holes reads nothing of the disk.
struct Tee<'a, R> {
    inner: R,
    disk: Option<&'a Window>,
    hasher: blake3::Hasher,
    size: u64,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        self.disk.map_or(Ok(()), |disk| disk.pay(len as u64))?;
        self.hasher.update(buf.get(..len).unwrap_or_default());
        self.size += len as u64;
        Ok(len)
    }
}

impl<'a, R: Read> Tee<'a, R> {
    fn of(inner: R, disk: Option<&'a Window>) -> Self {
        Self { inner, disk, hasher: blake3::Hasher::new(), size: 0 }
    }

    /// Reads what is left.
    fn finish(mut self, partition: u32, path: &str) -> io::Result<ImageFile> {
        let mut buffer = vec![0; 64 << 10];
        while self.read(&mut buffer)? > 0 {}
        let blake3 = self.hasher.finalize().to_hex().to_string();
        Ok(ImageFile { partition, path: path.to_owned(), size: self.size, blake3 })
    }
}

fn hypervisors(boot: On<'_>, home: &str, entries: &Entries) -> Vec<Hypervisor> {
    let version = |name: &str| {
        let version = name.strip_prefix("xen-")?;
        let bare = version.strip_suffix(".gz").unwrap_or(version);
        let other =
            [".efi", ".config", ".map", ".cfg", "syms"].iter().any(|end| bare.ends_with(end) || bare.contains(end));
        (!other && bare.starts_with(|c: char| c.is_ascii_digit())).then(|| bare.to_owned())
    };
    let names = boot.files.names(if home.is_empty() { "/" } else { home }, |e| !e.folder && version(&e.name).is_some());
    let one = |name: String| {
        let path = format!("{home}/{name}");
        let (file, _) = hashed(boot, &path).ok()?;
        let version = version(&name)?;
        let efi = hashed(boot, &format!("{home}/xen-{version}.efi")).ok().map(|(file, _)| file);
        Some(Hypervisor { version, args: entries.args(&path).unwrap_or_default(), file, efi })
    };
    let mut found: Vec<Hypervisor> = names.into_iter().filter_map(one).collect();
    found.sort_by(|a, b| compare(&b.version, &a.version));
    // `xen-4.17-amd64.gz` and a link `xen-4-amd64.gz` to it are one.
    found.dedup_by(|a, b| a.file.blake3 == b.file.blake3);
    found.truncate(4);
    found
}

/// Versions by their numbers: 6.10 is newer than 6.9.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    parts(a).cmp(&parts(b))
}

/// A part of a version, in the order in which rpmvercmp has what may stand at the same place: `553.el8` is older than `553.16.el8`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// What precedes a release: `~`, and a candidate for it, which kernels call `rc` with or without one.
    Before,
    End,
    Word(&'a str),
    /// How many digits, and these, without the zeroes before them.
    Number(usize, &'a str),
}

/// What divides the parts does not count.
fn parts(version: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = version;
    while let Some(first) = rest.chars().next() {
        let alike = |c: char| match first {
            '0'..='9' => c.is_ascii_digit(),
            _ => c.is_ascii_alphabetic() == first.is_ascii_alphabetic() && !c.is_ascii_digit() && c != '~',
        };
        let end = rest.char_indices().skip(1).find(|(_, c)| !alike(*c)).map_or(rest.len(), |(at, _)| at);
        let (part, tail) = rest.split_at(end);
        rest = tail;
        match first {
            '0'..='9' => {
                let digits = part.trim_start_matches('0');
                parts.push(Part::Number(digits.len(), digits));
            }
            '~' => parts.push(Part::Before),
            _ if part == "rc" => parts.push(Part::Before),
            'a'..='z' | 'A'..='Z' => parts.push(Part::Word(part)),
            _ => {}
        }
    }
    parts.push(Part::End);
    parts
}

/// An entry of a boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BootEntry {
    pub(super) version: String,
    pub(super) kernel: String,
    pub(super) initrd: Option<String>,
    pub(super) args: String,
}

/// The entries of GRUB and of the Boot Loader Specification.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) by_path: Vec<BootEntry>,
}

impl Entries {
    fn read(boot: &dyn FileSystem, home: &str, root: &dyn FileSystem) -> Self {
        let mut found = Self::default();
        let folder = format!("{home}/loader/entries");
        let environment = ["grub2/grubenv", "grub/grubenv"].iter().find_map(|p| boot.text(&format!("{home}/{p}")));
        let saved = environment.and_then(|text| setting(&text, "kernelopts")).unwrap_or_default();
        let default = root.text("/etc/kernel/cmdline").unwrap_or_default();
        for name in boot.names(&folder, |e| e.name.ends_with(".conf")).into_iter().take(64) {
            let text = boot.text(&format!("{folder}/{name}")).unwrap_or_default();
            found.by_path.extend(bls(&text, &saved));
        }
        for config in ["grub/grub.cfg", "grub2/grub.cfg"] {
            found.grub(&boot.text(&format!("{home}/{config}")).unwrap_or_default());
        }
        for entry in &mut found.by_path {
            let args = if entry.args.is_empty() { &default } else { &entry.args };
            // What could not be shown is no argument, and no path.
            let plain = args.split_whitespace().filter(|word| printable(word) == *word);
            entry.args = plain.collect::<Vec<_>>().join(" ");
        }
        let shown = |text: &str| printable(text) == text;
        found.by_path.retain(|e| shown(&e.kernel) && shown(&e.version) && e.initrd.as_deref().is_none_or(shown));
        found
    }

    /// GRUB's configuration: the first entry of each file counts, it is the plain one.
    pub(super) fn grub(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let command = words.next().unwrap_or_default();
            let known =
                ["linux", "linux16", "linuxefi", "module", "module2", "multiboot", "multiboot2", "xen_hypervisor"];
            let Some(path) = words.next().filter(|_| known.contains(&command)) else { continue };
            // What stands for a variable, or is a placeholder of grub-mkconfig, is nobody's argument.
            let words = words.filter(|w| !w.contains('$') && *w != "placeholder" && !w.starts_with("--"));
            let args = words.map(|w| w.trim_matches(['"', '\''])).collect::<Vec<_>>().join(" ");
            let kernel = path.trim_matches(['"', '\'']).to_owned();
            let kernel = kernel.rsplit_once(')').map_or(kernel.clone(), |(_device, path)| path.to_owned());
            self.by_path.push(BootEntry { version: String::new(), kernel, initrd: None, args });
        }
    }

    /// The arguments for the file at this path, which is known by its name.
    fn args(&self, path: &str) -> Option<String> {
        let leaf = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let exact = self.by_path.iter().find(|e| path.ends_with(e.kernel.as_str()) && e.kernel.len() > 1);
        exact.or_else(|| self.by_path.iter().find(|e| leaf(&e.kernel) == leaf(path))).map(|e| e.args.clone())
    }
}

/// An entry of the Boot Loader Specification.
pub(super) fn bls(text: &str, saved: &str) -> Option<BootEntry> {
    let value = |key: &str| {
        let line = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        line.filter(|rest| rest.starts_with([' ', '\t'])).map(|rest| rest.trim().to_owned()).next()
    };
    let args = value("options").unwrap_or_default().replace("$kernelopts", saved);
    let args = args.split_whitespace().filter(|w| !w.contains('$')).collect::<Vec<_>>().join(" ");
    let initrd = value("initrd").map(|i| i.split_whitespace().next().unwrap_or_default().to_owned());
    Some(BootEntry { version: value("version").unwrap_or_default(), kernel: value("linux")?, initrd, args })
}

#[cfg(test)]
#[path = "linux_tests.rs"]
mod tests;
