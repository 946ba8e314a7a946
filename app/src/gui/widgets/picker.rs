//! The desktop's file dialog, on a thread of its own: the window never waits for it. Where no portal answers, the path fields
//! and drag and drop do the same.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use eframe::egui::Context;

use crate::gui::action::PickFor;
use crate::gui::lang::t;

/// Files that came back, and the way there.
#[derive(Debug)]
pub(crate) struct Picker {
    to_us: Sender<(PickFor, Vec<PathBuf>)>,
    picked: Receiver<(PickFor, Vec<PathBuf>)>,
    open: bool,
}

impl Picker {
    /// No dialog yet.
    pub(crate) fn new() -> Self {
        let (to_us, picked) = channel();
        Self { to_us, picked, open: false }
    }

    /// Opens one, unless one is open.
    pub(crate) fn open(&mut self, ctx: &Context, what: PickFor) {
        if self.open {
            return;
        }
        let (back, ctx) = (self.to_us.clone(), ctx.clone());
        let thread = std::thread::Builder::new().name("file-dialog".into()).spawn(move || {
            let files = ask(what);
            // The window may have closed meanwhile; then nobody wants the files.
            let _window_is_gone = back.send((what, files));
            ctx.request_repaint();
        });
        self.open = thread.is_ok();
    }

    /// What was picked since the last call; an empty list: nothing, or no portal.
    pub(crate) fn take(&mut self) -> Option<(PickFor, Vec<PathBuf>)> {
        let picked = self.picked.try_recv().ok()?;
        self.open = false;
        Some(picked)
    }
}

fn ask(what: PickFor) -> Vec<PathBuf> {
    let dialog = rfd::FileDialog::new();
    match what {
        PickFor::Disk => dialog
            .set_title(t!("Choose a disk image"))
            .add_filter(t!("Disk images"), &["img", "raw", "qcow2", "vhd", "vhdx", "vmdk", "iso"])
            .add_filter(t!("All files"), &["*"])
            .pick_file()
            .into_iter()
            .collect(),
        PickFor::Kernel => dialog.set_title(t!("Choose a kernel")).pick_file().into_iter().collect(),
        PickFor::Initrds => dialog.set_title(t!("Choose initrds")).pick_files().unwrap_or_default(),
        PickFor::Export => dialog
            .set_title(t!("Write the disk to a new file"))
            .add_filter(t!("QEMU's images"), &["qcow2"])
            .add_filter(t!("Raw images"), &["img", "raw"])
            .add_filter(t!("All files"), &["*"])
            .save_file()
            .into_iter()
            .collect(),
        PickFor::SavePackets => dialog
            .set_title(t!("Write the packets to a new file"))
            .set_file_name("boot.pcapng")
            .add_filter(t!("Packets, text or JSON"), &["pcapng", "txt", "json"])
            .add_filter(t!("All files"), &["*"])
            .save_file()
            .into_iter()
            .collect(),
        PickFor::SaveEvents => dialog
            .set_title(t!("Write the events to a new file"))
            .set_file_name("events.txt")
            .add_filter(t!("Text or JSON"), &["txt", "json"])
            .add_filter(t!("All files"), &["*"])
            .save_file()
            .into_iter()
            .collect(),
        PickFor::Lab => dialog.set_title(t!("Choose the folder of a lab")).pick_folder().into_iter().collect(),
        PickFor::Files => dialog.set_title(t!("Choose files to bring in")).pick_files().unwrap_or_default(),
        PickFor::Answers => dialog.set_title(t!("Choose an answer file")).pick_file().into_iter().collect(),
    }
}
