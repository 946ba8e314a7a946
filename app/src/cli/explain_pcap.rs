//! `bootyard explain --pcap FILE [HOST]`: the timelines and findings of a recording, of whatever server.

use std::path::Path;

use bootyard_core::api::{Finding, StepState};
use bootyard_core::engine::recorded::{self, Recorded, RecordedHost};
use bootyard_core::trace::file;
use serde::Serialize;

use super::{Failure, Outcome, output};

/// What a recording tells, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    packets: usize,
    comments: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<String>,
    skipped: u64,
    #[serde(flatten)]
    recorded: Recorded,
}

/// Tells of a recording: of one machine, or of all in it.
pub(super) fn explain(pcap: &Path, host: Option<&str>, json: bool) -> Outcome {
    let recording = file::open(pcap)?;
    let mut recorded = recorded::fold(&recording.packets);
    if let Some(word) = host {
        let known: Vec<String> =
            recorded.hosts.iter().filter_map(|h| h.macs.first()).map(ToString::to_string).collect();
        recorded.hosts.retain(|h| h.is(word));
        if recorded.hosts.is_empty() {
            let known = if known.is_empty() { "no machine".to_owned() } else { known.join(", ") };
            return Err(Failure::Failed(anyhow::anyhow!("`{word}` is not in this recording, which has {known}")));
        }
    }
    if json {
        let (packets, comments) = (recording.packets.len(), recording.comments);
        let (cut, skipped) = (recording.cut, recording.skipped);
        output::json(&Told { packets, comments, cut, skipped, recorded })?;
        return Ok(());
    }
    for comment in &recording.comments {
        output::line(&output::safe(&format!("# {comment}")));
    }
    if let Some(cut) = &recording.cut {
        output::error(&format!("{}: {cut}", pcap.display()));
    }
    if recording.skipped > 0 {
        output::error(&format!("{} packets are of a link type that is not understood", recording.skipped));
    }
    if let Some(missing) = recorded.missing() {
        output::error(&format!("{}: {missing}", pcap.display()));
    }
    print(&recorded);
    Ok(())
}

fn print(recorded: &Recorded) {
    for host in &recorded.hosts {
        print_host(host);
    }
    for finding in &recorded.findings {
        print_finding(finding);
    }
    if recorded.hosts.is_empty() {
        output::line("no machine boots in this recording");
    }
}

fn print_host(host: &RecordedHost) {
    let mut head = host.macs.first().map(ToString::to_string).unwrap_or_default();
    for part in [host.name.clone(), host.ip.map(|ip| ip.to_string()), host.arch.map(|arch| arch.to_string())] {
        head.extend(part.map(|part| format!("  {part}")));
    }
    output::line(&output::safe(&format!("{head}  reached: {}", word(&host.stage))));
    for line in timeline(&host.timeline) {
        output::line(&output::safe(&format!("  {line}")));
    }
    for finding in &host.findings {
        print_finding(finding);
    }
    output::line("");
}

/// The steps of a boot, one a line.
pub(super) fn timeline(steps: &[bootyard_core::api::Step]) -> Vec<String> {
    let mark = |state| match state {
        StepState::Failed => "!",
        StepState::Active => ">",
        StepState::Done => " ",
    };
    let line = |step: &bootyard_core::api::Step| {
        let bytes = if step.bytes > 0 { format!(" ({} bytes)", step.bytes) } else { String::new() };
        let time = step.start.strftime("%H:%M:%S%.3f");
        format!("{time} {} {:<10}  {}{bytes}", mark(step.state), word(&step.stage), step.text)
    };
    steps.iter().map(line).collect()
}

fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn print_finding(finding: &Finding) {
    for line in said(finding) {
        output::line(&output::safe(&line));
    }
}

/// A finding in lines.
pub(super) fn said(finding: &Finding) -> Vec<String> {
    vec![format!("  ! {}", finding.seen), format!("    {}", finding.means), format!("    {}", finding.remedy)]
}
