//! What a person likes, whatever lab is open: language, theme, scale, the labs opened last. A small file of its own in the user's
//! configuration folder; a lab that moves to another laptop takes none of it along.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bootyard_core::lang::Language;
use eframe::egui::Context;
use serde::{Deserialize, Serialize};

use super::theme;

/// So many labs are remembered.
const RECENT: usize = 10;
/// The scale of the window, in per cent of the desktop's own.
pub(super) const SCALES: [u16; 7] = [75, 100, 125, 150, 200, 250, 300];

/// Light, dark, or as the desktop has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Theme {
    /// As the desktop has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Prefs {
    /// The window's language; the desktop's where there is none.
    pub(super) language: Option<Language>,
    /// Light or dark.
    pub(super) theme: Theme,
    /// Per cent, one of [`SCALES`].
    pub(super) scale: u16,
    /// Tell the desktop what happens while the window is hidden.
    pub(super) notify: bool,
    /// Labs opened last, the newest first; absolute paths.
    pub(super) recent: Vec<PathBuf>,
    /// Where it is kept; nowhere in tests and where there is no home folder.
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Default for Prefs {
    fn default() -> Self {
        Self { language: None, theme: Theme::default(), scale: 100, notify: true, recent: Vec::new(), file: None }
    }
}

impl Prefs {
    /// What is kept at the usual place. A file that can't be read is as good as none: nothing in it is worth stopping for.
    pub(super) fn load() -> Self {
        let place =
            directories::ProjectDirs::from("", "", "bootyard").map(|dirs| dirs.config_dir().join("window.json"));
        place.map_or_else(Self::default, Self::load_from)
    }

    /// The same from this file.
    pub(super) fn load_from(file: PathBuf) -> Self {
        let kept =
            fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok()).unwrap_or_default();
        let scale = if SCALES.contains(&kept.scale) { kept.scale } else { 100 };
        Self { scale, file: Some(file), ..kept }
    }

    /// Writes it; another window never reads half a file.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let aside = file.with_extension("new");
        let mut out = fs::File::create(&aside)?;
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")?;
        out.sync_all()?;
        fs::rename(aside, file)
    }

    /// A lab was opened: it is the first of the recent ones.
    pub(super) fn opened(&mut self, lab: &Path) {
        self.recent.retain(|l| l != lab);
        self.recent.insert(0, lab.to_owned());
        self.recent.truncate(RECENT);
    }

    /// Shows theme and scale.
    pub(super) fn show(&self, ctx: &Context) {
        theme::prefer(ctx, self.theme, self.scale);
    }

    /// Speaks the language from now on.
    pub(super) fn speak(&self) {
        // A test has its thread to itself, and no more.
        #[cfg(test)]
        bootyard_core::lang::speak_here(self.spoken());
        #[cfg(not(test))]
        bootyard_core::lang::speak(self.spoken());
    }

    /// The next scale in this direction; the same at the end.
    pub(super) fn stepped(&self, larger: bool) -> u16 {
        let next = if larger {
            SCALES.into_iter().find(|scale| *scale > self.scale)
        } else {
            SCALES.into_iter().rev().find(|scale| *scale < self.scale)
        };
        next.unwrap_or(self.scale)
    }

    /// The language to speak: the one that was chosen, else the desktop's.
    pub(super) fn spoken(&self) -> Language {
        self.language.unwrap_or_else(|| sys_locale::get_locale().map_or(Language::English, |l| Language::of_locale(&l)))
    }
}

/// Writes what is liked, one after the other: what is no longer the newest is left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Keeper {
    newest: Arc<AtomicU64>,
    writing: Arc<Mutex<()>>,
}

impl Keeper {
    /// These are the newest: what writes them, on another thread.
    pub(super) fn keeps(&self, prefs: Prefs) -> impl FnOnce() -> io::Result<()> + Send + use<> {
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let keeper = self.clone();
        move || {
            let _one_after_the_other = keeper.writing.lock().unwrap_or_else(PoisonError::into_inner);
            if keeper.newest.load(Ordering::Relaxed) == number { prefs.save() } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_liked_is_there_again_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/window.json");
        let mut prefs = Prefs::load_from(file.clone());
        assert_eq!((prefs.scale, prefs.notify, prefs.theme), (100, true, Theme::System));
        prefs.theme = Theme::Dark;
        prefs.language = Some(Language::German);
        for n in 0..12 {
            prefs.opened(&PathBuf::from(format!("/labs/{n}")));
        }
        prefs.opened(Path::new("/labs/5"));
        prefs.save().unwrap();
        let again = Prefs::load_from(file.clone());
        assert_eq!(again, prefs);
        assert_eq!(again.recent.len(), RECENT);
        assert_eq!(again.recent.first().unwrap(), Path::new("/labs/5"));
        assert_eq!(again.spoken(), Language::German);
        fs::write(&file, "{ \"scale\": 33, \"unknown\": 1 }").unwrap();
        assert_eq!(Prefs::load_from(file.clone()).scale, 100);
        fs::write(&file, "{ half").unwrap();
        assert!(Prefs::load_from(file).recent.is_empty());
    }
}
