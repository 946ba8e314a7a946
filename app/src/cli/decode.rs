//! `bootyard decode`: the codes that a machine shows on its screen, in sentences.

use std::path::Path;

use bootyard_core::api::HostView;
use bootyard_core::diagnose::codes::{self, Decoded};
use clap::Parser;
use serde_json::json;

use super::session::Session;
use super::{Failure, Outcome, find_host, output};

/// `bootyard decode 4c0a6035`, `bootyard decode "PXE-E53: No boot filename received" --host server01`
#[derive(Debug, Parser)]
pub struct Args {
    /// An ipxe.org code, a PXE-E or PXE-M code, or the whole message from the screen
    #[arg(required = true, value_name = "CODE|TEXT")]
    words: Vec<String>,
    /// The machine that shows it (MAC or name): its firmware, and what it did last
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(lab: &Path, args: &Args) -> Outcome {
    let text = args.words.join(" ");
    let host = match &args.host {
        Some(name) => {
            let session = Session::existing(lab)?;
            let host = find_host(&session.handle().snapshot(), name).map(|h| (**h).clone());
            session.end();
            Some(host.ok_or_else(|| anyhow::anyhow!("no machine is called {}", output::safe(name)))?)
        }
        None => None,
    };
    let found = codes::read(&text, host.as_ref().and_then(|h| h.arch));
    if found.is_empty() {
        let shown: String = output::safe(&text).chars().take(200).collect();
        return Err(Failure::Failed(anyhow::anyhow!(
            "no code was found in `{shown}`; give what the screen shows, such as 4c0a6035 or PXE-E53"
        )));
    }
    if args.json {
        output::json(&json!({ "codes": found, "host": host.as_ref().map(context) }))?;
        return Ok(());
    }
    for decoded in &found {
        for line in lines(decoded) {
            output::line(&line);
        }
    }
    if let Some(host) = &host {
        for line in host_lines(host) {
            output::line(&output::safe(&line));
        }
    }
    Ok(())
}

fn lines(decoded: &Decoded) -> Vec<String> {
    let whose = match decoded.of {
        "pxe-rom" => " (PXE ROM)",
        "uefi" => " (UEFI)",
        _ => "",
    };
    let mut out = vec![format!("{}{whose}: {}", decoded.code, decoded.meaning)];
    if !decoded.remedy.is_empty() {
        out.push(format!("  {}", decoded.remedy));
    }
    out
}

/// What the machine did last.
fn context(host: &HostView) -> serde_json::Value {
    json!({ "macs": host.macs, "name": host.name, "stage": host.stage, "since": host.since, "findings": host.findings })
}

fn host_lines(host: &HostView) -> Vec<String> {
    let name = host.name.clone().or_else(|| host.macs.first().map(ToString::to_string)).unwrap_or_default();
    let stage = serde_json::to_value(host.stage).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let last = host.timeline.last().map(|step| format!(", last: {}", step.text)).unwrap_or_default();
    let mut out = vec![format!("{name} is at stage {stage}{last}.")];
    out.extend(host.findings.iter().map(|f| format!("  {} {} {}", f.seen, f.means, f.remedy)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_answered_without_a_lab() {
        let args =
            |words: &[&str]| Args { words: words.iter().map(|w| (*w).to_owned()).collect(), host: None, json: true };
        let nowhere = Path::new("/nonexistent");
        assert!(run(nowhere, &args(&["Connection timed out", "(http://ipxe.org/4c0a6035)"])).is_ok());
        let failure = run(nowhere, &args(&["hello"])).unwrap_err();
        assert!(failure.to_string().contains("no code was found"), "{failure}");
    }

    #[test]
    fn a_codes_lines_say_what_to_do() {
        let decoded = codes::read("PXE-E53", None);
        let told: Vec<String> = decoded.iter().flat_map(lines).collect();
        assert!(told[0].starts_with("PXE-E53 (PXE ROM): ") && told[1].starts_with("  "), "{told:?}");
    }
}
