//! The command line: one file a subcommand. What each prints with `--json` is stable.

mod assign;
mod bundle;
mod check;
mod decode;
mod disks;
mod doctor;
mod events;
mod exchange;
mod explain;
mod explain_pcap;
mod hosts;
mod machines;
mod output;
mod packets;
mod serve;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bootyard_core::api::{HostView, Snapshot};
use bootyard_core::net::MacAddr;
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
    /// Look for what would stop a boot here, and mend it
    Doctor(doctor::Args),
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
    /// One archive of a machine to send to somebody: timeline, findings, packets, configuration; no secrets
    Bundle(bundle::Args),
    /// The packets of a machine's last boots; needs a running engine
    Packets(packets::Args),
    /// Say what machines get from now on
    Assign(assign::Args),
    /// Turn machines on with Wake-on-LAN; needs a running engine
    Wake(machines::WakeArgs),
    /// Put machines into a group: a room, or a row of one
    Group(machines::GroupArgs),
    /// Drop machines from the list
    Forget(machines::ForgetArgs),
    /// Say what the error codes on a machine's screen mean
    Decode(decode::Args),
    /// Say what a machine would be given at each stage, and why; or how one booted, by a recording of packets of any server
    Explain(explain::Args),
    /// The disks
    Disks {
        /// What to do with them
        #[command(subcommand)]
        command: disks::Sub,
    },
    /// Make a lab of other servers' configuration; every line is accounted for
    Import(exchange::ImportArgs),
    /// Write the lab as other servers' configuration
    Export(exchange::ExportArgs),
}

/// A machine by its MAC or its name.
fn find_host<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Arc<HostView>> {
    let mac = name.parse::<MacAddr>().ok();
    snapshot.hosts.iter().find(|h| mac.map_or(h.name.as_deref() == Some(name), |mac| h.macs.contains(&mac)))
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

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{error}"),
            Self::Usage(message) => f.write_str(message),
            Self::NoEngine => f.write_str("no engine runs on this lab; start `bootyard` or `bootyard serve` first"),
        }
    }
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Failed(_) => FAILED,
            Self::Usage(_) => USAGE,
            Self::NoEngine => NO_ENGINE,
        }
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
        Err(failure) => {
            output::error(&failure.to_string());
            ExitCode::from(failure.status())
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
        Some(Sub::Doctor(args)) => doctor::run(&lab, &args),
        Some(Sub::Hosts { json }) => hosts::run(&lab, json),
        Some(Sub::Events { follow, json }) => events::run(&lab, follow, json),
        Some(Sub::Bundle(args)) => bundle::run(&lab, &args),
        Some(Sub::Packets(args)) => packets::run(&lab, &args),
        Some(Sub::Assign(args)) => assign::run(&lab, &args),
        Some(Sub::Wake(args)) => machines::wake(&lab, &args),
        Some(Sub::Group(args)) => machines::group(&lab, &args),
        Some(Sub::Forget(args)) => machines::forget(&lab, &args),
        Some(Sub::Decode(args)) => decode::run(&lab, &args),
        Some(Sub::Explain(args)) => explain::run(&lab, &args),
        Some(Sub::Disks { command }) => disks::run(&lab, command),
        Some(Sub::Import(args)) => exchange::import(&args),
        Some(Sub::Export(args)) => exchange::export(&lab, &args),
    }
}

fn window(lab: &std::path::Path) -> Outcome {
    crate::gui::run(lab, &session::runtime()?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_lab_is_named_before_or_after_the_subcommand() {
        Cli::command().debug_assert();
        for words in [["bootyard", "--lab", "/l", "hosts"], ["bootyard", "hosts", "--lab", "/l"]] {
            assert_eq!(Cli::try_parse_from(words).unwrap().lab, Some(PathBuf::from("/l")));
        }
        assert!(Cli::try_parse_from(["bootyard", "host"]).is_err());
        assert!(Cli::try_parse_from(["bootyard"]).unwrap().command.is_none(), "the window");
    }

    #[test]
    fn what_cannot_be_known_without_a_lab_makes_none() {
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("typo");
        let failure = hosts::run(&lab, true).unwrap_err();
        assert_eq!(failure.status(), FAILED);
        assert!(failure.to_string().contains("is not a lab"), "{failure}");
        assert!(!lab.exists());
        assert_eq!(events::run(&lab, true, true).unwrap_err().status(), NO_ENGINE);
    }

    #[test]
    fn an_assignment_without_an_engine_is_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lab.toml"), "version = 1 # mine\n").unwrap();
        let args = ["bootyard", "assign", "52:54:00:00:00:01", "local", "--lab"];
        let lab = dir.path().to_str().unwrap();
        dispatch(Cli::try_parse_from(args.into_iter().chain([lab])).unwrap()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("lab.toml")).unwrap();
        assert!(text.starts_with("version = 1 # mine\n") && text.contains("boot = \"local\""), "{text}");
    }
}
