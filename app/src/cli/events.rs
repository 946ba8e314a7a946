//! `bootyard events`: the last events, and with `--follow` each as it comes.

use std::path::Path;

use bootyard_core::api::Event;

use super::session::Session;
use super::{Failure, Outcome, output};

pub(super) fn run(lab: &Path, follow: bool, json: bool) -> Outcome {
    if !follow {
        let session = Session::any(lab)?;
        for event in &session.handle().snapshot().recent {
            print(event, json);
        }
        session.end();
        return Ok(());
    }
    let session = Session::running(lab)?;
    let handle = session.handle();
    let mut events = handle.events();
    for event in &handle.snapshot().recent {
        print(event, json);
    }
    session.block_on(async {
        loop {
            match events.recv().await {
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
    let mut fields = serde_json::to_value(event).unwrap_or_default();
    let kind = event.kind.name();
    let mut text = format!("{}  {:<20}", event.time.strftime("%H:%M:%S%.3f"), kind);
    if let Some(mac) = event.mac {
        text.push_str(&format!(" {mac}"));
    }
    if let Some(map) = fields.as_object_mut() {
        for known in ["v", "seq", "time", "host", "mac", "source", "kind"] {
            map.remove(known);
        }
        for (name, value) in map {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!(" {name}={}", output::safe(&value)));
        }
    }
    output::line(&text)
}
