//! Labs that a window opens: through the engine that runs there already, else with one of its own. A lab that another window has open
//! is left to that one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bootyard_core::api::{EngineHandle, KeeperKind, Snapshot};
use bootyard_core::engine::{Engine, EngineError, Options, control};
use bootyard_core::lab::{LabError, default_dir};

use super::lang::t;
use super::say;

/// A lab that is in use is tried again so many times, this far apart: a command has it for a moment, or an engine is just starting.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// A lab that is open.
#[derive(Debug)]
pub(super) struct Opened {
    /// The way to its engine.
    pub(super) handle: EngineHandle,
    /// That engine, where it is this process's own.
    pub(super) engine: Option<Engine>,
}

/// What a person does with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Opens the lab that is there.
    Open,
    /// Makes one there.
    New,
    /// Either, as the command line does.
    Any,
}

/// Opens the lab in `dir`. What is in it is not started.
///
/// # Errors
/// One sentence that says why not and what to do.
pub(super) async fn open(dir: &Path, way: Way) -> Result<Opened, String> {
    fits(dir, way)?;
    let mut tries = 0;
    loop {
        if dir.exists()
            && let Some(handle) = control::connect(dir).await.map_err(|e| say::sentence(&e.to_string()))?
        {
            let keeper = handle.snapshot().keeper;
            if keeper.kind == KeeperKind::Window {
                let dir = say::clean_to(&dir.display().to_string(), 200);
                return Err(t!(
                    "The lab {dir} is open in another window (process {pid}). Go on there, or close it first.",
                    dir = dir,
                    pid = keeper.pid
                ));
            }
            return Ok(Opened { handle, engine: None });
        }
        let options = Options { trust_interfaces: false, control: true, keeper: KeeperKind::Window };
        match Engine::open(dir, options).await {
            Err(EngineError::Lab(LabError::InUse { .. })) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(engine) => return Ok(Opened { handle: engine.handle(), engine: Some(engine) }),
            Err(error) => return Err(say::sentence(&error.to_string())),
        }
    }
}

/// Whether the folder is what a person takes it for.
fn fits(dir: &Path, way: Way) -> Result<(), String> {
    let shown = || say::clean_to(&dir.display().to_string(), 200);
    let lab = dir.join("lab.toml").exists();
    match way {
        Way::Open if !dir.exists() => Err(t!("There is no folder {dir}.", dir = shown())),
        Way::Open if !lab => {
            Err(t!("{dir} is not a lab: it has no lab.toml. “New lab…” makes one in an empty folder.", dir = shown()))
        }
        Way::New if lab => Err(t!("{dir} is a lab already. Open it.", dir = shown())),
        Way::New if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) => {
            Err(t!("{dir} is not empty. Choose an empty folder, or the name of a new one.", dir = shown()))
        }
        _ => Ok(()),
    }
}

/// The engine of this process, whichever lab it has. Whoever ends the process closes it in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Own(Arc<Mutex<Option<Engine>>>);

impl Own {
    /// Keeps this one; gives back what was kept.
    pub(super) fn put(&self, engine: Option<Engine>) -> Option<Engine> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), engine)
    }

    /// Ends it: sessions are closed, what is queued is written, what was held is given back.
    pub(super) async fn close(&self) {
        if let Some(engine) = self.put(None) {
            engine.close().await;
        }
    }
}

/// From the lab that is open to another one: that is opened first, so that a failure leaves everything as it was.
pub(super) async fn move_to(dir: PathBuf, way: Way, own: Own) -> Result<EngineHandle, String> {
    let Opened { handle, engine } = open(&dir, way).await?;
    own.close().await;
    own.put(engine);
    Ok(handle)
}

/// Whether another process serves this lab: it goes on when the window is closed.
pub(super) fn is_served_elsewhere(shot: &Snapshot) -> bool {
    shot.keeper.kind == KeeperKind::Serve
}

/// What a lab is called: its folder's name.
pub(super) fn name(dir: &Path) -> String {
    if default_dir().is_ok_and(|default| default == dir) {
        return t!("Default lab").to_owned();
    }
    let leaf = dir.file_name().map_or_else(|| dir.display().to_string(), |leaf| leaf.to_string_lossy().into_owned());
    say::clean_to(&leaf, 60)
}

/// The form that asks for a lab's folder.
#[derive(Debug, Clone)]
pub(super) struct LabForm {
    /// [`Way::Open`] or [`Way::New`].
    pub(super) way: Way,
    /// The folder.
    pub(super) path: String,
    /// Labs opened last.
    pub(super) recent: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_what_a_person_takes_it_for() {
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("a");
        assert!(open(&lab, Way::Open).await.unwrap_err().contains("There is no folder"));
        let opened = open(&lab, Way::New).await.unwrap();
        assert!(lab.join("lab.toml").exists() && opened.engine.is_some());
        opened.engine.unwrap().close().await;
        assert!(open(&lab, Way::New).await.unwrap_err().contains("is a lab already"));
        assert!(open(dir.path(), Way::New).await.unwrap_err().contains("is not empty"));
        assert!(open(dir.path(), Way::Open).await.unwrap_err().contains("is not a lab"));
        assert!(!dir.path().join("lab.toml").exists());
    }

    #[tokio::test]
    async fn one_window_has_a_lab_and_a_serve_is_shared() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), Way::Any).await.unwrap();
        let refused = open(dir.path(), Way::Any).await.unwrap_err();
        assert!(refused.contains("open in another window") && refused.contains(&std::process::id().to_string()));
        first.engine.unwrap().close().await;

        let serve = Options { keeper: KeeperKind::Serve, control: true, ..Options::default() };
        let serve = Engine::open(dir.path(), serve).await.unwrap();
        let attached = open(dir.path(), Way::Any).await.unwrap();
        assert!(attached.engine.is_none() && is_served_elsewhere(&attached.handle.snapshot()));
        drop(attached);
        serve.close().await;
    }

    #[tokio::test]
    async fn a_failed_move_leaves_the_old_lab_open() {
        let dir = tempfile::tempdir().unwrap();
        let (own, first, second) = (Own::default(), dir.path().join("a"), dir.path().join("b"));
        let opened = open(&first, Way::New).await.unwrap();
        own.put(opened.engine);
        assert!(move_to(second.clone(), Way::Open, own.clone()).await.is_err());
        assert!(opened.handle.call(bootyard_core::api::Command::Ping).await.is_ok(), "the old one lives");
        let handle = move_to(second, Way::New, own.clone()).await.unwrap();
        assert!(handle.call(bootyard_core::api::Command::Ping).await.is_ok());
        assert!(opened.handle.call(bootyard_core::api::Command::Ping).await.is_err(), "the old one has ended");
        own.close().await;
        let again = open(&first, Way::Open).await.unwrap();
        again.engine.unwrap().close().await;
    }
}
