//! The command line: one file a subcommand. What each prints with `--json` is stable.

mod assign;
mod check;
mod disks;
mod events;
mod hosts;
mod output;
mod serve;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit status: the work failed.
const FAILED: u8 = 1;
/// Exit status: wrong usage.
const USAGE: u8 = 2;
/// Exit status: the command needs a running engine and there is none.
const NO_ENGINE: u8 = 3;

/// Turns a laptop into a netboot bench: every machine that powers on, stage by stage.
#[derive(Debug, Parser)]
#[command(name = "bootyard", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// The lab's folder; the default lab otherwise
    #[arg(long, global = true, value_name = "DIR")]
    pub lab: Option<PathBuf>,
    /// What to do; without it the window opens
    #[command(subcommand)]
    pub command: Option<Sub>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// Serve without a window; one line a noteworthy event
    Serve {
        /// One JSON object an event
        #[arg(long)]
        json: bool,
    },
    /// Report every problem of lab.toml and the folder; changes nothing
    Check {
        /// One JSON array
        #[arg(long)]
        json: bool,
    },
    /// The machines: what they get and how far they are
    Hosts {
        /// One JSON array
        #[arg(long)]
        json: bool,
    },
    /// The events
    Events {
        /// Go on as they come; needs a running engine
        #[arg(long)]
        follow: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Say what machines get from now on
    Assign(assign::Args),
    /// The disks
    Disks {
        /// What to do with them
        #[command(subcommand)]
        command: disks::Sub,
    },
}

/// How a command ended badly.
#[derive(Debug)]
pub enum Failure {
    /// The work failed.
    Failed(anyhow::Error),
    /// The words were off.
    Usage(String),
    /// There is no engine.
    NoEngine,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The end of a subcommand.
pub type Outcome = Result<(), Failure>;

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    // A defect is a sentence for the person who has to report it, not a backtrace.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        let payload = panic.payload();
        let what =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        output::error(&format!("internal error{place}: {}; please report it", what.unwrap_or("unknown")));
    }));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let ok = !error.use_stderr();
            let _printing_usage_is_best_effort = error.print();
            return if ok { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            output::error(&format!("{error:#}"));
            ExitCode::from(FAILED)
        }
        Err(Failure::Usage(message)) => {
            output::error(&message);
            ExitCode::from(USAGE)
        }
        Err(Failure::NoEngine) => {
            output::error("no engine runs on this lab; start `bootyard` or `bootyard serve` first");
            ExitCode::from(NO_ENGINE)
        }
    }
}

fn dispatch(cli: Cli) -> Outcome {
    let lab = match cli.lab {
        Some(dir) => dir,
        None => bootyard_core::lab::default_dir()?,
    };
    match cli.command {
        None => window(&lab),
        Some(Sub::Serve { json }) => serve::run(&lab, json),
        Some(Sub::Check { json }) => check::run(&lab, json),
        Some(Sub::Hosts { json }) => hosts::run(&lab, json),
        Some(Sub::Events { follow, json }) => events::run(&lab, follow, json),
        Some(Sub::Assign(args)) => assign::run(&lab, args),
        Some(Sub::Disks { command }) => disks::run(&lab, command),
    }
}

fn window(lab: &std::path::Path) -> Outcome {
    let session = session::Session::window(lab)?;
    crate::gui::run(session.handle(), session.runtime())?;
    session.end();
    Ok(())
}
