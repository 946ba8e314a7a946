//! `bootyard bundle HOST`: one archive to send to somebody who is to help.
//!
//! Everything in it is made of what has no secrets; what lab.toml names as one, also in a kernel's arguments, is looked for in every
//! file all the same.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bootyard_core::api::{Command, Event, HostView, Packets, ProfileView, Reply, Snapshot};
use bootyard_core::engine::recorded;
use bootyard_core::lab::{Folder, Lab, without_secrets};
use bootyard_core::trace::file;
use clap::Parser;
use serde_json::json;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::session::Session;
use super::{Failure, Outcome, explain_pcap, output, packets};
use crate::told;

/// `bootyard bundle 52:54:00:00:00:01 --to server01.zip`
#[derive(Debug, Parser)]
pub struct Args {
    /// The machine: a MAC or a name
    host: String,
    /// The archive, which must not exist; bootyard-MAC.zip in this folder otherwise
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

const ABOUT: &str = "This is what Bootyard knows of one machine's boot.

timeline.txt     the steps of its last boot, and what was wrong
host.json        the machine: what it is, how far it is
events.jsonl     its events, oldest first, one JSON object a line
packets.pcapng   its packets with our events as comments, for Wireshark: headers of data only, no secrets
packets.txt      the same, one a line
lab.toml         the lab's configuration without secrets and comments
bench.json       networks, servers, boot files, disks and profiles as they are
versions.json    what runs here
";

pub(super) fn run(lab: &Path, args: &Args) -> Outcome {
    let session = Session::existing(lab)?;
    let Reply::History { host, events } = session.call(Command::History { host: args.host.clone() })? else {
        return Err(Failure::Failed(anyhow::anyhow!(
            "the engine answered something else; both must be of one version"
        )));
    };
    let packets = packets::ask(&session, &args.host)?;
    let snapshot = session.handle().snapshot();
    session.end();

    let folder = Folder::open(lab)?;
    let text = folder.read_text()?;
    // Of a broken one nobody knows the secrets, and nothing of it is put in.
    let mut secrets = folder.read().map(|lab| secrets(&lab)).unwrap_or_default();
    // Those in force may be others.
    secrets.extend(snapshot.profiles.iter().flat_map(|profile| secrets_of(&profile.args)));
    let mut files = files(&host, &events, &packets, &snapshot)?;
    files.push(("lab.toml", without_secrets(&text).into_bytes()));
    for (_, bytes) in &mut files {
        hide(bytes, &secrets);
    }
    let name = || {
        let mac = host.macs.first().map(|mac| mac.hyphenated()).unwrap_or_default();
        PathBuf::from(format!("bootyard-{mac}.zip"))
    };
    let to = args.to.clone().unwrap_or_else(name);
    told::write_new(&to, &archive(&files)?)?;
    output::line(&format!("{}: {} events, {} packets", to.display(), events.len(), packets.count));
    for note in told::missing(&packets) {
        output::error(&note);
    }
    Ok(())
}

type File = (&'static str, Vec<u8>);

fn files(host: &Arc<HostView>, events: &[Event], packets: &Packets, snapshot: &Snapshot) -> anyhow::Result<Vec<File>> {
    let mut view = (**host).clone();
    if view.timeline.is_empty() {
        // Without a running engine its last boot is in lab.db alone.
        (view.timeline, view.findings) = recorded::refold(events, &snapshot.recent);
    }
    let mut story = explain_pcap::timeline(&view.timeline);
    story.extend(view.findings.iter().flat_map(explain_pcap::said));
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event)?;
        lines.push(b'\n');
    }
    let recording = file::read(&packets.file())?;
    let shown: Vec<String> = recording.packets.iter().map(packets::line).collect();
    let bench = json!({
        "engine": snapshot.engine,
        "interfaces": snapshot.interfaces,
        "networks": snapshot.networks,
        "services": snapshot.services,
        "firmware": snapshot.firmware,
        "disks": snapshot.disks,
        "profiles": snapshot.profiles.iter().map(profile).collect::<Vec<_>>(),
        "findings": snapshot.findings,
    });
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions = json!({
        "bootyard": env!("CARGO_PKG_VERSION"),
        "events": bootyard_core::api::VERSION,
        "system": std::env::consts::OS,
        "processor": std::env::consts::ARCH,
        "kernel": kernel.trim(),
        "packets-lost": packets.lost,
        "packets-gone": packets.gone,
        "not-captured": packets.absent,
        "own-sockets": packets.sockets,
    });
    let text = |lines: &[String]| output::safe_lines(lines).into_bytes();
    Ok(vec![
        ("README.txt", ABOUT.as_bytes().to_vec()),
        ("timeline.txt", text(&story)),
        ("host.json", serde_json::to_vec_pretty(&view)?),
        ("events.jsonl", lines),
        ("packets.pcapng", packets.file()),
        ("packets.txt", text(&shown)),
        ("bench.json", serde_json::to_vec_pretty(&bench)?),
        ("versions.json", serde_json::to_vec_pretty(&versions)?),
    ])
}

/// A profile without the secrets in its arguments.
fn profile(view: &ProfileView) -> ProfileView {
    ProfileView { args: Lab::arguments_without_secrets(&view.args).0, ..view.clone() }
}

/// A shorter one, such as `1`, would be found in every file and in the lengths of packets.
const SHORTEST: usize = 6;

/// Those in a kernel's arguments.
fn secrets_of(args: &str) -> Vec<String> {
    Lab::arguments_without_secrets(args).1
}

/// What lab.toml names as a secret.
fn secrets(lab: &Lab) -> Vec<String> {
    let of_disk = |chap: &bootyard_core::lab::Chap| {
        let mutual = chap.mutual.as_ref().map(|(_, secret)| secret.expose().to_owned());
        [Some(chap.secret.expose().to_owned()), mutual]
    };
    let of_disks = lab.disks.iter().filter_map(|disk| disk.chap.as_ref()).flat_map(of_disk).flatten();
    let arguments = lab.profiles.iter().flat_map(|profile| [&profile.args, &profile.hypervisor_args]);
    of_disks.chain(arguments.flat_map(|args| secrets_of(args))).collect()
}

/// Writes over every secret that is long enough to be looked for, lengths kept.
fn hide(bytes: &mut [u8], secrets: &[String]) {
    for secret in secrets.iter().map(String::as_bytes).filter(|secret| secret.len() >= SHORTEST) {
        let mut at = 0;
        while let Some(found) = bytes.get(at..).and_then(|rest| rest.windows(secret.len()).position(|w| w == secret)) {
            let from = at + found;
            bytes.get_mut(from..from + secret.len()).unwrap_or_default().fill(b'x');
            at = from + secret.len();
        }
    }
}

fn archive(files: &[File]) -> anyhow::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in files {
        zip.start_file(*name, options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_over_wherever_it_is() {
        let mut bytes = b"a hunter2hunter2 b hunter2".to_vec();
        hide(&mut bytes, &["hunter2".to_owned(), String::new(), "a".to_owned(), " b ".to_owned()]);
        assert_eq!(bytes, b"a xxxxxxxxxxxxxx b xxxxxxx");
    }

    #[test]
    fn an_archive_without_an_engine_has_what_lab_db_knows_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("lab");
        std::fs::create_dir(&lab).unwrap();
        let toml = "version = 1 # hunter2hunter2\n[[host]]\nmac = \"52:54:00:00:00:01\"\nname = \"bench-1\"\nboot = \"local\"\n\
            [[disk]]\nname = \"a\"\nimage = \"a.raw\"\nchap = { user = \"u\", secret = \"hunter2hunter2\" }\n\
            [[profile]]\nname = \"p\"\nkernel = \"k\"\nargs = \"quiet root_password=hunter2 pwd=h2\"\n";
        std::fs::write(lab.join("lab.toml"), toml).unwrap();
        let to = dir.path().join("b.zip");
        let args = Args { host: "bench-1".into(), to: Some(to.clone()) };
        run(&lab, &args).unwrap();
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&to).unwrap()).unwrap();
        let mut names = Vec::new();
        for at in 0..zip.len() {
            let mut file = zip.by_index(at).unwrap();
            let name = file.name().unwrap().into_owned();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
            assert!(!bytes.windows(7).any(|w| w == b"hunter2"), "{name} has the secret");
            let text = String::from_utf8_lossy(&bytes);
            match name.as_str() {
                "lab.toml" => assert!(text.contains("name = \"bench-1\""), "{text}"),
                "bench.json" => {
                    assert!(text.contains("\"quiet root_password=(removed) pwd=(removed)\""), "{text}");
                }
                _ => {}
            }
            names.push(name);
        }
        assert!(
            names.contains(&"packets.pcapng".to_owned()) && names.contains(&"events.jsonl".to_owned()),
            "{names:?}"
        );
        assert!(run(&lab, &args).is_err(), "an archive that is there is not written over");
    }
}
