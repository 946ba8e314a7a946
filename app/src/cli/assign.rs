//! `bootyard assign HOST… TO`: the same as the click.

use std::path::Path;

use bootyard_core::api::{Command, Reply};
use bootyard_core::lab::{Boot, Install, InstallThen, IscsiBoot, IscsiVia, Name};
use clap::Parser;

use super::session::Session;
use super::{Failure, Outcome, output};

/// `bootyard assign 52:54:00:00:00:01 group:room-1 install debian-12`
#[derive(Debug, Parser)]
pub struct Args {
    /// Machines (MAC, name or group:NAME), then what they get: install PROFILE, iscsi DISK, local, wait, menu or ignore
    #[arg(required = true, num_args = 2.., value_name = "HOST… TO")]
    words: Vec<String>,
    /// What follows an installation: the local disk, or this disk over iSCSI
    #[arg(long, value_name = "local|DISK", default_value = "local")]
    then: String,
    /// Tell iPXE of its disk by root-path alone, without a script
    #[arg(long)]
    root_path: bool,
    /// Start this profile's kernel directly, its root on the disk: with iscsi DISK, a profile that `bootyard disks extract` made
    #[arg(long)]
    profile: Option<String>,
    /// Where these machines write, whatever the disk says: keep, to try changes that are committed then
    #[arg(long, value_enum)]
    writes: Option<super::disks::WritesArg>,
}

pub(super) fn run(lab: &Path, args: &Args) -> Outcome {
    let (hosts, to) = parse(args).map_err(Failure::Usage)?;
    let session = Session::existing(lab)?;
    let reply = session.call(Command::AssignNamed { hosts, to: to.clone() })?;
    if let Reply::Hosts { count } = reply {
        output::line(&format!("{count} {}: {to}", if count == 1 { "machine" } else { "machines" }));
    }
    session.end();
    Ok(())
}

fn parse(args: &Args) -> Result<(Vec<String>, Boot), String> {
    let name = |text: &String| text.parse::<Name>().map_err(|e| e.to_string());
    let via = if args.root_path { IscsiVia::RootPath } else { IscsiVia::Script };
    let writes = args.writes.map(Into::into);
    let profile = args.profile.as_ref().map(name).transpose()?;
    let words = &args.words[..];
    let (hosts, to) = match words {
        [hosts @ .., verb, profile] if verb == "install" => {
            let then = match args.then.as_str() {
                "local" => InstallThen::Local,
                disk => InstallThen::Iscsi(IscsiBoot { disk: name(&disk.to_owned())?, profile: None, via, writes }),
            };
            (hosts, Boot::Install(Install { profile: name(profile)?, then }))
        }
        [hosts @ .., verb, disk] if verb == "iscsi" => {
            (hosts, Boot::Iscsi(IscsiBoot { disk: name(disk)?, profile, via, writes }))
        }
        [hosts @ .., word] => {
            let boot = match word.as_str() {
                "local" => Boot::Local,
                "wait" => Boot::Wait,
                "menu" => Boot::Menu,
                "ignore" => Boot::Ignore,
                other => {
                    return Err(format!(
                        "`{other}` is nothing to assign; expected install PROFILE, iscsi DISK, local, wait, menu or ignore"
                    ));
                }
            };
            (hosts, boot)
        }
        [] => return Err("name at least one machine".into()),
    };
    if args.profile.is_some() && !matches!(&to, Boot::Iscsi(iscsi) if iscsi.profile.is_some()) {
        return Err("--profile goes with iscsi DISK: the profile's kernel is started, its root on the disk".into());
    }
    if args.profile.is_some() && args.root_path {
        return Err("--profile and --root-path exclude each other: a kernel is started by a script".into());
    }
    if hosts.is_empty() {
        return Err("name at least one machine: a MAC, a name or group:NAME".into());
    }
    Ok((hosts.to_vec(), to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<(Vec<String>, Boot), String> {
        let words = words.iter().map(ToString::to_string).collect();
        parse(&args(words))
    }

    fn args(words: Vec<String>) -> Args {
        Args { words, then: "local".into(), root_path: false, profile: None, writes: None }
    }

    #[test]
    fn a_profile_goes_with_a_disk_and_with_nothing_else() {
        let with = |words: &[&str], root_path| {
            let words = words.iter().map(ToString::to_string).collect();
            parse(&Args { profile: Some("kernel".into()), root_path, ..args(words) })
        };
        let (_, to) = with(&["pc-1", "iscsi", "server01"], false).unwrap();
        let Boot::Iscsi(iscsi) = to else { panic!("not a disk") };
        assert_eq!((iscsi.disk.as_str(), iscsi.profile.unwrap().as_str()), ("server01", "kernel"));
        for words in [&["pc-1", "install", "debian-12"][..], &["pc-1", "local"]] {
            assert!(with(words, false).unwrap_err().contains("iscsi DISK"));
        }
        assert!(with(&["pc-1", "iscsi", "server01"], true).unwrap_err().contains("--root-path"));
    }

    #[test]
    fn several_machines_and_each_target_are_understood() {
        let (hosts, to) = parsed(&["pc-1", "group:room-1", "install", "debian-12"]).unwrap();
        assert_eq!((hosts.len(), to.to_string()), (2, "install debian-12".to_owned()));
        let (hosts, to) = parsed(&["52:54:00:00:00:01", "iscsi", "server01"]).unwrap();
        assert_eq!((hosts.len(), to.to_string()), (1, "iscsi server01".to_owned()));
        assert_eq!(parsed(&["pc-1", "local"]).unwrap().1, Boot::Local);
    }

    #[test]
    fn wrong_words_are_answered_with_the_right_ones() {
        assert!(parsed(&["pc-1", "iscsi"]).unwrap_err().contains("expected install PROFILE"));
        assert!(parsed(&["local"]).unwrap_err().contains("at least one machine"));
        assert!(parsed(&["pc-1", "install", "Debian 12"]).unwrap_err().contains("not a name"));
    }
}
