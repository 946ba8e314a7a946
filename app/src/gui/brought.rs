//! Files that a person brings, dropped anywhere or picked: what each is, found out on a thread, and what becomes of it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use bootyard_core::boot::Arch;
use bootyard_core::engine::recorded::{self, Recorded};
use bootyard_core::exchange::Format;
use bootyard_core::inspect::{FileSystemKind, TableKind};
use bootyard_core::lab::ProfileKind;
use bootyard_core::media::{Kind, recognise};
use bootyard_core::trace::file;
use eframe::egui::Context;

use super::action::{Dialog, DiskForm, ProfileForm};
use super::lang::{count, t};
use super::say;

/// More files at a time are not looked at: it is said how many were left.
pub(super) const MOST: usize = 200;

/// A file and what it is, or why that can't be told.
#[derive(Debug, Clone)]
pub(super) struct Brought {
    /// Which.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) kind: Result<Kind, String>,
}

/// Files that are looked at.
#[derive(Debug)]
struct Look {
    files: Vec<PathBuf>,
    /// How many more there were.
    left: usize,
    coming: Receiver<Vec<Brought>>,
    found: Option<Vec<Brought>>,
}

impl Look {
    fn at(ctx: &Context, mut files: Vec<PathBuf>) -> Self {
        let left = files.len().saturating_sub(MOST);
        files.truncate(MOST);
        let (told, coming) = channel();
        let (all, ctx) = (files.clone(), ctx.clone());
        // A file may be on a server that does not answer: a frame never waits for it. Without a thread nothing comes, which is said.
        let _thread = std::thread::Builder::new().name("look-at-files".into()).spawn(move || {
            let look = |path: PathBuf| {
                let kind = recognise(&path).map_err(|e| e.to_string());
                Brought { path, kind }
            };
            let _window_is_gone = told.send(all.into_iter().map(look).collect());
            ctx.request_repaint();
        });
        Self { files, left, coming, found: None }
    }

    fn is_of(&self, files: &[PathBuf]) -> bool {
        files.len() == self.files.len() + self.left && files.starts_with(&self.files)
    }

    fn take(&mut self) {
        use std::sync::mpsc::TryRecvError;
        if self.found.is_some() {
            return;
        }
        match self.coming.try_recv() {
            Ok(found) => self.found = Some(found),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                let why = t!("it could not be looked at").to_owned();
                let lost = |path: &PathBuf| Brought { path: path.clone(), kind: Err(why.clone()) };
                self.found = Some(self.files.iter().map(lost).collect());
            }
        }
    }
}

/// What hovers over the window, what was let go there, and what is being read of it.
#[derive(Debug, Default)]
pub(super) struct Files {
    hovering: Option<Look>,
    dropped: Option<Look>,
    /// Recordings that are read.
    recordings: Vec<(PathBuf, Receiver<Recording>)>,
}

impl Files {
    /// These hover over the window; none: they went.
    pub(super) fn hover(&mut self, ctx: &Context, files: &[PathBuf]) {
        if files.is_empty() {
            self.hovering = None;
        } else if self.hovering.as_ref().is_none_or(|look| !look.is_of(files)) {
            self.hovering = Some(Look::at(ctx, files.to_vec()));
        }
    }

    /// These were let go, or picked.
    pub(super) fn bring(&mut self, ctx: &Context, files: Vec<PathBuf>) {
        let known = self.hovering.take().filter(|look| look.is_of(&files));
        self.dropped = Some(known.unwrap_or_else(|| Look::at(ctx, files)));
    }

    /// What was let go, once it is known what it is, and how many more files there were.
    pub(super) fn take(&mut self) -> Option<(Vec<Brought>, usize)> {
        if let Some(look) = &mut self.hovering {
            look.take();
        }
        let look = self.dropped.as_mut()?;
        look.take();
        let found = (look.found.take()?, look.left);
        self.dropped = None;
        Some(found)
    }

    /// What hovers, and what it is as soon as that is known.
    pub(super) fn hint(&self) -> Option<Hint<'_>> {
        let look = self.hovering.as_ref()?;
        Some(Hint { count: look.files.len(), left: look.left, found: look.found.as_deref() })
    }

    /// Reads packets and folds them, on a thread.
    pub(super) fn read_recording(&mut self, ctx: &Context, path: PathBuf) {
        let (told, coming) = channel();
        let ctx = ctx.clone();
        self.recordings.push((path.clone(), coming));
        // Without a thread nothing comes, which is said.
        let _thread = std::thread::Builder::new().name("read-recording".into()).spawn(move || {
            let told_of = file::open(&path).map_err(|e| say::sentence(&e.to_string()));
            let folded = told_of.map(|recording| {
                let folded = recorded::fold(&recording.packets);
                let cut = recording.cut.or_else(|| folded.missing());
                Folded { packets: recording.packets.len(), cut, folded }
            });
            let _window_is_gone = told.send(Recording { path, folded: folded.map(Box::new) });
            ctx.request_repaint();
        });
    }

    /// A recording that was read, or that nobody reads any more.
    pub(super) fn take_recording(&mut self) -> Option<Recording> {
        use std::sync::mpsc::TryRecvError;
        let mut ended = self.recordings.iter().enumerate().filter_map(|(at, (path, coming))| match coming.try_recv() {
            Ok(recording) => Some((at, recording)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                let folded = Err(say::sentence(t!("it could not be looked at")));
                Some((at, Recording { path: path.clone(), folded }))
            }
        });
        let (at, recording) = ended.next()?;
        self.recordings.remove(at);
        Some(recording)
    }
}

/// What is drawn over the window while files hover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hint<'a> {
    /// How many.
    pub(super) count: usize,
    /// How many more are not taken at the same time.
    pub(super) left: usize,
    /// What they are.
    pub(super) found: Option<&'a [Brought]>,
}

/// A recording of packets, and what happened in it.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    /// The file.
    pub(super) path: PathBuf,
    /// What happened, or why it can't be told.
    pub(super) folded: Result<Box<Folded>, String>,
}

/// What happened in a recording.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    /// How many packets it has.
    pub(super) packets: usize,
    /// Why it is not all of them.
    pub(super) cut: Option<String>,
    /// The machines, and what is wrong.
    pub(super) folded: Recorded,
}

/// A file that has no place in a lab as it is: what it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// Its name.
    pub(super) name: String,
    /// What it is and what to do, in sentences.
    pub(super) text: String,
    /// A command line that does it.
    pub(super) command: Option<String>,
}

/// What becomes of files: questions, one after the other; recordings to be read; a lab to be opened.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// To be asked.
    pub(super) dialogs: VecDeque<Dialog>,
    /// To be read.
    pub(super) recording: Option<PathBuf>,
    /// To be opened.
    pub(super) lab: Option<PathBuf>,
}

/// Puts each file where it belongs. `left`: how many more there were; `profile`: the form that is open, if that is one of a profile.
pub(super) fn plan(files: Vec<Brought>, left: usize, profile: Option<ProfileForm>) -> Plan {
    let mut plan = Plan::default();
    let mut form = profile.unwrap_or_default();
    let (mut of_profile, mut disks, mut firmware, mut notes) = (false, Vec::new(), Vec::new(), Vec::new());
    let mut configuration = Vec::new();
    for file in files {
        match &file.kind {
            Ok(Kind::Kernel | Kind::Initrd | Kind::Answers(_) | Kind::Xen { .. }) => {
                form.take(&file);
                of_profile = true;
            }
            Ok(Kind::Disk { .. }) => disks.push(Dialog::AddDisk(DiskForm::of(&file.path))),
            Ok(Kind::Firmware { arch, ipxe }) => firmware.push((file.path.clone(), *arch, *ipxe)),
            Ok(Kind::Recording) if plan.recording.is_none() => plan.recording = Some(file.path),
            Ok(Kind::Lab) if plan.lab.is_none() => plan.lab = Some(file.path),
            Ok(Kind::Configuration(format)) => configuration.push((file.path.clone(), *format)),
            _ => notes.push(note(&file)),
        }
    }
    if !configuration.is_empty() {
        notes.push(of_configuration(&configuration));
    }
    if of_profile {
        plan.dialogs.push_back(Dialog::AddProfile(form));
    }
    plan.dialogs.extend(disks);
    if !firmware.is_empty() {
        plan.dialogs.push_back(Dialog::AddFirmware { files: firmware });
    }
    if !notes.is_empty() || left > 0 {
        plan.dialogs.push_back(Dialog::Notes { notes, left });
    }
    plan
}

/// What a file is, in a few words.
pub(super) fn what(kind: &Result<Kind, String>) -> String {
    let kind = match kind {
        Ok(kind) => kind,
        Err(why) => return say::quoted(why, 160),
    };
    match kind {
        Kind::Disk { format, table: Some((table, parts)), .. } => {
            let table = match table {
                TableKind::Gpt => "GPT",
                _ => "MBR",
            };
            count!(
                *parts,
                "{format} ({table}, {n} partition)",
                "{format} ({table}, {n} partitions)",
                format = words(format),
                table = table
            )
        }
        Kind::Disk { format, file_system: Some(kind), .. } => {
            t!("{format} ({file_system} on all of it)", format = words(format), file_system = file_system(*kind))
        }
        Kind::Disk { format, .. } => words(format).to_owned(),
        Kind::Kernel => t!("a kernel").into(),
        Kind::Xen { efi: true } => t!("Xen for UEFI").into(),
        Kind::Xen { efi: false } => t!("Xen for a BIOS").into(),
        Kind::Initrd => t!("an initrd").into(),
        Kind::Answers(ProfileKind::Preseed) => t!("answers for Debian's installer (preseed)").into(),
        Kind::Answers(ProfileKind::Kickstart) => t!("answers for Fedora's and Red Hat's installer (kickstart)").into(),
        Kind::Answers(_) => t!("answers for Ubuntu's installer (autoinstall)").into(),
        Kind::Firmware { arch, ipxe: true } => t!("iPXE for {arch}", arch = say::arch(*arch)),
        Kind::Firmware { arch, ipxe: false } => t!("a boot loader for {arch}", arch = say::arch(*arch)),
        Kind::Configuration(format) => t!("configuration of another server: {format}", format = format.as_str()),
        Kind::Recording => t!("a recording of packets").into(),
        Kind::Iso { label } if label.is_empty() => t!("an ISO image").into(),
        Kind::Iso { label } => t!("an ISO image, “{label}”", label = say::clean_to(label, 40)),
        Kind::Packed { packing: "zip" | "tar", .. } => t!("an archive").into(),
        Kind::Packed { disk: true, packing } => t!("a disk image packed with {packing}", packing = packing),
        Kind::Packed { packing, .. } => t!("something packed with {packing}", packing = packing),
        Kind::Lab => t!("a lab").into(),
        Kind::Folder => t!("a folder").into(),
        Kind::Empty => t!("an empty file").into(),
        Kind::Unknown => t!("not recognised").into(),
    }
}

/// Whether nothing can be done with it here.
pub(super) fn is_useless(kind: &Result<Kind, String>) -> bool {
    matches!(kind, Err(_) | Ok(Kind::Unknown | Kind::Empty | Kind::Folder))
}

/// What becomes of a file that is dropped.
pub(super) fn becomes(kind: &Result<Kind, String>) -> &'static str {
    match kind {
        Ok(Kind::Disk { .. }) => t!("becomes a disk"),
        Ok(Kind::Kernel | Kind::Xen { .. } | Kind::Initrd | Kind::Answers(_)) => t!("goes into a profile"),
        Ok(Kind::Firmware { .. }) => t!("goes into the lab's boot firmware"),
        Ok(Kind::Recording) => t!("is explained"),
        Ok(Kind::Lab) => t!("is opened"),
        Ok(Kind::Configuration(_)) => t!("a lab can be made of it"),
        Ok(Kind::Iso { .. } | Kind::Packed { .. }) => t!("something has to be taken out of it first"),
        _ => t!("can't be used"),
    }
}

fn words(format: &str) -> &'static str {
    match format {
        "a raw image" => t!("a raw disk image"),
        "a qcow2 image" => t!("a qcow2 disk image"),
        "a VMDK image" => t!("a VMDK disk image"),
        "the description of a VMDK image" => t!("the description of a VMDK disk image"),
        "a VHDX image" => t!("a VHDX disk image"),
        "a VHD image" => t!("a VHD disk image"),
        "a VDI image" => t!("a VDI disk image"),
        _ => t!("a disk image"),
    }
}

fn file_system(kind: FileSystemKind) -> &'static str {
    match kind {
        FileSystemKind::Fat => "FAT",
        FileSystemKind::Ext => "ext4",
        FileSystemKind::Xfs => "XFS",
        FileSystemKind::Ntfs => "NTFS",
        FileSystemKind::Btrfs => t!("Btrfs"),
        FileSystemKind::Lvm => "LVM",
        FileSystemKind::Luks => "LUKS",
        FileSystemKind::BitLocker => t!("BitLocker"),
        FileSystemKind::Swap => t!("swap"),
    }
}

/// A file's name as it is shown.
pub(super) fn shown(path: &Path) -> String {
    let leaf = path.file_name().map_or_else(|| path.to_string_lossy(), |leaf| leaf.to_string_lossy());
    say::clean_to(&leaf, 60)
}

/// What is taken, for a person whose file was not.
pub(super) fn accepted() -> &'static str {
    t!(
        "Disk images (raw, qcow2, VMDK, VHD, VHDX, VDI), kernels and initrds, Xen, answer files (preseed, kickstart, autoinstall), boot files for firmware, other servers' configuration (dhcpd.conf, dnsmasq.conf, Kea, targets.conf) and recordings of packets (pcap, pcapng) are taken."
    )
}

fn note(file: &Brought) -> Note {
    let is = say::sentence(&what(&file.kind));
    let (text, command) = match &file.kind {
        Err(_) => (t!("It can't be read: {why}", why = is), None),
        Ok(Kind::Iso { label }) => (format!("{is} {}", of_iso(label)), None),
        Ok(Kind::Packed { packing, disk }) => packed(file, &is, packing, *disk),
        Ok(Kind::Recording | Kind::Lab) => (format!("{is} {}", t!("One at a time: drop it again.")), None),
        Ok(Kind::Empty) => (format!("{is} {}", t!("Copy it again.")), None),
        Ok(Kind::Folder) => (format!("{is} {}", t!("It is not a lab. Drop the files that are in it.")), None),
        _ => (format!("{is} {}", accepted()), None),
    };
    Note { name: shown(&file.path), text, command }
}

/// What to take out of an installation medium. Media are not read here: most installers want other files for the network anyway.
fn of_iso(label: &str) -> &'static str {
    let label = label.to_ascii_lowercase();
    let is = |names: &[&str]| names.iter().any(|name| label.contains(name));
    if is(&["debian"]) {
        t!(
            "A machine can't boot it from the network, and its own kernel looks for the CD. Take `linux` and `initrd.gz` from Debian's folder netboot/debian-installer/amd64 on any mirror, and drop both here."
        )
    } else if is(&["ubuntu"]) {
        t!(
            "A machine can't boot it from the network as it is. Take `casper/vmlinuz` and `casper/initrd` out of it, drop both here, and give the kernel the argument url= with an address where this ISO can be fetched."
        )
    } else if is(&["fedora", "rhel", "centos", "alma", "rocky"]) {
        t!(
            "A machine can't boot it from the network as it is. Take `images/pxeboot/vmlinuz` and `images/pxeboot/initrd.img` out of it, drop both here, and give the kernel the argument inst.repo= with the address of the installation tree."
        )
    } else {
        t!(
            "A machine can't boot it from the network as it is. Take its kernel and its initrd out of it and drop both here; they are often in casper/, images/pxeboot/, install.amd/ or boot/."
        )
    }
}

/// A word of a command line that a person may paste.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

fn packed(file: &Brought, is: &str, packing: &str, disk: bool) -> (String, Option<String>) {
    let source = quoted(&file.path);
    let plain = file.path.with_extension("");
    let plain = if plain == file.path { file.path.with_extension("raw") } else { plain };
    let unpack = match packing {
        "gzip" | "xz" | "zstd" | "lz4" | "bzip2" => Some(format!("{packing} -dc {source} > {}", quoted(&plain))),
        "zip" => Some(format!("unzip {source}")),
        "tar" => Some(format!("tar -xf {source}")),
        _ => None,
    };
    let what = if disk || matches!(packing, "zip" | "tar") {
        t!("Unpack it, then drop the disk image that comes out.")
    } else {
        t!("Unpack it, then drop what comes out.")
    };
    (format!("{is} {what}"), unpack)
}

fn of_configuration(files: &[(PathBuf, Format)]) -> Note {
    let names: Vec<String> = files.iter().map(|(path, _)| shown(path)).collect();
    let formats: Vec<&str> = files.iter().map(|(_, format)| format.as_str()).collect();
    let mut words: Vec<String> = ["bootyard", "import"].map(str::to_owned).into();
    words.extend(files.iter().map(|(path, _)| quoted(path)));
    words.extend(["--into", "NEW-FOLDER"].map(str::to_owned));
    let text = t!(
        "Configuration of another server: {formats}. A lab can be made of it, and every line is accounted for. Replace NEW-FOLDER by the folder of that lab, then open it here; with --dry-run the command only says what would become of each line.",
        formats = formats.join(", ")
    );
    Note { name: names.join(", "), text, command: Some(words.join(" ")) }
}

/// The firmware that runs a boot file, and what changes by it.
pub(super) fn firmware_meaning(arch: Arch, ipxe: bool) -> String {
    if ipxe {
        t!("iPXE for {arch}: machines of that kind are given it from their next boot on", arch = say::arch(arch))
    } else {
        t!("A boot loader for {arch}: given to whom lab.toml names it for", arch = say::arch(arch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, kind: Kind) -> Brought {
        Brought { path: Path::new("/m").join(name), kind: Ok(kind) }
    }

    fn disk(name: &str) -> Brought {
        file(name, Kind::Disk { format: "a qcow2 image", table: None, file_system: None })
    }

    #[test]
    fn each_file_goes_where_it_belongs() {
        let files = vec![
            disk("a.qcow2"),
            file("linux", Kind::Kernel),
            file("initrd.gz", Kind::Initrd),
            file("more.img", Kind::Initrd),
            file("debian.cfg", Kind::Answers(ProfileKind::Preseed)),
            disk("b.qcow2"),
            file("snponly.efi", Kind::Firmware { arch: Arch::UefiX64, ipxe: true }),
            file("notes.txt", Kind::Unknown),
        ];
        let dialogs: Vec<Dialog> = plan(files, 0, None).dialogs.into_iter().collect();
        let [
            Dialog::AddProfile(form),
            Dialog::AddDisk(a),
            Dialog::AddDisk(b),
            Dialog::AddFirmware { files },
            Dialog::Notes { notes, left: 0 },
        ] = &dialogs[..]
        else {
            panic!("{dialogs:?}")
        };
        assert_eq!((form.kernel.as_str(), form.initrds.as_str()), ("/m/linux", "/m/initrd.gz\n/m/more.img"));
        assert_eq!(
            (form.answers.as_str(), a.path.as_str(), b.path.as_str()),
            ("/m/debian.cfg", "/m/a.qcow2", "/m/b.qcow2")
        );
        assert_eq!((files.len(), notes.len()), (1, 1));
        assert!(notes[0].text.contains("Not recognised. Disk images"), "{}", notes[0].text);
    }

    #[test]
    fn each_recording_comes_and_one_that_nobody_reads_is_told() {
        let mut files = Files::default();
        let (first, second) = (channel(), channel());
        files.recordings.extend([("/m/a.pcap".into(), first.1), ("/m/b.pcap".into(), second.1)]);
        assert!(files.take_recording().is_none());
        // A reader that came to harm.
        drop(second.0);
        let lost = files.take_recording().unwrap();
        assert_eq!(lost.path, Path::new("/m/b.pcap"));
        assert_eq!(lost.folded.unwrap_err(), "It could not be looked at.");
        first.0.send(Recording { path: "/m/a.pcap".into(), folded: Err("damaged".into()) }).unwrap();
        assert_eq!(files.take_recording().unwrap().path, Path::new("/m/a.pcap"));
        assert!(files.take_recording().is_none(), "each once");
    }

    #[test]
    fn what_can_t_be_used_as_it_is_says_what_to_do() {
        let debian = note(&file("debian.iso", Kind::Iso { label: "Debian 12.5.0 amd64 n".into() }));
        assert!(debian.text.starts_with("An ISO image, “Debian 12.5.0 amd64 n”.") && debian.text.contains("netboot"));
        let packed = note(&file("it's.img.gz", Kind::Packed { packing: "gzip", disk: true }));
        assert_eq!(packed.command.as_deref(), Some(r"gzip -dc '/m/it'\''s.img.gz' > '/m/it'\''s.img'"));
        let gone = note(&Brought { path: "/m/x".into(), kind: Err("No such file or directory (os error 2)".into()) });
        assert!(gone.text.contains("No such file"), "{}", gone.text);
        let dhcpd = of_configuration(&[("/etc/dhcpd.conf".into(), Format::Dhcpd)]);
        assert_eq!(dhcpd.command.as_deref(), Some("bootyard import '/etc/dhcpd.conf' --into NEW-FOLDER"));
    }
}
