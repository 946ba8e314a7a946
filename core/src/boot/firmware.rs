//! Which boot files there are: the lab's own in `firmware/`, then those of the system's `ipxe` package.
//!
//! Releases name and place them differently, so they are told by what they are: a UEFI program by its PE header and by being iPXE,
//! a BIOS one by its name. Nothing outside the folders can be named.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::{Arch, FirmwareFile};
use crate::lang;

/// Where distributions put iPXE, in order of preference.
const SYSTEM: [&str; 3] = ["/usr/lib/ipxe", "/usr/share/ipxe", "/boot"];

/// What of the system's folders may be served: `/boot` has more than boot files for others.
const SYSTEM_ENDS: [&str; 6] = ["efi", "kpxe", "kkpxe", "kkkpxe", "pxe", "lkrn"];

/// Bounds of the walk through a folder.
const DEEPEST: usize = 4;
const MOST_FILES: usize = 4096;

/// How names of BIOS boot files end.
const NBP: [&str; 4] = [".kpxe", ".kkpxe", ".kkkpxe", ".pxe"];

/// A BIOS boot file is loaded below 640 KiB.
const LARGEST_NBP: u64 = 640 << 10;

/// A UEFI build of iPXE is about a megabyte; what is larger is not searched for its name.
const LARGEST_EFI: u64 = 8 << 20;

/// The boot files that can be served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firmware {
    /// The best for each architecture, without HTTP variants.
    pub by_arch: BTreeMap<Arch, FirmwareFile>,
    /// All of them, by name relative to their folder; `/` between the parts.
    pub files: BTreeMap<String, PathBuf>,
    /// What runs them, where that is known.
    pub runs_on: BTreeMap<String, Arch>,
}

/// Looks for boot files: in the lab's `firmware/` first, then in the system's folders.
#[must_use]
pub fn find(firmware_dir: &Path) -> Firmware {
    let system = SYSTEM.map(Path::new);
    find_in(firmware_dir, &system)
}

fn find_in(lab: &Path, system: &[&Path]) -> Firmware {
    let mut found = Firmware::default();
    let mut best: BTreeMap<Arch, (Rank, FirmwareFile)> = BTreeMap::new();
    let folders = std::iter::once((lab, true)).chain(system.iter().map(|dir| (*dir, false)));
    for (n, (dir, own)) in folders.enumerate() {
        for (name, path) in walk(dir, own) {
            if found.files.contains_key(&name) {
                continue;
            }
            found.files.insert(name.clone(), path.clone());
            if let Some(arch) = runs_on(&name, &path) {
                found.runs_on.insert(name.clone(), arch);
            }
            let Some((arch, size)) = classify(&name, &path) else { continue };
            let (kind, signed) = (kind(&name), second_stage(&name).is_some());
            let rank =
                Rank { folder: n, kind, unsigned: !signed, depth: name.matches('/').count(), name: name.clone() };
            let file = FirmwareFile { name, path, size };
            match best.get(&arch) {
                Some((other, _)) if *other <= rank => {}
                _ => drop(best.insert(arch, (rank, file))),
            }
        }
    }
    found.by_arch = best.into_iter().map(|(arch, (_, file))| (arch, file)).collect();
    found
}

/// Lower is better.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    folder: usize,
    kind: u8,
    /// The signed chain starts with Secure Boot on or off, which DHCP does not tell.
    unsigned: bool,
    depth: usize,
    name: String,
}

/// `snponly` and `undionly` use the firmware's own driver, which has just loaded them: it works. Of `undionly` the `.kkpxe` form
/// is for firmware that needs its driver's memory kept; few do.
fn kind(name: &str) -> u8 {
    let name = base(&second_stage(name).unwrap_or_else(|| name.to_owned()));
    if name.ends_with("kkpxe") {
        1
    } else if name.starts_with("snponly") || name.starts_with("undionly") {
        0
    } else if name.contains("snp") || name.contains("undi") {
        1
    } else if name.contains("ipxe") {
        2
    } else {
        3
    }
}

fn base(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase()
}

/// What iPXE's signed shim starts: its own name without `-shim`, from the same folder. `None` for what is no such shim.
fn second_stage(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".efi")?;
    let at = stem.rfind("-shim").filter(|at| stem.get(*at..).is_some_and(|end| !end.contains('/')))?;
    Some(format!("{}.efi", name.get(..at)?))
}

/// What runs a file, and its size; `None` for all but iPXE.
fn classify(name: &str, path: &Path) -> Option<(Arch, u64)> {
    let size = fs::metadata(path).ok()?.len();
    if let Some(next) = second_stage(name) {
        // Without it the shim would end in an error that only its screen shows.
        let next = path.with_file_name(next.rsplit('/').next()?);
        let (arch, _) = classify(&next.file_name()?.to_string_lossy(), &next)?;
        return (runs_on(name, path)? == arch).then_some((arch, size));
    }
    let name = base(name);
    if name.ends_with(".efi") {
        if size > LARGEST_EFI {
            return None;
        }
        let mut file = File::open(path).ok()?;
        let mut head = Vec::new();
        (&mut file).take(4096).read_to_end(&mut head).ok()?;
        let arch = of_machine(pe_machine(&head)?)?;
        // A boot loader or shim that somebody put there is for those who name it.
        if kind(&name) == 3 && !is_ipxe(path, &mut file)? {
            return None;
        }
        return Some((arch, size));
    }
    let nbp = NBP.iter().any(|end| name.ends_with(end));
    (nbp && (1..=LARGEST_NBP).contains(&size)).then_some((Arch::Bios, size))
}

/// What runs a PE image of this machine type (Microsoft's PE format, "Machine Types").
pub(crate) fn of_machine(machine: u16) -> Option<Arch> {
    Some(match machine {
        0x014c => Arch::UefiIa32,
        0x8664 => Arch::UefiX64,
        0x01c2 | 0x01c4 => Arch::UefiArm32,
        0xaa64 => Arch::UefiArm64,
        0x5032 => Arch::UefiRiscv32,
        0x5064 => Arch::UefiRiscv64,
        0x6232 => Arch::UefiLoong32,
        0x6264 => Arch::UefiLoong64,
        _ => return None,
    })
}

/// What runs a file, whatever program it is: a UEFI program by its header, one for a BIOS by its name. `None`: not known.
fn runs_on(name: &str, path: &Path) -> Option<Arch> {
    let name = base(name);
    if NBP.iter().any(|end| name.ends_with(end)) {
        return Some(Arch::Bios);
    }
    let mut head = Vec::new();
    File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    of_machine(pe_machine(&head)?)
}

/// What is known of the programs that were searched: the folder is looked at each second, and they need not be read each time.
static SEARCHED: Mutex<BTreeMap<PathBuf, (u64, SystemTime, bool)>> = Mutex::new(BTreeMap::new());
/// So many are remembered.
const MOST_SEARCHED: usize = 200;

fn is_ipxe(path: &Path, file: &mut File) -> Option<bool> {
    let about = file.metadata().ok()?;
    let (size, changed) = (about.len(), about.modified().ok()?);
    let mut searched = SEARCHED.lock().unwrap_or_else(PoisonError::into_inner);
    match searched.get(path) {
        Some((s, c, found)) if (*s, *c) == (size, changed) => return Some(*found),
        _ => {}
    }
    let found = mentions_ipxe(file)?;
    if searched.len() >= MOST_SEARCHED {
        searched.clear();
    }
    searched.insert(path.to_owned(), (size, changed, found));
    Some(found)
}

fn mentions_ipxe(file: &mut File) -> Option<bool> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(LARGEST_EFI).read_to_end(&mut bytes).ok()?;
    Some(bytes.windows(4).any(|w| w == b"iPXE"))
}

/// The machine type of a PE image, from its first bytes.
#[must_use]
pub fn pe_machine(head: &[u8]) -> Option<u16> {
    if head.get(..2)? != b"MZ" {
        return None;
    }
    let offset = head.get(0x3c..0x40)?.try_into().map(u32::from_le_bytes).ok()?;
    let pe = head.get(usize::try_from(offset).ok()?..)?;
    if pe.get(..4)? != b"PE\0\0" {
        return None;
    }
    pe.get(4..6)?.try_into().map(u16::from_le_bytes).ok()
}

/// Whether a PE image carries a signature: its fifth data directory, the certificate table, has a size (Microsoft's PE format, "Optional
/// Header Data Directories"). Whose it is, and whether a firmware trusts it, is not looked at.
#[must_use]
pub fn pe_signed(head: &[u8]) -> bool {
    let size = || {
        pe_machine(head)?;
        let offset = usize::try_from(head.get(0x3c..0x40)?.try_into().map(u32::from_le_bytes).ok()?).ok()?;
        let optional = head.get(offset.checked_add(24)?..)?;
        // 32-bit images have their directories 16 bytes earlier.
        let directories = match optional.get(..2)? {
            [0x0b, 0x01] => 96,
            [0x0b, 0x02] => 112,
            _ => return None,
        };
        let entry = optional.get(directories + 4 * 8..)?;
        entry.get(4..8)?.try_into().map(u32::from_le_bytes).ok()
    };
    size().is_some_and(|size| size > 0)
}

/// For fuzzing.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    assert!(!pe_signed(data) || pe_machine(data).is_some());
    let machine = pe_machine(data);
    assert!(machine.is_none() || data.starts_with(b"MZ"));
}

/// The regular files below a folder. Of the lab's own, none that a link takes outside of it: a lab may come from somebody else.
fn walk(dir: &Path, own: bool) -> Vec<(String, PathBuf)> {
    let mut out = Vec::new();
    let Ok(root) = fs::canonicalize(dir) else { return out };
    let mut folders = vec![(root.clone(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || name.chars().any(char::is_control) || out.len() >= MOST_FILES {
                continue;
            }
            let Ok(path) = fs::canonicalize(entry.path()) else { continue };
            if own && !path.starts_with(&root) {
                continue;
            }
            let Ok(meta) = fs::metadata(&path) else { continue };
            let full = format!("{prefix}{name}");
            // Links to folders could lead round in circles.
            let link = entry.file_type().is_ok_and(|t| t.is_symlink());
            if meta.is_dir() && !link && depth < DEEPEST {
                folders.push((path, format!("{full}/"), depth + 1));
            } else if meta.is_file() && (own || is_system_boot_file(&root, &name)) {
                out.push((full, path));
            }
        }
    }
    out
}

fn is_system_boot_file(root: &Path, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let end = name.rsplit_once('.').map(|(_, end)| end).unwrap_or_default();
    let ipxe = ["ipxe", "snponly", "undionly"].iter().any(|part| name.contains(part));
    SYSTEM_ENDS.contains(&end) && (ipxe || root != Path::new("/boot"))
}

/// How to get a boot file for an architecture that has none: a sentence.
#[must_use]
pub fn firmware_remedy(arch: Arch) -> String {
    let said = |key: &str, params: &[lang::Param<'_>]| lang::fill(lang::sentence("firmware-remedy", key), params);
    let build = |dir: &str, place: &str| said("build", &[("dir", &dir), ("place", &place)]);
    match arch.without_http() {
        Arch::Bios => said("package", &[("file", &"undionly.kpxe")]),
        Arch::UefiX64 => said("package", &[("file", &"snponly.efi")]),
        Arch::UefiArm64 => said("package-arm64", &[("build", &build("bin-arm64-efi", "arm64"))]),
        Arch::UefiIa32 => build("bin-i386-efi", "ia32"),
        Arch::UefiRiscv32 => build("bin-riscv32-efi", "riscv32"),
        Arch::UefiRiscv64 => build("bin-riscv64-efi", "riscv64"),
        Arch::UefiLoong64 => build("bin-loong64-efi", "loong64"),
        Arch::UefiLoong32 | Arch::RaspberryPi => said("none", &[]),
        _ => build("bin-arm32-efi", "arm32"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest PE header, with a word inside.
    fn pe(machine: u16, word: &str) -> Vec<u8> {
        let mut out = vec![0; 0x80];
        out[..2].copy_from_slice(b"MZ");
        out[0x3c] = 0x80;
        out.extend(b"PE\0\0");
        out.extend(machine.to_le_bytes());
        out.extend([0; 64]);
        out.extend(word.as_bytes());
        out
    }

    fn put(dir: &Path, name: &str, bytes: &[u8]) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn names(found: &Firmware) -> Vec<(&'static str, &str)> {
        found.by_arch.iter().map(|(a, f)| (a.as_str(), f.name.as_str())).collect()
    }

    #[test]
    fn files_are_told_by_what_they_are() {
        let (lab, debian, fedora) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(debian.path(), "ipxe.efi", &pe(0x8664, "iPXE"));
        put(debian.path(), "snponly.efi", &pe(0x8664, "iPXE"));
        put(debian.path(), "ipxe-arm64.efi", &pe(0xaa64, "iPXE"));
        put(debian.path(), "undionly.kpxe", b"x");
        put(debian.path(), "qemu/pxe-e1000.rom", b"x");
        put(fedora.path(), "arm64-efi/snponly.efi", &pe(0xaa64, "iPXE"));
        put(fedora.path(), "ipxe-i386.efi", &pe(0x14c, "iPXE"));
        let find = || find_in(lab.path(), &[debian.path(), fedora.path()]);
        let found = find();
        let expected = [
            ("bios", "undionly.kpxe"),
            ("uefi-ia32", "ipxe-i386.efi"),
            ("uefi-x64", "snponly.efi"),
            ("uefi-arm64", "ipxe-arm64.efi"),
        ];
        assert_eq!(names(&found), expected);
        assert!(found.files.contains_key("arm64-efi/snponly.efi") && !found.files.contains_key("qemu/pxe-e1000.rom"));

        // The lab's own come first, whatever they are called, and loaders that are not iPXE are served to those who name them.
        put(lab.path(), "own.efi", &pe(0x8664, "this is iPXE"));
        put(lab.path(), "grubx64.efi", &pe(0x8664, "GRUB"));
        put(lab.path(), "arm/snponly.efi", &pe(0xaa64, ""));
        put(lab.path(), "undionly.kpxe", b"");
        put(lab.path(), "broken-ipxe.efi", b"MZ");
        let found = find();
        assert_eq!(found.by_arch[&Arch::UefiX64].name, "own.efi");
        assert_eq!(found.by_arch[&Arch::UefiArm64].name, "arm/snponly.efi");
        assert_eq!(found.by_arch.get(&Arch::Bios), None, "an empty file hides the system's and is none");
        assert!(found.files.contains_key("grubx64.efi"));
    }

    #[test]
    fn the_signed_chain_comes_first_where_it_is_whole() {
        let (lab, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let best = || find_in(lab.path(), &[system.path()]).by_arch.get(&Arch::UefiX64).map(|f| f.name.clone());
        put(system.path(), "snponly.efi", &pe(0x8664, "iPXE"));
        put(lab.path(), "x86_64-sb/snponly-shim.efi", &pe(0x8664, "shim"));
        put(lab.path(), "x86_64-sb/shimx64.efi", &pe(0x8664, "shim"));
        assert_eq!(best().as_deref(), Some("snponly.efi"), "a shim without what it starts");
        put(lab.path(), "x86_64-sb/snponly.efi", &pe(0xaa64, "iPXE"));
        assert_eq!(best().as_deref(), Some("snponly.efi"), "or with another machine's");
        put(lab.path(), "x86_64-sb/snponly.efi", &pe(0x8664, "iPXE"));
        put(lab.path(), "x86_64-sb/ipxe-shim.efi", &pe(0x8664, "shim"));
        put(lab.path(), "x86_64-sb/ipxe.efi", &pe(0x8664, "iPXE"));
        assert_eq!(best().as_deref(), Some("x86_64-sb/snponly-shim.efi"));
        assert_eq!(second_stage("a-shim/b.efi"), None);
        assert_eq!(second_stage("a/snponly-shimx64.efi").as_deref(), Some("a/snponly.efi"));
    }

    #[test]
    fn no_link_leads_out_of_the_lab() {
        let (lab, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(other.path(), "secret", b"x");
        put(lab.path(), "ipxe.efi", &pe(0x8664, ""));
        std::os::unix::fs::symlink(other.path().join("secret"), lab.path().join("a.efi")).unwrap();
        std::os::unix::fs::symlink(other.path(), lab.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("ipxe.efi", lab.path().join("b.efi")).unwrap();
        std::os::unix::fs::symlink(".", lab.path().join("round")).unwrap();
        let found = find_in(lab.path(), &[]);
        assert_eq!(found.files.keys().collect::<Vec<_>>(), ["b.efi", "ipxe.efi"]);
    }

    #[test]
    fn a_machine_is_read_only_where_the_header_is() {
        assert_eq!(pe_machine(&pe(0x8664, "")), Some(0x8664));
        let mut lying = pe(0x8664, "");
        lying[0x3c..0x40].fill(0xff);
        assert_eq!(pe_machine(&lying), None);
    }

    #[test]
    fn a_signature_is_seen_in_both_kinds_of_header() {
        for (magic, directories) in [([0x0b, 0x01], 96), ([0x0b, 0x02], 112)] {
            let mut image = vec![0; 0x400];
            image[..2].copy_from_slice(b"MZ");
            image[0x3c] = 0x80;
            image[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
            image[0x98..0x9a].copy_from_slice(&magic);
            assert!(!pe_signed(&image));
            let size = 0x98 + directories + 4 * 8 + 4;
            image[size] = 1;
            assert!(pe_signed(&image));
            assert!(!pe_signed(&image[..size]), "cut off");
        }
    }

    #[test]
    fn each_architecture_has_a_remedy() {
        for arch in Arch::ALL {
            assert!(firmware_remedy(arch).contains("firmware/"), "{arch}");
        }
    }

    /// The real package, where it is installed.
    #[test]
    fn the_system_s_package_is_found() {
        if !Path::new("/usr/lib/ipxe/undionly.kpxe").exists() {
            println!("skipped: the package ipxe is not installed");
            return;
        }
        let found = find(Path::new("/nonexistent"));
        assert_eq!(found.by_arch[&Arch::Bios].name, "undionly.kpxe");
        assert!(["snponly.efi", "ipxe.efi", "ipxe-amd64.efi"].contains(&found.by_arch[&Arch::UefiX64].name.as_str()));
    }
}
