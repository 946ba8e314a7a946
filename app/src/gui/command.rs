//! What a key, a button, a menu and the palette share: [`UiCommand`], with its text, tooltip and shortcut in one place, and why it is
//! of no use now.

use bootyard_core::api::{EngineState, HostId, Snapshot};
use bootyard_core::lang::Language;
use eframe::egui::{Key, KeyboardShortcut, Modifiers};

use super::action::Liking;
use super::lang::t;
use super::{prefs, targets};

/// What a key, a button, a menu and the palette do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UiCommand {
    /// Begin to serve.
    Start,
    /// Stop serving.
    Stop,
    /// Look for what would stop a boot.
    Check,
    /// Read lab.toml again.
    Reload,
    /// Screens.
    ShowHosts,
    /// Screens.
    ShowImages,
    /// Screens.
    ShowEvents,
    /// Screens.
    ShowNetwork,
    /// Screens.
    ShowSettings,
    /// Look for what would stop a boot, and boot a machine that does not exist.
    SelfTest,
    /// Show or hide the packets of a machine.
    Packets,
    /// What a machine would be given, and why.
    Explain,
    /// To the filter field.
    Find,
    /// The seating plan beside the table, or not.
    SeatingPlan,
    /// Select all shown machines.
    SelectAll,
    /// Choose what the selected machines get.
    Assign,
    /// The selected machines boot their local disk.
    AssignLocal,
    /// The selected machines wait.
    AssignWait,
    /// Turn the selected machines on.
    Wake,
    /// Put the selected machines into a group.
    Group,
    /// Name the selected machine.
    Rename,
    /// What lab.toml says of the selected machine.
    MachineSettings,
    /// Drop what the selected machines keep on disks.
    ResetDisks,
    /// Drop the selected machines.
    Forget,
    /// Give back what was before the last change.
    Undo,
    /// Add a disk.
    AddDisk,
    /// Add a profile.
    AddProfile,
    /// Bring files of any kind.
    AddFiles,
    /// Open another lab.
    OpenLab,
    /// Make a lab.
    NewLab,
    /// All commands.
    Palette,
    /// All keys.
    Keys,
    /// Everything larger.
    Larger,
    /// Everything smaller.
    Smaller,
    /// As large as the desktop has it.
    ActualSize,
    /// The theme.
    Light,
    /// The theme.
    Dark,
    /// The theme.
    SystemTheme,
    /// The language.
    English,
    /// The language.
    German,
    /// The language.
    SystemLanguage,
}

/// What a command belongs to, as the list of keys has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Serving.
    Serving,
    /// Screens and what they show.
    Going,
    /// The machines that are selected.
    Machines,
    /// What machines boot.
    Images,
    /// The window.
    Window,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Serving, Self::Going, Self::Machines, Self::Images, Self::Window];

    /// Above its commands.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Serving => t!("Serving"),
            Self::Going => t!("Screens"),
            Self::Machines => t!("Selected machines"),
            Self::Images => t!("Images"),
            Self::Window => t!("Window"),
        }
    }
}

impl UiCommand {
    /// All of them, as the palette lists them.
    pub(super) const ALL: [Self; 41] = [
        Self::Start,
        Self::Stop,
        Self::Check,
        Self::Reload,
        Self::ShowHosts,
        Self::ShowImages,
        Self::ShowEvents,
        Self::ShowNetwork,
        Self::ShowSettings,
        Self::SelfTest,
        Self::Packets,
        Self::Explain,
        Self::Find,
        Self::SeatingPlan,
        Self::SelectAll,
        Self::Assign,
        Self::AssignLocal,
        Self::AssignWait,
        Self::Wake,
        Self::Group,
        Self::Rename,
        Self::MachineSettings,
        Self::ResetDisks,
        Self::Forget,
        Self::Undo,
        Self::AddDisk,
        Self::AddProfile,
        Self::AddFiles,
        Self::OpenLab,
        Self::NewLab,
        Self::Palette,
        Self::Keys,
        Self::Larger,
        Self::Smaller,
        Self::ActualSize,
        Self::Light,
        Self::Dark,
        Self::SystemTheme,
        Self::English,
        Self::German,
        Self::SystemLanguage,
    ];

    /// What the menu of machines offers, and the bar below their table.
    pub(super) const OF_MACHINES: [Self; 9] = [
        Self::Assign,
        Self::AssignLocal,
        Self::AssignWait,
        Self::Wake,
        Self::Group,
        Self::Rename,
        Self::MachineSettings,
        Self::ResetDisks,
        Self::Forget,
    ];

    /// On a button and in the palette.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Start => t!("Start"),
            Self::Stop => t!("Stop"),
            Self::Check => t!("Check now"),
            Self::Reload => t!("Read lab.toml again"),
            Self::ShowHosts => t!("Machines"),
            Self::ShowImages => t!("Images"),
            Self::ShowEvents => t!("Events"),
            Self::ShowNetwork => t!("Network"),
            Self::SelfTest => t!("Self-test"),
            Self::Packets => t!("Packets"),
            Self::Explain => t!("Why does it get that?"),
            Self::Find => t!("Find"),
            Self::SeatingPlan => t!("Seating plan"),
            Self::SelectAll => t!("Select all"),
            Self::Assign => t!("Assign…"),
            Self::AssignLocal => t!("Local disk"),
            Self::AssignWait => t!("Wait"),
            Self::Wake => t!("Wake"),
            Self::Group => t!("Group…"),
            Self::Rename => t!("Rename…"),
            Self::MachineSettings => t!("Machine settings…"),
            Self::ResetDisks => t!("Reset disk…"),
            Self::Forget => t!("Forget…"),
            Self::Undo => t!("Undo"),
            Self::AddDisk => t!("Add disk…"),
            Self::AddProfile => t!("Add profile…"),
            Self::AddFiles => t!("Add files…"),
            Self::OpenLab => t!("Open lab…"),
            Self::NewLab => t!("New lab…"),
            Self::Palette => t!("All commands…"),
            Self::Keys => t!("Keys"),
            Self::ShowSettings => t!("Settings"),
            Self::Larger => t!("Larger"),
            Self::Smaller => t!("Smaller"),
            Self::ActualSize => t!("As large as the desktop has it"),
            Self::Light => t!("Theme: light"),
            Self::Dark => t!("Theme: dark"),
            Self::SystemTheme => t!("Theme: the desktop's"),
            Self::English => t!("Language: English"),
            Self::German => t!("Language: German"),
            Self::SystemLanguage => t!("Language: the desktop's"),
        }
    }

    /// Under the pointer.
    pub(super) fn tooltip(self) -> &'static str {
        match self {
            Self::Start => t!("Answer machines on the chosen interface"),
            Self::Stop => t!("Stop answering; sessions are ended in order"),
            Self::Check => t!("Look for what would stop a boot: cable, ports, firewall, boot files, space"),
            Self::Reload => t!("Take in what was changed in the file by hand"),
            Self::ShowHosts => t!("Every machine on the wire and how far its boot has come"),
            Self::ShowImages => t!("Disks, profiles and boot firmware"),
            Self::ShowEvents => t!("What happened last"),
            Self::ShowNetwork => t!("Interface, mode, servers, and what is wrong with them"),
            Self::SelfTest => t!("Boot a machine that does not exist from these servers, and check the rest, too"),
            Self::Packets => t!("What the machine and its servers said to each other, packet by packet"),
            Self::Explain => t!(
                "The path of a machine, or of one that is made up, through DHCP, TFTP, HTTP and iSCSI, and what decides"
            ),
            Self::Find => t!("Filter by name, MAC, maker, address, model, state or assignment"),
            Self::SeatingPlan => t!("Show beside the table where the machines of a group stand"),
            Self::SelectAll => t!("Select every machine that is shown"),
            Self::Assign => t!("Choose what the selected machines get"),
            Self::AssignLocal => t!("The selected machines boot from their own disk"),
            Self::AssignWait => t!("The selected machines wait at their screen"),
            Self::Wake => t!("Turn the selected machines on: Wake-on-LAN, which their firmware must have switched on"),
            Self::Group => t!("Put the selected machines into a group, such as a room; it is written to lab.toml"),
            Self::Rename => t!("Give the selected machine a name; it is written to lab.toml"),
            Self::MachineSettings => {
                t!("Its fixed address, its boot file, its MAC, group and seat, as lab.toml says them")
            }
            Self::ResetDisks => {
                t!("Drop what the selected machines wrote on disks of this lab; they start from the image again")
            }
            Self::Forget => t!("Drop the selected machines from the list"),
            Self::Undo => t!("Give back what was before the last assignment, name, group or seat"),
            Self::AddDisk => t!("Import an image, or make an empty disk"),
            Self::AddProfile => t!("Add an installer or a live system: kernel, initrds, answers"),
            Self::AddFiles => {
                t!(
                    "Bring files of any kind; each is recognised by its content. Dropping them onto the window does the same"
                )
            }
            Self::OpenLab => t!("Open another lab in this window"),
            Self::NewLab => t!("Make another lab in an empty folder"),
            Self::Palette => t!("Every command with its key"),
            Self::Keys => t!("Every key of the window"),
            Self::ShowSettings => t!("What lab.toml says, and the language, theme and scale of this window"),
            Self::Larger => t!("Texts and everything else at the next larger scale"),
            Self::Smaller => t!("Texts and everything else at the next smaller scale"),
            Self::ActualSize => t!("Back to a scale of 100 %"),
            Self::Light => t!("Dark text on a light ground"),
            Self::Dark => t!("Light text on a dark ground"),
            Self::SystemTheme => t!("Light or dark as the desktop has it"),
            // Whoever looks for a language knows its own name, whatever is spoken.
            Self::English => t!("This window speaks English"),
            Self::German => t!("This window speaks German (Deutsch)"),
            Self::SystemLanguage => t!("This window speaks the desktop's language, where it knows that"),
        }
    }

    /// What it belongs to.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Start | Self::Stop | Self::Check | Self::Reload => Kind::Serving,
            Self::ShowHosts
            | Self::ShowImages
            | Self::ShowEvents
            | Self::ShowNetwork
            | Self::ShowSettings
            | Self::Explain
            | Self::Find
            | Self::SeatingPlan
            | Self::SelectAll => Kind::Going,
            Self::AddDisk | Self::AddProfile | Self::AddFiles => Kind::Images,
            Self::Undo | Self::Palette | Self::Keys => Kind::Window,
            command if command.needs_machines() => Kind::Machines,
            _ => Kind::Window,
        }
    }

    /// What it makes liked, where it is about that.
    pub(super) fn liking(self, prefs: &prefs::Prefs) -> Option<Liking> {
        Some(match self {
            Self::Larger => Liking::Scale(prefs.stepped(true)),
            Self::Smaller => Liking::Scale(prefs.stepped(false)),
            Self::ActualSize => Liking::Scale(100),
            Self::Light => Liking::Theme(prefs::Theme::Light),
            Self::Dark => Liking::Theme(prefs::Theme::Dark),
            Self::SystemTheme => Liking::Theme(prefs::Theme::System),
            Self::English => Liking::Language(Some(Language::English)),
            Self::German => Liking::Language(Some(Language::German)),
            Self::SystemLanguage => Liking::Language(None),
            _ => return None,
        })
    }

    /// Its key. A key without Ctrl works while no text field has the focus.
    pub(super) fn shortcut(self) -> Option<KeyboardShortcut> {
        let (modifiers, key) = match self {
            Self::Start => (Modifiers::NONE, Key::F5),
            Self::Stop => (Modifiers::SHIFT, Key::F5),
            Self::Check => (Modifiers::NONE, Key::F7),
            Self::Reload => (Modifiers::COMMAND, Key::R),
            Self::ShowHosts => (Modifiers::COMMAND, Key::Num1),
            Self::ShowImages => (Modifiers::COMMAND, Key::Num2),
            Self::ShowEvents => (Modifiers::COMMAND, Key::Num3),
            Self::ShowNetwork => (Modifiers::COMMAND, Key::Num4),
            Self::SelfTest => (Modifiers::SHIFT, Key::F7),
            Self::Packets => (Modifiers::NONE, Key::F8),
            Self::Explain => (Modifiers::NONE, Key::E),
            Self::Find => (Modifiers::COMMAND, Key::F),
            Self::SeatingPlan => (Modifiers::NONE, Key::S),
            Self::SelectAll => (Modifiers::COMMAND, Key::A),
            Self::Assign => (Modifiers::NONE, Key::A),
            Self::AssignLocal => (Modifiers::NONE, Key::L),
            Self::AssignWait => (Modifiers::NONE, Key::W),
            Self::Wake => (Modifiers::NONE, Key::O),
            Self::Group => (Modifiers::NONE, Key::G),
            Self::Rename => (Modifiers::NONE, Key::F2),
            Self::MachineSettings => (Modifiers::ALT, Key::Enter),
            Self::ResetDisks => (Modifiers::NONE, Key::R),
            Self::Forget => (Modifiers::NONE, Key::Delete),
            Self::Undo => (Modifiers::COMMAND, Key::Z),
            Self::AddDisk => (Modifiers::COMMAND, Key::D),
            Self::AddProfile => (Modifiers::COMMAND, Key::P),
            Self::AddFiles => (Modifiers::COMMAND, Key::I),
            Self::OpenLab => (Modifiers::COMMAND, Key::O),
            Self::NewLab => (Modifiers::COMMAND, Key::N),
            Self::Palette => (Modifiers::COMMAND, Key::K),
            Self::Keys => (Modifiers::NONE, Key::F1),
            Self::ShowSettings => (Modifiers::COMMAND, Key::Comma),
            Self::Larger => (Modifiers::COMMAND, Key::Plus),
            Self::Smaller => (Modifiers::COMMAND, Key::Minus),
            Self::ActualSize => (Modifiers::COMMAND, Key::Num0),
            Self::Light | Self::Dark | Self::SystemTheme | Self::English | Self::German | Self::SystemLanguage => {
                return None;
            }
        };
        Some(KeyboardShortcut::new(modifiers, key))
    }

    /// Whether it needs no lab that is open.
    pub(super) fn needs_no_lab(self) -> bool {
        matches!(self, Self::OpenLab | Self::NewLab | Self::Palette | Self::Keys)
    }

    /// Whether it would act on the text in a focused field instead.
    pub(super) fn yields_to_text(self) -> bool {
        let types = |key: Key| key.name().len() == 1 || matches!(key, Key::Delete | Key::Enter);
        matches!(self, Self::SelectAll | Self::Undo)
            || self.shortcut().is_some_and(|s| !s.modifiers.command && types(s.logical_key))
    }

    /// Whether it is about the machines that are meant.
    pub(super) fn needs_machines(self) -> bool {
        Self::OF_MACHINES.contains(&self)
    }

    /// Why it can do nothing now, for whoever asks before trying. `meant`: the machines that it would be about.
    pub(super) fn why_not(self, shot: &Snapshot, meant: &[HostId]) -> Option<&'static str> {
        let running = matches!(shot.engine, EngineState::Running { .. } | EngineState::Starting);
        match self {
            Self::Start if running => Some(t!("It serves already")),
            Self::Start if shot.networks.is_empty() => Some(t!("Choose the interface first")),
            Self::Stop if !running => Some(t!("Nothing is served")),
            command if command.needs_machines() && meant.is_empty() => Some(t!("Select a machine first")),
            Self::Rename if meant.len() > 1 => Some(t!("Select one machine to name it")),
            Self::MachineSettings if meant.len() > 1 => Some(t!("Select one machine to change its settings")),
            Self::Wake if !running => {
                Some(t!("A machine that is woken now would find nothing to boot from; start serving first"))
            }
            Self::ResetDisks if !targets::keeps(shot, meant) => {
                Some(t!("Nothing that they wrote is kept on a disk of this lab"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_commands_share_a_key() {
        for (at, a) in UiCommand::ALL.iter().enumerate() {
            for b in &UiCommand::ALL[..at] {
                assert!(a.shortcut().is_none() || a.shortcut() != b.shortcut(), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn every_command_is_listed_once_and_what_types_a_letter_yields_to_text() {
        for command in UiCommand::ALL {
            assert_eq!(UiCommand::ALL.iter().filter(|c| **c == command).count(), 1, "{command:?}");
            assert!(Kind::ALL.contains(&command.kind()));
        }
        for (command, yields) in [
            (UiCommand::Wake, true),
            (UiCommand::Forget, true),
            (UiCommand::SelectAll, true),
            (UiCommand::MachineSettings, true),
            (UiCommand::Keys, false),
            (UiCommand::Rename, false),
            (UiCommand::Stop, false),
            (UiCommand::Palette, false),
        ] {
            assert_eq!(command.yields_to_text(), yields, "{command:?}");
        }
    }
}
