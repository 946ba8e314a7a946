//! The engine that a subcommand talks to: one that runs already, or one of its own on the locked lab.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bootyard_core::api::{Command, EngineHandle, KeeperKind, Reply};
use bootyard_core::engine::{Engine, EngineError, Options, control};
use bootyard_core::lab::{Folder, LabError};
use tokio::runtime::Runtime;

use super::{Failure, output};

/// A lab that is in use is tried again so many times, this far apart.
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A runtime, a handle, and the engine if it is this process's own. [`Session::end`] closes it in order.
#[derive(Debug)]
pub(super) struct Session {
    runtime: Runtime,
    handle: EngineHandle,
    /// This process's own, and the lab that it has.
    engine: Option<(Engine, PathBuf)>,
}

impl Session {
    /// The same for what asks about a lab or changes it: a mistyped folder must not become a lab.
    pub(super) fn existing(lab: &Path) -> Result<Self, Failure> {
        Folder::open(lab)?;
        Self::any(lab)
    }

    /// The engine that runs on this lab, else one that does not serve: enough to edit lab.toml and to read lab.db. Makes a missing lab.
    pub(super) fn any(lab: &Path) -> Result<Self, Failure> {
        let mut tries = 0;
        loop {
            let runtime = match Self::connected(lab)? {
                Ok(session) => return Ok(session),
                Err(runtime) => runtime,
            };
            match runtime.block_on(Engine::open(lab, Options::default())) {
                // Another command has the lab for a moment, or an engine is just starting.
                Err(EngineError::Lab(LabError::InUse { .. })) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                opened => {
                    let engine = opened?;
                    return Ok(Self { handle: engine.handle(), runtime, engine: Some((engine, lab.to_owned())) });
                }
            }
        }
    }

    /// The engine that runs on this lab.
    pub(super) fn running(lab: &Path) -> Result<Self, Failure> {
        Self::connected(lab)?.map_err(|_runtime| Failure::NoEngine)
    }

    /// An engine of this process that will serve the interfaces that lab.toml names.
    pub(super) fn serve(lab: &Path) -> Result<Self, Failure> {
        Self::own(runtime()?, lab, Options { trust_interfaces: true, control: true, keeper: KeeperKind::Serve })
    }

    fn connected(lab: &Path) -> Result<Result<Self, Runtime>, Failure> {
        let runtime = runtime()?;
        if !lab.exists() {
            return Ok(Err(runtime));
        }
        let handle = runtime.block_on(control::connect(lab))?;
        Ok(match handle {
            Some(handle) => Ok(Self { runtime, handle, engine: None }),
            None => Err(runtime),
        })
    }

    fn own(runtime: Runtime, lab: &Path, options: Options) -> Result<Self, Failure> {
        let engine = runtime.block_on(Engine::open(lab, options))?;
        Ok(Self { handle: engine.handle(), runtime, engine: Some((engine, lab.to_owned())) })
    }

    pub(super) fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn call(&self, command: Command) -> Result<Reply, Failure> {
        Ok(self.block_on(self.handle.call(command))?)
    }

    /// Closes this process's own engine: what is queued is written, what was held is given back. What root made in another user's lab
    /// would be in its owner's way, so that it becomes the owner's, however the command ended.
    pub(super) fn end(self) {
        if let Some((engine, lab)) = self.engine {
            self.runtime.block_on(engine.close());
            if let Err(error) = Folder::open(&lab).and_then(|folder| folder.give_to_owner()) {
                output::error(&error.to_string());
            }
        }
    }
}

pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_name("bootyard").build()
}
