//! The engine that a subcommand talks to: one that runs already, or one of its own on the locked lab.

use std::path::Path;

use bootyard_core::api::{Command, EngineHandle, Reply};
use bootyard_core::engine::{Engine, Options, control};
use tokio::runtime::Runtime;

use super::Failure;

/// A runtime, a handle, and the engine if it is this process's own. [`Session::end`] closes it in order.
#[derive(Debug)]
pub(super) struct Session {
    runtime: Runtime,
    handle: EngineHandle,
    engine: Option<Engine>,
}

impl Session {
    /// The engine that runs on this lab, else one that does not serve: enough to edit lab.toml and to read lab.db.
    pub(super) fn any(lab: &Path) -> Result<Self, Failure> {
        match Self::connected(lab)? {
            Ok(session) => Ok(session),
            Err(runtime) => Self::own(runtime, lab, Options::default()),
        }
    }

    /// The engine that runs on this lab.
    pub(super) fn running(lab: &Path) -> Result<Self, Failure> {
        Self::connected(lab)?.map_err(|_runtime| Failure::NoEngine)
    }

    /// An engine of this process that will serve the interfaces that lab.toml names.
    pub(super) fn serve(lab: &Path) -> Result<Self, Failure> {
        Self::own(runtime()?, lab, Options { trust_interfaces: true, control: true })
    }

    /// What the window shows: the engine that runs already, else one in this process.
    pub(super) fn window(lab: &Path) -> Result<Self, Failure> {
        match Self::connected(lab)? {
            Ok(session) => Ok(session),
            Err(runtime) => Self::own(runtime, lab, Options { trust_interfaces: false, control: true }),
        }
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
        Ok(Self { handle: engine.handle(), runtime, engine: Some(engine) })
    }

    pub(super) fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// The runtime that the engine's tasks run on.
    pub(super) fn runtime(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn call(&self, command: Command) -> Result<Reply, Failure> {
        Ok(self.block_on(self.handle.call(command))?)
    }

    /// Closes this process's own engine: what is queued is written, what was held is given back.
    pub(super) fn end(self) {
        if let Some(engine) = self.engine {
            self.runtime.block_on(engine.close());
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().thread_name("bootyard").build()
}
