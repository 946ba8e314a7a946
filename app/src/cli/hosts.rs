//! `bootyard hosts`: what the engine, or else lab.db, knows of the machines.

use std::path::Path;

use super::session::Session;
use super::{Outcome, output};

pub(super) fn run(lab: &Path, json: bool) -> Outcome {
    let session = Session::existing(lab)?;
    let snapshot = session.handle().snapshot();
    if json {
        output::json(&snapshot.hosts)?;
    } else {
        let rows: Vec<Vec<String>> = snapshot
            .hosts
            .iter()
            .map(|h| {
                vec![
                    h.name.clone().unwrap_or_else(|| "-".into()),
                    h.macs.first().map(ToString::to_string).unwrap_or_default(),
                    h.vendor.clone().unwrap_or_else(|| "-".into()),
                    h.group.clone().unwrap_or_else(|| "-".into()),
                    h.ip.map_or_else(|| "-".into(), |ip| ip.to_string()),
                    h.arch.map_or_else(|| "-".into(), |a| a.to_string()),
                    h.boot.to_string(),
                    serde_json::to_value(h.stage).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
                    h.findings.first().map(|f| f.seen.clone()).unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["NAME", "MAC", "MADE BY", "GROUP", "ADDRESS", "FIRMWARE", "GETS", "STAGE", "FINDING"], &rows);
    }
    session.end();
    Ok(())
}
