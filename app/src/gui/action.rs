//! What a view wants done after the frame: [`Action`], and the screens, dialogs and forms that it names.

use std::path::PathBuf;

use bootyard_core::api::{Command, HostId};
use bootyard_core::boot::Arch;
use bootyard_core::doctor::Act;
use bootyard_core::lab::{Boot, Mode, SettingChange};
use bootyard_core::lang::Language;
use bootyard_core::media;

pub(super) use super::command::{Kind, UiCommand};

use super::brought::{Brought, Note, Recording};
use super::disk_ask::DiskAsk;
use super::labs::{LabForm, Way};
use super::prefs;
use super::save::{Save, SaveForm};

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// The machines.
    Hosts,
    /// One machine.
    Host(HostId),
    /// What a machine would be given, and why.
    Chain,
    /// Disks, profiles, firmware.
    Images,
    /// The last events.
    Events,
    /// Interface, mode, services.
    Network,
    /// lab.toml, and the window itself.
    Settings,
}

/// Something that a person likes, whatever lab is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liking {
    /// The language; the desktop's where there is none.
    Language(Option<Language>),
    /// Light, dark, or the desktop's.
    Theme(prefs::Theme),
    /// Per cent.
    Scale(u16),
    /// Tell the desktop what happens while the window is hidden.
    Notify(bool),
}

/// The commands that give back what was.
pub(super) type Undo = Vec<Command>;

/// The way back from something that was done.
#[derive(Debug, Clone)]
pub(super) struct Back {
    /// Of the note that says it.
    pub(super) number: u64,
    /// What was done, as it was said.
    pub(super) said: String,
    /// The way.
    pub(super) undo: Undo,
}

/// What a view wants done when the frame is drawn.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Go to a screen.
    Show(Screen),
    /// Send a command; say the text when it is done.
    Send(Command, String),
    /// Assign; asks first where disks of several machines would be erased.
    Assign(Vec<HostId>, Boot),
    /// These start the kernel of this disk directly.
    StartDirectly(Vec<HostId>, String),
    /// Assign without asking again.
    AssignNow(Vec<HostId>, Boot),
    /// Send commands one after the other; say the text when all are done, with the way back where there is one.
    SendAll(Vec<Command>, String, Undo),
    /// Give back what was.
    Undo(Back),
    /// Confirm an interface, then start.
    ConfirmAndStart {
        /// Interface.
        interface: String,
        /// Address for a bare one.
        address: Option<String>,
        /// Mode.
        mode: Mode,
    },
    /// Stop without asking again.
    StopNow,
    /// Open a dialog.
    Ask(Dialog),
    /// Close the dialog.
    CloseDialog,
    /// Open the file dialog of the desktop.
    Pick(PickFor),
    /// Minimise and go on serving.
    KeepServing,
    /// Stop serving and close the window.
    StopAndQuit,
    /// Look for what would stop a boot; mends this first.
    Look(Option<Act>),
    /// The same, and boot a machine that does not exist from our own servers.
    SelfTest,
    /// Write packets or events to a file.
    Save(Save),
    /// Change settings of lab.toml; say the text when it is done. Asks first where disks of unknown machines would be erased.
    Settings(Vec<SettingChange>, String),
    /// The same without asking again.
    SettingsNow(Vec<SettingChange>, String),
    /// Something is liked from now on.
    Like(Liking),
    /// Open another lab, or make one; asks first where machines would lose their disks.
    OpenLab(PathBuf, Way),
    /// The same without asking again.
    OpenLabNow(PathBuf, Way),
    /// Put files where they belong.
    Bring(Vec<PathBuf>),
    /// A command of the window.
    Run(UiCommand),
}

/// What a picked file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PickFor {
    /// Image of a new disk.
    Disk,
    /// Kernel of a new profile.
    Kernel,
    /// Initrds of a new profile; several.
    Initrds,
    /// Answer file of a new profile.
    Answers,
    /// New file of an export.
    Export,
    /// A lab's folder.
    Lab,
    /// Files of any kind; several.
    Files,
    /// New file of packets.
    SavePackets,
    /// New file of events.
    SaveEvents,
}

/// A question or a form over the screen.
#[derive(Debug, Clone)]
pub(super) enum Dialog {
    /// Erase several machines?
    Install {
        /// Which.
        hosts: Vec<HostId>,
        /// What they would get.
        to: Boot,
        /// They would get it as all machines without an assignment do.
        as_unknown: bool,
    },
    /// Choose what these get, by key or click.
    Assign {
        /// Which.
        hosts: Vec<HostId>,
    },
    /// Stop although machines run from our disks?
    Stop {
        /// Their names.
        hosts: Vec<String>,
    },
    /// Close the window although machines run from our disks, or something is not done?
    Close {
        /// The machines' names.
        hosts: Vec<String>,
        /// What is not done.
        jobs: Vec<String>,
    },
    /// Name a machine.
    Rename {
        /// Which.
        host: HostId,
        /// The name so far.
        name: String,
    },
    /// Put machines into a group.
    Group {
        /// Which.
        hosts: Vec<HostId>,
        /// The group's name so far.
        name: String,
    },
    /// Drop what machines keep on disks of the lab?
    ResetDisks {
        /// Which.
        hosts: Vec<HostId>,
    },
    /// Drop machines from the list?
    Forget {
        /// Which.
        hosts: Vec<HostId>,
        /// Their entries in lab.toml, too.
        entry: bool,
    },
    /// Add a disk.
    AddDisk(DiskForm),
    /// Add a profile.
    AddProfile(ProfileForm),
    /// Something about a disk.
    Disk(DiskAsk),
    /// Where to write packets or events to.
    Save(SaveForm),
    /// Erase every machine that nobody has assigned anything?
    EraseUnknown {
        /// What does it.
        changes: Vec<SettingChange>,
        /// What is said then.
        said: String,
    },
    /// All commands of the window.
    Palette {
        /// What is searched.
        filter: String,
        /// The machines that a command would mean.
        meant: Vec<HostId>,
        /// Labs opened last.
        recent: Vec<PathBuf>,
    },
    /// All keys.
    Keys,
    /// Open a lab, or make one.
    Lab(LabForm),
    /// Close this lab although machines run from its disks, or something is not done, and open another?
    Leave {
        /// The machines' names.
        hosts: Vec<String>,
        /// What is not done.
        jobs: Vec<String>,
        /// The other lab's folder.
        to: PathBuf,
        /// Whether it is there.
        way: Way,
    },
    /// Files by their paths, one a line.
    AddFiles {
        /// The paths.
        paths: String,
    },
    /// Copy boot files into the lab?
    AddFirmware {
        /// Each with what runs it, and whether it is iPXE.
        files: Vec<(PathBuf, Arch, bool)>,
    },
    /// Files that can't be used as they are.
    Notes {
        /// Which.
        notes: Vec<Note>,
        /// How many more were not looked at.
        left: usize,
    },
    /// What happened in a recording of packets.
    Recording(Box<Recording>),
}

/// The form of a new disk.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskForm {
    /// An empty disk instead of an import.
    pub(super) empty: bool,
    /// File to import.
    pub(super) path: String,
    /// Name; follows the file until it is edited.
    pub(super) name: String,
    /// A person wrote the name.
    pub(super) named: bool,
    /// GiB of an empty disk.
    pub(super) gib: String,
    /// Where writes go.
    pub(super) writes: bootyard_core::lab::Writes,
}

/// The form of a new profile.
#[derive(Debug, Clone, Default)]
pub(super) struct ProfileForm {
    /// Name; follows the kernel's folder until it is edited.
    pub(super) name: String,
    /// A person wrote the name.
    pub(super) named: bool,
    /// Kernel file.
    pub(super) kernel: String,
    /// Initrd files, one a line.
    pub(super) initrds: String,
    /// Xen for a BIOS, for UEFI or both, one a line; empty without Xen.
    pub(super) hypervisors: String,
    /// Kernel arguments.
    pub(super) args: String,
    /// Answer file, or empty.
    pub(super) answers: String,
}

impl DiskForm {
    /// A form for this file.
    pub(super) fn of(path: &std::path::Path) -> Self {
        let mut form = Self::default();
        form.take(path);
        form
    }

    /// Takes a picked or dropped file.
    pub(super) fn take(&mut self, path: &std::path::Path) {
        self.empty = false;
        self.path = path.display().to_string();
    }
}

impl ProfileForm {
    /// Takes a file where it belongs by what it is.
    pub(super) fn take(&mut self, file: &Brought) {
        let text = file.path.display().to_string();
        let list = |list: &mut String| {
            if list.lines().any(|line| line == text) {
                return;
            }
            if !list.is_empty() {
                list.push('\n');
            }
            list.push_str(&text);
        };
        match file.kind {
            Ok(media::Kind::Initrd) => list(&mut self.initrds),
            Ok(media::Kind::Xen { .. }) => list(&mut self.hypervisors),
            Ok(media::Kind::Answers(_)) => self.answers = text,
            Ok(media::Kind::Kernel) => self.kernel = text,
            _ => {}
        }
    }
}
