//! `bootyard wake`, `bootyard group` and `bootyard forget`: what is done to machines beside giving them something to boot.

use std::path::Path;

use bootyard_core::api::{Command, HostId, Reply, Snapshot};
use clap::Parser;

use super::session::Session;
use super::{Failure, Outcome, find_host, output};

/// `bootyard wake pc-01 group:room-1`
#[derive(Debug, Parser)]
pub struct WakeArgs {
    /// Machines: MAC, name or group:NAME; a MAC need not be known
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
}

/// `bootyard group room-1 pc-01 pc-02`
#[derive(Debug, Parser)]
pub struct GroupArgs {
    /// The group: a-z, 0-9 and -; "" takes the machines out of theirs
    #[arg(value_name = "NAME")]
    group: String,
    /// Machines that are known: MAC, name or group:NAME
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
}

/// `bootyard forget 52:54:00:00:00:01`
#[derive(Debug, Parser)]
pub struct ForgetArgs {
    /// Machines: MAC, name or group:NAME
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// Take their entries out of lab.toml, too: name, address and assignment
    #[arg(long)]
    entry: bool,
}

pub(super) fn wake(lab: &Path, args: &WakeArgs) -> Outcome {
    let session = Session::running(lab)?;
    if let Reply::Hosts { count } = session.call(Command::WakeNamed { hosts: args.hosts.clone() })? {
        output::line(&format!("{}: Wake-on-LAN packet sent", machines(count)));
    }
    session.end();
    Ok(())
}

pub(super) fn group(lab: &Path, args: &GroupArgs) -> Outcome {
    let session = Session::existing(lab)?;
    let hosts = known(&session.handle().snapshot(), &args.hosts)?;
    let count = hosts.len();
    session.call(Command::Group { hosts, group: args.group.clone() })?;
    let to = if args.group.is_empty() { "no group".to_owned() } else { format!("group {}", args.group) };
    output::line(&format!("{}: {to}", machines(count)));
    session.end();
    Ok(())
}

pub(super) fn forget(lab: &Path, args: &ForgetArgs) -> Outcome {
    let session = Session::existing(lab)?;
    let hosts = known(&session.handle().snapshot(), &args.hosts)?;
    for host in &hosts {
        session.call(Command::Forget { host: *host, entry: args.entry })?;
    }
    output::line(&format!("{}: forgotten", machines(hosts.len())));
    session.end();
    Ok(())
}

fn machines(count: usize) -> String {
    if count == 1 { "1 machine".to_owned() } else { format!("{count} machines") }
}

/// The machines of the list that these words name, each once.
fn known(snapshot: &Snapshot, words: &[String]) -> Result<Vec<HostId>, Failure> {
    let mut ids: Vec<HostId> = Vec::new();
    for word in words {
        let found: Vec<HostId> = match word.strip_prefix("group:") {
            Some(group) => snapshot.hosts.iter().filter(|h| h.group.as_deref() == Some(group)).map(|h| h.id).collect(),
            None => find_host(snapshot, word).map(|h| h.id).into_iter().collect(),
        };
        if found.is_empty() {
            return Err(Failure::Failed(anyhow::anyhow!(
                "no machine or group is called `{word}`; `bootyard hosts` lists those that are known"
            )));
        }
        ids.extend(found.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>());
    }
    Ok(ids)
}
