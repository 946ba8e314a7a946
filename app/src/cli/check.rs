//! `bootyard check`: every problem with its line; changes nothing.

use std::path::Path;

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
    }
    match errors {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow::anyhow!("1 error in {}", lab.display()))),
        n => Err(Failure::Failed(anyhow::anyhow!("{n} errors in {}", lab.display()))),
    }
}
