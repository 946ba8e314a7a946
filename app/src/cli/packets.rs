//! `bootyard packets HOST`: what was on the wire of a machine's last boots, decoded or as a file.

use std::path::{Path, PathBuf};

use bootyard_core::api::{Command, Packets, Reply};
use bootyard_core::trace::decode::decode;
use bootyard_core::trace::{Packet, file};
use clap::Parser;

use super::session::Session;
use super::{Failure, Outcome, output};
use crate::told;

/// `bootyard packets 52:54:00:00:00:01 --save boot.pcapng`
#[derive(Debug, Parser)]
pub struct Args {
    /// The machine: a MAC or a name
    host: String,
    /// Write them to this file, which must not exist, for Wireshark
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// With every field
    #[arg(long, short)]
    verbose: bool,
    /// One JSON array, with every field
    #[arg(long)]
    json: bool,
}

pub(super) fn run(lab: &Path, args: &Args) -> Outcome {
    let session = Session::running(lab)?;
    let packets = ask(&session, &args.host)?;
    let recording = file::read(&packets.file())?;
    if let Some(to) = &args.save {
        told::write_new(to, &packets.file())?;
        output::line(&format!("{} packets in {}", packets.count, to.display()));
    } else if args.json {
        let decoded: Vec<_> = recording.packets.iter().map(|packet| (packet, decode(packet))).collect();
        let all: Vec<_> = decoded.iter().map(|(packet, decoded)| told::packet_json(packet, decoded)).collect();
        output::json(&all)?;
    } else {
        for packet in &recording.packets {
            let lines = told::packet_lines(packet, &decode(packet), args.verbose);
            if !lines.iter().all(|line| output::line(line)) {
                break;
            }
        }
    }
    for note in told::missing(&packets) {
        output::error(&note);
    }
    session.end();
    Ok(())
}

/// The packets of a machine.
pub(super) fn ask(session: &Session, host: &str) -> Result<Packets, Failure> {
    match session.call(Command::Packets { host: host.to_owned() })? {
        Reply::Packets(packets) => Ok(packets),
        _ => Err(Failure::Failed(anyhow::anyhow!("the engine answered something else; both must be of one version"))),
    }
}

/// A packet as a line.
pub(super) fn line(packet: &Packet) -> String {
    told::packet_line(packet, &decode(packet))
}
