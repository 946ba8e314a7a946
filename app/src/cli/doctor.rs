//! `bootyard doctor`: what would stop a boot here, and what mends it.

use std::path::Path;
use std::sync::Arc;

use bootyard_core::api::{Command, Reply};
use bootyard_core::doctor::{self, Facts, Fix, Report, Row, State};
use bootyard_core::net;
use clap::Parser;

use super::session::{Session, runtime};
use super::{Failure, Outcome, output};

/// `bootyard doctor --fix port:tcp-80@br0`
#[derive(Debug, Parser)]
pub struct Args {
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Mend this row, as far as the program can; else say the command that does
    #[arg(long, value_name = "ID")]
    fix: Option<String>,
    /// Look at this interface in place of those of lab.toml
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Boot a machine that does not exist from our own servers, too: on the wire, over the real sockets, all but cable and switch.
    /// Without a running engine the lab is served meanwhile
    #[arg(long, conflicts_with = "fix")]
    self_test: bool,
}

pub(super) fn run(lab: &Path, args: &Args) -> Outcome {
    let interface = args.interface.as_deref();
    let mut report = if args.self_test { self_test(lab, interface)? } else { look(lab, interface)? };
    if let Some(id) = &args.fix {
        let Some(row) = report.rows.iter().find(|row| row.id == *id) else {
            let ids: Vec<&str> = report.rows.iter().filter(|r| r.fix.is_some()).map(|r| r.id.as_str()).collect();
            let list = if ids.is_empty() { "nothing is to be mended".to_owned() } else { ids.join(", ") };
            return Err(Failure::Usage(format!("the doctor has no row `{id}`; those with a fix: {list}")));
        };
        mend(lab, row)?;
        report = look(lab, interface)?;
        report.rows.retain(|row| row.id == *id);
    }
    if args.json {
        output::json(&report)?;
    } else {
        show(&report);
        if let (Some(id), true) = (&args.fix, report.rows.is_empty()) {
            output::line(&format!("{}: mended", output::safe(id)));
        }
    }
    let failed = report.rows.iter().filter(|row| row.state == State::Failed).count();
    match failed {
        0 => Ok(()),
        1 => Err(Failure::Failed(anyhow::anyhow!("1 thing would stop a boot"))),
        n => Err(Failure::Failed(anyhow::anyhow!("{n} things would stop a boot"))),
    }
}

/// By the engine that runs on this lab, whose ports are ours; else from here, where no lab need be.
fn look(lab: &Path, interface: Option<&str>) -> Result<Report, Failure> {
    match Session::running(lab) {
        Ok(session) => asked(&session, interface, false),
        Err(Failure::NoEngine) => {
            let runtime = runtime()?;
            let report = runtime.block_on(async {
                let facts = Facts::read(lab.to_owned(), interface, net::port_set(), None)?;
                Ok::<_, net::NetError>(doctor::run(Arc::new(facts), doctor::checks()).await)
            });
            // A check that hangs in the operating system must not keep the program.
            runtime.shutdown_background();
            Ok(report?)
        }
        Err(other) => Err(other),
    }
}

fn asked(session: &Session, interface: Option<&str>, self_test: bool) -> Result<Report, Failure> {
    match session.call(Command::Doctor { interface: interface.map(str::to_owned), self_test })? {
        Reply::Doctor { report } => Ok(report),
        _ => Err(Failure::Failed(anyhow::anyhow!("the engine is of another version; start it again"))),
    }
}

/// Servers must run for it: those that do, else our own for as long as it takes, as `bootyard serve` would start them.
fn self_test(lab: &Path, interface: Option<&str>) -> Result<Report, Failure> {
    match Session::running(lab) {
        Ok(session) => asked(&session, interface, true),
        Err(Failure::NoEngine) => {
            bootyard_core::lab::Folder::open(lab)?;
            let session = Session::serve(lab)?;
            let report = session.call(Command::Start).and_then(|_| asked(&session, interface, true));
            session.end();
            report
        }
        Err(other) => Err(other),
    }
}

fn mend(lab: &Path, row: &Row) -> Outcome {
    if row.is_ok() {
        return Ok(());
    }
    match &row.fix {
        Some(Fix { act: Some(act), .. }) => {
            let session = Session::existing(lab)?;
            session.call(Command::Mend { act: act.clone() })?;
            session.end();
            Ok(())
        }
        Some(Fix { command: Some(command), .. }) => Err(Failure::Failed(anyhow::anyhow!(
            "that is not Bootyard's to change; run this: {}",
            output::safe(command)
        ))),
        _ => Err(Failure::Failed(anyhow::anyhow!("{}", output::safe(&row.remedy)))),
    }
}

fn word(state: &State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Failed => "FAILED",
        State::Unknown => "unknown",
        State::Unsupported(_) => "unsupported",
    }
}

/// Aligned; what is well takes one line.
fn show(report: &Report) {
    let states = report.rows.iter().map(|r| word(&r.state).len()).max().unwrap_or(0);
    let ids = report.rows.iter().map(|r| r.id.chars().count()).max().unwrap_or(0);
    let pad = " ".repeat(states + ids + 4);
    for row in &report.rows {
        let (state, id) = (word(&row.state), output::safe(&row.id));
        output::line(&format!("{state:states$}  {id:ids$}  {}", output::safe(&row.seen)));
        for text in [&row.means, &row.remedy].into_iter().filter(|t| !t.is_empty() && !row.is_ok()) {
            output::line(&format!("{pad}{}", output::safe(text)));
        }
        let Some(fix) = row.fix.as_ref().filter(|_| !row.is_ok()) else { continue };
        let does = output::safe(&fix.does);
        match (&fix.act, &fix.command) {
            (Some(_), _) => output::line(&format!("{pad}{does}: bootyard doctor --fix {}", quoted(&row.id))),
            (None, Some(command)) => output::line(&format!("{pad}{does}: {}", output::safe(command))),
            (None, None) => true,
        };
        if let Some(undo) = &fix.undo {
            output::line(&format!("{pad}and back: {}", output::safe(undo)));
        }
    }
}

/// An id as a word for the shell: it may name a file of the lab's.
fn quoted(id: &str) -> String {
    let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || ":@-_./".contains(c));
    if plain { id.to_owned() } else { format!("'{}'", output::safe(id).replace('\'', r"'\''")) }
}
