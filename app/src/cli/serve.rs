//! `bootyard serve`: the engine without a window.

use std::path::Path;

use bootyard_core::api::{Command, EngineState, Event, Severity};
use bootyard_core::lab::Folder;
use bootyard_core::net;
use tokio::signal::unix::{SignalKind, signal};

use super::session::Session;
use super::{Failure, Outcome, events, output};

pub(super) fn run(lab: &Path, json: bool) -> Outcome {
    let session = Session::serve(lab)?;
    let handle = session.handle();
    let mut events = handle.events();
    let outcome = session.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut changed = handle.changed();
        let mut start = handle.send(Command::Start)?;
        let mut started = false;
        loop {
            tokio::select! {
                biased;
                // First, so that no flood of events keeps it from ending.
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                event = events.recv() => match event {
                    Ok(event) => {
                        print(&event, json);
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Err(Failure::NoEngine),
                },
                reply = &mut start, if !started => {
                    started = true;
                    match reply {
                        Ok(Ok(_)) => {
                            Folder::open(lab)?.give_to_owner()?;
                            net::drop_privileges(lab)?;
                        }
                        Ok(Err(error)) => return Err(error.into()),
                        Err(_) => return Err(Failure::NoEngine),
                    }
                }
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
        if let Err(failure) = session.call(Command::Stop) {
            output::error(&failure.to_string());
        }
        while let Ok(event) = events.try_recv() {
            print(&event, json);
        }
    }
    session.end();
    outcome
}

/// A noteworthy event is a line; JSON leaves the choice to its reader.
fn print(event: &Event, json: bool) {
    if event.kind.severity() >= Severity::Info || json {
        events::print(event, json);
    }
}
