//! `bootyard events`: the last events, and with `--follow` each as it comes.

use std::path::Path;

use bootyard_core::api::Event;

use super::session::Session;
use super::{Failure, Outcome, output};
use crate::told;

pub(super) fn run(lab: &Path, follow: bool, json: bool) -> Outcome {
    if !follow {
        let session = Session::existing(lab)?;
        for event in &session.handle().snapshot().recent {
            print(event, json);
        }
        session.end();
        return Ok(());
    }
    let session = Session::running(lab)?;
    let handle = session.handle();
    let mut events = handle.events();
    let mut printed = 0;
    for event in &handle.snapshot().recent {
        print(event, json);
        printed = event.seq;
    }
    session.block_on(async {
        loop {
            match events.recv().await {
                // What came between the two lists is in both.
                Ok(event) if event.seq <= printed && !event.kind.is_progress() => {}
                Ok(event) => {
                    if !print(&event, json) {
                        return Ok(());
                    }
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                    output::error(&format!("{missed} events were missed"));
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return Err(Failure::NoEngine),
            }
        }
    })
}

/// Prints one event as a line; false when nobody reads any more.
pub(super) fn print(event: &Event, json: bool) -> bool {
    if json {
        return serde_json::to_string(event).is_ok_and(|text| output::line(&text));
    }
    output::line(&told::event_line(event))
}
