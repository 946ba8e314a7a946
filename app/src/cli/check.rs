//! `bootyard check`: every problem with its line; changes nothing.

use std::path::Path;

use bootyard_core::http::tls::{CA_DER, CA_PEM};
use bootyard_core::lab::Folder;
use bootyard_core::net;

use super::{Failure, Outcome, output};

pub(super) fn run(lab: &Path, json: bool) -> Outcome {
    let folder = Folder::open(lab)?;
    let problems = bootyard_core::lab::check(&folder, &net::interfaces()?);
    let errors = problems.iter().filter(|p| p.is_error()).count();
    if json {
        output::json(&problems)?;
    } else {
        for problem in &problems {
            output::line(&output::safe(&problem.to_string()));
        }
        if problems.is_empty() {
            output::line(&format!("{}: no problems", lab.display()));
        }
        output::line(&authority(&folder));
    }
    match errors {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow::anyhow!("1 error in {}", lab.display()))),
        n => Err(Failure::Failed(anyhow::anyhow!("{n} errors in {}", lab.display()))),
    }
}

/// What firmware has to know to boot over HTTPS. No problem, so it is for people only.
fn authority(folder: &Folder) -> String {
    let file = folder.https().join(CA_DER);
    if !file.is_file() {
        return format!("HTTPS: `bootyard serve` makes the lab's authority, {}", file.display());
    }
    format!(
        "HTTPS: enroll {} in the firmware of machines that boot over it; it is served as /https/{CA_DER} and /https/{CA_PEM}",
        file.display()
    )
}
