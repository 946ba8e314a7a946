//! `bootyard serve`: the engine without a window.

use std::path::Path;

use bootyard_core::api::{Command, EngineState, Severity};
use bootyard_core::net;
use tokio::signal::unix::{SignalKind, signal};

use super::session::Session;
use super::{Failure, Outcome, events, output};

pub(super) fn run(lab: &Path, json: bool) -> Outcome {
    let session = Session::serve(lab)?;
    let handle = session.handle();
    let outcome = session.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut events = handle.events();
        let mut changed = handle.changed();
        let mut start = handle.send(Command::Start)?;
        let mut started = false;
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Ok(event) => {
                        if event.kind.severity() >= Severity::Info || json {
                            events::print(&event, json);
                        }
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Err(Failure::NoEngine),
                },
                reply = &mut start, if !started => {
                    started = true;
                    match reply {
                        Ok(Ok(_)) => net::drop_privileges(lab)?,
                        Ok(Err(error)) => return Err(error.into()),
                        Err(_) => return Err(Failure::NoEngine),
                    }
                }
                _ = terminate.recv() => return Ok(()),
                _ = tokio::signal::ctrl_c() => return Ok(()),
                result = changed.changed() => {
                    if result.is_err() {
                        return Err(Failure::NoEngine);
                    }
                    if let EngineState::Failed { error } = &handle.snapshot().engine && started {
                        return Err(Failure::Failed(anyhow::anyhow!(error.clone())));
                    }
                }
            }
        }
    });
    if outcome.is_ok() {
        let mut events = handle.events();
        if let Err(error) = session.call(Command::Stop) {
            output::error(&format!("{error:?}"));
        }
        while let Ok(event) = events.try_recv() {
            events::print(&event, json);
        }
    }
    session.end();
    outcome
}
