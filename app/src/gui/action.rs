//! What the window can be told: [`Action`] is what a view wants done after the frame, [`UiCommand`] what a key, a button and the
//! palette share: text, tooltip and shortcut in one place.

use std::path::PathBuf;

use bootyard_core::api::{Command, HostId};
use bootyard_core::lab::{Boot, Mode};
use eframe::egui::{Key, KeyboardShortcut, Modifiers};

use super::disk_ask::DiskAsk;

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// The machines.
    Hosts,
    /// One machine.
    Host(HostId),
    /// Disks, profiles, firmware.
    Images,
    /// The last events.
    Events,
    /// Interface, mode, services.
    Network,
}

/// Earlier assignments, to be given back.
pub(super) type Undo = Vec<(Vec<HostId>, Boot)>;

/// What a view wants done when the frame is drawn.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Go to a screen.
    Show(Screen),
    /// Send a command; say the text when it is done.
    Send(Command, String),
    /// Assign; asks first where disks of several machines would be erased.
    Assign(Vec<HostId>, Boot),
    /// Assign without asking again.
    AssignNow(Vec<HostId>, Boot),
    /// Give earlier assignments back.
    Undo(Undo),
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
    /// Close the window although machines run from our disks?
    Close {
        /// Their names.
        hosts: Vec<String>,
    },
    /// Name a machine.
    Rename {
        /// Which.
        host: HostId,
        /// The name so far.
        name: String,
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
    /// All commands of the window.
    Palette {
        /// What is searched.
        filter: String,
    },
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
    /// Takes dropped files, each where its name says that it belongs.
    pub(super) fn take(&mut self, paths: &[PathBuf]) {
        for path in paths {
            let text = path.display().to_string();
            match FileKind::of(path) {
                FileKind::Initrd => {
                    if !self.initrds.is_empty() {
                        self.initrds.push('\n');
                    }
                    self.initrds.push_str(&text);
                }
                FileKind::Answers => self.answers = text,
                FileKind::Kernel | FileKind::Disk => self.kernel = text,
            }
        }
    }
}

/// What a file seems to be, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// An image.
    Disk,
    /// A kernel.
    Kernel,
    /// An initrd.
    Initrd,
    /// An answer file.
    Answers,
}

impl FileKind {
    /// By the name.
    pub(super) fn of(path: &std::path::Path) -> Self {
        let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if name.starts_with("initr") || name.ends_with(".cpio") || name.ends_with(".gz") {
            Self::Initrd
        } else if ["cfg", "ks", "seed", "preseed", "yaml", "yml"].contains(&extension.as_str()) || name == "user-data" {
            Self::Answers
        } else if ["vmlinuz", "linux", "bzimage", "kernel"].iter().any(|k| name.starts_with(k)) {
            Self::Kernel
        } else {
            Self::Disk
        }
    }
}

/// What a key, a button and the palette do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UiCommand {
    /// Begin to serve.
    Start,
    /// Stop serving.
    Stop,
    /// Screens.
    ShowHosts,
    /// Screens.
    ShowImages,
    /// Screens.
    ShowEvents,
    /// Screens.
    ShowNetwork,
    /// To the filter field.
    Find,
    /// Select all shown machines.
    SelectAll,
    /// Choose what the selected machines get.
    Assign,
    /// The selected machines boot their local disk.
    AssignLocal,
    /// The selected machines wait.
    AssignWait,
    /// Give back the last assignment.
    Undo,
    /// Name the selected machine.
    Rename,
    /// Drop the selected machines.
    Forget,
    /// Add a disk.
    AddDisk,
    /// Add a profile.
    AddProfile,
    /// Read lab.toml again.
    Reload,
    /// All commands.
    Palette,
}

impl UiCommand {
    /// All of them, as the palette lists them.
    pub(super) const ALL: [Self; 18] = [
        Self::Start,
        Self::Stop,
        Self::ShowHosts,
        Self::ShowImages,
        Self::ShowEvents,
        Self::ShowNetwork,
        Self::Find,
        Self::SelectAll,
        Self::Assign,
        Self::AssignLocal,
        Self::AssignWait,
        Self::Undo,
        Self::Rename,
        Self::Forget,
        Self::AddDisk,
        Self::AddProfile,
        Self::Reload,
        Self::Palette,
    ];

    /// On a button and in the palette.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Stop => "Stop",
            Self::ShowHosts => "Machines",
            Self::ShowImages => "Images",
            Self::ShowEvents => "Events",
            Self::ShowNetwork => "Network",
            Self::Find => "Find",
            Self::SelectAll => "Select all",
            Self::Assign => "Assign…",
            Self::AssignLocal => "Local disk",
            Self::AssignWait => "Wait",
            Self::Undo => "Undo",
            Self::Rename => "Rename…",
            Self::Forget => "Forget…",
            Self::AddDisk => "Add disk…",
            Self::AddProfile => "Add profile…",
            Self::Reload => "Read lab.toml again",
            Self::Palette => "All commands…",
        }
    }

    /// Under the pointer.
    pub(super) fn tooltip(self) -> &'static str {
        match self {
            Self::Start => "Answer machines on the chosen interface",
            Self::Stop => "Stop answering; sessions are ended in order",
            Self::ShowHosts => "Every machine on the wire and how far its boot has come",
            Self::ShowImages => "Disks, profiles and boot firmware",
            Self::ShowEvents => "What happened last",
            Self::ShowNetwork => "Interface, mode, servers, and what is wrong with them",
            Self::Find => "Filter by name, address, assignment or stage",
            Self::SelectAll => "Select every machine that is shown",
            Self::Assign => "Choose what the selected machines get",
            Self::AssignLocal => "The selected machines boot from their own disk",
            Self::AssignWait => "The selected machines wait at their screen",
            Self::Undo => "Give the machines what they had before the last assignment",
            Self::Rename => "Give the selected machine a name; it is written to lab.toml",
            Self::Forget => "Drop the selected machines from the list",
            Self::AddDisk => "Import an image, or make an empty disk",
            Self::AddProfile => "Add an installer or a live system: kernel, initrds, answers",
            Self::Reload => "Take in what was changed in the file by hand",
            Self::Palette => "Every command with its key",
        }
    }

    /// Its key. A key without a modifier works while no text field has the focus.
    pub(super) fn shortcut(self) -> Option<KeyboardShortcut> {
        let (modifiers, key) = match self {
            Self::Start => (Modifiers::NONE, Key::F5),
            Self::Stop => (Modifiers::SHIFT, Key::F5),
            Self::ShowHosts => (Modifiers::COMMAND, Key::Num1),
            Self::ShowImages => (Modifiers::COMMAND, Key::Num2),
            Self::ShowEvents => (Modifiers::COMMAND, Key::Num3),
            Self::ShowNetwork => (Modifiers::COMMAND, Key::Num4),
            Self::Find => (Modifiers::COMMAND, Key::F),
            Self::SelectAll => (Modifiers::COMMAND, Key::A),
            Self::Assign => (Modifiers::NONE, Key::A),
            Self::AssignLocal => (Modifiers::NONE, Key::L),
            Self::AssignWait => (Modifiers::NONE, Key::W),
            Self::Undo => (Modifiers::COMMAND, Key::Z),
            Self::Rename => (Modifiers::NONE, Key::F2),
            Self::Forget => (Modifiers::NONE, Key::Delete),
            Self::AddDisk => (Modifiers::COMMAND, Key::D),
            Self::AddProfile => (Modifiers::COMMAND, Key::P),
            Self::Reload => (Modifiers::COMMAND, Key::R),
            Self::Palette => (Modifiers::COMMAND, Key::K),
        };
        Some(KeyboardShortcut::new(modifiers, key))
    }

    /// Whether it would act on the text in a focused field instead.
    pub(super) fn yields_to_text(self) -> bool {
        matches!(self, Self::SelectAll | Self::Undo)
            || self.shortcut().is_some_and(|s| s.modifiers.is_none() && !matches!(s.logical_key, Key::F2 | Key::F5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_commands_share_a_key() {
        for (at, a) in UiCommand::ALL.iter().enumerate() {
            for b in &UiCommand::ALL[..at] {
                assert_ne!(a.shortcut(), b.shortcut(), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn dropped_files_go_where_their_names_say() {
        let mut form = ProfileForm::default();
        form.take(&["/m/linux".into(), "/m/initrd.gz".into(), "/m/initramfs2.img".into(), "/m/debian.cfg".into()]);
        assert_eq!(form.kernel, "/m/linux");
        assert_eq!(form.initrds, "/m/initrd.gz\n/m/initramfs2.img");
        assert_eq!(form.answers, "/m/debian.cfg");
        assert_eq!(FileKind::of(std::path::Path::new("/d/Server 01.qcow2")), FileKind::Disk);
    }
}
